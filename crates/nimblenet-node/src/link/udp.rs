//! Point-to-point links over UDP, together one link of the node.
//!
//! Each neighbour has an address; a frame for everyone goes to each of them. Datagrams from
//! other addresses are dropped: who is a neighbour is decided by the configuration, not by who
//! happens to know the port. Only an open link makes neighbours of whoever sends.

use alloc::sync::Arc;
use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nimblenet_core::LinkAddress;
use tokio::task::JoinSet;

use super::{Closed, Inlet, Link, LinkPlan, LinkStatus};

/// Neighbours that an open link learns; senders beyond that are strangers.
const MAX_LEARNT: usize = 64;
/// No datagram is longer.
const MAX_DATAGRAM_BYTES: usize = 65_536;

/// A link on a socket.
#[derive(Debug)]
pub(crate) struct UdpPlan {
    /// Where frames come in and go out.
    pub(crate) socket: UdpSocket,
    /// Where the neighbours are.
    pub(crate) neighbours: Vec<SocketAddr>,
    /// Whether frames are taken from anyone.
    pub(crate) open: bool,
    /// Bytes of the largest frame in a datagram.
    pub(crate) mtu: u16,
}

impl LinkPlan for UdpPlan {
    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn start(&self, inlet: Inlet, tasks: &mut JoinSet<()>) -> io::Result<Box<dyn Link>> {
        self.socket.set_nonblocking(true)?;
        let link = UdpLink::new(self.socket.try_clone()?, &self.neighbours, self.open)?;
        let socket = tokio::net::UdpSocket::from_std(self.socket.try_clone()?)?;
        tasks.spawn(listen(socket, Arc::clone(&link.peers), inlet));
        Ok(Box::new(link))
    }
}

async fn listen(socket: tokio::net::UdpSocket, peers: Arc<Mutex<Peers>>, inlet: Inlet) {
    let mut frame = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        match socket.recv_from(&mut frame).await {
            Ok((len, from)) => {
                let Some(from) = lock(&peers).receive(from, len) else {
                    continue;
                };
                if let Err(Closed) = inlet.give(from, frame[..len].to_vec()).await {
                    return;
                }
            }
            // A neighbour that is not up yet.
            Err(error) => tracing::trace!(%error, "mesh socket"),
        }
    }
}

/// The sending half of a socket, and who is who.
#[derive(Debug)]
struct UdpLink {
    socket: UdpSocket,
    peers: Arc<Mutex<Peers>>,
}

/// Who is who, and what has moved.
#[derive(Debug)]
struct Peers {
    neighbours: Vec<SocketAddr>,
    max_neighbours: usize,
    status: LinkStatus,
}

fn lock(peers: &Mutex<Peers>) -> MutexGuard<'_, Peers> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UdpLink {
    /// A link that sends through `socket`, which must not block. An `open` one takes frames from
    /// anyone.
    fn new(socket: UdpSocket, neighbours: &[SocketAddr], open: bool) -> io::Result<Self> {
        let learnt = if open { MAX_LEARNT } else { 0 };
        let status = LinkStatus {
            kind: "udp",
            name: socket.local_addr()?.to_string(),
            up: true,
            ..LinkStatus::default()
        };
        let peers = Peers {
            max_neighbours: neighbours.len() + learnt,
            neighbours: neighbours.to_vec(),
            status,
        };
        let peers = Arc::new(Mutex::new(peers));
        Ok(Self { socket, peers })
    }
}

impl Link for UdpLink {
    fn send(&mut self, to: Option<LinkAddress>, frame: &[u8]) {
        let mut peers = lock(&self.peers);
        let everyone = 0..peers.neighbours.len();
        let range = match to {
            None => everyone,
            Some(LinkAddress(at)) if everyone.contains(&(at as usize)) => {
                at as usize..at as usize + 1
            }
            Some(_) => return,
        };
        for at in range {
            let to = peers.neighbours[at];
            peers.send(&self.socket, to, frame);
        }
    }

    fn status(&self) -> LinkStatus {
        lock(&self.peers).status.clone()
    }
}

impl Peers {
    /// Counts a datagram that came in and says which neighbour it is from.
    fn receive(&mut self, from: SocketAddr, bytes: usize) -> Option<LinkAddress> {
        let known = self.neighbours.iter().position(|known| *known == from);
        let at = known.unwrap_or(self.neighbours.len());
        if known.is_none() {
            if at >= self.max_neighbours {
                self.status.strangers += 1;
                return None;
            }
            self.neighbours.push(from);
        }
        self.status.received += 1;
        self.status.received_bytes += bytes as u64;
        Some(LinkAddress(at as u32))
    }

    fn send(&mut self, socket: &UdpSocket, to: SocketAddr, frame: &[u8]) {
        // A neighbour that is down answers with a port-unreachable message, which the system
        // reports at the next send, whoever that is for; so one error is no reason to give up.
        for _ in 0..2 {
            match socket.send_to(frame, to) {
                Ok(bytes) => {
                    self.status.sent += 1;
                    self.status.sent_bytes += bytes as u64;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => break,
            }
        }
        self.status.dropped += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn a_frame_for_everyone_goes_to_each_neighbour_and_strangers_are_dropped() {
        let (a, _) = bound();
        let ((b, at_b), (c, at_c), (_, at_stranger)) = (bound(), bound(), bound());
        let mut link = UdpLink::new(a, &[at_b, at_c], false).unwrap();
        link.send(None, b"hello");
        link.send(Some(LinkAddress(1)), b"you");
        link.send(Some(LinkAddress(7)), b"nobody");
        let mut buffer = [0; 16];
        assert_eq!(b.recv(&mut buffer).unwrap(), 5);
        assert_eq!(c.recv(&mut buffer).unwrap(), 5);
        assert_eq!(c.recv(&mut buffer).unwrap(), 3);
        assert_eq!(lock(&link.peers).receive(at_c, 10), Some(LinkAddress(1)));
        assert_eq!(lock(&link.peers).receive(at_stranger, 10), None);
        let status = link.status();
        assert_eq!((status.sent, status.sent_bytes), (3, 13));
        assert_eq!((status.received_bytes, status.strangers), (10, 1));
    }

    #[test]
    fn an_open_link_learns_whoever_sends_up_to_a_limit() {
        let link = UdpLink::new(bound().0, &[], true).unwrap();
        let sender = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..=MAX_LEARNT as u16 {
            let at = LinkAddress(u32::from(port) - 1);
            assert_eq!(lock(&link.peers).receive(sender(port), 1), Some(at));
            assert_eq!(lock(&link.peers).receive(sender(port), 1), Some(at));
        }
        assert_eq!(lock(&link.peers).receive(sender(1000), 1), None);
        assert_eq!(link.status().strangers, 1);
    }
}
