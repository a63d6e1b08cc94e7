//! What outlives a reset: the record of a crash, and the packet number to go on with.

use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, exception};
use embassy_rp::clocks::RoscRng;
use embassy_rp::multicore::current_core;
use embassy_rp::peripherals::WATCHDOG;
use embassy_rp::watchdog::{ResetReason, Watchdog};
use embassy_rp::{Peri, pac};
use embassy_time::Duration;

use crate::crash::{Cause, Crash, Kept};
use crate::orchestrator;

/// The board is reset if nobody feeds the watchdog for this long.
const HUNGER: Duration = Duration::from_secs(2);

/// In memory that the start-up code leaves alone.
#[unsafe(link_section = ".uninit.KEPT")]
static mut KEPT: MaybeUninit<Kept> = MaybeUninit::uninit();

/// The record. Both cores may get here: one that crashes writes and then resets the chip, so that
/// what the other one meanwhile does to it is lost or, having a wrong checksum, ignored.
fn kept() -> &'static mut Kept {
    // SAFETY: any bytes are a `Kept`, whose checksum tells whether they mean something; it is
    // plain data, and nobody keeps a reference beyond one statement.
    unsafe { (*core::ptr::addr_of_mut!(KEPT)).assume_init_mut() }
}

/// How the board came to start.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The first packet number to use.
    pub first_sequence: u32,
    /// Seed of random numbers.
    pub seed: u64,
    /// What ended the program before, if that is known.
    pub crash: Option<Crash>,
}

/// Reads and clears what the program before left.
pub fn boot(watchdog: &mut ChipWatchdog) -> Boot {
    let random = || u64::from(RoscRng.next_u32());
    let hungry = watchdog.0.reset_reason() == Some(ResetReason::TimedOut);
    let before = kept().take(hungry);
    let fresh = random() as u32;
    let (first_sequence, crash) = match before {
        Some(before) => (before.sequence, before.crash),
        None => (fresh, None),
    };
    kept().begin(first_sequence);
    Boot {
        first_sequence,
        seed: random() << 32 | random(),
        crash,
    }
}

/// The chip's watchdog.
pub struct ChipWatchdog(Watchdog);

impl ChipWatchdog {
    /// A watchdog that sleeps.
    pub fn new(watchdog: Peri<'static, WATCHDOG>) -> Self {
        Self(Watchdog::new(watchdog))
    }

    /// From now on it must be fed.
    pub fn start(&mut self) {
        self.0.start(HUNGER);
    }
}

impl orchestrator::Watchdog for ChipWatchdog {
    fn feed(&mut self, sequence: u32) {
        kept().go_on(sequence);
        self.0.feed(HUNGER);
    }

    fn interpreter_lost(&mut self) {
        crash(Cause::InterpreterLost, 0, format_args!(""));
    }
}

fn crash(cause: Cause, place: u32, words: core::fmt::Arguments<'_>) -> ! {
    let micros = pac::TIMER.timerawl().read();
    kept().crash(cause, current_core() as u8, place, micros, words);
    SCB::sys_reset()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let line = info.location().map_or(0, core::panic::Location::line);
    let file = info.location().map_or("", core::panic::Location::file);
    crash(Cause::Panic, line, format_args!("{file}: {}", info.message()))
}

// SAFETY: it does not return to the code that faulted.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    crash(Cause::Fault, frame.pc(), format_args!("lr {:#x}", frame.lr()))
}
