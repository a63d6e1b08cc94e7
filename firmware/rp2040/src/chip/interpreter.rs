//! The interpreter: its queues, and the task that runs it on whichever core a main chooses.

use embassy_executor::task;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Shared;
use embassy_sync::zerocopy_channel::{Channel, Receiver, Sender};
use nimblenet_board::host::BoardHost;
use nimblenet_board::parcel::{self, Parcel, Reply};
use nimblenet_board::worker::Worker;
use static_cell::{ConstStaticCell, StaticCell};

use crate::ChipDevices;

/// The arena's memory, aligned as an arena must be.
#[repr(align(8))]
pub(crate) struct Arena<const BYTES: usize>(pub(crate) [u8; BYTES]);

type ChipWorker = Worker<'static, BoardHost<ChipDevices>>;

/// The interpreter, and its ends of the queues with the node.
pub struct InterpreterSide {
    worker: &'static mut ChipWorker,
    work: Receiver<'static, Shared, Parcel>,
    replies: Sender<'static, Shared, Reply>,
}

/// The node's ends of the queues.
pub(crate) struct NodeEnds {
    /// For work.
    pub(crate) work: Sender<'static, Shared, Parcel>,
    /// For its replies.
    pub(crate) replies: Receiver<'static, Shared, Reply>,
}

impl InterpreterSide {
    /// An interpreter that runs tasklets in `arena`, and the other ends of its queues.
    pub(crate) fn new(arena: &'static mut [u8], devices: ChipDevices) -> (Self, NodeEnds) {
        static WORK: StaticCell<Channel<'static, Shared, Parcel>> = StaticCell::new();
        static REPLIES: StaticCell<Channel<'static, Shared, Reply>> = StaticCell::new();
        static PARCEL: ConstStaticCell<[Parcel; 1]> = ConstStaticCell::new([parcel::empty()]);
        static REPLY: ConstStaticCell<[Reply; 1]> = ConstStaticCell::new([Reply::new()]);
        static WORKER: StaticCell<ChipWorker> = StaticCell::new();
        let work = WORK.init(Channel::new(PARCEL.take()));
        let (give, take) = work.split();
        let replies = REPLIES.init(Channel::new(REPLY.take()));
        let (reply, hear) = replies.split();
        let side = Self {
            worker: WORKER.init_with(|| Worker::new(arena, BoardHost::new(devices))),
            work: take,
            replies: reply,
        };
        let ends = NodeEnds {
            work: give,
            replies: hear,
        };
        (side, ends)
    }
}

/// The task that runs the interpreter.
#[task]
pub async fn interpret(side: InterpreterSide) {
    let InterpreterSide {
        worker,
        work,
        replies,
    } = side;
    worker.run(work, replies).await;
}
