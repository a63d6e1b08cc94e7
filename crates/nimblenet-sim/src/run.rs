//! A run: a trace replayed on real nodes.

use std::collections::{BTreeMap, VecDeque};

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use nimblenet_core::{
    AcquisitionConfig, Archive, CallRequest, CatalogueLimits, Config, Eviction, Instant, Limits,
    LinkAddress, LinkId, NamespaceConfig, Role,
};
use nimblenet_core::{StaticNeighbour, StaticRoute};
use nimblenet_tasklet::{Capabilities, Delta, NodeId, TaskletName};

use crate::bound::{LowerBound, perfect_pool_mean};
use crate::course::{Course, Response};
use crate::engine::Engine;
use crate::executor::TimedExecutor;
use crate::link::{Bandwidth, LinkModel};
use crate::publisher::{Draft, Publisher, shelve};
use crate::report::{RESPONSE_WINDOW_S, Report};
use crate::tally::{Accounting, Tally};
use crate::trace::{Distances, TaskSet, Trace, duration, moment};

/// The namespace of a trace's tasklets.
const NAMESPACE: &str = "floor";

/// The most executors of a node if their number is not to matter.
const UNLIMITED: usize = 64;
/// A call without waiting takes less than this, acquisitions over the whole mesh included.
const LONGEST_CALL_S: f64 = 120.0;

/// A name in a list of names that is not one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownName {
    given: String,
    known: &'static [&'static str],
}

impl UnknownName {
    pub(crate) fn new(given: &str, known: &'static [&'static str]) -> Self {
        let given = given.into();
        Self { given, known }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { given, known } = self;
        write!(f, "`{given}` is not one of {}", known.join(", "))
    }
}

impl core::error::Error for UnknownName {}

/// What the protocol is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Profile {
    /// The paper's rules and nothing else: static routes, no hellos (see
    /// [`Config::paper`]).
    Paper,
    /// The configuration that a node has unless it is told otherwise.
    #[default]
    Default,
}

impl Profile {
    /// The names, in the order of the variants.
    pub const NAMES: [&'static str; 2] = ["paper", "default"];

    /// The profile's name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl FromStr for Profile {
    type Err = UnknownName;

    fn from_str(given: &str) -> Result<Self, UnknownName> {
        match given {
            "paper" => Ok(Self::Paper),
            "default" => Ok(Self::Default),
            _ => Err(UnknownName::new(given, &Self::NAMES)),
        }
    }
}

/// Which tasklets the chains of a trace are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Cut {
    /// Chains call shared algorithms (the paper's `T_n`).
    #[default]
    Nimble,
    /// Each chain contains its algorithms (the paper's `T_m`).
    Monolithic,
}

impl Cut {
    /// The names, in the order of the variants.
    pub const NAMES: [&'static str; 2] = ["nimble", "monolithic"];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The tasklets.
    pub fn of(self, taskset: &TaskSet) -> TaskSet {
        match self {
            Self::Nimble => taskset.clone(),
            Self::Monolithic => taskset.inlined(),
        }
    }
}

impl FromStr for Cut {
    type Err = UnknownName;

    fn from_str(given: &str) -> Result<Self, UnknownName> {
        match given {
            "nimble" => Ok(Self::Nimble),
            "monolithic" => Ok(Self::Monolithic),
            _ => Err(UnknownName::new(given, &Self::NAMES)),
        }
    }
}

/// How a trace is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The protocol.
    pub profile: Profile,
    /// The tasklets.
    pub cut: Cut,
    /// Executors of each node; none if no tasklet ever waits for one.
    pub executors: Option<u16>,
    /// Bytes of each node's cache.
    pub cache_bytes: usize,
    /// The policy that chooses what leaves a full cache; none for the profile's own.
    pub eviction: Option<&'static Eviction>,
    /// How nodes acquire tasklets; none for the profile's own way.
    pub acquisition: Option<AcquisitionConfig>,
    /// How long a change of a cache waits until neighbours hear of it; none for the profile's own
    /// time.
    pub announce: Option<Duration>,
    /// Bytes that each packet has besides those of the node, in reports.
    pub header_bytes: u32,
    /// How bytes are counted, in reports.
    pub accounting: Accounting,
    /// The seed of nodes and links.
    pub seed: u64,
    /// How links behave.
    pub link: LinkModel,
    /// The longest frame, in bytes.
    pub mtu: u16,
    /// The medium that each node shares with its neighbours, if they do.
    pub medium: Option<Bandwidth>,
    /// What each call between tasklets costs: the caller is saved and restored, the callee loaded.
    pub call_cost: Duration,
}

impl Default for Settings {
    /// The paper's, with the default profile.
    fn default() -> Self {
        Self {
            profile: Profile::Default,
            cut: Cut::Nimble,
            executors: None,
            cache_bytes: 32768,
            eviction: None,
            acquisition: None,
            announce: None,
            header_bytes: 28,
            accounting: Accounting::Nominal,
            seed: 1,
            link: LinkModel::PAPER,
            mtu: 4096,
            medium: None,
            call_cost: Duration::from_millis(6),
        }
    }
}

/// A trace on the way.
pub struct Run<'t> {
    trace: &'t Trace,
    settings: Settings,
    tasks: TaskSet,
    engine: Engine<Tally>,
    names: Vec<TaskletName>,
    /// Triggers that a node has taken or refused.
    triggered: usize,
    refused: u64,
    next: usize,
}

impl<'t> Run<'t> {
    /// Puts nodes and links of a trace together; all nodes hold the catalogue.
    ///
    /// # Panics
    /// If the trace is not [checked](Trace::check), or a module is longer than a frame with these
    /// settings.
    pub fn new(trace: &'t Trace, settings: Settings) -> Self {
        let tasks = settings.cut.of(&trace.taskset);
        let (drafts, names) = drafts(&tasks);
        let mut publisher = Publisher::new(NAMESPACE);
        let delta = publisher.publish(&drafts, |_| None);
        let mut archive = Archive::new();
        shelve(&mut archive, &delta, &drafts);
        let registry = NodeId(trace.registry.id);
        let namespace = NamespaceConfig {
            name: publisher.name(),
            registry,
            key: publisher.key(),
            capabilities: Capabilities::NONE,
        };
        let everyone = || [registry].into_iter().chain(trace.ids());
        let mesh = Distances::new(everyone(), trace.all_links());
        let call_cost = settings.call_cost;
        let tally = Tally::new(everyone(), trace.duration());
        let mut engine = Engine::new(settings.seed, tally, move |_| {
            Box::new(TimedExecutor::with_call_cost(call_cost))
        });
        let decoded = Delta::decode(&delta).expect("a published delta is well formed");
        let limits = limits(trace, &settings, &decoded, &mesh);
        let crowds = crowds(trace);
        for id in everyone() {
            let mut config = match settings.profile {
                Profile::Paper => paper(id, settings.mtu, &mesh),
                Profile::Default => Config::new(id, settings.mtu),
            };
            config.seed = settings.seed;
            config.namespaces = vec![namespace];
            config.limits = limits;
            if settings.executors.is_none() {
                let crowd = crowds.get(&id.0).copied().unwrap_or(0);
                let crowd = crowd.clamp(8, UNLIMITED);
                config.limits.jobs = crowd;
                config.limits.executors = crowd;
                config.limits.acquisitions = crowd;
            }
            config.eviction = settings.eviction.unwrap_or(config.eviction);
            config.acquisition = settings.acquisition.unwrap_or(config.acquisition);
            config.pace.announce = settings.announce.unwrap_or(config.pace.announce);
            if id == registry {
                config.role = Role::Registry(archive.clone());
                config.namespaces.clear();
                config.limits.executors = 1;
                config.limits.jobs = 1;
            }
            engine.add(config);
        }
        for (a, b) in trace.all_links() {
            engine.link(a, b, settings.link);
        }
        if let Some(medium) = settings.medium {
            engine.share_medium(medium);
        }
        for id in everyone() {
            let started = engine.start(id);
            started.expect("a trace makes valid configurations");
            if id != registry {
                let installed = engine.command(id, |node, now| node.install(now, &decoded));
                installed.expect("the first delta fits every node");
            }
        }
        Self {
            trace,
            settings,
            tasks,
            engine,
            names,
            triggered: 0,
            refused: 0,
            next: 0,
        }
    }

    /// Goes on to the moment `to` at most; false if the trace is over.
    pub fn advance(&mut self, to: Duration) -> bool {
        let end = moment(self.trace.duration_s);
        let to = (Instant::ZERO + to).min(end);
        while let Some(trigger) = self.trace.triggers.get(self.next)
            && moment(trigger.at_s) <= to
        {
            self.next += 1;
            let Some(node) = trigger.node else {
                continue;
            };
            self.engine.advance(moment(trigger.at_s));
            let name = self.names[trigger.chain as usize];
            let taken = self.engine.command(NodeId(node), |node, now| {
                let request = CallRequest {
                    name,
                    export: "",
                    args: &[0x80],
                    deadline: None,
                };
                node.call(now, request)
            });
            self.triggered += 1;
            self.refused += u64::from(taken.is_err());
        }
        self.engine.run(to);
        to < end
    }

    /// The nodes and links.
    pub fn engine(&self) -> &Engine<Tally> {
        &self.engine
    }

    /// How it went so far.
    pub fn course(&self) -> Course {
        let tally = self.engine.observer();
        let responses = tally.ended.iter().map(|call| Response {
            at_s: (call.at - Instant::ZERO).as_secs_f64(),
            took_s: call.took.as_secs_f64(),
        });
        Course {
            duration_s: self.trace.duration_s,
            triggers: self.next as u64,
            load: tally.cumulative().collect(),
            responses: responses.collect(),
            nodes: tally.nodes().collect(),
            first: tally.follower.call().cloned(),
        }
    }

    /// What has come out so far.
    pub fn report(&self) -> Report {
        let tally = self.engine.observer();
        let Settings {
            cache_bytes,
            call_cost,
            executors,
            ..
        } = self.settings;
        let bound = LowerBound::of(self.trace, &self.tasks, cache_bytes as u64, &tally.needs);
        let pool = usize::from(executors.unwrap_or(1)) * self.trace.nodes.len();
        let call_s = call_cost.as_secs_f64();
        let pool = perfect_pool_mean(self.trace, &self.tasks, pool, call_s);
        let mut report = Report::new(&self.settings, tally, bound, pool);
        report.triggered = self.triggered as u64;
        report.failed = self.refused + tally.failed;
        let registry = NodeId(self.trace.registry.id);
        report.balance(registry, tally, &self.settings);
        for node in self.engine.nodes().filter(|node| node.id() != registry) {
            report.acquired(&node.counters().acquired);
        }
        let run = |number: u16| duration(self.tasks.run_s(self.chain(number), call_s));
        report.calls(tally, run);
        report.mean_response_s_per_100s = self.course().windows(RESPONSE_WINDOW_S);
        report.event_log_hash = format!("{:016x}", self.engine.event_log_hash());
        report
    }

    /// The chain with this catalogue number. Numbers follow the order of publication.
    fn chain(&self, number: u16) -> u32 {
        u32::from(number)
    }
}

/// The tasklets to publish, chains first, and the names of chains.
fn drafts(tasks: &TaskSet) -> (Vec<Draft>, Vec<TaskletName>) {
    let micros = |seconds: &f64| duration(*seconds).as_micros() as u32;
    let chains = tasks.chains.iter().map(|chain| {
        let times: Vec<u32> = chain.segments_s.iter().map(micros).collect();
        let module = TimedExecutor::module(&times, chain.size_bytes as usize);
        let draft = Draft::new(&format!("chain-{:05}", chain.id), module, "func()");
        chain.calls.iter().fold(draft, |draft, id| {
            draft.calling(&format!("{NAMESPACE}/run-{id:05}"), "func()")
        })
    });
    let algorithms = tasks.algorithms.iter().map(|algorithm| {
        let module =
            TimedExecutor::module(&[micros(&algorithm.run_s)], algorithm.size_bytes as usize);
        Draft::new(&format!("run-{:05}", algorithm.id), module, "func()")
    });
    let drafts: Vec<Draft> = chains.chain(algorithms).collect();
    let names = drafts[..tasks.chains.len()].iter().map(|draft| {
        let name = format!("{NAMESPACE}/{}", draft.name);
        name.parse().expect("names of drafts are valid")
    });
    let names = names.collect();
    (drafts, names)
}

/// The paper's configuration, with the neighbours and routes of the mesh.
fn paper(id: NodeId, mtu: u16, mesh: &Distances) -> Config {
    let mut config = Config::paper(id, mtu);
    let own = mesh.position(id);
    let neighbours = mesh.neighbours(own).iter().map(|at| StaticNeighbour {
        id: mesh.ids()[*at],
        link: LinkId(0),
        address: LinkAddress(mesh.ids()[*at].0.into()),
    });
    config.topology.neighbours = neighbours.collect();
    let routes = (0..mesh.ids().len()).filter_map(|to| {
        Some(StaticRoute {
            destination: mesh.ids()[to],
            next: mesh.ids()[mesh.next(own, to)?],
            hops: mesh.hops(own, to)?,
        })
    });
    config.topology.routes = routes.collect();
    config
}

/// The most calls that each node has at the same time, if none waits for another.
fn crowds(trace: &Trace) -> BTreeMap<u16, usize> {
    let mut recent: BTreeMap<u16, (VecDeque<f64>, usize)> = BTreeMap::new();
    for trigger in &trace.triggers {
        let Some(node) = trigger.node else {
            continue;
        };
        let (recent, most) = recent.entry(node).or_default();
        while recent
            .front()
            .is_some_and(|at| at + LONGEST_CALL_S < trigger.at_s)
        {
            recent.pop_front();
        }
        recent.push_back(trigger.at_s);
        *most = recent.len().max(*most);
    }
    let crowds = recent.into_iter();
    crowds.map(|(node, (_, most))| (node, most)).collect()
}

/// The limits of a node: nothing is refused that the trace asks for, and no more is allocated than
/// that needs.
fn limits(trace: &Trace, settings: &Settings, delta: &Delta<'_>, mesh: &Distances) -> Limits {
    let deep = 2;
    let chains = trace.taskset.chains.iter();
    let longest_chain = chains.map(|chain| chain.calls.len()).max();
    let lengths = || delta.entries().map(|entry| entry.encoded().len());
    let entries = usize::from(delta.count);
    let (executors, jobs) = match settings.executors {
        None => (UNLIMITED, UNLIMITED),
        Some(executors) => (executors.into(), 1024),
    };
    let nodes = trace.nodes.len() + 8;
    let degrees = (0..mesh.ids().len()).map(|at| mesh.neighbours(at).len());
    Limits {
        cache_bytes: settings.cache_bytes,
        cache_entries: entries + jobs,
        jobs,
        executors,
        places: 16,
        shelf_bytes: 0,
        depth: deep,
        calls: 4096,
        preload: 16,
        acquisitions: jobs,
        message_bytes: 64,
        peers: nodes,
        routes: nodes,
        neighbours: degrees.max().unwrap_or(0).max(16),
        outbox_bytes: 4 * usize::from(settings.mtu.max(4096)),
        servings: 64,
        catalogue: CatalogueLimits {
            entries,
            bytes: lengths().sum(),
            entry_bytes: lengths().max().unwrap_or(0),
            retired: 0,
        },
        // Every node holds the catalogue from the start. Its room lets modules lie where there is no
        // gap for them among those that are in use.
        delta_bytes: 32 << 10,
        steps: 1 + longest_chain.unwrap_or(0),
        image_bytes: 1024,
        ..Limits::linux()
    }
}
