//! A board with one core and two serial links: the node in an interrupt, which preempts the
//! interpreter.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use chip::uart::{self, UartBoard};
use chip::{interpret, start, start_in_interrupt};
use embassy_rp::executor::{Executor, InterruptExecutor};
use embassy_rp::interrupt;
use embassy_rp::interrupt::{InterruptExt as _, Priority};
use static_cell::StaticCell;

/// Runs the node, unless the chip has a more urgent interrupt; the node always preempts tasklets.
static NODE: InterruptExecutor = InterruptExecutor::new();

#[cortex_m_rt::entry]
fn main() -> ! {
    static INTERPRETER: StaticCell<Executor> = StaticCell::new();

    let UartBoard {
        lines,
        node,
        interpreter,
        core1: _,
    } = UartBoard::start(embassy_rp::init(embassy_rp::config::Config::default()));
    // The lines and the timer keep the chip's default priority, which is the most urgent.
    interrupt::SWI_IRQ_0.set_priority(Priority::P2);
    let tasks = NODE.start(interrupt::SWI_IRQ_0);
    for (at, line) in (0..).zip(lines) {
        let (sending, receiving) = line.split();
        start_in_interrupt(tasks, uart::receive(at, receiving));
        start_in_interrupt(tasks, uart::send(at, sending));
    }
    start_in_interrupt(tasks, uart::orchestrate(node));
    let executor = INTERPRETER.init(Executor::new());
    executor.run(|tasks| start(tasks, interpret(interpreter)));
}

#[interrupt]
unsafe fn SWI_IRQ_0() {
    // SAFETY: this is the handler of the interrupt with which the executor was started, and nothing
    // else calls it.
    unsafe { NODE.on_interrupt() }
}
