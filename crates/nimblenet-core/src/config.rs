//! The configuration of a node, and its limits.

use alloc::vec::Vec;
use core::fmt;
use core::mem::take;
use core::time::Duration;

use nimblenet_tasklet::{Capabilities, Name, NamespaceId, NodeId};

use crate::archive::Archive;
use crate::cache::Eviction;
use crate::catalogue::CatalogueLimits;
use crate::place::Placement;

/// Whether the node does what a microcontroller has no room for.
pub(crate) const FULL: bool = cfg!(feature = "full");

/// Whether the node places calls of its clients at neighbours, and runs what others place here. Every full node
/// does.
pub(crate) const PLACES: bool = cfg!(feature = "placement");

/// A link of the node, by its place in [`Config::links`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u8);

/// An executor of the node, from 0 to [`Limits::executors`] - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExecutorId(pub u8);

/// A peer's address on a link, as numbered by the link's driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkAddress(pub u32);

/// What a node needs to know of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkConfig {
    /// The largest frame in bytes, at least [`MIN_MTU`].
    pub mtu: u16,
    /// Whether frames end with a checksum: they do where nothing else notices wrong bits. Both ends of a
    /// link must say the same (spec/wire.md, section 2).
    pub checksum: bool,
    /// How often a frame for one neighbour is repeated if the neighbour does not acknowledge it. Where
    /// frames seldom get lost acknowledgements cost more than they save: 0. Both ends of a link must say
    /// the same (spec/behaviour.md, section 5).
    pub repeats: u8,
}

impl LinkConfig {
    /// A link with frames of at most `mtu` bytes that arrive right, if at all.
    pub const fn new(mtu: u16) -> Self {
        Self {
            mtu,
            checksum: false,
            repeats: 0,
        }
    }

    /// The same link with acknowledgements, and so many repetitions without one.
    #[must_use]
    pub const fn with_repeats(self, repeats: u8) -> Self {
        Self { repeats, ..self }
    }

    /// The same link with checksums.
    #[must_use]
    pub const fn with_checksum(self) -> Self {
        Self {
            checksum: true,
            ..self
        }
    }
}

/// The smallest frame size that a link may have, that of IEEE 802.15.4: every message fits, and a
/// useful part (spec/wire.md, section 2).
pub const MIN_MTU: u16 = 127;

/// A namespace that a node takes tasklets from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamespaceConfig {
    /// Its name.
    pub name: Name,
    /// Its only registry. A private namespace has a registry of its own, and the node never asks
    /// another for it.
    pub registry: NodeId,
    /// The Ed25519 key that signs its catalogue.
    pub key: [u8; 32],
    /// The capabilities that its tasklets may have on this node.
    pub capabilities: Capabilities,
    /// Whether calls of its tasklets never leave the node that takes them, unless they name a node.
    pub stays: bool,
}

/// How often a node says hello: Trickle's bounds (RFC 6206).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelloConfig {
    /// The shortest interval, after something changed.
    pub min: Duration,
    /// The longest interval, when nothing changes.
    pub max: Duration,
}

/// A route that is known from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaticRoute {
    /// The node that it leads to.
    pub destination: NodeId,
    /// The first neighbour on it.
    pub next: NodeId,
    /// The number of links on it.
    pub hops: u8,
}

/// A neighbour that is known from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaticNeighbour {
    /// The neighbour's id.
    pub id: NodeId,
    /// The link to it.
    pub link: LinkId,
    /// Its address on that link.
    pub address: LinkAddress,
}

/// What a node knows of the mesh from the start, and how it learns more.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Neighbours known from the start.
    pub neighbours: Vec<StaticNeighbour>,
    /// Routes known from the start; they never change.
    pub routes: Vec<StaticRoute>,
    /// Hellos; none in a mesh whose neighbours and routes are all static.
    pub hello: Option<HelloConfig>,
}

/// The role of a node in the mesh.
#[derive(Clone, Debug)]
pub enum Role {
    /// It runs tasklets, and forwards and answers floods.
    Node,
    /// It serves an archive, and neither answers nor forwards floods, so that the local and global
    /// searches of Algorithm 1 spare it.
    Registry(Archive),
}

impl Role {
    pub(crate) fn is_registry(&self) -> bool {
        FULL && matches!(self, Self::Registry(_))
    }

    /// Takes the archive of a registry, which stays a registry.
    pub(crate) fn take_archive(&mut self) -> Option<Archive> {
        match self {
            Self::Node => None,
            Self::Registry(archive) => FULL.then(|| take(archive)),
        }
    }
}

/// How long a node waits for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Timeout of the search among neighbours.
    pub local_search: Duration,
    /// Timeout of the search in the whole mesh.
    pub global_search: Duration,
    /// The usual time of one hop in one direction; it determines how long a node waits for
    /// answers.
    pub hop: Duration,
    /// How long a node waits after a change of its cache until it tells its neighbours, so that
    /// other changes go with it.
    pub announce: Duration,
    /// The least time between two messages that say how long work waits here. The neighbours are told
    /// if what they compute is wrong by more than half of it.
    pub load: Duration,
}

impl Pace {
    /// The paper's radio mesh, where a hop takes 100 ms each way.
    pub const PAPER: Self = Self::millis(200, 1000, 100, 30_000, 2000);

    /// A wired mesh of Linux nodes, where a search of all nodes takes a few milliseconds.
    pub const LINUX: Self = Self::millis(50, 250, 20, 2000, 400);

    /// Boards on serial lines, where a frame takes 3 ms.
    pub const BOARD: Self = Self::millis(50, 250, 20, 2000, 400);

    const fn millis(
        local_search: u64,
        global_search: u64,
        hop: u64,
        announce: u64,
        load: u64,
    ) -> Self {
        Self {
            local_search: Duration::from_millis(local_search),
            global_search: Duration::from_millis(global_search),
            hop: Duration::from_millis(hop),
            announce: Duration::from_millis(announce),
            load: Duration::from_millis(load),
        }
    }
}

/// How a node finds a holder of a module that it lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Discovery {
    /// It asks its neighbours, then the whole mesh, then the registry: the paper's Algorithm 1.
    Flood,
    /// It asks the nearest holder that it knows of, else the registry. Only if these fail it asks
    /// all.
    Known,
}

/// How a node acquires tasklets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcquisitionConfig {
    /// How it finds a holder.
    pub discovery: Discovery,
    /// Tell the neighbours which modules the node holds, and pass on what they tell.
    pub announce: bool,
    /// Answer requests for modules that the node only passes on, if it holds the module; send them
    /// to a nearer holder, if it knows of one.
    pub on_path: bool,
    /// Keep modules that the node only passes on, as long as nothing has to leave the cache for them.
    pub keep_passing: bool,
    /// Acquire what a chain may call as soon as it is called, besides its own module.
    pub prefetch: bool,
    /// Wait for answers as long as sources have taken, ask them less and less often while they are
    /// silent, and fetch ahead only while they answer in time.
    pub adapt: bool,
    /// Attempts before an acquisition fails, at least 1.
    pub attempts: u8,
    /// Ask a holder for metadata before a fetch, as the paper does, although the catalogue has it.
    pub ask_metadata: bool,
    /// Let jobs that want the same tasklet at the same time share one acquisition.
    pub merge: bool,
    /// Fetch every tasklet that a chain may call before it starts.
    pub preload: bool,
}

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's id, unique in the mesh.
    pub id: NodeId,
    /// Its role in the mesh. [`Node`](crate::Node) takes the archive of a registry out.
    pub role: Role,
    /// Seed of the node's random numbers.
    pub seed: u64,
    /// The first packet number: after a restart the one that the node had come to or a newer one,
    /// or a random one if nobody has kept that number (spec/wire.md, section 2).
    pub first_sequence: u32,
    /// Its links.
    pub links: Vec<LinkConfig>,
    /// What it knows of the mesh.
    pub topology: Topology,
    /// The namespaces that it takes tasklets from.
    pub namespaces: Vec<NamespaceConfig>,
    /// How long it waits for others.
    pub pace: Pace,
    /// How it acquires tasklets.
    pub acquisition: AcquisitionConfig,
    /// The policy that chooses which module leaves a full cache.
    pub eviction: &'static Eviction,
    /// The policy that places the calls that [`Node::call`](crate::Node::call) takes.
    pub placement: &'static Placement,
    /// How much fuel an executor uses in a millisecond, until the node has seen that.
    pub fuel_ms: u32,
    /// How much the node may take.
    pub limits: Limits,
}

impl Config {
    /// A node with one link of frame size `mtu` and the default profile: it tells what it holds,
    /// asks holders that it knows, and fetches what a chain may call beforehand; the paper's
    /// timeouts, metadata from the catalogue, merged requests, hellos.
    pub fn new(id: NodeId, mtu: u16) -> Self {
        let hello = HelloConfig {
            min: Duration::from_millis(250),
            max: Duration::from_secs(64),
        };
        Self {
            id,
            role: Role::Node,
            seed: 0,
            first_sequence: 1,
            links: Vec::from([LinkConfig::new(mtu)]),
            topology: Topology {
                neighbours: Vec::new(),
                routes: Vec::new(),
                hello: Some(hello),
            },
            namespaces: Vec::new(),
            pace: Pace::PAPER,
            acquisition: AcquisitionConfig {
                discovery: Discovery::Known,
                announce: true,
                on_path: true,
                keep_passing: true,
                prefetch: true,
                adapt: true,
                attempts: 5,
                ask_metadata: false,
                merge: true,
                preload: false,
            },
            eviction: Eviction::NEARBY,
            placement: match PLACES {
                true => Placement::LEAST_WORK,
                false => Placement::HERE,
            },
            fuel_ms: 300_000,
            limits: Limits::linux(),
        }
    }

    /// The paper's profile, for comparisons: a node that does what the paper says and nothing else,
    /// with one link of frame size `mtu`:
    ///
    /// - Algorithm 1 with 5 attempts, each of which asks for metadata before the fetch; each job
    ///   acquires a tasklet for itself, when it calls the tasklet;
    /// - a call runs on the node that takes it;
    /// - the paper's timeouts at 100 ms a hop (section 5);
    /// - eviction of the least frequently used (section 4.3) in a cache of 32768 bytes;
    /// - no hellos: the caller fills [`Topology::neighbours`] and [`Topology::routes`].
    ///
    /// The paper has one message for a module: to count frames as the paper does, a link needs
    /// frames that hold the largest module. The configuration cannot give the paper's queues: here
    /// a job that waits for an executor counts as waiting.
    pub fn paper(id: NodeId, mtu: u16) -> Self {
        let mut config = Self::new(id, mtu);
        config.topology.hello = None;
        config.acquisition.discovery = Discovery::Flood;
        config.acquisition.announce = false;
        config.acquisition.on_path = false;
        config.acquisition.keep_passing = false;
        config.acquisition.prefetch = false;
        config.acquisition.adapt = false;
        config.eviction = Eviction::LFU;
        config.placement = Placement::HERE;
        config.acquisition.ask_metadata = true;
        config.acquisition.merge = false;
        config
    }

    /// Divides every duration by `factor`, for a mesh whose time runs faster.
    #[must_use]
    pub fn speed_up(mut self, factor: u32) -> Self {
        for time in [
            &mut self.pace.local_search,
            &mut self.pace.global_search,
            &mut self.pace.hop,
            &mut self.pace.announce,
            &mut self.pace.load,
        ] {
            *time /= factor;
        }
        if let Some(hello) = &mut self.topology.hello {
            hello.min /= factor;
            hello.max /= factor;
        }
        self
    }

    /// Whether the node places calls, and takes calls that others have placed.
    pub(crate) fn places_calls(&self) -> bool {
        PLACES && self.placement.policy.needs_facts() && !self.role.is_registry()
    }

    /// Checks that the parts fit each other.
    ///
    /// # Errors
    /// [`ConfigError`] names the part that does not fit.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.id == NodeId::EVERYONE {
            return Err(ConfigError::Id);
        }
        if self.links.iter().any(|link| link.mtu < MIN_MTU) {
            return Err(ConfigError::Mtu);
        }
        let ids = |at: usize| NamespaceId::of(&self.namespaces[at].name);
        let clash = (0..self.namespaces.len()).any(|at| (0..at).any(|other| ids(at) == ids(other)));
        if clash {
            return Err(ConfigError::NamespaceClash);
        }
        let Pace {
            local_search,
            global_search,
            ..
        } = self.pace;
        if self.acquisition.attempts == 0 || local_search.is_zero() || global_search.is_zero() {
            return Err(ConfigError::Zero);
        }
        let limits = &self.limits;
        if limits.executors == 0 || limits.executors > 256 || limits.places < limits.depth {
            return Err(ConfigError::Executors);
        }
        Ok(())
    }
}

/// The limits of a node: the most of each thing that it holds. All memory is allocated when the
/// node is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of cached modules.
    pub cache_bytes: usize,
    /// Cached modules.
    pub cache_entries: usize,
    /// Clients that are told apart, 32 at most.
    pub clients: usize,
    /// Jobs that run or wait.
    pub jobs: usize,
    /// Calls that wait for a place among the jobs, each with a few bytes; 0 if they are refused.
    pub waiting: usize,
    /// Answers to other nodes that are kept besides the jobs.
    pub answers: usize,
    /// Bytes of these results.
    pub answer_bytes: usize,
    /// Calls with numbers of their clients whose results are kept; a node that is not a full one keeps
    /// none.
    pub results: usize,
    /// Bytes of these results.
    pub result_bytes: usize,
    /// Tasklets of which the node remembers how long they run.
    pub costs: usize,
    /// Executors, each of which runs one tasklet at a time.
    pub executors: usize,
    /// Places of each executor: the activations that it holds, whether they run or wait. At least
    /// [`depth`](Self::depth), so that a chain that is alone finds room.
    pub places: usize,
    /// Bytes of the shelf: the images of activations that wait and have no place at an executor.
    pub shelf_bytes: usize,
    /// Activations on the stack of one job.
    pub depth: usize,
    /// Calls that the tasklets of one job make.
    pub calls: u32,
    /// Tasklets that a preloading job holds.
    pub preload: usize,
    /// Acquisitions at a time.
    pub acquisitions: usize,
    /// Bytes of the arguments or results of one call.
    pub message_bytes: usize,
    /// Windows over packet numbers that are remembered: one for each node, and one more for each leap
    /// of its numbers.
    pub peers: usize,
    /// Routes to other nodes.
    pub routes: usize,
    /// Neighbours.
    pub neighbours: usize,
    /// Pages of 32 catalogue entries of which the node knows whether a node near it holds them.
    pub holdings: usize,
    /// Bytes of frames that wait for each link.
    pub outbox_bytes: usize,
    /// Fetches served at a time.
    pub servings: usize,
    /// The limits of one catalogue.
    pub catalogue: CatalogueLimits,
    /// Bytes of one catalogue delta.
    pub delta_bytes: usize,
    /// Steps kept to explain one call.
    pub steps: usize,
    /// Bytes of a job that moves to or from another node.
    pub image_bytes: usize,
    /// Flows that begin here, and flows that end here; and a quarter of the operators, and of the sources
    /// of flows that end here. 0 if the node has nothing to do with flows, as every node that is not a
    /// full one.
    pub flows: usize,
    /// Items of flows that are kept in all.
    pub flow_items: usize,
    /// Bytes of one of them.
    pub item_bytes: usize,
}

impl Limits {
    /// For a Linux node. The cache is the paper's 32768 bytes.
    pub const fn linux() -> Self {
        Self {
            cache_bytes: 32768,
            cache_entries: 512,
            clients: 32,
            jobs: 64,
            waiting: 0,
            answers: 1024,
            answer_bytes: 256 << 10,
            results: 256,
            result_bytes: 64 << 10,
            costs: 512,
            executors: 1,
            places: 16,
            shelf_bytes: 4 << 20,
            depth: 8,
            calls: 4096,
            preload: 32,
            acquisitions: 64,
            message_bytes: 4096,
            peers: 1024,
            routes: 1024,
            neighbours: 64,
            holdings: 1024,
            outbox_bytes: 256 << 10,
            servings: 64,
            catalogue: CatalogueLimits::LARGE,
            delta_bytes: 256 << 10,
            steps: 64,
            image_bytes: 256 << 10,
            flows: 16,
            flow_items: 1024,
            item_bytes: 256,
        }
    }

    /// For a microcontroller with 264 kB of RAM.
    pub const fn board() -> Self {
        Self {
            cache_bytes: 38 << 10,
            cache_entries: 128,
            clients: 8,
            jobs: 3,
            waiting: 32,
            answers: 16,
            answer_bytes: 512,
            results: 0,
            result_bytes: 0,
            costs: 16,
            executors: 1,
            places: 12,
            shelf_bytes: 0,
            depth: 4,
            calls: 256,
            preload: 12,
            acquisitions: 3,
            message_bytes: 1024,
            peers: 64,
            routes: 16,
            neighbours: 8,
            holdings: 24,
            outbox_bytes: 1264,
            servings: 4,
            catalogue: CatalogueLimits::SMALL,
            delta_bytes: 28 << 10,
            steps: 0,
            image_bytes: 6 << 10,
            flows: 0,
            flow_items: 0,
            item_bytes: 0,
        }
    }
}

/// Why a node refuses a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The id is 0xFFFF, which is not a node.
    Id,
    /// A link's frames are smaller than [`MIN_MTU`].
    Mtu,
    /// Two namespaces have the same identifier in frames.
    NamespaceClash,
    /// Attempts or a timeout are zero.
    Zero,
    /// There is no executor, there are more than 256, or each has fewer places than a chain may be
    /// deep.
    Executors,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("65535 cannot be a node's id"),
            Self::Mtu => write!(f, "a link's frames must hold at least {MIN_MTU} bytes"),
            Self::NamespaceClash => {
                f.write_str("two namespaces share an identifier; rename one of them")
            }
            Self::Zero => f.write_str("attempts and timeouts must not be zero"),
            Self::Executors => f.write_str(
                "a node needs 1 to 256 executors, each with a place for every tasklet of a chain",
            ),
        }
    }
}

impl core::error::Error for ConfigError {}
