//! What is least in demand and is soonest back: the policy of a node that knows its clients and the
//! caches near it.

use alloc::boxed::Box;

use super::{Evict, Eviction, Facts};
use crate::cache::SlotId;

pub(super) const ABOUT: &str =
    "what nobody in contact calls leaves first; the more so, the nearer the next copy is";

pub(super) static EVICTION: Eviction = Eviction {
    name: "nearby",
    make: |_| Box::new(NearbyPolicy),
};

struct NearbyPolicy;

impl Evict for NearbyPolicy {
    fn worth(&self, _: SlotId, facts: &Facts<'_>) -> (u64, u64) {
        // A miss takes time and a request, however near the copy is.
        let cost = u64::from(facts.nearby.hops.unwrap_or(1)) + 1;
        (facts.demand() * cost, facts.last_used.as_micros())
    }
}
