//! A Raspberry Pi Pico W: core 0 runs node and network, core 1 the interpreter.
#![no_std]
#![no_main]

use chip::wifi::{self, WifiBoard};
use chip::{interpret, park, start, uart};
use embassy_rp::executor::Executor;
use embassy_rp::multicore::{Stack, spawn_core1};
use embassy_rp::peripherals::{DMA_CH0, PIO0};
use embassy_rp::{bind_interrupts, dma, pio};
use static_cell::{ConstStaticCell, StaticCell};

const CORE1_STACK_BYTES: usize = 7168;

bind_interrupts!(struct Interrupts {
    PIO0_IRQ_0 => pio::InterruptHandler<PIO0>;
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>;
});

#[cortex_m_rt::entry]
fn main() -> ! {
    static CORE0: StaticCell<Executor> = StaticCell::new();
    static CORE1: StaticCell<Executor> = StaticCell::new();
    static CORE1_STACK: ConstStaticCell<Stack<CORE1_STACK_BYTES>> =
        ConstStaticCell::new(Stack::new());

    let chip = embassy_rp::init(embassy_rp::config::Config::default());
    let WifiBoard {
        line,
        radio,
        node,
        interpreter,
        core1,
    } = WifiBoard::start(chip, Interrupts);
    spawn_core1(core1, CORE1_STACK.take(), || {
        park::join();
        let executor = CORE1.init(Executor::new());
        executor.run(|tasks| start(tasks, interpret(interpreter)));
    });
    park::wait_for_second_core();
    CORE0.init(Executor::new()).run(|tasks| {
        let (sending, receiving) = line.split();
        start(tasks, uart::receive(0, receiving));
        start(tasks, uart::send(0, sending));
        start(tasks, wifi::orchestrate(node));
        start(tasks, wifi::join(tasks, radio));
    })
}
