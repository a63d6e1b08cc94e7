//! The daemon's interface over CoAP: messages become requests, and replies become messages.
//!
//! It is a task of its own beside the daemon's loop, with its own socket.

use core::future::pending;
use core::net::SocketAddr;
use std::io;

use nimblenet_core::Instant;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::{
    Code, Format, Request, RequestId, Response, Server, ServerCounters, ServerLimits, Timers,
};
use crate::clock::Clock;
use crate::daemon::Requests;
use crate::daemon::api::{Answer, Asked, Document, Media, Reply};

/// No datagram is longer.
const MAX_DATAGRAM_BYTES: usize = 65_536;

/// How an endpoint stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EndpointState {
    /// Whether no request waits for its answer, and no answer for its acknowledgement.
    pub(crate) idle: bool,
    /// What the server has met.
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

/// A CoAP server on a socket, whose requests the daemon answers.
#[derive(Debug)]
pub(crate) struct Endpoint {
    socket: UdpSocket,
    /// The same socket, for sending without waiting.
    sender: std::net::UdpSocket,
    server: Server,
    clock: Clock,
    requests: Requests,
    /// Where answers bring their replies, and where those come out.
    replying: UnboundedSender<(RequestId, Reply)>,
    replies: UnboundedReceiver<(RequestId, Reply)>,
    state: watch::Sender<EndpointState>,
}

impl Endpoint {
    /// An endpoint that gives what it is asked to `requests`. Must be called within a runtime.
    /// `seed` makes identifiers of messages differ between restarts.
    ///
    /// # Errors
    /// If the system has no more files to give.
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        clock: Clock,
        seed: u64,
        requests: Requests,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (replying, replies) = unbounded_channel();
        Ok(Self {
            sender: socket.try_clone()?,
            socket: UdpSocket::from_std(socket)?,
            server: Server::new(ServerLimits::DEFAULT, Timers::STANDARD, seed),
            clock,
            requests,
            replying,
            replies,
            state: watch::Sender::default(),
        })
    }

    /// How it stands, from now on.
    pub(crate) fn state(&self) -> watch::Receiver<EndpointState> {
        self.state.subscribe()
    }

    /// Serves for ever.
    pub(crate) async fn run(mut self) {
        let mut datagram = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            self.settle();
            tokio::select! {
                received = self.socket.recv_from(&mut datagram) => match received {
                    Ok((len, from)) => self.server.handle(self.clock.now(), from, &datagram[..len]),
                    Err(error) => tracing::debug!(%error, "CoAP socket"),
                },
                Some((id, reply)) = self.replies.recv() => {
                    let response = response(reply.document());
                    self.server.respond(self.clock.now(), id, &response);
                }
                () = until(&self.clock, self.server.poll_timeout()) => {
                    self.server.handle_timeout(self.clock.now());
                }
            }
        }
    }

    /// Brings everything that the last input has led to where it belongs.
    fn settle(&mut self) {
        while let Some((id, request)) = self.server.poll_request() {
            match asked(request).read() {
                Ok(request) => {
                    let replying = self.replying.clone();
                    let answer = Answer::new(move |reply| drop(replying.send((id, reply))));
                    self.requests.give(request, answer);
                }
                Err(refused) => {
                    let response = response(Reply::from(refused).document());
                    self.server.respond(self.clock.now(), id, &response);
                }
            }
        }
        while let Some((to, bytes)) = self.server.poll_transmit() {
            self.send(to, &bytes);
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

    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.sender.send_to(bytes, to) {
            tracing::debug!(%error, %to, "a CoAP message was not sent");
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
