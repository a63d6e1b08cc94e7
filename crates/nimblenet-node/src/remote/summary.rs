//! What nodes and registries list, as their clients read it.

use alloc::collections::BTreeMap;
use core::time::Duration;

use minicbor::Decoder;
use minicbor::data::Type;
use nimblenet_tasklet::api::{job, line, module, namespace};
use nimblenet_tasklet::{Name, NodeId, TaskletName};

use crate::key::PublicKey;

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
    /// Tasklets on its stack.
    pub depth: u64,
    /// The time since the call.
    pub age: Duration,
    /// The time until its deadline, if it has one.
    pub left: Option<Duration>,
}

/// A line that a tasklet has written to a node's log.
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
    /// What it says.
    pub text: String,
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
        };
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                namespace::EPOCH => summary.epoch = decoder.u32().ok()?,
                namespace::ENTRIES => summary.entries = decoder.u16().ok()?,
                namespace::KEY => summary.key = Some(decoder.str().ok()?.parse().ok()?),
                _ => decoder.skip().ok()?,
            }
        }
        namespaces.push(summary);
    }
    Some(namespaces)
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

pub(super) fn read_lines(payload: &[u8]) -> Option<Vec<LineSummary>> {
    let mut decoder = Decoder::new(payload);
    let count = decoder.array().ok()??;
    let mut lines = Vec::new();
    for _ in 0..count {
        let mut summary = LineSummary::default();
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                line::NUMBER => summary.number = decoder.u64().ok()?,
                line::AT_MS => summary.at = Duration::from_millis(decoder.u64().ok()?),
                line::TASKLET => summary.tasklet = decoder.str().ok()?.to_owned(),
                line::CALL => summary.call = Some(decoder.u32().ok()?),
                line::TEXT => summary.text = decoder.str().ok()?.to_owned(),
                _ => decoder.skip().ok()?,
            }
        }
        lines.push(summary);
    }
    Some(lines)
}

/// What a document has under keys whose values are numbers.
pub(super) fn read_numbers(payload: &[u8]) -> Option<BTreeMap<String, u64>> {
    let mut decoder = Decoder::new(payload);
    let mut numbers = BTreeMap::new();
    for _ in 0..decoder.map().ok()?? {
        let key = decoder.str().ok()?;
        let value = decoder.datatype().ok()?;
        if matches!(value, Type::U8 | Type::U16 | Type::U32 | Type::U64) {
            numbers.insert(key.to_owned(), decoder.u64().ok()?);
        } else {
            decoder.skip().ok()?;
        }
    }
    Some(numbers)
}
