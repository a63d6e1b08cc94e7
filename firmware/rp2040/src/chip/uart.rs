//! Serial links, and a board whose links are its two UARTs. The mains decide which core runs what.

use embassy_executor::task;
use embassy_rp::bind_interrupts;
use embassy_rp::peripherals::{CORE1, UART0, UART1};
use embassy_rp::uart::{
    BufferedInterruptHandler, BufferedUart, BufferedUartRx, BufferedUartTx, Config,
};
use embassy_rp::{Peri, Peripherals};
use nimblenet_board::calls::Nobody;
use nimblenet_board::ledger::BoardLedger;
use nimblenet_board::link::{self, Counters};
use nimblenet_board::provision::Provision;
use nimblenet_board::start::{DISK_BYTES, LINE};
use nimblenet_core::LinkId;
use static_cell::ConstStaticCell;

use crate::devices::pins;
use crate::flash::ledger;
use crate::interpreter::Arena;
use crate::node::{INCOMING, LINKS, OUTGOING, Place, ROOM};
use crate::{
    ChipClock, ChipDevices, ChipWatchdog, InterpreterSide, NodeSide, boot, record, seal_heap,
};

const BAUD: u32 = 1_000_000;
/// Eight milliseconds of a line at full speed: its task never waits that long.
const RECEIVED_BYTES: usize = 768;
const SENDING_BYTES: usize = 256;
/// The length of the arena.
const ARENA_BYTES: usize = nimblenet_board::worker::BOARD_ARENA_BYTES;

static ARENA: ConstStaticCell<Arena<ARENA_BYTES>> = ConstStaticCell::new(Arena([0; ARENA_BYTES]));
static DISK: ConstStaticCell<[u8; DISK_BYTES]> = ConstStaticCell::new([0; DISK_BYTES]);
static COUNTERS: [Counters; LINKS] = [Counters::new(), Counters::new()];

bind_interrupts!(pub(crate) struct Interrupts {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
    UART1_IRQ => BufferedInterruptHandler<UART1>;
});

/// The buffers of a line, one for each direction.
pub(crate) struct Buffers {
    /// Bytes that wait to be sent.
    pub(crate) sending: ConstStaticCell<[u8; SENDING_BYTES]>,
    /// Bytes that have come in.
    pub(crate) received: ConstStaticCell<[u8; RECEIVED_BYTES]>,
}

impl Buffers {
    /// Empty buffers.
    pub(crate) const fn new() -> Self {
        Self {
            sending: ConstStaticCell::new([0; SENDING_BYTES]),
            received: ConstStaticCell::new([0; RECEIVED_BYTES]),
        }
    }
}

/// The settings of a line.
pub(crate) fn line_config() -> Config {
    let mut line = Config::default();
    line.baudrate = BAUD;
    line
}

/// The parts of a board, each for a task.
pub struct UartBoard {
    /// For [`receive`] and [`send`].
    pub lines: [BufferedUart; LINKS],
    /// For [`orchestrate`].
    pub node: NodeSide,
    /// For [`interpret`](crate::interpret).
    pub interpreter: InterpreterSide,
    /// The second core.
    pub core1: Peri<'static, CORE1>,
}

impl UartBoard {
    /// Makes all parts, and seals the heap.
    ///
    /// # Panics
    /// If it is called twice.
    pub fn start(chip: Peripherals) -> Self {
        static BUFFERS: [Buffers; LINKS] = [Buffers::new(), Buffers::new()];
        static NODE: Place<Nobody> = Place::new();

        let watchdog = ChipWatchdog::new(chip.WATCHDOG);
        let mut ledger = ledger().map(|ledger| ledger as &mut BoardLedger);
        let boot = boot(&watchdog, ledger.as_deref_mut());
        let [first, second] = &BUFFERS;
        let line = line_config();
        let (sending, received) = (first.sending.take(), first.received.take());
        let first = BufferedUart::new(
            chip.UART0, chip.PIN_0, chip.PIN_1, Interrupts, sending, received, line,
        );
        let (sending, received) = (second.sending.take(), second.received.take());
        let second = BufferedUart::new(
            chip.UART1, chip.PIN_4, chip.PIN_5, Interrupts, sending, received, line,
        );
        let pins = pins!(chip: 2 PIN_2, 3 PIN_3, 6 PIN_6, 7 PIN_7, 8 PIN_8, 9 PIN_9, 10 PIN_10,
            11 PIN_11, 12 PIN_12, 13 PIN_13, 14 PIN_14, 15 PIN_15, 16 PIN_16, 17 PIN_17,
            18 PIN_18, 19 PIN_19, 20 PIN_20, 21 PIN_21, 22 PIN_22, 25 PIN_25);
        let devices = ChipDevices::new(chip.ADC, chip.ADC_TEMP_SENSOR, pins);
        let (interpreter, ends) = InterpreterSide::new(&mut ARENA.take().0, devices);
        let node = NodeSide::new(
            &NODE,
            (&boot, record(Provision::decode_without_network)),
            &[LINE; LINKS],
            DISK.take(),
            watchdog,
            ends,
            (Nobody, ledger),
        );
        seal_heap();
        Self {
            lines: [first, second],
            node,
            interpreter,
            core1: chip.CORE1,
        }
    }
}

/// Gives the frames of a line to the node.
#[task(pool_size = LINKS)]
pub async fn receive(at: u8, line: BufferedUartRx) {
    let counters = &COUNTERS[usize::from(at)];
    link::receive(LinkId(at), line, INCOMING.sender(), counters).await;
}

/// Puts frames on a line.
#[task(pool_size = LINKS)]
pub async fn send(at: u8, line: BufferedUartTx) {
    let counters = &COUNTERS[usize::from(at)];
    link::send(line, OUTGOING[usize::from(at)].receiver(), &ROOM, counters).await;
}

/// The task that runs the node.
#[task]
pub async fn orchestrate(side: NodeSide) {
    let NodeSide {
        orchestrator,
        replies,
        watchdog,
    } = side;
    orchestrator
        .run(ChipClock, INCOMING.receiver(), &ROOM, replies, watchdog)
        .await;
}
