//! Runs end in different ways, and leave nothing behind.

use super::*;

#[test]
fn the_fault_of_a_callee_ends_the_whole_chain() {
    let divide = r#"(module (func (export "run") (param i32) (result i32)
        (i32.div_s (i32.const 1) (local.get 0))))"#;
    let mut tasklets = chain();
    tasklets[2] = Tasklet::new(divide, SAYS);
    let mut arena = vec![0; 32 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    assert_eq!(world.run(0, 0, 10_000), End::Failed(Fault::Trapped, None));
    assert!(world.is_empty());
    let own = End::Failed(Fault::Trapped, Some(Trap::DivideByZero));
    assert_eq!(world.run(2, 0, 10_000), own);
    assert!(world.is_empty());
}

/// Runs the tasklet alone with an output of this length; says where it failed.
fn failed_at(text: &str, arg: i64, fuel: u64, out: usize) -> Option<Place> {
    let tasklets = [Tasklet::new(text, SAYS)];
    let mut arena = vec![0; 32 << 10];
    let mut executor = Executor::new(&mut arena, options());
    let runs = Runs(vec![Run {
        id: ActivationId(1),
        tasklet: &tasklets[0],
        caller: None,
        job: 0,
    }]);
    let (args, mut out) = (cbor(&[arg]), vec![0; out]);
    let start = Work::Start(tasklets[0].start(ActivationId(1), &args, fuel));
    match executor.execute(&start, &runs, &mut Device::default(), &mut out) {
        Some(Outcome::Failed { place, .. }) => place,
        other => panic!("it fails: {other:?}"),
    }
}

#[test]
fn a_failure_says_where_in_the_module_it_was() {
    let text = r#"(module
        (func (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
        (func (export "run") (param i32) (result i32)
            (loop (br_if 0 (local.get 0)))
            (call 0 (local.get 0))))"#;
    let code = wat::parse_str(text).unwrap();
    let offset = |opcode| code.iter().rposition(|byte| *byte == opcode).unwrap() as u32;
    let (divide, endless) = (offset(0x6d), offset(0x03));
    assert_eq!(failed_at(text, 0, 10_000, 4096), Place::new(0, divide));
    assert_eq!(failed_at(text, 1, 10_000, 4096), Place::new(1, endless));
    // Nobody is told where there is no room to find out.
    assert_eq!(failed_at(text, 0, 10_000, 64), None);
    // None of its code has run.
    assert_eq!(failed_at("(module)", 0, 10_000, 4096), None);
}

#[test]
fn att_7_fuel_runs_out_at_the_exact_unit() {
    let tasklets = chain();
    let mut arena = vec![0; 32 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    let End::Done(_, left) = world.run(0, 5, 10_000) else {
        panic!("it ends");
    };
    let used = 10_000 - left;
    for fuel in [0, 1, used / 2, used - 1] {
        let end = world.run(0, 5, fuel);
        assert_eq!(end, End::Failed(Fault::OutOfFuel, None), "{fuel} of {used}");
        assert!(world.is_empty());
    }
    let End::Done(_, 0) = world.run(0, 5, used) else {
        panic!("what it used is enough");
    };
}

#[test]
fn att_8_memory_grows_to_the_ceiling_and_no_further() {
    let text = r#"(module (memory 16 (pagesize 1))
        (func (export "run") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    let text = text.replace("(memory 16 (pagesize 1))", "(memory 16 5000 (pagesize 1))");
    let ceiling = |memory_bytes| {
        Tasklet::new(
            &text,
            Says {
                memory_bytes,
                ..SAYS
            },
        )
    };
    let tasklets = [ceiling(0), ceiling(1000), ceiling(100_000), ceiling(8)];
    let mut arena = vec![0; 32 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    let mut grow = |tasklet, by| match world.run(tasklet, by, 1000) {
        End::Done(result, _) => Ok(result[0]),
        End::Failed(fault, _) => Err(fault),
    };
    // Without a ceiling in its entry a tasklet has the memory that its module starts with.
    assert_eq!((grow(0, 0), grow(0, 1)), (Ok(16), Ok(-1)));
    assert_eq!((grow(1, 984), grow(1, 985)), (Ok(16), Ok(-1)));
    assert_eq!((grow(2, 4984), grow(2, 4985)), (Ok(16), Ok(-1)));
    assert_eq!(grow(3, 0), Err(Fault::NoMemory));
    assert!(world.is_empty());
}

#[test]
fn what_is_wrong_with_a_start_is_found_before_any_code_runs() {
    let log = r#"(module (import "nimblenet:log" "write" (func (param i32 i32)))
        (func (export "run") (param i32) (result i32) (local.get 0)))"#;
    let importing = |module: &str, name: &str, types: &str| {
        let import = std::format!(r#"(import "{module}" "{name}" (func {types}))"#);
        log.replace(
            r#"(import "nimblenet:log" "write" (func (param i32 i32)))"#,
            &import,
        )
    };
    let fault = |tasklet: Tasklet, args: &[u8]| {
        let tasklets = [tasklet];
        let mut arena = vec![0; 32 << 10];
        let mut world = World::new(&tasklets, &mut arena, options());
        let start = Task::Start {
            tasklet: 0,
            caller: None,
            job: 0,
            args: args.to_vec(),
            fuel: 100,
        };
        let end = world.work_off(VecDeque::from([start]), 1).remove(0);
        assert!(world.is_empty() && world.device.calls.is_empty());
        let End::Failed(fault, None) = end else {
            panic!("{end:?}")
        };
        fault
    };
    let good = cbor(&[1]);
    let text = |text: &str| fault(Tasklet::new(text, SAYS), &good);

    let mut denied = Tasklet::new(log, SAYS);
    denied.granted = Capabilities::NONE.with(Capability::Clock);
    assert_eq!(fault(denied, &good), Fault::CapabilityDenied);
    assert_eq!(
        text(&importing("nimblenet:log", "erase", "")),
        Fault::UnknownImport
    );
    assert_eq!(
        text(&importing("nimblenet:radio", "send", "")),
        Fault::UnknownImport
    );
    assert_eq!(text(&importing("env", "abort", "")), Fault::UnknownImport);
    assert_eq!(
        text(&importing("floor/other", "run", "")),
        Fault::UnknownImport
    );
    assert_eq!(
        text(&importing("nimblenet:log", "write", "(param i32)")),
        Fault::WrongSignature
    );
    let says = Says {
        calls: &[(0, "func(s32) -> s32")],
        ..SAYS
    };
    let wrong = Tasklet::new(&importing("floor/other", "run", "(param i64)"), says);
    assert_eq!(fault(wrong, &good), Fault::WrongSignature);

    let wide = r#"(module (func (export "run") (param i64) (result i32) (i32.const 0)))"#;
    assert_eq!(text(wide), Fault::WrongSignature);
    assert_eq!(
        text(r#"(module (func (export "walk")))"#),
        Fault::UnknownExport
    );
    assert_eq!(
        text(r#"(module (memory (export "run") 0))"#),
        Fault::UnknownExport
    );

    let increment = || Tasklet::new(INCREMENT, SAYS);
    assert_eq!(fault(increment(), &cbor(&[])), Fault::WrongArguments);
    assert_eq!(fault(increment(), &cbor(&[1 << 40])), Fault::WrongArguments);
    assert_eq!(fault(increment(), b"\x81"), Fault::WrongArguments);
    let mut changed = increment();
    *changed.code.last_mut().unwrap() ^= 1;
    assert_eq!(fault(changed, &good), Fault::DigestMismatch);
    let mut invalid = Tasklet::new(
        "",
        Says {
            native: true,
            ..SAYS
        },
    );
    invalid.code = b"\0asm\x01\0\0\0\x0a\x01\x01".to_vec();
    let digest = Digest::of(&invalid.code);
    assert_ne!(digest, Digest::of(b""));
    let large = Tasklet::new(&TWICE.replace("(memory 1)", "(memory 200)"), says);
    assert_eq!(fault(large, &good), Fault::NoMemory);
}

#[test]
fn a_device_function_that_fails_ends_the_run() {
    let text = r#"(module (import "nimblenet:actuator" "set" (func $set (param i32 f32)))
        (func (export "run") (param i32) (result i32)
            (call $set (i32.const 1) (f32.const 2)) (i32.const 0)))"#;
    let tasklets = [Tasklet::new(text, SAYS)];
    let mut arena = vec![0; 32 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    assert_eq!(
        world.run(0, 0, 1000),
        End::Failed(Fault::DeviceFailed, None)
    );
    assert!(world.is_empty());
}

#[test]
fn arguments_that_a_device_refuses_are_not_blamed_on_the_caller() {
    let text = r#"(module (import "nimblenet:log" "write" (func $log (param i32 i32)))
        (memory 1)
        (func (export "run") (param i32) (result i32)
            (call $log (i32.const 65535) (i32.const 2)) (i32.const 0)))"#;
    let tasklets = [Tasklet::new(text, SAYS)];
    let mut arena = vec![0; 128 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    let end = world.run(0, 0, 1000);
    assert_eq!(end, End::Failed(Fault::Trapped, Some(Trap::Host)));
}

#[test]
fn a_device_is_told_which_tasklet_asks() {
    let text = r#"(module (import "nimblenet:kv" "set" (func $set (param i32 i64)))
        (func (export "run") (param i32) (result i32)
            (call $set (i32.const 1) (i64.const 2)) (i32.const 0)))"#;
    let tasklets = [Tasklet::new(text, SAYS)];
    let mut arena = vec![0; 32 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    world.run(0, 0, 1000);
    assert_eq!(world.device.calls, ["floor/tasklet set"]);
}

#[test]
fn att_25_an_answer_is_taken_once_and_a_stopped_run_is_gone() {
    let tasklets = chain();
    let mut arena = vec![0; 32 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    let start = |job| Task::Start {
        tasklet: 1,
        caller: None,
        job,
        args: cbor(&[1]),
        fuel: 1000,
    };
    let (id, called) = world.step(start(0));
    assert!(matches!(called, Some(Next::Task(Task::Start { .. }))));
    assert!(
        world.step(Task::Continue(id)).1.is_none(),
        "it waits for an answer"
    );
    let answer = || Task::Resume(id, Ok(cbor(&[2])), 500);
    assert!(matches!(world.step(answer()).1, Some(Next::Task(_))));
    assert!(matches!(world.step(answer()).1, Some(Next::End(Ok(_), _))));
    assert!(world.step(answer()).1.is_none(), "it has ended");
    assert_eq!(world.counts().stray, 2);

    let (id, _) = world.step(start(1));
    let stop = Work::Stop { activation: id };
    let device = &mut world.device;
    assert_eq!(
        world.executor.execute(&stop, &world.runs, device, &mut []),
        None
    );
    assert!(world.is_empty());
    assert!(
        world
            .step(Task::Resume(id, Ok(cbor(&[2])), 500))
            .1
            .is_none()
    );
}

#[test]
fn there_is_a_limit_to_activations() {
    let mut tasklets = chain();
    // Calls itself for ever.
    let calls = &[(0, "func(s32) -> s32")];
    let text = TWICE.replace("(memory 1)", "(memory 100 100 (pagesize 1))");
    tasklets[0] = Tasklet::new(&text, Says { calls, ..SAYS });
    for options in [options(), always()] {
        let mut arena = vec![0; 64 << 10];
        let mut world = World::new(&tasklets, &mut arena, options);
        // The last one finds no room.
        assert_eq!(world.run(0, 0, 10_000), End::Failed(Fault::NoMemory, None));
        assert!(world.is_empty());
    }
}

#[test]
fn att_27_ten_thousand_runs_leave_nothing() {
    let fickle = r#"(module
        (import "floor/callee" "run" (func $callee (param i32) (result i32)))
        (memory 64 64 (pagesize 1))
        (func (export "run") (param i32) (result i32)
            (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 3))) (then unreachable))
            (if (i32.eq (i32.rem_u (local.get 0) (i32.const 3)) (i32.const 1))
                (then (loop (br 0))))
            (call $callee (local.get 0))))"#;
    let calls = &[(1, "func(s32) -> s32")];
    let tasklets = [
        Tasklet::new(fickle, Says { calls, ..SAYS }),
        Tasklet::new(INCREMENT, SAYS),
    ];
    let mut arena = vec![0; 8 << 10];
    for options in [options(), always()] {
        let mut world = World::new(&tasklets, &mut arena, options);
        let mut tally = [0; 3];
        for round in 0..5000 {
            let expected = match round % 3 {
                0 => End::Failed(Fault::Trapped, Some(Trap::Unreachable)),
                1 => End::Failed(Fault::OutOfFuel, None),
                _ => {
                    tally[2] += 1;
                    let End::Done(result, _) = world.run(0, round, 300) else {
                        panic!("round {round}");
                    };
                    assert_eq!(result, [round + 1]);
                    assert!(world.is_empty());
                    continue;
                }
            };
            tally[(round % 3) as usize] += 1;
            assert_eq!(world.run(0, round, 300), expected, "round {round}");
            assert!(world.is_empty());
        }
        assert!(tally.iter().all(|count| *count > 1600));
        assert_eq!(world.executor.arena_bytes(), world.free_bytes());
    }
}
