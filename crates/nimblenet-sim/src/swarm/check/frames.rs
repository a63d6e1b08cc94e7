//! Each packet passes a node once.

use std::collections::HashMap;

use nimblenet_core::Instant;
use nimblenet_core::wire::{Frame, Message};
use nimblenet_tasklet::NodeId;

use super::{Checker, Finding, Sight};

/// A packet: origin, number, and a hash of what does not change on its way.
type Packet = (NodeId, u32, u64);

/// Counts how often each node sends each packet. A packet is as often in the mesh as its origin, or an
/// intruder, has put it there; a node passes it on as often at most, and repeats a frame for one neighbour
/// as often as its links allow. Acknowledgements have the number of what they acknowledge, and go no further.
#[derive(Default)]
pub(super) struct FrameOnce {
    repeats: u32,
    made: HashMap<Packet, u32>,
    sent: HashMap<(NodeId, Packet), u32>,
}

fn packet(frame: &Frame<'_>) -> Packet {
    let mut content = [0; 4096];
    // Nodes on the way write the frame size of the route into these.
    let written = match &frame.message {
        Message::Search(_) | Message::Offer(_) => None,
        message => message.emit(&mut content),
    };
    let kind = frame.message.kind() as u8;
    let bytes = content[..written.unwrap_or_default()].iter();
    let hash = bytes
        .chain([&kind])
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    (frame.origin, frame.sequence, hash)
}

impl Checker for FrameOnce {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Begins(trial) => {
                self.repeats = trial.mesh.as_ref().map_or(0, |mesh| mesh.repeats.into());
            }
            Sight::Sent(_, frame, _) if matches!(frame.message, Message::Ack(_)) => {}
            Sight::Sent(node, frame, _) if *node == frame.origin => {
                *self.made.entry(packet(frame)).or_default() += 1;
            }
            Sight::Injected(Some(frame), _) => *self.made.entry(packet(frame)).or_default() += 1,
            Sight::Sent(node, frame, _) => {
                let packet = packet(frame);
                let sent = self.sent.entry((*node, packet)).or_default();
                *sent += 1;
                // A frame with a wrong bit is nobody's.
                let made = self.made.get(&packet).copied().unwrap_or(1);
                let times = match frame.receiver {
                    NodeId::EVERYONE => 1,
                    _ => 1 + self.repeats,
                };
                if *sent > made * times {
                    let (kind, number) = (frame.message.kind().name(), frame.sequence);
                    let (node, origin) = (node.0, frame.origin.0);
                    return Err(format!(
                        "node {node} sends packet {number} of node {origin} ({kind}) {sent} times; \
                         it was made {made} times"
                    ));
                }
            }
            // It has forgotten what it has passed on.
            Sight::Down(node) => self.sent.retain(|(sender, _), _| sender != node),
            _ => {}
        }
        Ok(())
    }
}
