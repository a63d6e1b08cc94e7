//! A replay on emulated boards, in virtual time: it repeats bit for bit.
//!
//! Time passes in steps as long as the shortest delay of a link, so that no frame that leaves within a
//! step arrives within it. In each step first the nodes of this program act, then all boards run.
//!
//! All frames of a board go over one line, and the air takes each to the neighbours for which it is.
//! Robots are at the other line, whose frames are not counted: a node for each board makes the calls.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context as _, bail, ensure};
use nimblenet_board::framing::MAX_FRAME_BYTES;
use nimblenet_board::host::LONGEST_SLEEP_US;
use nimblenet_board::provision::Provision;
use nimblenet_core::wire::{Frame, Message};
use nimblenet_core::{
    Acquired, Archive, CallId, Catalogue, CatalogueLimits, Instant, Limits, NamespaceConfig, Pace,
    Source, Step,
};
use nimblenet_node::SigningKey;
use nimblenet_sim::tally::Tally;
use nimblenet_sim::trace::{TaskSet, Trace};
use nimblenet_sim::{Draft, LinkModel, NAMESPACE, Publisher, shelve};
use nimblenet_tasklet::{
    Capabilities, Capability, Delta, NamespaceId, NodeId, Package, TaskletName, TaskletRef,
};

use super::air::Air;
use super::load::{Load, Needs};
use super::peers::{Peer, request};
use super::progress::Progress;
use super::robots::{self, Answered, Ended};
use super::runner::{Firmware, Line, Runner, Sent};
use super::{Facts, Numbers, Outcome, Plan};
use crate::scratch::Scratch;

/// The longest frame that a board's line carries.
pub(crate) const MTU: u16 = MAX_FRAME_BYTES as u16;
/// What boards need of modules and entries.
const NEEDS: Needs = Needs {
    sleep_us: LONGEST_SLEEP_US,
    // A board asks nobody to take its calls, so an entry need not say how long it runs.
    fuel_us: 0,
};
/// The secret of the publisher: the same in each replay, so that each repeats.
const SECRET: [u8; 32] = [0x5e; 32];
/// The ids of the robots' nodes are those of their boards and this.
const ROBOTS: u16 = 0x7000;
/// The time within which boards must have started and fetched the catalogue.
const START_MAX: Duration = Duration::from_secs(300);
/// The time that passes then before the trace begins.
const REST: Duration = Duration::from_secs(2);

/// Checks that boards have room for the catalogue of a task set.
///
/// # Errors
/// If they do not.
pub(crate) fn fits(tasks: &TaskSet) -> anyhow::Result<()> {
    let load = Load::of(tasks, NEEDS)?;
    let (publisher, delta) = publication(&load)?;
    let (limits, limit) = (CatalogueLimits::SMALL, Limits::board().delta_bytes);
    let mut catalogue = Catalogue::new(publisher.name(), limits);
    let delta_bytes = delta.len();
    let delta = Delta::decode(&delta).context("reading a delta")?;
    let root = catalogue.root_after(&delta);
    let applied = root.and_then(|root| catalogue.apply(&delta, &root, false));
    let room = applied.is_ok() && delta_bytes <= limit;
    ensure!(
        room,
        "the trace uses {} tasklets, for whose catalogue of {delta_bytes} B a board has no room \
         ({} B and {} entries): give fewer --seconds",
        load.packages.len(),
        limits.bytes,
        limits.entries
    );
    Ok(())
}

/// Replays a trace on boards.
///
/// # Errors
/// If the emulator cannot be started, a board is lost, or it does not get the catalogue.
pub(super) fn replay(plan: &Plan<'_>, firmware: &Firmware) -> anyhow::Result<Outcome> {
    let before = super::used();
    let Plan {
        trace, settings, ..
    } = plan;
    let progress = Progress::new(settings.cut, trace.duration_s);
    let tasks = settings.cut.of(&trace.taskset);
    let load = Load::of(&tasks, NEEDS)?;
    progress.step("starting the boards");
    let mut floor = Floor::start(plan, &tasks, &load, firmware)?;
    progress.step("waiting until all boards have the catalogue");
    floor.settle()?;
    floor.begin();
    while floor.now < floor.end {
        floor.step(floor.end)?;
        let so_far = floor.now.since(floor.begun);
        progress.time(so_far, floor.made, &floor.ended);
    }
    let states = floor.runner.look()?;
    let peak_bytes = floor.runner.peak_bytes();
    for (id, state) in trace.ids().zip(&states) {
        ensure!(
            state.resets == 0,
            "board {id} was reset {} times",
            state.resets
        );
    }
    let by_hops = floor.transfers.by_hops();
    let facts = Facts {
        hand_over: None,
        plan,
        tasks: &tasks,
        load: &load,
        numbers: Numbers {
            acquired: floor.acquired(&tasks),
            held_bytes: Vec::new(),
            outbox_full: 0,
            peak_bytes,
        },
        made: floor.made as u64,
        triggered: floor.triggered as u64,
        ended: floor.ended,
        fetched: floor.transfers.times,
    };
    drop(floor.runner);
    let under_way = facts.made - facts.ended.len() as u64;
    let mut outcome = facts.outcome(&floor.air);
    outcome.extra.by_hops = by_hops;
    (outcome.extra.cut_off, outcome.extra.unanswered) = (under_way, 0);
    outcome.extra.boards = Some(states);
    outcome.extra.hash = Some(floor.hash);
    // A board keeps no steps of its calls, and nobody asks it what its cache holds.
    outcome.report.mean_acquisition_s = None;
    outcome.report.first_acquisition_s = None;
    outcome.report.later_acquisition_s = None;
    outcome.report.cpu_s = super::used().saturating_sub(before).as_secs_f64();
    Ok(outcome)
}

/// Boards, the nodes of this program, and the air between them.
struct Floor<'a> {
    trace: &'a Trace,
    names: Vec<TaskletName>,
    air: Air,
    runner: Runner,
    registry: Peer,
    registry_id: NodeId,
    edges: BTreeMap<NodeId, Edge>,
    /// Which boards hold the catalogue.
    ready: BTreeSet<NodeId>,
    transfers: Transfers,
    /// The shortest time from one node to another, which is also that between robots and boards.
    step: Duration,
    now: Instant,
    begun: Instant,
    end: Instant,
    triggered: usize,
    made: usize,
    ended: Vec<Ended>,
    /// FNV-1a over all that boards have sent, and when.
    hash: u64,
    _scratch: Scratch,
}

/// The robots' end of a board's line.
struct Edge {
    robots: Peer,
    /// Frames on their way to it.
    coming: VecDeque<(Instant, Vec<u8>)>,
    /// The calls under way: their chains, and when they were made.
    calls: BTreeMap<CallId, (u32, Instant)>,
}

/// Modules that nodes have fetched from others.
#[derive(Default)]
struct Transfers {
    /// The receiver, the sender and the number of the request: how many links.
    seen: BTreeMap<(NodeId, NodeId, u16), u8>,
    /// When parts came to each node, from the beginning of the trace.
    times: BTreeMap<NodeId, Vec<Instant>>,
}

/// What happens next in this program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Arrival,
    Registry,
    Heard(NodeId),
    Edge(NodeId),
    Trigger,
}

impl<'a> Floor<'a> {
    fn start(
        plan: &Plan<'a>,
        tasks: &TaskSet,
        load: &Load,
        firmware: &Firmware,
    ) -> anyhow::Result<Self> {
        let Plan {
            trace, settings, ..
        } = *plan;
        let (archive, namespace) = published(load, NodeId(trace.registry.id))?;
        let registry_id = namespace.registry;
        let everyone = [registry_id].into_iter().chain(trace.ids());
        let tally = Tally::new(everyone, trace.duration(), tasks.chains.len() as u16);
        let step = least_delay(&settings.link)?;
        let scratch = Scratch::new().context("making a folder for the boards")?;
        let record = |id| Provision::new(id, vec![namespace])?.with_pace(Pace::PAPER);
        let records = trace.ids().map(record);
        let records: Vec<Provision> = records.collect::<Result<_, _>>()?;
        let logs = plan.logs.unwrap_or(scratch.path());
        let names = (0..tasks.chains.len() as u32).map(robots::name);
        let edge = |id: NodeId| {
            let calls = trace.triggers.iter().filter(|it| it.node == Some(id.0));
            let robots = Peer::robots(NodeId(ROBOTS | id.0), MTU, calls.count())?;
            let edge = Edge {
                robots,
                coming: VecDeque::new(),
                calls: BTreeMap::new(),
            };
            Ok((id, edge))
        };
        Ok(Self {
            trace,
            names: names.collect::<anyhow::Result<_>>()?,
            air: Air::new(trace.all_links(), settings.link, settings.seed, tally),
            runner: Runner::start(firmware, &records, scratch.path(), logs)?,
            registry: Peer::registry(registry_id, MTU, archive)?,
            registry_id,
            edges: trace.ids().map(edge).collect::<anyhow::Result<_>>()?,
            ready: BTreeSet::new(),
            transfers: Transfers::default(),
            step,
            now: Instant::ZERO,
            begun: Instant::ZERO,
            end: Instant::ZERO,
            triggered: 0,
            made: 0,
            ended: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            _scratch: scratch,
        })
    }

    /// Lets time pass until all boards hold the catalogue.
    fn settle(&mut self) -> anyhow::Result<()> {
        let latest = Instant::ZERO + START_MAX;
        while self.ready.len() < self.edges.len() {
            if self.now >= latest {
                let lack = self.edges.keys().filter(|id| !self.ready.contains(id));
                let lack: Vec<String> = lack.map(NodeId::to_string).collect();
                bail!(
                    "after {} s these boards do not hold the catalogue: {}",
                    START_MAX.as_secs(),
                    lack.join(", ")
                );
            }
            self.step(latest)?;
        }
        let rested = self.now + REST;
        while self.now < rested {
            self.step(rested)?;
        }
        Ok(())
    }

    /// The trace begins with the next step but one: its first call must be on its way to its board
    /// before.
    fn begin(&mut self) {
        self.begun = self.now + self.step;
        self.end = self.begun + self.trace.duration();
        self.air.begin(self.begun, self.end);
    }

    /// Lets a step pass, which ends at `latest` at the latest.
    fn step(&mut self, latest: Instant) -> anyhow::Result<()> {
        let until = (self.now + self.step).min(latest);
        while let Some((at, next)) = self.next().filter(|(at, _)| *at < until) {
            let at = at.max(self.now);
            match next {
                Next::Arrival => self.arrive(at)?,
                Next::Registry => self.registry.wake(at),
                Next::Heard(board) => self.hear(at, board),
                Next::Edge(board) => {
                    if let Some(edge) = self.edges.get_mut(&board) {
                        edge.robots.wake(at);
                    }
                }
                Next::Trigger => self.trigger(at)?,
            }
            self.collect(at)?;
        }
        for sent in self.runner.run_until(until)? {
            self.sent(sent);
        }
        self.now = until;
        Ok(())
    }

    /// What happens next outside of boards, and when; of two things at the same time the first of
    /// [`Next`].
    fn next(&self) -> Option<(Instant, Next)> {
        let arrival = self.air.next().map(|at| (at, Next::Arrival));
        let registry = self.registry.due().map(|at| (at, Next::Registry));
        let edges = self.edges.iter().flat_map(|(id, edge)| {
            let heard = edge.coming.front().map(|(at, _)| (*at, Next::Heard(*id)));
            let due = edge.robots.due().map(|at| (at, Next::Edge(*id)));
            heard.into_iter().chain(due)
        });
        let trigger = self.next_trigger().map(|at| (at, Next::Trigger));
        let all = edges.chain(arrival).chain(registry).chain(trigger);
        all.min()
    }

    /// When the next call leaves its robot: it is at its board at the moment that the trace says.
    fn next_trigger(&self) -> Option<Instant> {
        let trigger = self.trace.triggers.get(self.triggered)?;
        let at = self.begun + Duration::from_secs_f64(trigger.at_s);
        let within = self.end > self.begun && at < self.end;
        within.then(|| Instant::ZERO + at.since(Instant::ZERO + self.step))
    }

    /// A frame has come to its end of a link.
    fn arrive(&mut self, at: Instant) -> anyhow::Result<()> {
        while let Some((port, bytes)) = self.air.poll(at) {
            let (node, from) = self.air.port(port);
            self.air.arrived(at, port, &bytes, true);
            if self.end > self.begun {
                let since = Instant::ZERO + at.since(self.begun);
                self.transfers.note(since, node, &bytes);
            }
            if node == self.registry_id {
                self.registry.hear(at, from, &bytes);
            } else {
                self.runner.send(at, node, Line::Air, &bytes)?;
            }
        }
        Ok(())
    }

    /// A frame of a board has come to its robots.
    fn hear(&mut self, at: Instant, board: NodeId) {
        let edge = self.edges.get_mut(&board);
        if let Some(edge) = edge
            && let Some((_, bytes)) = edge.coming.pop_front()
        {
            edge.robots.hear(at, board, &bytes);
        }
    }

    /// A robot makes its call.
    fn trigger(&mut self, at: Instant) -> anyhow::Result<()> {
        let trigger = self.trace.triggers[self.triggered];
        self.triggered += 1;
        let Some(board) = trigger.node.map(NodeId) else {
            return Ok(());
        };
        let Some(edge) = self.edges.get_mut(&board) else {
            return Ok(());
        };
        self.made += 1;
        let name = self.names[trigger.chain as usize];
        let call = edge.robots.call(at, board, request(name));
        let call = call.context("robots make as many calls as they like")?;
        let made = Instant::ZERO + (at + self.step).since(self.begun);
        edge.calls.insert(call, (trigger.chain, made));
        Ok(())
    }

    /// Takes what the nodes of this program have done.
    fn collect(&mut self, at: Instant) -> anyhow::Result<()> {
        for frame in self.registry.take_frames() {
            self.air.hear_from(at, self.registry_id, &frame);
        }
        for (node, epoch) in self.registry.take_announced() {
            if epoch > 0 && self.edges.contains_key(&node) {
                self.ready.insert(node);
            }
        }
        for (board, edge) in &mut self.edges {
            for frame in edge.robots.take_frames() {
                self.runner
                    .send(at + self.step, *board, Line::Robots, &frame)?;
            }
            for (call, result) in edge.robots.take_ended() {
                let Some((chain, made)) = edge.calls.remove(&call) else {
                    continue;
                };
                // The answer had left the board so much earlier.
                let ended = Instant::ZERO + at.since(self.begun + self.step);
                let took = ended.since(made);
                let steps = vec![step_of(self.names[chain as usize], chain)];
                let answer = match result {
                    Ok(()) => Ok(Answered { took, steps }),
                    Err(fault) => Err(fault.code().to_owned()),
                };
                self.ended.push(Ended {
                    node: *board,
                    chain,
                    made,
                    at: ended,
                    answer,
                });
            }
        }
        Ok(())
    }

    /// A frame has left a board.
    fn sent(&mut self, sent: Sent) {
        let (at, node) = (sent.at.as_micros().to_be_bytes(), sent.node.0.to_be_bytes());
        for byte in at.iter().chain(&node).chain(&sent.frame) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        match sent.line {
            Line::Air => self.air.hear_from(sent.at, sent.node, &sent.frame),
            Line::Robots => {
                if let Some(edge) = self.edges.get_mut(&sent.node) {
                    edge.coming.push_back((sent.at + self.step, sent.frame));
                }
            }
        }
    }

    /// Where the tasklets of finished calls came from: what was fetched passed through the air, and
    /// the others were in the board's cache.
    fn acquired(&self, tasks: &TaskSet) -> Vec<Acquired> {
        let done = self.ended.iter().filter(|call| call.answer.is_ok());
        let wanted = done.map(|call| 1 + tasks.chains[call.chain as usize].calls.len() as u64);
        let wanted: u64 = wanted.sum();
        let mut acquired = Acquired::default();
        for ((_, from, _), hops) in &self.transfers.seen {
            match (*from == self.registry_id, hops) {
                (true, _) => acquired.registry += 1,
                (false, 1) => acquired.neighbour += 1,
                (false, _) => acquired.global += 1,
            }
        }
        let fetched = self.transfers.seen.len() as u64;
        acquired.local = wanted.saturating_sub(fetched);
        vec![acquired]
    }
}

impl Transfers {
    /// Notes a part of a module at the node that has asked for it.
    fn note(&mut self, at: Instant, node: NodeId, bytes: &[u8]) {
        let Ok(frame) = Frame::parse(bytes) else {
            return;
        };
        if let Message::Data(data) = frame.message
            && frame.destination == node
        {
            self.times.entry(node).or_default().push(at);
            if data.offset == 0 {
                let key = (node, frame.origin, data.request);
                self.seen.entry(key).or_insert(frame.hops);
            }
        }
    }

    fn by_hops(&self) -> BTreeMap<u8, u64> {
        let mut by_hops = BTreeMap::new();
        for hops in self.seen.values() {
            *by_hops.entry(*hops).or_default() += 1;
        }
        by_hops
    }
}

/// The publication of the load: its publisher and its delta.
fn publication(load: &Load) -> anyhow::Result<(Publisher, Vec<u8>)> {
    let drafts = load.packages.iter().map(|bytes| draft(bytes));
    let drafts: Vec<Draft> = drafts.collect::<anyhow::Result<_>>()?;
    let key = SigningKey::from_secret(&SECRET).public();
    let mut publisher = Publisher::with_key(NAMESPACE, key.0, sign);
    let delta = publisher.publish(&drafts, |_| None);
    Ok((publisher, delta))
}

/// Publishes the load: the registry's archive, and what boards must know.
fn published(load: &Load, registry: NodeId) -> anyhow::Result<(Archive, NamespaceConfig)> {
    let (publisher, delta) = publication(load)?;
    let mut archive = Archive::new();
    shelve(&mut archive, &delta, publisher.modules());
    let namespace = NamespaceConfig {
        name: publisher.name(),
        registry,
        key: publisher.key(),
        capabilities: Capabilities::NONE.with(Capability::Clock),
        stays: false,
    };
    Ok((archive, namespace))
}

fn sign(_: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let message = message.try_into().unwrap_or(&[0; _]);
    SigningKey::from_secret(&SECRET).sign(message)
}

fn draft(bytes: &[u8]) -> anyhow::Result<Draft> {
    let package = Package::decode(bytes).context("reading a package")?;
    let name = package.name.name.as_str();
    let mut draft = Draft::new(name, package.module.to_vec(), super::load::SIGNATURE);
    draft.capabilities = package.terms.capabilities;
    for import in package.imports() {
        draft.calls.push((import.name, import.signature));
    }
    Ok(draft)
}

/// The shortest time from one node to another.
fn least_delay(link: &LinkModel) -> anyhow::Result<Duration> {
    ensure!(
        !link.delay.is_zero(),
        "boards run in step with the air, whose links must have a delay"
    );
    Ok(link.delay)
}

/// All that is known of the tasklets of a call.
fn step_of(name: TaskletName, chain: u32) -> Step {
    Step {
        tasklet: TaskletRef {
            namespace: NamespaceId::of(&name.namespace),
            number: chain as u16,
            sequence: 0,
        },
        name,
        source: Source::Local,
        hops: 0,
        attempts: 0,
        bytes: 0,
        took: Duration::ZERO,
    }
}
