//! Admission: which calls could not end before their deadline, as far as this node knows, and are refused
//! instead of begun (spec/behaviour.md, section 18).

use core::time::Duration;

use nimblenet_tasklet::Fault;

/// A call that may still take so long or longer is never refused because of that.
const TIGHT: Duration = Duration::from_secs(30);

/// When a call would end at a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Outlook {
    /// How long what runs before it runs, and how long it is on its way.
    pub(in crate::node) before: Duration,
    /// How long it runs itself.
    pub(in crate::node) work: Duration,
    /// Whether that was seen, and not only declared.
    pub(in crate::node) seen: bool,
}

impl Outlook {
    /// The time from now to its end.
    pub(in crate::node) fn end(self) -> Duration {
        self.before + self.work
    }

    /// Whether it would certainly not end within the time `left`. Nothing is certain of a call whose cost is not
    /// known; and one that need not wait runs, so that its cost becomes known, unless it has been seen.
    fn misses(self, left: Duration) -> bool {
        let is_known = !self.work.is_zero() && (self.seen || !self.before.is_zero());
        is_known && self.end() > left
    }
}

/// Refuses calls that could not end in time.
#[derive(Debug)]
pub(in crate::node) struct Admission {
    /// How long the call that was refused last would have taken.
    wanted: Option<Duration>,
}

impl Admission {
    /// Nothing was refused yet.
    pub(in crate::node) fn new() -> Self {
        Self { wanted: None }
    }

    /// How long a call has left, if that is so short that it may be refused.
    pub(in crate::node) fn tight(deadline: Option<Duration>) -> Option<Duration> {
        deadline.filter(|left| *left < TIGHT)
    }

    /// Whether a call that has the time `left` may run where it has this outlook; without one, it may.
    pub(in crate::node) fn meets(left: Duration, outlook: Option<Outlook>) -> bool {
        outlook.is_none_or(|outlook| !outlook.misses(left))
    }

    /// Refuses a call that would have ended after this time at the soonest.
    pub(in crate::node) fn refuse(&mut self, soonest: Duration) -> Fault {
        self.wanted = Some(soonest);
        Fault::TooLate
    }

    /// How long the call that was refused last would have taken.
    pub(in crate::node) fn wanted(&self) -> Option<Duration> {
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(before: u64, work: u64, seen: bool) -> Option<Outlook> {
        Some(Outlook {
            before: Duration::from_secs(before),
            work: Duration::from_secs(work),
            seen,
        })
    }

    #[test]
    fn only_a_call_that_certainly_ends_too_late_is_refused() {
        let left = Duration::from_secs(10);
        for (outlook, meets) in [
            (None, true),
            (outlook(90, 0, true), true),
            (outlook(5, 5, true), true),
            (outlook(6, 5, true), false),
            (outlook(6, 5, false), false),
            (outlook(0, 11, true), false),
            (outlook(0, 11, false), true),
        ] {
            assert_eq!(Admission::meets(left, outlook), meets, "{outlook:?}");
        }
    }

    #[test]
    fn a_call_with_much_time_is_none_of_its_business() {
        let tight = |seconds| Admission::tight(Some(Duration::from_secs(seconds))).is_some();
        assert_eq!([29, 30, 60].map(tight), [true, false, false]);
        assert_eq!(Admission::tight(None), None);
    }

    #[test]
    fn who_was_refused_last_hears_what_it_would_have_taken() {
        let mut admission = Admission::new();
        assert_eq!(admission.wanted(), None);
        let fault = admission.refuse(Duration::from_secs(7));
        assert_eq!(
            (fault, admission.wanted()),
            (Fault::TooLate, Some(Duration::from_secs(7)))
        );
    }
}
