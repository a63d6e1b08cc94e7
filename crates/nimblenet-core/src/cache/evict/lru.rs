//! Least recently used.

use alloc::boxed::Box;

use super::{Evict, Eviction, Facts};
use crate::cache::SlotId;

pub(super) const EVICTION: Eviction = Eviction {
    name: "lru",
    about: "the least recently used leaves first",
    make: |_| Box::new(Lru),
};

struct Lru;

impl Evict for Lru {
    fn worth(&self, _: SlotId, facts: &Facts) -> (u64, u64) {
        (facts.last_used.as_micros(), 0)
    }
}
