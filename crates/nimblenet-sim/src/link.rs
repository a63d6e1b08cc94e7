//! Links with faults.

use core::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How a link treats frames.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkModel {
    /// The time that a frame takes.
    pub delay: Duration,
    /// Additional time, random between zero and this; more than the gap between frames reorders
    /// them.
    pub jitter: Duration,
    /// Share of frames lost.
    pub loss: f64,
    /// Share of frames that arrive twice.
    pub duplication: f64,
}

impl LinkModel {
    /// Every frame arrives once, in order, after `delay`.
    pub const fn perfect(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
        }
    }

    /// The paper's hop: 100 ms one way.
    pub const PAPER: Self = Self::perfect(Duration::from_millis(100));

    /// How long each copy of one frame takes; none if it is lost.
    pub fn arrivals(&self, random: &mut ChaCha8Rng) -> impl Iterator<Item = Duration> + use<> {
        let copies = if chance(random, self.loss) {
            0
        } else {
            1 + usize::from(chance(random, self.duplication))
        };
        let arrivals = [0, 1].map(|_| self.delay + self.jitter.mul_f64(unit(random)));
        arrivals.into_iter().take(copies)
    }
}

fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u32() as f64) / f64::from(u32::MAX)
}

fn chance(random: &mut ChaCha8Rng, share: f64) -> bool {
    share > 0.0 && unit(random) < share
}
