//! A run that has trapped, waits or is out of fuel reports its instruction in the module, however
//! the translator has changed the code. Another reader of modules gives the expected instruction.
#![allow(clippy::unwrap_used)]

mod support;

use nimblenet_wasm::{Instance, Position, Step, Trap, Value};
use support::{Block, instruction_at, module, options};

/// Function 0 is an import, 1 does nothing wrong; each of the others can end in one place only,
/// except the last ones, which call others.
const WRONG: &str = r#"(module
  (import "host" "tell" (func $tell (param i32) (result i32)))
  (type $op (func (param i32) (result i32)))
  (memory 1)
  (data $later "passive")
  (table $t 3 funcref)
  (elem (i32.const 0) $fine $unreachable-op)
  (elem $more func $fine)
  (func $fine (type $op)
    (local $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 9))))
    (i32.div_u (local.get $i) (i32.const 3)))
  (func $unreachable-op (export "unreachable") (param i64) (result i32)
    (if (i64.eqz (local.get 0)) (then unreachable)) (i32.const 0))
  (func (export "divide") (param i32) (result i32)
    (local i32)
    (local.set 1 (i32.const 70000))
    (i32.mul (i32.const 3) (i32.div_s (local.tee 1 (i32.add (local.get 1) (i32.const 1)))
      (local.get 0))))
  (func (export "remainder") (param i64) (result i64)
    (local.set 0 (i64.rem_u (i64.const 5000000000) (local.get 0))) (local.get 0))
  (func (export "overflow") (param i64) (result i64)
    (i64.div_s (i64.const 0x8000000000000000) (local.get 0)))
  (func (export "too-large") (param f64) (result i32)
    (i32.trunc_f64_s (f64.mul (local.get 0) (f64.const 1e10))))
  (func (export "no-number") (param f32) (result i64)
    (i64.trunc_f32_u (f32.div (local.get 0) (local.get 0))))
  (func (export "load") (param i32 i32) (result i32)
    (if (i32.eqz (i32.load8_u offset=65537 (i32.add (local.get 0) (local.get 1))))
      (then (return (i32.const 1))))
    (i32.const 2))
  (func (export "load-sum") (param i32 i32) (result i64)
    (i64.load16_s (i32.add (local.get 0) (local.get 1))))
  (func (export "store") (param i32) (param f64)
    (f64.store offset=8 (i32.shl (local.get 0) (i32.const 2)) (f64.neg (local.get 1))))
  (func (export "store-far") (param i32)
    (i32.store16 offset=80000 (local.get 0) (i32.const 7)))
  (func (export "fill") (param i32)
    (memory.fill (local.get 0) (i32.const 1) (i32.const 2)))
  (func (export "init") (param i32)
    (data.drop $later)
    (memory.init $later (local.get 0) (i32.const 0) (i32.const 1)))
  (func (export "table") (param i32) (result funcref)
    (table.get $t (local.get 0)))
  (func (export "table-copy") (param i32)
    (table.copy (local.get 0) (i32.const 0) (i32.const 2)))
  (func $indirect (export "indirect") (param i32) (result i32)
    (i32.add (i32.const 1)
      (call_indirect (type $op) (i32.const 5) (local.get 0))))
  (func $deep (export "deep") (param i32) (result i32)
    (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))
  (func (export "through") (param i32) (result i32)
    (drop (call $fine (i32.const 1)))
    (drop (call $indirect (i32.const 0)))
    (call $indirect (local.get 0)))
  (func (export "tell") (param i32) (result i32)
    (local funcref)
    (i32.add (i32.const 1) (call $tell (i32.const 2))))
  (func (export "endless") (param i32)
    (drop (call $fine (i32.const 1)))
    (block (loop (br_if 1 (local.get 0)) (br 0)))))"#;

fn i32s(values: &[i32]) -> Vec<Value> {
    values.iter().map(|&value| Value::I32(value)).collect()
}

/// Runs an export until it is suspended or ends.
fn run<'b>(
    block: &'b mut Block,
    code: &'b [u8],
    export: &str,
    args: &[Value],
) -> (Instance<'b>, Step) {
    let mut instance = Instance::load(block.bytes(), code, &options()).unwrap();
    instance.set_fuel(100_000);
    instance.invoke(export, args).unwrap();
    let step = instance.run();
    (instance, step)
}

fn position(instance: &Instance<'_>) -> Option<Position> {
    instance.position(&mut vec![0xa5; 8 << 10])
}

#[test]
fn every_kind_of_trap_is_where_it_arises() {
    let code = module(WRONG);
    let wide = |value| vec![Value::I64(value)];
    let cases = [
        ("unreachable", wide(0), Trap::Unreachable, 2, "Unreachable"),
        ("divide", i32s(&[0]), Trap::DivideByZero, 3, "I32DivS"),
        ("remainder", wide(0), Trap::DivideByZero, 4, "I64RemU"),
        ("overflow", wide(-1), Trap::IntegerOverflow, 5, "I64DivS"),
        (
            "too-large",
            vec![Value::F64(1f64.to_bits())],
            Trap::IntegerOverflow,
            6,
            "I32TruncF64S",
        ),
        (
            "no-number",
            vec![Value::F32(0)],
            Trap::BadConversion,
            7,
            "I64TruncF32U",
        ),
        (
            "load",
            i32s(&[-1, 0]),
            Trap::OutOfBoundsMemory,
            8,
            "I32Load8U",
        ),
        (
            "load-sum",
            i32s(&[65535, 0]),
            Trap::OutOfBoundsMemory,
            9,
            "I64Load16S",
        ),
        (
            "store",
            [i32s(&[16383]), vec![Value::F64(1f64.to_bits())]].concat(),
            Trap::OutOfBoundsMemory,
            10,
            "F64Store",
        ),
        (
            "store-far",
            i32s(&[-1]),
            Trap::OutOfBoundsMemory,
            11,
            "I32Store16",
        ),
        (
            "fill",
            i32s(&[65535]),
            Trap::OutOfBoundsMemory,
            12,
            "MemoryFill",
        ),
        (
            "init",
            i32s(&[0]),
            Trap::OutOfBoundsMemory,
            13,
            "MemoryInit",
        ),
        ("table", i32s(&[3]), Trap::OutOfBoundsTable, 14, "TableGet"),
        (
            "table-copy",
            i32s(&[2]),
            Trap::OutOfBoundsTable,
            15,
            "TableCopy",
        ),
        (
            "indirect",
            i32s(&[3]),
            Trap::UndefinedElement,
            16,
            "CallIndirect",
        ),
        (
            "indirect",
            i32s(&[2]),
            Trap::UninitialisedElement,
            16,
            "CallIndirect",
        ),
        (
            "indirect",
            i32s(&[1]),
            Trap::IndirectCallType,
            16,
            "CallIndirect",
        ),
        (
            "through",
            i32s(&[1]),
            Trap::IndirectCallType,
            16,
            "CallIndirect",
        ),
        ("deep", i32s(&[1]), Trap::StackExhausted, 17, "Call "),
    ];
    for (export, args, trap, function, operator) in cases {
        let mut block = Block::new(300_000);
        let (instance, step) = run(&mut block, &code, export, &args);
        assert_eq!(step, Step::Trapped(trap), "{export}");
        let found = position(&instance).unwrap();
        assert_eq!(found.function, function, "{export}");
        let instruction = instruction_at(&code, found).unwrap();
        assert!(
            instruction.starts_with(operator),
            "{export} at {instruction}"
        );
    }
}

#[test]
fn a_call_of_the_host_is_where_it_was_made_while_it_waits_and_when_it_fails() {
    let code = module(WRONG);
    let mut block = Block::new(300_000);
    let (mut instance, step) = run(&mut block, &code, "tell", &i32s(&[1]));
    assert!(matches!(step, Step::Call(_)));
    let waiting = position(&instance).unwrap();
    assert_eq!(waiting.function, 19);
    let instruction = instruction_at(&code, waiting).unwrap();
    assert_eq!(instruction, "Call { function_index: 0 }");
    instance.fail(Trap::HostFailure);
    assert_eq!(instance.run(), Step::Trapped(Trap::HostFailure));
    assert_eq!(position(&instance), Some(waiting));
}

#[test]
fn a_run_out_of_fuel_stands_at_its_loop() {
    let code = module(WRONG);
    let mut block = Block::new(300_000);
    let (instance, step) = run(&mut block, &code, "endless", &i32s(&[0]));
    assert_eq!(step, Step::OutOfFuel);
    let found = position(&instance).unwrap();
    assert_eq!(found.function, 20);
    assert!(instruction_at(&code, found).unwrap().starts_with("Loop"));
}

#[test]
fn nothing_is_told_where_nothing_runs_or_there_is_no_room_to_find_out() {
    let code = module(WRONG);
    let mut block = Block::new(300_000);
    let mut idle = Instance::load(block.bytes(), &code, &options()).unwrap();
    assert_eq!(position(&idle), None);
    idle.set_fuel(100_000);
    idle.invoke("indirect", &i32s(&[0])).unwrap();
    assert_eq!(idle.run(), Step::Done);
    assert_eq!(position(&idle), None);

    idle.invoke("divide", &i32s(&[0])).unwrap();
    assert_eq!(idle.run(), Step::Trapped(Trap::DivideByZero));
    let known = position(&idle);
    for room in 0..2000 {
        let found = idle.position(&mut vec![0xa5; room]);
        assert!(found.is_none() || found == known, "with {room} bytes");
    }
    // The search changes neither the position nor the instance.
    assert_eq!(position(&idle), known);
    idle.invoke("indirect", &i32s(&[0])).unwrap();
    assert_eq!(idle.run(), Step::Done);
}
