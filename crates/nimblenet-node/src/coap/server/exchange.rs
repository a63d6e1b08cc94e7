//! Recently seen messages, so that a repetition gets the same answer and runs nothing twice.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;
use core::time::Duration;

use nimblenet_core::Instant;

/// After this time a message identifier may be used for another message (RFC 7252 section 4.8.2,
/// EXCHANGE_LIFETIME).
const LIFETIME: Duration = Duration::from_secs(247);

/// What identifies a message: its sender and its identifier.
pub(super) type MessageKey = (SocketAddr, u16);

/// Whether a message was seen before.
pub(super) enum Seen {
    New,
    /// Yes, and it is being worked on.
    Working,
    /// Yes, and this was the answer.
    Answered(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Exchanges {
    answers: BTreeMap<MessageKey, Option<Vec<u8>>>,
    order: VecDeque<(Instant, MessageKey)>,
    bytes: usize,
    max: usize,
    max_bytes: usize,
}

impl Exchanges {
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Self {
            answers: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            max,
            max_bytes,
        }
    }

    /// Looks a message up and remembers it. The oldest are forgotten first.
    pub(super) fn see(&mut self, now: Instant, key: MessageKey) -> Seen {
        while let Some((since, _)) = self.order.front() {
            let full = self.order.len() >= self.max || self.bytes > self.max_bytes;
            if !full && now.since(*since) < LIFETIME {
                break;
            }
            let (_, oldest) = self.order.pop_front().expect("there is a front");
            let answer = self.answers.remove(&oldest).flatten();
            self.bytes -= answer.map_or(0, |answer| answer.len());
        }
        match self.answers.get(&key) {
            Some(Some(answer)) => Seen::Answered(answer.clone()),
            Some(None) => Seen::Working,
            None => {
                self.answers.insert(key, None);
                self.order.push_back((now, key));
                Seen::New
            }
        }
    }

    /// Remembers the answer to a message.
    pub(super) fn answered(&mut self, key: MessageKey, answer: Vec<u8>) {
        if let Some(held) = self.answers.get_mut(&key) {
            self.bytes += answer.len();
            let before = held.replace(answer);
            self.bytes -= before.map_or(0, |before| before.len());
        }
    }
}
