//! Shares: how many places among the jobs one party or one namespace takes while others ask
//! (spec/behaviour.md, section 15).
//!
//! Who asks alone may have every place. As soon as somebody else asks, at most half of them are for one
//! party, and half for one namespace: those that it has beyond that come back as its jobs end, and it gets
//! no others. Executors give turns after a slice of fuel to another party if one waits.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{Name, NodeId};

use crate::event::PartyId;
use crate::job::Job;
use crate::places::JobAt;
use crate::time::Instant;

/// Who has called counts as asking for this long, so that it may come again after it was refused.
const ASKED_FOR: Duration = Duration::from_secs(10);
/// So many callers are remembered.
const CALLERS: usize = 16;
/// A share is no less than this: small tables have no room for shares.
const LEAST_SHARE: usize = 4;

/// Whom a job is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Party {
    /// Nobody says; that may be anybody, and no share is counted for it.
    Unknown,
    /// Somebody who calls at this node.
    Outside(PartyId),
    /// Another node.
    Node(NodeId),
}

/// Who has called, and when.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    party: Party,
    namespace: Name,
}

/// What there is to share, and who takes part.
#[derive(Debug)]
pub(in crate::node) struct Shares {
    /// The party outside of each job, by its place; without a meaning for jobs of other nodes.
    outside: Vec<Option<PartyId>>,
    asked: Vec<Asked>,
    /// Whose job had the last turn after a slice.
    last: Party,
}

impl Shares {
    /// Shares of so many places.
    pub(in crate::node) fn new(jobs: usize) -> Self {
        let mut outside = Vec::with_capacity(jobs);
        outside.resize(jobs, None);
        Self {
            outside,
            asked: Vec::with_capacity(CALLERS),
            last: Party::Unknown,
        }
    }

    /// Notes for whom the job at `at` is opened.
    pub(in crate::node) fn note_opened(&mut self, at: JobAt, from: Option<PartyId>) {
        if let Some(outside) = self.outside.get_mut(at.index()) {
            *outside = from;
        }
    }

    /// Whether a call may have a place beside these jobs: it comes from `party`, for a tasklet of
    /// `namespace`.
    pub(in crate::node) fn admit<'j>(
        &mut self,
        now: Instant,
        party: Party,
        namespace: &Name,
        jobs: impl Iterator<Item = (JobAt, &'j Job)>,
    ) -> bool {
        self.asked.retain(|asked| now - asked.at <= ASKED_FOR);
        let share = (self.outside.len() / 2).max(LEAST_SHARE);
        let of_party = |asked: Party| asked == party;
        let of_namespace = |asked: &Name| asked == namespace;
        let (mut parties, mut namespaces) = (0, 0);
        let (mut other_party, mut other_namespace) = (false, false);
        for (at, job) in jobs {
            let (same, alike) = (
                of_party(self.party(at, job)),
                of_namespace(&job.name.namespace),
            );
            parties += usize::from(same);
            namespaces += usize::from(alike);
            (other_party, other_namespace) = (other_party || !same, other_namespace || !alike);
        }
        for asked in &self.asked {
            other_party |= !of_party(asked.party);
            other_namespace |= !of_namespace(&asked.namespace);
        }
        self.note_asked(now, party, namespace);
        let greedy = party != Party::Unknown && other_party && parties >= share;
        let crowded = other_namespace && namespaces >= share;
        !(greedy || crowded)
    }

    /// Whether a job that waits after a slice lets jobs of other parties go before: its party had the last
    /// such turn.
    pub(in crate::node) fn lets_others(&self, at: JobAt, job: &Job) -> bool {
        self.last != Party::Unknown && self.party(at, job) == self.last
    }

    /// Notes that a job has a turn after a slice.
    pub(in crate::node) fn note_turn(&mut self, at: JobAt, job: &Job) {
        self.last = self.party(at, job);
    }

    fn party(&self, at: JobAt, job: &Job) -> Party {
        let outside = self.outside.get(at.index()).copied().flatten();
        match (job.caller, outside) {
            (Some((node, _)), _) => Party::Node(node),
            (None, Some(outside)) => Party::Outside(outside),
            (None, None) => Party::Unknown,
        }
    }

    fn note_asked(&mut self, at: Instant, party: Party, namespace: &Name) {
        let namespace = *namespace;
        let same = |asked: &Asked| asked.party == party && asked.namespace == namespace;
        let known = self.asked.iter().position(same);
        let full = self.asked.len() == CALLERS;
        let oldest = || (0..self.asked.len()).min_by_key(|at| self.asked[*at].at);
        if let Some(place) = known.or_else(|| oldest().filter(|_| full)) {
            self.asked.remove(place);
        }
        self.asked.push(Asked {
            at,
            party,
            namespace,
        });
    }
}
