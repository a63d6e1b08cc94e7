//! Reads this machine's clock; no other code does.

use std::time::Instant;

/// The time now.
#[expect(
    clippy::disallowed_methods,
    reason = "measured times are for people; no decision depends on them"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
