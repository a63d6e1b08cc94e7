//! The bench: what executors have to do next.
//!
//! Stops come first, so that an executor lets go of what nobody waits for before it takes on more.
//! Signature checks do not wait for a run to stand still. Then comes the job that moves, then
//! whichever job has been ready for longest.

use alloc::collections::VecDeque;

use nimblenet_tasklet::ActivationId;

use crate::cache::SlotId;
use crate::places::JobAt;

/// What executors have to do.
#[derive(Debug)]
pub(in crate::node) struct Bench {
    /// Jobs that wait for an executor, oldest first.
    ready: VecDeque<JobAt>,
    /// Activations that an executor is to forget.
    stops: VecDeque<Stop>,
    /// What the executor is busy with.
    executing: Option<ActivationId>,
}

/// An activation that the executor is to forget, and the modules that stay reserved until then.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Stop {
    pub(in crate::node) activation: ActivationId,
    pub(in crate::node) modules: [Option<SlotId>; 2],
}

impl Bench {
    /// Room for `jobs` jobs of `depth` activations.
    pub(in crate::node) fn new(jobs: usize, depth: usize) -> Self {
        Self {
            ready: VecDeque::with_capacity(jobs),
            stops: VecDeque::with_capacity(2 * jobs * depth),
            executing: None,
        }
    }

    /// Whether another job may begin: each that there is may yet leave as many stops as it is deep.
    pub(in crate::node) fn takes_jobs(&self) -> bool {
        self.stops.len() * 2 <= self.stops.capacity()
    }

    /// Whether no activation is to be stopped that may still be read.
    pub(in crate::node) fn is_clear(&self) -> bool {
        self.stops.is_empty()
    }

    /// Puts a job in line.
    pub(in crate::node) fn make_ready(&mut self, job: JobAt) {
        self.ready.push_back(job);
    }

    /// Takes a job out of the line.
    pub(in crate::node) fn withdraw(&mut self, job: JobAt) {
        self.ready.retain(|held| *held != job);
    }

    /// Has an activation stopped, which an executor knows.
    pub(in crate::node) fn stop(&mut self, stop: Stop) {
        if self.executing == Some(stop.activation) {
            self.executing = None;
        }
        self.stops.push_back(stop);
    }

    /// The next activation to stop.
    pub(in crate::node) fn poll_stop(&mut self) -> Option<Stop> {
        self.stops.pop_front()
    }

    /// Whether the executor has nothing to do.
    pub(in crate::node) fn is_idle(&self) -> bool {
        self.executing.is_none()
    }

    /// The job whose turn it is.
    pub(in crate::node) fn poll_ready(&mut self) -> Option<JobAt> {
        self.ready.pop_front()
    }

    /// The executor has taken work for an activation.
    pub(in crate::node) fn begin(&mut self, activation: ActivationId) {
        debug_assert!(self.is_idle(), "an executor has one thing to do at a time");
        self.executing = Some(activation);
    }

    /// The executor has answered for an activation; false if nothing was asked of it.
    pub(in crate::node) fn end(&mut self, activation: ActivationId) -> bool {
        self.executing.take_if(|held| *held == activation).is_some()
    }

    /// Checks what must hold between inputs: `is_ready` says whether a job waits for an executor.
    pub(in crate::node) fn assert_invariants(
        &self,
        jobs: impl Iterator<Item = JobAt>,
        is_ready: impl Fn(JobAt) -> bool,
    ) {
        for at in jobs {
            let queued = self.ready.iter().filter(|held| **held == at).count();
            debug_assert_eq!(queued, usize::from(is_ready(at)), "{at:?} in line");
        }
    }

    /// Reservations of modules that stay until their activations are stopped.
    pub(in crate::node) fn reservations(&self) -> usize {
        let modules = self.stops.iter().flat_map(|stop| stop.modules);
        modules.flatten().count()
    }
}
