//! A Raspberry Pi Pico W: one link of datagrams on a WiFi network, one serial link, and CoAP.
//!
//! Nothing of the radio is in the emulator: this module has been compiled and no more.

mod nvram;

use core::net::SocketAddrV4;

use aligned::{A4, Aligned as InWords};
use cyw43::{JoinOptions, NetDriver, PowerManagementMode, SpiBus};
use cyw43_pio::{DEFAULT_CLOCK_DIVIDER, PioSpi};
use embassy_executor::{Spawner, task};
use embassy_futures::select::{Either, select};
use embassy_net::udp::{PacketMetadata, UdpMetadata, UdpSocket};
use embassy_net::{Config as NetConfig, IpAddress, Stack, StackResources};
use embassy_rp::gpio::{Level, Output};
use embassy_rp::interrupt::typelevel::{Binding, DMA_IRQ_0, PIO0_IRQ_0};
use embassy_rp::peripherals::{CORE1, DMA_CH0, PIO0};
use embassy_rp::pio::Pio;
use embassy_rp::uart::{BufferedUart, Config};
use embassy_rp::{Peri, Peripherals, dma, pio};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Shared;
use embassy_sync::channel::Channel;
use embassy_sync::zerocopy_channel;
use embassy_time::{Duration, Timer, with_timeout};
use nimblenet_board::provision::{Network, Provision};
use nimblenet_core::cache::Disk;
use nimblenet_core::{LinkId, Node};
use nimblenet_tasklet::NodeId;
use static_cell::{ConstStaticCell, StaticCell};

use super::uart::{
    Aligned, BAUD, DISK, INCOMING, InterpreterSide, Interrupts, LINES, OUTGOING, RECEIVED_BYTES,
    ROOM, SENDING_BYTES,
};
use super::{
    ChipClock, ChipDevices, ChipWatchdog, boot, provision_sector, seal_heap, start as start_task,
};
use nimblenet_board::calls::{ANSWERS, CoapCaller, Datagram, MAX_REQUEST_BYTES, REQUESTS};
use nimblenet_board::coap::MAX_MESSAGE_BYTES;
use nimblenet_board::framing::{Frame, MAX_FRAME_BYTES};
use nimblenet_board::neighbours::{Neighbours, PORT};
use nimblenet_board::orchestrator::{Arrival, Departure, Orchestrator};
use nimblenet_board::parcel::Answer;
use nimblenet_board::start::config;

use nvram::NVRAM;

/// The link of the radio; the serial line is link 0.
const RADIO: LinkId = LinkId(1);
/// Where CoAP servers listen.
const COAP_PORT: u16 = 5683;
/// Room to run modules in: what radio and network leave.
const ARENA_BYTES: usize = 96 << 10;
/// Until a network that was not found is looked for again.
const REJOIN: Duration = Duration::from_secs(5);
/// A neighbour that is not there holds up frames for others for no longer than this.
const HOLDUP: Duration = Duration::from_millis(200);
/// Frames that the network holds in each direction.
const FRAMES: usize = 4;
/// Sockets: frames, CoAP, DHCP.
const SOCKETS: usize = 3;

static ARENA: ConstStaticCell<Aligned<ARENA_BYTES>> =
    ConstStaticCell::new(Aligned([0; ARENA_BYTES]));
static REQUEST: Channel<Shared, Datagram<SocketAddrV4, MAX_REQUEST_BYTES>, REQUESTS> =
    Channel::new();
static ANSWER: Channel<Shared, Datagram<SocketAddrV4, MAX_MESSAGE_BYTES>, ANSWERS> = Channel::new();

type Wire = PioSpi<'static, PIO0, 0>;
type WifiCaller = CoapCaller<'static, Shared, SocketAddrV4>;
type WifiOrchestrator = Orchestrator<'static, Shared, LINES, WifiCaller>;

/// The parts of a board, each for a task.
pub struct WifiBoard {
    /// For [`receive`](super::uart::receive) and [`send`](super::uart::send), as link 0.
    pub line: BufferedUart,
    /// For [`join`].
    pub radio: RadioSide,
    /// For [`orchestrate`].
    pub node: NodeSide,
    /// For [`work`](super::uart::work).
    pub interpreter: InterpreterSide,
    /// The second core.
    pub core1: Peri<'static, CORE1>,
}

/// The radio, and the network that it is to be on.
pub struct RadioSide {
    power: Output<'static>,
    wire: Wire,
    network: Option<Network>,
    seed: u64,
}

/// The node, the answers that it waits for, and its watchdog.
pub struct NodeSide {
    orchestrator: &'static mut WifiOrchestrator,
    answers: zerocopy_channel::Receiver<'static, Shared, Answer>,
    watchdog: ChipWatchdog,
}

impl WifiBoard {
    /// Makes everything; afterwards no memory can be taken any more.
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
        static SENDING: ConstStaticCell<[u8; SENDING_BYTES]> =
            ConstStaticCell::new([0; SENDING_BYTES]);
        static RECEIVED: ConstStaticCell<[u8; RECEIVED_BYTES]> =
            ConstStaticCell::new([0; RECEIVED_BYTES]);
        static ORCHESTRATOR: StaticCell<WifiOrchestrator> = StaticCell::new();

        let mut watchdog = ChipWatchdog::new(chip.WATCHDOG);
        let boot = boot(&mut watchdog);

        let mut config_of_line = Config::default();
        config_of_line.baudrate = BAUD;
        let line = BufferedUart::new(
            chip.UART0,
            chip.PIN_0,
            chip.PIN_1,
            Interrupts,
            SENDING.take(),
            RECEIVED.take(),
            config_of_line,
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
        let devices = ChipDevices::new(
            chip.ADC,
            chip.ADC_TEMP_SENSOR,
            [
                (2, chip.PIN_2.into()),
                (3, chip.PIN_3.into()),
                (4, chip.PIN_4.into()),
                (5, chip.PIN_5.into()),
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
            ],
        );

        // A board that nobody has given a name yet forwards frames and runs nothing.
        let (id, namespaces, network) = match Provision::decode(provision_sector()) {
            Ok(provision) => {
                let network = provision.network().cloned();
                (provision.id(), provision.into_namespaces(), network)
            }
            Err(_) => (
                NodeId(boot.seed as u16 & 0x7fff),
                alloc::vec::Vec::new(),
                None,
            ),
        };
        let config = config(id, namespaces, LINES, boot.first_sequence, boot.seed);
        let disk: &'static mut [u8] = DISK.take();
        let mut node = Node::with_disk(config, Disk::from(disk)).expect("its parts fit");
        if let Some(crash) = boot.crash {
            crash.report(boot.first_sequence, |report| node.report(report));
        }
        let outgoing = [OUTGOING[0].sender(), OUTGOING[1].sender()];
        let (interpreter, give, hear) = InterpreterSide::new(&mut ARENA.take().0, devices);
        let caller = CoapCaller::new(boot.seed as u16, REQUEST.receiver(), ANSWER.sender());
        let board = Self {
            line,
            radio: RadioSide {
                power,
                wire,
                network,
                seed: boot.seed,
            },
            node: NodeSide {
                orchestrator: ORCHESTRATOR
                    .init_with(|| Orchestrator::new(node, outgoing, give, caller)),
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
        // Nobody else takes frames for this link, and those that wait fill a queue of the node.
        return discard().await;
    };
    let state = STATE.init_with(cyw43::State::new);
    let (device, mut control, runner) = cyw43::new(state, power, wire, &FIRMWARE, &CIRCUIT).await;
    start_task(tasks, radio(runner));
    control.init(cyw43_firmware::CYW43_43439A0_CLM).await;
    // Frames of neighbours are short and should not wait for a beacon.
    let mode = PowerManagementMode::Performance;
    control.set_power_management(mode).await;

    let resources = RESOURCES.init_with(StackResources::new);
    let by_dhcp = NetConfig::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(device, by_dhcp, resources, seed);
    start_task(tasks, carry(runner));
    let mut neighbours = heapless::Vec::<_, FRAMES>::new();
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

/// Takes the frames of a link that is not there.
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

/// The sender of a datagram.
fn sender(about: &UdpMetadata) -> SocketAddrV4 {
    let IpAddress::Ipv4(address) = about.endpoint.addr;
    SocketAddrV4::new(address, about.endpoint.port)
}

/// Carries frames between the node and its neighbours on the network.
#[task]
async fn exchange(stack: Stack<'static>, mut neighbours: Neighbours) {
    let mut about = (
        [PacketMetadata::EMPTY; FRAMES],
        [PacketMetadata::EMPTY; FRAMES],
    );
    let mut room = ([0; FRAMES * MAX_FRAME_BYTES], [0; FRAMES * MAX_FRAME_BYTES]);
    let mut socket = UdpSocket::new(stack, &mut about.0, &mut room.0, &mut about.1, &mut room.1);
    socket.bind(PORT).expect("the port is free");
    let outgoing = OUTGOING[usize::from(RADIO.0)].receiver();
    let mut bytes = [0; MAX_FRAME_BYTES];
    loop {
        match select(socket.recv_from(&mut bytes), outgoing.receive()).await {
            Either::First(Ok((length, about))) => {
                let own = stack.config_v4().map(|config| config.address.address());
                let from = own.and_then(|own| neighbours.receive(sender(&about), own));
                let frame = Frame::from_slice(&bytes[..length]);
                if let (Some(from), Ok(frame)) = (from, frame) {
                    let link = RADIO;
                    // One that nobody takes is lost, as it may be in the air.
                    let _ = INCOMING.try_send(Arrival { link, from, frame });
                }
            }
            // Longer than any frame.
            Either::First(Err(_)) => {}
            Either::Second(Departure { to, frame }) => {
                ROOM.signal(());
                for neighbour in neighbours.targets(to) {
                    let sent = socket.send_to(&frame, *neighbour);
                    if with_timeout(HOLDUP, sent).await.is_err() {
                        // What waits first is for a host that does not say where it is.
                        socket.close();
                        socket.bind(PORT).expect("the port is free");
                    }
                }
            }
        }
    }
}

/// Carries CoAP messages between clients and who calls for them.
#[task]
async fn answer(stack: Stack<'static>) {
    let mut about = (
        [PacketMetadata::EMPTY; REQUESTS],
        [PacketMetadata::EMPTY; ANSWERS],
    );
    let mut room = (
        [0; REQUESTS * MAX_REQUEST_BYTES],
        [0; ANSWERS * MAX_MESSAGE_BYTES],
    );
    let mut socket = UdpSocket::new(stack, &mut about.0, &mut room.0, &mut about.1, &mut room.1);
    socket.bind(COAP_PORT).expect("the port is free");
    let mut bytes = [0; MAX_REQUEST_BYTES];
    loop {
        match select(socket.recv_from(&mut bytes), ANSWER.receive()).await {
            Either::First(Ok((length, about))) => {
                let peer = sender(&about);
                if let Ok(bytes) = heapless::Vec::from_slice(&bytes[..length]) {
                    // Clients repeat what nobody takes.
                    let _ = REQUEST.try_send(Datagram { peer, bytes });
                }
            }
            Either::First(Err(_)) => {}
            Either::Second(Datagram { peer, bytes }) => {
                let sent = socket.send_to(&bytes, peer);
                if with_timeout(HOLDUP, sent).await.is_err() {
                    socket.close();
                    socket.bind(COAP_PORT).expect("the port is free");
                }
            }
        }
    }
}
