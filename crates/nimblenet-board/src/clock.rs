//! What a chip tells the node's side of time, and what resets it.

use core::future::Future;

use nimblenet_core::Instant;

/// The time, as the board tells it.
pub trait Clock {
    /// Since the board's start.
    fn now(&self) -> Instant;
    /// Waits until then.
    fn until(&self, then: Instant) -> impl Future<Output = ()>;
}

/// What resets the board unless it is fed.
pub trait Watchdog {
    /// From now on it must be fed.
    fn start(&mut self);
    /// The board works, and the next packet has this number.
    fn feed(&mut self, sequence: u32);
    /// The interpreter no longer answers; the reset follows for want of food.
    fn interpreter_lost(&mut self);
}
