//! A stage for tests of the node's parts: the ground that they share, the frames that they send,
//! and catalogues.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{
    Capabilities, Delta, Digest, Entry, EntryFields, Executor, Export, Import, Name, NamespaceId,
    NodeId, TaskletName, TaskletRef, Terms,
};

use super::post::{Ground, Post};
use crate::cache::{Buffer, Cache, Disk, Eviction, SlotId};
use crate::config::{
    Config, Discovery, Limits, LinkAddress, LinkId, NamespaceConfig, StaticNeighbour, StaticRoute,
};
use crate::job::Callee;
use crate::mesh::Mesh;
use crate::time::Instant;
use crate::wire::{Fetch, Frame, MAX_TTL, Message, Refusal, Refuse};

/// The node whose parts are tested.
pub(in crate::node) const OWN: NodeId = NodeId(1);
/// A neighbour.
pub(in crate::node) const NEAR: NodeId = NodeId(2);
/// Another neighbour.
pub(in crate::node) const OTHER: NodeId = NodeId(3);
/// The registry of every namespace, two hops away behind [`NEAR`].
pub(in crate::node) const REGISTRY: NodeId = NodeId(9);
/// A node that nobody has heard of yet.
pub(in crate::node) const STRANGER: NodeId = NodeId(77);

/// The frame size of every link.
pub(in crate::node) const MTU: u16 = 256;
/// Bytes of a part in a frame of [`MTU`] bytes.
pub(in crate::node) const PART: u16 = 214;
/// The namespaces of the node, in this order.
pub(in crate::node) const NAMESPACES: [&str; 2] = ["shop", "yard"];
/// The fuel of every tasklet.
pub(in crate::node) const FUEL: u64 = 1000;

/// The ground of a part, and the time.
pub(in crate::node) struct Stage {
    pub(in crate::node) ground: Ground,
    pub(in crate::node) now: Instant,
    frame: [u8; MTU as usize],
}

impl Stage {
    /// A board that never says hello.
    pub(in crate::node) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same, with a changed configuration.
    pub(in crate::node) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(OWN, MTU);
        config.limits = Limits::board();
        config.topology.hello = None;
        // Parts are tested with the paper's algorithm unless a test says otherwise.
        config.acquisition.discovery = Discovery::Flood;
        config.acquisition.announce = false;
        config.acquisition.prefetch = false;
        config.acquisition.adapt = false;
        config.namespaces = NAMESPACES.map(namespace).to_vec();
        let neighbour = |id: NodeId| StaticNeighbour {
            id,
            link: LinkId(0),
            address: LinkAddress(id.0.into()),
        };
        config.topology.neighbours = [NEAR, OTHER].map(neighbour).to_vec();
        let (destination, next, hops) = (REGISTRY, NEAR, 2);
        config.topology.routes = vec![StaticRoute {
            destination,
            next,
            hops,
        }];
        change(&mut config);
        let limits = config.limits;
        let disk = Disk::allocate(limits.cache_bytes + 2 * limits.delta_bytes);
        let cache = Cache::new(
            disk,
            limits.cache_bytes,
            limits.cache_entries,
            Eviction::LRU.make,
        );
        let image = Buffer::new(Disk::allocate(limits.image_bytes));
        let mesh = Mesh::new(&config);
        Self {
            ground: Ground::new(config, mesh, cache, image),
            now: Instant::ZERO,
            frame: [0; MTU as usize],
        }
    }

    /// A region for the entries of each namespace.
    pub(in crate::node) fn catalogues(&self) -> Vec<Disk> {
        let bytes = self.ground.config.limits.catalogue.bytes;
        let namespaces = self.ground.config.namespaces.iter();
        namespaces.map(|_| Disk::allocate(bytes)).collect()
    }

    /// What a part works with.
    pub(in crate::node) fn post(&mut self) -> Post<'_> {
        self.ground.post(self.now)
    }

    pub(in crate::node) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Lets time pass until `until`, when a part must be called again.
    pub(in crate::node) fn wait(&mut self, until: Option<Instant>) {
        self.now = self.now.max(until.expect("there is something to wait for"));
    }

    /// The next frame that was sent on the first link.
    pub(in crate::node) fn sent(&mut self) -> Option<Frame<'_>> {
        self.sent_on(LinkId(0))
    }

    /// The next frame that was sent on a link.
    pub(in crate::node) fn sent_on(&mut self, link: LinkId) -> Option<Frame<'_>> {
        let transmit = self.ground.mesh.poll_transmit(link, &mut self.frame)?;
        Some(Frame::parse(&self.frame[..transmit.len]).expect("nodes send frames"))
    }

    /// The next message, and its receiver.
    pub(in crate::node) fn message(&mut self) -> Option<(NodeId, Message<'_>)> {
        self.sent().map(|frame| (frame.destination, frame.message))
    }

    /// The fetch that was sent, and its receiver. It must be the only frame.
    pub(in crate::node) fn fetch(&mut self) -> (NodeId, Fetch) {
        let asked = match self.message() {
            Some((to, Message::Fetch(fetch))) => (to, fetch),
            other => panic!("{other:?} is no fetch"),
        };
        assert!(self.is_quiet());
        asked
    }

    /// The refusal that was sent, and its receiver. It must be the only frame.
    pub(in crate::node) fn refusal(&mut self) -> (NodeId, u16, Refusal) {
        let refused = match self.message() {
            Some((to, Message::Refuse(Refuse { request, refusal }))) => (to, request, refusal),
            other => panic!("{other:?} is no refusal"),
        };
        assert!(self.is_quiet());
        refused
    }

    /// Whether there is no frame to send.
    pub(in crate::node) fn is_quiet(&mut self) -> bool {
        self.sent().is_none()
    }

    /// Drops all frames that wait.
    pub(in crate::node) fn hush(&mut self) {
        while self.sent().is_some() {}
    }

    /// Takes a packet of `origin` that [`NEAR`] forwards, so that the route to it is known.
    pub(in crate::node) fn hear_of(&mut self, origin: NodeId) {
        let (request, refusal) = (0, Refusal::Gone);
        let frame = Frame {
            ttl: MAX_TTL,
            sender: NEAR,
            receiver: OWN,
            origin,
            destination: OWN,
            sequence: 1,
            hops: 3,
            unanswered: false,
            message: Message::Refuse(Refuse { request, refusal }),
        };
        let mut bytes = [0; 64];
        let len = frame.emit(&mut bytes).expect("it is a short frame");
        let from = (LinkId(0), LinkAddress(NEAR.0.into()));
        let Ground { mesh, counters, .. } = &mut self.ground;
        let heard = mesh.receive(self.now, from, &bytes[..len], counters);
        assert!(heard.is_some());
    }

    /// Puts a whole module in the cache.
    pub(in crate::node) fn keep(&mut self, tasklet: TaskletRef, module: &[u8]) -> SlotId {
        let (now, cache) = (self.now, &mut self.ground.cache);
        let slot = cache.begin(tasklet, module.len(), now);
        let slot = slot.expect("the cache has room for it");
        cache.write(slot, 0, module);
        assert!(cache.finish(slot, &Digest::of(module)));
        slot
    }

    /// Puts an object that is no module on the disk.
    pub(in crate::node) fn place(&mut self, object: &[u8]) -> SlotId {
        let slot = self.ground.cache.begin_object(object.len(), self.now);
        let slot = slot.expect("the disk has room for it");
        self.ground.cache.write(slot, 0, object);
        slot
    }

    /// Fills the cache with a module that may not leave.
    pub(in crate::node) fn fill(&mut self) {
        let module = vec![1; self.ground.cache.capacity() - self.ground.cache.used()];
        let (number, sequence) = (999, 1);
        let slot = self.keep(tasklet(number, sequence), &module);
        self.ground.cache.reserve(slot);
    }

    /// Puts another module in the cache, which evicts all others that may leave.
    pub(in crate::node) fn fill_anew(&mut self) {
        let whole = self.ground.cache.capacity();
        assert!(self.ground.cache.make_room(whole).is_ok());
        self.fill();
    }

    /// Whether no module and no object takes any of the disk.
    pub(in crate::node) fn disk_is_free(&mut self) -> bool {
        let Limits {
            cache_bytes,
            delta_bytes,
            ..
        } = self.ground.config.limits;
        let (now, cache) = (self.now, &mut self.ground.cache);
        if cache.used() > 0 {
            return false;
        }
        let whole = cache.begin_object(cache_bytes + 2 * delta_bytes, now);
        whole.map(|slot| cache.remove(slot)).is_ok()
    }
}

fn namespace(name: &str) -> NamespaceConfig {
    NamespaceConfig {
        name: Name::new(name).expect("it is a valid name"),
        registry: REGISTRY,
        key: Digest::of(name.as_bytes()).0,
        capabilities: Capabilities::NONE,
        stays: false,
    }
}

/// The namespace `shop` as it appears in frames.
pub(in crate::node) fn shop() -> NamespaceId {
    id_of("shop")
}

/// The namespace of this name as it appears in frames.
pub(in crate::node) fn id_of(namespace: &str) -> NamespaceId {
    NamespaceId::of(&Name::new(namespace).expect("it is a valid name"))
}

/// A version of a tasklet of `shop`.
pub(in crate::node) fn tasklet(number: u16, sequence: u16) -> TaskletRef {
    TaskletRef {
        namespace: shop(),
        number,
        sequence,
    }
}

/// A module of `len` bytes, each of which follows from its position.
pub(in crate::node) fn module(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 3 + 7 * at) as u8).collect()
}

/// An import of a tasklet of `namespace` whose signature is `func()`.
pub(in crate::node) fn import(namespace: &str, number: u16) -> Import<'static> {
    Import {
        namespace: id_of(namespace),
        number,
        export: "run",
        signature: "func()".parse().expect("it is a signature"),
    }
}

/// A catalogue entry of a tasklet whose module is `module`, encoded; without a module it is
/// native.
pub(in crate::node) fn entry(
    number: u16,
    name: &str,
    sequence: u16,
    module: &[u8],
    imports: &[Import<'_>],
) -> Vec<u8> {
    let mut space = [0; 64];
    let mut terms = Terms::empty();
    terms.fuel = FUEL;
    if module.is_empty() {
        terms.executor = Executor::Native;
    }
    let signature = "func()".parse().expect("it is a signature");
    let terms = terms.with_exports(&[Export::run(signature)], &mut space);
    let fields = EntryFields {
        number,
        name: Name::new(name).expect("it is a valid name"),
        sequence,
        digest: Digest::of(module),
        size: module.len() as u32,
        compression: None,
        terms: terms.expect("one export fits"),
        imports,
    };
    let mut out = vec![0; 512];
    let len = fields.encode(&mut out).expect("the entry is short");
    out.truncate(len);
    out
}

/// A delta between two epochs, encoded.
pub(in crate::node) fn delta(
    namespace: &str,
    epochs: (u32, u32),
    count: u16,
    entries: &[Vec<u8>],
) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let name = Name::new(namespace).expect("it is a valid name");
    let entries = entries.iter().map(Vec::as_slice);
    let len = Delta::encode(&name, epochs, count, &[7; 64], entries, &mut out);
    out.truncate(len.expect("the entries are few"));
    out
}

/// A tasklet of `shop` as its catalogue has it.
pub(in crate::node) fn callee(entry: &[u8]) -> Callee<'_> {
    let entry = Entry::decode(entry).expect("it is an entry");
    let namespace = Name::new("shop").expect("it is a valid name");
    let name = entry.name;
    Callee {
        name: TaskletName { namespace, name },
        namespace: shop(),
        registry: REGISTRY,
        entry,
    }
}
