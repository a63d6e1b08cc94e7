//! The counters of a node.

use crate::config::FULL;
use crate::job::Source;
use crate::wire::Kind;

/// Why a frame was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DropReason {
    /// It is no frame of this protocol.
    Malformed = 0,
    /// It was seen before.
    Duplicate = 1,
    /// It is addressed to another node.
    NotForUs = 2,
    /// It is too long for its link.
    TooLong = 3,
    /// There is no room among the frames that wait.
    QueueFull = 4,
    /// It has travelled as far as it may.
    TtlExceeded = 5,
    /// It is an answer that nobody waits for.
    Unexpected = 6,
    /// It is the outcome of an activation that has ended.
    StaleOutcome = 7,
    /// Sent by another node that has this node's id, or given back by a line.
    OwnId = 8,
    /// It is one of more floods, or nodes, than this node takes at a time.
    Limited = 9,
    /// Its sender does not hear this node, which passes nothing on from there.
    Deaf = 10,
}

impl DropReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Duplicate,
        Self::NotForUs,
        Self::TooLong,
        Self::QueueFull,
        Self::TtlExceeded,
        Self::Unexpected,
        Self::StaleOutcome,
        Self::OwnId,
        Self::Limited,
        Self::Deaf,
    ];

    /// The reason's name in tables and status documents (spec/api.md).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Duplicate => "duplicate",
            Self::NotForUs => "not_for_us",
            Self::TooLong => "too_long",
            Self::QueueFull => "queue_full",
            Self::TtlExceeded => "ttl_exceeded",
            Self::Unexpected => "unexpected",
            Self::StaleOutcome => "stale_outcome",
            Self::OwnId => "own_id",
            Self::Limited => "limited",
            Self::Deaf => "deaf",
        }
    }
}

/// Frames and bytes of one kind of message.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// Frames sent, forwarded ones included.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets that this node made.
    pub originated: u64,
    /// Frames received.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
}

/// How many tasklets came from where.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Acquired {
    /// The node's own cache.
    pub local: u64,
    /// A node one hop away.
    pub neighbour: u64,
    /// A node further away.
    pub global: u64,
    /// A registry.
    pub registry: u64,
}

/// A node that is not a full one counts the traffic of all kinds together.
const KINDS: usize = if FULL { Kind::ALL.len() } else { 1 };
const REASONS: usize = if FULL { DropReason::ALL.len() } else { 0 };

/// Everything a node counts since its start. A node that is not a full one shows nobody more than its calls,
/// those that it has placed and its bytes, so it counts nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    traffic: [Traffic; KINDS],
    drops: [u64; REASONS],
    /// Tasklets acquired, by source.
    pub acquired: Acquired,
    /// Acquisitions that failed.
    pub not_acquired: u64,
    /// Modules whose bytes did not match their digest.
    pub digest_mismatches: u64,
    /// Catalogue deltas whose signature was not valid.
    pub bad_signatures: u64,
    /// What other nodes said of catalogues and what cannot be, as long as registries lose nothing.
    pub contradictions: u64,
    /// Refusals received.
    pub refusals: u64,
    /// Transfers that went on from another source.
    pub resumed_transfers: u64,
    /// How often shorter parts were asked for, since longer ones did not come over a neighbour.
    pub narrowed: u64,
    /// Frames sent again since they were not acknowledged.
    pub repeated: u64,
    /// Calls taken.
    pub calls: u64,
    /// Calls that ended with a result.
    pub completed: u64,
    /// Calls that ended with a fault.
    pub failed: u64,
    /// Calls of this node that placement has sent to others.
    pub placed: u64,
    /// Calls of other nodes that placement has passed on.
    pub passed: u64,
    /// Results given to other nodes, where their clients had gone.
    pub handed_over: u64,
    /// Jobs that went on at another node.
    pub moved_out: u64,
    /// Jobs of other nodes that went on here.
    pub moved_in: u64,
    /// Jobs of other nodes that were refused.
    pub moves_refused: u64,
    /// Jobs whose move failed, and which went on here.
    pub moves_failed: u64,
}

/// Counts one more of what only a full node counts.
pub(crate) fn count(counter: &mut u64) {
    *counter += u64::from(FULL);
}

impl Counters {
    fn place(kind: Kind) -> usize {
        if FULL { kind as usize - 1 } else { 0 }
    }

    /// Traffic of one kind of message.
    pub fn traffic(&self, kind: Kind) -> &Traffic {
        &self.traffic[Self::place(kind)]
    }

    /// Frames dropped for one reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// Bytes of all frames sent.
    pub fn sent_bytes(&self) -> u64 {
        self.traffic.iter().map(|traffic| traffic.sent_bytes).sum()
    }

    /// Bytes of all frames received.
    pub fn received_bytes(&self) -> u64 {
        self.traffic
            .iter()
            .map(|traffic| traffic.received_bytes)
            .sum()
    }

    /// Counts a tasklet that was acquired from `source`, unless it is native.
    pub(crate) fn count_acquired(&mut self, source: Source) {
        match source {
            Source::Local => count(&mut self.acquired.local),
            Source::Neighbour => count(&mut self.acquired.neighbour),
            Source::Global => count(&mut self.acquired.global),
            Source::Registry => count(&mut self.acquired.registry),
            Source::Native => {}
        }
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        if let Some(drops) = self.drops.get_mut(reason as usize) {
            *drops += 1;
        }
    }

    pub(crate) fn sent(&mut self, kind: Kind, bytes: usize, own: bool) {
        let traffic = &mut self.traffic[Self::place(kind)];
        traffic.sent += 1;
        traffic.sent_bytes += bytes as u64;
        traffic.originated += u64::from(own);
    }

    /// Counts a frame that is sent again.
    pub(crate) fn repeated(&mut self, kind: Kind, bytes: usize) {
        self.sent(kind, bytes, false);
        self.repeated += 1;
    }

    pub(crate) fn received(&mut self, kind: Kind, bytes: usize) {
        let traffic = &mut self.traffic[Self::place(kind)];
        traffic.received += 1;
        traffic.received_bytes += bytes as u64;
    }
}
