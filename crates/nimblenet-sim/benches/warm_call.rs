//! The cost of a call, from the request to the result, if the tasklet is in the node's cache.
//!
//! A node learns of `std/add` from a registry and fetches it once. After that the registry is gone,
//! and the node calls the tasklet again and again: `Node::call`, the work that follows on the real
//! interpreter, the outcome, the event that the call has ended. Work and outcomes pass through the
//! executor of the simulator ([`WasmExecutor`]).
//!
//! ```text
//! cargo bench -p nimblenet-sim --bench warm_call -- 100000
//! valgrind --tool=callgrind target/release/deps/warm_call-* 2000
//! ```
//! To count the instructions of one call, run it for two numbers of calls, and divide the
//! difference in instructions by the difference in calls.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::std_instead_of_alloc,
    clippy::disallowed_methods,
    reason = "a bench for an operating system; the clock is that of the person who waits"
)]

use core::time::Duration;
use std::collections::VecDeque;

use nimblenet_core::{
    Archive, CallRequest, Config, Driver, Event, ExecutorId, Input, Instant, LinkAddress, LinkId,
    NamespaceConfig, Node, Priority, Role, Transmit, drain, pump,
};
use nimblenet_sim::{Device, Draft, Publisher, SimExecutor, WasmExecutor, shelve};
use nimblenet_tasklet::{Answer, Capabilities, NodeId, Package, Work};

const PACKED: &[u8] = include_bytes!("../../../tasklets/packed/std-add.nnp");
const MTU: u16 = 1200;
/// `[2, 3]` and `[5]`.
const ARGS: &[u8] = &[0x82, 2, 3];
const RESULT: &[u8] = &[0x81, 5];

fn main() {
    let given = std::env::args().find_map(|given| given.parse().ok());
    let calls: u64 = given.unwrap_or(10_000);
    let mut bench = Bench::new();
    bench.introduce();
    let began = std::time::Instant::now();
    for _ in 0..calls {
        bench.call();
    }
    println!("{calls} calls in {:?}", began.elapsed());
}

/// A registry and the node that calls.
struct Bench {
    now: Instant,
    registry: Place,
    caller: Place,
}

impl Bench {
    fn new() -> Self {
        let package = Package::decode(PACKED).unwrap();
        let signature = package.terms.export("").unwrap().signature.to_string();
        let mut draft = Draft::new("add", package.module.to_vec(), &signature);
        draft.memory_bytes = package.terms.memory_bytes;
        let drafts = [draft];
        let mut publisher = Publisher::new("std");
        let delta = publisher.publish(&drafts, |_| None);
        let mut archive = Archive::new();
        shelve(&mut archive, &delta, publisher.modules());
        let config = |id: u16, role| {
            let mut config = Config::new(NodeId(id), MTU);
            config.namespaces = vec![NamespaceConfig {
                name: publisher.name(),
                registry: NodeId(0),
                key: publisher.key(),
                capabilities: Capabilities::ALL,
                stays: false,
            }];
            config.role = role;
            config
        };
        Self {
            now: Instant::ZERO,
            registry: Place::new(config(0, Role::Registry(archive))),
            caller: Place::new(config(1, Role::Node)),
        }
    }

    /// Lets the two nodes talk until the caller's first call has been answered.
    fn introduce(&mut self) {
        self.run_for(Duration::from_secs(10));
        self.caller.request(self.now);
        self.run_for(Duration::from_secs(10));
        assert_eq!(
            self.caller.outside.ended, 1,
            "the registry gives the tasklet"
        );
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(1);
            self.registry.wake(self.now);
            self.caller.wake(self.now);
            while let Some(frame) = self.caller.outside.frames.pop_front() {
                self.registry.hear(self.now, 1, &frame);
            }
            while let Some(frame) = self.registry.outside.frames.pop_front() {
                self.caller.hear(self.now, 0, &frame);
            }
        }
    }

    fn call(&mut self) {
        self.now += Duration::from_millis(1);
        self.caller.wake(self.now);
        self.caller.outside.frames.clear();
        let before = self.caller.outside.ended;
        self.caller.request(self.now);
        assert_eq!(self.caller.outside.ended, before + 1);
    }
}

/// A node, and what it acts on.
struct Place {
    node: Node,
    outside: Outside,
    wake: Option<Instant>,
    frame: Vec<u8>,
}

impl Place {
    fn new(config: Config) -> Self {
        Self {
            node: Node::new(config).unwrap(),
            outside: Outside {
                executor: WasmExecutor::new(1 << 20, 1_000_000, Device::default()),
                frames: VecDeque::new(),
                outcomes: VecDeque::new(),
                ended: 0,
            },
            wake: Some(Instant::ZERO),
            frame: vec![0; usize::from(MTU)],
        }
    }

    fn wake(&mut self, now: Instant) {
        if self.wake.is_some_and(|at| at <= now) {
            self.tell(now, Input::Timeout);
        }
    }

    fn hear(&mut self, now: Instant, from: u32, bytes: &[u8]) {
        let (link, from) = (LinkId(0), LinkAddress(from));
        self.tell(now, Input::Frame { link, from, bytes });
    }

    fn request(&mut self, now: Instant) {
        let request = CallRequest {
            name: "std/add".parse().unwrap(),
            export: "",
            args: ARGS,
            deadline: Some(Duration::from_secs(60)),
            priority: Priority::Normal,
            client: None,
            key: None,
            from: None,
        };
        self.node.call(now, request).unwrap();
        let due = drain(&mut self.node, now, &mut self.outside, &mut self.frame);
        self.settle(now, due.map(|(at, _)| at));
    }

    fn tell(&mut self, now: Instant, input: Input<'_>) {
        let outside = &mut self.outside;
        let due = pump(&mut self.node, now, input, outside, &mut self.frame);
        self.settle(now, due.map(|(at, _)| at));
    }

    /// Gives the node the outcomes of its work, until it has no more work.
    fn settle(&mut self, now: Instant, mut wake: Option<Instant>) {
        while let Some(outcome) = self.outside.outcomes.pop_front() {
            let input = Input::Outcome(outcome.outcome());
            let outside = &mut self.outside;
            let due = pump(&mut self.node, now, input, outside, &mut self.frame);
            wake = due.map(|(at, _)| at);
        }
        self.wake = wake;
    }
}

/// Does at once what the node asks for.
struct Outside {
    executor: WasmExecutor,
    frames: VecDeque<Vec<u8>>,
    outcomes: VecDeque<Answer<Vec<u8>>>,
    ended: u64,
}

impl Driver for Outside {
    fn transmit(&mut self, _: Instant, _: Transmit, frame: &[u8]) {
        self.frames.push_back(frame.to_vec());
    }

    fn work(&mut self, _: Instant, _: ExecutorId, work: Work<'_>) {
        let done = self.executor.execute(&work);
        self.outcomes.extend(done.map(|(_, outcome)| outcome));
    }

    fn event(&mut self, _: Instant, event: Event<'_>) {
        if let Event::Finished { result, .. } = event {
            assert_eq!(result, Ok(RESULT));
            self.ended += 1;
        }
    }
}
