//! The loop of a daemon.

use alloc::collections::BTreeMap;
use core::future::pending;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::mpsc::Sender;

use nimblenet_core::{
    CallId, Driver, Event, ExecutorId, Input, Instant, LinkAddress, LinkId, Node, Transmit, drain,
    pump,
};
use nimblenet_tasklet::{Fault, Name, NamespaceId, Work};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};

use super::crash::Crashes;
use super::keeper::Keeper;
use super::registry::{self, StoreThread};
use super::{Call, CallReport, Command, Sockets, Status};
use crate::clock::Clock;
use crate::coap::{RequestId, Server};
use crate::config::Timeouts;
use crate::executor::{Answer, Workers};
use crate::key::PublicKey;
use crate::link::{Heard, SerialLink, UdpLink};

/// The link over UDP. The serial lines are those after it.
pub(super) const UDP: LinkId = LinkId(0);
/// The only neighbour on a serial line.
const OTHER_END: LinkAddress = LinkAddress(0);
/// No datagram is longer.
const MAX_DATAGRAM_BYTES: usize = 65_536;
/// Datagrams taken before anything else gets its turn.
const BATCH: usize = 64;

/// What a daemon listens to.
pub(super) struct Inputs {
    pub(super) sockets: Sockets,
    pub(super) heard: Receiver<Heard>,
    pub(super) answers: UnboundedReceiver<Answer>,
    pub(super) store_answers: UnboundedReceiver<registry::Answer>,
    pub(super) inbox: UnboundedReceiver<Command>,
}

/// Who waits for a call.
pub(super) enum Waiting {
    Coap {
        id: RequestId,
        explain: bool,
        detail: Option<String>,
    },
    Handle(Sender<CallReport>),
}

/// What the node acts on, apart from the node itself.
pub(super) struct Outside {
    pub(super) udp: UdpLink,
    /// The links from 1 on.
    pub(super) serial: Vec<SerialLink>,
    pub(super) workers: Workers,
    pub(super) finished: Vec<(CallId, CallReport)>,
    pub(super) moved: Vec<(CallId, Result<(), Fault>)>,
    pub(super) renewed: Vec<NamespaceId>,
    pub(super) crashes: Crashes,
}

impl Driver for Outside {
    fn transmit(&mut self, _: Instant, transmit: Transmit, frame: &[u8]) {
        match usize::from(transmit.link.0).checked_sub(1) {
            None => self.udp.send(transmit.to, frame),
            Some(at) => self.serial[at].send(frame),
        }
    }

    fn work(&mut self, _: Instant, _: ExecutorId, work: Work<'_>) {
        self.workers.give(work);
    }

    fn event(&mut self, _: Instant, event: Event<'_>) {
        match event {
            Event::Finished {
                call,
                result,
                trap,
                steps,
                took,
            } => self.finished.push((
                call,
                CallReport {
                    result: result.map(<[u8]>::to_vec),
                    trap,
                    steps: steps.to_vec(),
                    took,
                },
            )),
            Event::Moved { call, to, result } => {
                tracing::info!(call = call.0, to = to.0, ?result, "a move has ended");
                self.moved.push((call, result));
            }
            Event::Reported { node, report } => self.crashes.note(node, &report),
            Event::Catalogue { namespace, epoch } => {
                tracing::debug!(namespace = namespace.0, epoch, "a catalogue is newer");
                self.renewed.push(namespace);
            }
        }
    }
}

/// A running daemon.
pub(super) struct Body {
    pub(super) node: Node,
    pub(super) clock: Clock,
    pub(super) outside: Outside,
    pub(super) frame: Vec<u8>,
    pub(super) wake: Option<Instant>,
    pub(super) coap: Server,
    pub(super) coap_sender: Option<std::net::UdpSocket>,
    pub(super) store: Option<StoreThread>,
    pub(super) calls: BTreeMap<CallId, Waiting>,
    /// Who waits for the end of which call's move.
    pub(super) moves: Vec<(CallId, RequestId)>,
    pub(super) keys: BTreeMap<Name, PublicKey>,
    pub(super) keeper: Option<Keeper>,
    pub(super) timeouts: Timeouts,
    /// Set once it is to end: when it does so at the latest, and who wants its last numbers.
    pub(super) stopping: Option<(Instant, Option<Sender<Status>>)>,
}

impl Body {
    /// Runs until it is told to stop.
    pub(super) async fn run(mut self, inputs: Inputs) {
        if let Err(error) = self.listen(inputs).await {
            tracing::error!(%error, "the daemon ends");
        }
        self.outside.workers.stop();
        if let Some(store) = &mut self.store {
            store.stop();
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.stop();
        }
        let status = self.status();
        if let Some((_, Some(wants))) = self.stopping.take() {
            let _ = wants.send(status);
        }
    }

    async fn listen(&mut self, mut inputs: Inputs) -> io::Result<()> {
        let mesh = UdpSocket::from_std(inputs.sockets.mesh)?;
        let coap = inputs.sockets.coap.map(UdpSocket::from_std).transpose()?;
        let mut frame = vec![0; MAX_DATAGRAM_BYTES];
        let mut datagram = vec![0; MAX_DATAGRAM_BYTES];
        self.pump(Input::Timeout);
        loop {
            self.settle();
            if self.is_over() {
                return Ok(());
            }
            tokio::select! {
                received = mesh.recv_from(&mut frame) => {
                    self.take_frame(received, &frame);
                    for _ in 0..BATCH {
                        let Ok(more) = mesh.try_recv_from(&mut frame) else { break };
                        self.take_frame(Ok(more), &frame);
                    }
                }
                Some(Heard { link, frame }) = inputs.heard.recv() => {
                    let (from, bytes) = (OTHER_END, &frame[..]);
                    self.pump(Input::Frame { link, from, bytes });
                }
                received = receive(coap.as_ref(), &mut datagram) => match received {
                    Ok((len, from)) => {
                        self.coap.handle(self.clock.now(), from, &datagram[..len]);
                    }
                    Err(error) => tracing::debug!(%error, "CoAP socket"),
                },
                Some(answer) = inputs.answers.recv() => {
                    self.pump(Input::Outcome(answer.outcome()));
                }
                Some((id, result)) = inputs.store_answers.recv() => self.stored(id, result),
                command = inputs.inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                () = sleep(self.next_wake().map(|at| self.clock.until(at))) => self.wake_up(),
            }
        }
    }

    fn take_frame(&mut self, received: io::Result<(usize, SocketAddr)>, frame: &[u8]) {
        match received {
            Ok((len, from)) => {
                if let Some(from) = self.outside.udp.receive(from, len) {
                    let bytes = &frame[..len];
                    self.pump(Input::Frame {
                        link: UDP,
                        from,
                        bytes,
                    });
                }
            }
            // A neighbour that is not up yet.
            Err(error) => tracing::trace!(%error, "mesh socket"),
        }
    }

    /// Tells the node what happened and carries out what follows.
    fn pump(&mut self, input: Input<'_>) {
        let now = self.clock.now();
        let next = pump(
            &mut self.node,
            now,
            input,
            &mut self.outside,
            &mut self.frame,
        );
        self.wake = next.map(|(at, _)| at);
    }

    /// Carries out what follows from a command to the node.
    pub(super) fn drain(&mut self) {
        let now = self.clock.now();
        let next = drain(&mut self.node, now, &mut self.outside, &mut self.frame);
        self.wake = next.map(|(at, _)| at);
    }

    /// Brings everything that the last input has led to where it belongs.
    fn settle(&mut self) {
        self.serve_requests();
        for (call, result) in core::mem::take(&mut self.outside.moved) {
            self.finish_move(call, result);
        }
        for (call, report) in core::mem::take(&mut self.outside.finished) {
            self.finish(call, report);
        }
        for namespace in core::mem::take(&mut self.outside.renewed) {
            self.keep(namespace);
        }
        while let Some((to, bytes)) = self.coap.poll_transmit() {
            let sender = self.coap_sender.as_ref();
            let sent = sender.map(|socket| socket.send_to(&bytes, to));
            if let Some(Err(error)) = sent {
                tracing::debug!(%error, %to, "a CoAP message was not sent");
            }
        }
    }

    fn wake_up(&mut self) {
        let now = self.clock.now();
        if self.coap.poll_timeout().is_some_and(|at| at <= now) {
            self.coap.handle_timeout(now);
        }
        if self.wake.is_some_and(|at| at <= now) {
            self.pump(Input::Timeout);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().map(|(at, _)| *at);
        [self.wake, self.coap.poll_timeout(), stop]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether it was told to stop and has nothing left to do, or no time left.
    fn is_over(&self) -> bool {
        let Some((deadline, _)) = &self.stopping else {
            return false;
        };
        let idle = self.node.jobs() == 0 && self.coap.is_idle();
        idle || *deadline <= self.clock.now()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Call(call, reply) => {
                let deadline = call.deadline.unwrap_or(self.timeouts.call);
                if let Err(fault) = self.call(&call, deadline, Waiting::Handle(reply.clone())) {
                    let _ = reply.send(CallReport::refused(fault));
                }
            }
            Command::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Command::Stop(patience, reply) => {
                self.stopping = Some((self.clock.now() + patience, reply));
            }
        }
    }

    /// Starts a call for `waiting`.
    pub(super) fn call(
        &mut self,
        call: &Call,
        deadline: Duration,
        waiting: Waiting,
    ) -> Result<(), Fault> {
        if self.stopping.is_some() {
            return Err(Fault::Stopped);
        }
        let request = nimblenet_core::CallRequest {
            name: call.name,
            export: &call.export,
            args: &call.args,
            deadline: Some(deadline),
        };
        let now = self.clock.now();
        let id = match call.at {
            Some(node) => self.node.call_at(now, node, request),
            None => self.node.call(now, request),
        };
        let result = id.map(|id| drop(self.calls.insert(id, waiting)));
        self.drain();
        result
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
            link: *self.outside.udp.counters(),
            serial: self.outside.serial.iter().map(SerialLink::status).collect(),
            coap: *self.coap.counters(),
            jobs: self.node.jobs(),
            cache_used: self.node.cache().used(),
            cache_bytes: self.node.cache().capacity(),
            evicted: self.node.cache().evicted(),
            neighbours: self.node.neighbours().collect(),
            epochs: self.keys.keys().map(epoch).collect(),
            crashes: self.outside.crashes.list(),
            uptime: self.clock.now().since(Instant::ZERO),
        }
    }
}

/// Receives from a socket that may not be there.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => pending().await,
    }
}

/// Sleeps for a time that may not end.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}
