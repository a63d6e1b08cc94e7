//! Parks the second core, whatever it does, in a loop in RAM, so that the first one can write flash.
//!
//! The third alarm of the timer, which nothing else uses, interrupts the second core when the first one
//! wants that. Interrupts come through between any two instructions, also in the middle of a signature
//! check; only a critical section, which is short, is first ended.

use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::asm;
use cortex_m::peripheral::NVIC;
use embassy_rp::interrupt;
use embassy_rp::pac::{Interrupt, TIMER};

/// The number of the alarm.
const ALARM: usize = 2;

/// Whether the second core runs, and can be parked.
static RUNS: AtomicBool = AtomicBool::new(false);
/// Whether the first core wants the other one parked.
static WANTED: AtomicBool = AtomicBool::new(false);
/// Whether it is.
static PARKED: AtomicBool = AtomicBool::new(false);

/// Lets this core, the second one, be parked from now on. The first one waits for that, so nothing else
/// writes the timer's registers meanwhile.
pub fn join() {
    TIMER.inte().modify(|alarms| alarms.set_alarm(ALARM, true));
    // SAFETY: the handler only waits, which no critical section relies on.
    unsafe { NVIC::unmask(Interrupt::TIMER_IRQ_2) };
    RUNS.store(true, Ordering::Release);
}

/// Waits until the second core has [joined](join).
pub fn wait_for_second_core() {
    while !RUNS.load(Ordering::Acquire) {
        asm::nop();
    }
}

/// Does something while the second core, if it runs, is parked. Only the first core calls it.
pub(crate) fn while_parked(act: impl FnOnce()) {
    let runs = RUNS.load(Ordering::Acquire);
    if runs {
        WANTED.store(true, Ordering::Release);
        TIMER.intf().modify(|alarms| alarms.set_alarm(ALARM, true));
        while !PARKED.load(Ordering::Acquire) {
            asm::nop();
        }
        // The handler does not come again once it is left.
        TIMER.intf().modify(|alarms| alarms.set_alarm(ALARM, false));
    }
    act();
    if runs {
        WANTED.store(false, Ordering::Release);
        while PARKED.load(Ordering::Acquire) {
            asm::nop();
        }
    }
}

#[interrupt]
fn TIMER_IRQ_2() {
    cortex_m::interrupt::free(|_| wait());
}

/// Waits until the first core has done what it wanted to do.
#[unsafe(link_section = ".data.wait")]
#[inline(never)]
fn wait() {
    PARKED.store(true, Ordering::Release);
    while WANTED.load(Ordering::Acquire) {}
    PARKED.store(false, Ordering::Release);
}
