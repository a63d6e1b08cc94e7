//! The air between the nodes: the simulator's own links, through which real frames go.
//!
//! A node has a *port* of the air for each of its neighbours, and takes it for that neighbour. What
//! comes in at a port is the neighbour's: a lane of the simulator decides when it arrives, or that it
//! does not. Here are neither sockets nor clocks; [`super::radio`] has them.
//!
//! Bytes are counted here. A node sends one datagram to each neighbour for a frame that is for all of
//! them; on air that is one transmission, so that the copies count once at the sender.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use nimblenet_core::Instant;
use nimblenet_core::wire::Frame;
use nimblenet_sim::tally::Tally;
use nimblenet_sim::{Balance, Fates, Lane, LinkModel, Observer as _, Passing, flip};
use nimblenet_tasklet::NodeId;

/// How many frames for everyone a node may send before the last copy of the first of them comes.
const COPIES: usize = 16;

/// A place at which one node meets the air.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PortAt(pub(crate) usize);

/// The air; times are those of the trace.
#[derive(Debug)]
pub(crate) struct Air {
    /// Two for each link, one after the other: that of the first node, and that of the second.
    ports: Vec<Port>,
    /// What is on its way; what arrives next is on top.
    agenda: BinaryHeap<Reverse<Arrival>>,
    next: u64,
    /// Frames for everyone, of which more copies may come.
    copied: Vec<Copied>,
    fates: Fates,
    tally: Tally,
    /// By how much each frame came later than its link says, in microseconds of the trace.
    late_us: Vec<u32>,
    /// When the trace begins and ends; what passes before or after does not count.
    span: Option<(Instant, Instant)>,
}

/// When a frame arrives, its number, the port of its receiver, and its bytes.
type Arrival = (Instant, u64, PortAt, Vec<u8>);

#[derive(Debug)]
struct Port {
    node: NodeId,
    neighbour: NodeId,
    /// The way from the node to the neighbour.
    lane: Lane,
}

/// The newest frames for everyone of one node, and the ports at which they have come in.
#[derive(Debug)]
struct Copied {
    node: NodeId,
    frames: VecDeque<(Vec<u8>, Vec<PortAt>)>,
}

impl Air {
    /// The air over these links. What links do at random follows from `seed`.
    pub(crate) fn new(
        links: impl Iterator<Item = (NodeId, NodeId)>,
        model: LinkModel,
        seed: u64,
        tally: Tally,
    ) -> Self {
        let mut ports: Vec<Port> = Vec::new();
        for (a, b) in links {
            ports.extend([(a, b), (b, a)].map(|(node, neighbour)| Port {
                node,
                neighbour,
                lane: Lane::new(seed, model, (node, neighbour)),
            }));
        }
        let mut nodes: Vec<NodeId> = ports.iter().map(|port| port.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let copied = nodes.into_iter().map(|node| Copied {
            node,
            frames: VecDeque::new(),
        });
        Self {
            ports,
            agenda: BinaryHeap::new(),
            next: 0,
            copied: copied.collect(),
            fates: Fates::default(),
            tally,
            late_us: Vec::new(),
            span: None,
        }
    }

    /// The ports, in their order: the node that meets the air there, and the neighbour that it takes
    /// the port for.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (NodeId, NodeId)> {
        self.ports.iter().map(|port| (port.node, port.neighbour))
    }

    /// The trace begins now, and lasts until `to`.
    pub(crate) fn begin(&mut self, now: Instant, to: Instant) {
        self.span = Some((now, to));
    }

    /// A node has sent a frame at its port.
    pub(crate) fn hear(&mut self, now: Instant, at: PortAt, bytes: &[u8]) {
        let node = self.ports[at.0].node;
        if !self.is_copy(node, at, bytes) {
            self.count(now, node, bytes, Tally::sent);
        }
        let arrivals = self.ports[at.0]
            .lane
            .carry(now, bytes.len(), &mut self.fates);
        for (when, wrong) in arrivals.into_iter().flatten() {
            let bytes = match wrong {
                None => bytes.to_vec(),
                Some(bit) => flip(bytes, bit).to_vec(),
            };
            self.next += 1;
            self.agenda
                .push(Reverse((when, self.next, at.opposite(), bytes)));
        }
    }

    /// A node that has one line for all of its neighbours has sent a frame: it goes to the neighbour
    /// for which it is, or to all.
    pub(crate) fn hear_from(&mut self, now: Instant, node: NodeId, bytes: &[u8]) {
        let receiver = Frame::parse(bytes).map_or(NodeId::EVERYONE, |frame| frame.receiver);
        for at in 0..self.ports.len() {
            let port = &self.ports[at];
            let meant = [NodeId::EVERYONE, port.neighbour].contains(&receiver);
            if port.node == node && meant {
                self.hear(now, PortAt(at), bytes);
            }
        }
    }

    /// The node that meets the air at a port, and the neighbour that it takes the port for.
    pub(crate) fn port(&self, at: PortAt) -> (NodeId, NodeId) {
        let port = &self.ports[at.0];
        (port.node, port.neighbour)
    }

    /// When the next frame arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.agenda.peek().map(|Reverse((at, ..))| *at)
    }

    /// A frame that has arrived, and the port whose node is to have it. [`Self::arrived`] takes
    /// whether it got it.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(PortAt, Vec<u8>)> {
        self.next().filter(|at| *at <= now)?;
        let Reverse((due, _, at, bytes)) = self.agenda.pop()?;
        self.late_us.push(now.since(due).as_micros() as u32);
        Some((at, bytes))
    }

    /// A node has got a frame at its port; or not, if it is down.
    pub(crate) fn arrived(&mut self, now: Instant, at: PortAt, bytes: &[u8], delivered: bool) {
        self.ports[at.opposite().0]
            .lane
            .arrived(bytes.len(), delivered);
        match delivered {
            true => {
                self.fates.delivered += 1;
                self.count(now, self.ports[at.0].node, bytes, Tally::received);
            }
            false => self.fates.dead += 1,
        }
    }

    /// By how much frames came later than their links say, in the time of the trace: 99 of 100 frames at
    /// most so much, and the latest one.
    pub(crate) fn lateness(&self) -> (Duration, Duration) {
        let mut late_us = self.late_us.clone();
        late_us.sort_unstable();
        let at = |place: usize| {
            let late = late_us.get(place).copied().unwrap_or(0);
            Duration::from_micros(late.into())
        };
        let count = late_us.len();
        let most = (count * 99).div_ceil(100).saturating_sub(1);
        (at(most), at(count.saturating_sub(1)))
    }

    /// What has become of frames.
    pub(crate) fn fates(&self) -> Fates {
        self.fates
    }

    /// What each direction of each link has carried: from, to, and its bytes.
    pub(crate) fn balances(&self) -> impl Iterator<Item = (NodeId, NodeId, Balance)> {
        let ports = self.ports.iter();
        ports.map(|port| (port.node, port.neighbour, port.lane.balance()))
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether a frame is one more copy of a frame for everyone, for another neighbour.
    fn is_copy(&mut self, node: NodeId, at: PortAt, bytes: &[u8]) -> bool {
        let for_all = Frame::parse(bytes).is_ok_and(|it| it.receiver == NodeId::EVERYONE);
        let found = self
            .copied
            .binary_search_by_key(&node, |copied| copied.node);
        let (true, Ok(found)) = (for_all, found) else {
            return false;
        };
        let frames = &mut self.copied[found].frames;
        let other =
            |(sent, ports): &&mut (Vec<u8>, Vec<PortAt>)| sent == bytes && !ports.contains(&at);
        if let Some((_, ports)) = frames.iter_mut().find(other) {
            ports.push(at);
            return true;
        }
        frames.truncate(COPIES - 1);
        frames.push_front((bytes.to_vec(), vec![at]));
        false
    }

    fn count(
        &mut self,
        now: Instant,
        node: NodeId,
        bytes: &[u8],
        count: fn(&mut Tally, Instant, Passing<'_>),
    ) {
        let Some((begun, end)) = self
            .span
            .filter(|(begun, end)| (*begun..=*end).contains(&now))
        else {
            return;
        };
        debug_assert!(begun <= end);
        let frame = Frame::parse(bytes).ok();
        let passing = Passing {
            node,
            frame: frame.as_ref(),
            bytes,
        };
        count(&mut self.tally, Instant::ZERO + now.since(begun), passing);
    }
}

impl PortAt {
    /// The port at the other end of the link.
    fn opposite(self) -> Self {
        Self(self.0 ^ 1)
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_core::wire::{MAX_TTL, Message, Refusal, Refuse};
    use nimblenet_sim::tally::Accounting;

    use super::*;

    const HOP: Duration = Duration::from_millis(100);

    /// Node 2 between nodes 1 and 3.
    fn air(model: LinkModel) -> Air {
        let ids = [1, 2, 3].map(NodeId);
        let tally = Tally::new(ids.into_iter(), Duration::from_secs(60), 0);
        let links = [(ids[1], ids[0]), (ids[1], ids[2])];
        Air::new(links.into_iter(), model, 7, tally)
    }

    /// A frame of node 2; `receiver` is a neighbour or everyone.
    fn frame(receiver: NodeId, sequence: u32) -> Vec<u8> {
        let refuse = Refuse {
            request: 1,
            refusal: Refusal::Gone,
        };
        let frame = Frame {
            ttl: MAX_TTL,
            sender: NodeId(2),
            receiver,
            origin: NodeId(2),
            destination: receiver,
            sequence,
            hops: 1,
            unanswered: false,
            message: Message::Refuse(refuse),
        };
        let mut bytes = vec![0; 64];
        let len = frame.emit(&mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// Delivers what has arrived.
    fn deliver(air: &mut Air, now: Instant) -> Vec<(PortAt, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((port, bytes)) = air.poll(now) {
            air.arrived(now, port, &bytes, true);
            all.push((port, bytes));
        }
        all
    }

    fn sent(air: &Air, id: u16) -> (u64, u64) {
        let mut nodes = air.tally().nodes();
        let (_, sent, received) = nodes.find(|(node, ..)| node.0 == id).unwrap();
        (sent.packets, received.bytes(Accounting::Real, 28))
    }

    #[test]
    fn a_frame_for_everyone_is_one_transmission_however_many_copies_a_node_sends() {
        let mut air = air(LinkModel::perfect(HOP));
        air.begin(at(0), at(10_000));
        let hello = frame(NodeId::EVERYONE, 1);
        air.hear(at(0), PortAt(0), &hello);
        air.hear(at(0), PortAt(2), &hello);
        assert_eq!(sent(&air, 2).0, 1);
        // Two frames to one neighbour each, and the same frame once more to a neighbour that has it.
        air.hear(at(1), PortAt(0), &frame(NodeId(1), 2));
        air.hear(at(1), PortAt(2), &frame(NodeId(3), 3));
        air.hear(at(1), PortAt(0), &hello);
        assert_eq!(sent(&air, 2).0, 4);
        assert!(deliver(&mut air, at(99)).is_empty());
        let first = deliver(&mut air, at(100));
        assert_eq!(air.lateness(), (Duration::ZERO, Duration::ZERO));
        let ports: Vec<PortAt> = first.iter().map(|(port, _)| *port).collect();
        assert_eq!(
            ports,
            [PortAt(1), PortAt(3)],
            "each arrives at the other end"
        );
        assert_eq!(deliver(&mut air, at(103)).len(), 3);
        let late = Duration::from_millis(2);
        assert_eq!(air.lateness(), (late, late));
        let bytes = 28 + 12 + hello.len() as u64;
        assert_eq!(sent(&air, 1).1, 3 * bytes);
        assert_eq!(sent(&air, 3).1, 2 * bytes);
    }

    #[test]
    fn what_links_lose_or_nobody_takes_is_lost_and_no_byte_is_missing() {
        let mut air = air(LinkModel {
            loss: 0.3,
            mtu: 60,
            ..LinkModel::perfect(HOP)
        });
        air.begin(at(0), at(10_000));
        for sequence in 0..1000 {
            air.hear(at(1), PortAt(0), &frame(NodeId(1), sequence));
        }
        air.hear(at(1), PortAt(0), &[0; 61]);
        air.hear(at(150), PortAt(0), &frame(NodeId(1), 1000));
        let (port, bytes) = air.poll(at(120)).unwrap();
        air.arrived(at(120), port, &bytes, false);
        deliver(&mut air, at(120));
        let fates = air.fates();
        assert!((250..350).contains(&fates.lost), "{fates:?}");
        assert_eq!((fates.too_long, fates.dead), (1, 1));
        let (_, _, balance) = air.balances().next().unwrap();
        assert_eq!(balance.on_way, bytes.len() as u64, "the last one");
        assert_eq!(
            balance.sent,
            balance.delivered + balance.lost + balance.on_way
        );
    }

    #[test]
    fn a_narrow_link_holds_frames_back() {
        let bandwidth = nimblenet_sim::Bandwidth {
            bits_per_s: 1000,
            queue_bytes: 1000,
            header_bytes: 0,
        };
        let mut air = air(LinkModel {
            bandwidth: Some(bandwidth),
            ..LinkModel::perfect(HOP)
        });
        let frame = frame(NodeId(1), 1);
        air.hear(at(0), PortAt(0), &frame);
        air.hear(at(0), PortAt(0), &frame);
        let one = Duration::from_millis(8 * frame.len() as u64);
        assert_eq!(air.next(), Some(at(0) + one + HOP));
        assert_eq!(deliver(&mut air, at(0) + one * 2 + HOP).len(), 2);
    }

    #[test]
    fn what_passes_before_the_trace_begins_or_after_its_end_does_not_count() {
        let mut air = air(LinkModel::perfect(HOP));
        air.hear(at(0), PortAt(0), &frame(NodeId(1), 1));
        air.begin(at(50), at(120));
        air.hear(at(60), PortAt(0), &frame(NodeId(1), 2));
        deliver(&mut air, at(110));
        deliver(&mut air, at(160));
        assert_eq!(sent(&air, 2).0, 1);
        let bytes = 28 + 12 + frame(NodeId(1), 1).len() as u64;
        assert_eq!(sent(&air, 1).1, bytes, "the first one, within the trace");
        assert_eq!(air.fates().delivered, 2);
    }
}
