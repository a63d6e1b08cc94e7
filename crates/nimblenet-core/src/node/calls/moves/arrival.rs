//! A job arrives: its image is fetched, its modules are acquired, its activations thawed, and it
//! runs when the node that offered it says go.
//!
//! Everything that can fail is done before go, while the other node can still take the job back.

use nimblenet_tasklet::{Digest, Fault, NodeId, Outcome};

use super::{Ask, FetchEnd, ImageWork, Passed, Post};
use crate::job::{Caller, Job, Next, Station};
use crate::mesh::Mesh;
use crate::node::post::{Order, Owner};
use crate::places::{Depth, JobAt};
use crate::time::Instant;
use crate::wire::{GoNumber, Object, Offer};

/// A job that arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) job: JobAt,
    from: NodeId,
    /// Whom the other node runs it for.
    caller: Caller,
    digest: Digest,
    /// What it does once it may.
    next: Next,
    pub(super) step: Arriving,
}

/// How far an arrival is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arriving {
    /// The image is on its way.
    Fetching,
    /// The module of this activation is.
    Acquiring { at: Depth },
    /// An executor is to thaw this activation.
    Thawing { at: Depth },
    /// It runs when it is told to.
    Ready { number: GoNumber, ask: Ask },
}

/// A job that has arrived.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Settled {
    /// What it does now.
    pub(in crate::node) next: Next,
    /// The node that it came from and the number under which this node called there, if the job
    /// may be this node's own call.
    pub(in crate::node) home: Option<Caller>,
}

impl Arrival {
    /// Has the image fetched from the node that offers the job.
    pub(super) fn begin(post: &mut Post<'_>, job: JobAt, origin: NodeId, offer: &Offer) -> Self {
        post.image.clear();
        post.order(Order {
            owner: Owner::Arrival,
            object: Object::Job {
                request: offer.request,
            },
            source: origin,
            hops: None,
            part: Mesh::part_len(offer.mtu.min(post.mesh.smallest_mtu())),
            expected: Some(offer.size),
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

    /// What an executor is to do next.
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

    /// The image is complete, or cannot be had.
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
                post.counters.digest_mismatches += 1;
                Err(Fault::DigestMismatch)
            }
            FetchEnd::Changed => Err(Fault::DigestMismatch),
            FetchEnd::Refused | FetchEnd::Silent => Err(Fault::Unreachable),
            FetchEnd::TooLong | FetchEnd::NoRoom => Err(Fault::TooLarge),
        }
    }

    /// The job is what its image says, and goes on with `next`.
    pub(super) fn handle_unpacked(
        &mut self,
        post: &mut Post<'_>,
        job: &Job,
        next: Next,
    ) -> Option<Passed> {
        self.next = next;
        self.acquire_from(post, job, Depth::BOTTOM)
    }

    /// The module that it lacked is here.
    pub(super) fn handle_module(&mut self, post: &mut Post<'_>, job: &Job) -> Option<Passed> {
        let Arriving::Acquiring { at } = self.step else {
            return None;
        };
        self.acquire_from(post, job, at.above())
    }

    /// The executor was to thaw the activation at `at`.
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

    /// The job waits for go, and the node that offered it is silent.
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
        post.mesh.doubt(self.from);
        Ok(Some(self.say_ready(post, number, ask)))
    }

    /// What the job does, now that it is the node `own`'s.
    pub(super) fn settle(&self, own: NodeId) -> Settled {
        let (node, request) = self.caller;
        Settled {
            next: self.next,
            home: (node == own).then_some((self.from, request)),
        }
    }

    /// Acquires the modules of the stack from `at` on, then thaws it.
    fn acquire_from(&mut self, post: &mut Post<'_>, job: &Job, from: Depth) -> Option<Passed> {
        let mut rest = job.activations().iter().skip(from.index());
        let Some(offset) = rest.position(|activation| activation.has_module) else {
            return self.thaw_from(post, job, Depth::BOTTOM);
        };
        let at = Depth::new(from.index() + offset);
        self.step = Arriving::Acquiring { at };
        Some(Passed::Lacks(self.job, at))
    }

    /// Thaws what is frozen of the stack from `at` on, then says that the job is ready.
    fn thaw_from(&mut self, post: &mut Post<'_>, job: &Job, at: Depth) -> Option<Passed> {
        let station = job.activation(at).map(|activation| activation.station);
        if station == Some(Station::Record) {
            self.step = Arriving::Thawing { at };
            return None;
        }
        // The number of the packet that says so: no other life of this node has it.
        let number = GoNumber::new(post.mesh.next_sequence().max(1))?;
        Some(self.say_ready(post, number, Ask::new(post.now)))
    }

    fn say_ready(&mut self, post: &Post<'_>, number: GoNumber, mut ask: Ask) -> Passed {
        ask.asked(post.now, post.patience_for(self.from));
        self.step = Arriving::Ready { number, ask };
        Passed::Ready(self.job, number)
    }
}
