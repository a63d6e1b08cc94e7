//! Emulated boards and nodes of the host in one virtual time.
//!
//! The boards run the image that goes onto real ones. The nodes of the host run the same core and
//! interpreter as a Linux node, each at the other end of a board's line.
#![allow(dead_code, reason = "each test program uses a part")]

use core::time::Duration;
use std::collections::VecDeque;

use ed25519_compact::{KeyPair, PublicKey, Seed, Signature};
use nimblenet_board::framing::{self, Deframer, Frame, MAX_LINE_BYTES};
use nimblenet_board::provision::Provision;
use nimblenet_core::wire::Cause;
use nimblenet_core::{
    Archive, CallId, CallRequest, Config, Driver, Event, ExecutorId, Input, Instant, LinkAddress,
    LinkId, NamespaceConfig, Node, Pace, Priority, Role, Step, Transmit, drain, pump,
};
use nimblenet_sim::{Device, Draft, Publisher, SimExecutor, WasmExecutor, shelve};
use nimblenet_tasklet::{
    Answer, Capabilities, Delta, Fault, Name, NodeId, TaskletName, Trap, Work,
};
use runner::{Bench, Board, BoardId, Image, Port, Uart};

/// A microsecond, in cycles.
pub(crate) const MICROSECOND: u64 = 125;
/// A millisecond, in cycles.
pub(crate) const MILLISECOND: u64 = 125_000;
/// How far boards run before the host's nodes get their turn.
const TURN: u64 = 100 * MICROSECOND;
const MTU: u16 = 256;
const ARENA_BYTES: usize = 1 << 20;
const SLICE: u64 = 100_000;
const SEED: [u8; 32] = [7; 32];

/// The registry's id.
pub(crate) const REGISTRY: NodeId = NodeId(1);
/// A Linux node's id.
pub(crate) const GATEWAY: NodeId = NodeId(20);
/// Ids of boards.
pub(crate) const BOARD: NodeId = NodeId(7);
pub(crate) const OTHER_BOARD: NodeId = NodeId(8);

/// The test program's image, which `cargo xtask runner` has built.
pub(crate) fn image() -> Image {
    let path = std::env::var_os(crate::IMAGE);
    let path = path.unwrap_or_else(|| panic!("`cargo xtask runner` sets {}", crate::IMAGE));
    Image::read(path.as_ref()).expect("it has been built")
}

/// A tasklet from its text.
pub(crate) fn draft(name: &str, wat: &str, signature: &str) -> Draft {
    Draft::new(
        name,
        wat::parse_str(wat).expect("it is a module"),
        signature,
    )
}

pub(crate) fn port(board: BoardId, uart: Uart) -> Port {
    Port { board, uart }
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) call: CallId,
    pub(crate) result: Result<Vec<u8>, Fault>,
    pub(crate) trap: Option<Trap>,
    pub(crate) steps: Vec<Step>,
    pub(crate) took: Duration,
}

impl Finished {
    /// The only result.
    pub(crate) fn number(&self) -> i64 {
        let bytes = self.result.as_ref();
        let bytes = bytes.unwrap_or_else(|fault| panic!("{fault}: {self:?}"));
        let mut decoder = minicbor::Decoder::new(bytes);
        assert_eq!(decoder.array().expect("results are an array"), Some(1));
        decoder.i64().expect("the result is a number")
    }
}

/// A crash that was reported to the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reported {
    pub(crate) node: NodeId,
    pub(crate) cause: Cause,
    pub(crate) core: u8,
    pub(crate) addresses: Vec<u32>,
    pub(crate) text: String,
}

/// The boards and nodes of a test.
pub(crate) struct Floor {
    pub(crate) bench: Bench,
    peers: Vec<Peer>,
    namespace: NamespaceConfig,
    archive: Archive,
    publisher: Publisher,
    /// Frames that have come to the nodes of the host since they were last cleared.
    pub(crate) heard: Vec<Frame>,
}

/// A frame as it goes onto a line.
pub(crate) fn stuffed(frame: &[u8]) -> Vec<u8> {
    let frame = Frame::from_slice(frame).expect("no frame of a test is too long");
    framing::stuffed(&frame, &mut [0; MAX_LINE_BYTES]).to_vec()
}

/// A node of the host, at the other end of a board's line.
struct Peer {
    node: Node,
    port: Port,
    deframer: Deframer,
    due: Option<Instant>,
    outside: Outside,
}

struct Outside {
    executor: WasmExecutor,
    frames: Vec<Vec<u8>>,
    outcomes: VecDeque<(Instant, Answer<Vec<u8>>)>,
    finished: Vec<Finished>,
    reports: Vec<Reported>,
}

impl Driver for Outside {
    fn transmit(&mut self, _: Instant, _: Transmit, frame: &[u8]) {
        self.frames.push(frame.to_vec());
    }

    fn work(&mut self, now: Instant, _: ExecutorId, work: Work<'_>) {
        let verified = work.verified(|key, message, signature| {
            let key = PublicKey::new(*key);
            key.verify(message, &Signature::new(*signature)).is_ok()
        });
        let outcome = match verified {
            Some(verified) => Some((Duration::ZERO, verified.owned())),
            None => self.executor.execute(&work),
        };
        self.outcomes
            .extend(outcome.map(|(took, outcome)| (now + took, outcome)));
    }

    fn event(&mut self, _: Instant, event: Event<'_>) {
        if let Event::Reported { node, report } = event {
            self.reports.push(Reported {
                node,
                cause: report.cause,
                core: report.core,
                addresses: report.addresses().collect(),
                text: report.text.into(),
            });
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
            let (result, steps) = (result.map(<[u8]>::to_vec), steps.to_vec());
            self.finished.push(Finished {
                call,
                result,
                trap,
                steps,
                took,
            });
        }
    }
}

impl Floor {
    /// A floor whose registry has published `drafts` as namespace `shop`.
    pub(crate) fn new(drafts: &[Draft]) -> Self {
        let pair = KeyPair::from_seed(Seed::new(SEED));
        let mut publisher = Publisher::with_key("shop", *pair.pk, |_, message| {
            *KeyPair::from_seed(Seed::new(SEED)).sk.sign(message, None)
        });
        let mut archive = Archive::new();
        let delta = publisher.publish(drafts, |_| None);
        shelve(&mut archive, &delta, publisher.modules());
        let namespace = NamespaceConfig {
            name: publisher.name(),
            registry: REGISTRY,
            key: publisher.key(),
            capabilities: Capabilities::ALL,
            stays: false,
        };
        Self {
            bench: Bench::new(),
            peers: Vec::new(),
            namespace,
            archive,
            publisher,
            heard: Vec::new(),
        }
    }

    /// Puts a board on the floor and powers it on.
    pub(crate) fn board(&mut self, id: NodeId) -> BoardId {
        self.board_of(id, &[])
    }

    /// Puts a board on the floor that takes tasklets of other namespaces too.
    pub(crate) fn board_of(&mut self, id: NodeId, others: &[&str]) -> BoardId {
        let image = self.image_of(id, others);
        self.power_on(&image)
    }

    /// Puts a board with this flash on the floor.
    pub(crate) fn power_on(&mut self, flash: &Image) -> BoardId {
        let board = self.bench.add(flash);
        board.expect("the emulator takes the image")
    }

    /// The flash of a new board.
    pub(crate) fn image_of(&self, id: NodeId, others: &[&str]) -> Image {
        let mut namespaces = vec![self.namespace];
        namespaces.extend(others.iter().map(|name| NamespaceConfig {
            name: Name::new(name).expect("it is a name"),
            ..self.namespace
        }));
        let provision = Provision::new(id, namespaces).expect("a board can be that");
        let image = image().provisioned(&provision.encode());
        image.expect("the record fits")
    }

    /// Puts the registry at the other end of a line.
    pub(crate) fn registry(&mut self, port: Port) {
        let role = Role::Registry(self.archive.clone());
        self.peer(REGISTRY, port, |config| config.role = role);
    }

    /// Puts a Linux node at the other end of a line.
    pub(crate) fn node(&mut self, id: NodeId, port: Port) {
        let namespace = self.namespace;
        self.peer(id, port, |config| config.namespaces.push(namespace));
    }

    fn peer(&mut self, id: NodeId, port: Port, configure: impl FnOnce(&mut Config)) {
        let mut config = Config::new(id, MTU);
        config.pace = Pace::LINUX;
        configure(&mut config);
        self.peers.push(Peer {
            node: Node::new(config).expect("its parts fit"),
            port,
            deframer: Deframer::new(),
            due: Some(Instant::ZERO),
            outside: Outside {
                executor: WasmExecutor::new(ARENA_BYTES, SLICE, Device::default()),
                frames: Vec::new(),
                outcomes: VecDeque::new(),
                finished: Vec::new(),
                reports: Vec::new(),
            },
        });
    }

    /// Ties two lines together.
    pub(crate) fn wire(&mut self, a: Port, b: Port) {
        self.bench.wire(a, b);
    }

    /// Whether a call of the node `from` has ended.
    pub(crate) fn has_ended(&self, call: CallId, from: NodeId) -> bool {
        let peer = self.peers.iter().find(|peer| peer.node.id() == from);
        let finished = &peer.expect("it is on the floor").outside.finished;
        finished.iter().any(|finished| finished.call == call)
    }

    /// A board, to look into it.
    pub(crate) fn look(&mut self, board: BoardId) -> &mut Board {
        self.bench.board(board)
    }

    /// The crashes that were reported to the registry.
    pub(crate) fn reports(&self) -> &[Reported] {
        let peer = self.peers.iter().find(|peer| peer.node.id() == REGISTRY);
        &peer.expect("it is on the floor").outside.reports
    }

    pub(crate) fn peer_node(&self, id: NodeId) -> &Node {
        let peer = self.peers.iter().find(|peer| peer.node.id() == id);
        &peer.expect("it is on the floor").node
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, milliseconds: u64) {
        let end = self.bench.now() + milliseconds * MILLISECOND;
        while self.bench.now() < end {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.step(TURN);
    }

    pub(crate) fn step(&mut self, cycles: u64) {
        let ran = self.bench.run(cycles, |_, _, _| {});
        ran.expect("no core of a board locks up");
        let now = Instant::from_micros(self.bench.now() / MICROSECOND);
        for peer in &mut self.peers {
            let board = self.bench.board(peer.port.board);
            for byte in board.take(peer.port.uart) {
                if let Some(Ok(frame)) = peer.deframer.push(byte) {
                    let (link, from) = (LinkId(0), LinkAddress(0));
                    let bytes = &frame[..];
                    peer.handle(now, Input::Frame { link, from, bytes });
                    self.heard.push(frame);
                }
            }
            while let Some((_, outcome)) = peer.outside.outcomes.pop_front_if(|(at, _)| *at <= now)
            {
                peer.handle(now, Input::Outcome(outcome.outcome()));
            }
            if peer.due.is_some_and(|due| due <= now) {
                peer.handle(now, Input::Timeout);
            }
            for frame in peer.outside.frames.drain(..) {
                board.send(peer.port.uart, &stuffed(&frame));
            }
        }
    }

    /// Lets the node `from` of the host call a tasklet at another.
    pub(crate) fn call(&mut self, from: NodeId, at: NodeId, name: &str, args: &[i32]) -> CallId {
        let now = Instant::from_micros(self.bench.now() / MICROSECOND);
        let name: TaskletName = name.parse().expect("it is a name");
        let args = minicbor::to_vec(args).expect("numbers can be encoded");
        let request = CallRequest {
            name,
            export: "",
            args: &args,
            deadline: Some(Duration::from_secs(30)),
            priority: Priority::Normal,
            client: None,
            key: None,
            from: None,
        };
        let peer = self.peers.iter_mut().find(|peer| peer.node.id() == from);
        let peer = peer.expect("it is on the floor");
        let call = peer.node.call_at(now, at, request);
        let call = call.expect("the call is taken");
        peer.due = drain(
            &mut peer.node,
            now,
            &mut peer.outside,
            &mut [0; MTU as usize],
        )
        .map(|(due, _)| due);
        call
    }

    /// Waits until a call of the node `from` runs there and has made some progress.
    pub(crate) fn wait_until_running(&mut self, from: NodeId, call: CallId) {
        let acquired = |floor: &Self| {
            let acquired = floor.peer_node(from).counters().acquired;
            acquired.local
        };
        for _ in 0..40_000 {
            self.turn();
            assert!(!self.has_ended(call, from), "it ended too soon");
            if acquired(self) > 10 {
                return;
            }
        }
        panic!("{call:?} does not get on");
    }

    /// The instructions that both cores of a board have executed.
    pub(crate) fn executed(&mut self, board: BoardId) -> u64 {
        let board = self.look(board);
        board.instructions(0) + board.instructions(1)
    }

    /// Waits until a board has executed `instructions` more instructions.
    pub(crate) fn wait_for_work(&mut self, board: BoardId, instructions: u64) {
        let before = self.executed(board);
        for _ in 0..100_000 {
            self.turn();
            if self.executed(board) > before + instructions {
                return;
            }
        }
        panic!("the board has nothing to do");
    }

    /// Moves the call of the node `from` to another node.
    pub(crate) fn send_on(&mut self, from: NodeId, call: CallId, to: NodeId) {
        let now = Instant::from_micros(self.bench.now() / MICROSECOND);
        let peer = self.peers.iter_mut().find(|peer| peer.node.id() == from);
        let peer = peer.expect("it is on the floor");
        let ordered = peer.node.move_call(now, call, to);
        ordered.expect("the order is taken");
        peer.due = drain(
            &mut peer.node,
            now,
            &mut peer.outside,
            &mut [0; MTU as usize],
        )
        .map(|(due, _)| due);
    }

    /// Publishes new versions at the registry.
    pub(crate) fn publish(&mut self, drafts: &[Draft]) {
        let now = Instant::from_micros(self.bench.now() / MICROSECOND);
        let delta = self.publisher.publish(drafts, |_| None);
        let delta = Delta::decode(&delta).expect("a published delta is well formed");
        let peer = self
            .peers
            .iter_mut()
            .find(|peer| peer.node.id() == REGISTRY);
        let peer = peer.expect("it is on the floor");
        let modules = drafts.iter().map(|draft| &draft.module[..]);
        let published = peer.node.publish(now, &delta, modules);
        published.expect("the delta fits");
        peer.due = drain(
            &mut peer.node,
            now,
            &mut peer.outside,
            &mut [0; MTU as usize],
        )
        .map(|(due, _)| due);
    }

    /// Puts bytes on the wire into a line, as noise or a stranger does.
    pub(crate) fn disturb(&mut self, port: Port, bytes: &[u8]) {
        self.bench.board(port.board).send(port.uart, bytes);
    }

    /// Waits for the end of a call.
    pub(crate) fn end(&mut self, call: CallId, from: NodeId) -> Finished {
        for _ in 0..300_000 {
            self.turn();
            let peer = self.peers.iter().find(|peer| peer.node.id() == from);
            let finished = &peer.expect("it is on the floor").outside.finished;
            if let Some(finished) = finished.iter().find(|finished| finished.call == call) {
                return finished.clone();
            }
        }
        panic!("{call:?} has not ended");
    }

    /// Calls a tasklet, and waits for the end.
    pub(crate) fn ask(&mut self, from: NodeId, at: NodeId, name: &str, args: &[i32]) -> Finished {
        let call = self.call(from, at, name, args);
        self.end(call, from)
    }
}

impl Peer {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        let mut frame = [0; MTU as usize];
        let next = pump(&mut self.node, now, input, &mut self.outside, &mut frame);
        self.due = next.map(|(due, _)| due);
    }
}
