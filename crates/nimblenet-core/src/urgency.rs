//! Urgency: which of the calls that wait is next (spec/behaviour.md, section 18).
//!
//! A higher priority comes first, and within a priority what must have ended first. So that nothing waits for
//! ever, the priority of what waits rises with time, and no deadline counts as further away than
//! [`DUE_WITHIN`]: a call is overtaken by none that comes so much later, once its priority has risen to
//! the highest.

use core::cmp::Reverse;
use core::time::Duration;

use crate::event::Priority;
use crate::job::CallId;
use crate::time::Instant;

/// What has waited for this long counts as of the next higher priority; after twice that, of the one above.
pub(crate) const RISES_AFTER: Duration = Duration::from_secs(30);

/// A call counts as due this long after it was taken, if its deadline is later or it has none.
pub(crate) const DUE_WITHIN: Duration = Duration::from_secs(60);

/// The order of calls: what is less comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Urgency {
    class: Reverse<Priority>,
    due: Instant,
    /// When it was taken, and its number.
    age: (Instant, CallId),
}

impl Urgency {
    /// Of a call that counts as one of the priority `class`, was taken under a number at the time `age`, and
    /// has this deadline.
    pub(crate) fn new(class: Priority, age: (Instant, CallId), deadline: Option<Instant>) -> Self {
        let latest = age.0 + DUE_WITHIN;
        Self {
            class: Reverse(class),
            due: deadline.map_or(latest, |deadline| deadline.min(latest)),
            age,
        }
    }
}

/// What a call of a priority counts as that has waited for the time `waited`.
pub(crate) fn class(priority: Priority, waited: Duration) -> Priority {
    let once = match waited >= RISES_AFTER {
        true => priority.above(),
        false => priority,
    };
    match waited >= RISES_AFTER * 2 {
        true => once.above(),
        false => once,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_priority_rises_once_in_thirty_seconds_up_to_the_highest() {
        use Priority::{High, Low, Normal};
        let low = [0, 29, 30, 59, 60, 600].map(|waited| class(Low, seconds(waited)));
        assert_eq!(low, [Low, Low, Normal, Normal, High, High]);
        let normal = [29, 30, 60].map(|waited| class(Normal, seconds(waited)));
        assert_eq!(normal, [Normal, High, High]);
        assert_eq!(class(High, seconds(600)), High);
    }

    #[test]
    fn the_priority_counts_first_then_the_deadline_then_the_age() {
        let of = |class, taken, deadline: Option<u64>| {
            let age = (at(taken), CallId(taken as u32));
            Urgency::new(class, age, deadline.map(at))
        };
        let expected = [
            of(Priority::High, 9, None),
            of(Priority::Normal, 8, Some(20)),
            of(Priority::Normal, 2, Some(30)),
            of(Priority::Normal, 3, Some(30)),
            of(Priority::Normal, 1, None),
            of(Priority::Normal, 4, Some(900)),
            of(Priority::Low, 0, Some(1)),
        ];
        let mut sorted = expected;
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn nothing_that_comes_a_minute_later_overtakes_what_has_risen() {
        let old = Urgency::new(Priority::High, (at(0), CallId(1)), None);
        let eager = Urgency::new(Priority::High, (at(60), CallId(2)), Some(at(60)));
        assert!(old < eager);
    }
}
