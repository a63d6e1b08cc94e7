//! Bytes neither vanish nor come from nowhere.

use std::collections::BTreeMap;

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;

use super::{Checker, End, Finding, Sight};

/// Counts bytes beside nodes and links.
#[derive(Default)]
pub(super) struct BytesConserved {
    /// What each node has sent in this life.
    sent: BTreeMap<NodeId, u64>,
    received: u64,
    injected: u64,
}

impl Checker for BytesConserved {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Sent(node, _, bytes) => *self.sent.entry(*node).or_default() += *bytes as u64,
            Sight::Received(bytes) => self.received += *bytes as u64,
            Sight::Injected(_, bytes) => self.injected += *bytes as u64,
            Sight::Rested(node) => {
                let counted = node.counters().sent_bytes();
                let sent = self.sent.get(&node.id()).copied().unwrap_or_default();
                if counted != sent {
                    let node = node.id().0;
                    return Err(format!(
                        "node {node} counts {counted} B; its link has {sent} B"
                    ));
                }
            }
            Sight::Down(node) => {
                self.sent.remove(node);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: Instant, end: &End<'_>) -> Finding {
        let mut delivered = 0;
        for (from, to, lane) in &end.balances {
            delivered += lane.delivered;
            if lane.sent + lane.doubled != lane.delivered + lane.lost + lane.on_way {
                return Err(format!("from node {} to node {}: {lane:?}", from.0, to.0));
            }
        }
        if self.received > delivered + self.injected {
            let received = self.received;
            return Err(format!(
                "nodes received {received} B; links gave {delivered} B"
            ));
        }
        Ok(())
    }
}
