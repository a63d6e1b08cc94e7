//! The protocol, told as short stories in virtual time.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::wire::Kind;
use nimblenet_core::{
    Config, Discovery, DropReason, LinkAddress, LinkConfig, LinkId, Pace, Role, Source,
    StaticNeighbour, StaticRoute,
};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor};
use nimblenet_tasklet::{Fault, NodeId};

const SECOND: Duration = Duration::from_secs(1);

fn algorithm(name: &str, len: usize) -> Draft {
    Draft::new(name, TimedExecutor::module(&[2000], len), "func()")
}

/// A chain that calls these algorithms one after the other.
fn chain(name: &str, calls: &[&str]) -> Draft {
    let times = vec![1000; calls.len() + 1];
    let chain = Draft::new(name, TimedExecutor::module(&times, 200), "func()");
    calls
        .iter()
        .fold(chain, |chain, callee| chain.calling(callee, "func()"))
}

fn shop() -> Vec<(Publisher, Vec<Draft>)> {
    let drafts = vec![
        algorithm("rms", 110),
        algorithm("peak", 90),
        algorithm("fft", 2500),
        chain("check", &["shop/rms", "shop/peak"]),
        chain("other", &["shop/rms", "shop/fft"]),
        chain("deep", &["shop/check", "shop/other"]),
    ];
    vec![(Publisher::new("shop"), drafts)]
}

fn timed(_: NodeId) -> Box<dyn SimExecutor> {
    Box::new(TimedExecutor::default())
}

fn net(seed: u64, layout: &Layout, configure: impl Fn(&mut Config)) -> Net {
    let mut net = Net::new(seed, layout, LinkModel::PAPER, shop(), configure, timed);
    net.run_for(30 * SECOND);
    net
}

/// A mesh whose nodes hold nothing but what they have called.
fn forgetful(seed: u64, layout: &Layout, configure: impl Fn(&mut Config)) -> Net {
    net(seed, layout, |config| {
        config.acquisition.keep_passing = false;
        configure(config);
    })
}

fn sources(finished: &nimblenet_sim::Finished) -> Vec<Source> {
    assert_eq!(finished.result, Ok(vec![0x80]), "{finished:?}");
    finished.steps.iter().map(|(_, source)| *source).collect()
}

#[test]
fn the_first_call_fetches_from_the_registry_and_the_second_finds_everything_in_the_cache() {
    let mut net = net(1, &Layout::pair(), |_| {});
    assert_eq!(
        sources(&net.run_call(2, "shop/check")),
        [Source::Registry; 3]
    );
    assert_eq!(sources(&net.run_call(2, "shop/check")), [Source::Local; 3]);
}

#[test]
fn a_neighbour_is_asked_before_a_far_node_and_a_far_node_before_the_registry() {
    let mut net = forgetful(2, &Layout::line(4), |_| {});
    assert_eq!(
        sources(&net.run_call(4, "shop/check")),
        [Source::Registry; 3]
    );
    // Until node 4 has told which modules it holds, and node 3 has passed that on.
    net.run_for(60 * SECOND);
    assert_eq!(sources(&net.run_call(2, "shop/check")), [Source::Global; 3]);
    net.run_for(60 * SECOND);
    assert_eq!(
        sources(&net.run_call(3, "shop/check")),
        [Source::Neighbour; 3]
    );
}

#[test]
fn a_cold_chain_waits_for_one_fetch_and_searches_nothing() {
    let wired = LinkModel::perfect(Duration::from_millis(1));
    let linux = |config: &mut Config| config.pace = Pace::LINUX;
    let mut net = Net::new(3, &Layout::line(3), wired, shop(), linux, timed);
    net.run_for(5 * SECOND);
    let call = net.run_call(3, "shop/deep");
    assert_eq!(call.result, Ok(vec![0x80]));
    // Six tasklets over three links: all are asked for at once, and the longest has three parts.
    assert!(call.took < Duration::from_millis(50), "{:?}", call.took);
    let searches = net
        .nodes()
        .map(|node| node.counters().traffic(Kind::Search).sent);
    assert_eq!(searches.sum::<u64>(), 0);
}

#[test]
fn a_holder_that_is_gone_is_asked_once_and_the_next_has_it() {
    let mut net = forgetful(4, &Layout::line(3), |config| {
        config.limits.cache_bytes = 3000;
    });
    net.run_call(3, "shop/check");
    // Node 2 hears that node 3 has it; then node 3 makes room for something large.
    net.run_for(60 * SECOND);
    let large = net.run_call(3, "shop/other");
    assert!(large.result.is_ok() && net.node(3).cache().evicted() > 0);
    let call = net.run_call(2, "shop/check");
    assert_eq!(call.result, Ok(vec![0x80]));
    assert_eq!(net.node(2).counters().not_acquired, 0);
    let refused = net.node(3).counters().traffic(Kind::Refuse).originated;
    assert!(refused > 0, "the holder did not have it any more");
    assert_eq!(net.node(2).counters().traffic(Kind::Search).sent, 0);
}

#[test]
fn a_request_stops_at_the_first_node_on_its_way_that_has_the_module() {
    let mut net = net(5, &Layout::line(4), |config| {
        // Nobody tells anything: only the path knows.
        config.acquisition.announce = false;
    });
    net.run_call(3, "shop/check");
    let before = net.node(0).counters().traffic(Kind::Data).originated;
    let call = net.run_call(4, "shop/check");
    assert_eq!(sources(&call), [Source::Neighbour; 3]);
    let after = net.node(0).counters().traffic(Kind::Data).originated;
    assert_eq!(after, before, "the registry was not asked");
}

#[test]
fn a_module_that_passes_through_a_node_stays_there_if_there_is_room() {
    for (room, stays) in [(32768, true), (2900, false)] {
        let mut net = net(5, &Layout::line(4), |config| {
            config.limits.cache_bytes = room;
        });
        assert!(net.run_call(2, "shop/other").result.is_ok());
        assert_eq!(net.run_call(4, "shop/check").result, Ok(vec![0x80]));
        assert_eq!(net.node(2).cache().evicted(), 0, "nothing leaves for it");
        let call = net.run_call(2, "shop/check");
        let at_once = sources(&call)[0] == Source::Local;
        assert_eq!(at_once, stays, "a cache of {room} bytes");
    }
}

#[test]
fn shared_algorithms_are_fetched_once() {
    let mut net = net(3, &Layout::pair(), |_| {});
    net.run_call(2, "shop/check");
    let steps = net.run_call(2, "shop/other").steps;
    let steps: Vec<_> = steps
        .iter()
        .map(|(name, from)| (name.name.as_str(), *from))
        .collect();
    let expected = [
        ("other", Source::Registry),
        ("rms", Source::Local),
        ("fft", Source::Registry),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_preloading_node_has_every_tasklet_before_the_chain_starts() {
    let mut net = net(4, &Layout::pair(), |config| {
        config.acquisition.preload = true
    });
    let call = net.run_call(2, "shop/deep");
    let names: Vec<_> = call
        .steps
        .iter()
        .map(|(name, _)| name.name.to_string())
        .collect();
    let first_local = call
        .steps
        .iter()
        .position(|(_, from)| *from == Source::Local)
        .unwrap();
    assert_eq!(first_local, 6, "{names:?}");
    assert!(
        call.steps[..6]
            .iter()
            .all(|(_, from)| *from == Source::Registry)
    );
    assert!(
        call.steps[7..]
            .iter()
            .all(|(_, from)| *from == Source::Local),
        "{names:?}"
    );
}

#[test]
fn the_paper_s_metadata_request_is_made_when_it_is_asked_for() {
    let mut net = net(5, &Layout::pair(), |config| {
        config.acquisition.discovery = Discovery::Flood;
        config.acquisition.ask_metadata = true;
    });
    net.run_call(2, "shop/check");
    let traffic = net.node(2).counters().traffic(Kind::MetadataRequest);
    assert_eq!(traffic.originated, 3);
}

#[test]
fn a_mesh_with_the_paper_s_profile_says_no_hellos_and_each_job_acquires_for_itself() {
    let mut net = net(5, &Layout::pair(), |config| {
        let mut paper = Config::paper(config.id, 4096);
        paper.role = config.role.clone();
        paper.namespaces = core::mem::take(&mut config.namespaces);
        let around = match config.id.0 {
            1 => vec![0, 2],
            _ => vec![1],
        };
        for id in around {
            paper.topology.neighbours.push(StaticNeighbour {
                id: NodeId(id),
                link: LinkId(0),
                address: LinkAddress(id.into()),
            });
        }
        if config.id != NodeId(1) {
            paper.topology.routes.push(StaticRoute {
                destination: NodeId(2 - config.id.0),
                next: NodeId(1),
                hops: 2,
            });
        }
        *config = paper;
    });
    let calls = [0; 2].map(|_| net.call(2, "shop/rms", &[0x80]).unwrap());
    for call in calls {
        assert_eq!(net.run_until_finished(2, call).result, Ok(vec![0x80]));
    }
    let originated = |kind| {
        let nodes = net.nodes();
        let traffic = nodes.map(|node| node.counters().traffic(kind).originated);
        traffic.sum::<u64>()
    };
    assert_eq!(originated(Kind::Hello), 0);
    assert_eq!(originated(Kind::MetadataRequest), 2);
}

#[test]
fn a_registry_neither_answers_nor_forwards_floods() {
    // The registry stands between two nodes, and holds all that they search for.
    let layout = Layout {
        nodes: [0, 1, 2].map(NodeId).to_vec(),
        links: vec![(NodeId(1), NodeId(0)), (NodeId(0), NodeId(2))],
        registry: NodeId(0),
    };
    let mut net = net(6, &layout, |config| {
        config.acquisition.discovery = Discovery::Flood;
    });
    let end = net.run_call(1, "shop/check");
    assert_eq!(end.result, Ok(vec![0x80]));
    let fallback = net.node(1).counters().acquired;
    assert_eq!((fallback.registry, fallback.neighbour), (3, 0));
    let traffic = |node, kind| net.node(node).counters().traffic(kind);
    let searches = traffic(1, Kind::Search).originated;
    assert!(searches >= 9, "{searches}: near, far, and at the registry");
    assert_eq!(traffic(0, Kind::Search).received, searches);
    assert_eq!(traffic(0, Kind::Found).sent, 3, "when it was asked itself");
    assert_eq!(traffic(0, Kind::Search).sent, 0);
    assert_eq!(traffic(2, Kind::Search).received, 0);
    // Three times the searches' 1.2 s, the question to the registry and the fetch from it.
    assert!(end.took < 5 * SECOND, "{:?}", end.took);
}

#[test]
fn jobs_that_wait_for_tasklets_let_others_run() {
    let mut net = net(7, &Layout::pair(), |_| {});
    let calls: Vec<_> = ["deep", "check", "other"]
        .map(|name| net.call(2, &format!("shop/{name}"), &[0x80]).unwrap())
        .into();
    let ends: Vec<_> = calls
        .iter()
        .map(|call| net.run_until_finished(2, *call))
        .collect();
    assert!(ends.iter().all(|end| end.result.is_ok()));
    assert_eq!(net.node(2).cache().reservations(), 0);
    assert_eq!(net.node(2).jobs(), 0);
}

#[test]
fn jobs_that_want_the_same_tasklet_share_its_transfer() {
    let fetched = |merge| {
        let mut net = net(8, &Layout::pair(), |config| {
            config.acquisition.merge = merge
        });
        let calls = [0; 4].map(|_| net.call(2, "shop/fft", &[0x80]).unwrap());
        for call in calls {
            net.run_until_finished(2, call).result.unwrap();
        }
        net.node(0).counters().traffic(Kind::Data).originated
    };
    assert!(fetched(true) < fetched(false));
}

#[test]
fn att_19_tasklets_that_call_each_other_for_ever_end_at_the_limit() {
    let times = [1000, 1000];
    let ping = Draft::new("ping", TimedExecutor::module(&times, 9), "func()");
    let pong = Draft::new("pong", TimedExecutor::module(&times, 9), "func()");
    let drafts = vec![
        ping.calling("shop/pong", "func()"),
        pong.calling("shop/ping", "func()"),
        algorithm("rms", 110),
    ];
    let shelf = vec![(Publisher::new("shop"), drafts)];
    let mut net = Net::new(9, &Layout::pair(), LinkModel::PAPER, shelf, |_| {}, timed);
    net.run_for(30 * SECOND);
    assert_eq!(net.run_call(2, "shop/ping").result, Err(Fault::TooDeep));
    assert_eq!(net.run_call(2, "shop/rms").result, Ok(vec![0x80]));
    assert_eq!(net.node(2).cache().reservations(), 0);
}

#[test]
fn a_chain_larger_than_the_cache_runs_by_loading_on_demand() {
    let drafts = vec![
        algorithm("a", 700),
        algorithm("b", 700),
        algorithm("c", 700),
        chain("long", &["shop/a", "shop/b", "shop/c", "shop/a"]),
    ];
    let shelf = vec![(Publisher::new("shop"), drafts)];
    let small = |config: &mut Config| config.limits.cache_bytes = 1700;
    let mut net = Net::new(10, &Layout::pair(), LinkModel::PAPER, shelf, small, timed);
    net.run_for(30 * SECOND);
    assert_eq!(net.run_call(2, "shop/long").result, Ok(vec![0x80]));
    assert!(net.node(2).cache().evicted() >= 1);
}

#[test]
fn a_node_lets_another_run_a_tasklet_and_gets_the_result_once_whatever_is_lost() {
    for seed in 10..18 {
        let lossy = LinkModel {
            loss: 0.1,
            duplication: 0.2,
            ..LinkModel::PAPER
        };
        let mut net = Net::new(seed, &Layout::line(3), lossy, shop(), |_| {}, timed);
        net.run_for(60 * SECOND);
        let call = net.call_at(0, 3, "shop/check", &[0x80]).unwrap();
        let end = net.run_until_finished(0, call);
        assert_eq!(end.result, Ok(vec![0x80]), "seed {seed}");
        assert_eq!(net.node(3).counters().calls, 1, "seed {seed}: it ran once");
        assert!(net.fates().lost > 0 && net.fates().doubled > 0);
    }
}

#[test]
fn a_call_to_another_node_fails_there_with_its_reason_and_here_when_nobody_answers() {
    let mut net = net(23, &Layout::line(2), |_| {});
    let unknown = net.call_at(1, 2, "shop/nothing", &[0x80]).unwrap();
    assert_eq!(
        net.run_until_finished(1, unknown).result,
        Err(Fault::UnknownTasklet)
    );
    net.crash(2);
    let dead = net.call_at(1, 2, "shop/rms", &[0x80]).unwrap();
    assert_eq!(
        net.run_until_finished(1, dead).result,
        Err(Fault::Unreachable)
    );
    assert_eq!(net.node(1).jobs(), 0);
}

#[test]
fn wrong_calls_are_refused_by_name_and_the_next_is_served() {
    let mut net = net(11, &Layout::pair(), |_| {});
    assert_eq!(
        net.run_call(2, "elsewhere/rms").result,
        Err(Fault::UnknownNamespace)
    );
    assert_eq!(
        net.run_call(2, "shop/nothing").result,
        Err(Fault::UnknownTasklet)
    );
    assert_eq!(
        net.run_call_with(2, "shop/rms", &[0x81, 1]).result,
        Err(Fault::WrongArguments)
    );
    assert_eq!(
        net.run_call_with(2, "shop/rms", &[0xff]).result,
        Err(Fault::WrongArguments)
    );
    assert!(net.run_call(2, "shop/rms").result.is_ok());
}

#[test]
fn a_tasklet_larger_than_the_cache_is_refused_without_evicting_anything() {
    let mut net = net(12, &Layout::pair(), |config| {
        config.limits.cache_bytes = 1000
    });
    net.run_call(2, "shop/rms");
    assert_eq!(net.run_call(2, "shop/fft").result, Err(Fault::TooLarge));
    assert_eq!(sources(&net.run_call(2, "shop/rms")), [Source::Local]);
}

#[test]
fn a_module_without_times_fails_its_call_only() {
    for module in [vec![0], vec![3, 1]] {
        let empty = Draft {
            module,
            ..algorithm("empty", 110)
        };
        let shelf = vec![(Publisher::new("shop"), vec![empty, algorithm("rms", 110)])];
        let mut net = Net::new(13, &Layout::pair(), LinkModel::PAPER, shelf, |_| {}, timed);
        net.run_for(30 * SECOND);
        let empty = net.run_call(2, "shop/empty").result;
        assert_eq!(empty, Err(Fault::InvalidModule));
        assert!(net.run_call(2, "shop/rms").result.is_ok());
    }
}

#[test]
fn a_callee_with_another_signature_than_expected_fails_the_chain() {
    let wrong = chain("wrong", &[]).calling("shop/rms", "func(u32)");
    let wrong = Draft {
        module: TimedExecutor::module(&[1, 1], 9),
        ..wrong
    };
    let shelf = vec![(Publisher::new("shop"), vec![wrong, algorithm("rms", 110)])];
    let mut net = Net::new(13, &Layout::pair(), LinkModel::PAPER, shelf, |_| {}, timed);
    net.run_for(30 * SECOND);
    assert_eq!(
        net.run_call(2, "shop/wrong").result,
        Err(Fault::WrongSignature)
    );
}

#[test]
fn a_new_version_moves_one_entry_and_one_module() {
    let mut net = net(14, &Layout::pair(), |_| {});
    net.run_call(2, "shop/check");
    let before = *net.node(2).counters();
    net.publish("shop", &[algorithm("rms", 120)]);
    net.run_for(30 * SECOND);
    let steps = net.run_call(2, "shop/check").steps;
    let steps: Vec<_> = steps
        .iter()
        .map(|(name, from)| (name.name.as_str(), *from))
        .collect();
    let expected = [
        ("check", Source::Local),
        ("rms", Source::Registry),
        ("peak", Source::Local),
    ];
    assert_eq!(steps, expected);
    let kind = Kind::Data;
    let moved =
        net.node(2).counters().traffic(kind).received_bytes - before.traffic(kind).received_bytes;
    assert!(
        moved < 120 + 120 + 200,
        "one module of 120 B and one entry, not {moved} B"
    );
}

#[test]
fn a_running_job_keeps_the_versions_of_the_epoch_it_started_with() {
    let mut drafts = shop().remove(0).1;
    // It works for three seconds before its first call.
    let slow = TimedExecutor::module(&[3_000_000, 1], 9);
    drafts.push(Draft::new("slow", slow, "func()").calling("shop/rms", "func()"));
    let shelf = vec![(Publisher::new("shop"), drafts)];
    let mut net = Net::new(15, &Layout::pair(), LinkModel::PAPER, shelf, |_| {}, timed);
    net.run_for(30 * SECOND);
    let old = net
        .node(2)
        .catalogue(nimblenet_tasklet::NamespaceId::of(&"shop".parse().unwrap()));
    let old = old.unwrap().find(&"rms".parse().unwrap()).unwrap().sequence;
    net.run_call(2, "shop/slow");
    let call = net.call(2, "shop/slow", &[0x80]).unwrap();
    net.publish("shop", &[algorithm("rms", 120)]);
    let end = net.run_until_finished(2, call);
    assert_eq!(
        sources(&end),
        [Source::Local; 2],
        "the old version is still in the cache"
    );
    assert_eq!(old, 1);
    let next = net.run_call(2, "shop/slow");
    assert_eq!(sources(&next), [Source::Local, Source::Registry]);
}

#[test]
fn a_catalogue_reaches_a_node_many_hops_from_the_registry() {
    let net = net(16, &Layout::line(8), |_| {});
    let id = nimblenet_tasklet::NamespaceId::of(&"shop".parse().unwrap());
    assert!(
        net.nodes()
            .all(|node| node.catalogue(id).unwrap().epoch() == 1)
    );
}

#[test]
fn a_call_at_once_after_the_start_or_after_a_publication_waits_for_the_catalogue() {
    let std = vec![algorithm("mean", 80)];
    let shop = vec![chain("load", &["std/mean"])];
    let shelves = vec![(Publisher::new("std"), std), (Publisher::new("shop"), shop)];
    let layout = Layout::line(2);
    let mut net = Net::new(24, &layout, LinkModel::PAPER, shelves, |_| {}, timed);
    assert_eq!(
        sources(&net.run_call(2, "shop/load")),
        [Source::Registry; 2]
    );
    assert_eq!(
        net.run_call(2, "std/rms").result,
        Err(Fault::UnknownTasklet)
    );
    net.publish("std", &[algorithm("rms", 110)]);
    net.run_for(Duration::from_millis(1));
    assert_eq!(sources(&net.run_call(2, "std/rms")), [Source::Registry]);
}

#[test]
fn an_unknown_tasklet_is_unknown_although_the_registry_is_down() {
    let mut net = net(25, &Layout::pair(), |_| {});
    net.crash(0);
    assert_eq!(
        net.run_call(2, "shop/nothing").result,
        Err(Fault::UnknownTasklet)
    );
}

#[test]
fn att_28_a_catalogue_by_another_key_is_never_taken_up() {
    let foreign = |config: &mut Config| {
        if let Role::Node = config.role {
            config.namespaces[0].key = [9; 32];
        }
    };
    let mut net = net(17, &Layout::pair(), foreign);
    let call = net.run_call(2, "shop/rms");
    assert_eq!(call.result, Err(Fault::BadSignature));
    assert!(net.node(2).counters().bad_signatures > 0);
}

/// 0 - 1 - 2 - 3, with long frames between 1 and 3 and short ones, as on a serial line, between the
/// registry 0 and node 1.
fn mixed(seed: u64) -> Net {
    let sizes = |config: &mut Config| {
        let mtus: &[u16] = match config.id {
            NodeId(0) => &[256],
            NodeId(1) => &[1200, 256],
            _ => &[1200],
        };
        config.links = mtus.iter().map(|mtu| LinkConfig::new(*mtu)).collect();
    };
    let layout = Layout::line(3);
    let quick = LinkModel::perfect(Duration::from_millis(5));
    let mut net = Net::new(seed, &layout, quick, shop(), sizes, timed);
    net.plug((0, 0), (1, 1));
    net
}

#[test]
fn a_catalogue_comes_from_far_away_over_links_with_shorter_frames_than_one_s_own() {
    let mut net = mixed(30);
    // The route is known, and no node on it holds the catalogue.
    net.cut(0, 1);
    net.run_for(SECOND);
    net.mend(0, 1);
    let end = net.run_call(3, "shop/fft");
    assert_eq!(sources(&end), [Source::Registry]);
    assert!(end.took < 3 * SECOND, "{end:?}");
    for node in net.nodes() {
        let dropped = node.counters().dropped(DropReason::TooLong);
        assert_eq!(dropped, 0, "{node:?}");
    }
}

#[test]
fn a_call_that_is_too_long_for_its_link_is_refused_at_once() {
    let mut net = mixed(31);
    net.run_for(30 * SECOND);
    let args = [&[0x58, 250][..], &[7; 250]].concat();
    let args = [&[0x81][..], &args].concat();
    let refused = net.call_at(1, 0, "shop/rms", &args);
    assert_eq!(refused, Err(Fault::ValuesTooLarge));
    let refused = net.call_at(1, 77, "shop/rms", &[7; 1200]);
    assert_eq!(refused, Err(Fault::ValuesTooLarge), "no link is that long");
    assert_eq!(net.node(1).jobs(), 0);
    let taken = net.call_at(1, 2, "shop/rms", &args).unwrap();
    let end = net.run_until_finished(1, taken);
    assert_eq!(end.result, Err(Fault::WrongArguments), "it got there");
    // If only a link further on has too short frames, the call is lost there.
    let lost = net.call_at(2, 0, "shop/rms", &args).unwrap();
    let end = net.run_until_finished(2, lost);
    assert_eq!(end.result, Err(Fault::Unreachable));
}

#[test]
fn calls_complete_over_links_that_lose_double_and_reorder() {
    for seed in 0..8 {
        let faulty = LinkModel {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(40),
            loss: 0.15,
            duplication: 0.1,
            ..LinkModel::PAPER
        };
        let mut net = Net::new(seed, &Layout::line(3), faulty, shop(), |_| {}, timed);
        net.run_for(60 * SECOND);
        for _ in 0..3 {
            for id in [3, 1, 2] {
                let call = net.run_call(id, "shop/deep");
                assert!(call.result.is_ok(), "seed {seed}: {call:?}");
            }
        }
        let fates = net.fates();
        assert!(
            fates.lost > 0 && fates.doubled > 0 && fates.overtaken > 0,
            "{fates:?}"
        );
        assert!(net.nodes().all(|node| node.cache().reservations() == 0));
    }
}

/// Fetches a large module from a neighbour that goes down in the middle, or does not; what the node has
/// noted, how long the rest took, and how many bytes the registry sent.
fn large_transfer(crashes: bool) -> (Net, Duration, u64) {
    let drafts = vec![algorithm("big", 60_000)];
    let shelf = vec![(Publisher::new("shop"), drafts)];
    let slow = LinkModel {
        // A search among neighbours is answered in time.
        jitter: Duration::from_millis(90),
        ..LinkModel::PAPER
    };
    let large = |config: &mut Config| {
        config.limits.cache_bytes = 100_000;
        config.acquisition.keep_passing = false;
    };
    let mut net = Net::new(18, &Layout::line(3), LinkModel::PAPER, shelf, large, timed);
    net.run_for(30 * SECOND);
    net.run_call(3, "shop/big");
    net.run_for(60 * SECOND);
    net.set_link(2, 3, slow);
    let call = net.call(2, "shop/big", &[0x80]).unwrap();
    let received = |net: &Net| net.node(2).counters().traffic(Kind::Data).received_bytes;
    let before = received(&net);
    let started = |net: &Net| received(net) > before + 4000;
    assert!(net.run_until(60 * SECOND, started));
    let since = net.now();
    if crashes {
        net.crash(3);
    }
    let end = net.run_until_finished(2, call);
    assert_eq!(end.result, Ok(vec![0x80]));
    let kind = Kind::Data;
    let from_registry = net.node(0).counters().traffic(kind).sent_bytes;
    let rest = end.at - since;
    (net, rest, from_registry)
}

#[test]
fn a_transfer_goes_on_from_another_source_at_the_offset_reached_within_four_seconds() {
    let (net, undisturbed, _) = large_transfer(false);
    assert_eq!(net.node(2).counters().resumed_transfers, 0);
    let (net, rest, from_registry) = large_transfer(true);
    assert!(net.fates().dead > 0, "the crash hit the transfer");
    assert_eq!(net.node(2).counters().resumed_transfers, 1);
    assert!(
        from_registry < 60_000 + 40_000,
        "the registry sent only the rest: {from_registry}"
    );
    // The registry is two links away, twice as far as the neighbour.
    let lost = rest.saturating_sub(2 * undisturbed);
    assert!(lost < 4 * SECOND, "{rest:?} instead of {undisturbed:?}");
}

#[test]
fn a_node_that_restarts_is_part_of_the_mesh_again() {
    let mut net = net(19, &Layout::line(3), |_| {});
    net.run_call(3, "shop/check");
    net.crash(2);
    let call = net.run_call(3, "shop/other");
    assert_eq!(call.result, Err(Fault::Unreachable), "node 3 is cut off");
    net.restart(2);
    net.run_for(30 * SECOND);
    assert!(net.run_call(3, "shop/other").result.is_ok());
    assert!(net.run_call(2, "shop/check").result.is_ok());
}

/// Numbers far from those that nodes begin with here: above, half way around, and below.
const FAR: [u32; 4] = [1 << 20, 1 << 31, 3 << 30, u32::MAX - (1 << 20)];

/// A line whose links are as quick as wires.
fn quick_line(seed: u64) -> Net {
    let quick = LinkModel::perfect(Duration::from_millis(5));
    let mut net = Net::new(seed, &Layout::line(3), quick, shop(), |_| {}, timed);
    net.run_for(60 * SECOND);
    net
}

#[test]
fn a_node_that_restarts_with_any_number_gets_tasklets_at_once() {
    for first in FAR {
        let mut net = quick_line(26);
        net.run_call(3, "shop/peak");
        net.run_for(3 * SECOND);
        net.crash(3);
        net.run_for(SECOND);
        net.restart_at(3, first);
        let end = net.run_call(3, "shop/rms");
        assert!(end.result.is_ok(), "{first}: {end:?}");
        assert!(end.took < 2 * SECOND, "{first}: {end:?}");
    }
}

#[test]
fn a_node_that_restarts_with_any_number_is_called_at_once_from_near_and_far() {
    for (first, caller) in FAR.into_iter().flat_map(|first| [(first, 0), (first, 2)]) {
        for pause in [0, 1, 10, 100, 300, 1000] {
            let mut net = quick_line(27);
            let call = net.call_at(caller, 3, "shop/rms", &[0x80]).unwrap();
            net.run_until_finished(caller, call).result.unwrap();
            net.run_for(3 * SECOND);
            net.crash(3);
            net.run_for(SECOND);
            net.restart_at(3, first);
            net.run_for(Duration::from_millis(pause));
            let call = net.call_at(caller, 3, "shop/rms", &[0x80]).unwrap();
            let end = net.run_until_finished(caller, call);
            assert!(end.result.is_ok(), "{first} {pause} {caller}: {end:?}");
            assert!(end.took < 2 * SECOND, "{first} {pause} {caller}: {end:?}");
        }
    }
}

#[test]
fn a_registry_that_restarts_with_any_number_is_found_again_from_far_away() {
    for first in FAR {
        let mut net = net(28, &Layout::line(5), |_| {});
        net.run_call(5, "shop/rms");
        net.crash(0);
        net.run_for(SECOND);
        net.restart_at(0, first);
        net.run_for(SECOND);
        let end = net.run_call(5, "shop/peak");
        assert_eq!(sources(&end), [Source::Registry], "{first}");
        assert!(end.took < 5 * SECOND, "{first}: {end:?}");
        // Its hellos reach every node again, and replace what they knew of it.
        net.run_for(60 * SECOND);
        net.publish("shop", &[algorithm("rms", 120)]);
        net.run_for(20 * SECOND);
        let id = nimblenet_tasklet::NamespaceId::of(&"shop".parse().unwrap());
        assert!(
            net.nodes()
                .all(|node| node.catalogue(id).unwrap().epoch() == 2)
        );
    }
}

#[test]
fn neighbours_of_a_node_that_restarts_say_hello_soon() {
    let mut net = net(29, &Layout::line(2), |_| {});
    net.run_for(60 * SECOND);
    net.crash(2);
    net.run_for(SECOND);
    net.restart_at(2, 1 << 31);
    let kind = Kind::Hello;
    let heard = |net: &Net| net.node(2).counters().traffic(kind).received > 0;
    assert!(net.run_until(Duration::from_millis(600), heard));
    assert!(net.node(2).neighbours().eq([NodeId(1)]));
}

#[test]
fn with_the_registry_down_the_mesh_serves_what_it_holds() {
    let mut net = forgetful(20, &Layout::line(3), |_| {});
    net.run_call(3, "shop/check");
    net.crash(0);
    assert_eq!(sources(&net.run_call(1, "shop/check")), [Source::Global; 3]);
    let call = net.run_call(1, "shop/fft");
    assert_eq!(call.result, Err(Fault::Unreachable));
    net.restart(0);
    net.run_for(10 * SECOND);
    assert!(net.run_call(1, "shop/fft").result.is_ok());
}

#[test]
fn a_cut_link_is_gone_around() {
    let mut net = net(21, &Layout::grid(3, 2), |_| {});
    net.run_call(3, "shop/check");
    net.cut(1, 2);
    net.cut(4, 5);
    assert!(net.run_call(1, "shop/other").result.is_ok());
    assert_eq!(
        net.run_call(3, "shop/fft").result,
        Err(Fault::Unreachable),
        "cut off"
    );
    net.mend(4, 5);
    net.run_for(30 * SECOND);
    assert!(net.run_call(3, "shop/fft").result.is_ok());
}

#[test]
fn att_43_frames_that_are_no_frames_are_counted_and_the_next_call_is_served() {
    let mut net = net(22, &Layout::pair(), |_| {});
    for len in 0..64 {
        net.inject(1, 2, &vec![0x10; len]);
    }
    net.run_for(SECOND);
    let dropped = net.node(2).counters().dropped(DropReason::Malformed);
    assert!(dropped >= 60, "{dropped}");
    assert!(net.run_call(2, "shop/check").result.is_ok());
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |seed| {
        let faulty = LinkModel {
            loss: 0.2,
            ..LinkModel::PAPER
        };
        let mut net = Net::new(seed, &Layout::grid(2, 2), faulty, shop(), |_| {}, timed);
        net.run_for(20 * SECOND);
        let end = net.run_call(4, "shop/deep");
        (
            end,
            net.fates(),
            net.nodes().map(|node| *node.counters()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).1, run(6).1);
}

/// Node 2 of the line 0 - 1 - 2 - 3 starts anew with numbers that go on where they ended, as those of a
/// clock do, so nobody sees a leap. Node 3 knows the registry over node 2 itself.
fn restarted_in_between(seed: u64) -> Net {
    let mut net = quick_line(seed);
    net.run_for(200 * SECOND);
    let next = net.node(2).next_sequence();
    net.crash(2);
    net.run_for(SECOND);
    net.restart_at(2, next + 256);
    net
}

#[test]
fn neighbours_of_a_node_whose_restart_nobody_notices_say_hello_soon() {
    for seed in 0..10 {
        let mut net = restarted_in_between(seed);
        let known = |net: &Net| net.node(2).neighbours().count() == 2;
        assert!(net.run_until(3 * SECOND, known), "seed {seed}");
    }
}

#[test]
fn a_node_that_restarts_does_not_take_its_own_way_from_a_neighbour() {
    for seed in 0..10 {
        let mut net = restarted_in_between(seed);
        // It hears of the registry from node 3 only, whose way leads back here.
        net.cut(1, 2);
        net.run_for(3 * SECOND);
        net.mend(1, 2);
        let call = net.run_call(2, "shop/check");
        assert!(call.result.is_ok(), "seed {seed}: {call:?}");
        assert!(call.took < 2 * SECOND, "seed {seed}: {call:?}");
    }
}
