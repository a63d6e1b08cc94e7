//! Found: the answer to a search (spec/wire.md, section 4).

use super::{Malformed, Reader, Writer};

/// The sender holds what the search asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// From the search.
    pub request: u16,
    /// The smallest frame size on the route of the search, in bytes.
    pub mtu: u16,
    /// The module's length in bytes.
    pub size: u32,
}

impl Found {
    pub(super) fn len(&self) -> usize {
        8
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            request: reader.u16()?,
            mtu: reader.u16()?,
            size: reader.u32()?,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u16(self.request);
        writer.u16(self.mtu);
        writer.u32(self.size);
    }
}
