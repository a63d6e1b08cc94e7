//! The groups through which clients discover CoAP nodes (RFC 7252 sections 8 and 12.8).
//!
//! A node listens to them at the port of its CoAP address. If that is a wildcard address, its own
//! socket listens on all interfaces; else sockets of their own listen on the interface of that
//! address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use crate::socket::{self, Ends, Receiver};

/// All CoAP nodes, IPv4.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 187);
/// All CoAP nodes on the link and at the site, IPv6.
const GROUPS_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfd),
    Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd),
];
/// The time between two searches for new interfaces.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The longest request to a group; a longer one is cut off, and so is not valid.
const MAX_REQUEST_BYTES: usize = 1280;

/// Listens to the groups, as far as the machine can: datagrams that come through other sockets than
/// `socket` go to `heard`. Must be called within a runtime.
///
/// # Errors
/// If the system does not know the address of `socket`, or has no more file descriptors.
pub(super) fn listen(
    socket: &UdpSocket,
    heard: &Sender<(Ends, Vec<u8>)>,
    tasks: &mut JoinSet<()>,
) -> io::Result<()> {
    let at = socket.local_addr()?;
    if at.ip().is_unspecified() {
        join_all(socket);
        tasks.spawn(join_later(socket.try_clone()?));
        return Ok(());
    }
    for group in own_sockets(at) {
        match group.and_then(|socket| Ok(socket::split(socket)?.1)) {
            Ok(receiver) => drop(tasks.spawn(forward(receiver, heard.clone()))),
            Err(error) => tracing::info!(%at, %error, "no discovery by multicast"),
        }
    }
    Ok(())
}

/// Joins the groups on interfaces that appear later.
async fn join_later(socket: UdpSocket) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        join_all(&socket);
    }
}

/// Joins the groups on every interface.
fn join_all(socket: &UdpSocket) {
    let is_v6 = socket.local_addr().is_ok_and(|at| at.is_ipv6());
    for (address, interface) in interfaces() {
        // An error means that the groups were joined before, or cannot be: neither matters.
        match address {
            IpAddr::V4(address) => drop(socket.join_multicast_v4(&GROUP_V4, &address)),
            IpAddr::V6(_) if is_v6 => {
                for group in &GROUPS_V6 {
                    let _ = socket.join_multicast_v6(group, interface);
                }
            }
            IpAddr::V6(_) => {}
        }
    }
}

/// The addresses of this machine whose interfaces can multicast, with their interfaces' numbers.
fn interfaces() -> Vec<(IpAddr, u32)> {
    let Ok(all) = getifaddrs() else {
        return Vec::new();
    };
    let can = InterfaceFlags::IFF_MULTICAST | InterfaceFlags::IFF_LOOPBACK;
    let able = all.filter(|one| one.flags.intersects(can));
    let found = able.filter_map(|one| {
        let address = socket::address(one.address.as_ref()?)?.ip();
        Some((address, if_nametoindex(&*one.interface_name).ok()?))
    });
    found.collect()
}

/// A socket for each group that a node at a certain address listens to.
fn own_sockets(at: SocketAddr) -> Vec<io::Result<UdpSocket>> {
    match at.ip() {
        IpAddr::V4(address) => {
            let socket = bind((GROUP_V4, at.port()).into());
            let joined = socket.and_then(|socket| {
                socket.join_multicast_v4(&GROUP_V4, &address)?;
                Ok(socket)
            });
            vec![joined]
        }
        IpAddr::V6(address) => {
            let known = interfaces();
            let found = known.iter().find(|(known, _)| *known == address);
            let interface = found.map_or(0, |(_, interface)| *interface);
            let groups = GROUPS_V6.iter().map(|group| {
                let place = SocketAddrV6::new(*group, at.port(), 0, interface);
                let socket = bind(place.into())?;
                socket.join_multicast_v6(group, interface)?;
                Ok(socket)
            });
            groups.collect()
        }
    }
}

/// A socket at a group's address, which other nodes of this machine may share.
fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

async fn forward(receiver: Receiver, heard: Sender<(Ends, Vec<u8>)>) {
    let mut buffer = [0; MAX_REQUEST_BYTES];
    loop {
        match receiver.receive(&mut buffer).await {
            Ok((len, ends)) => {
                if heard.send((ends, buffer[..len].to_vec())).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "multicast socket"),
        }
    }
}
