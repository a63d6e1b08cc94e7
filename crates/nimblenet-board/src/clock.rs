//! The clock and the watchdog, which each chip provides.

use core::future::Future;

use nimblenet_core::Instant;

/// The board's clock.
pub trait Clock {
    /// The time since the board's start.
    fn now(&self) -> Instant;
    /// Waits until `then`.
    fn until(&self, then: Instant) -> impl Future<Output = ()>;
}

/// A timer that resets the board unless it is fed.
pub trait Watchdog {
    /// Starts the timer; from here on it must be fed.
    fn start(&mut self);
    /// Feeds the timer: the board works.
    fn feed(&mut self);
    /// The interpreter does not answer. The node stops feeding, so the reset follows.
    fn interpreter_lost(&mut self);
}
