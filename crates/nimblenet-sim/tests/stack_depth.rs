//! How much of the machine's own stack a node takes: as much for a chain of many preloaded tasklets
//! as for one of few.
#![allow(clippy::unwrap_used)]

use std::env;
use std::process::Command;
use std::thread;

use core::hint::black_box;
use core::time::Duration;

use nimblenet_core::{
    Archive, CallId, CallRequest, Config, ExecutorId, Input, Instant, LinkAddress, LinkId,
    NamespaceConfig, Node, Priority, Role,
};
use nimblenet_sim::{Draft, Publisher, TimedExecutor, shelve};
use nimblenet_tasklet::{Capabilities, Delta, NodeId, Work};

const REGISTRY: NodeId = NodeId(0);
const LINK: LinkId = LinkId(0);
/// Preloaded tasklets of the long chain.
const MANY: usize = 32;
/// The smallest stack of a thread.
const LEAST_KIB: usize = 16;
/// Stack that the thread takes before the call, so that the call reaches the lowest point.
const BALLAST_KIB: usize = 32;
/// How much the needs of two runs may differ.
const SLACK_KIB: usize = 8;
/// The variable that tells a process how many tasklets to preload, and its stack in KiB.
const TASK: &str = "STACK_DEPTH_TASK";

/// A node with preloading, and its registry; in the catalogue each tasklet calls the next.
struct Pair {
    now: Instant,
    nodes: [Node; 2],
}

impl Pair {
    fn new(preloaded: usize) -> Self {
        let module = |at: usize| TimedExecutor::module(&[10, at as u32], 40);
        let draft = |at| Draft::new(&format!("t{at}"), module(at), "func()");
        let calling = |at| draft(at).calling(&format!("shop/t{}", at + 1), "func()");
        let drafts: Vec<Draft> = (0..preloaded)
            .map(calling)
            .chain([draft(preloaded)])
            .collect();
        let mut publisher = Publisher::new("shop");
        let delta = publisher.publish(&drafts, |_| None);
        let mut archive = Archive::new();
        shelve(&mut archive, &delta, publisher.modules());
        let mut registry = Config::new(REGISTRY, 256);
        registry.role = Role::Registry(archive);
        let mut config = Config::new(NodeId(1), 256);
        config.acquisition.preload = true;
        config.limits.preload = MANY + 1;
        config.namespaces = vec![NamespaceConfig {
            name: publisher.name(),
            registry: REGISTRY,
            key: publisher.key(),
            capabilities: Capabilities::ALL,
            stays: false,
        }];
        let mut node = Node::new(config).unwrap();
        let now = Instant::ZERO;
        node.install(now, &Delta::decode(&delta).unwrap()).unwrap();
        let nodes = [Node::new(registry).unwrap(), node];
        Self { now, nodes }
    }

    /// Lets the node call the first tasklet and fetch all of them, then gives the call up.
    fn fetch_all(&mut self, tasklets: usize) {
        let call = call(&mut self.nodes[1], self.now);
        while self.nodes[1].cache().tasklets().count() < tasklets {
            self.now += Duration::from_millis(10);
            assert!(self.now < Instant::from_micros(100_000_000));
            self.step();
        }
        let node = &mut self.nodes[1];
        node.stop(self.now, call);
        while node.poll_work(ExecutorId(0)).is_some() {}
        while node.poll_event().is_some() {}
    }

    fn step(&mut self) {
        for node in &mut self.nodes {
            node.handle(self.now, Input::Timeout);
        }
        let mut frame = [0; 256];
        let mut quiet = 0;
        for at in [0, 1].into_iter().cycle() {
            let from = LinkAddress(at);
            let [from_node, to_node] = {
                let [first, second] = &mut self.nodes;
                if at == 0 {
                    [first, second]
                } else {
                    [second, first]
                }
            };
            match from_node.poll_transmit(self.now, LINK, &mut frame) {
                Some(transmit) => {
                    let bytes = &frame[..transmit.len];
                    let link = LINK;
                    to_node.handle(self.now, Input::Frame { link, from, bytes });
                    quiet = 0;
                }
                None => quiet += 1,
            }
            if quiet == 2 {
                return;
            }
        }
    }
}

fn call(node: &mut Node, now: Instant) -> CallId {
    let request = CallRequest {
        name: "shop/t0".parse().unwrap(),
        export: "",
        args: &[0x80],
        deadline: None,
        priority: Priority::Normal,
        client: None,
        key: None,
        from: None,
    };
    node.call(now, request).unwrap()
}

/// Calls a chain that is in the cache on a thread with a stack of `kib` KiB.
fn call_on_a_stack(preloaded: usize, kib: usize) {
    let mut pair = Pair::new(preloaded);
    pair.fetch_all(preloaded + 1);
    let Pair { now, nodes } = pair;
    let [_, mut node] = nodes;
    let before = node.counters().acquired.local;
    let run = move || {
        let ballast = black_box([0_u8; BALLAST_KIB << 10]);
        call(&mut node, now);
        black_box(ballast);
        node
    };
    let thread = thread::Builder::new().stack_size(kib << 10);
    let mut node = thread.spawn(run).unwrap().join().unwrap();
    let acquired = node.counters().acquired.local - before;
    assert_eq!(acquired, preloaded as u64 + 1, "each was in the cache");
    assert!(matches!(
        node.poll_work(ExecutorId(0)),
        Some(Work::Start(_))
    ));
}

/// Whether a process of its own survives such a call; without enough stack a signal ends it.
fn survives(preloaded: usize, kib: usize) -> bool {
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--exact", "many_preloads_take_no_more_stack_than_one"]);
    process.env(TASK, format!("{preloaded} {kib}"));
    let output = process.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // The process may fail only for want of stack.
    assert!(!said.contains("panicked"), "{said}");
    output.status.success()
}

/// The stack that a chain with this many preloaded tasklets needs, in KiB.
fn need_kib(preloaded: usize) -> usize {
    let mut sizes = (LEAST_KIB..1024).step_by(4);
    sizes.find(|kib| survives(preloaded, *kib)).unwrap()
}

#[test]
fn many_preloads_take_no_more_stack_than_one() {
    if let Ok(task) = env::var(TASK) {
        let (preloaded, kib) = task.split_once(' ').unwrap();
        call_on_a_stack(preloaded.parse().unwrap(), kib.parse().unwrap());
        return;
    }
    let [one, many] = [1, MANY].map(need_kib);
    assert!(
        many <= one + SLACK_KIB,
        "{one} KiB for one, {many} KiB for {MANY}"
    );
}
