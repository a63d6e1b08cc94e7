//! Who does nothing reserves nothing.

use nimblenet_core::Instant;

use super::{Checker, Finding, Sight};

/// Looks at the reservations of nodes without jobs.
#[derive(Default)]
pub(super) struct IdleReservations;

impl Checker for IdleReservations {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        let Sight::Rested(node) = sight else {
            return Ok(());
        };
        let held = node.cache().reservations();
        if held > 0 && node.jobs() == 0 {
            return Err(format!(
                "node {} has no jobs and {held} reservations",
                node.id().0
            ));
        }
        Ok(())
    }
}
