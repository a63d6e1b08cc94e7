//! Tells clients of changes (RFC 7641).
//!
//! Notifications are confirmable, and each client has at most one on its way: its acknowledgement
//! lets the next go, and only the newest waits. So a client hears of changes as fast as it
//! acknowledges them, and a client that is gone is forgotten.

use alloc::collections::BTreeMap;

use nimblenet_core::Instant;

use super::transfer::Key;
use super::{RequestId, Server, peer};
use crate::coap::Ends;
use crate::coap::block::Block;
use crate::coap::message::{Extra, Header, Kind, Response, write_response};

/// The order of a notification has 24 bits (RFC 7641 section 3.4).
const ORDERS: u32 = 1 << 24;

/// A client that observes a resource.
#[derive(Clone, Debug)]
pub(super) struct Observer {
    pub(super) ends: Ends,
    pub(super) token: Vec<u8>,
    pub(super) key: Key,
    /// The blocks that it wants.
    pub(super) wanted: Option<Block>,
    /// Whether a notification is on its way.
    pub(super) awaited: bool,
    /// The notification that goes next, and whether it is the last.
    pub(super) next: Option<(Response, bool)>,
}

#[derive(Debug)]
pub(super) struct Observers {
    held: BTreeMap<RequestId, Observer>,
    max: usize,
    order: u32,
}

impl Observers {
    pub(super) fn new(max: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            max,
            order: 0,
        }
    }

    /// Adds an observer, unless there are too many; one peer has at most half of them.
    pub(super) fn add(&mut self, id: RequestId, observer: Observer) -> bool {
        self.remove_client(&observer.ends, &observer.token);
        let site = peer(&observer.ends);
        let others = self.held.values();
        let of_peer = others.filter(|held| peer(&held.ends) == site).count();
        if self.held.len() >= self.max || of_peer >= self.max.div_ceil(2) {
            return false;
        }
        self.held.insert(id, observer);
        true
    }

    pub(super) fn contains(&self, id: RequestId) -> bool {
        self.held.contains_key(&id)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Observer> {
        self.held.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Observer> {
        self.held.remove(&id)
    }

    /// Forgets the observation that a client has registered under a token.
    pub(super) fn remove_client(&mut self, ends: &Ends, token: &[u8]) {
        self.held
            .retain(|_, held| held.ends != *ends || held.token != token);
    }

    /// The order of the next notification, which is above those of the 2^23 before it.
    pub(super) fn next_order(&mut self) -> u32 {
        self.order = (self.order + 1) % ORDERS;
        self.order
    }
}

impl Server {
    /// Whether the client that made this request still observes its resource.
    pub fn is_observed(&self, id: RequestId) -> bool {
        self.observers.contains(id)
    }

    /// Tells the client that made this request of the present state. `last` ends the observation,
    /// and so does a response that is an error.
    pub fn notify(&mut self, now: Instant, id: RequestId, response: &Response, last: bool) {
        if let Some(observer) = self.observers.get_mut(id) {
            observer.next = Some((response.clone(), last));
            self.notify_next(now, id);
        }
    }

    pub(super) fn notify_next(&mut self, now: Instant, id: RequestId) {
        let Some(observer) = self.observers.get_mut(id) else {
            return;
        };
        if observer.awaited {
            return;
        }
        let Some((response, last)) = observer.next.take() else {
            return;
        };
        observer.awaited = true;
        let observer = observer.clone();
        let goes_on = !last && response.code.is_success();
        let mut extra = Extra::default();
        if goes_on {
            extra.observe = Some(self.observers.next_order());
        } else {
            self.observers.remove(id);
        }
        let wanted = observer.wanted.filter(|wanted| wanted.number == 0);
        let part = self.first_part(now, &observer.key, wanted, &response, &mut extra);
        let header = Header {
            id: self.message_id(),
            kind: Kind::Confirmable,
            token: observer.token,
        };
        let payload = &response.payload[..part.unwrap_or(0)];
        let bytes = write_response(&header, &response, payload, extra);
        let most = self.timers.max_retransmit + 1;
        self.send_confirmable(now, (observer.ends, most), header.id, bytes, Some(id));
    }
}
