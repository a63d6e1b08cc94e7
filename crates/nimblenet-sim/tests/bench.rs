//! Many jobs on few executors: real WebAssembly on real nodes, in virtual time.
#![allow(clippy::unwrap_used)]

extern crate alloc;

use alloc::rc::Rc;
use core::cell::Cell;
use core::time::Duration;

use nimblenet_core::{CallId, Config, PartyId};
use nimblenet_sim::{Device, Draft, Layout, LinkModel, Net, Publisher, SimExecutor, WasmExecutor};
use nimblenet_tasklet::{Answer, Fault, NodeId, Work};

/// The node at which the calls are made.
const NODE: u16 = 2;
/// Fuel of one slice; the executor takes a microsecond for each thousand.
const SLICE: u64 = 100_000;

/// Fills 2 KiB of its memory, and adds one.
const STEP: &str = r#"(module (memory 1) (func (export "run") (param i32) (result i32)
    (memory.fill (i32.const 0) (local.get 0) (i32.const 2048))
    (i32.add (local.get 0) (i32.const 1))))"#;

/// Calls the next level, and adds ten.
fn level(callee: &str) -> String {
    format!(
        r#"(module (import "{callee}" "run" (func $f (param i32) (result i32))) (memory 1)
        (func (export "run") (param i32) (result i32)
            (i32.store (i32.const 64) (i32.const 10))
            (i32.add (call $f (local.get 0)) (i32.load (i32.const 64)))))"#
    )
}

const SPIN: &str = r#"(module (memory 1) (global $turns (mut i32) (i32.const 0))
    (func (export "run")
        (loop (global.set $turns (i32.add (global.get $turns) (i32.const 1))) (br 0))))"#;

/// Ends after about four hundred slices.
const COUNT: &str = r#"(module (memory 1) (func (export "run") (local i32)
    (loop (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get 0) (i32.const 10000000))))))"#;

/// How often an executor was asked to do what.
#[derive(Default, Debug)]
struct Asked {
    frozen: Cell<u32>,
    thawed: Cell<u32>,
}

/// Counts the images that go to the shelf and come back.
struct Counting {
    inner: WasmExecutor,
    asked: Rc<Asked>,
}

impl SimExecutor for Counting {
    fn execute(&mut self, work: &Work<'_>) -> Option<(Duration, Answer<Vec<u8>>)> {
        let done = self.inner.execute(work);
        let outcome = done.as_ref().map(|(_, outcome)| outcome);
        if let Some(Answer::Frozen { .. }) = outcome {
            self.asked.frozen.set(self.asked.frozen.get() + 1);
        }
        if let (Work::Thaw { .. }, Some(Answer::Called { .. } | Answer::Yielded { .. })) =
            (work, outcome)
        {
            self.asked.thawed.set(self.asked.thawed.get() + 1);
        }
        done
    }
}

fn draft(name: &str, wat: &str, signature: &str) -> Draft {
    let mut draft = Draft::new(name, wat::parse_str(wat).unwrap(), signature);
    draft.memory_bytes = 65536;
    draft.fuel = 1_000_000_000_000;
    draft
}

fn net(configure: impl Fn(&mut Config)) -> (Net, Rc<Asked>) {
    let mut drafts = vec![
        draft("level-1", STEP, "func(s32) -> s32"),
        draft("spin", SPIN, "func()"),
        draft("count", COUNT, "func()"),
    ];
    for depth in 2..=8 {
        let callee = format!("shop/level-{}", depth - 1);
        let draft = draft(
            &format!("level-{depth}"),
            &level(&callee),
            "func(s32) -> s32",
        );
        drafts.push(draft.calling(&callee, "func(s32) -> s32"));
    }
    let asked = Rc::new(Asked::default());
    let counted = asked.clone();
    let executor = move |_: NodeId| -> Box<dyn SimExecutor> {
        Box::new(Counting {
            inner: WasmExecutor::new(4 << 20, SLICE, Device::default()),
            asked: counted.clone(),
        })
    };
    let shelves = vec![(Publisher::new("shop"), drafts)];
    let layout = Layout::pair();
    let mut net = Net::new(1, &layout, LinkModel::PAPER, shelves, configure, executor);
    net.run_for(Duration::from_secs(30));
    // These calls bring everything into the cache.
    let spin = net.call(NODE, "shop/spin", &[0x80]).unwrap();
    let held = net.node(NODE).cache().tasklets().count();
    let cached = |net: &Net| net.node(NODE).cache().tasklets().count() > held;
    assert!(net.run_until(Duration::from_secs(10), cached));
    net.stop(NODE, spin);
    assert_eq!(
        net.run_call_with(NODE, "shop/level-8", &[0x81, 1]).result,
        Ok(vec![0x81, 0x18, 72])
    );
    (net, asked)
}

fn calls(net: &mut Net, name: &str, count: u8) -> Vec<(u8, CallId)> {
    let numbered = (0..count).map(|it| (it, net.call(NODE, name, &[0x81, it % 20]).unwrap()));
    numbered.collect()
}

/// Waits until all calls of a chain of `depth` levels have ended, each with its own result.
fn all_end(net: &mut Net, calls: &[(u8, CallId)], depth: u8) {
    for (argument, call) in calls {
        let result = net.run_until_finished(NODE, *call).result;
        let expected = argument % 20 + 1 + 10 * (depth - 1);
        let expected = if expected < 24 {
            vec![0x81, expected]
        } else {
            vec![0x81, 0x18, expected]
        };
        assert_eq!(result, Ok(expected), "call {argument} of {}", calls.len());
    }
    assert_eq!(net.node(NODE).cache().reservations(), 0);
    assert_eq!(net.node(NODE).jobs(), 0);
}

#[test]
fn fault_01_any_number_of_chains_at_once_give_as_many_results() {
    let (mut net, asked) = net(|_| {});
    for count in [1, 2, 8, 16, 17, 33, 63, 64] {
        let held = calls(&mut net, "shop/level-3", count);
        // More than there are places for: each is a job from the first moment.
        assert_eq!(net.node(NODE).jobs(), usize::from(count));
        all_end(&mut net, &held, 3);
    }
    assert_eq!(asked.frozen.get(), asked.thawed.get());
}

#[test]
fn fault_01_of_a_hundred_callers_sixty_four_get_results_and_the_others_hear_busy_at_once() {
    let (mut net, _) = net(|_| {});
    let (mut accepted, mut busy) = (Vec::new(), 0);
    for argument in 0..100 {
        match net.call(NODE, "shop/level-2", &[0x81, argument % 20]) {
            Ok(call) => accepted.push((argument, call)),
            Err(fault) => {
                assert_eq!(fault, Fault::Busy);
                busy += 1;
            }
        }
    }
    assert_eq!((accepted.len(), busy), (64, 36));
    all_end(&mut net, &accepted, 2);
}

#[test]
fn fault_01_a_quick_call_is_answered_soon_while_many_endless_ones_run() {
    for endless in [1, 16, 40, 63] {
        let (mut net, _) = net(|_| {});
        let spinning: Vec<_> = (0..endless)
            .map(|_| net.call(NODE, "shop/spin", &[0x80]).unwrap())
            .collect();
        net.run_for(Duration::from_millis(20));
        for _ in 0..10 {
            let quick = net.call(NODE, "shop/level-2", &[0x81, 1]).unwrap();
            let ended = net.run_until_finished(NODE, quick);
            assert_eq!(ended.result, Ok(vec![0x81, 12]));
            assert!(
                ended.took < Duration::from_millis(2),
                "{endless} endless ones: {:?}",
                ended.took
            );
            net.run_for(Duration::from_micros(700));
        }
        for call in spinning {
            assert!(net.finished(NODE, call).is_none(), "it still runs");
            net.stop(NODE, call);
        }
        net.run_for(Duration::from_millis(10));
        assert_eq!(net.node(NODE).cache().reservations(), 0);
    }
}

#[test]
fn endless_tasklets_share_the_executor_whether_they_are_on_the_shelf_or_not() {
    let (mut net, asked) = net(|config| config.limits.places = 8);
    for _ in 0..20 {
        net.call(NODE, "shop/spin", &[0x80]).unwrap();
    }
    net.run_for(Duration::from_millis(100));
    // That is a thousand slices; jobs on the shelf take turns with the others.
    assert!(asked.thawed.get() > 300, "{asked:?}");
    let held: Vec<_> = net.node(NODE).calls().collect();
    assert_eq!(held.len(), 20);
}

#[test]
fn nested_chains_never_starve_each_other_whatever_room_there_is() {
    for (places, shelf) in [(8, 0), (8, 64 << 10), (9, 1 << 20), (16, 0), (16, 4 << 20)] {
        let (mut net, _) = net(|config| {
            config.limits.places = places;
            config.limits.shelf_bytes = shelf;
        });
        let spinning: Vec<_> = (0..4)
            .map(|_| net.call(NODE, "shop/spin", &[0x80]).unwrap())
            .collect();
        let held = calls(&mut net, "shop/level-8", 12);
        if places == 8 && shelf < 1 << 20 {
            // If the shelf has no room, endless tasklets keep their places, and deep chains wait.
            for call in &spinning {
                net.stop(NODE, *call);
            }
        }
        let reservations = net.node(NODE).cache().reservations();
        assert!(reservations > 0);
        for (_, call) in &held {
            assert!(
                net.run_until_finished(NODE, *call).result.is_ok(),
                "{places} {shelf}"
            );
        }
        spinning.iter().for_each(|call| net.stop(NODE, *call));
        net.run_for(Duration::from_millis(10));
        assert_eq!(net.node(NODE).cache().reservations(), 0);
    }
}

#[test]
fn several_executors_share_the_work() {
    let took = |executors| {
        let (mut net, _) = net(|config| config.limits.executors = executors);
        let start = net.now();
        let mut limited: Vec<CallId> = Vec::new();
        for _ in 0..8 {
            limited.push(net.call(NODE, "shop/spin", &[0x80]).unwrap());
        }
        let held = calls(&mut net, "shop/level-8", 40);
        all_ended(&mut net, &held);
        let took = net.now() - start;
        limited.iter().for_each(|call| net.stop(NODE, *call));
        net.run_for(Duration::from_millis(10));
        assert_eq!(net.node(NODE).cache().reservations(), 0);
        took
    };
    let (one, four) = (took(1), took(4));
    assert!(four * 2 < one, "one executor: {one:?}, four: {four:?}");
}

fn all_ended(net: &mut Net, calls: &[(u8, CallId)]) {
    for (_, call) in calls {
        assert!(net.run_until_finished(NODE, *call).result.is_ok());
    }
}

#[test]
fn a_call_that_is_stopped_on_the_shelf_leaves_nothing() {
    let (mut net, asked) = net(|config| config.limits.places = 8);
    let spinning: Vec<_> = (0..30)
        .map(|_| net.call(NODE, "shop/spin", &[0x80]).unwrap())
        .collect();
    net.run_for(Duration::from_millis(50));
    assert!(asked.frozen.get() > 20);
    for call in spinning {
        net.stop(NODE, call);
        net.run_for(Duration::from_micros(300));
    }
    net.run_for(Duration::from_millis(10));
    assert_eq!(net.node(NODE).cache().reservations(), 0);
    let held = calls(&mut net, "shop/level-8", 10);
    all_end(&mut net, &held, 8);
}

/// Fills its memory, so that its image is as large as the memory, and then works for some slices.
const FULL: &str = r#"(module (memory 1) (global $turns (mut i32) (i32.const 0))
    (func (export "run") (param i32) (result i32)
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536))
        (loop (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
            (br_if 0 (i32.lt_u (global.get $turns) (i32.const 100000))))
        (i32.add (local.get 0) (i32.load8_u (i32.const 65535)))))"#;

/// Fills its memory, calls another, and adds what is in its memory.
fn full_caller(callee: &str) -> String {
    format!(
        r#"(module (import "{callee}" "run" (func $f (param i32) (result i32))) (memory 1)
        (func (export "run") (param i32) (result i32)
            (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536))
            (i32.add (call $f (local.get 0)) (i32.load8_u (i32.const 65535)))))"#
    )
}

/// Nodes whose executors have room for `tasklets` tasklets, each of which uses 64 KiB of memory.
fn small_net(tasklets: usize, configure: impl Fn(&mut Config)) -> (Net, Rc<Asked>) {
    let step = "func(s32) -> s32";
    let mut large = draft("large", FULL, step);
    large.module = wat::parse_str(FULL.replace("(memory 1)", "(memory 8)")).unwrap();
    large.memory_bytes = 8 * 65536;
    let pair = draft("pair", &full_caller("shop/full"), step).calling("shop/full", step);
    let drafts = vec![draft("full", FULL, step), large, pair];
    let asked = Rc::new(Asked::default());
    let counted = asked.clone();
    let arena = tasklets * (80 << 10) + 64 * 1024;
    let executor = move |_: NodeId| -> Box<dyn SimExecutor> {
        Box::new(Counting {
            inner: WasmExecutor::new(arena, SLICE, Device::default()),
            asked: counted.clone(),
        })
    };
    let shelves = vec![(Publisher::new("shop"), drafts)];
    let configure = |config: &mut Config| {
        config.limits.cache_bytes = 128 << 10;
        configure(config);
    };
    let layout = Layout::pair();
    let mut net = Net::new(1, &layout, LinkModel::PAPER, shelves, configure, executor);
    net.run_for(Duration::from_secs(30));
    assert_eq!(
        net.run_call_with(NODE, "shop/full", &[0x81, 1]).result,
        Ok(vec![0x81, 8])
    );
    (net, asked)
}

/// Waits for calls of a tasklet that adds `added` to its argument. Returns how many ended with
/// their results; the others must have failed for want of memory.
fn ended_well(net: &mut Net, calls: &[(u8, CallId)], added: u8) -> usize {
    let mut well = 0;
    for (argument, call) in calls {
        match net.run_until_finished(NODE, *call).result {
            Ok(result) => {
                let (mut expected, sum) = (vec![0x81], argument % 20 + added);
                expected.extend((sum >= 24).then_some(0x18));
                expected.push(sum);
                assert_eq!(result, expected);
                well += 1;
            }
            Err(fault) => assert_eq!(fault, Fault::NoMemory),
        }
    }
    assert_eq!(net.node(NODE).cache().reservations(), 0);
    assert_eq!(net.node(NODE).jobs(), 0);
    well
}

#[test]
fn jobs_for_which_the_executor_has_no_room_wait_and_all_end() {
    for (shelf, executors) in [(4 << 20, 1), (200 << 10, 1), (0, 1), (4 << 20, 2), (0, 2)] {
        let (mut net, asked) = small_net(2, |config| {
            config.limits.shelf_bytes = shelf;
            config.limits.executors = executors;
        });
        let held = calls(&mut net, "shop/full", 40);
        assert_eq!(ended_well(&mut net, &held, 7), 40, "{shelf} {executors}");
        assert_eq!(asked.frozen.get(), asked.thawed.get());
        assert_eq!(asked.frozen.get() > 0, shelf > 0, "{shelf}: {asked:?}");
    }
}

#[test]
fn what_is_larger_than_the_executor_fails_and_the_others_do_not() {
    for shelf in [0, 4 << 20] {
        let (mut net, _) = small_net(2, |config| config.limits.shelf_bytes = shelf);
        let held = calls(&mut net, "shop/full", 10);
        let large = net.run_call_with(NODE, "shop/large", &[0x81, 1]);
        assert_eq!(large.result, Err(Fault::NoMemory));
        assert_eq!(ended_well(&mut net, &held, 7), 10);
    }
}

#[test]
fn callers_that_wait_for_each_others_room_give_way_youngest_first() {
    for shelf in [0, 4 << 20] {
        let (mut net, _) = small_net(3, |config| config.limits.shelf_bytes = shelf);
        // One or two callers leave room for their callees; three take all the room.
        for count in [1, 2] {
            let held = calls(&mut net, "shop/pair", count);
            assert_eq!(ended_well(&mut net, &held, 14), usize::from(count));
        }
        let held = calls(&mut net, "shop/pair", 3);
        let [oldest, middle, youngest] = [0, 1, 2].map(|at: usize| held[at].1);
        let well = ended_well(&mut net, &held, 14);
        assert_eq!(well, if shelf == 0 { 2 } else { 3 });
        let ends = |call| net.finished(NODE, call).map(|end| end.result.is_ok());
        // Of two that have begun the younger one gives way; the third has not begun, and holds nothing.
        assert_eq!(ends(oldest), Some(true));
        assert_eq!(ends(middle), Some(shelf > 0));
        assert_eq!(ends(youngest), Some(true));
        let held = calls(&mut net, "shop/pair", 12);
        let well = ended_well(&mut net, &held, 14);
        assert!(
            if shelf == 0 { well > 0 } else { well == 12 },
            "{well} of 12"
        );
    }
}

#[test]
fn a_stalled_call_that_is_stopped_leaves_nothing() {
    for shelf in [0, 4 << 20] {
        let (mut net, _) = small_net(2, |config| config.limits.shelf_bytes = shelf);
        let mut held = calls(&mut net, "shop/full", 40);
        let start = net.now();
        while let Some((_, call)) = held.pop() {
            net.stop(NODE, call);
            net.run_for(Duration::from_micros(170));
        }
        assert!(net.now() > start);
        net.run_for(Duration::from_millis(10));
        assert_eq!(net.node(NODE).cache().reservations(), 0);
        assert_eq!(net.node(NODE).jobs(), 0);
    }
}

#[test]
fn a_long_call_has_half_of_an_executor_however_many_another_party_runs() {
    let alone = {
        let (mut net, _) = net(|_| {});
        let call = net.call(NODE, "shop/count", &[0x80]).unwrap();
        net.run_until_finished(NODE, call).took
    };
    let (mut net, _) = net(|_| {});
    let from = |party| Some(PartyId(party));
    let spinning: Vec<_> = (0..20)
        .map(|_| net.call_from(NODE, from(1), "shop/spin", &[0x80]).unwrap())
        .collect();
    net.run_for(Duration::from_millis(20));
    let call = net.call_from(NODE, from(2), "shop/count", &[0x80]).unwrap();
    let end = net.run_until_finished(NODE, call);
    assert_eq!(end.result, Ok(vec![0x80]));
    assert!(end.took < alone * 5 / 2, "{:?}, alone {alone:?}", end.took);
    spinning.iter().for_each(|call| net.stop(NODE, *call));
}
