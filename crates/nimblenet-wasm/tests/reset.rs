//! A reset restores the instance that loading made, byte for byte, wherever its run is suspended
//! and whatever it has done. A block is used again only if it is unchanged, and only with its
//! module.
#![allow(clippy::unwrap_used)]

mod support;

use nimblenet_wasm::{Blocks, Instance, Limits, LoadOptions, Part, Step, Trap, Value};
use support::{Block, module, options};

/// Changes all kinds of state, with host calls in between. The argument says how the run ends.
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

/// The bytes of the instance that loading makes.
fn loaded(part: &mut Part<'_>, code: &[u8], options: &LoadOptions) -> Vec<u8> {
    let instance = part.load(0, code, options).unwrap();
    instance.block()[..instance.extent()].to_vec()
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

/// Runs start function and export with that much fuel; returns how it ended.
fn run(instance: &mut Instance<'_>, end: i32, fuel: u64) -> Step {
    instance.set_fuel(fuel);
    instance.invoke_start().unwrap();
    let mut begun = false;
    loop {
        match instance.run() {
            Step::Call(_) if instance.fuel().is_multiple_of(3) && fuel.is_multiple_of(5) => {
                instance.fail(Trap::HostFailure);
            }
            Step::Call(_) => instance.resume(&[Value::I32(3)]).unwrap(),
            Step::Done if !begun => {
                begun = true;
                instance.invoke("run", &[Value::I32(end)]).unwrap();
            }
            other @ (Step::Done | Step::OutOfFuel | Step::Trapped(_)) => return other,
        }
    }
}

#[test]
fn a_reset_after_any_number_of_steps_and_any_end_gives_the_loaded_instance() {
    let code = module(RESTLESS);
    let mut block = Block::new(400_000);
    let mut blocks: Blocks<'_, 1> = Blocks::new(block.bytes());
    let mut part = blocks.all();
    let fresh = loaded(&mut part, &code, &growing());
    let mut ends = [0; 3];
    for end in 0..4 {
        for fuel in (0..700).chain([20_000]) {
            let (_, mut instance) = part.attach(0, &code).unwrap();
            match run(&mut instance, end, fuel) {
                Step::Done => ends[0] += 1,
                Step::Trapped(_) => ends[1] += 1,
                Step::Call(_) | Step::OutOfFuel => ends[2] += 1,
            }
            instance.reset().unwrap();
            assert_eq!(instance.extent(), fresh.len());
            let same = instance.block()[..fresh.len()] == fresh;
            assert!(same, "end {end} with {fuel} fuel");
        }
    }
    assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
}

#[test]
fn a_block_cut_short_of_its_memory_is_refused_and_good_again_once_it_is_long_enough() {
    let code = module(RESTLESS);
    let mut block = Block::new(400_000);
    let mut blocks: Blocks<'_, 1> = Blocks::new(block.bytes());
    let fresh = loaded(&mut blocks.all(), &code, &growing());
    // Without the memory that it has grown by, as if other blocks had taken that.
    let mut part = blocks.part(0..fresh.len());
    let (_, mut instance) = part.attach(0, &code).unwrap();
    instance.memory_mut().fill(1);
    instance.reset().unwrap();
    assert!(instance.block() == fresh);
    // A block that is cut off is refused.
    blocks.part(0..fresh.len() - 1);
    assert!(blocks.all().attach(0, &code).is_err());
}

#[test]
fn a_block_is_taken_up_with_the_bytes_of_its_module_only() {
    let code = module(RESTLESS);
    let mut block = Block::new(200_000);
    let mut blocks: Blocks<'_, 1> = Blocks::new(block.bytes());
    blocks.all().load(0, &code, &growing()).unwrap();
    for at in 0..code.len() {
        let mut other = code.clone();
        other[at] ^= 1 << (at % 8);
        assert!(blocks.all().attach(0, &other).is_err(), "byte {at}");
    }
    assert!(blocks.all().attach(0, &code[..code.len() - 1]).is_err());
    assert!(blocks.all().attach(0, &[]).is_err());
    assert!(blocks.all().attach(0, &code).is_ok());
}

#[test]
fn a_block_that_is_written_to_is_given_up_and_one_that_moves_is_not() {
    let code = module(r#"(module (memory 1) (func (export "run") (result i32) (i32.const 7)))"#);
    let mut block = Block::new(1 << 20);
    let mut blocks: Blocks<'_, 4> = Blocks::new(block.bytes());
    let extent = blocks.all().load(1024, &code, &options()).unwrap().extent();
    let end = 1024 + extent;
    let runs = |blocks: &mut Blocks<'_, 4>, at: usize| {
        let mut part = blocks.all();
        let Ok((before, mut instance)) = part.attach(at, &code) else {
            return false;
        };
        assert_eq!(before.len(), at);
        instance.set_fuel(100);
        instance.invoke("run", &[]).unwrap();
        assert_eq!(instance.run(), Step::Done);
        true
    };
    // The bytes around it may be written to.
    blocks.all().write(0, &[0xff; 1024]).unwrap();
    blocks.all().write(end, &[0xff; 100]).unwrap();
    assert!(runs(&mut blocks, 1024));
    // It moves up and down, and with other blocks around it.
    blocks.all().shift(1024..end, 2048);
    assert!(!runs(&mut blocks, 1024) && runs(&mut blocks, 2048));
    blocks.all().rotate(512..2048 + extent, 1536);
    assert!(!runs(&mut blocks, 2048) && runs(&mut blocks, 512));
    blocks.all().rotate(512..1024 + extent, extent);
    assert!(runs(&mut blocks, 1024));
    // No block may start at an address that is not a multiple of 8.
    blocks.all().shift(1024..end, 1028);
    assert!(!runs(&mut blocks, 1028));
    for at in [1024, 1024 + extent / 2, end - 1] {
        blocks.all().load(1024, &code, &options()).unwrap();
        blocks.all().write(at, &[0]).unwrap();
        assert!(!runs(&mut blocks, 1024), "written to at {at}");
    }
    // Another block in its place, or over its end.
    blocks.all().load(1024, &code, &options()).unwrap();
    blocks.all().load(1024 + 512, &code, &options()).unwrap();
    assert!(!runs(&mut blocks, 1024) && runs(&mut blocks, 1024 + 512));
    // A block that is used again may grow over all bytes above it.
    blocks.all().load(0, &code, &options()).unwrap();
    blocks.all().load(2 * extent, &code, &options()).unwrap();
    assert!(runs(&mut blocks, 2 * extent) && runs(&mut blocks, 0));
    assert!(!runs(&mut blocks, 2 * extent));
}
