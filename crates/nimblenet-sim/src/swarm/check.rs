//! Checkers: what must hold in every run, whatever happens in it.
//!
//! A checker is an observer: it sees what happens and changes nothing. It is a file of this folder
//! and a line of [`CHECKERS`].
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a checker looks at a few of the things that happen"
)]

mod agreed;
mod cache;
mod cancelled;
mod conserved;
mod ends;
mod epochs;
mod executor;
mod floods;
pub(super) mod flow;
mod frames;
mod idle;
pub(super) mod result;
mod runs;
mod served;
mod starved;
mod tables;
mod told;

use core::time::Duration;

use nimblenet_core::{CallId, Event, Instant, Node, Priority, wire::Frame};
use nimblenet_tasklet::{Answer, Fault, NamespaceId, NodeId, Work};

use self::flow::FlowSight;
use super::trial::Trial;
use crate::engine::Balance;

/// What must hold, in a few words.
pub(super) type Finding = Result<(), String>;

/// A call that the trial has made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The node that was asked.
    pub(super) node: NodeId,
    /// The number that is its argument; no other call has it.
    pub(super) token: u32,
    /// When it must have ended at the latest.
    pub(super) until: Instant,
    /// Whether it must succeed, since all is calm.
    pub(super) must_succeed: bool,
    /// How urgent it is, and how long it may take; none if nothing runs because of it.
    pub(super) urgency: Option<(Priority, Duration)>,
    /// What the node said.
    pub(super) taken: Result<CallId, Fault>,
}

/// Something that happens.
pub(super) enum Sight<'a> {
    /// A trial begins.
    Begins(&'a Trial),
    /// A node has put a frame on its link.
    Sent(NodeId, &'a Frame<'a>, usize),
    /// A frame has reached a node.
    Received(usize),
    /// An intruder puts this frame on a link, or nothing that is one.
    Injected(Option<&'a Frame<'a>>, usize),
    /// A node has given an executor work.
    Worked(NodeId, &'a Work<'a>),
    /// An executor has answered a node.
    Answered(NodeId, &'a Answer<Vec<u8>>),
    /// A node tells its user something.
    Event(NodeId, &'a Event<'a>),
    /// A node has done all that follows from what has happened.
    Rested(&'a Node),
    /// The trial has made a call.
    Asked(&'a Asked),
    /// A node is told to cancel this call, if it has it; none once it has been told.
    Cancels(NodeId, Option<CallId>),
    /// Something happens to a flow.
    Flow(FlowSight<'a>),
    /// A node has gone down.
    Down(NodeId),
    /// All has been calm for long; registries that have lost something have not found the way back.
    Settled(&'a End<'a>),
}

/// How everything is at the end.
pub(super) struct End<'a> {
    /// The nodes that are up, and can reach each other and the registries.
    pub(super) nodes: Vec<&'a Node>,
    /// The namespaces, each with its registry.
    pub(super) namespaces: Vec<(NamespaceId, NodeId)>,
    /// The bytes of each direction of each link.
    pub(super) balances: Vec<(NodeId, NodeId, Balance)>,
}

/// Watches a run for one thing that must hold.
pub(super) trait Checker {
    /// Something happens.
    fn see(&mut self, now: Instant, sight: &Sight<'_>) -> Finding;
    /// The run is over.
    fn end(&mut self, now: Instant, end: &End<'_>) -> Finding {
        let _ = (now, end);
        Ok(())
    }
}

/// A checker's name, what it makes sure of, and how it is made.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) make: fn() -> Box<dyn Checker>,
}

/// Declares the list of checkers.
macro_rules! checkers {
    ($($name:literal $about:literal $checker:path,)+) => {
        /// Every checker, in the order in which they look.
        pub(super) const CHECKERS: &[Entry] = &[$(Entry {
            name: $name,
            about: $about,
            make: || Box::new(<$checker>::default()),
        }),+];
    };
}

checkers! {
    "frame-once" "each node sends a packet at most once, and repeats it at most as often as links allow"
        frames::FrameOnce,
    "runs-once" "no call runs twice, wherever it runs" runs::RunsOnce,
    "right-result" "a call that succeeds has its own result" result::RightResult,
    "call-ends" "each call ends once, within its deadline and a second" ends::CallEnds,
    "cancelled" "a call that is cancelled ends at once, and keeps no node busy in vain once all is calm"
        cancelled::Cancelled,
    "starved" "a call that waits is passed by less urgent ones never, and it rises as it waits"
        starved::Starved,
    "flow" "the sink of a flow has in order and once what it would have made of all items"
        flow::Flowing,
    "served" "once all is calm, every node serves calls and is served" served::Served,
    "cache-budget" "modules take no more than the cache may have" cache::CacheBudget,
    "idle-reservations" "a node without jobs reserves nothing" idle::IdleReservations,
    "executor-empty" "a node without jobs holds nothing at its executors" executor::ExecutorEmpty,
    "tables" "no table is over its limit" tables::Tables,
    "bytes-conserved" "each byte that a node counts is on a link, and each of a link arrives or is lost"
        conserved::BytesConserved,
    "flood-rate" "a node passes on at most 200 floods a second" floods::FloodRate,
    "epoch-falls" "a node never goes back to an older epoch" epochs::EpochFalls,
    "told" "a node that holds what its registry has lost says so" told::Told,
    "agreed" "once all is calm, nodes have the catalogues of their registries" agreed::Agreed,
}

/// The checkers that are no observers: the nodes' own assertions, and rest.
pub(super) const OWN: [(&str, &str); 2] = [
    (
        "invariants",
        "the nodes' own assertions hold, and nothing panics",
    ),
    ("rest", "a run comes to its end"),
];

/// How long a call may last beyond its deadline.
pub(super) const GRACE: Duration = Duration::from_secs(1);
