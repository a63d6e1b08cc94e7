//! The client's side of the protocol, on a connected socket.

use core::fmt;
use core::time::Duration;
use std::io;

use tokio::net::{ToSocketAddrs, UdpSocket};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Timers;
use super::block::Block;
use super::message::{
    Code, Header, Incoming, Kind, Reply, Request, Response, empty, ping, write_request,
};

/// The largest body that the client takes from a server.
const MAX_BODY_BYTES: usize = 16 << 20;
/// How often a request is repeated although nothing listens at the address.
const MAX_REFUSALS: u32 = 3;
/// After so many questions in a row whether it is there a server that says nothing is not.
const MAX_PINGS: u32 = 6;
/// So many are enough if nothing listens at the address any more.
const MAX_REFUSED_PINGS: u32 = 2;
/// The longest datagram.
const MAX_DATAGRAM_BYTES: usize = 65_536;

/// A CoAP client of one server.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
    timers: Timers,
    patience: Duration,
    deadline: Option<Instant>,
    /// What the server wants to see again.
    echo: Option<Vec<u8>>,
    /// Whether the server has acknowledged the present message, or answered it.
    heard: bool,
    /// The last message that asked whether the server is there.
    pinged: Option<u16>,
    next_message: u16,
    next_token: u32,
    sent_bytes: u64,
    received_bytes: u64,
}

impl Client {
    /// A client of the server at `address`; it sends nothing yet. `patience` is how long one
    /// request may take, from its first message to the last of its answer.
    ///
    /// # Errors
    /// If the address cannot be resolved, or the system gives no socket.
    pub async fn connect(
        address: impl ToSocketAddrs,
        timers: Timers,
        patience: Duration,
    ) -> io::Result<Self> {
        let mut found = tokio::net::lookup_host(address).await?;
        let server = found.next().ok_or(io::ErrorKind::NotFound)?;
        let any = if server.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        let mut seed = [0; 6];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let [a, b, c, d, e, f] = seed;
        Ok(Self {
            socket,
            timers,
            patience,
            deadline: None,
            echo: None,
            heard: false,
            pinged: None,
            next_message: u16::from_be_bytes([a, b]),
            next_token: u32::from_be_bytes([c, d, e, f]),
            sent_bytes: 0,
            received_bytes: 0,
        })
    }

    /// Ends every request at `deadline`, even if its patience is not over.
    pub fn end_by(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Whether the time for all requests is over within `soon`; also if there is no such time.
    pub fn is_over(&self, soon: Duration) -> bool {
        self.deadline
            .is_none_or(|deadline| deadline <= Instant::now() + soon)
    }

    /// Bytes of datagrams sent and received so far.
    pub fn traffic_bytes(&self) -> (u64, u64) {
        (self.sent_bytes, self.received_bytes)
    }

    /// Sends a request and waits for its answer, block by block if one of them is large.
    ///
    /// # Errors
    /// [`ClientError`] if no valid answer comes; an answer that reports an error is a response.
    pub async fn request(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.heard = false;
        let end = Instant::now() + self.patience;
        let end = self.deadline.map_or(end, |deadline| deadline.min(end));
        let answer = async {
            let mut request = request.clone();
            request.echo.clone_from(&self.echo);
            let mut first = self.upload(&request).await?;
            if first.response.code == Code::UNAUTHORIZED && first.echo.is_some() {
                // The server wants to know that the address is this client's (RFC 9175).
                self.echo = first.echo;
                request.echo.clone_from(&self.echo);
                first = self.upload(&request).await?;
            }
            self.download(&request, first).await
        };
        let ended = timeout_at(end, answer).await;
        ended.unwrap_or(Err(if self.heard {
            ClientError::NoAnswer
        } else {
            ClientError::Unreachable
        }))
    }

    /// Sends the request with its whole body; returns the first message of the answer.
    async fn upload(&mut self, request: &Request) -> Result<Reply, ClientError> {
        if request.payload.len() <= Block::FIRST.size() {
            return self.exchange(request, &request.payload, None, None).await;
        }
        let mut block = Block::FIRST;
        loop {
            let body = &request.payload;
            let (part, named) = block.of(body).ok_or(ClientError::Malformed)?;
            let reply = self.exchange(request, part, Some(named), None).await?;
            let (code, more) = (reply.response.code, named.more);
            if code != Code::CONTINUE || !more {
                return Ok(reply);
            }
            // The server may ask for smaller blocks in its first reply (RFC 7959 section 2.5).
            let like = reply.block1.filter(|like| like.size() <= block.size());
            let next = named.after(like.unwrap_or(block));
            block = next.ok_or(ClientError::TooLarge)?;
        }
    }

    /// Fetches the rest of an answer of which the first part has come.
    async fn download(&mut self, request: &Request, first: Reply) -> Result<Response, ClientError> {
        let mut response = first.response;
        let mut block = first.block2;
        let etag = first.etag;
        let bare = Request {
            payload: Vec::new(),
            ..request.clone()
        };
        while let Some(named) = block.filter(|block| block.more) {
            if response.payload.len() != named.offset() + named.size() {
                return Err(ClientError::Malformed);
            }
            if response.payload.len() > MAX_BODY_BYTES {
                return Err(ClientError::TooLarge);
            }
            let wanted = named.after(named).ok_or(ClientError::TooLarge)?;
            let reply = self.exchange(&bare, &[], None, Some(wanted)).await?;
            if !reply.response.code.is_success() {
                return Ok(reply.response);
            }
            let number = reply.block2.map(|block| (block.number, block.size()));
            if number != Some((wanted.number, wanted.size())) || reply.etag != etag {
                return Err(ClientError::Changed);
            }
            response.payload.extend_from_slice(&reply.response.payload);
            block = reply.block2;
        }
        Ok(response)
    }

    /// Sends one message and waits for its answer.
    async fn exchange(
        &mut self,
        request: &Request,
        payload: &[u8],
        block1: Option<Block>,
        block2: Option<Block>,
    ) -> Result<Reply, ClientError> {
        self.next_message = self.next_message.wrapping_add(1);
        self.next_token = self.next_token.wrapping_add(1);
        let header = Header {
            id: self.next_message,
            kind: Kind::Confirmable,
            token: self.next_token.to_be_bytes().to_vec(),
        };
        let bytes = write_request(&header, request, payload, block1, block2);
        let mut wait = self.timers.ack_timeout;
        let mut refusals = 0;
        self.heard = false;
        for _ in 0..=self.timers.max_retransmit {
            let receive = async {
                self.send(&bytes).await?;
                self.receive(&header).await
            };
            let received = match timeout(wait, receive).await {
                Ok(Err(ClientError::Refused)) if refusals < MAX_REFUSALS => {
                    // The server may be about to start.
                    refusals += 1;
                    sleep(wait).await;
                    continue;
                }
                Ok(received) => received,
                Err(_) => {
                    wait *= 2;
                    continue;
                }
            };
            if let Some(reply) = received? {
                return Ok(*reply);
            }
            // The server works on the request: from here on the server repeats, and not the client.
            self.heard = true;
            return self.answer(&header).await;
        }
        Err(ClientError::Unreachable)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let sent = self.socket.send(bytes).await;
        self.sent_bytes += sent.map_err(ClientError::io)? as u64;
        Ok(())
    }

    /// Waits for the answer to a request that was acknowledged, as long as the server is there.
    async fn answer(&mut self, header: &Header) -> Result<Reply, ClientError> {
        let (mut pings, mut refused) = (0, 0);
        loop {
            match timeout(self.timers.silence, self.receive(header)).await {
                Ok(Ok(Some(reply))) => return Ok(*reply),
                Ok(Ok(None)) => (pings, refused) = (0, 0),
                Ok(Err(ClientError::Refused)) => refused += 1,
                Ok(Err(error)) => return Err(error),
                Err(_) if pings == MAX_PINGS => return Err(ClientError::Silent),
                Err(_) => {
                    pings += 1;
                    match self.ping().await {
                        Ok(()) | Err(ClientError::Refused) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            if refused == MAX_REFUSED_PINGS {
                return Err(ClientError::Silent);
            }
        }
    }

    /// Asks the server whether it is there: an empty confirmable message, which it answers by a reset (RFC
    /// 7252, section 4.3).
    async fn ping(&mut self) -> Result<(), ClientError> {
        self.next_message = self.next_message.wrapping_add(1);
        self.pinged = Some(self.next_message);
        self.send(&ping(self.next_message)).await
    }

    /// Waits for a message that belongs to the request with this header: its answer, or none for
    /// an acknowledgement alone, or for the answer to a ping.
    async fn receive(&mut self, header: &Header) -> Result<Option<Box<Reply>>, ClientError> {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            let received = self.socket.recv(&mut buffer).await;
            let len = received.map_err(ClientError::io)?;
            self.received_bytes += len as u64;
            match Incoming::parse(&buffer[..len]) {
                Incoming::Empty { id, reset } if id == header.id => {
                    if reset {
                        return Err(ClientError::Reset);
                    }
                    return Ok(None);
                }
                Incoming::Empty { id, reset: true } if self.pinged == Some(id) => return Ok(None),
                Incoming::Response(answer, reply) => {
                    let ours = answer.token == header.token;
                    if answer.kind == Kind::Confirmable {
                        // Acknowledge answers to earlier requests too: the server need not
                        // repeat them.
                        self.send(&empty(answer.id, false)).await?;
                    }
                    if ours && (answer.kind != Kind::Acknowledgement || answer.id == header.id) {
                        return Ok(Some(Box::new(reply)));
                    }
                }
                Incoming::Reject { id } | Incoming::Request(Header { id, .. }, _) => {
                    self.send(&empty(id, true)).await?;
                }
                Incoming::Noise | Incoming::Empty { .. } => {}
            }
        }
    }
}

/// Why a request got no valid answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// Nothing listens at the address.
    Refused,
    /// Nothing acknowledged the request, however often it was repeated.
    Unreachable,
    /// The request was acknowledged, but its answer did not come in time.
    NoAnswer,
    /// The request was acknowledged, and then the server was gone.
    Silent,
    /// The server has answered with a reset: it does not understand the message.
    Reset,
    /// The answer's blocks do not make up a body.
    Malformed,
    /// The answer changed while it was fetched.
    Changed,
    /// A body is larger than the protocol or this client can take.
    TooLarge,
    /// The socket failed.
    Io(io::Error),
}

impl ClientError {
    fn io(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            Self::Refused
        } else {
            Self::Io(error)
        }
    }

    /// Whether the server may have served the request, although no answer came.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Unreachable | Self::NoAnswer | Self::Silent)
    }

    /// The stable code: lower-case words joined by hyphens.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused | Self::Unreachable => "unreachable",
            Self::NoAnswer => "no-answer",
            Self::Silent => "silent",
            Self::Reset => "reset",
            Self::Malformed => "malformed",
            Self::Changed => "changed",
            Self::TooLarge => "too-large",
            Self::Io(_) => "io",
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("nothing listens there; is it running?"),
            Self::Unreachable => f.write_str("it does not answer; is it running and reachable?"),
            Self::NoAnswer => f.write_str("it took the request but did not answer in time"),
            Self::Silent => {
                f.write_str("it took the request and does not answer any more; did it stop?")
            }
            Self::Reset => f.write_str("it does not understand the request"),
            Self::Malformed => f.write_str("its answer's blocks do not fit together"),
            Self::Changed => f.write_str("its answer changed while it was fetched; try again"),
            Self::TooLarge => f.write_str("the body is too large"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ClientError {}
