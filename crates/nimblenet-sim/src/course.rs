//! How a run went over time, for plots.

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;

use crate::followed::Followed;
use crate::tally::{Accounting, Load, Tally, WINDOW};

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
    /// Of those, in the same order, that ran where they were made: the node, and the catalogue number of the
    /// chain.
    pub finished: Vec<(NodeId, u16)>,
    /// What each node had sent and received in the end.
    pub nodes: Vec<(NodeId, Load, Load)>,
    /// The call that was followed, once it has ended.
    pub followed: Option<Followed>,
}

/// The response to a call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Response {
    /// When it came, in seconds.
    pub at_s: f64,
    /// How long after the trigger, in seconds.
    pub took_s: f64,
}

impl Course {
    /// What a tally says of a run that lasts `duration_s`, in which robots have triggered so much.
    pub fn new(duration_s: f64, triggers: u64, tally: &Tally) -> Self {
        let responses = tally.ended.iter().map(|call| Response {
            at_s: (call.at - Instant::ZERO).as_secs_f64(),
            took_s: call.took.as_secs_f64(),
        });
        let finished = tally.ended.iter();
        let finished = finished.filter_map(|call| Some((call.node, call.number?)));
        Self {
            duration_s,
            triggers,
            load: tally.cumulative().collect(),
            responses: responses.collect(),
            finished: finished.collect(),
            nodes: tally.nodes().collect(),
            followed: tally.follower.followed().cloned(),
        }
    }

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
            finished: Vec::new(),
            nodes: Vec::new(),
            followed: None,
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
