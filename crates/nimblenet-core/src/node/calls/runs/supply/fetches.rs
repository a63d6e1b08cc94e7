//! Fetches: objects on their way to this node, whatever they are for.
//!
//! A module or delta takes its place in the cache with its first part, since only then is its
//! length certain; the record of a job goes to the node's image buffer. If a source does not finish
//! a module, its parts stay, and the fetch goes on from the next source. Every other object starts
//! over.

mod passing;
mod transfer;

use core::time::Duration;

use nimblenet_tasklet::{Digest, NodeId, TaskletRef};

use self::passing::Passing;
use self::transfer::{Progress, Stall, Transfer};
use crate::cache::SlotId;
use crate::config::FULL;
use crate::earliest::Earliest;
use crate::event::Reason;
use crate::node::post::{FetchEnd, Order, Owner, Post};
use crate::queue::Queue;
use crate::table::Table;
use crate::wire::{self, Data, Message, Object};

/// After so many requests without any new part the next goes all the way to the source.
const STALLS: u8 = 2;

/// After so many requests without any new part parts are shortened.
const SHORTENING_STALLS: u8 = 2;

/// The fetches of a node: at most one for each owner.
#[derive(Debug)]
pub(in crate::node) struct Fetches {
    table: Table<Fetch>,
    ended: Queue<Ended>,
    /// Fetches of other nodes.
    passing: Passing,
}

/// One object on its way.
#[derive(Debug)]
struct Fetch {
    owner: Owner,
    transfer: Transfer,
    /// The place of the bytes; none before the first part, and for a record.
    slot: Option<SlotId>,
    hops: Option<u8>,
    /// How often the source is asked in vain.
    asks: u8,
    /// Whether only this source is asked.
    direct: bool,
    /// The node that the last part came from, and the links to it.
    from: Option<(NodeId, u8)>,
    /// Whether it waits for another source.
    paused: bool,
}

/// A fetch that has ended, or paused.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Ended {
    pub(in crate::node) owner: Owner,
    pub(in crate::node) source: NodeId,
    /// Links to the source.
    pub(in crate::node) hops: u8,
    pub(in crate::node) end: FetchEnd,
}

impl Fetches {
    /// Room for `places` fetches at a time, and for `passing` requests of other nodes.
    pub(in crate::node) fn new(places: usize, passing: usize) -> Self {
        Self {
            table: Table::new(places),
            ended: Queue::with_capacity(places),
            passing: Passing::new(passing),
        }
    }

    /// Notes a request for a module that this node passes on.
    pub(in crate::node) fn note_passing(&mut self, origin: NodeId, fetch: &wire::Fetch) {
        self.passing.note(origin, fetch);
    }

    /// Copies a part that passes on its way to `to`, if there is room for its module.
    pub(in crate::node) fn handle_passing(
        &mut self,
        post: &mut Post<'_>,
        to: NodeId,
        data: &Data<'_>,
        described: impl FnOnce(TaskletRef) -> Option<(Digest, u32)>,
    ) {
        self.passing.take(post, to, data, described);
    }

    /// Begins a fetch that was ordered, or goes on with it from another source.
    pub(in crate::node) fn begin(&mut self, post: &mut Post<'_>, order: Order) {
        let held = self.place_of(order.owner);
        let fetch = held.and_then(|at| self.table.get(at));
        let has_bytes = fetch.is_some_and(|it| it.slot.is_some());
        if let Some(len) = order.expected {
            refresh_nearby(post, len as usize);
        }
        if let (Object::Module(module), Some(len), false) =
            (order.object, order.expected, has_bytes)
            && post
                .cache
                .make_room_for(module.namespace, len as usize)
                .is_err()
        {
            self.report(order.owner, (order.source, 0), FetchEnd::NoRoom);
            return;
        }
        let at = if let Some(at) = held {
            self.go_on(post, at, &order);
            held
        } else {
            self.table.insert(Fetch {
                owner: order.owner,
                transfer: Transfer::new(order.object, order.source, order.part, order.expected),
                slot: None,
                hops: order.hops,
                asks: order.asks,
                direct: order.direct,
                from: None,
                paused: false,
            })
        };
        let Some(at) = at else {
            debug_assert!(false, "every owner has a place");
            self.report(order.owner, (order.source, 0), FetchEnd::NoRoom);
            return;
        };
        self.ask(post, at);
    }

    /// Goes on with a paused fetch, from another source.
    fn go_on(&mut self, post: &mut Post<'_>, at: usize, order: &Order) {
        if let Some(fetch) = self.table.get_mut(at) {
            post.counters.resumed_transfers += u64::from(fetch.transfer.prefix() > 0);
            fetch.transfer.resume_from(order.source, order.part);
            fetch.hops = order.hops;
            fetch.asks = order.asks;
            fetch.direct = order.direct;
            fetch.paused = false;
        }
    }

    /// Takes a part; false if no fetch waits for it.
    pub(in crate::node) fn handle_data(
        &mut self,
        post: &mut Post<'_>,
        from: (NodeId, u8),
        data: &Data<'_>,
    ) -> bool {
        let Some(at) = self.awaiting(data.request) else {
            return false;
        };
        let Some(fetch) = self.table.get_mut(at) else {
            return false;
        };
        if fetch.is_delta() && data.total as usize > post.config.limits.delta_bytes {
            self.end(post, at, FetchEnd::TooLong);
            return true;
        }
        fetch.from = Some(from);
        let progress = fetch.transfer.take(post.now, data);
        if progress != Progress::Unexpected {
            // Whoever on the way has answered.
            post.mesh.note_answered(fetch.transfer.source());
        }
        if progress != Progress::Unexpected
            && let Some(took) = fetch.transfer.poll_answered(post.now, data.request)
        {
            let (source, patience) = (fetch.transfer.source(), fetch.patience(post));
            let bytes = data.bytes.len() as u32;
            post.latency.answered(source, (took, patience), bytes);
        }
        if progress != Progress::Unexpected
            && let Some(part) = fetch.transfer.poll_shortened()
        {
            let source = fetch.transfer.source();
            post.mesh.note_narrow(post.now, source, part, post.counters);
        }
        match progress {
            Progress::Unexpected => return false,
            Progress::Changed => self.end(post, at, FetchEnd::Changed),
            progress @ (Progress::Part | Progress::Complete) => {
                if !fetch.keep(post, data) {
                    self.end(post, at, FetchEnd::NoRoom);
                } else if progress == Progress::Complete {
                    let slot = fetch.slot;
                    self.end(post, at, FetchEnd::Complete(slot));
                } else if fetch.transfer.wants_more() {
                    self.ask(post, at);
                }
            }
        }
        true
    }

    /// Takes the refusal of a source to serve an object.
    pub(in crate::node) fn handle_refusal(
        &mut self,
        post: &mut Post<'_>,
        from: NodeId,
        request: u16,
    ) {
        let current = |fetch: &Fetch| !fetch.paused && fetch.transfer.request() == request;
        let Some(at) = self.table.position(current) else {
            return;
        };
        let turned = self.table.get_mut(at).filter(|fetch| {
            let elsewhere = from != fetch.transfer.source();
            elsewhere && !fetch.direct
        });
        match turned {
            // A node on the path has sent the request to one that does not hold the module any more.
            Some(fetch) => {
                fetch.direct = true;
                if let Object::Module(tasklet) = fetch.transfer.object() {
                    post.holders.forget(from, tasklet);
                }
                self.ask(post, at);
            }
            None => self.end(post, at, FetchEnd::Refused),
        }
    }

    pub(in crate::node) fn handle_timeout(&mut self, post: &mut Post<'_>) {
        for at in self.table.places() {
            let Some(fetch) = self.table.get_mut(at).filter(|fetch| !fetch.paused) else {
                continue;
            };
            let stall = fetch.transfer.handle_timeout(post.now, fetch.asks);
            let stalls = fetch.transfer.stalls();
            let (source, len) = (fetch.transfer.source(), fetch.transfer.part_len());
            // Parts as long as these come over the first link: it may be that frames get lost.
            let comes = FULL && stalls > 0 && post.mesh.is_wide(post.now, source, len);
            if stall != Stall::Waiting
                && stalls >= SHORTENING_STALLS + u8::from(comes)
                && post.config.acquisition.adapt
            {
                fetch.transfer.shorten();
            }
            match stall {
                Stall::Waiting => {}
                Stall::Ask => {
                    post.mesh.note_unanswered(post.now, source);
                    self.ask(post, at);
                }
                Stall::Lost => {
                    post.mesh.doubt(post.now, fetch.transfer.source());
                    self.end(post, at, FetchEnd::Silent);
                }
            }
        }
    }

    pub(in crate::node) fn note_timeouts(&self, earliest: &mut Earliest) {
        for fetch in self.table.iter().filter(|fetch| !fetch.paused) {
            let reason = match fetch.owner {
                Owner::Acquisition(_) => Reason::Acquisition,
                Owner::Subscription(_) => Reason::Catalogue,
                Owner::Arrival => Reason::Move,
            };
            earliest.note(Some(fetch.transfer.deadline()), reason);
        }
    }

    /// The fetch that ended or paused longest ago.
    pub(in crate::node) fn poll_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// Gives a fetch up, and drops the parts of its object.
    pub(in crate::node) fn abandon(&mut self, post: &mut Post<'_>, owner: Owner) {
        if let Some(at) = self.place_of(owner) {
            self.drop_bytes(post, at);
        }
        self.ended.retain(|ended| ended.owner != owner);
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        self.table.assert_invariants();
        let held = || self.table.iter();
        for fetch in held() {
            let same = held().filter(|other| other.owner == fetch.owner);
            debug_assert_eq!(same.count(), 1, "an owner has one fetch");
            debug_assert!(
                !fetch.paused || matches!(fetch.owner, Owner::Acquisition(_)),
                "only modules wait for another source"
            );
        }
        debug_assert!(self.ended.is_empty(), "ended fetches are polled");
    }

    fn ask(&mut self, post: &mut Post<'_>, at: usize) {
        let Some(fetch) = self.table.get_mut(at) else {
            return;
        };
        let source = fetch.transfer.source();
        let request = post.new_request();
        let wait = fetch.timeout(post);
        let mut message = fetch.transfer.ask(post.now, request, wait);
        // Frames get lost; but a node on the path may also answer in vain.
        message.direct = fetch.direct || fetch.transfer.stalls() >= STALLS;
        post.send(source, Message::Fetch(message));
    }

    fn end(&mut self, post: &mut Post<'_>, at: usize, end: FetchEnd) {
        let Some(fetch) = self.table.get_mut(at) else {
            return;
        };
        let asked = (fetch.transfer.source(), fetch.hops.unwrap_or(0));
        let (owner, from) = (fetch.owner, fetch.from);
        let (source, hops) = match end {
            FetchEnd::Complete(_) | FetchEnd::Changed => from.unwrap_or(asked),
            FetchEnd::TooLong | FetchEnd::NoRoom | FetchEnd::Refused | FetchEnd::Silent => asked,
        };
        match (end, owner) {
            (FetchEnd::Complete(_), _) => drop(self.table.take(at)),
            (FetchEnd::Refused | FetchEnd::Silent, Owner::Acquisition(_)) => fetch.paused = true,
            _ => self.drop_bytes(post, at),
        }
        self.report(owner, (source, hops), end);
    }

    fn report(&mut self, owner: Owner, (source, hops): (NodeId, u8), end: FetchEnd) {
        self.ended.push_back(Ended {
            owner,
            source,
            hops,
            end,
        });
    }

    fn drop_bytes(&mut self, post: &mut Post<'_>, at: usize) {
        if let Some(slot) = self.table.take(at).and_then(|fetch| fetch.slot) {
            post.cache.remove(slot);
        }
    }

    fn place_of(&self, owner: Owner) -> Option<usize> {
        self.table.position(|fetch| fetch.owner == owner)
    }

    fn awaiting(&self, request: u16) -> Option<usize> {
        let awaits = |fetch: &Fetch| !fetch.paused && fetch.transfer.awaits(request);
        self.table.position(awaits)
    }
}

impl Fetch {
    /// The time in which the source usually answers.
    fn patience(&self, post: &Post<'_>) -> Duration {
        match self.hops {
            Some(hops) => post.patience(hops),
            None => post.usual_patience_for(self.transfer.source()),
        }
    }

    /// How long to wait for the answer to the next request. What is lost is asked for again soon; but
    /// a source that is known to be slow has not lost anything. One that owes a delta and is not known to
    /// be slow is soon given up: it may be gone, and calls wait for it.
    fn timeout(&self, post: &Post<'_>) -> Duration {
        let (source, patience) = (self.transfer.source(), self.patience(post));
        if !post.config.acquisition.adapt {
            return patience;
        }
        let doublings = match (self.transfer.stalls(), post.latency.is_slow(source)) {
            (stalls, true) => stalls,
            (stalls, false) if self.is_delta() => stalls.saturating_sub(STALLS).min(1),
            (stalls, false) => stalls.saturating_sub(STALLS),
        };
        post.latency.timeout(source, patience, doublings)
    }

    fn is_delta(&self) -> bool {
        matches!(self.owner, Owner::Subscription(_))
    }

    /// Writes a part to its place; false if there is no room any more.
    fn keep(&mut self, post: &mut Post<'_>, data: &Data<'_>) -> bool {
        let (from, total) = (data.offset as usize, data.total as usize);
        let place = match (self.transfer.object(), self.slot) {
            (Object::Job { .. }, _) => {
                // The size in the offer was checked, and the transfer keeps to it.
                post.image.set_len(total);
                post.image[from..from + data.bytes.len()].copy_from_slice(data.bytes);
                return true;
            }
            (_, Some(slot)) => Ok(slot),
            (Object::Module(tasklet), None) => {
                refresh_nearby(post, total);
                post.cache.begin(tasklet, total, post.now)
            }
            (Object::Catalogue { .. }, None) => post.cache.begin_object(total, post.now),
        };
        self.slot = place.ok();
        if let Some(slot) = self.slot {
            post.cache.write(slot, from, data.bytes);
        }
        self.slot.is_some()
    }
}

/// Tells the cache of copies nearby, if a module of `len` bytes makes others leave.
fn refresh_nearby(post: &mut Post<'_>, len: usize) {
    if post.config.acquisition.announce && post.cache.is_full_for(len) {
        let registries = post.config.namespaces.iter();
        let Post {
            now,
            mesh,
            cache,
            holders,
            ..
        } = post;
        let registry = registries.map(|namespace| mesh.hops(*now, namespace.registry));
        let hops = registry.flatten().min();
        cache.refresh_nearby(|tasklet| holders.nearby(tasklet, hops));
    }
}

#[cfg(test)]
mod tests;
