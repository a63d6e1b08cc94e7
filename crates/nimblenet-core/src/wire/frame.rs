//! The frame header (spec/wire.md, section 2).

use nimblenet_tasklet::NodeId;

use crate::config::FULL;

use super::{CHECKED, CHECKSUM_LEN, Kind, Malformed, Message, Reader, Writer, check, checked};

/// Bytes before the body.
pub const HEADER_LEN: usize = 16;
/// Bytes that authentication adds: a counter before the body and a tag after it.
pub const OVERHEAD: usize = 12;
/// The TTL of a packet that may go anywhere (the paper's global search).
pub const MAX_TTL: u8 = 255;
/// Flag of frames that carry counter and tag.
pub const AUTHENTICATED: u8 = 0x01;

/// Flag of frames with [`unanswered`](Frame::unanswered).
pub const UNANSWERED: u8 = 0x04;

const VERSION: u8 = 1;

/// One frame on one link.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Frame<'a> {
    /// Hops that the packet may still travel after this link.
    pub ttl: u8,
    /// The node that put the frame on the link.
    pub sender: NodeId,
    /// The neighbour that is to receive it, or [`NodeId::EVERYONE`].
    pub receiver: NodeId,
    /// The node that created the packet.
    pub origin: NodeId,
    /// The node that the packet is for, or [`NodeId::EVERYONE`].
    pub destination: NodeId,
    /// The origin's packet number: rises with each packet, also over restarts.
    pub sequence: u32,
    /// Links travelled, this one included.
    pub hops: u8,
    /// Whether what the origin sent to the destination before was not answered, again and again: a link on the
    /// way may be dead.
    pub unanswered: bool,
    /// The content.
    pub message: Message<'a>,
}

impl<'a> Frame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`Malformed`] unless `bytes` are exactly one unauthenticated frame of this version, whose
    /// checksum is right if it has one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let flags = bytes.first().ok_or(Malformed)? & (AUTHENTICATED | CHECKED);
        let opened = match flags {
            0 => bytes.split_first_chunk(),
            CHECKED => checked(bytes),
            _ => None,
        };
        let (header, body) = opened.ok_or(Malformed)?;
        Self::parse_opened(header, body)
    }

    /// Reads a frame without counter, tag and checksum; if it had them, they were checked.
    pub(crate) fn parse_opened(
        header: &'a [u8; HEADER_LEN],
        body: &'a [u8],
    ) -> Result<Self, Malformed> {
        let mut reader = Reader(header);
        // spec/wire.md, section 2: frames with unknown flags are dropped.
        let flags = reader.u8()?;
        if flags & !(AUTHENTICATED | CHECKED | UNANSWERED) != VERSION << 4 {
            return Err(Malformed);
        }
        let ttl = reader.u8()?;
        let sender = NodeId(reader.u16()?);
        let receiver = NodeId(reader.u16()?);
        let origin = NodeId(reader.u16()?);
        let destination = NodeId(reader.u16()?);
        let sequence = reader.u32()?;
        let hops = reader.u8()?;
        let kind = Kind::from_number(reader.u8()?).ok_or(Malformed)?;
        // spec/wire.md, section 2: senders and origins are nodes, and hops is never 0.
        if sender == NodeId::EVERYONE || origin == NodeId::EVERYONE || hops == 0 {
            return Err(Malformed);
        }
        let message = Message::parse(kind, body)?;
        Ok(Self {
            ttl,
            sender,
            receiver,
            origin,
            destination,
            sequence,
            hops,
            unanswered: FULL && flags & UNANSWERED != 0,
            message,
        })
    }

    /// The bytes that [`emit`](Self::emit) writes.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.message.len()
    }

    /// Whether the frame has no bytes; none has.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the frame to the start of `out` and returns its length; nothing if `out` is
    /// shorter than that.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let (header, body) = out.split_at_mut_checked(HEADER_LEN)?;
        let len = self.message.emit(body)?;
        let mut writer = Writer { out: header, at: 0 };
        let flags = if FULL && self.unanswered {
            UNANSWERED
        } else {
            0
        };
        writer.u8(VERSION << 4 | flags);
        writer.u8(self.ttl);
        writer.u16(self.sender.0);
        writer.u16(self.receiver.0);
        writer.u16(self.origin.0);
        writer.u16(self.destination.0);
        writer.u32(self.sequence);
        writer.u8(self.hops);
        writer.u8(self.message.kind() as u8);
        Some(HEADER_LEN + len)
    }

    /// Writes the frame with a checksum, as it is on links that have none of their own; else as
    /// [`emit`](Self::emit) does.
    pub fn emit_checked(&self, out: &mut [u8]) -> Option<usize> {
        let room = out.len().checked_sub(CHECKSUM_LEN)?;
        let len = self.emit(&mut out[..room])?;
        Some(check(out, len))
    }
}
