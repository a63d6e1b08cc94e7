//! Calls succeed when nothing is in their way.

use std::collections::BTreeMap;

use nimblenet_core::{CallId, Event, Instant};
use nimblenet_tasklet::NodeId;

use super::{Checker, Finding, Sight};

/// Follows the calls that the trial makes after all has been calm for a while.
#[derive(Default)]
pub(super) struct Served {
    open: BTreeMap<(NodeId, CallId), u32>,
}

impl Checker for Served {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Asked(asked) if asked.must_succeed => match asked.taken {
                Ok(call) => {
                    self.open.insert((asked.node, call), asked.token);
                }
                Err(fault) => {
                    return Err(format!(
                        "node {} refuses call {}: {fault}",
                        asked.node.0, asked.token
                    ));
                }
            },
            Sight::Event(node, Event::Finished { call, result, .. }) => {
                let asked = self.open.remove(&(*node, *call));
                if let (Some(token), Err(fault)) = (asked, result) {
                    return Err(format!("call {token} of node {} fails: {fault}", node.0));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
