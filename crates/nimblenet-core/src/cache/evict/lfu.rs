//! Least frequently used: the paper's policy.

use alloc::boxed::Box;

use super::{Evict, Eviction, Facts};
use crate::cache::SlotId;

pub(super) const ABOUT: &str =
    "the least used since it came leaves first, among equals the least recently used";

pub(super) static EVICTION: Eviction = Eviction {
    name: "lfu",
    make: |_| Box::new(Lfu),
};

struct Lfu;

impl Evict for Lfu {
    fn worth(&self, _: SlotId, facts: &Facts<'_>) -> (u64, u64) {
        (u64::from(facts.uses), facts.last_used.as_micros())
    }
}
