//! Calls that meet a full table of jobs wait in a table of their own.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::{CallId, Config};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, TimedExecutor};
use nimblenet_tasklet::Fault;

const SECOND: Duration = Duration::from_secs(1);
/// How long the tasklet runs.
const RUNS: Duration = Duration::from_millis(200);

/// A line of nodes with three jobs and room for so many calls that wait.
fn line(waiting: usize) -> Net {
    let module = TimedExecutor::module(&[RUNS.as_micros() as u32], 100);
    let drafts = vec![Draft::new("rms", module, "func()")];
    let configure = move |config: &mut Config| {
        config.limits.jobs = 3;
        config.limits.waiting = waiting;
    };
    let mut net = Net::new(
        1,
        &Layout::line(3),
        LinkModel::perfect(Duration::from_millis(5)),
        vec![(Publisher::new("shop"), drafts)],
        configure,
        |_| Box::new(TimedExecutor::default()),
    );
    net.run_for(2 * SECOND);
    assert!(net.run_call(2, "shop/rms").result.is_ok());
    net
}

fn call(net: &mut Net, node: u16) -> Result<CallId, Fault> {
    net.call(node, "shop/rms", &[0x80])
}

#[test]
fn calls_wait_in_order_and_only_those_beyond_all_places_hear_busy() {
    let mut net = line(4);
    let calls: Vec<CallId> = (0..7).map(|_| call(&mut net, 2).unwrap()).collect();
    assert_eq!(call(&mut net, 2), Err(Fault::Busy));
    let waiting = net.node(2).calls().filter(|call| call.depth == 0).count();
    assert_eq!(waiting, 4);
    for (place, id) in calls.iter().enumerate() {
        let ended = net.run_until_finished(2, *id);
        assert_eq!(ended.result, Ok(vec![0x80]));
        let waited = RUNS * (place as u32 + 1);
        assert!(
            (waited..waited + RUNS / 2).contains(&ended.took),
            "{place}: {:?}",
            ended.took
        );
    }
    assert_eq!(net.node(2).jobs(), 0);
    // There is room again.
    assert!(call(&mut net, 2).is_ok());
}

#[test]
fn calls_of_other_nodes_wait_too_and_each_runs_once() {
    let mut net = line(4);
    let before = net.node(2).counters().calls;
    let callers = [1, 1, 1, 3, 3, 3];
    let calls = callers.map(|node| net.call_at(node, 2, "shop/rms", &[0x80]).unwrap());
    for (node, id) in callers.into_iter().zip(calls) {
        assert_eq!(net.run_until_finished(node, id).result, Ok(vec![0x80]));
    }
    assert_eq!(net.node(2).counters().calls, before + 6);
}

#[test]
fn a_call_that_waits_ends_when_its_client_stops_it() {
    let mut net = line(4);
    let calls: Vec<CallId> = (0..5).map(|_| call(&mut net, 2).unwrap()).collect();
    net.stop(2, calls[3]);
    let stopped = net.run_until_finished(2, calls[3]);
    assert_eq!(stopped.result, Err(Fault::Stopped));
    let next = net.run_until_finished(2, calls[4]);
    assert_eq!(next.result, Ok(vec![0x80]));
    assert!(
        next.took < RUNS * 5,
        "{:?}: nobody was before it",
        next.took
    );
}

#[test]
fn without_room_to_wait_a_full_table_refuses_as_before() {
    let mut net = line(0);
    for _ in 0..3 {
        call(&mut net, 2).unwrap();
    }
    assert_eq!(call(&mut net, 2), Err(Fault::Busy));
}

#[test]
fn a_call_takes_the_place_of_what_is_only_fetched_ahead() {
    let module = |bytes| TimedExecutor::module(&[1000; 4], bytes);
    let part = |name: &str| Draft::new(name, TimedExecutor::module(&[1000], 100), "func()");
    let chain = |name: &str, calls: [&str; 3]| {
        let draft = Draft::new(name, module(120), "func()");
        calls.iter().fold(draft, |draft, callee| {
            draft.calling(&format!("shop/{callee}"), "func()")
        })
    };
    let drafts = vec![
        part("a"),
        part("b"),
        part("c"),
        chain("first", ["a", "b", "c"]),
        chain("second", ["c", "b", "a"]),
        chain("third", ["b", "a", "c"]),
    ];
    let mut net = Net::new(
        1,
        &Layout::line(3),
        LinkModel::perfect(Duration::from_millis(5)),
        vec![(Publisher::new("shop"), drafts)],
        |config| config.limits.acquisitions = 3,
        |_| Box::new(TimedExecutor::default()),
    );
    net.run_for(5 * SECOND);
    let calls = ["first", "second", "third"].map(|name| {
        let call = net.call(3, &format!("shop/{name}"), &[0x80]);
        call.unwrap_or_else(|fault| panic!("{name}: {fault}"))
    });
    for call in calls {
        assert_eq!(net.run_until_finished(3, call).result, Ok(vec![0x80]));
    }
}

/// Chains of modules of 250 bytes, each of which calls four of eight others of this length.
fn chains(count: usize) -> Vec<Draft> {
    let part = |at: usize| {
        let module = TimedExecutor::module(&[100_000], 250);
        Draft::new(&format!("part-{at}"), module, "func()")
    };
    let chain = |at: usize| {
        let module = TimedExecutor::module(&[100_000; 5], 250);
        let draft = Draft::new(&format!("chain-{at}"), module, "func()");
        (0..4).fold(draft, |draft, call| {
            let callee = format!("shop/part-{}", (at * 3 + call) % 8);
            draft.calling(&callee, "func()")
        })
    };
    (0..8).map(part).chain((0..count).map(chain)).collect()
}

#[test]
fn chains_that_wait_never_hold_the_whole_cache() {
    // Each chain has five modules, and needs the room of two of them at a time.
    for (cache_bytes, executors) in [(1000, 4), (600, 4), (1000, 1), (520, 2)] {
        let configure = move |config: &mut Config| {
            config.limits.cache_bytes = cache_bytes;
            config.limits.executors = executors;
            config.placement = nimblenet_core::Placement::HERE;
        };
        let mut net = Net::new(
            1,
            &Layout::line(2),
            LinkModel::perfect(Duration::from_millis(5)),
            vec![(Publisher::new("shop"), chains(12))],
            configure,
            |_| Box::new(TimedExecutor::default()),
        );
        net.run_for(5 * SECOND);
        let calls: Vec<CallId> = (0..36)
            .map(|number| {
                let name = format!("shop/chain-{}", number % 12);
                net.call(2, &name, &[0x80]).unwrap()
            })
            .collect();
        for (number, call) in calls.into_iter().enumerate() {
            let ended = net.run_until_finished(2, call);
            let setup = (cache_bytes, executors, number);
            assert_eq!(ended.result, Ok(vec![0x80]), "{setup:?}");
        }
        assert!(
            net.node(2).cache().evicted() > 20,
            "chains displace each other"
        );
    }
}
