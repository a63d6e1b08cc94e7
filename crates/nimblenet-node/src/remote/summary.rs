//! What nodes and registries list, as their clients read it.

use alloc::collections::BTreeMap;
use core::time::Duration;

use minicbor::Decoder;
use minicbor::data::Type;
use nimblenet_tasklet::api::{
    change, epoch, flow, flows, history, item, job, line, module, namespace, operator, status,
    trigger, triggers,
};
use nimblenet_tasklet::{Name, NodeId, Place, TaskletName};

use super::publishing::History;
use crate::key::PublicKey;
use crate::store::{Change, EpochSummary};

/// A namespace as a registry lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamespaceSummary {
    /// Its name.
    pub name: Name,
    /// Its epoch.
    pub epoch: u32,
    /// Its entries.
    pub entries: u16,
    /// The key that it belongs to, as the registry says.
    pub key: Option<PublicKey>,
    /// The epoch of each node that has told the registry in the last hour; none if this is
    /// the list of a node.
    pub nodes: Option<Vec<(NodeId, u32)>>,
}

/// The status of a node or registry.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StatusSummary {
    /// Its numbers, by their keys.
    pub numbers: BTreeMap<String, u64>,
    /// Why a registry takes no publications, if it takes none.
    pub degraded: Option<String>,
    /// Whether a node gives its jobs away and takes no new ones.
    pub draining: bool,
    /// All that it says: the document `status` (spec/api.md, section 3).
    pub document: Vec<u8>,
}

/// A call in progress as a node lists it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct JobSummary {
    /// Its number at that node.
    pub call: u32,
    /// Its tasklet, if the node knows.
    pub tasklet: Option<TaskletName>,
    /// How it stands: `waiting`, `running`, `moving` or `remote`.
    pub state: String,
    /// The other node that runs it.
    pub at: Option<NodeId>,
    /// The other node that it runs for.
    pub caller: Option<NodeId>,
    /// The number of the client that has made it there, if it gave one.
    pub client: Option<u32>,
    /// The client's number for it, if it gave one.
    pub number: Option<u32>,
    /// How urgent it is, if a client has made it there: `low`, `normal` or `high`.
    pub priority: Option<String>,
    /// Tasklets on its stack.
    pub depth: u64,
    /// The time since the call.
    pub age: Duration,
    /// The time until its deadline, if it has one.
    pub left: Option<Duration>,
}

/// A line of a node's log: what a tasklet has written, or why it failed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LineSummary {
    /// Its number; lines are numbered from 1 since the node's start.
    pub number: u64,
    /// The time from the node's start to it.
    pub at: Duration,
    /// The tasklet's full name.
    pub tasklet: String,
    /// The call that it was written in, if the node knows.
    pub call: Option<u32>,
    /// Where in its module the tasklet failed, if it did.
    pub place: Option<Place>,
    /// What it says.
    pub text: String,
}

impl LineSummary {
    /// Reads a list of lines, as `/logs` and the answer to a call have it; nothing if it is not one.
    pub fn read_all(decoder: &mut Decoder<'_>) -> Option<Vec<Self>> {
        read_lines(decoder)
    }

    /// The same with the name of the function where the tasklet failed, if `name` knows it, instead
    /// of the function's index.
    #[must_use]
    pub fn named<'n>(mut self, name: impl FnOnce(&TaskletName, u32) -> Option<&'n str>) -> Self {
        let tasklet = TaskletName::new(&self.tasklet).ok();
        if let (Some(place), Some(tasklet)) = (self.place, tasklet)
            && let Some(name) = name(&tasklet, place.function())
        {
            self.text = named(&self.text, place, name);
        }
        self
    }
}

/// A sentence that says where a module failed, with the function's name instead of its index.
pub(super) fn named(sentence: &str, place: Place, name: &str) -> String {
    let named = format!("in {name} at offset {:#x}", place.offset());
    sentence.replace(&place.to_string(), &named)
}

/// What a node has seen of its clients and of the mesh.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TriggerList {
    /// The node's id.
    pub node: NodeId,
    /// The time from the node's start to its answer.
    pub now: Duration,
    /// The nodes in direct reach of it.
    pub neighbours: Vec<NodeId>,
    /// The registry of its first namespace.
    pub registry: Option<NodeId>,
    /// Ended calls of its clients, by their numbers.
    pub triggers: Vec<TriggerSummary>,
}

/// A call that a client has made and that has ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TriggerSummary {
    /// Its number; triggers are numbered from 1 since the node's start, as they end.
    pub number: u64,
    /// The time from the node's start to the call.
    pub at: Duration,
    /// The tasklet's full name.
    pub tasklet: String,
    /// The client's number, if it gave one.
    pub client: Option<u32>,
    /// The time from the call to its end.
    pub took: Duration,
    /// The part of that in which it waited for tasklets that the node lacked.
    pub waited: Duration,
    /// The code of the fault, if it failed.
    pub code: Option<String>,
}

/// The flows of a node, and what its operators have done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowList {
    /// The node's id.
    pub node: NodeId,
    /// Flows that begin or end at it, by name.
    pub flows: Vec<FlowSummary>,
    /// What its operators have done lately.
    pub operators: Vec<OperatorSummary>,
}

/// A flow at one of its sources, or at its sink.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FlowSummary {
    /// Its name.
    pub name: String,
    /// Its number in frames, by which operators name it.
    pub id: u32,
    /// The node that its items are for.
    pub sink: u16,
    /// At a source: items taken since it began.
    pub taken: Option<u32>,
    /// At a source: items that were not taken.
    pub refused: Option<u32>,
    /// At a source: items that the sink has.
    pub arrived: Option<u32>,
    /// At a source: items that were sent again.
    pub repeated: Option<u32>,
    /// At a source: whether the sink has said that it does not take the flow.
    pub unwanted: bool,
    /// At the sink: items that have arrived.
    pub items: Option<u32>,
    /// At the sink: items that it had no room to work on, which their sources send again.
    pub dropped: Option<u32>,
}

/// What an operator has done at a node for one source of a flow.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OperatorSummary {
    /// The flow's number in frames.
    pub flow: u32,
    /// The source of its items.
    pub source: u16,
    /// `map`, `filter`, `window` or `accumulate`.
    pub kind: String,
    /// Its tasklet's full name.
    pub tasklet: String,
    /// Items that came in.
    pub items_in: u64,
    /// Bytes of the frames that they have, or would have.
    pub bytes_in: u64,
    /// Items that went on.
    pub items_out: u64,
    /// Bytes of the frames that they have, or would have.
    pub bytes_out: u64,
    /// Bytes of frames that links on the way to the sink did not carry.
    pub saved: i64,
}

/// An item at the sink of its flow.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ItemSummary {
    /// Its number; items are numbered from 1 since the node takes the flow.
    pub number: u64,
    /// The time from the node's start to its arrival.
    pub at: Duration,
    /// The node that it comes from.
    pub source: u16,
    /// The first item of that source that it covers.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// Its value in CBOR, if no operator has failed.
    pub value: Option<Vec<u8>>,
    /// The code of the fault, if an operator has failed.
    pub code: Option<String>,
}

/// A module in a node's cache as it lists it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ModuleSummary {
    /// Its tasklet's full name.
    pub tasklet: String,
    /// Its version.
    pub version: u16,
    /// Its length in bytes.
    pub bytes: u32,
    /// Uses since it came.
    pub uses: u32,
    /// Whether a call needs it.
    pub pinned: bool,
    /// Whether an executor has it loaded.
    pub loaded: bool,
}

pub(super) fn read_namespaces(payload: &[u8]) -> Option<Vec<NamespaceSummary>> {
    let mut decoder = Decoder::new(payload);
    let count = decoder.map().ok()??;
    let mut namespaces = Vec::new();
    for _ in 0..count {
        let mut summary = NamespaceSummary {
            name: Name::new(decoder.str().ok()?).ok()?,
            epoch: 0,
            entries: 0,
            key: None,
            nodes: None,
        };
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                namespace::EPOCH => summary.epoch = decoder.u32().ok()?,
                namespace::ENTRIES => summary.entries = decoder.u16().ok()?,
                namespace::KEY => summary.key = Some(decoder.str().ok()?.parse().ok()?),
                namespace::NODES => {
                    let mut nodes = Vec::new();
                    for _ in 0..decoder.map().ok()?? {
                        nodes.push((NodeId(decoder.u16().ok()?), decoder.u32().ok()?));
                    }
                    summary.nodes = Some(nodes);
                }
                _ => decoder.skip().ok()?,
            }
        }
        namespaces.push(summary);
    }
    Some(namespaces)
}

pub(super) fn read_history(payload: &[u8]) -> Option<History> {
    let mut decoder = Decoder::new(payload);
    let mut read = History {
        epochs: Vec::new(),
        nodes: Vec::new(),
    };
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            history::EPOCHS => {
                for _ in 0..decoder.array().ok()?? {
                    read.epochs.push(read_epoch(&mut decoder)?);
                }
            }
            history::NODES => {
                for _ in 0..decoder.map().ok()?? {
                    let node = NodeId(decoder.u16().ok()?);
                    read.nodes.push((node, decoder.u32().ok()?));
                }
            }
            _ => decoder.skip().ok()?,
        }
    }
    Some(read)
}

fn read_epoch(decoder: &mut Decoder<'_>) -> Option<EpochSummary> {
    let (mut number, mut changes) = (None, Vec::new());
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            epoch::EPOCH => number = Some(decoder.u32().ok()?),
            epoch::CHANGES => {
                for _ in 0..decoder.array().ok()?? {
                    changes.push(read_change(decoder)?);
                }
            }
            _ => decoder.skip().ok()?,
        }
    }
    Some(EpochSummary {
        epoch: number?,
        changes,
    })
}

fn read_change(decoder: &mut Decoder<'_>) -> Option<Change> {
    let (mut name, mut version, mut withdrawn) = (None, None, false);
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            change::NAME => name = Some(Name::new(decoder.str().ok()?).ok()?),
            change::VERSION => version = Some(decoder.u16().ok()?),
            change::WITHDRAWN => withdrawn = decoder.bool().ok()?,
            _ => decoder.skip().ok()?,
        }
    }
    Some(Change {
        name: name?,
        version: version?,
        withdrawn,
    })
}

pub(super) fn read_cache(payload: &[u8]) -> Option<Vec<ModuleSummary>> {
    let mut decoder = Decoder::new(payload);
    let count = decoder.array().ok()??;
    let mut modules = Vec::new();
    for _ in 0..count {
        let mut summary = ModuleSummary::default();
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                module::TASKLET => summary.tasklet = decoder.str().ok()?.to_owned(),
                module::VERSION => summary.version = decoder.u16().ok()?,
                module::BYTES => summary.bytes = decoder.u32().ok()?,
                module::USES => summary.uses = decoder.u32().ok()?,
                module::PINNED => summary.pinned = decoder.bool().ok()?,
                module::LOADED => summary.loaded = decoder.bool().ok()?,
                _ => decoder.skip().ok()?,
            }
        }
        modules.push(summary);
    }
    Some(modules)
}

pub(super) fn read_jobs(payload: &[u8]) -> Option<Vec<JobSummary>> {
    let mut decoder = Decoder::new(payload);
    let count = decoder.array().ok()??;
    let mut jobs = Vec::new();
    for _ in 0..count {
        let mut job = JobSummary::default();
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                job::CALL => job.call = decoder.u32().ok()?,
                job::TASKLET => job.tasklet = Some(TaskletName::new(decoder.str().ok()?).ok()?),
                job::STATE => job.state = decoder.str().ok()?.to_owned(),
                job::AT => job.at = Some(NodeId(decoder.u16().ok()?)),
                job::FOR => job.caller = Some(NodeId(decoder.u16().ok()?)),
                job::CLIENT => job.client = Some(decoder.u32().ok()?),
                job::NUMBER => job.number = Some(decoder.u32().ok()?),
                job::PRIORITY => job.priority = Some(decoder.str().ok()?.to_owned()),
                job::DEPTH => job.depth = decoder.u64().ok()?,
                job::AGE_MS => job.age = Duration::from_millis(decoder.u64().ok()?),
                job::LEFT_MS => job.left = Some(Duration::from_millis(decoder.u64().ok()?)),
                _ => decoder.skip().ok()?,
            }
        }
        jobs.push(job);
    }
    Some(jobs)
}

pub(super) fn read_lines(decoder: &mut Decoder<'_>) -> Option<Vec<LineSummary>> {
    let count = decoder.array().ok()??;
    let mut lines = Vec::new();
    for _ in 0..count {
        let mut summary = LineSummary::default();
        let (mut function, mut offset) = (None, None);
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                line::NUMBER => summary.number = decoder.u64().ok()?,
                line::AT_MS => summary.at = Duration::from_millis(decoder.u64().ok()?),
                line::TASKLET => summary.tasklet = decoder.str().ok()?.to_owned(),
                line::CALL => summary.call = Some(decoder.u32().ok()?),
                line::FUNCTION => function = Some(decoder.u32().ok()?),
                line::OFFSET => offset = Some(decoder.u32().ok()?),
                line::TEXT => summary.text = decoder.str().ok()?.to_owned(),
                _ => decoder.skip().ok()?,
            }
        }
        let place = function.zip(offset);
        summary.place = place.and_then(|(function, offset)| Place::new(function, offset));
        lines.push(summary);
    }
    Some(lines)
}

pub(super) fn read_triggers(payload: &[u8]) -> Option<TriggerList> {
    let mut decoder = Decoder::new(payload);
    let mut list = TriggerList {
        node: NodeId::EVERYONE,
        now: Duration::ZERO,
        neighbours: Vec::new(),
        registry: None,
        triggers: Vec::new(),
    };
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            triggers::NODE => list.node = NodeId(decoder.u16().ok()?),
            triggers::NOW_US => list.now = Duration::from_micros(decoder.u64().ok()?),
            triggers::NEIGHBOURS => {
                for _ in 0..decoder.array().ok()?? {
                    list.neighbours.push(NodeId(decoder.u16().ok()?));
                }
            }
            triggers::REGISTRY => list.registry = Some(NodeId(decoder.u16().ok()?)),
            triggers::TRIGGERS => {
                for _ in 0..decoder.array().ok()?? {
                    list.triggers.push(read_trigger(&mut decoder)?);
                }
            }
            _ => decoder.skip().ok()?,
        }
    }
    Some(list)
}

fn read_trigger(decoder: &mut Decoder<'_>) -> Option<TriggerSummary> {
    let mut summary = TriggerSummary::default();
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            trigger::NUMBER => summary.number = decoder.u64().ok()?,
            trigger::AT_US => summary.at = Duration::from_micros(decoder.u64().ok()?),
            trigger::TASKLET => summary.tasklet = decoder.str().ok()?.to_owned(),
            trigger::CLIENT => summary.client = Some(decoder.u32().ok()?),
            trigger::TOOK_US => summary.took = Duration::from_micros(decoder.u64().ok()?),
            trigger::WAITED_US => summary.waited = Duration::from_micros(decoder.u64().ok()?),
            trigger::CODE => summary.code = Some(decoder.str().ok()?.to_owned()),
            _ => decoder.skip().ok()?,
        }
    }
    Some(summary)
}

pub(super) fn read_flows(payload: &[u8]) -> Option<FlowList> {
    let mut decoder = Decoder::new(payload);
    let mut list = FlowList {
        node: NodeId::EVERYONE,
        flows: Vec::new(),
        operators: Vec::new(),
    };
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            flows::NODE => list.node = NodeId(decoder.u16().ok()?),
            flows::FLOWS => {
                for _ in 0..decoder.array().ok()?? {
                    list.flows.push(read_flow(&mut decoder)?);
                }
            }
            flows::OPERATORS => {
                for _ in 0..decoder.array().ok()?? {
                    list.operators.push(read_operator(&mut decoder)?);
                }
            }
            _ => decoder.skip().ok()?,
        }
    }
    Some(list)
}

fn read_flow(decoder: &mut Decoder<'_>) -> Option<FlowSummary> {
    let mut summary = FlowSummary::default();
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            flow::NAME => summary.name = decoder.str().ok()?.to_owned(),
            flow::ID => summary.id = decoder.u32().ok()?,
            flow::SINK => summary.sink = decoder.u16().ok()?,
            flow::TAKEN => summary.taken = Some(decoder.u32().ok()?),
            flow::REFUSED => summary.refused = Some(decoder.u32().ok()?),
            flow::ARRIVED => summary.arrived = Some(decoder.u32().ok()?),
            flow::REPEATED => summary.repeated = Some(decoder.u32().ok()?),
            flow::UNWANTED => summary.unwanted = decoder.bool().ok()?,
            flow::ITEMS => summary.items = Some(decoder.u32().ok()?),
            flow::DROPPED => summary.dropped = Some(decoder.u32().ok()?),
            _ => decoder.skip().ok()?,
        }
    }
    Some(summary)
}

fn read_operator(decoder: &mut Decoder<'_>) -> Option<OperatorSummary> {
    let mut summary = OperatorSummary::default();
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            operator::FLOW => summary.flow = decoder.u32().ok()?,
            operator::SOURCE => summary.source = decoder.u16().ok()?,
            operator::KIND => summary.kind = decoder.str().ok()?.to_owned(),
            operator::TASKLET => summary.tasklet = decoder.str().ok()?.to_owned(),
            operator::ITEMS_IN => summary.items_in = decoder.u64().ok()?,
            operator::BYTES_IN => summary.bytes_in = decoder.u64().ok()?,
            operator::ITEMS_OUT => summary.items_out = decoder.u64().ok()?,
            operator::BYTES_OUT => summary.bytes_out = decoder.u64().ok()?,
            operator::SAVED => summary.saved = decoder.i64().ok()?,
            _ => decoder.skip().ok()?,
        }
    }
    Some(summary)
}

pub(super) fn read_items(payload: &[u8]) -> Option<Vec<ItemSummary>> {
    let mut decoder = Decoder::new(payload);
    let mut items = Vec::new();
    for _ in 0..decoder.array().ok()?? {
        let mut summary = ItemSummary::default();
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                item::NUMBER => summary.number = decoder.u64().ok()?,
                item::AT_MS => summary.at = Duration::from_millis(decoder.u64().ok()?),
                item::SOURCE => summary.source = decoder.u16().ok()?,
                item::FIRST => summary.first = decoder.u32().ok()?,
                item::LAST => summary.last = decoder.u32().ok()?,
                item::VALUE => {
                    let begin = decoder.position();
                    decoder.skip().ok()?;
                    summary.value = Some(payload.get(begin..decoder.position())?.to_vec());
                }
                item::CODE => summary.code = Some(decoder.str().ok()?.to_owned()),
                _ => decoder.skip().ok()?,
            }
        }
        items.push(summary);
    }
    Some(items)
}

pub(super) fn read_status(payload: Vec<u8>) -> Option<StatusSummary> {
    let mut decoder = Decoder::new(&payload);
    let (mut numbers, mut degraded, mut draining) = (BTreeMap::new(), None, false);
    for _ in 0..decoder.map().ok()?? {
        let key = decoder.str().ok()?;
        match (key, decoder.datatype().ok()?) {
            (_, Type::U8 | Type::U16 | Type::U32 | Type::U64) => {
                numbers.insert(key.to_owned(), decoder.u64().ok()?);
            }
            (status::DEGRADED, Type::String) => degraded = Some(decoder.str().ok()?.to_owned()),
            (status::DRAINING, Type::Bool) => draining = decoder.bool().ok()?,
            _ => decoder.skip().ok()?,
        }
    }
    Some(StatusSummary {
        numbers,
        degraded,
        draining,
        document: payload,
    })
}
