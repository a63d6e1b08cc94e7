//! How long the parts are that come over a neighbour (spec/behaviour.md, section 6).
//!
//! Links may swallow what is longer than they say, and links lose frames. What does not come is no sign by
//! itself: only if no longer part has come for a while, the link seems to be narrow.

use core::time::Duration;

use crate::config::FULL;
use crate::time::Instant;

/// It is forgotten after this long that longer parts than these have not come over a neighbour, or that a
/// long one has.
const NARROW_LIFETIME: Duration = Duration::from_secs(240);

/// What is known of parts over a neighbour. Lengths are 0 for unknown, times in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Width {
    /// The longest parts that come as it seems.
    narrow: u16,
    /// The longest part that has come.
    longest: u16,
    narrow_since: u32,
    longest_at: u32,
}

impl Width {
    pub(super) const UNKNOWN: Self = Self {
        narrow: 0,
        longest: 0,
        narrow_since: 0,
        longest_at: 0,
    };

    /// The longest parts that come, if longer ones seem to vanish.
    pub(super) fn narrow(self, now: Instant) -> Option<u16> {
        (self.narrow > 0 && lives(self.narrow_since, now)).then_some(self.narrow)
    }

    /// Whether a part of at least this length has come lately.
    pub(super) fn is_wide(self, now: Instant, part: u16) -> bool {
        FULL && self.longest >= part && lives(self.longest_at, now)
    }

    /// Only parts of at most `part` bytes come, as it seems; true if that is new.
    pub(super) fn note_narrow(&mut self, now: Instant, part: u16) -> bool {
        let new = self.narrow(now).is_none_or(|held| part < held);
        if new {
            (self.narrow, self.narrow_since) = (part, seconds(now));
        }
        new
    }

    /// A part has come.
    pub(super) fn note_part(&mut self, now: Instant, part: u16) {
        if part >= self.longest || !lives(self.longest_at, now) {
            (self.longest, self.longest_at) = (part, seconds(now));
        }
        if part > self.narrow {
            self.narrow = 0;
        }
    }
}

// Not inlined: it divides, which takes more code than a call.
#[inline(never)]
fn seconds(at: Instant) -> u32 {
    u32::try_from(at.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

#[inline(never)]
fn lives(since: u32, now: Instant) -> bool {
    u64::from(seconds(now).saturating_sub(since)) <= NARROW_LIFETIME.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_link_is_narrow_until_a_longer_part_comes_or_some_minutes_have_passed() {
        let mut width = Width::UNKNOWN;
        assert_eq!(width.narrow(at(1)), None);
        assert!(width.note_narrow(at(1), 500) && !width.note_narrow(at(2), 500));
        assert!(width.note_narrow(at(3), 250), "narrower still");
        assert_eq!(width.narrow(at(243)), Some(250));
        assert_eq!(width.narrow(at(244)), None);
        assert!(width.note_narrow(at(300), 250));
        width.note_part(at(301), 250);
        assert_eq!(width.narrow(at(301)), Some(250));
        width.note_part(at(302), 251);
        assert_eq!(width.narrow(at(302)), None);
    }

    #[test]
    fn a_part_of_some_length_says_for_some_minutes_that_such_parts_come() {
        let mut width = Width::UNKNOWN;
        assert!(!width.is_wide(at(1), 1));
        width.note_part(at(10), 500);
        width.note_part(at(100), 300);
        assert!(width.is_wide(at(250), 500) && !width.is_wide(at(250), 501));
        assert!(!width.is_wide(at(251), 500));
        width.note_part(at(252), 300);
        assert!(width.is_wide(at(400), 300) && !width.is_wide(at(400), 301));
    }
}
