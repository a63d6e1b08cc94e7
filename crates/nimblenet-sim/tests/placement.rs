//! Where calls run, decided by policies of the tests' own.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::place::{Decision, Facts, Place};
use nimblenet_core::{Config, Placement, Standing};
use nimblenet_sim::scenario::Scenario;
use nimblenet_sim::swarm::Trial;
use nimblenet_sim::trace::Trace;
use nimblenet_sim::{
    Draft, Layout, LinkModel, Net, Publisher, Report, Run, Settings, TimedExecutor,
};
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
        let mut neighbours = facts.neighbours.iter();
        assert!(neighbours.any(|other| other.id == NodeId(NEIGHBOUR)));
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

const SECOND: Duration = Duration::from_secs(1);

/// Nodes 1 to `nodes` in a line behind the registry, which place calls by the work that waits; a call
/// of `work` takes five seconds.
fn pool(seed: u64, nodes: u16, configure: impl Fn(&mut Config)) -> Net {
    let module = TimedExecutor::module(&[5_000_000], LEN);
    let draft = Draft::new("work", module, "func()").costing(5_000_000);
    let shelves = vec![(Publisher::new("shop"), vec![draft])];
    let timed = |_| Box::new(TimedExecutor::default()) as _;
    let configure = |config: &mut Config| {
        config.placement = Placement::LEAST_WORK;
        config.fuel_ms = 1000;
        configure(config);
    };
    let layout = Layout::line(nodes);
    let mut net = Net::new(seed, &layout, LinkModel::PAPER, shelves, configure, timed);
    net.run_for(30 * SECOND);
    net
}

fn counted(net: &Net, count: impl Fn(&nimblenet_core::Counters) -> u64) -> u64 {
    net.nodes().map(|node| count(node.counters())).sum()
}

/// How many calls have run, wherever that was, if all placed ones have ended with a result.
fn ran(net: &Net) -> u64 {
    // Who has placed a call has completed it too.
    counted(net, |it| it.completed) - counted(net, |it| it.placed)
}

#[test]
fn a_hot_spot_is_relieved_by_the_nodes_around_it_and_each_call_runs_once() {
    let time = |placement| {
        let mut net = pool(3, 3, |config| config.placement = placement);
        let begun = net.now();
        let calls: Vec<_> = (0..6)
            .map(|_| {
                net.run_for(SECOND / 10);
                net.call(CALLER, "shop/work", &[0x80]).unwrap()
            })
            .collect();
        for call in calls {
            assert_eq!(net.run_until_finished(CALLER, call).result, Ok(vec![0x80]));
        }
        assert_eq!(ran(&net), 6);
        (net.now() - begun, counted(&net, |it| it.placed))
    };
    let (alone, placed) = time(Placement::HERE);
    assert!(alone >= 30 * SECOND && placed == 0, "{alone:?}");
    let (shared, placed) = time(Placement::LEAST_WORK);
    assert!(
        shared < 13 * SECOND,
        "three nodes share six calls: {shared:?}"
    );
    assert_eq!(placed, 4);
}

#[test]
fn a_call_is_passed_on_to_a_node_that_the_caller_does_not_know_and_answers_it_directly() {
    let mut net = pool(4, 3, |_| {});
    // Node 1 knows node 2 alone; node 3 is idle.
    let calls: Vec<_> = (0..6)
        .map(|_| net.call(NEIGHBOUR, "shop/work", &[0x80]).unwrap())
        .collect();
    let begun = net.now();
    for call in calls {
        assert_eq!(
            net.run_until_finished(NEIGHBOUR, call).result,
            Ok(vec![0x80])
        );
    }
    assert!(
        net.node(2).counters().passed > 0,
        "node 2 has passed calls on"
    );
    assert!(net.node(3).counters().completed > 0, "node 3 has run some");
    assert_eq!(ran(&net), 6);
    assert!(net.now() - begun < 16 * SECOND);
}

#[test]
fn a_node_without_room_refuses_a_placed_call_and_the_caller_runs_it() {
    let full = |config: &mut Config| {
        if config.id == NodeId(NEIGHBOUR) {
            config.limits.jobs = 1;
        }
    };
    let mut net = pool(5, 2, full);
    let own = net.call(NEIGHBOUR, "shop/work", &[0x80]).unwrap();
    // Node 2 has not heard of that yet, and is busy itself.
    let calls: Vec<_> = (0..3)
        .map(|_| net.call(CALLER, "shop/work", &[0x80]).unwrap())
        .collect();
    assert!(net.node(CALLER).counters().placed > 0);
    for call in calls {
        assert_eq!(net.run_until_finished(CALLER, call).result, Ok(vec![0x80]));
    }
    assert_eq!(
        net.run_until_finished(NEIGHBOUR, own).result,
        Ok(vec![0x80])
    );
    assert_eq!(
        net.node(NEIGHBOUR).counters().completed,
        1,
        "it ran its own"
    );
}

#[test]
fn placed_and_passed_calls_run_once_although_half_of_all_frames_are_lost() {
    for seed in 10..20 {
        let mut net = pool(seed, 3, |_| {});
        let mut lossy = LinkModel::PAPER;
        lossy.loss = 0.5;
        for (a, b) in [(1, 2), (2, 3)] {
            net.set_link(a, b, lossy);
        }
        let calls: Vec<_> = (0..6)
            .map(|_| net.call(NEIGHBOUR, "shop/work", &[0x80]).unwrap())
            .collect();
        let before = net.fates();
        let mut good = 0;
        for call in calls {
            match net.run_until_finished(NEIGHBOUR, call).result {
                Ok(result) => {
                    assert_eq!(result, [0x80]);
                    good += 1;
                }
                // Whether it has run is not known then.
                Err(fault) => assert_eq!(fault, nimblenet_tasklet::Fault::Unreachable),
            }
        }
        assert!(net.fates().lost > before.lost, "frames were lost");
        net.run_for(120 * SECOND);
        // What node 1 took once may have run once, wherever that was.
        let others = net.node(2).counters().completed + net.node(3).counters().completed;
        let placed = net.node(1).counters().placed;
        assert!(others <= placed, "seed {seed}: {others} of {placed} ran");
        assert!(good >= 2, "seed {seed}: those that ran here at least");
    }
}

/// The node that is slow or says what is not so: one in the middle of the floor.
const STRANGE: u16 = 6;

/// A quarter of an hour of the paper's floor; nothing was tuned to this seed.
fn stretch() -> Scenario {
    Scenario {
        duration_s: 900.0,
        ..Scenario::default()
    }
}

/// Runs a scenario with one executor a node.
fn contended(scenario: &Scenario, faults: &str, placement: &'static Placement) -> Report {
    report(scenario, Some(1), faults, placement)
}

fn report(
    scenario: &Scenario,
    executors: Option<u16>,
    faults: &str,
    placement: &'static Placement,
) -> Report {
    let seed = 31;
    let mut scenario = scenario.clone();
    scenario.nodes.executors = executors;
    let trace: Trace = scenario.trace(seed);
    let mut settings = Settings {
        seed,
        placement: Some(placement),
        ..Settings::default()
    };
    scenario.settle(&mut settings);
    let mut run = Run::new(&trace, settings);
    run.befall(&Trial::read(faults).unwrap()).unwrap();
    run.advance(Duration::from_secs_f64(scenario.duration_s));
    run.report()
}

/// The mean response to the clients of all nodes but the strange one, in seconds.
fn others_s(report: &Report) -> f64 {
    let nodes = report.responses_by_node.iter();
    let others = nodes.filter(|(id, _)| **id != STRANGE);
    let (time, count) = others.fold((0.0, 0), |(time, count), (_, own)| {
        (
            time + own.mean_s * own.finished as f64,
            count + own.finished,
        )
    });
    time / count as f64
}

/// The mean response as a multiple of that of a perfect pool.
fn over_pool(report: &Report) -> f64 {
    report.mean_response_s.unwrap() / report.perfect_pool_mean_s.unwrap()
}

fn fault(kind: &str) -> String {
    format!("[[fault]]\nat_s = 0.0\nnode = {STRANGE}\n{kind}\n")
}

#[test]
fn a_mesh_with_one_executor_a_node_is_almost_as_fast_as_one_pool_of_executors() {
    let placed = contended(&stretch(), "", Placement::LEAST_WORK);
    assert!(over_pool(&placed) <= 1.25, "{}", over_pool(&placed));
    assert!(placed.p99_response_s.unwrap() <= 15.0);
    assert_eq!(placed.failed, 0);
    let bytes = placed.placement_bytes / placed.finished_by_end;
    assert!(bytes <= 180, "{bytes} B of placement a call");
    let uncontended = report(&stretch(), None, "", Placement::LEAST_WORK);
    let air = placed.air_bytes as f64 / uncontended.air_bytes as f64;
    assert!(air <= 1.5, "{air}");
    let loads = placed.tx_bytes.values().chain(placed.rx_bytes.values());
    let all: u64 = loads.sum();
    let first = placed.tx_bytes[&1] + placed.rx_bytes[&1];
    assert!(first * 100 <= 13 * all, "node 1: {first} of {all}");
}

#[test]
fn every_policy_that_places_calls_relieves_hot_spots() {
    let here = over_pool(&contended(&stretch(), "", Placement::HERE));
    for placement in Placement::ALL {
        let over = over_pool(&contended(&stretch(), "", placement));
        let places = placement.policy.needs_facts();
        assert!(
            !places || over < here / 2.0,
            "{placement:?}: {over}, {here}"
        );
    }
}

#[test]
fn a_node_that_lies_about_its_load_hardly_harms_the_others() {
    let honest = others_s(&contended(&stretch(), "", Placement::LEAST_WORK));
    for says in ["idle", "full", "random", "half"] {
        let faults = fault(&format!("kind = 'misreport'\nsays = '{says}'"));
        let lied = contended(&stretch(), &faults, Placement::LEAST_WORK);
        let ratio = others_s(&lied) / honest;
        assert!(ratio <= 1.1, "{says}: {ratio}");
        assert_eq!(lied.failed, 0, "{says}");
    }
}

#[test]
fn the_neighbours_of_a_slow_node_run_what_it_would_keep_waiting() {
    let slow = fault("kind = 'slow'\nspeed = 0.25");
    let placed = contended(&stretch(), &slow, Placement::LEAST_WORK);
    let honest = contended(&stretch(), "", Placement::LEAST_WORK);
    assert_eq!(placed.failed, 0);
    let ratio = others_s(&placed) / others_s(&honest);
    assert!(ratio <= 1.1, "{ratio}");
    // A chain takes a mean of five seconds elsewhere, and four times as long there.
    let own = placed.responses_by_node[&STRANGE].mean_s;
    assert!(own < 15.0, "{own}");
}

#[test]
fn declared_costs_that_are_five_times_wrong_are_corrected_by_what_nodes_see() {
    let mut wrong = stretch();
    wrong.tasks.cost_error = 5.0;
    let wrong = contended(&wrong, "", Placement::LEAST_WORK);
    let right = contended(&stretch(), "", Placement::LEAST_WORK);
    assert_ne!(wrong.event_log_hash, right.event_log_hash);
    let ratio = over_pool(&wrong) / over_pool(&right);
    assert!(ratio <= 1.1, "{ratio}");
}

#[test]
fn lost_frames_and_nodes_that_come_and_go_cost_time_and_only_calls_of_those_nodes() {
    let mut lossy = stretch();
    lossy.link.loss = 0.05;
    let lossy = contended(&lossy, "", Placement::LEAST_WORK);
    assert!(over_pool(&lossy) <= 1.4, "{}", over_pool(&lossy));
    assert!(lossy.failed * 1000 <= lossy.triggered, "{}", lossy.failed);
    let gone = "[[fault]]\nat_s = 300.0\nfor_s = 200.0\nkind = 'crash'\nnode = 6\nkeeps = true\n";
    let gone = contended(&stretch(), gone, Placement::LEAST_WORK);
    let alone: u64 = gone.failures.get("node-down").copied().unwrap_or(0);
    assert!(alone > 0, "robots met a node that was down");
    // Who does not hear of a call's end does not know whether it has run.
    assert!(gone.failed - alone <= 8, "{:?}", gone.failures);
    assert!(over_pool(&gone) <= 1.4, "{}", over_pool(&gone));
}
