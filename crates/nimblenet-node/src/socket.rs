//! UDP sockets that know both ends of a datagram's path.
//!
//! A socket at a wildcard address takes datagrams for every address of the machine. An answer must
//! come from the address that was asked, or the asker takes it for a stranger's. So the socket
//! reads the local end with each datagram (`IP_PKTINFO`, RFC 3542), and sends from a given local
//! end.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd as _, RawFd};

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use tokio::io::Interest;

/// The two ends of a datagram's path. An IPv4 address is one even if the socket has it mapped into
/// IPv6, so that equal ends compare equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ends {
    /// The other machine's address and port.
    pub remote: SocketAddr,
    /// This machine's address: the one that a received datagram was sent to, which may be a
    /// group's, or the one to send from. If it is unspecified, the system chooses.
    pub local: IpAddr,
    /// The number of the interface, if the address alone does not determine it; else 0.
    pub interface: u32,
}

impl Ends {
    /// The path to `remote`, from the address that the system chooses.
    pub fn to(remote: SocketAddr) -> Self {
        let local = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self::new(remote, local, 0)
    }

    fn new(remote: SocketAddr, local: IpAddr, interface: u32) -> Self {
        let local = local.to_canonical();
        let tells = match local {
            IpAddr::V4(local) => !local.is_multicast(),
            IpAddr::V6(local) => !local.is_multicast() && !local.is_unicast_link_local(),
        };
        let mut remote = remote;
        match remote.ip().to_canonical() {
            IpAddr::V4(address) => remote = (address, remote.port()).into(),
            IpAddr::V6(_) => {}
        }
        if let SocketAddr::V6(remote) = &mut remote {
            remote.set_flowinfo(0);
        }
        Self {
            remote,
            local,
            interface: if tells { 0 } else { interface },
        }
    }

    /// Whether it was sent to a group of machines.
    pub fn is_multicast(&self) -> bool {
        self.local.is_multicast()
    }
}

/// The sending half of a socket. It never waits.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: UdpSocket,
    mapped: bool,
}

/// The receiving half of a socket.
#[derive(Debug)]
pub(crate) struct Receiver(tokio::net::UdpSocket);

/// Splits a socket, and makes it non-blocking. Must be called within a runtime.
///
/// # Errors
/// If the system has no more file descriptors, or does not report local addresses.
pub(crate) fn split(socket: UdpSocket) -> io::Result<(Sender, Receiver)> {
    socket.set_nonblocking(true)?;
    let mapped = socket.local_addr()?.is_ipv6();
    if mapped {
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    }
    let receiver = Receiver(tokio::net::UdpSocket::from_std(socket.try_clone()?)?);
    Ok((Sender { socket, mapped }, receiver))
}

impl Receiver {
    /// Waits for a datagram; returns its length and its ends.
    ///
    /// # Errors
    /// What the system reports, which may be about a datagram sent before.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
        let file = self.0.as_raw_fd();
        let receive = || receive(file, buffer);
        self.0.async_io(Interest::READABLE, receive).await
    }
}

fn receive(file: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
    let mut space = cmsg_space!(in_pktinfo, in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrStorage>(file, &mut parts, Some(&mut space), flags)?;
    let remote = message.address.as_ref().and_then(address);
    let remote = remote.ok_or(io::ErrorKind::InvalidData)?;
    let mut ends = Ends::to(remote);
    for told in message.cmsgs()? {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = told {
            let group = v4(info.ipi_addr);
            let own = v4(info.ipi_spec_dst);
            let local = if group.is_multicast() { group } else { own };
            ends = Ends::new(remote, local.into(), info.ipi_ifindex as u32);
        } else if let ControlMessageOwned::Ipv6PacketInfo(info) = told {
            let local = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            ends = Ends::new(remote, local.into(), info.ipi6_ifindex);
        }
    }
    Ok((message.bytes, ends))
}

/// The address in the system's form; nothing if it is no IP address.
pub(crate) fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in();
    let v6 = from.as_sockaddr_in6();
    let v4 = v4.map(|it| SocketAddr::from((it.ip(), it.port())));
    v4.or_else(|| v6.map(|it| core::net::SocketAddrV6::from(*it).into()))
}

fn v4(address: in_addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from_be(address.s_addr))
}

impl Sender {
    /// The address of the socket.
    ///
    /// # Errors
    /// If the system does not know.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends a datagram to the remote end, from the local end if that is an address of this
    /// machine, else from the address that the system chooses.
    ///
    /// # Errors
    /// What the system reports, which may be about a datagram sent before.
    pub(crate) fn send(&self, ends: &Ends, bytes: &[u8]) -> io::Result<()> {
        let own = !ends.local.is_unspecified() && !ends.is_multicast();
        if !own && ends.interface == 0 {
            return self.transmit(ends.remote, bytes, &[]);
        }
        let remote = ends.remote;
        let interface = ends.interface;
        if self.mapped {
            let local = match ends.local {
                IpAddr::V4(local) if own => local.to_ipv6_mapped(),
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
                IpAddr::V6(local) if own => local,
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED,
            };
            let from = in6_pktinfo {
                ipi6_addr: in6_addr {
                    s6_addr: local.octets(),
                },
                ipi6_ifindex: interface,
            };
            return self.transmit(remote, bytes, &[ControlMessage::Ipv6PacketInfo(&from)]);
        }
        let local = match ends.local {
            IpAddr::V4(local) if own => local,
            IpAddr::V4(_) | IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let from = in_pktinfo {
            ipi_ifindex: interface as i32,
            ipi_spec_dst: in_addr {
                s_addr: u32::from(local).to_be(),
            },
            ipi_addr: in_addr { s_addr: 0 },
        };
        self.transmit(remote, bytes, &[ControlMessage::Ipv4PacketInfo(&from)])
    }

    fn transmit(
        &self,
        remote: SocketAddr,
        bytes: &[u8],
        from: &[ControlMessage<'_>],
    ) -> io::Result<()> {
        let remote = match remote {
            SocketAddr::V4(remote) if self.mapped => {
                SocketAddr::from((remote.ip().to_ipv6_mapped(), remote.port()))
            }
            remote @ (SocketAddr::V4(_) | SocketAddr::V6(_)) => remote,
        };
        let file = self.socket.as_raw_fd();
        let to = SockaddrStorage::from(remote);
        sendmsg(
            file,
            &[IoSlice::new(bytes)],
            from,
            MsgFlags::empty(),
            Some(&to),
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(at: &str, asker: &str, asked: &str) {
        let (sender, receiver) = split(UdpSocket::bind(at).unwrap()).unwrap();
        let port = sender.address().unwrap().port();
        let client = UdpSocket::bind((asker, 0)).unwrap();
        let asked: IpAddr = asked.parse().unwrap();
        client.send_to(b"asked", (asked, port)).unwrap();
        let mut buffer = [0; 16];
        let (len, ends) = receiver.receive(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..len], b"asked");
        assert_eq!(ends.remote, client.local_addr().unwrap(), "{at} {asked}");
        assert_eq!(ends.local, asked, "{at}");
        sender.send(&ends, b"answer").unwrap();
        let (_, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(from, (asked, port).into(), "{at}");
    }

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        for asked in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
            answered("0.0.0.0:0", "127.0.0.1", asked).await;
            answered("[::]:0", "127.0.0.1", asked).await;
        }
        answered("127.0.0.2:0", "127.0.0.1", "127.0.0.2").await;
        answered("[::]:0", "::1", "::1").await;
        answered("[::1]:0", "::1", "::1").await;
    }

    #[test]
    fn mapped_addresses_equal_those_that_they_stand_for() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:4000".parse().unwrap();
        let plain: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        assert_eq!(Ends::to(mapped), Ends::to(plain));
        let local = "::ffff:192.0.2.9".parse().unwrap();
        let ends = Ends::new(mapped, local, 3);
        let same = Ends::new(plain, "192.0.2.9".parse().unwrap(), 4);
        assert_eq!(ends, same);
    }
}
