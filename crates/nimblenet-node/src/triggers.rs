//! The newest calls that clients have made and that have ended, for a recording.

use alloc::collections::VecDeque;
use core::time::Duration;

use nimblenet_core::{ClientId, Instant, Source, Step};
use nimblenet_tasklet::{Fault, TaskletName};

/// Triggers that are kept: half an hour of what twenty robots call at twelve nodes.
const MAX_TRIGGERS: usize = 1024;

/// A call that a client has made and that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trigger {
    /// Its number; triggers are numbered from 1 since the node's start, as they end.
    pub(crate) number: u64,
    /// When it was called.
    pub(crate) at: Instant,
    /// What was called.
    pub(crate) tasklet: TaskletName,
    /// Who has called it, if the client has said so.
    pub(crate) client: Option<ClientId>,
    /// The time from the call to its end.
    pub(crate) took: Duration,
    /// The part of that in which it waited for tasklets that the node lacked.
    pub(crate) waited: Duration,
    /// Why it failed, if it did.
    pub(crate) fault: Option<Fault>,
}

/// The newest triggers. The oldest is forgotten first.
#[derive(Default, Debug)]
pub(crate) struct Triggers {
    kept: VecDeque<Trigger>,
    /// The number of the last one.
    last: u64,
}

impl Triggers {
    /// Adds a trigger, which gets the next number.
    pub(crate) fn note(&mut self, mut trigger: Trigger) {
        self.last += 1;
        trigger.number = self.last;
        if self.kept.len() == MAX_TRIGGERS {
            self.kept.pop_front();
        }
        self.kept.push_back(trigger);
    }

    /// The triggers after number `from`. If there is no such number yet, the node has started since
    /// the reader heard of it: all triggers.
    pub(crate) fn after(&self, from: u64) -> Vec<Trigger> {
        let from = if from > self.last { 0 } else { from };
        let first = self.kept.partition_point(|trigger| trigger.number <= from);
        self.kept.range(first..).cloned().collect()
    }
}

/// How long a call waited for tasklets that the node lacked.
pub(crate) fn waited(steps: &[Step]) -> Duration {
    let lacked = steps.iter().filter(|step| step.source != Source::Local);
    lacked.map(|step| step.took).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(at: u64) -> Trigger {
        Trigger {
            number: 0,
            at: Instant::from_micros(at),
            tasklet: "shop/rms".parse().unwrap(),
            client: None,
            took: Duration::from_micros(5),
            waited: Duration::ZERO,
            fault: None,
        }
    }

    #[test]
    fn a_reader_gets_what_came_since_and_all_after_a_restart() {
        let mut triggers = Triggers::default();
        (0..3).for_each(|at| triggers.note(trigger(at)));
        let numbers = |from| -> Vec<u64> {
            let after = triggers.after(from);
            after.iter().map(|trigger| trigger.number).collect()
        };
        assert_eq!(numbers(0), [1, 2, 3]);
        assert_eq!(numbers(2), [3]);
        assert!(numbers(3).is_empty());
        assert_eq!(numbers(70), [1, 2, 3]);
    }

    #[test]
    fn the_newest_are_kept_and_a_gap_in_the_numbers_tells_of_the_others() {
        let mut triggers = Triggers::default();
        (0..MAX_TRIGGERS as u64 + 10).for_each(|at| triggers.note(trigger(at)));
        let kept = triggers.after(4);
        assert_eq!((kept.len(), kept[0].number), (MAX_TRIGGERS, 11));
    }
}
