//! Modules that are wrong, ask for too much, or never end are refused by name or stopped, without a
//! panic, and without a write outside the block.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use nimblenet_wasm::{
    Fault, Feature, Instance, InvokeError, Limits, LoadError, LoadOptions, Module, Quantity, Step,
    Trap, Value, validate,
};
use support::{Block, module, options};

/// A module with an item of every kind, which tests cut off and change.
const SAMPLE: &str = r#"(module
  (type (func (param i32) (result i32)))
  (import "host" "log" (func $log (param i32)))
  (memory (export "memory") 1 2)
  (table 3 funcref)
  (global $g (mut i32) (i32.const 7))
  (elem (i32.const 0) $f $f)
  (data (i32.const 16) "abcdef")
  (func $f (export "run") (type 0) (local i64 f64)
    (block (result i32)
      (loop
        (call $log (local.get 0))
        (local.set 1 (i64.mul (i64.extend_i32_u (local.get 0)) (i64.const 10000000000)))
        (local.set 2 (f64.sqrt (f64.convert_i64_s (local.get 1))))
        (br_if 1 (i32.load8_u offset=16 (local.get 0)) (i32.gt_s (local.get 0) (i32.const 3)))
        (drop)
        (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br_table 0 0 (local.get 0)))
      (unreachable)))
  (func (export "other") (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (call_indirect (type 0) (local.get 0) (i32.const 1)))
      (else (global.set $g (i32.const 1)) (memory.grow (i32.const 1))))))"#;

fn fault(code: &[u8], limits: Limits) -> Fault {
    let options = LoadOptions {
        limits,
        ..options()
    };
    match Instance::load(Block::new(1 << 20).bytes(), code, &options) {
        Err(LoadError::Invalid(invalid)) => invalid.fault,
        other => panic!("{other:?}"),
    }
}

/// Runs every export for a while.
fn exercise(instance: &mut Instance<'_>) {
    for export in ["run", "other"] {
        if instance.invoke(export, &[Value::I32(1)]).is_err() {
            continue;
        }
        instance.set_fuel(5000);
        for _ in 0..20 {
            match instance.run() {
                Step::Call(_) => {
                    let mut args = [Value::I32(0); 4];
                    instance.call_args(&mut args);
                    if instance.resume(&[]).is_err() {
                        instance.fail(Trap::HostFailure);
                    }
                }
                Step::Done | Step::OutOfFuel | Step::Trapped(_) => break,
            }
        }
        instance.cancel();
    }
}

#[test]
fn att_01_a_module_cut_anywhere_is_refused() {
    let code = module(SAMPLE);
    let mut block = Block::new(1 << 18);
    for len in 0..code.len() {
        let cut = Instance::load(block.bytes(), &code[..len], &options());
        // A cut between sections may leave a complete module.
        if let Ok(instance) = cut {
            assert!(len == 8 || !instance.has_start());
        }
    }
}

#[test]
fn att_02_a_module_with_any_byte_changed_is_refused_or_stays_in_the_sandbox() {
    let code = module(SAMPLE);
    let mut block = Block::new(1 << 18);
    let mut ran = 0;
    for at in 0..code.len() {
        for change in [1u8, 2, 4, 8, 16, 32, 64, 128, 0xff] {
            let mut changed = code.clone();
            changed[at] ^= change;
            if let Ok(mut instance) = Instance::load(block.bytes(), &changed, &options()) {
                ran += 1;
                exercise(&mut instance);
            }
        }
    }
    assert!(ran > 100);
}

#[test]
fn att_04_counts_that_cannot_be_are_refused_before_anything_is_sized() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for section in [1u8, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12] {
        let mut code = b"\0asm\x01\0\0\0".to_vec();
        code.extend([section, huge.len() as u8]);
        code.extend(huge);
        assert!(Instance::load(Block::new(4096).bytes(), &code, &options()).is_err());
    }
    // A function with 2^32 - 1 locals.
    let mut code =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x0a\x01\x08\x01".to_vec();
    code.extend(huge);
    code.extend([0x7f, 0x0b]);
    assert_eq!(
        fault(&code, Limits::default()),
        Fault::TooMany(Quantity::Locals)
    );
}

#[test]
fn att_05_deep_nesting_is_refused() {
    let deep = |depth: usize| {
        module(&format!(
            "(module (func {} {}))",
            "block ".repeat(depth),
            "end ".repeat(depth)
        ))
    };
    assert_eq!(fault(&deep(10_000), Limits::default()).code(), "too-deep");
    Instance::load(Block::new(1 << 20).bytes(), &deep(1000), &options()).unwrap();
}

#[test]
fn att_06_endless_recursion_exhausts_the_stack_and_nothing_else() {
    let code = module(r#"(module (func $f (export "run") (param i64) (call $f (local.get 0))))"#);
    for metered in [false, true] {
        let options = LoadOptions {
            metered,
            ..options()
        };
        let mut block = Block::new(1 << 16);
        let mut instance = Instance::load(block.bytes(), &code, &options).unwrap();
        for _ in 0..3 {
            instance.set_fuel(1 << 30);
            instance.invoke("run", &[Value::I64(1)]).unwrap();
            assert_eq!(instance.run(), Step::Trapped(Trap::StackExhausted));
        }
    }
}

#[test]
fn att_07_an_endless_loop_runs_out_of_fuel_at_the_exact_budget() {
    let code = module(
        r#"(module (global $n (export "n") (mut i32) (i32.const 0))
           (func (export "run") (loop
             (global.set $n (i32.add (global.get $n) (i32.const 1))) (br 0))))"#,
    );
    let mut block = Block::new(1 << 16);
    let mut instance = Instance::load(block.bytes(), &code, &options()).unwrap();
    instance.set_fuel(1000);
    instance.invoke("run", &[]).unwrap();
    assert_eq!(instance.run(), Step::OutOfFuel);
    assert_eq!(instance.fuel(), 0);
    let Some(Value::I32(first)) = instance.export_global("n") else {
        panic!()
    };
    // Nothing runs without fuel, and what is owed is paid before anything runs.
    assert_eq!(instance.run(), Step::OutOfFuel);
    assert_eq!(instance.export_global("n"), Some(Value::I32(first)));
    instance.set_fuel(1000);
    assert_eq!(instance.run(), Step::OutOfFuel);
    let Some(Value::I32(second)) = instance.export_global("n") else {
        panic!()
    };
    assert!(
        (first - (second - first)).abs() <= 1,
        "{first} then {}",
        second - first
    );
    assert_eq!(instance.invoke("run", &[]), Err(InvokeError::Busy));
}

#[test]
fn att_08_memory_grows_to_its_limits_only() {
    let code = module(
        r#"(module (memory 1 1000)
           (func (export "run") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    );
    let grow = |instance: &mut Instance<'_>, pages| {
        instance.set_fuel(1 << 30);
        instance.invoke("run", &[Value::I32(pages)]).unwrap();
        assert_eq!(instance.run(), Step::Done);
        let mut out = [Value::I32(0)];
        instance.results(&mut out);
        out[0]
    };
    // The block's end stops it.
    let mut block = Block::new(300_000);
    let mut instance = Instance::load(block.bytes(), &code, &options()).unwrap();
    assert_eq!(grow(&mut instance, 1), Value::I32(1));
    assert_eq!(grow(&mut instance, 10), Value::I32(-1));
    assert_eq!(grow(&mut instance, -1), Value::I32(-1));
    assert_eq!(grow(&mut instance, 1), Value::I32(2));
    assert_eq!(instance.memory().len(), 3 << 16);
    instance.reset().unwrap();
    assert_eq!(instance.memory().len(), 1 << 16);
    // The limit of the options stops it.
    let limits = Limits {
        memory_bytes: 2 << 16,
        ..options().limits
    };
    let mut block = Block::new(300_000);
    let options = LoadOptions {
        limits,
        ..options()
    };
    let mut instance = Instance::load(block.bytes(), &code, &options).unwrap();
    assert_eq!(grow(&mut instance, 1), Value::I32(1));
    assert_eq!(grow(&mut instance, 1), Value::I32(-1));
    // A minimum above the limit is refused.
    let code = module("(module (memory 3))");
    assert_eq!(fault(&code, limits), Fault::TooMany(Quantity::MemoryBytes));
}

#[test]
fn att_09_addresses_do_not_wrap() {
    let text = |body: &str| {
        module(&format!(
            r#"(module (memory 1) (func (export "run") {body}))"#
        ))
    };
    let bodies = [
        "(drop (i32.load offset=0xffffffff (i32.const -1)))",
        "(drop (i64.load offset=0xfffffff9 (i32.const 7)))",
        "(i32.store8 offset=0xffff (i32.const -65535) (i32.const 1))",
        "(i64.store (i32.const 65529) (i64.const 1))",
        "(drop (f64.load offset=65529 (i32.const 0)))",
        "(drop (i32.load (i32.const -2)))",
        "(memory.fill (i32.const 1) (i32.const 0) (i32.const -1))",
        "(memory.copy (i32.const 0) (i32.const 65535) (i32.const 2))",
        "(memory.copy (i32.const -1) (i32.const 0) (i32.const -1))",
    ];
    for body in bodies {
        let code = text(body);
        let mut block = Block::new(100_000);
        let mut instance = Instance::load(block.bytes(), &code, &options()).unwrap();
        instance.set_fuel(1000);
        instance.invoke("run", &[]).unwrap();
        assert_eq!(
            instance.run(),
            Step::Trapped(Trap::OutOfBoundsMemory),
            "{body}"
        );
    }
}

#[test]
fn att_14_features_that_are_left_out_are_named() {
    let cases = [
        (
            "(module (func (drop (v128.const i32x4 0 0 0 0))))",
            Feature::Simd,
        ),
        ("(module (memory 1 1 shared))", Feature::Threads),
        ("(module (memory i64 1))", Feature::Memory64),
        ("(module (memory 1) (memory 1))", Feature::MultiMemory),
        ("(module (type (struct)))", Feature::Gc),
        ("(module (tag))", Feature::Exceptions),
        ("(module (func $f (return_call $f)))", Feature::TailCalls),
        (
            r#"(module (import "a" "b" (memory 1)))"#,
            Feature::ImportedState,
        ),
    ];
    for (text, feature) in cases {
        let expected = Fault::UnsupportedFeature(feature);
        assert_eq!(fault(&module(text), Limits::default()), expected, "{text}");
    }
}

#[test]
fn att_16_validation_has_a_budget() {
    let mut body = String::new();
    for _ in 0..3000 {
        body.push_str("(func (local ");
        body.push_str(&"i64 ".repeat(120));
        body.push_str("))");
    }
    let code = module(&format!("(module {body})"));
    let limits = Limits {
        validation_work: 100_000,
        ..Limits::default()
    };
    assert_eq!(fault(&code, limits), Fault::ValidationBudget);
    Instance::load(Block::new(1 << 20).bytes(), &code, &options()).unwrap();
}

#[test]
fn a_view_of_a_module_takes_no_more_types_and_imports_than_it_can_match_soon() {
    let many = |types: usize, imports: usize| {
        let types = "(type (func))".repeat(types);
        let imports = r#"(import "h" "h" (func (type 0)))"#.repeat(imports);
        Module::parse(&module(&format!("(module {types}{imports})"))).map(|view| {
            assert_eq!(view.imports().count(), imports.matches("import").count());
        })
    };
    many(500, 500).unwrap();
    let refused = many(2000, 2000).unwrap_err().fault;
    assert_eq!(refused, Fault::TooMany(Quantity::Items));
}

#[test]
fn att_17_bytes_after_the_last_section_are_refused() {
    let mut code = module(SAMPLE);
    code.extend(module(SAMPLE));
    assert!(matches!(
        Instance::load(Block::new(1 << 18).bytes(), &code, &options()),
        Err(LoadError::Invalid(_))
    ));
}

#[test]
fn att_25_a_host_call_is_answered_once() {
    let code = module(
        r#"(module (import "h" "h" (func $h (result i32)))
           (func (export "run") (result i32) (call $h)))"#,
    );
    let mut block = Block::new(4096);
    let mut instance = Instance::load(block.bytes(), &code, &options()).unwrap();
    assert!(instance.resume(&[Value::I32(1)]).is_err());
    instance.set_fuel(100);
    instance.invoke("run", &[]).unwrap();
    assert!(matches!(instance.run(), Step::Call(_)));
    // A second `run` does not call again.
    assert!(matches!(instance.run(), Step::Call(_)));
    assert!(instance.resume(&[]).is_err());
    assert!(instance.resume(&[Value::I64(1)]).is_err());
    instance.resume(&[Value::I32(5)]).unwrap();
    assert!(instance.resume(&[Value::I32(6)]).is_err());
    assert_eq!(instance.run(), Step::Done);
    let mut out = [Value::I32(0)];
    assert_eq!(instance.results(&mut out), 1);
    assert_eq!(out[0], Value::I32(5));
}

#[test]
fn a_block_of_the_reported_size_is_enough_and_one_byte_less_is_not() {
    for text in [SAMPLE, include_str!("../benches/kernels/tiny.wat")] {
        let code = module(text);
        let limits = Limits {
            stack_slots: 64,
            ..Limits::default()
        };
        let options = LoadOptions {
            limits,
            ..options()
        };
        let mut scratch = Block::new(1 << 20);
        let facts = validate(&code, &limits, scratch.bytes()).unwrap();
        let needed = facts.block_bytes + facts.memory_bytes as usize;
        assert!(facts.load_bytes >= needed);
        let mut exact = Block::new(1 << 20);
        let bytes = &mut exact.bytes()[..facts.load_bytes];
        assert_eq!(
            Instance::load(bytes, &code, &options).unwrap().extent(),
            needed
        );
        let mut short = Block::new(1 << 20);
        let bytes = &mut short.bytes()[..facts.load_bytes - 1];
        assert!(matches!(
            Instance::load(bytes, &code, &options),
            Err(LoadError::OutOfMemory { .. })
        ));
        println!("{} bytes of wasm: {facts:?}", code.len());
    }
}

#[test]
fn blocks_of_any_size_are_filled_or_refused() {
    let code = module(SAMPLE);
    for len in (0..2000).step_by(7) {
        let mut block = Block::new(1 << 17);
        let bytes = &mut block.bytes()[..len];
        match Instance::load(bytes, &code, &options()) {
            Err(LoadError::OutOfMemory { needed }) => assert!(needed > len),
            other => panic!("{other:?}"),
        }
    }
}
