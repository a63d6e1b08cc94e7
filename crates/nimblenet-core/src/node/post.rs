//! The ground that all parts of the node share, and the post through which each part uses it.

use core::time::Duration;

use nimblenet_tasklet::{NodeId, TaskletRef};

use crate::cache::SlotId;
use crate::cache::{Buffer, Cache};
use crate::config::Config;
use crate::counters::{Counters, DropReason};
use crate::holders::{Holders, Source};
use crate::latency::Latency;
use crate::mesh::Mesh;
use crate::places::{AcquisitionAt, Depth, JobAt, SubscriptionAt};
use crate::queue::Queue;
use crate::random::Random;
use crate::repute::Repute;
use crate::time::Instant;
use crate::wire::{GoNumber, Message, Object};

/// How often a question is asked without any answer before it is given up: frames get lost.
pub(in crate::node) const ASKS: u8 = 6;
/// A node that has said that it works is asked again after this many times the patience for an
/// answer.
pub(in crate::node) const ASK_AFTER: u32 = 8;
/// A node that works is asked again after this many times the usual pause at the latest.
pub(in crate::node) const LONGEST_WAIT: u32 = 8;

/// Answers over more links than this are waited for as over so many: that is longer than frames take there and
/// back over 50.
const FURTHEST: u8 = 33;
/// On lossy links, where frames are repeated, a hop takes so many times as long as usual.
const LOSSY_HOP: u32 = 2;

/// What all parts of a node share.
pub(in crate::node) struct Ground {
    /// The time of the last input or command.
    pub(in crate::node) now: Instant,
    pub(in crate::node) config: Config,
    pub(in crate::node) mesh: Mesh,
    pub(in crate::node) cache: Cache,
    /// The image of the job that moves.
    pub(in crate::node) image: Buffer,
    pub(in crate::node) counters: Counters,
    /// What the nodes near this one hold.
    pub(in crate::node) holders: Holders,
    /// How long sources take to answer.
    pub(in crate::node) latency: Latency,
    /// Which sources have failed lately.
    pub(in crate::node) repute: Repute,
    last_request: u16,
    orders: Queue<Order>,
}

impl Ground {
    pub(in crate::node) fn new(config: Config, mesh: Mesh, cache: Cache, image: Buffer) -> Self {
        // One for each acquisition, one for a delta, one for a record.
        let fetches = config.limits.acquisitions + 2;
        let delay = config.acquisition.announce && !config.role.is_registry();
        let delay = delay.then_some(config.pace.announce);
        let random = Random::new(config.seed ^ u64::from(config.id.0) << 48 ^ 1);
        let sources = match config.acquisition.adapt {
            true => config.limits.neighbours,
            false => 0,
        };
        Self {
            now: Instant::ZERO,
            latency: Latency::new(sources, config.limits.cache_bytes),
            repute: Repute::new(sources),
            holders: Holders::new(
                config.limits.holdings,
                2 * config.limits.neighbours,
                delay,
                random,
            ),
            config,
            mesh,
            cache,
            image,
            counters: Counters::default(),
            last_request: 0,
            orders: Queue::with_capacity(fetches),
        }
    }

    /// The post for a part at `now`.
    // Not inlined: every entry of the node calls it, and its code is longer than a call.
    #[inline(never)]
    pub(in crate::node) fn post(&mut self, now: Instant) -> Post<'_> {
        self.now = now;
        Post {
            now,
            config: &self.config,
            mesh: &mut self.mesh,
            cache: &mut self.cache,
            image: &mut self.image,
            counters: &mut self.counters,
            holders: &mut self.holders,
            latency: &mut self.latency,
            repute: &mut self.repute,
            last_request: &mut self.last_request,
            orders: &mut self.orders,
        }
    }
}

/// What a part of the node works with: the time, the mesh, the disk, the counters and the settings.
pub(in crate::node) struct Post<'n> {
    pub(in crate::node) now: Instant,
    pub(in crate::node) config: &'n Config,
    pub(in crate::node) mesh: &'n mut Mesh,
    pub(in crate::node) cache: &'n mut Cache,
    /// The image of the job that moves.
    pub(in crate::node) image: &'n mut Buffer,
    pub(in crate::node) counters: &'n mut Counters,
    /// What the nodes near this one hold.
    pub(in crate::node) holders: &'n mut Holders,
    /// How long sources take to answer.
    pub(in crate::node) latency: &'n mut Latency,
    /// Which sources have failed lately.
    pub(in crate::node) repute: &'n mut Repute,
    last_request: &'n mut u16,
    orders: &'n mut Queue<Order>,
}

impl Post<'_> {
    /// Sends a message to one node.
    pub(in crate::node) fn send(&mut self, to: NodeId, message: Message<'_>) {
        self.mesh.send(self.now, to, message, self.counters);
    }

    /// Sends a message to every node within `ttl` hops.
    pub(in crate::node) fn flood(&mut self, ttl: u8, message: Message<'_>) {
        self.mesh.flood(self.now, ttl, message, self.counters);
    }

    /// A new request number, which no answer on its way has.
    pub(in crate::node) fn new_request(&mut self) -> u16 {
        *self.last_request = self.last_request.wrapping_add(1);
        *self.last_request
    }

    /// Orders a fetch; the order's owner hears how it ends.
    pub(in crate::node) fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// The oldest order for which no fetch has begun.
    pub(in crate::node) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Counts a message that nothing waits for.
    pub(in crate::node) fn unexpected(&mut self) {
        self.counters.drop(DropReason::Unexpected);
    }

    /// How long to wait for an answer over `hops` links: there and back, half as much again, and
    /// one hop for the work at the other end. No longer than over [`FURTHEST`]: somebody may have told of a
    /// way that is not there.
    pub(in crate::node) fn patience(&self, hops: u8) -> Duration {
        let hop = match self.mesh.is_lossy() {
            true => self.config.pace.hop * LOSSY_HOP,
            false => self.config.pace.hop,
        };
        hop * (3 * u32::from(hops.clamp(1, FURTHEST)) + 1)
    }

    /// How long to wait for an answer of `node`, as far as it has been measured.
    pub(in crate::node) fn patience_for(&self, node: NodeId) -> Duration {
        let usual = self.usual_patience_for(node);
        self.latency.timeout(node, usual, 0)
    }

    /// The time in which an answer of `node` usually comes.
    pub(in crate::node) fn usual_patience_for(&self, node: NodeId) -> Duration {
        let hops = self.mesh.hops(self.now, node);
        hops.map_or(self.config.pace.global_search, |hops| self.patience(hops))
    }

    /// The nearest node that holds a module and has not failed this one lately, except `avoid`.
    pub(in crate::node) fn nearest(
        &self,
        tasklet: TaskletRef,
        avoid: Option<NodeId>,
    ) -> Option<Source> {
        let points = |id| self.repute.points(self.now, id);
        self.holders.nearest(tasklet, avoid, points)
    }

    /// How long to let `node` work before this node asks it again.
    pub(in crate::node) fn working_patience_for(&self, node: NodeId) -> Duration {
        self.patience_for(node) * ASK_AFTER
    }
}

/// A question to another node, which is repeated until it is answered or given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Ask {
    /// When to ask again.
    due: Instant,
    /// How often it was asked since the last answer.
    unanswered: u8,
}

impl Ask {
    /// A question that has not been asked.
    pub(in crate::node) fn new(now: Instant) -> Self {
        let unanswered = 0;
        Self {
            due: now,
            unanswered,
        }
    }

    pub(in crate::node) fn due(&self) -> Instant {
        self.due
    }

    pub(in crate::node) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// Notes that it was asked; an answer is due after `wait`.
    pub(in crate::node) fn asked(&mut self, now: Instant, wait: Duration) {
        self.unanswered = self.unanswered.saturating_add(1);
        self.due = now + wait;
    }

    /// Notes that it was answered; it is asked again after `wait`.
    pub(in crate::node) fn answered(&mut self, now: Instant, wait: Duration) {
        self.due = now + wait;
        self.unanswered = 0;
    }

    /// Makes it a new question, which is asked at once.
    pub(in crate::node) fn renew(&mut self) {
        self.unanswered = 0;
    }

    /// How often it was asked since the last answer.
    pub(in crate::node) fn unanswered(&self) -> u8 {
        self.unanswered
    }

    /// Whether it was asked often enough.
    pub(in crate::node) fn is_exhausted(&self) -> bool {
        self.unanswered >= ASKS
    }
}

/// The owner of a fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Owner {
    /// A module for an acquisition.
    Acquisition(AcquisitionAt),
    /// A delta for a subscription.
    Subscription(SubscriptionAt),
    /// The record of a job that arrives.
    Arrival,
}

/// The order to fetch an object.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Order {
    pub(in crate::node) owner: Owner,
    pub(in crate::node) object: Object,
    pub(in crate::node) source: NodeId,
    /// The number of links to the source; if none, the mesh says it at each request.
    pub(in crate::node) hops: Option<u8>,
    /// Bytes of a part.
    pub(in crate::node) part: u16,
    /// The object's length, if that is known.
    pub(in crate::node) expected: Option<u32>,
    /// How often the source is asked in vain before it counts as silent.
    pub(in crate::node) asks: u8,
    /// Whether only this source is asked.
    pub(in crate::node) direct: bool,
}

/// How often most sources of a fetch are asked in vain: frames get lost.
pub(in crate::node) const SOURCE_ASKS: u8 = 6;

/// How a fetch has ended, or why it gets no more from its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum FetchEnd {
    /// All bytes are here: a module or delta in this place, a record in the image buffer.
    Complete(Option<SlotId>),
    /// The object is longer or newer than agreed.
    Changed,
    /// It is longer than it may be.
    TooLong,
    /// There is no room for it.
    NoRoom,
    /// The source does not serve it.
    Refused,
    /// The source does not answer.
    Silent,
}

/// The work of an executor for the job that moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum ImageWork {
    /// Freeze an activation of a job.
    Freeze { job: JobAt, at: Depth },
    /// Thaw an activation of a job.
    Thaw { job: JobAt, at: Depth },
}

impl ImageWork {
    /// The activation that it is for.
    pub(in crate::node) fn place(self) -> (JobAt, Depth) {
        match self {
            Self::Freeze { job, at } | Self::Thaw { job, at } => (job, at),
        }
    }
}

/// A job that has gone: another node was told to run it.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Gone {
    pub(in crate::node) to: NodeId,
    /// The request number of the offer.
    pub(in crate::node) request: u32,
    /// The number of the go.
    pub(in crate::node) number: GoNumber,
    /// When to ask the node again.
    pub(in crate::node) due: Instant,
}

#[cfg(test)]
mod tests;
