//! What is cancelled ends at once, and nobody is told of it for ever.

use nimblenet_core::{CallId, Event, Instant};
use nimblenet_tasklet::{Fault, NodeId};

use super::{Checker, End, Finding, Sight};

/// Follows the cancellation of a call.
#[derive(Default)]
pub(super) struct Cancelled {
    /// The call that a node is being told to cancel.
    now: Option<(NodeId, CallId)>,
    /// Calls that must end as cancelled, since their node has been told.
    told: Vec<(NodeId, CallId)>,
}

impl Checker for Cancelled {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Cancels(node, call) => self.now = call.map(|call| (*node, call)),
            Sight::Event(node, Event::Finished { call, result, .. }) => {
                let ends = (*node, *call);
                if self.now == Some(ends) && result.err() != Some(Fault::Cancelled) {
                    return Err(format!(
                        "call {} of node {} is cancelled and ends as {result:?}",
                        call.0, node.0
                    ));
                }
                if self.told.contains(&ends) {
                    return Err(format!(
                        "call {} of node {} ends after it was cancelled",
                        call.0, node.0
                    ));
                }
                if result.err() == Some(Fault::Cancelled) {
                    self.told.push(ends);
                }
            }
            Sight::Down(node) => self.told.retain(|(of, _)| of != node),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: Instant, end: &End<'_>) -> Finding {
        let telling = end.nodes.iter().find(|node| node.withdrawn() > 0);
        telling.map_or(Ok(()), |node| {
            let (id, calls) = (node.id().0, node.withdrawn());
            Err(format!("node {id} still tells of {calls} cancelled calls"))
        })
    }
}
