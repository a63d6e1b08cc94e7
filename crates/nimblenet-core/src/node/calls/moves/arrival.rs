//! A job arrives: this node fetches its record, acquires its modules and thaws its activations, and
//! runs it when the node that offered it says go.
//!
//! Every step that can fail comes before go, while the other node can still take the job back.

use nimblenet_tasklet::{Digest, Fault, NodeId, Outcome};

use super::{Ask, FetchEnd, ImageWork, Passed, Post};
use crate::counters::count;
use crate::job::{Caller, Job, Next, Station};
use crate::node::post::{Order, Owner, SOURCE_ASKS};
use crate::places::{Depth, JobAt};
use crate::time::Instant;
use crate::wire::{GoNumber, Object, Offer};

/// A job that arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) job: JobAt,
    from: NodeId,
    /// The caller that the other node runs it for.
    caller: Caller,
    digest: Digest,
    /// What it goes on with after go.
    next: Next,
    pub(super) step: Arriving,
}

/// How far an arrival is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arriving {
    /// The record is on its way.
    Fetching,
    /// The module of this activation is on its way.
    Acquiring { at: Depth },
    /// An executor is to thaw this activation.
    Thawing { at: Depth },
    /// It waits for go.
    Ready { number: GoNumber, ask: Ask },
}

/// A job that has arrived.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Settled {
    /// What it goes on with.
    pub(in crate::node) next: Next,
    /// If the job may be this node's own call: the node that it came from, and the request number
    /// of this node's call there.
    pub(in crate::node) home: Option<Caller>,
}

impl Arrival {
    /// Orders the fetch of the record from the node that offers the job.
    pub(super) fn begin(post: &mut Post<'_>, job: JobAt, origin: NodeId, offer: &Offer) -> Self {
        post.image.clear();
        post.order(Order {
            owner: Owner::Arrival,
            object: Object::Job {
                request: offer.request,
            },
            source: origin,
            hops: None,
            part: post.mesh.part_from(post.now, origin, offer.mtu),
            expected: Some(offer.size),
            asks: SOURCE_ASKS,
            direct: false,
        });
        Self {
            job,
            from: origin,
            caller: offer.caller,
            digest: offer.digest,
            next: Next::Start,
            step: Arriving::Fetching,
        }
    }

    /// The next work that an executor must do.
    pub(super) fn work(&self) -> Option<ImageWork> {
        let job = self.job;
        match self.step {
            Arriving::Thawing { at } => Some(ImageWork::Thaw { job, at }),
            Arriving::Fetching | Arriving::Acquiring { .. } | Arriving::Ready { .. } => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Arriving::Ready { ask, .. } => Some(ask.due()),
            Arriving::Fetching | Arriving::Acquiring { .. } | Arriving::Thawing { .. } => None,
        }
    }

    /// Takes the end of the record's fetch.
    ///
    /// # Errors
    /// Why the job is declined.
    pub(super) fn handle_fetched(
        &self,
        post: &mut Post<'_>,
        end: FetchEnd,
    ) -> Result<Passed, Fault> {
        match end {
            FetchEnd::Complete(_) if Digest::of(post.image) == self.digest => {
                Ok(Passed::Arrived(self.job))
            }
            FetchEnd::Complete(_) => {
                count(&mut post.counters.digest_mismatches);
                Err(Fault::DigestMismatch)
            }
            FetchEnd::Changed => Err(Fault::DigestMismatch),
            FetchEnd::Refused | FetchEnd::Silent => Err(Fault::Unreachable),
            FetchEnd::TooLong | FetchEnd::NoRoom => Err(Fault::TooLarge),
        }
    }

    /// Goes on after the record was read: the job goes on with `next`.
    pub(super) fn handle_unpacked(
        &mut self,
        post: &mut Post<'_>,
        job: &Job,
        next: Next,
    ) -> Option<Passed> {
        self.next = next;
        self.acquire_from(post, job, Depth::BOTTOM)
    }

    /// Goes on after the module that the job lacked was acquired.
    pub(super) fn handle_module(&mut self, post: &mut Post<'_>, job: &Job) -> Option<Passed> {
        let Arriving::Acquiring { at } = self.step else {
            return None;
        };
        self.acquire_from(post, job, at.above())
    }

    /// Takes the answer of the executor that was to thaw the activation at `at`.
    ///
    /// # Errors
    /// Why the job is declined.
    pub(super) fn handle_thawed(
        &mut self,
        post: &mut Post<'_>,
        job: &Job,
        at: Depth,
        outcome: Outcome<'_>,
    ) -> Result<Option<Passed>, Fault> {
        let import = match outcome {
            Outcome::Called { import, .. } => Some(import),
            Outcome::Yielded { .. } => None,
            Outcome::Failed { fault, .. } => return Err(fault),
            Outcome::NoRoom { .. } => return Err(Fault::NoMemory),
            Outcome::Done { .. }
            | Outcome::Frozen { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::Verified { .. } => return Err(Fault::BadImage),
        };
        if !job.waits_rightly(at, import, self.next) {
            return Err(Fault::BadImage);
        }
        Ok(self.thaw_from(post, job, at.above()))
    }

    /// If it is time, says again that the job is ready: the node that offered it is silent.
    ///
    /// # Errors
    /// Why the job is declined.
    pub(super) fn handle_timeout(&mut self, post: &mut Post<'_>) -> Result<Option<Passed>, Fault> {
        let Arriving::Ready { number, ask } = self.step else {
            return Ok(None);
        };
        if ask.is_exhausted() {
            return Err(Fault::Unreachable);
        }
        post.mesh.doubt(post.now, self.from);
        Ok(Some(self.say_ready(post, number, ask)))
    }

    /// What the job goes on with, now that it belongs to the node `own`.
    pub(super) fn settle(&self, own: NodeId) -> Settled {
        let (node, request) = self.caller;
        Settled {
            next: self.next,
            home: (node == own).then_some((self.from, request)),
        }
    }

    /// Acquires the modules of the stack from `from` on, then thaws the stack.
    fn acquire_from(&mut self, post: &mut Post<'_>, job: &Job, from: Depth) -> Option<Passed> {
        let mut rest = job.activations().iter().skip(from.index());
        let Some(offset) = rest.position(|activation| activation.has_module) else {
            return self.thaw_from(post, job, Depth::BOTTOM);
        };
        let at = Depth::new(from.index() + offset);
        self.step = Arriving::Acquiring { at };
        Some(Passed::Lacks(self.job, at))
    }

    /// Thaws the frozen activations of the stack from `at` on, then says that the job is ready.
    fn thaw_from(&mut self, post: &mut Post<'_>, job: &Job, at: Depth) -> Option<Passed> {
        let station = job.activation(at).map(|activation| activation.station);
        if station == Some(Station::Record) {
            self.step = Arriving::Thawing { at };
            return None;
        }
        // The number of the packet that says "ready": no other life of this node uses it.
        let number = GoNumber::new(post.mesh.next_sequence().max(1))?;
        Some(self.say_ready(post, number, Ask::new(post.now)))
    }

    fn say_ready(&mut self, post: &Post<'_>, number: GoNumber, mut ask: Ask) -> Passed {
        ask.asked(post.now, post.patience_for(self.from));
        self.step = Arriving::Ready { number, ask };
        Passed::Ready(self.job, number)
    }
}
