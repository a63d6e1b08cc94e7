//! Remembers requests, so that a repetition gets the same answer and runs nothing twice.
//!
//! A request that is being worked on is never forgotten; the server bounds their number. A request
//! that was answered is remembered for its lifetime, unless there is no room: then the peer with
//! most of them loses its oldest, so that a stranger's messages push out the stranger's own.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::IpAddr;
use core::time::Duration;

use nimblenet_core::Instant;

use super::peer;
use crate::coap::Ends;

/// After this time a message identifier may be used for another message (RFC 7252 section 4.8.2,
/// EXCHANGE_LIFETIME).
const LIFETIME: Duration = Duration::from_secs(247);

/// What identifies a message: both its ends, its identifier, and its token, which distinguishes a
/// client that has restarted from the same client before.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct MessageKey {
    pub(super) ends: Ends,
    pub(super) id: u16,
    pub(super) token: Vec<u8>,
}

/// Whether a message was seen before.
pub(super) enum Seen {
    New,
    /// Yes, and it is being worked on; if it was acknowledged, with this message.
    Working(Option<Vec<u8>>),
    /// Yes, and this was the answer.
    Answered(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Exchanges {
    working: BTreeMap<MessageKey, Option<Vec<u8>>>,
    answered: BTreeMap<MessageKey, Vec<u8>>,
    /// The answered messages by number, oldest first.
    order: BTreeMap<u64, (Instant, MessageKey)>,
    /// The numbers of each peer's messages, and below the peers by how many they have.
    numbers: BTreeMap<IpAddr, VecDeque<u64>>,
    sizes: BTreeSet<(usize, IpAddr)>,
    next: u64,
    bytes: usize,
    max: usize,
    max_bytes: usize,
}

impl Exchanges {
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Self {
            working: BTreeMap::new(),
            answered: BTreeMap::new(),
            order: BTreeMap::new(),
            numbers: BTreeMap::new(),
            sizes: BTreeSet::new(),
            next: 0,
            bytes: 0,
            max,
            max_bytes,
        }
    }

    /// Looks a message up.
    pub(super) fn see(&mut self, now: Instant, key: &MessageKey) -> Seen {
        self.expire(now);
        if let Some(acknowledgement) = self.working.get(key) {
            return Seen::Working(acknowledgement.clone());
        }
        let answer = self.answered.get(key);
        answer.map_or(Seen::New, |answer| Seen::Answered(answer.clone()))
    }

    /// Remembers a message as being worked on.
    pub(super) fn begin(&mut self, key: MessageKey) {
        self.working.insert(key, None);
    }

    /// Remembers the acknowledgement of a message that is being worked on.
    pub(super) fn acknowledge(&mut self, key: &MessageKey, acknowledgement: Vec<u8>) {
        if let Some(held) = self.working.get_mut(key) {
            *held = Some(acknowledgement);
        }
    }

    /// Ends the work on a message. Its repetitions get the acknowledgement or, if there was none,
    /// `answer`.
    pub(super) fn end(&mut self, now: Instant, key: &MessageKey, answer: Vec<u8>) {
        let Some(acknowledgement) = self.working.remove(key) else {
            return;
        };
        let answer = acknowledgement.unwrap_or(answer);
        let peer = peer(&key.ends);
        self.bytes += answer.len();
        self.answered.insert(key.clone(), answer);
        self.order.insert(self.next, (now, key.clone()));
        let mut numbers = self.numbers.remove(&peer).unwrap_or_default();
        self.sizes.remove(&(numbers.len(), peer));
        numbers.push_back(self.next);
        self.sizes.insert((numbers.len(), peer));
        self.numbers.insert(peer, numbers);
        self.next += 1;
        while self.order.len() > self.max || self.bytes > self.max_bytes {
            let Some((_, most)) = self.sizes.last().copied() else {
                return;
            };
            self.forget_oldest(most);
        }
    }

    /// Ends the work on a message that may run again.
    pub(super) fn drop(&mut self, key: &MessageKey) {
        self.working.remove(key);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, (since, key))) = self.order.first_key_value()
            && now.since(*since) >= LIFETIME
        {
            let peer = peer(&key.ends);
            self.forget_oldest(peer);
        }
    }

    fn forget_oldest(&mut self, peer: IpAddr) {
        let Some(mut numbers) = self.numbers.remove(&peer) else {
            return;
        };
        self.sizes.remove(&(numbers.len(), peer));
        let oldest = numbers.pop_front();
        if let Some((_, key)) = oldest.and_then(|oldest| self.order.remove(&oldest)) {
            let answer = self.answered.remove(&key);
            self.bytes -= answer.map_or(0, |answer| answer.len());
        }
        if !numbers.is_empty() {
            self.sizes.insert((numbers.len(), peer));
            self.numbers.insert(peer, numbers);
        }
    }
}
