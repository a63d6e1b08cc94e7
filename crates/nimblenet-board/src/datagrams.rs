//! The tasks of a link whose frames are datagrams of a network, and of CoAP beside it, on a board whose
//! network stack is smoltcp (spec/board.md, section 3).

use core::net::SocketAddrV4;

use embassy_futures::select::{Either, select};
use embassy_net::udp::{PacketMetadata, UdpMetadata, UdpSocket};
use embassy_net::{IpAddress, Stack};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::channel::{Receiver, Sender};
use embassy_sync::signal::Signal;
use embassy_time::{Duration, with_timeout};
use nimblenet_core::LinkId;

use crate::calls::{ANSWERS, Datagram, MAX_REQUEST_BYTES, REQUESTS};
use crate::coap::MAX_MESSAGE_BYTES;
use crate::framing::{Frame, MAX_FRAME_BYTES};
use crate::neighbours::{Neighbours, PORT};
use crate::orchestrator::{Arrival, Departure, INCOMING_FRAMES, OUTGOING_FRAMES};

/// The UDP port for CoAP.
const COAP_PORT: u16 = 5683;
/// The longest time for which a missing neighbour holds up frames for others.
const HOLDUP: Duration = Duration::from_millis(200);
/// How many frames the network holds in each direction.
const FRAMES: usize = 4;
/// The number of sockets of a stack: for frames, CoAP and DHCP.
pub const SOCKETS: usize = 3;

/// The sender of a datagram.
fn sender(about: &UdpMetadata) -> SocketAddrV4 {
    let IpAddress::Ipv4(address) = about.endpoint.addr;
    SocketAddrV4::new(address, about.endpoint.port)
}

/// Carries frames between the node and its neighbours on the network, as its link `link`.
///
/// # Panics
/// If it runs twice on one stack.
pub async fn exchange<M: RawMutex>(
    stack: Stack<'static>,
    link: LinkId,
    mut neighbours: Neighbours,
    incoming: Sender<'_, M, Arrival, INCOMING_FRAMES>,
    outgoing: Receiver<'_, M, Departure, OUTGOING_FRAMES>,
    room_again: &Signal<M, ()>,
) {
    let mut about = (
        [PacketMetadata::EMPTY; FRAMES],
        [PacketMetadata::EMPTY; FRAMES],
    );
    let mut room = ([0; FRAMES * MAX_FRAME_BYTES], [0; FRAMES * MAX_FRAME_BYTES]);
    let mut socket = UdpSocket::new(stack, &mut about.0, &mut room.0, &mut about.1, &mut room.1);
    socket.bind(PORT).expect("the port is free");
    let mut bytes = [0; MAX_FRAME_BYTES];
    loop {
        match select(socket.recv_from(&mut bytes), outgoing.receive()).await {
            Either::First(Ok((length, about))) => {
                let own = stack.config_v4().map(|config| config.address.address());
                let from = own.and_then(|own| neighbours.receive(sender(&about), own));
                let frame = Frame::from_slice(&bytes[..length]);
                if let (Some(from), Ok(frame)) = (from, frame) {
                    // A frame for which there is no room is lost, as it may be lost in the air.
                    let _ = incoming.try_send(Arrival { link, from, frame });
                }
            }
            // The datagram is longer than any frame.
            Either::First(Err(_)) => {}
            Either::Second(Departure { to, frame }) => {
                room_again.signal(());
                for neighbour in neighbours.targets(to) {
                    let sent = socket.send_to(&frame, *neighbour);
                    if with_timeout(HOLDUP, sent).await.is_err() {
                        // The first datagram is for a host whose hardware address is not found.
                        socket.close();
                        socket.bind(PORT).expect("the port is free");
                    }
                }
            }
        }
    }
}

/// Carries CoAP messages between clients and the node's caller.
///
/// # Panics
/// If it runs twice on one stack.
pub async fn answer<M: RawMutex>(
    stack: Stack<'static>,
    requests: Sender<'_, M, Datagram<SocketAddrV4, MAX_REQUEST_BYTES>, REQUESTS>,
    answers: Receiver<'_, M, Datagram<SocketAddrV4, MAX_MESSAGE_BYTES>, ANSWERS>,
) {
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
        match select(socket.recv_from(&mut bytes), answers.receive()).await {
            Either::First(Ok((length, about))) => {
                let peer = sender(&about);
                if let Ok(bytes) = heapless::Vec::from_slice(&bytes[..length]) {
                    // If there is no room for a request, its client repeats it.
                    let _ = requests.try_send(Datagram { peer, bytes });
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
