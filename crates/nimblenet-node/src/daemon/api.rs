//! Requests to a daemon and its replies, independent of the protocol that carries them.
//!
//! A carrier, such as `coap/`, makes a [`Request`] of each message and gives it to the daemon's loop
//! with an [`Answer`], which takes the [`Reply`]. For carriers of resources, [`Asked`] reads a method
//! on a path, and [`Reply::document`] writes the bytes of an answer (spec/api.md).

mod document;
mod read;

use core::fmt;

use nimblenet_core::{CallId, CallKey, ClientId, Instant, Priority, Progress};
use nimblenet_tasklet::api::Problem;
use nimblenet_tasklet::{Digest, Fault, Name, NodeId, TaskletName};

use super::{Cached, Call, CallReport, Status};
use crate::daemon::flows::{FlowList, Item};
use crate::flow::Plan;
use crate::key::PublicKey;
use crate::lines::Line;
use crate::remote::NamespaceSummary;
use crate::store::{EpochSummary, Published};
use crate::triggers::Trigger;

pub(super) use document::reason;
pub(crate) use document::{Document, Media};
pub(crate) use read::Asked;

/// A request to a daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// Run a tasklet.
    Call {
        /// The tasklet and its arguments.
        call: Call,
        /// What the answer has besides the results.
        wanted: Wanted,
    },
    /// Give the result of the call that a client has made with this key at a node, which is `call.at` or
    /// this one.
    Claim { call: Call, key: CallKey },
    /// Cancel the call of a tasklet that a client has made here with this key.
    Cancel { name: TaskletName, key: CallKey },
    /// List the links of resources that match each of `filters`.
    Discovery { filters: Vec<Filter> },
    /// Give the node's numbers.
    Status,
    /// List the calls in progress.
    Jobs,
    /// List the modules in the cache.
    Cache,
    /// List the lines of the log after a number.
    Logs { from: u64 },
    /// List the ended calls of clients after a number.
    Triggers { from: u64 },
    /// Give the state of a call, or its result.
    Job { call: CallId },
    /// Give the state once it differs from the one that was `seen`; at once if there is none.
    Watch {
        watched: Watched,
        seen: Option<Seen>,
    },
    /// Cancel a call in progress.
    CancelJob { call: CallId },
    /// Move a call in progress to another node.
    Move { call: CallId, to: NodeId },
    /// Give all jobs to neighbours and take no new ones, or, if not `drains`, keep them again.
    Drain { drains: bool },
    /// List the flows of the node, and what its operators have done.
    Flows,
    /// Begin a flow, or end it here if this node is its sink.
    BeginFlow { name: Name, plan: Plan },
    /// List the items of a flow that ends here after a number.
    Items { name: Name, from: u64 },
    /// Give an item to a flow that begins here.
    Give { name: Name, value: Vec<u8> },
    /// End a flow of this node.
    EndFlow { name: Name },
    /// List the namespaces.
    Namespaces,
    /// Give a catalogue's changes since an epoch.
    Delta { namespace: Name, from: u32 },
    /// Publish a catalogue's next epoch.
    Publish {
        namespace: Name,
        key: Option<PublicKey>,
        delta: Vec<u8>,
        /// Although nodes hold a newer epoch.
        anyway: bool,
    },
    /// List the epochs of a catalogue that are kept.
    History { namespace: Name },
    /// Give a catalogue as it was at an epoch.
    Past { namespace: Name, epoch: u32 },
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

/// Identifies a state of what is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen(pub(crate) u64);

/// A condition on the links of resources (RFC 6690 section 4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Filter {
    /// The name of an attribute, or `href`.
    pub(crate) name: String,
    /// Its value; if it ends with `*`, the start of its value.
    pub(crate) value: String,
}

/// A daemon's reply.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A call has ended, with results or with a fault.
    Ended {
        report: CallReport,
        explain: bool,
        /// The lines that it has written to the log, if they are wanted.
        lines: Option<Vec<Line>>,
        /// If it failed: which tasklet, and at which node.
        place: String,
        /// If it failed: what the fault does not say.
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
    Jobs { now: Instant, jobs: Vec<Job> },
    /// The modules in the cache.
    Cache(Vec<Cached>),
    /// Lines that tasklets have written to the log.
    Logs(Vec<Line>),
    /// What the node has seen of its clients and of the mesh.
    Triggers(Box<Recorded>),
    /// A call in progress at this moment.
    Job { now: Instant, job: Job },
    /// A state of what is watched, and whether it is the last.
    Watched {
        reply: Box<Self>,
        seen: Seen,
        last: bool,
    },
    /// A move has ended, or was refused.
    Moved(Result<(), NotMoved>),
    /// A call is cancelled.
    Cancelled,
    /// The node drains, or does so no more.
    Drains,
    /// The flows of the node, and what its operators have done.
    Flows(Box<FlowList>),
    /// Items that have arrived.
    Items(Vec<Item>),
    /// A flow has begun, or has got an item.
    FlowChanged,
    /// A flow has ended here.
    FlowEnded,
    /// The namespaces.
    Namespaces(Vec<NamespaceSummary>),
    /// A catalogue's changes; nothing if there are none.
    Delta(Option<Vec<u8>>),
    /// The epochs of a catalogue that are kept.
    History {
        epochs: Vec<EpochSummary>,
        /// The epoch that each node has announced.
        nodes: Vec<(NodeId, u32)>,
    },
    /// A publication is in force.
    Published(Published),
    /// A module.
    Module(Vec<u8>),
    /// A module is kept.
    Staged,
    /// A request names a tasklet that it cannot have, for the reason in the sentence.
    Unfit(Fault, String),
    /// A request is refused.
    Refused(Refused),
}

/// A call in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Job {
    /// How it stands.
    pub(crate) progress: Progress,
    /// What its client has said of it, if one has made it here.
    pub(crate) made: Option<Made>,
}

/// What a client says of a call that it makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Made {
    /// The client's number.
    pub(crate) client: Option<ClientId>,
    /// The client's number for the call.
    pub(crate) number: Option<u32>,
    /// How urgent it is.
    pub(crate) priority: Priority,
}

/// What a node has seen of its clients and of the mesh at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Recorded {
    pub(crate) node: NodeId,
    pub(crate) now: Instant,
    pub(crate) neighbours: Vec<NodeId>,
    /// The registry of the node's first namespace.
    pub(crate) registry: Option<NodeId>,
    pub(crate) triggers: Vec<Trigger>,
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

/// Takes the reply to one request. If it is dropped, the request gets no reply.
pub(crate) struct Answer(Box<dyn FnOnce(Reply) + Send>);

impl Answer {
    /// An answer that gives the reply to `take`, which must not block.
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
