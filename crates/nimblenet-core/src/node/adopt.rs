//! A job arrives: its image is fetched, its modules are acquired, its activations thawed, and it
//! runs when the node that offered it says go.
//!
//! Everything that can fail is done before go, while the other node can still take the job back.

use core::time::Duration;

use nimblenet_tasklet::{Digest, Executor, Fault, NodeId, Outcome, abi};

use super::Node;
use super::transit::Transit;
use crate::acquisition::ASKS;
use crate::cache::SlotId;
use crate::job::{CallId, ExportName, Job, Next, State};
use crate::mesh::Mesh;
use crate::time::Instant;
use crate::transfer::{Progress, Stall, Transfer};
use crate::wire::job::MovedJob;
use crate::wire::{Answer, Data, Go, Message, Object, Offer, Return};

/// A job that arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Its place.
    pub(super) job: usize,
    from: NodeId,
    /// Whom the other node runs it for.
    caller: (NodeId, u32),
    digest: Digest,
    /// What it does once it may.
    next: Next,
    pub(super) step: Arriving,
}

/// How far an arrival is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arriving {
    /// The image is on its way.
    Fetching(Transfer),
    /// The module of the activation at this place of the stack is.
    Acquiring { at: usize },
    /// The activation at this place is with the executor, or is the next to be.
    Thawing { at: usize },
    /// It runs when it is told to.
    Ready { due: Instant, unanswered: u8 },
}

impl Arrival {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Arriving::Fetching(transfer) => Some(transfer.deadline()),
            Arriving::Ready { due, .. } => Some(due),
            Arriving::Acquiring { .. } | Arriving::Thawing { .. } => None,
        }
    }
}

impl Node {
    /// Another node offers a job.
    pub(super) fn serve_offer(&mut self, now: Instant, origin: NodeId, offer: Offer) {
        let caller = Some((origin, offer.request));
        let known = |job: &Job| job.caller == caller && job.state != State::Free;
        if let Some(at) = self.jobs.iter().position(known) {
            self.answer_call(now, at);
            return;
        }
        let fault = if offer.size == 0 {
            Some(Fault::BadImage)
        } else if offer.size as usize > self.image.capacity() {
            Some(Fault::TooLarge)
        } else if self.transit.job().is_some() || self.image_is_read() {
            Some(Fault::Busy)
        } else {
            None
        };
        let at = match (fault, self.vacancy()) {
            (None, Some(at)) => at,
            (fault, _) => {
                self.counters.moves_refused += 1;
                let fault = fault.unwrap_or(Fault::Busy);
                self.refuse_move(now, origin, offer.request, fault);
                return;
            }
        };
        self.next_call = self.next_call.wrapping_add(1);
        let timed = offer.deadline_ms != Offer::NO_DEADLINE;
        let left = Duration::from_millis(offer.deadline_ms.into());
        let job = &mut self.jobs[at];
        job.set_message(&[]);
        job.call = CallId(self.next_call);
        job.caller = caller;
        job.number = 0;
        job.accepted = now;
        job.deadline = timed.then_some(now + left);
        job.trap = None;
        job.steps.clear();
        job.preload.clear();
        job.epochs.clear();
        job.state = State::Arriving(None);
        self.image.clear();
        let object = Object::Job {
            request: offer.request,
        };
        let part = Mesh::part_len(offer.mtu.min(self.mesh.smallest_mtu()));
        let arrival = Arrival {
            job: at,
            from: origin,
            caller: offer.caller,
            digest: offer.digest,
            next: Next::Start,
            step: Arriving::Fetching(Transfer::new(object, origin, part, Some(offer.size))),
        };
        self.transit = Transit::In(arrival);
        self.ask_image(now);
    }

    /// Another node says go, or asks how the job stands.
    pub(super) fn serve_go(&mut self, now: Instant, origin: NodeId, go: Go) {
        let caller = Some((origin, go.request));
        let known = |job: &Job| job.caller == caller && job.state != State::Free;
        let Some(at) = self.jobs.iter().position(known) else {
            self.disown(now, origin, go.request);
            return;
        };
        match self.jobs[at].state {
            State::Arriving(_) if self.jobs[at].number == go.number => self.settle(now, at),
            // The number is of another life of this node. This one cannot be told to go any more.
            State::Arriving(_) => {
                self.decline(now, at, Fault::Unreachable);
                self.disown(now, origin, go.request);
            }
            State::Declined(_) if self.jobs[at].number != go.number => {
                self.disown(now, origin, go.request);
            }
            State::Free
            | State::Resolving
            | State::Preloading { .. }
            | State::Acquiring { .. }
            | State::Ready(_)
            | State::Running
            | State::Remote(_)
            | State::Leaving
            | State::Finished(_)
            | State::Answered(_)
            | State::Declined(_) => self.answer_call(now, at),
        }
    }

    /// A part of an image; false if none is waited for.
    pub(super) fn handle_image_part(&mut self, now: Instant, data: &Data<'_>) -> bool {
        let Some((arrival, mut transfer)) = self.fetching_image(data.request) else {
            return false;
        };
        match transfer.take(now, data) {
            Progress::Unexpected => return false,
            Progress::Changed => self.decline(now, arrival.job, Fault::DigestMismatch),
            progress @ (Progress::Part | Progress::Complete) => {
                let from = data.offset as usize;
                // The offer's size was checked, and the transfer keeps to it.
                self.image.set_len(data.total as usize);
                self.image[from..from + data.bytes.len()].copy_from_slice(data.bytes);
                let step = Arriving::Fetching(transfer);
                self.transit = Transit::In(Arrival { step, ..arrival });
                if progress == Progress::Complete {
                    self.unpack(now, arrival);
                } else if transfer.wants_more() {
                    self.ask_image(now);
                }
            }
        }
        true
    }

    /// The other node does not serve the image.
    pub(super) fn handle_image_refusal(&mut self, now: Instant, request: u16) {
        if let Some((arrival, _)) = self.fetching_image(request) {
            self.decline(now, arrival.job, Fault::Unreachable);
        }
    }

    /// The module of an activation of the job at `at` was acquired, or could not be.
    pub(super) fn module_arrived(
        &mut self,
        now: Instant,
        at: usize,
        result: Result<SlotId, Fault>,
    ) {
        let Transit::In(Arrival {
            job,
            step: Arriving::Acquiring { at: place },
            ..
        }) = self.transit
        else {
            return;
        };
        debug_assert_eq!(job, at, "one job arrives at a time");
        self.jobs[at].state = State::Arriving(None);
        match result {
            Ok(slot) => {
                if let Some(activation) = self.jobs[at].activation_mut(place) {
                    activation.slot = Some(slot);
                }
                self.acquire_from(now, at, place + 1);
            }
            Err(fault) => self.decline(now, at, fault),
        }
    }

    /// The executor was to take in the activation at `at`.
    pub(super) fn thawed_here(
        &mut self,
        now: Instant,
        job: usize,
        at: usize,
        outcome: Outcome<'_>,
    ) {
        let Transit::In(arrival) = self.transit else {
            return;
        };
        let (import, left) = match outcome {
            Outcome::Called { import, fuel, .. } => (Some(import), fuel),
            Outcome::Yielded { fuel, .. } => (None, fuel),
            Outcome::Failed { fault, .. } => {
                if let Some(activation) = self.jobs[job].activation_mut(at) {
                    activation.started = false;
                }
                self.decline(now, job, fault);
                return;
            }
            Outcome::Done { .. }
            | Outcome::Frozen { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::Verified { .. } => {
                self.decline(now, job, Fault::BadImage);
                return;
            }
        };
        if !self.jobs[job].waits_rightly(at, import, arrival.next) {
            self.decline(now, job, Fault::BadImage);
            return;
        }
        if let Some(activation) = self.jobs[job].activation_mut(at) {
            activation.frozen = false;
            activation.fuel = activation.fuel.min(left);
        }
        self.thaw_from(now, job, at + 1);
    }

    pub(super) fn arrival_timeout(&mut self, now: Instant, arrival: Arrival) {
        match arrival.step {
            Arriving::Fetching(mut transfer) => {
                let stall = transfer.handle_timeout(now);
                let step = Arriving::Fetching(transfer);
                self.transit = Transit::In(Arrival { step, ..arrival });
                match stall {
                    Stall::Waiting => {}
                    Stall::Ask => self.ask_image(now),
                    Stall::Lost => {
                        self.mesh.doubt(arrival.from);
                        self.decline(now, arrival.job, Fault::Unreachable);
                    }
                }
            }
            Arriving::Ready { unanswered, .. } if unanswered < ASKS => {
                self.mesh.doubt(arrival.from);
                self.say_ready(now, arrival, unanswered);
            }
            Arriving::Ready { .. } => self.decline(now, arrival.job, Fault::Unreachable),
            Arriving::Acquiring { .. } | Arriving::Thawing { .. } => {}
        }
    }

    /// Gives up a job that arrives. It has not run here, and will not.
    pub(super) fn decline(&mut self, now: Instant, at: usize, fault: Fault) {
        let waited = if let State::Arriving(waited) = self.jobs[at].state {
            waited
        } else {
            None
        };
        self.release_all(at);
        self.jobs[at].state = State::Declined(fault);
        waited.into_iter().for_each(|place| self.abandon(place));
        self.transit = Transit::Idle;
        self.counters.moves_refused += 1;
        self.forget_replaced();
        self.answer_call(now, at);
    }

    pub(super) fn refuse_move(&mut self, now: Instant, to: NodeId, request: u32, fault: Fault) {
        let answer = Answer::Refused(fault, 0);
        self.send_return(now, to, Return { request, answer });
    }

    /// Says of a job that it cannot be run here: whether it was, nobody knows any more.
    fn disown(&mut self, now: Instant, to: NodeId, request: u32) {
        let answer = Answer::Failed(Fault::Unreachable, None);
        self.send_return(now, to, Return { request, answer });
    }

    fn fetching_image(&self, request: u16) -> Option<(Arrival, Transfer)> {
        let Transit::In(arrival) = self.transit else {
            return None;
        };
        let Arriving::Fetching(transfer) = arrival.step else {
            return None;
        };
        (transfer.request() == request).then_some((arrival, transfer))
    }

    fn ask_image(&mut self, now: Instant) {
        let request = self.new_request();
        let Transit::In(arrival) = &mut self.transit else {
            return;
        };
        let Arriving::Fetching(mut transfer) = arrival.step else {
            return;
        };
        let from = arrival.from;
        let wait = self.remote_patience(now, from);
        let fetch = transfer.ask(now, request, wait);
        if let Transit::In(arrival) = &mut self.transit {
            arrival.step = Arriving::Fetching(transfer);
        }
        self.mesh
            .send(now, from, Message::Fetch(fetch), &mut self.counters);
    }

    /// The image is complete: is it the right one, and what does it hold?
    fn unpack(&mut self, now: Instant, arrival: Arrival) {
        let at = arrival.job;
        if Digest::of(&self.image) != arrival.digest {
            self.counters.digest_mismatches += 1;
            self.decline(now, at, Fault::DigestMismatch);
            return;
        }
        let image = self.image.take();
        let record = MovedJob::parse(&image).map_err(|_| Fault::BadImage);
        let unpacked = record.and_then(|record| self.take_up(at, &record).map(|()| record.next));
        self.image = image;
        match unpacked {
            Ok(next) => {
                self.transit = Transit::In(Arrival { next, ..arrival });
                self.acquire_from(now, at, 0);
            }
            Err(fault) => self.decline(now, at, fault),
        }
    }

    /// Makes the job at `at` what the record says, as far as this node's catalogues allow.
    fn take_up(&mut self, at: usize, record: &MovedJob<'_>) -> Result<(), Fault> {
        let job = &mut self.jobs[at];
        job.name = record.name;
        job.export = ExportName::new(record.export).ok_or(Fault::UnknownExport)?;
        job.trap = record.trap;
        job.calls_left = record.calls_left.min(self.config.limits.calls);
        if !job.set_message(record.message) {
            return Err(Fault::ValuesTooLarge);
        }
        // The job keeps to the entries that it started with, as far as they are here.
        let epochs = self.subscriptions.iter().map(|held| {
            let (own, theirs) = (held.catalogue().epoch(), record.epoch(held.id()));
            theirs.map_or(own, |theirs| theirs.min(own))
        });
        job.epochs.extend(epochs);
        for moved in record.activations() {
            let held = self.subscription(moved.tasklet.namespace);
            let held = held.ok_or(Fault::UnknownNamespace)?;
            let export = ExportName::new(moved.export).ok_or(Fault::UnknownExport)?;
            self.push(at, held, moved.tasklet.number, export, moved.fuel)?;
            let message = record.message;
            let Some(top) = self.jobs[at].top_mut() else {
                return Err(Fault::BadImage);
            };
            let entry = top.entry();
            if entry.sequence != moved.tasklet.sequence {
                return Err(Fault::UnknownTasklet);
            }
            let offered = entry.terms.export(moved.export);
            let signature = offered.ok_or(Fault::UnknownExport)?.signature;
            let ceiling = super::run::fuel_ceiling(&entry);
            let frozen = !moved.image.is_empty();
            if frozen && entry.terms.executor == Executor::Native {
                return Err(Fault::BadImage);
            }
            if !frozen {
                abi::check_args(&signature, message).map_err(|_| Fault::WrongArguments)?;
            }
            top.fuel = moved.fuel.min(ceiling);
            top.frozen = frozen;
        }
        Ok(())
    }

    /// Acquires the modules of the stack from `at` on, then thaws it.
    fn acquire_from(&mut self, now: Instant, job: usize, at: usize) {
        for at in at..self.jobs[job].depth() {
            let activation = &self.jobs[job].activations()[at];
            let entry = activation.entry();
            if entry.terms.executor == Executor::Native {
                continue;
            }
            let wanted = self.wanted(activation.namespace, &entry);
            match wanted.and_then(|wanted| self.acquire(now, wanted)) {
                Ok(acquisition) => {
                    self.jobs[job].state = State::Arriving(Some(acquisition));
                    self.set_arriving(Arriving::Acquiring { at });
                    self.advance(now, acquisition);
                }
                Err(fault) => self.decline(now, job, fault),
            }
            return;
        }
        self.thaw_from(now, job, 0);
    }

    /// Thaws what is frozen of the stack from `at` on, then says that the job is ready.
    fn thaw_from(&mut self, now: Instant, job: usize, at: usize) {
        let rest = self.jobs[job].activations().get(at);
        if rest.is_some_and(|activation| activation.frozen) {
            self.set_arriving(Arriving::Thawing { at });
            return;
        }
        // The number of the packet that says so: no other life of this node has it.
        self.jobs[job].number = self.mesh.next_sequence().max(1);
        if let Transit::In(arrival) = self.transit {
            self.say_ready(now, arrival, 0);
        }
    }

    fn say_ready(&mut self, now: Instant, arrival: Arrival, unanswered: u8) {
        let due = now + self.remote_patience(now, arrival.from);
        let unanswered = unanswered + 1;
        self.set_arriving(Arriving::Ready { due, unanswered });
        self.answer_call(now, arrival.job);
    }

    /// The job is this node's: it runs.
    fn settle(&mut self, now: Instant, at: usize) {
        let Transit::In(arrival) = self.transit else {
            return;
        };
        self.transit = Transit::Idle;
        self.counters.moved_in += 1;
        let came_home = arrival.caller.0 == self.config.id;
        let own = (arrival.from, arrival.caller.1);
        let waits = |job: &Job| job.state.remote().map(|it| (it.to, it.request)) == Some(own);
        let waits = self.jobs.iter().position(waits).filter(|_| came_home);
        match waits {
            Some(waits) => {
                self.redirected(waits, None, Ok(()));
                self.rejoin(at, waits);
            }
            None => self.counters.calls += 1,
        }
        self.make_ready(at, arrival.next);
        self.answer_call(now, waits.unwrap_or(at));
    }

    /// The job at `at` is the very call that the one at `waits` stands for: it takes that call's
    /// place. What is left at `waits` tells the node that the job came from that it has ended
    /// there, so that a job may come and go without leaving a trail.
    fn rejoin(&mut self, at: usize, waits: usize) {
        let [here, there] = self
            .jobs
            .get_disjoint_mut([at, waits])
            .expect("a job that arrives is not one that waits");
        core::mem::swap(&mut here.call, &mut there.call);
        core::mem::swap(&mut here.caller, &mut there.caller);
        core::mem::swap(&mut here.accepted, &mut there.accepted);
        core::mem::swap(&mut here.deadline, &mut there.deadline);
        core::mem::swap(&mut here.steps, &mut there.steps);
        for step in &there.steps {
            here.note(*step);
        }
        there.set_message(NO_RESULTS);
        there.state = State::Answered(Ok(()));
    }

    fn set_arriving(&mut self, step: Arriving) {
        if let Transit::In(arrival) = &mut self.transit {
            arrival.step = step;
        }
    }
}

/// The CBOR array of no results.
const NO_RESULTS: &[u8] = &[0x80];
