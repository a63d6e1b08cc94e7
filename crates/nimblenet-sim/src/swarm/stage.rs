//! A trial on the stage: real nodes, a clock, and somebody who makes things go wrong.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::rc::Rc;

use core::cell::Cell;
use core::panic::AssertUnwindSafe;
use core::time::Duration;

use nimblenet_core::wire::Frame;
use nimblenet_core::{
    Archive, CallId, CallKey, CallRequest, CatalogueLimits, ClientId, Config, Instant, Limits,
    LinkConfig, NamespaceConfig, Priority, Role,
};
use nimblenet_tasklet::{Capabilities, Delta, NodeId, TaskletName};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::check::flow::FlowSight;
use super::check::result::{FIRST_TOKEN, value};
use super::check::{Asked, End, GRACE, Sight};
use super::echo::EchoExecutor;
use super::feeding::{Feeding, Step};
use super::flow;
use super::goods::{Change, Goods, NAMESPACES};
use super::trial::{Call, Incident, Level, Mesh, Trial, What};
use super::upheaval::{Upheaval, first_sequence};
use super::watch::Watch;
use super::{Failure, Verdict};
use crate::engine::Engine;
use crate::link::LinkModel;
use crate::trace::{duration, moment};

/// Calls must succeed after it has been calm for so long: every earlier call has ended, and whatever a
/// node had to notice it has noticed.
const NOTICED: Duration = Duration::from_secs(12);
/// The time between two nodes that are tried.
const BETWEEN: Duration = Duration::from_millis(400);
/// How often each node is tried.
const TRIES: u32 = 2;
/// How long a call that must succeed may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// When a registry has lost what it had, its operator finds the way back so long after the calm.
const WAY_BACK: Duration = Duration::from_secs(90);
/// By then every node has heard of every catalogue: hellos are 64 s apart at most.
const AGREED: Duration = Duration::from_secs(90);
/// By then all that sources of flows were given has come to the sinks: of the pauses between their attempts,
/// the longest that they can have come to is over.
const COME: Duration = Duration::from_secs(300);
/// How long after the end of a flow nothing of it is left.
const LEFT: Duration = Duration::from_secs(930);
/// An intruder without an end goes on for so long.
const FORGING: Duration = Duration::from_secs(40);
/// The most frames that one intruder forges.
const FORGED_MAX: u32 = 2000;
/// The most steps of a run, besides one for each link and direction that a forged frame may take.
const STEPS_MAX: u64 = 400_000;
/// How long after a call it is moved.
const MOVE_AFTER: Duration = Duration::from_millis(60);
/// How long something lasts at least.
const INSTANTLY: Duration = Duration::from_millis(1);
/// The random numbers of intruders are apart from those of links.
const INTRUDER_STREAM: u64 = 2 << 32;

/// Runs a trial, and says what the checkers have found.
///
/// # Panics
/// If the trial has no mesh, or was not checked.
pub(super) fn perform(trial: &Trial) -> Verdict {
    let mesh = trial.mesh.as_ref().expect("a trial of a swarm has a mesh");
    let mut stage = Stage::new(trial, mesh);
    let played = catch_unwind(AssertUnwindSafe(|| stage.play()));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let now = stage.engine.now();
        let what = text.unwrap_or_else(|| "a panic".to_owned());
        stage.engine.observer_mut().fail(now, "invariants", what);
    }
    stage.verdict()
}

/// What is on the agenda of a trial.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Act {
    End(usize),
    Begin(usize),
    Forge(usize, u32),
    Call(usize),
    Stop(usize),
    Cancel(usize),
    Move(usize),
    Claim(usize),
    /// Links lose nothing any more.
    Calm,
    /// The operators of registries that have lost what they had find the way back.
    WayBack,
    /// A node serves and is served, or not: the number of the attempt.
    Try(NodeId, u32),
    /// The user of a flow does something.
    Flow(Step),
    /// All that was given has arrived, and the flows are stopped.
    Through,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A call.
    Call,
    /// A call whose result is kept for its client.
    Keep,
    /// The result of a call that was made at another node.
    Claim,
    /// A call that must succeed.
    Attempt,
}

/// The client of calls whose results are kept.
const CLIENT: u32 = 7;

struct Stage<'t> {
    trial: &'t Trial,
    mesh: &'t Mesh,
    engine: Engine<Watch>,
    goods: Goods,
    /// The first epoch of each namespace.
    first: Vec<Change>,
    upheaval: Upheaval,
    random: ChaCha8Rng,
    token: u32,
    /// What each call of the trial has become, while its node is up.
    taken: Vec<Vec<CallId>>,
    /// The tokens of calls whose results are to be asked for, and in which life of their node they were
    /// made.
    kept: Vec<Vec<(u32, u32)>>,
    feeding: Feeding<'t>,
    steps: u64,
    /// Frames that intruders have forged.
    forged: u64,
}

impl<'t> Stage<'t> {
    fn new(trial: &'t Trial, mesh: &'t Mesh) -> Self {
        let flows = !trial.flows.is_empty();
        let (goods, changes) = Goods::new(mesh.registries.len(), mesh.compressed, flows);
        let mut watch = Watch::new();
        watch.see(Instant::ZERO, &Sight::Begins(trial));
        let sensed = Rc::new(Cell::new(0));
        let mut engine = Engine::new(trial.seed, watch, move |_| {
            Box::new(EchoExecutor::new(sensed.clone()))
        });
        let archive = |node: u16| {
            let mut archive = Archive::new();
            let all = mesh.registries.iter().zip(&changes);
            for (_, change) in all.filter(|(registry, _)| **registry == node) {
                change.shelve(&mut archive);
            }
            archive
        };
        for id in mesh.nodes() {
            let limits = limits(id, mesh, flows);
            engine.add(config((id, limits), trial.seed, mesh, &goods, archive(id)));
        }
        for (a, b) in &mesh.links {
            engine.link(NodeId(*a), NodeId(*b), mesh.link.model());
        }
        let links = mesh.links.iter().map(|(a, b)| (NodeId(*a), NodeId(*b)));
        let mut random = ChaCha8Rng::seed_from_u64(trial.seed);
        random.set_stream(INTRUDER_STREAM);
        Self {
            trial,
            mesh,
            engine,
            goods,
            first: changes,
            upheaval: Upheaval::new(links.collect(), mesh.link.model()),
            random,
            token: FIRST_TOKEN,
            taken: vec![Vec::new(); trial.calls.len()],
            kept: vec![Vec::new(); trial.calls.len()],
            feeding: Feeding::new(&trial.flows),
            steps: 0,
            forged: 0,
        }
    }

    fn play(&mut self) {
        for id in self.mesh.nodes() {
            let started = self.engine.start(NodeId(id));
            started.expect("a trial makes valid configurations");
        }
        let mut agenda = self.agenda();
        agenda.sort();
        for (at, act) in agenda {
            if !self.advance(at) {
                return;
            }
            self.act(act);
        }
        let over = match self.trial.flows.is_empty() {
            true => AGREED,
            false => COME + LEFT,
        };
        if self.advance(self.settled() + over) {
            self.end();
        }
    }

    /// Whether a registry loses what it had.
    fn loses(&self, registry: u16) -> bool {
        let mut incidents = self.trial.incidents.iter();
        let lost = [
            What::Swap { node: registry },
            What::Rollback { node: registry },
        ];
        incidents.any(|incident| lost.contains(&incident.what))
    }

    /// When all is as it should be again.
    fn settled(&self) -> Instant {
        let calm = moment(self.mesh.turmoil_s);
        let mut registries = self.mesh.registries.iter();
        match registries.any(|registry| self.loses(*registry)) {
            true => calm + WAY_BACK,
            false => calm,
        }
    }

    fn agenda(&self) -> Vec<(Instant, Act)> {
        let mut agenda = Vec::new();
        let calm = moment(self.mesh.turmoil_s);
        for (at, incident) in self.trial.incidents.iter().enumerate() {
            let begins = Instant::ZERO + incident.begins();
            agenda.push((begins, Act::Begin(at)));
            if let Some(ends) = incident.ends() {
                // What lasts until the end of the turmoil is over then, or as soon as it has begun.
                let ends = (Instant::ZERO + ends).min(calm);
                agenda.push((ends.max(begins + INSTANTLY), Act::End(at)));
            }
            if let What::Forge { per_s, .. } = incident.what {
                agenda.extend(forgeries(at, incident, per_s, calm));
            }
        }
        for (at, call) in self.trial.calls.iter().enumerate() {
            let begins = moment(call.at_s);
            let every = duration(call.every_s.unwrap_or_default());
            let times = if every.is_zero() { 1 } else { call.times };
            agenda.extend((0..times).map(|turn| (begins + every * turn, Act::Call(at))));
            if let Some(after_s) = call.stop_after_s {
                agenda.push((begins + duration(after_s), Act::Stop(at)));
            }
            if let Some(after_s) = call.cancel_after_s {
                agenda.push((begins + duration(after_s), Act::Cancel(at)));
            }
            if call.move_to.is_some() {
                agenda.push((begins + MOVE_AFTER, Act::Move(at)));
            }
            if call.claim_at.is_some() {
                let after = duration(call.claim_after_s.unwrap_or_default());
                agenda.push((begins + after, Act::Claim(at)));
            }
        }
        agenda.push((calm, Act::Calm));
        let settled = self.settled();
        if settled > calm {
            agenda.push((settled, Act::WayBack));
        }
        let nodes = self.mesh.nodes().into_iter();
        let nodes: Vec<u16> = nodes
            .filter(|id| !self.mesh.registries.contains(id))
            .collect();
        let tries = (0..TRIES).flat_map(|number| nodes.iter().map(move |id| (*id, number)));
        for (turn, (id, number)) in tries.enumerate() {
            let at = settled + NOTICED + BETWEEN * turn as u32;
            agenda.push((at, Act::Try(NodeId(id), number)));
        }
        if !self.trial.flows.is_empty() {
            let steps = self.feeding.agenda(calm, settled + NOTICED);
            agenda.extend(steps.into_iter().map(|(at, step)| (at, Act::Flow(step))));
            agenda.push((settled + COME, Act::Through));
        }
        agenda
    }

    /// Goes on to a moment; false if a checker has found something.
    fn advance(&mut self, to: Instant) -> bool {
        while self.engine.observer().failure.is_none() && self.engine.step_before(to) {
            self.steps += 1;
            let most = STEPS_MAX + self.forged * 2 * self.mesh.links.len() as u64;
            if self.steps > most {
                let now = self.engine.now();
                let what = format!("{most} steps are not enough");
                self.engine.observer_mut().fail(now, "rest", what);
            }
        }
        let goes_on = self.engine.observer().failure.is_none();
        if goes_on {
            self.engine.advance(to);
        }
        goes_on
    }

    fn act(&mut self, act: Act) {
        let trial = self.trial;
        match act {
            Act::Begin(at) => self.begin(&trial.incidents[at].what),
            Act::End(at) => self
                .upheaval
                .end(&mut self.engine, &trial.incidents[at].what),
            Act::Forge(at, turn) => self.forge(&trial.incidents[at].what, turn),
            Act::Call(at) => self.call(at, &trial.calls[at]),
            Act::Stop(at) => {
                let node = NodeId(trial.calls[at].node);
                for call in core::mem::take(&mut self.taken[at]) {
                    if self.engine.node(node).is_some() {
                        self.engine.command(node, |node, now| node.stop(now, call));
                        self.engine.observer_mut().fire("call-stopped", 1);
                    }
                }
            }
            Act::Cancel(at) => self.cancel(at, NodeId(trial.calls[at].node)),
            Act::Move(at) => self.order_move(at, &trial.calls[at]),
            Act::Claim(at) => self.claim(at, &trial.calls[at]),
            Act::Calm => {
                let link = &self.mesh.link;
                let calm = LinkModel {
                    loss: 0.0,
                    bursts: None,
                    duplication: 0.0,
                    corruption: 0.0,
                    ..link.model()
                };
                self.upheaval.set_usual(&mut self.engine, calm);
            }
            Act::WayBack => self.find_way_back(),
            Act::Try(node, number) => self.attempt(node, number),
            Act::Flow(step) => self.feeding.act(&mut self.engine, step),
            Act::Through => self.through(),
        }
    }

    /// Compares what sinks of flows have with what their sources were given, and stops the flows.
    fn through(&mut self) {
        let now = self.engine.now();
        let goes_on: Vec<_> = self.feeding.goes_on(&self.engine).collect();
        for (flow, source, sink) in goes_on {
            if self.reached(source).contains(&sink) {
                let watch = self.engine.observer_mut();
                watch.see(now, &Sight::Flow(FlowSight::Through(flow, source)));
                watch.fire("flow-through", 1);
            }
        }
        self.feeding.stop_all(&mut self.engine);
    }

    fn begin(&mut self, what: &What) {
        match what {
            What::Crash { node, .. } => {
                let (id, now) = (NodeId(*node), self.engine.now());
                let was_up = self.engine.node(id).is_some();
                self.upheaval.begin(&mut self.engine, what);
                if !was_up {
                    return;
                }
                let calls = self.trial.calls.iter().zip(&mut self.taken);
                calls
                    .filter(|(call, _)| call.node == *node)
                    .for_each(|(_, taken)| taken.clear());
                self.engine.observer_mut().see(now, &Sight::Down(id));
            }
            What::Publish { node, withdraw } => self.publish(NodeId(*node), *withdraw),
            What::Swap { node } | What::Rollback { node } => {
                self.replace(NodeId(*node), matches!(what, What::Rollback { .. }));
            }
            What::Clock { .. }
            | What::Slow { .. }
            | What::Drain { .. }
            | What::Misreport { .. }
            | What::Cut { .. }
            | What::Partition { .. }
            | What::Link { .. }
            | What::Forge { .. } => self.upheaval.begin(&mut self.engine, what),
        }
        self.engine.observer_mut().fire(what.name(), 1);
    }

    /// The namespaces of a registry.
    fn namespaces_of(&self, registry: NodeId) -> Vec<usize> {
        let registries = self.mesh.registries.iter().enumerate();
        let own = registries.filter(|(_, id)| **id == registry.0);
        own.map(|(at, _)| at).collect()
    }

    fn publish(&mut self, registry: NodeId, withdraw: bool) {
        if self.engine.node(registry).is_none() {
            return;
        }
        for at in self.namespaces_of(registry) {
            let change = match withdraw {
                true => self.goods.withdraw(at),
                false => self.goods.publish(at),
            };
            self.take_up(registry, &change);
        }
    }

    /// Gives a registry a change.
    fn take_up(&mut self, registry: NodeId, change: &Change) {
        if let Role::Registry(archive) = &mut self.engine.config_mut(registry).role {
            change.shelve(archive);
        }
        let Change { delta, modules } = change;
        let published = self.engine.command(registry, |node, now| {
            let delta = Delta::decode(delta).expect("a published delta is well formed");
            node.publish(now, &delta, modules.iter().map(Vec::as_slice))
        });
        published.expect("a published delta fits its registry");
    }

    /// Operators publish what their registries have left as an epoch that all nodes take up.
    fn find_way_back(&mut self) {
        let now = self.engine.now();
        let mut watch = core::mem::replace(self.engine.observer_mut(), Watch::new());
        watch.see(now, &Sight::Settled(&self.ends()));
        *self.engine.observer_mut() = watch;
        for registry in self.mesh.registries.clone() {
            if !self.loses(registry) || self.engine.node(NodeId(registry)).is_none() {
                continue;
            }
            for at in self.namespaces_of(NodeId(registry)) {
                let change = self.goods.publish_again(at);
                self.take_up(NodeId(registry), &change);
            }
            self.engine.observer_mut().fire("way-back", 1);
        }
    }

    /// Starts a registry with another content: that of the first epoch, or one of the same epoch.
    fn replace(&mut self, registry: NodeId, older: bool) {
        if self.engine.node(registry).is_none() {
            return;
        }
        let mut archive = Archive::new();
        for at in self.namespaces_of(registry) {
            if older {
                self.goods.roll_back(at);
                self.first[at].shelve(&mut archive);
            } else {
                let changes = self.goods.swap(at);
                changes
                    .iter()
                    .for_each(|change| change.shelve(&mut archive));
            }
        }
        let now = self.engine.now();
        self.engine.crash(registry);
        self.engine.observer_mut().see(now, &Sight::Down(registry));
        let config = self.engine.config_mut(registry);
        config.role = Role::Registry(archive);
        config.first_sequence = first_sequence(now, 0.0);
        self.engine.begin_clock(registry);
        let started = self.engine.start(registry);
        started.expect("it had this configuration before");
    }

    fn forge(&mut self, what: &What, turn: u32) {
        let What::Forge {
            from,
            to,
            what: lie,
            origins,
            ..
        } = what
        else {
            return;
        };
        let (from, to, now) = (NodeId(*from), NodeId(*to), self.engine.now());
        let tap = &self.engine.observer().tap;
        let frames = tap.forge(*lie, (from, to), (turn, *origins), &mut self.random);
        for bytes in frames {
            let frame = Frame::parse(&bytes).ok();
            let watch = self.engine.observer_mut();
            watch.see(now, &Sight::Injected(frame.as_ref(), bytes.len()));
            watch.fire("forged-frame", 1);
            self.forged += 1;
            self.engine.inject(from, to, &bytes);
        }
    }

    fn call(&mut self, at: usize, call: &Call) {
        let name: TaskletName = call.tasklet.parse().expect("the trial was checked");
        let at_once = if call.every_s.is_some() {
            1
        } else {
            call.times
        };
        for _ in 0..at_once {
            let node = NodeId(call.node);
            let deadline = duration(call.deadline_s);
            self.token += 1;
            let to_keep = call.claim_at.is_some();
            let purpose = match to_keep {
                true => Purpose::Keep,
                false => Purpose::Call,
            };
            let taken = self.ask(
                node,
                call.on.map(NodeId),
                name,
                (deadline, self.token, purpose),
                Level::priority(call.priority),
            );
            if to_keep {
                let life = self.engine.crashes(node);
                self.kept[at].push((self.token, life));
            }
            self.taken[at].extend(taken);
        }
        let overload = call.every_s.is_some();
        let watch = self.engine.observer_mut();
        watch.fire("overload", overload.into());
        if at_once > 4 {
            self.engine.observer_mut().fire("crowd", 1);
        }
    }

    /// Cancels calls of a node, those that have not ended.
    fn cancel(&mut self, at: usize, node: NodeId) {
        for call in core::mem::take(&mut self.taken[at]) {
            if self.engine.node(node).is_none() {
                continue;
            }
            // The end may come within the command.
            let now = self.engine.now();
            let watch = self.engine.observer_mut();
            watch.see(now, &Sight::Cancels(node, Some(call)));
            let cancelled = self
                .engine
                .command(node, |node, now| node.cancel(now, call));
            let watch = self.engine.observer_mut();
            watch.see(now, &Sight::Cancels(node, None));
            watch.fire("call-cancelled", u64::from(cancelled.is_ok()));
        }
    }

    fn order_move(&mut self, at: usize, call: &Call) {
        let node = NodeId(call.node);
        let (Some(to), Some(taken)) = (call.move_to, self.taken[at].first()) else {
            return;
        };
        if self.engine.node(node).is_some() {
            let call = *taken;
            let ordered = self
                .engine
                .command(node, |node, now| node.move_call(now, call, NodeId(to)));
            let ordered = u64::from(ordered.is_ok());
            self.engine.observer_mut().fire("move-ordered", ordered);
        }
    }

    /// The client of calls asks for their results, or makes them once more.
    fn claim(&mut self, at: usize, call: &Call) {
        let name: TaskletName = call.tasklet.parse().expect("the trial was checked");
        let (node, claims_at) = (NodeId(call.node), call.claim_at.map(NodeId));
        let deadline = duration(call.deadline_s);
        for (token, life) in core::mem::take(&mut self.kept[at]) {
            // Who knows nothing of the call any more, or keeps nothing, would run another one.
            let keeps = self.engine.config_mut(node).limits.results > 0;
            let remembers = keeps && self.engine.crashes(node) == life;
            match claims_at {
                Some(other) if other != node => {
                    let wish = (deadline, token, Purpose::Claim);
                    self.ask(other, Some(node), name, wish, Priority::Normal);
                    self.engine.observer_mut().fire("claim", 1);
                }
                _ if remembers => {
                    let on = call.on.map(NodeId);
                    let (wish, level) = ((deadline, token, Purpose::Keep), call.priority);
                    self.ask(node, on, name, wish, Level::priority(level));
                    self.engine.observer_mut().fire("call-again", 1);
                }
                _ => {}
            }
        }
    }

    /// Calls a tasklet with a token as its argument, or asks for the result of such a call, and tells the
    /// checkers.
    fn ask(
        &mut self,
        node: NodeId,
        on: Option<NodeId>,
        name: TaskletName,
        (deadline, token, purpose): (Duration, u32, Purpose),
        priority: Priority,
    ) -> Option<CallId> {
        self.engine.node(node)?;
        let args = value(token);
        let client = ClientId(CLIENT);
        let number = token;
        let key = CallKey { client, number };
        let taken = self.engine.command(node, |node, now| {
            let request = CallRequest {
                name,
                export: "",
                args: &args,
                deadline: Some(deadline),
                priority,
                client: None,
                key: (purpose == Purpose::Keep).then_some(key),
                from: None,
            };
            match on {
                Some(on) if purpose == Purpose::Claim => node.claim(now, on, (key, request)),
                Some(on) => node.call_at(now, on, request),
                None => node.call(now, request),
            }
        });
        let now = self.engine.now();
        let asked = Asked {
            node,
            token,
            until: now + duration(deadline.as_secs_f64() / self.slowest(node)) + GRACE,
            must_succeed: purpose == Purpose::Attempt,
            urgency: (purpose != Purpose::Claim).then_some((priority, deadline)),
            taken,
        };
        let watch = self.engine.observer_mut();
        watch.see(now, &Sight::Asked(&asked));
        watch.fire("call", 1);
        watch.fire("call-refused", u64::from(taken.is_err()));
        taken.ok()
    }

    /// How slow the node's clock may be.
    fn slowest(&self, node: NodeId) -> f64 {
        let incidents = self.trial.incidents.iter();
        let rates = incidents.filter_map(|incident| {
            let What::Clock {
                node: clock, rate, ..
            } = incident.what
            else {
                return None;
            };
            (clock == node.0).then_some(rate)
        });
        rates.fold(1.0, f64::min)
    }

    /// A call that must succeed: first here, then at another node.
    fn attempt(&mut self, node: NodeId, number: u32) {
        let reached = self.reached(node);
        let registries = self.mesh.registries.iter().enumerate();
        let served = registries.filter(|(_, registry)| reached.contains(&NodeId(**registry)));
        let served: Vec<usize> = served.map(|(at, _)| at).collect();
        // Chains of the second namespace need both.
        let Some(at) = served.len().checked_sub(1) else {
            return;
        };
        if at != served[at] || self.engine.node(node).is_none() {
            return;
        }
        let name = format!("{}/chain", NAMESPACES[at]);
        let name = name.parse().expect("it is published");
        let is_other = |id: &&NodeId| **id != node && !self.mesh.registries.contains(&id.0);
        let others: Vec<NodeId> = reached.iter().filter(is_other).copied().collect();
        let on = (number > 0 && !others.is_empty())
            .then(|| others[(usize::from(node.0) * 7 + number as usize) % others.len()]);
        self.token += 1;
        let wish = (PATIENCE, self.token, Purpose::Attempt);
        self.ask(node, on, name, wish, Priority::Normal);
    }

    /// The nodes that are up and that frames reach from `node` and back, not through registries.
    fn reached(&self, node: NodeId) -> BTreeSet<NodeId> {
        let links = self
            .mesh
            .links
            .iter()
            .map(|(a, b)| (NodeId(*a), NodeId(*b)));
        let both = |(a, b): &(NodeId, NodeId)| {
            let up = self.engine.node(*a).is_some() && self.engine.node(*b).is_some();
            up && self.upheaval.passes(*a, *b) && self.upheaval.passes(*b, *a)
        };
        let links: Vec<(NodeId, NodeId)> = links.filter(both).collect();
        let mut reached = BTreeSet::from([node]);
        let mut edge = vec![node];
        while let Some(at) = edge.pop() {
            if at != node && self.mesh.registries.contains(&at.0) {
                continue;
            }
            for (a, b) in &links {
                let other = if *a == at {
                    *b
                } else if *b == at {
                    *a
                } else {
                    continue;
                };
                if reached.insert(other) {
                    edge.push(other);
                }
            }
        }
        reached
    }

    fn end(&mut self) {
        let now = self.engine.now();
        // The observer is lent apart from the nodes.
        let mut watch = core::mem::replace(self.engine.observer_mut(), Watch::new());
        watch.end(now, &self.ends());
        if !self.trial.flows.is_empty() {
            for node in self.engine.nodes() {
                watch.see(now, &Sight::Flow(FlowSight::Over(node)));
            }
        }
        *self.engine.observer_mut() = watch;
    }

    /// How everything is.
    fn ends(&self) -> End<'_> {
        let registry = NodeId(self.mesh.registries[0]);
        let reached = self.reached(registry);
        // With a second registry, only who reaches it as well.
        let others = self
            .mesh
            .registries
            .iter()
            .map(|id| self.reached(NodeId(*id)));
        let ids = others.fold(reached, |all, other| {
            all.intersection(&other).copied().collect()
        });
        let namespaces = self.mesh.registries.iter().enumerate();
        let namespaces = namespaces.map(|(at, registry)| (self.goods.id(at), NodeId(*registry)));
        let namespaces = namespaces.collect();
        End {
            nodes: ids.iter().filter_map(|id| self.engine.node(*id)).collect(),
            namespaces,
            balances: self.engine.balances().collect(),
        }
    }

    fn verdict(mut self) -> Verdict {
        let fates = self.engine.fates();
        let watch = self.engine.observer_mut();
        for (kind, times) in [
            ("frame-sent", fates.sent),
            ("frame-lost", fates.lost),
            ("frame-swallowed", fates.too_long),
            ("frame-overflowed", fates.overflowed),
            ("frame-doubled", fates.doubled),
            ("frame-corrupted", fates.corrupted),
            ("frame-overtaken", fates.overtaken),
            ("frame-dead", fates.dead),
        ] {
            watch.fire(kind, times);
        }
        let failure: Option<Failure> = watch.failure.take();
        let fired = core::mem::take(&mut watch.fired);
        Verdict {
            failure,
            fired,
            steps: self.steps,
            event_log_hash: self.engine.event_log_hash(),
        }
    }
}

/// The moments at which an intruder speaks.
fn forgeries(
    at: usize,
    incident: &Incident,
    per_s: f64,
    calm: Instant,
) -> impl Iterator<Item = (Instant, Act)> {
    let begins = incident.begins();
    let ends = incident
        .ends()
        .map_or(calm + FORGING, |ends| (Instant::ZERO + ends).min(calm));
    let gap = duration(1.0 / per_s).max(Duration::from_micros(1));
    let moments = (0..FORGED_MAX).map(move |turn| (Instant::ZERO + begins + gap * turn, turn));
    let moments = moments.take_while(move |(moment, _)| *moment < ends);
    moments.map(move |(moment, turn)| (moment, Act::Forge(at, turn)))
}

fn config(
    (id, limits): (u16, Limits),
    seed: u64,
    mesh: &Mesh,
    goods: &Goods,
    archive: Archive,
) -> Config {
    let mut config = Config::new(NodeId(id), mesh.mtu);
    let link = LinkConfig::new(mesh.mtu).with_checksum();
    config.links = vec![link.with_repeats(mesh.repeats)];
    config.seed = seed;
    config.first_sequence = first_sequence(Instant::ZERO, 0.0);
    let namespaces = mesh.registries.iter().enumerate();
    config.namespaces = namespaces
        .map(|(at, registry)| NamespaceConfig {
            name: goods.publisher(at).name(),
            registry: NodeId(*registry),
            key: goods.publisher(at).key(),
            capabilities: Capabilities::ALL,
            stays: false,
        })
        .collect();
    config.limits = limits;
    if mesh.registries.contains(&id) {
        config.role = Role::Registry(archive);
    }
    config
}

/// The limits of a node. Those of ordinary nodes are a Linux node's, with buffers of the length that a
/// trial needs.
fn limits(id: u16, mesh: &Mesh, flows: bool) -> Limits {
    let board = Limits {
        image_bytes: 2048,
        ..Limits::board()
    };
    if mesh.tiny.contains(&id) {
        return Limits {
            cache_bytes: 2048,
            cache_entries: 6,
            jobs: 2,
            places: 4,
            acquisitions: 2,
            message_bytes: 64,
            servings: 1,
            holdings: 4,
            ..board
        };
    }
    if mesh.boards.contains(&id) {
        return board;
    }
    Limits {
        cache_bytes: mesh.cache_bytes as usize,
        cache_entries: 64,
        message_bytes: 256,
        outbox_bytes: 32 << 10,
        catalogue: CatalogueLimits::SMALL,
        delta_bytes: 8 << 10,
        shelf_bytes: 16 << 10,
        image_bytes: 4 << 10,
        holdings: 64,
        flows: if flows { flow::FLOWS } else { 0 },
        flow_items: flow::ITEMS,
        item_bytes: 16,
        ..Limits::linux()
    }
}
