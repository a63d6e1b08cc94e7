//! Boards that place calls: nodes without the feature `full`, in virtual time.
//!
//! ```text
//! cargo test -p nimblenet-core --no-default-features --features placement --test boards
//! ```
#![cfg(all(feature = "placement", not(feature = "full")))]
#![allow(clippy::unwrap_used)]

extern crate alloc;

use alloc::collections::BTreeMap;
use core::time::Duration;

use nimblenet_core::wire::{Data, Frame, MAX_TTL, Message, Object};
use nimblenet_core::{
    CallId, CallRequest, Config, Driver, Event, ExecutorId, Input, Instant, Limits, LinkAddress,
    LinkId, NamespaceConfig, Node, Pace, Placement, Priority, StaticNeighbour, Transmit, drain,
    pump,
};
use nimblenet_tasklet::{
    ActivationId, Capabilities, Capability, Delta, Digest, EntryFields, Export, Fault, Name,
    NodeId, Order, Outcome, Terms, Work,
};

const MTU: u16 = 256;
const REGISTRY: NodeId = NodeId(9);
/// How long a frame is on its way.
const FLIGHT: Duration = Duration::from_millis(3);
/// How long each call runs.
const WORK: Duration = Duration::from_millis(400);
/// The module of each tasklet: nobody reads it.
const MODULE: [u8; 300] = [7; 300];

/// What a board asks of its surroundings.
#[derive(Default)]
struct Outside {
    sent: Vec<(Option<LinkAddress>, Vec<u8>)>,
    begun: Vec<(ActivationId, Vec<u8>)>,
    stopped: Vec<ActivationId>,
    ended: Vec<(CallId, Result<Vec<u8>, Fault>)>,
}

impl Driver for Outside {
    fn transmit(&mut self, _: Instant, transmit: Transmit, frame: &[u8]) {
        self.sent.push((transmit.to, frame.to_vec()));
    }

    fn work(&mut self, _: Instant, _: ExecutorId, work: Work<'_>) {
        match work {
            Order::Start(start) => {
                self.begun.push((start.activation, start.args.to_vec()));
            }
            Order::Stop { activation } => self.stopped.push(activation),
            Order::Continue { .. }
            | Order::Resume { .. }
            | Order::Freeze { .. }
            | Order::Thaw { .. }
            | Order::Verify { .. } => panic!("nothing else is asked for"),
        }
    }

    fn event(&mut self, _: Instant, event: Event<'_>) {
        if let Event::Finished { call, result, .. } = event {
            self.ended.push((call, result.map(<[u8]>::to_vec)));
        }
    }
}

struct Board {
    node: Node,
    outside: Outside,
    /// When the node wants to be called.
    due: Option<Instant>,
    /// What runs, and until when.
    running: Option<(Instant, ActivationId, Vec<u8>)>,
    /// The arguments of all that it has run.
    ran: Vec<Vec<u8>>,
    is_dead: bool,
}

/// Boards that all hear each other, and a registry that serves the module of each tasklet.
struct Net {
    now: Instant,
    boards: Vec<Board>,
    /// Frames on their way: when they arrive, from whom, and at which board.
    air: Vec<(Instant, NodeId, usize, Vec<u8>)>,
    /// The registry's last packet.
    sequence: u32,
}

impl Net {
    /// Boards 1, 2 and so on, with these changes of their configurations.
    fn new(boards: u16, change: impl Fn(&mut Config)) -> Self {
        let catalogue = catalogue();
        let delta = Delta::decode(&catalogue).unwrap();
        let board = |id: u16| {
            let mut config = Config::new(NodeId(id), MTU);
            config.seed = id.into();
            config.pace = Pace::BOARD;
            config.limits = Limits::board();
            config.limits.jobs = 8;
            // What is declared is what it takes.
            config.fuel_ms = 1000;
            config.namespaces.push(NamespaceConfig {
                name: Name::new("shop").unwrap(),
                registry: REGISTRY,
                key: [7; 32],
                capabilities: Capabilities::NONE.with(Capability::Clock),
                stays: false,
            });
            config.topology.neighbours.push(StaticNeighbour {
                id: REGISTRY,
                link: LinkId(0),
                address: LinkAddress(REGISTRY.0.into()),
            });
            change(&mut config);
            let mut node = Node::new(config).unwrap();
            node.install(Instant::ZERO, &delta).unwrap();
            Board {
                node,
                outside: Outside::default(),
                due: Some(Instant::ZERO),
                running: None,
                ran: Vec::new(),
                is_dead: false,
            }
        };
        let mut net = Self {
            now: Instant::ZERO,
            boards: (1..=boards).map(board).collect(),
            air: Vec::new(),
            sequence: 0,
        };
        // They meet, and each runs everything once.
        net.run_for(Duration::from_secs(5));
        for at in 0..net.boards.len() {
            for (name, args) in [("nap", number(0)), ("tell", text(0))] {
                let _ = net.call_here(at, name, &args);
                net.run_for(2 * WORK);
            }
        }
        net.run_for(Duration::from_secs(5));
        for board in &mut net.boards {
            board.ran.clear();
            board.outside.ended.clear();
        }
        net
    }

    fn call(&mut self, at: usize, name: &str, args: &[u8]) -> CallId {
        let (now, node) = (self.now, &mut self.boards[at].node);
        let call = node.call(now, request(name, args)).unwrap();
        self.drain(at);
        call
    }

    fn call_here(&mut self, at: usize, name: &str, args: &[u8]) -> Result<CallId, Fault> {
        let (now, node) = (self.now, &mut self.boards[at].node);
        let call = node.call_here(now, request(name, args));
        self.drain(at);
        call
    }

    fn drain(&mut self, at: usize) {
        let Board {
            node, outside, due, ..
        } = &mut self.boards[at];
        let next = drain(node, self.now, outside, &mut [0; MTU as usize]);
        *due = next.map(|(at, _)| at);
        self.carry(at);
    }

    fn pump(&mut self, at: usize, input: Input<'_>) {
        let Board {
            node, outside, due, ..
        } = &mut self.boards[at];
        let next = pump(node, self.now, input, outside, &mut [0; MTU as usize]);
        *due = next.map(|(at, _)| at);
        self.carry(at);
    }

    /// Takes what a board has asked for.
    fn carry(&mut self, at: usize) {
        let board = &mut self.boards[at];
        let id = board.node.id();
        for stopped in board.outside.stopped.drain(..) {
            board.running.take_if(|running| running.1 == stopped);
        }
        if let Some((activation, args)) = board.outside.begun.pop() {
            assert!(board.running.is_none(), "there is one executor");
            board.running = Some((self.now + WORK, activation, args));
        }
        for (to, frame) in core::mem::take(&mut self.boards[at].outside.sent) {
            if to == Some(LinkAddress(REGISTRY.0.into())) {
                self.serve(at, &frame);
            } else {
                let hears = |other: &usize| {
                    let own = LinkAddress(*other as u32 + 1);
                    *other != at && to.is_none_or(|to| to == own)
                };
                for other in (0..self.boards.len()).filter(hears) {
                    let arrival = (self.now + FLIGHT, id, other, frame.clone());
                    self.air.push(arrival);
                }
            }
        }
    }

    /// The registry serves the parts of a module to the board that asks.
    fn serve(&mut self, at: usize, frame: &[u8]) {
        let frame = Frame::parse(frame).unwrap();
        let Message::Fetch(fetch) = frame.message else {
            return;
        };
        let Object::Module(_) = fetch.object else {
            return;
        };
        let parts = MODULE.chunks(fetch.part.into()).enumerate();
        let wanted = parts.filter(|(number, _)| fetch.wanted >> number & 1 == 1);
        for (number, bytes) in wanted {
            self.sequence += 1;
            let data = Data {
                request: fetch.request,
                version: 1,
                total: MODULE.len() as u32,
                offset: number as u32 * u32::from(fetch.part),
                bytes,
            };
            let frame = Frame {
                ttl: MAX_TTL,
                sender: REGISTRY,
                receiver: frame.sender,
                origin: REGISTRY,
                destination: frame.origin,
                sequence: self.sequence,
                hops: 1,
                unanswered: false,
                message: Message::Data(data),
            };
            let mut out = [0; MTU as usize];
            let len = frame.emit(&mut out).unwrap();
            let arrival = (self.now + FLIGHT, REGISTRY, at, out[..len].to_vec());
            self.air.push(arrival);
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let live = || self.boards.iter().filter(|board| !board.is_dead);
        let due = live().filter_map(|board| board.due);
        let ends = live().filter_map(|board| board.running.as_ref().map(|it| it.0));
        let arrivals = self.air.iter().map(|frame| frame.0);
        due.chain(ends).chain(arrivals).min()
    }

    /// Lets everything happen that is due.
    fn step(&mut self) {
        let now = self.now;
        let arrived = self.air.extract_if(.., |frame| frame.0 <= now);
        for (_, from, at, bytes) in arrived.collect::<Vec<_>>() {
            if !self.boards[at].is_dead {
                let (link, from, bytes) = (LinkId(0), LinkAddress(from.0.into()), &bytes[..]);
                self.pump(at, Input::Frame { link, from, bytes });
            }
        }
        for at in 0..self.boards.len() {
            if self.boards[at].is_dead {
                continue;
            }
            let ended = self.boards[at].running.take_if(|it| it.0 <= now);
            if let Some((_, activation, args)) = ended {
                self.boards[at].ran.push(args);
                let (result, fuel) = (&[0x81, 0x05][..], 0);
                self.pump(
                    at,
                    Input::Outcome(Outcome::Done {
                        activation,
                        result,
                        fuel,
                    }),
                );
            }
            if self.boards[at].due.is_some_and(|due| due <= now) {
                self.pump(at, Input::Timeout);
            }
        }
    }

    /// How many calls each board has run.
    fn ran(&self) -> Vec<usize> {
        self.boards.iter().map(|board| board.ran.len()).collect()
    }

    /// What came of the calls that clients have made at a board.
    fn ended(&self, at: usize) -> BTreeMap<CallId, Result<Vec<u8>, Fault>> {
        self.boards[at].outside.ended.iter().cloned().collect()
    }
}

fn request<'a>(name: &str, args: &'a [u8]) -> CallRequest<'a> {
    CallRequest {
        name: format!("shop/{name}").parse().unwrap(),
        export: "",
        args,
        deadline: None,
        priority: Priority::Normal,
        client: None,
        key: None,
        from: None,
    }
}

/// Arguments that are short enough to wait.
fn number(number: u8) -> Vec<u8> {
    vec![0x81, 0x18, number]
}

/// Arguments that are too long to wait.
fn text(number: u8) -> Vec<u8> {
    let mut args = vec![0x81, 0x60 + 20];
    args.extend([b'a' + number; 20]);
    args
}

/// The catalogue of `shop`: `nap` and `tell`, which need the clock.
fn catalogue() -> Vec<u8> {
    let entry = |number: u16, name: &str, signature: &str| {
        let mut space = [0; 64];
        let mut terms = Terms::empty();
        terms.fuel = 1_000_000;
        terms.cost = WORK.as_millis() as u64 * 1000;
        terms.capabilities = Capabilities::NONE.with(Capability::Clock);
        let export = Export::run(signature.parse().unwrap());
        let terms = terms.with_exports(&[export], &mut space).unwrap();
        let fields = EntryFields {
            number,
            name: Name::new(name).unwrap(),
            sequence: 1,
            digest: Digest::of(&MODULE),
            size: MODULE.len() as u32,
            compression: None,
            terms,
            imports: &[],
        };
        let mut out = vec![0; 512];
        let len = fields.encode(&mut out).unwrap();
        out.truncate(len);
        out
    };
    let entries = [
        entry(0, "nap", "func(n: u32) -> u32"),
        entry(1, "tell", "func(text: string) -> u32"),
    ];
    let shop = Name::new("shop").unwrap();
    let mut out = vec![0; 1024];
    let entries = entries.iter().map(Vec::as_slice);
    let len = Delta::encode(&shop, (0, 1), 2, &[7; 64], entries, &mut out).unwrap();
    out.truncate(len);
    out
}

/// Has a board's clients make as many calls as it has places for jobs, and returns how long it takes until all
/// have ended, and how many each board has run.
fn hot_spot(placement: &'static Placement) -> (Duration, Vec<usize>) {
    let mut net = Net::new(4, |config| config.placement = placement);
    let begin = net.now;
    for call in 0..8 {
        net.call(0, "nap", &number(call));
    }
    while net.ended(0).len() < 8 {
        net.run_for(Duration::from_millis(10));
        assert!(net.now - begin < Duration::from_secs(30));
    }
    assert!(net.ended(0).values().all(|it| *it == Ok(vec![0x81, 0x05])));
    let mut all: Vec<_> = net.boards.iter().flat_map(|board| &board.ran).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8);
    assert_eq!(net.ran().iter().sum::<usize>(), 8, "each ran once");
    assert_eq!(
        net.boards[0].node.counters().placed as usize,
        8 - net.ran()[0]
    );
    (net.now - begin, net.ran())
}

#[test]
fn calls_that_all_come_to_one_board_are_spread_over_its_neighbours() {
    let (alone, ran) = hot_spot(Placement::HERE);
    assert_eq!(ran, [8, 0, 0, 0]);
    let (spread, ran) = hot_spot(Placement::LEAST_WORK);
    assert!(ran.iter().all(|ran| *ran > 0), "{ran:?}");
    assert!(spread * 2 < alone, "{spread:?} of {alone:?}, {ran:?}");
}

#[test]
fn a_call_that_a_neighbour_must_not_run_runs_where_it_came_and_the_next_ones_too() {
    let mut net = Net::new(2, |config| {
        if config.id == NodeId(2) {
            config.namespaces[0].capabilities = Capabilities::NONE;
        }
    });
    let count = |net: &Net| {
        let [first, second] = [0, 1].map(|at| *net.boards[at].node.counters());
        (first.placed, second.failed)
    };
    let (_, before) = count(&net);
    for call in 0..6 {
        net.call(0, "nap", &number(call));
    }
    net.run_for(10 * WORK);
    let (placed, refused) = count(&net);
    assert!(placed > 0);
    assert_eq!(refused - before, placed);
    for call in 6..12 {
        net.call(0, "nap", &number(call));
    }
    net.run_for(10 * WORK);
    assert_eq!(count(&net), (placed, refused), "it is not asked again");
    let ended = net.ended(0);
    assert_eq!((ended.len(), net.ran()), (12, vec![12, 0]));
    assert!(ended.values().all(Result::is_ok), "{ended:?}");
}

#[test]
fn a_call_that_cannot_wait_at_a_neighbour_runs_where_it_came() {
    let mut net = Net::new(2, |config| {
        if config.id == NodeId(2) {
            config.limits.jobs = 1;
        }
    });
    net.call(1, "nap", &number(9));
    for call in 0..6 {
        net.call(0, "tell", &text(call));
    }
    net.run_for(10 * WORK);
    let ended = net.ended(0);
    assert_eq!(ended.len(), 6);
    assert!(ended.values().all(Result::is_ok), "{ended:?}");
    assert!(net.boards[1].node.counters().failed > 0, "it has refused");
    assert_eq!(net.ran().iter().sum::<usize>(), 7, "each ran once");
}

#[test]
fn what_waits_for_a_place_counts_in_what_a_board_tells() {
    let mut net = Net::new(2, |config| {
        if config.id == NodeId(2) {
            config.limits.jobs = 2;
        }
    });
    // The neighbour has two jobs, and six calls that wait.
    for call in 0..8 {
        net.call_here(1, "nap", &number(100 + call)).unwrap();
    }
    net.run_for(Duration::from_millis(450));
    for call in 0..4 {
        net.call(0, "nap", &number(call));
    }
    assert_eq!(net.boards[0].node.counters().placed, 0);
    net.run_for(20 * WORK);
    assert_eq!(net.ran(), [4, 8]);
}

#[test]
fn a_board_that_is_silent_has_no_more_calls_placed_there_than_it_had() {
    let mut net = Net::new(2, |_| {});
    for call in 0..8 {
        net.call(0, "nap", &number(call));
    }
    let placed = net.boards[0].node.counters().placed;
    assert!(placed > 0);
    net.boards[1].is_dead = true;
    net.run_for(Duration::from_secs(60));
    let ended = net.ended(0);
    let lost = ended.values().filter(|it| **it == Err(Fault::Unreachable));
    assert_eq!((ended.len(), lost.count() as u64), (8, placed));
    for call in 0..8 {
        net.call(0, "nap", &number(call));
    }
    net.run_for(Duration::from_secs(60));
    assert_eq!(net.boards[0].node.counters().placed, placed);
    assert_eq!(net.ended(0).len(), 16);
}

#[test]
fn a_board_that_keeps_its_calls_gets_none_of_others() {
    let mut net = Net::new(2, |config| {
        if config.id == NodeId(2) {
            config.placement = Placement::HERE;
        }
    });
    for call in 0..8 {
        net.call(0, "nap", &number(call));
    }
    net.run_for(20 * WORK);
    assert_eq!(net.ran(), [8, 0], "it has told nothing, so it has none");
}

#[test]
fn a_call_that_waits_for_a_place_is_not_counted_at_a_neighbour() {
    let mut net = Net::new(2, |config| config.limits.jobs = 2);
    let mut calls = Vec::new();
    for call in 0..2 {
        calls.push(net.call_here(0, "nap", &number(call)).unwrap());
    }
    for call in 2..8 {
        calls.push(net.call(0, "nap", &number(call)));
    }
    let placed = |net: &Net| net.boards[0].node.counters().placed;
    assert_eq!(placed(&net), 0);
    for call in calls {
        let now = net.now;
        net.boards[0].node.stop(now, call);
        net.drain(0);
    }
    net.call_here(0, "nap", &number(8)).unwrap();
    net.call(0, "nap", &number(9));
    assert_eq!(placed(&net), 1, "the neighbour has nothing to do");
}
