//! Refuse: a request that cannot be served (spec/wire.md, section 7).

use super::{Malformed, Reader, Writer};

/// Why a request is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Refusal {
    /// The sender does not hold it (any more).
    Gone = 1,
    /// The sender serves as many requests as it may.
    Busy = 2,
    /// The offset or part size makes no sense.
    BadRange = 3,
}

/// The answer to a request that cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refuse {
    /// From the request.
    pub request: u16,
    /// Why.
    pub refusal: Refusal,
}

impl Refuse {
    pub(super) fn len(&self) -> usize {
        3
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let request = reader.u16()?;
        let refusal = match reader.u8()? {
            1 => Refusal::Gone,
            2 => Refusal::Busy,
            3 => Refusal::BadRange,
            _ => return Err(Malformed),
        };
        Ok(Self { request, refusal })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u16(self.request);
        writer.u8(self.refusal as u8);
    }
}
