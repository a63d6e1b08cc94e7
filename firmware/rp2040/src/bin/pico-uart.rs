//! A Raspberry Pi Pico with one serial link: core 0 serves the link, core 1 does the work.
//!
//! The work is an echo: each frame goes back with the number of the core that saw it.
#![no_std]
#![no_main]

use board::framing::Frame;
use board::link::{self, Counters};
use embassy_executor::Spawner;
use embassy_rp::bind_interrupts;
use embassy_rp::executor::Executor;
use embassy_rp::multicore::{Stack, current_core, spawn_core1};
use embassy_rp::peripherals::UART0;
use embassy_rp::uart::{
    BufferedInterruptHandler, BufferedUart, BufferedUartRx, BufferedUartTx, Config,
};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use panic_halt as _;
use static_cell::{ConstStaticCell, StaticCell};

const BAUD: u32 = 1_000_000;
/// A frame in the queue and one on the way: more would only make answers older.
const QUEUE_FRAMES: usize = 2;
const RING_BYTES: usize = 512;
const CORE1_STACK_BYTES: usize = 8192;

type Queue = Channel<CriticalSectionRawMutex, Frame, QUEUE_FRAMES>;

static WORK: Queue = Channel::new();
static DONE: Queue = Channel::new();
static LINK: Counters = Counters::new();
static CORE1_STACK: ConstStaticCell<Stack<CORE1_STACK_BYTES>> = ConstStaticCell::new(Stack::new());

bind_interrupts!(struct Interrupts {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
});

#[cortex_m_rt::entry]
fn main() -> ! {
    static CORE0: StaticCell<Executor> = StaticCell::new();
    static CORE1: StaticCell<Executor> = StaticCell::new();
    static SENDING: ConstStaticCell<[u8; RING_BYTES]> = ConstStaticCell::new([0; RING_BYTES]);
    static RECEIVED: ConstStaticCell<[u8; RING_BYTES]> = ConstStaticCell::new([0; RING_BYTES]);

    let board = embassy_rp::init(embassy_rp::config::Config::default());
    let mut config = Config::default();
    config.baudrate = BAUD;
    let uart = BufferedUart::new(
        board.UART0,
        board.PIN_0,
        board.PIN_1,
        Interrupts,
        SENDING.take(),
        RECEIVED.take(),
        config,
    );
    let (sending, receiving) = uart.split();

    spawn_core1(board.CORE1, CORE1_STACK.take(), || {
        CORE1
            .init(Executor::new())
            .run(|tasks| start(tasks, work()));
    });
    CORE0.init(Executor::new()).run(|tasks| {
        start(tasks, receive(receiving));
        start(tasks, send(sending));
    })
}

/// Each task is started once, at boot, so that its place cannot be taken.
fn start<S>(
    tasks: Spawner,
    task: Result<embassy_executor::SpawnToken<S>, embassy_executor::SpawnError>,
) {
    tasks.spawn(task.expect("each task is started once"));
}

#[embassy_executor::task]
async fn receive(line: BufferedUartRx) {
    link::receive(line, WORK.sender(), &LINK).await;
}

#[embassy_executor::task]
async fn send(line: BufferedUartTx) {
    link::send(line, DONE.receiver(), &LINK).await;
}

#[embassy_executor::task]
async fn work() {
    loop {
        let mut frame = WORK.receive().await;
        let core = current_core() as u8;
        // A frame of full length goes back without it.
        let _ = frame.push(core);
        DONE.send(frame).await;
    }
}
