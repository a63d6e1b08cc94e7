//! The inputs of a node, and its outputs besides frames and work.

use core::time::Duration;

use nimblenet_tasklet::{Fault, NamespaceId, NodeId, Outcome, Place, TaskletName, Trap};

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
        /// The link that it came on.
        link: LinkId,
        /// The peer on that link.
        from: LinkAddress,
        /// The frame.
        bytes: &'a [u8],
    },
    /// An executor has answered.
    Outcome(Outcome<'a>),
}

/// A client of a node, by the number that it gives itself. Nobody checks it, and it decides nothing
/// but what stays in the cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub u32);

/// Whom a call comes from, as its carrier tells callers apart: an address, not what the caller says of
/// itself. While others ask, one party has at most half of the places for jobs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartyId(pub u32);

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
    /// Who calls; none if it does not say.
    pub client: Option<ClientId>,
    /// Whom it comes from; none if nobody can tell, as of the node's own triggers.
    pub from: Option<PartyId>,
}

/// Something that the node's user should know.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event<'a> {
    /// A call has ended.
    Finished {
        /// Which call.
        call: CallId,
        /// The results as a CBOR array, or the fault.
        result: Result<&'a [u8], Fault>,
        /// The trap, if that was the reason.
        trap: Option<Trap>,
        /// If it failed while it ran here: the tasklet that failed first, which made its callers
        /// fail.
        blamed: Option<TaskletName>,
        /// Where in that one's module, if its executor knows.
        place: Option<Place>,
        /// Where its tasklets came from, in order.
        steps: &'a [Step],
        /// The time from the call to its end.
        took: Duration,
    },
    /// The program of another node has crashed, and the next program there reports it. Only a
    /// registry has this event.
    Reported {
        /// The node.
        node: NodeId,
        /// How its program ended.
        report: Report<'a>,
    },
    /// Another node says which epoch of a namespace it holds. Only the namespace's registry has this
    /// event.
    Announced {
        /// The node.
        node: NodeId,
        /// The namespace.
        namespace: NamespaceId,
        /// The epoch; 0 for none.
        epoch: u32,
    },
    /// Another node says that it holds what contradicts this node's catalogue: the same epoch with
    /// another root; or, if it is the namespace's registry, an older epoch than this node has held; or,
    /// if this node is the registry, a newer one. The registry has lost or changed what it had. It
    /// comes once a minute at most for each namespace.
    Contradicted {
        /// The namespace.
        namespace: NamespaceId,
        /// The other node.
        node: NodeId,
        /// The epoch that the other node holds.
        epoch: u32,
        /// The epoch that this node holds, or has held.
        held: u32,
    },
    /// A namespace's catalogue is at a newer epoch.
    Catalogue {
        /// The namespace.
        namespace: NamespaceId,
        /// The epoch.
        epoch: u32,
    },
    /// A move that [`Node::move_call`](crate::Node::move_call) began has ended; or, for a call that
    /// another node runs, that node has agreed to the move or refused it.
    Moved {
        /// Which call.
        call: CallId,
        /// The node that it was to move to.
        to: NodeId,
        /// The fault if the call goes on where it was.
        result: Result<(), Fault>,
    },
}

/// A call in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Which call.
    pub call: CallId,
    /// Its tasklet; none if another node offers the job and its record is not here yet.
    pub name: Option<TaskletName>,
    /// Its standing.
    pub standing: Standing,
    /// The node that it runs for; none for a call from outside.
    pub caller: Option<NodeId>,
    /// Tasklets on its stack here.
    pub depth: usize,
    /// When the node took it.
    pub accepted: Instant,
    /// When it must have ended.
    pub deadline: Option<Instant>,
}

/// The standing of a call in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It waits for catalogues or modules, or for another call to end.
    Waiting,
    /// It runs, or waits for an executor.
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
    /// A search, request or transfer has no answer yet.
    Acquisition,
    /// It is time to ask for a catalogue again.
    Catalogue,
    /// It is time to ask another node about a call that it works on.
    RemoteCall,
    /// A job is on its way to or from another node, or is to be offered to one.
    Move,
    /// A neighbour has not acknowledged a frame.
    Repeat,
    /// A job's deadline.
    Deadline,
    /// It is time to tell the neighbours how long work waits here.
    Load,
    /// A call waits, and there is a place for it.
    Waiting,
}
