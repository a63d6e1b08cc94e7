//! The one place that reads this machine's clock.

use std::time::Instant;

/// The time now.
#[expect(
    clippy::disallowed_methods,
    reason = "measured times are for people; no decision depends on them"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
