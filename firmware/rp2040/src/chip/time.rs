//! The chip's timer.

use embassy_time::Timer;
use nimblenet_core::Instant;

use nimblenet_board::clock::Clock;

/// Microseconds since the chip's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChipClock;

impl Clock for ChipClock {
    fn now(&self) -> Instant {
        Instant::from_micros(embassy_time::Instant::now().as_micros())
    }

    async fn until(&self, then: Instant) {
        Timer::at(embassy_time::Instant::from_micros(then.as_micros())).await;
    }
}
