//! A limit on how often something happens.

use core::time::Duration;

use crate::time::{Instant, micros};

/// How often something may happen: once an interval on average, and at most so often at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    interval: Duration,
    burst: Duration,
}

impl Rate {
    const fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_micros(1_000_000 / per_second as u64);
        let burst = Duration::from_micros(micros(interval) * (burst as u64 - 1));
        Self { interval, burst }
    }
}

/// Floods that a node sends on, in all.
pub(crate) const FLOODS: Rate = Rate::new(FLOODS_PER_S, FLOODS_AT_ONCE);
/// Floods of one neighbour that a node sends on.
pub(crate) const NEIGHBOUR_FLOODS: Rate =
    Rate::new(NEIGHBOUR_FLOODS_PER_S, NEIGHBOUR_FLOODS_AT_ONCE);

const FLOODS_PER_S: u32 = 96;
const FLOODS_AT_ONCE: u32 = 48;
const NEIGHBOUR_FLOODS_PER_S: u32 = 64;
const NEIGHBOUR_FLOODS_AT_ONCE: u32 = 32;

/// A token bucket: says no to what happens more often than its rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bucket {
    /// When the bucket is full again.
    full: Instant,
}

impl Bucket {
    /// A bucket that has all its tokens.
    pub(crate) const FULL: Self = Self {
        full: Instant::ZERO,
    };

    /// Takes a token; false if there is none.
    pub(crate) fn take(&mut self, now: Instant, rate: &Rate) -> bool {
        let full = self.full.max(now);
        let has = full - now <= rate.burst;
        if has {
            self.full = full + rate.interval;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_at_once_and_then_no_more_than_its_rate() {
        let mut bucket = Bucket::FULL;
        let mut given = |micros| {
            let now = Instant::from_micros(micros);
            (0..1000).filter(|_| bucket.take(now, &FLOODS)).count() as u32
        };
        assert_eq!(given(5_000_000), FLOODS_AT_ONCE);
        assert_eq!(given(5_000_000), 0);
        let second: u32 = (1..=1000).map(|ms| given(5_000_000 + ms * 1000)).sum();
        assert!(second.abs_diff(FLOODS_PER_S) <= 1, "{second}");
        assert_eq!(given(60_000_000), FLOODS_AT_ONCE);
    }
}
