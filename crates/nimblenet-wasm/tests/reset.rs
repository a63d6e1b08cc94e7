//! A reset makes of any instance the one that loading made, byte for byte, wherever its run stands
//! and whatever it has done; and other bytes than the module's do no harm.
#![allow(clippy::unwrap_used)]

mod support;

use nimblenet_wasm::{Instance, Limits, LoadError, LoadOptions, Step, Trap, Value};
use proptest::prelude::*;
use support::{Block, module, options};

/// Changes all the state there is, with host calls on the way. The argument says how it ends.
const RESTLESS: &str = r#"(module
  (import "host" "tell" (func $tell (param i32) (result i32)))
  (type $op (func (param i32) (result i32)))
  (memory 1 3)
  (data (i32.const 8) "hello, data")
  (data $later "passive")
  (table $t 4 8 funcref)
  (table $x 2 externref)
  (elem (i32.const 1) $double $square)
  (elem $more func $square $double)
  (elem declare func $deep)
  (global $begun (mut i32) (i32.const 0))
  (global $g (mut i64) (i64.const 5))
  (global $r (mut funcref) (ref.func $double))
  (start $begin)
  (func $begin
    (global.set $begun (i32.add (global.get $begun) (i32.const 1)))
    (i32.store (i32.const 0) (call $tell (i32.const -1)))
    (table.set $t (i32.const 0) (ref.func $square)))
  (func $double (type $op) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (type $op) (i32.mul (local.get 0) (local.get 0)))
  (func $deep (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
      (else (call $tell (global.get $begun)))))
  (func (export "run") (param $end i32) (result i32)
    (memory.fill (i32.const 4) (i32.const 7) (i32.const 40))
    (memory.init $later (i32.const 60000) (i32.const 0) (i32.const 7))
    (data.drop $later)
    (table.init $t $more (i32.const 2) (i32.const 0) (i32.const 2))
    (elem.drop $more)
    (drop (table.grow $t (ref.null func) (i32.const 2)))
    (table.fill $t (i32.const 1) (ref.func $deep) (i32.const 2))
    (drop (memory.grow (i32.const 1)))
    (i32.store (i32.const 70000) (i32.const -1))
    (global.set $g (i64.const -1))
    (global.set $r (ref.null func))
    (drop (call $deep (i32.const 20)))
    (block (block (block (block (br_table 0 1 2 3 (local.get $end)))
      (return (call_indirect $t (type $op) (i32.const 3) (i32.const 0))))
      (unreachable))
      (return (i32.div_u (i32.const 1) (i32.const 0))))
    (call $deep (i32.const 2000))))"#;

fn loaded(block: &mut Block, code: &[u8], options: &LoadOptions) -> Vec<u8> {
    let instance = Instance::load(block.bytes(), code, options).unwrap();
    let len = instance.extent();
    instance.into_block()[..len].to_vec()
}

fn growing() -> LoadOptions {
    LoadOptions {
        limits: Limits {
            table_growth: 4,
            ..options().limits
        },
        ..options()
    }
}

/// Runs start function and export with that much fuel; returns how far it came.
fn run(instance: &mut Instance<'_>, code: &[u8], end: i32, fuel: u64) -> Step {
    instance.set_fuel(fuel);
    instance.invoke_start().unwrap();
    let mut begun = false;
    loop {
        match instance.run(code) {
            Step::Call(_) if instance.fuel().is_multiple_of(3) && fuel.is_multiple_of(5) => {
                instance.fail(Trap::HostFailure);
            }
            Step::Call(_) => instance.resume(&[Value::I32(3)]).unwrap(),
            Step::Done if !begun => {
                begun = true;
                instance.invoke(code, "run", &[Value::I32(end)]).unwrap();
            }
            other @ (Step::Done | Step::OutOfFuel | Step::Trapped(_)) => return other,
        }
    }
}

#[test]
fn a_reset_after_any_number_of_steps_and_any_end_gives_the_loaded_instance() {
    let code = module(RESTLESS);
    let mut block = Block::new(400_000);
    let fresh = loaded(&mut block, &code, &growing());
    let mut ends = [0; 3];
    for end in 0..4 {
        for fuel in (0..700).chain([20_000]) {
            let mut instance = Instance::attach(block.bytes()).unwrap();
            match run(&mut instance, &code, end, fuel) {
                Step::Done => ends[0] += 1,
                Step::Trapped(_) => ends[1] += 1,
                Step::Call(_) | Step::OutOfFuel => ends[2] += 1,
            }
            instance.reset(&code).unwrap();
            assert_eq!(instance.extent(), fresh.len());
            let same = instance.into_block()[..fresh.len()] == fresh;
            assert!(same, "end {end} with {fuel} fuel");
        }
    }
    assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
}

#[test]
fn a_block_cut_short_of_its_memory_is_refused_and_good_again_once_it_is_long_enough() {
    let code = module(RESTLESS);
    let mut block = Block::new(400_000);
    let fresh = loaded(&mut block, &code, &growing());
    let start = fresh.len();
    let bytes = block.bytes();
    // No memory, as if it had been taken by somebody else.
    let mut instance = Instance::attach(&mut bytes[..start]).unwrap();
    instance.memory_mut().fill(1);
    instance.reset(&code).unwrap();
    let other = module(r#"(module (func (export "run")))"#);
    assert_eq!(instance.reset(&other), Err(LoadError::WrongModule));
    assert!(bytes[..start] == fresh);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Bytes that are not the module's, of the same length.
    #[test]
    fn other_bytes_at_a_reset_change_no_more_than_state(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let code = module(RESTLESS);
        let mut block = Block::new(200_000);
        let fresh = loaded(&mut block, &code, &growing());
        let mut other = code.clone();
        for (at, byte) in &changes {
            let at = at.index(other.len());
            other[at] = *byte;
        }
        let mut instance = Instance::attach(block.bytes()).unwrap();
        let _ = instance.reset(&other);
        instance.reset(&code).unwrap();
        prop_assert!(instance.into_block()[..fresh.len()] == fresh);
    }
}
