//! Measures how much of the machine's own stack a run takes: as much for a million instructions as
//! for a few, with every dispatcher.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use nimblenet_wasm::{Instance, Step, Value};
use support::{Block, module, options};

const LOOP: &str = r#"(module (memory 1) (func $id (param i32) (result i32) (local.get 0))
  (func (export "run") (param i32) (result i32) (local i32 f64)
    (loop
      (i32.store8 (local.get 1) (i32.popcnt (local.get 0)))
      (local.set 1 (i32.xor (call $id (local.get 1)) (i32.load16_u (local.get 1))))
      (local.set 1 (i32.and (local.get 1) (i32.const 1023)))
      (local.set 2 (f64.add (local.get 2) (f64.const 0.1)))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1)))"#;

/// Runs on a thread whose stack is small: a handler that does not end in a jump would take 16
/// bytes at least, and a million instructions 16 MB.
#[test]
fn a_million_instructions_take_no_more_stack_than_one() {
    let run = || {
        let code = module(LOOP);
        let mut block = Block::new(100_000);
        let mut instance = Instance::load(block.bytes(), &code, &options()).unwrap();
        instance.set_fuel(1 << 40);
        instance.invoke("run", &[Value::I32(200_000)]).unwrap();
        assert_eq!(instance.run(), Step::Done);
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    thread.spawn(run).unwrap().join().unwrap();
}
