//! Churn: nodes that go down and come back.

use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The stream of a node's random numbers; those of scenarios are lower ones.
const STREAM: u64 = 1 << 40;

/// How nodes go down. One that comes back has an empty cache, the catalogue, and no memory of calls.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Churn {
    /// How often each node goes down in an hour, above 0.
    pub per_hour: f64,
    /// The shortest and the longest time for which it is down.
    pub down: (Duration, Duration),
}

/// A node goes down, or comes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Turn {
    pub(crate) at: Instant,
    pub(crate) node: NodeId,
    /// Whether it comes back.
    pub(crate) up: bool,
}

impl Churn {
    /// What happens to these nodes until the end, by time. A node is up for any time up to twice the
    /// mean.
    pub(crate) fn turns(
        &self,
        seed: u64,
        nodes: impl Iterator<Item = NodeId>,
        end: Instant,
    ) -> Vec<Turn> {
        let mean = Duration::from_secs(3600).as_micros() as f64 / self.per_hour;
        let longest = (2.0 * mean) as u64;
        let mut turns = Vec::new();
        for node in nodes {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(STREAM | u64::from(node.0));
            let mut at = Instant::ZERO;
            loop {
                at += Duration::from_micros(random.random_range(0..=longest));
                if at >= end {
                    break;
                }
                let up = false;
                turns.push(Turn { at, node, up });
                let (shortest, longest) = self.down;
                let down = shortest.as_micros() as u64..=longest.as_micros() as u64;
                at += Duration::from_micros(random.random_range(down));
                let up = true;
                turns.push(Turn { at, node, up });
            }
        }
        turns.sort_unstable();
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_goes_down_as_often_as_said_and_comes_back_each_time() {
        let churn = Churn {
            per_hour: 4.0,
            down: (Duration::from_secs(10), Duration::from_secs(60)),
        };
        let end = Instant::ZERO + Duration::from_secs(100 * 3600);
        let turns = churn.turns(1, (1..=3).map(NodeId), end);
        let down = turns.iter().filter(|turn| !turn.up).count();
        assert!((1080..1250).contains(&down), "{down}");
        for node in (1..=3).map(NodeId) {
            let own = turns.iter().filter(|turn| turn.node == node);
            assert!(
                own.zip([false, true].into_iter().cycle())
                    .all(|(turn, up)| turn.up == up)
            );
        }
        assert!(turns.is_sorted_by_key(|turn| turn.at));
        assert_ne!(turns, churn.turns(2, (1..=3).map(NodeId), end));
    }
}
