//! Which call is next, which are refused, and what becomes of those that are cancelled
//! (spec/behaviour.md, sections 18 and 19).
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::place::{Decision, Facts, Place};
use nimblenet_core::{Awaited, CallId, Config, Placement, Priority};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, TimedExecutor};
use nimblenet_tasklet::Fault;

const SECOND: Duration = Duration::from_secs(1);
/// How long `shop/work` runs.
const WORK: Duration = Duration::from_secs(5);
/// More than any call of these tests needs.
const AMPLE: Duration = Duration::from_secs(120);

/// Nodes 1 to `nodes` in a line behind the registry, with an executor each. `shop/work` runs for five seconds,
/// and so does `shop/calls`, which calls it and goes on for a second. `shop/long` runs for forty.
fn mesh(seed: u64, nodes: u16, configure: impl Fn(&mut Config) + 'static) -> Net {
    let us = WORK.as_micros() as u32;
    let work = Draft::new("work", TimedExecutor::module(&[us], 600), "func()").costing(us.into());
    let calls = TimedExecutor::module(&[us, 1_000_000], 600);
    let calls = Draft::new("calls", calls, "func()").costing(u64::from(us) + 1_000_000);
    let calls = calls.calling("shop/work", "func()");
    let long = Draft::new("long", TimedExecutor::module(&[8 * us], 600), "func()");
    let shelves = vec![(Publisher::new("shop"), vec![work, calls, long])];
    let configure = move |config: &mut Config| {
        config.limits.executors = 1;
        config.limits.waiting = 16;
        config.fuel_ms = 1000;
        config.placement = Placement::HERE;
        configure(config);
    };
    let timed = |_| Box::new(TimedExecutor::default()) as _;
    let layout = Layout::line(nodes);
    let mut net = Net::new(seed, &layout, LinkModel::PAPER, shelves, configure, timed);
    net.run_for(30 * SECOND);
    net
}

/// Waits until the calls have ended at node 1, and returns them in the order of their ends.
fn order(net: &mut Net, calls: &[CallId]) -> Vec<CallId> {
    let mut ends: Vec<_> = calls
        .iter()
        .map(|call| (net.run_until_finished(1, *call).at, *call))
        .collect();
    ends.sort();
    ends.into_iter().map(|(_, call)| call).collect()
}

/// Checks that a node has nothing of any call.
#[track_caller]
fn assert_empty(net: &Net, id: u16) {
    let node = net.node(id);
    let reserved = node.cache().reservations();
    let calls: Vec<_> = node.calls().collect();
    let counts = (node.jobs(), reserved, node.withdrawn());
    assert_eq!((counts, calls), ((0, 0, 0), Vec::new()), "node {id}");
}

#[test]
fn the_most_urgent_call_is_next_at_an_executor_and_for_a_place() {
    for places in [16, 2] {
        let mut net = mesh(1, 1, move |config| {
            config.limits.jobs = places;
        });
        net.run_call(1, "shop/work");
        let calls = [
            (Priority::Normal, 90),
            (Priority::Low, 80),
            (Priority::Normal, 90),
            (Priority::Normal, 50),
            (Priority::High, 110),
        ];
        let calls = calls.map(|(priority, seconds)| {
            net.run_for(SECOND / 100);
            let urgency = (priority, seconds * SECOND);
            net.call_urgently(1, urgency, "shop/work").unwrap()
        });
        let [running, low, normal, due, high] = calls;
        let order = order(&mut net, &calls);
        match places {
            16 => assert_eq!(order, [running, high, due, normal, low]),
            // The second call has a place when the others come.
            _ => assert_eq!(order, [running, low, high, due, normal]),
        }
    }
}

#[test]
fn a_low_call_ends_although_others_come_without_end() {
    let mut net = mesh(2, 1, |_| {});
    net.call(1, "shop/work", &[0x80]).unwrap();
    let low = net.call_urgently(1, (Priority::Low, 600 * SECOND), "shop/work");
    let low = low.unwrap();
    let begun = net.now();
    // Two calls come while one runs: more than the node can do.
    while net.finished(1, low).is_none() && net.now() - begun < 300 * SECOND {
        for priority in [Priority::High, Priority::Normal] {
            net.call_urgently(1, (priority, AMPLE), "shop/work")
                .unwrap();
        }
        net.run_for(WORK);
    }
    let waited = net.finished(1, low).map(|end| end.at - begun);
    // After a minute it is high and due: before it is what came within that minute and is high by then.
    let waited = waited.expect("it ends");
    assert!(waited > 60 * SECOND, "{waited:?}");
    assert!(waited < 150 * SECOND, "{waited:?}");
}

#[test]
fn what_waits_for_room_in_the_cache_rises_while_another_call_runs_for_long() {
    let mut net = mesh(12, 1, |config| config.limits.cache_bytes = 1024);
    let call =
        |net: &mut Net, priority, name| net.call_urgently(1, (priority, AMPLE), name).unwrap();
    let long = call(&mut net, Priority::Normal, "shop/long");
    net.run_for(SECOND);
    let low = call(&mut net, Priority::Low, "shop/work");
    net.run_for(34 * SECOND);
    let late = call(&mut net, Priority::Normal, "shop/work");
    let lines: Vec<_> = net.node(1).awaiting().collect();
    let room = |call| (call, Awaited::Room);
    assert_eq!(lines, [room(low), room(late)], "there is room for one");
    assert_eq!(order(&mut net, &[long, low, late]), [long, low, late]);
}

#[test]
fn a_newcomer_does_not_take_a_place_for_which_others_wait() {
    let mut net = mesh(13, 1, |config| {
        (config.limits.jobs, config.limits.waiting) = (1, 1)
    });
    net.run_call(1, "shop/work");
    let runs = net.call(1, "shop/work", &[0x80]).unwrap();
    let waits = net.call(1, "shop/work", &[0x80]).unwrap();
    let lines: Vec<_> = net.node(1).awaiting().collect();
    assert_eq!(lines, [(waits, Awaited::Place)]);
    net.run_until_finished(1, runs);
    // The place is free, and nobody has taken it yet.
    assert_eq!(net.call(1, "shop/work", &[0x80]), Err(Fault::Busy));
    assert_eq!(net.run_until_finished(1, waits).result, Ok(vec![0x80]));
}

/// A policy that sends nothing away.
struct Stubborn;

impl Place for Stubborn {
    fn place(&self, _: &Facts<'_>) -> Decision {
        Decision::Here
    }
}

static STUBBORN: Placement = Placement {
    name: "stubborn",
    policy: &Stubborn,
};

#[test]
fn a_call_that_cannot_end_in_time_is_refused_at_once_and_says_what_it_would_take() {
    let mut net = mesh(7, 1, |config| config.placement = Placement::LEAST_WORK);
    net.run_call(1, "shop/work");
    let call = |net: &mut Net, priority, seconds| {
        net.call_urgently(1, (priority, Duration::from_secs(seconds)), "shop/work")
    };
    let twelve: Vec<_> = (0..2)
        .map(|_| call(&mut net, Priority::Normal, 12).unwrap())
        .collect();
    assert_eq!(call(&mut net, Priority::Normal, 12), Err(Fault::TooLate));
    let wanted = net.node(1).wanted_time().unwrap();
    assert!(wanted > 14 * SECOND && wanted < 16 * SECOND, "{wanted:?}");
    // A higher priority, more time than that, and much time are other things.
    let high = call(&mut net, Priority::High, 12).unwrap();
    net.cancel(1, high).unwrap();
    let others = [17, 60].map(|seconds| call(&mut net, Priority::Normal, seconds).unwrap());
    for id in twelve.into_iter().chain(others) {
        assert_eq!(net.run_until_finished(1, id).result, Ok(vec![0x80]));
    }
    net.run_for(60 * SECOND);
    assert_empty(&net, 1);
    assert_eq!(
        call(&mut net, Priority::Normal, 4),
        Err(Fault::TooLate),
        "it takes five"
    );
}

#[test]
fn what_is_not_known_to_be_too_late_is_tried() {
    let mut net = mesh(8, 1, |config| {
        config.placement = Placement::LEAST_WORK;
        // Declared costs are ten times too high.
        config.fuel_ms = 100;
    });
    let urgent = (Priority::Normal, 8 * SECOND);
    let first = net.call_urgently(1, urgent, "shop/work").unwrap();
    assert_eq!(net.run_until_finished(1, first).result, Ok(vec![0x80]));
    let second = net.call_urgently(1, urgent, "shop/work").unwrap();
    assert_eq!(net.run_until_finished(1, second).result, Ok(vec![0x80]));
    // Without placement a node does not remember what tasklets take.
    let mut net = mesh(8, 1, |_| {});
    let short = (Priority::Normal, SECOND);
    for _ in 0..5 {
        net.call_urgently(1, short, "shop/work").unwrap();
    }
}

#[test]
fn a_call_that_cannot_end_in_time_here_runs_at_a_neighbour_that_can() {
    let mut net = mesh(9, 2, |config| config.placement = &STUBBORN);
    for id in [1, 2] {
        assert_eq!(net.run_call(id, "shop/work").result, Ok(vec![0x80]));
    }
    net.run_for(10 * SECOND);
    let urgent = (Priority::Normal, 12 * SECOND);
    let calls: Vec<_> = (0..4)
        .map(|_| net.call_urgently(1, urgent, "shop/work").unwrap())
        .collect();
    assert_eq!(net.node(1).counters().placed, 2);
    assert_eq!(
        net.call_urgently(1, urgent, "shop/work"),
        Err(Fault::TooLate)
    );
    for call in calls {
        assert_eq!(net.run_until_finished(1, call).result, Ok(vec![0x80]));
    }
}

#[test]
fn a_neighbour_that_has_become_busy_refuses_and_only_if_none_can_the_call_is_too_late() {
    let mut net = mesh(10, 2, |config| config.placement = &STUBBORN);
    for id in [1, 2] {
        assert_eq!(net.run_call(id, "shop/work").result, Ok(vec![0x80]));
    }
    net.run_for(10 * SECOND);
    let urgent = (Priority::Normal, 12 * SECOND);
    // Node 1 has not heard yet that node 2 is busy.
    let own: Vec<_> = [2, 2, 1, 1]
        .map(|id| (id, net.call_urgently(id, urgent, "shop/work").unwrap()))
        .to_vec();
    let late = net.call_urgently(1, urgent, "shop/work").unwrap();
    let begun = net.now();
    let end = net.run_until_finished(1, late);
    assert_eq!(end.result, Err(Fault::TooLate));
    assert!(end.at - begun < 2 * SECOND, "it hears of that soon");
    for (id, call) in own {
        assert_eq!(net.run_until_finished(id, call).result, Ok(vec![0x80]));
    }
}

#[test]
fn a_cancelled_call_ends_at_once_whether_it_waits_or_runs_and_leaves_nothing() {
    let mut net = mesh(3, 1, |config| config.limits.jobs = 2);
    let [runs, ready, waits] = [(); 3].map(|()| net.call(1, "shop/calls", &[0x80]).unwrap());
    // The first one waits for its callee by then.
    net.run_for(7 * SECOND);
    for call in [waits, ready, runs] {
        net.cancel(1, call).unwrap();
        assert_eq!(
            net.run_until_finished(1, call).result,
            Err(Fault::Cancelled)
        );
        assert_eq!(net.cancel(1, call), Err(Fault::UnknownCall), "it has ended");
    }
    net.run_for(WORK);
    assert_empty(&net, 1);
    assert_eq!(net.run_call(1, "shop/work").result, Ok(vec![0x80]));
}

#[test]
fn the_node_that_runs_a_cancelled_call_stops_though_half_of_the_frames_are_lost() {
    for seed in 20..30 {
        let mut net = mesh(seed, 3, |_| {});
        let lossy = LinkModel {
            loss: 0.5,
            ..LinkModel::PAPER
        };
        for (a, b) in [(1, 2), (2, 3)] {
            net.set_link(a, b, lossy);
        }
        let call = net.call_at(1, 3, "shop/calls", &[0x80]).unwrap();
        net.run_for(SECOND * (seed as u32 % 6));
        net.cancel(1, call).unwrap();
        assert_eq!(
            net.run_until_finished(1, call).result,
            Err(Fault::Cancelled)
        );
        net.run_for(20 * SECOND);
        assert_empty(&net, 1);
        let other = net.node(3);
        // Six questions may all be lost; then it works in vain, once.
        let ends = other.counters().completed + other.counters().failed;
        assert!(ends <= other.counters().calls && other.counters().calls <= 1);
        net.run_for(AMPLE);
        assert_empty(&net, 3);
    }
}

#[test]
fn a_call_that_is_cancelled_before_it_arrives_never_runs() {
    let mut net = mesh(4, 2, |_| {});
    assert_eq!(net.run_call(2, "shop/work").result, Ok(vec![0x80]));
    let before = net.node(2).counters().completed;
    net.cut(1, 2);
    let call = net.call_at(1, 2, "shop/work", &[0x80]).unwrap();
    net.cancel(1, call).unwrap();
    net.mend(1, 2);
    net.run_for(20 * SECOND);
    assert_eq!(net.node(2).counters().completed, before);
    assert_empty(&net, 1);
    assert_empty(&net, 2);
}

#[test]
fn a_cancelled_call_that_was_placed_passed_on_or_moved_stops_where_it_is() {
    let placed = |config: &mut Config| config.placement = Placement::LEAST_WORK;
    let mut net = mesh(5, 3, placed);
    // Node 2 is busy, and node 3 idle: what node 1 places at node 2 goes on from there.
    let own: Vec<_> = (0..2)
        .map(|_| {
            net.call_urgently(2, (Priority::Normal, AMPLE), "shop/work")
                .unwrap()
        })
        .collect();
    let calls: Vec<_> = (0..6)
        .map(|_| net.call(1, "shop/work", &[0x80]).unwrap())
        .collect();
    net.run_for(2 * SECOND);
    assert!(net.node(1).counters().placed > 0, "some were placed");
    assert!(net.node(2).counters().passed > 0, "and passed on");
    for call in &calls {
        net.cancel(1, *call).unwrap();
    }
    for call in own {
        assert_eq!(net.run_until_finished(2, call).result, Ok(vec![0x80]));
    }
    net.run_for(SECOND);
    (1..=3).for_each(|id| assert_empty(&net, id));
    let done: u64 = net.nodes().map(|node| node.counters().completed).sum();
    // Who has placed a call has completed it too.
    let own = done - net.node(2).counters().placed;
    assert_eq!(own, 2, "nobody has gone on with a cancelled one");
    // A job that has moved.
    let call = net.call(1, "shop/calls", &[0x80]).unwrap();
    net.run_for(SECOND / 2);
    net.move_call(1, call, 2).unwrap();
    net.run_for(9 * SECOND);
    assert_eq!(net.moves(1), [Ok(())]);
    assert_eq!(net.node(2).calls().count(), 1, "node 2 runs it");
    net.cancel(1, call).unwrap();
    assert_eq!(
        net.run_until_finished(1, call).result,
        Err(Fault::Cancelled)
    );
    net.run_for(2 * SECOND);
    assert_empty(&net, 1);
    assert_empty(&net, 2);
}

#[test]
fn a_client_cancels_its_call_by_number_and_whoever_asks_hears_that() {
    let mut net = mesh(6, 2, |_| {});
    let key = (7, 1);
    assert_eq!(net.cancel_for(1, key, "shop/work"), Err(Fault::UnknownCall));
    let call = net.call_by(1, key, "shop/work", &[0x80]).unwrap();
    net.run_for(SECOND);
    assert_eq!(
        net.cancel_for(1, key, "shop/calls"),
        Err(Fault::UnknownCall)
    );
    assert_eq!(net.cancel_for(1, key, "shop/work"), Ok(()));
    assert_eq!(
        net.run_until_finished(1, call).result,
        Err(Fault::Cancelled)
    );
    assert_eq!(
        net.cancel_for(1, key, "shop/work"),
        Ok(()),
        "it is cancelled"
    );
    for node in [1, 2] {
        let claim = net.claim(node, 1, key, "shop/work").unwrap();
        assert_eq!(
            net.run_until_finished(node, claim).result,
            Err(Fault::Cancelled)
        );
    }
    let done = (7, 2);
    let call = net.call_by(1, done, "shop/work", &[0x80]).unwrap();
    assert_eq!(net.run_until_finished(1, call).result, Ok(vec![0x80]));
    let late = net.cancel_for(1, done, "shop/work");
    assert_eq!(late, Err(Fault::UnknownCall), "its result stands");
}

/// A node whose `shop/one` calls `shop/two` twice, which calls `shop/one`.
fn circle(configure: impl Fn(&mut Config) + 'static) -> Net {
    let module = |times: &[u32]| TimedExecutor::module(times, 200);
    let one = Draft::new("one", module(&[100, 100, 100]), "func()");
    let one = one
        .calling("shop/two", "func()")
        .calling("shop/two", "func()");
    let two = Draft::new("two", module(&[100, 100]), "func()").calling("shop/one", "func()");
    let shelves = vec![(Publisher::new("shop"), vec![one, two])];
    let timed = |_| Box::new(TimedExecutor::default()) as _;
    let layout = Layout::line(1);
    let mut net = Net::new(11, &layout, LinkModel::PAPER, shelves, configure, timed);
    net.run_for(30 * SECOND);
    net
}

#[test]
fn a_chain_that_calls_itself_through_others_ends_at_the_limits_of_depth_and_of_calls() {
    let mut net = circle(|_| {});
    assert_eq!(net.run_call(1, "shop/one").result, Err(Fault::TooDeep));
    let mut net = circle(|config| config.limits.calls = 5);
    assert_eq!(net.run_call(1, "shop/one").result, Err(Fault::TooManyCalls));
    assert_empty(&net, 1);
}
