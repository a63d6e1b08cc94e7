//! The node: the queues between it and its links, and the state of its task.

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Shared;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;
use embassy_sync::zerocopy_channel::Receiver;
use nimblenet_board::calls::{Caller, Nobody};
use nimblenet_board::ledger::BoardLedger;
use nimblenet_board::orchestrator::{
    Arrival, Departure, INCOMING_FRAMES, OUTGOING_FRAMES, Orchestrator,
};
use nimblenet_board::parcel::Reply;
use nimblenet_board::provision::Provision;
use nimblenet_board::start::{self, Boot};
use nimblenet_core::LinkConfig;
use static_cell::StaticCell;

use crate::ChipWatchdog;
use crate::interpreter::NodeEnds;

/// The number of links, the same on every board of this chip.
pub(crate) const LINKS: usize = 2;

/// Frames that have come in.
pub(crate) static INCOMING: Channel<Shared, Arrival, INCOMING_FRAMES> = Channel::new();
/// Frames that go out, for each link.
pub(crate) static OUTGOING: [Channel<Shared, Departure, OUTGOING_FRAMES>; LINKS] =
    [Channel::new(), Channel::new()];
/// Signals that a link has room again.
pub(crate) static ROOM: Signal<Shared, ()> = Signal::new();

type ChipOrchestrator<C> = Orchestrator<'static, Shared, LINKS, C>;
/// The memory in which the node of a board stays.
pub(crate) type Place<C> = StaticCell<ChipOrchestrator<C>>;

/// The node, the replies that it waits for, and its watchdog.
pub struct NodeSide<C: 'static = Nobody> {
    pub(crate) orchestrator: &'static mut ChipOrchestrator<C>,
    pub(crate) replies: Receiver<'static, Shared, Reply>,
    pub(crate) watchdog: ChipWatchdog,
}

impl<C: Caller> NodeSide<C> {
    /// Makes the node that `record` names, with these links and what it keeps on `disk`, and connects it
    /// to the interpreter, to `caller` and to the board's `ledger`.
    pub(crate) fn new(
        place: &'static Place<C>,
        (boot, record): (&Boot, Option<Provision>),
        links: &[LinkConfig; LINKS],
        disk: &'static mut [u8],
        watchdog: ChipWatchdog,
        interpreter: NodeEnds,
        (caller, mut ledger): (C, Option<&'static mut BoardLedger>),
    ) -> Self {
        let node = start::node(boot, record, links, disk, ledger.as_deref_mut());
        let links = [OUTGOING[0].sender(), OUTGOING[1].sender()];
        let NodeEnds { work, replies } = interpreter;
        Self {
            orchestrator: place.init_with(|| Orchestrator::new(node, links, work, caller, ledger)),
            replies,
            watchdog,
        }
    }
}
