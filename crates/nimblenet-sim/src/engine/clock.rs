//! The clock of a node, which may be wrong.

use core::time::Duration;

use nimblenet_core::Instant;

/// Millionths.
const PPM: u128 = 1_000_000;

/// What a node takes for the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Clock {
    /// Since this moment it has had its rate.
    since: Instant,
    /// What it said then.
    said: Instant,
    /// Its microseconds in a second.
    rate_ppm: u32,
}

impl Clock {
    /// A clock that is right.
    pub(super) const RIGHT: Self = Self {
        since: Instant::ZERO,
        said: Instant::ZERO,
        rate_ppm: PPM as u32,
    };

    /// A clock that begins at zero now.
    pub(super) fn begun(now: Instant) -> Self {
        Self {
            since: now,
            ..Self::RIGHT
        }
    }

    /// The same clock, which leaps at `now` and has this rate from then on.
    pub(super) fn from(self, now: Instant, leap: Duration, rate_ppm: u32) -> Self {
        assert!(rate_ppm > 0, "a clock does not stand still");
        Self {
            since: now,
            said: self.reads(now) + leap,
            rate_ppm,
        }
    }

    /// What it says at the moment `now`.
    pub(super) fn reads(self, now: Instant) -> Instant {
        let passed = (now - self.since).as_micros() * u128::from(self.rate_ppm) / PPM;
        self.said + Duration::from_micros(passed as u64)
    }

    /// The first moment at which it says `then`, or the moment of its last change if it says more
    /// already.
    pub(super) fn when(self, then: Instant) -> Instant {
        let left = (then - self.said).as_micros() * PPM;
        let left = left.div_ceil(u128::from(self.rate_ppm));
        self.since + Duration::from_micros(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn a_right_clock_says_the_time() {
        for moment in [at(0), at(7), Instant::from_micros(1)] {
            assert_eq!(Clock::RIGHT.reads(moment), moment);
            assert_eq!(Clock::RIGHT.when(moment), moment);
        }
    }

    #[test]
    fn a_clock_leaps_and_drifts_and_is_read_backwards_too() {
        let clock = Clock::RIGHT.from(at(1000), Duration::from_millis(500), 1_100_000);
        assert_eq!(clock.reads(at(1000)), at(1500));
        assert_eq!(clock.reads(at(2000)), at(2600));
        assert_eq!(clock.when(at(2600)), at(2000));
        assert_eq!(clock.when(at(3)), at(1000), "past");
        let slow = clock.from(at(2000), Duration::ZERO, 900_000);
        for micros in [2_600_000, 2_600_001, 2_700_007] {
            let then = Instant::from_micros(micros);
            assert!(slow.reads(slow.when(then)) >= then);
        }
    }
}
