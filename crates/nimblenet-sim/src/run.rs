//! A run: a trace replayed on real nodes.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use nimblenet_core::{
    Acquired, AcquisitionConfig, Archive, CallId, CallKey, CallRequest, CatalogueLimits, ClientId,
    Config, Eviction, Instant, Limits, LinkAddress, LinkId, NamespaceConfig, Placement, Priority,
    Role,
};
use nimblenet_core::{StaticNeighbour, StaticRoute};
use nimblenet_tasklet::{Capabilities, Delta, Fault, NodeId, TaskletName};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::churn::{Churn, Turn};
use crate::code::Code;
use crate::course::Course;
use crate::energy::Energy;
use crate::engine::Engine;
use crate::errands::{Errands, Question};
use crate::executor::TimedExecutor;
use crate::kinds::{Kinds, KindsExecutor, lacks};
use crate::link::{Bandwidth, LinkModel};
use crate::publisher::{Draft, Publisher, shelve};
use crate::report::{Replay, Report};
use crate::scenario::{BadScenario, must};
use crate::swarm::{Incident, Trial, Upheaval, What, schedule};
use crate::tally::{Accounting, Tally};
use crate::trace::{Distances, TaskSet, Trace, Trigger, duration, moment};
use crate::urgency::{Book, Urgency};

/// The namespace of a trace's tasklets.
pub const NAMESPACE: &str = "floor";

/// The stream of the random numbers that make costs wrong.
const COST_STREAM: u64 = 7 << 32;

/// Tasklets declare a microsecond of work as one unit of fuel.
const FUEL_MS: u32 = 1000;
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

/// Bytes of room for catalogues that are given on, besides the cache.
const DELTA_BYTES: usize = 32 << 10;
/// What a whole catalogue takes besides its entries, at most.
const DELTA_BYTES_BESIDE: usize = 128;

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
    /// The policy that places calls; none for the profile's own.
    pub placement: Option<&'static Placement>,
    /// The limits of each node, except for the steps that explain calls; none for limits at which
    /// nothing is refused that the trace asks for. Executors and cache are then as these say.
    pub limits: Option<Limits>,
    /// Bytes of each node's cache.
    pub cache_bytes: usize,
    /// The policy that chooses what leaves a full cache; none for the profile's own.
    pub eviction: Option<&'static Eviction>,
    /// How nodes acquire tasklets; none for the profile's own way.
    pub acquisition: Option<AcquisitionConfig>,
    /// Whether calls say which robot makes them.
    pub clients: bool,
    /// Whether robots that have driven on ask for the results of their calls where they are.
    pub hand_over: bool,
    /// How urgent the calls of robots are; none if all are alike and have as much time as they need.
    pub urgency: Option<Urgency>,
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
    /// How often nodes repeat a frame that a neighbour does not acknowledge; 0: frames are not acknowledged.
    pub repeats: u8,
    /// The medium that each node shares with its neighbours, if they do.
    pub medium: Option<Bandwidth>,
    /// Whether calls begin only when their whole chain is here; none for the profile's own way.
    pub preload: Option<bool>,
    /// Which tasklets are native, and which nodes lack a kind of executor.
    pub kinds: Kinds,
    /// How wrong the declared costs are: each is, by chance, so many times what the tasklet uses, or
    /// this part of it; 1 if they are right.
    pub cost_error: f64,
    /// How nodes go down, if they do.
    pub churn: Option<Churn>,
    /// What nodes use, in reports.
    pub energy: Energy,
    /// What each call between tasklets costs: the caller is saved and restored, the callee loaded.
    pub call_cost: Duration,
    /// What compressed modules have of their length, from 0.2 to 1; none if modules travel as they
    /// run. The contents of modules are made so that they can be compressed that far.
    pub code_ratio: Option<f64>,
    /// Whether a node may lose its catalogue: then all have room to give it on and to get it again. Without
    /// that, nodes have less besides their caches than the largest catalogue.
    pub catalogue_moves: bool,
}

impl Default for Settings {
    /// The paper's, with the default profile.
    fn default() -> Self {
        Self {
            profile: Profile::Default,
            cut: Cut::Nimble,
            executors: None,
            placement: None,
            limits: None,
            cache_bytes: 32768,
            eviction: None,
            acquisition: None,
            clients: true,
            hand_over: false,
            urgency: None,
            announce: None,
            header_bytes: 28,
            accounting: Accounting::Nominal,
            seed: 1,
            link: LinkModel::PAPER,
            mtu: 4096,
            repeats: 0,
            medium: None,
            preload: None,
            kinds: Kinds::default(),
            cost_error: 1.0,
            churn: None,
            energy: Energy::default(),
            call_cost: Duration::from_millis(6),
            code_ratio: None,
            catalogue_moves: false,
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
    /// The catalogue's delta, for nodes that come back.
    delta: Vec<u8>,
    /// Triggers that a node has taken or refused, or that met a node that was down.
    triggered: usize,
    /// Which of them is followed, from 1.
    follow: usize,
    refused: u64,
    next: usize,
    /// When nodes go down and come back, the next one last.
    turns: Vec<Turn>,
    /// What nodes had acquired before they went down.
    acquired: Vec<Acquired>,
    faults: Faults,
    /// What robots wait for; none if they do not ask for it.
    errands: Option<Errands>,
    /// The deadlines of calls; none if they have none.
    deadlines: Option<Book>,
}

/// The faults that befall a run.
struct Faults {
    upheaval: Upheaval,
    incidents: Vec<Incident>,
    /// When each begins and ends.
    schedule: Vec<(Instant, bool, usize)>,
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
        let kinds = settings.kinds;
        let (mut drafts, names) = drafts(&tasks, kinds.natives);
        misdeclare(&mut drafts, settings.cost_error, settings.seed);
        let mut publisher = Publisher::new(NAMESPACE);
        if let Some(ratio) = settings.code_ratio {
            let mut code = Code::new(ratio);
            for draft in &mut drafts {
                code.fill(&mut draft.module);
            }
            publisher = publisher.compressing(code.dictionary());
        }
        let delta = publisher.publish(&drafts, |_| None);
        let mut archive = Archive::new();
        shelve(&mut archive, &delta, publisher.modules());
        let registry = NodeId(trace.registry.id);
        let namespace = NamespaceConfig {
            name: publisher.name(),
            registry,
            key: publisher.key(),
            capabilities: Capabilities::NONE,
            stays: false,
        };
        let everyone = || [registry].into_iter().chain(trace.ids());
        let mesh = Distances::of(trace);
        let call_cost = settings.call_cost;
        let tally = Tally::new(everyone(), trace.duration(), tasks.chains.len() as u16);
        let natives = Rc::new(natives(&tasks, kinds.natives));
        let places: Vec<NodeId> = trace.ids().collect();
        let mut engine = Engine::new(settings.seed, tally, move |id| {
            let place = places.iter().position(|place| *place == id);
            let without = |share| place.is_some_and(|at| lacks(at, share));
            let natives = (!without(kinds.without_native)).then(|| natives.clone());
            let runs_wasm = !without(kinds.without_wasm);
            Box::new(KindsExecutor::new(call_cost, runs_wasm, natives))
        });
        let decoded = Delta::decode(&delta).expect("a published delta is well formed");
        let limits = limits(trace, &settings, &decoded, &mesh);
        let crowds = crowds(trace);
        for id in everyone() {
            let mut config = match settings.profile {
                Profile::Paper => paper(id, settings.mtu, &mesh),
                Profile::Default => Config::new(id, settings.mtu),
            };
            for link in &mut config.links {
                *link = link.with_repeats(settings.repeats);
            }
            config.seed = settings.seed;
            config.namespaces = vec![namespace];
            config.limits = limits;
            if let Some(own) = settings.limits {
                let steps = limits.steps;
                config.limits = Limits { steps, ..own };
            } else if settings.executors.is_none() {
                let crowd = crowds.get(&id.0).copied().unwrap_or(0);
                let crowd = crowd.clamp(16, UNLIMITED);
                config.limits.jobs = crowd;
                config.limits.executors = crowd;
            }
            config.placement = settings.placement.unwrap_or(config.placement);
            config.fuel_ms = FUEL_MS;
            config.eviction = settings.eviction.unwrap_or(config.eviction);
            config.acquisition = settings.acquisition.unwrap_or(config.acquisition);
            config.acquisition.preload = settings.preload.unwrap_or(config.acquisition.preload);
            config.pace.announce = settings.announce.unwrap_or(config.pace.announce);
            if id == registry {
                config.limits = limits;
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
        let end = moment(trace.duration_s);
        let turns = settings
            .churn
            .map(|churn| churn.turns(settings.seed, trace.ids(), end));
        let mut turns = turns.unwrap_or_default();
        turns.reverse();
        let mut run = Self {
            trace,
            settings,
            tasks,
            engine,
            names,
            delta,
            triggered: 0,
            follow: 1,
            refused: 0,
            next: 0,
            turns,
            acquired: Vec::new(),
            faults: Faults {
                upheaval: Upheaval::new(trace.all_links().collect(), settings.link),
                incidents: Vec::new(),
                schedule: Vec::new(),
                next: 0,
            },
            errands: settings.hand_over.then(|| Errands::new(&trace.contacts)),
            deadlines: settings.urgency.map(|_| Book::default()),
        };
        run.engine.observer_mut().ends = settings.urgency.map(|_| Vec::new());
        run.engine.observer_mut().results = settings.hand_over.then(Vec::new);
        for id in everyone() {
            run.start(id);
        }
        run
    }

    /// Starts a node with the catalogue.
    fn start(&mut self, id: NodeId) {
        let started = self.engine.start(id);
        started.expect("a trace makes valid configurations");
        if id != NodeId(self.trace.registry.id) {
            let decoded = Delta::decode(&self.delta).expect("a published delta is well formed");
            let installed = self
                .engine
                .command(id, |node, now| node.install(now, &decoded));
            installed.expect("the first delta fits every node");
        }
    }

    /// Lets faults befall the nodes and links.
    ///
    /// # Errors
    /// [`BadScenario`] if they name what the trace does not have, or what only a trial of a swarm can
    /// have.
    pub fn befall(&mut self, faults: &Trial) -> Result<(), BadScenario> {
        faults.check_for(self.trace)?;
        let lost = faults.loses_catalogue() && self.settings.profile == Profile::Default;
        must(
            self.settings.catalogue_moves || !lost,
            "fault.keeps",
            || "a node would lose the catalogue, which no other has room to give on".to_owned(),
        )?;
        self.faults.incidents.clone_from(&faults.incidents);
        self.faults.schedule = schedule(&faults.incidents);
        Ok(())
    }

    /// Goes on to the moment `to` at most; false if the trace is over.
    pub fn advance(&mut self, to: Duration) -> bool {
        let end = moment(self.trace.duration_s);
        let to = (Instant::ZERO + to).min(end);
        loop {
            let turn = self.turns.last().filter(|turn| turn.at <= to).copied();
            let trigger = self.trace.triggers.get(self.next);
            let trigger = trigger.filter(|trigger| moment(trigger.at_s) <= to);
            let before = trigger.map_or(to, |trigger| moment(trigger.at_s));
            let before = turn.map_or(before, |turn| before.min(turn.at));
            let arrival = self.errands.as_ref().and_then(Errands::next_contact);
            if let Some(at) = arrival.filter(|at| *at <= before) {
                self.go_on(at);
                self.engine.advance(at);
                let asked = self.errands.as_mut().map(Errands::arrive);
                asked.into_iter().flatten().for_each(|it| self.claim(&it));
                continue;
            }
            match (turn, trigger) {
                (Some(turn), trigger) if trigger.is_none_or(|it| turn.at <= moment(it.at_s)) => {
                    self.turns.pop();
                    self.go_on(turn.at);
                    self.turn(turn);
                }
                (_, Some(trigger)) => {
                    self.next += 1;
                    self.go_on(moment(trigger.at_s));
                    self.trigger(*trigger);
                }
                (_, None) => break,
            }
        }
        self.go_on(to);
        self.engine.run(to);
        self.hand_over();
        self.note_ends();
        to < end
    }

    /// A robot asks for the result of an earlier call at the node in its reach.
    fn claim(&mut self, question: &Question) {
        let Question {
            node,
            at,
            key,
            name,
        } = *question;
        if self.engine.node(node).is_none() {
            return;
        }
        self.engine.observer_mut().claims = true;
        let claimed = self.engine.command(node, |node, now| {
            let request = CallRequest {
                name,
                export: "",
                args: &[],
                deadline: None,
                priority: Priority::Normal,
                client: Some(key.client),
                key: None,
                from: None,
            };
            node.claim(now, at, (key, request))
        });
        let now = self.engine.now();
        let tally = self.engine.observer_mut();
        tally.claims = false;
        let Some(errands) = &mut self.errands else {
            return;
        };
        match claimed {
            Ok(call) => {
                errands.asked(now, question, call);
                tally.note_claim(node, call);
            }
            // What is refused at once ends at once.
            Err(fault) => {
                let call = (node, CallId(0));
                errands.asked(now, question, CallId(0));
                let results = tally.results.iter_mut();
                results.for_each(|results| results.push((now, call, Err(fault))));
            }
        }
    }

    /// Gives robots the results that have come since this was done last.
    fn hand_over(&mut self) {
        while let Some(errands) = &mut self.errands {
            let told = self.engine.observer_mut().results.as_mut();
            let told = told.map(core::mem::take).unwrap_or_default();
            if told.is_empty() {
                break;
            }
            let ended = told.into_iter();
            let ended = ended.filter_map(|(at, call, result)| errands.ended(at, call, result));
            let again: Vec<Question> = ended.collect();
            again.iter().for_each(|question| self.claim(question));
        }
    }

    /// Notes which calls with deadlines have ended since this was done last.
    fn note_ends(&mut self) {
        let told = self.engine.observer_mut().ends.as_mut();
        let told = told.map(core::mem::take).unwrap_or_default();
        if let Some(deadlines) = &mut self.deadlines {
            told.into_iter().for_each(|told| deadlines.told(told));
        }
    }

    /// A node goes down, and with it the calls that it had taken, or comes back.
    fn turn(&mut self, Turn { at, node: id, up }: Turn) {
        self.engine.advance(at);
        self.note_lost(id);
        if !up {
            return self.engine.crash(id);
        }
        if self.engine.node(id).is_some() {
            return;
        }
        // Its packets have numbers that none of its earlier ones had.
        let first = &mut self.engine.config_mut(id).first_sequence;
        *first = first.wrapping_add(1 << 20);
        self.start(id);
    }

    /// A robot triggers a chain.
    fn trigger(&mut self, trigger: Trigger) {
        let Some(node) = trigger.node.map(NodeId) else {
            return;
        };
        self.engine.advance(moment(trigger.at_s));
        self.hand_over();
        self.note_ends();
        self.triggered += 1;
        let wish = self.settings.urgency.map(|urgency| {
            let wish = urgency.wish(self.trace.seed, self.next - 1);
            (wish, urgency.told)
        });
        let name = self.names[trigger.chain as usize];
        let is_followed = self.triggered == self.follow;
        if is_followed {
            let now = self.engine.now();
            let follower = &mut self.engine.observer_mut().follower;
            follower.expect(now, node, name);
        }
        if self.engine.node(node).is_none() {
            self.refused += 1;
            if let (Some(deadlines), Some((wish, _))) = (&mut self.deadlines, wish) {
                let now = self.engine.now();
                deadlines.called(now, node, wish, Err(Fault::Unreachable));
            }
            if let Some(errands) = &mut self.errands {
                errands.not_taken();
            }
            if is_followed {
                let now = self.engine.now();
                let follower = &mut self.engine.observer_mut().follower;
                follower.called(now, Err(Fault::Unreachable));
            }
            return;
        }
        let client = ClientId(trigger.robot);
        let number = self.triggered as u32;
        let key = self.errands.as_ref().map(|_| CallKey { client, number });
        let client = self.settings.clients.then_some(client);
        let told = wish.filter(|(_, told)| *told).map(|(wish, _)| wish);
        let taken = self.engine.command(node, |node, now| {
            let request = CallRequest {
                name,
                export: "",
                args: &[0x80],
                deadline: told.map(|wish| wish.deadline),
                priority: told.map_or(Priority::Normal, |wish| wish.priority),
                client,
                key,
                from: None,
            };
            node.call(now, request)
        });
        if let (Some(errands), Some(key)) = (&mut self.errands, key) {
            let now = self.engine.now();
            match taken {
                Ok(call) => errands.called(now, (node, call), (key, name)),
                Err(_) => errands.not_taken(),
            }
        }
        if let (Some(deadlines), Some((wish, _))) = (&mut self.deadlines, wish) {
            deadlines.called(self.engine.now(), node, wish, taken);
        }
        let now = self.engine.now();
        let tally = self.engine.observer_mut();
        if is_followed {
            tally.follower.called(now, taken);
        }
        if let Err(fault) = taken {
            *tally.failed.entry(fault.code()).or_default() += 1;
        }
    }

    /// Follows the call with this number, from 1, of those that robots in contact make; without it the
    /// first. Choose it before the run begins.
    pub fn follow(&mut self, number: usize) {
        self.follow = number;
    }

    /// The number of the call that took longest of those that have ended with a result; none if none
    /// has.
    pub fn slowest(&self) -> Option<usize> {
        let ended = &self.engine.observer().ended;
        // Of equally slow ones the first.
        let slowest = ended.iter().rev().max_by_key(|call| call.took)?;
        let made = (slowest.at - Instant::ZERO).checked_sub(slowest.took)?;
        let calls = self.trace.triggers.iter().filter(|it| it.node.is_some());
        let mut calls = calls.zip(1..);
        let its = |trigger: &Trigger| {
            trigger.node == Some(slowest.node.0) && moment(trigger.at_s) == Instant::ZERO + made
        };
        let (_, number) = calls.find(|(trigger, _)| its(trigger))?;
        Some(number)
    }

    /// Notes what a node that goes down had acquired, and the calls that end with it.
    fn note_lost(&mut self, id: NodeId) {
        self.note_ends();
        if let Some(deadlines) = &mut self.deadlines {
            deadlines.lose(id);
        }
        if let Some(errands) = &mut self.errands {
            errands.lose(id);
        }
        if let Some(node) = self.engine.node(id) {
            self.acquired.push(node.counters().acquired);
            let lost = node.calls().filter(|call| call.caller.is_none());
            self.refused += lost.count() as u64;
            let now = self.engine.now();
            self.engine.observer_mut().follower.lost(now, id);
        }
    }

    /// Lets the faults of all moments up to `to` begin and end.
    fn go_on(&mut self, to: Instant) {
        while let Some((at, begins, number)) = self.faults.schedule.get(self.faults.next).copied()
            && at <= to
        {
            self.faults.next += 1;
            self.engine.advance(at);
            let what = self.faults.incidents[number].what.clone();
            if let What::Crash { node, .. } = what
                && begins
            {
                self.note_lost(NodeId(node));
            }
            let upheaval = &mut self.faults.upheaval;
            match begins {
                true => upheaval.begin(&mut self.engine, &what),
                false => upheaval.end(&mut self.engine, &what),
            }
            if let What::Crash { node, .. } = what
                && !begins
            {
                self.give_catalogue(NodeId(node));
            }
        }
    }

    /// Gives a node that has started anew the catalogue, if its protocol has no way to get it: the
    /// paper's nodes hold it from the start.
    fn give_catalogue(&mut self, id: NodeId) {
        let is_up = self.engine.node(id).is_some() && id != NodeId(self.trace.registry.id);
        if self.settings.profile == Profile::Paper && is_up {
            let decoded = Delta::decode(&self.delta).expect("a published delta is well formed");
            // One that has kept it has it already.
            let _ = self
                .engine
                .command(id, |node, now| node.install(now, &decoded));
        }
    }

    /// The nodes and links.
    pub fn engine(&self) -> &Engine<Tally> {
        &self.engine
    }

    /// How it went so far.
    pub fn course(&self) -> Course {
        let tally = self.engine.observer();
        Course::new(self.trace.duration_s, self.next as u64, tally)
    }

    /// What has come out so far.
    pub fn report(&self) -> Report {
        let registry = NodeId(self.trace.registry.id);
        let nodes = || self.engine.nodes().filter(|node| node.id() != registry);
        let acquired = nodes().map(|node| node.counters().acquired);
        let replay = Replay {
            trace: self.trace,
            tasks: &self.tasks,
            settings: &self.settings,
            tally: self.engine.observer(),
            triggered: self.triggered as u64,
            refused: self.refused,
            acquired: acquired.chain(self.acquired.iter().copied()).collect(),
            held_bytes: nodes().map(|node| node.cache().used() as u64).collect(),
        };
        let mut report = Report::of(&replay);
        report.hand_over = self.errands.as_ref().map(|errands| {
            let claimed = self.engine.observer().claimed();
            let Settings {
                accounting,
                header_bytes,
                ..
            } = self.settings;
            errands.outcome(claimed.bytes(accounting, header_bytes))
        });
        let deadlines = self.deadlines.as_ref();
        report.deadlines = deadlines.map(|book| book.outcome(self.engine.now()));
        report.event_log_hash = format!("{:016x}", self.engine.event_log_hash());
        report
    }
}

/// How a catalogue names a chain.
pub fn chain_name(id: u32) -> String {
    format!("chain-{id:05}")
}

/// How a catalogue names an algorithm.
pub fn algorithm_name(id: u32) -> String {
    format!("run-{id:05}")
}

/// The native tasklets that devices have, and how long each runs.
fn natives(tasks: &TaskSet, natives: u32) -> BTreeMap<TaskletName, Duration> {
    let algorithms = tasks.algorithms.iter().take(natives as usize);
    let named = algorithms.map(|algorithm| {
        let name = format!("{NAMESPACE}/{}", algorithm_name(algorithm.id)).parse();
        let name = name.expect("names of algorithms are valid");
        (name, duration(algorithm.run_s))
    });
    named.collect()
}

/// The tasklets to publish, chains first, and the names of chains; the first algorithms are native.
fn drafts(tasks: &TaskSet, natives: u32) -> (Vec<Draft>, Vec<TaskletName>) {
    let micros = |seconds: &f64| duration(*seconds).as_micros() as u32;
    let chains = tasks.chains.iter().map(|chain| {
        let times: Vec<u32> = chain.segments_s.iter().map(micros).collect();
        let module = TimedExecutor::module(&times, chain.size_bytes as usize);
        let cost = times.iter().map(|time| u64::from(*time)).sum();
        let draft = Draft::new(&chain_name(chain.id), module, "func()").costing(cost);
        chain.calls.iter().fold(draft, |draft, id| {
            draft.calling(&format!("{NAMESPACE}/{}", algorithm_name(*id)), "func()")
        })
    });
    let algorithms = tasks.algorithms.iter().map(|algorithm| {
        let module =
            TimedExecutor::module(&[micros(&algorithm.run_s)], algorithm.size_bytes as usize);
        let name = algorithm_name(algorithm.id);
        match algorithm.id < natives {
            true => Draft::new(&name, Vec::new(), "func()").native(),
            false => Draft::new(&name, module, "func()").costing(micros(&algorithm.run_s).into()),
        }
    });
    let drafts: Vec<Draft> = chains.chain(algorithms).collect();
    let names = drafts[..tasks.chains.len()].iter().map(|draft| {
        let name = format!("{NAMESPACE}/{}", draft.name);
        name.parse().expect("names of drafts are valid")
    });
    let names = names.collect();
    (drafts, names)
}

/// Makes declared costs wrong by this factor, up or down.
fn misdeclare(drafts: &mut [Draft], error: f64, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(COST_STREAM);
    for draft in drafts {
        let factor = if random.random() { error } else { 1.0 / error };
        draft.cost = (draft.cost as f64 * factor).round() as u64;
    }
}

/// The paper's configuration, with the neighbours and routes of the mesh. Addresses on the link are
/// the neighbours' ids.
pub fn paper(id: NodeId, mtu: u16, mesh: &Distances) -> Config {
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
    let catalogue = CatalogueLimits {
        entries,
        bytes: lengths().sum::<usize>() + entries * CatalogueLimits::BESIDE_ENTRY,
        entry_bytes: lengths().max().unwrap_or(0),
        retired: 0,
    };
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
        peers: 4 * nodes,
        routes: nodes,
        neighbours: degrees.max().unwrap_or(0).max(16),
        outbox_bytes: 4 * usize::from(settings.mtu.max(4096)),
        servings: 64,
        catalogue,
        // Every node holds the catalogue from the start. Its room lets modules lie where there is no
        // gap for them among those that are in use.
        delta_bytes: match settings.catalogue_moves {
            true => DELTA_BYTES.max(DELTA_BYTES_BESIDE + catalogue.bytes),
            false => DELTA_BYTES,
        },
        results: if settings.hand_over { 2 * jobs } else { 0 },
        result_bytes: if settings.hand_over { 64 << 10 } else { 0 },
        steps: 1 + longest_chain.unwrap_or(0),
        image_bytes: 1024,
        flows: 0,
        ..Limits::linux()
    }
}
