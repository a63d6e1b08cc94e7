//! What outlives a reset: the record of a crash, and random numbers. And what the board is given at its
//! start: who it is, and a seed.
#![allow(unsafe_code)]

use core::ops::Range;
use core::panic::PanicInfo;

use cortex_m::asm;
use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, exception};
use nimblenet_board::clock;
use nimblenet_board::crash::{Kept, Places};
use nimblenet_board::ledger::BoardLedger;
use nimblenet_board::provision::Provision;
use nimblenet_board::start::Boot;
use nimblenet_core::wire::Cause;

use crate::registers::{CLOCK_HZ, WATCHDOG};
use crate::time;

/// The record of who the board is: the last sector of the flash.
const RECORD: usize = 0x003f_f000;
const RECORD_BYTES: usize = 4096;
/// Eight bytes that differ from start to start, as whoever starts the board sees fit: the chip has no
/// source of randomness.
const SEED: usize = RECORD - size_of::<u64>();
/// The end of the RAM; its last page is not the linker's, and outlives a reset.
const RAM_END: usize = 0x2040_0000;
const KEPT: *mut Kept = (RAM_END - 4096) as *mut Kept;
/// Where random numbers have come to. Memory is zero when the board gets power.
const DRAWN: *mut u64 = (RAM_END - 2048) as *mut u64;

// Registers of the watchdog (ARM DDI0479, section 4.7).
const LOAD: usize = 0x0;
const CONTROL: usize = 0x8;
const CLEAR: usize = 0xc;
const LOCK: usize = 0xc00;
const KEY: u32 = 0x1acc_e551;
/// It raises its interrupt, and if nobody clears that, it resets the chip.
const RUN: u32 = 1 | 1 << 1;
/// The board is reset if nobody feeds the watchdog for this long: two seconds.
const HUNGER: u32 = 2 * CLOCK_HZ;

/// The board's record; none if no node can be made from it.
pub(crate) fn record() -> Option<Provision> {
    // SAFETY: flash is mapped there, and nothing in this program writes to it.
    let sector = unsafe { core::slice::from_raw_parts(RECORD as *const u8, RECORD_BYTES) };
    Provision::decode(sector).ok()
}

/// Random bits: as good as the seed, and other ones after a reset.
pub(crate) fn random() -> u32 {
    critical_section::with(|_| {
        // SAFETY: flash is mapped there, and the address is a multiple of eight.
        let seed = unsafe { (SEED as *const u64).read_volatile() };
        // SAFETY: RAM is mapped there, the address is a multiple of eight, and nothing else is there; any
        // bytes are a number.
        let drawn = unsafe { DRAWN.read_volatile() }.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // SAFETY: as above.
        unsafe { DRAWN.write_volatile(drawn) };
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mixed = drawn ^ seed;
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32
    })
}

/// Changes the record of the program, as a copy.
fn change<T>(change: impl FnOnce(&mut Kept) -> T) -> T {
    // SAFETY: RAM is mapped there, the address is aligned, and nothing else is there. Any bytes are a
    // `Kept`, whose checksum tells whether they mean something.
    let mut kept = unsafe { KEPT.read_volatile() };
    let result = change(&mut kept);
    // SAFETY: as above.
    unsafe { KEPT.write_volatile(kept) };
    result
}

/// Takes what the previous program has left, also in `ledger`. A watchdog that nobody fed has written why it
/// ended.
pub(crate) fn boot(ledger: Option<&mut BoardLedger>) -> Boot {
    change(|kept| Boot::new(kept, false, random, ledger))
}

/// The chip's watchdog.
pub(crate) struct ChipWatchdog;

impl clock::Watchdog for ChipWatchdog {
    fn start(&mut self) {
        WATCHDOG.write(LOCK, KEY);
        WATCHDOG.write(LOAD, HUNGER);
        WATCHDOG.write(CONTROL, RUN);
    }

    fn feed(&mut self) {
        // It begins to count again.
        WATCHDOG.write(CLEAR, 1);
    }

    fn interpreter_lost(&mut self) {
        crash(Cause::InterpreterLost, Places::default());
    }
}

fn crash(cause: Cause, mut places: Places) -> ! {
    let micros = time::micros() as u32;
    unwind(&mut places);
    change(|kept| kept.crash(cause, 0, micros, &places));
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

/// Takes return addresses from the stack.
fn unwind(places: &mut Places) {
    const WORDS: u32 = 256;
    let from = cortex_m::register::msp::read();
    let to = from.saturating_add(4 * WORDS).min(KEPT as u32);
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

// SAFETY: the handler does not return to the code that it has interrupted.
/// Nobody has fed the watchdog.
#[exception]
unsafe fn NonMaskableInt() -> ! {
    crash(Cause::Watchdog, Places::default())
}
