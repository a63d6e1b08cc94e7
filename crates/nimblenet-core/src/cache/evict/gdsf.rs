//! Greedy dual size with frequency (L. Cherkasova, "Improving WWW Proxies Performance with
//! Greedy-Dual-Size-Frequency Caching Policy", HP Labs 1998).
//!
//! A module has the priority `age + uses * cost / bytes`, taken anew at each use; the lowest leaves
//! first, and its priority becomes the age. So modules stay that are small, costly to fetch again
//! and often used, and the age overtakes those that were often used long ago. The cost is the number of links
//! to where the module came from, or 1 if that is unknown.
//!
//! Priorities are fixed-point numbers and saturate, so that the policy computes the same everywhere
//! and never overflows. Equal ones are told apart by the last use.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::{Evict, Eviction, Exit, Facts};
use crate::cache::SlotId;

pub(super) const ABOUT: &str =
    "the large, cheap to fetch and seldom used leaves first";

pub(super) static EVICTION: Eviction = Eviction {
    name: "gdsf",
    make: |size| {
        Box::new(Gdsf {
            age: 0,
            priorities: vec![0; size.entries],
        })
    },
};

/// Bits of a priority behind its point. Modules have up to some 10,000 bytes, so one use of a large
/// one still counts.
const FRACTION_BITS: u32 = 20;

struct Gdsf {
    age: u64,
    /// By slot.
    priorities: Vec<u64>,
}

impl Gdsf {
    fn rate(&mut self, id: SlotId, facts: &Facts<'_>) {
        let uses = u64::from(facts.uses.max(1));
        let cost = u64::from(facts.nearby.hops.unwrap_or(1).max(1));
        let gain = (uses * cost).saturating_mul(1 << FRACTION_BITS);
        let per_byte = gain / u64::from(facts.bytes.max(1));
        if let Some(priority) = self.priorities.get_mut(id.index()) {
            *priority = self.age.saturating_add(per_byte);
        }
    }
}

impl Evict for Gdsf {
    fn on_insert(&mut self, id: SlotId, facts: &Facts<'_>) {
        self.rate(id, facts);
    }

    fn on_hit(&mut self, id: SlotId, facts: &Facts<'_>) {
        self.rate(id, facts);
    }

    fn on_evict(&mut self, id: SlotId, facts: &Facts<'_>, exit: Exit) {
        if exit == Exit::Evicted {
            // Not the lowest of all if lower ones are reserved; the age never falls.
            self.age = self.age.max(self.worth(id, facts).0);
        }
    }

    fn worth(&self, id: SlotId, facts: &Facts<'_>) -> (u64, u64) {
        let priority = self.priorities.get(id.index()).copied().unwrap_or(0);
        (priority, facts.last_used.as_micros())
    }
}
