//! The neighbours on a link of datagrams: the node knows them by number, the network by address.

use core::net::{Ipv4Addr, SocketAddrV4};

use nimblenet_core::LinkAddress;

/// The UDP port for frames.
pub const PORT: u16 = 4000;
/// The most neighbours that a link knows.
pub const MAX_NEIGHBOURS: usize = 12;
/// Everyone on the local network.
const EVERYONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, PORT);

/// The neighbours of one link.
#[derive(Clone, Debug)]
pub struct Neighbours {
    known: heapless::Vec<SocketAddrV4, MAX_NEIGHBOURS>,
    open: bool,
    strangers: u32,
}

impl Neighbours {
    /// The neighbours `configured` and nobody else or, if that is empty, whoever sends.
    #[must_use]
    pub fn new(configured: &[SocketAddrV4]) -> Self {
        Self {
            known: configured.iter().copied().take(MAX_NEIGHBOURS).collect(),
            open: configured.is_empty(),
            strangers: 0,
        }
    }

    /// The neighbour that sent a datagram; none for a stranger, and for a broadcast of the board's
    /// own that came back. The board has the address `own`.
    pub fn receive(&mut self, from: SocketAddrV4, own: Ipv4Addr) -> Option<LinkAddress> {
        if *from.ip() == own {
            return None;
        }
        let known = self.known.iter().position(|known| *known == from);
        let at = known.unwrap_or(self.known.len());
        if known.is_none() && !(self.open && self.known.push(from).is_ok()) {
            self.strangers = self.strangers.wrapping_add(1);
            return None;
        }
        Some(LinkAddress(at as u32))
    }

    /// The addresses to send a frame to that is for one neighbour, or for all.
    pub fn targets(&self, to: Option<LinkAddress>) -> &[SocketAddrV4] {
        match to {
            Some(LinkAddress(at)) => {
                let known = usize::try_from(at).ok().and_then(|at| self.known.get(at));
                known.map_or(&[], core::slice::from_ref)
            }
            None if self.open => &[EVERYONE],
            None => &self.known,
        }
    }

    /// How many datagrams came from addresses that are no neighbours.
    #[must_use]
    pub fn strangers(&self) -> u32 {
        self.strangers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);

    fn host(last: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), PORT)
    }

    #[test]
    fn configured_neighbours_are_the_only_ones() {
        let mut link = Neighbours::new(&[host(1), host(2)]);
        assert_eq!(link.receive(host(2), OWN), Some(LinkAddress(1)));
        assert_eq!(link.receive(host(3), OWN), None);
        let other_port = SocketAddrV4::new(*host(2).ip(), 4001);
        assert_eq!(link.receive(other_port, OWN), None);
        assert_eq!(link.strangers(), 2);
        assert_eq!(link.targets(None), [host(1), host(2)]);
        assert_eq!(link.targets(Some(LinkAddress(0))), [host(1)]);
        assert_eq!(link.targets(Some(LinkAddress(2))), []);
    }

    #[test]
    fn an_open_link_calls_everyone_and_learns_who_answers_up_to_a_limit() {
        let mut link = Neighbours::new(&[]);
        assert_eq!(link.targets(None), [EVERYONE]);
        for last in 0..MAX_NEIGHBOURS as u8 {
            let at = LinkAddress(u32::from(last));
            assert_eq!(link.receive(host(last), OWN), Some(at));
            assert_eq!(link.receive(host(last), OWN), Some(at));
            assert_eq!(link.targets(Some(at)), [host(last)]);
        }
        assert_eq!(link.receive(host(50), OWN), None);
        assert_eq!(link.strangers(), 1);
        assert_eq!(link.targets(None), [EVERYONE]);
    }

    #[test]
    fn the_board_is_not_its_own_neighbour() {
        let mut link = Neighbours::new(&[]);
        assert_eq!(link.receive(host(99), OWN), None);
        assert_eq!(link.strangers(), 0);
    }
}
