//! A Raspberry Pi Pico W: one link of datagrams on a WiFi network, one serial link, and CoAP.
//!
//! The emulator has no radio: this module has been compiled and never run.

mod nvram;

use core::net::SocketAddrV4;

use aligned::{A4, Aligned as InWords};
use cyw43::{JoinOptions, NetDriver, PowerManagementMode, SpiBus};
use cyw43_pio::{DEFAULT_CLOCK_DIVIDER, PioSpi};
use embassy_executor::{Spawner, task};
use embassy_net::{Config as NetConfig, Stack, StackResources};
use embassy_rp::gpio::{Level, Output};
use embassy_rp::interrupt::typelevel::{Binding, DMA_IRQ_0, PIO0_IRQ_0};
use embassy_rp::peripherals::{CORE1, DMA_CH0, PIO0};
use embassy_rp::pio::Pio;
use embassy_rp::uart::BufferedUart;
use embassy_rp::{Peri, Peripherals, dma, pio};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Shared;
use embassy_sync::channel::Channel;
use embassy_time::{Duration, Timer};
use nimblenet_board::calls::{ANSWERS, CoapCaller, Datagram, MAX_REQUEST_BYTES, REQUESTS};
use nimblenet_board::coap::MAX_MESSAGE_BYTES;
use nimblenet_board::datagrams::{self, SOCKETS};
use nimblenet_board::ledger::BoardLedger;
use nimblenet_board::neighbours::Neighbours;
use nimblenet_board::provision::{Network, Provision};
use nimblenet_board::start::{LINE, NETWORK};
use nimblenet_core::LinkId;
use static_cell::{ConstStaticCell, StaticCell};

use crate::devices::pins;
use crate::flash::ledger;
use crate::interpreter::Arena;
use crate::node::{INCOMING, OUTGOING, Place, ROOM};
use crate::uart::{Buffers, Interrupts, line_config};
use crate::{
    ChipClock, ChipDevices, ChipWatchdog, InterpreterSide, NodeSide, boot, record, seal_heap,
    start as start_task,
};

use nvram::NVRAM;

/// The link of the radio; the serial line is link 0.
const RADIO: LinkId = LinkId(1);
/// The length of the arena: the memory that radio and network leave.
const ARENA_BYTES: usize = 96 << 10;
/// The length of the disk: the radio and the network leave 10 KiB for the entries of catalogues.
const DISK_BYTES: usize = 54 << 10;
/// The time after which a board looks again for a network that it has not found.
const REJOIN: Duration = Duration::from_secs(5);

static ARENA: ConstStaticCell<Arena<ARENA_BYTES>> = ConstStaticCell::new(Arena([0; ARENA_BYTES]));
static DISK: ConstStaticCell<[u8; DISK_BYTES]> = ConstStaticCell::new([0; DISK_BYTES]);
static REQUEST: Channel<Shared, Datagram<SocketAddrV4, MAX_REQUEST_BYTES>, REQUESTS> =
    Channel::new();
static ANSWER: Channel<Shared, Datagram<SocketAddrV4, MAX_MESSAGE_BYTES>, ANSWERS> = Channel::new();

type Wire = PioSpi<'static, PIO0, 0>;
/// Makes the calls of CoAP clients on the network.
pub type WifiCaller = CoapCaller<'static, Shared, SocketAddrV4>;

/// The parts of a board, each for a task.
pub struct WifiBoard {
    /// For [`receive`](super::uart::receive) and [`send`](super::uart::send), as link 0.
    pub line: BufferedUart,
    /// For [`join`].
    pub radio: RadioSide,
    /// For [`orchestrate`].
    pub node: NodeSide<WifiCaller>,
    /// For [`interpret`](crate::interpret).
    pub interpreter: InterpreterSide,
    /// The second core.
    pub core1: Peri<'static, CORE1>,
}

/// The radio, and the network that it must join.
pub struct RadioSide {
    power: Output<'static>,
    wire: Wire,
    network: Option<Network>,
    seed: u64,
}

impl WifiBoard {
    /// Makes all parts, and seals the heap.
    ///
    /// # Panics
    /// If it is called twice.
    pub fn start<I>(chip: Peripherals, interrupts: I) -> Self
    where
        I: Binding<PIO0_IRQ_0, pio::InterruptHandler<PIO0>>
            + Binding<DMA_IRQ_0, dma::InterruptHandler<DMA_CH0>>
            + Copy
            + 'static,
    {
        static BUFFERS: Buffers = Buffers::new();
        static NODE: Place<WifiCaller> = Place::new();

        let watchdog = ChipWatchdog::new(chip.WATCHDOG);
        let mut ledger = ledger().map(|ledger| ledger as &mut BoardLedger);
        let boot = boot(&watchdog, ledger.as_deref_mut());
        let (sending, received, line) = (
            BUFFERS.sending.take(),
            BUFFERS.received.take(),
            line_config(),
        );
        let line = BufferedUart::new(
            chip.UART0, chip.PIN_0, chip.PIN_1, Interrupts, sending, received, line,
        );
        let power = Output::new(chip.PIN_23, Level::Low);
        let select = Output::new(chip.PIN_25, Level::High);
        let mut pio = Pio::new(chip.PIO0, interrupts);
        let wire = PioSpi::new(
            &mut pio.common,
            pio.sm0,
            DEFAULT_CLOCK_DIVIDER,
            pio.irq0,
            select,
            chip.PIN_24,
            chip.PIN_29,
            dma::Channel::new(chip.DMA_CH0, interrupts),
        );
        let pins = pins!(chip: 2 PIN_2, 3 PIN_3, 4 PIN_4, 5 PIN_5, 6 PIN_6, 7 PIN_7, 8 PIN_8,
            9 PIN_9, 10 PIN_10, 11 PIN_11, 12 PIN_12, 13 PIN_13, 14 PIN_14, 15 PIN_15, 16 PIN_16,
            17 PIN_17, 18 PIN_18, 19 PIN_19, 20 PIN_20, 21 PIN_21, 22 PIN_22);
        let devices = ChipDevices::new(chip.ADC, chip.ADC_TEMP_SENSOR, pins);
        let (interpreter, ends) = InterpreterSide::new(&mut ARENA.take().0, devices);
        let caller = CoapCaller::new(boot.seed as u16, REQUEST.receiver(), ANSWER.sender());
        let record = record(Provision::decode);
        let network = record.as_ref().and_then(Provision::network).cloned();
        let node = NodeSide::new(
            &NODE,
            (&boot, record),
            &[LINE, NETWORK],
            DISK.take(),
            watchdog,
            ends,
            (caller, ledger),
        );
        seal_heap();
        Self {
            line,
            radio: RadioSide {
                power,
                wire,
                network,
                seed: boot.seed,
            },
            node,
            interpreter,
            core1: chip.CORE1,
        }
    }
}

/// The task that runs the node.
#[task]
pub async fn orchestrate(side: NodeSide<WifiCaller>) {
    let NodeSide {
        orchestrator,
        replies,
        watchdog,
    } = side;
    orchestrator
        .run(ChipClock, INCOMING.receiver(), &ROOM, replies, watchdog)
        .await;
}

/// Starts the radio and keeps it on the network of the board's record; without one it stays off.
#[task]
pub async fn join(tasks: Spawner, side: RadioSide) {
    static FIRMWARE: InWords<A4, [u8; cyw43_firmware::CYW43_43439A0.len()]> =
        InWords(*cyw43_firmware::CYW43_43439A0);
    static CIRCUIT: InWords<A4, [u8; NVRAM.len()]> = {
        let mut bytes = [0; NVRAM.len()];
        bytes.copy_from_slice(NVRAM);
        InWords(bytes)
    };
    static STATE: StaticCell<cyw43::State> = StaticCell::new();
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();

    let RadioSide {
        power,
        wire,
        network,
        seed,
    } = side;
    let Some(network) = network else {
        // Take the frames for this link, since they would fill a queue of the node.
        return discard().await;
    };
    let state = STATE.init_with(cyw43::State::new);
    let (device, mut control, runner) = cyw43::new(state, power, wire, &FIRMWARE, &CIRCUIT).await;
    start_task(tasks, radio(runner));
    control.init(cyw43_firmware::CYW43_43439A0_CLM).await;
    // Frames of neighbours should not wait for a beacon.
    let mode = PowerManagementMode::Performance;
    control.set_power_management(mode).await;

    let resources = RESOURCES.init_with(StackResources::new);
    let by_dhcp = NetConfig::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(device, by_dhcp, resources, seed);
    start_task(tasks, carry(runner));
    let mut neighbours = heapless::Vec::<_, 4>::new();
    neighbours.extend(network.neighbours());
    start_task(tasks, exchange(stack, Neighbours::new(&neighbours)));
    start_task(tasks, answer(stack));
    loop {
        let secret = network.passphrase().map(str::as_bytes);
        let options = secret.map_or_else(JoinOptions::new_open, JoinOptions::new);
        match control.join(network.name(), options).await {
            Ok(()) => stack.wait_link_down().await,
            Err(_) => Timer::after(REJOIN).await,
        }
    }
}

/// Takes and drops the frames for a link that is not there.
async fn discard() {
    loop {
        OUTGOING[usize::from(RADIO.0)].receive().await;
        ROOM.signal(());
    }
}

#[task]
async fn radio(runner: cyw43::Runner<'static, SpiBus<Output<'static>, Wire>>) {
    runner.run().await
}

#[task]
async fn carry(mut runner: embassy_net::Runner<'static, NetDriver<'static>>) {
    runner.run().await
}

/// Carries frames between the node and its neighbours on the network.
#[task]
async fn exchange(stack: Stack<'static>, neighbours: Neighbours) {
    let (incoming, outgoing) = (INCOMING.sender(), OUTGOING[usize::from(RADIO.0)].receiver());
    datagrams::exchange(stack, RADIO, neighbours, incoming, outgoing, &ROOM).await
}

/// Carries CoAP messages between clients and the node's caller.
#[task]
async fn answer(stack: Stack<'static>) {
    datagrams::answer(stack, REQUEST.sender(), ANSWER.receiver()).await
}
