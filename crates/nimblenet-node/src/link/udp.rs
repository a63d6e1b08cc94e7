//! Point-to-point links over UDP, together one link of the node.
//!
//! Each neighbour has an address; a frame for everyone goes to each of them. Datagrams from
//! other addresses are dropped: who is a neighbour is decided by the configuration, not by who
//! happens to know the port. Only an open link makes neighbours of whoever sends.

use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;

use nimblenet_core::LinkAddress;

/// What a link has moved since it started, as the operating system took and gave it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LinkCounters {
    /// Datagrams sent.
    pub sent: u64,
    /// Their bytes, without headers of lower layers.
    pub sent_bytes: u64,
    /// Datagrams received from neighbours.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Datagrams from addresses that are no neighbours.
    pub strangers: u64,
    /// Datagrams that the system did not take.
    pub refused: u64,
}

/// Neighbours that an open link learns; senders beyond that are strangers.
const MAX_LEARNT: usize = 64;

/// The sending half of a socket, and who is who.
#[derive(Debug)]
pub struct UdpLink {
    socket: UdpSocket,
    neighbours: Vec<SocketAddr>,
    max_neighbours: usize,
    counters: LinkCounters,
}

impl UdpLink {
    /// A link that sends through `socket`, which must not block. An `open` one takes frames from
    /// anyone.
    pub fn new(socket: UdpSocket, neighbours: Vec<SocketAddr>, open: bool) -> Self {
        let learnt = if open { MAX_LEARNT } else { 0 };
        Self {
            socket,
            max_neighbours: neighbours.len() + learnt,
            neighbours,
            counters: LinkCounters::default(),
        }
    }

    /// What it has moved.
    pub fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// Sends a frame to one neighbour, or to each.
    pub fn send(&mut self, to: Option<LinkAddress>, frame: &[u8]) {
        let everyone = 0..self.neighbours.len();
        let range = match to {
            None => everyone,
            Some(LinkAddress(at)) if everyone.contains(&(at as usize)) => {
                at as usize..at as usize + 1
            }
            Some(_) => return,
        };
        for at in range {
            self.send_to(self.neighbours[at], frame);
        }
    }

    /// Counts a datagram that came in and says which neighbour it is from.
    pub fn receive(&mut self, from: SocketAddr, bytes: usize) -> Option<LinkAddress> {
        let known = self.neighbours.iter().position(|known| *known == from);
        let at = known.unwrap_or(self.neighbours.len());
        if known.is_none() {
            if at >= self.max_neighbours {
                self.counters.strangers += 1;
                return None;
            }
            self.neighbours.push(from);
        }
        self.counters.received += 1;
        self.counters.received_bytes += bytes as u64;
        Some(LinkAddress(at as u32))
    }

    fn send_to(&mut self, to: SocketAddr, frame: &[u8]) {
        // A neighbour that is down answers with a port-unreachable message, which the system
        // reports at the next send, whoever that is for; so one error is no reason to give up.
        for _ in 0..2 {
            match self.socket.send_to(frame, to) {
                Ok(bytes) => {
                    self.counters.sent += 1;
                    self.counters.sent_bytes += bytes as u64;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => break,
            }
        }
        self.counters.refused += 1;
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
        let mut link = UdpLink::new(a, vec![at_b, at_c], false);
        link.send(None, b"hello");
        link.send(Some(LinkAddress(1)), b"you");
        link.send(Some(LinkAddress(7)), b"nobody");
        let mut buffer = [0; 16];
        assert_eq!(b.recv(&mut buffer).unwrap(), 5);
        assert_eq!(c.recv(&mut buffer).unwrap(), 5);
        assert_eq!(c.recv(&mut buffer).unwrap(), 3);
        assert_eq!(link.receive(at_c, 10), Some(LinkAddress(1)));
        assert_eq!(link.receive(at_stranger, 10), None);
        let counters = link.counters();
        assert_eq!((counters.sent, counters.sent_bytes), (3, 13));
        assert_eq!((counters.received_bytes, counters.strangers), (10, 1));
    }

    #[test]
    fn an_open_link_learns_whoever_sends_up_to_a_limit() {
        let mut link = UdpLink::new(bound().0, Vec::new(), true);
        let sender = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..=MAX_LEARNT as u16 {
            let at = LinkAddress(u32::from(port) - 1);
            assert_eq!(link.receive(sender(port), 1), Some(at));
            assert_eq!(link.receive(sender(port), 1), Some(at));
        }
        assert_eq!(link.receive(sender(1000), 1), None);
        assert_eq!(link.counters().strangers, 1);
    }
}
