//! Move, offer and go: a running job goes on at another node.
//!
//! Whoever waits for a call may ask for the move; the node that runs the call makes the offer. The
//! other node gets the image ready to run and says so with a number; only the go with that number
//! lets it run, and whoever has said go never runs the job again. That is what keeps a job from
//! running twice, whatever is lost, doubled, late or restarted.

use nimblenet_tasklet::{Digest, NodeId};

use super::{Malformed, Reader, Writer};

/// Asks the node that runs a call to move it. Repeated until it is answered by a return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// The call's request number.
    pub request: u32,
    /// The node that is to run it.
    pub to: NodeId,
}

impl Move {
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
    /// Whom the origin runs the job for, and under which request number: a node to which its own
    /// call is offered takes it back. [`NodeId::EVERYONE`] and 0 if no node waits for it.
    pub caller: (NodeId, u32),
    /// The smallest frame size on the way; each forwarder lowers it to that of its link.
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

/// Lets a node that is ready run the job that it was offered, and asks how the job stands.
/// Repeated until it is answered by a return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Go {
    /// From the offer.
    pub request: u32,
    /// The number under which the node said that it is ready, not 0.
    pub number: u32,
}

impl Go {
    pub(super) fn len(&self) -> usize {
        8
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (request, number) = (reader.u32()?, reader.u32()?);
        if number == 0 {
            return Err(Malformed);
        }
        Ok(Self { request, number })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        writer.u32(self.number);
    }
}
