//! A board whose links are its two UARTs: everything but which core runs what.

use embassy_executor::task;
use embassy_rp::bind_interrupts;
use embassy_rp::peripherals::{CORE1, UART0, UART1};
use embassy_rp::uart::{
    BufferedInterruptHandler, BufferedUart, BufferedUartRx, BufferedUartTx, Config,
};
use embassy_rp::{Peri, Peripherals};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Shared;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;
use embassy_sync::zerocopy_channel;
use nimblenet_board::provision::Provision;
use nimblenet_core::cache::Disk;
use nimblenet_core::{LinkId, Node};
use nimblenet_tasklet::NodeId;
use static_cell::{ConstStaticCell, StaticCell};

use super::{ChipClock, ChipDevices, ChipWatchdog, boot, provision_sector, seal_heap};
use nimblenet_board::calls::Nobody;
use nimblenet_board::host::BoardHost;
use nimblenet_board::link::{self, Counters};
use nimblenet_board::orchestrator::{
    Arrival, Departure, INCOMING_FRAMES, OUTGOING_FRAMES, Orchestrator,
};
use nimblenet_board::parcel::{Answer, Parcel};
use nimblenet_board::start::config;
use nimblenet_board::worker::Worker;

pub(super) const LINES: usize = 2;
pub(super) const BAUD: u32 = 1_000_000;
/// Eight milliseconds of a line at full speed: longer than anything that keeps its task waiting.
pub(super) const RECEIVED_BYTES: usize = 768;
pub(super) const SENDING_BYTES: usize = 256;
/// Room for modules.
const DISK_BYTES: usize = 50 << 10;
/// Room to run them in.
const ARENA_BYTES: usize = 144 << 10;

pub(super) static DISK: ConstStaticCell<[u8; DISK_BYTES]> = ConstStaticCell::new([0; DISK_BYTES]);
static ARENA: ConstStaticCell<Aligned<ARENA_BYTES>> =
    ConstStaticCell::new(Aligned([0; ARENA_BYTES]));

pub(super) static INCOMING: Channel<Shared, Arrival, INCOMING_FRAMES> = Channel::new();
pub(super) static OUTGOING: [Channel<Shared, Departure, OUTGOING_FRAMES>; LINES] =
    [Channel::new(), Channel::new()];
pub(super) static ROOM: Signal<Shared, ()> = Signal::new();
static COUNTERS: [Counters; LINES] = [Counters::new(), Counters::new()];

/// As an arena begins.
#[repr(align(8))]
pub(super) struct Aligned<const BYTES: usize>(pub(super) [u8; BYTES]);

bind_interrupts!(pub(super) struct Interrupts {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
    UART1_IRQ => BufferedInterruptHandler<UART1>;
});

/// The parts of a board, each for a task.
pub struct UartBoard {
    /// For [`receive`] and [`send`].
    pub lines: [BufferedUart; LINES],
    /// For [`orchestrate`].
    pub node: NodeSide,
    /// For [`work`].
    pub interpreter: InterpreterSide,
    /// The second core.
    pub core1: Peri<'static, CORE1>,
}

/// The node, the answers that it waits for, and its watchdog.
pub struct NodeSide {
    orchestrator: &'static mut Orchestrator<'static, Shared, LINES>,
    answers: zerocopy_channel::Receiver<'static, Shared, Answer>,
    watchdog: ChipWatchdog,
}

type ChipWorker = Worker<'static, BoardHost<ChipDevices>>;

/// The interpreter, and both ends of its queue.
pub struct InterpreterSide {
    worker: &'static mut ChipWorker,
    work: zerocopy_channel::Receiver<'static, Shared, Parcel>,
    answers: zerocopy_channel::Sender<'static, Shared, Answer>,
}

impl UartBoard {
    /// Makes everything; afterwards no memory can be taken any more.
    ///
    /// # Panics
    /// If it is called twice.
    pub fn start(chip: Peripherals) -> Self {
        static SENDING: [ConstStaticCell<[u8; SENDING_BYTES]>; LINES] = [
            ConstStaticCell::new([0; SENDING_BYTES]),
            ConstStaticCell::new([0; SENDING_BYTES]),
        ];
        static RECEIVED: [ConstStaticCell<[u8; RECEIVED_BYTES]>; LINES] = [
            ConstStaticCell::new([0; RECEIVED_BYTES]),
            ConstStaticCell::new([0; RECEIVED_BYTES]),
        ];
        let mut watchdog = ChipWatchdog::new(chip.WATCHDOG);
        let boot = boot(&mut watchdog);

        let mut line = Config::default();
        line.baudrate = BAUD;
        let (sending, received) = (SENDING[0].take(), RECEIVED[0].take());
        let first = BufferedUart::new(
            chip.UART0, chip.PIN_0, chip.PIN_1, Interrupts, sending, received, line,
        );
        let (sending, received) = (SENDING[1].take(), RECEIVED[1].take());
        let second = BufferedUart::new(
            chip.UART1, chip.PIN_4, chip.PIN_5, Interrupts, sending, received, line,
        );
        let devices = ChipDevices::new(
            chip.ADC,
            chip.ADC_TEMP_SENSOR,
            [
                (2, chip.PIN_2.into()),
                (3, chip.PIN_3.into()),
                (6, chip.PIN_6.into()),
                (7, chip.PIN_7.into()),
                (8, chip.PIN_8.into()),
                (9, chip.PIN_9.into()),
                (10, chip.PIN_10.into()),
                (11, chip.PIN_11.into()),
                (12, chip.PIN_12.into()),
                (13, chip.PIN_13.into()),
                (14, chip.PIN_14.into()),
                (15, chip.PIN_15.into()),
                (16, chip.PIN_16.into()),
                (17, chip.PIN_17.into()),
                (18, chip.PIN_18.into()),
                (19, chip.PIN_19.into()),
                (20, chip.PIN_20.into()),
                (21, chip.PIN_21.into()),
                (22, chip.PIN_22.into()),
                (25, chip.PIN_25.into()),
            ],
        );

        static ORCHESTRATOR: StaticCell<Orchestrator<'static, Shared, LINES>> = StaticCell::new();
        // A board that nobody has given a name yet forwards frames and runs nothing.
        let (id, namespaces) = match Provision::decode(provision_sector()) {
            Ok(provision) => (provision.id(), provision.into_namespaces()),
            Err(_) => (NodeId(boot.seed as u16 & 0x7fff), alloc::vec::Vec::new()),
        };
        let config = config(id, namespaces, LINES, boot.first_sequence, boot.seed);
        let disk: &'static mut [u8] = DISK.take();
        let mut node = Node::with_disk(config, Disk::from(disk)).expect("its parts fit");
        if let Some(crash) = boot.crash {
            crash.report(boot.first_sequence, |report| node.report(report));
        }
        let outgoing = [OUTGOING[0].sender(), OUTGOING[1].sender()];
        let (interpreter, give, hear) = InterpreterSide::new(&mut ARENA.take().0, devices);
        let board = Self {
            lines: [first, second],
            node: NodeSide {
                orchestrator: ORCHESTRATOR
                    .init_with(|| Orchestrator::new(node, outgoing, give, Nobody)),
                answers: hear,
                watchdog,
            },
            interpreter,
            core1: chip.CORE1,
        };
        seal_heap();
        board
    }
}

impl InterpreterSide {
    /// An interpreter, where its work goes, and where its answers come from.
    pub(super) fn new(
        arena: &'static mut [u8],
        devices: ChipDevices,
    ) -> (
        Self,
        zerocopy_channel::Sender<'static, Shared, Parcel>,
        zerocopy_channel::Receiver<'static, Shared, Answer>,
    ) {
        static WORK: StaticCell<zerocopy_channel::Channel<'static, Shared, Parcel>> =
            StaticCell::new();
        static ANSWERS: StaticCell<zerocopy_channel::Channel<'static, Shared, Answer>> =
            StaticCell::new();
        static PARCEL: ConstStaticCell<[Parcel; 1]> = ConstStaticCell::new([Parcel::new()]);
        static ANSWER: ConstStaticCell<[Answer; 1]> = ConstStaticCell::new([Answer::new()]);
        static WORKER: StaticCell<ChipWorker> = StaticCell::new();
        let work = WORK.init(zerocopy_channel::Channel::new(PARCEL.take()));
        let (give, take) = work.split();
        let answers = ANSWERS.init(zerocopy_channel::Channel::new(ANSWER.take()));
        let (answer, hear) = answers.split();
        let side = Self {
            worker: WORKER.init_with(|| Worker::new(arena, BoardHost::new(devices))),
            work: take,
            answers: answer,
        };
        (side, give, hear)
    }
}

/// Hands on the frames of a line.
#[task(pool_size = LINES)]
pub async fn receive(at: u8, line: BufferedUartRx) {
    let counters = &COUNTERS[usize::from(at)];
    link::receive(LinkId(at), line, INCOMING.sender(), counters).await;
}

/// Puts frames on a line.
#[task(pool_size = LINES)]
pub async fn send(at: u8, line: BufferedUartTx) {
    let counters = &COUNTERS[usize::from(at)];
    link::send(line, OUTGOING[usize::from(at)].receiver(), &ROOM, counters).await;
}

/// Is the node.
#[task]
pub async fn orchestrate(side: NodeSide) {
    let NodeSide {
        orchestrator,
        answers,
        mut watchdog,
    } = side;
    watchdog.start();
    let incoming = INCOMING.receiver();
    orchestrator
        .run(ChipClock, incoming, &ROOM, answers, watchdog)
        .await;
}

/// Is the interpreter.
#[task]
pub async fn work(side: InterpreterSide) {
    let InterpreterSide {
        worker,
        work,
        answers,
    } = side;
    worker.run(work, answers).await;
}
