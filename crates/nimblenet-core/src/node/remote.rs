//! Calls between nodes.
//!
//! The caller repeats its call until it is answered; the callee runs it once, says that it is
//! working when asked meanwhile, and keeps the answer for repetitions.

use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId};

use super::Node;
use crate::acquisition::{ASKS, patience};
use crate::event::CallRequest;
use crate::job::{CallId, ExportName, Job, Remote, State};
use crate::time::Instant;
use crate::wire::{Answer, Call, Message, Return};

/// A call that is worked on is asked after in this many times the patience for an answer.
const ASK_AFTER: u32 = 8;
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
        let at = self.vacancy().ok_or(Fault::Busy)?;
        self.next_call = self.next_call.wrapping_add(1);
        let call = CallId(self.next_call);
        let number = self.mesh.next_sequence();
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
        job.state = State::Remote(Remote {
            to,
            request: number,
            due: now,
            unanswered: 0,
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
                let message = Message::Return(Return {
                    request: call.request,
                    answer,
                });
                self.mesh.send(now, origin, message, &mut self.counters);
            }
        }
    }

    /// Another node answers.
    pub(super) fn handle_return(&mut self, now: Instant, origin: NodeId, answer: Return<'_>) {
        let asked = Some((origin, answer.request));
        let waits = |job: &Job| job.state.remote().map(|it| (it.to, it.request)) == asked;
        let Some(at) = self.jobs.iter().position(waits) else {
            self.counters.drop(crate::counters::DropReason::Unexpected);
            return;
        };
        match answer.answer {
            Answer::Working => {
                let wait = self.remote_patience(now, origin) * ASK_AFTER;
                if let State::Remote(remote) = &mut self.jobs[at].state {
                    remote.due = now + wait;
                    remote.unanswered = 0;
                }
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
        let answer = match job.state.result() {
            Some(Ok(())) => Answer::Done(&job.message),
            Some(Err(fault)) => Answer::Failed(fault, job.trap),
            None => Answer::Working,
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
            let kept = |at: &usize| matches!(self.jobs[*at].state, State::Answered(_));
            (0..self.jobs.len())
                .filter(kept)
                .min_by_key(|at| self.jobs[*at].accepted)
        })
    }

    fn ask_remote(&mut self, now: Instant, at: usize) {
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
        mesh.send(now, remote.to, Message::Call(call), counters);
    }

    fn remote_patience(&self, now: Instant, to: NodeId) -> Duration {
        let hops = self.mesh.hops(now, to);
        hops.map_or(self.config.global_search, |hops| {
            patience(&self.config, hops)
        })
    }
}
