//! Move, offer and go: a running job continues at another node (spec/wire.md, section 10).
//!
//! The node that waits for a call may ask for the move; the node that runs the call makes the offer.
//! The other node prepares the job and reports it ready with a number; it runs the job only after the
//! go with that number, and the node that sent the go never runs the job again. So no job runs twice,
//! even if messages are lost, doubled or late, or nodes restart.

use core::num::NonZeroU32;

use nimblenet_tasklet::{Digest, NodeId};

use super::{Malformed, Reader, Writer};

/// Asks the node that runs a call to move it. Repeated until it is answered by a return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// The call's request number.
    pub request: u32,
    /// The node that is to run it; [`NodeId::EVERYONE`] if none is, since the call was cancelled.
    pub to: NodeId,
}

impl Move {
    /// Whether it says that nobody wants the call any more.
    pub(crate) fn is_nowhere(self) -> bool {
        self.to == NodeId::EVERYONE
    }

    pub(super) fn len(&self) -> usize {
        6
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            request: reader.u32()?,
            to: NodeId(reader.u16()?),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        writer.u16(self.to.0);
    }
}

/// Offers a frozen job. Repeated until it is answered by a return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Returned with the answer; the origin uses it for no other offer or call, over restarts too.
    pub request: u32,
    /// How long the job may still take, in milliseconds; [`Offer::NO_DEADLINE`] for any time.
    pub deadline_ms: u32,
    /// The node for which the origin runs the job, and the request number: a node that is offered its
    /// own call takes it back. [`NodeId::EVERYONE`] and 0 if no node waits for it.
    pub caller: (NodeId, u32),
    /// The smallest frame size on the route so far; each sender and forwarder lowers it to that of its
    /// link.
    pub mtu: u16,
    /// The image's length in bytes.
    pub size: u32,
    /// The image's SHA-256 digest.
    pub digest: Digest,
}

impl Offer {
    /// The deadline of a job that has none.
    pub const NO_DEADLINE: u32 = u32::MAX;

    pub(super) fn len(&self) -> usize {
        4 + 4 + 2 + 4 + 2 + 4 + 32
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            request: reader.u32()?,
            deadline_ms: reader.u32()?,
            caller: (NodeId(reader.u16()?), reader.u32()?),
            mtu: reader.u16()?,
            size: reader.u32()?,
            digest: Digest(reader.array()?),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        writer.u32(self.deadline_ms);
        writer.u16(self.caller.0.0);
        writer.u32(self.caller.1);
        writer.u16(self.mtu);
        writer.u32(self.size);
        writer.bytes(&self.digest.0);
    }
}

/// The number under which a node is ready to run a job that it was offered: that of the packet that
/// says so first, which no other life of the node has. Frames spell "no number" as 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GoNumber(NonZeroU32);

impl GoNumber {
    /// The number `number`; none if that is 0.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number as an integer.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The number as frames spell it.
    pub(super) fn or_zero(number: Option<Self>) -> u32 {
        number.map_or(0, Self::get)
    }
}

/// Lets a node that is ready run the job that it was offered, and asks for the state of the job.
/// Repeated until it is answered by a return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Go {
    /// From the offer.
    pub request: u32,
    /// The number with which the node reported the job ready.
    pub number: GoNumber,
}

impl Go {
    pub(super) fn len(&self) -> usize {
        8
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let request = reader.u32()?;
        // spec/wire.md, section 10: the number is not 0.
        let number = GoNumber::new(reader.u32()?).ok_or(Malformed)?;
        Ok(Self { request, number })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        writer.u32(self.number.get());
    }
}
