//! A bench in step with the wall clock.

use core::time::Duration;
use std::time::Instant;

use anyhow::Result;

use crate::Bench;
use crate::board::CLOCK_HZ;

/// Emulated time between two checks of the ties and the wall clock.
const TURN: Duration = Duration::from_micros(100);
/// Emulated time may run ahead of the wall clock by this much before it waits: sleeping is not
/// exact, and short sleeps cost more than they wait.
const AHEAD: Duration = Duration::from_micros(500);
/// Emulated time that lags by more than this does not try to catch up.
const BEHIND: Duration = Duration::from_millis(50);

/// How a bench kept up with the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pace {
    /// Time that passed on the wall clock.
    pub real: Duration,
    /// How much less time passed on the bench, because the host was too slow.
    pub missed: Duration,
}

impl Bench {
    /// Runs all boards in step with the wall clock, and at most half a millisecond ahead of it, as
    /// long as `goes_on` is true; its argument is the time that has passed. May be called again.
    ///
    /// # Errors
    ///
    /// If a core of a board has locked up.
    pub fn live(&mut self, mut goes_on: impl FnMut(Duration) -> bool) -> Result<Pace> {
        let begin = Instant::now();
        let first = self.now();
        let mut pace = Pace::default();
        while goes_on(pace.real) {
            self.run(cycles(TURN), |_, _, _| {})?;
            pace.real = begin.elapsed();
            let emulated = duration(self.now() - first) + pace.missed;
            if emulated > pace.real + AHEAD {
                std::thread::sleep(emulated - pace.real);
            } else if pace.real > emulated + BEHIND {
                pace.missed += pace.real - emulated;
            }
        }
        Ok(pace)
    }
}

fn cycles(time: Duration) -> u64 {
    time.as_micros() as u64 * (CLOCK_HZ / 1_000_000)
}

fn duration(cycles: u64) -> Duration {
    Duration::from_nanos(cycles * (1_000_000_000 / CLOCK_HZ))
}
