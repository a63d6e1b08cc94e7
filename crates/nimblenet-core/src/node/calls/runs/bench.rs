//! The bench: what each executor has to do next.
//!
//! For each executor stops come first, so that it lets go of what nobody waits for before it takes
//! on more. Signature checks do not wait for a run to stand still. Then comes the job that moves.
//! Then new work and work that has used up a slice of fuel take turns, so that a short call is
//! answered soon however many long ones run. Jobs that wait for room keep their turns.

use alloc::vec::Vec;

use nimblenet_tasklet::ActivationId;

use crate::cache::SlotId;
use crate::config::{ExecutorId, Limits};
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
}

/// One executor.
#[derive(Default, Debug)]
struct Seat {
    executing: Option<Executing>,
    /// Places that are taken.
    held: usize,
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

/// What an executor has answered for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Ended {
    pub(in crate::node) executor: ExecutorId,
    /// Whether an activation has left its place.
    pub(in crate::node) freed: bool,
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
    /// A place; the job has begun.
    Place,
    /// Room that the executor does not have, or its turn to begin.
    Patience,
    /// More than can be promised to a job that begins. No other begins before it.
    Promise,
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
            seats: (0..limits.executors).map(|_| Seat::default()).collect(),
            places: limits.places,
            fresh: Queue::with_capacity(limits.jobs),
            sliced: Queue::with_capacity(limits.jobs),
            last_was_sliced: false,
            stops: Queue::with_capacity(2 * limits.jobs * limits.depth),
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
    pub(in crate::node) fn put_back(
        &mut self,
        job: JobAt,
        sliced: bool,
        is_stalled: impl Fn(JobAt) -> bool,
    ) {
        let line = if sliced {
            &mut self.sliced
        } else {
            &mut self.fresh
        };
        let last = line.iter().rposition(|held| is_stalled(*held));
        line.insert(last.map_or(0, |last| last + 1), job);
    }

    /// There is room again for a job that waited in line: its line is the next that has a turn.
    pub(in crate::node) fn favour(&mut self, job: JobAt) {
        self.last_was_sliced = self.fresh.contains(&job);
    }

    /// Whether no executor has anything to do or to forget.
    pub(in crate::node) fn is_still(&self) -> bool {
        self.stops.is_empty() && self.seats.iter().all(|seat| seat.executing.is_none())
    }

    /// Takes a job out of the line.
    pub(in crate::node) fn withdraw(&mut self, job: JobAt) {
        self.fresh.retain(|held| *held != job);
        self.sliced.retain(|held| *held != job);
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
    /// needs of it, and is told whether a job may begin. `can_make_place` says whether a place can
    /// be made by putting something on the shelf.
    pub(in crate::node) fn poll_turn(
        &mut self,
        executor: ExecutorId,
        can_make_place: bool,
        mut demand: impl FnMut(JobAt, bool) -> Demand,
    ) -> Option<Turn> {
        if self.fresh.is_empty() && self.sliced.is_empty() {
            return None;
        }
        let room = self.has_place(executor) || can_make_place;
        let first_sliced = !self.last_was_sliced;
        let turn = self.turn_in(first_sliced, (executor, room), &mut demand);
        turn.or_else(|| self.turn_in(!first_sliced, (executor, room), &mut demand))
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
    pub(in crate::node) fn end(&mut self, activation: ActivationId, after: After) -> Option<Ended> {
        let executes = |seat: &Seat| seat.executing.map(|held| held.activation);
        let is_for = |seat: &Seat| executes(seat) == Some(activation);
        let at = self.seats.iter().position(is_for)?;
        let executing = self.seats[at].executing.take()?;
        let executor = ExecutorId(at as u8);
        let freed = executing.placed && after == After::Leaves;
        if freed {
            self.free_place(executor);
        } else if executing.placed && executing.new && after == After::AsBefore {
            self.seats[at].held -= 1;
        }
        Some(Ended { executor, freed })
    }

    /// An activation has left its place.
    fn free_place(&mut self, executor: ExecutorId) {
        let seat = self.seat_mut(executor);
        debug_assert!(seat.held > 0, "a place is freed once");
        seat.held = seat.held.saturating_sub(1);
    }

    /// Checks what must hold between inputs: `is_ready` says whether a job waits for an executor,
    /// `held` how many places of an executor are taken by activations of jobs.
    pub(in crate::node) fn assert_invariants(
        &self,
        jobs: impl Iterator<Item = JobAt>,
        is_ready: impl Fn(JobAt) -> bool,
        held: impl Fn(ExecutorId) -> usize,
    ) {
        for at in jobs {
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
        demand: &mut impl FnMut(JobAt, bool) -> Demand,
    ) -> Option<Turn> {
        let line = if sliced { &self.sliced } else { &self.fresh };
        let mut blocked = false;
        let mut turn = None;
        for (at, job) in line.iter().copied().enumerate() {
            // Jobs begin in order, so that a large one has its turn too.
            let (fits, needs_place) = match demand(job, room && !blocked) {
                Demand::Nothing => (true, false),
                Demand::Holder(holder) => (holder == executor, false),
                Demand::Place => (room, true),
                Demand::Patience => (false, false),
                Demand::Promise => {
                    blocked = true;
                    (false, false)
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

    fn seat_mut(&mut self, executor: ExecutorId) -> &mut Seat {
        &mut self.seats[usize::from(executor.0)]
    }
}

#[cfg(test)]
mod tests;
