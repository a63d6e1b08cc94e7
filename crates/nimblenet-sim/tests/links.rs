//! Links that lose, spoil and swallow frames, or pass them one way only, as short stories.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::Config;
use nimblenet_sim::swarm::{self, Call, Incident, Lie, Trial, What};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor};
use nimblenet_tasklet::{NamespaceId, NodeId};

const SECOND: Duration = Duration::from_secs(1);
/// How many chains there are, each of two modules that no other has.
const CHAINS: u16 = 27;

fn shop() -> Vec<(Publisher, Vec<Draft>)> {
    let work = |number| {
        let module = TimedExecutor::module(&[2000], 300);
        Draft::new(&format!("work-{number}"), module, "func()")
    };
    let chain = |number| {
        let module = TimedExecutor::module(&[1000, 1000], 200);
        let chain = Draft::new(&format!("chain-{number}"), module, "func()");
        chain.calling(&format!("shop/work-{number}"), "func()")
    };
    let drafts = (0..CHAINS).map(work).chain((0..CHAINS).map(chain));
    vec![(Publisher::new("shop"), drafts.collect())]
}

fn timed(_: NodeId) -> Box<dyn SimExecutor> {
    Box::new(TimedExecutor::default())
}

fn net(seed: u64, layout: &Layout, model: LinkModel, configure: impl Fn(&mut Config)) -> Net {
    Net::new(seed, layout, model, shop(), configure, timed)
}

fn quick() -> LinkModel {
    LinkModel::perfect(Duration::from_millis(5))
}

/// Nodes with these links besides that of the registry, which is node 0, to node `first`.
fn layout(first: u16, links: &[(u16, u16)]) -> Layout {
    let mut nodes: Vec<NodeId> = links
        .iter()
        .flat_map(|(a, b)| [*a, *b])
        .map(NodeId)
        .collect();
    nodes.push(NodeId(0));
    nodes.sort_unstable();
    nodes.dedup();
    let links = links.iter().map(|(a, b)| (NodeId(*a), NodeId(*b)));
    Layout {
        nodes,
        links: links.chain([(NodeId(0), NodeId(first))]).collect(),
        registry: NodeId(0),
    }
}

/// Calls a chain that nobody has called before at each node in turn; how long those took that had a
/// result.
fn cold_chains(net: &mut Net, nodes: u16, count: u16) -> Vec<Duration> {
    let mut took = Vec::new();
    for number in 0..count {
        let end = net.run_call(1 + number % nodes, &format!("shop/chain-{number}"));
        if end.result.is_ok() {
            took.push(end.took);
        }
    }
    took.sort_unstable();
    took
}

#[test]
fn fault_11_wrong_bits_cost_no_more_than_lost_frames() {
    for corruption in [0.03, 0.1] {
        let model = LinkModel {
            corruption,
            ..quick()
        };
        for seed in 1..=3 {
            let checked = |config: &mut Config| config.links[0].checksum = true;
            let mut net = net(seed, &Layout::grid(3, 3), model, checked);
            net.run_for(20 * SECOND);
            let took = cold_chains(&mut net, 9, CHAINS);
            assert!(net.fates().corrupted > 10);
            assert_eq!(took.len(), 27, "{corruption} {seed}");
        }
    }
}

/// A ring of which the link from 1 to 2 fails, and node 5, whose way to 2 it is.
fn ring(seed: u64) -> Net {
    let ring = layout(3, &[(1, 2), (1, 3), (3, 4), (4, 2), (5, 1)]);
    net(seed, &ring, quick(), |config| config.first_sequence = 0)
}

/// From 10 s after the first call that fails, or is late, all calls are served.
fn all_are_served(net: &mut Net, from: u16, to: u16, what: &str) {
    let mut failing = None;
    for _ in 0..40 {
        let begun = net.now();
        let call = net.call_at(from, to, "shop/work-0", &[0x80]).unwrap();
        let end = net.run_until_finished(from, call);
        let good = end.result.is_ok() && end.took < SECOND;
        let since = *failing.get_or_insert(begun);
        if good && since == begun {
            failing = None;
        }
        let late = begun - since > 10 * SECOND;
        assert!(
            good || !late,
            "{what} {from} {to}: {end:?} {:?}",
            begun - since
        );
        net.run_for(SECOND / 2);
    }
}

#[test]
fn fault_05_16_a_link_that_is_dead_in_one_direction_or_both_is_left_for_a_way_around() {
    for seed in 1..=5 {
        for later in [false, true] {
            for dead in [&[(1, 2)][..], &[(2, 1)], &[(1, 2), (2, 1)]] {
                for (from, to) in [(1, 2), (2, 1), (5, 2), (2, 5)] {
                    let mut net = ring(seed);
                    if later {
                        net.run_for(20 * SECOND);
                        all_are_served(&mut net, from, to, "before");
                    }
                    for (from, to) in dead {
                        net.cut_one_way(*from, *to);
                    }
                    if !later {
                        net.run_for(20 * SECOND);
                    }
                    let what = format!("seed {seed}, {dead:?}, later: {later}");
                    all_are_served(&mut net, from, to, &what);
                }
            }
        }
    }
}

#[test]
fn fault_05_a_link_that_passes_one_way_from_the_start_fails_no_call() {
    for (from, to) in [(1, 2), (2, 1)] {
        let mut net = ring(7);
        net.cut_one_way(from, to);
        net.run_for(10 * SECOND);
        for (caller, callee) in [(from, to), (to, from)] {
            let call = net.call_at(caller, callee, "shop/work-0", &[0x80]);
            let end = net.run_until_finished(caller, call.unwrap());
            assert!(end.result.is_ok() && end.took < SECOND, "{end:?}");
        }
    }
}

#[test]
fn fault_16_a_mended_link_is_used_again() {
    let mut net = ring(8);
    net.run_for(20 * SECOND);
    net.cut(1, 2);
    all_are_served(&mut net, 1, 2, "cut");
    net.mend(1, 2);
    net.run_for(64 * SECOND);
    let before = net.fates().sent;
    let call = net.call_at(1, 2, "shop/work-0", &[0x80]).unwrap();
    assert!(net.run_until_finished(1, call).result.is_ok());
    assert!(
        net.fates().sent - before < 12,
        "not over three links each way"
    );
}

#[test]
fn fault_07_long_frames_that_vanish_are_replaced_by_shorter_ones() {
    let large = || {
        let mut shop = shop();
        let module = TimedExecutor::module(&[2000], 6000);
        shop[0].1.push(Draft::new("large", module, "func()"));
        shop
    };
    for mtu in [1000, 600, 400, 210] {
        for layout in [Layout::line(1), Layout::line(3)] {
            let narrow = LinkModel { mtu, ..quick() };
            let mut net = Net::new(1, &layout, narrow, large(), |_| {}, timed);
            let last = layout.nodes.len() as u16 - 1;
            let shop = NamespaceId::of(&"shop".parse().unwrap());
            let held = |net: &Net| {
                net.node(last)
                    .catalogue(shop)
                    .is_some_and(|it| it.epoch() > 0)
            };
            assert!(net.run_until(20 * SECOND, held), "{mtu}: no catalogue");
            let end = net.run_call(last, "shop/large");
            assert!(
                end.result.is_ok() && end.took < 10 * SECOND,
                "{mtu}: {end:?}"
            );
            assert_eq!(net.node(last).narrow(net.now()).count(), 1);
            // What was found once need not be found again.
            let end = net.run_call(last, "shop/chain-1");
            assert!(end.result.is_ok() && end.took < SECOND, "{mtu}: {end:?}");
        }
    }
}

#[test]
fn five_made_up_holders_fail_no_call() {
    for seed in 1..=5 {
        let call = |at_s, tasklet: &str| Call {
            at_s,
            node: 3,
            tasklet: format!("alpha/{tasklet}"),
            on: None,
            deadline_s: 12.0,
            times: 1,
            every_s: None,
            stop_after_s: None,
            move_to: None,
            claim_at: None,
            claim_after_s: None,
            priority: None,
            cancel_after_s: None,
        };
        let mesh = "turmoil_s = 60.0\nlinks = [[0, 1], [1, 2], [2, 3]]\nregistries = [0]";
        let forge = What::Forge {
            from: 2,
            to: 3,
            what: Lie::Holders,
            per_s: 20.0,
            origins: 1,
        };
        let trial = Trial {
            seed,
            mesh: Some(toml::from_str(mesh).unwrap()),
            calls: vec![call(4.5, "leaf"), call(20.0, "chain"), call(40.0, "large")],
            incidents: vec![Incident {
                at_s: 4.0,
                for_s: Some(55.0),
                what: forge,
            }],
            ..Trial::default()
        };
        let verdict = swarm::perform(&trial);
        assert_eq!(verdict.failure, None, "{seed}");
        assert!(verdict.fired["forged-frame"] > 1000);
        assert!(
            verdict.fired["call-completed"] >= 3,
            "{seed} {:?}",
            verdict.fired
        );
        assert!(
            !verdict.fired.contains_key("call-failed"),
            "{seed} {:?}",
            verdict.fired
        );
    }
}

/// A line of eight nodes whose links lose this share of frames, and repeat those that are not
/// acknowledged so many times.
fn lossy_line(seed: u64, loss: f64, repeats: u8) -> Net {
    let model = LinkModel {
        loss,
        ..LinkModel::PAPER
    };
    net(seed, &Layout::line(8), model, |config| {
        config.links[0].repeats = repeats;
    })
}

fn all_have_a_catalogue(net: &Net) -> bool {
    let shop = NamespaceId::of(&"shop".parse().unwrap());
    (1..=8).all(|id| {
        net.node(id)
            .catalogue(shop)
            .is_some_and(|it| it.epoch() > 0)
    })
}

#[test]
fn fault_13_eight_hops_with_20_percent_loss_each_serve_24_cold_chains() {
    for seed in 1..=5 {
        let mut net = lossy_line(seed, 0.2, 1);
        assert!(net.run_until(60 * SECOND, all_have_a_catalogue), "{seed}");
        let took = cold_chains(&mut net, 8, 24);
        assert_eq!(took.len(), 24, "{seed}");
        assert!(took[12] <= 15 * SECOND, "{seed}: {took:?}");
    }
}

#[test]
fn fault_13_eight_hops_with_40_percent_loss_each_serve_24_cold_chains_within_a_minute() {
    for seed in 1..=5 {
        let mut net = lossy_line(seed, 0.4, 5);
        assert!(net.run_until(60 * SECOND, all_have_a_catalogue), "{seed}");
        let took = cold_chains(&mut net, 8, 24);
        assert_eq!(took.len(), 24, "{seed}");
        assert!(took[23] <= 60 * SECOND, "{seed}: {took:?}");
    }
}

/// A grid of thirty nodes on one machine: frames take no time to speak of, and none is lost.
fn loopback(seed: u64) -> Net {
    let model = LinkModel::perfect(Duration::from_micros(50));
    let mut net = net(seed, &Layout::grid(6, 5), model, |_| {});
    net.run_for(60 * SECOND);
    net
}

#[test]
fn fault_13_a_cold_chain_takes_100_frames_at_most_in_a_clean_grid_of_thirty_and_no_wait() {
    for seed in 1..=3 {
        let mut net = loopback(seed);
        for number in 0..CHAINS {
            let before = net.fates().sent;
            let end = net.run_call(1 + number * 11 % 30, &format!("shop/chain-{number}"));
            assert!(end.result.is_ok(), "{seed} {number}: {end:?}");
            // It ends, and what follows is counted too: news of the caches that have changed.
            net.run_for(2 * SECOND);
            let sent = net.fates().sent - before;
            assert!(
                end.took <= Duration::from_millis(300),
                "{seed} {number}: {end:?}"
            );
            assert!(sent <= 100, "{seed} {number}: {sent}");
        }
    }
}
