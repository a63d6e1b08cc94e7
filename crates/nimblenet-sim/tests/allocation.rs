//! A node takes all its memory when it is made (design rule: nothing allocates while it runs).
#![allow(clippy::unwrap_used, unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::mem;
use core::time::Duration;
use std::alloc::System;

use nimblenet_core::{
    Archive, CallRequest, Config, Event, Input, Instant, Limits, LinkAddress, LinkId,
    NamespaceConfig, Node,
};
use nimblenet_sim::{Draft, OwnedOutcome, Publisher, SimExecutor, TimedExecutor, shelve};
use nimblenet_tasklet::{Capabilities, NodeId};

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.get() {
            ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        }
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts what `act` allocates.
fn counted<T>(act: impl FnOnce() -> T) -> T {
    COUNTING.set(true);
    let result = act();
    COUNTING.set(false);
    result
}

/// A node with its executor and the frames that wait for it.
struct Peer {
    node: Node,
    executor: TimedExecutor,
    inbox: Vec<Vec<u8>>,
    outcomes: Vec<OwnedOutcome>,
    finished: usize,
}

impl Peer {
    fn new(config: Config) -> Self {
        let node = Node::new(config).unwrap();
        let (inbox, outcomes) = (Vec::new(), Vec::new());
        Self {
            node,
            executor: TimedExecutor::default(),
            inbox,
            outcomes,
            finished: 0,
        }
    }

    fn turn(&mut self, now: Instant, other: &mut Vec<Vec<u8>>) {
        for bytes in mem::take(&mut self.inbox) {
            let (link, from) = (LinkId(0), LinkAddress(1));
            counted(|| {
                self.node.handle(
                    now,
                    Input::Frame {
                        link,
                        from,
                        bytes: &bytes,
                    },
                )
            });
        }
        for outcome in mem::take(&mut self.outcomes) {
            counted(|| self.node.handle(now, Input::Outcome(outcome.get())));
        }
        counted(|| self.node.handle(now, Input::Timeout));
        let mut frame = [0; 256];
        while let Some(transmit) = counted(|| self.node.poll_transmit(now, LinkId(0), &mut frame)) {
            other.push(frame[..transmit.len].to_vec());
        }
        while let Some(work) = counted(|| self.node.poll_work()) {
            self.outcomes
                .extend(self.executor.execute(&work).map(|(_, outcome)| outcome));
        }
        while let Some(event) = counted(|| self.node.poll_event()) {
            self.finished += usize::from(matches!(event, Event::Finished { result: Ok(_), .. }));
        }
    }
}

#[test]
fn a_node_allocates_nothing_after_its_start() {
    let algorithm = |name| Draft::new(name, TimedExecutor::module(&[10], 900), "func()");
    let chain = |name, callee| {
        let chain = Draft::new(name, TimedExecutor::module(&[10, 10], 300), "func()");
        chain.calling(callee, "func()")
    };
    let drafts = vec![
        algorithm("rms"),
        algorithm("peak"),
        chain("check", "shop/rms"),
        chain("other", "shop/peak"),
    ];
    let mut publisher = Publisher::new("shop");
    let mut archive = Archive::new();
    let delta = publisher.publish(&drafts, |_| None);
    shelve(&mut archive, &delta, &drafts);
    let namespace = NamespaceConfig {
        name: publisher.name(),
        registry: NodeId(0),
        key: publisher.key(),
        capabilities: Capabilities::ALL,
    };
    let mut config = Config::new(NodeId(1), 256);
    config.namespaces = vec![namespace];
    config.limits = Limits::board();
    config.limits.cache_bytes = 1500;
    config.preload = true;
    let mut board = Peer::new(config);
    let mut config = Config::new(NodeId(0), 256);
    config.archive = Some(archive);
    let mut registry = Peer::new(config);

    let mut now = Instant::ZERO;
    let names = ["shop/check", "shop/other"].map(|name| name.parse().unwrap());
    for round in 0..4000usize {
        now += Duration::from_millis(10);
        if round % 100 == 0 {
            let deadline = Some(Duration::from_secs(9));
            let name = names[round / 100 % 2];
            let request = CallRequest {
                name,
                export: "",
                args: &[0x80],
                deadline,
            };
            let _ = counted(|| board.node.call(now, request));
        }
        let mut frames = mem::take(&mut registry.inbox);
        board.turn(now, &mut frames);
        registry.inbox = frames;
        let mut frames = mem::take(&mut board.inbox);
        // The registry is no board; its archive may grow.
        let before = ALLOCATIONS.get();
        registry.turn(now, &mut frames);
        ALLOCATIONS.set(before);
        board.inbox = frames;
    }
    assert!(board.finished > 10, "{}", board.finished);
    assert!(
        board.node.cache().evicted() > 10,
        "the cache is too small for both chains"
    );
    assert_eq!(ALLOCATIONS.get(), 0);
}
