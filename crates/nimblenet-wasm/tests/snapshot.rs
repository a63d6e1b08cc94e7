//! A run that is frozen at every suspension point and thawed elsewhere gives the same results as a
//! run that never stopped; and only the right image is accepted.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use nimblenet_wasm::{Blocks, Instance, LoadOptions, Step, ThawError, Value};
use support::{Block, module, options, seal};

/// A module with globals, tables, memory and segments, and with host calls in between.
const BUSY: &str = r#"(module
  (import "host" "ask" (func $ask (param i32 i64) (result i64)))
  (import "host" "tell" (func $tell (param f64)))
  (type $op (func (param i32) (result i32)))
  (memory 1 3)
  (data (i32.const 8) "hello, data")
  (data $later "passive")
  (table $t 4 8 funcref)
  (elem (i32.const 1) $double $square)
  (global $g (mut i64) (i64.const 5))
  (global $f (mut f32) (f32.const 1.5))
  (func $double (type $op) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (type $op) (i32.mul (local.get 0) (local.get 0)))
  (func $fib (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else
        (if (i32.eq (local.get 0) (i32.const 3))
          (then (global.set $g (call $ask (local.get 0) (global.get $g)))))
        (i32.add
          (call $fib (i32.sub (local.get 0) (i32.const 1)))
          (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "run") (param $n i32) (result i32 i64 f32 i32)
    (local $i i32) (local $sum i32) (local $x f64)
    (local.set $x (f64.const 0.1))
    (loop $again
      (local.set $sum (i32.add (local.get $sum)
        (call_indirect (type $op) (local.get $i)
          (i32.add (i32.const 1) (i32.and (local.get $i) (i32.const 1))))))
      (i32.store (i32.add (i32.const 100) (i32.shl (local.get $i) (i32.const 2))) (local.get $sum))
      (local.set $x (f64.mul (local.get $x) (f64.const 1.5)))
      (call $tell (local.get $x))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (memory.init $later (i32.const 60000) (i32.const 0) (i32.const 7))
    (data.drop $later)
    (drop (memory.grow (i32.const 1)))
    (i32.store (i32.const 70000) (i32.const -1))
    (table.set $t (i32.const 3) (table.get $t (i32.const 1)))
    (global.set $f (f32.add (global.get $f) (f32.demote_f64 (local.get $x))))
    (i32.add (local.get $sum) (call $fib (i32.const 7)))
    (global.get $g)
    (global.get $f)
    (i32.load (i32.const 60000)))
)"#;

fn answer(import: u16, args: &[Value]) -> Vec<Value> {
    match (import, args) {
        (0, [Value::I32(a), Value::I64(b)]) => vec![Value::I64(b.wrapping_mul(3) + i64::from(*a))],
        _ => vec![],
    }
}

fn finish(instance: &mut Instance<'_>) -> (Vec<Value>, Vec<u8>) {
    loop {
        match instance.run() {
            Step::Done => break,
            Step::Call(call) => {
                let mut args = [Value::I32(0); 4];
                let count = instance.call_args(&mut args);
                instance
                    .resume(&answer(call.import, &args[..count]))
                    .unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    let mut out = [Value::I32(0); 8];
    let count = instance.results(&mut out);
    (out[..count].to_vec(), instance.memory().to_vec())
}

/// Freezes, thaws into fresh bytes, and checks that the thawed instance freezes to the same image.
fn move_on(instance: &Instance<'_>, code: &[u8], options: &LoadOptions, to: &mut Blocks<'_, 1>) {
    let mut image = vec![0; instance.image_len().unwrap()];
    assert_eq!(instance.freeze(&mut image).unwrap(), image.len());
    let mut to = to.all();
    let thawed = to.thaw(0, code, &image, options).unwrap();
    assert_eq!(thawed.memory(), instance.memory());
    assert_eq!(thawed.fuel(), instance.fuel());
    let mut again = vec![0; image.len()];
    assert_eq!(thawed.freeze(&mut again).unwrap(), image.len());
    assert_eq!(image, again);
}

fn expected(code: &[u8], options: &LoadOptions) -> (Vec<Value>, Vec<u8>) {
    let mut block = Block::new(1 << 20);
    let mut instance = Instance::load(block.bytes(), code, options).unwrap();
    instance.set_fuel(1 << 40);
    instance.invoke("run", &[Value::I32(9)]).unwrap();
    finish(&mut instance)
}

#[test]
fn a_run_that_moves_at_every_host_call_ends_like_one_that_stays() {
    let code = module(BUSY);
    for metered in [false, true] {
        let options = LoadOptions {
            metered,
            ..options()
        };
        let expected = expected(&code, &options);
        let (mut here, mut there) = (Block::new(1 << 20), Block::new(1 << 20));
        let mut here: Blocks<'_, 1> = Blocks::new(here.bytes());
        let mut there: Blocks<'_, 1> = Blocks::new(there.bytes());
        let mut part = here.all();
        let mut instance = part.load(0, &code, &options).unwrap();
        instance.set_fuel(1 << 40);
        instance.invoke("run", &[Value::I32(9)]).unwrap();
        // Before the first instruction, at the call, and after the answer.
        move_on(&instance, &code, &options, &mut there);
        core::mem::swap(&mut here, &mut there);
        loop {
            let mut part = here.all();
            let (_, mut instance) = part.attach(0, &code).unwrap();
            match instance.run() {
                Step::Done => break,
                Step::Call(_) => {}
                other => panic!("{other:?}"),
            }
            move_on(&instance, &code, &options, &mut there);
            let mut part = there.all();
            let (_, mut instance) = part.attach(0, &code).unwrap();
            let mut args = [Value::I32(0); 4];
            let count = instance.call_args(&mut args);
            let call = instance.pending().unwrap();
            instance
                .resume(&answer(call.import, &args[..count]))
                .unwrap();
            move_on(&instance, &code, &options, &mut here);
        }
        let mut part = here.all();
        let (_, mut instance) = part.attach(0, &code).unwrap();
        assert_eq!(finish(&mut instance), expected);
    }
}

#[test]
fn a_run_that_moves_whenever_fuel_runs_out_ends_like_one_that_stays() {
    let code = module(BUSY);
    let options = options();
    let expected = expected(&code, &options);
    for slice in [1, 2, 3, 7, 20, 100] {
        let (mut here, mut there) = (Block::new(1 << 20), Block::new(1 << 20));
        let mut here: Blocks<'_, 1> = Blocks::new(here.bytes());
        let mut there: Blocks<'_, 1> = Blocks::new(there.bytes());
        let mut part = here.all();
        let mut instance = part.load(0, &code, &options).unwrap();
        instance.invoke("run", &[Value::I32(9)]).unwrap();
        let mut suspended = 0;
        loop {
            let mut part = here.all();
            let (_, mut instance) = part.attach(0, &code).unwrap();
            instance.set_fuel(instance.fuel() + slice);
            match instance.run() {
                Step::Done => break,
                Step::Call(call) => {
                    let mut args = [Value::I32(0); 4];
                    let count = instance.call_args(&mut args);
                    instance
                        .resume(&answer(call.import, &args[..count]))
                        .unwrap();
                }
                Step::OutOfFuel => {
                    suspended += 1;
                    assert_eq!(instance.fuel(), 0);
                    if suspended % 5 == 0 {
                        move_on(&instance, &code, &options, &mut there);
                        core::mem::swap(&mut here, &mut there);
                    }
                }
                Step::Trapped(trap) => panic!("{trap}"),
            }
        }
        assert!(suspended > 10);
        let mut part = here.all();
        let (_, mut instance) = part.attach(0, &code).unwrap();
        assert_eq!(finish(&mut instance), expected);
    }
}

/// An image in the middle of the run, out of fuel or at a call.
fn image_of(code: &[u8], options: &LoadOptions, at_call: bool) -> Vec<u8> {
    let mut block = Block::new(1 << 20);
    let mut instance = Instance::load(block.bytes(), code, options).unwrap();
    instance.set_fuel(if at_call { 1 << 30 } else { 2500 });
    instance.invoke("run", &[Value::I32(20)]).unwrap();
    let mut calls = 0;
    while let Step::Call(call) = instance.run() {
        let mut args = [Value::I32(0); 4];
        let count = instance.call_args(&mut args);
        calls += 1;
        if at_call && calls == 25 {
            break;
        }
        instance
            .resume(&answer(call.import, &args[..count]))
            .unwrap();
    }
    let mut image = vec![0; instance.image_len().unwrap()];
    instance.freeze(&mut image).unwrap();
    image
}

#[test]
fn damaged_images_are_refused() {
    let code = module(BUSY);
    let options = options();
    let mut block = Block::new(1 << 20);
    for at_call in [false, true] {
        let image = image_of(&code, &options, at_call);
        Instance::thaw(block.bytes(), &code, &image, &options).unwrap();
        for len in 0..image.len() {
            let refused = Instance::thaw(block.bytes(), &code, &image[..len], &options);
            assert_eq!(refused.unwrap_err(), ThawError::Damaged);
        }
        let mut longer = image.clone();
        longer.push(0);
        assert!(Instance::thaw(block.bytes(), &code, &longer, &options).is_err());
        for at in 0..image.len() {
            for bit in 0..8 {
                let mut flipped = image.clone();
                flipped[at] ^= 1 << bit;
                let refused = Instance::thaw(block.bytes(), &code, &flipped, &options);
                assert_eq!(refused.unwrap_err(), ThawError::Damaged);
            }
        }
    }
}

#[test]
fn hostile_images_with_a_right_checksum_stay_in_the_sandbox() {
    let code = module(BUSY);
    let options = options();
    let mut block = Block::new(1 << 20);
    let mut refused = 0;
    let mut accepted = 0;
    for at_call in [false, true] {
        let image = image_of(&code, &options, at_call);
        for at in 0..image.len() - 4 {
            for value in [
                0,
                1,
                2,
                0x7f,
                0x80,
                0xff,
                image[at] ^ 4,
                image[at].wrapping_add(1),
            ] {
                let mut hostile = image.clone();
                hostile[at] = value;
                seal(&mut hostile);
                match Instance::thaw(block.bytes(), &code, &hostile, &options) {
                    Err(_) => refused += 1,
                    Ok(mut instance) => {
                        accepted += 1;
                        instance.set_fuel(20_000);
                        for _ in 0..50 {
                            match instance.run() {
                                Step::Call(call) => {
                                    let mut args = [Value::I32(0); 4];
                                    let count = instance.call_args(&mut args);
                                    let answer = answer(call.import, &args[..count]);
                                    instance.resume(&answer).unwrap();
                                }
                                _ => break,
                            }
                        }
                    }
                }
            }
        }
    }
    // Most bytes are plain state, of which every value is valid.
    assert!(
        refused > 500 && accepted > 500,
        "{refused} refused, {accepted} accepted"
    );
}

#[test]
fn an_image_is_bound_to_module_and_options() {
    let code = module(BUSY);
    let options = options();
    let image = image_of(&code, &options, true);
    let mut block = Block::new(1 << 20);
    let other = LoadOptions {
        digest: [9; 32],
        ..options
    };
    let refused = Instance::thaw(block.bytes(), &code, &image, &other);
    assert_eq!(refused.unwrap_err(), ThawError::OtherModule);
    let other = LoadOptions {
        metered: false,
        ..options
    };
    let refused = Instance::thaw(block.bytes(), &code, &image, &other);
    assert_eq!(refused.unwrap_err(), ThawError::OtherModule);
    let mut newer = image.clone();
    newer[1] += 1;
    seal(&mut newer);
    let refused = Instance::thaw(block.bytes(), &code, &newer, &options);
    assert_eq!(refused.unwrap_err(), ThawError::Version);
}

#[test]
fn an_image_adds_little_to_the_live_state() {
    let code = module(
        r#"(module (import "h" "h" (func $h)) (memory (export "memory") 1)
           (func (export "run") (param i32)
             (loop (i32.store8 (local.get 0) (i32.or (local.get 0) (i32.const 1)))
               (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
             (call $h)))"#,
    );
    let options = options();
    let mut block = Block::new(1 << 20);
    let mut instance = Instance::load(block.bytes(), &code, &options).unwrap();
    instance.set_fuel(1 << 20);
    instance.invoke("run", &[Value::I32(1024)]).unwrap();
    assert!(matches!(instance.run(), Step::Call(_)));
    let image = instance.image_len().unwrap();
    println!("image of 1024 bytes of memory and one frame of 12: {image}");
    assert!(image <= 1024 + 12 + 48);
}
