//! Generated programs give the same results, traps and memory here and on wasmi.
//!
//! The programs exercise the translator: expressions of all number types over locals that change
//! while their older values are still on the stack, small and large constants, blocks with values,
//! branches out of them, loops, calls.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use core::fmt::Write;

use nimblenet_wasm::{Blocks, LoadOptions, Step, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{Block, module, options};

/// Makes programs from random choices.
struct Generator {
    choices: Vec<u32>,
    next: usize,
    text: String,
    labels: Vec<Option<&'static str>>,
}

const TYPES: [&str; 4] = ["i32", "i64", "f32", "f64"];
const INT: [&str; 15] = [
    "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr", "div_s",
    "div_u", "rem_s", "rem_u",
];
const COMPARE: [&str; 10] = [
    "eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u",
];
const FLOAT: [&str; 6] = ["add", "sub", "mul", "div", "min", "max"];
const FLOAT_COMPARE: [&str; 6] = ["eq", "ne", "lt", "gt", "le", "ge"];
const UNARY: [&str; 7] = ["abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"];

impl Generator {
    fn choose(&mut self, below: u32) -> u32 {
        let choice = self.choices.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        choice % below
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push(' ');
    }

    /// Local variables: two of each type.
    fn local(&mut self, ty: &str) -> u32 {
        let at = TYPES.iter().position(|name| *name == ty).unwrap() as u32;
        at * 2 + self.choose(2)
    }

    fn constant(&mut self, ty: &str) {
        let value = match self.choose(6) {
            0 => "0".into(),
            1 => "1".into(),
            2 => format!("{}", self.choose(300)),
            3 => format!("-{}", self.choose(40_000)),
            4 if ty.starts_with('i') => format!("0x{:x}", self.choose(u32::MAX)),
            4 => "0.1".into(),
            _ => "3".into(),
        };
        write!(self.text, "({ty}.const {value}) ").unwrap();
    }

    fn expression(&mut self, ty: &'static str, depth: u32) {
        let kind = if depth == 0 {
            self.choose(2)
        } else {
            self.choose(12)
        };
        let float = ty.starts_with('f');
        match kind {
            0 => {
                let local = self.local(ty);
                write!(self.text, "(local.get {local}) ").unwrap();
            }
            1 => self.constant(ty),
            2..=4 => {
                let op = if float {
                    FLOAT[self.choose(6) as usize]
                } else {
                    INT[self.choose(15) as usize]
                };
                self.expression(ty, depth - 1);
                self.expression(ty, depth - 1);
                self.put(&format!("{ty}.{op}"));
            }
            5 => {
                self.expression(ty, depth - 1);
                let local = self.local(ty);
                self.put(&format!("local.tee {local}"));
            }
            6 => {
                self.expression(ty, depth - 1);
                self.expression(ty, depth - 1);
                self.expression("i32", depth - 1);
                // wasmi 2.0.0 picks the wrong one of a value and a constant where the condition is
                // an `eqz`; counting bits keeps the condition and avoids that.
                self.put("i32.popcnt select");
            }
            7 => self.structured(ty, depth),
            8 => self.load(ty, depth),
            9 => self.convert(ty, depth),
            10 => {
                // A statement between two values.
                self.expression(ty, depth - 1);
                self.statement(depth - 1);
            }
            _ if ty == "i32" => {
                let of = TYPES[self.choose(4) as usize];
                if self.choose(4) == 0 {
                    self.expression("i32", depth - 1);
                    return self.put("i32.eqz");
                }
                let op = match of.starts_with('f') {
                    true => FLOAT_COMPARE[self.choose(6) as usize],
                    false => COMPARE[self.choose(10) as usize],
                };
                self.expression(of, depth - 1);
                self.expression(of, depth - 1);
                self.put(&format!("{of}.{op}"));
            }
            _ => {
                self.expression(ty, depth - 1);
                match float {
                    true => {
                        let op = UNARY[self.choose(7) as usize];
                        self.put(&format!("{ty}.{op}"));
                    }
                    false => self.put(&format!("{ty}.popcnt")),
                }
            }
        }
    }

    /// A block or a choice with a result, and perhaps a branch out of it.
    fn structured(&mut self, ty: &'static str, depth: u32) {
        if self.choose(2) == 0 {
            self.expression("i32", depth - 1);
            self.put(&format!("if (result {ty})"));
            self.labels.push(Some(ty));
            self.expression(ty, depth - 1);
            self.put("else");
            self.expression(ty, depth - 1);
        } else {
            self.put(&format!("block (result {ty})"));
            self.labels.push(Some(ty));
            self.expression(ty, depth - 1);
            self.expression("i32", depth - 1);
            self.put("br_if 0");
            self.statement(depth - 1);
            let fits = |label: &Option<&str>| *label == Some(ty);
            let outer = self
                .labels
                .iter()
                .rev()
                .enumerate()
                .filter(|(_, label)| fits(label));
            let outer: Vec<usize> = outer.map(|(depth, _)| depth).collect();
            let to = outer[self.choose(outer.len() as u32) as usize];
            self.expression("i32", depth - 1);
            self.put(&format!("br_if {to}"));
        }
        self.labels.pop();
        self.put("end");
    }

    fn load(&mut self, ty: &str, depth: u32) {
        self.address(depth);
        let offset = [0, 1, 8, 70_000][self.choose(4) as usize];
        let op = match (ty, self.choose(3)) {
            ("i32", 0) => "i32.load8_s",
            ("i32", 1) => "i32.load16_u",
            ("i64", 0) => "i64.load32_s",
            ("i64", 1) => "i64.load8_u",
            ("i32", _) => "i32.load",
            ("i64", _) => "i64.load",
            ("f32", _) => "f32.load",
            _ => "f64.load",
        };
        self.put(&format!("{op} offset={offset}"));
    }

    fn address(&mut self, depth: u32) {
        self.expression("i32", depth - 1);
        self.put("i32.const 65535 i32.and");
        if self.choose(2) == 0 {
            self.expression("i32", depth - 1);
            self.put("i32.const 255 i32.and i32.add");
        }
    }

    fn convert(&mut self, ty: &'static str, depth: u32) {
        let (from, op) = match (ty, self.choose(2)) {
            ("i32", 0) => ("i64", "i32.wrap_i64"),
            ("i32", _) => ("f64", "i32.trunc_sat_f64_s"),
            ("i64", 0) => ("i32", "i64.extend_i32_s"),
            ("i64", _) => ("f32", "i64.trunc_sat_f32_u"),
            ("f32", 0) => ("i64", "f32.convert_i64_u"),
            ("f32", _) => ("f64", "f32.demote_f64"),
            (_, 0) => ("i32", "f64.convert_i32_u"),
            _ => ("f32", "f64.promote_f32"),
        };
        self.expression(from, depth - 1);
        self.put(op);
    }

    /// A statement without a value.
    fn statement(&mut self, depth: u32) {
        let ty = TYPES[self.choose(4) as usize];
        if depth == 0 {
            self.expression(ty, 0);
            let local = self.local(ty);
            return self.put(&format!("local.set {local}"));
        }
        match self.choose(7) {
            0 | 1 => {
                self.expression(ty, depth - 1);
                let local = self.local(ty);
                self.put(&format!("local.set {local}"));
            }
            2 => {
                let ints = ["i32", "i64"][self.choose(2) as usize];
                let op = ["store", "store8", "store16"][self.choose(3) as usize];
                self.address(depth);
                self.expression(ints, depth - 1);
                self.put(&format!("{ints}.{op}"));
            }
            3 => {
                self.expression("i32", depth - 1);
                self.put("if");
                self.labels.push(None);
                self.statement(depth - 1);
                if self.choose(2) == 0 {
                    self.put("else");
                    self.statement(depth - 1);
                }
                self.labels.pop();
                self.put("end");
            }
            4 => {
                // A loop that ends by its own counter.
                self.put("i32.const 5 local.set 8 loop");
                self.labels.push(None);
                self.statement(depth - 1);
                self.put(
                    "local.get 8 i32.const 1 i32.sub local.tee 8 i32.const 0 i32.gt_s br_if 0",
                );
                self.labels.pop();
                self.put("end");
            }
            5 => {
                self.expression("i32", depth - 1);
                self.expression("i64", depth - 1);
                let local = self.local("i64");
                self.put(&format!("call $mix local.set {local}"));
            }
            _ => {
                self.put("block");
                self.labels.push(None);
                self.put("block");
                self.labels.push(None);
                self.expression("i32", depth - 1);
                self.put("br_table 0 1 0");
                self.labels.pop();
                self.put("end");
                self.statement(depth - 1);
                self.labels.pop();
                self.put("end");
            }
        }
    }

    fn program(mut self) -> String {
        for _ in 0..4 {
            self.statement(4);
        }
        for ty in ["i32", "i64", "f32", "f64"] {
            self.expression(ty, 3);
        }
        format!(
            "(module (memory (export \"memory\") 3)
               (func $mix (param i32 i64) (result i64) (local i32)
                 (local.set 2 (i32.add (local.get 0) (i32.const 7)))
                 (i64.add (local.get 1) (i64.extend_i32_u (local.get 2))))
               (func (export \"run\") (param i32 i32 i64 i64 f32 f32 f64 f64)
                 (result i32 i64 f32 f64) (local i32) {}))",
            self.text
        )
    }
}

const ARGS: [Value; 8] = [
    Value::I32(12_345),
    Value::I32(-3),
    Value::I64(1 << 40),
    Value::I64(-9),
    Value::F32(0x40490fdb),
    Value::F32(0xc0000000),
    Value::F64(0x4005bf0a8b145769),
    Value::F64(0xbfe0000000000000),
];

/// The outcome of a run: values, with all NaNs made equal, or that it trapped; and the memory.
type Outcome = (Option<Vec<Value>>, Vec<u8>);

fn alike(value: Value) -> Value {
    match value {
        Value::F32(bits) if f32::from_bits(bits).is_nan() => Value::F32(0x7fc0_0000),
        Value::F64(bits) if f64::from_bits(bits).is_nan() => Value::F64(0x7ff8_0000_0000_0000),
        other => other,
    }
}

fn here(code: &[u8], metered: bool, slice: u64) -> Outcome {
    let options = LoadOptions {
        metered,
        ..options()
    };
    let mut block = Block::new(300_000);
    let mut blocks: Blocks<'_, 1> = Blocks::new(block.bytes());
    let mut part = blocks.all();
    let mut instance = part.load(0, code, &options).unwrap();
    let fresh = instance.block()[..instance.extent()].to_vec();
    instance.invoke("run", &ARGS).unwrap();
    let mut image = vec![0; 300_000];
    let outcome = loop {
        let (_, mut instance) = part.attach(0, code).unwrap();
        instance.set_fuel(instance.fuel() + slice);
        match instance.run() {
            Step::Done => {
                let mut out = [Value::I32(0); 4];
                instance.results(&mut out);
                break (Some(out.map(alike).to_vec()), instance.memory().to_vec());
            }
            Step::Trapped(_) => break (None, instance.memory().to_vec()),
            Step::OutOfFuel => {
                let len = instance.freeze(&mut image).unwrap();
                part.thaw(0, code, &image[..len], &options).unwrap();
            }
            Step::Call(_) => panic!("there are no imports"),
        }
    };
    let (_, mut instance) = part.attach(0, code).unwrap();
    instance.reset().unwrap();
    assert_eq!(instance.extent(), fresh.len());
    assert!(instance.block()[..fresh.len()] == fresh, "a reset");
    outcome
}

fn there(code: &[u8]) -> Outcome {
    let engine = wasmi::Engine::default();
    let module = wasmi::Module::new(&engine, code).unwrap();
    let mut store = wasmi::Store::new(&engine, ());
    let linker = wasmi::Linker::new(&engine);
    let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
    let run = instance.get_func(&store, "run").unwrap();
    let args = ARGS.map(|arg| match arg {
        Value::I32(v) => wasmi::Val::I32(v),
        Value::I64(v) => wasmi::Val::I64(v),
        Value::F32(v) => wasmi::Val::F32(wasmi::F32::from_bits(v)),
        Value::F64(v) => wasmi::Val::F64(wasmi::F64::from_bits(v)),
        _ => panic!("no references"),
    });
    let mut out = [const { wasmi::Val::I32(0) }; 4];
    let outcome = run.call(&mut store, &args, &mut out);
    let values = out.map(|value| match value {
        wasmi::Val::I32(v) => Value::I32(v),
        wasmi::Val::I64(v) => Value::I64(v),
        wasmi::Val::F32(v) => alike(Value::F32(v.to_bits())),
        wasmi::Val::F64(v) => alike(Value::F64(v.to_bits())),
        other => panic!("{other:?}"),
    });
    let memory = instance
        .get_memory(&store, "memory")
        .unwrap()
        .data(&store)
        .to_vec();
    (outcome.is_ok().then(|| values.to_vec()), memory)
}

#[test]
fn generated_programs_agree_with_wasmi_also_when_they_move_all_the_time() {
    let cases = Config {
        cases: 600,
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(
        cases,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let choices = prop::collection::vec(any::<u32>(), 20..600);
    let outcome = runner.run(&choices, |choices| {
        let generator = Generator {
            choices,
            next: 0,
            text: String::new(),
            labels: Vec::new(),
        };
        let text = generator.program();
        let code = module(&text);
        let expected = there(&code);
        let got = here(&code, false, 0);
        prop_assert!(
            got == expected,
            "unmetered: {:?} {:?} {}",
            got.0,
            expected.0,
            text
        );
        prop_assert!(here(&code, true, 1 << 30) == expected, "metered: {}", text);
        prop_assert!(here(&code, true, 40) == expected, "moving: {}", text);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
