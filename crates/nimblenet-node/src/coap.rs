//! The Constrained Application Protocol (RFC 7252) with block-wise transfer (RFC 7959): a server
//! as a state machine, the daemon's endpoint that runs one on a socket, and a client.

mod block;
mod client;
mod endpoint;
mod group;
mod message;
mod server;
mod watches;

pub use crate::socket::Ends;
pub use client::{Client, ClientError};
pub(crate) use endpoint::{Endpoint, EndpointState};
pub use message::{Code, Format, Method, Observe, Request, Response};
pub use server::{RequestId, Server, ServerCounters, ServerLimits};

use core::time::Duration;

/// Retransmission times (RFC 7252 section 4.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// The time until the first retransmission; it doubles with each retransmission.
    pub ack_timeout: Duration,
    /// Retransmissions before giving up.
    pub max_retransmit: u32,
    /// How long a server works on a confirmable request before it acknowledges it and answers
    /// separately.
    pub processing: Duration,
    /// The time within which a server answers a request to a group (RFC 7252 section 8.2).
    pub leisure: Duration,
    /// A client asks a server that works on its request after so long a silence whether it is still there.
    pub silence: Duration,
}

impl Timers {
    /// The standard's defaults.
    pub const STANDARD: Self = Self {
        ack_timeout: Duration::from_millis(2500),
        max_retransmit: 4,
        processing: Duration::from_secs(1),
        leisure: Duration::from_secs(5),
        silence: Duration::from_secs(15),
    };
    /// For peers on the same machine or site: a lost datagram costs 0.3 s.
    pub const NEAR: Self = Self {
        ack_timeout: Duration::from_millis(300),
        max_retransmit: 5,
        processing: Duration::from_millis(150),
        leisure: Duration::from_secs(1),
        silence: Duration::from_secs(3),
    };
}

#[cfg(test)]
mod tests;
