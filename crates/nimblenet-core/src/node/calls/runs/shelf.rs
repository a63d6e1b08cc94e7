//! The shelf: jobs that wait for room in an executor, and what makes it.
//!
//! An executor has *places*, one for each activation that it holds, whether that runs or waits.
//! Places are a store, not a limit: when none is free, an activation that waits is frozen and its
//! image kept on the node's disk, on the *shelf*, until it goes on. So that jobs never wait for
//! each other in a circle, a job is begun only if its whole chain can get places: because so many
//! are not promised to others yet, or because the shelf has room for everything that its chain may
//! have to leave there. The first job is always begun. Whatever is promised room on the shelf can
//! be frozen, so jobs with promised places find theirs; and a place is kept free of promises as
//! long as there is a shelf, so those on the shelf go on in turn.
//!
//! An executor may have places and still no room in its memory for an activation. Its job then
//! waits in line, *stalled*, and an activation of another one is put on the shelf for it, even
//! if that was promised a place, as long as the shelf has room for its whole chain. If none may be,
//! the work is tried again once an activation has left the executor. If nobody who holds anything
//! can go on, the youngest stalled job does not get what it asks for, so that the others do.

mod promises;

use alloc::vec::Vec;

use nimblenet_tasklet::{Fault, Outcome, Trap};

use self::promises::{Promise, Promises};
use crate::cache::SlotId;
use crate::config::{ExecutorId, Limits};
use crate::job::{Job, Need, State};
use crate::node::post::Post;
use crate::places::{Depth, JobAt};

/// What waits for room.
#[derive(Debug)]
pub(in crate::node) struct Shelf {
    promises: Promises,
    /// Bytes of images.
    bytes: usize,
    seats: Vec<Seat>,
}

/// One executor.
#[derive(Debug)]
struct Seat {
    /// Jobs for whose work it had no room, the one that has waited longest first.
    stalled: Vec<JobAt>,
    /// The activation that it puts on the shelf.
    freezing: Option<(JobAt, Depth)>,
}

/// What the shelf looks at around it.
pub(in crate::node) trait Around {
    /// All jobs, the one that is needed last first.
    fn jobs(&self) -> impl Iterator<Item = (JobAt, &Job)>;
    /// Whether an executor has a place left.
    fn has_place(&self, executor: ExecutorId) -> bool;
    /// The length of an image.
    fn image_bytes(&self, image: SlotId) -> usize;
}

/// What has become of an activation that was to be put on the shelf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Shelved {
    /// Its image is there.
    Image(SlotId),
    /// The executor could not freeze it, and keeps it.
    Kept,
    /// Its state is lost.
    Lost,
}

impl Shelf {
    /// An empty shelf beside the executors that the limits name.
    pub(in crate::node) fn new(limits: &Limits) -> Self {
        let seat = |_| Seat {
            stalled: Vec::with_capacity(limits.jobs),
            freezing: None,
        };
        Self {
            promises: Promises::new(limits),
            bytes: limits.shelf_bytes,
            seats: (0..limits.executors).map(seat).collect(),
        }
    }

    /// Whether the job has begun.
    pub(in crate::node) fn has_begun(&self, job: JobAt) -> bool {
        self.promises.of(job) != Promise::Waiting
    }

    /// Promises a job that has yet to begin what its whole chain needs; false if nothing can be
    /// promised.
    pub(in crate::node) fn begin(&mut self, job: JobAt, need: Need) -> bool {
        let promise = self.promises.find(need);
        self.promises.set(job, promise.unwrap_or(Promise::Waiting));
        promise.is_some()
    }

    /// The job has begun elsewhere, and goes on here with so many activations.
    pub(in crate::node) fn take_over(&mut self, job: JobAt, places: usize) {
        self.promises.set(job, Promise::Places(places));
    }

    /// The job has ended here: what it was promised is free.
    pub(in crate::node) fn forget(&mut self, job: JobAt) {
        self.promises.set(job, Promise::Waiting);
        self.unstall(job);
    }

    /// An executor had no room for the work that a job gave it.
    pub(in crate::node) fn handle_no_room(&mut self, job: JobAt, executor: ExecutorId) {
        self.seat_mut(executor).stalled.push(job);
    }

    /// An activation has left an executor: all that had no room there are tried again. Returns
    /// the one that has waited longest.
    pub(in crate::node) fn handle_room(&mut self, executor: ExecutorId) -> Option<JobAt> {
        let seat = self.seat_mut(executor);
        let first = seat.stalled.first().copied();
        seat.stalled.clear();
        first
    }

    /// The job no longer waits for room.
    pub(in crate::node) fn unstall(&mut self, job: JobAt) {
        for seat in &mut self.seats {
            seat.stalled.retain(|held| *held != job);
        }
    }

    /// Whether an executor had no room for the job, and none has become free since.
    pub(in crate::node) fn is_stalled_at(&self, job: JobAt, executor: ExecutorId) -> bool {
        let seat = self.seats.get(usize::from(executor.0));
        seat.is_some_and(|seat| seat.stalled.contains(&job))
    }

    /// Whether the job waits for room in some executor.
    pub(in crate::node) fn is_stalled(&self, job: JobAt) -> bool {
        self.seats.iter().any(|seat| seat.stalled.contains(&job))
    }

    /// The activation that makes room for a stalled job if it is put on the shelf.
    pub(in crate::node) fn poll_room(
        &self,
        executor: ExecutorId,
        around: &impl Around,
    ) -> Option<(JobAt, Depth)> {
        let seat = self.seats.get(usize::from(executor.0))?;
        let stalled = *seat.stalled.first()?;
        self.victim(executor, around, Some(stalled))
    }

    /// The activation that leaves its place if it is put on the shelf.
    pub(in crate::node) fn poll_place(
        &self,
        executor: ExecutorId,
        around: &impl Around,
    ) -> Option<(JobAt, Depth)> {
        self.victim(executor, around, None)
    }

    /// The stalled job that has to do without, because nobody else can go on. Executors have
    /// nothing to do.
    pub(in crate::node) fn poll_stuck(&self, around: &impl Around) -> Option<JobAt> {
        if self.seats.iter().all(|seat| seat.stalled.is_empty()) {
            return None;
        }
        let mut executors = self.executors();
        if executors.any(|executor| self.poll_room(executor, around).is_some()) {
            return None;
        }
        let mut holders = around.jobs().filter(|(_, job)| job.is_held());
        if holders.any(|(at, job)| self.can_go_on(at, job, around)) {
            return None;
        }
        let stalled = around.jobs().filter(|(at, _)| self.is_stalled(*at));
        let youngest = stalled.max_by_key(|(at, job)| (job.is_held(), job.accepted, *at));
        youngest.map(|(at, _)| at)
    }

    /// An executor takes an activation of a job to freeze it, whose whole chain takes `bytes`.
    /// Returns the room that there is for its image.
    pub(in crate::node) fn begin_freezing(
        &mut self,
        executor: ExecutorId,
        (job, depth): (JobAt, Depth),
        bytes: usize,
        around: &impl Around,
    ) -> usize {
        if self.takes(job, bytes) {
            self.promises.set(job, Promise::Shelf(bytes));
        }
        self.seat_mut(executor).freezing = Some((job, depth));
        self.room(around)
    }

    /// Whether an executor puts an activation of the job on the shelf.
    pub(in crate::node) fn is_freezing(&self, job: JobAt) -> bool {
        let mut freezing = self.seats.iter().filter_map(|seat| seat.freezing);
        freezing.any(|(frozen, _)| frozen == job)
    }

    /// An executor has answered: the activation that it was to put on the shelf, if there was one.
    pub(in crate::node) fn poll_freezing(
        &mut self,
        executor: ExecutorId,
    ) -> Option<(JobAt, Depth)> {
        self.seat_mut(executor).freezing.take()
    }

    /// What the executor says of the activation that it was to put on the shelf.
    pub(in crate::node) fn handle_frozen(post: &mut Post<'_>, outcome: Outcome<'_>) -> Shelved {
        match outcome {
            Outcome::Frozen { image, .. } => {
                let Ok(slot) = post.cache.begin_object(image.len(), post.now) else {
                    return Shelved::Lost;
                };
                post.cache.write(slot, 0, image);
                Shelved::Image(slot)
            }
            Outcome::NotFrozen { .. } | Outcome::NoRoom { .. } => Shelved::Kept,
            Outcome::Called { .. }
            | Outcome::Done { .. }
            | Outcome::Failed { .. }
            | Outcome::Yielded { .. }
            | Outcome::Verified { .. } => Shelved::Lost,
        }
    }

    /// What the executor says of an activation that it was to take in from the shelf, whose image
    /// is no longer needed.
    ///
    /// # Errors
    /// How the activation ends if it cannot go on.
    pub(in crate::node) fn handle_thawed(
        post: &mut Post<'_>,
        image: SlotId,
        outcome: Outcome<'_>,
    ) -> Result<(), (Fault, Option<Trap>)> {
        post.cache.release(image);
        post.cache.remove(image);
        match outcome {
            Outcome::Called { .. } | Outcome::Yielded { .. } => Ok(()),
            Outcome::Failed { fault, trap, .. } => Err((fault, trap)),
            Outcome::Done { .. }
            | Outcome::Frozen { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::NoRoom { .. }
            | Outcome::Verified { .. } => Err((Fault::BadImage, None)),
        }
    }

    /// Checks what must hold between inputs: `is_live` says whether a job has yet to end.
    pub(in crate::node) fn assert_invariants(&self, is_live: impl Fn(JobAt) -> bool) {
        self.promises.assert_invariants();
        for seat in &self.seats {
            for (at, job) in seat.stalled.iter().enumerate() {
                debug_assert!(is_live(*job), "{job:?} waits for room");
                debug_assert!(!seat.stalled[..at].contains(job), "{job:?} stalls once");
            }
        }
    }

    /// The activation that is put on the shelf if the executor needs a place, or room for the job
    /// `but`: of those of other jobs that may be, the one that is needed last. None if the shelf
    /// has no room.
    fn victim(
        &self,
        executor: ExecutorId,
        around: &impl Around,
        but: Option<JobAt>,
    ) -> Option<(JobAt, Depth)> {
        if self.room(around) == 0 {
            return None;
        }
        let others = around.jobs().filter(|(at, _)| Some(*at) != but);
        let mut free = others.filter(|(at, job)| {
            let on_shelf = matches!(self.promises.of(*at), Promise::Shelf(_));
            on_shelf || but.is_some() && self.takes(*at, job.need.bytes)
        });
        free.find_map(|(at, job)| Some((at, job.idle_at(executor)?)))
    }

    /// Whether a job has begun with promised places, and the shelf has room for the bytes of its
    /// whole chain besides all that was promised to others.
    fn takes(&self, job: JobAt, bytes: usize) -> bool {
        matches!(self.promises.of(job), Promise::Places(_)) && self.promises.has_bytes(bytes)
    }

    /// Whether a job that has memory of an executor will go on while no other does.
    fn can_go_on(&self, at: JobAt, job: &Job, around: &impl Around) -> bool {
        let Some(top) = job.top().filter(|top| top.has_module) else {
            return true;
        };
        if !matches!(job.state, State::Ready(_)) || job.leaves {
            return true;
        }
        self.executors().any(|executor| {
            let has_place =
                || around.has_place(executor) || self.poll_place(executor, around).is_some();
            !self.is_stalled_at(at, executor)
                && match top.holder() {
                    Some(holder) => holder == executor,
                    None => has_place(),
                }
        })
    }

    /// Bytes that are free on the shelf.
    fn room(&self, around: &impl Around) -> usize {
        let images = around.jobs().flat_map(|(_, job)| job.images());
        let used: usize = images.map(|image| around.image_bytes(image)).sum();
        self.bytes.saturating_sub(used)
    }

    fn executors(&self) -> impl Iterator<Item = ExecutorId> + use<> {
        (0..self.seats.len()).map(|at| ExecutorId(at as u8))
    }

    fn seat_mut(&mut self, executor: ExecutorId) -> &mut Seat {
        &mut self.seats[usize::from(executor.0)]
    }
}

#[cfg(test)]
mod tests;
