//! An image from a stranger thaws to a run that can be frozen and thawed again, or it is refused.
//! Nothing else happens, however the image was changed and however its run goes on.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use nimblenet_wasm::{
    Instance, InvokeError, LoadOptions, ResumeError, Step, ThawError, ValType, Value,
};
use proptest::prelude::*;
use support::{Block, module, options, seal};

/// References to functions wherever they can be while a run is suspended: in globals, tables,
/// parameters, locals and operands, as arguments and results of imports, and in callers' frames.
const REFERRING: &str = r#"(module
  (import "h" "ask" (func $ask (param funcref i32) (result funcref)))
  (type $op (func (param funcref) (result i32)))
  (global $g (mut funcref) (ref.func $deep))
  (global $x (mut externref) (ref.null extern))
  (global $n (mut i64) (i64.const 5))
  (memory 1)
  (data (i32.const 8) "")
  (data (i32.const 16) "abc")
  (table $t 4 8 funcref)
  (elem (i32.const 1) $deep $leaf)
  (elem declare func $ask)
  (func $leaf (type $op)
    (global.set $g (local.get 0))
    (table.set $t (i32.const 3) (local.get 0))
    (i32.const 1))
  (func $deep (type $op) (local $mine funcref) (local $n i32)
    (local.set $mine (ref.func $leaf))
    (ref.func $deep)
    (table.get $t (i32.const 1))
    (call $ask (local.get 0) (i32.const 7))
    (local.set 0)
    (loop $again
      (drop (table.grow $t (local.get 0) (i32.const 1)))
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))
    (table.set $t (i32.const 0) (local.get 0))
    (global.set $g)
    (drop)
    (call_indirect $t (type $op) (local.get $mine) (i32.const 2)))
  (func (export "run") (param funcref externref) (result i32) (local i64 funcref i32)
    (local.set 3 (local.get 0))
    (global.set $x (local.get 1))
    (table.get $t (i32.const 1))
    (call $deep (local.get 3))
    (i32.store (i32.const 100) (i32.const -1))
    (local.set 2 (i64.const -1))
    (call_indirect $t (type $op) (local.get 0) (i32.const 1))
    (local.set 4 (i32.add))
    (call_indirect $t (type $op) (i32.const 2))
    (i32.add (local.get 4))))"#;

/// How many functions it has: a reference to one after the last is none.
const FUNCTIONS: u32 = 4;

const ARGS: [Value; 2] = [Value::FuncRef(Some(1)), Value::ExternRef(Some(77))];

fn frozen(instance: &Instance<'_>) -> Vec<u8> {
    let mut image = vec![0; instance.image_len().unwrap()];
    assert_eq!(instance.freeze(&mut image), Ok(image.len()));
    image
}

/// An image of every suspension of a run on slices of `slice` fuel.
fn suspensions(code: &[u8], options: &LoadOptions, slice: u64) -> Vec<Vec<u8>> {
    let mut block = Block::new(1 << 20);
    let mut instance = Instance::load(block.bytes(), code, options).unwrap();
    instance.invoke("run", &ARGS).unwrap();
    let mut images = vec![frozen(&instance)];
    loop {
        instance.set_fuel(instance.fuel() + slice);
        match instance.run() {
            Step::OutOfFuel => images.push(frozen(&instance)),
            Step::Call(_) => {
                images.push(frozen(&instance));
                instance.resume(&[Value::FuncRef(Some(2))]).unwrap();
                images.push(frozen(&instance));
            }
            Step::Done => return images,
            Step::Trapped(trap) => panic!("{trap}"),
        }
    }
}

/// Thaws an image; if it is taken, the run is frozen and thawed at each of its next suspensions.
fn is_taken(code: &[u8], image: &[u8], options: &LoadOptions) -> bool {
    let (mut here, mut there) = (Block::new(1 << 18), Block::new(1 << 18));
    let Ok(mut instance) = Instance::thaw(here.bytes(), code, image, options) else {
        return false;
    };
    for _ in 0..12 {
        let image = frozen(&instance);
        let again = Instance::thaw(there.bytes(), code, &image, options).unwrap();
        assert_eq!(frozen(&again), image);
        instance.set_fuel(40);
        match instance.run() {
            Step::Call(_) => {
                let mut args = [Value::I32(0); 2];
                assert_eq!(instance.call_args(&mut args), 2);
                // The host can give back every value that it gets.
                let image = frozen(&instance);
                Instance::thaw(there.bytes(), code, &image, options).unwrap();
                instance.resume(&args[..1]).unwrap();
            }
            Step::OutOfFuel => {}
            Step::Done | Step::Trapped(_) => break,
        }
    }
    true
}

#[test]
fn a_run_full_of_references_moves_wherever_it_stands() {
    let code = module(REFERRING);
    for metered in [false, true] {
        let options = LoadOptions {
            metered,
            ..options()
        };
        for slice in [1, 3, 1000] {
            for image in suspensions(&code, &options, slice) {
                assert!(is_taken(&code, &image, &options));
            }
        }
    }
}

/// Sets every byte that stands for a reference to a function to a function that does not exist.
/// There are few functions, so each reference is one byte.
#[test]
fn a_reference_to_a_function_that_does_not_exist_is_refused_wherever_it_stands() {
    let code = module(REFERRING);
    let options = options();
    let mut refused = 0;
    for image in suspensions(&code, &options, 5) {
        let mut inconsistent = 0;
        for at in 21..image.len() - 4 {
            if !(1..=FUNCTIONS as u8).contains(&image[at]) {
                continue;
            }
            let mut forged = image.clone();
            forged[at] = FUNCTIONS as u8 + 1;
            seal(&mut forged);
            let mut block = Block::new(1 << 18);
            match Instance::thaw(block.bytes(), &code, &forged, &options) {
                Err(error) => {
                    assert_eq!(error, ThawError::Inconsistent);
                    inconsistent += 1;
                }
                Ok(_) => assert!(is_taken(&code, &forged, &options)),
            }
        }
        refused += inconsistent;
        // At least the references in the frame of `run`: its parameter, and its local once it is
        // set.
        assert!(inconsistent > 0);
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn the_host_cannot_hand_in_a_function_that_does_not_exist() {
    let code = module(REFERRING);
    let mut block = Block::new(1 << 18);
    let mut instance = Instance::load(block.bytes(), &code, &options()).unwrap();
    for bad in [FUNCTIONS, 1000, u32::MAX] {
        let args = [Value::FuncRef(Some(bad)), Value::ExternRef(None)];
        let refused = InvokeError::WrongArguments {
            expected: 2,
            mismatch: Some((0, ValType::FuncRef)),
        };
        assert_eq!(instance.invoke("run", &args), Err(refused));
    }
    instance.set_fuel(1000);
    instance.invoke("run", &ARGS).unwrap();
    assert!(matches!(instance.run(), Step::Call(_)));
    for bad in [FUNCTIONS, 1000, u32::MAX] {
        let refused = instance.resume(&[Value::FuncRef(Some(bad))]);
        assert_eq!(refused, Err(ResumeError::WrongResults));
    }
    instance
        .resume(&[Value::FuncRef(Some(FUNCTIONS - 1))])
        .unwrap();
}

#[test]
fn a_deep_stack_of_functions_that_call_each_other_thaws_within_the_budget() {
    let long = "(local.set 0 (i32.add (local.get 0) (i32.const 0)))".repeat(1000);
    let code = module(&format!(
        r#"(module (import "h" "h" (func $h))
          (func $a (param i32) {long} (call $b (i32.sub (local.get 0) (i32.const 1))))
          (func $b (export "run") (param i32) {long}
            (if (local.get 0) (then (call $a (local.get 0))) (else (call $h)))))"#
    ));
    let mut options = options();
    options.limits.validation_work = 50_000;
    let mut block = Block::new(1 << 18);
    let mut instance = Instance::load(block.bytes(), &code, &options).unwrap();
    instance.set_fuel(1 << 40);
    instance.invoke("run", &[Value::I32(100)]).unwrap();
    assert!(matches!(instance.run(), Step::Call(_)));
    // Each of the 200 callers is suspended after 1000 instructions.
    let image = frozen(&instance);
    let mut other = Block::new(1 << 18);
    Instance::thaw(other.bytes(), &code, &image, &options).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Changes, inserts and removes bytes, and corrects the checksum.
    #[test]
    fn a_mutated_image_is_refused_or_moves_on(
        slice in 1u64..60,
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0u8..6, any::<u8>()), 1..6),
    ) {
        let code = module(REFERRING);
        let options = options();
        let images = suspensions(&code, &options, slice);
        let mut image = which.get(&images).clone();
        for (at, change, byte) in &changes {
            let at = 5 + at.index(image.len() - 9);
            match change {
                0 => image[at] = *byte,
                1 => image[at] = byte % 8,
                2 => image[at] ^= 1 << (byte % 8),
                3 => image[at] = image[at].wrapping_add(1),
                4 => image.insert(at, byte % 8),
                _ => {
                    image.remove(at);
                }
            }
        }
        seal(&mut image);
        is_taken(&code, &image, &options);
    }
}
