//! Load: how long new work waits at a node (spec/wire.md, section 13).

use core::time::Duration;

use super::{Malformed, Reader, Writer};
use crate::time::micros;

/// A time of work in hundredths of a second, rounded up, as frames have it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Wait(pub u16);

impl Wait {
    const STEP_US: u64 = 10_000;

    /// The wait as frames have it; at most 655.35 s.
    pub fn of(time: Duration) -> Self {
        let steps = micros(time).div_ceil(Self::STEP_US);
        Self(u16::try_from(steps).unwrap_or(u16::MAX))
    }

    /// The wait as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_micros(u64::from(self.0) * Self::STEP_US)
    }
}

/// Told to the neighbours when it is not what they compute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// How long new work waits until an executor of the sender is free, as far as the sender knows
    /// how long its jobs run.
    pub wait: Wait,
    /// How many executors the sender has; 0 if it takes no work of others.
    pub executors: u8,
}

impl Load {
    pub(super) fn len(&self) -> usize {
        3
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            wait: Wait(reader.u16()?),
            executors: reader.u8()?,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u16(self.wait.0);
        writer.u8(self.executors);
    }
}
