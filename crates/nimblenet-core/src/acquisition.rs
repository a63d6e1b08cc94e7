//! One acquisition: Algorithm 1 of the paper as a state machine.
//!
//! It says what to send and is told what came; it touches neither the mesh nor the cache.

use core::time::Duration;

use nimblenet_tasklet::{Digest, Fault, NodeId, TaskletRef};

use crate::cache::SlotId;
use crate::config::Config;
use crate::time::Instant;
use crate::transfer::Transfer;

/// A registry that does not answer is asked this often within one attempt: frames get lost.
pub(crate) const ASKS: u8 = 6;
/// Holders that are remembered besides the winner.
const OTHERS: usize = 4;

/// What is acquired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) tasklet: TaskletRef,
    pub(crate) digest: Digest,
    pub(crate) size: u32,
    /// The only registry that may be asked.
    pub(crate) registry: NodeId,
}

/// A node that has the tasklet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Holder {
    pub(crate) id: NodeId,
    pub(crate) hops: u8,
    /// The smallest frame size on the way.
    pub(crate) mtu: u16,
}

/// Where an acquisition stands. The comments name the lines of Algorithm 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Lines 6 to 11: is it in the cache?
    Check,
    /// Line 12: asked the neighbours.
    LocalSearch,
    /// Line 14: asked the whole mesh.
    GlobalSearch,
    /// Line 17: asked the registry.
    Fallback,
    /// Line 22: asked the holder for metadata.
    Metadata(Holder),
    /// Line 29: asked the holder for the module.
    Fetch(Holder),
    /// Lines 10 and 32: it is in the cache.
    Acquired(SlotId),
    /// Line 34.
    Failed(Fault),
}

/// One acquisition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acquisition {
    pub(crate) wanted: Wanted,
    pub(crate) phase: Phase,
    pub(crate) started: Instant,
    /// Attempts used.
    pub(crate) attempts: u8,
    /// The request number that an answer must have.
    pub(crate) request: u16,
    pub(crate) deadline: Instant,
    /// How often the registry was asked in this attempt.
    pub(crate) asked: u8,
    /// The module's place in the cache while it arrives.
    pub(crate) arriving: Option<SlotId>,
    pub(crate) transfer: Option<Transfer>,
    /// Where it came from: hops, 0 for the node's own cache.
    pub(crate) hops: u8,
    pub(crate) from_registry: bool,
    /// Why the last attempt did not succeed.
    pub(crate) fault: Fault,
    others: [Option<Holder>; OTHERS],
    /// The last source that failed.
    avoid: Option<NodeId>,
}

impl Acquisition {
    pub(crate) fn new(wanted: Wanted, now: Instant) -> Self {
        Self {
            wanted,
            phase: Phase::Check,
            started: now,
            attempts: 0,
            request: 0,
            deadline: now,
            asked: 0,
            arriving: None,
            transfer: None,
            hops: 0,
            from_registry: false,
            fault: Fault::Unreachable,
            others: [None; OTHERS],
            avoid: None,
        }
    }

    /// Whether it waits for `request`.
    pub(crate) fn awaits(&self, request: u16) -> bool {
        !self.ended() && self.phase != Phase::Check && self.request == request
    }

    pub(crate) fn ended(&self) -> bool {
        matches!(self.phase, Phase::Acquired(_) | Phase::Failed(_))
    }

    /// When it must be looked at again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match (self.phase, &self.transfer) {
            (Phase::Check | Phase::Acquired(_) | Phase::Failed(_), _) => None,
            (Phase::Fetch(_), Some(transfer)) => Some(transfer.deadline()),
            _ => Some(self.deadline),
        }
    }

    /// Waits in `phase` for an answer to `request` until `deadline`.
    pub(crate) fn wait(&mut self, phase: Phase, request: u16, deadline: Instant) {
        self.phase = phase;
        self.request = request;
        self.deadline = deadline;
    }

    /// A holder answered. Returns it if it is the winner: the first answer to a search.
    pub(crate) fn found(&mut self, holder: Holder) -> Option<Holder> {
        let searching = matches!(
            self.phase,
            Phase::LocalSearch | Phase::GlobalSearch | Phase::Fallback
        );
        if searching && self.avoid != Some(holder.id) {
            return Some(holder);
        }
        let room = self.others.iter_mut().find(|other| other.is_none());
        if let (false, Some(room)) = (searching, room) {
            *room = Some(holder);
        }
        None
    }

    /// The source failed: another holder that answered, if there is one.
    pub(crate) fn next_holder(&mut self) -> Option<Holder> {
        self.others.iter_mut().find_map(Option::take)
    }

    /// This attempt is over; the next begins, or the acquisition fails.
    pub(crate) fn next_attempt(&mut self, config: &Config, fault: Fault, avoid: Option<NodeId>) {
        self.fault = fault;
        // A registry that failed is asked again: there is no other.
        self.avoid = avoid.filter(|id| *id != self.wanted.registry);
        self.others = [None; OTHERS];
        self.asked = 0;
        self.phase = if self.attempts < config.attempts {
            Phase::Check
        } else {
            Phase::Failed(fault)
        };
    }
}

/// How long to wait for an answer over `hops` links: there and back, half as much again, and one
/// hop for the work at the other end.
pub(crate) fn patience(config: &Config, hops: u8) -> Duration {
    config.hop_time * (3 * u32::from(hops.max(1)) + 1)
}
