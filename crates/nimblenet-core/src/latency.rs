//! Latency: how long sources take to answer, and how much may be fetched ahead meanwhile
//! (spec/behaviour.md, section 6).
//!
//! A source is measured in parts of its patience, the time in which an answer usually comes: so what
//! is known of it holds for whatever route leads to it. Mean and deviation are those of RFC 6298. The
//! answers of all sources open and close a window, as in TCP: it bounds the bytes of modules that are
//! fetched before anything has called them.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::time::micros;

/// A patience has this many parts.
const PARTS: u32 = 16;
/// The longest time that is waited for an answer, in patiences.
const LONGEST: u32 = 32;
/// What is fetched ahead takes at most this part of the cache: it makes others leave.
const AHEAD_SHARE: usize = 8;

/// What is measured.
#[derive(Debug)]
pub(crate) struct Latency {
    /// The source that answered last is the last one.
    sources: Vec<Measured>,
    /// Bytes that may be fetched ahead.
    window: u32,
    /// The most of them.
    widest: u32,
}

/// A source, in parts of its patience.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Measured {
    source: NodeId,
    mean: u16,
    deviation: u16,
}

impl Latency {
    /// Room for `limit` sources, with a cache of `cache_bytes` bytes.
    pub(crate) fn new(limit: usize, cache_bytes: usize) -> Self {
        let widest = (cache_bytes / AHEAD_SHARE) as u32;
        Self {
            sources: Vec::with_capacity(limit),
            window: widest,
            widest,
        }
    }

    /// Bytes that may be fetched ahead at a time.
    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    /// Takes an answer of `source` with `bytes` bytes, which came after `took`.
    pub(crate) fn answered(
        &mut self,
        source: NodeId,
        (took, patience): (Duration, Duration),
        bytes: u32,
    ) {
        let part = (ticks(patience) / PARTS).max(1);
        let sample = (ticks(took) / part).min(LONGEST * PARTS) as u16;
        if u32::from(sample) <= PARTS {
            self.window = self.window.saturating_add(bytes).min(self.widest);
        } else {
            self.window /= 2;
        }
        let held = self.sources.iter().position(|it| it.source == source);
        let measured = match held {
            Some(at) => self.sources.remove(at).with(sample),
            None => Measured {
                source,
                mean: sample,
                deviation: sample / 4,
            },
        };
        if self.sources.len() == self.sources.capacity() && !self.sources.is_empty() {
            self.sources.remove(0);
        }
        if self.sources.len() < self.sources.capacity() {
            self.sources.push(measured);
        }
    }

    /// Whether `source` is known to answer late.
    pub(crate) fn is_slow(&self, source: NodeId) -> bool {
        let mut held = self.sources.iter();
        held.any(|it| it.source == source && u32::from(it.mean) > PARTS)
    }

    /// How long to wait for an answer of `source` that usually takes no longer than `patience`, twice
    /// as long for each of `doublings`.
    pub(crate) fn timeout(&self, source: NodeId, patience: Duration, doublings: u8) -> Duration {
        let held = self.sources.iter().find(|it| it.source == source);
        let parts = held.map_or(PARTS, |it| u32::from(it.mean) + 4 * u32::from(it.deviation));
        let parts = parts.max(PARTS) << doublings.min(LONGEST.ilog2() as u8);
        patience * parts.min(LONGEST * PARTS) / PARTS
    }
}

impl Measured {
    fn with(self, sample: u16) -> Self {
        let error = self.mean.abs_diff(sample);
        let toward = |held: u16, to: u16, part: u16| match held <= to {
            true => held + (to - held) / part,
            false => held - (held - to).div_ceil(part),
        };
        Self {
            mean: toward(self.mean, sample, 8),
            deviation: toward(self.deviation, error, 4),
            ..self
        }
    }
}

/// A time in units of 1024 microseconds: all that is counted here fits 32 bits.
fn ticks(time: Duration) -> u32 {
    u32::try_from(micros(time) >> 10).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: NodeId = NodeId(2);
    const PATIENCE: Duration = Duration::from_millis(400);

    fn measured(percent: &[u32]) -> Latency {
        let mut latency = Latency::new(2, 8000);
        for percent in percent {
            latency.answered(NEAR, (PATIENCE * *percent / 100, PATIENCE), 100);
        }
        latency
    }

    #[test]
    fn a_source_that_takes_longer_is_waited_for_longer_and_one_that_does_not_as_long_as_usual() {
        assert_eq!(measured(&[]).timeout(NEAR, PATIENCE, 0), PATIENCE);
        assert_eq!(measured(&[50; 20]).timeout(NEAR, PATIENCE, 0), PATIENCE);
        let slow = measured(&[300; 20]);
        let wait = slow.timeout(NEAR, PATIENCE, 0);
        assert!((PATIENCE * 3..PATIENCE * 4).contains(&wait), "{wait:?}");
        assert!(slow.is_slow(NEAR) && !slow.is_slow(NodeId(3)));
        let unsteady = measured(&[100, 500, 100, 500, 100, 500]);
        assert!(
            unsteady.timeout(NEAR, PATIENCE, 0) > PATIENCE * 5,
            "it varies"
        );
        let again = measured(&[[300; 20], [50; 20], [50; 20]].concat());
        assert_eq!(
            again.timeout(NEAR, PATIENCE, 0),
            PATIENCE,
            "it has recovered"
        );
    }

    #[test]
    fn each_request_without_an_answer_is_waited_for_twice_as_long_up_to_a_limit() {
        let latency = measured(&[50; 20]);
        let waits = [0, 1, 2, 200].map(|doublings| latency.timeout(NEAR, PATIENCE, doublings));
        assert_eq!(waits, [1, 2, 4, 32].map(|times| PATIENCE * times));
    }

    #[test]
    fn late_answers_close_the_window_and_timely_ones_open_it() {
        assert_eq!(measured(&[]).window(), 1000);
        assert_eq!(measured(&[120, 200]).window(), 250);
        assert!(measured(&[200; 20]).window() == 0);
        assert_eq!(measured(&[200, 100, 50]).window(), 700);
        assert_eq!(measured(&[50; 5]).window(), 1000, "an eighth of the cache");
    }

    #[test]
    fn of_more_sources_than_fit_the_one_that_was_silent_longest_is_forgotten() {
        let mut latency = measured(&[300]);
        latency.answered(NodeId(3), (PATIENCE * 3, PATIENCE), 100);
        latency.answered(NEAR, (PATIENCE * 3, PATIENCE), 100);
        latency.answered(NodeId(4), (PATIENCE * 3, PATIENCE), 100);
        let slow = [2, 3, 4].map(|id| latency.is_slow(NodeId(id)));
        assert_eq!(slow, [true, false, true]);
        let mut none = Latency::new(0, 8000);
        none.answered(NEAR, (PATIENCE * 3, PATIENCE), 100);
        assert!(!none.is_slow(NEAR), "no room");
    }
}
