//! A node allocates all its memory when it is made, and nothing while it runs.
#![allow(clippy::unwrap_used, unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::mem;
use core::time::Duration;
use std::alloc::System;

use nimblenet_core::{
    Archive, CallRequest, Config, Event, Eviction, ExecutorId, Input, Instant, Limits, LinkAddress,
    LinkId, NamespaceConfig, Node, Priority, Role,
    cache::{Cache, Disk, Nearby},
};
use nimblenet_sim::{Draft, Publisher, SimExecutor, TimedExecutor, shelve};
use nimblenet_tasklet::{Answer, Capabilities, Digest, NamespaceId, NodeId, TaskletRef};

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
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
    /// Frames and their senders.
    inbox: Vec<(u32, Vec<u8>)>,
    outcomes: Vec<Answer<Vec<u8>>>,
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

    /// Gives the node the frames that have come, and returns its frames with their receivers; no
    /// receiver means everyone.
    fn turn(&mut self, now: Instant) -> Vec<(Option<u32>, Vec<u8>)> {
        for (from, bytes) in mem::take(&mut self.inbox) {
            let input = Input::Frame {
                link: LinkId(0),
                from: LinkAddress(from),
                bytes: &bytes,
            };
            counted(|| self.node.handle(now, input));
        }
        for outcome in mem::take(&mut self.outcomes) {
            counted(|| self.node.handle(now, Input::Outcome(outcome.outcome())));
        }
        counted(|| self.node.handle(now, Input::Timeout));
        let mut frames = Vec::new();
        let mut frame = [0; 256];
        while let Some(transmit) = counted(|| self.node.poll_transmit(now, LinkId(0), &mut frame)) {
            let to = transmit.to.map(|to| to.0);
            frames.push((to, frame[..transmit.len].to_vec()));
        }
        while let Some(work) = counted(|| self.node.poll_work(ExecutorId(0))) {
            self.outcomes
                .extend(self.executor.execute(&work).map(|(_, outcome)| outcome));
        }
        while let Some(event) = counted(|| self.node.poll_event()) {
            self.finished += usize::from(matches!(event, Event::Finished { result: Ok(_), .. }));
        }
        frames
    }
}

#[test]
fn a_node_allocates_nothing_after_its_start() {
    let algorithm = |name| Draft::new(name, TimedExecutor::module(&[10], 900), "func()");
    let chain = |name, callee| {
        let chain = Draft::new(
            name,
            TimedExecutor::module(&[10, 10, 10, 10, 10], 300),
            "func()",
        );
        (0..4).fold(chain, |chain, _| chain.calling(callee, "func()"))
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
    shelve(&mut archive, &delta, publisher.modules());
    let namespace = NamespaceConfig {
        name: publisher.name(),
        registry: NodeId(0),
        key: publisher.key(),
        capabilities: Capabilities::ALL,
        stays: false,
    };
    let board = |id| {
        let mut config = Config::new(NodeId(id), 256);
        config.namespaces = vec![namespace];
        config.limits = Limits::board();
        config.limits.cache_bytes = 1500;
        config.acquisition.preload = true;
        Peer::new(config)
    };
    let mut config = Config::new(NodeId(0), 256);
    config.role = Role::Registry(archive);
    let mut peers = [Peer::new(config), board(1), board(2)];

    let mut now = Instant::ZERO;
    let names = ["shop/check", "shop/other"].map(|name| name.parse().unwrap());
    for round in 0..6000usize {
        now += Duration::from_millis(10);
        let node = &mut peers[1].node;
        if round % 100 == 0 {
            let deadline = Some(Duration::from_secs(9));
            let name = names[round / 100 % 2];
            let request = CallRequest {
                name,
                export: "",
                args: &[0x80],
                deadline,
                priority: Priority::Normal,
                client: None,
                key: None,
                from: None,
            };
            let _ = counted(|| node.call(now, request));
        }
        // Two of four calls move to the other board at once, and come back from there.
        let to = NodeId(if round % 100 < 8 { 2 } else { 1 });
        let calls = counted(|| node.calls().next()).map(|held| held.call);
        if let Some(call) = calls.filter(|_| round / 200 % 2 == 0) {
            let _ = counted(|| node.move_call(now, call, to));
        }
        for at in 0..peers.len() {
            let before = ALLOCATIONS.get();
            let frames = peers[at].turn(now);
            if at == 0 {
                // The registry is no board: its archive may allocate.
                ALLOCATIONS.set(before);
            }
            for (to, frame) in frames {
                for (other, peer) in peers.iter_mut().enumerate() {
                    if other != at && to.is_none_or(|to| to as usize == other) {
                        peer.inbox.push((at as u32, frame.clone()));
                    }
                }
            }
        }
    }
    let [_, first, second] = &peers;
    assert!(first.finished > 10, "{}", first.finished);
    assert!(
        first.node.cache().evicted() > 10,
        "the cache is too small for both chains"
    );
    for node in [&first.node, &second.node] {
        let counters = node.counters();
        assert!(counters.moved_out > 10, "{counters:?}");
        assert!(counters.moved_in > 10, "{counters:?}");
    }
    assert_eq!(ALLOCATIONS.get(), 0);
}

#[test]
fn an_eviction_policy_takes_its_memory_when_it_is_made() {
    let module = [7; 300];
    for policy in Eviction::ALL {
        let mut cache = Cache::new(Disk::allocate(2000), 2000, 16, policy.make);
        let before = ALLOCATIONS.get();
        // Fifteen tasklets out of order; every third use happens twice, every seventh is the last.
        for step in 0..3000u64 {
            let now = Instant::from_micros(step);
            let number = (step.wrapping_mul(0x9e37_79b9) >> 7) as u16 % 15;
            let tasklet = TaskletRef {
                namespace: NamespaceId(1),
                number,
                sequence: 1,
            };
            let module = &module[..100 + usize::from(number) * 13];
            let nearby = Nearby {
                copies: None,
                hops: Some(number as u8),
            };
            counted(|| {
                let id = cache.find(tasklet).unwrap_or_else(|| {
                    let id = cache.begin(tasklet, module.len(), now).unwrap();
                    cache.write(id, 0, module);
                    cache.set_nearby(id, nearby);
                    assert!(cache.finish(id, &Digest::of(module)));
                    id
                });
                cache.touch(id, now);
                if step % 3 == 0 {
                    cache.touch(id, now);
                }
                if step % 7 == 0 {
                    cache.remove(id);
                }
            });
        }
        assert!(cache.evicted() > 100, "{policy:?}");
        assert_eq!(ALLOCATIONS.get(), before, "{policy:?}");
    }
}
