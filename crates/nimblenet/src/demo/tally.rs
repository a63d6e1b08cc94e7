//! Counts the outcomes of robots' triggers.

use core::time::Duration;

/// How one call ended: the time to its answer, or the code of its failure.
pub(crate) type End = Result<Duration, String>;

/// Counts and times of all triggers.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    /// Triggers of robots with no node in reach.
    pub(crate) without_contact: u64,
    /// Calls made.
    pub(crate) calls: u64,
    /// Failed calls: codes of reasons, each with its count, in the order of their first occurrence.
    pub(crate) failures: Vec<(String, u64)>,
    /// Times from a call to its results.
    responses: Vec<Duration>,
}

impl Tally {
    /// Counts how a call ended.
    pub(crate) fn end(&mut self, end: End) {
        match end {
            Ok(took) => self.responses.push(took),
            Err(code) => self.fail(code),
        }
    }

    /// How many triggers there were.
    pub(crate) fn triggers(&self) -> u64 {
        self.calls + self.without_contact
    }

    /// Calls that were answered with results.
    pub(crate) fn completed(&self) -> u64 {
        self.responses.len() as u64
    }

    /// Calls that failed or were not answered.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.iter().map(|(_, count)| count).sum()
    }

    /// The share of triggers without a node in reach; 0 without triggers.
    pub(crate) fn without_contact_share(&self) -> f64 {
        self.without_contact as f64 / self.triggers().max(1) as f64
    }

    /// The mean time to results in seconds; nothing without any.
    pub(crate) fn mean_response_s(&self) -> Option<f64> {
        let sum: Duration = self.responses.iter().sum();
        let count = self.responses.len();
        (count > 0).then(|| sum.as_secs_f64() / count as f64)
    }

    /// The time to results in seconds that one call in a hundred exceeds; nothing without any.
    pub(crate) fn p99_response_s(&self) -> Option<f64> {
        let mut responses = self.responses.clone();
        responses.sort_unstable();
        let at = (responses.len() * 99).div_ceil(100).checked_sub(1)?;
        Some(responses[at].as_secs_f64())
    }

    fn fail(&mut self, code: String) {
        match self.failures.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.failures.push((code, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_from_what_was_taken_up() {
        let mut tally = Tally::default();
        assert_eq!(
            (tally.mean_response_s(), tally.p99_response_s()),
            (None, None)
        );
        tally.calls = 202;
        tally.without_contact = 50;
        for milliseconds in 1..=200 {
            tally.end(Ok(Duration::from_millis(milliseconds)));
        }
        tally.end(Err("busy".to_owned()));
        tally.end(Err("busy".to_owned()));
        assert_eq!(
            (tally.triggers(), tally.completed(), tally.failed()),
            (252, 200, 2)
        );
        assert_eq!(tally.failures, [("busy".to_owned(), 2)]);
        assert_eq!(tally.mean_response_s(), Some(0.1005));
        assert_eq!(tally.p99_response_s(), Some(0.198));
        assert!((tally.without_contact_share() - 50.0 / 252.0).abs() < 1e-9);
    }
}
