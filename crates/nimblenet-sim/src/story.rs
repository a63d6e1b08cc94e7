//! A story: verbs for tests that tell what happens in a small network.

use std::collections::BTreeMap;

use core::time::Duration;

use nimblenet_core::{
    Abilities, Archive, CallId, CallKey, CallRequest, ClientId, Config, Event, FlowError, FlowId,
    FlowPlan, Instant, LinkId, NamespaceConfig, Node, PartyId, Priority, Role, Source,
};
use nimblenet_tasklet::{Capabilities, Delta, Fault, NodeId, TaskletName, Trap};

use crate::engine::{Engine, Fates, Observer};
use crate::executor::SimExecutor;
use crate::layout::Layout;
use crate::link::LinkModel;
use crate::publisher::{Draft, Publisher, shelve};

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

/// An item of a flow that has arrived at its sink.
#[derive(Clone, PartialEq, Debug)]
pub struct Arrival {
    /// When it arrived.
    pub at: Instant,
    /// The sink.
    pub sink: NodeId,
    /// Its flow.
    pub flow: FlowId,
    /// The node where it began.
    pub source: NodeId,
    /// The first and the last item of the source that it was made of.
    pub range: (u32, u32),
    /// Its value in CBOR, or why an operator has failed.
    pub result: Result<Vec<u8>, Fault>,
}

/// What a story keeps: how calls and moves ended, and what flows have brought.
#[derive(Default)]
struct Diary {
    arrivals: Vec<Arrival>,
    finished: BTreeMap<(NodeId, CallId), Finished>,
    moves: Vec<(NodeId, Result<(), Fault>)>,
    /// What nodes have announced to registries since these began, and when the last time.
    announced: BTreeMap<(NodeId, NodeId), (Instant, u32)>,
}

impl Observer for Diary {
    fn event(&mut self, now: Instant, node: NodeId, event: &Event<'_>) {
        if let Event::Announced {
            node: holder,
            epoch,
            ..
        } = event
        {
            self.announced.insert((node, *holder), (now, *epoch));
        }
        if let Event::Item {
            flow,
            source,
            first,
            last,
            result,
        } = event
        {
            self.arrivals.push(Arrival {
                at: now,
                sink: node,
                flow: *flow,
                source: *source,
                range: (*first, *last),
                result: result.map(<[u8]>::to_vec),
            });
        }
        if let Event::Moved { result, .. } = event {
            self.moves.push((node, *result));
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
            let finished = Finished {
                at: now,
                result,
                trap: *trap,
                steps,
                took: *took,
            };
            self.finished.insert((node, *call), finished);
        }
    }
}

/// A network of real nodes in virtual time, for tests. It keeps the end of every call.
pub struct Net {
    engine: Engine<Diary>,
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
            engine: Engine::new(seed, Diary::default(), factory),
            registry: layout.registry,
            publishers: Vec::new(),
        };
        let mut archive = Archive::new();
        for (mut publisher, drafts) in shelves {
            let delta = publisher.publish(&drafts, |name| net.entry_number(name));
            shelve(&mut archive, &delta, publisher.modules());
            net.publishers.push(publisher);
        }
        for id in &layout.nodes {
            let mut config = Config::new(*id, MTU);
            config.seed = seed;
            config.namespaces = net.namespaces();
            if *id == layout.registry {
                config.role = Role::Registry(archive.clone());
            }
            configure(&mut config);
            net.engine.add(config);
        }
        for (a, b) in &layout.links {
            net.engine.link(*a, *b, model);
        }
        for id in &layout.nodes {
            net.start(*id);
        }
        net
    }

    /// The seed, to be printed when a test fails.
    pub fn seed(&self) -> u64 {
        self.engine.seed()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.engine.now()
    }

    /// What became of frames so far.
    pub fn fates(&self) -> Fates {
        self.engine.fates()
    }

    /// A node that is up.
    ///
    /// # Panics
    /// If it is down or does not exist.
    pub fn node(&self, id: u16) -> &Node {
        self.engine.node(NodeId(id)).expect("the node is up")
    }

    /// Every node that is up.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.engine.nodes()
    }

    /// Calls a tasklet at a node with a CBOR array as arguments.
    ///
    /// # Errors
    /// [`Fault`] if the node refuses the call at once.
    ///
    /// # Panics
    /// If the name is not valid or the node is down.
    pub fn call(&mut self, id: u16, name: &str, args: &[u8]) -> Result<CallId, Fault> {
        self.call_from(id, None, name, args)
    }

    /// The same for somebody whom the node tells from others.
    ///
    /// # Errors
    /// [`Fault`] if the node refuses the call at once.
    ///
    /// # Panics
    /// If the name is not valid or the node is down.
    pub fn call_from(
        &mut self,
        id: u16,
        from: Option<PartyId>,
        name: &str,
        args: &[u8],
    ) -> Result<CallId, Fault> {
        let name = name.parse().expect("a test calls valid names");
        let deadline = Some(Duration::from_secs(120));
        self.engine.command(NodeId(id), |node, now| {
            node.call(
                now,
                CallRequest {
                    name,
                    export: "",
                    args,
                    deadline,
                    priority: Priority::Normal,
                    client: None,
                    key: None,
                    from,
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
        self.engine.command(NodeId(id), |node, now| {
            node.call_at(
                now,
                NodeId(at),
                CallRequest {
                    name,
                    export: "",
                    args,
                    deadline,
                    priority: Priority::Normal,
                    client: None,
                    key: None,
                    from: None,
                },
            )
        })
    }

    /// Calls a tasklet at a node for a client that gives the call a number.
    ///
    /// # Errors
    /// [`Fault`] if the node refuses the call at once.
    ///
    /// # Panics
    /// If the name is not valid or the node is down.
    pub fn call_by(
        &mut self,
        id: u16,
        key: (u32, u32),
        name: &str,
        args: &[u8],
    ) -> Result<CallId, Fault> {
        let (key, mut request) = numbered(key, name, args);
        request.key = Some(key);
        self.engine
            .command(NodeId(id), |node, now| node.call(now, request))
    }

    /// Lets a client ask the node `id` for the result of a call that it has made at the node `at`.
    ///
    /// # Errors
    /// [`Fault`] if the node refuses that at once.
    ///
    /// # Panics
    /// If the name is not valid or the node is down.
    pub fn claim(
        &mut self,
        id: u16,
        at: u16,
        key: (u32, u32),
        name: &str,
    ) -> Result<CallId, Fault> {
        let claim = numbered(key, name, &[]);
        self.engine
            .command(NodeId(id), |node, now| node.claim(now, NodeId(at), claim))
    }

    /// Calls a tasklet at the node `id` without arguments, with this priority and this deadline.
    ///
    /// # Errors
    /// [`Fault`] if the node refuses the call at once.
    ///
    /// # Panics
    /// If the name is not valid or the node is down.
    pub fn call_urgently(
        &mut self,
        id: u16,
        (priority, deadline): (Priority, Duration),
        name: &str,
    ) -> Result<CallId, Fault> {
        let request = CallRequest {
            name: name.parse().expect("a test calls valid names"),
            export: "",
            args: &[0x80],
            deadline: Some(deadline),
            priority,
            client: None,
            key: None,
            from: None,
        };
        self.engine
            .command(NodeId(id), |node, now| node.call(now, request))
    }

    /// Cancels the call `call` of the node `id`.
    ///
    /// # Errors
    /// [`Fault`] if there is no such call in progress.
    ///
    /// # Panics
    /// If the node is down.
    pub fn cancel(&mut self, id: u16, call: CallId) -> Result<(), Fault> {
        self.engine
            .command(NodeId(id), |node, now| node.cancel(now, call))
    }

    /// Lets a client cancel a call that it has made at the node `id`.
    ///
    /// # Errors
    /// [`Fault`] if the node knows no such call in progress.
    ///
    /// # Panics
    /// If the name is not valid or the node is down.
    pub fn cancel_for(&mut self, id: u16, key: (u32, u32), name: &str) -> Result<(), Fault> {
        let (key, request) = numbered(key, name, &[]);
        self.engine.command(NodeId(id), |node, now| {
            node.cancel_for(now, key, &request.name)
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
        self.engine.command(NodeId(id), |node, now| {
            node.move_call(now, call, NodeId(to))
        })
    }

    /// Lets the executors of the node `id` run modules and these native tasklets, and no others.
    ///
    /// # Panics
    /// If the node is down.
    pub fn restrict(&mut self, id: u16, natives: &[TaskletName]) {
        let natives = natives.to_vec();
        self.engine.command(NodeId(id), |node, now| {
            let modules = true;
            node.set_abilities(now, Abilities { modules, natives });
        });
    }

    /// Lets the executors of the node `id` run no modules.
    ///
    /// # Panics
    /// If the node is down.
    pub fn take_interpreter(&mut self, id: u16) {
        self.engine.command(NodeId(id), |node, now| {
            let (modules, natives) = (false, Vec::new());
            node.set_abilities(now, Abilities { modules, natives });
        });
    }

    /// Has the node `id` give its jobs away and take no new ones, or ends that.
    ///
    /// # Panics
    /// If the node is down.
    pub fn drain(&mut self, id: u16, drains: bool) {
        self.engine
            .command(NodeId(id), |node, now| node.drain(now, drains));
    }

    /// Begins a flow at the node `id`, and has its sink take it.
    ///
    /// # Errors
    /// [`FlowError`] if a node refuses it.
    ///
    /// # Panics
    /// If a node is down.
    pub fn begin_flow(&mut self, id: u16, plan: &FlowPlan<'_>) -> Result<FlowId, FlowError> {
        let flow = FlowId::of(&plan.name);
        self.engine
            .command(plan.sink, |node, _| node.take_flow(flow))?;
        self.engine
            .command(NodeId(id), |node, now| node.begin_flow(now, plan))
    }

    /// Gives an item to a flow that begins at the node `id`.
    ///
    /// # Errors
    /// [`FlowError`] if the node refuses it.
    ///
    /// # Panics
    /// If the node is down.
    pub fn give(&mut self, id: u16, flow: FlowId, value: &[u8]) -> Result<u32, FlowError> {
        self.engine
            .command(NodeId(id), |node, now| node.give(now, flow, value))
    }

    /// Has the node `id` take a flow as its sink.
    ///
    /// # Errors
    /// [`FlowError`] if the node refuses it.
    ///
    /// # Panics
    /// If the node is down.
    pub fn take_flow(&mut self, id: u16, flow: FlowId) -> Result<(), FlowError> {
        self.engine
            .command(NodeId(id), |node, _| node.take_flow(flow))
    }

    /// Ends a flow at the node `id`.
    ///
    /// # Errors
    /// [`FlowError`] if the node has no such flow.
    ///
    /// # Panics
    /// If the node is down.
    pub fn end_flow(&mut self, id: u16, flow: FlowId) -> Result<(), FlowError> {
        self.engine
            .command(NodeId(id), |node, _| node.end_flow(flow))
    }

    /// What flows have brought to sinks, in the order in which it came.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.engine.observer().arrivals
    }

    /// The epochs that the registry `id` was told since `since`, by the nodes that hold them.
    pub fn announced(&self, id: u16, since: Instant) -> Vec<(NodeId, u32)> {
        let heard = self.engine.observer().announced.iter();
        let heard =
            heard.filter(|((registry, _), (at, _))| *registry == NodeId(id) && *at >= since);
        heard
            .map(|((_, node), (_, epoch))| (*node, *epoch))
            .collect()
    }

    /// Ends a call of the node `id` early.
    ///
    /// # Panics
    /// If the node is down.
    pub fn stop(&mut self, id: u16, call: CallId) {
        self.engine
            .command(NodeId(id), |node, now| node.stop(now, call));
    }

    /// How the moves that began at a node have ended, in order.
    pub fn moves(&self, id: u16) -> Vec<Result<(), Fault>> {
        let moves = &self.engine.observer().moves;
        let of_node = moves.iter().filter(|(node, _)| *node == NodeId(id));
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
        let at = self.now();
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
        let end = self.now() + Duration::from_secs(600);
        while self.now() < end {
            if let Some(finished) = self.finished(id, call) {
                return finished.clone();
            }
            let seed = self.seed();
            assert!(self.engine.step(), "seed {seed}: nothing happens any more");
        }
        panic!("seed {}: the call does not end", self.seed());
    }

    /// How a call ended, if it has.
    pub fn finished(&self, id: u16, call: CallId) -> Option<&Finished> {
        self.engine.observer().finished.get(&(NodeId(id), call))
    }

    /// Runs for this long.
    pub fn run_for(&mut self, time: Duration) {
        self.engine.run(self.now() + time);
    }

    /// Runs until `done` holds, for at most `limit`; returns whether it holds.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now() + limit;
        while !done(self) {
            if self.now() > end || !self.engine.step() {
                return false;
            }
        }
        true
    }

    /// Cuts the link between two nodes.
    pub fn cut(&mut self, a: u16, b: u16) {
        self.set_up(a, b, false);
    }

    /// Cuts the link between two nodes in one direction.
    pub fn cut_one_way(&mut self, from: u16, to: u16) {
        self.engine.set_up(NodeId(from), NodeId(to), false);
    }

    /// Mends a link that was cut.
    pub fn mend(&mut self, a: u16, b: u16) {
        self.set_up(a, b, true);
    }

    fn set_up(&mut self, a: u16, b: u16, up: bool) {
        self.engine.set_up(NodeId(a), NodeId(b), up);
        self.engine.set_up(NodeId(b), NodeId(a), up);
    }

    /// Changes how a link treats frames.
    pub fn set_link(&mut self, a: u16, b: u16, model: LinkModel) {
        self.engine.set_model(NodeId(a), NodeId(b), model);
        self.engine.set_model(NodeId(b), NodeId(a), model);
    }

    /// Makes the link between `a` and `b` number `link_of_a` in the configuration of `a`, and
    /// number `link_of_b` in that of `b`. Every link begins as number 0 of both its nodes.
    pub fn plug(&mut self, (a, link_of_a): (u16, u8), (b, link_of_b): (u16, u8)) {
        let (a, b) = (NodeId(a), NodeId(b));
        self.engine.plug(a, b, LinkId(link_of_a));
        self.engine.plug(b, a, LinkId(link_of_b));
    }

    /// Takes a node down; it loses everything that it held in memory.
    pub fn crash(&mut self, id: u16) {
        self.engine.crash(NodeId(id));
    }

    /// Starts a node that was taken down. A registry gets its archive back.
    pub fn restart(&mut self, id: u16) {
        let crashes = self.engine.crashes(NodeId(id));
        let first = self.engine.config_mut(NodeId(id)).first_sequence;
        self.restart_at(id, first.wrapping_add(crashes << 20));
    }

    /// Starts a node that was taken down. Its first packet number is `first_sequence`, as if it had
    /// lost the number that it had come to.
    pub fn restart_at(&mut self, id: u16, first_sequence: u32) {
        let config = self.engine.config_mut(NodeId(id));
        let first = core::mem::replace(&mut config.first_sequence, first_sequence);
        // It numbers its calls from the beginning again.
        let finished = &mut self.engine.observer_mut().finished;
        finished.retain(|(node, _), _| *node != NodeId(id));
        self.start(NodeId(id));
        self.engine.config_mut(NodeId(id)).first_sequence = first;
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
        let modules = publisher.modules().to_vec();
        self.publishers[at] = publisher;
        self.take_up(&delta, &modules);
    }

    /// Publishes what the registry has of a namespace again, as epoch `epoch`.
    ///
    /// # Panics
    /// If the namespace has no publisher here, the registry is down, or the epoch is not newer.
    pub fn publish_again(&mut self, namespace: &str, epoch: u32) {
        let mut publishers = self.publishers.iter_mut();
        let publisher = publishers.find(|one| one.name().as_str() == namespace);
        let publisher = publisher.expect("a test publishes into namespaces that exist");
        let delta = publisher.publish_again(epoch);
        self.take_up(&delta, &[]);
    }

    /// Starts the registry again with another disk, on which the publisher of each namespace has
    /// published these drafts one after the other.
    pub fn replace_disk(&mut self, epochs: &[(&str, &[Vec<Draft>])]) {
        self.engine.crash(self.registry);
        let mut archive = Archive::new();
        for (namespace, drafts) in epochs {
            let mut publishers = self.publishers.iter();
            let at = publishers.position(|one| one.name().as_str() == *namespace);
            let at = at.expect("a test publishes into namespaces that exist");
            let mut publisher = Publisher::new(namespace);
            for drafts in *drafts {
                let delta = publisher.publish(drafts, |name| self.entry_number(name));
                shelve(&mut archive, &delta, publisher.modules());
            }
            self.publishers[at] = publisher;
        }
        self.engine.config_mut(self.registry).role = Role::Registry(archive);
        self.restart(self.registry.0);
    }

    fn take_up(&mut self, delta: &[u8], modules: &[Vec<u8>]) {
        let registry = self.registry;
        if let Role::Registry(archive) = &mut self.engine.config_mut(registry).role {
            shelve(archive, delta, modules);
        }
        let published = self.engine.command(registry, |node, now| {
            let delta = Delta::decode(delta).expect("a published delta is well formed");
            node.publish(now, &delta, modules.iter().map(|module| &module[..]))
        });
        published.expect("a published delta fits its registry");
    }

    /// Puts bytes on the link from `from` to `to`, as an intruder could.
    pub fn inject(&mut self, from: u16, to: u16, bytes: &[u8]) {
        self.engine.inject(NodeId(from), NodeId(to), bytes);
    }

    fn start(&mut self, id: NodeId) {
        let started = self.engine.start(id);
        started.expect("a test gives valid configurations");
    }

    fn namespaces(&self) -> Vec<NamespaceConfig> {
        let publishers = self.publishers.iter();
        let namespaces = publishers.map(|publisher| NamespaceConfig {
            name: publisher.name(),
            registry: self.registry,
            key: publisher.key(),
            capabilities: Capabilities::ALL,
            stays: false,
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
}

/// A request of the client with the first number, which gives its call the second one.
fn numbered<'a>(
    (client, number): (u32, u32),
    name: &str,
    args: &'a [u8],
) -> (CallKey, CallRequest<'a>) {
    let client = ClientId(client);
    let request = CallRequest {
        name: name.parse().expect("a test calls valid names"),
        export: "",
        args,
        deadline: Some(Duration::from_secs(120)),
        priority: Priority::Normal,
        client: Some(client),
        key: None,
        from: None,
    };
    (CallKey { client, number }, request)
}
