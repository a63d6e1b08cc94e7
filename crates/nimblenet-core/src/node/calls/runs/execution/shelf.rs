//! The shelf: makes room in executors for jobs that wait.
//!
//! An executor has *places*, one for each activation that it holds, whether that runs or waits.
//! Places are a store, not a limit: when none is free, an activation that waits is frozen, and its
//! image stays on the node's disk, on the *shelf*, until it goes on.
//!
//! Jobs must never wait for each other in a circle. So a job begins only if its whole chain can get
//! places: because enough places are not promised to other jobs, or because the shelf has room for
//! the images of its whole chain. The first job always begins. An activation that waits can be
//! frozen if its job was promised room on the shelf, so a job with promised places finds them. And
//! if there is a shelf, one place is not promised to a job that begins while others run, so that
//! the jobs on the shelf can go on in turn.
//!
//! An executor may have a place and still no memory for an activation. The job then waits in line,
//! *stalled*, and an activation of another job goes to the shelf for it, even if that job was
//! promised a place, as long as the shelf has room for that job's whole chain. If no activation may
//! go, the work is tried again once an activation has left the executor. If no job that an executor
//! holds can go on, the step of the youngest stalled job fails for want of memory, so that the
//! others go on.

mod promises;

use alloc::vec::Vec;

use nimblenet_tasklet::{Fault, Outcome, Trap};

use self::promises::{Promise, Promises};
use crate::cache::SlotId;
use crate::config::{ExecutorId, Limits};
use crate::job::{Job, Need, State};
use crate::node::post::Post;
use crate::places::{Depth, JobAt};

/// The jobs that wait for room, and what is promised to jobs.
#[derive(Debug)]
pub(in crate::node) struct Shelf {
    promises: Promises,
    /// Bytes of the shelf.
    bytes: usize,
    seats: Vec<Seat>,
    /// How many jobs are stalled in all seats, so that most questions need not look at any.
    stalled: usize,
}

/// One executor.
#[derive(Debug)]
struct Seat {
    /// Jobs for whose work it had no room; the one that has waited longest comes first.
    stalled: Vec<JobAt>,
    /// The activation that it freezes for the shelf.
    freezing: Option<(JobAt, Depth)>,
}

/// What the shelf looks at around it.
pub(in crate::node) trait Around {
    /// All jobs; the one that has its turn last comes first.
    fn jobs(&self) -> impl Iterator<Item = (JobAt, &Job)>;
    /// Whether an executor has a place left.
    fn has_place(&self, executor: ExecutorId) -> bool;
    /// The length of an image.
    fn image_bytes(&self, image: SlotId) -> usize;
}

/// What has become of an activation that was to go to the shelf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Shelved {
    /// Its image is on the shelf.
    Image(SlotId),
    /// The executor could not freeze it, and keeps it.
    Kept,
    /// Its state is lost.
    Lost,
}

impl Shelf {
    /// An empty shelf for the executors that the limits name.
    pub(in crate::node) fn new(limits: &Limits) -> Self {
        let seat = |_| Seat {
            stalled: Vec::with_capacity(limits.jobs),
            freezing: None,
        };
        Self {
            promises: Promises::new(limits),
            bytes: limits.shelf_bytes,
            seats: (0..limits.executors).map(seat).collect(),
            stalled: 0,
        }
    }

    /// Whether the job has begun.
    pub(in crate::node) fn has_begun(&self, job: JobAt) -> bool {
        self.promises.of(job) != Promise::Waiting
    }

    /// Promises a job that has not begun what its whole chain needs; false if that cannot be
    /// promised.
    pub(in crate::node) fn begin(&mut self, job: JobAt, need: Need) -> bool {
        let promise = self.promises.find(need);
        self.promises.set(job, promise.unwrap_or(Promise::Waiting));
        promise.is_some()
    }

    /// Takes over a job that has begun elsewhere, and goes on here with `places` activations.
    pub(in crate::node) fn take_over(&mut self, job: JobAt, places: usize) {
        self.promises.set(job, Promise::Places(places));
    }

    /// Takes back the promise to a job that has ended here.
    pub(in crate::node) fn forget(&mut self, job: JobAt) {
        self.promises.set(job, Promise::Waiting);
        self.unstall(job);
    }

    /// Notes that an executor had no room for the work of a job.
    pub(in crate::node) fn handle_no_room(&mut self, job: JobAt, executor: ExecutorId) {
        self.seat_mut(executor).stalled.push(job);
        self.stalled += 1;
    }

    /// Lets all jobs try again that an executor had no room for: an activation has left it. Returns
    /// the job that has waited longest.
    pub(in crate::node) fn handle_room(&mut self, executor: ExecutorId) -> Option<JobAt> {
        let seat = self.seat_mut(executor);
        let first = seat.stalled.first().copied();
        let left = seat.stalled.len();
        seat.stalled.clear();
        self.stalled -= left;
        first
    }

    /// Notes that the job does not wait for room any more.
    pub(in crate::node) fn unstall(&mut self, job: JobAt) {
        if self.stalled == 0 {
            return;
        }
        for seat in &mut self.seats {
            let before = seat.stalled.len();
            seat.stalled.retain(|held| *held != job);
            self.stalled -= before - seat.stalled.len();
        }
    }

    /// Whether an executor had no room for the job, and no activation has left it since.
    pub(in crate::node) fn is_stalled_at(&self, job: JobAt, executor: ExecutorId) -> bool {
        let seat = self.seats.get(usize::from(executor.0));
        seat.is_some_and(|seat| seat.stalled.contains(&job))
    }

    /// Whether any job waits for room.
    pub(in crate::node) fn has_stalled(&self) -> bool {
        self.stalled > 0
    }

    /// Whether the job waits for room in some executor.
    pub(in crate::node) fn is_stalled(&self, job: JobAt) -> bool {
        self.stalled > 0 && self.seats.iter().any(|seat| seat.stalled.contains(&job))
    }

    /// The activation that must go to the shelf to make room for a stalled job.
    pub(in crate::node) fn poll_room(
        &self,
        executor: ExecutorId,
        around: &impl Around,
    ) -> Option<(JobAt, Depth)> {
        let seat = self.seats.get(usize::from(executor.0))?;
        let stalled = *seat.stalled.first()?;
        self.victim(executor, around, Some(stalled))
    }

    /// The activation that must go to the shelf to make a place.
    pub(in crate::node) fn poll_place(
        &self,
        executor: ExecutorId,
        around: &impl Around,
    ) -> Option<(JobAt, Depth)> {
        self.victim(executor, around, None)
    }

    /// The stalled job that must do without room, because no job that an executor holds can go on.
    /// To be called when executors have nothing to do.
    pub(in crate::node) fn poll_stuck(&self, around: &impl Around) -> Option<JobAt> {
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

    /// Notes that an executor freezes an activation for the shelf. `bytes` is what the whole chain
    /// of its job takes. Returns the room for its image.
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

    /// Whether an executor freezes an activation of the job for the shelf.
    pub(in crate::node) fn is_freezing(&self, job: JobAt) -> bool {
        let mut freezing = self.seats.iter().filter_map(|seat| seat.freezing);
        freezing.any(|(frozen, _)| frozen == job)
    }

    /// The activation that an executor, which has answered, was to freeze for the shelf, if any.
    pub(in crate::node) fn poll_freezing(
        &mut self,
        executor: ExecutorId,
    ) -> Option<(JobAt, Depth)> {
        self.seat_mut(executor).freezing.take()
    }

    /// Takes the answer of an executor that was to freeze an activation for the shelf.
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

    /// Takes the answer of an executor that was to thaw an activation from the shelf, and removes
    /// the image.
    ///
    /// # Errors
    /// Why the activation cannot go on.
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

    /// Checks what must hold between two inputs: `is_live` says whether a job has not ended.
    pub(in crate::node) fn assert_invariants(&self, is_live: impl Fn(JobAt) -> bool) {
        self.promises.assert_invariants();
        let stalled: usize = self.seats.iter().map(|seat| seat.stalled.len()).sum();
        debug_assert_eq!(self.stalled, stalled, "stalled jobs");
        for seat in &self.seats {
            for (at, job) in seat.stalled.iter().enumerate() {
                debug_assert!(is_live(*job), "{job:?} waits for room");
                debug_assert!(!seat.stalled[..at].contains(job), "{job:?} stalls once");
            }
        }
    }

    /// The activation that must go to the shelf if the executor needs a place, or room for the job
    /// `but`: of the activations of other jobs that may go, the one that is needed last. None if
    /// the shelf has no room.
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

    /// Whether a job with promised places may go to the shelf: whether there is room for the
    /// `bytes` of its whole chain besides what is promised to others.
    fn takes(&self, job: JobAt, bytes: usize) -> bool {
        matches!(self.promises.of(job), Promise::Places(_)) && self.promises.has_bytes(bytes)
    }

    /// Whether a job that an executor holds can go on even if no other job does.
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
