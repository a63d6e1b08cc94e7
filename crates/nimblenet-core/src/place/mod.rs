//! Placement policies: where a call runs.
//!
//! A policy is a file in this folder and a line in the list below. It is a pure function: the node
//! gathers the [`Facts`] when it takes a call, the policy answers with a [`Decision`], and the node
//! carries it out. A call that no other node may run is none of its business. A policy keeps nothing between two calls, so the same facts always lead to the
//! same decision.

use core::fmt;
use core::time::Duration;

use nimblenet_tasklet::{NodeId, TaskletRef};

/// The facts for a policy: what a node knows of itself, of the nodes in direct reach, and of the call
/// that it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts<'a> {
    /// The tasklet that is called.
    pub tasklet: TaskletRef,
    /// How long the call runs here, with all that it may call, as far as the node knows.
    pub work: Duration,
    /// The node that calls; none for a call from outside the mesh.
    pub caller: Option<NodeId>,
    /// The time until the call must have ended; none if it may take any time.
    pub left: Option<Duration>,
    /// How many jobs run or wait here; those that other nodes run do not count.
    pub backlog: usize,
    /// How long new work waits here until an executor is free.
    pub wait: Duration,
    /// How many jobs can run here at a time.
    pub executors: usize,
    /// How many modules of those that the call may run are not here.
    pub lacks: usize,
    /// How long it usually takes to fetch one from a neighbour.
    pub fetch: Duration,
    /// How wrong the waits of the neighbours may be that have told the truth.
    pub blur: Duration,
    /// A random number, another one for each call.
    pub chance: u32,
    /// The nodes in direct reach that take work of others and can run the call, lowest id first.
    pub neighbours: &'a [Neighbour],
}

impl Facts<'_> {
    /// The neighbour other than the caller where the call will have ended first, for a call that this node
    /// must not run.
    pub fn first_neighbour(&self) -> Option<NodeId> {
        let others = self.neighbours.iter();
        let others = others.filter(|other| Some(other.id) != self.caller);
        let first = others.min_by_key(|other| (other.wait + other.work + other.way, other.id));
        first.map(|first| first.id)
    }
}

/// What a node knows of another in direct reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Which node.
    pub id: NodeId,
    /// How long new work waits there, as it has said, less the time since then, with what was placed
    /// there since then.
    pub wait: Duration,
    /// How long the call runs there, as far as the node has seen how fast calls run there.
    pub work: Duration,
    /// How long a call takes to get there, and its result to come back.
    pub way: Duration,
    /// How many jobs can run there at a time.
    pub executors: u8,
    /// How many modules of those that the call may run are not there, as far as this node knows.
    pub lacks: usize,
}

/// Where a call runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Decision {
    /// On this node.
    Here,
    /// On this neighbour, which returns the result.
    Send(NodeId),
}

/// A policy: decides where a call runs.
pub trait Place {
    /// Whether the decision depends on the facts. If not, the node gathers none and runs every call
    /// here.
    fn needs_facts(&self) -> bool {
        true
    }

    /// The decision for one call. A neighbour that it names is one of [`Facts::neighbours`] and not
    /// the caller.
    fn place(&self, facts: &Facts<'_>) -> Decision;
}

/// A placement policy by its name.
pub struct Placement {
    /// The name in configurations.
    pub name: &'static str,
    /// The policy.
    pub policy: &'static (dyn Place + Sync),
}

/// Declares the modules of policies and the table of their values.
macro_rules! policies {
    ($($module:ident $constant:ident,)+) => {
        $(mod $module;)+

        impl Placement {
            $(
                #[doc = concat!("The policy of `place/", stringify!($module), ".rs`.")]
                pub const $constant: &'static Self = &$module::PLACEMENT;
            )+

            /// Every policy.
            pub const ALL: &'static [&'static Self] = &[$(Self::$constant,)+];

            /// Where calls run, in one sentence. Not a field, so that an image contains the
            /// sentences only if it shows them.
            pub fn about(&self) -> &'static str {
                $(if self.name == $module::PLACEMENT.name {
                    return $module::ABOUT;
                })+
                ""
            }
        }
    };
}

policies! {
    here HERE,
    least_work LEAST_WORK,
    two_choices TWO_CHOICES,
    steal STEAL,
}

impl Placement {
    /// The policy of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|policy| policy.name == name).copied()
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Placement({})", self.name)
    }
}

#[cfg(test)]
mod tests;
