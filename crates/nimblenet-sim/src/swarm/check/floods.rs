//! Floods have a limit.

use std::collections::BTreeMap;

use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;

use super::{Checker, Finding, Sight};

/// The most floods that a node passes on in a second.
const MOST: u32 = 200;

/// Counts the floods that each node passes on, second by second.
#[derive(Default)]
pub(super) struct FloodRate {
    counts: BTreeMap<NodeId, (Instant, u32)>,
}

impl Checker for FloodRate {
    fn see(&mut self, now: Instant, sight: &Sight<'_>) -> Finding {
        if let Sight::Sent(node, frame, _) = sight
            && frame.origin != *node
            && frame.receiver == NodeId::EVERYONE
        {
            let (since, count) = self.counts.entry(*node).or_insert((now, 0));
            if now - *since >= Duration::from_secs(1) {
                (*since, *count) = (now, 0);
            }
            *count += 1;
            if *count > MOST {
                let (node, since) = (node.0, *since);
                return Err(format!(
                    "node {node} has passed on {count} floods since {since}"
                ));
            }
        }
        Ok(())
    }
}
