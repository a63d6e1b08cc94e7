//! UDP: paths to all neighbours, which together are one link of the node.
//!
//! Each neighbour has an address; the link sends a frame for everyone to each of them. It drops
//! datagrams from other addresses: the configuration decides which nodes are neighbours, not
//! knowledge of the port. Only an open link takes every sender as a neighbour.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nimblenet_core::{Instant, LinkAddress, LinkConfig};
use tokio::task::JoinSet;

use super::strangers::Strangers;
use super::{Closed, Inlet, Link, LinkPlan, LinkStatus};
use crate::clock::Clock;
use crate::config::UNKNOWN;
use crate::socket::{self, Ends, Receiver, Sender};

/// The most neighbours that an open link learns; further senders are strangers.
const MAX_LEARNT: usize = 64;
/// The longest datagram.
const MAX_DATAGRAM_BYTES: usize = 65_536;
/// A neighbour with a name that is silent for so long is looked up again, as often.
const SILENT: Duration = Duration::from_secs(10);
/// A node that is heard at another address has left the one where it is silent for so long.
const MOVED: Duration = Duration::from_secs(3);
/// An address that was learnt makes room for others after such a silence, four times the longest
/// pause between two hellos.
const GONE: Duration = Duration::from_secs(256);
/// How often two nodes with one id are spoken of.
const REPEAT: Duration = Duration::from_secs(60);

/// A link on a socket.
#[derive(Debug)]
pub(crate) struct UdpPlan {
    /// Receives and sends the frames.
    pub(crate) socket: UdpSocket,
    /// The addresses of the neighbours.
    pub(crate) neighbours: Vec<SocketAddr>,
    /// The neighbours that have a name: their places, and `HOST:PORT`.
    pub(crate) names: Vec<(usize, String)>,
    /// Whether the link takes frames from every sender.
    pub(crate) open: bool,
    /// Bytes of the largest frame in a datagram.
    pub(crate) mtu: u16,
    /// How often a frame for one neighbour is repeated if it is not acknowledged.
    pub(crate) repeats: u8,
}

impl LinkPlan for UdpPlan {
    fn frames(&self) -> LinkConfig {
        LinkConfig::new(self.mtu)
            .with_checksum()
            .with_repeats(self.repeats)
    }

    fn start(&self, inlet: Inlet, tasks: &mut JoinSet<()>) -> io::Result<Box<dyn Link>> {
        let (sender, receiver) = socket::split(self.socket.try_clone()?)?;
        let link = UdpLink::new(sender, &self.neighbours, self.open)?;
        tasks.spawn(listen(receiver, Arc::clone(&link.peers), inlet));
        if !self.names.is_empty() {
            tasks.spawn(resolve(self.names.clone(), Arc::clone(&link.peers)));
        }
        Ok(Box::new(link))
    }
}

async fn listen(socket: Receiver, peers: Arc<Mutex<Peers>>, inlet: Inlet) {
    let mut frame = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        match socket.receive(&mut frame).await {
            Ok((len, from)) => {
                let Some(from) = lock(&peers).receive(from, &frame[..len]) else {
                    continue;
                };
                if let Err(Closed) = inlet.give(from, frame[..len].to_vec()).await {
                    return;
                }
            }
            // For example, a neighbour is not up yet.
            Err(error) => tracing::trace!(%error, "mesh socket"),
        }
    }
}

/// Looks the names of silent neighbours up again: their addresses may have changed.
async fn resolve(names: Vec<(usize, String)>, peers: Arc<Mutex<Peers>>) {
    for (_, name) in names.iter().filter(|(at, _)| !lock(&peers).is_found(*at)) {
        tracing::warn!(
            %name,
            "a neighbour's name has no address, and is looked up again: is it in `neighbours` as it should be?"
        );
    }
    loop {
        tokio::time::sleep(SILENT).await;
        for (at, name) in &names {
            if !lock(&peers).is_silent(*at) {
                continue;
            }
            match tokio::net::lookup_host(name).await {
                Ok(found) => lock(&peers).move_to(*at, name, &found.collect::<Vec<_>>()),
                Err(error) => tracing::debug!(%name, %error, "a neighbour's name is not found"),
            }
        }
    }
}

/// The sending half of a socket, and the neighbours.
#[derive(Debug)]
struct UdpLink {
    socket: Sender,
    peers: Arc<Mutex<Peers>>,
}

/// The neighbours, and the link's numbers.
#[derive(Debug)]
struct Peers {
    neighbours: Vec<Neighbour>,
    max_neighbours: usize,
    /// How many of them are those of the configuration.
    configured: usize,
    /// The ids of which it was said that two nodes have them, and when.
    doubled: BTreeMap<u16, Instant>,
    clock: Clock,
    strangers: Strangers,
    status: LinkStatus,
}

/// A neighbour.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    /// Its address, and the address of this machine that it knows: the one that it sent to last.
    ends: Ends,
    /// When it has sent something last.
    heard: Option<Instant>,
    /// The id of the node there, as its frames say.
    id: Option<u16>,
    /// Until then, an address of this machine that the neighbour may know: a stranger with the
    /// neighbour's port has sent a datagram to it. The stranger may be the neighbour: a machine with
    /// several addresses does not know yet which one its neighbours use, and sends from another one.
    perhaps: Option<IpAddr>,
    /// Whether the next frame goes from there.
    tries: bool,
}

impl Neighbour {
    fn new(address: SocketAddr) -> Self {
        Self {
            ends: Ends::to(address),
            heard: None,
            id: None,
            perhaps: None,
            tries: false,
        }
    }

    /// Takes note of a datagram from it.
    fn hear(&mut self, now: Instant, ends: Ends, id: Option<u16>) {
        self.ends = ends;
        self.heard = Some(now);
        self.id = id.or(self.id);
    }

    /// Whether nothing has come from it for so long.
    fn is_silent(&self, now: Instant, time: Duration) -> bool {
        self.heard.is_none_or(|heard| heard + time <= now)
    }

    /// Takes note of a datagram from a stranger.
    fn suspect(&mut self, stranger: Ends) {
        let may_be = stranger.remote.port() == self.ends.remote.port();
        if self.heard.is_none()
            && may_be
            && !stranger.local.is_unspecified()
            && !stranger.is_multicast()
        {
            self.perhaps = Some(stranger.local);
        }
    }

    /// The path of the next frame to it.
    fn path(&mut self) -> Ends {
        let Some(local) = self.perhaps.filter(|_| self.heard.is_none()) else {
            return self.ends;
        };
        self.tries = !self.tries;
        if self.tries {
            return Ends { local, ..self.ends };
        }
        self.ends
    }
}

/// The node that has put a frame on its link (spec/wire.md, section 2).
fn sender(frame: &[u8]) -> Option<u16> {
    let [_, _, high, low, ..] = *frame else {
        return None;
    };
    Some(u16::from_be_bytes([high, low]))
}

fn lock(peers: &Mutex<Peers>) -> MutexGuard<'_, Peers> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UdpLink {
    /// A link that sends through `socket`. An `open` one takes frames from every sender.
    fn new(socket: Sender, neighbours: &[SocketAddr], open: bool) -> io::Result<Self> {
        let learnt = if open { MAX_LEARNT } else { 0 };
        let status = LinkStatus {
            kind: "udp",
            name: socket.address()?.to_string(),
            up: true,
            ..LinkStatus::default()
        };
        let peers = Peers {
            max_neighbours: neighbours.len() + learnt,
            configured: neighbours.len(),
            doubled: BTreeMap::new(),
            neighbours: neighbours.iter().copied().map(Neighbour::new).collect(),
            clock: Clock::start(),
            strangers: Strangers::default(),
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
            peers.send(&self.socket, at, frame);
        }
    }

    fn status(&self) -> LinkStatus {
        lock(&self.peers).status.clone()
    }
}

impl Peers {
    /// Counts a datagram that came in and says which neighbour it is from.
    fn receive(&mut self, ends: Ends, frame: &[u8]) -> Option<LinkAddress> {
        let (now, id) = (self.clock.now(), sender(frame));
        let is_it = |known: &Neighbour| known.ends.remote == ends.remote;
        let known = self.neighbours.iter().position(is_it);
        let Some(at) = known.or_else(|| self.learn(now, ends.remote, id)) else {
            self.status.strangers += 1;
            self.neighbours.iter_mut().for_each(|it| it.suspect(ends));
            if self.strangers.is_news(now, ends.remote) {
                tracing::warn!(
                    from = %ends.remote,
                    "frames of a stranger are dropped: if it is a neighbour, add it to \
                     `neighbours`"
                );
            }
            return None;
        };
        if let Some((id, other)) = id.and_then(|id| Some((id, self.other(at, id)?))) {
            self.tell_doubled(now, id, (ends.remote, other));
        }
        self.neighbours[at].hear(now, ends, id);
        self.status.received += 1;
        self.status.received_bytes += frame.len() as u64;
        Some(LinkAddress(at as u32))
    }

    /// The place of a new neighbour, if the link is open: the one where the same node was before, a
    /// free one, or that of a neighbour that is gone.
    fn learn(&mut self, now: Instant, address: SocketAddr, id: Option<u16>) -> Option<usize> {
        let learnt = || (self.configured..).zip(&self.neighbours[self.configured..]);
        let is_same = |it: &Neighbour| id.is_some() && it.id == id;
        let moved = learnt().find(|(_, it)| is_same(it) && it.is_silent(now, MOVED));
        let is_full = self.neighbours.len() >= self.max_neighbours;
        let oldest = |left: &(usize, &Neighbour)| left.1.heard;
        let at = moved.or_else(|| {
            let gone = |(_, it): &(usize, &Neighbour)| is_same(it) || it.is_silent(now, GONE);
            // Of those of the same node the one that is silent the longest.
            let full = is_full.then(|| learnt().filter(gone).min_by_key(oldest));
            full.flatten()
        });
        let at = at.map(|(at, _)| at);
        if at.is_none() && is_full {
            return None;
        }
        let at = at.unwrap_or(self.neighbours.len());
        match self.neighbours.get_mut(at) {
            Some(place) => *place = Neighbour::new(address),
            None => self.neighbours.push(Neighbour::new(address)),
        }
        Some(at)
    }

    /// Another address with the same id that was heard after the one at `at`, which is heard again.
    fn other(&self, at: usize, id: u16) -> Option<SocketAddr> {
        let before = self.neighbours[at].heard?;
        let is_other = |it: &&Neighbour| it.id == Some(id) && it.heard > Some(before);
        let other = self.neighbours.iter().find(is_other);
        other.map(|other| other.ends.remote)
    }

    fn tell_doubled(&mut self, now: Instant, id: u16, (one, other): (SocketAddr, SocketAddr)) {
        self.doubled.retain(|_, told| *told + REPEAT > now);
        if self.doubled.insert(id, now).is_none() {
            tracing::warn!(
                id, %one, %other,
                "two nodes have the same id: give one of them another `id`"
            );
        }
    }

    /// Whether the address of a neighbour of the configuration is known.
    fn is_found(&self, at: usize) -> bool {
        let neighbour = self.neighbours.get(at);
        neighbour.is_some_and(|it| it.ends.remote != UNKNOWN)
    }

    /// Whether a neighbour of the configuration has been silent for long.
    fn is_silent(&self, at: usize) -> bool {
        let now = self.clock.now();
        self.neighbours
            .get(at)
            .is_some_and(|it| it.is_silent(now, SILENT))
    }

    /// Takes the addresses that a neighbour's name stands for now.
    fn move_to(&mut self, at: usize, name: &str, found: &[SocketAddr]) {
        let Some(neighbour) = self.neighbours.get_mut(at) else {
            return;
        };
        let found: Vec<Ends> = found.iter().map(|address| Ends::to(*address)).collect();
        if found.iter().any(|it| it.remote == neighbour.ends.remote) {
            return;
        }
        if let Some(first) = found.first() {
            tracing::warn!(%name, address = %first.remote, "a neighbour has a new address");
            *neighbour = Neighbour::new(first.remote);
        }
    }

    fn send(&mut self, socket: &Sender, to: usize, frame: &[u8]) {
        if !self.is_found(to) {
            self.status.dropped += 1;
            return;
        }
        // A machine whose node is down answers with a port-unreachable message, which the system
        // reports at the next send, to whatever neighbour; and this machine may have lost the
        // address that the neighbour knew. So the link sends again after one error.
        for _ in 0..2 {
            let neighbour = &mut self.neighbours[to];
            match socket.send(&neighbour.path(), frame) {
                Ok(()) => {
                    self.status.sent += 1;
                    self.status.sent_bytes += frame.len() as u64;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => {
                    neighbour.ends = Ends::to(neighbour.ends.remote);
                    neighbour.perhaps = None;
                }
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

    fn link(neighbours: &[SocketAddr], open: bool) -> UdpLink {
        let (sender, _) = socket::split(bound().0).unwrap();
        UdpLink::new(sender, neighbours, open).unwrap()
    }

    fn receive(link: &UdpLink, from: SocketAddr, bytes: usize) -> Option<LinkAddress> {
        lock(&link.peers).receive(Ends::to(from), &vec![0; bytes])
    }

    /// A frame of the node `id`.
    fn frame_of(id: u16) -> Vec<u8> {
        let [high, low] = id.to_be_bytes();
        [&[0x10, 0, high, low][..], &[0; 12]].concat()
    }

    #[tokio::test]
    async fn a_frame_for_everyone_goes_to_each_neighbour_and_strangers_are_dropped() {
        let ((b, at_b), (c, at_c), (_, at_stranger)) = (bound(), bound(), bound());
        let mut link = link(&[at_b, at_c], false);
        link.send(None, b"hello");
        link.send(Some(LinkAddress(1)), b"you");
        link.send(Some(LinkAddress(7)), b"nobody");
        let mut buffer = [0; 16];
        assert_eq!(b.recv(&mut buffer).unwrap(), 5);
        assert_eq!(c.recv(&mut buffer).unwrap(), 5);
        assert_eq!(c.recv(&mut buffer).unwrap(), 3);
        assert_eq!(receive(&link, at_c, 10), Some(LinkAddress(1)));
        assert_eq!(receive(&link, at_stranger, 10), None);
        let status = link.status();
        assert_eq!((status.sent, status.sent_bytes), (3, 13));
        assert_eq!((status.received_bytes, status.strangers), (10, 1));
    }

    #[tokio::test]
    async fn nodes_that_know_each_other_by_other_addresses_than_they_send_from_meet() {
        let sockets = [0, 1].map(|_| UdpSocket::bind("0.0.0.0:0").unwrap());
        let port = |at: usize| sockets[at].local_addr().unwrap().port();
        // The system sends from 127.0.0.1 to either.
        let known = [("127.0.0.3", port(1)), ("127.0.0.2", port(0))];
        let known = known.map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port));
        let mut tasks = JoinSet::new();
        let mut links = Vec::new();
        let mut heard = Vec::new();
        for (socket, neighbour) in sockets.into_iter().zip(known) {
            let plan = UdpPlan {
                socket,
                neighbours: vec![neighbour],
                names: Vec::new(),
                open: false,
                mtu: 256,
                repeats: 0,
            };
            let (frames, inbox) = tokio::sync::mpsc::channel(4);
            let inlet = Inlet::new(nimblenet_core::LinkId(0), frames);
            links.push(plan.start(inlet, &mut tasks).unwrap());
            heard.push(inbox);
        }
        // The first hello reaches a node that takes its sender for a stranger.
        links[0].send(None, b"hello");
        while links[1].status().strangers == 0 {
            tokio::task::yield_now().await;
        }
        links[1].send(None, b"hello");
        assert_eq!(heard[0].recv().await.unwrap().bytes, b"hello");
        links[0].send(None, b"hello");
        assert_eq!(heard[1].recv().await.unwrap().bytes, b"hello");
    }

    #[tokio::test]
    async fn an_open_link_learns_whoever_sends_up_to_a_limit() {
        let link = link(&[], true);
        let sender = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..=MAX_LEARNT as u16 {
            let at = LinkAddress(u32::from(port) - 1);
            assert_eq!(receive(&link, sender(port), 1), Some(at));
            assert_eq!(receive(&link, sender(port), 1), Some(at));
        }
        assert_eq!(receive(&link, sender(1000), 1), None);
        assert_eq!(link.status().strangers, 1);
    }

    #[tokio::test]
    async fn fault_06_a_node_may_come_back_at_a_thousand_addresses_of_an_open_neighbour() {
        let link = link(&[], true);
        let sender = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..=1000 {
            let mut peers = lock(&link.peers);
            let at = peers.receive(Ends::to(sender(port)), &frame_of(7));
            assert!(at.is_some(), "port {port}");
            assert!(peers.neighbours.len() <= MAX_LEARNT);
        }
        // Others find no place among neighbours that may be there.
        let mut peers = lock(&link.peers);
        for (id, neighbour) in (100..).zip(&mut peers.neighbours) {
            neighbour.id = Some(id);
        }
        assert_eq!(peers.receive(Ends::to(sender(2000)), &frame_of(9)), None);
        for neighbour in &mut peers.neighbours {
            neighbour.heard = None;
        }
        assert!(
            peers
                .receive(Ends::to(sender(2000)), &frame_of(9))
                .is_some()
        );
    }

    #[tokio::test]
    async fn fault_06_two_nodes_with_one_id_are_told_apart_from_one_that_moves() {
        let link = link(&[], true);
        let sender = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut peers = lock(&link.peers);
        let mut hear = |port| {
            peers.receive(Ends::to(sender(port)), &frame_of(7));
            // The clock must go on between two frames.
            std::thread::sleep(Duration::from_millis(1));
            peers.doubled.len()
        };
        assert_eq!([1, 1, 2, 2, 2].map(&mut hear), [0; 5], "it has moved");
        assert_eq!(hear(1), 1, "both are there");
    }

    #[tokio::test]
    async fn fault_06_a_neighbour_s_name_is_looked_up_again() {
        let [old, new] = [1, 2].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let link = link(&[old], false);
        let mut peers = lock(&link.peers);
        assert!(peers.is_silent(0));
        peers.move_to(0, "cell-3:1", &[new, old]);
        assert_eq!(
            peers.neighbours[0].ends.remote, old,
            "it still has this one"
        );
        peers.move_to(0, "cell-3:1", &[]);
        peers.move_to(0, "cell-3:2", &[new]);
        assert_eq!(peers.neighbours[0].ends.remote, new);
        assert_eq!(
            peers.receive(Ends::to(new), &frame_of(3)),
            Some(LinkAddress(0))
        );
        assert!(!peers.is_silent(0));
    }

    #[tokio::test]
    async fn a_neighbour_whose_name_has_no_address_yet_is_sent_nothing_until_it_has_one() {
        let (neighbour, address) = bound();
        let mut link = link(&[UNKNOWN], false);
        link.send(None, b"early");
        assert_eq!(link.status().dropped, 1);
        assert!(!lock(&link.peers).is_found(0));
        lock(&link.peers).move_to(0, "cell-3:1", &[address]);
        link.send(None, b"hello");
        let mut buffer = [0; 16];
        assert_eq!(neighbour.recv(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
    }

    #[tokio::test]
    async fn a_neighbour_is_sent_to_from_the_address_that_it_knows_while_there_is_one() {
        let (neighbour, at) = bound();
        let (frames, mut heard) = tokio::sync::mpsc::channel(1);
        let plan = UdpPlan {
            socket: UdpSocket::bind("0.0.0.0:0").unwrap(),
            // Written as a socket for both kinds of addresses would show it.
            neighbours: vec![format!("[::ffff:127.0.0.1]:{}", at.port()).parse().unwrap()],
            names: Vec::new(),
            open: false,
            mtu: 256,
            repeats: 0,
        };
        let port = plan.socket.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        let inlet = Inlet::new(nimblenet_core::LinkId(0), frames);
        let mut link = plan.start(inlet, &mut tasks).unwrap();
        let mut buffer = [0; 16];
        for known in ["127.0.0.2", "127.0.0.3"] {
            neighbour.send_to(b"hello", (known, port)).unwrap();
            let from = heard.recv().await.unwrap().from;
            link.send(Some(from), b"you too");
            let (_, from) = neighbour.recv_from(&mut buffer).unwrap();
            assert_eq!(from.ip().to_string(), known);
        }
        // An address that this machine has no longer.
        let mut gone = Ends::to(at);
        gone.local = [192, 0, 2, 77].into();
        let (sender, _) = socket::split(bound().0).unwrap();
        let mut other = UdpLink::new(sender, &[at], false).unwrap();
        lock(&other.peers).neighbours[0].ends = gone;
        other.send(None, b"still here");
        assert_eq!(neighbour.recv(&mut buffer).unwrap(), 10);
        assert_eq!(other.status().sent, 1);
    }
}
