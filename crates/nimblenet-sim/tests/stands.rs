//! Floods, restarts and repeated calls: what real links, clocks and neighbours do, as short stories.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_sim::swarm::{self, Call, Incident, Lie, Mesh, Trial, What};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor};
use nimblenet_tasklet::{Fault, NodeId};

const SECOND: Duration = Duration::from_secs(1);
/// How fast numbers rise with the clock of a node that has nothing else to go by.
const NUMBERS_PER_S: u32 = 256;

fn shop() -> Vec<(Publisher, Vec<Draft>)> {
    let tasklet = |name| Draft::new(name, TimedExecutor::module(&[2000], 100), "func()");
    let drafts = ["rms", "peak"].map(tasklet).to_vec();
    vec![(Publisher::new("shop"), drafts)]
}

fn timed(_: NodeId) -> Box<dyn SimExecutor> {
    Box::new(TimedExecutor::default())
}

fn line(seed: u64) -> Net {
    let quick = LinkModel::perfect(Duration::from_millis(5));
    let configure = |config: &mut nimblenet_core::Config| config.first_sequence = 0;
    let mut net = Net::new(seed, &Layout::line(3), quick, shop(), configure, timed);
    net.run_for(10 * SECOND);
    net
}

/// A ring of boards and a registry beside it, where an intruder speaks.
fn ring(nodes: u16, what: Lie, (per_s, for_s): (f64, f64), origins: u16) -> Trial {
    let links = (1..=nodes).map(|id| (id, id % nodes + 1));
    let mesh = "turmoil_s = 10.0\nlinks = []\nregistries = [0]";
    let mesh: Mesh = toml::from_str(mesh).unwrap();
    let mesh = Mesh {
        links: links.chain([(0, 1)]).collect(),
        boards: (1..=nodes).collect(),
        ..mesh
    };
    let forge = What::Forge {
        from: 1,
        to: 2,
        what,
        per_s,
        origins,
    };
    Trial {
        seed: nodes.into(),
        mesh: Some(mesh),
        incidents: vec![Incident {
            at_s: 5.0,
            for_s: Some(for_s),
            what: forge,
        }],
        ..Trial::default()
    }
}

#[test]
fn floods_of_any_number_of_origins_pass_each_node_of_a_ring_of_boards_once() {
    for nodes in [3, 6, 12] {
        for origins in [16, 17, 40, 64, 65, 200] {
            let verdict = swarm::perform(&ring(nodes, Lie::Floods, (2.0, 3.0), origins));
            let forged = u64::from(origins) * 6;
            assert_eq!(verdict.fired["forged-frame"], forged);
            assert_eq!(verdict.failure, None, "{nodes} nodes, {origins} origins");
            assert!(verdict.fired["frame-sent"] < 20 * forged + 4000 * u64::from(nodes));
        }
    }
}

#[test]
fn fault_12_ten_thousand_searches_a_second_of_one_neighbour_are_passed_on_200_times_a_second_at_most()
 {
    let verdict = swarm::perform(&ring(6, Lie::Floods, (40.0, 2.0), 256));
    assert!(verdict.fired["forged-frame"] > 20_000, "{verdict:?}");
    assert_eq!(verdict.failure, None);
}

#[test]
fn a_node_is_not_mute_while_others_speak_in_its_name() {
    let mut net = line(3);
    let frames = |turn: u32| {
        use nimblenet_core::wire::{Frame, HELLO_BYTES, Hello, Message};
        let mut space = [0; HELLO_BYTES];
        let hello = Hello::new([].into_iter(), [].into_iter(), 0, &mut space);
        let sequence = (turn + 1).wrapping_mul(0x1357_9bdf);
        let (sender, origin) = (NodeId(2), NodeId(2));
        let frame = Frame {
            ttl: 0,
            sender,
            receiver: NodeId::EVERYONE,
            origin,
            destination: NodeId::EVERYONE,
            sequence,
            hops: 1,
            unanswered: false,
            message: Message::Hello(hello),
        };
        let mut bytes = vec![0; frame.len()];
        frame.emit(&mut bytes).unwrap();
        bytes
    };
    let mut calls = Vec::new();
    for turn in 0..100 {
        net.inject(2, 1, &frames(turn));
        net.inject(2, 3, &frames(turn));
        net.run_for(SECOND / 10);
        if turn % 15 == 14 {
            calls.push(net.call_at(1, 3, "shop/rms", &[0x80]).unwrap());
        }
    }
    assert_eq!(calls.len(), 6);
    for call in calls {
        let end = net.run_until_finished(1, call);
        assert!(end.result.is_ok() && end.took < 2 * SECOND, "{end:?}");
    }
}

/// Starts node 3 again with a number that differs from the one it had come to, and expects that it gets
/// its catalogue and a module, and that others reach it, within 5 s.
fn restarts_at(number: impl Fn(u32) -> u32, what: &str) {
    let mut net = line(4);
    net.run_call(3, "shop/peak");
    let next = net.node(3).next_sequence();
    net.crash(3);
    net.run_for(SECOND);
    net.restart_at(3, number(next));
    let restarted = net.now();
    let end = net.run_call(3, "shop/rms");
    assert!(end.result.is_ok(), "{what}: {end:?}");
    let call = net.call_at(1, 3, "shop/rms", &[0x80]).unwrap();
    let end = net.run_until_finished(1, call);
    assert!(end.result.is_ok(), "{what}: {end:?}");
    let took = net.now() - restarted;
    assert!(took < 5 * SECOND, "{what}: heard after {took:?}");
}

#[test]
fn fault_03_a_restarted_node_is_heard_within_5_s_whatever_its_clock_says() {
    for step in 1..=300 {
        let numbers = step * NUMBERS_PER_S;
        restarts_at(|next| next.wrapping_sub(numbers), &format!("{step} s back"));
        restarts_at(
            |next| next.wrapping_add(numbers),
            &format!("{step} s ahead"),
        );
    }
    for year in 1..=10_u64 {
        let numbers = (year * 31_556_952 * u64::from(NUMBERS_PER_S)) as u32;
        restarts_at(|next| next.wrapping_sub(numbers), &format!("{year} a back"));
        restarts_at(
            |next| next.wrapping_add(numbers),
            &format!("{year} a ahead"),
        );
    }
}

#[test]
fn fault_03_a_restarted_node_is_heard_within_5_s_after_any_load() {
    let edges = [
        0, 1, 31, 32, 33, 1000, 1023, 1024, 1025, 20_000, 40_002, 65_535, 65_536, 65_537,
    ];
    // A prime step: the numbers in between are all of one kind to the rules, and of none to chance.
    for behind in edges.into_iter().chain((1..=65_536).step_by(1021)) {
        restarts_at(
            |next| next.wrapping_sub(behind),
            &format!("{behind} behind"),
        );
    }
}

/// A call of node 1 that runs at node 2, whose answer does not arrive.
fn unanswered(seed: u64) -> (Net, nimblenet_core::CallId) {
    let mut net = line(seed);
    net.run_call(2, "shop/rms");
    let call = net.call_at(1, 2, "shop/rms", &[0x80]).unwrap();
    net.run_for(Duration::from_millis(6));
    net.cut(1, 2);
    (net, call)
}

#[test]
fn fault_02_a_call_runs_once_and_is_answered_though_70_others_came_before_its_answer_arrived() {
    let (mut net, call) = unanswered(5);
    let before = net.node(2).counters().completed;
    for _ in 0..70 {
        let other = net.call_at(3, 2, "shop/rms", &[0x80]).unwrap();
        assert!(net.run_until_finished(3, other).result.is_ok());
    }
    assert!(net.finished(1, call).is_none(), "it still asks");
    net.mend(1, 2);
    assert!(net.run_until_finished(1, call).result.is_ok());
    assert_eq!(net.node(2).counters().completed, before + 71);
}

#[test]
fn fault_02_a_call_does_not_run_again_at_a_callee_that_has_restarted_meanwhile() {
    for known in [false, true] {
        let (mut net, call) = unanswered(6);
        if known {
            net.mend(1, 2);
            net.run_for(Duration::from_millis(10));
        }
        net.crash(2);
        net.restart(2);
        net.run_for(SECOND / 5);
        net.mend(1, 2);
        let end = net.run_until_finished(1, call);
        if known {
            assert!(end.took < SECOND, "{end:?}");
        } else {
            assert_eq!(end.result, Err(Fault::Unreachable));
            assert_eq!(net.node(2).counters().completed, 0);
        }
    }
}

/// Calls of node 1 and of others at node 2, at which an intruder floods.
fn crowd(incidents: Vec<Incident>) -> Trial {
    let call = |node, at_s, times| Call {
        at_s,
        node,
        tasklet: "alpha/slow".to_owned(),
        on: Some(2),
        deadline_s: 20.0,
        times,
        every_s: None,
        stop_after_s: None,
        move_to: None,
        claim_at: None,
        claim_after_s: None,
        priority: None,
        cancel_after_s: None,
    };
    let mut trial = ring(5, Lie::Floods, (50.0, 20.0), 10);
    let mesh = trial.mesh.as_mut().unwrap();
    (mesh.boards, mesh.turmoil_s) = (Vec::new(), 30.0);
    trial.incidents[0].at_s = 3.0;
    trial.incidents.extend(incidents);
    trial.calls = vec![call(1, 3.0, 1), call(1, 9.0, 1)];
    for turn in 0..10 {
        let at_s = 3.1 + f64::from(turn) / 2.0;
        trial.calls.extend([3, 4].map(|node| call(node, at_s, 25)));
    }
    trial
}

#[test]
fn fault_02_a_call_runs_once_among_10_000_messages_and_500_other_calls_whatever_restarts() {
    let cut = |at_s, (from, to)| Incident {
        at_s,
        for_s: Some(3.0),
        what: What::Cut { from, to },
    };
    let crash = |at_s, node| Incident {
        at_s,
        for_s: Some(0.4),
        what: What::Crash {
            node,
            keeps: true,
            clock_s: 0.0,
        },
    };
    let lost = || vec![cut(3.02, (2, 1)), cut(9.02, (2, 1)), cut(3.02, (3, 2))];
    for restarts in [
        vec![],
        vec![crash(4.0, 2), crash(9.5, 2)],
        vec![crash(4.0, 1)],
    ] {
        let mut incidents = lost();
        incidents.extend(restarts);
        let verdict = swarm::perform(&crowd(incidents));
        assert_eq!(verdict.failure, None);
        assert!(
            verdict.fired["forged-frame"] >= 9_990,
            "{:?}",
            verdict.fired
        );
        assert!(verdict.fired["call"] >= 502 && verdict.fired["cut"] == 3);
    }
}
