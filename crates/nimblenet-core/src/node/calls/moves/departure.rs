//! A job leaves: it is frozen and offered to another node, and goes on here if that fails.
//!
//! The job waits for its next suspension. Then executors freeze its activations one after the other
//! into the node's image buffer, where the images stay until the other node is known to run the
//! job. So if something goes wrong before, the activations are thawed again and nothing is lost.
//! Modules stay reserved for the same time.
//!
//! *Go* divides the two halves of a move. Until this node says it, the job is its own; from then
//! on it never runs the job again, unless the other node says that it has given it up unused.

use nimblenet_tasklet::{Digest, Fault, NamespaceId, NodeId, Outcome};

use super::{Ask, Gone, ImageWork, OfferAnswer, Passed, Post};
use crate::job::{Caller, Job, Next, Station};
use crate::places::{Depth, JobAt};
use crate::time::Instant;
use crate::wire::job::{JobHead, write_activation, write_head, write_image};
use crate::wire::{Answer, Go, GoNumber, Message, Offer, Return};

/// The most times that an offer is repeated to a node that is not ready yet.
const OFFERS: u8 = 64;
/// The most times that the executor is asked to thaw a job again while it has no room.
const RETURNS: u8 = 64;

/// A job that leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) job: JobAt,
    pub(super) to: NodeId,
    /// What it goes on with, here or there.
    next: Next,
    pub(super) step: Leaving,
    /// Why it comes back, if it does.
    pub(super) fault: Fault,
}

/// How far a departure is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaving {
    /// The job does not stand still yet.
    Waiting,
    /// An executor must freeze this activation.
    Freezing { at: Depth },
    /// The other node has the offer.
    Offered(Offered),
    /// It comes back: an executor must thaw this activation, not before `due` if that is set.
    Returning {
        at: Depth,
        due: Option<Instant>,
        tries: u8,
    },
}

/// An offer that was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    request: u32,
    digest: Digest,
    /// The number under which the other node is ready, and which this node's go has.
    number: Option<GoNumber>,
    ask: Ask,
    offers: u8,
}

impl Departure {
    pub(super) fn new(job: JobAt, to: NodeId) -> Self {
        Self {
            job,
            to,
            next: Next::Start,
            step: Leaving::Waiting,
            fault: Fault::Stopped,
        }
    }

    /// The next work that an executor must do.
    pub(super) fn work(&self) -> Option<ImageWork> {
        let job = self.job;
        match self.step {
            Leaving::Freezing { at } => Some(ImageWork::Freeze { job, at }),
            Leaving::Returning { at, due: None, .. } => Some(ImageWork::Thaw { job, at }),
            Leaving::Waiting | Leaving::Offered(_) | Leaving::Returning { .. } => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Leaving::Offered(offered) => Some(offered.ask.due()),
            Leaving::Returning { due, .. } => due,
            Leaving::Waiting | Leaving::Freezing { .. } => None,
        }
    }

    /// Whether `to` may fetch the record under this request number.
    pub(super) fn offers(&self, to: NodeId, request: u32) -> bool {
        let offered = |it: &Offered| it.request == request && it.number.is_none();
        self.to == to && matches!(&self.step, Leaving::Offered(it) if offered(it))
    }

    /// The other node and the number of the offer, once that node has been told to go.
    pub(super) fn told(&self) -> Option<Caller> {
        match self.step {
            Leaving::Offered(Offered {
                request,
                number: Some(_),
                ..
            }) => Some((self.to, request)),
            Leaving::Offered(_)
            | Leaving::Waiting
            | Leaving::Freezing { .. }
            | Leaving::Returning { .. } => None,
        }
    }

    /// Begins the job's record.
    pub(super) fn begin(
        &mut self,
        post: &mut Post<'_>,
        job: &Job,
        next: Next,
        epochs: impl ExactSizeIterator<Item = (NamespaceId, u32)>,
    ) -> Option<Passed> {
        self.next = next;
        let head = JobHead {
            next,
            trap: job.trap,
            depth: job.depth() as u8,
            calls_left: job.calls_left,
            priority: job.priority,
            name: job.name,
            export: job.export.as_str(),
            message: &job.message,
        };
        post.image.clear();
        match post.image.extend(|out| write_head(out, &head, epochs)) {
            Ok(()) => self.freeze_from(post, job, Depth::BOTTOM),
            Err(_) => self.come_back(job, Fault::TooLarge),
        }
    }

    /// Takes the answer of the executor that was to freeze the activation at `at`.
    pub(super) fn handle_frozen(
        &mut self,
        post: &mut Post<'_>,
        job: &Job,
        at: Depth,
        outcome: Outcome<'_>,
    ) -> Option<Passed> {
        match outcome {
            Outcome::Frozen { image, .. } => {
                match post.image.extend(|out| write_image(out, image)) {
                    Ok(()) => self.freeze_from(post, job, at.above()),
                    // The executor has used more room than it was given.
                    Err(_) => Some(Passed::Failed(self.job, Fault::BadImage)),
                }
            }
            Outcome::NotFrozen { fault, .. } => {
                let too_large = fault == Fault::ValuesTooLarge;
                self.come_back(job, if too_large { Fault::TooLarge } else { fault })
            }
            Outcome::Failed { fault, .. } => Some(Passed::Failed(self.job, fault)),
            Outcome::Called { .. }
            | Outcome::Done { .. }
            | Outcome::Yielded { .. }
            | Outcome::NoRoom { .. }
            | Outcome::Verified { .. } => Some(Passed::Failed(self.job, Fault::BadImage)),
        }
    }

    /// Takes the answer of the executor that was to thaw the activation at `at` again.
    pub(super) fn handle_thawed(
        &mut self,
        post: &mut Post<'_>,
        job: &Job,
        at: Depth,
        outcome: Outcome<'_>,
    ) -> Option<Passed> {
        let Leaving::Returning { tries, .. } = self.step else {
            return None;
        };
        match outcome {
            Outcome::Called { .. } | Outcome::Yielded { .. } => self.thaw_from(job, at.above()),
            // Others have taken the room meanwhile.
            Outcome::NoRoom { .. }
            | Outcome::Failed {
                fault: Fault::NoMemory | Fault::Busy,
                ..
            } if tries < RETURNS => {
                let due = Some(post.now + post.config.pace.local_search);
                let tries = tries + 1;
                self.step = Leaving::Returning { at, due, tries };
                None
            }
            Outcome::Failed { fault, .. } => Some(Passed::Failed(self.job, fault)),
            Outcome::NoRoom { .. } => Some(Passed::Failed(self.job, Fault::NoMemory)),
            Outcome::Done { .. }
            | Outcome::Frozen { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::Verified { .. } => Some(Passed::Failed(self.job, Fault::BadImage)),
        }
    }

    /// Takes an answer of a node, which may be the one to which the job was offered.
    pub(super) fn handle_answer(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        answer: &Return<'_>,
        job: &Job,
    ) -> (OfferAnswer, Option<Passed>) {
        let Leaving::Offered(offered) = &mut self.step else {
            return (OfferAnswer::Other, None);
        };
        if (self.to, offered.request) != (origin, answer.request) {
            return (OfferAnswer::Other, None);
        }
        match (answer.answer, offered.number) {
            (Answer::Adopting(None), None) => {
                let wait = post.working_patience_for(origin);
                offered.ask.answered(post.now, wait);
            }
            (Answer::Adopting(Some(number)), None) => {
                offered.number = Some(number);
                offered.ask.renew();
                self.ask(post, job);
            }
            // A number of another life of the node is not valid for go.
            (Answer::Adopting(Some(number)), Some(told)) => {
                if number == told {
                    self.ask(post, job);
                }
            }
            (Answer::Refused(fault, number), told) if told.is_none() || number == told => {
                return (OfferAnswer::Taken, self.come_back(job, fault));
            }
            (Answer::Working(..) | Answer::Done(_) | Answer::Failed(..), Some(number)) => {
                let gone = Gone {
                    to: self.to,
                    request: offered.request,
                    number,
                    due: offered.ask.due(),
                };
                return (OfferAnswer::HandedOver(gone), None);
            }
            (
                Answer::Working(..)
                | Answer::Done(_)
                | Answer::Failed(..)
                | Answer::Adopting(_)
                | Answer::Refused(..)
                | Answer::Unmoved(..)
                | Answer::Moving(_),
                _,
            ) => post.unexpected(),
        }
        (OfferAnswer::Taken, None)
    }

    pub(super) fn handle_timeout(&mut self, post: &mut Post<'_>, job: &Job) -> Option<Passed> {
        match &mut self.step {
            Leaving::Offered(offered) => {
                post.mesh.doubt(post.now, self.to);
                let gone = offered.number.is_some();
                if !offered.ask.is_exhausted() && (gone || offered.offers < OFFERS) {
                    self.ask(post, job);
                    None
                } else if gone {
                    // The job may run there, or have run.
                    Some(Passed::Failed(self.job, Fault::Unreachable))
                } else {
                    self.come_back(job, Fault::Unreachable)
                }
            }
            Leaving::Returning { due, .. } => {
                *due = None;
                None
            }
            Leaving::Waiting | Leaving::Freezing { .. } => None,
        }
    }

    /// Freezes the started activations of the stack from `from` on, then offers the job.
    fn freeze_from(&mut self, post: &mut Post<'_>, job: &Job, from: Depth) -> Option<Passed> {
        let mut at = from;
        while let Some(activation) = job.activation(at) {
            let (tasklet, fuel) = (activation.tasklet, activation.fuel);
            let export = activation.export.as_str();
            let head = |out: &mut [u8]| write_activation(out, tasklet, fuel, export);
            if post.image.extend(head).is_err() {
                return self.come_back(job, Fault::TooLarge);
            }
            let image = match activation.station {
                Station::At(_) => {
                    self.step = Leaving::Freezing { at };
                    return None;
                }
                Station::Shelf(slot) => post.cache.code(slot),
                Station::Nowhere | Station::Record => &[],
            };
            if post.image.extend(|out| write_image(out, image)).is_err() {
                return self.come_back(job, Fault::TooLarge);
            }
            at = at.above();
        }
        self.step = Leaving::Offered(Offered {
            request: post.mesh.next_sequence(),
            digest: Digest::of(post.image),
            number: None,
            ask: Ask::new(post.now),
            offers: 0,
        });
        self.ask(post, job);
        None
    }

    /// Sends the offer, or go.
    fn ask(&mut self, post: &mut Post<'_>, job: &Job) {
        let Leaving::Offered(offered) = &mut self.step else {
            return;
        };
        let (to, request) = (self.to, offered.request);
        offered.ask.asked(post.now, post.patience_for(to));
        offered.offers = offered.offers.saturating_add(1);
        let left = job
            .deadline
            .map(|deadline| (deadline - post.now).as_millis());
        let left = left.map_or(Offer::NO_DEADLINE, |left| {
            u32::try_from(left).unwrap_or(Offer::NO_DEADLINE)
        });
        let message = match offered.number {
            None => Message::Offer(Offer {
                request,
                deadline_ms: left,
                caller: job.caller.unwrap_or((NodeId::EVERYONE, 0)),
                mtu: post.mesh.smallest_mtu(),
                size: post.image.len() as u32,
                digest: offered.digest,
            }),
            Some(number) => Message::Go(Go { request, number }),
        };
        post.send(to, message);
    }

    /// Ends a move that has failed: the job is thawed and goes on here.
    fn come_back(&mut self, job: &Job, fault: Fault) -> Option<Passed> {
        self.fault = fault;
        self.thaw_from(job, Depth::BOTTOM)
    }

    /// Thaws the frozen activations of the stack from `from` on, then lets the job go on.
    fn thaw_from(&mut self, job: &Job, from: Depth) -> Option<Passed> {
        let mut rest = job.activations().iter().skip(from.index());
        let Some(offset) = rest.position(|activation| activation.station == Station::Record) else {
            return Some(Passed::Stays(self.job, self.next));
        };
        let at = Depth::new(from.index() + offset);
        let (due, tries) = (None, 0);
        self.step = Leaving::Returning { at, due, tries };
        None
    }
}
