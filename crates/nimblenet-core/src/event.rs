//! What goes into a node and what comes out besides frames and work.

use core::time::Duration;

use nimblenet_tasklet::{Fault, NamespaceId, Outcome, TaskletName, Trap};

use crate::config::{LinkAddress, LinkId};
use crate::job::{CallId, Step};

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
        /// Where its tasklets came from, in order.
        steps: &'a [Step],
        /// The time from the call to its end.
        took: Duration,
    },
    /// A namespace's catalogue is at a newer epoch.
    Catalogue {
        /// The namespace.
        namespace: NamespaceId,
        /// The epoch.
        epoch: u32,
    },
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
    /// A job's deadline.
    Deadline,
    /// There is something to do at once.
    Ready,
}
