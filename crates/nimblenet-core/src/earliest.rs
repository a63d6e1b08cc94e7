//! The earliest of several moments, with its reason.

use crate::config::FULL;
use crate::event::Reason;
use crate::time::Instant;

/// The earliest of the moments that were noted; of equal ones, the first.
pub(crate) struct Earliest(Option<(Instant, Reason)>);

impl Earliest {
    /// Without any moment yet.
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// Nobody sees the reasons of a node that is not a full one.
    // Not inlined: it has many callers, and its code is longer than a call.
    #[inline(never)]
    pub(crate) fn note(&mut self, at: Option<Instant>, reason: Reason) {
        let reason = if FULL { reason } else { Reason::Hello };
        if let Some(at) = at
            && self.0.is_none_or(|(earliest, _)| at < earliest)
        {
            self.0 = Some((at, reason));
        }
    }

    pub(crate) fn get(self) -> Option<(Instant, Reason)> {
        self.0
    }
}
