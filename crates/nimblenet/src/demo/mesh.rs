//! The mesh: two registries and the nodes of a floor, each a daemon with sockets of its own.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::path::Path;

use anyhow::Context;
use nimblenet_core::Pace;
use nimblenet_node::config::{MeshConfig, NamespaceConfig, NodeConfig, RegistryConfig};
use nimblenet_node::daemon::{Addresses, Daemon, Sockets, Status};
use nimblenet_node::{PublicKey, Trust};
use nimblenet_sim::floor::Floor;
use nimblenet_tasklet::{Capabilities, Capability, Name, NodeId, TaskletName};

/// The id of the global registry; the private one has the id below.
const GLOBAL: NodeId = NodeId(65534);
const PRIVATE: NodeId = NodeId(65533);
/// The time that calls in progress have when the mesh stops. Robots have waited for them before.
const STOP_PATIENCE: Duration = Duration::from_millis(200);

/// The options of a mesh.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The positions of nodes, and which nodes hear each other.
    pub(crate) floor: Floor,
    /// How many times shorter than usual the patience of nodes is.
    pub(crate) speedup: u32,
    /// Bytes of cached modules at each node.
    pub(crate) cache_bytes: usize,
    /// Tasklets that every node has a device for.
    pub(crate) natives: Vec<TaskletName>,
    /// The namespace and publisher of the global registry.
    pub(crate) global: (Name, PublicKey),
    /// Those of the private registry.
    pub(crate) private: (Name, PublicKey),
}

/// Running daemons. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Mesh {
    global: Daemon,
    private: Daemon,
    nodes: Vec<Daemon>,
}

impl Mesh {
    /// Starts every daemon; registries keep their stores in `dir`.
    ///
    /// # Errors
    /// If the system has not enough sockets, threads or files.
    pub(crate) fn start(plan: &Plan, dir: &Path) -> anyhow::Result<Self> {
        let bind = || {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let sockets = Sockets::bind(any, Some(any))?;
            let addresses = sockets.addresses()?;
            anyhow::Ok((sockets, addresses))
        };
        let context = "binding sockets on the loopback interface";
        let nodes = plan.floor.ids().map(|_| bind());
        let nodes: Vec<_> = nodes.collect::<Result<_, _>>().context(context)?;
        let registries = [bind().context(context)?, bind().context(context)?];
        let neighbours = Neighbours::new(
            plan.floor.clone(),
            nodes.iter().map(|(_, addresses)| addresses.mesh).collect(),
            registries.each_ref().map(|(_, addresses)| addresses.mesh),
        );
        let registry =
            |id, (sockets, addresses): (Sockets, Addresses), (name, key): (Name, PublicKey)| {
                let mut mesh = MeshConfig::new(id, addresses.mesh);
                mesh.neighbours = vec![neighbours.gateway()];
                let coap = addresses.coap.context("a socket for publications")?;
                let mut config = RegistryConfig::new(mesh, coap, dir.join(name.as_str()));
                config.trust = Trust::Keys([(name, key)].into());
                Daemon::registry(config, Some(sockets)).context("starting a registry")
            };
        let [global, private] = registries;
        let global = registry(GLOBAL, global, plan.global)?;
        let private = registry(PRIVATE, private, plan.private)?;
        let start = |(id, (sockets, addresses)): (NodeId, (Sockets, Addresses))| {
            let mut mesh = MeshConfig::new(id, addresses.mesh);
            mesh.neighbours = neighbours.of(id);
            let config = plan.node(mesh, addresses);
            let started = Daemon::node(config, Some(sockets));
            started.with_context(|| format!("starting node {id}"))
        };
        let nodes = plan.floor.ids().zip(nodes).map(start);
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            global,
            private,
        })
    }

    /// The addresses at which the global and the private registry take publications.
    ///
    /// # Errors
    /// If one of them has no such address.
    pub(crate) fn registries(&self) -> anyhow::Result<[SocketAddr; 2]> {
        Ok([door(&self.global)?, door(&self.private)?])
    }

    /// The addresses at which nodes take calls, in the order of their ids.
    ///
    /// # Errors
    /// If one of them has no such address.
    pub(crate) fn doors(&self) -> anyhow::Result<Vec<SocketAddr>> {
        self.nodes.iter().map(door).collect()
    }

    /// How many nodes hold a catalogue of every namespace.
    pub(crate) fn informed(&self) -> usize {
        let informed = |node: &&Daemon| {
            let epochs = node.status().map(|status| status.epochs);
            let held = epochs.unwrap_or_default();
            held.len() == 2 && held.iter().all(|(_, epoch)| *epoch > 0)
        };
        self.nodes.iter().filter(informed).count()
    }

    /// Ends every daemon in order, and returns the last numbers of nodes and of registries.
    pub(crate) fn stop(self) -> (Vec<Status>, Vec<Status>) {
        let stop = |daemon: Daemon| daemon.stop(STOP_PATIENCE);
        let nodes = self.nodes.into_iter().filter_map(stop).collect();
        let registries = [self.global, self.private];
        (nodes, registries.into_iter().filter_map(stop).collect())
    }
}

impl Plan {
    fn node(&self, mesh: MeshConfig, addresses: Addresses) -> NodeConfig {
        let mut config = NodeConfig::new(mesh);
        config.coap = addresses.coap;
        config.cache_bytes = self.cache_bytes;
        config.natives.clone_from(&self.natives);
        config.timeouts.pace = faster(Pace::LINUX, self.speedup);
        for ((name, key), registry) in [(self.global, GLOBAL), (self.private, PRIVATE)] {
            let namespace = NamespaceConfig {
                key,
                registry,
                // For the devices of a cell.
                capabilities: Capabilities::NONE
                    .with(Capability::Sensor)
                    .with(Capability::Actuator),
                stays: false,
            };
            config.namespaces.insert(name, namespace);
        }
        config
    }
}

/// The pace of a mesh whose time runs faster. No timeout is shorter than the delays of a busy
/// machine: below that, nodes would give up answers that are on their way.
fn faster(pace: Pace, speedup: u32) -> Pace {
    let shorter = |time: Duration, least_ms| (time / speedup).max(Duration::from_millis(least_ms));
    Pace {
        local_search: shorter(pace.local_search, 20),
        global_search: shorter(pace.global_search, 40),
        hop: shorter(pace.hop, 2),
        announce: shorter(pace.announce, 20),
        load: shorter(pace.load, 20),
    }
}

/// Which node sends frames to which.
struct Neighbours {
    floor: Floor,
    nodes: Vec<SocketAddr>,
    registries: [SocketAddr; 2],
}

impl Neighbours {
    fn new(floor: Floor, nodes: Vec<SocketAddr>, registries: [SocketAddr; 2]) -> Self {
        Self {
            floor,
            nodes,
            registries,
        }
    }

    fn node(&self, id: NodeId) -> SocketAddr {
        self.nodes[usize::from(id.0) - 1]
    }

    /// The node next to the registries.
    fn gateway(&self) -> SocketAddr {
        self.node(self.floor.gateway())
    }

    fn of(&self, id: NodeId) -> Vec<SocketAddr> {
        let others = self.floor.links().filter_map(|(a, b)| match id {
            _ if a == id => Some(self.node(b)),
            _ if b == id => Some(self.node(a)),
            _ => None,
        });
        let registries = (id == self.floor.gateway()).then_some(self.registries);
        others.chain(registries.into_iter().flatten()).collect()
    }
}

fn door(daemon: &Daemon) -> anyhow::Result<SocketAddr> {
    let coap = daemon.addresses().coap;
    coap.context("a daemon takes no CoAP requests")
}
