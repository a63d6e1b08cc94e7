//! The board's devices for tasklets: two lamps and a clock. It has no sensor.

use nimblenet_board::host::Devices;

use crate::registers::LAMPS;
use crate::{kept, time};

/// The number of lamps, which are pins 0 and 1.
const COUNT: u32 = 2;

/// The devices of the board.
pub(crate) struct ChipDevices;

impl Devices for ChipDevices {
    fn temperature(&mut self) -> Option<u16> {
        None
    }

    fn drive(&mut self, pin: u32, high: bool) -> bool {
        if pin >= COUNT {
            return false;
        }
        let others = LAMPS.read(0) & !(1 << pin);
        LAMPS.write(0, others | u32::from(high) << pin);
        true
    }

    fn micros(&self) -> u64 {
        time::micros()
    }

    fn rest_until(&mut self, end: u64) {
        time::rest_until(end);
    }

    fn random(&mut self) -> u32 {
        kept::random()
    }
}
