//! Each call ends, and once.

use std::collections::BTreeMap;

use nimblenet_core::{CallId, Event, Instant};
use nimblenet_tasklet::NodeId;

use super::{Checker, End, Finding, Sight};

/// Follows calls from the node's word that it takes them to their end.
#[derive(Default)]
pub(super) struct CallEnds {
    open: BTreeMap<(NodeId, CallId), (u32, Instant)>,
    /// Those that have ended.
    ended: BTreeMap<(NodeId, CallId), u32>,
}

impl CallEnds {
    fn late(&self, now: Instant, node: Option<NodeId>) -> Finding {
        let mut open = self.open.iter();
        let late =
            open.find(|((of, _), (_, until))| *until < now && node.is_none_or(|it| it == *of));
        late.map_or(Ok(()), |((node, _), (token, until))| {
            Err(format!(
                "call {token} of node {} should have ended at {until}",
                node.0
            ))
        })
    }
}

impl Checker for CallEnds {
    fn see(&mut self, now: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Asked(asked) => {
                if let Ok(call) = asked.taken {
                    let call = (asked.node, call);
                    // A call may end before its number is known to the one who asked.
                    if self.ended.insert(call, asked.token).is_none() {
                        self.ended.remove(&call);
                        self.open.insert(call, (asked.token, asked.until));
                    }
                }
            }
            Sight::Event(node, Event::Finished { call, .. }) => {
                let call = (*node, *call);
                let token = self.open.remove(&call).map_or(0, |(token, _)| token);
                if let Some(token) = self.ended.insert(call, token) {
                    return Err(format!("call {token} of node {} ends twice", node.0));
                }
            }
            Sight::Rested(node) => return self.late(now, Some(node.id())),
            Sight::Down(node) => {
                self.open.retain(|(of, _), _| of != node);
                self.ended.retain(|(of, _), _| of != node);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, now: Instant, _: &End<'_>) -> Finding {
        self.late(now, None)
    }
}
