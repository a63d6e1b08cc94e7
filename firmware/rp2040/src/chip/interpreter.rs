//! The interpreter: its queues, and the task that runs it on whichever core a main chooses.

use embassy_executor::task;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Shared;
use embassy_sync::zerocopy_channel::{Channel, Receiver, Sender};
use nimblenet_board::host::BoardHost;
use nimblenet_board::parcel::{Answer, Parcel};
use nimblenet_board::worker::Worker;
use static_cell::{ConstStaticCell, StaticCell};

use crate::ChipDevices;

/// Memory to run modules in, aligned as an arena begins.
#[repr(align(8))]
pub(crate) struct Arena<const BYTES: usize>(pub(crate) [u8; BYTES]);

type ChipWorker = Worker<'static, BoardHost<ChipDevices>>;

/// The interpreter, and its ends of the queues with the node.
pub struct InterpreterSide {
    worker: &'static mut ChipWorker,
    work: Receiver<'static, Shared, Parcel>,
    answers: Sender<'static, Shared, Answer>,
}

/// The node's ends of the queues.
pub(crate) struct NodeEnds {
    /// Where work goes.
    pub(crate) work: Sender<'static, Shared, Parcel>,
    /// Where its answers come from.
    pub(crate) answers: Receiver<'static, Shared, Answer>,
}

impl InterpreterSide {
    /// An interpreter that runs tasklets in `arena`, and the other ends of its queues.
    pub(crate) fn new(arena: &'static mut [u8], devices: ChipDevices) -> (Self, NodeEnds) {
        static WORK: StaticCell<Channel<'static, Shared, Parcel>> = StaticCell::new();
        static ANSWERS: StaticCell<Channel<'static, Shared, Answer>> = StaticCell::new();
        static PARCEL: ConstStaticCell<[Parcel; 1]> = ConstStaticCell::new([Parcel::new()]);
        static ANSWER: ConstStaticCell<[Answer; 1]> = ConstStaticCell::new([Answer::new()]);
        static WORKER: StaticCell<ChipWorker> = StaticCell::new();
        let work = WORK.init(Channel::new(PARCEL.take()));
        let (give, take) = work.split();
        let answers = ANSWERS.init(Channel::new(ANSWER.take()));
        let (answer, hear) = answers.split();
        let side = Self {
            worker: WORKER.init_with(|| Worker::new(arena, BoardHost::new(devices))),
            work: take,
            answers: answer,
        };
        let ends = NodeEnds {
            work: give,
            answers: hear,
        };
        (side, ends)
    }
}

/// Is the interpreter.
#[task]
pub async fn interpret(side: InterpreterSide) {
    let InterpreterSide {
        worker,
        work,
        answers,
    } = side;
    worker.run(work, answers).await;
}
