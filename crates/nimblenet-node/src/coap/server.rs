//! The server's side of the protocol, without a socket and without a clock.
//!
//! [`Server::handle`] takes datagrams and [`Server::handle_timeout`] the time.
//! [`Server::poll_request`] returns whole requests, each exactly once however often its datagrams
//! arrive, and [`Server::respond`] takes the answer, now or later. If
//! [`Server::respond_observed`] takes the answer, [`Server::notify`] may tell the client of changes
//! afterwards. [`Server::poll_transmit`] returns the datagrams to send.

mod exchange;
mod group;
mod observe;
mod proof;
mod refusal;
mod transfer;

use alloc::collections::{BTreeMap, VecDeque};
use core::net::{IpAddr, Ipv6Addr};

use nimblenet_core::Instant;
use nimblenet_tasklet::Digest;

use super::block::Block;
use super::message::{
    Code, Extra, Header, Incoming, Kind, Method, Observe, Parsed, Request, Response, empty,
    write_response,
};
use super::{Ends, Timers};
use crate::random::Random;
use exchange::{Exchanges, MessageKey, Seen};
use observe::{Observer, Observers};
use proof::{FACTOR, Proofs};
use refusal::refusal;
use transfer::{Download, Downloads, Key, Part, Uploads};

/// Names a request until it is answered, and afterwards the observation that it has begun.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(u64);

/// How much a server may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerLimits {
    /// Requests being worked on; more are answered by 5.03.
    pub requests: usize,
    /// Messages remembered to recognise their repetitions, besides those being worked on.
    pub exchanges: usize,
    /// Bytes of the answers remembered with them.
    pub exchange_bytes: usize,
    /// Bytes of bodies that come in block by block; more are answered by 5.03.
    pub upload_bytes: usize,
    /// Bytes of results that go out block by block; while there are more, every request that does
    /// more than read is answered by 5.03 and not run.
    pub result_bytes: usize,
    /// Bytes of answers to reading that go out block by block; beyond that the server reads again
    /// for each block.
    pub read_bytes: usize,
    /// Bytes of one body.
    pub body_bytes: usize,
    /// Separate responses that wait for their acknowledgement.
    pub confirmables: usize,
    /// Clients that hear of changes; further clients get one answer each.
    pub observers: usize,
}

impl ServerLimits {
    /// For a Linux node.
    pub const DEFAULT: Self = Self {
        requests: 256,
        exchanges: 16_384,
        exchange_bytes: 8 << 20,
        upload_bytes: 32 << 20,
        result_bytes: 32 << 20,
        read_bytes: 8 << 20,
        body_bytes: 2 << 20,
        confirmables: 256,
        observers: 256,
    };
}

/// The counters of a server since its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ServerCounters {
    /// Requests given to the daemon.
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
    observers: Observers,
    pending: BTreeMap<RequestId, Pending>,
    requests: VecDeque<(RequestId, Request)>,
    outgoing: VecDeque<(Ends, Vec<u8>)>,
    /// Answers to a group's requests.
    delayed: Vec<(Instant, Ends, Vec<u8>)>,
    confirmables: Vec<Confirmable>,
    proofs: Proofs,
    next_request: u64,
    next_message: u16,
    random: Random,
    counters: ServerCounters,
}

/// A request being worked on.
#[derive(Debug)]
struct Pending {
    ends: Ends,
    header: Header,
    /// Bytes of the request's last message, if its sender has not proved its address.
    unproved: Option<usize>,
    key: Key,
    block1: Option<Block>,
    block2: Option<Block>,
    observe: Option<Observe>,
    /// When to acknowledge it, so that its answer comes separately; none if that is done or not
    /// needed.
    acknowledge_at: Option<Instant>,
    acknowledged: bool,
}

/// Bytes of an answer in blocks besides its token and payload.
const BESIDE_PAYLOAD: usize = 20;

impl Pending {
    fn message(&self) -> MessageKey {
        message(&self.ends, &self.header)
    }

    /// Whether an answer has more bytes than one to an address that has proved nothing may have.
    fn is_beyond(&self, bytes: usize) -> bool {
        self.unproved.is_some_and(|asked| bytes > FACTOR * asked)
    }

    /// How often an answer of so many bytes may be sent.
    fn most_times(&self, bytes: usize, most: u32) -> u32 {
        let times = self.unproved.map(|asked| FACTOR * asked / bytes.max(1));
        times.map_or(most, |times| most.min(times as u32).max(1))
    }

    /// Has the result of what has run, which cannot be asked for again, go out in small blocks if its
    /// client has not proved its address.
    fn narrow(&mut self, response: &Response) {
        let Some(asked) = self.unproved.filter(|_| !self.key.is_read()) else {
            return;
        };
        let beside = BESIDE_PAYLOAD + self.header.token.len();
        let room = (FACTOR * asked).saturating_sub(beside);
        let wanted = self.block2.unwrap_or(Block::FIRST);
        if wanted.number == 0 && response.payload.len() > room {
            self.block2 = Some(wanted.at_most(room));
        }
    }
}

/// A separate response or a notification on its way.
#[derive(Debug)]
struct Confirmable {
    ends: Ends,
    id: u16,
    bytes: Vec<u8>,
    retransmit_at: Instant,
    sent: u32,
    /// How often it is sent at most.
    most: u32,
    /// The observation that it belongs to.
    observer: Option<RequestId>,
}

fn message(ends: &Ends, header: &Header) -> MessageKey {
    MessageKey {
        ends: *ends,
        id: header.id,
        token: header.token.clone(),
    }
}

/// The peer that a limit is counted for: a machine, which in IPv6 may have a whole network of
/// addresses.
fn peer(ends: &Ends) -> IpAddr {
    match ends.remote.ip() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

impl Server {
    /// A server. `seed` makes message identifiers and delays differ between restarts.
    pub fn new(limits: ServerLimits, timers: Timers, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            proofs: Proofs::new(&mut random),
            limits,
            timers,
            exchanges: Exchanges::new(limits.exchanges, limits.exchange_bytes),
            uploads: Uploads::new(limits.upload_bytes, limits.body_bytes),
            downloads: Downloads::new(limits.result_bytes, limits.read_bytes),
            observers: Observers::new(limits.observers),
            pending: BTreeMap::new(),
            requests: VecDeque::new(),
            outgoing: VecDeque::new(),
            delayed: Vec::new(),
            confirmables: Vec::new(),
            next_request: 0,
            next_message: seed as u16,
            random,
            counters: ServerCounters::default(),
        }
    }

    /// The counters so far.
    pub fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// Whether no request waits for its answer, and no answer for its acknowledgement.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.confirmables.is_empty()
    }

    /// Takes a datagram.
    pub fn handle(&mut self, now: Instant, ends: Ends, bytes: &[u8]) {
        let incoming = Incoming::parse(bytes);
        if ends.is_multicast() {
            return self.handle_multicast(now, ends, incoming);
        }
        match incoming {
            Incoming::Noise => self.counters.malformed += 1,
            Incoming::Reject { id } => {
                self.counters.malformed += 1;
                self.send(ends, empty(id, true));
            }
            Incoming::Empty { id, reset } => self.settle(now, ends, id, reset),
            Incoming::Response(header, _) => {
                self.counters.malformed += 1;
                if header.kind == Kind::Confirmable {
                    self.send(ends, empty(header.id, true));
                }
            }
            Incoming::Request(header, parsed) => {
                if let Ok(parsed) = &parsed
                    && let Some(echo) = &parsed.request.echo
                {
                    self.proofs.take(now, &ends, echo);
                }
                let proved = self.proofs.has(now, &ends);
                let unproved = (!proved).then_some(bytes.len());
                self.handle_request(now, (ends, unproved), header, parsed);
            }
        }
    }

    /// The next request to serve.
    pub fn poll_request(&mut self) -> Option<(RequestId, Request)> {
        self.requests.pop_front()
    }

    /// A number for the machine that a request comes from, until it is answered: that of its address, which
    /// in IPv6 is a network.
    pub fn party(&self, id: RequestId) -> Option<u32> {
        let pending = self.pending.get(&id)?;
        let octets = match peer(&pending.ends) {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        let Digest(digest) = Digest::of(&octets);
        digest.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Answers a request.
    pub fn respond(&mut self, now: Instant, id: RequestId, response: &Response) {
        self.answer(now, id, response, false);
    }

    /// Answers a request for a resource that changes. Returns whether its client observes the
    /// resource; it does until [`is_observed`](Self::is_observed) is false.
    pub fn respond_observed(&mut self, now: Instant, id: RequestId, response: &Response) -> bool {
        self.answer(now, id, response, true);
        self.is_observed(id)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(Ends, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let acknowledge = self.pending.values().filter_map(|one| one.acknowledge_at);
        let retransmit = self.confirmables.iter().map(|sent| sent.retransmit_at);
        let delayed = self.delayed.iter().map(|(at, ..)| *at);
        acknowledge.chain(retransmit).chain(delayed).min()
    }

    /// Acknowledges requests that take long, repeats messages that nobody has acknowledged, and
    /// sends delayed answers.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut acknowledged = Vec::new();
        for pending in self.pending.values_mut() {
            if pending.acknowledge_at.is_some_and(|at| at <= now) {
                pending.acknowledge_at = None;
                pending.acknowledged = true;
                acknowledged.push((pending.ends, pending.message()));
            }
        }
        for (ends, message) in acknowledged {
            let bytes = empty(message.id, false);
            self.exchanges.acknowledge(&message, bytes.clone());
            self.send(ends, bytes);
        }
        for (_, ends, bytes) in self.delayed.extract_if(.., |(at, ..)| *at <= now) {
            self.outgoing.push_back((ends, bytes));
        }
        self.retransmit(now);
    }

    fn retransmit(&mut self, now: Instant) {
        let timers = self.timers;
        let (outgoing, observers) = (&mut self.outgoing, &mut self.observers);
        let given_up = &mut self.counters.given_up;
        self.confirmables.retain_mut(|sent| {
            if sent.retransmit_at > now {
                return true;
            }
            if sent.sent >= sent.most {
                *given_up += 1;
                sent.observer.map(|observer| observers.remove(observer));
                return false;
            }
            outgoing.push_back((sent.ends, sent.bytes.clone()));
            sent.retransmit_at = now + timers.ack_timeout * (1 << sent.sent.min(8));
            sent.sent += 1;
            true
        });
    }

    /// Takes an acknowledgement or a reset.
    fn settle(&mut self, now: Instant, ends: Ends, id: u16, reset: bool) {
        let is_it = |sent: &Confirmable| (sent.ends, sent.id) == (ends, id);
        let Some(at) = self.confirmables.iter().position(is_it) else {
            return;
        };
        let Some(observer) = self.confirmables.swap_remove(at).observer else {
            return;
        };
        if reset {
            self.observers.remove(observer);
        } else if let Some(held) = self.observers.get_mut(observer) {
            held.awaited = false;
            self.notify_next(now, observer);
        }
    }

    fn handle_request(
        &mut self,
        now: Instant,
        (ends, unproved): (Ends, Option<usize>),
        header: Header,
        parsed: Result<Parsed, Code>,
    ) {
        let repeated = match self.exchanges.see(now, &message(&ends, &header)) {
            Seen::New => None,
            Seen::Working(acknowledgement) => Some(acknowledgement),
            Seen::Answered(answer) => Some(Some(answer)),
        };
        if let Some(answer) = repeated {
            self.counters.repeated += 1;
            if let Some(bytes) = answer.filter(|_| header.kind == Kind::Confirmable) {
                self.send(ends, bytes);
            }
            return;
        }
        match parsed {
            Ok(parsed) => {
                let pending = Pending {
                    ends,
                    header,
                    unproved,
                    key: Key::new(ends, &parsed.request),
                    block1: parsed.block1,
                    block2: parsed.block2,
                    observe: parsed.request.observe,
                    acknowledge_at: None,
                    acknowledged: false,
                };
                self.assemble(now, pending, parsed.request);
            }
            Err(code) if header.kind == Kind::Confirmable => {
                let key = Key::new(ends, &Request::new(Method::Get, ""));
                let pending = Pending {
                    ends,
                    header,
                    unproved,
                    key,
                    block1: None,
                    block2: None,
                    observe: None,
                    acknowledge_at: None,
                    acknowledged: false,
                };
                self.refuse(now, &pending, code);
            }
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// Answers messages that need no work: blocks of a body before its last, and further blocks of
    /// an answer. Takes up a request whose body is whole.
    fn assemble(&mut self, now: Instant, mut pending: Pending, mut request: Request) {
        if let Some(block) = pending.block1 {
            let part = self
                .uploads
                .take(now, &pending.key, block, &request.payload);
            match part {
                // The body stays here until there is room for the request.
                Part::Last if !self.has_room(now, &pending) => {
                    return self.refuse(now, &pending, Code::UNAVAILABLE);
                }
                Part::Last => {
                    let key = &pending.key;
                    request.payload = self.uploads.finish(key, block, &request.payload);
                }
                Part::More => {
                    let go_on = Response::empty(Code::CONTINUE);
                    return self.reply(now, &pending, &go_on, &[], Extra::default());
                }
                Part::Refused(code) => {
                    pending.block1 = None;
                    return self.refuse(now, &pending, code);
                }
            }
        } else if let Some(wanted) = pending.block2.filter(|block| block.number > 0) {
            if let Some(download) = self.downloads.get(now, &pending.key) {
                return self.give_part(now, &pending, wanted, &download);
            }
            // To get the rest of an answer, the server may read again, but must not run anything
            // again.
            if request.method != Method::Get {
                return self.refuse(now, &pending, Code::INCOMPLETE);
            }
        }
        self.take(now, pending, request);
    }

    fn give_part(&mut self, now: Instant, pending: &Pending, wanted: Block, from: &Download) {
        let Some((part, block)) = wanted.of(&from.response.payload) else {
            return self.refuse(now, pending, Code::BAD_OPTION);
        };
        let extra = Extra {
            block2: Some(block),
            etag: Some(from.etag),
            ..Extra::default()
        };
        self.reply(now, pending, &from.response, part, extra);
        if !block.more {
            self.downloads.fetched(now, &pending.key);
        }
    }

    /// Whether there is room to take a request up.
    fn has_room(&mut self, now: Instant, pending: &Pending) -> bool {
        let reads = pending.key.is_read();
        self.pending.len() < self.limits.requests
            && (reads || self.downloads.has_room(now, &pending.ends))
    }

    /// Queues a whole request.
    fn take(&mut self, now: Instant, mut pending: Pending, request: Request) {
        if !self.has_room(now, &pending) {
            return self.refuse(now, &pending, Code::UNAVAILABLE);
        }
        // An observer is told again and again.
        if pending.unproved.is_some() && pending.observe == Some(Observe::Register) {
            return self.challenge(now, &pending);
        }
        if pending.header.kind == Kind::Confirmable {
            pending.acknowledge_at = Some(now + self.timers.processing);
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.counters.requests += 1;
        self.exchanges.begin(pending.message());
        self.pending.insert(id, pending);
        self.requests.push_back((id, request));
    }

    fn answer(&mut self, now: Instant, id: RequestId, response: &Response, observable: bool) {
        let Some(mut pending) = self.pending.remove(&id) else {
            return;
        };
        if pending.ends.is_multicast() {
            return self.answer_later(now, &pending, response);
        }
        pending.narrow(response);
        let mut extra = Extra::default();
        if pending.observe.is_some() {
            self.observers
                .remove_client(&pending.ends, &pending.header.token);
        }
        let registers = observable && pending.observe == Some(Observe::Register);
        if registers && response.code.is_success() {
            let observer = Observer {
                ends: pending.ends,
                token: pending.header.token.clone(),
                key: pending.key.clone(),
                wanted: pending.block2,
                awaited: false,
                next: None,
            };
            if self.observers.add(id, observer) {
                extra.observe = Some(self.observers.next_order());
            }
        }
        let key = &pending.key;
        match self.first_part(now, key, pending.block2, response, &mut extra) {
            Some(part) => self.reply(now, &pending, response, &response.payload[..part], extra),
            None => self.give_beyond(now, &pending, response),
        }
    }

    /// How many bytes of a response its first message has; the response is kept for its other
    /// blocks. Nothing if the client wants a later block.
    fn first_part(
        &mut self,
        now: Instant,
        key: &Key,
        wanted: Option<Block>,
        response: &Response,
        extra: &mut Extra,
    ) -> Option<usize> {
        let block = wanted.unwrap_or(Block::FIRST);
        if block.number > 0 {
            return None;
        }
        let (part, block) = block.of(&response.payload)?;
        if !block.more {
            // The response fits one message; a block option is answered by a block option.
            extra.block2 = wanted.map(|_| block);
            return Some(part.len());
        }
        let etag = etag(response);
        (extra.block2, extra.etag) = (Some(block), Some(etag));
        let response = response.clone();
        let download = Download { response, etag };
        self.downloads.insert(now, key.clone(), download);
        Some(part.len())
    }

    /// Answers a request for a later block of an answer that had to be read again.
    fn give_beyond(&mut self, now: Instant, pending: &Pending, response: &Response) {
        let wanted = pending.block2.unwrap_or(Block::FIRST);
        let (response, etag) = (response.clone(), etag(response));
        let download = Download { response, etag };
        self.give_part(now, pending, wanted, &download);
        self.downloads.insert(now, pending.key.clone(), download);
    }

    /// Has the client prove its address first: it repeats the request with the value (RFC 9175).
    fn challenge(&mut self, now: Instant, pending: &Pending) {
        let response = Response::empty(Code::UNAUTHORIZED);
        let extra = Extra {
            echo: Some(self.proofs.value(now, &pending.ends)),
            ..Extra::default()
        };
        self.reply(now, pending, &response, &[], extra);
    }

    fn refuse(&mut self, now: Instant, pending: &Pending, code: Code) {
        self.counters.refused += 1;
        let response = refusal(code);
        let payload = &response.payload;
        self.reply(now, pending, &response, payload, Extra::default());
    }

    /// Sends one message of a response: in the acknowledgement if the request still waits for
    /// it, else as a message of its own.
    fn reply(
        &mut self,
        now: Instant,
        pending: &Pending,
        response: &Response,
        payload: &[u8],
        extra: Extra,
    ) {
        let asked = &pending.header;
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
            self.message_id()
        };
        let token = asked.token.clone();
        let header = Header { id, kind, token };
        let extra = Extra {
            block1: pending.block1,
            ..extra
        };
        let mut bytes = write_response(&header, response, payload, extra);
        let is_challenge = extra.echo.is_some();
        if pending.is_beyond(bytes.len()) && !is_challenge {
            // What only reads can be asked again; what has run cannot.
            if pending.key.is_read() || pending.block2.is_some_and(|block| block.number > 0) {
                return self.challenge(now, pending);
            }
            bytes = write_response(&header, &Response::empty(response.code), &[], extra);
        }
        // Reading may run again, so it is not remembered, and nobody can fill the memory by it.
        if pending.key.is_read() {
            self.exchanges.drop(&pending.message());
        } else {
            let answer = match kind {
                Kind::Acknowledgement => bytes.clone(),
                Kind::Confirmable | Kind::Unconfirmed => Vec::new(),
            };
            self.exchanges.end(now, &pending.message(), answer);
        }
        match kind {
            Kind::Confirmable => {
                let most = pending.most_times(bytes.len(), self.timers.max_retransmit + 1);
                self.send_confirmable(now, (pending.ends, most), id, bytes, None);
            }
            Kind::Acknowledgement | Kind::Unconfirmed => self.send(pending.ends, bytes),
        }
    }

    fn message_id(&mut self) -> u16 {
        self.next_message = self.next_message.wrapping_add(1);
        self.next_message
    }

    fn send_confirmable(
        &mut self,
        now: Instant,
        (ends, most): (Ends, u32),
        id: u16,
        bytes: Vec<u8>,
        observer: Option<RequestId>,
    ) {
        self.confirmables.push(Confirmable {
            ends,
            id,
            bytes: bytes.clone(),
            retransmit_at: now + self.timers.ack_timeout,
            sent: 1,
            most,
            observer,
        });
        self.send(ends, bytes);
    }

    fn send(&mut self, ends: Ends, bytes: Vec<u8>) {
        self.outgoing.push_back((ends, bytes));
    }
}

fn etag(response: &Response) -> [u8; 4] {
    let Digest([a, b, c, d, ..]) = Digest::of(&response.payload);
    [a, b, c, d]
}

#[cfg(test)]
mod tests;
