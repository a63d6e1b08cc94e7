//! What goes into a node and what comes out besides frames and work.

use core::time::Duration;

use nimblenet_tasklet::{Fault, NamespaceId, NodeId, Outcome, TaskletName, Trap};

use crate::config::{LinkAddress, LinkId};
use crate::job::{CallId, Step};
use crate::time::Instant;
use crate::wire::Report;

/// What happened.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Input<'a> {
    /// Time has passed.
    Timeout,
    /// A frame came in.
    Frame {
        /// On which link.
        link: LinkId,
        /// From which of its peers.
        from: LinkAddress,
        /// The frame.
        bytes: &'a [u8],
    },
    /// The executor answers.
    Outcome(Outcome<'a>),
}

/// A call from outside.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CallRequest<'a> {
    /// The tasklet.
    pub name: TaskletName,
    /// The export; empty for `run`.
    pub export: &'a str,
    /// The arguments: a CBOR array.
    pub args: &'a [u8],
    /// How long the call may take.
    pub deadline: Option<Duration>,
}

/// Something that the node's user should know.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event<'a> {
    /// A call has ended.
    Finished {
        /// Which call.
        call: CallId,
        /// The results as a CBOR array, or why there are none.
        result: Result<&'a [u8], Fault>,
        /// The trap, if that was the reason.
        trap: Option<Trap>,
        /// If it failed while it ran here: the tasklet that failed first, and with it its callers.
        blamed: Option<TaskletName>,
        /// Where its tasklets came from, in order.
        steps: &'a [Step],
        /// The time from the call to its end.
        took: Duration,
    },
    /// The program of another node has crashed, and the one that runs there now says how. Only
    /// registries are told.
    Reported {
        /// Which node.
        node: NodeId,
        /// How.
        report: Report<'a>,
    },
    /// A namespace's catalogue is at a newer epoch.
    Catalogue {
        /// The namespace.
        namespace: NamespaceId,
        /// The epoch.
        epoch: u32,
    },
    /// A move that [`Node::move_call`](crate::Node::move_call) began has come to an end; or, for
    /// a call that another node runs, that node has agreed to it or refused.
    Moved {
        /// Which call.
        call: CallId,
        /// Where it was to go.
        to: NodeId,
        /// Why it goes on where it was, if it does.
        result: Result<(), Fault>,
    },
}

/// A call in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Which call.
    pub call: CallId,
    /// Its tasklet; not yet known of a job that another node offers.
    pub name: Option<TaskletName>,
    /// How it stands.
    pub standing: Standing,
    /// The node that it runs for; none for a call from outside.
    pub caller: Option<NodeId>,
    /// Tasklets on its stack here.
    pub depth: usize,
    /// When it was taken.
    pub accepted: Instant,
    /// When it must have ended.
    pub deadline: Option<Instant>,
}

/// How a call in progress stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It waits for catalogues or modules.
    Waiting,
    /// It runs, or is the next to.
    Running,
    /// It is on its way from or to another node.
    Moving,
    /// This other node runs it.
    At(NodeId),
}

impl Standing {
    /// The standing's name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Moving => "moving",
            Self::At(_) => "remote",
        }
    }
}

/// Why a node wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It is time for a hello.
    Hello,
    /// A search, request or transfer was not answered.
    Acquisition,
    /// A catalogue is to be asked for again.
    Catalogue,
    /// A call that another node works on is to be asked after.
    RemoteCall,
    /// A job is on its way to or from another node.
    Move,
    /// A job's deadline.
    Deadline,
}
