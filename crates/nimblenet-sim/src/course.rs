//! How a run went over time, for plots.

use core::iter::once;
use core::time::Duration;

use nimblenet_core::{Event, Instant};
use nimblenet_tasklet::{ActivationId, NodeId, TaskletName, Work};

use crate::tally::{Accounting, Load, WINDOW};

/// How a run went over time.
#[derive(Clone, PartialEq, Debug)]
pub struct Course {
    /// How long it lasted, in seconds.
    pub duration_s: f64,
    /// What robots triggered, in contact with a node or not.
    pub triggers: u64,
    /// What all nodes had sent and received by the end of each [`WINDOW`], from second 0.
    pub load: Vec<Load>,
    /// Calls that ended with a result.
    pub responses: Vec<Response>,
    /// What each node had sent and received in the end.
    pub nodes: Vec<(NodeId, Load, Load)>,
    /// The first call that ran to its end.
    pub first: Option<FirstCall>,
}

/// The response to a call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Response {
    /// When it came, in seconds.
    pub at_s: f64,
    /// How long after the trigger, in seconds.
    pub took_s: f64,
}

/// A call, and what of it ran when.
#[derive(Clone, PartialEq, Debug)]
pub struct FirstCall {
    /// Its node.
    pub node: NodeId,
    /// When it was made.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// What ran, in order.
    pub spans: Vec<Span>,
}

/// A time in which one tasklet of a call ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The tasklet.
    pub tasklet: TaskletName,
    /// Whether another tasklet called it.
    pub called: bool,
    /// When it began.
    pub from: Instant,
    /// When it was over.
    pub to: Instant,
}

impl Course {
    /// What was sent and received by the end of each [`WINDOW`], in bytes.
    pub fn cumulative(&self, accounting: Accounting, header_bytes: u32) -> Vec<u64> {
        let bytes = |load: &Load| load.bytes(accounting, header_bytes);
        self.load.iter().map(bytes).collect()
    }

    /// The mean response, in seconds, of the calls that ended in each window of `length_s`; none where
    /// no call did. A last window that is shorter counts.
    pub fn windows(&self, length_s: f64) -> Vec<Option<f64>> {
        self.windows_every(length_s, length_s)
    }

    /// The same of windows that begin `step_s` after each other.
    pub fn windows_every(&self, length_s: f64, step_s: f64) -> Vec<Option<f64>> {
        let last = ((self.duration_s - length_s) / step_s).ceil().max(0.0) as u32;
        let means = (0..=last).map(|at| {
            let from_s = f64::from(at) * step_s;
            let window = from_s..from_s + length_s;
            let ended = self.responses.iter().filter(|it| window.contains(&it.at_s));
            let (sum, count) =
                ended.fold((0.0, 0), |(sum, count), it| (sum + it.took_s, count + 1));
            (count > 0).then(|| sum / f64::from(count))
        });
        means.collect()
    }
}

/// When the first of two growing loads falls below the other for good, in seconds; none if it does not.
pub fn break_even_s(first: &[u64], other: &[u64]) -> Option<f64> {
    let both = first.iter().zip(other).enumerate();
    let mut above = both.filter(|(_, (first, other))| first > other);
    let last = above.next_back().map_or(0, |(at, _)| at);
    let windows = first.len().min(other.len());
    (last + 1 < windows).then(|| (last + 1) as f64 * WINDOW.as_secs_f64())
}

/// In how many of the windows from `from` on the first is faster than the other, and how many windows
/// there are; those without a call in one of them do not count.
pub fn won(first: &[Option<f64>], other: &[Option<f64>], from: usize) -> (usize, usize) {
    let both = first.iter().zip(other).skip(from);
    let both = both.filter_map(|(first, other)| Some((first.as_ref()?, other.as_ref()?)));
    both.fold((0, 0), |(won, all), (first, other)| {
        (won + usize::from(first < other), all + 1)
    })
}

/// Follows the first call that runs.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Follower {
    node: Option<NodeId>,
    /// The chain, once it runs, and what it calls.
    runs: Vec<(ActivationId, TaskletName)>,
    spans: Vec<Span>,
    call: Option<FirstCall>,
}

impl Follower {
    pub(crate) fn call(&self) -> Option<&FirstCall> {
        self.call.as_ref()
    }

    /// An executor took up work that lasts so long.
    pub(crate) fn worked(&mut self, now: Instant, node: NodeId, work: &Work<'_>, time: Duration) {
        if self.call.is_some() {
            return;
        }
        let activation = match work {
            Work::Start(start) => {
                let caller = self.runs.first().map(|(chain, _)| *chain);
                if caller.is_some() && (Some(node) != self.node || start.parent != caller) {
                    return;
                }
                self.node = Some(node);
                self.runs.push((start.activation, start.name));
                start.activation
            }
            Work::Resume { activation, .. } | Work::Continue { activation } => *activation,
            Work::Freeze { .. } | Work::Thaw { .. } | Work::Stop { .. } | Work::Verify { .. } => {
                return;
            }
        };
        let known = self.runs.iter().position(|(known, _)| *known == activation);
        if let Some(at) = known.filter(|_| Some(node) == self.node) {
            self.spans.push(Span {
                tasklet: self.runs[at].1,
                called: at > 0,
                from: now,
                to: now + time,
            });
        }
    }

    /// A node told its user something.
    pub(crate) fn event(&mut self, now: Instant, node: NodeId, event: &Event<'_>) {
        let Event::Finished { steps, took, .. } = event else {
            return;
        };
        let chain = self.runs.first().map(|(_, name)| *name);
        let is_over = self.spans.last().is_some_and(|span| span.to == now);
        let is_its = steps.first().map(|step| step.name) == chain;
        if self.call.is_none() && Some(node) == self.node && is_over && is_its {
            self.call = Some(FirstCall {
                node,
                begun: Instant::ZERO + (now - Instant::ZERO).saturating_sub(*took),
                ended: now,
                spans: core::mem::take(&mut self.spans),
            });
        }
    }
}

impl FirstCall {
    /// The times in which nothing of the call ran because a module was on its way.
    pub fn waits(&self) -> impl Iterator<Item = (Instant, Instant)> + '_ {
        let ends = once(self.begun).chain(self.spans.iter().map(|span| span.to));
        let gaps = ends.zip(self.spans.iter().map(|span| span.from));
        gaps.filter(|(from, to)| from < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_break_even_is_where_a_load_stays_below_the_other() {
        let monolithic = [0, 10, 20, 30, 40];
        assert_eq!(break_even_s(&[0, 15, 25, 29, 30], &monolithic), Some(30.0));
        assert_eq!(break_even_s(&[0, 5, 25, 29, 30], &monolithic), Some(30.0));
        assert_eq!(break_even_s(&[0, 5, 6, 7, 8], &monolithic), Some(10.0));
        assert_eq!(break_even_s(&[0, 5, 6, 7, 41], &monolithic), None);
    }

    #[test]
    fn windows_have_the_mean_of_the_calls_that_ended_in_them() {
        let response = |(at_s, took_s)| Response { at_s, took_s };
        let course = Course {
            duration_s: 250.0,
            triggers: 3,
            load: Vec::new(),
            responses: [(1.0, 2.0), (99.0, 4.0), (210.0, 5.0)]
                .map(response)
                .to_vec(),
            nodes: Vec::new(),
            first: None,
        };
        let windows = course.windows(100.0);
        assert_eq!(windows, [Some(3.0), None, Some(5.0)]);
        assert_eq!(
            course.windows_every(100.0, 50.0)[..2],
            [Some(3.0), Some(4.0)]
        );
        let slower = [Some(4.0), Some(1.0), Some(5.0)];
        assert_eq!(won(&windows, &slower, 0), (1, 2));
        assert_eq!(won(&windows, &slower, 1), (0, 1));
    }
}
