//! Repetition on lossy links: frames that the next hop has not acknowledged yet (spec/behaviour.md,
//! section 5).

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::config::{LinkAddress, LinkId};
use crate::time::Instant;
use crate::wire::{Kind, note_repeated};

/// A frame is repeated after this many times the time of a hop: there and back, and half as much.
const REPEAT_AFTER: u32 = 3;

/// A packet: its origin and its number.
pub(super) type Packet = (NodeId, u32);

/// The frames of a node that wait for acknowledgements.
#[derive(Debug)]
pub(super) struct Repeats {
    /// A free place has no repetitions left and no deadline.
    frames: Vec<Waiting>,
    after: Duration,
}

/// A frame that may have to be repeated.
#[derive(Debug)]
pub(super) struct Waiting {
    packet: Packet,
    pub(super) to: NodeId,
    pub(super) link: LinkId,
    pub(super) address: LinkAddress,
    /// When it is repeated, or given up; none in a free place.
    due: Option<Instant>,
    left: u8,
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

impl Repeats {
    /// Room for `places` frames of at most `mtu` bytes, on links where a hop takes `hop`.
    pub(super) fn new(places: usize, mtu: u16, hop: Duration) -> Self {
        let place = || Waiting {
            packet: (NodeId::EVERYONE, 0),
            to: NodeId::EVERYONE,
            link: LinkId(0),
            address: LinkAddress(0),
            due: None,
            left: 0,
            kind: Kind::Data,
            bytes: Vec::with_capacity(mtu.into()),
        };
        Self {
            frames: (0..places).map(|_| place()).collect(),
            after: hop * REPEAT_AFTER,
        }
    }

    /// A frame goes to a neighbour, and is repeated `times` times unless it is acknowledged; only once
    /// if too many wait.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        packet: Packet,
        (to, link, address): (NodeId, LinkId, LinkAddress),
        times: u8,
        (kind, frame): (Kind, &[u8]),
    ) {
        let free = self.frames.iter_mut().find(|it| it.due.is_none());
        if let Some(place) = free.filter(|it| it.bytes.capacity() >= frame.len()) {
            (place.packet, place.left) = (packet, times);
            (place.to, place.link, place.address) = (to, link, address);
            place.due = Some(now + self.after);
            place.kind = kind;
            place.bytes.clear();
            place.bytes.extend_from_slice(frame);
            if kind == Kind::Call {
                note_repeated(&mut place.bytes);
            }
        }
    }

    /// A neighbour has got a packet.
    pub(super) fn acknowledge(&mut self, from: NodeId, packet: Packet) {
        let waiting = self.frames.iter_mut();
        for place in waiting.filter(|it| it.to == from && it.packet == packet) {
            place.due = None;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.frames.iter().filter_map(|place| place.due).min()
    }

    /// A frame that is to be repeated now, or an error with the neighbour that has not acknowledged one
    /// that was repeated often enough.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Result<&Waiting, NodeId>> {
        let mut waiting = self.frames.iter_mut();
        let place = waiting.find(|it| it.due.is_some_and(|due| due <= now))?;
        if place.left == 0 {
            place.due = None;
            return Some(Err(place.to));
        }
        place.left -= 1;
        place.due = Some(now + self.after);
        Some(Ok(place))
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::TaskletName;

    use super::*;
    use crate::wire::{Call, Frame, Message, Passes};

    const HOP: Duration = Duration::from_millis(100);
    const TO: (NodeId, LinkId, LinkAddress) = (NodeId(2), LinkId(0), LinkAddress(2));

    #[test]
    fn a_frame_is_repeated_until_it_is_acknowledged_or_was_repeated_often_enough() {
        let mut now = Instant::from_micros(5);
        let mut repeats = Repeats::new(2, 200, HOP);
        repeats.hold(now, (NodeId(1), 7), TO, 2, (Kind::Data, b"seven"));
        repeats.hold(now, (NodeId(1), 8), TO, 2, (Kind::Data, b"eight"));
        repeats.hold(now, (NodeId(1), 9), TO, 2, (Kind::Data, b"one too many"));
        assert!(repeats.poll(now).is_none());
        repeats.acknowledge(NodeId(3), (NodeId(1), 7));
        repeats.acknowledge(NodeId(2), (NodeId(1), 8));
        for _ in 0..2 {
            now = repeats.poll_timeout().unwrap();
            let frame = repeats.poll(now).unwrap().unwrap();
            assert_eq!((&frame.bytes[..], frame.to), (&b"seven"[..], NodeId(2)));
            assert!(repeats.poll(now).is_none());
        }
        now = repeats.poll_timeout().unwrap();
        assert_eq!(repeats.poll(now).map(Result::err), Some(Some(NodeId(2))));
        assert_eq!(repeats.poll_timeout(), None);
    }

    #[test]
    fn a_call_that_is_repeated_says_that_it_was_asked_before() {
        let now = Instant::from_micros(5);
        let mut repeats = Repeats::new(1, 200, HOP);
        let call = Call {
            request: 7,
            deadline_ms: 1000,
            run: 0,
            asked_ds: 0,
            oldest: 0,
            passes: Passes::PINNED,
            name: TaskletName::new("shop/add").unwrap(),
            export: "",
            args: &[0x80],
        };
        let frame = Frame {
            ttl: 3,
            sender: NodeId(1),
            receiver: NodeId(2),
            origin: NodeId(1),
            destination: NodeId(2),
            sequence: 9,
            hops: 1,
            unanswered: false,
            message: Message::Call(call),
        };
        let mut bytes = [0; 100];
        let len = frame.emit(&mut bytes).unwrap();
        repeats.hold(now, (NodeId(1), 9), TO, 1, (Kind::Call, &bytes[..len]));
        let due = repeats.poll_timeout().unwrap();
        let repeated = repeats.poll(due).unwrap().unwrap();
        let asked_ds = 1;
        let message = Message::Call(Call { asked_ds, ..call });
        let expected = Frame { message, ..frame };
        assert_eq!(Frame::parse(&repeated.bytes), Ok(expected));
    }
}
