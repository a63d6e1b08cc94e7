//! The engine: real nodes and the links between them, driven from one agenda.
//!
//! Things happen in the order of their time; things of one moment happen in the order that
//! [`agenda`] states. Nothing else decides anything, so the same seed gives the same run on every
//! machine. Each direction of each link has random numbers of its own, so that a change at one link
//! leaves the others as they are.

mod agenda;
mod clock;
mod wire;

use std::rc::Rc;

use core::mem::take;
use core::time::Duration;

use nimblenet_core::{
    Config, ConfigError, Driver, Event, ExecutorId, Input, Instant, LinkAddress, LinkId, Node,
    Reason, Transmit, drain, pump, wire::Frame,
};
use nimblenet_tasklet::{Answer, NodeId, Work};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use self::agenda::{Agenda, Rank, Turn};
use self::clock::Clock;
pub use self::wire::Lane;
use self::wire::{Air, End, LaneAt, Wire, WireAt};
use crate::executor::SimExecutor;
use crate::link::{Bandwidth, LinkModel};
use crate::tale::Tale;

/// The most events at one moment; if there are more, some node never comes to rest.
const RESTLESS: u32 = 1_000_000;

/// The usual speed.
const USUAL_PPM: u32 = 1_000_000;

/// The stream of the random numbers of a node that says what is not so.
const TALE_STREAM: u64 = 5 << 32;

/// What became of frames. A frame to several neighbours counts once for each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fates {
    /// Put on a link.
    pub sent: u64,
    /// Reached a node.
    pub delivered: u64,
    /// Lost by a link's model.
    pub lost: u64,
    /// Lost because they were longer than the link's frames.
    pub too_long: u64,
    /// Lost because too many bytes waited for their transmission.
    pub overflowed: u64,
    /// Delivered a second time.
    pub doubled: u64,
    /// Delivered with a wrong bit.
    pub corrupted: u64,
    /// Overtaken by a frame sent later on the same link.
    pub overtaken: u64,
    /// Put on a link that was cut, or reached a node that was down.
    pub dead: u64,
}

/// The bytes of one direction of a link. What was sent or doubled has been delivered or lost, or is
/// still on its way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Balance {
    /// Put on the link.
    pub sent: u64,
    /// Added because a frame arrives twice.
    pub doubled: u64,
    /// Lost for any reason, those for a node that was down included.
    pub lost: u64,
    /// Given to a node.
    pub delivered: u64,
    /// On their way.
    pub on_way: u64,
}

/// A frame as it leaves or reaches a node.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// The node.
    pub node: NodeId,
    /// The frame; none if the bytes are none.
    pub frame: Option<&'a Frame<'a>>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Watches a run. It sees everything and changes nothing.
pub trait Observer {
    /// A node has put a frame on a link, for one neighbour or for all of them.
    fn sent(&mut self, now: Instant, passing: Passing<'_>) {
        let _ = (now, passing);
    }
    /// A frame has reached a node that is up.
    fn received(&mut self, now: Instant, passing: Passing<'_>) {
        let _ = (now, passing);
    }
    /// A node has given an executor work, which takes `time`.
    fn worked(&mut self, now: Instant, node: NodeId, work: &Work<'_>, time: Duration) {
        let _ = (now, node, work, time);
    }
    /// An executor's answer has reached a node.
    fn answered(&mut self, now: Instant, node: NodeId, answer: &Answer<Vec<u8>>) {
        let _ = (now, node, answer);
    }
    /// A node tells its user something.
    fn event(&mut self, now: Instant, node: NodeId, event: &Event<'_>) {
        let _ = (now, node, event);
    }
    /// A node has done all that follows from what has happened.
    fn rested(&mut self, now: Instant, node: &Node) {
        let _ = (now, node);
    }
}

/// Sees nothing.
impl Observer for () {}

/// Makes an executor for a node, at its start and after each crash.
pub type Factory = Box<dyn Fn(NodeId) -> Box<dyn SimExecutor>>;

/// Where a node is in the list of the engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct PlaceAt(u32);

struct Place {
    id: NodeId,
    /// None while the node is down.
    node: Option<Box<Node>>,
    config: Config,
    /// As many as the node's limits say.
    executors: Vec<Box<dyn SimExecutor>>,
    /// Rises with each crash; outcomes and wake-ups of an earlier life do not arrive.
    life: u32,
    /// The wake-up that is on the agenda.
    wake: Option<Instant>,
    /// The wires that end here, in the order of their peers' ids.
    ends: Vec<End>,
    air: Air,
    /// Until when the node is busy with earlier frames.
    busy_until: Instant,
    clock: Clock,
    /// How fast its executors are, in millionths of their usual speed.
    speed_ppm: u32,
    /// What it says of its load instead of the truth.
    tale: Option<(Tale, ChaCha8Rng)>,
}

enum Happening {
    Frame {
        to: PlaceAt,
        link: LinkId,
        from: LinkAddress,
        bytes: Rc<[u8]>,
        /// The direction that it came on; none if an intruder put it there.
        lane: Option<LaneAt>,
    },
    Outcome {
        at: PlaceAt,
        life: u32,
        outcome: Answer<Vec<u8>>,
    },
    Wake {
        at: PlaceAt,
        life: u32,
    },
}

/// Nodes and links in virtual time; `O` watches them.
pub struct Engine<O> {
    seed: u64,
    now: Instant,
    /// How many events were carried out at this moment.
    at_once: u32,
    agenda: Agenda<Happening>,
    /// In the order of their ids.
    places: Vec<Place>,
    wires: Vec<Wire>,
    factory: Factory,
    /// The medium that all nodes share with their neighbours, if they do.
    medium: Option<Bandwidth>,
    /// How long a node is busy with each frame that it receives.
    frame_cost: Duration,
    fates: Fates,
    log: Log,
    observer: O,
    scratch: Scratch,
}

/// Memory that is used again at each step.
#[derive(Default)]
struct Scratch {
    frame: Vec<u8>,
    frames: Vec<(Transmit, Rc<[u8]>)>,
    outcomes: Vec<(Duration, Answer<Vec<u8>>)>,
}

impl<O: Observer> Engine<O> {
    /// An engine without nodes.
    pub fn new(
        seed: u64,
        observer: O,
        factory: impl Fn(NodeId) -> Box<dyn SimExecutor> + 'static,
    ) -> Self {
        Self {
            seed,
            now: Instant::ZERO,
            at_once: 0,
            agenda: Agenda::new(),
            places: Vec::new(),
            wires: Vec::new(),
            factory: Box::new(factory),
            medium: None,
            frame_cost: Duration::ZERO,
            fates: Fates::default(),
            log: Log::default(),
            observer,
            scratch: Scratch::default(),
        }
    }

    /// Adds a node, which is down until [`start`](Self::start). Add nodes before their links.
    ///
    /// # Panics
    /// If there is a node with its id, or a link already.
    pub fn add(&mut self, config: Config) {
        let id = config.id;
        assert!(self.wires.is_empty(), "nodes are added before links");
        let at = self.places.binary_search_by_key(&id, |place| place.id);
        let at = at.expect_err("every node has an id of its own");
        let mtu = config.links.iter().map(|link| link.mtu).max().unwrap_or(0);
        let frame = &mut self.scratch.frame;
        frame.resize(frame.len().max(mtu.into()), 0);
        let place = Place {
            id,
            node: None,
            config,
            executors: Vec::new(),
            life: 0,
            wake: None,
            ends: Vec::new(),
            air: Air::QUIET,
            busy_until: Instant::ZERO,
            clock: Clock::RIGHT,
            speed_ppm: USUAL_PPM,
            tale: None,
        };
        self.places.insert(at, place);
    }

    /// Links two nodes. The link is number 0 of both.
    ///
    /// # Panics
    /// If one of them does not exist.
    pub fn link(&mut self, a: NodeId, b: NodeId, model: LinkModel) {
        let (a, b) = (a.min(b), a.max(b));
        let ends = [self.find(a), self.find(b)];
        let wire = WireAt(self.wires.len() as u32);
        let lanes = [(a, b), (b, a)].map(|direction| Lane::new(self.seed, model, direction));
        self.wires.push(lanes);
        for (lane, id) in [b, a].into_iter().enumerate() {
            let end = End {
                wire,
                lane,
                link: LinkId(0),
                peer: ends[1 - lane],
                peer_id: id,
            };
            let held = &mut self.place_mut(ends[lane]).ends;
            let at = held.partition_point(|other| other.peer_id < id);
            held.insert(at, end);
        }
    }

    /// Lets every node share one medium with its neighbours: a transmission waits until its sender
    /// and all of their neighbours are quiet, and keeps them so until it ends.
    pub fn share_medium(&mut self, bandwidth: Bandwidth) {
        self.medium = Some(bandwidth);
    }

    /// Sets how long a node is busy with each frame that it receives; others wait meanwhile.
    pub fn set_frame_cost(&mut self, cost: Duration) {
        self.frame_cost = cost;
    }

    /// Starts a node that is down, and lets it act.
    ///
    /// # Errors
    /// [`ConfigError`] if the node refuses its configuration.
    ///
    /// # Panics
    /// If the node does not exist.
    pub fn start(&mut self, id: NodeId) -> Result<(), ConfigError> {
        let at = self.find(id);
        let place = &self.places[at.0 as usize];
        let mut node = Node::new(place.config.clone())?;
        let executors = (0..place.config.limits.executors).map(|_| (self.factory)(id));
        let executors: Vec<_> = executors.collect();
        let now = place.clock.reads(self.now);
        if let Some(executor) = executors.first() {
            node.set_abilities(now, executor.abilities());
        }
        let place = self.place_mut(at);
        place.node = Some(Box::new(node));
        place.executors = executors;
        place.wake = None;
        self.pump(at, Input::Timeout);
        Ok(())
    }

    /// Takes a node down; it loses everything that it held in memory.
    ///
    /// # Panics
    /// If the node does not exist.
    pub fn crash(&mut self, id: NodeId) {
        let at = self.find(id);
        let place = self.place_mut(at);
        place.node = None;
        place.executors.clear();
        place.life += 1;
        place.wake = None;
    }

    /// Lets a node's clock go `rate_ppm` millionths as fast as time from now on, after a leap of
    /// `leap`. Clocks never go back.
    ///
    /// # Panics
    /// If the node does not exist, or its clock would stand still.
    pub fn set_clock(&mut self, id: NodeId, leap: Duration, rate_ppm: u32) {
        let (at, now) = (self.find(id), self.now);
        let place = self.place_mut(at);
        place.clock = place.clock.from(now, leap, rate_ppm);
        // What it waits for comes at another moment now.
        place.wake = None;
        self.pump(at, Input::Timeout);
    }

    /// Lets a node's executors work at `speed_ppm` millionths of their usual speed from their next work
    /// on.
    ///
    /// # Panics
    /// If the node does not exist, or its executors would stand still.
    pub fn set_speed(&mut self, id: NodeId, speed_ppm: u32) {
        assert!(speed_ppm > 0, "an executor that stands still never answers");
        let at = self.find(id);
        self.place_mut(at).speed_ppm = speed_ppm;
    }

    /// Lets a node say something else of its load than it has, or the truth again.
    ///
    /// # Panics
    /// If the node does not exist.
    pub fn set_tale(&mut self, id: NodeId, tale: Option<Tale>) {
        let (at, seed) = (self.find(id), self.seed);
        let tale = tale.map(|tale| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(TALE_STREAM | u64::from(id.0));
            (tale, random)
        });
        self.place_mut(at).tale = tale;
    }

    /// Lets the clock of a node that is down begin at zero, as that of a daemon does when it starts.
    ///
    /// # Panics
    /// If the node does not exist, or is up: its time would go backwards.
    pub fn begin_clock(&mut self, id: NodeId) {
        let (at, now) = (self.find(id), self.now);
        let place = self.place_mut(at);
        assert!(place.node.is_none(), "a node's clock never goes back");
        place.clock = Clock::begun(now);
    }

    /// The configuration that a node has from its next start on.
    ///
    /// # Panics
    /// If the node does not exist.
    pub fn config_mut(&mut self, id: NodeId) -> &mut Config {
        let at = self.find(id);
        &mut self.place_mut(at).config
    }

    /// How often a node has crashed.
    ///
    /// # Panics
    /// If the node does not exist.
    pub fn crashes(&self, id: NodeId) -> u32 {
        self.places[self.find(id).0 as usize].life
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What became of frames so far.
    pub fn fates(&self) -> Fates {
        self.fates
    }

    /// The bytes of each direction of each link so far: from, to, balance.
    pub fn balances(&self) -> impl Iterator<Item = (NodeId, NodeId, Balance)> {
        let places = self.places.iter();
        let ends = places.flat_map(|place| place.ends.iter().map(|end| (place.id, end)));
        ends.map(|(id, end)| {
            let lane = &self.wires[end.wire.0 as usize][end.lane];
            (id, end.peer_id, lane.balance)
        })
    }

    /// A number that differs if anything happened otherwise.
    pub fn event_log_hash(&self) -> u64 {
        self.log.0
    }

    /// The observer.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// The observer, to empty it.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    /// A node; none while it is down or if it does not exist.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        let at = self.places.binary_search_by_key(&id, |place| place.id);
        self.places[at.ok()?].node.as_deref()
    }

    /// Every node that is up, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.places.iter().filter_map(|place| place.node.as_deref())
    }

    /// Changes how the link from `from` to `to` treats frames in this direction.
    ///
    /// # Panics
    /// If there is no such link.
    pub fn set_model(&mut self, from: NodeId, to: NodeId, model: LinkModel) {
        self.lane_mut(from, to).model = model;
    }

    /// Cuts or mends the link from `from` to `to` in this direction.
    ///
    /// # Panics
    /// If there is no such link.
    pub fn set_up(&mut self, from: NodeId, to: NodeId, up: bool) {
        self.lane_mut(from, to).up = up;
    }

    /// Makes the link from `from` to `to` number `link` of the configuration of `from`.
    ///
    /// # Panics
    /// If there is no such link.
    pub fn plug(&mut self, from: NodeId, to: NodeId, link: LinkId) {
        let at = self.find(from);
        let (end, _) = self.end(at, to);
        self.place_mut(at).ends[end].link = link;
    }

    /// Puts bytes on the link from `from` to `to`, as an intruder could; they arrive at once.
    ///
    /// # Panics
    /// If there is no such link.
    pub fn inject(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) {
        let (to_at, from_address) = (self.find(to), LinkAddress(from.0.into()));
        let (at, _) = self.end(to_at, from);
        let what = Happening::Frame {
            to: to_at,
            link: self.places[to_at.0 as usize].ends[at].link,
            from: from_address,
            bytes: bytes.into(),
            lane: None,
        };
        self.agenda.put(self.now, Rank::Frame, from, what);
    }

    /// Lets a node carry out a command now.
    ///
    /// # Panics
    /// If the node is down or does not exist.
    pub fn command<T>(&mut self, id: NodeId, command: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let mut answer = None;
        let at = self.find(id);
        self.drive(at, |node, now, driver, frame| {
            answer = Some(command(node, now));
            drain(node, now, driver, frame)
        });
        answer.expect("only nodes that are up get commands")
    }

    /// Carries out everything before the commands of the moment `to`; the time is `to` then.
    pub fn advance(&mut self, to: Instant) {
        while self.step_before(to) {}
        self.pass(to);
    }

    /// Carries out what happens next if it comes before the commands of the moment `to`; false if
    /// nothing does.
    pub fn step_before(&mut self, to: Instant) -> bool {
        let next = self.agenda.peek();
        next.is_some_and(|turn| (turn.at, turn.rank) < (to, Rank::Command)) && self.step()
    }

    /// Carries out everything up to the moment `to`; the time is `to` then.
    pub fn run(&mut self, to: Instant) {
        while self.agenda.peek().is_some_and(|turn| turn.at <= to) {
            self.step();
        }
        self.pass(to);
    }

    /// Carries out what happens next; false if nothing does.
    ///
    /// # Panics
    /// If a node never comes to rest.
    pub fn step(&mut self) -> bool {
        let Some((turn, what)) = self.agenda.take() else {
            return false;
        };
        let Turn { at, origin, .. } = turn;
        self.pass(at);
        self.at_once += 1;
        assert!(
            self.at_once < RESTLESS,
            "seed {}: the nodes never rest; node {} is one",
            self.seed,
            origin.0
        );
        self.log.note(at.as_micros());
        match what {
            Happening::Frame {
                to,
                link,
                from,
                bytes,
                lane,
            } => self.receive(origin, to, (link, from), (bytes, lane)),
            Happening::Outcome { at, life, outcome } => {
                if self.place(at).life == life {
                    self.observer.answered(self.now, origin, &outcome);
                    self.pump(at, Input::Outcome(outcome.outcome()));
                }
            }
            Happening::Wake { at, life } => {
                let now = self.now;
                let place = self.place_mut(at);
                if place.life == life && place.wake == Some(now) {
                    place.wake = None;
                    self.pump(at, Input::Timeout);
                }
            }
        }
        true
    }

    fn receive(
        &mut self,
        origin: NodeId,
        to: PlaceAt,
        (link, from): (LinkId, LinkAddress),
        (bytes, lane): (Rc<[u8]>, Option<LaneAt>),
    ) {
        let place = self.place(to);
        if place.node.is_none() {
            self.fates.dead += 1;
            self.arrived(lane, bytes.len(), false);
            return;
        }
        let (node, busy_until) = (place.id, place.busy_until);
        if busy_until > self.now {
            let what = Happening::Frame {
                to,
                link,
                from,
                bytes,
                lane,
            };
            self.agenda.put(busy_until, Rank::Frame, origin, what);
            return;
        }
        self.place_mut(to).busy_until = self.now + self.frame_cost;
        self.fates.delivered += 1;
        self.arrived(lane, bytes.len(), true);
        self.log.note(u64::from(node.0));
        let frame = Frame::parse(&bytes).ok();
        let passing = Passing {
            node,
            frame: frame.as_ref(),
            bytes: &bytes,
        };
        self.observer.received(self.now, passing);
        let bytes = &*bytes;
        self.pump(to, Input::Frame { link, from, bytes });
    }

    /// Notes that a frame has left its lane.
    fn arrived(&mut self, lane: Option<LaneAt>, len: usize, delivered: bool) {
        if let Some(LaneAt(wire, lane)) = lane {
            self.wires[wire.0 as usize][lane].arrived(len, delivered);
        }
    }

    fn pump(&mut self, at: PlaceAt, input: Input<'_>) {
        self.drive(at, |node, now, driver, frame| {
            pump(node, now, input, driver, frame)
        });
    }

    /// Lets a node act, and puts on the agenda what follows.
    fn drive<A>(&mut self, at: PlaceAt, act: A)
    where
        A: FnOnce(&mut Node, Instant, &mut Hands<'_, O>, &mut [u8]) -> Option<(Instant, Reason)>,
    {
        let now = self.now;
        let place = &mut self.places[at.0 as usize];
        let Some(node) = place.node.as_deref_mut() else {
            return;
        };
        let Scratch {
            frame,
            frames,
            outcomes,
        } = &mut self.scratch;
        let mut hands = Hands {
            id: place.id,
            executors: &mut place.executors,
            frames,
            outcomes,
            now,
            speed_ppm: place.speed_ppm,
            observer: &mut self.observer,
        };
        let due = act(node, place.clock.reads(now), &mut hands, frame);
        let (id, life) = (place.id, place.life);
        let wake = due
            .map(|(at, _)| place.clock.when(at).max(now))
            .filter(|at| place.wake.is_none_or(|held| *at < held));
        if let Some(wake) = wake {
            place.wake = Some(wake);
            let what = Happening::Wake { at, life };
            self.agenda.put(wake, Rank::Wake, id, what);
        }
        for (after, outcome) in outcomes.drain(..) {
            let what = Happening::Outcome { at, life, outcome };
            self.agenda.put(now + after, Rank::Outcome, id, what);
        }
        let mut frames = take(&mut self.scratch.frames);
        for (transmit, bytes) in frames.drain(..) {
            self.carry(at, transmit, &bytes);
        }
        self.scratch.frames = frames;
        if let Some(node) = self.places[at.0 as usize].node.as_deref() {
            self.observer.rested(now, node);
        }
    }

    /// Puts a frame on the wire to one neighbour, or on all wires of a link.
    fn carry(&mut self, from: PlaceAt, transmit: Transmit, bytes: &Rc<[u8]>) {
        let node = self.place(from).id;
        let told = self.told(from, bytes);
        let bytes = told.as_ref().unwrap_or(bytes);
        let parsed = Frame::parse(bytes).ok();
        let origin = parsed.map_or(node, |frame| frame.origin);
        let passing = Passing {
            node,
            frame: parsed.as_ref(),
            bytes,
        };
        self.observer.sent(self.now, passing);
        self.log.bytes(bytes);
        let at = self.occupy(from, bytes.len());
        let Self {
            agenda,
            places,
            wires,
            fates,
            ..
        } = self;
        let mut reached = false;
        for end in &places[from.0 as usize].ends {
            let meant = match transmit.to {
                Some(LinkAddress(peer)) => u32::from(end.peer_id.0) == peer,
                None => end.link == transmit.link,
            };
            if !meant {
                continue;
            }
            reached = true;
            let lane = &mut wires[end.wire.0 as usize][end.lane];
            for (at, wrong) in lane.carry(at, bytes.len(), fates).into_iter().flatten() {
                let peer = &places[end.peer.0 as usize];
                let back = peer.ends.iter().find(|other| other.wire == end.wire);
                let bytes = match wrong {
                    None => bytes.clone(),
                    Some(bit) => flip(bytes, bit),
                };
                let what = Happening::Frame {
                    to: end.peer,
                    link: back.map_or(LinkId(0), |back| back.link),
                    from: LinkAddress(node.0.into()),
                    bytes,
                    lane: Some(LaneAt(end.wire, end.lane)),
                };
                agenda.put(at, Rank::Frame, origin, what);
            }
        }
        if !reached && transmit.to.is_some() {
            fates.sent += 1;
            fates.dead += 1;
        }
    }

    /// The frame that a node sends instead, if it says what is not so of its load.
    fn told(&mut self, from: PlaceAt, bytes: &[u8]) -> Option<Rc<[u8]>> {
        let place = self.place_mut(from);
        let (tale, random) = place.tale.as_mut()?;
        let frame = Frame::parse(bytes).ok()?;
        let told = tale.told(place.id, (&frame, bytes.len()), random)?;
        Some(told.into())
    }

    /// Takes the shared medium for a frame; returns when it has left.
    fn occupy(&mut self, from: PlaceAt, len: usize) -> Instant {
        let Some(medium) = self.medium else {
            return self.now;
        };
        let peers = self.place(from).ends.iter().map(|end| end.peer);
        let mut around: Vec<PlaceAt> = peers.chain([from]).collect();
        around.sort_unstable();
        let places = self.places.iter_mut().enumerate();
        let airs = places
            .filter(|(at, _)| around.binary_search(&PlaceAt(*at as u32)).is_ok())
            .map(|(_, place)| &mut place.air);
        Air::transmit(self.now, medium.transmission(len), airs)
    }

    /// Lets the time pass.
    fn pass(&mut self, to: Instant) {
        debug_assert!(to >= self.now, "time went backwards");
        if to > self.now {
            self.now = to;
            self.at_once = 0;
        }
    }

    fn find(&self, id: NodeId) -> PlaceAt {
        let at = self.places.binary_search_by_key(&id, |place| place.id);
        PlaceAt(at.unwrap_or_else(|_| panic!("there is no node {}", id.0)) as u32)
    }

    fn place(&self, at: PlaceAt) -> &Place {
        &self.places[at.0 as usize]
    }

    fn place_mut(&mut self, at: PlaceAt) -> &mut Place {
        &mut self.places[at.0 as usize]
    }

    /// The end at `at` of the wire to `peer`.
    fn end(&self, at: PlaceAt, peer: NodeId) -> (usize, End) {
        let ends = self.place(at).ends.iter().enumerate();
        let mut found = ends.filter(|(_, end)| end.peer_id == peer);
        let (at, end) = found.next().expect("only nodes with a link are named");
        (at, *end)
    }

    fn lane_mut(&mut self, from: NodeId, to: NodeId) -> &mut Lane {
        let (_, end) = self.end(self.find(from), to);
        &mut self.wires[end.wire.0 as usize][end.lane]
    }
}

/// A frame with one wrong bit, which a number chooses.
pub fn flip(bytes: &[u8], bit: u32) -> Rc<[u8]> {
    let mut bytes = bytes.to_vec();
    let bit = bit as usize % (8 * bytes.len().max(1));
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    bytes.into()
}

/// What takes `time` usually, at another speed.
fn slowed(time: Duration, speed_ppm: u32) -> Duration {
    let us = time.as_micros() * u128::from(USUAL_PPM) / u128::from(speed_ppm);
    Duration::from_micros(us as u64)
}

/// Takes what a node that acts gives.
struct Hands<'p, O> {
    id: NodeId,
    executors: &'p mut [Box<dyn SimExecutor>],
    frames: &'p mut Vec<(Transmit, Rc<[u8]>)>,
    outcomes: &'p mut Vec<(Duration, Answer<Vec<u8>>)>,
    /// The time, whatever the node's clock says.
    now: Instant,
    speed_ppm: u32,
    observer: &'p mut O,
}

impl<O: Observer> Driver for Hands<'_, O> {
    fn transmit(&mut self, _: Instant, transmit: Transmit, frame: &[u8]) {
        self.frames.push((transmit, frame.into()));
    }

    fn work(&mut self, _: Instant, executor: ExecutorId, work: Work<'_>) {
        let executor = &mut self.executors[usize::from(executor.0)];
        let answered = executor.execute(&work);
        let answered = answered.map(|(time, answer)| (slowed(time, self.speed_ppm), answer));
        let time = answered.as_ref().map_or(Duration::ZERO, |(time, _)| *time);
        self.observer.worked(self.now, self.id, &work, time);
        self.outcomes.extend(answered);
    }

    fn event(&mut self, _: Instant, event: Event<'_>) {
        self.observer.event(self.now, self.id, &event);
    }
}

/// A hash over everything that happened: FNV-1a over words of 64 bits.
struct Log(u64);

impl Default for Log {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Log {
    fn note(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.note(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.note(u64::from_le_bytes(word));
        }
        self.note(bytes.len() as u64);
    }
}
