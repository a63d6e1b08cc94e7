//! The alarm by which the core of the interpreter rests: the second of the timer's four. The first one
//! wakes the tasks of the other core, whose queue takes no wakers of others.

use cortex_m::asm;
use cortex_m::peripheral::NVIC;
use embassy_rp::interrupt;
use embassy_rp::pac::{Interrupt, TIMER};

/// The number of the alarm.
const ALARM: usize = 1;

/// Lets the alarm raise its interrupt. Called before the other core starts, which alone writes this
/// register later, once ([park](crate::park)).
pub(crate) fn start() {
    TIMER.inte().modify(|alarms| alarms.set_alarm(ALARM, true));
}

/// Lets this core rest until `now` gives `end`, both in microseconds.
pub(crate) fn rest_until(end: u64, now: impl Fn() -> u64) {
    // SAFETY: the handler only takes the request back, which no critical section relies on.
    unsafe { NVIC::unmask(Interrupt::TIMER_IRQ_1) };
    // An alarm compares the lower half of the time: a time that has passed meanwhile is noticed below.
    TIMER.alarm(ALARM).write_value(end as u32);
    while now() < end {
        // Other events wake this core too, and the end of a handler leaves one behind.
        asm::wfe();
    }
}

#[interrupt]
fn TIMER_IRQ_1() {
    TIMER.intr().write(|alarms| alarms.set_alarm(ALARM, true));
}
