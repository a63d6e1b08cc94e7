//! A job leaves: it is frozen, offered to another node, and goes on here if that comes to nothing.
//!
//! The job waits for its next suspension. Then its activations are frozen one after the other into
//! the node's image buffer, where they stay until the other node is known to run the job; so
//! whatever goes wrong before, they are thawed again and nothing is lost. Modules stay reserved
//! for the same time.
//!
//! *Go* divides the two halves of a move. Until this node says it, the job is its own; from then
//! on it never runs the job again, unless the other node says that it has given it up unused.

use core::time::Duration;

use nimblenet_tasklet::{Digest, Executor, Fault, NodeId, Outcome};

use super::Node;
use super::transit::{Moved, Transit};
use crate::acquisition::ASKS;
use crate::job::{Next, Remote, State};
use crate::time::Instant;
use crate::wire::job::{begin, begin_activation, put_image};
use crate::wire::{Answer, Go, Message, Offer, Return};

/// Times that an offer is repeated to a node that takes its time.
const OFFERS: u8 = 64;
/// Times that the executor is asked to take a job in again when it has no room.
const RETURNS: u8 = 64;

/// A job that leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    /// Its place.
    pub(super) job: usize,
    pub(super) to: NodeId,
    /// What it does next, wherever that is.
    next: Next,
    pub(super) step: Leaving,
    /// Why it comes back.
    fault: Fault,
}

/// How far a departure is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaving {
    /// The job has yet to stand still.
    Waiting,
    /// The activation at this place of the stack is with the executor, or is the next to be.
    Freezing { at: usize },
    /// It was offered.
    Offered(Offered),
    /// It comes back: the activation at this place is with the executor, or will be at `due`.
    Returning {
        at: usize,
        due: Option<Instant>,
        tries: u8,
    },
}

/// An offer that was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    pub(super) request: u32,
    digest: Digest,
    /// The number under which the other node is ready and was told to go; 0 before that.
    pub(super) number: u32,
    due: Instant,
    unanswered: u8,
    offers: u8,
}

impl Departure {
    pub(super) fn new(job: usize, to: NodeId) -> Self {
        Self {
            job,
            to,
            next: Next::Start,
            step: Leaving::Waiting,
            fault: Fault::Stopped,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Leaving::Offered(offered) => Some(offered.due),
            Leaving::Returning { due, .. } => due,
            Leaving::Waiting | Leaving::Freezing { .. } => None,
        }
    }
}

impl Node {
    /// Whether the job at `at` leaves as soon as it stands still.
    pub(super) fn is_to_leave(&self, at: usize) -> bool {
        matches!(
            self.transit,
            Transit::Out(Departure { job, step: Leaving::Waiting, .. }) if job == at
        )
    }

    /// Begins the departure that is wanted, if its job stands still.
    pub(super) fn depart(&mut self, now: Instant) {
        let Transit::Out(departure) = self.transit else {
            return;
        };
        let at = departure.job;
        if !self.is_to_leave(at) || self.image_is_read() {
            return;
        }
        let next = match self.jobs[at].state {
            State::Ready(next) => {
                self.ready.retain(|place| *place != at);
                next
            }
            State::Acquiring { acquisition } | State::Preloading { acquisition, .. } => {
                self.jobs[at].state = State::Leaving;
                self.abandon(acquisition);
                Next::Start
            }
            State::Free
            | State::Resolving
            | State::Running
            | State::Remote(_)
            | State::Leaving
            | State::Arriving(_)
            | State::Finished(_)
            | State::Answered(_)
            | State::Declined(_) => return,
        };
        self.jobs[at].state = State::Leaving;
        self.set_departure(Departure { next, ..departure });
        let namespaces = self.subscriptions.iter().map(|held| held.id());
        match begin(&mut self.image, &self.jobs[at], next, namespaces) {
            Ok(()) => self.freeze_from(now, at, 0),
            Err(_) => self.come_back(now, Fault::TooLarge),
        }
    }

    /// The executor was to freeze the activation at `at`.
    pub(super) fn frozen(&mut self, now: Instant, job: usize, at: usize, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Frozen { image, .. } => {
                if let Some(activation) = self.jobs[job].activation_mut(at) {
                    activation.started = false;
                    activation.frozen = true;
                }
                match put_image(&mut self.image, image) {
                    Ok(()) => self.freeze_from(now, job, at + 1),
                    // The executor did not keep to the room that it was given.
                    Err(_) => self.end_job(now, job, Err(Fault::BadImage)),
                }
            }
            Outcome::NotFrozen { fault, .. } => {
                let too_large = fault == Fault::ValuesTooLarge;
                self.come_back(now, if too_large { Fault::TooLarge } else { fault });
            }
            Outcome::Failed { fault, .. } => {
                if let Some(activation) = self.jobs[job].activation_mut(at) {
                    activation.started = false;
                }
                self.end_job(now, job, Err(fault));
            }
            Outcome::Called { .. }
            | Outcome::Done { .. }
            | Outcome::Yielded { .. }
            | Outcome::Verified { .. } => self.end_job(now, job, Err(Fault::BadImage)),
        }
    }

    /// The executor was to take the activation at `at` in again.
    pub(super) fn thawed_again(
        &mut self,
        now: Instant,
        job: usize,
        at: usize,
        outcome: Outcome<'_>,
    ) {
        let Transit::Out(departure) = self.transit else {
            return;
        };
        let Leaving::Returning { tries, .. } = departure.step else {
            return;
        };
        let Some(activation) = self.jobs[job].activation_mut(at) else {
            return;
        };
        match outcome {
            Outcome::Called { .. } | Outcome::Yielded { .. } => {
                activation.frozen = false;
                self.thaw_again_from(now, departure, at + 1);
            }
            // Others have taken the room meanwhile.
            Outcome::Failed {
                fault: Fault::NoMemory | Fault::Busy,
                ..
            } if tries < RETURNS => {
                activation.started = false;
                let (due, tries) = (Some(now + self.config.local_search), tries + 1);
                let step = Leaving::Returning { at, due, tries };
                self.set_departure(Departure { step, ..departure });
            }
            Outcome::Failed { fault, .. } => {
                activation.started = false;
                self.end_job(now, job, Err(fault));
            }
            Outcome::Done { .. }
            | Outcome::Frozen { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::Verified { .. } => self.end_job(now, job, Err(Fault::BadImage)),
        }
    }

    /// The node to which the job was offered answers; false if the answer is for something else,
    /// or is to be taken up as that to a call.
    pub(super) fn handle_offer_answer(
        &mut self,
        now: Instant,
        origin: NodeId,
        answer: &Return<'_>,
    ) -> bool {
        let Transit::Out(departure) = self.transit else {
            return false;
        };
        let Leaving::Offered(mut offered) = departure.step else {
            return false;
        };
        if (departure.to, offered.request) != (origin, answer.request) {
            return false;
        }
        let gone = offered.number != 0;
        match answer.answer {
            Answer::Adopting(0) if !gone => {
                offered.unanswered = 0;
                offered.due = now + self.working_patience(now, origin);
                self.set_offered(departure, offered);
            }
            Answer::Adopting(number) if number != 0 => {
                if !gone {
                    offered.number = number;
                    offered.unanswered = 0;
                }
                // A number of another life of the node is not one that it may go by.
                if offered.number == number {
                    self.set_offered(departure, offered);
                    self.ask_offered(now);
                }
            }
            Answer::Refused(fault, number) if !gone || number == offered.number => {
                self.come_back(now, fault);
            }
            Answer::Working | Answer::Done(_) | Answer::Failed(..) if gone => {
                self.handed_over(departure, offered);
                return false;
            }
            Answer::Working
            | Answer::Done(_)
            | Answer::Failed(..)
            | Answer::Adopting(_)
            | Answer::Refused(..)
            | Answer::Moving(_) => {
                self.counters.drop(crate::counters::DropReason::Unexpected);
            }
        }
        true
    }

    pub(super) fn departure_timeout(&mut self, now: Instant, departure: Departure) {
        match departure.step {
            Leaving::Offered(offered) => {
                self.mesh.doubt(departure.to);
                let gone = offered.number != 0;
                if offered.unanswered < ASKS && (gone || offered.offers < OFFERS) {
                    self.ask_offered(now);
                } else if gone {
                    // It may run there, or have run.
                    self.end_job(now, departure.job, Err(Fault::Unreachable));
                } else {
                    self.come_back(now, Fault::Unreachable);
                }
            }
            Leaving::Returning { at, tries, .. } => {
                let due = None;
                let step = Leaving::Returning { at, due, tries };
                self.set_departure(Departure { step, ..departure });
            }
            Leaving::Waiting | Leaving::Freezing { .. } => {}
        }
    }

    /// The image that `request` asks for. It is not served any more once the other node was told
    /// to go, so that no second one can get ready.
    pub(super) fn offered_image(&self, to: NodeId, request: u32) -> bool {
        let Transit::Out(departure) = &self.transit else {
            return false;
        };
        let offered = |offered: &Offered| offered.request == request && offered.number == 0;
        departure.to == to && matches!(&departure.step, Leaving::Offered(it) if offered(it))
    }

    /// Freezes what is started of the stack from `at` on, then offers the job.
    fn freeze_from(&mut self, now: Instant, job: usize, at: usize) {
        let Transit::Out(departure) = self.transit else {
            return;
        };
        for at in at..self.jobs[job].depth() {
            let activation = &self.jobs[job].activations()[at];
            let started = activation.started;
            let begun = begin_activation(&mut self.image, &self.jobs[job], at);
            let step = Leaving::Freezing { at };
            match begun {
                Ok(()) if started => {
                    self.set_departure(Departure { step, ..departure });
                    return;
                }
                Ok(()) if put_image(&mut self.image, &[]).is_ok() => {}
                _ => {
                    self.come_back(now, Fault::TooLarge);
                    return;
                }
            }
        }
        let offered = Offered {
            request: self.mesh.next_sequence(),
            digest: Digest::of(&self.image),
            number: 0,
            due: now,
            unanswered: 0,
            offers: 0,
        };
        self.set_offered(departure, offered);
        self.ask_offered(now);
    }

    /// Sends the offer, or go.
    fn ask_offered(&mut self, now: Instant) {
        let Transit::Out(departure) = self.transit else {
            return;
        };
        let Leaving::Offered(mut offered) = departure.step else {
            return;
        };
        let (to, request) = (departure.to, offered.request);
        offered.unanswered += 1;
        offered.offers = offered.offers.saturating_add(1);
        offered.due = now + self.remote_patience(now, to);
        self.set_offered(departure, offered);
        let job = &self.jobs[departure.job];
        let left = job.deadline.map(|deadline| (deadline - now).as_millis());
        let left = left.map_or(Offer::NO_DEADLINE, |left| {
            u32::try_from(left).unwrap_or(Offer::NO_DEADLINE)
        });
        let message = match offered.number {
            0 => Message::Offer(Offer {
                request,
                deadline_ms: left,
                caller: job.caller.unwrap_or((NodeId::EVERYONE, 0)),
                mtu: self.mesh.smallest_mtu(),
                size: self.image.len() as u32,
                digest: offered.digest,
            }),
            number => Message::Go(Go { request, number }),
        };
        self.mesh.send(now, to, message, &mut self.counters);
    }

    /// The other node is known to have the job: what is kept of it here can go.
    fn handed_over(&mut self, departure: Departure, offered: Offered) {
        let (at, to) = (departure.job, departure.to);
        self.release_all(at);
        let call = self.jobs[at].call;
        self.jobs[at].state = State::Remote(Remote {
            request: offered.request,
            number: offered.number,
            ..Remote::new(to, offered.due)
        });
        self.transit = Transit::Idle;
        self.counters.moved_out += 1;
        let result = Ok(());
        self.note_moved(Moved { call, to, result });
        self.forget_replaced();
    }

    /// The move has come to nothing; the job goes on here.
    fn come_back(&mut self, now: Instant, fault: Fault) {
        if let Transit::Out(departure) = self.transit {
            self.thaw_again_from(now, Departure { fault, ..departure }, 0);
        }
    }

    /// Thaws what is frozen of the stack from `at` on, then lets the job go on.
    fn thaw_again_from(&mut self, now: Instant, departure: Departure, at: usize) {
        let job = departure.job;
        let mut rest = self.jobs[job].activations().iter().skip(at);
        if let Some(offset) = rest.position(|activation| activation.frozen) {
            let (at, due, tries) = (at + offset, None, 0);
            let step = Leaving::Returning { at, due, tries };
            self.set_departure(Departure { step, ..departure });
            return;
        }
        self.transit = Transit::Idle;
        self.counters.moves_failed += 1;
        let (call, to, result) = (self.jobs[job].call, departure.to, Err(departure.fault));
        self.note_moved(Moved { call, to, result });
        let lacks_module = self.jobs[job].top().is_some_and(|top| {
            top.slot.is_none() && !top.started && top.entry().terms.executor == Executor::Wasm
        });
        if lacks_module {
            self.begin_top(now, job);
        } else {
            self.make_ready(job, departure.next);
        }
    }

    fn set_departure(&mut self, departure: Departure) {
        self.transit = Transit::Out(departure);
    }

    fn set_offered(&mut self, departure: Departure, offered: Offered) {
        let step = Leaving::Offered(offered);
        self.set_departure(Departure { step, ..departure });
    }

    /// How long to let a node work before it is asked again.
    pub(super) fn working_patience(&self, now: Instant, to: NodeId) -> Duration {
        self.remote_patience(now, to) * super::remote::ASK_AFTER
    }
}
