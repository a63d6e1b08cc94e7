//! Clients: who has called at this node, and when last.
//!
//! A client calls at the node that it is in contact with, and the same few tasklets again and again.
//! So what it has called is soon needed as long as it calls at all, and hardly ever after it has gone.

use alloc::vec::Vec;

use crate::event::ClientId;
use crate::time::Instant;

/// The clients that have used a module, a bit for each place of the table.
pub(super) type Users = u32;

/// A client that has been silent for so many seconds longer than another counts half as much.
const HALF_S: u64 = 60;
/// How much a client counts that is silent for no time is this, divided by [`HALF_S`].
const SHARE: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
struct Client {
    id: ClientId,
    /// When it called last.
    seen: Instant,
}

/// The clients that have called last.
#[derive(Debug)]
pub(super) struct Clients {
    held: Vec<Client>,
    limit: usize,
}

impl Clients {
    /// Room for `limit` clients, as many as [`Users`] has bits at most.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Users::BITS as usize);
        Self {
            held: Vec::with_capacity(limit),
            limit,
        }
    }

    /// Notes a call. Returns the place of a client that was forgotten for this one.
    pub(super) fn meet(&mut self, now: Instant, id: ClientId) -> Option<Users> {
        let client = Client { id, seen: now };
        if let Some(at) = self.position(id) {
            self.held[at] = client;
            return None;
        }
        if self.held.len() < self.limit {
            self.held.push(client);
            return None;
        }
        let at = (0..self.held.len()).min_by_key(|at| self.held[*at].seen)?;
        self.held[at] = client;
        Some(1 << at)
    }

    /// The bit of a client; none if it is not known.
    pub(super) fn bit(&self, id: Option<ClientId>) -> Users {
        let at = id.and_then(|id| self.position(id));
        at.map_or(0, |at| 1 << at)
    }

    /// How much a module is in demand that `users` have used, and that was last used at `last_used`:
    /// each of them counts the less the longer it has been silent. Without users the last use counts
    /// as one.
    pub(super) fn demand(&self, now: Instant, users: Users, last_used: Instant) -> u64 {
        if users == 0 {
            return share(now, last_used);
        }
        let held = self.held.iter().enumerate();
        let users = held.filter(|(at, _)| users >> at & 1 == 1);
        users.map(|(_, client)| share(now, client.seen)).sum()
    }

    fn position(&self, id: ClientId) -> Option<usize> {
        self.held.iter().position(|client| client.id == id)
    }
}

fn share(now: Instant, seen: Instant) -> u64 {
    SHARE / (HALF_S + (now - seen).as_secs())
}
