//! One emulated board: two cores, flash, RAM, peripherals, two UARTs.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, bail, ensure};
use rp2040_emu::{Config, Emulator, EmulatorBuilder, ExecutionModel};

use crate::Image;
use crate::flash::{Flash, Torn};
use crate::rom;

/// The system clock that firmware sets up.
pub(crate) const CLOCK_HZ: u64 = 125_000_000;
/// Where the vector table is, behind the second-stage loader.
const VECTORS: u32 = 0x100;
/// A core runs this many cycles before peripherals have a turn; fewer are slower, more delay
/// interrupts.
const QUANTUM_CYCLES: u32 = 64;
/// The most bytes that wait for one UART; with more, the slowest board could not catch up.
const MAX_WAITING_BYTES: usize = 64 * 1024;
/// How far time moves at once while both cores sleep and no UART works: peripherals that only count,
/// such as the watchdog, notice the end of their time so much too late at most.
const SLEEP_CYCLES: u64 = CLOCK_HZ / 1_000;
/// How long a core may handle a fault before the board counts as lost: firmware that stores a
/// report and resets the chip takes less.
const MAX_FAULT_CYCLES: u64 = CLOCK_HZ / 100;
/// The largest value of an ADC conversion.
const MAX_SAMPLE: u16 = 0x0fff;

/// One of a board's two UARTs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Uart {
    /// UART0, pins 0 and 1.
    Zero,
    /// UART1, pins 4 and 5.
    One,
}

impl Uart {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Zero, Self::One];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::One => 1,
        }
    }
}

/// Bytes on their way into a UART, each with the cycle before which it is not put on the wire, and
/// when the next one has arrived.
#[derive(Default)]
struct Incoming {
    bytes: VecDeque<(u64, u8)>,
    due: u64,
    lost: u64,
}

impl Incoming {
    /// When the next byte has arrived; none if there is none.
    fn next(&self) -> Option<u64> {
        self.bytes.front().map(|(from, _)| self.due.max(*from))
    }
}

/// A board that runs in virtual time.
pub struct Board {
    emulator: Emulator,
    flash: Flash,
    /// Cycles since power-on.
    now: u64,
    resets: u64,
    /// Cycles that each core has been handling a fault.
    fault_cycles: [u64; 2],
    incoming: [Incoming; 2],
    /// What each UART has sent: the cycle at which a byte had left, and the byte.
    sent: [Vec<(u64, u8)>; 2],
}

impl Board {
    /// Powers a board on with an image in its flash.
    ///
    /// # Errors
    ///
    /// If the emulator refuses its configuration.
    pub fn new(image: &Image) -> Result<Self> {
        let mut emulator = EmulatorBuilder::new(Config {
            sys_clk_hz: CLOCK_HZ as u32,
        })
        .execution(ExecutionModel::Serial)
        .step_quantum(QUANTUM_CYCLES)
        .build()
        .ok()
        .context("the emulator refuses its configuration")?;
        emulator.load_bootrom(&rom::bytes());
        emulator.load_flash(image.bytes());
        emulator.reset();
        emulator.direct_boot_from_flash(VECTORS);
        Ok(Self {
            emulator,
            flash: Flash::new(image.bytes()),
            now: 0,
            resets: 0,
            fault_cycles: [0; 2],
            incoming: Default::default(),
            sent: Default::default(),
        })
    }

    /// Cycles since power-on.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Runs until the given cycle or a little longer, since instructions are not cut short.
    ///
    /// A reset, by the watchdog or by a core, boots from flash again, with RAM as it was. Without power only
    /// time passes.
    ///
    /// # Errors
    ///
    /// If a core has locked up or does not come back from a fault, and no watchdog is on that
    /// would reset the board; or if a core reads flash while that is not mapped, or asks for what flash
    /// cannot do.
    pub fn run_until(&mut self, cycle: u64) -> Result<()> {
        while self.now < cycle {
            if self.is_off() {
                self.now = cycle;
                return Ok(());
            }
            for uart in Uart::ALL {
                self.deliver(uart);
            }
            let next = self.incoming.iter().filter_map(Incoming::next).min();
            let quiet = next.unwrap_or(cycle).min(cycle).saturating_sub(self.now);
            self.emulator.set_sleep_hop(quiet.min(SLEEP_CYCLES));
            let cycles = self.emulator.step().ok().context("the emulator stopped")?;
            self.now += cycles;
            for uart in Uart::ALL {
                let sent = self.emulator.uart_sent(uart.index());
                self.sent[uart.index()].extend(sent.map(|byte| (self.now, byte)));
            }
            if self.emulator.reset_if_requested() {
                self.emulator.direct_boot_from_flash(VECTORS);
                self.resets += 1;
            }
            self.serve_flash()?;
            self.check_faults(cycles)?;
        }
        Ok(())
    }

    /// Does what a function of the boot ROM asks of the flash.
    fn serve_flash(&mut self) -> Result<()> {
        if let Some(address) = self.emulator.flash_missed() {
            let now = self.now;
            bail!("a core reads flash at {address:#010x} by cycle {now}, while it is not mapped");
        }
        let Some((arguments, what)) = self.emulator.flash_request() else {
            return Ok(());
        };
        let (emulator, now) = (&self.emulator, self.now);
        let ram = |address| emulator.peek(address);
        if self.flash.serve(now, arguments, what, ram)? {
            self.emulator.load_flash(self.flash.bytes());
            self.emulator.flash_done();
        }
        Ok(())
    }

    /// Cuts the board's power at an operation of its flash, which is done as far as `torn` says; erases
    /// of a sector and programmed pages count from 0 on.
    pub fn cut_power_at(&mut self, operation: u64, torn: Torn) {
        self.flash.cut_at(operation, torn);
    }

    /// Takes the power away and gives it again: only the flash keeps its content.
    ///
    /// # Errors
    ///
    /// If the emulator refuses its configuration.
    pub fn power_on_again(&mut self) -> Result<()> {
        let now = self.now;
        *self = Self::new(&self.flash())?;
        self.now = now;
        Ok(())
    }

    /// Whether the power was cut.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.flash.is_cut()
    }

    /// How many sectors were erased and pages programmed since power-on.
    #[must_use]
    pub fn flash_operations(&self) -> u64 {
        self.flash.operations()
    }

    /// The content of the flash, with which a board can be powered on again.
    ///
    /// # Panics
    ///
    /// Never: a flash is as long as an image may be.
    #[must_use]
    pub fn flash(&self) -> Image {
        Image::raw(self.flash.bytes()).expect("it has the length of a flash")
    }

    /// Fails if a core is lost for good.
    fn check_faults(&mut self, cycles: u64) -> Result<()> {
        for core in 0..2 {
            let state = self.emulator.core(core);
            let spent = &mut self.fault_cycles[core];
            *spent = match state.is_in_hardfault() {
                true => *spent + cycles,
                false => 0,
            };
            if self.emulator.watchdog_counts() {
                continue;
            }
            let now = self.now;
            if let Some(address) = state.locked_up() {
                bail!("core {core} has locked up at {address:#010x} by cycle {now}");
            }
            ensure!(
                *spent <= MAX_FAULT_CYCLES,
                "core {core} is in a hard fault at cycle {now}"
            );
        }
        Ok(())
    }

    /// How often the board was reset since power-on.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Sets the value to which an ADC channel converts, at most 12 bits.
    ///
    /// Channel 4 is the temperature sensor, 27 degrees Celsius unless set; the others are 0.
    ///
    /// # Panics
    ///
    /// If there is no such channel.
    pub fn set_adc(&mut self, channel: usize, sample: u16) {
        self.emulator.set_adc(channel, sample.min(MAX_SAMPLE));
    }

    /// The level of a pin that firmware drives through SIO; none if it does not drive it.
    #[must_use]
    pub fn pin(&self, pin: usize) -> Option<bool> {
        self.emulator.sio_output(pin)
    }

    /// Puts bytes on the wire into a UART, one after another at the rate that it is set to.
    pub fn send(&mut self, uart: Uart, bytes: &[u8]) {
        self.send_at(uart, 0, bytes);
    }

    /// The same, but not before a cycle; calls for one UART are in the order of these cycles.
    pub fn send_at(&mut self, uart: Uart, from: u64, bytes: &[u8]) {
        let incoming = &mut self.incoming[uart.index()];
        let taken = bytes.len().min(MAX_WAITING_BYTES - incoming.bytes.len());
        let timed = bytes[..taken].iter().map(|byte| (from, *byte));
        incoming.bytes.extend(timed);
        incoming.lost += (bytes.len() - taken) as u64;
    }

    /// Bytes on their way into a UART.
    #[must_use]
    pub fn waiting(&self, uart: Uart) -> usize {
        self.incoming[uart.index()].bytes.len()
    }

    /// Bytes that can be sent into a UART before some are lost.
    #[must_use]
    pub fn room(&self, uart: Uart) -> usize {
        MAX_WAITING_BYTES - self.waiting(uart)
    }

    /// Takes the bytes that a UART has sent since the last call.
    pub fn take(&mut self, uart: Uart) -> Vec<u8> {
        let sent = self.take_timed(uart).into_iter();
        sent.map(|(_, byte)| byte).collect()
    }

    /// The same, each byte with the cycle at which it had left.
    pub fn take_timed(&mut self, uart: Uart) -> Vec<(u64, u8)> {
        core::mem::take(&mut self.sent[uart.index()])
    }

    /// How many bytes a UART did not take because it was off or full, or nobody read it.
    #[must_use]
    pub fn lost(&self, uart: Uart) -> u64 {
        self.incoming[uart.index()].lost
    }

    /// Cycles that a core was not asleep.
    #[must_use]
    pub fn busy(&self, core: u8) -> u64 {
        self.emulator.core_cycles(core)
    }

    /// Instructions that a core has executed since power-on.
    ///
    /// # Panics
    ///
    /// If there is no such core.
    #[must_use]
    pub fn instructions(&self, core: u8) -> u64 {
        self.emulator.core(core.into()).instructions
    }

    /// A word of the board's memory, as a debugger sees it.
    #[must_use]
    pub fn peek(&self, address: u32) -> u32 {
        self.emulator.peek(address)
    }

    /// Changes a word of the board's RAM, as a debugger does.
    pub fn poke(&mut self, address: u32, word: u32) {
        self.emulator.poke(address, word);
    }

    /// Makes a core go on at another address, as a debugger does; a core that sleeps goes on there
    /// once it wakes.
    pub fn jump(&mut self, core: u8, address: u32) {
        let core = self.emulator.core_mut(core.into());
        core.regs.set_pc(address & !1);
    }

    /// Gives the UART each byte whose time on the wire has passed.
    fn deliver(&mut self, uart: Uart) {
        let incoming = &mut self.incoming[uart.index()];
        while let Some(due) = incoming.next().filter(|due| *due <= self.now) {
            let Some((_, byte)) = incoming.bytes.pop_front() else {
                return;
            };
            if !self.emulator.uart_receive(uart.index(), byte) {
                incoming.lost += 1;
            }
            // Count from the time when the byte was due: a long step must not slow the wire down.
            // After a pause the wire starts anew.
            let takes = self.emulator.uart_byte_cycles(uart.index());
            incoming.due = due.max(self.now.saturating_sub(takes)) + takes;
        }
    }
}
