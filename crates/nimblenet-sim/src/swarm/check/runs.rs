//! No call runs twice.

use std::collections::BTreeMap;

use nimblenet_core::Instant;
use nimblenet_tasklet::{NodeId, Work};

use super::result::token;
use super::{Checker, Finding, Sight};

/// Notes where each call has begun to run: its first tasklet is the one that nobody has called.
#[derive(Default)]
pub(super) struct RunsOnce {
    begun: BTreeMap<u32, NodeId>,
}

impl Checker for RunsOnce {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        if let Sight::Worked(node, Work::Start(start)) = sight
            && start.parent.is_none()
            && let Some(token) = token(start.args)
            && let Some(before) = self.begun.insert(token, *node)
        {
            return Err(format!(
                "call {token} runs at node {} after it has run at node {}",
                node.0, before.0
            ));
        }
        Ok(())
    }
}
