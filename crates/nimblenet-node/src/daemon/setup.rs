//! Makes everything that a daemon needs before its loop starts.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use std::io;
use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread::Builder;

use nimblenet_core::{Abilities, Config, Limits, NamespaceConfig, Node, Pace, Role};
use nimblenet_tasklet::{Delta, Name, NamespaceId, TaskletName};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use super::crash::Crashes;
use super::failure::Facts;
use super::floors::Floors;
use super::flows::Flows;
use super::holders::Holders;
use super::keeper::{self, Keeper};
use super::links::Links;
use super::notices::Notices;
use super::numbers::Numbers;
use super::registry::StoreThread;
use super::run::{Edge, Inputs, Service};
use super::watch::{Results, Waiters};
use super::{Command, Daemon, Requests, Sockets, StartError};
use crate::clock::{self, Clock};
use crate::coap::Endpoint;
use crate::config::{self, MeshConfig, NodeConfig, RegistryConfig, Timeouts};
use crate::executor::Workers;
use crate::host::LinuxHost;
use crate::key::PublicKey;
use crate::lines::Lines;
use crate::link::{LinkPlan, UdpPlan};
use crate::state::Hold;
use crate::store::{Refusal, Store, is_unwritable};
use crate::triggers::Triggers;
use crate::values::Values;

/// The arena of a registry's executor, which runs no tasklets.
const REGISTRY_ARENA_BYTES: usize = 4096;

/// What a daemon is made from.
pub(super) struct Setup {
    config: Config,
    numbers: Numbers,
    mesh: MeshConfig,
    arena_bytes: usize,
    natives: Vec<TaskletName>,
    values: Values,
    timeouts: Timeouts,
    kept: Vec<Vec<u8>>,
    floors: Option<Floors>,
    keeper: Option<Keeper>,
    store: Option<Store>,
    hold: Option<Hold>,
    keys: BTreeMap<Name, PublicKey>,
    namespaces: BTreeMap<Name, config::NamespaceConfig>,
}

impl Setup {
    pub(super) fn node(file: NodeConfig) -> Result<Self, StartError> {
        let hold = file.state.as_deref().map(Hold::take).transpose();
        let hold = hold.map_err(StartError::State)?;
        let numbers = match &file.state {
            Some(dir) => Numbers::open(dir).map_err(StartError::State)?,
            None => Numbers::by_clock(),
        };
        let mut config = core_config(&file.mesh, file.timeouts.pace, &numbers);
        config.limits.shelf_bytes = file.shelf_bytes;
        config.limits.jobs = file.jobs;
        config.limits.acquisitions = file.jobs;
        config.limits.cache_entries += file.jobs;
        config.acquisition.preload = file.preload;
        config.eviction = file.eviction;
        config.placement = file.placement;
        config.limits.cache_bytes = file.cache_bytes;
        config.limits.executors = file.executors;
        if file.namespaces.is_empty() {
            tracing::warn!(
                "without any [namespaces.NAME] the node takes no calls, and only passes frames on"
            );
        }
        let mut kept = Vec::new();
        let mut keys = BTreeMap::new();
        for (name, namespace) in &file.namespaces {
            config.namespaces.push(NamespaceConfig {
                name: *name,
                registry: namespace.registry,
                key: namespace.key.0,
                capabilities: namespace.capabilities,
                stays: namespace.stays,
            });
            keys.insert(*name, namespace.key);
            let dir = file.state.as_deref();
            kept.extend(dir.and_then(|dir| keeper::kept(dir, name, &namespace.key)));
        }
        let values = match &file.state {
            Some(dir) => Values::open(dir).map_err(StartError::State)?,
            None => Values::in_memory(),
        };
        let floors = file.state.as_deref().map(Floors::open).transpose();
        let keeper = file.state.map(Keeper::start).transpose();
        Ok(Self {
            config,
            numbers,
            mesh: file.mesh,
            arena_bytes: file.arena_bytes,
            natives: file.natives,
            values,
            timeouts: file.timeouts,
            kept,
            floors: floors.map_err(StartError::State)?,
            keeper: keeper.map_err(StartError::State)?,
            store: None,
            hold,
            keys,
            namespaces: file.namespaces,
        })
    }

    pub(super) fn registry(file: &RegistryConfig, store: Store) -> Result<Self, StartError> {
        let timeouts = Timeouts::default();
        let numbers = match store.is_read_only() {
            false => Numbers::open(&file.data),
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        };
        let numbers = match numbers {
            Err(error) if is_unwritable(&error) => {
                tracing::warn!(
                    data = %file.data.display(),
                    "the disk is read-only or full: what it has is served, and publications for which there is no room are refused"
                );
                Numbers::by_clock()
            }
            numbers => numbers.map_err(StartError::Data)?,
        };
        let mut config = core_config(&file.mesh, timeouts.pace, &numbers);
        config.role = Role::Registry(store.archive().map_err(StartError::Store)?);
        config.limits.cache_bytes = 0;
        let keys = store.namespaces().map(|(name, key, _)| (*name, key));
        Ok(Self {
            config,
            numbers,
            mesh: file.mesh.clone(),
            arena_bytes: REGISTRY_ARENA_BYTES,
            natives: Vec::new(),
            values: Values::in_memory(),
            timeouts,
            kept: Vec::new(),
            floors: None,
            keeper: None,
            keys: keys.collect(),
            namespaces: BTreeMap::new(),
            store: Some(store),
            // The store has one itself.
            hold: None,
        })
    }

    pub(super) fn start(self, sockets: Sockets) -> Result<Daemon, StartError> {
        let addresses = sockets.addresses().map_err(StartError::System)?;
        let name = format!("node-{}", self.config.id);
        let (commands, inbox) = unbounded_channel();
        let requests = Requests(commands);
        let asking = requests.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::System)?;
        // Make the node on the thread on which it stays.
        let (report, made) = mpsc::channel();
        let service = move || {
            // Building the daemon starts tasks, which needs the runtime.
            let entered = runtime.enter();
            let built = self.build(sockets, asking, inbox);
            drop(entered);
            match built {
                Ok((service, inputs)) => {
                    let _ = report.send(Ok(()));
                    runtime.block_on(service.run(inputs));
                }
                Err(error) => drop(report.send(Err(error))),
            }
        };
        let thread = Builder::new().name(name).spawn(service);
        let thread = thread.map_err(StartError::System)?;
        let made = made.recv().unwrap_or_else(|_| {
            let ended = io::Error::other("the daemon's thread ended at its start");
            Err(StartError::System(ended))
        });
        made?;
        Ok(Daemon {
            requests,
            thread: Some(thread),
            addresses,
        })
    }

    fn build(
        mut self,
        sockets: Sockets,
        requests: Requests,
        inbox: UnboundedReceiver<Command>,
    ) -> Result<(Service, Inputs), StartError> {
        let clock = Clock::fast(self.mesh.speedup);
        let seed = u64::from(clock::tick()) << 16 | u64::from(self.config.id.0);
        let name = format!("node-{}", self.config.id);
        let plans = plans(self.mesh, sockets.mesh);
        self.config.links = plans.iter().map(|plan| plan.frames()).collect();
        let links = self.config.links.iter();
        let frame_bytes = links.map(|link| link.mtu).max().unwrap_or(0);
        let executors = self.config.limits.executors;
        let facts = Facts {
            id: self.config.id,
            limits: self.config.limits,
            arena_bytes: self.arena_bytes,
            call_ms: self.timeouts.call.as_millis(),
            natives: self.natives.clone(),
            namespaces: self.namespaces,
        };
        let mut node = Node::new(self.config).map_err(StartError::Config)?;
        node.set_abilities(
            clock.now(),
            Abilities {
                modules: true,
                natives: self.natives.clone(),
            },
        );
        let mut floors = self.floors;
        for name in self.keys.keys() {
            let floor = floors.as_mut().map_or(0, |floors| floors.of(name));
            node.set_floor(NamespaceId::of(name), floor);
        }
        for bytes in &self.kept {
            let delta = Delta::decode(bytes).expect("it was decoded when it was read");
            if let Err(error) = node.install(clock.now(), &delta) {
                tracing::warn!(namespace = %delta.namespace, %error, "not installed");
            }
        }
        let (outcomes, answers) = unbounded_channel();
        let lines = Lines::default();
        let host = LinuxHost::new(&self.natives, self.values, lines.clone(), clock, seed);
        let workers = Workers::start(&name, executors, self.arena_bytes, host, outcomes);
        let (stored, store_answers) = unbounded_channel();
        let read_only = self.store.as_ref().is_some_and(Store::is_read_only);
        let degraded = read_only.then(|| Refusal::ReadOnly.to_string());
        let store = self.store.map(|store| StoreThread::start(store, stored));
        let mut tasks = JoinSet::new();
        let (links, heard) = Links::start(&plans, &mut tasks).map_err(StartError::System)?;
        let endpoint = sockets.coap;
        // Clients live in real time.
        let endpoint = endpoint
            .map(|socket| Endpoint::new(socket, Clock::start(), seed, facts.limits.jobs, requests));
        let endpoint = endpoint.transpose().map_err(StartError::System)?;
        let coap = endpoint.as_ref().map(Endpoint::state);
        if let Some(endpoint) = endpoint {
            tasks.spawn(endpoint.run());
        }
        let inputs = Inputs {
            heard,
            answers,
            store_answers,
            inbox,
            coap: coap.clone(),
            tasks,
        };
        let service = Service {
            node,
            numbers: self.numbers,
            clock,
            edge: Edge {
                links,
                workers: workers.map_err(StartError::System)?,
                finished: Vec::new(),
                moved: Vec::new(),
                renewed: Vec::new(),
                contradicted: Vec::new(),
                arrived: Vec::new(),
                crashes: Crashes::default(),
                holders: Holders::default(),
                floors,
            },
            frame: vec![0; usize::from(frame_bytes)],
            wake: None,
            coap,
            store: store.transpose().map_err(StartError::System)?,
            degraded,
            calls: BTreeMap::new(),
            lines,
            notices: Notices::default(),
            triggers: Triggers::default(),
            flows: Flows::default(),
            results: Results::default(),
            waiters: Waiters::default(),
            moves: Vec::new(),
            keys: self.keys,
            keeper: self.keeper,
            timeouts: self.timeouts,
            facts,
            stopping: None,
            placed: 0,
            _hold: self.hold,
        };
        Ok((service, inputs))
    }
}

/// The links of a daemon: UDP, then those of its configuration.
fn plans(mesh: MeshConfig, socket: UdpSocket) -> Vec<Arc<dyn LinkPlan>> {
    let udp = UdpPlan {
        socket,
        neighbours: mesh.neighbours,
        names: mesh.names,
        open: mesh.open,
        mtu: mesh.mtu,
        repeats: mesh.repeats,
    };
    let mut plans: Vec<Arc<dyn LinkPlan>> = vec![Arc::new(udp)];
    plans.extend(mesh.links);
    plans
}

fn core_config(mesh: &MeshConfig, pace: Pace, numbers: &Numbers) -> Config {
    let mut config = match &mesh.paper {
        None => Config::new(mesh.id, mesh.mtu),
        Some(topology) => {
            let mut config = Config::paper(mesh.id, mesh.mtu);
            config.topology.neighbours.clone_from(&topology.neighbours);
            config.topology.routes.clone_from(&topology.routes);
            config
        }
    };
    config.pace = pace;
    config.first_sequence = numbers.first();
    config.seed = u64::from(config.first_sequence) << 16 | u64::from(mesh.id.0);
    config.limits = Limits::linux();
    config
}
