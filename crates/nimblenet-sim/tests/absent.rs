//! A registry that is away: what its nodes ask for, and what calls say, as short stories.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::wire::Kind;
use nimblenet_core::{Config, Pace};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor};
use nimblenet_tasklet::{Fault, NodeId};

const SECOND: Duration = Duration::from_secs(1);
/// Nodes beside the registry.
const NODES: u16 = 12;
/// Tasklets that nobody has called.
const TASKLETS: usize = 12;

fn timed(_: NodeId) -> Box<dyn SimExecutor> {
    Box::new(TimedExecutor::default())
}

fn name(number: usize) -> String {
    format!("shop/t{}", number % TASKLETS)
}

fn shelves() -> Vec<(Publisher, Vec<Draft>)> {
    let draft = |number| {
        let name = name(number);
        let name = name.strip_prefix("shop/").unwrap();
        Draft::new(name, TimedExecutor::module(&[2000], 100 + number), "func()")
    };
    vec![(Publisher::new("shop"), (0..TASKLETS).map(draft).collect())]
}

fn mesh(seed: u64, pace: Pace) -> Net {
    let link = LinkModel::perfect(Duration::from_millis(5));
    let configure = |config: &mut Config| config.pace = pace;
    let mut net = Net::new(
        seed,
        &Layout::line(NODES),
        link,
        shelves(),
        configure,
        timed,
    );
    net.run_for(60 * SECOND);
    net
}

/// Frames of searches that all nodes have sent.
fn searches(net: &Net) -> u64 {
    let counted = net
        .nodes()
        .map(|node| node.counters().traffic(Kind::Search).sent);
    counted.sum()
}

/// Lets robots call one tasklet after the other at all nodes for a time. Returns the calls, and checks how
/// those that had time have ended.
fn robots(net: &mut Net, seconds: u32, per_s: u32) -> u32 {
    let mut calls = Vec::new();
    for turn in 0..seconds * per_s {
        let node = (turn * 7) as u16 % NODES + 1;
        let call = net.call(node, &name(turn as usize / 3), &[0x80]).unwrap();
        calls.push((node, call));
        net.run_for(SECOND / per_s);
    }
    net.run_for(60 * SECOND);
    for (node, call) in &calls {
        let end = net.run_until_finished(*node, *call);
        assert_eq!(end.result, Err(Fault::Unreachable), "{end:?}");
    }
    calls.len() as u32
}

#[test]
fn while_the_registry_is_away_searches_do_not_storm() {
    // Without a pause these were 46,470, 80,316 and 142,338 frames.
    for (pace, per_s, most) in [
        (Pace::PAPER, 1, 16_000),
        (Pace::LINUX, 1, 15_000),
        (Pace::LINUX, 10, 18_000),
    ] {
        for seed in [1, 2, 3] {
            let mut net = mesh(seed, pace);
            net.crash(0);
            let before = searches(&net);
            let calls = robots(&mut net, 120, per_s);
            let frames = searches(&net) - before;
            assert!(
                frames < most,
                "seed {seed}: {frames} frames for {calls} calls"
            );
        }
    }
}

#[test]
fn a_tasklet_that_was_searched_for_in_vain_is_refused_at_once_for_a_while() {
    let mut net = mesh(1, Pace::LINUX);
    net.crash(0);
    let first = net.run_call(5, &name(0));
    assert_eq!(first.result, Err(Fault::Unreachable));
    assert!(first.took > SECOND, "{first:?}");
    let before = searches(&net);
    let again = net.run_call(5, &name(0));
    assert_eq!(again.result, Err(Fault::Unreachable));
    assert!(again.took < SECOND / 100, "{again:?}");
    assert_eq!(searches(&net), before, "nobody was asked");
}

#[test]
fn calls_succeed_within_seconds_when_the_registry_is_back() {
    for seed in 1..=6 {
        for away in [30, 120, 600] {
            let mut net = mesh(seed, Pace::LINUX);
            net.crash(0);
            robots(&mut net, away, 1);
            net.restart(0);
            net.run_for(5 * SECOND);
            for node in 1..=NODES {
                let end = net.run_call(node, &name(usize::from(node)));
                assert!(
                    end.result.is_ok(),
                    "seed {seed}, {away} s, node {node}: {end:?}"
                );
                assert!(
                    end.took < 2 * SECOND,
                    "seed {seed}, {away} s, node {node}: {end:?}"
                );
            }
        }
    }
}

#[test]
fn what_a_node_holds_is_found_while_the_registry_is_away() {
    let mut net = mesh(1, Pace::LINUX);
    assert!(net.run_call(12, &name(3)).result.is_ok());
    net.crash(0);
    assert_eq!(net.run_call(2, &name(0)).result, Err(Fault::Unreachable));
    // It is ten links away, so nobody has told node 2 of it.
    let end = net.run_call(2, &name(3));
    assert!(end.result.is_ok(), "{end:?}");
    // A neighbour tells of what it has got since.
    let end = net.run_call(3, &name(3));
    assert!(end.result.is_ok(), "{end:?}");
}
