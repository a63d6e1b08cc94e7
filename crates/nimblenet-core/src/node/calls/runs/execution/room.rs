//! Room: which jobs may bring modules into the cache (spec/behaviour.md, section 9).
//!
//! A chain that waits for its callee keeps its module in the cache, and needs room for that of the callee.
//! If all room is with chains that wait, none can go on. So a job brings nothing into the cache before
//! there is room for all that its chain has there at one time, besides what the jobs that went before it
//! may have there; the first always may. Of the others the most urgent is next.

use alloc::vec::Vec;

use crate::config::Limits;
use crate::places::JobAt;
use crate::queue::Queue;

/// The room in the cache, and the jobs that wait for some.
#[derive(Debug)]
pub(in crate::node) struct Room {
    /// What each job may have there; none if it has nothing.
    promised: Vec<Option<usize>>,
    /// The sum of it.
    sum: usize,
    all: usize,
    waiting: Queue<JobAt>,
}

impl Room {
    /// The room of a cache.
    pub(in crate::node) fn new(limits: &Limits) -> Self {
        Self {
            promised: (0..limits.jobs).map(|_| None).collect(),
            sum: 0,
            all: limits.cache_bytes,
            waiting: Queue::with_capacity(limits.jobs),
        }
    }

    /// Gives a job so many bytes of room; false if it must wait. `is_before` says whether another one is more
    /// urgent.
    pub(in crate::node) fn admit(
        &mut self,
        job: JobAt,
        bytes: usize,
        is_before: impl Fn(JobAt) -> bool,
    ) -> bool {
        if self.promised[job.index()].is_some() {
            return true;
        }
        let mut others = self.waiting.iter().filter(|waits| **waits != job);
        let is_next = !others.any(|other| is_before(*other));
        if is_next && self.has_room(bytes) {
            self.take(job, bytes);
            return true;
        }
        if !self.waiting.contains(&job) {
            self.waiting.push_back(job);
        }
        false
    }

    /// Gives a job that goes on here so many bytes of room, whether there are any or not.
    pub(in crate::node) fn take(&mut self, job: JobAt, bytes: usize) {
        self.forget(job);
        self.promised[job.index()] = Some(bytes);
        self.sum += bytes;
    }

    /// Takes back what a job has; it waits no more.
    pub(in crate::node) fn forget(&mut self, job: JobAt) {
        self.sum -= self.promised[job.index()].take().unwrap_or(0);
        self.waiting.retain(|waits| *waits != job);
    }

    /// The jobs that wait, in no particular order.
    pub(in crate::node) fn waiting(&self) -> impl Iterator<Item = JobAt> {
        self.waiting.iter().copied()
    }

    /// The most urgent job that waits, if there is room for it; `need` says how much one wants.
    pub(in crate::node) fn poll<U: Ord>(
        &self,
        need: impl Fn(JobAt) -> usize,
        urgency: impl Fn(JobAt) -> U,
    ) -> Option<JobAt> {
        let first = self
            .waiting
            .iter()
            .copied()
            .min_by_key(|waits| urgency(*waits))?;
        self.has_room(need(first)).then_some(first)
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        let sum: usize = self.promised.iter().flatten().sum();
        debug_assert_eq!(self.sum, sum, "the sum of what is promised");
        for waits in self.waiting.iter() {
            debug_assert_eq!(self.promised[waits.index()], None, "{waits:?}");
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.sum == 0 || self.sum + bytes <= self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(cache_bytes: usize) -> Room {
        Room::new(&Limits {
            cache_bytes,
            jobs: 4,
            ..Limits::linux()
        })
    }

    /// Of these jobs those with lower places are more urgent.
    fn admit(room: &mut Room, job: JobAt, bytes: usize) -> bool {
        room.admit(job, bytes, |other| other.index() < job.index())
    }

    #[test]
    fn an_urgent_job_goes_before_those_that_wait() {
        let mut room = room(100);
        let [urgent, first, second] = [0, 1, 2].map(JobAt::new);
        assert!(admit(&mut room, first, 60));
        assert!(!admit(&mut room, second, 50));
        assert!(
            admit(&mut room, urgent, 40),
            "it has room, and need not wait for the second"
        );
        room.forget(urgent);
        assert!(!admit(&mut room, urgent, 50));
        room.forget(first);
        assert_eq!(room.poll(|_| 50, JobAt::index), Some(urgent));
        room.assert_invariants();
    }

    #[test]
    fn jobs_begin_in_order_as_far_as_the_cache_has_room_for_their_chains() {
        let mut room = room(100);
        let [first, second, third, fourth] = [0, 1, 2, 3].map(JobAt::new);
        assert!(admit(&mut room, first, 60) && admit(&mut room, second, 40));
        assert!(!admit(&mut room, third, 50) && !admit(&mut room, fourth, 10));
        assert_eq!(room.poll(|_| 50, JobAt::index), None);
        assert!(!admit(&mut room, third, 50), "it is asked again");
        room.forget(second);
        assert_eq!(room.poll(|_| 50, JobAt::index), None);
        assert!(
            !admit(&mut room, fourth, 10),
            "nobody goes before the third"
        );
        room.forget(first);
        assert_eq!(room.poll(|_| 50, JobAt::index), Some(third));
        assert!(admit(&mut room, third, 50));
        assert_eq!(room.poll(|_| 10, JobAt::index), Some(fourth));
        assert!(admit(&mut room, fourth, 10) && admit(&mut room, fourth, 10));
        room.assert_invariants();
    }

    #[test]
    fn a_chain_larger_than_the_cache_begins_alone_and_one_that_ends_waits_no_more() {
        let mut room = room(100);
        let [large, next, last] = [0, 1, 2].map(JobAt::new);
        assert!(admit(&mut room, large, 500));
        assert!(!admit(&mut room, next, 1) && !admit(&mut room, last, 1));
        room.forget(next);
        assert_eq!(room.poll(|_| 1, JobAt::index), None);
        room.forget(large);
        assert_eq!(room.poll(|_| 1, JobAt::index), Some(last));
        // A job that comes from another node is there.
        room.take(next, 99);
        assert_eq!(room.poll(|_| 2, JobAt::index), None);
        assert_eq!(room.poll(|_| 1, JobAt::index), Some(last));
        room.assert_invariants();
    }
}
