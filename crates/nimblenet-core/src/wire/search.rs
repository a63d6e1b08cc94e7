//! Search: who has this tasklet? (Algorithm 1, lines 12 to 17; spec/wire.md, section 3.)

use nimblenet_tasklet::TaskletRef;

use super::{Malformed, Reader, Writer};

/// Flooded to find a holder, or sent to a registry as the fallback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Search {
    /// The tasklet that is wanted.
    pub tasklet: TaskletRef,
    /// Returned with the answer.
    pub request: u16,
    /// The smallest frame size on the route so far, in bytes.
    pub mtu: u16,
}

impl Search {
    pub(super) fn len(&self) -> usize {
        12
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            tasklet: reader.tasklet()?,
            request: reader.u16()?,
            mtu: reader.u16()?,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.tasklet(self.tasklet);
        writer.u16(self.request);
        writer.u16(self.mtu);
    }
}
