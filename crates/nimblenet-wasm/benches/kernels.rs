//! Small kernels on this interpreter and on wasmi.
//!
//! `cargo bench -p nimblenet-wasm` prints times. For instruction counts, which do not depend on
//! what else the machine does, run one kernel of one engine a given number of times:
//!
//! ```text
//! valgrind --tool=callgrind target/release/deps/kernels-* nimblenet crc32 1
//! ```
//! and take the difference between two numbers of times. Engines: `nimblenet`, `metered`, `wasmi`.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::time::Instant;

use nimblenet_wasm::{Blocks, Instance, Limits, LoadOptions, Step, Value, aligned};

const KERNELS: [(&str, i32); 7] = [
    ("fib", 20),
    ("sieve", 20_000),
    ("crc32", 16_384),
    ("matmul", 24),
    ("biquad", 4096),
    ("sort", 300),
    ("hostcalls", 2000),
];

fn code(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

struct Ours {
    code: Vec<u8>,
    block: Blocks<'static, 1>,
    options: LoadOptions,
}

impl Ours {
    fn new(code: Vec<u8>, metered: bool) -> Self {
        let limits = Limits {
            stack_slots: 4096,
            ..Limits::default()
        };
        let options = LoadOptions {
            limits,
            metered,
            digest: [0; 32],
        };
        let mut this = Self {
            code,
            block: Blocks::new(aligned(vec![0; 512 << 10].leak())),
            options,
        };
        this.load();
        this
    }

    fn load(&mut self) {
        let mut part = self.block.all();
        part.load(0, &self.code, &self.options).unwrap();
    }

    fn run(&mut self, kernel: &str, n: i32) -> i32 {
        let mut part = self.block.all();
        let (_, mut instance) = part.attach(0, &self.code).unwrap();
        instance.set_fuel(u64::MAX >> 1);
        instance.invoke(kernel, &[Value::I32(n)]).unwrap();
        loop {
            match instance.run() {
                Step::Done => break,
                Step::Call(_) => {
                    let mut args = [Value::I32(0); 2];
                    instance.call_args(&mut args);
                    let [Value::I32(a), Value::I32(b)] = args else {
                        panic!("arguments")
                    };
                    instance.resume(&[Value::I32(a.wrapping_add(b))]).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
        let mut out = [Value::I32(0)];
        instance.results(&mut out);
        let [Value::I32(out)] = out else {
            panic!("result")
        };
        out
    }
}

struct Wasmi {
    store: wasmi::Store<()>,
    instance: wasmi::Instance,
}

impl Wasmi {
    fn new(code: &[u8]) -> Self {
        let engine = wasmi::Engine::default();
        let module = wasmi::Module::new(&engine, code).unwrap();
        let mut store = wasmi::Store::new(&engine, ());
        let mut linker = wasmi::Linker::new(&engine);
        linker
            .func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b))
            .unwrap();
        let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
        Self { store, instance }
    }

    fn run(&mut self, kernel: &str, n: i32) -> i32 {
        let run = self
            .instance
            .get_typed_func::<i32, i32>(&self.store, kernel)
            .unwrap();
        run.call(&mut self.store, n).unwrap()
    }
}

/// Runs one kernel, or loads the tiny module, `times` times.
fn single(engine: &str, kernel: &str, times: u32) {
    let text = include_str!("kernels/all.wat");
    let tiny = code(include_str!("kernels/tiny.wat"));
    let n = KERNELS
        .iter()
        .find(|(name, _)| *name == kernel)
        .map_or(0, |(_, n)| *n);
    match (engine, kernel) {
        ("wasmi", "load") => (0..times).for_each(|_| drop(Wasmi::new(&tiny))),
        (_, "load") => {
            let mut ours = Ours::new(tiny, engine == "metered");
            (0..times).for_each(|_| ours.load());
        }
        ("wasmi", _) => {
            let mut wasmi = Wasmi::new(&code(text));
            (0..times).for_each(|_| assert_ne!(wasmi.run(kernel, n), -1));
        }
        _ => {
            let mut ours = Ours::new(code(text), engine == "metered");
            (0..times).for_each(|_| assert_ne!(ours.run(kernel, n), -1));
        }
    }
}

/// The shortest of several runs, in microseconds.
#[allow(clippy::disallowed_methods)] // measuring is what this is for
fn time<T>(mut f: impl FnMut() -> T) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..30 {
        let start = Instant::now();
        core::hint::black_box(f());
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * 1e6
}

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    if let [engine, kernel, times] = args.as_slice() {
        return single(engine, kernel, times.parse().unwrap());
    }
    let all = code(include_str!("kernels/all.wat"));
    let (mut ours, mut metered) = (Ours::new(all.clone(), false), Ours::new(all.clone(), true));
    let mut wasmi = Wasmi::new(&all);
    println!(
        "{:10} {:>10} {:>10} {:>10}  microseconds",
        "kernel", "nimblenet", "metered", "wasmi"
    );
    let mut product = 1.0;
    for (kernel, n) in KERNELS {
        let expected = wasmi.run(kernel, n);
        assert_eq!(ours.run(kernel, n), expected, "{kernel}");
        assert_eq!(metered.run(kernel, n), expected, "{kernel}");
        let us = time(|| ours.run(kernel, n));
        let with_fuel = time(|| metered.run(kernel, n));
        let other = time(|| wasmi.run(kernel, n));
        product *= us / other;
        println!(
            "{kernel:10} {us:10.1} {with_fuel:10.1} {other:10.1}  {:.2}",
            us / other
        );
    }
    println!(
        "geometric mean of the ratios {:.2}",
        f64::powf(product, 1.0 / KERNELS.len() as f64)
    );
    let tiny = code(include_str!("kernels/tiny.wat"));
    let mut ours = Ours::new(tiny.clone(), true);
    let us = time(|| ours.load());
    let other = time(|| drop(Wasmi::new(&tiny)));
    println!("load {} B {us:9.2} {:>10} {other:10.2}", tiny.len(), "");
    images();
}

/// Freezing and thawing a run with about a kilobyte of live state.
fn images() {
    let code = code(
        r#"(module (import "h" "h" (func $h)) (memory (export "memory") 1)
           (func (export "run") (param i32)
             (loop (i32.store8 (local.get 0) (i32.or (local.get 0) (i32.const 1)))
               (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
             (call $h)))"#,
    );
    let options = LoadOptions::default();
    let mut here = vec![0; 300_000];
    let mut there = vec![0; 300_000];
    let mut instance = Instance::load(aligned(&mut here), &code, &options).unwrap();
    instance.set_fuel(u64::MAX >> 1);
    instance.invoke("run", &[Value::I32(1024)]).unwrap();
    assert!(matches!(instance.run(), Step::Call(_)));
    let mut image = vec![0; 2000];
    let len = instance.freeze(&mut image).unwrap();
    let freeze = time(|| instance.freeze(&mut image).unwrap());
    let thaw = time(|| {
        Instance::thaw(aligned(&mut there), &code, &image[..len], &options)
            .unwrap()
            .extent()
    });
    println!("image of {len} B: freeze {freeze:.2}, thaw with loading {thaw:.2}");
}
