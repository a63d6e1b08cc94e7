//! Calls between nodes.
//!
//! The caller repeats its call until it is answered; the callee runs it once, says that it is
//! working when asked meanwhile, and keeps the answer for repetitions.

use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId};

use super::Node;
use super::transit::Moved;
use crate::acquisition::{ASKS, patience};
use crate::event::CallRequest;
use crate::job::{CallId, ExportName, Job, Remote, State};
use crate::time::Instant;
use crate::wire::{Answer, Call, Go, Message, Move, Return};

/// A call that is worked on is asked after in this many times the patience for an answer.
pub(super) const ASK_AFTER: u32 = 8;
/// How long a call to another node may take if the caller sets no limit.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

impl Node {
    pub(super) fn accept_remote(
        &mut self,
        now: Instant,
        to: NodeId,
        request: CallRequest<'_>,
    ) -> Result<CallId, Fault> {
        let export = ExportName::new(request.export).ok_or(Fault::UnknownExport)?;
        let number = self.mesh.next_sequence();
        let message = Message::Call(Call {
            request: number,
            deadline_ms: 0,
            name: request.name,
            export: export.as_str(),
            args: request.args,
        });
        if !self.mesh.fits(now, to, &message) {
            return Err(Fault::ValuesTooLarge);
        }
        let at = self.vacancy().ok_or(Fault::Busy)?;
        self.next_call = self.next_call.wrapping_add(1);
        let call = CallId(self.next_call);
        let job = &mut self.jobs[at];
        if !job.set_message(request.args) {
            return Err(Fault::ValuesTooLarge);
        }
        job.call = call;
        job.name = request.name;
        job.export = export;
        job.caller = None;
        job.accepted = now;
        job.deadline = Some(now + request.deadline.unwrap_or(DEFAULT_DEADLINE));
        job.trap = None;
        job.steps.clear();
        job.number = 0;
        job.state = State::Remote(Remote {
            request: number,
            ..Remote::new(to, now)
        });
        self.ask_remote(now, at);
        Ok(call)
    }

    pub(super) fn remote_timeouts(&mut self, now: Instant) {
        for at in 0..self.jobs.len() {
            let State::Remote(remote) = self.jobs[at].state else {
                continue;
            };
            if remote.due > now {
                continue;
            }
            self.mesh.doubt(remote.to);
            if remote.unanswered < ASKS {
                self.ask_remote(now, at);
            } else {
                self.end_job(now, at, Err(Fault::Unreachable));
            }
        }
    }

    /// Another node calls.
    pub(super) fn serve_call(&mut self, now: Instant, origin: NodeId, call: Call<'_>) {
        let caller = Some((origin, call.request));
        let known = |job: &Job| job.caller == caller && job.state != State::Free;
        if let Some(at) = self.jobs.iter().position(known) {
            self.answer_call(now, at);
            return;
        }
        let deadline = Some(Duration::from_millis(call.deadline_ms.into()));
        let Call {
            name, export, args, ..
        } = call;
        let request = CallRequest {
            name,
            export,
            args,
            deadline,
        };
        self.counters.calls += 1;
        match self.accept(now, request, caller) {
            Ok(accepted) => {
                let runs = |job: &Job| job.call == accepted && job.state.live();
                if let Some(at) = self.jobs.iter().position(runs) {
                    self.answer_call(now, at);
                }
            }
            Err(fault) => {
                self.counters.failed += 1;
                let answer = Answer::Failed(fault, None);
                let request = call.request;
                self.send_return(now, origin, Return { request, answer });
            }
        }
    }

    /// Tells another node that its call is on its way, or there.
    pub(super) fn confirm_move(&mut self, now: Instant, to: NodeId, order: Move) {
        let (request, answer) = (order.request, Answer::Moving(order.to));
        self.send_return(now, to, Return { request, answer });
    }

    pub(super) fn send_return(&mut self, now: Instant, to: NodeId, answer: Return<'_>) {
        let message = Message::Return(answer);
        self.mesh.send(now, to, message, &mut self.counters);
    }

    /// Another node answers.
    pub(super) fn handle_return(&mut self, now: Instant, origin: NodeId, answer: Return<'_>) {
        if self.handle_offer_answer(now, origin, &answer) {
            return;
        }
        let asked = Some((origin, answer.request));
        let waits = |job: &Job| job.state.remote().map(|it| (it.to, it.request)) == asked;
        let Some(at) = self.jobs.iter().position(waits) else {
            self.counters.drop(crate::counters::DropReason::Unexpected);
            return;
        };
        match answer.answer {
            Answer::Working => {
                self.works_on(now, at);
                let redirect = |remote: Remote| remote.redirect;
                if self.jobs[at].state.remote().and_then(redirect).is_some() {
                    self.ask_remote(now, at);
                }
            }
            Answer::Moving(to) => {
                self.works_on(now, at);
                self.redirected(at, Some(to), Ok(()));
            }
            Answer::Refused(fault, 0) => {
                self.works_on(now, at);
                self.redirected(at, None, Err(fault));
            }
            // A job that was handed over is neither ready nor refused any more.
            Answer::Adopting(_) | Answer::Refused(..) => {
                self.counters.drop(crate::counters::DropReason::Unexpected);
            }
            Answer::Done(result) => {
                let fits = self.jobs[at].set_message(result);
                self.end_job(
                    now,
                    at,
                    if fits {
                        Ok(())
                    } else {
                        Err(Fault::ValuesTooLarge)
                    },
                );
            }
            Answer::Failed(fault, trap) => {
                self.jobs[at].trap = trap;
                self.end_job(now, at, Err(fault));
            }
        }
    }

    /// The node that the job at `at` runs on has said so.
    fn works_on(&mut self, now: Instant, at: usize) {
        let Some(Remote { to, .. }) = self.jobs[at].state.remote() else {
            return;
        };
        let wait = self.working_patience(now, to);
        if let State::Remote(remote) = &mut self.jobs[at].state {
            remote.due = now + wait;
            remote.unanswered = 0;
            remote.known = true;
        }
    }

    /// The other node moves the job to the node that is wanted, or does not.
    pub(super) fn redirected(
        &mut self,
        at: usize,
        agreed: Option<NodeId>,
        result: Result<(), Fault>,
    ) {
        let call = self.jobs[at].call;
        if let State::Remote(remote) = &mut self.jobs[at].state
            && let Some(to) = remote.redirect
            && agreed.is_none_or(|agreed| agreed == to)
        {
            remote.redirect = None;
            self.note_moved(Moved { call, to, result });
        }
    }

    /// Tells the caller of the job at `at` how it stands.
    pub(super) fn answer_call(&mut self, now: Instant, at: usize) {
        let Self {
            jobs,
            mesh,
            counters,
            ..
        } = self;
        let job = &jobs[at];
        let Some((caller, request)) = job.caller else {
            return;
        };
        let answer = match (job.state, job.state.result()) {
            (_, Some(Ok(()))) => Answer::Done(&job.message),
            (_, Some(Err(fault))) => Answer::Failed(fault, job.trap),
            (State::Arriving(_), None) => Answer::Adopting(job.number),
            (State::Declined(fault), None) => Answer::Refused(fault, job.number),
            (_, None) => Answer::Working,
        };
        let message = Message::Return(Return { request, answer });
        let limit = usize::from(mesh.smallest_mtu());
        let frame = message.len() + crate::wire::HEADER_LEN + crate::wire::OVERHEAD;
        let message = if frame > limit {
            let answer = Answer::Failed(Fault::ValuesTooLarge, None);
            Message::Return(Return { request, answer })
        } else {
            message
        };
        mesh.send(now, caller, message, counters);
    }

    /// A place for a job: a free one, or one that is only kept for repetitions.
    pub(super) fn vacancy(&self) -> Option<usize> {
        // Every job that there is may yet leave as many words to stop as it is deep.
        if self.stops.len() * 2 > self.stops.capacity() {
            return None;
        }
        let free = self.jobs.iter().position(|job| job.state == State::Free);
        free.or_else(|| {
            let kept = |at: &usize| {
                matches!(
                    self.jobs[*at].state,
                    State::Answered(_) | State::Declined(_)
                )
            };
            (0..self.jobs.len())
                .filter(kept)
                .min_by_key(|at| self.jobs[*at].accepted)
        })
    }

    pub(super) fn ask_remote(&mut self, now: Instant, at: usize) {
        let State::Remote(remote) = self.jobs[at].state else {
            return;
        };
        let due = now + self.remote_patience(now, remote.to);
        let Self {
            jobs,
            mesh,
            counters,
            ..
        } = self;
        let job = &mut jobs[at];
        job.state = State::Remote(Remote {
            due,
            unanswered: remote.unanswered + 1,
            ..remote
        });
        let left = job
            .deadline
            .map_or(DEFAULT_DEADLINE, |deadline| deadline - now);
        let call = Call {
            request: remote.request,
            deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            name: job.name,
            export: job.export.as_str(),
            args: &job.message,
        };
        let (request, number) = (remote.request, remote.number);
        let message = match remote.redirect.filter(|_| remote.known) {
            Some(to) => Message::Move(Move { request, to }),
            None if number != 0 => Message::Go(Go { request, number }),
            None => Message::Call(call),
        };
        mesh.send(now, remote.to, message, counters);
    }

    pub(super) fn remote_patience(&self, now: Instant, to: NodeId) -> Duration {
        let hops = self.mesh.hops(now, to);
        hops.map_or(self.config.global_search, |hops| {
            patience(&self.config, hops)
        })
    }
}
