//! Acknowledgement: a frame has arrived (spec/wire.md, section 14).

use super::{Malformed, Reader, Writer};

/// Says that a frame has arrived; the header has the origin and the number of its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack;

impl Ack {
    pub(super) fn len(&self) -> usize {
        0
    }

    pub(super) fn parse(_: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self)
    }

    pub(super) fn emit(&self, _: &mut Writer<'_>) {}
}
