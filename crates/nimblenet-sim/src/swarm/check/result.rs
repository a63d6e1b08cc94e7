//! Calls give back what they got.

use std::collections::BTreeMap;

use nimblenet_core::{CallId, Event, Instant};
use nimblenet_tasklet::NodeId;

use super::{Checker, Finding, Sight};

/// The first token: numbers from here on are encoded in five bytes.
pub(in crate::swarm) const FIRST_TOKEN: u32 = 1 << 20;

/// The arguments, and the result, of the call with this token: a CBOR array with one number.
pub(in crate::swarm) fn value(token: u32) -> [u8; 6] {
    let [a, b, c, d] = token.to_be_bytes();
    [0x81, 0x1a, a, b, c, d]
}

/// The token of these arguments or this result.
pub(in crate::swarm) fn token(value: &[u8]) -> Option<u32> {
    match *value {
        [0x81, 0x1a, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// Compares results with arguments.
#[derive(Default)]
pub(super) struct RightResult {
    asked: BTreeMap<(NodeId, CallId), u32>,
}

impl Checker for RightResult {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Asked(asked) => {
                if let Ok(call) = asked.taken {
                    self.asked.insert((asked.node, call), asked.token);
                }
            }
            Sight::Event(node, Event::Finished { call, result, .. }) => {
                let asked = self.asked.remove(&(*node, *call));
                if let (Some(asked), Ok(result)) = (asked, result)
                    && token(result) != Some(asked)
                {
                    let node = node.0;
                    return Err(format!(
                        "call {asked} of node {node} has the result {result:02x?}"
                    ));
                }
            }
            Sight::Down(node) => self.asked.retain(|(asked, _), _| asked != node),
            _ => {}
        }
        Ok(())
    }
}
