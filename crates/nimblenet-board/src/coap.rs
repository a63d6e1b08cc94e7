//! A CoAP server (RFC 7252) that calls tasklets: fixed tables, no allocation, no socket, no clock.
//!
//! | resource | method | payload | answer |
//! |---|---|---|---|
//! | `/t/NS/NAME`, `?x=EXPORT` | POST | CBOR array of arguments; nothing for none | 2.05 and the CBOR array of results |
//! | `/status` | GET | | CBOR map of counters |
//! | `/.well-known/core` | GET | | links |
//!
//! The answer to a failure is that of a Linux node: a CBOR map of `code` and `message`. What does
//! not fit one datagram is refused: there is no block-wise transfer, and no Observe.
//!
//! The driver gives each datagram to [`Endpoint::handle`]. If that returns a [`CallRequest`], the
//! driver gives it to its node; when the call ends, or is refused, [`Endpoint::finish`] returns the
//! answer to send. When the time of [`Endpoint::poll_timeout`] has come,
//! [`Endpoint::handle_timeout`] acknowledges requests that take long, and repeats answers that
//! nobody has acknowledged.

mod message;

use core::time::Duration;

use coap_numbers::code;
use minicbor::Encoder;
use minicbor::encode::write::Cursor;
use nimblenet_core::{CallRequest, ClientId, Instant, Priority};
use nimblenet_tasklet::api::{Problem, Status, failure, segment};
use nimblenet_tasklet::{Fault, TaskletName, Trap};

use message::{Bytes, Header, Incoming, Kind, Request};

/// The longest datagram that is sent; a request may be longer.
pub const MAX_MESSAGE_BYTES: usize = 512;
/// How many calls the endpoint remembers: all that run, and the newest of those that ended, so that
/// a repeated request gets the same answer.
pub const MAX_EXCHANGES: usize = 8;

/// A confirmable request that takes longer is acknowledged, and answered separately.
const PROCESSING: Duration = Duration::from_secs(1);
/// The time until a separate answer is repeated for the first time; it doubles with each repetition
/// (section 4.8, which asks for a random time between 2 and 3 seconds; this is the middle).
const ACK_TIMEOUT: Duration = Duration::from_millis(2500);
const MAX_RETRANSMIT: u8 = 4;
/// After this time a peer may use a message's identifier again (section 4.8.2, EXCHANGE_LIFETIME).
const LIFETIME: Duration = Duration::from_secs(247);

const LINK_FORMAT: u16 = 40;
const CBOR: u16 = 60;
const LINKS: &[u8] = b"</status>;ct=60";
/// An empty array: the arguments of a request without payload.
const NO_ARGUMENTS: &[u8] = &[0x80];

/// Names a call until it is finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId(u32);

/// What to do about a datagram.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reaction<'a> {
    /// Nothing.
    Ignore,
    /// Send this back to the peer.
    Reply(&'a [u8]),
    /// Make a call; [`Endpoint::finish`] takes its result.
    Call(RequestId, CallRequest<'a>),
}

/// A datagram to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit<'a, P> {
    /// The peer to send it to.
    pub to: P,
    /// The datagram.
    pub bytes: &'a [u8],
}

/// The counters of an endpoint since its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Calls given to the driver.
    pub calls: u32,
    /// Repeated requests for a call.
    pub repeated: u32,
    /// Messages answered by a reset, or ignored.
    pub malformed: u32,
    /// Calls refused because too many run.
    pub refused: u32,
    /// Separate answers that nobody acknowledged.
    pub given_up: u32,
}

/// A server. `P` identifies its peers, for example by address and port.
#[derive(Debug)]
pub struct Endpoint<P> {
    exchanges: heapless::Vec<Exchange<P>, MAX_EXCHANGES>,
    /// The last reply that is not remembered with an exchange.
    reply: Bytes,
    next_request: u32,
    next_message: u16,
    counters: Counters,
}

/// A request that asked for a call.
#[derive(Debug)]
struct Exchange<P> {
    peer: P,
    header: Header,
    since: Instant,
    stage: Stage,
    /// The answer, once there is one.
    answer: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The call runs. The request must be acknowledged at the given time, if it is not
    /// acknowledged yet and is confirmable.
    Working {
        request: RequestId,
        acknowledge_at: Option<Instant>,
    },
    /// The answer was sent with the acknowledgement.
    Answered,
    /// The answer was sent as a message of its own, `sent` times so far.
    Separate {
        id: u16,
        repeat_at: Instant,
        sent: u8,
    },
    /// The answer was sent as a message of its own, and is not sent again.
    Settled,
}

impl Stage {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Working { acknowledge_at, .. } => acknowledge_at,
            Self::Separate { repeat_at, .. } => Some(repeat_at),
            Self::Answered | Self::Settled => None,
        }
    }

    /// The order in which exchanges make room for another call, lowest first; none for those that
    /// must stay.
    fn dispensable(self) -> Option<u8> {
        match self {
            Self::Answered | Self::Settled => Some(0),
            Self::Separate { .. } => Some(1),
            Self::Working { .. } => None,
        }
    }
}

impl<P: Copy + PartialEq> Endpoint<P> {
    /// An endpoint. `seed` makes identifiers of messages differ between restarts.
    #[must_use]
    pub const fn new(seed: u16) -> Self {
        Self {
            exchanges: heapless::Vec::new(),
            reply: Bytes::new(),
            next_request: 0,
            next_message: seed,
            counters: Counters {
                calls: 0,
                repeated: 0,
                malformed: 0,
                refused: 0,
                given_up: 0,
            },
        }
    }

    /// The counters so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes a datagram. `numbers` is the content of `/status`.
    pub fn handle<'a>(
        &'a mut self,
        now: Instant,
        peer: P,
        datagram: &'a [u8],
        numbers: &[(&str, u64)],
    ) -> Reaction<'a> {
        match Incoming::parse(datagram) {
            Incoming::Noise => {
                self.counters.malformed += 1;
                Reaction::Ignore
            }
            Incoming::Reject { id } => {
                self.counters.malformed += 1;
                self.reply(message::empty(Kind::Reset, id))
            }
            Incoming::Settled { id } => {
                self.settle(peer, id);
                Reaction::Ignore
            }
            Incoming::Request(header, request) => {
                self.forget(now);
                let known = |held: &Exchange<P>| held.peer == peer && held.header.id == header.id;
                if let Some(at) = self.exchanges.iter().position(known) {
                    return self.repeat(at);
                }
                match request.map(|request| route(&request)) {
                    Ok(Ok(Route::Call(call))) => self.call(now, peer, header, call),
                    Ok(Ok(Route::Links)) => self.answer(&header, code::CONTENT, LINK_FORMAT, LINKS),
                    Ok(Ok(Route::Status)) => self.status(&header, numbers),
                    Ok(Err(refusal)) => self.refuse(&header, refusal),
                    // An unconfirmed request with options that are not understood is dropped
                    // (section 5.4.1).
                    Err(_) if header.kind == Kind::Unconfirmed => {
                        self.counters.malformed += 1;
                        Reaction::Ignore
                    }
                    Err(code) => self.refuse(&header, Refusal::option(code)),
                }
            }
        }
    }

    /// Ends a call with the CBOR array of its results, or with its fault, and returns the answer;
    /// nothing for a call that the endpoint does not know, or does not wait for.
    pub fn finish(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<&[u8], Fault>,
        trap: Option<Trap>,
    ) -> Option<Transmit<'_, P>> {
        let asked = |held: &Exchange<P>| matches!(held.stage, Stage::Working { request, .. } if request == id);
        let at = self.exchanges.iter().position(asked)?;
        let mut header = self.exchanges[at].header.clone();
        let unacknowledged = self.exchanges[at].stage.deadline().is_some();
        let stage = match header.kind {
            Kind::Confirmable if unacknowledged => {
                header.kind = Kind::Acknowledgement;
                Stage::Answered
            }
            Kind::Confirmable => {
                header.id = self.message();
                Stage::Separate {
                    id: header.id,
                    repeat_at: now + ACK_TIMEOUT,
                    sent: 1,
                }
            }
            Kind::Unconfirmed | Kind::Acknowledgement | Kind::Reset => {
                header.id = self.message();
                Stage::Settled
            }
        };
        let answer = match result {
            Ok(result) => message::response(&header, code::CONTENT, CBOR, result)
                .unwrap_or_else(|| Refusal::fault(Fault::ValuesTooLarge, None).write(&header)),
            Err(fault) => Refusal::fault(fault, trap).write(&header),
        };
        let exchange = &mut self.exchanges[at];
        exchange.stage = stage;
        exchange.answer = answer;
        Some(Transmit {
            to: exchange.peer,
            bytes: &exchange.answer,
        })
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stages = self.exchanges.iter().map(|held| held.stage);
        stages.filter_map(Stage::deadline).min()
    }

    /// The next datagram that is due. Call it until it returns none.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Transmit<'_, P>> {
        loop {
            let due = |held: &Exchange<P>| held.stage.deadline().is_some_and(|at| at <= now);
            let at = self.exchanges.iter().position(due)?;
            let exchange = &mut self.exchanges[at];
            match &mut exchange.stage {
                Stage::Working { acknowledge_at, .. } => {
                    *acknowledge_at = None;
                    self.reply = message::empty(Kind::Acknowledgement, exchange.header.id);
                    let to = exchange.peer;
                    let bytes = &self.reply;
                    return Some(Transmit { to, bytes });
                }
                Stage::Separate {
                    repeat_at, sent, ..
                } if *sent <= MAX_RETRANSMIT => {
                    *repeat_at = now + ACK_TIMEOUT * (1 << *sent);
                    *sent += 1;
                    let exchange = &self.exchanges[at];
                    return Some(Transmit {
                        to: exchange.peer,
                        bytes: &exchange.answer,
                    });
                }
                Stage::Separate { .. } => {
                    exchange.stage = Stage::Settled;
                    self.counters.given_up += 1;
                }
                Stage::Answered | Stage::Settled => unreachable!("they have no deadline"),
            }
        }
    }

    /// Forgets exchanges whose identifiers their peers may use again.
    fn forget(&mut self, now: Instant) {
        self.exchanges
            .retain(|held| held.stage.dispensable().is_none() || now.since(held.since) < LIFETIME);
    }

    fn settle(&mut self, peer: P, message: u16) {
        for held in &mut self.exchanges {
            if held.peer == peer
                && matches!(held.stage, Stage::Separate { id, .. } if id == message)
            {
                held.stage = Stage::Settled;
            }
        }
    }

    /// The reaction to a repeated request.
    fn repeat(&mut self, at: usize) -> Reaction<'_> {
        self.counters.repeated += 1;
        let held = &mut self.exchanges[at];
        if held.header.kind != Kind::Confirmable {
            return Reaction::Ignore;
        }
        match &mut held.stage {
            Stage::Answered => return Reaction::Reply(&self.exchanges[at].answer),
            // Acknowledge at once, so that the client does not repeat it again.
            Stage::Working { acknowledge_at, .. } => *acknowledge_at = None,
            Stage::Separate { .. } | Stage::Settled => {}
        }
        let id = held.header.id;
        self.reply(message::empty(Kind::Acknowledgement, id))
    }

    fn call<'a>(
        &'a mut self,
        now: Instant,
        peer: P,
        header: Header,
        call: CallRequest<'a>,
    ) -> Reaction<'a> {
        if !self.make_room() {
            self.counters.refused += 1;
            return self.refuse(&header, Refusal::fault(Fault::Busy, None));
        }
        let request = RequestId(self.next_request);
        self.next_request = self.next_request.wrapping_add(1);
        self.counters.calls += 1;
        let confirmable = header.kind == Kind::Confirmable;
        let exchange = Exchange {
            peer,
            header,
            since: now,
            stage: Stage::Working {
                request,
                acknowledge_at: confirmable.then_some(now + PROCESSING),
            },
            answer: Bytes::new(),
        };
        let pushed = self.exchanges.push(exchange);
        debug_assert!(pushed.is_ok(), "room was made");
        Reaction::Call(request, call)
    }

    /// If the table is full, forgets an exchange, dispensable ones first, and the oldest of them;
    /// false if all must stay.
    fn make_room(&mut self) -> bool {
        if !self.exchanges.is_full() {
            return true;
        }
        let held = self.exchanges.iter().enumerate();
        let oldest = held
            .filter_map(|(at, held)| Some((held.stage.dispensable()?, held.since, at)))
            .min();
        let Some((_, _, at)) = oldest else {
            return false;
        };
        self.exchanges.swap_remove(at);
        true
    }

    fn status(&mut self, header: &Header, numbers: &[(&str, u64)]) -> Reaction<'_> {
        let mut payload = [0; MAX_MESSAGE_BYTES];
        let mut out = Encoder::new(Cursor::new(&mut payload[..]));
        let written = out.map(numbers.len() as u64).and_then(|out| {
            numbers
                .iter()
                .try_for_each(|(name, number)| out.str(name)?.u64(*number).map(|_| ()))
        });
        let len = out.writer().position();
        if written.is_err() {
            return self.refuse(header, Refusal::fault(Fault::ValuesTooLarge, None));
        }
        self.answer(header, code::CONTENT, CBOR, &payload[..len])
    }

    fn answer(&mut self, header: &Header, code: u8, format: u16, payload: &[u8]) -> Reaction<'_> {
        let header = self.answering(header);
        let refusal = || Refusal::fault(Fault::ValuesTooLarge, None).write(&header);
        let bytes = message::response(&header, code, format, payload).unwrap_or_else(refusal);
        self.reply(bytes)
    }

    fn refuse(&mut self, header: &Header, refusal: Refusal) -> Reaction<'_> {
        let header = self.answering(header);
        self.reply(refusal.write(&header))
    }

    /// The header of an answer that goes out at once.
    fn answering(&mut self, asked: &Header) -> Header {
        let mut header = asked.clone();
        if header.kind == Kind::Confirmable {
            header.kind = Kind::Acknowledgement;
        } else {
            header.id = self.message();
        }
        header
    }

    /// The identifier of the endpoint's next message.
    fn message(&mut self) -> u16 {
        self.next_message = self.next_message.wrapping_add(1);
        self.next_message
    }

    fn reply(&mut self, bytes: Bytes) -> Reaction<'_> {
        self.reply = bytes;
        Reaction::Reply(&self.reply)
    }
}

/// What a request asks for.
enum Route<'d> {
    Links,
    Status,
    Call(CallRequest<'d>),
}

fn route<'d>(request: &Request<'d>) -> Result<Route<'d>, Refusal> {
    let (method, accept) = (request.method, request.accept);
    let accepts = |format| accept.is_none_or(|accept| accept == format);
    match (&request.path[..], method) {
        ([segment::WELL_KNOWN, segment::CORE], code::GET) if accepts(LINK_FORMAT) => {
            Ok(Route::Links)
        }
        ([segment::STATUS], code::GET) if accepts(CBOR) => Ok(Route::Status),
        ([segment::TASKLETS, namespace, name], code::POST) if accepts(CBOR) => {
            call(namespace, name, request)
        }
        ([segment::WELL_KNOWN, segment::CORE] | [segment::STATUS], code::GET)
        | ([segment::TASKLETS, _, _], code::POST) => Err(Refusal::NOT_ACCEPTABLE),
        (
            [segment::WELL_KNOWN, segment::CORE] | [segment::STATUS] | [segment::TASKLETS, _, _],
            _,
        ) => Err(Refusal::WRONG_METHOD),
        _ => Err(Refusal::UNKNOWN_RESOURCE),
    }
}

fn call<'d>(namespace: &str, name: &str, request: &Request<'d>) -> Result<Route<'d>, Refusal> {
    if request.format.is_some_and(|format| format != CBOR) {
        return Err(Refusal::WRONG_FORMAT);
    }
    if request.other_queries {
        return Err(Refusal::UNKNOWN_QUERY);
    }
    let names = (namespace.parse(), name.parse());
    let (Ok(namespace), Ok(name)) = names else {
        return Err(Refusal::BAD_NAME);
    };
    Ok(Route::Call(CallRequest {
        name: TaskletName { namespace, name },
        export: request.export.unwrap_or(""),
        args: match request.payload {
            [] => NO_ARGUMENTS,
            args => args,
        },
        deadline: None,
        priority: Priority::Normal,
        client: request.client.map(ClientId),
        key: None,
        from: None,
    }))
}

/// Why a request is not served: a code, which never changes, and a message for people.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    response: u8,
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    const UNKNOWN_RESOURCE: Self = Self::of(Problem::UnknownResource, "see .well-known/core");
    const WRONG_METHOD: Self = Self::of(Problem::MethodNotAllowed, "see .well-known/core");
    const WRONG_FORMAT: Self = Self::of(Problem::UnsupportedFormat, "arguments are CBOR");
    const NOT_ACCEPTABLE: Self = Self::of(Problem::NotAcceptable, "results are CBOR");
    const UNKNOWN_QUERY: Self = Self::of(
        Problem::BadRequest,
        "a board understands no query but x and client",
    );
    const BAD_NAME: Self = Self::of(Problem::BadRequest, "no tasklet can have this name");

    const fn of(problem: Problem, message: &'static str) -> Self {
        Self::new(problem.status().number(), problem.code(), message)
    }

    const fn new(response: u8, code: &'static str, message: &'static str) -> Self {
        Self {
            response,
            code,
            message,
        }
    }

    const fn option(response: u8) -> Self {
        Self::new(
            response,
            Problem::BadOption.code(),
            "an option is not understood",
        )
    }

    fn fault(fault: Fault, trap: Option<Trap>) -> Self {
        let message = trap.map_or(fault.meaning(), Trap::meaning);
        Self::new(
            Status::of(fault).number(),
            fault.code(),
            message.trim_ascii(),
        )
    }

    fn write(self, header: &Header) -> Bytes {
        let mut payload = [0; MAX_MESSAGE_BYTES];
        let mut out = Encoder::new(Cursor::new(&mut payload[..]));
        let written = out.map(2).and_then(|out| {
            out.str(failure::CODE)?.str(self.code)?;
            out.str(failure::MESSAGE)?.str(self.message).map(|_| ())
        });
        let len = out.writer().position();
        debug_assert!(written.is_ok(), "the longest message fits");
        message::response(header, self.response, CBOR, &payload[..len])
            .expect("the longest message fits")
    }
}

#[cfg(test)]
mod tests;
