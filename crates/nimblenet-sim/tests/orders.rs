//! Orders to move jobs, jobs that arrive with catalogues of other epochs, and calls that were passed on, told in
//! virtual time.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::place::{Decision, Facts, Place};
use nimblenet_core::wire::{CHECKSUM_LEN, Frame, HELLO_BYTES, Hello, Kind, Message, RegistryNote};
use nimblenet_core::{Config, Placement};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, TimedExecutor};
use nimblenet_tasklet::{Fault, NamespaceId, NodeId};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

type Shelves = Vec<(Publisher, Vec<Draft>)>;

fn timed(name: &str, times_ms: &[u32]) -> Draft {
    let times: Vec<u32> = times_ms.iter().map(|ms| ms * 1000).collect();
    Draft::new(name, TimedExecutor::module(&times, 300), "func()")
}

/// `shop/top` calls `shop/middle`, and that `std/triple`.
fn shelves() -> Shelves {
    let middle = timed("middle", &[500, 100]).calling("std/triple", "func()");
    let top = timed("top", &[2000, 500]).calling("shop/middle", "func()");
    let std = vec![timed("triple", &[100])];
    vec![
        (Publisher::new("std"), std),
        (Publisher::new("shop"), vec![top, middle]),
    ]
}

/// The registry, and a triangle of nodes in reach of each other behind it.
fn triangle() -> Layout {
    let mut layout = Layout::line(3);
    layout.links.push((NodeId(1), NodeId(3)));
    layout
}

fn net(seed: u64, layout: &Layout, shelves: Shelves, configure: impl Fn(&mut Config)) -> Net {
    let configure = |config: &mut Config| {
        config.placement = Placement::HERE;
        configure(config);
    };
    let link = LinkModel::perfect(2 * MILLI);
    let timed = |_| Box::new(TimedExecutor::default()) as _;
    let mut net = Net::new(seed, layout, link, shelves, configure, timed);
    net.run_for(60 * SECOND);
    net
}

fn epoch(net: &Net, id: u16, namespace: &str) -> u32 {
    let id_of = NamespaceId::of(&namespace.parse().unwrap());
    net.node(id).catalogue(id_of).map_or(0, |held| held.epoch())
}

/// A tasklet that a chain may call, but does not, is in a namespace whose catalogue nobody has.
#[test]
fn a_job_that_began_without_a_catalogue_moves_to_a_node_without_it() {
    let mut shelves = shelves();
    let top = timed("top", &[2000, 500])
        .calling("shop/middle", "func()")
        .calling("ext/rare", "func()");
    shelves[1].1[0] = top;
    shelves.insert(0, (Publisher::new("ext"), vec![timed("rare", &[100])]));
    let mut net = net(1, &triangle(), shelves, |config| {
        // Nobody can check its signature.
        for held in &mut config.namespaces {
            if held.name.as_str() == "ext" {
                held.key = [0; 32];
            }
        }
    });
    assert_eq!((epoch(&net, 1, "ext"), epoch(&net, 3, "ext")), (0, 0));
    let call = net.call(1, "shop/top", &[0x80]).unwrap();
    net.run_for(SECOND);
    net.move_call(1, call, 3).unwrap();
    let end = net.run_until_finished(1, call);
    assert_eq!(end.result, Ok(vec![0x80]));
    assert_eq!(net.moves(1), [Ok(())]);
}

#[test]
fn a_job_does_not_move_to_a_node_without_the_namespace_of_a_callee() {
    let mut net = net(2, &triangle(), shelves(), |config| {
        if config.id == NodeId(3) {
            config.namespaces.retain(|it| it.name.as_str() != "std");
        }
    });
    let call = net.call(1, "shop/top", &[0x80]).unwrap();
    net.run_for(SECOND);
    net.move_call(1, call, 3).unwrap();
    let end = net.run_until_finished(1, call);
    assert_eq!(end.result, Ok(vec![0x80]), "{:?}", net.moves(1));
}

#[test]
fn a_node_that_drains_loses_no_job_to_a_neighbour_without_the_namespace_of_a_callee() {
    let mut net = net(2, &Layout::line(3), shelves(), |config| {
        if [1, 3].contains(&config.id.0) {
            config.namespaces.retain(|it| it.name.as_str() != "std");
        }
    });
    let call = net.call(2, "shop/top", &[0x80]).unwrap();
    net.run_for(SECOND);
    net.drain(2, true);
    let end = net.run_until_finished(2, call);
    assert_eq!(end.result, Ok(vec![0x80]), "{:?}", net.moves(2));
}

/// The receiver keeps a replaced entry, which calls `std/quick`, for a job of its own; the newest one calls nothing.
/// It has yet to get the catalogue of `std`.
#[test]
fn the_chain_of_an_arriving_job_is_that_of_its_own_epochs() {
    let mut shelves = shelves();
    shelves[1].1[0] = timed("top", &[20_000, 500]).calling("shop/middle", "func()");
    let mut net = net(3, &triangle(), shelves, |config| {
        if config.id == NodeId(2) {
            config.namespaces.retain(|it| it.name.as_str() != "std");
        }
    });
    net.cut(1, 3);
    net.publish("std", &[timed("quick", &[100])]);
    let middle = timed("middle", &[500, 100]).calling("std/quick", "func()");
    net.publish("shop", &[middle]);
    let both = |net: &Net| {
        (
            epoch(net, 1, "std"),
            epoch(net, 1, "shop"),
            epoch(net, 3, "shop"),
        )
    };
    assert!(net.run_until(9 * SECOND, |net| both(net) == (2, 2, 2)));
    let call = net.call(1, "shop/top", &[0x80]).unwrap();
    let _keeps_replaced = net.call(3, "shop/top", &[0x80]).unwrap();
    net.run_for(SECOND);
    net.publish("shop", &[timed("middle", &[500])]);
    assert!(net.run_until(9 * SECOND, |net| both(net) == (2, 3, 3)));
    net.run_for(15 * SECOND);
    net.mend(1, 3);
    net.move_call(1, call, 3).unwrap();
    assert_eq!(
        epoch(&net, 3, "std"),
        1,
        "it has yet to hear of the newer one"
    );
    let end = net.run_until_finished(1, call);
    assert_eq!(end.result, Ok(vec![0x80]), "{:?}", net.moves(1));
}

/// `shop/top` calls fifteen others before `shop/middle`, and the first of them may call sixteen more.
fn wide() -> Shelves {
    let mut shelves = shelves();
    let mut times = vec![10; 17];
    (times[0], times[16]) = (2000, 500);
    let mut top = timed("top", &times);
    let mut first = timed("a0", &[10]);
    let drafts = &mut shelves[1].1;
    for at in 0..16 {
        drafts.push(timed(&format!("b{at}"), &[10]));
        first = first.calling(&format!("shop/b{at}"), "func()");
    }
    drafts.push(first);
    for at in 0..15 {
        if at > 0 {
            drafts.push(timed(&format!("a{at}"), &[10]));
        }
        top = top.calling(&format!("shop/a{at}"), "func()");
    }
    drafts[0] = top.calling("shop/middle", "func()");
    shelves
}

#[test]
fn a_job_moves_only_to_a_node_with_the_catalogue_behind_many_callees() {
    let mut shelves = wide();
    let middle = timed("middle", &[300, 300, 100]).calling("shop/b0", "func()");
    shelves[1].1[1] = middle.calling("std/triple", "func()");
    let mut net = net(4, &triangle(), shelves, |_| {});
    net.cut(1, 3);
    net.cut(2, 3);
    net.publish("std", &[timed("triple", &[4000])]);
    net.run_for(60 * SECOND);
    assert_eq!((epoch(&net, 1, "std"), epoch(&net, 3, "std")), (2, 1));
    let call = net.call(1, "shop/top", &[0x80]).unwrap();
    // It calls `shop/b0` soon.
    net.run_for(2400 * MILLI);
    net.mend(1, 3);
    net.move_call(1, call, 3).unwrap();
    let end = net.run_until_finished(1, call);
    assert_eq!(end.result, Ok(vec![0x80]));
    assert!(
        end.took > 6 * SECOND,
        "it has called the old version: {:?}",
        net.moves(1)
    );
}

/// As it is for one behind few callees.
#[test]
fn a_call_waits_for_a_catalogue_behind_many_callees() {
    // Node 3 gets its catalogues of `shop` and `std` in that order.
    let mut net = net(4, &Layout::line(3), wide(), |config| {
        config.namespaces.reverse();
        if config.id == NodeId(2) {
            config.namespaces.retain(|it| it.name.as_str() != "std");
        }
    });
    net.crash(3);
    net.restart(3);
    net.crash(0);
    assert!(net.run_until(SECOND, |net| epoch(net, 3, "shop") == 1));
    let call = net.call(3, "shop/top", &[0x80]).unwrap();
    net.run_for(5 * SECOND);
    assert_eq!(epoch(&net, 3, "std"), 0);
    net.restart(0);
    assert_eq!(net.run_until_finished(3, call).result, Ok(vec![0x80]));
}

/// The node that runs a call has answered that it does not move it.
#[test]
fn who_refuses_to_move_a_call_has_answered() {
    let mut net = net(5, &Layout::line(4), shelves(), |_| {});
    let call = net.call_at(1, 3, "shop/top", &[0x80]).unwrap();
    net.run_for(300 * MILLI);
    // It leaves for a node that does not exist, so that another move is refused.
    net.move_call(1, call, 77).unwrap();
    net.run_for(100 * MILLI);
    net.move_call(1, call, 4).unwrap();
    net.run_for(100 * MILLI);
    assert_eq!(net.moves(1), [Ok(()), Err(Fault::Busy)]);
    net.run_for(SECOND);
    assert_eq!(
        calls_of_node_1(&net),
        0,
        "there was no reason to doubt the route"
    );
    assert_eq!(net.run_until_finished(1, call).result, Ok(vec![0x80]));
}

/// The calls of node 1 that node 0, which is not on the way anywhere, has received: they were flooded.
fn calls_of_node_1(net: &Net) -> u64 {
    net.node(0).counters().traffic(Kind::Call).received
}

/// On a slow link an order to move is repeated, and each is refused; the second refusal comes when the next order, to
/// another node, is on its way.
#[test]
fn a_refusal_is_of_the_order_to_move_to_that_node() {
    let mut shelves = shelves();
    let long = timed("long", &[9000, 100]).calling("shop/middle", "func()");
    shelves[1].1.push(long);
    let mut net = net(5, &triangle(), shelves, |_| {});
    for id in [2, 3] {
        net.run_call(id, "shop/long").result.unwrap();
        net.run_call(id, "shop/top").result.unwrap();
    }
    let call = net.call_at(1, 2, "shop/long", &[0x80]).unwrap();
    net.run_for(100 * MILLI);
    net.cut(1, 3);
    net.set_link(1, 2, LinkModel::perfect(290 * MILLI));
    // Node 2 is busy until this move has failed.
    let other = net.call(2, "shop/top", &[0x80]).unwrap();
    net.move_call(2, other, 77).unwrap();
    net.run_for(5200 * MILLI);
    net.move_call(1, call, 77).unwrap();
    assert!(net.run_until(9 * SECOND, |net| !net.moves(1).is_empty()));
    net.move_call(1, call, 3).unwrap();
    assert_eq!(net.run_until_finished(1, call).result, Ok(vec![0x80]));
    assert_eq!(net.node(3).counters().moved_in, 1, "it has moved");
    assert_eq!(net.moves(1), [Err(Fault::Busy), Ok(())]);
}

#[test]
fn a_call_that_waits_is_known_to_the_node_that_is_to_move_it() {
    let mut net = net(6, &triangle(), shelves(), |config| {
        config.limits.jobs = 2;
        config.limits.waiting = 4;
    });
    for _ in 0..2 {
        net.call(2, "shop/top", &[0x80]).unwrap();
    }
    let call = net.call_at(1, 2, "shop/top", &[0x80]).unwrap();
    net.run_for(200 * MILLI);
    net.move_call(1, call, 3).unwrap();
    net.run_for(200 * MILLI);
    assert_eq!(net.moves(1), [Err(Fault::Busy)]);
    assert_eq!(net.run_until_finished(1, call).result, Ok(vec![0x80]));
}

/// Node 1 places its calls at node 2, and that what others have placed there at node 3.
struct Onwards;

impl Place for Onwards {
    fn place(&self, facts: &Facts<'_>) -> Decision {
        let to = if facts.caller.is_none() { 2 } else { 3 };
        Decision::Send(NodeId(to))
    }
}

static ONWARDS: Placement = Placement {
    name: "onwards",
    policy: &Onwards,
};

/// The node where a call was placed refuses it before it could be told to move it.
#[test]
fn an_order_to_move_outlasts_the_refusal_of_a_placed_call() {
    let mut net = net(7, &triangle(), shelves(), |config| match config.id.0 {
        1 => config.placement = &ONWARDS,
        2 => {
            config.placement = Placement::LEAST_WORK;
            config.limits.jobs = 1;
            config.limits.waiting = 0;
        }
        _ => config.placement = Placement::LEAST_WORK,
    });
    net.call(2, "shop/top", &[0x80]).unwrap();
    let call = net.call(1, "shop/top", &[0x80]).unwrap();
    assert_eq!(net.node(1).counters().placed, 1);
    net.move_call(1, call, 3).unwrap();
    assert_eq!(net.run_until_finished(1, call).result, Ok(vec![0x80]));
    assert_eq!(net.moves(1), [Ok(())]);
    assert_eq!(net.node(3).counters().moved_in, 1);
}

/// What node 2 has passed on gets lost, and so does the link that the call came over: the caller reaches node 2 over
/// node 3, which drops what node 2 passes on to it then as seen.
#[test]
fn a_call_that_was_passed_on_is_asked_for_over_the_node_that_is_to_run_it() {
    let mut net = net(8, &triangle(), shelves(), |config| {
        config.placement = match config.id.0 {
            1 | 2 => &ONWARDS,
            _ => Placement::LEAST_WORK,
        };
    });
    net.cut_one_way(2, 3);
    let call = net.call(1, "shop/top", &[0x80]).unwrap();
    net.run_for(15 * MILLI);
    assert_eq!(net.node(2).counters().passed, 1);
    net.mend(2, 3);
    net.cut(1, 2);
    assert_eq!(net.run_until_finished(1, call).result, Ok(vec![0x80]));
}

/// A disk of the registry is replaced, and a node that starts anew has the new catalogue, of the same epoch.
#[test]
fn a_job_that_has_not_started_runs_no_tasklet_of_another_registry() {
    let mut layout = triangle();
    layout.links.push((NodeId(0), NodeId(3)));
    let mut net = net(9, &layout, shelves(), |config| config.limits.executors = 1);
    assert_eq!(net.run_call(1, "shop/top").result, Ok(vec![0x80]));
    net.crash(3);
    let std: &[Vec<Draft>] = &[vec![timed("triple", &[100])]];
    let other: &[Vec<Draft>] = &[vec![timed("other", &[7000])]];
    net.replace_disk(&[("std", std), ("shop", other)]);
    net.cut(2, 3);
    net.cut(1, 3);
    net.restart(3);
    net.run_for(2 * SECOND);
    net.mend(1, 3);
    net.mend(2, 3);
    net.run_for(140 * SECOND);
    assert_eq!((epoch(&net, 1, "shop"), epoch(&net, 3, "shop")), (1, 1));
    net.call(1, "shop/middle", &[0x80]).unwrap();
    let call = net.call(1, "shop/top", &[0x80]).unwrap();
    net.move_call(1, call, 3).unwrap();
    let end = net.run_until_finished(1, call);
    assert_eq!(end.result, Ok(vec![0x80]));
    assert_eq!(
        net.moves(1),
        [Err(Fault::UnknownTasklet)],
        "it ran {:?}",
        end.took
    );
}

/// Hellos of an intruder tell of many registries, once.
#[test]
fn registries_that_somebody_has_made_up_do_not_take_the_room_of_routes_for_ever() {
    let few = |config: &mut Config| config.limits.routes = 16;
    let mut net = net(10, &Layout::line(5), shelves(), few);
    for turn in 0..4 {
        let notes = (0..8).map(|at| RegistryNote {
            registry: NodeId(1000 + turn * 8 + at),
            sequence: 9,
            hops: 3,
            age_s: 0,
            mtu: 1200,
        });
        let mut space = [0; HELLO_BYTES];
        let hello = Hello::new(notes, [].into_iter(), 0, &mut space);
        let frame = Frame {
            ttl: 0,
            sender: NodeId(90),
            receiver: NodeId::EVERYONE,
            origin: NodeId(90),
            destination: NodeId::EVERYONE,
            sequence: 50_000 + u32::from(turn),
            hops: 1,
            unanswered: false,
            message: Message::Hello(hello),
        };
        let mut bytes = vec![0; frame.len() + CHECKSUM_LEN];
        let len = frame.emit(&mut bytes).unwrap();
        net.inject(2, 1, &bytes[..len]);
    }
    // By then nobody uses a route that was heard of then.
    net.run_for(600 * SECOND);
    for turn in 0..10 {
        let call = net
            .call_at(1, 4 + turn % 2, "shop/middle", &[0x80])
            .unwrap();
        assert_eq!(net.run_until_finished(1, call).result, Ok(vec![0x80]));
    }
    let flooded = calls_of_node_1(&net);
    assert!(flooded <= 2, "{flooded} calls were flooded");
}
