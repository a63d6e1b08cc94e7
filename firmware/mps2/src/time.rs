//! Time: a timer that counts it, the alarm that wakes tasks, and the rest of the interpreter.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time::Timer;
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;
use nimblenet_board::clock::Clock;
use nimblenet_core::Instant;

use crate::registers::{CLOCK_HZ, DUAL_TIMER, Interrupt, TIMER0, TIMER1};

// Registers of the two timers (ARM DDI0479, section 4.5).
const CONTROL: usize = 0x0;
const VALUE: usize = 0x4;
const RELOAD: usize = 0x8;
const INTERRUPT: usize = 0xc;
/// The timer runs, and raises its interrupt.
const RUN: u32 = 1 | 1 << 3;

// Registers of the first half of the dual timer (as above, section 4.6).
const DUAL_LOAD: usize = 0x0;
const DUAL_CONTROL: usize = 0x8;
const DUAL_CLEAR: usize = 0xc;
/// It runs once, counts 32 bits, and raises its interrupt.
const DUAL_RUN: u32 = 1 | 1 << 1 | 1 << 5 | 1 << 7;

const TICKS_PER_MICROSECOND: u32 = CLOCK_HZ / 1_000_000;
/// How often the counting timer begins again.
const PERIOD_MICROS: u32 = 100_000_000;
const PERIOD: u32 = PERIOD_MICROS * TICKS_PER_MICROSECOND;
/// The longest time that the alarm waits at once.
const LONGEST_MICROS: u64 = 10_000_000;

struct ChipTime {
    /// How often the counting timer has begun again.
    periods: Mutex<Cell<u32>>,
    queue: Mutex<RefCell<Queue>>,
}

time_driver_impl!(static TIME: ChipTime = ChipTime {
    periods: Mutex::new(Cell::new(0)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for ChipTime {
    fn now(&self) -> u64 {
        let (periods, left) = critical_section::with(|token| {
            let periods = self.periods.borrow(token);
            let mut left = TIMER0.read(VALUE);
            if TIMER0.read(INTERRUPT) != 0 {
                TIMER0.write(INTERRUPT, 1);
                periods.set(periods.get() + 1);
                // The first reading may have been of the period before.
                left = TIMER0.read(VALUE);
            }
            (periods.get(), left)
        });
        let within = (PERIOD - left.min(PERIOD)) / TICKS_PER_MICROSECOND;
        u64::from(periods) * u64::from(PERIOD_MICROS) + u64::from(within)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|token| {
            let changed = self.queue.borrow_ref_mut(token).schedule_wake(at, waker);
            if changed {
                self.set_alarm(token);
            }
        });
    }
}

impl ChipTime {
    /// Wakes what is due, and sets the alarm for the next.
    fn set_alarm(&self, token: CriticalSection<'_>) {
        let mut queue = self.queue.borrow_ref_mut(token);
        TIMER1.write(CONTROL, 0);
        TIMER1.write(INTERRUPT, 1);
        let now = self.now();
        let next = queue.next_expiration(now);
        if next == u64::MAX {
            return;
        }
        // What has become due meanwhile is woken a microsecond later.
        let micros = next.saturating_sub(now).clamp(1, LONGEST_MICROS);
        TIMER1.write(RELOAD, micros as u32 * TICKS_PER_MICROSECOND);
        TIMER1.write(CONTROL, RUN);
    }
}

/// Starts to count. Before this the time is not known.
pub(crate) fn start() {
    TIMER0.write(RELOAD, PERIOD);
    TIMER0.write(CONTROL, RUN);
    for interrupt in [Interrupt::Timer0, Interrupt::Timer1, Interrupt::DualTimer] {
        interrupt.enable();
    }
}

/// Handles the interrupt of the counting timer: a period has ended.
pub(crate) fn count() {
    // Whoever reads the time notices it.
    TIME.now();
}

/// Handles the interrupt of the alarm.
pub(crate) fn alarm() {
    critical_section::with(|token| TIME.set_alarm(token));
}

/// Handles the interrupt of the interpreter's rest.
pub(crate) fn rested() {
    DUAL_TIMER.write(DUAL_CLEAR, 1);
}

/// Microseconds since the chip's start.
pub(crate) fn micros() -> u64 {
    TIME.now()
}

/// Lets the caller rest until [`micros`] gives `end`; interrupts that are more urgent are handled
/// meanwhile.
pub(crate) fn rest_until(end: u64) {
    loop {
        // Interrupts wait from the look at the clock to the rest, and wake it nevertheless.
        let rested = cortex_m::interrupt::free(|_| {
            let left = end.saturating_sub(micros()).min(LONGEST_MICROS);
            if left == 0 {
                return true;
            }
            DUAL_TIMER.write(DUAL_CONTROL, 0);
            DUAL_TIMER.write(DUAL_LOAD, left as u32 * TICKS_PER_MICROSECOND);
            DUAL_TIMER.write(DUAL_CONTROL, DUAL_RUN);
            cortex_m::asm::wfi();
            false
        });
        if rested {
            DUAL_TIMER.write(DUAL_CONTROL, 0);
            DUAL_TIMER.write(DUAL_CLEAR, 1);
            return;
        }
    }
}

/// The clock of the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChipClock;

impl Clock for ChipClock {
    fn now(&self) -> Instant {
        Instant::from_micros(micros())
    }

    async fn until(&self, then: Instant) {
        Timer::at(embassy_time::Instant::from_micros(then.as_micros())).await;
    }
}
