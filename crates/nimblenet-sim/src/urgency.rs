//! How urgent the calls of robots are, and how many of them end in time.

use std::collections::BTreeMap;

use core::time::Duration;

use nimblenet_core::{CallId, Instant, Priority};
use nimblenet_tasklet::{Fault, NodeId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::tally::Told;
use crate::trace::duration;

/// The stream of the random numbers of calls; each call has one of its own.
const URGENCY_STREAM: u64 = 8 << 32;

/// The shares of priorities among the calls of robots, and how long each call may take.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Urgency {
    /// The share of calls of high priority.
    pub high: f64,
    /// The share of calls of low priority; the others are normal.
    pub low: f64,
    /// The deadlines of calls of high priority, from the call on, in seconds.
    pub high_s: (f64, f64),
    /// Those of normal ones.
    pub normal_s: (f64, f64),
    /// Those of low ones.
    pub low_s: (f64, f64),
    /// Whether nodes are told; else all calls are alike to them.
    pub told: bool,
}

impl Default for Urgency {
    fn default() -> Self {
        Self {
            high: 0.2,
            low: 0.3,
            high_s: (8.0, 15.0),
            normal_s: (15.0, 60.0),
            low_s: (60.0, 180.0),
            told: true,
        }
    }
}

/// What a robot wants of a call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Wish {
    pub(crate) priority: Priority,
    pub(crate) deadline: Duration,
}

impl Urgency {
    /// How urgent the trigger with this number is.
    pub(crate) fn wish(&self, seed: u64, trigger: usize) -> Wish {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(URGENCY_STREAM | trigger as u64);
        let place = random.random::<f64>();
        let (priority, (shortest, longest)) = if place < self.high {
            (Priority::High, self.high_s)
        } else if place < self.high + self.low {
            (Priority::Low, self.low_s)
        } else {
            (Priority::Normal, self.normal_s)
        };
        let deadline = duration(random.random_range(shortest..=longest));
        Wish { priority, deadline }
    }
}

/// How calls of one priority have ended whose deadline is over.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Deadlines {
    /// The calls.
    pub calls: u64,
    /// Those that had a result in time.
    pub met: u64,
    /// Those that nodes have refused or given up because they could not end in time.
    pub too_late: u64,
}

/// The end of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// It had a result in time.
    Met,
    /// A node has said that it could not end in time.
    TooLate,
    /// It was too late, or failed for another reason.
    Missed,
}

impl End {
    fn of(fault: Fault) -> Self {
        match matches!(fault, Fault::TooLate | Fault::Deadline) {
            true => Self::TooLate,
            false => Self::Missed,
        }
    }
}

/// The deadlines of a run.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Calls in progress.
    open: BTreeMap<(NodeId, CallId), (Priority, Instant)>,
    /// Calls that have ended: when they were due, and how.
    ended: Vec<(Priority, Instant, End)>,
}

impl Book {
    /// A node has taken a call, or refused it.
    pub(crate) fn called(
        &mut self,
        now: Instant,
        node: NodeId,
        wish: Wish,
        taken: Result<CallId, Fault>,
    ) {
        let due = now + wish.deadline;
        match taken {
            Ok(call) => {
                self.open.insert((node, call), (wish.priority, due));
            }
            Err(fault) => self.end((wish.priority, due), End::of(fault)),
        }
    }

    /// A call, or something else, has ended at a node.
    pub(crate) fn told(&mut self, (at, call, result): Told) {
        if let Some((priority, due)) = self.open.remove(&call) {
            let end = match result {
                Ok(()) if at <= due => End::Met,
                Ok(()) => End::Missed,
                Err(fault) => End::of(fault),
            };
            self.end((priority, due), end);
        }
    }

    /// A node has lost its calls.
    pub(crate) fn lose(&mut self, node: NodeId) {
        let lost: Vec<_> = self.open.extract_if(.., |(at, _), _| *at == node).collect();
        for (_, call) in lost {
            self.end(call, End::Missed);
        }
    }

    fn end(&mut self, (priority, due): (Priority, Instant), end: End) {
        self.ended.push((priority, due, end));
    }

    /// How the calls of each priority have ended that were due by `end`.
    pub(crate) fn outcome(&self, end: Instant) -> BTreeMap<&'static str, Deadlines> {
        let mut outcome = BTreeMap::<_, Deadlines>::new();
        let open = self.open.values();
        let open = open.map(|(priority, due)| (*priority, *due, End::Missed));
        for (priority, due, how) in self.ended.iter().copied().chain(open) {
            if due > end {
                continue;
            }
            let own = outcome.entry(priority.name()).or_default();
            own.calls += 1;
            own.met += u64::from(how == End::Met);
            own.too_late += u64::from(how == End::TooLate);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_the_shares_and_deadlines_of_their_table() {
        let table = Urgency::default();
        let wishes: Vec<Wish> = (0..2000).map(|at| table.wish(7, at)).collect();
        for (priority, share, (shortest, longest)) in [
            (Priority::High, 0.2, table.high_s),
            (Priority::Normal, 0.5, table.normal_s),
            (Priority::Low, 0.3, table.low_s),
        ] {
            let own = wishes.iter().filter(|wish| wish.priority == priority);
            let count = own.clone().count() as f64 / 2000.0;
            assert!((count - share).abs() < 0.03, "{priority:?}: {count}");
            let within = |wish: &Wish| (shortest..=longest).contains(&wish.deadline.as_secs_f64());
            assert!(own.clone().all(within), "{priority:?}");
        }
        assert_eq!(wishes[5], table.wish(7, 5), "each by itself");
    }

    #[test]
    fn a_call_counts_once_it_is_due_and_is_met_by_a_result_in_time() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let wish = Wish {
            priority: Priority::High,
            deadline: Duration::from_secs(10),
        };
        let mut book = Book::default();
        let node = NodeId(1);
        for (call, ends, result) in [
            (1, 9, Ok(())),
            (2, 11, Ok(())),
            (3, 5, Err(Fault::Trapped)),
            (4, 10, Err(Fault::Deadline)),
        ] {
            book.called(at(0), node, wish, Ok(CallId(call)));
            book.told((at(ends), (node, CallId(call)), result));
        }
        book.called(at(0), node, wish, Err(Fault::TooLate));
        book.called(at(0), node, wish, Ok(CallId(5)));
        book.called(at(50), node, wish, Ok(CallId(6)));
        let outcome = book.outcome(at(59));
        let expected = Deadlines {
            calls: 6,
            met: 1,
            too_late: 2,
        };
        assert_eq!(outcome, BTreeMap::from([("high", expected)]));
    }
}
