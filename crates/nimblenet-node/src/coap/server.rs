//! The server's side of the protocol, without a socket and without a clock.
//!
//! [`Server::handle`] takes datagrams and [`Server::handle_timeout`] the time;
//! [`Server::poll_request`] gives whole requests out, each exactly once however often its
//! datagrams arrive, and [`Server::respond`] takes the answer, now or later.
//! [`Server::poll_transmit`] says what to send.

mod exchange;
mod transfer;

use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;

use nimblenet_core::Instant;
use nimblenet_tasklet::Digest;

use super::Timers;
use super::block::Block;
use super::message::{
    Code, Format, Header, Incoming, Kind, Parsed, Request, Response, empty, write_response,
};
use exchange::{Exchanges, Seen};
use transfer::{Downloads, Key, Part, Uploads};

/// Names a request until it is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(u64);

/// What a server may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerLimits {
    /// Requests being worked on; more are answered by 5.03.
    pub requests: usize,
    /// Messages remembered to recognise their repetitions.
    pub exchanges: usize,
    /// Bytes of the answers remembered with them.
    pub exchange_bytes: usize,
    /// Bodies that come in block by block.
    pub uploads: usize,
    /// Bodies that go out block by block.
    pub downloads: usize,
    /// Bytes of one body.
    pub body_bytes: usize,
    /// Separate responses that wait for their acknowledgement.
    pub confirmables: usize,
}

impl ServerLimits {
    /// For a Linux node.
    pub const DEFAULT: Self = Self {
        requests: 256,
        exchanges: 4096,
        exchange_bytes: 4 << 20,
        uploads: 32,
        downloads: 32,
        body_bytes: 2 << 20,
        confirmables: 256,
    };
}

/// What a server has met since it started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ServerCounters {
    /// Requests given out.
    pub requests: u64,
    /// Messages recognised as repetitions.
    pub repeated: u64,
    /// Messages answered by a reset, or ignored.
    pub malformed: u64,
    /// Requests refused because a limit was reached.
    pub refused: u64,
    /// Separate responses that nobody acknowledged.
    pub given_up: u64,
}

/// A CoAP server.
#[derive(Debug)]
pub struct Server {
    limits: ServerLimits,
    timers: Timers,
    exchanges: Exchanges,
    uploads: Uploads,
    downloads: Downloads,
    pending: BTreeMap<RequestId, Pending>,
    requests: VecDeque<(RequestId, Request)>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    confirmables: Vec<Confirmable>,
    next_request: u64,
    next_message: u16,
    counters: ServerCounters,
}

/// A request being worked on.
#[derive(Debug)]
struct Pending {
    peer: SocketAddr,
    header: Header,
    key: Key,
    block1: Option<Block>,
    block2: Option<Block>,
    /// When to acknowledge it and answer separately; nothing once that is done or not needed.
    acknowledge_at: Option<Instant>,
    acknowledged: bool,
}

/// A separate response on its way.
#[derive(Debug)]
struct Confirmable {
    peer: SocketAddr,
    id: u16,
    bytes: Vec<u8>,
    retransmit_at: Instant,
    sent: u32,
}

impl Server {
    /// A server. `seed` makes message identifiers differ between restarts.
    pub fn new(limits: ServerLimits, timers: Timers, seed: u64) -> Self {
        Self {
            limits,
            timers,
            exchanges: Exchanges::new(limits.exchanges, limits.exchange_bytes),
            uploads: Uploads::new(limits.uploads, limits.body_bytes),
            downloads: Downloads::new(limits.downloads),
            pending: BTreeMap::new(),
            requests: VecDeque::new(),
            outgoing: VecDeque::new(),
            confirmables: Vec::new(),
            next_request: 0,
            next_message: seed as u16,
            counters: ServerCounters::default(),
        }
    }

    /// What was met so far.
    pub fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// Whether no request waits for its answer, and no answer for its acknowledgement.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.confirmables.is_empty()
    }

    /// Takes a datagram from `peer`.
    pub fn handle(&mut self, now: Instant, peer: SocketAddr, bytes: &[u8]) {
        match Incoming::parse(bytes) {
            Incoming::Noise => self.counters.malformed += 1,
            Incoming::Reject { id } => {
                self.counters.malformed += 1;
                self.send(peer, empty(id, true));
            }
            Incoming::Empty { id, .. } => self
                .confirmables
                .retain(|sent| (sent.peer, sent.id) != (peer, id)),
            Incoming::Response(header, _) => {
                self.counters.malformed += 1;
                if header.kind == Kind::Confirmable {
                    self.send(peer, empty(header.id, true));
                }
            }
            Incoming::Request(header, parsed) => self.handle_request(now, peer, header, parsed),
        }
    }

    /// The next request to serve.
    pub fn poll_request(&mut self) -> Option<(RequestId, Request)> {
        self.requests.pop_front()
    }

    /// Answers a request.
    pub fn respond(&mut self, now: Instant, id: RequestId, response: &Response) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        let wanted = pending.block2.unwrap_or(Block::FIRST);
        if response.payload.len() <= wanted.size() && wanted.number == 0 {
            // It fits one message; an explicit block option is answered by one.
            let block2 = pending.block2.map(|block| Block {
                more: false,
                ..block
            });
            self.reply(now, &pending, response, &response.payload, block2, None);
            return;
        }
        let Digest([a, b, c, d, ..]) = Digest::of(&response.payload);
        let etag = [a, b, c, d];
        if let Some((part, block)) = wanted.of(&response.payload) {
            self.reply(now, &pending, response, part, Some(block), Some(etag));
            self.downloads
                .insert(now, pending.key, response.clone(), etag);
        } else {
            let beyond = Response::empty(Code::BAD_OPTION);
            self.reply(now, &pending, &beyond, &[], None, None);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let acknowledge = self.pending.values().filter_map(|one| one.acknowledge_at);
        let retransmit = self.confirmables.iter().map(|sent| sent.retransmit_at);
        acknowledge.chain(retransmit).min()
    }

    /// Acknowledges what takes long and repeats what was not acknowledged.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut acknowledged = Vec::new();
        for pending in self.pending.values_mut() {
            if pending.acknowledge_at.is_some_and(|at| at <= now) {
                pending.acknowledge_at = None;
                pending.acknowledged = true;
                acknowledged.push((pending.peer, pending.header.id));
            }
        }
        for (peer, id) in acknowledged {
            let bytes = empty(id, false);
            self.exchanges.answered((peer, id), bytes.clone());
            self.send(peer, bytes);
        }
        let timers = self.timers;
        let (outgoing, given_up) = (&mut self.outgoing, &mut self.counters.given_up);
        self.confirmables.retain_mut(|sent| {
            if sent.retransmit_at > now {
                return true;
            }
            if sent.sent > timers.max_retransmit {
                *given_up += 1;
                return false;
            }
            outgoing.push_back((sent.peer, sent.bytes.clone()));
            sent.retransmit_at = now + timers.ack_timeout * (1 << sent.sent.min(8));
            sent.sent += 1;
            true
        });
    }

    fn handle_request(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        header: Header,
        parsed: Result<Parsed, Code>,
    ) {
        match self.exchanges.see(now, (peer, header.id)) {
            Seen::New => {}
            Seen::Working => {
                self.counters.repeated += 1;
                return;
            }
            Seen::Answered(bytes) => {
                self.counters.repeated += 1;
                if header.kind == Kind::Confirmable {
                    self.send(peer, bytes);
                }
                return;
            }
        }
        let mut pending = Pending {
            peer,
            header,
            key: Key::default(),
            block1: None,
            block2: None,
            acknowledge_at: None,
            acknowledged: false,
        };
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(code) => {
                if pending.header.kind == Kind::Confirmable {
                    self.reply_code(now, &pending, code);
                }
                return;
            }
        };
        pending.key = Key::new(peer, &parsed.request);
        (pending.block1, pending.block2) = (parsed.block1, parsed.block2);
        if let Some(request) = self.assemble(now, &mut pending, parsed.request) {
            self.take(now, pending, request);
        }
    }

    /// Serves what needs no work: further blocks of a body, in either direction. Gives back a
    /// request whose body is whole.
    fn assemble(
        &mut self,
        now: Instant,
        pending: &mut Pending,
        mut request: Request,
    ) -> Option<Request> {
        if let Some(block) = pending.block1 {
            let part = self
                .uploads
                .take(now, &pending.key, block, &request.payload);
            match part {
                Part::Whole(body) => request.payload = body,
                Part::More => {
                    self.reply_code(now, pending, Code::CONTINUE);
                    return None;
                }
                Part::Refused(code) => {
                    self.counters.refused += 1;
                    pending.block1 = None;
                    self.reply_code(now, pending, code);
                    return None;
                }
            }
        } else if let Some(wanted) = pending.block2.filter(|block| block.number > 0) {
            if let Some((response, etag)) = self.downloads.get(now, &pending.key) {
                if let Some((part, block)) = wanted.of(&response.payload) {
                    self.reply(now, pending, &response, part, Some(block), Some(etag));
                } else {
                    self.reply_code(now, pending, Code::BAD_OPTION);
                }
                return None;
            }
            // Running something again to get at the rest of its answer would be wrong; reading
            // again is fine.
            if request.method != super::Method::Get {
                self.reply_code(now, pending, Code::INCOMPLETE);
                return None;
            }
        }
        Some(request)
    }

    /// Queues a whole request.
    fn take(&mut self, now: Instant, mut pending: Pending, request: Request) {
        if self.pending.len() >= self.limits.requests {
            self.counters.refused += 1;
            self.reply_code(now, &pending, Code::UNAVAILABLE);
            return;
        }
        if pending.header.kind == Kind::Confirmable {
            pending.acknowledge_at = Some(now + self.timers.processing);
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.counters.requests += 1;
        self.pending.insert(id, pending);
        self.requests.push_back((id, request));
    }

    fn reply_code(&mut self, now: Instant, pending: &Pending, code: Code) {
        let response = match code {
            Code::CONTINUE => Response::empty(code),
            _ => Response::new(code, Format::TEXT, Vec::new()),
        };
        self.reply(now, pending, &response, &[], None, None);
    }

    /// Sends one message of a response: in the acknowledgement if the request still waits for
    /// it, else as a message of its own.
    fn reply(
        &mut self,
        now: Instant,
        pending: &Pending,
        response: &Response,
        payload: &[u8],
        block2: Option<Block>,
        etag: Option<[u8; 4]>,
    ) {
        let Pending {
            peer,
            header: asked,
            block1,
            ..
        } = pending;
        let kind = match asked.kind {
            Kind::Confirmable if !pending.acknowledged => Kind::Acknowledgement,
            Kind::Confirmable if self.confirmables.len() < self.limits.confirmables => {
                Kind::Confirmable
            }
            Kind::Confirmable | Kind::Unconfirmed | Kind::Acknowledgement => Kind::Unconfirmed,
        };
        let id = if kind == Kind::Acknowledgement {
            asked.id
        } else {
            self.next_message = self.next_message.wrapping_add(1);
            self.next_message
        };
        let token = asked.token.clone();
        let header = Header { id, kind, token };
        let bytes = write_response(&header, response, payload, *block1, block2, etag);
        match kind {
            Kind::Acknowledgement => self.exchanges.answered((*peer, asked.id), bytes.clone()),
            Kind::Confirmable => self.confirmables.push(Confirmable {
                peer: *peer,
                id,
                bytes: bytes.clone(),
                retransmit_at: now + self.timers.ack_timeout,
                sent: 1,
            }),
            Kind::Unconfirmed => {}
        }
        self.send(*peer, bytes);
    }

    fn send(&mut self, peer: SocketAddr, bytes: Vec<u8>) {
        self.outgoing.push_back((peer, bytes));
    }
}

#[cfg(test)]
mod tests;
