//! The daemon's interface over CoAP: messages become requests, and replies become messages.
//!
//! It is a task of its own beside the daemon's loop, with its own sockets.

use core::future::pending;
use std::io;

use nimblenet_core::{Instant, PartyId};
use tokio::sync::mpsc::{
    Receiver as Queue, UnboundedReceiver, UnboundedSender, channel, unbounded_channel,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::watches::Watches;
use super::{
    Code, Ends, Format, Observe, Request, RequestId, Response, Server, ServerCounters,
    ServerLimits, Timers, group,
};
use crate::clock::Clock;
use crate::daemon::Requests;
use crate::daemon::api::{self, Answer, Asked, Document, Media, Reply, Watched};
use crate::socket::{self, Receiver, Sender};

/// The longest datagram.
const MAX_DATAGRAM_BYTES: usize = 65_536;
/// How many requests to groups can wait for the endpoint.
const GROUP_REQUESTS: usize = 16;

/// The state of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EndpointState {
    /// Whether no request waits for its answer, and no answer for its acknowledgement.
    pub(crate) idle: bool,
    /// The server's counters.
    pub(crate) counters: ServerCounters,
}

impl Default for EndpointState {
    fn default() -> Self {
        Self {
            idle: true,
            counters: ServerCounters::default(),
        }
    }
}

/// What a reply of the daemon is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// A request.
    Request(RequestId),
    /// A request whose client wants to hear of changes.
    Registration(RequestId, Watched),
    /// The clients that hear of changes.
    Change(Watched),
}

/// A CoAP server on a socket, whose requests the daemon answers.
#[derive(Debug)]
pub(crate) struct Endpoint {
    sender: Sender,
    receiver: Receiver,
    /// Datagrams to groups that come through sockets of their own, and the tasks that read those
    /// sockets.
    grouped: Queue<(Ends, Vec<u8>)>,
    _groups: JoinSet<()>,
    server: Server,
    watches: Watches,
    clock: Clock,
    requests: Requests,
    /// The channel through which the daemon's replies come back.
    replying: UnboundedSender<(Purpose, Reply)>,
    replies: UnboundedReceiver<(Purpose, Reply)>,
    state: watch::Sender<EndpointState>,
}

impl Endpoint {
    /// An endpoint that gives its requests to `requests`. Must be called within a runtime.
    /// `seed` makes identifiers of messages differ between restarts; so many requests can wait for
    /// their answers as the node takes `jobs`, or more.
    ///
    /// # Errors
    /// If the system has no more file descriptors.
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        clock: Clock,
        seed: u64,
        jobs: usize,
        requests: Requests,
    ) -> io::Result<Self> {
        let (heard, grouped) = channel(GROUP_REQUESTS);
        let mut groups = JoinSet::new();
        group::listen(&socket, &heard, &mut groups)?;
        // Keep the channel open, so that it does not end if there are no sockets for groups.
        groups.spawn(async move { heard.closed().await });
        let usual = ServerLimits::DEFAULT;
        let limits = ServerLimits {
            requests: usual.requests.max(jobs),
            confirmables: usual.confirmables.max(jobs),
            ..usual
        };
        let (sender, receiver) = socket::split(socket)?;
        let (replying, replies) = unbounded_channel();
        Ok(Self {
            sender,
            receiver,
            grouped,
            _groups: groups,
            server: Server::new(limits, Timers::STANDARD, seed),
            watches: Watches::default(),
            clock,
            requests,
            replying,
            replies,
            state: watch::Sender::default(),
        })
    }

    /// Its state, now and after each change.
    pub(crate) fn state(&self) -> watch::Receiver<EndpointState> {
        self.state.subscribe()
    }

    /// Serves for ever.
    pub(crate) async fn run(mut self) {
        let mut datagram = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            self.settle();
            let due = [self.server.poll_timeout(), self.watches.poll_timeout()];
            tokio::select! {
                received = self.receiver.receive(&mut datagram) => match received {
                    Ok((len, ends)) => self.server.handle(self.clock.now(), ends, &datagram[..len]),
                    Err(error) => tracing::debug!(%error, "CoAP socket"),
                },
                Some((ends, bytes)) = self.grouped.recv() => {
                    self.server.handle(self.clock.now(), ends, &bytes);
                }
                Some((purpose, reply)) = self.replies.recv() => self.take(purpose, &reply),
                () = until(&self.clock, due.into_iter().flatten().min()) => {
                    let now = self.clock.now();
                    self.server.handle_timeout(now);
                    let server = &self.server;
                    let due = self.watches.due(now, |id| server.is_observed(id));
                    for (watched, seen) in due {
                        self.ask(Purpose::Change(watched), api::Request::Watch { watched, seen });
                    }
                }
            }
        }
    }

    /// Takes a reply of the daemon.
    fn take(&mut self, purpose: Purpose, reply: &Reply) {
        let now = self.clock.now();
        let (reply, seen, last) = if let Reply::Watched { reply, seen, last } = reply {
            (&**reply, Some(*seen), *last)
        } else {
            (reply, None, true)
        };
        let response = response(reply.document());
        match purpose {
            Purpose::Registration(id, watched) if !last => {
                if self.server.respond_observed(now, id, &response) {
                    self.watches.add(now, watched, id, seen);
                }
            }
            Purpose::Request(id) | Purpose::Registration(id, _) => {
                self.server.respond(now, id, &response);
            }
            Purpose::Change(watched) => {
                for id in self.watches.changed(now, watched, seen, last) {
                    self.server.notify(now, id, &response, last);
                }
            }
        }
    }

    fn ask(&self, purpose: Purpose, request: api::Request) {
        let replying = self.replying.clone();
        let answer = Answer::new(move |reply| drop(replying.send((purpose, reply))));
        self.requests.give(request, answer);
    }

    /// Carries out what has followed from the last input: requests, datagrams, and its state.
    fn settle(&mut self) {
        while let Some((id, request)) = self.server.poll_request() {
            let registers = request.observe == Some(Observe::Register);
            let read = asked(request).read().map(|mut request| {
                if let api::Request::Call { call, .. } = &mut request {
                    call.from = self.server.party(id).map(PartyId);
                }
                request
            });
            match read {
                Ok(request) => match request.watched().filter(|_| registers) {
                    Some(watched) => {
                        let seen = None;
                        let request = api::Request::Watch { watched, seen };
                        self.ask(Purpose::Registration(id, watched), request);
                    }
                    None => self.ask(Purpose::Request(id), request),
                },
                Err(refused) => {
                    let response = response(Reply::from(refused).document());
                    self.server.respond(self.clock.now(), id, &response);
                }
            }
        }
        while let Some((ends, bytes)) = self.server.poll_transmit() {
            self.send(ends, &bytes);
        }
        let state = EndpointState {
            idle: self.server.is_idle(),
            counters: *self.server.counters(),
        };
        self.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
    }

    fn send(&self, ends: Ends, bytes: &[u8]) {
        if let Err(error) = self.sender.send(&ends, bytes) {
            tracing::debug!(%error, to = %ends.remote, "a CoAP message was not sent");
        }
    }
}
async fn until(clock: &Clock, at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(clock.until(at)).await,
        None => pending().await,
    }
}

fn asked(request: Request) -> Asked {
    Asked {
        method: request.method,
        path: request.path,
        query: request.query,
        media: request.format.map(media),
        accept: request.accept.map(media),
        payload: request.payload,
    }
}

fn response(document: Document) -> Response {
    Response {
        code: Code(document.status.number()),
        format: document.media.map(format),
        payload: document.bytes,
    }
}

fn media(format: Format) -> Media {
    match format {
        Format::CBOR => Media::Cbor,
        Format::LINKS => Media::Links,
        Format::BYTES => Media::Bytes,
        _ => Media::Other,
    }
}

fn format(media: Media) -> Format {
    match media {
        Media::Cbor => Format::CBOR,
        Media::Links => Format::LINKS,
        Media::Bytes | Media::Other => Format::BYTES,
    }
}
