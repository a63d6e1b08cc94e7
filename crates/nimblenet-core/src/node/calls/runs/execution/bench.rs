//! The bench: what each executor has to do next.
//!
//! For each executor stops come first, so that it forgets what nobody waits for before it takes
//! more work. Signature checks do not wait for a run to stand still. Then comes the job that moves.
//! Then new work and work that has used up a slice of fuel take turns, so that a short call is
//! answered soon however many long ones run, unless one has a higher priority. Of new work that of the most
//! urgent job comes first. Jobs that wait for room keep their turns.

use alloc::vec::Vec;

use nimblenet_tasklet::ActivationId;

use crate::cache::SlotId;
use crate::config::{ExecutorId, FULL, Limits};
use crate::event::Priority;
use crate::places::JobAt;
use crate::queue::Queue;

/// The work that waits for executors, and the work that they do.
#[derive(Debug)]
pub(in crate::node) struct Bench {
    seats: Vec<Seat>,
    /// How many places each executor has.
    places: usize,
    /// Jobs that wait for an executor with new work, the most urgent in front.
    fresh: Queue<JobAt>,
    /// Jobs that wait for an executor after a slice: those of a higher priority in front, and of one priority
    /// in the order in which they take turns.
    sliced: Queue<JobAt>,
    /// Whether the last job that was handed out had used up a slice.
    last_was_sliced: bool,
    /// Activations that an executor must forget.
    stops: Queue<Stop>,
}

/// One executor.
#[derive(Default, Debug)]
struct Seat {
    executing: Option<Executing>,
    /// How many places are taken.
    held: usize,
}

/// What an executor is busy with.
#[derive(Clone, Copy, Debug)]
struct Executing {
    activation: ActivationId,
    /// Whether it takes a place.
    placed: bool,
    /// Whether it takes that place only since this work.
    new: bool,
}

/// What an executor's answer does to the place of an activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum After {
    /// The activation keeps its place.
    Stays,
    /// The activation leaves its place.
    Leaves,
    /// The place is as it was before the work was given.
    AsBefore,
}

/// What an executor's answer has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Ended {
    pub(in crate::node) executor: ExecutorId,
    /// Whether an activation has left its place.
    pub(in crate::node) freed: bool,
}

/// An activation that an executor must forget, and the modules that stay reserved until then.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Stop {
    pub(in crate::node) activation: ActivationId,
    pub(in crate::node) executor: ExecutorId,
    /// Whether it takes a place.
    pub(in crate::node) placed: bool,
    pub(in crate::node) modules: [Option<SlotId>; 2],
    /// Its image on the shelf, if the executor may read it.
    pub(in crate::node) image: Option<SlotId>,
}

/// What a job needs of the executor that takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Demand {
    /// Nothing: the tasklet is native.
    Nothing,
    /// The executor must be this one, which holds the activation.
    Holder(ExecutorId),
    /// A place; the job has begun before, or may begin.
    Place {
        /// Whether it takes any executor, because the emptiest had no room for it.
        anywhere: bool,
    },
    /// Nothing now: the executor has no room for it, or it is not its turn to begin.
    Patience,
    /// More than can be promised to it. No other job begins before it.
    Promise,
}

/// The job whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Turn {
    /// The executor takes it.
    Run(JobAt),
    /// It needs a place, which must be made first.
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

    /// Whether another job may begin: each job may still leave as many stops as it is deep.
    pub(in crate::node) fn takes_jobs(&self) -> bool {
        self.stops.len() * 2 <= self.stops.capacity()
    }

    /// How many executors there are.
    pub(in crate::node) fn executors(&self) -> usize {
        self.seats.len()
    }

    /// Whether no stop waits for its executor.
    pub(in crate::node) fn is_clear(&self) -> bool {
        self.stops.is_empty()
    }

    /// Puts a job at the front of the line: the place or room that it waited for is ready.
    pub(in crate::node) fn make_first(&mut self, job: JobAt) {
        self.fresh.push_front(job);
        self.last_was_sliced = true;
    }

    /// Puts a job in line, with new work or after a slice: behind all jobs but those that come after it, as
    /// `is_after` says. So a chain which has begun is not held up at each of its calls by those that are less
    /// urgent. Boards have jobs take turns in the order in which they come.
    pub(in crate::node) fn make_ready(
        &mut self,
        job: JobAt,
        sliced: bool,
        is_after: impl Fn(JobAt) -> bool,
    ) {
        let line = self.line_mut(sliced);
        if FULL {
            insert(line, job, is_after);
        } else {
            line.push_back(job);
        }
    }

    /// Puts the jobs that have risen in line again. `is_after` says whether its second job comes after its
    /// first, with new work or, if the last argument says so, after a slice.
    pub(in crate::node) fn rise(
        &mut self,
        has_risen: impl Fn(JobAt) -> bool,
        is_after: impl Fn(JobAt, JobAt, bool) -> bool,
    ) {
        for sliced in [false, true] {
            let line = self.line_mut(sliced);
            for at in 0..line.len() {
                let job = line[at];
                if has_risen(job) {
                    let ahead = line[..at].iter().rev();
                    let passed = ahead
                        .take_while(|held| is_after(job, **held, sliced))
                        .count();
                    line[at - passed..=at].rotate_right(1);
                }
            }
        }
    }

    /// Puts a job, for whose work an executor had no room, in line again: behind the last stalled
    /// job, and before all others.
    pub(in crate::node) fn put_back(
        &mut self,
        job: JobAt,
        sliced: bool,
        is_stalled: impl Fn(JobAt) -> bool,
    ) {
        let line = self.line_mut(sliced);
        let last = line.iter().rposition(|held| is_stalled(*held));
        line.insert(last.map_or(0, |last| last + 1), job);
    }

    /// Gives the next turn to the line of a job for which there is room again.
    pub(in crate::node) fn favour(&mut self, job: JobAt) {
        self.last_was_sliced = self.fresh.contains(&job);
    }

    /// Whether a job waits for an executor.
    pub(in crate::node) fn has_line(&self) -> bool {
        !self.fresh.is_empty() || !self.sliced.is_empty()
    }

    /// The jobs that wait for an executor with new work, the next one first.
    pub(in crate::node) fn fresh(&self) -> impl Iterator<Item = JobAt> {
        self.fresh.iter().copied()
    }

    /// Whether no executor has work or a stop.
    pub(in crate::node) fn is_still(&self) -> bool {
        self.stops.is_empty() && self.seats.iter().all(|seat| seat.executing.is_none())
    }

    /// Takes a job out of the line.
    pub(in crate::node) fn withdraw(&mut self, job: JobAt) {
        self.fresh.retain(|held| *held != job);
        self.sliced.retain(|held| *held != job);
    }

    /// Notes that an executor must forget an activation.
    pub(in crate::node) fn stop(&mut self, stop: Stop) {
        let seat = self.seat_mut(stop.executor);
        seat.executing
            .take_if(|held| held.activation == stop.activation);
        self.stops.push_back(stop);
    }

    /// The next activation that an executor must forget.
    pub(in crate::node) fn poll_stop(&mut self, executor: ExecutorId) -> Option<Stop> {
        let at = self.stops.iter().position(|it| it.executor == executor)?;
        let stop = self.stops.remove(at)?;
        if stop.placed {
            self.free_place(executor);
        }
        Some(stop)
    }

    /// Whether an executor is not busy.
    pub(in crate::node) fn is_idle(&self, executor: ExecutorId) -> bool {
        let seat = self.seats.get(usize::from(executor.0));
        seat.is_some_and(|seat| seat.executing.is_none())
    }

    /// Whether an executor has a place left.
    pub(in crate::node) fn has_place(&self, executor: ExecutorId) -> bool {
        let seat = self.seats.get(usize::from(executor.0));
        seat.is_some_and(|seat| seat.held < self.places)
    }

    /// Whether the last job that was handed out had used up a slice.
    pub(in crate::node) fn last_was_sliced(&self) -> bool {
        self.last_was_sliced
    }

    /// The job whose turn it is on an executor that is not busy. `demand` says what a job needs of
    /// the executor; its second argument says whether a job may begin. `can_make_place` says
    /// whether the shelf can make a place. `class` is the priority of a job: the line whose first job has a
    /// higher one comes first, and lines with the same take turns. A job that has used up a slice and
    /// `yields` has its turn only if no other such job of its priority can run.
    pub(in crate::node) fn poll_turn(
        &mut self,
        executor: ExecutorId,
        can_make_place: bool,
        class: impl Fn(JobAt) -> Priority,
        yields: impl Fn(JobAt) -> bool,
        mut demand: impl FnMut(JobAt, bool) -> Demand,
    ) -> Option<Turn> {
        if !self.has_line() {
            return None;
        }
        let room = self.has_place(executor) || can_make_place;
        let first_sliced = match (self.fresh.first(), self.sliced.first()) {
            (Some(fresh), Some(sliced)) if FULL && class(*fresh) != class(*sliced) => {
                class(*sliced) > class(*fresh)
            }
            _ => !self.last_was_sliced,
        };
        let mut turn_in = |sliced| {
            let seat = (executor, room);
            let first = self.sliced.first().map(|job| class(*job));
            let others = FULL && sliced && self.sliced.iter().any(|job| yields(*job));
            let may = |job| !yields(job) && first == Some(class(job));
            let turn = others.then(|| self.turn_in(sliced, seat, may, &mut demand));
            let turn = turn.flatten();
            turn.or_else(|| self.turn_in(sliced, seat, |_| true, &mut demand))
        };
        turn_in(first_sliced).or_else(|| turn_in(!first_sliced))
    }

    /// The jobs in line; the one that has its turn last comes first.
    pub(in crate::node) fn backwards(&self) -> impl Iterator<Item = JobAt> {
        let fresh = self.fresh.iter().rev();
        self.sliced.iter().rev().chain(fresh).copied()
    }

    /// Notes that an executor has taken work for an activation. `placed` says whether the
    /// activation takes a place, and `new` whether it takes it only since this work.
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

    /// Takes an executor's answer for an activation; none if no executor works for it.
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

    /// Frees the place of an activation that has left.
    fn free_place(&mut self, executor: ExecutorId) {
        let seat = self.seat_mut(executor);
        debug_assert!(seat.held > 0, "a place is freed once");
        seat.held = seat.held.saturating_sub(1);
    }

    /// Checks what must hold between two inputs: `is_ready` says whether a job waits for an
    /// executor, `held` how many places of an executor the activations of jobs take.
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

    /// How many modules stay reserved until executors take their stops.
    pub(in crate::node) fn reservations(&self) -> usize {
        let stops = self.stops.iter();
        let held = stops.flat_map(|stop| stop.modules.into_iter().chain([stop.image]));
        held.flatten().count()
    }

    fn turn_in(
        &mut self,
        sliced: bool,
        (executor, room): (ExecutorId, bool),
        may: impl Fn(JobAt) -> bool,
        demand: &mut impl FnMut(JobAt, bool) -> Demand,
    ) -> Option<Turn> {
        let line = if sliced { &self.sliced } else { &self.fresh };
        let mut blocked = false;
        let mut turn = None;
        let candidates = line.iter().copied().enumerate();
        for (at, job) in candidates.filter(|(_, job)| may(*job)) {
            // Jobs begin in order, so that a large one has its turn too.
            let (fits, needs_place) = match demand(job, room && !blocked) {
                Demand::Nothing => (true, false),
                Demand::Holder(holder) => (holder == executor, false),
                Demand::Place { anywhere } => {
                    (room && (anywhere || self.is_emptiest(executor)), true)
                }
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
        self.line_mut(sliced).remove(at);
        self.last_was_sliced = sliced;
        Some(Turn::Run(job))
    }

    /// Whether no other executor that is not busy holds fewer activations. A new activation goes to
    /// the emptiest: those that an executor holds may become ready while it is busy, and no other
    /// can run them.
    fn is_emptiest(&self, executor: ExecutorId) -> bool {
        let own = self.seats[usize::from(executor.0)].held;
        let emptier = |seat: &Seat| seat.executing.is_none() && seat.held < own;
        own == 0 || !self.seats.iter().any(emptier)
    }

    /// The line of the jobs with new work, or of those after a slice.
    fn line_mut(&mut self, sliced: bool) -> &mut Queue<JobAt> {
        if sliced {
            &mut self.sliced
        } else {
            &mut self.fresh
        }
    }

    fn seat_mut(&mut self, executor: ExecutorId) -> &mut Seat {
        &mut self.seats[usize::from(executor.0)]
    }
}

/// Puts a job in a line, before those at its end that come after it.
fn insert(line: &mut Queue<JobAt>, job: JobAt, is_after: impl Fn(JobAt) -> bool) {
    let behind = line.iter().rev();
    let behind = behind.take_while(|held| is_after(**held)).count();
    line.insert(line.len() - behind, job);
}

#[cfg(test)]
mod tests;
