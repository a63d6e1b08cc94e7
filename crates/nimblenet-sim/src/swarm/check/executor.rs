//! Who does nothing runs nothing.

use std::collections::BTreeMap;

use nimblenet_core::Instant;
use nimblenet_tasklet::{ActivationId, Answer, NodeId, Work};

use super::{Checker, Finding, Sight};

/// Follows what executors were told to hold, until they were told to forget it or it has ended. A run
/// that works cannot be told to stop before it has answered.
#[derive(Default)]
pub(super) struct ExecutorEmpty {
    /// Whether each run works.
    held: BTreeMap<NodeId, BTreeMap<ActivationId, bool>>,
}

impl ExecutorEmpty {
    fn worked(&mut self, node: NodeId, work: &Work<'_>) {
        let held = self.held.entry(node).or_default();
        match work {
            Work::Start(start) | Work::Thaw { start, .. } => {
                held.insert(start.activation, true);
            }
            Work::Continue { activation }
            | Work::Resume { activation, .. }
            | Work::Freeze { activation, .. } => {
                held.insert(*activation, true);
            }
            Work::Stop { activation } => {
                held.remove(activation);
            }
            Work::Verify { .. } => {}
        }
    }

    fn answered(&mut self, node: NodeId, answer: &Answer<Vec<u8>>) {
        let held = self.held.entry(node).or_default();
        match answer {
            Answer::Done { activation, .. }
            | Answer::Failed { activation, .. }
            | Answer::Frozen { activation, .. }
            | Answer::NoRoom { activation } => {
                held.remove(activation);
            }
            Answer::Called { activation, .. }
            | Answer::Yielded { activation, .. }
            | Answer::NotFrozen { activation, .. } => {
                if let Some(works) = held.get_mut(activation) {
                    *works = false;
                }
            }
            Answer::Verified { .. } => {}
        }
    }
}

impl Checker for ExecutorEmpty {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Worked(node, work) => self.worked(*node, work),
            Sight::Answered(node, answer) => self.answered(*node, answer),
            Sight::Rested(node) if node.jobs() == 0 => {
                let held = self.held.get(&node.id()).into_iter().flatten();
                let idle = held.filter(|(_, works)| !**works).count();
                if idle > 0 {
                    let node = node.id().0;
                    return Err(format!(
                        "node {node} has no jobs; its executors hold {idle} runs"
                    ));
                }
            }
            Sight::Down(node) => {
                self.held.remove(node);
            }
            _ => {}
        }
        Ok(())
    }
}
