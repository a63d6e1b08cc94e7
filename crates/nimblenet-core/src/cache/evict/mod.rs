//! Eviction policies: which module leaves a full cache (the paper's section 4.3).
//!
//! A policy is a file in this folder and a line in the list below. The cache tells it what happens
//! to modules and asks it for their worth; space, reservations and moving are the cache's.

use alloc::boxed::Box;
use core::fmt;

use nimblenet_tasklet::TaskletRef;

use super::SlotId;
use super::clients::{Clients, Users};
use crate::time::Instant;

/// What a policy may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'c> {
    /// The tasklet whose module it is.
    pub tasklet: TaskletRef,
    /// How often the module was used since it came; the use that it was fetched for is the first.
    pub uses: u32,
    /// When the last of these uses was, or when the module began to arrive.
    pub last_used: Instant,
    /// The length of the module.
    pub bytes: u32,
    /// What is known of other copies.
    pub nearby: Nearby,
    pub(super) demand: Demand<'c>,
}

impl Facts<'_> {
    /// How soon clients may want it: the more clients have used it, the less time they have been
    /// silent for, and, if nobody knows them, the shorter its last use is ago, the more. It is computed
    /// when it is asked for.
    pub fn demand(&self) -> u64 {
        let Demand {
            clients,
            users,
            now,
        } = self.demand;
        clients.demand(now, users, self.last_used)
    }
}

/// What the demand for a module is computed from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand<'c> {
    pub(super) clients: &'c Clients,
    pub(super) users: Users,
    pub(super) now: Instant,
}

/// What a node knows of the other copies of a module that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Nearby {
    /// How many other nodes answered that they hold the module; none if nobody was asked.
    pub copies: Option<u8>,
    /// Links to the node that the module came from: the cost to fetch it again. None if unknown.
    pub hops: Option<u8>,
}

/// Why a module leaves the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The policy chose it to make room.
    Evicted,
    /// The owner of the cache removed it.
    Removed,
}

/// A policy: says what each module in a cache is worth. The cache evicts the module of least worth
/// among those that are complete and not reserved.
///
/// A slot id names one module from `on_insert` to `on_evict` and is below [`Size::entries`], so a
/// policy can keep a table by slot; afterwards it may name another module. What a policy remembers
/// beyond that, it remembers by [`Facts::tasklet`]. It takes all its memory in its constructor.
pub trait Evict {
    /// A module is complete. If an earlier copy of it left, that is known by its tasklet only.
    fn on_insert(&mut self, _id: SlotId, _facts: &Facts<'_>) {}

    /// A module that is here was used again. The use that it was fetched for is no hit.
    fn on_hit(&mut self, _id: SlotId, _facts: &Facts<'_>) {}

    /// A module leaves.
    fn on_evict(&mut self, _id: SlotId, _facts: &Facts<'_>, _exit: Exit) {}

    /// The worth of a module; compared from left to right, equal ones by their tasklets.
    fn worth(&self, id: SlotId, facts: &Facts<'_>) -> (u64, u64);
}

/// The size of the cache that a policy is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Modules, at most; slot ids are below this.
    pub entries: usize,
    /// Bytes of modules, at most.
    pub bytes: usize,
}

/// An eviction policy by its name.
pub struct Eviction {
    /// The name in configurations.
    pub name: &'static str,
    /// Makes the policy for one cache, with all the memory that it will need.
    pub make: fn(Size) -> Box<dyn Evict + Send>,
}

/// Declares the modules of policies and the table of their values.
macro_rules! policies {
    ($($module:ident $constant:ident,)+) => {
        $(mod $module;)+

        impl Eviction {
            $(
                #[doc = concat!("The policy of `cache/evict/", stringify!($module), ".rs`.")]
                pub const $constant: &'static Self = &$module::EVICTION;
            )+

            /// Every policy.
            pub const ALL: &'static [&'static Self] = &[$(Self::$constant,)+];

            /// Which module leaves first, in one sentence. Not a field, so that an image contains the
            /// sentences only if it shows them.
            pub fn about(&self) -> &'static str {
                $(if self.name == $module::EVICTION.name {
                    return $module::ABOUT;
                })+
                ""
            }
        }
    };
}

policies! {
    lfu LFU,
    lru LRU,
    arc ARC,
    gdsf GDSF,
    nearby NEARBY,
}

impl Eviction {
    /// The policy of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|policy| policy.name == name).copied()
    }
}

impl fmt::Debug for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Eviction({})", self.name)
    }
}

#[cfg(test)]
mod tests;
