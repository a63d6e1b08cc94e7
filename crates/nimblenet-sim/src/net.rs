//! A network of real nodes in virtual time.
//!
//! Nodes, their executors and the links between them are driven from one queue of events, ordered
//! by time and then by the order in which they were made. Nothing else decides anything, so the
//! same seed gives the same run.

use std::collections::{BTreeMap, BinaryHeap};

use core::cmp::Reverse;
use core::time::Duration;

use nimblenet_core::{
    Archive, CallId, CallRequest, Config, Driver, Event, ExecutorId, Input, Instant, LinkAddress,
    LinkId, NamespaceConfig, Node, Role, Source, Transmit, drain, pump,
};
use nimblenet_tasklet::{Answer, Capabilities, Delta, Fault, NodeId, TaskletName, Trap, Work};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::executor::SimExecutor;
use crate::layout::Layout;
use crate::link::LinkModel;
use crate::publisher::{Draft, Publisher, shelve};

/// The most events at one moment; if there are more, some node never comes to rest.
const RESTLESS: u32 = 1_000_000;
/// The longest frame on a simulated link, in bytes.
const MTU: u16 = 1200;

/// How a call ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Finished {
    /// When it ended.
    pub at: Instant,
    /// The results as a CBOR array, or the fault.
    pub result: Result<Vec<u8>, Fault>,
    /// The trap, if that was the reason.
    pub trap: Option<Trap>,
    /// Name and source of each tasklet, in the order of their acquisition.
    pub steps: Vec<(TaskletName, Source)>,
    /// From the call to its end.
    pub took: Duration,
}

/// What became of frames.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fates {
    /// Put on a link, once for each receiver.
    pub sent: u64,
    /// Reached a node.
    pub delivered: u64,
    /// Lost by a link's model.
    pub lost: u64,
    /// Delivered a second time.
    pub doubled: u64,
    /// Overtaken by a frame sent later on the same link.
    pub overtaken: u64,
    /// Put on a link that was cut, or reached a node that was down.
    pub dead: u64,
}

/// Makes an executor for a node, at its start and after each crash.
type Factory = Box<dyn Fn(NodeId) -> Box<dyn SimExecutor>>;

struct Place {
    /// None while the node is down.
    node: Option<Node>,
    config: Config,
    /// As many as the node's limits say.
    executors: Vec<Box<dyn SimExecutor>>,
    /// Rises with each crash; outcomes and wake-ups of an earlier life do not arrive.
    life: u32,
    /// The wake-up that is queued.
    wake: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Wire {
    model: LinkModel,
    up: bool,
    /// The latest arrival in each direction, to notice overtaking.
    latest: [Instant; 2],
    /// Its place among the links of the node with the lower id, and among those of the other.
    links: [LinkId; 2],
}

enum Happening {
    Frame {
        from: NodeId,
        link: LinkId,
        bytes: Vec<u8>,
    },
    Outcome {
        life: u32,
        outcome: Answer<Vec<u8>>,
    },
    Wake {
        life: u32,
    },
}

struct Queued {
    at: Instant,
    order: u64,
    to: NodeId,
    what: Happening,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The network.
pub struct Net {
    seed: u64,
    now: Instant,
    /// How many events were carried out at this moment.
    at_once: u32,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    places: BTreeMap<NodeId, Place>,
    wires: BTreeMap<(NodeId, NodeId), Wire>,
    random: ChaCha8Rng,
    factory: Factory,
    finished: BTreeMap<(NodeId, CallId), Finished>,
    moves: Vec<(NodeId, Result<(), Fault>)>,
    fates: Fates,
    registry: NodeId,
    publishers: Vec<Publisher>,
}

impl Net {
    /// A network in this layout, in which all links behave like `model`. The registry serves what
    /// the publishers publish; `configure` may change each node's configuration.
    ///
    /// # Panics
    /// If a node refuses its configuration.
    pub fn new(
        seed: u64,
        layout: &Layout,
        model: LinkModel,
        shelves: Vec<(Publisher, Vec<Draft>)>,
        configure: impl Fn(&mut Config),
        factory: impl Fn(NodeId) -> Box<dyn SimExecutor> + 'static,
    ) -> Self {
        let mut net = Self {
            seed,
            now: Instant::ZERO,
            at_once: 0,
            queue: BinaryHeap::new(),
            order: 0,
            places: BTreeMap::new(),
            wires: BTreeMap::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
            factory: Box::new(factory),
            finished: BTreeMap::new(),
            moves: Vec::new(),
            fates: Fates::default(),
            registry: layout.registry,
            publishers: Vec::new(),
        };
        let mut archive = Archive::new();
        for (mut publisher, drafts) in shelves {
            let delta = publisher.publish(&drafts, |name| net.entry_number(name));
            shelve(&mut archive, &delta, &drafts);
            net.publishers.push(publisher);
        }
        for (a, b) in &layout.links {
            let latest = [Instant::ZERO; 2];
            net.wires.insert(
                ends(*a, *b),
                Wire {
                    model,
                    up: true,
                    latest,
                    links: [LinkId(0); 2],
                },
            );
        }
        for id in &layout.nodes {
            let mut config = Config::new(*id, MTU);
            config.seed = seed;
            config.namespaces = net.namespaces();
            if *id == layout.registry {
                config.role = Role::Registry(archive.clone());
            }
            configure(&mut config);
            net.start(*id, config, 0);
        }
        net
    }

    /// The seed, to be printed when a test fails.
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

    /// A node that is up.
    ///
    /// # Panics
    /// If it is down or does not exist.
    pub fn node(&self, id: u16) -> &Node {
        let place = &self.places[&NodeId(id)];
        place.node.as_ref().expect("the node is up")
    }

    /// Every node that is up.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.places.values().filter_map(|place| place.node.as_ref())
    }

    /// Calls a tasklet at a node with a CBOR array as arguments.
    ///
    /// # Errors
    /// [`Fault`] if the node refuses the call at once.
    ///
    /// # Panics
    /// If the name is not valid or the node is down.
    pub fn call(&mut self, id: u16, name: &str, args: &[u8]) -> Result<CallId, Fault> {
        let name = name.parse().expect("a test calls valid names");
        let deadline = Some(Duration::from_secs(120));
        self.command(NodeId(id), |node, now| {
            node.call(
                now,
                CallRequest {
                    name,
                    export: "",
                    args,
                    deadline,
                },
            )
        })
    }

    /// Lets the node `id` call a tasklet at the node `at`.
    ///
    /// # Errors
    /// [`Fault`] if the node refuses the call at once.
    ///
    /// # Panics
    /// If the name is not valid or the node is down.
    pub fn call_at(&mut self, id: u16, at: u16, name: &str, args: &[u8]) -> Result<CallId, Fault> {
        let name = name.parse().expect("a test calls valid names");
        let deadline = Some(Duration::from_secs(120));
        self.command(NodeId(id), |node, now| {
            node.call_at(
                now,
                NodeId(at),
                CallRequest {
                    name,
                    export: "",
                    args,
                    deadline,
                },
            )
        })
    }

    /// Moves the call `call` of the node `id` to the node `to`.
    ///
    /// # Errors
    /// [`Fault`] if the node refuses the move at once.
    ///
    /// # Panics
    /// If the node is down.
    pub fn move_call(&mut self, id: u16, call: CallId, to: u16) -> Result<(), Fault> {
        self.command(NodeId(id), |node, now| {
            node.move_call(now, call, NodeId(to))
        })
    }

    /// Ends a call of the node `id` early.
    ///
    /// # Panics
    /// If the node is down.
    pub fn stop(&mut self, id: u16, call: CallId) {
        self.command(NodeId(id), |node, now| node.stop(now, call));
    }

    /// How the moves that began at a node have ended, in order.
    pub fn moves(&self, id: u16) -> Vec<Result<(), Fault>> {
        let of_node = self.moves.iter().filter(|(node, _)| *node == NodeId(id));
        of_node.map(|(_, result)| *result).collect()
    }

    /// Calls a tasklet without arguments and runs the network until the call has ended.
    ///
    /// # Panics
    /// If the call does not end.
    pub fn run_call(&mut self, id: u16, name: &str) -> Finished {
        self.run_call_with(id, name, &[0x80])
    }

    /// Calls a tasklet and runs the network until the call has ended.
    ///
    /// # Panics
    /// If the call does not end.
    pub fn run_call_with(&mut self, id: u16, name: &str, args: &[u8]) -> Finished {
        let at = self.now;
        match self.call(id, name, args) {
            Ok(call) => self.run_until_finished(id, call),
            Err(fault) => {
                let (result, trap, took) = (Err(fault), None, Duration::ZERO);
                Finished {
                    at,
                    result,
                    trap,
                    steps: Vec::new(),
                    took,
                }
            }
        }
    }

    /// Runs until the call has ended.
    ///
    /// # Panics
    /// If it does not within ten minutes.
    pub fn run_until_finished(&mut self, id: u16, call: CallId) -> Finished {
        let end = self.now + Duration::from_secs(600);
        while self.now < end {
            if let Some(finished) = self.finished.get(&(NodeId(id), call)) {
                return finished.clone();
            }
            assert!(self.step(), "seed {}: nothing happens any more", self.seed);
        }
        panic!("seed {}: the call does not end", self.seed);
    }

    /// How a call ended, if it has.
    pub fn finished(&self, id: u16, call: CallId) -> Option<&Finished> {
        self.finished.get(&(NodeId(id), call))
    }

    /// Runs for this long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self
            .queue
            .peek()
            .is_some_and(|Reverse(next)| next.at <= end)
        {
            self.step();
        }
        self.now = end;
    }

    /// Runs until `done` holds, for at most `limit`; returns whether it holds.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now > end || !self.step() {
                return false;
            }
        }
        true
    }

    /// Cuts the link between two nodes.
    pub fn cut(&mut self, a: u16, b: u16) {
        self.wire(a, b).up = false;
    }

    /// Mends a link that was cut.
    pub fn mend(&mut self, a: u16, b: u16) {
        self.wire(a, b).up = true;
    }

    /// Changes how a link treats frames.
    pub fn set_link(&mut self, a: u16, b: u16, model: LinkModel) {
        self.wire(a, b).model = model;
    }

    /// Makes the link between `a` and `b` number `link_of_a` in the configuration of `a`, and
    /// number `link_of_b` in that of `b`. Every link begins as number 0 of both its nodes.
    pub fn plug(&mut self, (a, link_of_a): (u16, u8), (b, link_of_b): (u16, u8)) {
        let mut links = [LinkId(link_of_a), LinkId(link_of_b)];
        if b < a {
            links.reverse();
        }
        self.wire(a, b).links = links;
    }

    /// Takes a node down; it loses everything that it held in memory.
    pub fn crash(&mut self, id: u16) {
        let place = self
            .places
            .get_mut(&NodeId(id))
            .expect("a test crashes nodes that exist");
        place.node = None;
        place.life += 1;
        place.wake = None;
    }

    /// Starts a node that was taken down. A registry gets its archive back.
    pub fn restart(&mut self, id: u16) {
        let place = self.place(id);
        let first = place.config.first_sequence;
        let first = first.wrapping_add(place.life << 20);
        self.restart_at(id, first);
    }

    /// Starts a node that was taken down. Its first packet number is `first_sequence`, as if it had
    /// lost the number that it had come to.
    pub fn restart_at(&mut self, id: u16, first_sequence: u32) {
        let place = self.place(id);
        let life = place.life;
        let config = Config {
            first_sequence,
            ..place.config.clone()
        };
        // It numbers its calls from the beginning again.
        self.finished.retain(|(node, _), _| *node != NodeId(id));
        self.start(NodeId(id), config, life);
    }

    /// Publishes another epoch at the registry.
    ///
    /// # Panics
    /// If the namespace has no publisher here, or the registry is down.
    pub fn publish(&mut self, namespace: &str, drafts: &[Draft]) {
        let at = self
            .publishers
            .iter()
            .position(|one| one.name().as_str() == namespace);
        let at = at.expect("a test publishes into namespaces that exist");
        let mut publisher = self.publishers[at].clone();
        let delta = publisher.publish(drafts, |name| self.entry_number(name));
        self.publishers[at] = publisher;
        let registry = self.registry;
        if let Some(place) = self.places.get_mut(&registry)
            && let Role::Registry(archive) = &mut place.config.role
        {
            shelve(archive, &delta, drafts);
        }
        let published = self.command(registry, |node, now| {
            let delta = Delta::decode(&delta).expect("a published delta is well formed");
            node.publish(now, &delta, drafts.iter().map(|draft| &draft.module[..]))
        });
        published.expect("a published delta fits its registry");
    }

    /// Puts bytes on the link from `from` to `to`, as an intruder could.
    pub fn inject(&mut self, from: u16, to: u16, bytes: &[u8]) {
        let what = Happening::Frame {
            from: NodeId(from),
            link: self.wire(from, to).links[usize::from(from < to)],
            bytes: bytes.to_vec(),
        };
        self.enqueue(self.now, NodeId(to), what);
    }

    fn place(&self, id: u16) -> &Place {
        let place = self.places.get(&NodeId(id));
        place.expect("a test restarts nodes that exist")
    }

    fn namespaces(&self) -> Vec<NamespaceConfig> {
        let publishers = self.publishers.iter();
        let namespaces = publishers.map(|publisher| NamespaceConfig {
            name: publisher.name(),
            registry: self.registry,
            key: publisher.key(),
            capabilities: Capabilities::ALL,
        });
        namespaces.collect()
    }

    fn entry_number(&self, name: &TaskletName) -> Option<u16> {
        let publisher = self
            .publishers
            .iter()
            .find(|one| one.name() == name.namespace)?;
        publisher
            .catalogue()
            .find(&name.name)
            .map(|entry| entry.number)
    }

    fn wire(&mut self, a: u16, b: u16) -> &mut Wire {
        let wire = self.wires.get_mut(&ends(NodeId(a), NodeId(b)));
        wire.expect("a test changes links that exist")
    }

    fn start(&mut self, id: NodeId, config: Config, life: u32) {
        let node = Node::new(config.clone()).expect("a test's configuration is accepted");
        let executors = (0..config.limits.executors).map(|_| (self.factory)(id));
        let executors = executors.collect();
        let node = Some(node);
        self.places.insert(
            id,
            Place {
                node,
                config,
                executors,
                life,
                wake: None,
            },
        );
        self.pump(id, Input::Timeout);
    }

    /// Carries out the next event; false if there is none.
    fn step(&mut self) -> bool {
        let Some(Reverse(next)) = self.queue.pop() else {
            return false;
        };
        debug_assert!(next.at >= self.now, "time went backwards");
        self.at_once = if next.at > self.now {
            0
        } else {
            self.at_once + 1
        };
        assert!(
            self.at_once < RESTLESS,
            "seed {}: node {} never rests",
            self.seed,
            next.to
        );
        self.now = next.at;
        let place = self
            .places
            .get_mut(&next.to)
            .expect("events are for nodes that exist");
        let alive = place.node.is_some();
        match next.what {
            Happening::Frame { from, link, bytes } => {
                if alive {
                    self.fates.delivered += 1;
                    let from = LinkAddress(from.0.into());
                    self.pump(
                        next.to,
                        Input::Frame {
                            link,
                            from,
                            bytes: &bytes,
                        },
                    );
                } else {
                    self.fates.dead += 1;
                }
            }
            Happening::Outcome { life, outcome } if alive && life == place.life => {
                self.pump(next.to, Input::Outcome(outcome.outcome()));
            }
            Happening::Wake { life } if alive && life == place.life => {
                if place.wake == Some(next.at) {
                    place.wake = None;
                    self.pump(next.to, Input::Timeout);
                }
            }
            Happening::Outcome { .. } | Happening::Wake { .. } => {}
        }
        true
    }

    fn pump(&mut self, id: NodeId, input: Input<'_>) {
        self.drive(id, |node, now, driver, frame| {
            pump(node, now, input, driver, frame)
        });
    }

    fn command<T>(&mut self, id: NodeId, command: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let mut answer = None;
        self.drive(id, |node, now, driver, frame| {
            answer = Some(command(node, now));
            drain(node, now, driver, frame)
        });
        answer.expect("a test commands nodes that are up")
    }

    /// Lets a node act, and queues what follows.
    fn drive<R>(&mut self, id: NodeId, act: R)
    where
        R: FnOnce(
            &mut Node,
            Instant,
            &mut Collector<'_>,
            &mut [u8],
        ) -> Option<(Instant, nimblenet_core::Reason)>,
    {
        let now = self.now;
        let place = self.places.get_mut(&id).expect("only nodes that exist act");
        let Some(node) = place.node.as_mut() else {
            return;
        };
        let mut collector = Collector {
            executors: &mut place.executors,
            frames: Vec::new(),
            outcomes: Vec::new(),
            finished: Vec::new(),
            moves: Vec::new(),
        };
        let mut frame = [0; MTU as usize];
        let due = act(node, now, &mut collector, &mut frame);
        let Collector {
            frames,
            outcomes,
            finished,
            moves,
            ..
        } = collector;
        let life = place.life;
        let wake = due
            .map(|(at, _)| at.max(now))
            .filter(|at| place.wake.is_none_or(|w| *at < w));
        if let Some(at) = wake {
            place.wake = Some(at);
            self.enqueue(at, id, Happening::Wake { life });
        }
        self.moves
            .extend(moves.into_iter().map(|moved| (id, moved)));
        for (call, ended) in finished {
            self.finished.insert((id, call), ended);
        }
        for (after, outcome) in outcomes {
            self.enqueue(now + after, id, Happening::Outcome { life, outcome });
        }
        for (link, to, bytes) in frames {
            self.carry(id, link, to, &bytes);
        }
    }

    /// Puts a frame on one link or on all links of its sender.
    fn carry(&mut self, from: NodeId, link: LinkId, to: Option<NodeId>, bytes: &[u8]) {
        let receivers: Vec<NodeId> = match to {
            Some(to) => vec![to],
            None => self.peers(from, link),
        };
        for to in receivers {
            self.fates.sent += 1;
            let Some(wire) = self.wires.get_mut(&ends(from, to)).filter(|wire| wire.up) else {
                self.fates.dead += 1;
                continue;
            };
            let link = wire.links[usize::from(from < to)];
            let arrivals: Vec<Duration> = wire.model.arrivals(&mut self.random).collect();
            let latest = &mut wire.latest[usize::from(from < to)];
            self.fates.lost += u64::from(arrivals.is_empty());
            self.fates.doubled += u64::from(arrivals.len() > 1);
            let mut due = Vec::new();
            for after in arrivals {
                let at = self.now + after;
                self.fates.overtaken += u64::from(at < *latest);
                *latest = at.max(*latest);
                due.push(at);
            }
            for at in due {
                self.enqueue(
                    at,
                    to,
                    Happening::Frame {
                        from,
                        link,
                        bytes: bytes.to_vec(),
                    },
                );
            }
        }
    }

    /// The nodes at the other ends of a node's link.
    fn peers(&self, of: NodeId, link: LinkId) -> Vec<NodeId> {
        let ends = self.wires.iter();
        let peers = ends.filter_map(|((a, b), wire)| match (of, wire.links) {
            (of, [at, _]) if (of, link) == (*a, at) => Some(*b),
            (of, [_, at]) if (of, link) == (*b, at) => Some(*a),
            _ => None,
        });
        peers.collect()
    }

    fn enqueue(&mut self, at: Instant, to: NodeId, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse(Queued {
            at,
            order: self.order,
            to,
            what,
        }));
    }
}

/// Collects the frames, outcomes and events of a node that acts.
struct Collector<'p> {
    executors: &'p mut [Box<dyn SimExecutor>],
    frames: Vec<(LinkId, Option<NodeId>, Vec<u8>)>,
    outcomes: Vec<(Duration, Answer<Vec<u8>>)>,
    finished: Vec<(CallId, Finished)>,
    moves: Vec<Result<(), Fault>>,
}

impl Driver for Collector<'_> {
    fn transmit(&mut self, _: Instant, transmit: Transmit, frame: &[u8]) {
        let to = transmit.to.map(|address| NodeId(address.0 as u16));
        self.frames.push((transmit.link, to, frame.to_vec()));
    }

    fn work(&mut self, _: Instant, executor: ExecutorId, work: Work<'_>) {
        let executor = &mut self.executors[usize::from(executor.0)];
        self.outcomes.extend(executor.execute(&work));
    }

    fn event(&mut self, now: Instant, event: Event<'_>) {
        if let Event::Moved { result, .. } = event {
            self.moves.push(result);
        }
        if let Event::Finished {
            call,
            result,
            trap,
            steps,
            took,
            ..
        } = event
        {
            let steps = steps.iter().map(|step| (step.name, step.source)).collect();
            let result = result.map(<[u8]>::to_vec);
            self.finished.push((
                call,
                Finished {
                    at: now,
                    result,
                    trap,
                    steps,
                    took,
                },
            ));
        }
    }
}

fn ends(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
