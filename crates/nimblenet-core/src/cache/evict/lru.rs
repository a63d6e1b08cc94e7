//! Least recently used.

use alloc::boxed::Box;

use super::{Evict, Eviction, Facts};
use crate::cache::SlotId;

pub(super) const ABOUT: &str =
    "the least recently used leaves first";

pub(super) static EVICTION: Eviction = Eviction {
    name: "lru",
    make: |_| Box::new(Lru),
};

struct Lru;

impl Evict for Lru {
    fn worth(&self, _: SlotId, facts: &Facts<'_>) -> (u64, u64) {
        (facts.last_used.as_micros(), 0)
    }
}
