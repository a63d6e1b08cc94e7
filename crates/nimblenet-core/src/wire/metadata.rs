//! Metadata: a holder tells the size and digest of a module (Algorithm 1, line 22; spec/wire.md,
//! section 5).
//!
//! A node with a catalogue needs neither; with [`ask_metadata`](crate::AcquisitionConfig::ask_metadata)
//! it asks all the same, as the paper does.

use nimblenet_tasklet::{Digest, TaskletRef};

use super::{Malformed, Reader, Writer};

/// Asks a holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetadataRequest {
    /// What about.
    pub tasklet: TaskletRef,
    /// Returned with the answer.
    pub request: u16,
}

impl MetadataRequest {
    pub(super) fn len(&self) -> usize {
        10
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            tasklet: reader.tasklet()?,
            request: reader.u16()?,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.tasklet(self.tasklet);
        writer.u16(self.request);
    }
}

/// A holder's answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Metadata<'a> {
    /// From the request.
    pub request: u16,
    /// The module's length in bytes.
    pub size: u32,
    /// The module's digest.
    pub digest: &'a [u8; 32],
}

impl<'a> Metadata<'a> {
    pub(super) fn len(&self) -> usize {
        38
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (request, size) = (reader.u16()?, reader.u32()?);
        let digest = reader.take(32)?.try_into().map_err(|_| Malformed)?;
        Ok(Self {
            request,
            size,
            digest,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u16(self.request);
        writer.u32(self.size);
        writer.bytes(self.digest);
    }

    /// The digest.
    pub fn digest(&self) -> Digest {
        Digest(*self.digest)
    }
}
