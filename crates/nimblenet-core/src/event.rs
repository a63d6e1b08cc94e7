//! The inputs of a node, and its outputs besides frames and work.

use core::time::Duration;

use nimblenet_tasklet::{Fault, NamespaceId, NodeId, Outcome, Place, TaskletName, Trap};

use crate::config::{LinkAddress, LinkId};
use crate::flow::FlowId;
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

/// A call of a client, by a number that the client gives to no other one.
///
/// The node that takes the call keeps its result for five minutes, for the client that has gone on to
/// another node meanwhile ([`Node::claim`](crate::Node::claim)). A call with the same key as an earlier one
/// runs nothing: it gets the result of that one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallKey {
    /// The client.
    pub client: ClientId,
    /// Its number for the call.
    pub number: u32,
}

impl CallKey {
    /// The key as the arguments of a call that claims a result.
    pub fn to_bytes(self) -> [u8; 8] {
        let Self { client, number } = self;
        (u64::from(client.0) << 32 | u64::from(number)).to_be_bytes()
    }

    /// The key that these bytes are; none if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bits = u64::from_be_bytes(bytes.try_into().ok()?);
        Some(Self {
            client: ClientId((bits >> 32) as u32),
            number: bits as u32,
        })
    }
}

/// How urgent a call is. Of the calls that wait, those of a higher priority come first; a call that has
/// waited for 30 s counts as one of the next higher priority, so none waits for ever (spec/behaviour.md,
/// section 18). Boards heed no priorities.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Priority {
    /// It may wait while others do not.
    Low,
    /// That of a call that says nothing.
    #[default]
    Normal,
    /// It goes before others.
    High,
}

impl Priority {
    /// Every priority, the lowest first.
    pub const ALL: &'static [Self] = &[Self::Low, Self::Normal, Self::High];

    /// The priority's name in requests and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority with this name; none if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|priority| priority.name() == name)
    }

    /// The next higher one, or the highest.
    pub(crate) const fn above(self) -> Self {
        match self {
            Self::Low => Self::Normal,
            Self::Normal | Self::High => Self::High,
        }
    }
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
    /// How urgent it is.
    pub priority: Priority,
    /// Who calls; none if it does not say.
    pub client: Option<ClientId>,
    /// By what the client asks for the result later; none if it does not. Boards keep no results.
    pub key: Option<CallKey>,
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
    /// An item has arrived at the sink of its flow: in order, and once.
    Item {
        /// Which flow.
        flow: FlowId,
        /// The node where it began.
        source: NodeId,
        /// The number of the first item of the source that it was made of.
        first: u32,
        /// The number of the last one.
        last: u32,
        /// Its value in CBOR, or why an operator has failed.
        result: Result<&'a [u8], Fault>,
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
    /// It waits for its turn on an executor: nothing of it has run yet, or others run for a while.
    Queued,
    /// An executor works on it.
    Running,
    /// It is on its way from or to another node.
    Moving,
    /// This other node runs it.
    At(NodeId),
}

/// What a call waits for in a line, the most urgent first (spec/behaviour.md, section 18).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// A place among the jobs.
    Place,
    /// Room in the cache for its chain.
    Room,
    /// An executor, with new work.
    Executor,
}

impl Standing {
    /// The standing's name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
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
    /// It is time for an item of a flow, or to tell something of one.
    Flow,
}
