//! Runs that leave an executor as an image and go on in another.

use super::*;

const LOGGING: &str = r#"(module
    (import "nimblenet:log" "write" (func $log (param i32 i32)))
    (import "floor/callee" "run" (func $callee (param i32) (result i32)))
    (memory 300 300 (pagesize 1))
    (data (i32.const 8) "beforeafter")
    (func (export "run") (param i32) (result i32)
        (call $log (i32.const 8) (i32.const 6))
        (i32.store (i32.const 200) (local.get 0))
        (local.set 0 (call $callee (local.get 0)))
        (call $log (i32.const 14) (i32.const 5))
        (i32.add (local.get 0) (i32.load (i32.const 200)))))"#;

fn tasklets() -> Vec<Tasklet> {
    let calls = &[(1, "func(s32) -> s32")];
    vec![
        Tasklet::new(LOGGING, Says { calls, ..SAYS }),
        Tasklet::new(INCREMENT, SAYS),
    ]
}

/// Starts tasklet 0 with 20, and freezes it at its call. Returns the image and the fuel left.
fn frozen(tasklets: &[Tasklet], options: ExecutorOptions) -> (Vec<u8>, u64) {
    let mut arena = vec![0; 16 << 10];
    let mut world = World::new(tasklets, &mut arena, options);
    let start = Task::Start {
        tasklet: 0,
        caller: None,
        job: 0,
        args: cbor(&[20]),
        fuel: 1000,
    };
    let (activation, called) = world.step(start);
    let Some(Next::Task(Task::Start { fuel, .. })) = called else {
        panic!("it calls");
    };
    assert_eq!(world.device.calls, ["before"]);
    let len = world.executor.image_len(activation, &world.runs).unwrap();
    let mut image = vec![0; len];
    let work = Work::Freeze {
        activation,
        room: len,
    };
    let outcome = world
        .executor
        .execute(&work, &world.runs, &mut world.device, &mut image);
    assert!(matches!(outcome, Some(Outcome::Frozen { image, .. }) if image.len() == len));
    assert!(world.is_empty());
    (image, fuel)
}

/// Thaws `image` as tasklet 0 in a world of its own.
fn thaw<'t, 'm>(
    tasklets: &'t [Tasklet],
    arena: &'m mut [u8],
    image: &[u8],
) -> (World<'t, 'm>, Result<(Vec<i64>, u64), Fault>) {
    let mut world = World::new(tasklets, arena, options());
    let id = ActivationId(900);
    world.runs.0.push(Run {
        id,
        tasklet: &tasklets[0],
        caller: None,
        job: 0,
    });
    let mut out = vec![0; 1000];
    let work = Work::Thaw {
        start: tasklets[0].start(id, &[], 1000),
        image,
    };
    let device = &mut world.device;
    let result = match world.executor.execute(&work, &world.runs, device, &mut out) {
        Some(Outcome::Called {
            activation,
            import: 0,
            args,
            fuel,
        }) if activation == id => Ok((ints(args), fuel)),
        Some(Outcome::Failed { fault, .. }) => Err(fault),
        outcome => panic!("{outcome:?}"),
    };
    (world, result)
}

#[test]
fn a_run_whose_start_function_has_returned_moves_on() {
    let calls = &[(1, "func(s32) -> s32")];
    let module = LOGGING.replace(
        "(func (export \"run\")",
        "(func $set_up (i32.store (i32.const 204) (i32.const 7)))
        (start $set_up)
        (func (export \"run\")",
    );
    let tasklets = [
        Tasklet::new(&module, Says { calls, ..SAYS }),
        Tasklet::new(INCREMENT, SAYS),
    ];
    for options in [options(), always()] {
        let (image, fuel) = frozen(&tasklets, options);
        let mut arena = vec![0; 16 << 10];
        let (mut world, result) = thaw(&tasklets, &mut arena, &image);
        assert_eq!(result, Ok((vec![20], fuel)));
        let resume = Task::Resume(ActivationId(900), Ok(cbor(&[21])), fuel);
        let ends = world.work_off(VecDeque::from([resume]), 1);
        assert!(matches!(&ends[0], End::Done(result, _) if *result == [41]));
        assert!(world.is_empty());
    }
}

#[test]
fn a_thawed_run_repeats_its_call_and_nothing_that_was_before() {
    let tasklets = tasklets();
    for options in [options(), always()] {
        let (image, fuel) = frozen(&tasklets, options);
        let mut arena = vec![0; 16 << 10];
        let (mut world, result) = thaw(&tasklets, &mut arena, &image);
        assert_eq!(result, Ok((vec![20], fuel)));
        let resume = Task::Resume(ActivationId(900), Ok(cbor(&[21])), fuel);
        let ends = world.work_off(VecDeque::from([resume]), 1);
        assert!(matches!(&ends[0], End::Done(result, left) if *result == [41] && *left < fuel));
        assert_eq!(world.device.calls, ["after"]);
        assert!(world.is_empty());
    }
}

#[test]
fn an_image_cannot_bring_more_fuel_than_it_is_given() {
    let tasklets = tasklets();
    let (image, fuel) = frozen(&tasklets, options());
    let mut arena = vec![0; 16 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    let id = ActivationId(3);
    world.runs.0.push(Run {
        id,
        tasklet: &tasklets[0],
        caller: None,
        job: 0,
    });
    let work = Work::Thaw {
        start: tasklets[0].start(id, &[], fuel - 100),
        image: &image,
    };
    let mut out = [0; 100];
    let outcome = world
        .executor
        .execute(&work, &world.runs, &mut world.device, &mut out);
    assert!(matches!(outcome, Some(Outcome::Called { fuel: left, .. }) if left == fuel - 100));
}

#[test]
fn att_21_damaged_images_are_refused_and_leave_nothing() {
    let tasklets = tasklets();
    let (image, _) = frozen(&tasklets, options());
    let mut arena = vec![0; 16 << 10];
    let mut refused = |image: &[u8], what: &str| {
        let (world, result) = thaw(&tasklets, &mut arena, image);
        assert_eq!(result, Err(Fault::BadImage), "{what}");
        assert!(world.is_empty() && world.device.calls.is_empty());
    };
    for cut in 0..image.len() {
        refused(&image[..cut], "cut");
    }
    for bit in 0..image.len() * 8 {
        let mut image = image.clone();
        image[bit / 8] ^= 1 << (bit % 8);
        refused(&image, &std::format!("bit {bit}"));
    }
    let mut longer = image.clone();
    longer.push(0);
    refused(&longer, "longer");
    let own = |text: &str| {
        Tasklet::new(
            text,
            Says {
                calls: &[(1, "func(s32) -> s32")],
                ..SAYS
            },
        )
    };
    let other = [
        own(&LOGGING.replace("200", "204")),
        Tasklet::new(INCREMENT, SAYS),
    ];
    let (image, _) = frozen(&other, options());
    refused(&image, "of another module");
}

#[test]
fn a_run_that_has_used_its_slice_moves_too() {
    let text = r#"(module (func (export "run") (param i32) (result i32) (local i32)
        (loop $next
            (local.set 1 (i32.add (local.get 1) (local.get 0)))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if $next (local.get 0)))
        (local.get 1)))"#;
    let tasklets = [Tasklet::new(text, SAYS)];
    let mut arena = vec![0; 16 << 10];
    let whole = World::new(&tasklets, &mut arena, options()).run(0, 100, 10_000);
    let mut arenas = [vec![0; 16 << 10], vec![0; 16 << 10]];
    let [first, second] = &mut arenas;
    let slow = ExecutorOptions {
        slice: 50,
        ..options()
    };
    let mut worlds = [
        World::new(&tasklets, first, slow),
        World::new(&tasklets, second, slow),
    ];
    let start = Task::Start {
        tasklet: 0,
        caller: None,
        job: 0,
        args: cbor(&[100]),
        fuel: 10_000,
    };
    let (id, mut next) = worlds[0].step(start);
    let mut moves = 0;
    while let Some(Next::Task(Task::Continue(_))) = next {
        let [from, to] = &mut worlds;
        let mut image = vec![0; 1000];
        let work = Work::Freeze {
            activation: id,
            room: 1000,
        };
        let frozen = from
            .executor
            .execute(&work, &from.runs, &mut from.device, &mut image);
        let Some(Outcome::Frozen { image, .. }) = frozen else {
            panic!("{frozen:?}");
        };
        assert!(from.is_empty());
        to.runs.0 = from.runs.0.clone();
        let work = Work::Thaw {
            start: tasklets[0].start(id, &[], 10_000),
            image,
        };
        let thawed = to
            .executor
            .execute(&work, &to.runs, &mut to.device, &mut []);
        assert!(
            matches!(thawed, Some(Outcome::Yielded { .. })),
            "{thawed:?}"
        );
        next = to.step(Task::Continue(id)).1;
        worlds.reverse();
        moves += 1;
    }
    let Some(Next::End(Ok(result), fuel)) = next else {
        panic!("it ends");
    };
    assert_eq!(End::Done(ints(&result), fuel), whole);
    assert!(moves > 5);
}

#[test]
fn a_run_whose_image_does_not_fit_stays_and_goes_on() {
    let tasklets = tasklets();
    for options in [options(), always()] {
        let mut arena = vec![0; 16 << 10];
        let mut world = World::new(&tasklets, &mut arena, options);
        let start = Task::Start {
            tasklet: 0,
            caller: None,
            job: 0,
            args: cbor(&[20]),
            fuel: 1000,
        };
        let (activation, _) = world.step(start);
        let len = world.executor.image_len(activation, &world.runs).unwrap();
        for room in 0..len {
            let mut image = vec![0; len];
            let work = Work::Freeze { activation, room };
            let outcome = world
                .executor
                .execute(&work, &world.runs, &mut world.device, &mut image);
            let fault = Fault::ValuesTooLarge;
            assert_eq!(outcome, Some(Outcome::NotFrozen { activation, fault }));
        }
        let resume = Task::Resume(activation, Ok(cbor(&[21])), 500);
        let ends = world.work_off(VecDeque::from([resume]), 1);
        assert!(matches!(&ends[0], End::Done(result, _) if *result == [41]));
        assert!(world.is_empty());
    }
}
