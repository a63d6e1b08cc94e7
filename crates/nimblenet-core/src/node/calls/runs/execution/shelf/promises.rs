//! Promises: what a job that has begun can count on.

use alloc::vec::Vec;

use crate::config::Limits;
use crate::job::Need;
use crate::places::JobAt;

/// What a job that has begun can count on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Promise {
    /// Nothing: it has not begun.
    Waiting,
    /// This many places.
    Places(usize),
    /// This many bytes on the shelf.
    Shelf(usize),
}

impl Promise {
    fn places(self) -> usize {
        match self {
            Self::Places(places) => places,
            Self::Waiting | Self::Shelf(_) => 0,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Shelf(bytes) => bytes,
            Self::Waiting | Self::Places(_) => 0,
        }
    }
}

/// The promises to jobs, and what is left to promise.
#[derive(Debug)]
pub(super) struct Promises {
    /// The promise to each job.
    of: Vec<Promise>,
    /// How many jobs have begun.
    begun: usize,
    /// How many places are promised.
    places: usize,
    /// How many bytes of the shelf are promised.
    bytes: usize,
    /// How many places all executors have.
    all_places: usize,
    /// How many bytes the shelf has.
    all_bytes: usize,
}

impl Promises {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            of: (0..limits.jobs).map(|_| Promise::Waiting).collect(),
            begun: 0,
            places: 0,
            bytes: 0,
            all_places: limits.places * limits.executors,
            all_bytes: limits.shelf_bytes,
        }
    }

    /// The promise to a job.
    pub(super) fn of(&self, job: JobAt) -> Promise {
        self.of[job.index()]
    }

    /// Replaces the promise to a job.
    pub(super) fn set(&mut self, job: JobAt, promise: Promise) {
        let former = core::mem::replace(&mut self.of[job.index()], promise);
        self.begun -= usize::from(former != Promise::Waiting);
        self.begun += usize::from(promise != Promise::Waiting);
        self.places = self.places - former.places() + promise.places();
        self.bytes = self.bytes - former.bytes() + promise.bytes();
    }

    /// The promise for a job with this need; none if there is no room for it.
    pub(super) fn find(&self, need: Need) -> Option<Promise> {
        // One place stays free of promises, for the jobs on the shelf.
        let kept = usize::from(self.all_bytes > 0);
        if self.begun == 0 || self.places + need.places + kept <= self.all_places {
            Some(Promise::Places(need.places))
        } else {
            self.has_bytes(need.bytes)
                .then_some(Promise::Shelf(need.bytes))
        }
    }

    /// Whether `bytes` bytes of the shelf are not promised yet.
    pub(super) fn has_bytes(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.all_bytes
    }

    /// Checks what must hold between two inputs.
    pub(super) fn assert_invariants(&self) {
        let begun = self.of.iter().filter(|it| **it != Promise::Waiting);
        debug_assert_eq!(self.begun, begun.count(), "jobs that have begun");
        let places: usize = self.of.iter().map(|it| it.places()).sum();
        let bytes: usize = self.of.iter().map(|it| it.bytes()).sum();
        let sums = (self.places, self.bytes);
        debug_assert_eq!(sums, (places, bytes), "sums of promises");
    }
}
