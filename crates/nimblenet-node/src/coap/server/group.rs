//! Requests to groups of machines (RFC 7252 section 8).

use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::api::segment;

use super::{Pending, Server, etag};
use crate::coap::Ends;
use crate::coap::block::Block;
use crate::coap::message::{Extra, Header, Incoming, Kind, Method, Response, write_response};

/// The most answers to groups' requests that wait for their moment; further ones are not sent.
const MAX_DELAYED: usize = 64;

impl Server {
    /// Serves discovery for a group (RFC 7252 section 8.2). Other requests to a group are ignored:
    /// an answer of every machine would help nobody.
    pub(super) fn handle_multicast(&mut self, now: Instant, ends: Ends, incoming: Incoming) {
        match incoming {
            Incoming::Request(header, Ok(parsed))
                if header.kind == Kind::Unconfirmed
                    && parsed.request.method == Method::Get
                    && parsed.request.path == [segment::WELL_KNOWN, segment::CORE] =>
            {
                self.handle_request(now, (ends, None), header, Ok(parsed));
            }
            Incoming::Noise
            | Incoming::Reject { .. }
            | Incoming::Empty { .. }
            | Incoming::Request(..)
            | Incoming::Response(..) => self.counters.malformed += 1,
        }
    }

    /// Answers a group's request at a random moment within the time of leisure, unless the answer
    /// is empty or an error (RFC 7252 section 8.2, RFC 6690 section 4.1).
    pub(super) fn answer_later(&mut self, now: Instant, pending: &Pending, response: &Response) {
        let message = pending.message();
        self.exchanges.end(now, &message, Vec::new());
        let silent = !response.code.is_success() || response.payload.is_empty();
        if silent || self.delayed.len() >= MAX_DELAYED {
            return;
        }
        let wanted = pending.block2.unwrap_or(Block::FIRST);
        let Some((part, block)) = wanted.of(&response.payload) else {
            return;
        };
        let in_parts = block.more || pending.block2.is_some();
        let extra = Extra {
            block2: in_parts.then_some(block),
            etag: block.more.then(|| etag(response)),
            ..Extra::default()
        };
        let header = Header {
            id: self.message_id(),
            kind: Kind::Unconfirmed,
            token: pending.header.token.clone(),
        };
        let bytes = write_response(&header, response, part, extra);
        let leisure = self.timers.leisure.as_micros() as u64;
        let wait = self.random.below(leisure + 1);
        let at = now + Duration::from_micros(wait);
        self.delayed.push((at, pending.ends, bytes));
    }
}
