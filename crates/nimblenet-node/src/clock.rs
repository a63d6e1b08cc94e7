//! The only place that reads clocks.
//!
//! Everything else takes the time as a value. Deadlines run on the monotonic clock, so that a
//! step of the wall clock moves none of them.
#![expect(
    clippy::disallowed_methods,
    reason = "a driver has to read the clock somewhere; it is here and nowhere else"
)]

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use nimblenet_core::Instant;

/// A monotonic clock with its own zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    zero: std::time::Instant,
    /// How many times as fast as real time it goes.
    speedup: u32,
}

impl Clock {
    /// A clock that is at zero now.
    pub(crate) fn start() -> Self {
        Self::fast(1)
    }

    /// The same, which goes `speedup` times as fast as real time.
    pub(crate) fn fast(speedup: u32) -> Self {
        Self {
            zero: std::time::Instant::now(),
            speedup,
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + self.zero.elapsed() * self.speedup
    }

    /// The real time until `then`; zero if that is past.
    pub(crate) fn until(&self, then: Instant) -> Duration {
        then.since(self.now()) / self.speedup
    }

    /// When so much real time will have passed.
    pub(crate) fn after(&self, real: Duration) -> Instant {
        self.now() + real * self.speedup
    }

    /// Holds this thread up for so much of the clock's time.
    pub(crate) fn sleep(&self, time: Duration) {
        std::thread::sleep(time / self.speedup);
    }
}

/// How often [`tick`] rises.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The wall clock in ticks.
pub(crate) fn tick() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    (since.unwrap_or_default().as_millis() / TICK.as_millis()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_goes_as_many_times_as_fast_and_waits_as_much_shorter() {
        let clock = Clock::fast(100);
        let wait = Duration::from_secs(1);
        let before = clock.now();
        clock.sleep(wait);
        let slept = clock.now().since(before);
        assert!(slept >= wait, "{slept:?}");
        let until = clock.until(clock.now() + wait);
        assert!(until <= wait / 100, "{until:?}");
        assert!(clock.after(wait / 100).since(clock.now()) <= wait);
    }
}
