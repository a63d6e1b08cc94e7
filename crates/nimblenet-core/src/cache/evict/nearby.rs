//! What is used least and is soonest back: the policy of a node that knows the caches near it.

use alloc::boxed::Box;

use super::{Evict, Eviction, Facts};
use crate::cache::SlotId;

pub(super) const ABOUT: &str =
    "the longest unused leaves first; each link to the nearest other copy counts as two minutes less";

pub(super) static EVICTION: Eviction = Eviction {
    name: "nearby",
    make: |_| Box::new(NearbyPolicy),
};

/// How much longer a module stays for each link to the nearest other copy, in microseconds.
const LINK: u64 = 120_000_000;

struct NearbyPolicy;

impl Evict for NearbyPolicy {
    fn worth(&self, _: SlotId, facts: &Facts) -> (u64, u64) {
        let links = u64::from(facts.nearby.hops.unwrap_or(1));
        (facts.last_used.as_micros() + links * LINK, 0)
    }
}
