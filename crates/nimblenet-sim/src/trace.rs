//! Traces: a recorded hour, which every run replays (`nimblenet-trace/1`).
//!
//! A trace has everything that the nodes do not decide: where nodes stand, which of them hear each
//! other, the task set, when a robot is in contact with which node, and when it triggers which
//! chain. Scenarios make traces, and so does whoever records a real floor.

pub mod recording;

use std::collections::{BTreeMap, BTreeSet};

use core::fmt;
use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;
use serde::{Deserialize, Serialize};

/// The shortest module, in bytes: there is room for the times of a chain.
pub const MODULE_BYTES_MIN: u32 = 50;
/// The longest module, in bytes.
pub const MODULE_BYTES_MAX: u32 = 60_000;
/// The longest run or segment, in seconds.
pub const RUN_S_MAX: f64 = 4000.0;
/// The longest trace, in seconds.
pub const DURATION_S_MAX: f64 = 1e7;
/// The most tasklets that a chain calls.
pub const CALLS_MAX: usize = 12;

/// The format's name.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Schema {
    /// This format.
    #[default]
    #[serde(rename = "nimblenet-trace/1")]
    Trace1,
}

/// A recorded hour.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// The format.
    pub schema: Schema,
    /// The seed that it was made with.
    pub seed: u64,
    /// The floor.
    pub floor: FloorPlan,
    /// How long it lasts.
    pub duration_s: f64,
    /// How many robots there are.
    pub robots: u32,
    /// The nodes of the mesh.
    pub nodes: Vec<NodePlace>,
    /// The registry.
    pub registry: RegistryPlace,
    /// Pairs of nodes that hear each other, without the registry's.
    pub links: Vec<(u16, u16)>,
    /// The tasklets.
    pub taskset: TaskSet,
    /// The chains of each robot.
    pub robot_chains: Vec<Vec<u32>>,
    /// When a robot is in contact with a node, by the time at which that begins.
    pub contacts: Vec<Contact>,
    /// What the robots trigger, by time.
    pub triggers: Vec<Trigger>,
}

/// The grid that nodes stand on.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FloorPlan {
    /// Nodes in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// Metres between neighbours.
    pub spacing_m: f64,
    /// The greatest distance between a robot and its node, in metres.
    pub radius_m: f64,
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlace {
    /// Its id.
    pub id: u16,
    /// Metres along the rows.
    pub x_m: f64,
    /// Metres along the columns.
    pub y_m: f64,
}

/// Where the registry is attached.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryPlace {
    /// Its id.
    pub id: u16,
    /// The only node that it hears.
    pub attached_to: u16,
}

/// Chains, and the algorithms that they call.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSet {
    /// The algorithms; each has its place in the list as its id.
    pub algorithms: Vec<Algorithm>,
    /// The chains; each has its place in the list as its id.
    pub chains: Vec<Chain>,
}

/// An algorithm: a tasklet that calls no other.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Algorithm {
    /// Its id.
    pub id: u32,
    /// The length of its module.
    pub size_bytes: u32,
    /// How long it runs.
    pub run_s: f64,
}

/// A chain: a tasklet that calls algorithms one after the other.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Its id.
    pub id: u32,
    /// The length of its module.
    pub size_bytes: u32,
    /// How long it runs before, between and after its calls: one more than the calls.
    pub segments_s: Vec<f64>,
    /// The ids of the algorithms that it calls.
    pub calls: Vec<u32>,
}

/// A robot in contact with a node.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// When it begins.
    pub from_s: f64,
    /// When it ends.
    pub to_s: f64,
    /// The robot, from 0.
    pub robot: u32,
    /// The node.
    pub node: u16,
}

/// A robot triggers a chain.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// When.
    pub at_s: f64,
    /// The robot, from 0.
    pub robot: u32,
    /// The node in contact; none if there is none, so that nothing runs.
    pub node: Option<u16>,
    /// The chain.
    pub chain: u32,
}

/// Why bytes are not a trace that can be run.
#[derive(Debug)]
pub enum BadTrace {
    /// They are not JSON of this form.
    Form {
        /// What the parser says.
        error: serde_json::Error,
        /// What stands before the place at which it says it.
        near: String,
    },
    /// A field has a value that cannot be.
    Field {
        /// The field, as a path.
        field: String,
        /// What is wrong with it, and what would be right.
        what: String,
    },
}

impl fmt::Display for BadTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form { error, near } => {
                write!(f, "not a trace of the form nimblenet-trace/1: {error}")?;
                match near.is_empty() {
                    true => Ok(()),
                    false => write!(f, ", after `{near}`"),
                }
            }
            Self::Field { field, what } => write!(f, "{field}: {what}"),
        }
    }
}

impl core::error::Error for BadTrace {}

/// How much of a trace an error shows, before the place that it is about: its lines are long.
const NEAR_BYTES: usize = 60;

/// The moment so many seconds after zero.
pub(crate) fn moment(seconds: f64) -> Instant {
    Instant::from_micros((seconds * 1e6).round_ties_even() as u64)
}

/// So many seconds as a duration.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::from_micros((seconds * 1e6).round_ties_even() as u64)
}

impl Trace {
    /// Reads a trace, and checks it.
    ///
    /// # Errors
    /// [`BadTrace`] names the field and what would be right.
    pub fn read(bytes: &[u8]) -> Result<Self, BadTrace> {
        let trace: Self = serde_json::from_slice(bytes).map_err(|error| {
            let mut lines = bytes.split(|byte| *byte == b'\n');
            let line = lines.nth(error.line().saturating_sub(1));
            let line = line.unwrap_or_default();
            let end = error.column().min(line.len());
            let near = &line[end.saturating_sub(NEAR_BYTES)..end];
            let near = String::from_utf8_lossy(near).trim().to_owned();
            BadTrace::Form { error, near }
        })?;
        trace.check()?;
        Ok(trace)
    }

    /// The trace as JSON.
    pub fn write(&self) -> String {
        let json = serde_json::to_string(self);
        let mut json = json.expect("a trace has only strings as keys");
        json.push('\n');
        json
    }

    /// Every node of the mesh, without the registry.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().map(|node| NodeId(node.id))
    }

    /// How long it lasts.
    pub fn duration(&self) -> Duration {
        duration(self.duration_s)
    }

    /// Every link, the registry's included.
    pub fn all_links(&self) -> impl Iterator<Item = (NodeId, NodeId)> {
        let registry = (self.registry.id, self.registry.attached_to);
        let links = [registry].into_iter().chain(self.links.iter().copied());
        links.map(|(a, b)| (NodeId(a), NodeId(b)))
    }

    /// The first seconds of it.
    #[must_use]
    pub fn cut(mut self, seconds: f64) -> Self {
        if seconds < self.duration_s {
            self.duration_s = seconds;
            self.triggers.retain(|trigger| trigger.at_s < seconds);
            self.contacts.retain(|contact| contact.from_s < seconds);
            for contact in &mut self.contacts {
                contact.to_s = contact.to_s.min(seconds);
            }
        }
        self
    }

    /// The same without the tasklets that nobody triggers or calls; the others have new ids, in the
    /// same order.
    #[must_use]
    pub fn used(mut self) -> Self {
        let TaskSet { algorithms, chains } = &mut self.taskset;
        let triggered: BTreeSet<u32> = self.triggers.iter().map(|it| it.chain).collect();
        let new_chain: BTreeMap<u32, u32> = triggered.iter().copied().zip(0..).collect();
        chains.retain(|chain| new_chain.contains_key(&chain.id));
        let called = chains.iter().flat_map(|chain| chain.calls.iter().copied());
        let called: BTreeSet<u32> = called.collect();
        let new_algorithm: BTreeMap<u32, u32> = called.iter().copied().zip(0..).collect();
        algorithms.retain(|algorithm| new_algorithm.contains_key(&algorithm.id));
        for (chain, id) in chains.iter_mut().zip(0..) {
            chain.id = id;
            chain
                .calls
                .iter_mut()
                .for_each(|id| *id = new_algorithm[id]);
        }
        for (algorithm, id) in algorithms.iter_mut().zip(0..) {
            algorithm.id = id;
        }
        for own in &mut self.robot_chains {
            *own = own
                .iter()
                .filter_map(|id| new_chain.get(id).copied())
                .collect();
        }
        for trigger in &mut self.triggers {
            trigger.chain = new_chain[&trigger.chain];
        }
        self
    }

    /// Checks that it can be run.
    ///
    /// # Errors
    /// [`BadTrace::Field`] for the first field that is wrong.
    pub fn check(&self) -> Result<(), BadTrace> {
        within("duration_s", self.duration_s, 1.0, DURATION_S_MAX)?;
        within("floor.radius_m", self.floor.radius_m, 0.001, 1e6)?;
        let ids: BTreeSet<u16> = self.nodes.iter().map(|node| node.id).collect();
        let known = |field: String, id: u16| {
            let known = ids.contains(&id);
            must(known, field, || format!("there is no node {id}"))
        };
        must(!ids.is_empty(), "nodes", || "a mesh has a node".into())?;
        let all = ids.len() == self.nodes.len();
        must(all, "nodes", || "two nodes have the same id".into())?;
        let clash = ids.contains(&self.registry.id) || self.registry.id == u16::MAX;
        must(!clash, "registry.id", || {
            format!("{} is a node's id, or 65535", self.registry.id)
        })?;
        must(!ids.contains(&u16::MAX), "nodes", || {
            "65535 cannot be a node's id".into()
        })?;
        known("registry.attached_to".into(), self.registry.attached_to)?;
        let mut links = BTreeSet::new();
        for (at, (a, b)) in self.links.iter().enumerate() {
            let field = format!("links[{at}]");
            known(field.clone(), *a)?;
            known(field.clone(), *b)?;
            must(a != b, &field, || "a node has no link to itself".into())?;
            let new = links.insert((a.min(b), a.max(b)));
            must(new, field, || "this link is listed twice".into())?;
        }
        self.check_taskset()?;
        let robots = self.robots as usize;
        let chains = self.taskset.chains.len() as u32;
        must(self.robot_chains.len() == robots, "robot_chains", || {
            format!("one list for each of the {robots} robots")
        })?;
        for (robot, own) in self.robot_chains.iter().enumerate() {
            let good = own.iter().all(|chain| *chain < chains);
            must(good, format!("robot_chains[{robot}]"), || {
                format!("chains are 0 to {}", i64::from(chains) - 1)
            })?;
        }
        let mut last = 0.0;
        for (at, trigger) in self.triggers.iter().enumerate() {
            let field = |name: &str| format!("triggers[{at}].{name}");
            within(field("at_s"), trigger.at_s, last, self.duration_s)?;
            last = trigger.at_s;
            must((trigger.robot as usize) < robots, field("robot"), || {
                format!("robots are 0 to {}", robots as i64 - 1)
            })?;
            must(trigger.chain < chains, field("chain"), || {
                format!("chains are 0 to {}", i64::from(chains) - 1)
            })?;
            if let Some(node) = trigger.node {
                known(field("node"), node)?;
            }
        }
        for (at, contact) in self.contacts.iter().enumerate() {
            let field = |name: &str| format!("contacts[{at}].{name}");
            must((contact.robot as usize) < robots, field("robot"), || {
                format!("robots are 0 to {}", robots as i64 - 1)
            })?;
            known(field("node"), contact.node)?;
            // The last look at robots may come after the end.
            let end_s = self.duration_s + crate::scenario::CONTACT_STEP.as_secs_f64();
            within(field("from_s"), contact.from_s, 0.0, end_s)?;
            within(field("to_s"), contact.to_s, 0.0, end_s)?;
        }
        Ok(())
    }

    fn check_taskset(&self) -> Result<(), BadTrace> {
        let TaskSet { algorithms, chains } = &self.taskset;
        let sizes = f64::from(MODULE_BYTES_MIN)..=f64::from(MODULE_BYTES_MAX);
        let size =
            |field: String, size: u32| within(field, size.into(), *sizes.start(), *sizes.end());
        for (at, algorithm) in algorithms.iter().enumerate() {
            let field = |name: &str| format!("taskset.algorithms[{at}].{name}");
            must(algorithm.id as usize == at, field("id"), || {
                format!("must be {at}")
            })?;
            size(field("size_bytes"), algorithm.size_bytes)?;
            within(field("run_s"), algorithm.run_s, 0.0, RUN_S_MAX)?;
        }
        for (at, chain) in chains.iter().enumerate() {
            let field = |name: &str| format!("taskset.chains[{at}].{name}");
            must(chain.id as usize == at, field("id"), || {
                format!("must be {at}")
            })?;
            size(field("size_bytes"), chain.size_bytes)?;
            let calls = chain.calls.len();
            must(calls <= CALLS_MAX, field("calls"), || {
                format!("a chain calls at most {CALLS_MAX} algorithms")
            })?;
            let known = |id: &u32| (*id as usize) < algorithms.len();
            must(chain.calls.iter().all(known), field("calls"), || {
                let count = algorithms.len();
                count.checked_sub(1).map_or_else(
                    || "there are no algorithms".to_owned(),
                    |last| format!("algorithms are 0 to {last}"),
                )
            })?;
            must(
                chain.segments_s.len() == calls + 1,
                field("segments_s"),
                || format!("{} segments for {calls} calls", calls + 1),
            )?;
            for segment in &chain.segments_s {
                within(field("segments_s"), *segment, 0.0, RUN_S_MAX)?;
            }
        }
        Ok(())
    }
}

impl TaskSet {
    /// The same chains without algorithms: each chain contains those that it calls (the paper's
    /// `T_m`).
    #[must_use]
    pub fn inlined(&self) -> Self {
        let chains = self.chains.iter().map(|chain| {
            let called = || chain.calls.iter().map(|id| &self.algorithms[*id as usize]);
            let bytes: u32 = called().map(|algorithm| algorithm.size_bytes).sum();
            let run_s: f64 = called().map(|algorithm| algorithm.run_s).sum();
            Chain {
                id: chain.id,
                size_bytes: chain.size_bytes + bytes,
                segments_s: vec![chain.segments_s.iter().sum::<f64>() + run_s],
                calls: Vec::new(),
            }
        });
        Self {
            algorithms: Vec::new(),
            chains: chains.collect(),
        }
    }

    /// How long a chain runs without waiting for anything but its algorithms, each call of which
    /// costs `call_s` more.
    pub fn run_s(&self, chain: u32, call_s: f64) -> f64 {
        let chain = &self.chains[chain as usize];
        let called = chain.calls.iter().map(|id| &self.algorithms[*id as usize]);
        let algorithms: f64 = called.map(|algorithm| algorithm.run_s + call_s).sum();
        chain.segments_s.iter().sum::<f64>() + algorithms
    }
}

/// The number of links between all pairs of nodes.
#[derive(Clone, Debug)]
pub struct Distances {
    ids: Vec<NodeId>,
    neighbours: Vec<Vec<usize>>,
    hops: Vec<Vec<u8>>,
}

impl Distances {
    /// Those of a trace, the registry included.
    pub fn of(trace: &Trace) -> Self {
        let registry = NodeId(trace.registry.id);
        Self::new([registry].into_iter().chain(trace.ids()), trace.all_links())
    }

    /// Those over `links`, each of whose ends is one of `ids`.
    pub(crate) fn new(
        ids: impl Iterator<Item = NodeId>,
        links: impl Iterator<Item = (NodeId, NodeId)>,
    ) -> Self {
        let ids: BTreeSet<NodeId> = ids.collect();
        let ids: Vec<NodeId> = ids.into_iter().collect();
        let at: BTreeMap<NodeId, usize> = ids.iter().copied().zip(0..).collect();
        let mut neighbours = vec![Vec::new(); ids.len()];
        for (a, b) in links {
            neighbours[at[&a]].push(at[&b]);
            neighbours[at[&b]].push(at[&a]);
        }
        neighbours.iter_mut().for_each(|held| held.sort_unstable());
        let from = |from: usize| {
            let mut hops = vec![u8::MAX; ids.len()];
            hops[from] = 0;
            let mut front = vec![from];
            while !front.is_empty() {
                let mut next = Vec::new();
                for at in front {
                    for peer in &neighbours[at] {
                        if hops[*peer] == u8::MAX {
                            hops[*peer] = hops[at].saturating_add(1);
                            next.push(*peer);
                        }
                    }
                }
                front = next;
            }
            hops
        };
        let hops = (0..ids.len()).map(from).collect();
        Self {
            ids,
            neighbours,
            hops,
        }
    }

    pub(crate) fn ids(&self) -> &[NodeId] {
        &self.ids
    }

    pub(crate) fn position(&self, id: NodeId) -> usize {
        let at = self.ids.binary_search(&id);
        at.expect("only nodes of the mesh are asked for")
    }

    pub(crate) fn neighbours(&self, of: usize) -> &[usize] {
        &self.neighbours[of]
    }

    /// Links between two nodes; none if they cannot reach each other.
    pub(crate) fn hops(&self, from: usize, to: usize) -> Option<u8> {
        Some(self.hops[from][to]).filter(|hops| *hops < u8::MAX)
    }

    /// The neighbour of `from` with the lowest id that is nearer to `to`.
    pub(crate) fn next(&self, from: usize, to: usize) -> Option<usize> {
        let hops = self.hops(from, to)?;
        let nearer = |peer: &usize| self.hops(*peer, to).is_some_and(|from| from < hops);
        self.neighbours[from].iter().copied().find(nearer)
    }
}

fn must(
    holds: bool,
    field: impl Into<String>,
    what: impl FnOnce() -> String,
) -> Result<(), BadTrace> {
    if holds {
        return Ok(());
    }
    Err(BadTrace::Field {
        field: field.into(),
        what: what(),
    })
}

fn within(field: impl Into<String>, value: f64, from: f64, to: f64) -> Result<(), BadTrace> {
    must((from..=to).contains(&value), field, || {
        // Digits that nobody reads are left out.
        match value.abs() < 1e15 {
            true => format!("{value} is not within {from} to {to}"),
            false => format!("{value:e} is not within {from} to {to}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn what_a_trace_uses_is_all_that_it_needs_under_other_ids() {
        let trace = Scenario::default().trace(1).cut(20.0);
        let used = trace.clone().used();
        assert!(used.check().is_ok());
        assert!(used.taskset.chains.len() < trace.taskset.chains.len() / 2);
        let called = |trace: &Trace, chain: u32| -> Vec<(u32, f64)> {
            let chain = &trace.taskset.chains[chain as usize];
            let algorithms = &trace.taskset.algorithms;
            let called = chain.calls.iter().map(|id| &algorithms[*id as usize]);
            called.map(|it| (it.size_bytes, it.run_s)).collect()
        };
        assert_eq!(used.triggers.len(), trace.triggers.len());
        for (new, old) in used.triggers.iter().zip(&trace.triggers) {
            assert_eq!((new.at_s, new.node), (old.at_s, old.node));
            let sizes = [(&used, new), (&trace, old)]
                .map(|(trace, it)| trace.taskset.chains[it.chain as usize].size_bytes);
            assert_eq!(sizes[0], sizes[1]);
            assert_eq!(called(&used, new.chain), called(&trace, old.chain));
        }
    }
}
