//! The node, the interpreter and the network, and the interrupts that run them.
#![allow(unsafe_code)]

use core::net::SocketAddrV4;

use cortex_m::peripheral::Peripherals;
use cortex_m_rt::exception;
use embassy_executor::{InterruptExecutor, SendSpawner, SpawnError, SpawnToken, Spawner, task};
use embassy_net::{Config, Stack, StackResources};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Shared;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;
use embassy_sync::zerocopy_channel::{self, Receiver, Sender};
use nimblenet_board::calls::{ANSWERS, CoapCaller, Datagram, MAX_REQUEST_BYTES, REQUESTS};
use nimblenet_board::coap::MAX_MESSAGE_BYTES;
use nimblenet_board::datagrams::{self, SOCKETS};
use nimblenet_board::heap::SealedHeap;
use nimblenet_board::host::BoardHost;
use nimblenet_board::ledger::BoardLedger;
use nimblenet_board::neighbours::Neighbours;
use nimblenet_board::orchestrator::{
    Arrival, Departure, INCOMING_FRAMES, OUTGOING_FRAMES, Orchestrator,
};
use nimblenet_board::parcel::{self, Parcel, Reply};
use nimblenet_board::provision::Provision;
use nimblenet_board::start::{self as board, DISK_BYTES, NETWORK};
use nimblenet_board::worker::{BOARD_ARENA_BYTES, Worker};
use nimblenet_core::LinkId;
use static_cell::{ConstStaticCell, StaticCell};

use crate::devices::ChipDevices;
use crate::ethernet::{self, Ethernet};
use crate::flash;
use crate::kept::{self, ChipWatchdog};
use crate::registers::Interrupt;
use crate::time::{self, ChipClock};

/// The heap: memory of the node besides its disk. The node allocates nearly all of it at its start with four
/// namespaces. A board that needs more than this does not start.
const HEAP_BYTES: usize = 63_488;
/// The only link.
const LINK: LinkId = LinkId(0);
/// Urgency of the interrupts; devices have 0, the most urgent.
const NODE_PRIORITY: u8 = 0x40;
const INTERPRETER_PRIORITY: u8 = 0x80;

#[global_allocator]
static HEAP: SealedHeap<HEAP_BYTES> = SealedHeap::new();

static NODE: InterruptExecutor = InterruptExecutor::new();
static INTERPRETER: InterruptExecutor = InterruptExecutor::new();

static INCOMING: Channel<Shared, Arrival, INCOMING_FRAMES> = Channel::new();
static OUTGOING: Channel<Shared, Departure, OUTGOING_FRAMES> = Channel::new();
static ROOM: Signal<Shared, ()> = Signal::new();
static REQUEST: Channel<Shared, Datagram<SocketAddrV4, MAX_REQUEST_BYTES>, REQUESTS> =
    Channel::new();
static ANSWER: Channel<Shared, Datagram<SocketAddrV4, MAX_MESSAGE_BYTES>, ANSWERS> = Channel::new();

type ChipWorker = Worker<'static, BoardHost<ChipDevices>>;
type ChipOrchestrator = Orchestrator<'static, Shared, 1, CoapCaller<'static, Shared, SocketAddrV4>>;

/// The arena's memory, aligned as an arena must be.
#[repr(align(8))]
struct Arena([u8; BOARD_ARENA_BYTES]);

/// Makes all parts, seals the heap, and starts the tasks.
pub(crate) fn start() {
    static DISK: ConstStaticCell<[u8; DISK_BYTES]> = ConstStaticCell::new([0; DISK_BYTES]);
    static ARENA: ConstStaticCell<Arena> = ConstStaticCell::new(Arena([0; BOARD_ARENA_BYTES]));
    static WORK: StaticCell<zerocopy_channel::Channel<'static, Shared, Parcel>> = StaticCell::new();
    static REPLIES: StaticCell<zerocopy_channel::Channel<'static, Shared, Reply>> =
        StaticCell::new();
    static PARCEL: ConstStaticCell<[Parcel; 1]> = ConstStaticCell::new([parcel::empty()]);
    static REPLY: ConstStaticCell<[Reply; 1]> = ConstStaticCell::new([Reply::new()]);
    static WORKER: StaticCell<ChipWorker> = StaticCell::new();
    static ORCHESTRATOR: StaticCell<ChipOrchestrator> = StaticCell::new();

    let mut ledger = flash::ledger().map(|ledger| ledger as &mut BoardLedger);
    let boot = kept::boot(ledger.as_deref_mut());
    let record = kept::record();
    let network = record.as_ref().and_then(Provision::network);
    let mut neighbours = heapless::Vec::<_, 4>::new();
    neighbours.extend(network.into_iter().flat_map(|it| it.neighbours()));
    let (give, work) = WORK
        .init(zerocopy_channel::Channel::new(PARCEL.take()))
        .split();
    let (reply, replies) = REPLIES
        .init(zerocopy_channel::Channel::new(REPLY.take()))
        .split();
    let worker = WORKER.init_with(|| Worker::new(&mut ARENA.take().0, BoardHost::new(ChipDevices)));
    let caller = CoapCaller::new(boot.seed as u16, REQUEST.receiver(), ANSWER.sender());
    let disk = DISK.take();
    let node = board::node(&boot, record, &[NETWORK], disk, ledger.as_deref_mut());
    let links = [OUTGOING.sender()];
    let orchestrator =
        ORCHESTRATOR.init_with(|| Orchestrator::new(node, links, give, caller, ledger));
    HEAP.seal();

    let tasks = in_interrupt(&NODE, Interrupt::Node, NODE_PRIORITY);
    spawn(tasks, orchestrate(orchestrator, replies));
    spawn(tasks, join(Neighbours::new(&neighbours), boot.seed));
    let tasks = in_interrupt(&INTERPRETER, Interrupt::Interpreter, INTERPRETER_PRIORITY);
    spawn(tasks, interpret(worker, work, reply));
}

/// Starts an executor in an interrupt.
fn in_interrupt(
    executor: &'static InterruptExecutor,
    interrupt: Interrupt,
    priority: u8,
) -> SendSpawner {
    // SAFETY: this is called before the interrupt is on, so that no critical section relies on its
    // priority; nothing else has the controller of interrupts.
    unsafe { Peripherals::steal().NVIC.set_priority(interrupt, priority) };
    executor.start(interrupt)
}

/// Starts a task. Each is started only once, so its place is free.
fn spawn<S: Send>(tasks: SendSpawner, task: Result<SpawnToken<S>, SpawnError>) {
    tasks.spawn(task.expect("each task is started once"));
}

// SAFETY: each handler does what its device or executor requires, and returns.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    match Interrupt::from_number(number) {
        Some(Interrupt::Timer0) => time::count(),
        Some(Interrupt::Timer1) => time::alarm(),
        Some(Interrupt::DualTimer) => time::rested(),
        Some(Interrupt::Ethernet) => ethernet::interrupt(),
        // SAFETY: this is the handler of the interrupt with which the executor was started, and nothing
        // else calls it.
        Some(Interrupt::Node) => unsafe { NODE.on_interrupt() },
        // SAFETY: as above.
        Some(Interrupt::Interpreter) => unsafe { INTERPRETER.on_interrupt() },
        // No other interrupt is on.
        None => {}
    }
}

#[task]
async fn interpret(
    worker: &'static mut ChipWorker,
    work: Receiver<'static, Shared, Parcel>,
    replies: Sender<'static, Shared, Reply>,
) {
    worker.run(work, replies).await;
}

#[task]
async fn orchestrate(
    orchestrator: &'static mut ChipOrchestrator,
    replies: Receiver<'static, Shared, Reply>,
) {
    orchestrator
        .run(ChipClock, INCOMING.receiver(), &ROOM, replies, ChipWatchdog)
        .await;
}

/// Starts the network, and the tasks that use it.
#[task]
async fn join(neighbours: Neighbours, seed: u64) {
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    // SAFETY: this is a task of such an executor, and what it awaits here does not change who wakes it.
    let tasks = unsafe { Spawner::for_current_executor().await };
    let resources = RESOURCES.init_with(StackResources::new);
    let by_dhcp = Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(Ethernet::start(), by_dhcp, resources, seed);
    tasks.spawn(carry(runner).expect("each task is started once"));
    tasks.spawn(exchange(stack, neighbours).expect("each task is started once"));
    tasks.spawn(answer(stack).expect("each task is started once"));
}

#[task]
async fn carry(mut runner: embassy_net::Runner<'static, Ethernet>) {
    runner.run().await
}

#[task]
async fn exchange(stack: Stack<'static>, neighbours: Neighbours) {
    let (incoming, outgoing) = (INCOMING.sender(), OUTGOING.receiver());
    datagrams::exchange(stack, LINK, neighbours, incoming, outgoing, &ROOM).await
}

#[task]
async fn answer(stack: Stack<'static>) {
    datagrams::answer(stack, REQUEST.sender(), ANSWER.receiver()).await
}
