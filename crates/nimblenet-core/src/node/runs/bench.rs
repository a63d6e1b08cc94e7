//! The bench: what each executor has to do next.
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
//!
//! For each executor stops come first, so that it lets go of what nobody waits for before it takes
//! on more. Signature checks do not wait for a run to stand still. Then comes the job that moves.
//! Then new work and work that has used up a slice of fuel take turns, so that a short call is
//! answered soon however many long ones run.

use alloc::vec::Vec;

use nimblenet_tasklet::ActivationId;

use crate::cache::SlotId;
use crate::config::{ExecutorId, Limits};
use crate::job::Need;
use crate::places::JobAt;
use crate::queue::Queue;

/// What executors have to do.
#[derive(Debug)]
pub(in crate::node) struct Bench {
    seats: Vec<Seat>,
    /// Places of each executor.
    places: usize,
    /// Jobs that wait for an executor with new work, oldest first.
    fresh: Queue<JobAt>,
    /// Jobs that wait for an executor after a slice, oldest first.
    sliced: Queue<JobAt>,
    /// Whether the last job that was handed out had used up a slice.
    last_was_sliced: bool,
    /// Activations that an executor is to forget.
    stops: Queue<Stop>,
    /// What was promised to jobs that have begun, by their place.
    promises: Promises,
    shelf_bytes: usize,
}

/// One executor.
#[derive(Debug)]
struct Seat {
    executing: Option<Executing>,
    /// Places that are taken.
    held: usize,
    /// Jobs for whose work it had no room, the one that has waited longest first.
    stalled: Vec<JobAt>,
}

/// What an executor is busy with.
#[derive(Clone, Copy, Debug)]
struct Executing {
    activation: ActivationId,
    /// Whether it takes a place.
    placed: bool,
    /// Whether it did not before.
    new: bool,
}

/// What an executor's answer does to the place of an activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum After {
    /// It keeps it.
    Stays,
    /// It leaves it.
    Leaves,
    /// It is as it was before the work was given.
    AsBefore,
}

impl Seat {
    fn new(limits: &Limits) -> Self {
        Self {
            executing: None,
            held: 0,
            stalled: Vec::with_capacity(limits.jobs),
        }
    }
}

/// What a job that has begun can count on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Promise {
    /// It has not begun.
    Waiting,
    /// So many places.
    Places(usize),
    /// So many bytes on the shelf.
    Shelf(usize),
}

/// What jobs were promised.
#[derive(Debug)]
struct Promises {
    /// By the places of jobs.
    of: Vec<Promise>,
    /// Jobs that have begun.
    begun: usize,
    /// Places that were promised in all.
    places: usize,
    /// Bytes of the shelf that were promised in all.
    bytes: usize,
}

impl Promises {
    fn new(jobs: usize) -> Self {
        Self {
            of: (0..jobs).map(|_| Promise::Waiting).collect(),
            begun: 0,
            places: 0,
            bytes: 0,
        }
    }

    fn of(&self, job: JobAt) -> Promise {
        self.of[job.index()]
    }

    /// A job is promised this instead of what it was.
    fn set(&mut self, job: JobAt, promise: Promise) {
        let former = core::mem::replace(&mut self.of[job.index()], promise);
        self.begun -= usize::from(former != Promise::Waiting);
        self.begun += usize::from(promise != Promise::Waiting);
        self.places = self.places - former.places() + promise.places();
        self.bytes = self.bytes - former.bytes() + promise.bytes();
    }

    fn assert_invariants(&self) {
        let begun = self.of.iter().filter(|it| **it != Promise::Waiting);
        debug_assert_eq!(self.begun, begun.count(), "jobs that have begun");
        let places: usize = self.of.iter().map(|it| it.places()).sum();
        let bytes: usize = self.of.iter().map(|it| it.bytes()).sum();
        debug_assert_eq!(
            (self.places, self.bytes),
            (places, bytes),
            "sums of promises"
        );
    }
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

/// An activation that an executor is to forget, and the modules that stay reserved until then.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Stop {
    pub(in crate::node) activation: ActivationId,
    pub(in crate::node) executor: ExecutorId,
    /// Whether it takes a place.
    pub(in crate::node) placed: bool,
    pub(in crate::node) modules: [Option<SlotId>; 2],
    /// Its image on the shelf, if the executor may be reading it.
    pub(in crate::node) image: Option<SlotId>,
}

/// What a job needs of the executor that takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Demand {
    /// Nothing: a native tasklet.
    Nothing,
    /// To be this one, which holds the activation.
    Holder(ExecutorId),
    /// A place.
    Place,
}

/// The job whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Turn {
    /// It is handed to the executor.
    Run(JobAt),
    /// A place has to be made for it first.
    MakePlace(JobAt),
}

impl Bench {
    /// The executors and the room that the limits name.
    pub(in crate::node) fn new(limits: &Limits) -> Self {
        Self {
            seats: (0..limits.executors).map(|_| Seat::new(limits)).collect(),
            places: limits.places,
            fresh: Queue::with_capacity(limits.jobs),
            sliced: Queue::with_capacity(limits.jobs),
            last_was_sliced: false,
            stops: Queue::with_capacity(2 * limits.jobs * limits.depth),
            promises: Promises::new(limits.jobs),
            shelf_bytes: limits.shelf_bytes,
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

    /// Puts a job at the front of the line: what it waited for was made for it.
    pub(in crate::node) fn make_first(&mut self, job: JobAt) {
        self.fresh.push_front(job);
        self.last_was_sliced = true;
    }

    /// Puts a job in line: with new work, or after a slice.
    pub(in crate::node) fn make_ready(&mut self, job: JobAt, sliced: bool) {
        let line = if sliced {
            &mut self.sliced
        } else {
            &mut self.fresh
        };
        line.push_back(job);
    }

    /// Puts a job in line again for whose work an executor had no room. It is the first that is
    /// tried of those that were not stalled before.
    pub(in crate::node) fn put_back(&mut self, job: JobAt, executor: ExecutorId, sliced: bool) {
        let stalled = |held: &JobAt| self.seats.iter().any(|seat| seat.stalled.contains(held));
        let line = if sliced { &self.sliced } else { &self.fresh };
        let at = line.iter().rposition(stalled).map_or(0, |last| last + 1);
        let line = if sliced {
            &mut self.sliced
        } else {
            &mut self.fresh
        };
        line.insert(at, job);
        let seat = self.seat_mut(executor);
        seat.stalled.push(job);
    }

    /// The executors.
    pub(in crate::node) fn executors(&self) -> impl Iterator<Item = ExecutorId> + use<> {
        (0..self.seats.len()).map(|at| ExecutorId(at as u8))
    }

    /// The job that has waited longest for room in an executor.
    pub(in crate::node) fn first_stalled(&self, executor: ExecutorId) -> Option<JobAt> {
        let seat = self.seats.get(usize::from(executor.0))?;
        seat.stalled.first().copied()
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

    /// Whether jobs wait for room, and nothing is under way that makes any.
    pub(in crate::node) fn may_be_stuck(&self) -> bool {
        let idle = |seat: &Seat| seat.executing.is_none();
        self.stops.is_empty()
            && self.seats.iter().all(idle)
            && self.seats.iter().any(|seat| !seat.stalled.is_empty())
    }

    /// The job no longer waits for room.
    pub(in crate::node) fn unstall(&mut self, job: JobAt) {
        for seat in &mut self.seats {
            seat.stalled.retain(|held| *held != job);
        }
    }

    /// Takes a job out of the line.
    pub(in crate::node) fn withdraw(&mut self, job: JobAt) {
        self.unstall(job);
        self.fresh.retain(|held| *held != job);
        self.sliced.retain(|held| *held != job);
    }

    /// The job has ended here: what it was promised is free.
    pub(in crate::node) fn forget(&mut self, job: JobAt) {
        self.promises.set(job, Promise::Waiting);
        self.unstall(job);
    }

    /// The job has begun elsewhere, and goes on here with so many activations.
    pub(in crate::node) fn take_over(&mut self, job: JobAt, places: usize) {
        self.promises.set(job, Promise::Places(places));
    }

    /// Whether activations of the job may be put on the shelf.
    pub(in crate::node) fn may_shelve(&self, job: JobAt) -> bool {
        matches!(self.promises.of(job), Promise::Shelf(_))
    }

    /// Lets activations of a job that has begun be put on the shelf from now on, if that has room
    /// for its whole chain. The places that it was promised are free.
    pub(in crate::node) fn promise_shelf(&mut self, job: JobAt, bytes: usize) {
        if self.shelf_takes(job, bytes) {
            self.promises.set(job, Promise::Shelf(bytes));
        }
    }

    /// Whether a job has begun with promised places, and the shelf has room for the bytes of its
    /// whole chain besides all that was promised to others.
    pub(in crate::node) fn shelf_takes(&self, job: JobAt, bytes: usize) -> bool {
        matches!(self.promises.of(job), Promise::Places(_))
            && self.promises.bytes + bytes <= self.shelf_bytes
    }

    /// Whether the job has begun.
    fn has_begun(&self, job: JobAt) -> bool {
        self.promises.of(job) != Promise::Waiting
    }

    /// Has an activation stopped, which an executor knows.
    pub(in crate::node) fn stop(&mut self, stop: Stop) {
        let seat = self.seat_mut(stop.executor);
        seat.executing
            .take_if(|held| held.activation == stop.activation);
        self.stops.push_back(stop);
    }

    /// The next activation that an executor is to forget.
    pub(in crate::node) fn poll_stop(&mut self, executor: ExecutorId) -> Option<Stop> {
        let at = self.stops.iter().position(|it| it.executor == executor)?;
        let stop = self.stops.remove(at)?;
        if stop.placed {
            self.free_place(executor);
        }
        Some(stop)
    }

    /// Whether an executor has nothing to do.
    pub(in crate::node) fn is_idle(&self, executor: ExecutorId) -> bool {
        let seat = self.seats.get(usize::from(executor.0));
        seat.is_some_and(|seat| seat.executing.is_none())
    }

    /// Whether an executor has a place left.
    pub(in crate::node) fn has_place(&self, executor: ExecutorId) -> bool {
        let seat = self.seats.get(usize::from(executor.0));
        seat.is_some_and(|seat| seat.held < self.places)
    }

    /// The job whose turn it is on an executor that has nothing to do. `demand` says what each job
    /// needs of it, `need` what the whole chain of a job needs that has yet to begin.
    /// `can_make_place` says whether a place can be made by putting something on the shelf.
    pub(in crate::node) fn poll_turn(
        &mut self,
        executor: ExecutorId,
        can_make_place: bool,
        demand: impl Fn(JobAt) -> Demand,
        need: impl Fn(JobAt) -> Need,
    ) -> Option<Turn> {
        if self.fresh.is_empty() && self.sliced.is_empty() {
            return None;
        }
        let room = self.has_place(executor) || can_make_place;
        let first_sliced = !self.last_was_sliced;
        let turn = self.turn_in(first_sliced, (executor, room), &demand, &need);
        turn.or_else(|| self.turn_in(!first_sliced, (executor, room), &demand, &need))
    }

    /// Jobs in line, the one that is needed last first.
    pub(in crate::node) fn backwards(&self) -> impl Iterator<Item = JobAt> {
        let fresh = self.fresh.iter().rev();
        self.sliced.iter().rev().chain(fresh).copied()
    }

    /// An executor has taken work for an activation that takes a place if it is `placed`: from now
    /// on if it is `new` there.
    pub(in crate::node) fn begin(
        &mut self,
        executor: ExecutorId,
        activation: ActivationId,
        placed: bool,
        new: bool,
    ) {
        let seat = self.seat_mut(executor);
        debug_assert!(seat.executing.is_none(), "one thing at a time");
        seat.executing = Some(Executing {
            activation,
            placed,
            new,
        });
        seat.held += usize::from(placed && new);
    }

    /// An executor has answered for an activation; none if nothing was asked of it.
    pub(in crate::node) fn end(
        &mut self,
        activation: ActivationId,
        after: After,
    ) -> Option<ExecutorId> {
        let executes = |seat: &Seat| seat.executing.map(|held| held.activation);
        let is_for = |seat: &Seat| executes(seat) == Some(activation);
        let at = self.seats.iter().position(is_for)?;
        let executing = self.seats[at].executing.take()?;
        let executor = ExecutorId(at as u8);
        if executing.placed && after == After::Leaves {
            self.free_place(executor);
        } else if executing.placed && executing.new && after == After::AsBefore {
            self.seats[at].held -= 1;
        }
        Some(executor)
    }

    /// An activation has left its place: there may be room for those that are stalled.
    fn free_place(&mut self, executor: ExecutorId) {
        let seat = &mut self.seats[usize::from(executor.0)];
        debug_assert!(seat.held > 0, "a place is freed once");
        seat.held = seat.held.saturating_sub(1);
        if let Some(first) = seat.stalled.first() {
            self.last_was_sliced = self.fresh.contains(first);
        }
        seat.stalled.clear();
    }

    /// Checks what must hold between inputs: `is_ready` says whether a job waits for an executor,
    /// `held` how many places of an executor are taken by activations of jobs.
    pub(in crate::node) fn assert_invariants(
        &self,
        is_ready: impl Fn(JobAt) -> bool,
        held: impl Fn(ExecutorId) -> usize,
    ) {
        self.promises.assert_invariants();
        for at in (0..self.promises.of.len()).map(JobAt::new) {
            let line = self.fresh.iter().chain(self.sliced.iter());
            let queued = line.filter(|held| **held == at).count();
            debug_assert_eq!(queued, usize::from(is_ready(at)), "{at:?} in line");
        }
        for (at, seat) in self.seats.iter().enumerate() {
            let executor = ExecutorId(at as u8);
            let stops = self.stops.iter();
            let stopped = stops.filter(|stop| stop.executor == executor && stop.placed);
            let expected = held(executor) + stopped.count();
            debug_assert_eq!(seat.held, expected, "places of executor {at}");
        }
    }

    /// Reservations of modules that stay until their activations are stopped.
    pub(in crate::node) fn reservations(&self) -> usize {
        let stops = self.stops.iter();
        let held = stops.flat_map(|stop| stop.modules.into_iter().chain([stop.image]));
        held.flatten().count()
    }

    fn turn_in(
        &mut self,
        sliced: bool,
        (executor, room): (ExecutorId, bool),
        demand: &impl Fn(JobAt) -> Demand,
        need: &impl Fn(JobAt) -> Need,
    ) -> Option<Turn> {
        let line = if sliced { &self.sliced } else { &self.fresh };
        let mut blocked = false;
        let mut turn = None;
        for (at, job) in line.iter().copied().enumerate() {
            if self.is_stalled_at(job, executor) {
                continue;
            }
            let (fits, needs_place) = match demand(job) {
                Demand::Nothing => (true, false),
                Demand::Holder(holder) => (holder == executor, false),
                Demand::Place if self.has_begun(job) => (room, true),
                // Jobs begin in order, so that a large one has its turn too.
                Demand::Place if blocked || !room => (false, true),
                Demand::Place => {
                    let promise = self.promise(need(job));
                    blocked = promise.is_none();
                    self.promises.set(job, promise.unwrap_or(Promise::Waiting));
                    (!blocked, true)
                }
            };
            if fits {
                turn = Some((at, job, needs_place));
                break;
            }
        }
        let (at, job, needs_place) = turn?;
        if needs_place && !self.has_place(executor) {
            return Some(Turn::MakePlace(job));
        }
        let line = if sliced {
            &mut self.sliced
        } else {
            &mut self.fresh
        };
        line.remove(at);
        self.last_was_sliced = sliced;
        Some(Turn::Run(job))
    }

    /// What a job that needs this can be promised, if anything.
    fn promise(&self, need: Need) -> Option<Promise> {
        let Promises {
            begun,
            places,
            bytes,
            ..
        } = self.promises;
        let all = self.places * self.seats.len();
        // One place stays for those on the shelf.
        let kept = usize::from(self.shelf_bytes > 0);
        if begun == 0 || places + need.places + kept <= all {
            Some(Promise::Places(need.places))
        } else if bytes + need.bytes <= self.shelf_bytes {
            Some(Promise::Shelf(need.bytes))
        } else {
            None
        }
    }

    fn seat_mut(&mut self, executor: ExecutorId) -> &mut Seat {
        &mut self.seats[usize::from(executor.0)]
    }
}

#[cfg(test)]
mod tests;
