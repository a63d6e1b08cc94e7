//! Waiting for changes, and the results of calls that have ended.

use alloc::collections::VecDeque;
use core::hash::{Hash as _, Hasher as _};
use std::hash::DefaultHasher;

use nimblenet_core::{CallId, CallKey, Progress, Standing};
use nimblenet_tasklet::{Fault, NodeId, TaskletName};

use super::CallReport;
use super::api::{Answer, Job, Made, Reply, Request, Seen, Watched};
use super::run::Service;
use crate::lines::Line;

/// The most results that are remembered.
const MAX_RESULTS: usize = 64;
/// The most bytes of results that are remembered; the newest result is remembered in any case.
const MAX_RESULT_BYTES: usize = 4 << 20;
/// The most questions that wait for a change. Carriers ask once for all their clients.
const MAX_WAITING: usize = 256;

/// The questions that wait for a change.
#[derive(Default, Debug)]
pub(super) struct Waiters(Vec<Waiter>);

#[derive(Debug)]
struct Waiter {
    watched: Watched,
    seen: Seen,
    answer: Answer,
}

/// The newest results of calls of this node, so that a client that watches a call gets its result.
#[derive(Default, Debug)]
pub(super) struct Results {
    newest: VecDeque<(CallId, Ended)>,
    bytes: usize,
}

/// How a call has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) report: CallReport,
    /// If it failed: which tasklet, and at which node.
    pub(super) place: String,
    /// If it failed: what the fault does not say.
    pub(super) detail: Option<String>,
    /// By what its client asks for the result later, and the tasklet, if it has made the call here.
    pub(super) numbered: Option<(CallKey, TaskletName)>,
}

impl Ended {
    /// The reply to its caller.
    pub(super) fn reply(self, explain: bool, lines: Option<Vec<Line>>) -> Reply {
        Reply::Ended {
            report: self.report,
            explain,
            lines,
            place: self.place,
            detail: self.detail,
        }
    }
}

impl Results {
    /// Remembers how a call has ended. The oldest is forgotten first.
    pub(super) fn keep(&mut self, call: CallId, ended: Ended) {
        self.bytes += result_bytes(&ended);
        self.newest.push_back((call, ended));
        while self.newest.len() > MAX_RESULTS
            || self.bytes > MAX_RESULT_BYTES && self.newest.len() > 1
        {
            let oldest = self.newest.pop_front();
            self.bytes -= oldest.map_or(0, |(_, ended)| result_bytes(&ended));
        }
    }

    /// How a call has ended, if that is remembered.
    pub(super) fn of(&self, call: CallId) -> Option<&Ended> {
        let found = self.newest.iter().rev().find(|(ended, _)| *ended == call);
        found.map(|(_, ended)| ended)
    }
}

impl Results {
    /// What was said when the first call with this number ended with `fault`, if that is remembered.
    pub(super) fn detail(&self, numbered: (CallKey, TaskletName), fault: Fault) -> Option<String> {
        let ended = self.newest.iter().map(|(_, ended)| ended);
        let mut ended = ended.filter(|it| it.numbered == Some(numbered));
        let first = ended.find(|it| it.report.result == Err(fault))?;
        first.detail.clone()
    }
}

fn result_bytes(ended: &Ended) -> usize {
    ended.report.result.as_ref().map_or(0, Vec::len)
}

impl Service {
    /// The calls in progress, oldest first.
    pub(super) fn jobs(&self) -> Vec<Job> {
        let jobs = self.node.calls().map(|progress| self.described(progress));
        let mut jobs: Vec<_> = jobs.collect();
        jobs.sort_by_key(|job| job.progress.call);
        jobs
    }

    /// A call in progress with what its client says of it.
    fn described(&self, progress: Progress) -> Job {
        let made = self.calls.get(&progress.call).map(|waiting| {
            let call = &waiting.call;
            Made {
                client: call.client,
                number: call.key.or(waiting.claimed).map(|key| key.number),
                priority: call.priority,
            }
        });
        Job { progress, made }
    }

    /// The state of one call, and whether it is final.
    pub(super) fn job(&self, call: CallId) -> (Reply, bool) {
        if let Some(progress) = self.node.calls().find(|job| job.call == call) {
            let (now, job) = (self.clock.now(), self.described(progress));
            return (Reply::Job { now, job }, false);
        }
        let ended = match self.results.of(call) {
            Some(ended) => ended.clone().reply(false, None),
            None => {
                let place = format!("call {} at node {}", call.0, self.node.id());
                Reply::refused_call(Fault::UnknownCall, place, None)
            }
        };
        (ended, true)
    }

    /// Answers with the state as soon as it differs from `seen`.
    pub(super) fn watch(&mut self, watched: Watched, seen: Option<Seen>, answer: Answer) {
        let now = self.seen(watched, &self.jobs());
        match seen {
            Some(seen) if seen == now && self.waiters.0.len() < MAX_WAITING => {
                let waiter = Waiter {
                    watched,
                    seen,
                    answer,
                };
                self.waiters.0.push(waiter);
            }
            Some(_) | None => answer.give(self.watched(watched, now)),
        }
    }

    /// Answers the questions whose change has come.
    pub(super) fn tell_changes(&mut self) {
        if self.waiters.0.is_empty() {
            return;
        }
        let jobs = self.jobs();
        for waiter in core::mem::take(&mut self.waiters.0) {
            let now = self.seen(waiter.watched, &jobs);
            if now == waiter.seen {
                self.waiters.0.push(waiter);
            } else {
                waiter.answer.give(self.watched(waiter.watched, now));
            }
        }
    }

    fn watched(&self, watched: Watched, seen: Seen) -> Reply {
        let (reply, last) = match watched {
            Watched::Status => (Reply::Status(Box::new(self.status())), false),
            Watched::Jobs => {
                let (now, jobs) = (self.clock.now(), self.jobs());
                (Reply::Jobs { now, jobs }, false)
            }
            Watched::Job(call) => self.job(call),
        };
        let reply = Box::new(reply);
        Reply::Watched { reply, seen, last }
    }

    /// A hash of the present state, without the parts that only time changes.
    fn seen(&self, watched: Watched, jobs: &[Job]) -> Seen {
        let mut hasher = DefaultHasher::new();
        let jobs = jobs.iter().map(|job| job.progress);
        let of_interest = jobs.filter(|job| match watched {
            Watched::Status => false,
            Watched::Jobs => true,
            Watched::Job(call) => job.call == call,
        });
        for job in of_interest {
            let at = match job.standing {
                Standing::At(node) => Some(node.0),
                Standing::Waiting | Standing::Queued | Standing::Running | Standing::Moving => None,
            };
            (job.call.0, job.standing.name(), at, job.depth).hash(&mut hasher);
        }
        if watched == Watched::Status {
            // A node's numbers always change.
            self.clock.now().as_micros().hash(&mut hasher);
        }
        Seen(hasher.finish())
    }
}

impl Request {
    /// Whether it has to do with running tasklets on the node `own`, so that a registry with that id
    /// has no answer. Calls that another node runs are its business.
    pub(super) fn is_about_runs_at(&self, own: NodeId) -> bool {
        match self {
            Self::Call { call, .. } | Self::Claim { call, .. } => {
                call.at.is_none_or(|at| at == own)
            }
            Self::Cancel { .. }
            | Self::Cache
            | Self::Logs { .. }
            | Self::Triggers { .. }
            | Self::Drain { .. }
            | Self::Flows
            | Self::BeginFlow { .. }
            | Self::Items { .. }
            | Self::Give { .. }
            | Self::EndFlow { .. } => true,
            Self::Jobs
            | Self::Job { .. }
            | Self::Move { .. }
            | Self::CancelJob { .. }
            | Self::Watch { .. }
            | Self::Discovery { .. }
            | Self::Status
            | Self::Namespaces
            | Self::Delta { .. }
            | Self::History { .. }
            | Self::Past { .. }
            | Self::Publish { .. }
            | Self::Module { .. }
            | Self::Stage { .. } => false,
        }
    }

    /// The resource that this request reads, if it can be watched.
    pub(crate) fn watched(&self) -> Option<Watched> {
        match self {
            Self::Status => Some(Watched::Status),
            Self::Jobs => Some(Watched::Jobs),
            Self::Job { call } => Some(Watched::Job(*call)),
            Self::Call { .. }
            | Self::Claim { .. }
            | Self::Cancel { .. }
            | Self::CancelJob { .. }
            | Self::Discovery { .. }
            | Self::Watch { .. }
            | Self::Cache
            | Self::Logs { .. }
            | Self::Triggers { .. }
            | Self::Move { .. }
            | Self::Drain { .. }
            | Self::Flows
            | Self::BeginFlow { .. }
            | Self::Items { .. }
            | Self::Give { .. }
            | Self::EndFlow { .. }
            | Self::Namespaces
            | Self::Delta { .. }
            | Self::History { .. }
            | Self::Past { .. }
            | Self::Publish { .. }
            | Self::Module { .. }
            | Self::Stage { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_core::ClientId;

    use super::*;

    #[test]
    fn a_call_that_is_made_again_is_told_why_the_first_one_failed() {
        let name: TaskletName = "shop/add".parse().unwrap();
        let client = ClientId(7);
        let numbered = |number| Some((CallKey { client, number }, name));
        let ended = |number, detail: &str| Ended {
            report: CallReport::refused(Fault::Unreachable),
            place: String::new(),
            detail: Some(detail.to_owned()),
            numbered: numbered(number),
        };
        let mut results = Results::default();
        results.keep(CallId(1), ended(1, "node 2 is silent"));
        results.keep(CallId(2), ended(1, "the registry is node 9"));
        results.keep(CallId(3), ended(2, "node 3 is silent"));
        let detail = |number, fault| results.detail(numbered(number)?, fault);
        let first = detail(1, Fault::Unreachable);
        assert_eq!(first.as_deref(), Some("node 2 is silent"));
        assert_eq!(detail(1, Fault::Deadline), None);
        assert_eq!(detail(3, Fault::Unreachable), None);
    }
}
