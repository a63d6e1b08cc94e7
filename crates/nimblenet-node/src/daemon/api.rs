//! What a daemon can be asked and what it answers, whatever carries it.
//!
//! A carrier, such as `coap/`, makes a [`Request`] of what comes in and gives it to the daemon's
//! loop with an [`Answer`], which takes the [`Reply`]. Carriers of resources have help at both
//! ends: [`Asked`] says what a method on a path means, and [`Reply::document`] writes the bytes of
//! an answer (spec/api.md).

mod document;
mod read;

use core::fmt;

use nimblenet_core::{CallId, Instant, Progress};
use nimblenet_tasklet::api::Problem;
use nimblenet_tasklet::{Digest, Fault, Name, NodeId, TaskletName};

use super::{Cached, Call, CallReport, Status};
use crate::key::PublicKey;
use crate::lines::Line;
use crate::remote::NamespaceSummary;
use crate::store::Published;

pub(super) use document::reason;
pub(crate) use document::{Document, Media};
pub(crate) use read::Asked;

/// Something that a daemon is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// Run a tasklet.
    Call {
        /// Which, and with what.
        call: Call,
        /// What the answer has besides the results.
        wanted: Wanted,
    },
    /// List what can be asked for, as far as a link matches each of `filters`.
    Discovery { filters: Vec<Filter> },
    /// Tell the numbers.
    Status,
    /// List the calls in progress.
    Jobs,
    /// List the modules in the cache.
    Cache,
    /// List the lines that tasklets have written to the log, after a number.
    Logs { from: u64 },
    /// Tell how a call goes, or how it ended.
    Job { call: CallId },
    /// Tell what there is once it is another than what was `seen`; at once if nothing was.
    Watch {
        watched: Watched,
        seen: Option<Seen>,
    },
    /// Let a call in progress go on at another node.
    Move { call: CallId, to: NodeId },
    /// List the namespaces.
    Namespaces,
    /// Give a catalogue's changes since an epoch.
    Delta { namespace: Name, from: u32 },
    /// Publish a catalogue's next epoch.
    Publish {
        namespace: Name,
        key: Option<PublicKey>,
        delta: Vec<u8>,
    },
    /// Give a module.
    Module { digest: Digest },
    /// Keep a module until it is published.
    Stage { digest: Digest, module: Vec<u8> },
}

/// What the answer to a call has besides its results.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Wanted {
    /// Where the tasklets came from.
    pub(crate) explain: bool,
    /// The lines that they have written to the log.
    pub(crate) logs: bool,
}

/// What can be watched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Watched {
    /// The numbers.
    Status,
    /// The calls in progress.
    Jobs,
    /// One call, and then its result.
    Job(CallId),
}

/// Tells states of what is watched apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen(pub(crate) u64);

/// What a link of the list of resources must have (RFC 6690 section 4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Filter {
    /// The name of an attribute, or `href`.
    pub(crate) name: String,
    /// Its value; all that begin so if it ends with `*`.
    pub(crate) value: String,
}

/// What a daemon answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A call has ended, well or not.
    Ended {
        report: CallReport,
        explain: bool,
        /// The lines that it has written to the log, if they are wanted.
        lines: Option<Vec<Line>>,
        /// If it failed: which tasklet, and at which node.
        place: String,
        /// If it failed: more words than the fault has.
        detail: Option<String>,
    },
    /// The tasklets that can be called, and whether this is a registry.
    Discovery {
        tasklets: Vec<TaskletName>,
        registry: bool,
        filters: Vec<Filter>,
    },
    /// The numbers.
    Status(Box<Status>),
    /// The calls in progress at this moment.
    Jobs { now: Instant, jobs: Vec<Progress> },
    /// The modules in the cache.
    Cache(Vec<Cached>),
    /// Lines that tasklets have written to the log.
    Logs(Vec<Line>),
    /// A call in progress at this moment.
    Job { now: Instant, job: Progress },
    /// What there is of what is watched, and whether nothing will follow on it.
    Watched {
        reply: Box<Self>,
        seen: Seen,
        last: bool,
    },
    /// A move has ended, or was refused.
    Moved(Result<(), NotMoved>),
    /// The namespaces.
    Namespaces(Vec<NamespaceSummary>),
    /// A catalogue's changes; nothing if there are none.
    Delta(Option<Vec<u8>>),
    /// A publication is in force.
    Published(Published),
    /// A module.
    Module(Vec<u8>),
    /// A module is kept.
    Staged,
    /// A request is refused.
    Refused(Refused),
}

/// Why a call goes on where it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NotMoved {
    pub(crate) fault: Fault,
    /// What the fault does not say.
    pub(crate) detail: Option<String>,
}

impl Reply {
    /// A call that was refused at once.
    pub(crate) fn refused_call(fault: Fault, place: String, detail: Option<String>) -> Self {
        Self::Ended {
            report: CallReport::refused(fault),
            explain: false,
            lines: None,
            place,
            detail,
        }
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Why a request is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    problem: Problem,
    message: String,
}

impl Refused {
    pub(crate) fn new(problem: Problem, message: impl Into<String>) -> Self {
        Self {
            problem,
            message: message.into(),
        }
    }
}

/// Takes the reply to one request. Dropped, there is none.
pub(crate) struct Answer(Box<dyn FnOnce(Reply) + Send>);

impl Answer {
    /// An answer that gives the reply to `take`, which must not wait.
    pub(crate) fn new(take: impl FnOnce(Reply) + Send + 'static) -> Self {
        Self(Box::new(take))
    }

    /// Gives the reply.
    pub(crate) fn give(self, reply: impl Into<Reply>) {
        (self.0)(reply.into());
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
