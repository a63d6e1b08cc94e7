//! A trial: a mesh, what is called in it, and the faults that befall it; as a TOML file too.

use core::time::Duration;
use std::collections::BTreeSet;

use nimblenet_core::MIN_MTU;
use nimblenet_core::Priority;
use nimblenet_tasklet::NodeId;
use serde::{Deserialize, Serialize};

use super::flow::{FLOWS, Flow};
use super::form;
use super::link::LinkForm;
use crate::scenario::{BadScenario, must, within};
use crate::tale::Tale;
use crate::trace::Trace;

/// The most nodes of a trial, and the longest time of its faults in seconds.
const NODES_MAX: usize = 64;
const SECONDS_MAX: f64 = 1e6;

/// The kinds of faults that need neither publishers nor checkers.
const OF_ANY_RUN: &str = "crash, clock, slow, drain, misreport, cut, partition and link";

/// A file of faults. With a mesh it is a whole trial; without one, its faults befall the run of a
/// scenario or trace.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trial {
    /// What the file shows, for a reader.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The checker that finds a fault of the protocol in this trial, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checker: Option<String>,
    /// Other checkers that find the same fault of the protocol in other trials.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What lets it fail: kinds of faults, or features of the trial. Without them it does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The seed of nodes, links and intruders.
    pub seed: u64,
    /// The nodes and links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Mesh>,
    /// What is called.
    #[serde(rename = "call", skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    /// What flows.
    #[serde(rename = "flow", skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<Flow>,
    /// The faults.
    #[serde(rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<Incident>,
}

/// The nodes and links of a trial.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// Until when calls and faults begin, in seconds. Then links lose nothing any more, and only what
    /// has no end goes on.
    pub turmoil_s: f64,
    /// The links; the nodes are those that they name.
    #[serde(deserialize_with = "form::links")]
    pub links: Vec<(u16, u16)>,
    /// The registry of each namespace: the first has `alpha`, the second `beta`.
    pub registries: Vec<u16>,
    /// Nodes with the limits of a board.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boards: Vec<u16>,
    /// Nodes with the least limits with which a chain runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiny: Vec<u16>,
    /// Bytes of the caches of other nodes.
    #[serde(default = "Mesh::cache_bytes")]
    pub cache_bytes: u32,
    /// The longest frame that nodes send, in bytes.
    #[serde(default = "Mesh::mtu")]
    pub mtu: u16,
    /// How often nodes repeat frames that a neighbour does not acknowledge.
    #[serde(default, skip_serializing_if = "Mesh::is_zero")]
    pub repeats: u8,
    /// Whether modules travel compressed.
    #[serde(default, skip_serializing_if = "Mesh::is_false")]
    pub compressed: bool,
    /// How all links behave.
    #[serde(default)]
    pub link: LinkForm,
}

/// A call, or several at once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// When, in seconds.
    pub at_s: f64,
    /// The node that is asked.
    pub node: u16,
    /// The tasklet: `alpha/` or `beta/`, and `leaf`, `pair`, `chain`, `deep`, `large` or `slow`.
    pub tasklet: String,
    /// The node that is to run it, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<u16>,
    /// How long it may take, in seconds.
    pub deadline_s: f64,
    /// How many such calls there are.
    #[serde(default = "Call::once", skip_serializing_if = "Call::is_one")]
    pub times: u32,
    /// The time from one to the next, in seconds; without it they come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_s: Option<f64>,
    /// Stop them after this time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after_s: Option<f64>,
    /// Move them to this node as soon as they may move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub move_to: Option<u16>,
    /// Their client goes on, and asks for the results at this node: it gives the calls numbers. If it is
    /// the node that was asked, the calls are made there once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_at: Option<u16>,
    /// After this time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_after_s: Option<f64>,
    /// How urgent they are; normal without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Level>,
    /// Cancel them after this time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_after_s: Option<f64>,
}

/// A priority other than the normal one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// They may wait while others do not.
    Low,
    /// They go before others.
    High,
}

impl Level {
    /// The priority of calls with this level.
    pub(super) fn priority(level: Option<Self>) -> Priority {
        match level {
            Some(Self::Low) => Priority::Low,
            None => Priority::Normal,
            Some(Self::High) => Priority::High,
        }
    }
}

/// Something that goes wrong.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// When it begins, in seconds.
    pub at_s: f64,
    /// How long it lasts, in seconds; without it, until the end. What happens in a moment ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<f64>,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What goes wrong.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// A node is down, and starts again at the end. It has lost what it held in memory.
    Crash {
        /// The node.
        node: u16,
        /// Whether it has kept its catalogues, as a daemon with a state directory.
        #[serde(default)]
        keeps: bool,
        /// How far its wall clock is wrong afterwards, in seconds. Packet numbers begin with that
        /// clock, 256 a second.
        #[serde(default)]
        clock_s: f64,
    },
    /// A node's clock leaps at the beginning, and goes wrong until the end.
    Clock {
        /// The node.
        node: u16,
        /// How far it leaps, in seconds.
        #[serde(default)]
        leap_s: f64,
        /// How fast it goes; 1 is right.
        #[serde(default = "What::right")]
        rate: f64,
    },
    /// A node's executors run slower.
    Slow {
        /// The node.
        node: u16,
        /// How fast they are; 1 is as fast as usual.
        speed: f64,
    },
    /// A node is asked to give its jobs away and to take no new ones.
    Drain {
        /// The node.
        node: u16,
    },
    /// A node says something else of its load than it has.
    Misreport {
        /// The node.
        node: u16,
        /// What it says.
        says: Tale,
    },
    /// Nothing passes a link in one direction.
    Cut {
        /// The node that is not heard.
        from: u16,
        /// The node that does not hear it.
        to: u16,
    },
    /// No link passes anything between these nodes and the others.
    Partition {
        /// The nodes.
        nodes: Vec<u16>,
    },
    /// One direction of a link behaves otherwise.
    Link {
        /// The node that sends.
        from: u16,
        /// The node that receives.
        to: u16,
        /// How it behaves.
        link: LinkForm,
    },
    /// A new version of every tasklet but one is published, or one is withdrawn.
    Publish {
        /// The registry.
        node: u16,
        /// Whether a tasklet is withdrawn.
        #[serde(default)]
        withdraw: bool,
    },
    /// A registry has lost its disk: it has another content, published again until the same epoch.
    Swap {
        /// The registry.
        node: u16,
    },
    /// A registry has an old backup: the content of its first epoch.
    Rollback {
        /// The registry.
        node: u16,
    },
    /// An intruder puts frames on a link.
    Forge {
        /// The neighbour in whose place it speaks.
        from: u16,
        /// The node that hears it.
        to: u16,
        /// What it says.
        what: Lie,
        /// How often, in a second.
        per_s: f64,
        /// In the name of how many nodes.
        #[serde(default = "What::one")]
        origins: u16,
    },
}

/// What an intruder says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// Nodes that do not exist hold everything and answer every search.
    Holders,
    /// A hello in the neighbour's name, whose packet number leaps.
    Numbers,
    /// Results of calls that are on their way.
    Results,
    /// Searches by many nodes that do not exist, all at once.
    Floods,
    /// Frames that were heard, with wrong bytes.
    Mutants,
    /// Frames that were heard, once more.
    Replays,
    /// Jobs that nobody has are offered, and calls are ordered to move.
    Offers,
}

impl Mesh {
    const fn cache_bytes() -> u32 {
        32_768
    }

    const fn mtu() -> u16 {
        1200
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    const fn is_zero(number: &u8) -> bool {
        *number == 0
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    const fn is_false(is: &bool) -> bool {
        !*is
    }

    /// Every node, in order.
    pub fn nodes(&self) -> BTreeSet<u16> {
        self.links.iter().flat_map(|(a, b)| [*a, *b]).collect()
    }
}

impl Call {
    const fn once() -> u32 {
        1
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    const fn is_one(times: &u32) -> bool {
        *times == 1
    }
}

impl What {
    const fn right() -> f64 {
        1.0
    }

    const fn one() -> u16 {
        1
    }

    /// The name of this kind, in tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Crash { keeps: true, .. } => "crash-with-state",
            Self::Crash { keeps: false, .. } => "crash",
            Self::Clock { .. } => "clock",
            Self::Slow { .. } => "slow",
            Self::Drain { .. } => "drain",
            Self::Misreport { says, .. } => says.name(),
            Self::Cut { .. } => "cut",
            Self::Partition { .. } => "partition",
            Self::Link { .. } => "link",
            Self::Publish {
                withdraw: false, ..
            } => "publish",
            Self::Publish { withdraw: true, .. } => "withdraw",
            Self::Swap { .. } => "swap",
            Self::Rollback { .. } => "rollback",
            Self::Forge { what, .. } => what.name(),
        }
    }

    /// The nodes that it names, each with the field that does.
    fn nodes(&self) -> Vec<(&'static str, u16)> {
        match self {
            Self::Crash { node, .. }
            | Self::Clock { node, .. }
            | Self::Slow { node, .. }
            | Self::Drain { node }
            | Self::Misreport { node, .. }
            | Self::Publish { node, .. }
            | Self::Swap { node }
            | Self::Rollback { node } => vec![("node", *node)],
            Self::Cut { from, to } | Self::Link { from, to, .. } | Self::Forge { from, to, .. } => {
                vec![("from", *from), ("to", *to)]
            }
            Self::Partition { nodes } => nodes.iter().map(|node| ("nodes", *node)).collect(),
        }
    }

    /// Whether a mesh without publishers and checkers can have it too.
    const fn is_of_any_run(&self) -> bool {
        match self {
            Self::Crash { .. }
            | Self::Clock { .. }
            | Self::Slow { .. }
            | Self::Drain { .. }
            | Self::Misreport { .. }
            | Self::Cut { .. }
            | Self::Partition { .. }
            | Self::Link { .. } => true,
            Self::Publish { .. }
            | Self::Swap { .. }
            | Self::Rollback { .. }
            | Self::Forge { .. } => false,
        }
    }
}

impl Lie {
    /// The name of this kind, in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holders => "forged-holders",
            Self::Numbers => "forged-numbers",
            Self::Results => "forged-results",
            Self::Floods => "forged-floods",
            Self::Mutants => "mutants",
            Self::Replays => "replays",
            Self::Offers => "forged-offers",
        }
    }
}

/// What a trial may have besides kinds of faults.
pub(super) const FEATURES: [&str; 24] = [
    "loss",
    "bursts",
    "duplication",
    "corruption",
    "jitter",
    "bandwidth",
    "longest",
    "boards",
    "tiny",
    "small-cache",
    "small-frames",
    "repeats",
    "compressed",
    "crowd",
    "remote",
    "move",
    "stop",
    "claim",
    "cancel",
    "priority",
    "flows",
    "overload",
    "wrong-clock",
    "lasting",
];

impl Incident {
    /// When it begins.
    pub(crate) fn begins(&self) -> Duration {
        crate::trace::duration(self.at_s)
    }

    /// When it ends, if it does.
    pub(crate) fn ends(&self) -> Option<Duration> {
        Some(self.begins() + crate::trace::duration(self.for_s?))
    }
}

impl Trial {
    /// Reads a file, and checks it as far as it can be without another mesh.
    ///
    /// # Errors
    /// [`BadScenario`] names the line, or the field with its value and what would be right.
    pub fn read(text: &str) -> Result<Self, BadScenario> {
        let trial: Self = toml::from_str(text).map_err(|error| form::finding(text, error))?;
        if let Some(mesh) = &trial.mesh {
            mesh.check()?;
            trial.check(&mesh.nodes(), &mesh.links, mesh.turmoil_s)?;
        }
        Ok(trial)
    }

    /// Checks that what it says has an effect: its author cannot have meant it otherwise.
    ///
    /// # Errors
    /// [`BadScenario::Field`] for what nobody would heed.
    pub fn check_effect(&self) -> Result<(), BadScenario> {
        let has_mesh = self.mesh.is_some();
        must(has_mesh || self.seed == 0, "seed", || {
            "without a mesh it has no effect: give it with --seed".into()
        })?;
        let is_empty = self.calls.is_empty() && self.flows.is_empty() && self.incidents.is_empty();
        must(has_mesh || !is_empty, "fault", || {
            "there is none, and no mesh: the file would have no effect".into()
        })
    }

    /// The file.
    pub fn write(&self) -> String {
        let text = toml::to_string(self);
        text.expect("a trial has no maps with other keys than names")
    }

    /// Checks calls and faults against the nodes and links that they are to befall.
    ///
    /// # Errors
    /// [`BadScenario::Field`] for the first field that is wrong.
    pub(crate) fn check(
        &self,
        nodes: &BTreeSet<u16>,
        links: &[(u16, u16)],
        until_s: f64,
    ) -> Result<(), BadScenario> {
        let is_node =
            |field: String, id: u16| must(nodes.contains(&id), field, || no_node(id, nodes));
        let known = self.mesh.as_ref().map_or(0, |mesh| mesh.registries.len());
        for (at, call) in self.calls.iter().enumerate() {
            let field = |name| format!("call[{at}].{name}");
            within(field("at_s"), call.at_s, 0.0, until_s)?;
            is_node(field("node"), call.node)?;
            call.on.map_or(Ok(()), |on| is_node(field("on"), on))?;
            call.move_to
                .map_or(Ok(()), |to| is_node(field("move_to"), to))?;
            call.claim_at
                .map_or(Ok(()), |at| is_node(field("claim_at"), at))?;
            let after = call.claim_after_s.unwrap_or_default();
            within(field("claim_after_s"), after, 0.0, SECONDS_MAX)?;
            within(field("deadline_s"), call.deadline_s, 0.01, 600.0)?;
            within(field("times"), call.times, 1, 1000)?;
            let every_s = call.every_s.unwrap_or(1.0);
            within(field("every_s"), every_s, 0.001, 600.0)?;
            let after = call.stop_after_s.unwrap_or_default();
            within(field("stop_after_s"), after, 0.0, SECONDS_MAX)?;
            let after = call.cancel_after_s.unwrap_or_default();
            within(field("cancel_after_s"), after, 0.0, SECONDS_MAX)?;
            must(
                super::goods::is_published(&call.tasklet, known),
                field("tasklet"),
                || format!("{} is not published", call.tasklet),
            )?;
        }
        within("flow", self.flows.len(), 0, FLOWS)?;
        for (at, flow) in self.flows.iter().enumerate() {
            let field = |name: &str| format!("flow[{at}].{name}");
            flow.check(field, (nodes, known), until_s)?;
        }
        Flow::fit(&self.flows).map_or_else(|what| must(false, "flow", || what), Ok)?;
        let sensed = self.flows.iter().filter(|flow| flow.sensed).count();
        within("flow.sensed", sensed, 0, 1)?;
        let is_link = |field: String, (from, to): (u16, u16)| {
            let is = links.contains(&(from, to)) || links.contains(&(to, from));
            must(is, field, || {
                let others = links.iter().filter_map(|(a, b)| match from {
                    _ if *a == from => Some(*b),
                    _ if *b == from => Some(*a),
                    _ => None,
                });
                let others = listed(&others.collect());
                format!("nodes {from} and {to} have no link; node {from} has links to {others}")
            })
        };
        for (at, incident) in self.incidents.iter().enumerate() {
            let field = |name| format!("fault[{at}].{name}");
            within(field("at_s"), incident.at_s, 0.0, until_s)?;
            within(
                field("for_s"),
                incident.for_s.unwrap_or(SECONDS_MAX),
                0.000_001,
                SECONDS_MAX,
            )?;
            for (name, node) in incident.what.nodes() {
                is_node(field(name), node)?;
            }
            match &incident.what {
                What::Crash { clock_s, .. } => within(field("clock_s"), *clock_s, -1e9, 1e9)?,
                What::Clock { leap_s, rate, .. } => {
                    within(field("leap_s"), *leap_s, 0.0, SECONDS_MAX)?;
                    within(field("rate"), *rate, 0.01, 100.0)?;
                }
                What::Slow { speed, .. } => within(field("speed"), *speed, 0.01, 100.0)?,
                What::Cut { from, to } => is_link(field("to"), (*from, *to))?,
                What::Link { from, to, link } => {
                    is_link(field("to"), (*from, *to))?;
                    link.check(&field("link"))?;
                }
                What::Publish { node, .. } | What::Swap { node } | What::Rollback { node } => {
                    let registries = self.mesh.iter().flat_map(|mesh| &mesh.registries);
                    let is = registries.into_iter().any(|registry| registry == node);
                    must(is, field("node"), || {
                        let registries = self.mesh.iter().flat_map(|mesh| &mesh.registries);
                        let registries = listed(&registries.copied().collect());
                        format!("{node} is no registry; {registries} can be named")
                    })?;
                }
                What::Forge {
                    from,
                    to,
                    per_s,
                    origins,
                    ..
                } => {
                    is_link(field("to"), (*from, *to))?;
                    within(field("per_s"), *per_s, 0.01, 10_000.0)?;
                    within(field("origins"), *origins, 1, 1000)?;
                }
                What::Partition { .. } | What::Misreport { .. } | What::Drain { .. } => {}
            }
        }
        Ok(())
    }

    /// Leaves a kind of faults or a [feature](FEATURES) out; false if the trial has none of it.
    pub(super) fn remove(&mut self, cause: &str) -> bool {
        let before = self.clone();
        self.incidents
            .retain(|incident| incident.what.name() != cause);
        for incident in &mut self.incidents {
            if let What::Link { link, .. } = &mut incident.what {
                link.heal(cause);
            }
        }
        if let Some(mesh) = &mut self.mesh {
            mesh.link.heal(cause);
            match cause {
                "boards" => mesh.boards.clear(),
                "tiny" => mesh.tiny.clear(),
                "small-cache" => mesh.cache_bytes = Mesh::cache_bytes(),
                "small-frames" => mesh.mtu = Mesh::mtu(),
                "repeats" => mesh.repeats = 0,
                "compressed" => mesh.compressed = false,
                _ => {}
            }
        }
        match cause {
            "flows" => self.flows.clear(),
            "crowd" => self
                .calls
                .retain(|call| call.times == 1 || call.every_s.is_some()),
            "overload" => self.calls.retain(|call| call.every_s.is_none()),
            "remote" => self.calls.retain(|call| call.on.is_none()),
            "move" => self.calls.iter_mut().for_each(|call| call.move_to = None),
            "claim" => self.calls.iter_mut().for_each(|call| call.claim_at = None),
            "stop" => self
                .calls
                .iter_mut()
                .for_each(|call| call.stop_after_s = None),
            "cancel" => self
                .calls
                .iter_mut()
                .for_each(|call| call.cancel_after_s = None),
            "priority" => self.calls.iter_mut().for_each(|call| call.priority = None),
            "wrong-clock" => {
                for incident in &mut self.incidents {
                    if let What::Crash { clock_s, .. } = &mut incident.what {
                        *clock_s = 0.0;
                    }
                }
            }
            "lasting" => self.incidents.retain(|incident| incident.for_s.is_some()),
            _ => {}
        }
        *self != before
    }

    /// The trial without its causes; none if it has none of them.
    pub fn without_causes(&self) -> Option<Self> {
        let mut without = self.clone();
        without.remove_all(&self.causes).then_some(without)
    }

    /// Leaves all of these out; false if the trial has none of them.
    pub(super) fn remove_all(&mut self, causes: &[String]) -> bool {
        let removed = causes.iter().filter(|cause| self.remove(cause));
        removed.count() > 0
    }

    /// Whether calls and faults name only what there is.
    pub(super) fn is_sound(&self) -> bool {
        self.mesh.as_ref().is_some_and(|mesh| {
            let checked = mesh.check();
            checked
                .and_then(|()| self.check(&mesh.nodes(), &mesh.links, mesh.turmoil_s))
                .is_ok()
        })
    }

    /// Whether a node loses its catalogue in a crash.
    pub fn loses_catalogue(&self) -> bool {
        let loses = |it: &Incident| matches!(it.what, What::Crash { keeps: false, .. });
        self.incidents.iter().any(loses)
    }

    /// Checks faults that are to befall the run of a trace.
    ///
    /// # Errors
    /// [`BadScenario::Field`] for the first field that is wrong: a run has no mesh, calls, registries
    /// and intruders of the file.
    pub(crate) fn check_for(&self, trace: &Trace) -> Result<(), BadScenario> {
        must(self.mesh.is_none(), "mesh", || {
            "a run has the mesh of its trace".into()
        })?;
        must(self.calls.is_empty(), "call", || {
            "a run has the calls of its trace".into()
        })?;
        must(self.flows.is_empty(), "flow", || {
            "flows need a mesh of the file".into()
        })?;
        for (at, incident) in self.incidents.iter().enumerate() {
            let kind = incident.what.name();
            let is = incident.what.is_of_any_run();
            must(is, format!("fault[{at}].kind"), || {
                format!("{kind} needs a mesh of the file; {OF_ANY_RUN} can befall a run")
            })?;
            // A trial that was drawn at random may have one that separates nobody.
            let separates =
                !matches!(&incident.what, What::Partition { nodes } if nodes.is_empty());
            must(separates, format!("fault[{at}].nodes"), || {
                "it names no node: name those on one side".into()
            })?;
        }
        let registry = trace.registry.id;
        let nodes = trace.ids().map(|id| id.0).chain([registry]).collect();
        let links: Vec<(u16, u16)> = trace.all_links().map(|(a, b)| (a.0, b.0)).collect();
        self.check(&nodes, &links, trace.duration_s)
    }
}

/// What is wrong with an id that none of these nodes has.
pub(super) fn no_node(id: u16, nodes: &BTreeSet<u16>) -> String {
    format!("{id} is no node of the mesh; there are {}", listed(nodes))
}

/// Ids in words, with those that follow each other together.
fn listed(ids: &BTreeSet<u16>) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if *id == *last + 1 => *last = *id,
            _ => runs.push((*id, *id)),
        }
    }
    let runs = runs.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    });
    runs.collect::<Vec<_>>().join(", ")
}

impl Mesh {
    /// The nodes to which no way leads from the first one.
    fn apart(&self) -> BTreeSet<u16> {
        let mut apart = self.nodes();
        let mut next: Vec<u16> = apart.pop_first().into_iter().collect();
        while let Some(node) = next.pop() {
            let ends = self.links.iter().filter_map(|(a, b)| match node {
                _ if *a == node => Some(*b),
                _ if *b == node => Some(*a),
                _ => None,
            });
            next.extend(ends.filter(|end| apart.remove(end)));
        }
        apart
    }

    fn check(&self) -> Result<(), BadScenario> {
        within("mesh.turmoil_s", self.turmoil_s, 0.1, SECONDS_MAX)?;
        let nodes = self.nodes();
        let count = nodes.len();
        must((2..=NODES_MAX).contains(&count), "mesh.links", || {
            format!("they name {count} nodes, and a mesh has 2 to {NODES_MAX}")
        })?;
        let loops = self.links.iter().any(|(a, b)| a == b);
        must(!loops, "mesh.links", || {
            "a node has a link to itself".into()
        })?;
        let everyone = nodes.contains(&NodeId::EVERYONE.0);
        must(!everyone, "mesh.links", || "65535 is no node".into())?;
        let ends: BTreeSet<_> = self
            .links
            .iter()
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        must(ends.len() == self.links.len(), "mesh.links", || {
            "a link is named twice".into()
        })?;
        let apart = self.apart();
        must(apart.is_empty(), "mesh.links", || {
            let first = nodes.first().copied().unwrap_or_default();
            let apart = listed(&apart);
            format!(
                "no way leads from node {first} to {apart}: add links until all are one mesh, and cut \
                 some with a fault of kind `partition` or `cut`"
            )
        })?;
        let count = self.registries.len();
        must((1..=2).contains(&count), "mesh.registries", || {
            format!("it names {count}, and a mesh has 1 or 2")
        })?;
        for (field, ids) in [
            ("mesh.registries", &self.registries),
            ("mesh.boards", &self.boards),
            ("mesh.tiny", &self.tiny),
        ] {
            for id in ids {
                must(nodes.contains(id), field, || no_node(*id, &nodes))?;
            }
        }
        within("mesh.cache_bytes", self.cache_bytes, 1024, 1 << 24)?;
        within("mesh.mtu", self.mtu, MIN_MTU, 4096)?;
        within("mesh.repeats", self.repeats, 0, 7)?;
        self.link.check("mesh.link")
    }
}
