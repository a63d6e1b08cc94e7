//! The loop of a daemon.

use alloc::collections::BTreeMap;
use core::future::pending;
use core::mem;
use core::time::Duration;
use std::io;
use std::sync::mpsc::Sender;

use nimblenet_core::{
    CallId, CallKey, Driver, Event, ExecutorId, FlowId, Input, Instant, Node, Standing, Transmit,
    drain, pump,
};
use nimblenet_tasklet::{Fault, Name, NamespaceId, NodeId, Work};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::api::{Answer, Wanted};
use super::crash::Crashes;
use super::failure::Facts;
use super::floors::Floors;
use super::flows::{self, Flows};
use super::holders::Holders;
use super::keeper::Keeper;
use super::links::Links;
use super::notices::{Contradicted, Notices};
use super::numbers::Numbers;
use super::registry::{self, StoreThread};
use super::watch::{Results, Waiters};
use super::{Call, CallReport, Command, Status};
use crate::clock::Clock;
use crate::coap::EndpointState;
use crate::config::Timeouts;
use crate::executor::{OwnedOutcome, Workers};
use crate::key::PublicKey;
use crate::lines::Lines;
use crate::link::Heard;
use crate::state::Hold;
use crate::triggers::Triggers;

/// The most frames that the loop takes before it serves other inputs.
const BATCH: usize = 64;
/// How long a daemon that ends waits for its clients to acknowledge its last answers.
pub const FAREWELL: Duration = Duration::from_millis(500);

/// The inputs of a daemon's loop.
pub(super) struct Inputs {
    pub(super) heard: Receiver<Heard>,
    pub(super) answers: UnboundedReceiver<OwnedOutcome>,
    pub(super) store_answers: UnboundedReceiver<registry::Answer>,
    pub(super) inbox: UnboundedReceiver<Command>,
    /// The state of the CoAP endpoint.
    pub(super) coap: Option<watch::Receiver<EndpointState>>,
    /// The tasks of links and endpoints, which end after the daemon.
    pub(super) tasks: JoinSet<()>,
}

/// A call in progress, and the answer to its client.
pub(super) struct Waiting {
    pub(super) call: Call,
    /// The call whose result the client asks for; then nothing is run.
    pub(super) claimed: Option<CallKey>,
    pub(super) wanted: Wanted,
    /// The other node that it has moved to.
    pub(super) moved_to: Option<NodeId>,
    /// The other node to which placement has sent it.
    pub(super) placed_at: Option<NodeId>,
    pub(super) answer: Answer,
}

/// What carries out the node's outputs.
pub(super) struct Edge {
    pub(super) links: Links,
    pub(super) workers: Workers,
    pub(super) finished: Vec<(CallId, CallReport)>,
    pub(super) moved: Vec<Moved>,
    pub(super) renewed: Vec<NamespaceId>,
    pub(super) contradicted: Vec<Contradicted>,
    /// Items at the sinks of their flows.
    pub(super) arrived: Vec<(FlowId, flows::Item)>,
    pub(super) crashes: Crashes,
    /// The epochs that nodes hold of a registry's namespaces.
    pub(super) holders: Holders,
    /// The floors of a node that keeps its state.
    pub(super) floors: Option<Floors>,
}

/// A move that has ended.
pub(super) struct Moved {
    pub(super) call: CallId,
    pub(super) to: NodeId,
    pub(super) result: Result<(), Fault>,
}

impl Driver for Edge {
    fn keep(&mut self, now: Instant, namespace: NamespaceId, epoch: u32) {
        if let Some(floors) = &mut self.floors {
            floors.raise(now, namespace, epoch);
        }
    }

    fn transmit(&mut self, _: Instant, transmit: Transmit, frame: &[u8]) {
        self.links.send(transmit, frame);
    }

    fn work(&mut self, _: Instant, executor: ExecutorId, work: Work<'_>) {
        self.workers.give(executor, work);
    }

    fn event(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Finished {
                call,
                result,
                trap,
                blamed,
                place,
                steps,
                took,
            } => self.finished.push((
                call,
                CallReport {
                    result: result.map(<[u8]>::to_vec),
                    trap,
                    blamed,
                    place,
                    steps: steps.to_vec(),
                    took,
                },
            )),
            Event::Moved { call, to, result } => {
                tracing::info!(call = call.0, to = to.0, ?result, "a move has ended");
                self.moved.push(Moved { call, to, result });
            }
            Event::Reported { node, report } => self.crashes.note(now, node, &report),
            Event::Announced {
                node,
                namespace,
                epoch,
            } => self.holders.note(now, namespace, node, epoch),
            Event::Contradicted {
                namespace,
                node,
                epoch,
                held,
            } => self.contradicted.push(Contradicted {
                namespace,
                node,
                epoch,
                held,
            }),
            Event::Item {
                flow,
                source,
                first,
                last,
                result,
            } => {
                let item = flows::Item {
                    number: 0,
                    at: now,
                    source,
                    first,
                    last,
                    result: result.map(<[u8]>::to_vec),
                };
                self.arrived.push((flow, item));
            }
            Event::Catalogue { namespace, epoch } => {
                tracing::debug!(namespace = namespace.0, epoch, "a catalogue is newer");
                self.renewed.push(namespace);
            }
        }
    }
}

/// A running daemon: the node, what carries out its outputs, and the clients that wait.
pub(super) struct Service {
    pub(super) node: Node,
    pub(super) numbers: Numbers,
    pub(super) clock: Clock,
    pub(super) edge: Edge,
    pub(super) frame: Vec<u8>,
    pub(super) wake: Option<Instant>,
    pub(super) coap: Option<watch::Receiver<EndpointState>>,
    pub(super) store: Option<StoreThread>,
    /// Why a registry takes no publications.
    pub(super) degraded: Option<String>,
    pub(super) calls: BTreeMap<CallId, Waiting>,
    /// The lines of the log.
    pub(super) lines: Lines,
    pub(super) notices: Notices,
    /// The newest ended calls of clients.
    pub(super) triggers: Triggers,
    /// The flows that clients have begun here.
    pub(super) flows: Flows,
    /// The results of the newest calls.
    pub(super) results: Results,
    pub(super) waiters: Waiters,
    /// The clients that wait for a move: the call, the node that it moves to, and the answer.
    pub(super) moves: Vec<(CallId, NodeId, Answer)>,
    pub(super) keys: BTreeMap<Name, PublicKey>,
    pub(super) keeper: Option<Keeper>,
    pub(super) timeouts: Timeouts,
    pub(super) facts: Facts,
    /// Set when the daemon is told to stop.
    pub(super) stopping: Option<Stopping>,
    /// How many calls placement has sent to others, as far as is noted.
    pub(super) placed: u64,
    /// The state directory, which nobody else uses meanwhile.
    pub(super) _hold: Option<Hold>,
}

/// The end of a daemon that was told to stop.
pub(super) struct Stopping {
    /// Until when calls in progress may run; the daemon then answers those that still run as stopped.
    calls_until: Instant,
    /// When the daemon ends, even if clients have not acknowledged its answers.
    gone_at: Instant,
    /// Takes the last numbers.
    last: Option<Sender<Status>>,
}

impl Service {
    /// Runs until it is told to stop.
    pub(super) async fn run(mut self, inputs: Inputs) {
        if let Err(error) = self.listen(inputs).await {
            tracing::error!(%error, "the daemon ends");
        }
        self.edge.workers.stop();
        if let Some(store) = &mut self.store {
            store.stop();
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.stop();
        }
        let status = self.status();
        if let Some(last) = self.stopping.take().and_then(|stopping| stopping.last) {
            let _ = last.send(status);
        }
    }

    async fn listen(&mut self, mut inputs: Inputs) -> io::Result<()> {
        self.pump(Input::Timeout);
        loop {
            self.settle();
            if self.is_over() {
                return Ok(());
            }
            tokio::select! {
                Some(heard) = inputs.heard.recv() => {
                    self.hear(&heard);
                    for _ in 1..BATCH {
                        let Ok(more) = inputs.heard.try_recv() else { break };
                        self.hear(&more);
                    }
                }
                Some(answer) = inputs.answers.recv() => {
                    // The outcome may end the job that wrote the lines.
                    self.find_calls_of_lines();
                    self.pump(Input::Outcome(answer.outcome()));
                }
                Some((answer, result)) = inputs.store_answers.recv() => {
                    self.stored(answer, result);
                }
                command = inputs.inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                () = changed(inputs.coap.as_mut()), if self.stopping.is_some() => {}
                Some(_) = inputs.tasks.join_next() => {
                    return Err(io::Error::other("a link or an endpoint has ended"));
                }
                () = sleep(self.next_wake().map(|at| self.clock.until(at))) => self.wake_up(),
            }
        }
    }

    /// Looks up the calls of lines in the log while the calls are in progress.
    pub(super) fn find_calls_of_lines(&self) {
        let call = |activation| self.node.running_call(activation);
        self.lines.find_calls(call);
    }

    fn hear(&mut self, heard: &Heard) {
        self.pump(Input::Frame {
            link: heard.link,
            from: heard.from,
            bytes: &heard.bytes,
        });
    }

    /// Tells the node what happened and carries out what follows.
    fn pump(&mut self, input: Input<'_>) {
        let now = self.clock.now();
        let next = pump(&mut self.node, now, input, &mut self.edge, &mut self.frame);
        self.wake = next.map(|(at, _)| at);
    }

    /// Carries out what follows from a command to the node.
    pub(super) fn drain(&mut self) {
        let now = self.clock.now();
        let next = drain(&mut self.node, now, &mut self.edge, &mut self.frame);
        self.wake = next.map(|(at, _)| at);
    }

    /// Handles what followed from the last input: ended moves and calls, newer catalogues.
    fn settle(&mut self) {
        for moved in mem::take(&mut self.edge.moved) {
            self.moved(&moved);
        }
        for (call, report) in mem::take(&mut self.edge.finished) {
            self.finish(call, report);
        }
        for namespace in mem::take(&mut self.edge.renewed) {
            self.keep(namespace);
        }
        for (flow, item) in mem::take(&mut self.edge.arrived) {
            self.flows.note(flow, item);
        }
        for contradicted in mem::take(&mut self.edge.contradicted) {
            contradicted.tell(self.keys.keys());
        }
        self.note_placed();
        self.numbers.come_to(self.node.next_sequence());
        if let Some(floors) = &mut self.edge.floors {
            floors.poll_retry(self.clock.now());
        }
        self.tell_changes();
        self.notices.look(self.clock.now(), &self.node);
    }

    /// Notes at which nodes the calls are that placement has sent away since.
    fn note_placed(&mut self) {
        let placed = self.node.counters().placed;
        if mem::replace(&mut self.placed, placed) == placed {
            return;
        }
        for progress in self.node.calls() {
            if let Some(waiting) = self.calls.get_mut(&progress.call) {
                waiting.placed_at = match progress.standing {
                    Standing::At(node) => Some(node),
                    Standing::Waiting | Standing::Queued | Standing::Running | Standing::Moving => {
                        None
                    }
                };
            }
        }
    }

    fn wake_up(&mut self) {
        let now = self.clock.now();
        if self.wake.is_some_and(|at| at <= now) {
            self.pump(Input::Timeout);
        }
        let stopping = self.stopping.as_ref();
        if stopping.is_some_and(|stopping| stopping.calls_until <= now) {
            self.give_up_calls();
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().map(|stopping| {
            if self.calls.is_empty() && self.moves.is_empty() {
                stopping.gone_at
            } else {
                stopping.calls_until
            }
        });
        let look = Some(self.notices.due());
        [self.wake, stop, look].into_iter().flatten().min()
    }

    /// Whether the daemon was told to stop, and has nothing left to do or no time left.
    fn is_over(&self) -> bool {
        let Some(stopping) = &self.stopping else {
            return false;
        };
        let now = self.clock.now();
        let idle = self.node.jobs() == 0 || stopping.calls_until <= now && self.calls.is_empty();
        idle && self.endpoint().idle || stopping.gone_at <= now
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Serve(request, answer) => self.serve(request, answer),
            Command::Stop(patience, last) => {
                self.stopping = Some(Stopping {
                    calls_until: self.clock.after(patience),
                    gone_at: self.clock.after(patience + FAREWELL),
                    last,
                });
            }
        }
    }

    /// The state of the CoAP endpoint.
    fn endpoint(&self) -> EndpointState {
        let state = self.coap.as_ref().map(|coap| *coap.borrow());
        state.unwrap_or_default()
    }

    /// Writes a newer catalogue to disk.
    fn keep(&mut self, namespace: NamespaceId) {
        let (Some(keeper), Some(catalogue)) = (&self.keeper, self.node.catalogue(namespace)) else {
            return;
        };
        let mut bytes = vec![0; catalogue.delta_bytes()];
        if let Some(len) = catalogue.encode_delta(0, &mut bytes) {
            bytes.truncate(len);
            keeper.keep(*catalogue.name(), bytes);
        }
    }

    pub(super) fn status(&self) -> Status {
        let epoch = |name: &Name| {
            let catalogue = self.node.catalogue(NamespaceId::of(name));
            (*name, catalogue.map_or(0, |catalogue| catalogue.epoch()))
        };
        Status {
            id: self.node.id(),
            counters: *self.node.counters(),
            links: self.edge.links.status(),
            coap: self.endpoint().counters,
            jobs: self.node.jobs(),
            results: self.node.results(self.clock.now()),
            cache_used: self.node.cache().used(),
            cache_bytes: self.node.cache().capacity(),
            evicted: self.node.cache().evicted(),
            neighbours: self.node.neighbours().collect(),
            epochs: self.keys.keys().map(epoch).collect(),
            crashes: self.edge.crashes.list(),
            degraded: self.degraded.clone(),
            draining: self.node.is_draining(),
            uptime: self.clock.now().since(Instant::ZERO),
        }
    }
}

/// Waits until the state of an endpoint changes; for ever if there is no endpoint.
async fn changed(endpoint: Option<&mut watch::Receiver<EndpointState>>) {
    if let Some(endpoint) = endpoint
        && endpoint.changed().await.is_ok()
    {
        return;
    }
    pending().await
}

/// Sleeps; for ever if there is no time.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}
