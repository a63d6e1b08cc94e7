//! Several meshes wired to each other, whose nodes restart while packets travel.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::archive::Archive;
use crate::config::Role;
use crate::wire::{Fetch, Object, Refusal, Refuse};

/// The longest that a frame takes over one link; a packet is through the mesh in well under half
/// the time that a restart is not believed again.
const LONGEST_MICROS: u64 = 150_000;
const STEP_MICROS: u64 = 50_000;

/// A travelling frame: when it arrives, its number in the order of sending, its sender, its receiver.
type Due = (u64, usize, usize, usize);

struct Town {
    now: Instant,
    meshes: Vec<Mesh>,
    links: Vec<(usize, usize)>,
    wire: BTreeMap<Due, Vec<u8>>,
    sent: usize,
    random: Random,
    counters: Counters,
    /// Every frame that the node 0 has sent.
    recorded: Vec<Vec<u8>>,
}

fn config(node: usize, first_sequence: u32) -> Config {
    let mut config = Config::new(NodeId(node as u16), 256);
    config.first_sequence = first_sequence;
    config.seed = u64::from(first_sequence);
    // Hellos pass notes of the node 0 on.
    if node == 0 {
        config.role = Role::Registry(Archive::new());
    }
    config
}

impl Town {
    fn new(nodes: usize, links: Vec<(usize, usize)>, seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            meshes: (0..nodes).map(|at| Mesh::new(&config(at, 7))).collect(),
            links,
            wire: BTreeMap::new(),
            sent: 0,
            random: Random::new(seed),
            counters: Counters::default(),
            recorded: Vec::new(),
        }
    }

    fn restart(&mut self, node: usize, first_sequence: u32) {
        self.meshes[node] = Mesh::new(&config(node, first_sequence));
    }

    fn say(&mut self, from: usize, to: NodeId) {
        let fetch = Fetch {
            direct: false,
            object: Object::Job { request: 1 },
            request: 1,
            offset: 0,
            part: 1,
            wanted: 1,
        };
        let refuse = Refuse {
            request: 1,
            refusal: Refusal::Gone,
        };
        let (now, mesh) = (self.now, &mut self.meshes[from]);
        if to == NodeId::EVERYONE {
            mesh.flood(now, MAX_TTL, Message::Fetch(fetch), &mut self.counters);
        } else {
            mesh.send(now, to, Message::Refuse(refuse), &mut self.counters);
        }
        self.carry(from);
    }

    /// Puts what a node has to send on the wire.
    fn carry(&mut self, from: usize) {
        let mut frame = [0; 256];
        while let Some(transmit) = self.meshes[from].poll_transmit(LinkId(0), &mut frame) {
            let frame = &frame[..transmit.len];
            if from == 0 {
                self.recorded.push(frame.to_vec());
            }
            let peers = self.links.iter().filter_map(|link| match *link {
                (one, other) if one == from => Some(other),
                (other, one) if one == from => Some(other),
                _ => None,
            });
            let chosen = |to: &usize| transmit.to.is_none_or(|it| it == LinkAddress(*to as u32));
            for to in peers.filter(chosen) {
                let after = 1000 + self.random.below(LONGEST_MICROS);
                let due = (self.now.as_micros() + after, self.sent, from, to);
                self.wire.insert(due, frame.to_vec());
                self.sent += 1;
            }
        }
    }

    /// Lets an intruder beside `to` send a frame that looks as if it came from `from`.
    fn play_back(&mut self, from: usize, to: usize, frame: Vec<u8>) {
        let due = (self.now.as_micros(), self.sent, from, to);
        self.wire.insert(due, frame);
        self.sent += 1;
    }

    fn run(&mut self, micros: u64) {
        let end = Instant::from_micros(self.now.as_micros() + micros);
        while self.now < end {
            self.now += Duration::from_micros(STEP_MICROS.min(micros));
            while let Some(entry) = self.wire.first_entry()
                && entry.key().0 <= self.now.as_micros()
            {
                let ((_, _, from, to), frame) = entry.remove_entry();
                let source = (LinkId(0), LinkAddress(from as u32));
                let (now, counters) = (self.now, &mut self.counters);
                if let Some(delivery) = self.meshes[to].receive(now, source, &frame, counters)
                    && let Message::Hello(hello) = delivery.frame.message
                {
                    let from = delivery.frame.origin;
                    self.meshes[to].hear_listed(now, from, &hello);
                    self.meshes[to].hear_registries(now, from, &hello);
                }
                self.carry(to);
                self.no_route_circles();
            }
            for node in 0..self.meshes.len() {
                let (now, counters) = (self.now, &mut self.counters);
                self.meshes[node].handle_timeout(now, [].into_iter(), counters);
                self.carry(node);
            }
        }
    }

    /// Routes to the node 0 lead from every node to it without meeting any node twice.
    fn no_route_circles(&self) {
        for start in 1..self.meshes.len() {
            let mut at = start;
            let mut met = 0;
            while at != 0
                && let Some(route) = self.meshes[at].routes.find(self.now, NodeId(0))
            {
                at = usize::from(route.next.0);
                met += 1;
                assert!(met <= self.meshes.len(), "from {start}, {:?}", self.now);
            }
        }
    }

    fn reaches(&self, destination: usize) -> bool {
        let route = |mesh: &Mesh| {
            mesh.routes
                .find(self.now, NodeId(destination as u16))
                .is_some()
        };
        let mut others = (0..self.meshes.len()).filter(|node| *node != destination);
        others.all(|node| route(&self.meshes[node]))
    }
}

/// A ring with a chord or two: enough for circles of every length.
fn links(nodes: usize, chords: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let ring = (0..nodes).map(|at| (at, (at + 1) % nodes));
    let chords = chords.iter().map(|(a, b)| (a % nodes, b % nodes));
    let mut links: Vec<_> = ring.chain(chords.filter(|(a, b)| a != b)).collect();
    for link in &mut links {
        *link = (link.0.min(link.1), link.0.max(link.1));
    }
    links.sort_unstable();
    links.dedup();
    links
}

#[test]
fn a_second_node_with_the_same_id_is_told_from_own_packets_that_come_back() {
    let mut town = Town::new(2, vec![(0, 1)], 3);
    town.run(4_000_000);
    town.say(0, NodeId::EVERYONE);
    town.run(4_000_000);
    assert_eq!(town.counters.dropped(DropReason::OwnId), 0);
    assert!(town.counters.dropped(DropReason::Duplicate) > 0);
    town.meshes[1] = Mesh::new(&config(0, 7));
    town.run(4_000_000);
    assert!(town.counters.dropped(DropReason::OwnId) > 0);
}

/// The call of node 1 at node 2 goes on to node 3, which node 2 hears itself but to which it has a newer route over
/// node 1.
#[test]
fn a_packet_that_is_passed_on_does_not_go_back_to_who_has_made_it() {
    let mut mesh = Mesh::new(&config(2, 7));
    let counters = &mut Counters::default();
    let refuse = |origin: u16, sender: u16, sequence, hops| Frame {
        ttl: 5,
        sender: NodeId(sender),
        receiver: NodeId(2),
        origin: NodeId(origin),
        destination: NodeId(2),
        sequence,
        hops,
        unanswered: false,
        message: Message::Refuse(Refuse {
            request: 1,
            refusal: Refusal::Gone,
        }),
    };
    let now = Instant::ZERO;
    let frames = [refuse(3, 3, 5, 1), refuse(3, 1, 6, 2), refuse(1, 1, 9, 1)];
    for frame in frames {
        let mut bytes = [0; 64];
        let len = frame.emit(&mut bytes).unwrap();
        let from = (LinkId(0), LinkAddress(frame.sender.0.into()));
        mesh.receive(now, from, &bytes[..len], counters).unwrap();
    }
    assert_eq!(mesh.hops(now, NodeId(3)), Some(1));
    assert_eq!(mesh.next(now, NodeId(3)).unwrap().id, NodeId(1));
    mesh.pass_on(now, refuse(1, 1, 10, 1), NodeId(3), counters);
    let mut out = [0; 256];
    let sent = mesh.poll_transmit(LinkId(0), &mut out).unwrap();
    assert_eq!(sent.to, Some(LinkAddress(3)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_route_circles_whatever_restarts_and_is_replayed(
        seed: u64, nodes in 3usize..8, chords in proptest::collection::vec((0usize..8, 0usize..8), 0..4),
        turns in proptest::collection::vec((0u8..8, any::<u32>(), any::<u16>(), 0u64..400_000), 1..60),
    ) {
        let mut town = Town::new(nodes, links(nodes, &chords), seed);
        town.run(4_000_000);
        let mut settled = town.now;
        for (turn, number, pick, pause) in turns {
            let pick = usize::from(pick);
            let node = pick % nodes;
            match turn {
                0 if town.now >= settled => {
                    town.restart(0, number);
                    settled = town.now + Duration::from_secs(5);
                }
                1 if town.now >= settled => {
                    let frame = town.recorded[pick % town.recorded.len()].clone();
                    town.play_back(0, 1 + pick % (nodes - 1), frame);
                    settled = town.now + Duration::from_secs(5);
                }
                0..=3 => town.say(0, NodeId::EVERYONE),
                4 | 5 => town.say(0, NodeId(node.max(1) as u16)),
                _ => town.say(node.max(1), NodeId(0)),
            }
            town.run(pause);
        }
        // Every flood ends, and the next packet reaches every node.
        town.run(4_000_000);
        let sent = town.counters.traffic(crate::wire::Kind::Fetch).sent;
        town.run(4_000_000);
        prop_assert_eq!(town.counters.traffic(crate::wire::Kind::Fetch).sent, sent);
        town.say(0, NodeId::EVERYONE);
        town.run(2_000_000);
        prop_assert!(town.reaches(0));
    }
}
