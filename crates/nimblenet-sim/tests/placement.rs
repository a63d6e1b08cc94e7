//! Where calls run, decided by policies of the tests' own.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::place::{Decision, Facts, Place};
use nimblenet_core::{Config, Placement, Standing};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, TimedExecutor};
use nimblenet_tasklet::NodeId;

const CALLER: u16 = 2;
const NEIGHBOUR: u16 = 1;
const LEN: usize = 300;

static ALWAYS_SEND: Placement = Placement {
    name: "send",
    policy: &AlwaysSend,
};

struct AlwaysSend;

impl Place for AlwaysSend {
    fn place(&self, facts: &Facts<'_>) -> Decision {
        assert!(facts.neighbours.contains(&NodeId(NEIGHBOUR)));
        Decision::Send(NodeId(NEIGHBOUR))
    }
}

static WHEN_BUSY: Placement = Placement {
    name: "when-busy",
    policy: &WhenBusy,
};

struct WhenBusy;

impl Place for WhenBusy {
    fn place(&self, facts: &Facts<'_>) -> Decision {
        assert!(facts.module_bytes as usize >= LEN);
        if facts.backlog < facts.executors {
            Decision::Here
        } else {
            Decision::Send(NodeId(NEIGHBOUR))
        }
    }
}

/// Two nodes and a registry; calls at `CALLER` are placed by `placement`.
fn net(seed: u64, placement: &'static Placement) -> Net {
    let drafts = vec![Draft::new(
        "work",
        TimedExecutor::module(&[500_000], LEN),
        "func()",
    )];
    let configure = |config: &mut Config| {
        if config.id == NodeId(CALLER) {
            config.placement = placement;
        }
    };
    let shelves = vec![(Publisher::new("shop"), drafts)];
    let timed = |_| Box::new(TimedExecutor::default()) as _;
    let mut net = Net::new(
        seed,
        &Layout::line(2),
        LinkModel::PAPER,
        shelves,
        configure,
        timed,
    );
    net.run_for(Duration::from_secs(30));
    net
}

fn modules(net: &Net, id: u16) -> usize {
    net.node(id).cache().tasklets().count()
}

#[test]
fn a_call_runs_at_the_neighbour_that_the_policy_names_and_its_result_comes_back() {
    let mut net = net(1, &ALWAYS_SEND);
    let finished = net.run_call(CALLER, "shop/work");
    assert_eq!(finished.result, Ok(vec![0x80]));
    assert_eq!((modules(&net, CALLER), modules(&net, NEIGHBOUR)), (0, 1));
}

#[test]
fn a_policy_sees_the_jobs_that_are_here_and_not_those_that_it_sent_away() {
    let mut net = net(2, &WHEN_BUSY);
    let standing = |net: &Net, call| {
        let mut calls = net.node(CALLER).calls();
        calls.find(|it| it.call == call).unwrap().standing
    };
    let first = net.call(CALLER, "shop/work", &[0x80]).unwrap();
    let second = net.call(CALLER, "shop/work", &[0x80]).unwrap();
    assert!(!matches!(standing(&net, first), Standing::At(_)));
    assert_eq!(standing(&net, second), Standing::At(NodeId(NEIGHBOUR)));
    let finished = net.run_until_finished(CALLER, first);
    assert_eq!(finished.result, Ok(vec![0x80]));
    let third = net.call(CALLER, "shop/work", &[0x80]).unwrap();
    assert!(!matches!(standing(&net, third), Standing::At(_)));
    for call in [second, third] {
        let finished = net.run_until_finished(CALLER, call);
        assert_eq!(finished.result, Ok(vec![0x80]));
    }
}
