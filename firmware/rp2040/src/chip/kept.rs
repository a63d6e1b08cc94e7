//! What outlives a reset in RAM: the record of a crash.

use core::mem::MaybeUninit;
use core::ops::Range;
use core::panic::PanicInfo;

use cortex_m::asm;
use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, exception};
use embassy_rp::clocks::RoscRng;
use embassy_rp::multicore::current_core;
use embassy_rp::peripherals::WATCHDOG;
use embassy_rp::watchdog::{ResetReason, Watchdog};
use embassy_rp::{Peri, pac};
use embassy_time::Duration;

use nimblenet_core::wire::Cause;

use nimblenet_board::clock;
use nimblenet_board::crash::{Kept, Places};
use nimblenet_board::ledger::BoardLedger;
use nimblenet_board::start::Boot;

/// The board is reset if nobody feeds the watchdog for this long.
const HUNGER: Duration = Duration::from_secs(2);

/// The record, in memory that the start-up code does not clear.
#[unsafe(link_section = ".uninit.KEPT")]
static mut KEPT: MaybeUninit<Kept> = MaybeUninit::uninit();

/// Changes the record, as a copy. Both cores may get here: a core that crashes writes the record and
/// then resets the chip. What the other core writes meanwhile is lost; if it spoils the record, the
/// checksum is wrong and the record is ignored.
fn change<T>(change: impl FnOnce(&mut Kept) -> T) -> T {
    let record = &raw mut KEPT;
    // SAFETY: the pointer is that of a static, to which nobody has a reference. Any bytes are a
    // `Kept`, whose checksum tells whether they mean something.
    let mut kept = unsafe { record.read_volatile().assume_init() };
    let result = change(&mut kept);
    // SAFETY: as above.
    unsafe { record.write_volatile(MaybeUninit::new(kept)) };
    result
}

/// Takes what the previous program has left, also in `ledger`.
pub(crate) fn boot(watchdog: &ChipWatchdog, ledger: Option<&mut BoardLedger>) -> Boot {
    let hungry = watchdog.0.reset_reason() == Some(ResetReason::TimedOut);
    change(|kept| Boot::new(kept, hungry, || RoscRng.next_u32(), ledger))
}

/// The chip's watchdog.
pub(crate) struct ChipWatchdog(Watchdog);

impl ChipWatchdog {
    /// A watchdog that is not started yet.
    pub(crate) fn new(watchdog: Peri<'static, WATCHDOG>) -> Self {
        Self(Watchdog::new(watchdog))
    }
}

impl clock::Watchdog for ChipWatchdog {
    fn start(&mut self) {
        self.0.start(HUNGER);
    }

    fn feed(&mut self) {
        self.0.feed(HUNGER);
    }

    fn interpreter_lost(&mut self) {
        crash(Cause::InterpreterLost, Places::default());
    }
}

fn crash(cause: Cause, mut places: Places) -> ! {
    let micros = pac::TIMER.timerawl().read();
    unwind(&mut places);
    change(|kept| kept.crash(cause, current_core() as u8, micros, &places));
    SCB::sys_reset()
}

/// The addresses of the code.
fn code() -> Range<u32> {
    unsafe extern "C" {
        static __stext: u32;
        static __etext: u32;
    }
    // Only the addresses of these symbols matter.
    &raw const __stext as u32..&raw const __etext as u32
}

/// The half word of code at an address.
///
/// # Safety
/// The address is even and within the code.
unsafe fn half(at: u32) -> u16 {
    // SAFETY: the caller promises that the address is in flash, which can be read.
    unsafe { (at as *const u16).read_volatile() }
}

/// Takes return addresses from this core's stack.
fn unwind(places: &mut Places) {
    const RAM_END: u32 = 0x2004_2000;
    const WORDS: u32 = 256;
    let from = cortex_m::register::msp::read();
    let to = from.saturating_add(4 * WORDS).min(RAM_END);
    // SAFETY: a stack pointer is aligned, and RAM is readable from there to its end.
    let word = |at: u32| unsafe { (at as *const u32).read_volatile() };
    let stack = (from..to).step_by(4).map(word);
    // SAFETY: `unwind` asks only for even addresses within the code.
    places.unwind(stack, code(), |at| unsafe { half(at) });
}

/// The panic handler that the language requires. Images are built so that a panic is an undefined
/// instruction where it happens, and this is one too.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    asm::udf()
}

// SAFETY: the handler does not return to the code that faulted.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let at = frame.pc();
    // SAFETY: the address is even and within the code.
    let is_panic = at % 2 == 0 && code().contains(&at) && unsafe { half(at) } >> 8 == 0xde;
    let mut places = Places::default();
    places.push(at);
    places.push(frame.lr() & !1);
    crash(if is_panic { Cause::Panic } else { Cause::Fault }, places)
}
