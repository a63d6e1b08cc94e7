//! Configuration files of nodes and registries, in TOML.
//!
//! Unknown keys are errors, and every error names the file, the line and what is wrong there.

mod bad;
mod paper;
mod serial;
mod values;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::mem::take;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nimblenet_core::{Eviction, Limits, MIN_MTU, Pace, Placement};
use nimblenet_tasklet::{Capabilities, Name, NodeId, TaskletName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::key::PublicKey;
use crate::link::LinkPlan;
use crate::store::{StoreLimits, Trust};

pub use bad::BadConfig;
use paper::PaperFile;
pub use paper::PaperTopology;
use serial::SerialLines;
pub(crate) use values::UNKNOWN;
use values::{
    CapabilityName, Dir, EvictionName, Id, Native, Neighbours, PlacementName, Socket, Text, Within,
};

/// The id of a registry, and the registry of a namespace, if the configuration gives none.
pub const DEFAULT_REGISTRY: NodeId = NodeId(65534);

/// The most executors of a node.
pub const MAX_EXECUTORS: usize = 16;
/// The most calls of a node that run or wait.
pub const MAX_JOBS: usize = 4096;
/// How many times as fast as real time a node's time goes at most.
pub const MAX_SPEEDUP: u32 = 100;

/// A frame that every message fits, and the longest in a datagram.
const MTU_MIN: u64 = MIN_MTU as u64;
const MTU_MAX: u64 = 65_000;
/// More repetitions of a frame than this take longer than whoever waits for its answer does.
const REPEATS_MAX: u64 = 8;
/// A cache that holds one small module.
const CACHE_MIN: u64 = 128;
/// An arena in which one small tasklet runs.
const ARENA_MIN: u64 = 4096;
/// A configuration with more bytes is taken for a mistake.
const BYTES_MAX: u64 = 1 << 30;

/// The most bytes of a file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The configuration of a node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The mesh side.
    pub mesh: MeshConfig,
    /// The address for CoAP requests; none if the node takes no requests.
    pub coap: Option<SocketAddr>,
    /// Bytes of cached modules.
    pub cache_bytes: usize,
    /// Bytes in which tasklets run.
    pub arena_bytes: usize,
    /// Whether the tasklets that a tasklet may call are fetched before it starts.
    pub preload: bool,
    /// The policy that chooses which module leaves a full cache.
    pub eviction: &'static Eviction,
    /// The policy that places calls from outside the mesh.
    pub placement: &'static Placement,
    /// How many tasklets run at a time, 1 to [`MAX_EXECUTORS`].
    pub executors: usize,
    /// How many calls run or wait at a time, 1 to [`MAX_JOBS`]; more are refused.
    pub jobs: usize,
    /// Bytes for the images of tasklets that wait and have no place in an executor; without any, a call
    /// begins only when there are places for its whole chain.
    pub shelf_bytes: usize,
    /// The directory in which the newest catalogues are kept, so that a restarted node takes no
    /// older ones.
    pub state: Option<PathBuf>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Native tasklets that this node has simulated devices for.
    pub natives: Vec<TaskletName>,
    /// The namespaces that it takes tasklets from.
    pub namespaces: BTreeMap<Name, NamespaceConfig>,
}

/// How a node or registry takes part in the mesh.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Its id, unique in the mesh.
    pub id: NodeId,
    /// The address at which frames come in.
    pub listen: SocketAddr,
    /// The addresses of its neighbours; port 0 of no address stands for one whose name has none yet.
    pub neighbours: Vec<SocketAddr>,
    /// The neighbours that are given by name: their places, and `HOST:PORT`. A name is looked up
    /// again while its neighbour is silent.
    pub names: Vec<(usize, String)>,
    /// Whether the node takes frames from others too, and their senders become neighbours.
    pub open: bool,
    /// Bytes of the largest frame in a datagram.
    pub mtu: u16,
    /// How often a frame for one neighbour is repeated if it is not acknowledged, where many get lost; the
    /// same at all neighbours.
    pub repeats: u8,
    /// Links besides UDP.
    pub links: Vec<Arc<dyn LinkPlan>>,
    /// How many times as fast as real time the node's time goes, 1 to [`MAX_SPEEDUP`]; more than 1 in
    /// trials only, in which all nodes have the same.
    pub speedup: u32,
    /// The neighbours and routes of a node that follows the paper's protocol and nothing else
    /// ([`Config::paper`](nimblenet_core::Config::paper)); none for the usual protocol.
    pub paper: Option<PaperTopology>,
}

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// The times of the mesh.
    pub pace: Pace,
    /// A call, from its request to its answer.
    pub call: Duration,
}

/// A namespace that a node takes tasklets from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamespaceConfig {
    /// The key that signs its catalogue.
    pub key: PublicKey,
    /// Its only registry.
    pub registry: NodeId,
    /// What its tasklets may use of this node.
    pub capabilities: Capabilities,
    /// Whether calls of its tasklets never leave the node that takes them.
    pub stays: bool,
}

/// The configuration of a registry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistryConfig {
    /// The mesh side.
    pub mesh: MeshConfig,
    /// The address for publications and other CoAP requests.
    pub coap: SocketAddr,
    /// The directory of its store.
    pub data: PathBuf,
    /// Who may publish.
    pub trust: Trust,
    /// What it may take.
    pub limits: StoreLimits,
}

impl MeshConfig {
    /// A mesh configuration without neighbours.
    pub fn new(id: NodeId, listen: SocketAddr) -> Self {
        Self {
            id,
            listen,
            neighbours: Vec::new(),
            names: Vec::new(),
            open: false,
            mtu: mtu().number() as u16,
            repeats: 0,
            links: Vec::new(),
            speedup: 1,
            paper: None,
        }
    }

    /// The policy that chooses what leaves a full cache, if the configuration names none.
    fn eviction(&self) -> &'static Eviction {
        match self.paper {
            None => Eviction::NEARBY,
            Some(_) => Eviction::LFU,
        }
    }

    /// The policy that places calls unless the configuration names one.
    fn placement(&self) -> &'static Placement {
        match self.paper {
            Some(_) => Placement::HERE,
            None => Placement::LEAST_WORK,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        TimeoutsFile::default().timeouts()
    }
}

impl NodeConfig {
    /// A node with the defaults of a configuration file.
    pub fn new(mesh: MeshConfig) -> Self {
        Self {
            eviction: mesh.eviction(),
            placement: mesh.placement(),
            mesh,
            coap: None,
            cache_bytes: cache_bytes().size(),
            arena_bytes: arena_bytes().size(),
            preload: false,
            executors: 1,
            jobs: jobs().size(),
            shelf_bytes: shelf_bytes().size(),
            state: None,
            timeouts: Timeouts::default(),
            natives: Vec::new(),
            namespaces: BTreeMap::new(),
        }
    }

    /// Reads a node's configuration file.
    ///
    /// # Errors
    /// [`BadConfig`] says where and what.
    pub fn load(path: &Path) -> Result<Self, BadConfig> {
        Self::parse(&read(path)?, path)
    }

    /// Reads a node's configuration; `path` is for messages.
    ///
    /// # Errors
    /// [`BadConfig`] says where and what.
    pub fn parse(text: &str, path: &Path) -> Result<Self, BadConfig> {
        let mut file: NodeFile = parse(text, path)?;
        let mesh = file.mesh();
        check_neighbours(&mesh, text, path)?;
        let own = file.namespaces.values().any(|it| it.registry.0 == mesh.id);
        if own {
            let key = match mesh.id {
                DEFAULT_REGISTRY => "id",
                _ => "registry",
            };
            let message = format!(
                "{} is the node's own id; a namespace's registry is another node",
                mesh.id
            );
            let value = mesh.id.to_string();
            return Err(BadConfig::at_key(path, text, (key, &value), message));
        }
        let is_known = |name: &Name| file.namespaces.keys().any(|Text(known)| known == name);
        let mut natives = file.natives.iter().map(|Native(name)| name);
        if let Some(native) = natives.find(|it| !is_known(&it.namespace)) {
            let message = format!(
                "nobody can call {native}: the node has no [namespaces.{}]",
                native.namespace
            );
            return Err(BadConfig::at_key(path, text, ("natives", ""), message));
        }
        let namespaces = file.namespaces.into_iter();
        let eviction = file.eviction.map_or_else(|| mesh.eviction(), |it| it.0);
        let placement = file.placement.map_or_else(|| mesh.placement(), |it| it.0);
        Ok(Self {
            mesh,
            coap: file.coap.map(|Socket(address)| address),
            cache_bytes: file.cache_bytes.size(),
            arena_bytes: file.arena_bytes.size(),
            preload: file.preload,
            eviction,
            placement,
            executors: file.executors.size(),
            jobs: file.jobs.size(),
            shelf_bytes: file.shelf_bytes.size(),
            state: file.state.map(|Dir(path)| path),
            timeouts: file.timeouts.timeouts(),
            natives: file.natives.into_iter().map(|Native(name)| name).collect(),
            namespaces: namespaces
                .map(|(Text(name), namespace)| (name, namespace.namespace()))
                .collect(),
        })
    }
}

impl RegistryConfig {
    /// A registry with the defaults of a configuration file.
    pub fn new(mesh: MeshConfig, coap: SocketAddr, data: PathBuf) -> Self {
        Self {
            mesh,
            coap,
            data,
            trust: Trust::FirstUse,
            limits: StoreLimits::DEFAULT,
        }
    }

    /// Reads a registry's configuration file.
    ///
    /// # Errors
    /// [`BadConfig`] says where and what.
    pub fn load(path: &Path) -> Result<Self, BadConfig> {
        Self::parse(&read(path)?, path)
    }

    /// Reads a registry's configuration; `path` is for messages.
    ///
    /// # Errors
    /// [`BadConfig`] says where and what.
    pub fn parse(text: &str, path: &Path) -> Result<Self, BadConfig> {
        let mut file: RegistryFile = parse(text, path)?;
        let mesh = file.mesh();
        check_neighbours(&mesh, text, path)?;
        if file.claim && !file.namespaces.is_empty() {
            let message = "with `claim` a namespace belongs to whoever publishes it first; leave out \
                           either `claim` or `namespaces`";
            return Err(BadConfig::at_key(path, text, ("claim", ""), message));
        }
        let (module, all) = (file.module_bytes.number(), file.namespace_bytes.number());
        if module > all {
            let message =
                format!("a module cannot have {module} bytes where `namespace_bytes` is {all}");
            return Err(BadConfig::at_key(path, text, ("module_bytes", ""), message));
        }
        let keys = file.namespaces.into_iter();
        let keys = keys.map(|(Text(name), namespace)| (name, namespace.key.0));
        Ok(Self {
            mesh,
            coap: file.coap.0,
            data: file.data.0,
            trust: match file.claim {
                true => Trust::FirstUse,
                false => Trust::Keys(keys.collect()),
            },
            limits: StoreLimits {
                module_bytes: file.module_bytes.size(),
                namespace_bytes: file.namespace_bytes.number(),
                epochs: file.epochs.size(),
                ..StoreLimits::DEFAULT
            },
        })
    }
}

/// Declares a configuration file: its own keys, and those of the mesh side.
macro_rules! file {
    ($name:ident { $($own:tt)* }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($own)*
            listen: Socket,
            #[serde(default)]
            neighbours: Neighbours,
            #[serde(default)]
            open: bool,
            #[serde(default = "mtu")]
            mtu: Within<MTU_MIN, MTU_MAX>,
            #[serde(default = "repeats")]
            repeats: Within<0, REPEATS_MAX>,
            #[serde(default = "speedup")]
            speedup: Within<1, { MAX_SPEEDUP as u64 }>,
            paper: Option<PaperFile>,
            // Kinds of links.
            #[serde(default)]
            serial: SerialLines,
        }

        impl $name {
            fn mesh(&mut self) -> MeshConfig {
                let links = [take(&mut self.serial).plans()];
                let neighbours = take(&mut self.neighbours);
                MeshConfig {
                    id: self.id.0,
                    listen: self.listen.0,
                    neighbours: neighbours.addresses,
                    names: neighbours.names,
                    open: self.open,
                    mtu: self.mtu.number() as u16,
                    repeats: self.repeats.number() as u8,
                    links: links.into_iter().flatten().collect(),
                    speedup: self.speedup.number() as u32,
                    paper: self.paper.take().map(PaperFile::topology),
                }
            }
        }
    };
}

file!(NodeFile {
    id: Id,
    coap: Option<Socket>,
    #[serde(default = "cache_bytes")]
    cache_bytes: Within<CACHE_MIN, BYTES_MAX>,
    #[serde(default = "arena_bytes")]
    arena_bytes: Within<ARENA_MIN, BYTES_MAX>,
    #[serde(default)]
    preload: bool,
    eviction: Option<EvictionName>,
    placement: Option<PlacementName>,
    #[serde(default = "executors")]
    executors: Within<1, { MAX_EXECUTORS as u64 }>,
    #[serde(default = "jobs")]
    jobs: Within<1, { MAX_JOBS as u64 }>,
    #[serde(default = "shelf_bytes")]
    shelf_bytes: Within<0, BYTES_MAX>,
    state: Option<Dir>,
    #[serde(default)]
    timeouts: TimeoutsFile,
    #[serde(default)]
    natives: Vec<Native>,
    #[serde(default)]
    namespaces: BTreeMap<Text<Name>, NamespaceFile>,
});

file!(RegistryFile {
    #[serde(default = "registry_id")]
    id: Id,
    coap: Socket,
    data: Dir,
    #[serde(default = "module_bytes")]
    module_bytes: Within<1, BYTES_MAX>,
    #[serde(default = "namespace_bytes")]
    namespace_bytes: Within<1, { 1 << 40 }>,
    #[serde(default = "epochs")]
    epochs: Within<1, 65_536>,
    #[serde(default)]
    claim: bool,
    #[serde(default)]
    namespaces: BTreeMap<Text<Name>, PublisherFile>,
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublisherFile {
    key: Text<PublicKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamespaceFile {
    key: Text<PublicKey>,
    #[serde(default = "registry_id")]
    registry: Id,
    #[serde(default)]
    capabilities: Vec<CapabilityName>,
    #[serde(default)]
    stays: bool,
}

impl NamespaceFile {
    fn namespace(self) -> NamespaceConfig {
        let capabilities = self.capabilities.iter();
        NamespaceConfig {
            key: self.key.0,
            registry: self.registry.0,
            capabilities: capabilities.fold(Capabilities::NONE, |all, one| all.with(one.0)),
            stays: self.stays,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TimeoutsFile {
    local_search_ms: Milliseconds,
    global_search_ms: Milliseconds,
    hop_ms: Milliseconds,
    announce_ms: Milliseconds,
    load_ms: Milliseconds,
    call_ms: Milliseconds,
}

/// A timeout, up to a day.
type Milliseconds = Within<1, 86_400_000>;

impl Default for TimeoutsFile {
    fn default() -> Self {
        let millis = |time: Duration| Milliseconds::new(time.as_millis() as u64);
        Self {
            local_search_ms: millis(Pace::LINUX.local_search),
            global_search_ms: millis(Pace::LINUX.global_search),
            hop_ms: millis(Pace::LINUX.hop),
            announce_ms: millis(Pace::LINUX.announce),
            load_ms: millis(Pace::LINUX.load),
            call_ms: Milliseconds::new(60_000),
        }
    }
}

impl TimeoutsFile {
    fn timeouts(self) -> Timeouts {
        Timeouts {
            pace: Pace {
                local_search: Duration::from_millis(self.local_search_ms.number()),
                global_search: Duration::from_millis(self.global_search_ms.number()),
                hop: Duration::from_millis(self.hop_ms.number()),
                announce: Duration::from_millis(self.announce_ms.number()),
                load: Duration::from_millis(self.load_ms.number()),
            },
            call: Duration::from_millis(self.call_ms.number()),
        }
    }
}

/// A frame of this length fits an unfragmented IPv6 datagram on any path.
fn mtu() -> Within<MTU_MIN, MTU_MAX> {
    Within::new(1200)
}

/// Where few frames get lost repetitions do not pay.
fn repeats() -> Within<0, REPEATS_MAX> {
    Within::new(0)
}

/// The paper's cache.
fn cache_bytes() -> Within<CACHE_MIN, BYTES_MAX> {
    Within::new(32_768)
}

fn arena_bytes() -> Within<ARENA_MIN, BYTES_MAX> {
    Within::new(nimblenet_executor::LINUX_ARENA_BYTES as u64)
}

fn executors() -> Within<1, { MAX_EXECUTORS as u64 }> {
    Within::new(1)
}

fn jobs() -> Within<1, { MAX_JOBS as u64 }> {
    Within::new(Limits::linux().jobs as u64)
}

fn shelf_bytes() -> Within<0, BYTES_MAX> {
    Within::new(Limits::linux().shelf_bytes as u64)
}

fn speedup() -> Within<1, { MAX_SPEEDUP as u64 }> {
    Within::new(1)
}

fn module_bytes() -> Within<1, BYTES_MAX> {
    Within::new(StoreLimits::DEFAULT.module_bytes as u64)
}

fn namespace_bytes() -> Within<1, { 1 << 40 }> {
    Within::new(StoreLimits::DEFAULT.namespace_bytes)
}

fn epochs() -> Within<1, 65_536> {
    Within::new(StoreLimits::DEFAULT.epochs as u64)
}

fn registry_id() -> Id {
    Id(DEFAULT_REGISTRY)
}

/// Checks that no neighbour is the node itself, and that the paper's topology is about them.
fn check_neighbours(mesh: &MeshConfig, text: &str, path: &Path) -> Result<(), BadConfig> {
    paper::check(mesh, text, path)?;
    let listen = mesh.listen;
    let reaches =
        |ip: IpAddr| ip == listen.ip() || listen.ip().is_unspecified() && ip.is_loopback();
    let is_own =
        |it: &&SocketAddr| **it != UNKNOWN && it.port() == listen.port() && reaches(it.ip());
    match mesh.neighbours.iter().find(is_own) {
        None => Ok(()),
        Some(own) => {
            let message = format!("{own} is the address of this node itself (`listen`)");
            Err(BadConfig::at_key(path, text, ("neighbours", ""), message))
        }
    }
}

fn read(path: &Path) -> Result<String, BadConfig> {
    text(path).map_err(|error| BadConfig::unreadable(path, error))
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(FILE_BYTES_MAX + 1);
    if file.read_to_string(&mut text)? as u64 > FILE_BYTES_MAX {
        let words = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    Ok(text)
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, BadConfig> {
    toml::from_str(text).map_err(|error| BadConfig::malformed(path, text, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples in the book that have `kind` after `toml`.
    fn examples(kind: &str) -> Vec<String> {
        let book = include_str!("../../../docs/operating.md");
        let start = format!("```toml {kind}\n");
        let blocks = book.split(&start).skip(1);
        blocks
            .map(|block| block.split("```").next().unwrap().to_owned())
            .collect()
    }

    fn path() -> &'static Path {
        Path::new("x.toml")
    }

    #[test]
    fn the_examples_in_the_book_can_be_used() {
        let nodes = examples("node");
        assert!(!nodes.is_empty());
        for text in nodes {
            let config = NodeConfig::parse(&text, path()).unwrap();
            assert!(!config.namespaces.is_empty());
        }
        let registries = examples("registry");
        assert!(!registries.is_empty());
        for text in registries {
            RegistryConfig::parse(&text, path()).unwrap();
        }
    }

    #[test]
    fn a_registry_gives_namespaces_away_only_if_it_says_so() {
        let start = "listen = \"127.0.0.1:1\"\ncoap = \"127.0.0.1:2\"\ndata = \"d\"\n";
        let trust = |more: &str| {
            let config = RegistryConfig::parse(&format!("{start}{more}"), path());
            config.map(|config| config.trust)
        };
        assert_eq!(trust("").unwrap(), Trust::Keys(BTreeMap::new()));
        assert_eq!(trust("claim = true\n").unwrap(), Trust::FirstUse);
        let key = format!("[namespaces.shop]\nkey = \"{}\"\n", "ab".repeat(32));
        assert!(matches!(trust(&key).unwrap(), Trust::Keys(keys) if keys.len() == 1));
        let large = trust("module_bytes = 9\nnamespace_bytes = 8\n").unwrap_err();
        let large = large.to_string();
        assert!(
            large.starts_with("x.toml:4: a module cannot have 9 bytes"),
            "{large}"
        );
        let empty = NodeConfig::parse("", path()).unwrap_err().to_string();
        assert_eq!(empty, "x.toml:1: the key `id` is missing");
        let both = trust(&format!("claim = true\n{key}")).unwrap_err();
        assert!(both.to_string().starts_with("x.toml:4: "), "{both}");
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        let good = "id = 1\nlisten = \"127.0.0.1:4001\"\n";
        assert!(NodeConfig::parse(good, path()).is_ok());
        for (bad, line, word) in [
            (
                "colour = 1",
                3,
                "there is no `colour` here; there are `id`, ",
            ),
            ("jobs = \"many\"", 3, "a whole number"),
            ("coap = \"nowhere\"", 3, "coap"),
            (
                "natives = [\"shop/laser\"]",
                3,
                "no device for shop/laser; there are shop/vibration, ",
            ),
            (
                "preload = 3",
                3,
                "true or false is expected, not integer `3`",
            ),
            (
                "eviction = \"best\"",
                3,
                "no eviction policy \"best\"; there are lfu, lru, arc, gdsf, nearby",
            ),
            (
                "placement = \"best\"",
                3,
                "no placement policy \"best\"; there are here, least-work",
            ),
            ("executors = 0", 3, "from 1 to 16 is possible, not 0"),
            ("executors = 17", 3, "from 1 to 16 is possible, not 17"),
            ("jobs = 0", 3, "from 1 to 4096 is possible, not 0"),
            ("speedup = 0", 3, "from 1 to 100 is possible, not 0"),
            (
                "neighbours = [\"127.0.0.1:5\"]\n[paper]\nneighbours = []\nroutes = []",
                3,
                "ids of 0 neighbours, but there are 1 addresses",
            ),
            (
                "[paper]\nneighbours = []\nroutes = [[3, 2, 2]]",
                5,
                "the route to 3 goes to 2, which is no neighbour",
            ),
            ("[paper]\nneighbours = [65535]\nroutes = []", 4, "65534"),
            ("mtu = 100", 3, "from 127 to 65000 is possible, not 100"),
            ("mtu = 70000", 3, "not 70000"),
            ("cache_bytes = 0", 3, "from 128 to 1073741824"),
            ("arena_bytes = 99999999999999", 3, "not 99999999999999"),
            ("arena_bytes = -1", 3, "not -1"),
            ("[timeouts]\ncall_ms = 0", 4, "from 1 to 86400000"),
            (
                "neighbours = [\"cell 3:4000\"]",
                3,
                "no HOST:PORT that has an address",
            ),
            ("neighbours = [\"localhost\"]", 3, "no HOST:PORT"),
            ("neighbours = [\"127.0.0.1:4001\"]", 3, "this node itself"),
            ("neighbours = [\"127.0.0.1:0\"]", 3, "port 0"),
            (
                "neighbours = [\"224.0.1.187:4000\"]",
                3,
                "a multicast address",
            ),
            (
                "neighbours = [\"0.0.0.0:4000\"]",
                3,
                "no address of one node",
            ),
            (
                "neighbours = [\"127.0.0.1:5\", \"127.0.0.1:5\"]",
                3,
                "127.0.0.1:5 is there twice",
            ),
            ("state = \"\"", 3, "the path of a directory"),
            (
                "[namespaces.shop]\nkey = \"KEY\"\nregistry = 1",
                5,
                "the node's own id",
            ),
            ("serial = \"ttyACM0\"", 3, "a list is expected, not string"),
            ("serial = [1]", 3, "a device, or a table"),
            (
                "serial = [\n \"a\",\n { device = \"b\", baud = 0 },\n]",
                5,
                "a whole number from 1 to 4294967295 is expected, not integer `0`",
            ),
            ("serial = [{ device = \"b\", speed = 1 }]", 3, "speed"),
            ("serial = [{ baud = 1 }]", 3, "device"),
            ("serial = [\"a\", \"a\"]", 3, "a is there twice"),
            ("[timeouts]\nlocal_search = 1", 4, "local_search"),
            (
                "[namespaces.shop]\nkey = \"12\"",
                4,
                "64 hexadecimal digits",
            ),
            (
                "[namespaces.shop]\nkey = \"KEY\"\ncapabilities = [\"lasers\"]",
                5,
                "lasers",
            ),
            (
                "[namespaces.shop]\nkey = \"KEY\"\nregistry = 65535",
                5,
                "65534",
            ),
            (
                "[namespaces.shop]\nkey = \"KEY\"\nregistry = 70000",
                5,
                "from 0 to 65534 is possible, not 70000",
            ),
            (
                "natives = [\"shop/vibration\"]\n[namespaces.std]\nkey = \"KEY\"",
                3,
                "nobody can call shop/vibration: the node has no [namespaces.shop]",
            ),
            (
                "neighbours = [\"nohost.invalid:5\", \"nohost.invalid:5\"]",
                3,
                "is there twice",
            ),
        ] {
            let bad = bad.replace("KEY", &"ab".repeat(32));
            let error = NodeConfig::parse(&format!("{good}{bad}\n"), path());
            let message = error.unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("x.toml:{line}: ")),
                "{message}"
            );
            assert!(message.contains(word), "{message}");
        }
        let named = format!("{good}neighbours = [\"localhost:4002\"]\n");
        let named = NodeConfig::parse(&named, path()).unwrap();
        assert!(
            named.mesh.neighbours[0].ip().is_loopback(),
            "names work too"
        );
        assert_eq!(named.mesh.names, [(0, "localhost:4002".to_owned())]);
        let unknown = format!("{good}neighbours = [\"nohost.invalid:4002\"]\n");
        let unknown = NodeConfig::parse(&unknown, path()).unwrap();
        assert_eq!(unknown.mesh.neighbours, [UNKNOWN], "it is looked up later");
        let missing = NodeConfig::parse("id = 1", path()).unwrap_err();
        assert!(missing.to_string().contains("listen"));
        let nowhere = NodeConfig::load(Path::new("/nowhere.toml")).unwrap_err();
        assert!(nowhere.to_string().contains("/nowhere.toml: No such file"));
    }
}
