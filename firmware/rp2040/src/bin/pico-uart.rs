//! A Raspberry Pi Pico with two serial links: core 0 runs the node, core 1 the interpreter.
#![no_std]
#![no_main]

use chip::uart::{self, UartBoard};
use chip::{interpret, park, start};
use embassy_rp::executor::Executor;
use embassy_rp::multicore::{Stack, spawn_core1};
use static_cell::{ConstStaticCell, StaticCell};

const CORE1_STACK_BYTES: usize = 7168;

#[cortex_m_rt::entry]
fn main() -> ! {
    static CORE0: StaticCell<Executor> = StaticCell::new();
    static CORE1: StaticCell<Executor> = StaticCell::new();
    static CORE1_STACK: ConstStaticCell<Stack<CORE1_STACK_BYTES>> =
        ConstStaticCell::new(Stack::new());

    let UartBoard {
        lines,
        node,
        interpreter,
        core1,
    } = UartBoard::start(embassy_rp::init(embassy_rp::config::Config::default()));
    spawn_core1(core1, CORE1_STACK.take(), || {
        park::join();
        let executor = CORE1.init(Executor::new());
        executor.run(|tasks| start(tasks, interpret(interpreter)));
    });
    park::wait_for_second_core();
    CORE0.init(Executor::new()).run(|tasks| {
        for (at, line) in (0..).zip(lines) {
            let (sending, receiving) = line.split();
            start(tasks, uart::receive(at, receiving));
            start(tasks, uart::send(at, sending));
        }
        start(tasks, uart::orchestrate(node));
    })
}
