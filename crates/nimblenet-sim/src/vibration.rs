//! Vibrations of eleven nodes: each sends samples to one gateway, and an operator makes one number of a
//! window of them, near the source or at the gateway.

use core::time::Duration;

use nimblenet_core::wire::Kind;
use nimblenet_core::{Feed, FlowError, FlowId, FlowPlan, Instant, Node, StageKind, StagePlan};
use nimblenet_tasklet::{Fault, NodeId, Package, TaskletName};
use serde::Serialize;

use crate::executor::SimExecutor;
use crate::interpreted::{Device, WasmExecutor};
use crate::layout::Layout;
use crate::link::LinkModel;
use crate::publisher::{Draft, Publisher};
use crate::story::Net;

/// The sink; the registry is beside it.
pub const GATEWAY: u16 = 1;
/// The sources.
pub const SOURCES: core::ops::RangeInclusive<u16> = 2..=12;
/// Items that make one number.
pub const WINDOW: u16 = 8;
/// Samples of an item.
pub const SAMPLES: u32 = 16;
/// The nodes beside the gateway, over which all items go.
const BESIDE: [u16; 2] = [2, 5];
/// How many items a source keeps.
const ROOM: usize = 64;
/// How long the catalogues have to come to all nodes.
const BEGINNING: Duration = Duration::from_secs(30);
/// The time from item to item of a source.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the last items have to arrive.
const END: Duration = Duration::from_secs(600);
/// Memory of an executor.
const ARENA_BYTES: usize = 1 << 18;
/// What an executor does in a second.
const FUEL_PER_MS: u64 = 100_000;

/// Where the operator may run.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// At the first node on the way that can: the source.
    Source,
    /// The same, but of the sources only those beside the gateway run modules.
    Between,
    /// At the sink alone.
    Sink,
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What links do at random follows from it.
    pub seed: u64,
    /// Items that each source gives, one a second.
    pub items: u32,
    /// The share of frames that each link loses.
    pub loss: f64,
}

/// An item at the gateway: the items of the source that it covers, and what it is.
pub type Covered = ((u32, u32), Result<Vec<u8>, Fault>);

/// What has come of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Where the operator might run.
    pub place: Site,
    /// Items that all sources have taken.
    pub items: u32,
    /// What has arrived at the gateway, of each source in the order of their ids.
    #[serde(skip)]
    pub results: Vec<Vec<Covered>>,
    /// Bytes of all frames that nodes have sent since the flow began, the module's included.
    pub air_bytes: u64,
    /// Bytes of frames of flows among them.
    pub flow_bytes: u64,
    /// Bytes that operators say that they have saved.
    pub saved_bytes: i64,
    /// Items that were sent again.
    pub repeated: u32,
    /// The nodes that have applied the operator.
    pub operators: Vec<u16>,
}

impl Outcome {
    /// How many numbers have arrived.
    pub fn arrived(&self) -> usize {
        self.results.iter().map(Vec::len).sum()
    }

    /// Whether what has arrived of each source is what has arrived in the other run, as far as both have come.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let mut pairs = self.results.iter().zip(&other.results);
        pairs.all(|(own, others)| own.iter().zip(others).all(|(own, other)| own == other))
    }
}

/// The tasklet of a package, for a [`Publisher`].
///
/// # Panics
/// If the package has no export `run`.
pub fn draft(package: &Package<'_>) -> Draft {
    let run = package.terms.export("").expect("every package has `run`");
    let signature = run.signature.to_string();
    let name = package.name.name.as_str();
    let mut draft = Draft::new(name, package.module.to_vec(), &signature);
    draft.memory_bytes = package.terms.memory_bytes;
    draft.area = package.terms.area;
    draft
}

/// Sixteen samples of a vibration at a node: a saw tooth whose height and step depend on the node.
pub fn samples(node: u16, item: u32) -> Vec<u8> {
    let samples = (0..SAMPLES).flat_map(|sample| {
        let step = (item * SAMPLES + sample) * (7 + u32::from(node)) % 41;
        let value = (step as f32 - 20.0) * f32::from(node);
        [&[0xfa][..], &value.to_be_bytes()].concat()
    });
    [0x80 | SAMPLES as u8].into_iter().chain(samples).collect()
}

/// The runs with the operator at each place: at the source, between, at the sink.
///
/// # Panics
/// As [`run`].
pub fn compare(package: &Package<'_>, settings: &Settings) -> [Outcome; 3] {
    let places = [Site::Source, Site::Between, Site::Sink];
    places.map(|place| run(package, settings, place))
}

/// Lets all sources give their items to a window that runs the tasklet of `package` at `place`.
///
/// # Panics
/// If a node refuses the flow until ten minutes after its last item was due.
pub fn run(package: &Package<'_>, settings: &Settings, place: Site) -> Outcome {
    let mut net = net(package, settings);
    if place == Site::Between {
        let cannot = SOURCES.filter(|id| !BESIDE.contains(id));
        cannot.for_each(|id| net.take_interpreter(id));
    }
    let operators = [StagePlan {
        kind: StageKind::Window,
        count: WINDOW,
        tasklet: package.name,
    }];
    let plan = FlowPlan {
        name: "vibration".parse().expect("a name"),
        sink: NodeId(GATEWAY),
        feed: Feed::Given,
        stages: &operators,
        at_sink: place == Site::Sink,
        room: ROOM,
    };
    let flow = FlowId::of(&plan.name);
    let (before, _) = sent(&net);
    let end = net.now() + PERIOD * settings.items + END;
    for id in SOURCES {
        begin(&mut net, id, &plan, end);
    }
    let mut refused = 0;
    for item in 0..settings.items {
        for id in SOURCES {
            refused += u32::from(!give(&mut net, id, flow, &samples(id, item), end));
            net.run_for(PERIOD / 16);
        }
        net.run_for(PERIOD / 16 * 5);
    }
    let last = settings.items - settings.items % u32::from(WINDOW);
    let has_all = |net: &Net| {
        let mut flows = net.nodes().flat_map(Node::flows);
        flows.all(|flow| flow.arrived >= last)
    };
    while !has_all(&net) && net.now() < end {
        net.run_for(PERIOD);
    }
    let (after, flow_bytes) = sent(&net);
    let results = SOURCES.map(|id| {
        let of = net.arrivals().iter().filter(|it| it.source == NodeId(id));
        of.map(|it| (it.range, it.result.clone())).collect()
    });
    let operators = |node: &Node| node.operators().map(|it| it.saved).collect::<Vec<_>>();
    let applies = net.nodes().filter(|node| node.operators().next().is_some());
    Outcome {
        seed: settings.seed,
        place,
        items: settings.items * SOURCES.count() as u32 - refused,
        results: results.collect(),
        air_bytes: after - before,
        flow_bytes,
        saved_bytes: net.nodes().flat_map(operators).sum(),
        repeated: net
            .nodes()
            .flat_map(Node::flows)
            .map(|it| it.repeated)
            .sum(),
        operators: applies.map(|node| node.id().0).collect(),
    }
}

/// Begins the flow at a source as soon as that has heard of the tasklet.
fn begin(net: &mut Net, id: u16, plan: &FlowPlan<'_>, end: Instant) {
    loop {
        match net.begin_flow(id, plan) {
            Ok(_) => return,
            Err(FlowError::Tasklet(..)) if net.now() < end => net.run_for(PERIOD),
            Err(error) => panic!("node {id} takes no flow: {}", error.code()),
        }
    }
}

/// Gives an item as soon as the node takes it; false if it does not until the end.
fn give(net: &mut Net, id: u16, flow: FlowId, item: &[u8], end: Instant) -> bool {
    loop {
        match net.give(id, flow, item) {
            Ok(_) => return true,
            Err(_) if net.now() < end => net.run_for(PERIOD),
            Err(_) => return false,
        }
    }
}

fn net(package: &Package<'_>, settings: &Settings) -> Net {
    let TaskletName { namespace, .. } = package.name;
    let shelf = vec![(Publisher::new(namespace.as_str()), vec![draft(package)])];
    let model = LinkModel {
        loss: settings.loss,
        ..LinkModel::PAPER
    };
    let executor = |_| -> Box<dyn SimExecutor> {
        let device = Device::default();
        Box::new(WasmExecutor::new(ARENA_BYTES, FUEL_PER_MS, device))
    };
    let layout = Layout::grid(4, 3);
    let mut net = Net::new(settings.seed, &layout, model, shelf, |_| {}, executor);
    net.run_for(BEGINNING);
    net
}

/// Bytes of all frames that nodes have sent, and those of flows.
fn sent(net: &Net) -> (u64, u64) {
    let all = net.nodes().map(|node| node.counters().sent_bytes()).sum();
    let of_flows = net
        .nodes()
        .map(|node| node.counters().traffic(Kind::Flow).sent_bytes);
    (all, of_flows.sum())
}
