//! Policies for a full cache (the paper's section 4.3).

use crate::time::Instant;

/// What a policy may look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Acquisitions that found the module here since it came.
    pub uses: u32,
    /// When the last of them was, or when it came.
    pub last_used: Instant,
    /// Its length.
    pub bytes: u32,
}

/// Says what a module in the cache is worth. The least worthy leaves first.
pub trait Evict {
    /// The worth of a module; compared from left to right.
    fn worth(&self, facts: &Facts) -> (u64, u64);
}

/// Least frequently used leaves first, ties to the least recently used.
#[derive(Clone, Copy, Debug)]
pub struct Lfu;

impl Evict for Lfu {
    fn worth(&self, facts: &Facts) -> (u64, u64) {
        (u64::from(facts.uses), facts.last_used.as_micros())
    }
}

/// Least recently used leaves first.
#[derive(Clone, Copy, Debug)]
pub struct Lru;

impl Evict for Lru {
    fn worth(&self, facts: &Facts) -> (u64, u64) {
        (facts.last_used.as_micros(), 0)
    }
}
