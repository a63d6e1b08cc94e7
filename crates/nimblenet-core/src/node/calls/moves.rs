//! Moves: a job on its way from or to another node.
//!
//! A node has one image buffer and so one move at a time, out or in. The job keeps its place among
//! the jobs all the while; this part knows how far its move is.

mod arrival;
mod departure;

use nimblenet_tasklet::{Fault, NamespaceId, NodeId, Outcome};

use self::arrival::Arrival;
pub(in crate::node) use self::arrival::Settled;
use self::departure::{Departure, Leaving};
use crate::counters::count;
use crate::job::{CallId, Caller, Job, Next};
use crate::node::post::{Ask, FetchEnd, Gone, ImageWork, Post};
use crate::places::{Depth, JobAt};
use crate::queue::Queue;
use crate::time::Instant;
use crate::wire::{GoNumber, Object, Offer, Return};

/// The move that a node is busy with, and the results of moves before it.
#[derive(Debug)]
pub(in crate::node) struct Moves {
    transit: Transit,
    passed: Option<Passed>,
    news: Queue<Moved>,
}

#[derive(Clone, Copy, Debug)]
enum Transit {
    Idle,
    Out(Departure),
    In(Arrival),
}

/// How a move has ended, for the user.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Moved {
    pub(in crate::node) call: CallId,
    pub(in crate::node) to: NodeId,
    pub(in crate::node) result: Result<(), Fault>,
}

/// What follows for the job that moves.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) enum Passed {
    /// It cannot go on anywhere.
    Failed(JobAt, Fault),
    /// It stays here, and goes on with this.
    Stays(JobAt, Next),
    /// Its record is here.
    Arrived(JobAt),
    /// It needs the module of this activation.
    Lacks(JobAt, Depth),
    /// It is ready under this number, which the node that offered it must hear.
    Ready(JobAt, GoNumber),
    /// It was given up before it ran here.
    Declined(JobAt, Fault),
}

/// What follows from an answer to an offer.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) enum OfferAnswer {
    /// The answer is not for this offer.
    Other,
    /// The move has taken the answer.
    Taken,
    /// The other node has the job; the answer is also an answer to its call.
    HandedOver(Gone),
}

impl Moves {
    /// No move; room for the results of `news` moves.
    pub(in crate::node) fn new(news: usize) -> Self {
        Self {
            transit: Transit::Idle,
            passed: None,
            news: Queue::with_capacity(news),
        }
    }

    /// The job that moves.
    pub(in crate::node) fn job(&self) -> Option<JobAt> {
        match &self.transit {
            Transit::Idle => None,
            Transit::Out(departure) => Some(departure.job),
            Transit::In(arrival) => Some(arrival.job),
        }
    }

    /// The job that leaves as soon as it stands still.
    pub(in crate::node) fn waiting(&self) -> Option<JobAt> {
        match &self.transit {
            Transit::Out(Departure {
                job,
                step: Leaving::Waiting,
                ..
            }) => Some(*job),
            Transit::Idle | Transit::Out(_) | Transit::In(_) => None,
        }
    }

    /// Orders a job to leave for another node at its next suspension.
    ///
    /// # Errors
    /// [`Fault::Busy`] if another job moves, or this one to another node.
    pub(in crate::node) fn order(
        &mut self,
        post: &Post<'_>,
        (at, call): (JobAt, CallId),
        to: NodeId,
    ) -> Result<(), Fault> {
        let result = Ok(());
        match &mut self.transit {
            _ if to == post.config.id => {
                self.note(Moved { call, to, result });
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

    /// Ends the move of the job at `at`, which has ended.
    pub(in crate::node) fn ended(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        call: CallId,
        fault: Fault,
    ) {
        if let Transit::Out(departure) = self.transit
            && departure.job == at
        {
            self.transit = Transit::Idle;
            count(&mut post.counters.moves_failed);
            let (to, result) = (departure.to, Err(fault));
            self.note(Moved { call, to, result });
        }
    }

    /// The node that may run the job at `at` already, since this node has told it to go, and the number of the
    /// offer.
    pub(in crate::node) fn told(&self, at: JobAt) -> Option<Caller> {
        match &self.transit {
            Transit::Out(departure) if departure.job == at => departure.told(),
            Transit::Idle | Transit::Out(_) | Transit::In(_) => None,
        }
    }

    /// The next work that an executor must do for the move.
    pub(in crate::node) fn work(&self) -> Option<ImageWork> {
        match &self.transit {
            Transit::Idle => None,
            Transit::Out(departure) => departure.work(),
            Transit::In(arrival) => arrival.work(),
        }
    }

    /// Takes the executor's answer to [`work`](Self::work), which the job has taken before.
    pub(in crate::node) fn handle_outcome(
        &mut self,
        post: &mut Post<'_>,
        work: ImageWork,
        job: &Job,
        outcome: Outcome<'_>,
    ) {
        let (_, at) = work.place();
        match (&mut self.transit, work) {
            (Transit::Idle, _) => {}
            (Transit::In(arrival), _) => match arrival.handle_thawed(post, job, at, outcome) {
                Ok(passed) => self.passed = passed,
                Err(fault) => self.decline(fault),
            },
            (Transit::Out(departure), ImageWork::Freeze { .. }) => {
                let passed = departure.handle_frozen(post, job, at, outcome);
                self.pass(post, job, passed);
            }
            (Transit::Out(departure), ImageWork::Thaw { .. }) => {
                let passed = departure.handle_thawed(post, job, at, outcome);
                self.pass(post, job, passed);
            }
        }
    }

    /// Takes an answer of a node, which may be the one to which `job` was offered.
    pub(in crate::node) fn handle_offer_answer(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        answer: &Return<'_>,
        job: &Job,
    ) -> OfferAnswer {
        let Transit::Out(departure) = &mut self.transit else {
            return OfferAnswer::Other;
        };
        let (heard, passed) = departure.handle_answer(post, origin, answer, job);
        if let OfferAnswer::HandedOver(gone) = heard {
            self.transit = Transit::Idle;
            count(&mut post.counters.moved_out);
            let (call, to, result) = (job.call, gone.to, Ok(()));
            self.note(Moved { call, to, result });
        } else {
            self.pass(post, job, passed);
        }
        heard
    }

    /// Whether `to` may fetch `object`, the record of a job. From go on the record is not served
    /// any more, so that no other node can get ready.
    pub(in crate::node) fn offers(&self, to: NodeId, object: Object) -> bool {
        match (&self.transit, object) {
            (Transit::Out(departure), Object::Job { request }) => departure.offers(to, request),
            _ => false,
        }
    }

    /// Begins the departure of the job that waits for it. The job stands still, and goes on with
    /// `next` at whichever node it is then. `epochs` are the epochs of the node's namespaces at the
    /// job's start.
    pub(in crate::node) fn depart(
        &mut self,
        post: &mut Post<'_>,
        job: &Job,
        next: Next,
        epochs: impl ExactSizeIterator<Item = (NamespaceId, u32)>,
    ) {
        if let Transit::Out(departure) = &mut self.transit {
            let passed = departure.begin(post, job, next, epochs);
            self.pass(post, job, passed);
        }
    }

    /// Checks whether an offered job can be taken in.
    ///
    /// # Errors
    /// The [`Fault`] with which to refuse it.
    pub(in crate::node) fn admit(&self, post: &Post<'_>, offer: &Offer) -> Result<(), Fault> {
        if offer.size == 0 {
            Err(Fault::BadImage)
        } else if offer.size as usize > post.image.capacity() {
            Err(Fault::TooLarge)
        } else if self.job().is_some() {
            Err(Fault::Busy)
        } else {
            Ok(())
        }
    }

    /// Takes an offered job in, at the place `job`.
    pub(in crate::node) fn take_in(
        &mut self,
        post: &mut Post<'_>,
        job: JobAt,
        origin: NodeId,
        offer: &Offer,
    ) {
        self.transit = Transit::In(Arrival::begin(post, job, origin, offer));
    }

    /// Takes the end of the record's fetch.
    pub(in crate::node) fn handle_fetched(&mut self, post: &mut Post<'_>, end: FetchEnd) {
        let Transit::In(arrival) = &self.transit else {
            return;
        };
        match arrival.handle_fetched(post, end) {
            Ok(passed) => self.passed = Some(passed),
            Err(fault) => self.decline(fault),
        }
    }

    /// Takes what the record of the arriving job says: what the job goes on with, or why the record
    /// is refused.
    pub(in crate::node) fn handle_unpacked(
        &mut self,
        post: &mut Post<'_>,
        job: &Job,
        next: Result<Next, Fault>,
    ) {
        let Transit::In(arrival) = &mut self.transit else {
            return;
        };
        match next {
            Ok(next) => self.passed = arrival.handle_unpacked(post, job, next),
            Err(fault) => self.decline(fault),
        }
    }

    /// Goes on with the arriving job: the module that it lacked is here.
    pub(in crate::node) fn handle_module(&mut self, post: &mut Post<'_>, job: &Job) {
        if let Transit::In(arrival) = &mut self.transit {
            self.passed = arrival.handle_module(post, job);
        }
    }

    /// Ends the move of the arriving job, which is this node's own and runs.
    pub(in crate::node) fn settle(&mut self, post: &mut Post<'_>) -> Option<Settled> {
        let Transit::In(arrival) = &self.transit else {
            return None;
        };
        let settled = arrival.settle(post.config.id);
        self.transit = Transit::Idle;
        count(&mut post.counters.moved_in);
        Some(settled)
    }

    /// Declines the job that arrives. It has not run here, and will not.
    pub(in crate::node) fn decline(&mut self, fault: Fault) {
        if let Transit::In(arrival) = &self.transit {
            self.passed = Some(Passed::Declined(arrival.job, fault));
            self.transit = Transit::Idle;
        }
    }

    /// Asks again, thaws again or gives up if it is time. `job` is the job that moves.
    pub(in crate::node) fn handle_timeout(&mut self, post: &mut Post<'_>, job: &Job) {
        if self.poll_timeout().is_none_or(|due| due > post.now) {
            return;
        }
        match &mut self.transit {
            Transit::Idle => {}
            Transit::Out(departure) => {
                let passed = departure.handle_timeout(post, job);
                self.pass(post, job, passed);
            }
            Transit::In(arrival) => match arrival.handle_timeout(post) {
                Ok(passed) => self.passed = passed,
                Err(fault) => self.decline(fault),
            },
        }
    }

    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        match &self.transit {
            Transit::Idle => None,
            Transit::Out(departure) => departure.poll_timeout(),
            Transit::In(arrival) => arrival.poll_timeout(),
        }
    }

    /// What follows for the job that moves, once.
    pub(in crate::node) fn poll_passed(&mut self) -> Option<Passed> {
        self.passed.take()
    }

    /// Notes how a move has ended, for the user.
    pub(in crate::node) fn note(&mut self, moved: Moved) {
        if self.news.len() < self.news.capacity() {
            self.news.push_back(moved);
        }
    }

    /// The move that ended longest ago and is not reported yet.
    pub(in crate::node) fn poll_news(&mut self) -> Option<Moved> {
        self.news.pop_front()
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        debug_assert!(self.passed.is_none(), "what is to be done is done");
    }

    /// Notes the result of a step of the departing job.
    fn pass(&mut self, post: &mut Post<'_>, job: &Job, passed: Option<Passed>) {
        if let (Some(Passed::Stays(..)), Transit::Out(departure)) = (passed, self.transit) {
            self.transit = Transit::Idle;
            count(&mut post.counters.moves_failed);
            let (call, to, result) = (job.call, departure.to, Err(departure.fault));
            self.note(Moved { call, to, result });
        }
        self.passed = passed;
    }
}

#[cfg(test)]
mod tests;
