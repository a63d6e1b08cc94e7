//! A job on its way: what leaving (`depart`) and arriving (`adopt`) have in common.
//!
//! A node has one image buffer and so one move at a time, out or in. The job keeps its place among
//! the jobs all the while; the state of its move is here.

use nimblenet_tasklet::{ActivationId, Fault, NodeId, Outcome, Work};

use super::Node;
use super::adopt::{Arrival, Arriving};
use super::depart::{Departure, Leaving};
use crate::job::{CallId, State};
use crate::time::Instant;
use crate::wire::Move;

/// The move that a node is busy with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Transit {
    Idle,
    Out(Departure),
    In(Arrival),
}

/// How a move that a user may want to hear of has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) call: CallId,
    pub(super) to: NodeId,
    pub(super) result: Result<(), Fault>,
}

/// What the executor is to do for the move.
#[derive(Clone, Copy, Debug)]
pub(super) enum ImageWork {
    /// Freeze the activation at a place of a job's stack.
    Freeze { job: usize, at: usize },
    /// Thaw it.
    Thaw { job: usize, at: usize },
}

impl Transit {
    /// The place of the job that is on its way.
    pub(super) fn job(&self) -> Option<usize> {
        match self {
            Self::Idle => None,
            Self::Out(departure) => Some(departure.job),
            Self::In(arrival) => Some(arrival.job),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Out(departure) => departure.poll_timeout(),
            Self::In(arrival) => arrival.poll_timeout(),
        }
    }

    /// What is due at the executor.
    fn work(&self) -> Option<ImageWork> {
        match *self {
            Self::Out(Departure { job, step, .. }) => match step {
                Leaving::Freezing { at } => Some(ImageWork::Freeze { job, at }),
                Leaving::Returning { at, due: None, .. } => Some(ImageWork::Thaw { job, at }),
                Leaving::Waiting | Leaving::Offered(_) | Leaving::Returning { .. } => None,
            },
            Self::In(Arrival { job, step, .. }) => match step {
                Arriving::Thawing { at } => Some(ImageWork::Thaw { job, at }),
                Arriving::Fetching(_) | Arriving::Acquiring { .. } | Arriving::Ready { .. } => None,
            },
            Self::Idle => None,
        }
    }
}

impl Node {
    /// Moves the job at `at`, or has it moved by the node that runs it.
    pub(super) fn order_move(&mut self, now: Instant, at: usize, to: NodeId) -> Result<(), Fault> {
        if to == NodeId::EVERYONE {
            return Err(Fault::Unreachable);
        }
        let (call, result) = (self.jobs[at].call, Ok(()));
        if let State::Remote(remote) = &mut self.jobs[at].state {
            remote.redirect = (remote.to != to).then_some(to);
            if remote.redirect.is_none() {
                self.note_moved(Moved { call, to, result });
            } else if remote.known {
                remote.unanswered = 0;
                self.ask_remote(now, at);
            }
            return Ok(());
        }
        match &mut self.transit {
            _ if to == self.config.id => {
                self.note_moved(Moved { call, to, result });
                Ok(())
            }
            idle @ Transit::Idle => {
                *idle = Transit::Out(Departure::new(at, to));
                Ok(())
            }
            Transit::Out(departure) if departure.job == at && departure.to == to => Ok(()),
            Transit::Out(_) | Transit::In(_) => Err(Fault::Busy),
        }
    }

    /// Another node wants its call to run elsewhere.
    pub(super) fn serve_move(&mut self, now: Instant, origin: NodeId, order: Move) {
        let caller = Some((origin, order.request));
        let of_caller = self.jobs.iter().position(|job| job.caller == caller);
        let known = of_caller.filter(|at| self.jobs[*at].state != State::Free);
        let Some(at) = known else {
            self.refuse_move(now, origin, order.request, Fault::UnknownCall);
            return;
        };
        if !self.jobs[at].state.live() {
            self.answer_call(now, at);
            return;
        }
        match self.order_move(now, at, order.to) {
            Ok(()) => self.confirm_move(now, origin, order),
            Err(fault) => self.refuse_move(now, origin, order.request, fault),
        }
    }

    /// The work for the executor that the move needs next.
    pub(super) fn next_image_work(&mut self) -> Option<ImageWork> {
        let work = self.transit.work()?;
        let (ImageWork::Freeze { job, at } | ImageWork::Thaw { job, at }) = work;
        let activation = self.jobs[job].activation_mut(at)?;
        self.executing = Some(activation.id);
        // From here on the executor has to be told if the run is not wanted any more.
        activation.started = true;
        Some(work)
    }

    pub(super) fn image_work(&self, work: ImageWork) -> Option<Work<'_>> {
        Some(match work {
            ImageWork::Freeze { job, at } => Work::Freeze {
                activation: self.jobs[job].activations().get(at)?.id,
                room: crate::wire::job::image_room(&self.image),
            },
            ImageWork::Thaw { job, at } => Work::Thaw {
                start: self.start_of(job, at, &[])?,
                image: crate::wire::job::image(&self.image, at),
            },
        })
    }

    /// What the executor says of an activation on its way; false if it is none.
    pub(super) fn handle_image_outcome(
        &mut self,
        now: Instant,
        activation: ActivationId,
        outcome: Outcome<'_>,
    ) -> bool {
        let Some(work) = self.transit.work() else {
            return false;
        };
        let (ImageWork::Freeze { job, at } | ImageWork::Thaw { job, at }) = work;
        let held = self.jobs[job].activations().get(at);
        if held.is_none_or(|held| held.id != activation) {
            return false;
        }
        match (self.transit, work) {
            (Transit::In(_), _) => self.thawed_here(now, job, at, outcome),
            (_, ImageWork::Freeze { .. }) => self.frozen(now, job, at, outcome),
            (_, ImageWork::Thaw { .. }) => self.thawed_again(now, job, at, outcome),
        }
        true
    }

    /// Whether the executor may still read the image of a thaw that nobody waits for any more: it
    /// may, as a module, until it takes the word to stop.
    pub(super) fn image_is_read(&self) -> bool {
        !self.stops.is_empty()
    }

    pub(super) fn transit_timeouts(&mut self, now: Instant) {
        if self.transit.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        match self.transit {
            Transit::Idle => {}
            Transit::Out(departure) => self.departure_timeout(now, departure),
            Transit::In(arrival) => self.arrival_timeout(now, arrival),
        }
    }

    pub(super) fn note_moved(&mut self, moved: Moved) {
        if self.moved.len() < self.moved.capacity() {
            self.moved.push_back(moved);
        }
    }
}
