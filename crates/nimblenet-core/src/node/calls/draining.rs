//! Draining (spec/behaviour.md, section 14): a node that is to be taken away gives its jobs to others,
//! one after the other, and takes no new ones.

use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::job::CallId;
use crate::place::Neighbour;
use crate::time::Instant;

/// When all jobs that are here have been offered to a node, and some stay, they are offered to the next one
/// after this time.
const OFFERED_AGAIN: Duration = Duration::from_secs(1);

/// How far a node is with giving its jobs away; none of this if it is not asked to.
#[derive(Debug)]
pub(in crate::node) struct Draining {
    drains: bool,
    /// The call that was offered last in this round.
    last: Option<CallId>,
    /// Rounds that have ended.
    rounds: usize,
    /// When the next round begins; none while one lasts.
    due: Option<Instant>,
}

impl Draining {
    /// A node that keeps its jobs.
    pub(in crate::node) fn new() -> Self {
        Self {
            drains: false,
            last: None,
            rounds: 0,
            due: None,
        }
    }

    /// Begins to give jobs away, or ends that; false if it was so before.
    pub(in crate::node) fn set(&mut self, drains: bool) -> bool {
        let changes = self.drains != drains;
        if changes {
            *self = Self {
                drains,
                ..Self::new()
            };
        }
        changes
    }

    /// Whether the node gives its jobs away.
    pub(in crate::node) fn is_on(&self) -> bool {
        self.drains
    }

    /// The job to give away next, of those that are here, and the node to give it to.
    pub(in crate::node) fn next(
        &mut self,
        now: Instant,
        here: impl Iterator<Item = CallId>,
        neighbours: &[Neighbour],
    ) -> Option<(CallId, NodeId)> {
        if !self.drains || self.due.is_some_and(|due| now < due) {
            return None;
        }
        self.due = None;
        let mut any = false;
        let after = here.inspect(|_| any = true);
        let next = after.filter(|call| Some(*call) > self.last).min();
        let Some(call) = next else {
            self.last = None;
            self.rounds += 1;
            self.due = any.then_some(now + OFFERED_AGAIN);
            return None;
        };
        // Who has refused all of them is not asked first again.
        let first = neighbours.iter().min_by_key(|it| (it.wait, it.id));
        let first = first.map_or(0, |first| {
            let at = neighbours.iter().position(|it| it.id == first.id);
            at.unwrap_or(0)
        });
        let Some(to) = neighbours.get((first + self.rounds) % neighbours.len().max(1)) else {
            self.due = Some(now + OFFERED_AGAIN);
            return None;
        };
        self.last = Some(call);
        Some((call, to.id))
    }

    /// When to offer jobs again.
    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::node::stage::{NEAR, OTHER};

    fn neighbour(id: NodeId, wait_s: u64) -> Neighbour {
        Neighbour {
            id,
            wait: Duration::from_secs(wait_s),
            work: Duration::ZERO,
            way: Duration::ZERO,
            executors: 1,
            lacks: 0,
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn each_job_is_offered_once_and_those_that_stay_to_another_node_a_second_later() {
        let mut draining = Draining::new();
        let neighbours = [neighbour(NEAR, 0), neighbour(OTHER, 5)];
        let here = [CallId(3), CallId(1), CallId(2)];
        let offered = |draining: &mut Draining, now| {
            let next = || draining.next(now, here.into_iter(), &neighbours);
            core::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert_eq!(offered(&mut draining, at(1)), [], "it is not asked to");
        assert!(draining.set(true) && !draining.set(true));
        let to = |node| [1, 2, 3].map(|call| (CallId(call), node));
        assert_eq!(offered(&mut draining, at(1)), to(NEAR));
        assert_eq!(offered(&mut draining, at(1)), []);
        assert_eq!(draining.poll_timeout(), Some(at(2)));
        assert_eq!(offered(&mut draining, at(2)), to(OTHER));
        assert!(draining.set(false));
        assert_eq!(offered(&mut draining, at(9)), []);
    }

    #[test]
    fn without_a_neighbour_it_looks_again_and_without_a_job_it_rests() {
        let mut draining = Draining::new();
        draining.set(true);
        let here = [CallId(1)];
        assert_eq!(draining.next(at(1), here.into_iter(), &[]), None);
        assert_eq!(draining.poll_timeout(), Some(at(2)));
        let neighbours = [neighbour(NEAR, 0)];
        let next = draining.next(at(2), here.into_iter(), &neighbours);
        assert_eq!(next, Some((CallId(1), NEAR)));
        assert_eq!(draining.next(at(2), [].into_iter(), &neighbours), None);
        assert_eq!(draining.poll_timeout(), None);
    }
}
