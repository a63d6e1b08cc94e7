//! Tasklets that call each other, and the values that cross.

use super::*;

#[test]
fn calls_nest_three_deep() {
    let tasklets = chain();
    let mut arena = vec![0; 32 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    let end = world.run(0, 5, 10_000);
    let End::Done(result, fuel) = end else {
        panic!("{end:?}");
    };
    assert_eq!(result, [chain_result(5)]);
    assert!(fuel < 10_000 && fuel > 0);
    assert!(world.is_empty());
    assert_eq!(world.counts().frozen, 0);
}

#[test]
fn jobs_take_turns_and_do_not_see_each_other() {
    let tasklets = chain();
    let args: Vec<i64> = (0..5).collect();
    let alone = |arg| {
        let mut arena = vec![0; 32 << 10];
        World::new(&tasklets, &mut arena, options()).run(0, arg, 10_000)
    };
    let expected: Vec<End> = args.iter().map(|arg| alone(*arg)).collect();
    for slice in [1, 3, 20, u64::MAX] {
        let mut arena = vec![0; 64 << 10];
        let mut world = World::new(&tasklets, &mut arena, options());
        world.executor.set_slice(slice);
        assert_eq!(
            world.run_all(0, &args, 10_000),
            expected,
            "slices of {slice}"
        );
        assert!(world.is_empty());
    }
}

#[test]
fn lists_cross_in_both_directions() {
    // Passes its list on and appends to the list that comes back. The argument area has its list
    // at 0, and the answer goes to 512.
    let caller = r#"(module
        (import "floor/double" "run"
            (func $double (param i32 i32 i32 i32) (result i32)))
        (memory 1 1)
        (func (export "run") (param i32 i32 i32 i32) (result i32)
            (local $count i32)
            (local.set $count (call $double (local.get 0) (local.get 1)
                (i32.const 512) (i32.const 8)))
            (memory.copy (local.get 2) (i32.const 512) (i32.mul (local.get $count) (i32.const 4)))
            (i32.store (i32.add (local.get 2) (i32.mul (local.get $count) (i32.const 4)))
                (i32.const -1))
            (i32.add (local.get $count) (i32.const 1))))"#;
    let callee = r#"(module (memory 1 1)
        (func (export "run") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (block $end (loop $next
                (br_if $end (i32.ge_u (local.get $at) (local.get 1)))
                (i32.store
                    (i32.add (local.get 2) (i32.mul (local.get $at) (i32.const 4)))
                    (i32.mul (i32.const 2) (i32.load
                        (i32.add (local.get 0) (i32.mul (local.get $at) (i32.const 4))))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br $next)))
            (local.get $at)))"#;
    let signature = "func(list<s32>) -> list<s32>";
    let area = |offset, len| Area { offset, len };
    let says = Says {
        signature,
        memory_bytes: 65536,
        ..SAYS
    };
    let caller_says = Says {
        calls: &[(1, signature)],
        area: area(1024, 256),
        ..says
    };
    let callee_says = Says {
        area: area(64, 80),
        ..says
    };
    let tasklets = [
        Tasklet::new(caller, caller_says),
        Tasklet::new(callee, callee_says),
    ];
    for options in [options(), always()] {
        let mut arena = vec![0; 200 << 10];
        let mut world = World::new(&tasklets, &mut arena, options);
        let mut call = |args: &[i64]| {
            let mut list = vec![0x81];
            list.extend(cbor(args));
            let start = Task::Start {
                tasklet: 0,
                caller: None,
                job: 0,
                args: list,
                fuel: 100_000,
            };
            match world.work_off(VecDeque::from([start]), 1).remove(0) {
                End::Done(result, _) => Ok(result),
                End::Failed(fault, _) => Err(fault),
            }
        };
        assert_eq!(call(&[1, -2, 3]), Ok(vec![2, -4, 6, -1]));
        assert_eq!(call(&[]), Ok(vec![-1]));
        // The caller has space for an answer of eight; nine do not fit.
        assert_eq!(call(&[5; 9]), Err(Fault::ValuesTooLarge));
        // The callee's area has 20 words: 21 do not fit, and 18 leave space for an answer of two.
        assert_eq!(call(&[5; 21]), Err(Fault::ValuesTooLarge));
        assert_eq!(call(&[5; 18]), Err(Fault::Trapped));
        assert!(world.is_empty());
    }
}

#[test]
fn device_functions_are_served_in_place_and_cost_fuel() {
    let text = r#"(module
        (import "nimblenet:log" "write" (func $log (param i32 i32)))
        (import "nimblenet:random" "u32" (func $random (result i32)))
        (memory 1 1)
        (data (i32.const 8) "hello")
        (func (export "run") (param i32) (result i32)
            (call $log (i32.const 8) (i32.const 5))
            (i32.add (local.get 0) (call $random))))"#;
    let tasklets = [Tasklet::new(text, SAYS)];
    let mut arena = vec![0; 100 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    let End::Done(result, fuel) = world.run(0, 1, 1000) else {
        panic!("it ends");
    };
    assert_eq!(result, [8]);
    assert_eq!(world.device.calls, ["hello", "u32"]);
    let used = 1000 - fuel;
    assert!(used >= 2 * crate::wasm::run::DEVICE_CALL_FUEL);

    // Slices smaller than the cost of a call change nothing.
    world.executor.set_slice(1);
    assert_eq!(world.run(0, 1, 1000), End::Done(vec![8], fuel));
    world.executor.set_slice(u64::MAX);
    assert_eq!(world.run(0, 1, used), End::Done(vec![8], 0));
    let short = world.run(0, 1, used - 1);
    assert_eq!(short, End::Failed(Fault::OutOfFuel, None));
    assert!(world.is_empty());
}

#[test]
fn native_tasklets_are_part_of_chains() {
    let native = Says {
        native: true,
        ..SAYS
    };
    let calls = &[(1, "func(s32) -> s32")];
    let tasklets = [
        Tasklet::new(TWICE, Says { calls, ..SAYS }),
        Tasklet::new("", native),
    ];
    let mut arena = vec![0; 100 << 10];
    let mut world = World::new(&tasklets, &mut arena, always());
    let End::Done(result, _) = world.run(0, 3, 1000) else {
        panic!("it ends");
    };
    assert_eq!(result, [(3 * 2 + 3) * 2 + 2000]);
    assert_eq!(world.device.calls, ["run", "run"]);
    assert_eq!(world.run(1, 4, 10), End::Done(vec![8], 0));
    assert_eq!(world.run(1, 4, 9), End::Failed(Fault::OutOfFuel, None));
    assert!(world.is_empty());
}

#[test]
fn a_native_tasklet_runs_only_with_the_capability_that_its_device_names() {
    let of = |capability: Option<Capability>| {
        let native = Says {
            native: true,
            capabilities: capability.map_or(Capabilities::NONE, |it| Capabilities::NONE.with(it)),
            ..SAYS
        };
        Tasklet::new("", native)
    };
    let tasklets = [None, Some(Capability::Sensor), Some(Capability::Actuator)].map(of);
    let mut arena = vec![0; 100 << 10];
    let mut world = World::new(&tasklets, &mut arena, always());
    world.device.needs = Capabilities::NONE.with(Capability::Actuator);
    for without in [0, 1] {
        let denied = End::Failed(Fault::CapabilityDenied, None);
        assert_eq!(world.run(without, 4, 100), denied);
    }
    assert!(world.device.calls.is_empty(), "nothing has run");
    assert_eq!(world.run(2, 4, 100), End::Done(vec![8], 90));
}

#[test]
fn a_start_function_runs_first_and_may_be_interrupted_anywhere() {
    let text = r#"(module
        (import "floor/callee" "run" (func $callee (param i32) (result i32)))
        (memory 1 1)
        (func $start (i32.store (i32.const 0) (call $callee (i32.const 40))))
        (start $start)
        (func (export "run") (param i32) (result i32)
            (i32.add (local.get 0) (i32.load (i32.const 0)))))"#;
    let calls = &[(1, "func(s32) -> s32")];
    let tasklets = [
        Tasklet::new(text, Says { calls, ..SAYS }),
        Tasklet::new(INCREMENT, SAYS),
    ];
    for (options, slice) in [(options(), u64::MAX), (always(), u64::MAX), (always(), 1)] {
        let mut arena = vec![0; 100 << 10];
        let mut world = World::new(&tasklets, &mut arena, options);
        world.executor.set_slice(slice);
        let End::Done(result, _) = world.run(0, 100, 1000) else {
            panic!("it ends");
        };
        assert_eq!(result, [141]);
        assert!(world.is_empty());
    }
}

#[test]
fn a_start_function_may_be_a_tasklet() {
    let text = r#"(module
        (import "floor/set-up" "run" (func $set_up))
        (start $set_up)
        (func (export "run") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))"#;
    let set_up =
        r#"(module (memory 1 1) (func (export "run") (i32.store (i32.const 0) (i32.const 1))))"#;
    let nothing = "func()";
    let tasklets = |set_up: &str| {
        [
            Tasklet::new(
                text,
                Says {
                    calls: &[(1, nothing)],
                    ..SAYS
                },
            ),
            Tasklet::new(
                set_up,
                Says {
                    signature: nothing,
                    ..SAYS
                },
            ),
        ]
    };
    for (options, slice) in [(options(), u64::MAX), (always(), u64::MAX), (always(), 1)] {
        let fine = tasklets(set_up);
        let mut arena = vec![0; 200 << 10];
        let mut world = World::new(&fine, &mut arena, options);
        world.executor.set_slice(slice);
        for _ in 0..2 {
            let End::Done(result, _) = world.run(0, 100, 1000) else {
                panic!("it ends");
            };
            assert_eq!(result, [101]);
        }
        // If the start function's callee fails, the caller fails too.
        let bad = tasklets(r#"(module (func (export "run") (unreachable)))"#);
        let mut arena = vec![0; 200 << 10];
        let mut world = World::new(&bad, &mut arena, options);
        assert!(matches!(
            world.run(0, 100, 1000),
            End::Failed(Fault::Trapped, _)
        ));
        assert!(world.is_empty());
    }
}

#[test]
fn an_export_that_is_an_import_calls_what_it_is() {
    let callee = r#"(module (import "floor/callee" "run" (func $callee (param i32) (result i32)))
        (export "run" (func $callee)))"#;
    let device = r#"(module (import "nimblenet:random" "u32" (func $random (result i32)))
        (export "run" (func $random)))"#;
    let calls = &[(1, "func(s32) -> s32")];
    let tasklets = [
        Tasklet::new(callee, Says { calls, ..SAYS }),
        Tasklet::new(INCREMENT, SAYS),
    ];
    let signature = "func() -> u32";
    let devices = [Tasklet::new(device, Says { signature, ..SAYS })];
    for options in [options(), always()] {
        let mut arena = vec![0; 32 << 10];
        let mut world = World::new(&tasklets, &mut arena, options);
        // Once more with a kept module.
        for _ in 0..2 {
            let end = world.run(0, 41, 100);
            assert!(
                matches!(&end, End::Done(result, _) if result[..] == [42]),
                "{end:?}"
            );
        }
        let mut world = World::new(&devices, &mut arena, options);
        let start = Task::Start {
            tasklet: 0,
            caller: None,
            job: 0,
            args: cbor(&[]),
            fuel: 100,
        };
        let ends = world.work_off([start].into(), 1);
        assert_eq!(ends, [End::Done(vec![7], 100 - 64)]);
        assert_eq!(world.device.calls, ["u32"]);
    }
}

#[test]
fn sleeps_that_are_too_long_together_are_shared_out_among_turns() {
    let nap = |micros: &[u32]| {
        let sleeps = micros
            .iter()
            .map(|it| format!("(call $sleep (i32.const {it}))"));
        let sleeps: String = sleeps.collect();
        Tasklet::new(
            &format!(
                r#"(module (import "nimblenet:clock" "sleep-us" (func $sleep (param i32)))
                    (func (export "run") (param i32) (result i32) {sleeps} (local.get 0)))"#
            ),
            SAYS,
        )
    };
    let tasklets = [nap(&[400; 5]), nap(&[5000, 1])];
    for (tasklet, slept) in [(0, &[2, 4, 5][..]), (1, &[1, 2])] {
        let mut arena = vec![0; 32 << 10];
        let options = ExecutorOptions {
            slept_us: 1000,
            ..always()
        };
        let mut world = World::new(&tasklets, &mut arena, options);
        let mut task = Task::Start {
            tasklet,
            caller: None,
            job: 0,
            args: cbor(&[3]),
            fuel: 1000,
        };
        for (turn, slept) in slept.iter().enumerate() {
            let (_, next) = world.step(task);
            assert_eq!(world.device.calls.len(), *slept, "after turn {turn}");
            task = match next {
                Some(Next::Task(next)) => next,
                Some(Next::End(end, _)) => {
                    assert_eq!(end.map(|result| ints(&result)), Ok(vec![3]));
                    break;
                }
                None => panic!("turn {turn}"),
            };
        }
    }
}
