//! Loaded modules that are kept for another start.

use super::*;
use proptest::prelude::*;

/// Changes all kinds of state, calls another tasklet and the device, and ends as its argument
/// says.
const RESTLESS: &str = r#"(module
    (import "floor/callee" "run" (func $callee (param i32) (result i32)))
    (import "nimblenet:clock" "now-us" (func $now (result i64)))
    (type $op (func (param i32) (result i32)))
    (memory 300 900 (pagesize 1))
    (data (i32.const 8) "hello, data")
    (data $later "passive")
    (table $t 4 funcref)
    (elem (i32.const 1) $double $double)
    (elem $more func $negate $double)
    (global $begun (mut i32) (i32.const 0))
    (global $g (mut i64) (i64.const 5))
    START
    (func $begin
        (global.set $begun (i32.add (global.get $begun) (i32.const 1)))
        (i32.store (i32.const 20) (call $callee (i32.const 50))))
    (func $double (type $op) (i32.mul (local.get 0) (i32.const 2)))
    (func $negate (type $op) (i32.sub (i32.const 0) (local.get 0)))
    (func $deep (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
            (else (call $callee (global.get $begun)))))
    (func (export "run") (param $end i32) (result i32)
        (local $sum i32)
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 40))
        (memory.init $later (i32.const 200) (i32.const 0) (i32.const 7))
        (data.drop $later)
        (local.set $sum (call_indirect $t (type $op) (local.get $end) (i32.const 1)))
        (table.init $t $more (i32.const 1) (i32.const 0) (i32.const 2))
        (elem.drop $more)
        (table.fill $t (i32.const 3) (ref.func $double) (i32.const 1))
        (drop (memory.grow (i32.const 400)))
        (i32.store (i32.const 600) (local.get $end))
        (global.set $g (i64.add (global.get $g) (call $now)))
        (local.set $sum (i32.add (local.get $sum) (call $deep (i32.const 9))))
        (block (block (block (br_table 0 1 2 (local.get $end)))
            (unreachable))
            (return (i32.div_u (i32.const 1) (i32.const 0))))
        (i32.add (local.get $sum)
            (i32.add (i32.wrap_i64 (global.get $g))
                (i32.add (i32.load (i32.const 20)) (call_indirect $t (type $op) (local.get $end) (i32.const 1)))))))"#;

/// The restless tasklet, with a start function or without one, and its callee.
fn restless(with_start: bool) -> Vec<Tasklet> {
    let start = if with_start { "(start $begin)" } else { "" };
    let says = Says {
        calls: &[(1, "func(s32) -> s32")],
        memory_bytes: 800,
        ..SAYS
    };
    vec![
        Tasklet::new(&RESTLESS.replace("START", start), says),
        Tasklet::new(INCREMENT, SAYS),
    ]
}

/// Everything that can be seen of a run from outside: the outcome of each piece of work, and the
/// image of the activation wherever it stands still.
#[derive(PartialEq, Debug)]
enum Seen {
    Stands(String, Vec<u8>),
    Ends(String),
}

/// Runs tasklet 0 for up to `stop` pieces of work, and returns what was seen of it.
fn watch(world: &mut World<'_, '_>, arg: i64, fuel: u64, stop: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut next = Task::Start {
        tasklet: 0,
        caller: None,
        job: 0,
        args: cbor(&[arg]),
        fuel,
    };
    for _ in 0..stop {
        let (id, came) = world.step(next);
        let mut image = vec![0; 8192];
        let World { executor, runs, .. } = &mut *world;
        let standing = executor.image_len(id, &*runs);
        next = match came.unwrap() {
            Next::Task(Task::Start { args, fuel, .. }) => {
                let call = std::format!("calls with {args:?}, {fuel} left");
                let slot = executor.wasm.slot(id).unwrap();
                let len = executor.wasm.save(slot, &*runs, &mut image).unwrap();
                assert_eq!(Some(len), standing);
                image.truncate(len);
                seen.push(Seen::Stands(call, image));
                // The callee fails now and then, as its argument says.
                let answer = ints(&args)[0];
                let answer = match answer {
                    3 => Err(Fault::DeviceFailed),
                    other => Ok(cbor(&[other + 1])),
                };
                Task::Resume(id, answer, fuel.saturating_sub(1))
            }
            Next::Task(Task::Continue(_)) => {
                let slot = executor.wasm.slot(id).unwrap();
                let len = executor.wasm.save(slot, &*runs, &mut image).unwrap();
                image.truncate(len);
                seen.push(Seen::Stands("yields".into(), image));
                Task::Continue(id)
            }
            Next::Task(Task::Resume(..)) => unreachable!("it has no caller"),
            Next::End(result, fuel) => {
                runs.0.retain(|run| run.id != id);
                seen.push(Seen::Ends(std::format!("{result:?}, {fuel} left")));
                return seen;
            }
        };
    }
    let activation = ActivationId(world.next - 1);
    let World {
        executor,
        runs,
        device,
        ..
    } = &mut *world;
    executor.execute(&Work::Stop { activation }, &*runs, device, &mut []);
    runs.0.clear();
    seen
}

#[test]
fn a_module_is_loaded_once_for_all_its_runs() {
    let tasklets = chain();
    let mut arena = vec![0; 64 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    for round in 0..10 {
        let End::Done(result, _) = world.run(0, round, 10_000) else {
            panic!("round {round}");
        };
        assert_eq!(result, [chain_result(round)]);
        // In each round 0 runs once, 1 twice, and 2 four times, one after the other.
        let Counts { loaded, warm, .. } = world.counts();
        assert_eq!((loaded, warm), (3, 7 * (round as u64 + 1) - 3));
        assert!(world.is_empty());
    }
    assert_eq!(world.executor.arena_bytes(), world.free_bytes());
}

#[test]
fn two_runs_at_once_have_a_block_each_and_both_are_kept() {
    let tasklets = [Tasklet::new(INCREMENT, SAYS)];
    let mut arena = vec![0; 64 << 10];
    let options = ExecutorOptions {
        slice: 2,
        ..options()
    };
    let mut world = World::new(&tasklets, &mut arena, options);
    for round in 1..4 {
        let ends = world.run_all(0, &[1, 2], 1000);
        assert!(matches!(&ends[..], [End::Done(a, _), End::Done(b, _)] if a[0] == 2 && b[0] == 3));
        let Counts { loaded, warm, .. } = world.counts();
        assert_eq!((loaded, warm), (2, 2 * (round - 1)));
    }
}

#[test]
fn kept_modules_take_no_place_from_activations() {
    let increments = (0..40).map(|constant| {
        let text = INCREMENT.replace("i32.const 1", &std::format!("i32.const {constant}"));
        Tasklet::new(&text, SAYS)
    });
    let tasklets: Vec<_> = increments.collect();
    let mut arena = vec![0; 256 << 10];
    let options = ExecutorOptions {
        slice: 2,
        ..options()
    };
    let mut world = World::new(&tasklets, &mut arena, options);
    for at in 0..40 {
        assert!(
            matches!(world.run(at, 1, 1000), End::Done(result, _) if result == [1 + at as i64])
        );
    }
    // The sixteen that were used last are kept.
    assert_eq!(world.counts().loaded, 40);
    for at in 24..40 {
        assert!(matches!(world.run(at, 1, 1000), End::Done(..)));
    }
    assert_eq!((world.counts().loaded, world.counts().warm), (40, 16));
    // Sixteen other activations find a place each, all at once.
    let ends = world.run_all(0, &[5; 16], 1000);
    assert!(ends.iter().all(|end| matches!(end, End::Done(..))));
    assert_eq!(world.counts().loaded, 56);
    assert!(world.is_empty());
}

#[test]
fn kept_modules_give_way_before_anything_is_lent_or_frozen() {
    let text = r#"(module (memory 3000 (pagesize 1)) (func (export "run") (param i32) (result i32)
        (i32.add (local.get 0) (i32.load8_u (i32.const CONSTANT)))))"#;
    let tasklets = (0..9)
        .map(|constant| Tasklet::new(&text.replace("CONSTANT", &std::format!("{constant}")), SAYS));
    let tasklets: Vec<_> = tasklets.collect();
    let mut arena = vec![0; 12 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    for round in 0..30 {
        let at = round * 7 % 9;
        assert!(matches!(world.run(at, 1, 1000), End::Done(..)), "{round}");
        assert_eq!(world.counts().frozen, 0);
    }
    assert!(world.counts().loaded > 20, "they do not fit side by side");
    assert_eq!(world.executor.arena_bytes(), world.free_bytes());
}

#[test]
fn another_entry_for_the_same_module_gets_what_it_says_itself() {
    let text = r#"(module (import "nimblenet:clock" "now-us" (func $now (result i64)))
        (memory 16 (pagesize 1))
        (func (export "run") (param i32) (result i32)
            (drop (call $now))
            (memory.grow (local.get 0))))"#;
    let says = |memory_bytes| {
        let says = Says {
            memory_bytes,
            ..SAYS
        };
        Tasklet::new(text, says)
    };
    let mut denied = says(1000);
    denied.granted = Capabilities::NONE;
    let other_type = Says {
        signature: "func(s64) -> s32",
        memory_bytes: 1000,
        ..SAYS
    };
    let tasklets = [says(1000), says(20), denied, Tasklet::new(text, other_type)];
    let mut arena = vec![0; 64 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    for _ in 0..3 {
        assert!(matches!(world.run(0, 900, 1000), End::Done(result, _) if result == [16]));
        assert!(matches!(world.run(1, 900, 1000), End::Done(result, _) if result == [-1]));
        let denied = End::Failed(Fault::CapabilityDenied, None);
        assert_eq!(world.run(2, 0, 1000), denied);
        let other = End::Failed(Fault::WrongSignature, None);
        assert_eq!(world.run(3, 0, 1000), other);
    }
    // Two ceilings, two blocks.
    assert_eq!((world.counts().loaded, world.counts().warm), (2, 4));
}

#[test]
fn a_start_whose_digest_is_not_that_of_its_bytes_gets_no_kept_block() {
    let other = INCREMENT.replace("i32.const 1", "i32.const 2");
    let mut tasklets = [
        Tasklet::new(INCREMENT, SAYS),
        Tasklet::new(&other, SAYS),
        Tasklet::new(INCREMENT, SAYS),
    ];
    tasklets[2].entry = tasklets[1].entry.clone();
    let mut arena = vec![0; 64 << 10];
    let mut world = World::new(&tasklets, &mut arena, options());
    assert!(matches!(world.run(0, 1, 1000), End::Done(result, _) if result == [2]));
    let mismatch = End::Failed(Fault::DigestMismatch, None);
    assert_eq!(world.run(2, 1, 1000), mismatch);
    assert!(matches!(world.run(1, 1, 1000), End::Done(result, _) if result == [3]));
    assert_eq!((world.counts().loaded, world.counts().warm), (2, 0));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(debug_assertions) { 96 } else { 512 })
    })]

    /// Whatever ran before in a block, and however it ended: the next run looks from outside like
    /// a first run.
    #[test]
    fn a_run_in_a_kept_block_is_as_a_run_in_a_new_one(
        with_start: bool,
        metered in prop::bool::weighted(0.8),
        slice in prop_oneof![Just(u64::MAX), 3u64..200],
        runs in prop::collection::vec((0i64..4, 0u64..900, 1usize..40), 2..8),
    ) {
        let tasklets = restless(with_start);
        let options = ExecutorOptions { slice, metered, ..options() };
        let mut arena = vec![0xa5; 32 << 10];
        let mut warm = World::new(&tasklets, &mut arena, options);
        for (arg, fuel, stop) in &runs {
            let mut arena = vec![0x5a; 32 << 10];
            let mut cold = World::new(&tasklets, &mut arena, options);
            let first = watch(&mut cold, *arg, *fuel, *stop);
            prop_assert_eq!(watch(&mut warm, *arg, *fuel, *stop), first);
        }
        prop_assert_eq!(warm.counts().warm, runs.len() as u64 - 1);
    }
}
