//! Flows: operators on items between nodes give what the sink would have made of them, and save what
//! they save.
#![allow(clippy::unwrap_used)]

use core::cell::RefCell;
use core::time::Duration;

use nimblenet_core::wire::Kind;
use nimblenet_core::{
    Config, Feed, FlowError, FlowId, FlowPlan, OperatorStatus, Role, StageKind, StagePlan,
};
use nimblenet_sim::vibration::{self, Covered, GATEWAY, Settings, samples};
use nimblenet_sim::{
    Arrival, Device, Draft, Layout, LinkModel, Net, Publisher, SimExecutor, WasmExecutor,
};
use nimblenet_tasklet::{Area, Fault, NodeId, Package};

const SECOND: Duration = Duration::from_secs(1);

/// Whether a number is odd.
const ODD: &str = r#"(module (func (export "run") (param i32) (result i32)
    (i32.and (local.get 0) (i32.const 1))))"#;

/// A number times three; of 13 it has none.
const TRIPLE: &str = r#"(module (func (export "run") (param i32) (result i32)
    (if (i32.eq (local.get 0) (i32.const 13)) (then unreachable))
    (i32.mul (local.get 0) (i32.const 3))))"#;

/// The sum of a sum and a number.
const ADD: &str = r#"(module (func (export "run") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))"#;

/// The sum of a list of floats.
const SUM: &str = include_str!("modules/sum.wat");

/// The root mean square that the project ships.
fn rms() -> Package<'static> {
    let file = include_bytes!("../../../tasklets/packed/std-rms.nnp");
    Package::decode(file).unwrap()
}

fn draft(name: &str, wat: &str, signature: &str) -> Draft {
    Draft::new(name, wat::parse_str(wat).unwrap(), signature)
}

/// Nodes with two namespaces. In one are `rms`, `sum` and `add`, in the other `odd`, `triple` and
/// `sense`, which is native and gives 7.
fn net(seed: u64, layout: &Layout, model: LinkModel, configure: impl Fn(&mut Config)) -> Net {
    let mut sum = draft("sum", &SUM.replace("f32", "i32"), "func(list<s32>) -> s32");
    sum.memory_bytes = 65536;
    sum.area = Area {
        offset: 1024,
        len: 512,
    };
    let std = vec![
        vibration::draft(&rms()),
        sum,
        draft("add", ADD, "func(s32, s32) -> s32"),
    ];
    let shop = vec![
        draft("odd", ODD, "func(s32) -> bool"),
        draft("triple", TRIPLE, "func(s32) -> s32"),
        Draft::new("sense", Vec::new(), "func() -> s32").native(),
    ];
    let shelves = vec![(Publisher::new("std"), std), (Publisher::new("shop"), shop)];
    let executor = |_: NodeId| -> Box<dyn SimExecutor> {
        let device = Device::default().with("shop/sense", &[0x81, 7]);
        Box::new(WasmExecutor::new(1 << 18, 100_000, device))
    };
    let mut net = Net::new(seed, layout, model, shelves, configure, executor);
    net.run_for(30 * SECOND);
    net
}

fn stage(kind: StageKind, count: u16, tasklet: &str) -> StagePlan {
    let tasklet = tasklet.parse().unwrap();
    StagePlan {
        kind,
        count,
        tasklet,
    }
}

fn plan<'a>(name: &str, stages: &'a [StagePlan], at_sink: bool) -> FlowPlan<'a> {
    FlowPlan {
        name: name.parse().unwrap(),
        sink: NodeId(GATEWAY),
        feed: Feed::Given,
        stages,
        at_sink,
        room: 64,
    }
}

/// A number in CBOR.
fn number(value: u32) -> Vec<u8> {
    match u8::try_from(value) {
        Ok(value @ 0..24) => vec![value],
        Ok(value) => vec![0x18, value],
        Err(_) => [&[0x19][..], &(value as u16).to_be_bytes()].concat(),
    }
}

/// What arrived of a flow from a node, without the time.
fn results(net: &Net, source: u16, flow: FlowId) -> Vec<Covered> {
    let of = |it: &&Arrival| it.source == NodeId(source) && it.flow == flow;
    let arrivals = net.arrivals().iter().filter(of);
    arrivals.map(|it| (it.range, it.result.clone())).collect()
}

/// Bytes of all frames that nodes have sent, and those of flows.
fn air(net: &Net) -> (u64, u64) {
    let sent = net.nodes().map(|node| node.counters().sent_bytes()).sum();
    let of_flows = net
        .nodes()
        .map(|node| node.counters().traffic(Kind::Flow).sent_bytes)
        .sum();
    (sent, of_flows)
}

/// What operators have done at each node.
fn operators(net: &Net) -> Vec<(u16, OperatorStatus)> {
    let nodes = net.nodes();
    let of = nodes.flat_map(|node| node.operators().map(|it| (node.id().0, it)));
    of.collect()
}

/// Lets the node give `count` items, one each `pause`.
fn feed(
    net: &mut Net,
    id: u16,
    flow: FlowId,
    items: impl Iterator<Item = Vec<u8>>,
    pause: Duration,
) {
    for item in items {
        net.give(id, flow, &item).unwrap();
        net.run_for(pause);
    }
}

#[test]
fn a_window_of_samples_is_one_number_at_the_sink() {
    let mut net = net(1, &Layout::line(3), LinkModel::PAPER, |_| {});
    let stages = [stage(StageKind::Window, 4, "std/rms")];
    let flow = net
        .begin_flow(3, &plan("vibration", &stages, false))
        .unwrap();
    feed(&mut net, 3, flow, (0..8).map(|at| samples(3, at)), SECOND);
    net.run_for(20 * SECOND);
    let ranges: Vec<_> = results(&net, 3, flow)
        .into_iter()
        .map(|(range, result)| (range, result.is_ok()))
        .collect();
    assert_eq!(ranges, [((0, 3), true), ((4, 7), true)]);
    let flow = net.node(3).flows().next().unwrap();
    assert_eq!((flow.taken, flow.arrived, flow.repeated), (8, 8, 0));
    let at: Vec<_> = operators(&net).iter().map(|(id, _)| *id).collect();
    assert_eq!(at, [3], "the source is the first node on the way");
}

/// The bytes of frames of flows that these nodes have sent, and what has arrived, of a line whose source
/// runs no modules.
fn behind(seed: u64, at_sink: bool, nodes: &[u16]) -> (u64, Vec<Covered>, Vec<u16>) {
    let mut net = net(seed, &Layout::line(4), LinkModel::PAPER, |_| {});
    net.take_interpreter(4);
    let stages = [stage(StageKind::Window, 8, "std/rms")];
    let plan = plan("vibration", &stages, at_sink);
    let flow = net.begin_flow(4, &plan).unwrap();
    feed(&mut net, 4, flow, (0..64).map(|at| samples(4, at)), SECOND);
    net.run_for(20 * SECOND);
    let sent = |id: &u16| net.node(*id).counters().traffic(Kind::Flow).sent_bytes;
    let bytes = nodes.iter().map(sent).sum();
    let at = operators(&net).into_iter().map(|(id, _)| id).collect();
    (bytes, results(&net, 4, flow), at)
}

#[test]
fn where_only_a_node_in_between_can_run_it_links_behind_that_carry_a_fifth_at_most() {
    for seed in [24, 25, 26] {
        // What they send the other way is part of it.
        let beyond = [3, 2, 1];
        let (few, near, at) = behind(seed, false, &beyond);
        let (many, far, at_sink) = behind(seed, true, &beyond);
        assert_eq!(near, far, "seed {seed}");
        assert_eq!(near.len(), 8, "seed {seed}");
        assert_eq!((&at[..], &at_sink[..]), (&[3][..], &[1][..]), "seed {seed}");
        println!("seed {seed}: {few} of {many} bytes of flows behind node 3");
        assert!(few * 5 <= many, "seed {seed}: {few} of {many}");
    }
}

#[test]
fn vibrations_of_eleven_nodes_take_a_fifth_of_the_bytes_at_most() {
    for seed in [3, 4, 21, 22, 23] {
        let (items, loss) = (64, 0.0);
        let settings = Settings { seed, items, loss };
        let [near, between, far] = vibration::compare(&rms(), &settings);
        assert_eq!(near.results, far.results, "seed {seed}");
        assert_eq!(between.results, far.results, "seed {seed}");
        for results in &near.results {
            assert_eq!(results.len(), 8, "seed {seed}");
            assert!(results.iter().all(|(_, result)| result.is_ok()));
        }
        println!(
            "seed {seed}: {} of {} bytes on air, {} of {} of flows, {} saved; between {} and {}",
            near.air_bytes,
            far.air_bytes,
            near.flow_bytes,
            far.flow_bytes,
            near.saved_bytes,
            between.air_bytes,
            between.saved_bytes
        );
        assert!(near.air_bytes * 5 <= far.air_bytes, "seed {seed}");
        // What operators say is what was saved, but for what sinks tell when sources send again and, if the
        // operator is further on, what links before it carry again: over three of them at most.
        let again = i64::from(between.repeated) * 130 * 3;
        for (run, again) in [(&near, 0), (&between, again)] {
            let saved = far.flow_bytes as i64 - run.flow_bytes as i64;
            let wrong = (run.saved_bytes - saved).abs();
            let place = run.place;
            let most = saved / 100 + again;
            assert!(wrong <= most, "seed {seed}, {place:?}: {wrong} of {saved}");
        }
        assert!(near.repeated > 0, "seed {seed}: items came again");
        assert_eq!(between.operators, [2, 5], "seed {seed}");
        assert_eq!((&far.operators[..], far.saved_bytes), (&[GATEWAY][..], 0));
    }
}

/// The sums of the odd numbers in each block of `block` of the first `count`, as items of the sink; none
/// for blocks without any.
fn odd_sums(count: u32, block: u32) -> Vec<Covered> {
    let blocks = (0..count / block).map(|at| {
        let range = (at * block, at * block + block - 1);
        let odd = (range.0..=range.1).filter(|number| number % 2 == 1);
        (range, Ok(number(odd.sum())))
    });
    blocks.collect()
}

#[test]
fn a_flow_has_operators_of_two_registries() {
    let archive = RefCell::new(None);
    let configure = |config: &mut Config| {
        if let (NodeId(0), Role::Registry(own)) = (config.id, &config.role) {
            *archive.borrow_mut() = Some(own.clone());
        }
        if config.id == NodeId(4) {
            config.role = Role::Registry(archive.borrow_mut().take().unwrap());
        }
        for namespace in &mut config.namespaces {
            if namespace.name.as_str() == "shop" {
                namespace.registry = NodeId(4);
            }
        }
    };
    let mut net = net(5, &Layout::line(4), LinkModel::PAPER, configure);
    let stages = [
        stage(StageKind::Filter, 1, "shop/odd"),
        stage(StageKind::Accumulate, 6, "std/add"),
    ];
    let flow = net.begin_flow(3, &plan("odd", &stages, false)).unwrap();
    feed(&mut net, 3, flow, (0..18).map(number), SECOND);
    net.run_for(20 * SECOND);
    assert_eq!(results(&net, 3, flow), odd_sums(18, 6));
    let operators = operators(&net);
    let at: Vec<_> = operators
        .iter()
        .map(|(id, it)| (*id, it.tasklet.to_string(), it.items_out))
        .collect();
    assert_eq!(
        at,
        [(3, "shop/odd".into(), 9), (3, "std/add".into(), 3)],
        "what was dropped is told with what passes after it"
    );
    let served = |id: u16| net.node(id).counters().traffic(Kind::Data).originated;
    assert!(
        served(0) > 0 && served(4) > 0,
        "both registries have served"
    );
}

#[test]
fn a_filter_tells_of_what_it_drops_so_seldom_that_it_saves() {
    let run = |at_sink| {
        let mut net = net(6, &Layout::line(4), LinkModel::PAPER, |_| {});
        let stages = [stage(StageKind::Filter, 1, "shop/odd")];
        let flow = net.begin_flow(4, &plan("odd", &stages, at_sink)).unwrap();
        // Of two hundred four pass.
        let numbers = (0..200).map(|at| number(2 * at + u32::from(at % 50 == 7)));
        feed(&mut net, 4, flow, numbers, SECOND / 10);
        net.run_for(30 * SECOND);
        let values: Vec<_> = results(&net, 4, flow)
            .into_iter()
            .map(|(range, result)| (range.1, result))
            .collect();
        assert_eq!(net.node(4).flows().next().unwrap().arrived, 200);
        (values, air(&net).1)
    };
    let ((near, few), (far, many)) = (run(false), run(true));
    let expected = [7, 57, 107, 157].map(|at| (at, Ok(number(2 * at + 1))));
    assert_eq!((&near[..], &far[..]), (&expected[..], &expected[..]));
    println!("{few} of {many} bytes of flows");
    assert!(few * 5 <= many, "{few} of {many}");
}

#[test]
fn an_item_whose_operator_fails_arrives_as_failed_and_those_after_it_as_ever() {
    let mut net = net(7, &Layout::line(3), LinkModel::PAPER, |_| {});
    let stages = [stage(StageKind::Map, 1, "shop/triple")];
    let flow = net.begin_flow(3, &plan("triple", &stages, false)).unwrap();
    feed(&mut net, 3, flow, (11..16).map(number), SECOND);
    net.run_for(10 * SECOND);
    let values: Vec<_> = results(&net, 3, flow)
        .into_iter()
        .map(|(_, result)| result)
        .collect();
    let expected = [
        Ok(number(33)),
        Ok(number(36)),
        Err(Fault::Trapped),
        Ok(number(42)),
        Ok(number(45)),
    ];
    assert_eq!(values, expected);
}

/// A flow from node 4 of a square to the gateway at the opposite corner, over node 2 or 3; node 4 cannot run
/// operators, nor can the gateway's side in time.
fn square(seed: u64, stages: &[StagePlan], model: LinkModel) -> (Net, FlowId) {
    let mut net = net(seed, &Layout::grid(2, 2), model, |_| {});
    net.take_interpreter(4);
    let flow = net.begin_flow(4, &plan("square", stages, false)).unwrap();
    (net, flow)
}

/// What the operators at nodes 2 and 3 of a square have had come in.
fn inputs(net: &Net) -> [u64; 2] {
    let operators = operators(net);
    [2, 3].map(|id| {
        let own = operators.iter().filter(|(at, _)| *at == id);
        own.map(|(_, it)| it.items_in).sum()
    })
}

/// Lets node 4 of a square give the numbers before 14, and says which node the last of them went over.
fn over(net: &mut Net, flow: FlowId) -> u16 {
    feed(net, 4, flow, (0..10).map(number), SECOND);
    let before = inputs(net);
    feed(net, 4, flow, (10..14).map(number), SECOND);
    match (inputs(net)[0] > before[0], inputs(net)[1] > before[1]) {
        (true, false) => 2,
        (false, true) => 3,
        both => panic!("items go over one node: {both:?}"),
    }
}

#[test]
fn a_window_is_built_anew_where_the_route_goes_after_a_change() {
    for seed in [8, 9, 27, 28] {
        let stages = [
            stage(StageKind::Filter, 1, "shop/odd"),
            stage(StageKind::Window, 6, "std/sum"),
        ];
        let (mut net, flow) = square(seed, &stages, LinkModel::PAPER);
        let at = over(&mut net, flow);
        let of = |inputs: [u64; 2], node: u16| inputs[usize::from(node) - 2];
        let before = inputs(&net);
        net.cut(4, at);
        feed(&mut net, 4, flow, (14..30).map(number), SECOND);
        net.run_for(120 * SECOND);
        assert_eq!(results(&net, 4, flow), odd_sums(30, 6), "seed {seed}");
        let (after, other) = (inputs(&net), 5 - at);
        // Both operators work there from then on: the filter has had all items, the window what it left.
        assert_eq!(of(after, at), of(before, at), "seed {seed}: nothing more");
        let more = of(after, other) - of(before, other);
        assert!(more >= 16 + 8, "seed {seed}: {more} at node {other}");
    }
}

#[test]
fn a_crash_of_the_operator_s_node_loses_and_doubles_nothing() {
    for seed in [10, 11] {
        let stages = [
            stage(StageKind::Filter, 1, "shop/odd"),
            stage(StageKind::Accumulate, 6, "std/add"),
        ];
        let (mut net, flow) = square(seed, &stages, LinkModel::PAPER);
        let at = over(&mut net, flow);
        net.crash(at);
        feed(&mut net, 4, flow, (14..30).map(number), SECOND);
        net.run_for(300 * SECOND);
        assert_eq!(results(&net, 4, flow), odd_sums(30, 6), "seed {seed}");
        let status = net.node(4).flows().next().unwrap();
        assert!(status.repeated > 0, "seed {seed}: what was lost came again");
    }
}

#[test]
fn a_sink_without_room_for_an_operator_counts_what_it_drops() {
    let narrow = |config: &mut Config| {
        if config.id == NodeId(GATEWAY) {
            config.limits.flow_items = 15;
        }
    };
    let mut net = net(29, &Layout::line(2), LinkModel::PAPER, narrow);
    let stages = [stage(StageKind::Window, 8, "std/sum")];
    let flow = net.begin_flow(2, &plan("sum", &stages, true)).unwrap();
    feed(&mut net, 2, flow, (0..8).map(number), SECOND);
    net.run_for(60 * SECOND);
    assert_eq!(results(&net, 2, flow), []);
    let repeated = net.node(2).flows().next().unwrap().repeated;
    let sink = net.node(GATEWAY).taken_flows().next().unwrap();
    assert_eq!((sink.flow, sink.items), (flow, 0));
    assert_eq!(sink.dropped, 8 + repeated, "each time that each has come");
    assert!(repeated > 0);
}

#[test]
fn with_every_tenth_frame_lost_the_sink_gets_the_same() {
    let lossy = LinkModel {
        loss: 0.1,
        ..LinkModel::PAPER
    };
    for seed in [12, 13, 14] {
        for (kind, tasklet) in [
            (StageKind::Window, "std/sum"),
            (StageKind::Accumulate, "std/add"),
        ] {
            let stages = [
                stage(StageKind::Filter, 1, "shop/odd"),
                stage(kind, 6, tasklet),
            ];
            let (mut net, flow) = square(seed, &stages, lossy);
            feed(&mut net, 4, flow, (0..60).map(number), SECOND);
            net.run_for(300 * SECOND);
            assert_eq!(results(&net, 4, flow), odd_sums(60, 6), "seed {seed}");
            assert!(net.fates().lost > 0);
            assert_eq!(net.node(4).kept_items(), 0, "seed {seed}");
        }
    }
}

#[test]
fn a_source_keeps_what_a_sink_that_is_down_lacks_and_refuses_more() {
    let mut net = net(15, &Layout::line(3), LinkModel::PAPER, |_| {});
    let stages = [stage(StageKind::Window, 4, "std/sum")];
    let plan = FlowPlan {
        room: 8,
        ..plan("sum", &stages, false)
    };
    let flow = net.begin_flow(3, &plan).unwrap();
    feed(&mut net, 3, flow, (0..4).map(number), SECOND);
    net.run_for(5 * SECOND);
    net.crash(GATEWAY);
    feed(&mut net, 3, flow, (4..12).map(number), SECOND);
    assert_eq!(net.give(3, flow, &number(12)), Err(FlowError::Full));
    net.restart(GATEWAY);
    net.take_flow(GATEWAY, flow).unwrap();
    net.run_for(200 * SECOND);
    let sums: Vec<_> = results(&net, 3, flow);
    let expected = [((0, 3), 6), ((4, 7), 22), ((8, 11), 38)];
    assert_eq!(sums, expected.map(|(range, sum)| (range, Ok(number(sum)))));
    let status = net.node(3).flows().next().unwrap();
    assert_eq!((status.taken, status.refused, status.arrived), (12, 1, 12));
    assert!(net.give(3, flow, &number(12)).is_ok());
}

#[test]
fn a_source_that_starts_again_is_not_taken_for_the_one_before() {
    let mut net = net(16, &Layout::line(3), LinkModel::PAPER, |_| {});
    let stages = [stage(StageKind::Window, 4, "std/sum")];
    let plan = plan("sum", &stages, true);
    let flow = net.begin_flow(3, &plan).unwrap();
    feed(&mut net, 3, flow, (0..6).map(number), SECOND);
    net.crash(3);
    net.restart(3);
    net.run_for(60 * SECOND);
    net.begin_flow(3, &plan).unwrap();
    feed(&mut net, 3, flow, (10..14).map(number), SECOND);
    net.run_for(20 * SECOND);
    let expected = [((0, 3), 6), ((0, 3), 46)];
    let expected = expected.map(|(range, sum)| (range, Ok(number(sum))));
    assert_eq!(results(&net, 3, flow), expected);
}

#[test]
fn a_source_reads_its_own_device_in_each_period() {
    let mut net = net(17, &Layout::line(3), LinkModel::PAPER, |_| {});
    let stages = [stage(StageKind::Map, 1, "shop/triple")];
    let feed = Feed::Every {
        period: 2 * SECOND,
        tasklet: "shop/sense".parse().unwrap(),
    };
    let plan = FlowPlan {
        feed,
        ..plan("sensed", &stages, false)
    };
    let flow = net.begin_flow(3, &plan).unwrap();
    net.run_for(21 * SECOND);
    let results = results(&net, 3, flow);
    assert!((9..=11).contains(&results.len()), "{}", results.len());
    assert!(results.iter().all(|(_, result)| *result == Ok(number(21))));
}

#[test]
fn a_block_of_which_the_sink_knows_no_operator_fails_as_a_whole() {
    let without = |config: &mut Config| {
        if config.id == NodeId(3) {
            config.namespaces.retain(|it| it.name.as_str() != "std");
        }
    };
    let mut net = net(32, &Layout::line(3), LinkModel::PAPER, without);
    let stages = [
        stage(StageKind::Map, 1, "shop/triple"),
        stage(StageKind::Window, 4, "std/sum"),
    ];
    let plan = FlowPlan {
        sink: NodeId(3),
        ..plan("sum", &stages, true)
    };
    let flow = net.begin_flow(GATEWAY, &plan).unwrap();
    feed(&mut net, GATEWAY, flow, (0..9).map(number), SECOND);
    net.run_for(20 * SECOND);
    let failed = |range| (range, Err(Fault::UnknownNamespace));
    assert_eq!(
        results(&net, GATEWAY, flow),
        [failed((0, 3)), failed((4, 7))]
    );
    let status = net.node(GATEWAY).flows().next().unwrap();
    assert_eq!(status.arrived, 8);
}

/// Feeds five items to a window of four, ends the flow at both ends, and says what node `at` keeps then: items
/// and operators before, after, and once everybody has forgotten.
fn left_over(seed: u64, at_sink: bool, at: u16) -> [(usize, usize); 3] {
    let mut net = net(seed, &Layout::line(3), LinkModel::PAPER, |_| {});
    net.take_interpreter(3);
    let stages = [stage(StageKind::Window, 4, "std/sum")];
    let flow = net.begin_flow(3, &plan("sum", &stages, at_sink)).unwrap();
    feed(&mut net, 3, flow, (0..5).map(number), SECOND);
    let keeps = |net: &Net| {
        let node = net.node(at);
        (node.kept_items(), node.operators().count())
    };
    let before = keeps(&net);
    for id in [3, GATEWAY] {
        net.end_flow(id, flow).unwrap();
    }
    let after = keeps(&net);
    net.run_for(901 * SECOND);
    [before, after, keeps(&net)]
}

#[test]
fn a_flow_that_has_ended_leaves_nothing_at_its_sink_and_for_a_while_what_it_needs_on_its_way() {
    for seed in [30, 31] {
        assert_eq!(left_over(seed, true, GATEWAY), [(1, 1), (0, 0), (0, 0)]);
        assert_eq!(left_over(seed, false, 2), [(1, 1), (1, 1), (0, 0)]);
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let mut net = net(18, &Layout::line(2), LinkModel::PAPER, |_| {});
    let five = [stage(StageKind::Map, 1, "shop/triple"); 5];
    let missing = [stage(StageKind::Map, 1, "shop/none")];
    let foreign = [stage(StageKind::Map, 1, "other/none")];
    let long = [stage(StageKind::Window, 33, "std/sum")];
    let counted = [stage(StageKind::Filter, 2, "shop/odd")];
    let [two, no_verdict, no_list, no_state] = [
        (StageKind::Map, 1, "std/add"),
        (StageKind::Filter, 1, "shop/triple"),
        (StageKind::Window, 2, "shop/triple"),
        (StageKind::Accumulate, 2, "std/sum"),
    ]
    .map(|(kind, count, tasklet)| [stage(kind, count, tasklet)]);
    let refused = |name: &str, fault| FlowError::Tasklet(name.parse().unwrap(), fault);
    for (stages, error) in [
        (&five[..], FlowError::TooManyStages),
        (&missing, refused("shop/none", Fault::UnknownTasklet)),
        (&foreign, refused("other/none", Fault::UnknownNamespace)),
        (&long, FlowError::BadCount),
        (&counted, FlowError::BadCount),
        (&two, refused("std/add", Fault::WrongSignature)),
        (&no_verdict, refused("shop/triple", Fault::WrongSignature)),
        (&no_list, refused("shop/triple", Fault::WrongSignature)),
        (&no_state, refused("std/sum", Fault::WrongSignature)),
    ] {
        assert_eq!(net.begin_flow(2, &plan("bad", stages, false)), Err(error));
    }
    let flow = net.begin_flow(2, &plan("good", &[], false)).unwrap();
    let long: Vec<u8> = [&[0x79, 1, 0][..], &[b'a'; 256]].concat();
    assert_eq!(net.give(2, flow, &long), Err(FlowError::TooLong));
    assert_eq!(net.give(2, flow, &[1, 2]), Err(FlowError::NotAValue));
    assert_eq!(net.give(2, FlowId(7), &[1]), Err(FlowError::UnknownFlow));
    // Its sink starts again and does not take it any more.
    feed(&mut net, 2, flow, (0..2).map(number), SECOND);
    net.crash(GATEWAY);
    net.restart(GATEWAY);
    net.run_for(30 * SECOND);
    feed(&mut net, 2, flow, (2..4).map(number), SECOND);
    net.run_for(10 * SECOND);
    let status = net.node(2).flows().next().unwrap();
    assert_eq!(
        (status.taken, status.arrived, status.unwanted),
        (4, 2, true)
    );
}
