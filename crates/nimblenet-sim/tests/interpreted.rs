//! Real WebAssembly on real nodes, in virtual time.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_sim::{
    Device, Draft, Finished, Layout, LinkModel, Net, Publisher, SimExecutor, WasmExecutor,
};
use nimblenet_tasklet::{Area, Fault, NodeId, Trap};

/// Applies `std/triple` twice to its argument, and adds one hundred.
const CHAIN: &str = r#"(module
    (import "std/triple" "run" (func $triple (param i32) (result i32)))
    (func (export "run") (param i32) (result i32)
        (i32.add (i32.const 100) (call $triple (call $triple (local.get 0))))))"#;

const TRIPLE: &str = r#"(module (func (export "run") (param i32) (result i32)
    (i32.mul (local.get 0) (i32.const 3))))"#;

/// Returns the sum of a list of floats that is in the argument area.
const SUM: &str = include_str!("modules/sum.wat");

/// Reads the device's sensor into its memory at 0 and passes the list on to `std/sum`.
const SENSE: &str = r#"(module
    (import "shop/vibration" "run" (func $read (param i32 i32) (result i32)))
    (import "std/sum" "run" (func $sum (param i32 i32) (result f32)))
    (memory 1)
    (func (export "run") (result f32)
        (call $sum (i32.const 0) (call $read (i32.const 0) (i32.const 16)))))"#;

const SPIN: &str = r#"(module (func (export "run") (loop (br 0))))"#;

/// Grows its memory until that fails, and returns how often it succeeded.
const GROW: &str = r#"(module (memory 1) (func (export "run") (result i32) (local i32)
    (block (loop
        (br_if 1 (i32.lt_s (memory.grow (i32.const 1)) (i32.const 0)))
        (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br 0)))
    (local.get 0)))"#;

const TRAP: &str = r#"(module (memory 1) (func (export "run") (result i32)
    (i32.load (i32.const -4))))"#;

const CALLS_TRAP: &str = r#"(module (import "shop/trap" "run" (func $f (result i32)))
    (func (export "run") (result i32) (call $f)))"#;

fn draft(name: &str, wat: &str, signature: &str) -> Draft {
    Draft::new(name, wat::parse_str(wat).unwrap(), signature)
}

fn net(layout: &Layout) -> Net {
    let mut sum = draft("sum", SUM, "func(list<f32>) -> f32");
    sum.memory_bytes = 65536;
    sum.area = Area {
        offset: 1024,
        len: 512,
    };
    let triple = draft("triple", TRIPLE, "func(s32) -> s32");
    let mut sense = draft("sense", SENSE, "func() -> f32")
        .calling("shop/vibration", "func() -> list<f32>")
        .calling("std/sum", "func(list<f32>) -> f32");
    sense.memory_bytes = 65536;
    let mut spin = draft("spin", SPIN, "func()");
    spin.fuel = 3_000_000;
    let mut grow = draft("grow", GROW, "func() -> s32");
    grow.memory_bytes = 3 * 65536;
    let mut trap = draft("trap", TRAP, "func() -> s32");
    trap.memory_bytes = 65536;
    let shop = vec![
        draft("chain", CHAIN, "func(s32) -> s32").calling("std/triple", "func(s32) -> s32"),
        sense,
        Draft::new("vibration", Vec::new(), "func() -> list<f32>").native(),
        draft("calls-trap", CALLS_TRAP, "func() -> s32").calling("shop/trap", "func() -> s32"),
        spin,
        grow,
        trap,
        Draft::new("broken", b"\0asm\x01\0\0\0\x07\x7f".to_vec(), "func()"),
    ];
    let shelves = vec![
        (Publisher::new("std"), vec![sum, triple]),
        (Publisher::new("shop"), shop),
    ];
    let executor = |_: NodeId| -> Box<dyn SimExecutor> {
        // The CBOR array of one list: [[1.5, 2.5, -1]].
        let readings = [
            0x81, 0x83, 0xfa, 0x3f, 0xc0, 0, 0, 0xfa, 0x40, 0x20, 0, 0, 0xfa, 0xbf, 0x80, 0, 0,
        ];
        let device = Device::default().with("shop/vibration", &readings);
        Box::new(WasmExecutor::new(1 << 20, 100_000, device))
    };
    let mut net = Net::new(1, layout, LinkModel::PAPER, shelves, |_| {}, executor);
    net.run_for(Duration::from_secs(30));
    net
}

fn value(finished: &Finished) -> i64 {
    let bytes = finished
        .result
        .as_ref()
        .unwrap_or_else(|fault| panic!("{fault}: {finished:?}"));
    let mut decoder = minicbor::Decoder::new(bytes);
    assert_eq!(decoder.array().unwrap(), Some(1));
    decoder.i64().unwrap()
}

#[test]
fn a_chain_is_suspended_while_its_callee_is_fetched_and_returns_the_right_number() {
    let mut net = net(&Layout::line(3));
    let call = net.run_call_with(3, "shop/chain", &[0x81, 7]);
    assert_eq!(value(&call), 100 + 7 * 9);
    let names: Vec<_> = call
        .steps
        .iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(names, ["shop/chain", "std/triple", "std/triple"]);
}

#[test]
fn a_native_sensor_and_a_wasm_algorithm_mix_in_one_chain() {
    let mut net = net(&Layout::pair());
    let call = net.run_call(2, "shop/sense");
    assert_eq!(call.result, Ok(vec![0x81, 0xfa, 0x40, 0x40, 0, 0]), "[3.0]");
}

#[test]
fn an_endless_loop_ends_with_its_fuel_and_other_calls_are_served_meanwhile() {
    let mut net = net(&Layout::pair());
    net.run_call_with(2, "shop/chain", &[0x81, 1]);
    let spin = net.call(2, "shop/spin", &[0x80]).unwrap();
    let chain = net.run_call_with(2, "shop/chain", &[0x81, 1]);
    assert_eq!(value(&chain), 109);
    assert!(
        net.finished(2, spin).is_none(),
        "it yields after each slice"
    );
    assert_eq!(
        net.run_until_finished(2, spin).result,
        Err(Fault::OutOfFuel)
    );
}

#[test]
fn memory_grows_to_the_entry_s_ceiling_and_no_further() {
    let mut net = net(&Layout::pair());
    assert_eq!(value(&net.run_call(2, "shop/grow")), 2);
}

#[test]
fn a_trap_in_a_callee_fails_the_chain_and_names_the_trap() {
    let mut net = net(&Layout::pair());
    let call = net.run_call(2, "shop/calls-trap");
    assert_eq!(
        (call.result, call.trap),
        (Err(Fault::Trapped), Some(Trap::OutOfBoundsMemory))
    );
    assert_eq!(net.node(2).cache().reservations(), 0);
}

#[test]
fn every_bad_tasklet_has_its_code_and_the_next_call_is_served() {
    let mut net = net(&Layout::pair());
    assert_eq!(
        net.run_call(2, "shop/broken").result,
        Err(Fault::InvalidModule)
    );
    assert_eq!(net.run_call(2, "shop/spin").result, Err(Fault::OutOfFuel));
    assert_eq!(
        net.run_call_with(2, "shop/chain", &[0x81, 0x60]).result,
        Err(Fault::WrongArguments)
    );
    assert_eq!(value(&net.run_call_with(2, "shop/chain", &[0x81, 2])), 118);
}
