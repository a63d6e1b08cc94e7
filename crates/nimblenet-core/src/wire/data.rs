//! Data: one part of an object (spec/wire.md, section 6).

use super::{Malformed, Reader, Writer};

/// One part.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Data<'a> {
    /// From the fetch.
    pub request: u16,
    /// Which version of the object: a catalogue's epoch, a module's sequence number. Parts of
    /// different versions do not belong together.
    pub version: u32,
    /// Length of the whole object in bytes.
    pub total: u32,
    /// Where the part starts.
    pub offset: u32,
    /// The part.
    pub bytes: &'a [u8],
}

impl<'a> Data<'a> {
    /// Bytes of a data message besides the part itself.
    pub const FIXED_LEN: usize = 14;

    pub(super) fn len(&self) -> usize {
        Self::FIXED_LEN + self.bytes.len()
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (request, version) = (reader.u16()?, reader.u32()?);
        let (total, offset, bytes) = (reader.u32()?, reader.u32()?, reader.rest());
        // spec/wire.md, section 6: the part is not empty and lies within the whole.
        let end = offset.checked_add(bytes.len() as u32).ok_or(Malformed)?;
        if end > total || bytes.is_empty() {
            return Err(Malformed);
        }
        Ok(Self {
            request,
            version,
            total,
            offset,
            bytes,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u16(self.request);
        writer.u32(self.version);
        writer.u32(self.total);
        writer.u32(self.offset);
        writer.bytes(self.bytes);
    }
}
