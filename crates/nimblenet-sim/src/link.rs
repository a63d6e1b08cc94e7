//! Links with faults.

use core::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How a link treats frames.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkModel {
    /// The time that a frame takes from the end of its transmission to its arrival.
    pub delay: Duration,
    /// Additional time, random between zero and this; more than the gap between frames reorders
    /// them.
    pub jitter: Duration,
    /// Share of frames lost, each by itself.
    pub loss: f64,
    /// Frames lost in bursts, besides those.
    pub bursts: Option<Bursts>,
    /// Share of frames that arrive twice.
    pub duplication: f64,
    /// Share of frames of which one bit arrives wrong.
    pub corruption: f64,
    /// How fast frames leave; none if their transmission takes no time.
    pub bandwidth: Option<Bandwidth>,
    /// The longest frame in bytes; longer ones are lost.
    pub mtu: usize,
}

/// Loss in bursts: the link is good or bad, and may change with each frame (Gilbert and Elliott's
/// model).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bursts {
    /// Chance that a good link becomes bad, for each frame.
    pub begin: f64,
    /// Chance that a bad link becomes good, for each frame.
    pub end: f64,
    /// Share of frames lost while it is bad.
    pub loss: f64,
}

/// A link that takes time to transmit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bandwidth {
    /// Bits in a second, at least 1.
    pub bits_per_s: u32,
    /// Bytes that may wait for their transmission; frames beyond are lost.
    pub queue_bytes: u32,
    /// Bytes that each frame has besides those of the node: preamble, link header, checksum.
    pub header_bytes: u32,
}

/// What a link does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It arrives once or twice.
    Arrives([Option<Arrival>; 2]),
    /// It is lost on the way.
    Lost,
    /// It is longer than the link's frames.
    TooLong,
}

/// One arrival of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrival {
    /// After the end of its transmission.
    pub(crate) after: Duration,
    /// A number that chooses the bit that is wrong.
    pub(crate) wrong: Option<u32>,
}

impl LinkModel {
    /// Every frame arrives once, in order, after `delay`.
    pub const fn perfect(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            bursts: None,
            duplication: 0.0,
            corruption: 0.0,
            bandwidth: None,
            mtu: usize::MAX,
        }
    }

    /// The paper's hop: 100 ms one way.
    pub const PAPER: Self = Self::perfect(Duration::from_millis(100));

    /// Decides on a frame of `len` bytes; `bad` is the state of a link with [`Bursts`].
    pub(crate) fn fate(&self, len: usize, bad: &mut bool, random: &mut ChaCha8Rng) -> Fate {
        if len > self.mtu {
            return Fate::TooLong;
        }
        if let Some(Bursts { begin, end, loss }) = self.bursts {
            *bad ^= chance(random, if *bad { end } else { begin });
            if *bad && chance(random, loss) {
                return Fate::Lost;
            }
        }
        if chance(random, self.loss) {
            return Fate::Lost;
        }
        let second = chance(random, self.duplication);
        let mut arrival = || {
            let jitter = match self.jitter {
                Duration::ZERO => Duration::ZERO,
                jitter => jitter.mul_f64(unit(random)),
            };
            Arrival {
                after: self.delay + jitter,
                wrong: chance(random, self.corruption).then(|| random.next_u32()),
            }
        };
        Fate::Arrives([Some(arrival()), second.then(arrival)])
    }
}

impl Bandwidth {
    /// How long a frame of `len` bytes takes to leave.
    pub(crate) fn transmission(&self, len: usize) -> Duration {
        let bits = (len as u64 + u64::from(self.header_bytes)) * 8;
        Duration::from_micros(bits * 1_000_000 / u64::from(self.bits_per_s.max(1)))
    }

    /// Whether the queue is full when its last frame leaves after `wait`.
    pub(crate) fn is_full(&self, wait: Duration) -> bool {
        let bits = wait.as_micros() as u64 * u64::from(self.bits_per_s) / 1_000_000;
        bits / 8 > u64::from(self.queue_bytes)
    }
}

fn unit(random: &mut ChaCha8Rng) -> f64 {
    f64::from(random.next_u32()) / f64::from(u32::MAX)
}

fn chance(random: &mut ChaCha8Rng, share: f64) -> bool {
    share > 0.0 && unit(random) < share
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn count(model: LinkModel, is: impl Fn(Fate) -> bool) -> usize {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut bad = false;
        let fates = (0..10_000).map(|_| model.fate(100, &mut bad, &mut random));
        fates.filter(|fate| is(*fate)).count()
    }

    #[test]
    fn each_fault_happens_as_often_as_the_model_says() {
        let perfect = LinkModel::PAPER;
        let is_lost = |fate| fate == Fate::Lost;
        assert_eq!(count(perfect, is_lost), 0);
        let lossy = count(
            LinkModel {
                loss: 0.1,
                ..perfect
            },
            is_lost,
        );
        assert!((900..1100).contains(&lossy), "{lossy}");
        let bursts = Bursts {
            begin: 0.01,
            end: 0.09,
            loss: 0.5,
        };
        let bursty = LinkModel {
            bursts: Some(bursts),
            ..perfect
        };
        // The link is bad for a tenth of the time.
        let lost = count(bursty, is_lost);
        assert!((300..700).contains(&lost), "{lost}");
        let doubling = LinkModel {
            duplication: 0.2,
            ..perfect
        };
        let twice = count(doubling, |fate| matches!(fate, Fate::Arrives([_, Some(_)])));
        assert!((1800..2200).contains(&twice), "{twice}");
        let wrong = LinkModel {
            corruption: 0.3,
            ..perfect
        };
        let is_wrong =
            |fate| matches!(fate, Fate::Arrives([Some(first), _]) if first.wrong.is_some());
        let wrong = count(wrong, is_wrong);
        assert!((2800..3200).contains(&wrong), "{wrong}");
        let short = LinkModel { mtu: 99, ..perfect };
        assert_eq!(count(short, |fate| fate == Fate::TooLong), 10_000);
    }

    #[test]
    fn a_narrow_link_takes_a_time_for_each_byte_and_lets_few_wait() {
        let narrow = Bandwidth {
            bits_per_s: 250_000,
            queue_bytes: 500,
            header_bytes: 25,
        };
        assert_eq!(narrow.transmission(100), Duration::from_millis(4));
        assert!(!narrow.is_full(narrow.transmission(475)));
        assert!(narrow.is_full(narrow.transmission(477)));
    }
}
