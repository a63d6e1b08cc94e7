//! An hour of small calls on the floor of the paper: what the simulator costs.
//!
//! Twelve nodes, a registry and twenty robots, each of which calls a chain of three tasklets about
//! every ten seconds at the node that it is next to. Tasklets take the times in their modules.
//!
//! ```text
//! cargo bench -p nimblenet-sim --bench sim_hour -- 3600
//! valgrind --tool=callgrind target/release/deps/sim_hour-* 3600
//! ```
//! The argument is the number of simulated seconds. The bench prints how many calls were answered,
//! which is the same in every run.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::std_instead_of_alloc,
    clippy::disallowed_methods,
    reason = "a bench for an operating system; the clock is that of the person who waits"
)]

use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_sim::floor::Floor;
use nimblenet_sim::robot::{Habits, Robot};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, TimedExecutor};
use nimblenet_tasklet::NodeId;

const SEED: u64 = 1;
const ROBOTS: u64 = 20;
/// The chains: their names, and the lengths of their modules in bytes.
const CHAINS: [(&str, usize); 4] = [("weld", 300), ("bolt", 420), ("paint", 250), ("lift", 510)];

fn main() {
    let given = std::env::args().find_map(|given| given.parse().ok());
    let seconds = given.unwrap_or(3600);
    let began = std::time::Instant::now();
    let (calls, answered) = run(Duration::from_secs(seconds));
    println!(
        "{seconds} s, {calls} calls, {answered} answered, in {:?}",
        began.elapsed()
    );
}

/// Runs for this long; returns how many calls were made and how many had results.
fn run(time: Duration) -> (usize, usize) {
    let floor = Floor::paper();
    let gateway = (NodeId(0), floor.gateway());
    let layout = Layout {
        nodes: [NodeId(0)].into_iter().chain(floor.ids()).collect(),
        links: [gateway].into_iter().chain(floor.links()).collect(),
        registry: NodeId(0),
    };
    let executor = |_| Box::new(TimedExecutor::default()) as Box<_>;
    let mut net = Net::new(SEED, &layout, LinkModel::PAPER, shelves(), |_| {}, executor);
    let chains: Vec<usize> = (0..CHAINS.len()).collect();
    let robot = |number| Robot::new(SEED, number, &floor, &Habits::PAPER, chains.clone());
    let mut robots: Vec<Robot> = (0..ROBOTS).map(robot).collect();
    let mut calls = Vec::new();
    let end = Instant::ZERO + time;
    loop {
        let robot = robots.iter_mut().min_by_key(|robot| robot.next_trigger());
        let robot = robot.unwrap();
        let at = robot.next_trigger();
        if at >= end {
            break;
        }
        net.run_for(at - net.now());
        let chain = CHAINS[robot.trigger()].0;
        if let Some(node) = floor.node_in_contact(robot.position(at)) {
            let called = net.call(node.0, &format!("floor/{chain}"), &[0x80]);
            calls.push((node.0, called.unwrap()));
        }
    }
    net.run_for(end - net.now());
    let finished = calls
        .iter()
        .filter_map(|(node, call)| net.finished(*node, *call));
    let answered = finished.filter(|ended| ended.result.is_ok()).count();
    (calls.len(), answered)
}

fn shelves() -> Vec<(Publisher, Vec<Draft>)> {
    let draft = |name, times: &[u32], bytes| {
        Draft::new(name, TimedExecutor::module(times, bytes), "func()")
    };
    let chains = CHAINS.map(|(name, bytes)| {
        let chain = draft(name, &[300, 200, 100], bytes);
        chain
            .calling("std/mean", "func()")
            .calling("std/peak", "func()")
    });
    let algorithms = vec![draft("mean", &[250], 110), draft("peak", &[150], 95)];
    vec![
        (Publisher::new("std"), algorithms),
        (Publisher::new("floor"), chains.into()),
    ]
}
