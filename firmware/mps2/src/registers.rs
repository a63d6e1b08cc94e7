//! The chip's devices, and numbers of its interrupts (ARM DAI0385, tables 3-2 and 3-6).
#![allow(unsafe_code)]

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

/// The chip's clock, which all devices here share.
pub(crate) const CLOCK_HZ: u32 = 25_000_000;

/// A timer that counts up time.
pub(crate) const TIMER0: Device = Device(0x4000_0000);
/// A timer for the alarm of the tasks.
pub(crate) const TIMER1: Device = Device(0x4000_1000);
/// A timer for the rest of the interpreter.
pub(crate) const DUAL_TIMER: Device = Device(0x4000_2000);
/// The watchdog.
pub(crate) const WATCHDOG: Device = Device(0x4000_8000);
/// The board's two lamps.
pub(crate) const LAMPS: Device = Device(0x4002_8000);
/// The Ethernet controller.
pub(crate) const ETHERNET: Device = Device(0x4020_0000);

/// A device: words at the address where the chip has it. Only the constants above are devices.
#[derive(Clone, Copy)]
pub(crate) struct Device(usize);

impl Device {
    /// Reads the register at an offset.
    pub(crate) fn read(self, offset: usize) -> u32 {
        // SAFETY: the chip has a device there, whose registers are aligned words. To read one may change
        // the device, and never memory: no device here writes to memory by itself.
        unsafe { ((self.0 + offset) as *const u32).read_volatile() }
    }

    /// Writes to the register at an offset.
    pub(crate) fn write(self, offset: usize, value: u32) {
        // SAFETY: as above.
        unsafe { ((self.0 + offset) as *mut u32).write_volatile(value) }
    }
}

/// The interrupts that are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Interrupt {
    Timer0 = 8,
    Timer1 = 9,
    DualTimer = 10,
    Ethernet = 13,
    /// The node's tasks. No device that is used raises it.
    Node = 14,
    /// The interpreter's task; as above.
    Interpreter = 15,
}

// SAFETY: each number is that of one interrupt of this chip, and stays the same.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

impl Interrupt {
    /// The interrupt with a number.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        let all = [
            Self::Timer0,
            Self::Timer1,
            Self::DualTimer,
            Self::Ethernet,
            Self::Node,
            Self::Interpreter,
        ];
        all.into_iter().find(|it| *it as i16 == number)
    }

    /// Lets a device raise this interrupt.
    pub(crate) fn enable(self) {
        // SAFETY: no critical section relies on a masked interrupt: they all turn off every one.
        unsafe { NVIC::unmask(self) };
    }
}
