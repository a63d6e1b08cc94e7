//! Too little room: blocks move, lend and freeze, and results stay the same.

use super::*;
use proptest::prelude::*;

/// Bytes in which the chain runs without freezing anything.
fn comfortable() -> usize {
    let tasklets = chain();
    let mut arena = vec![0; 64 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    world.run(0, 1, 10_000);
    world.counts().peak_bytes
}

#[test]
fn a_caller_is_frozen_when_its_callee_needs_the_room() {
    let tasklets = chain();
    let mut frozen = 0;
    let mut smallest = usize::MAX;
    for bytes in (1000..comfortable() + 1000).rev().step_by(64) {
        let mut arena = vec![0; bytes];
        let mut world = World::new(&tasklets, &mut arena, options());
        match world.run(0, 5, 10_000) {
            End::Done(result, _) => assert_eq!(result, [chain_result(5)], "{bytes} bytes"),
            End::Failed(fault, None) => {
                assert_eq!(fault, Fault::NoMemory, "{bytes} bytes");
                break;
            }
            end => panic!("{end:?}"),
        }
        assert!(world.is_empty());
        let counts = world.counts();
        assert_eq!(counts.frozen, counts.thawed);
        assert!(counts.peak_bytes <= bytes);
        frozen = frozen.max(counts.frozen);
        smallest = bytes;
    }
    assert!(frozen > 0, "nothing was frozen");
    assert!(
        smallest < comfortable() * 2 / 3,
        "{smallest} of {}",
        comfortable()
    );
}

#[test]
fn freezing_at_each_call_gives_the_same_results() {
    let tasklets = chain();
    let args: Vec<i64> = (-3..4).collect();
    let mut arena = vec![0; 64 << 10];
    let expected = World::new(&tasklets, &mut arena, options()).run_all(0, &args, 10_000);
    for slice in [u64::MAX, 7] {
        let mut world = World::new(&tasklets, &mut arena, always());
        world.executor.set_slice(slice);
        assert_eq!(world.run_all(0, &args, 10_000), expected);
        let counts = world.counts();
        assert_eq!(counts.frozen, 6 * args.len() as u64);
        assert_eq!(counts.thawed, counts.frozen);
        assert!(world.is_empty());
    }
}

#[test]
fn growing_does_not_depend_on_what_else_runs() {
    // Grows its memory by the number of bytes that its callee returns.
    let text = r#"(module
        (import "floor/callee" "run" (func $callee (param i32) (result i32)))
        (memory 10 3000 (pagesize 1))
        (func (export "run") (param i32) (result i32)
            (memory.grow (call $callee (local.get 0)))))"#;
    let grower = Says {
        calls: &[(1, "func(s32) -> s32")],
        memory_bytes: 2000,
        ..SAYS
    };
    let tasklets = [
        Tasklet::new(text, grower),
        Tasklet::new(
            &TWICE
                .replace("(memory 1)", "(memory 2000 2000 (pagesize 1))")
                .replace("floor/callee", "floor/increment"),
            Says {
                calls: &[(2, "func(s32) -> s32")],
                ..SAYS
            },
        ),
        Tasklet::new(INCREMENT, SAYS),
    ];
    // -500 grows by 10 bytes; 500 asks for more than the ceiling, so growing fails.
    for bytes in (3000..9000).step_by(16) {
        let mut arena = vec![0; bytes];
        let mut world = World::new(&tasklets, &mut arena, options());
        for (arg, result) in [(-500, 10), (500, -1)] {
            match world.run(0, arg, 10_000) {
                End::Done(results, _) => assert_eq!(results, [result], "{bytes} bytes"),
                end => assert_eq!(end, End::Failed(Fault::NoMemory, None), "{bytes} bytes"),
            }
            assert!(world.is_empty());
        }
        if bytes > 8000 {
            assert!(matches!(world.run(0, 1, 10_000), End::Done(..)));
        }
    }
}

/// A tasklet whose memory does not shrink when it is frozen, and that calls another.
const FULL: &str = r#"(module
    (import "floor/callee" "run" (func $callee (param i32) (result i32)))
    (memory 2000 2000 (pagesize 1))
    (func (export "run") (param i32) (result i32)
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 2000))
        (i32.add (call $callee (local.get 0)) (i32.load8_u (i32.const 1999)))))"#;

#[test]
fn a_run_without_room_can_be_given_again_once_another_has_ended() {
    let says = Says {
        calls: &[(1, "func(s32) -> s32")],
        memory_bytes: 2000,
        ..SAYS
    };
    let tasklets = [Tasklet::new(FULL, says), Tasklet::new(INCREMENT, SAYS)];
    let mut arena = vec![0; 8000];
    let mut world = World::new(&tasklets, &mut arena, options());
    let start = || Task::Start {
        tasklet: 0,
        caller: None,
        job: 0,
        args: cbor(&[1]),
        fuel: 10_000,
    };
    let mut waiting = Vec::new();
    let id = loop {
        let (id, next) = world.step(start());
        match next {
            Some(Next::Task(_)) => waiting.push(id),
            Some(Next::End(Err((Fault::NoMemory, None)), _)) => break id,
            _ => panic!("it calls"),
        }
    };
    assert!(waiting.len() > 1, "there is room for two");
    world.executor.wasm.stop(waiting[0]);
    let (args, mut out) = (cbor(&[1]), vec![0; 4096]);
    let again = Work::Start(tasklets[0].start(id, &args, 10_000));
    let outcome = world
        .executor
        .execute(&again, &world.runs, &mut world.device, &mut out);
    assert!(
        matches!(outcome, Some(Outcome::Called { .. })),
        "{outcome:?}"
    );
}

#[test]
fn what_is_larger_than_the_arena_never_finds_room() {
    let calls: &[(usize, &str)] = &[(1, "func(s32) -> s32")];
    let says = Says {
        calls,
        memory_bytes: 2000,
        ..SAYS
    };
    let tasklets = [Tasklet::new(FULL, says), Tasklet::new(INCREMENT, SAYS)];
    let mut arena = vec![0; 2000];
    let mut executor = Executor::new(&mut arena, options());
    let runs = Runs(vec![Run {
        id: ActivationId(1),
        tasklet: &tasklets[0],
        caller: None,
        job: 0,
    }]);
    let (args, mut out) = (cbor(&[1]), vec![0; 4096]);
    let start = Work::Start(tasklets[0].start(ActivationId(1), &args, 10_000));
    let outcome = executor.execute(&start, &runs, &mut Device::default(), &mut out);
    let fault = Fault::NoMemory;
    assert!(matches!(outcome, Some(Outcome::Failed { fault: it, .. }) if it == fault));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 64 } else { 512 }))]

    /// With any arena, slice and mode a run ends with the right results or with no memory, and
    /// leaves nothing.
    #[test]
    fn results_never_depend_on_room_and_turns(
        bytes in 1000usize..24_000,
        offset in 0usize..16,
        slice in prop_oneof![Just(u64::MAX), 1u64..60],
        freeze_always: bool,
        args in proptest::collection::vec(-100i64..100, 1..6),
    ) {
        let tasklets = chain();
        let mut arena = vec![0xa5; bytes];
        let base = if freeze_always { always() } else { options() };
        let options = ExecutorOptions { slice, ..base };
        let mut world = World::new(&tasklets, &mut arena[offset..], options);
        for (arg, end) in args.iter().zip(world.run_all(0, &args, 10_000)) {
            match end {
                End::Done(result, _) => prop_assert_eq!(result, [chain_result(*arg)]),
                End::Failed(fault, trap) => {
                    prop_assert_eq!((fault, trap), (Fault::NoMemory, None));
                }
            }
        }
        prop_assert!(world.is_empty());
        prop_assert_eq!(world.executor.arena_bytes(), world.free_bytes());
    }
}
