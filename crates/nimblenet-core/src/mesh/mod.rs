//! The mesh: neighbours, routes, floods and forwarding (spec/behaviour.md, sections 2 to 5).
//!
//! A packet for one node follows the route that earlier packets taught. A packet without a route is
//! flooded with its destination, which thus learns the route back. Every node forwards a flood once, as
//! long as the TTL lasts.

mod bucket;
mod duplicates;
mod hearing;
mod hellos;
mod neighbours;
mod outbox;
mod repeats;
mod routes;
mod seal;
mod silence;
mod trickle;
mod width;

pub use outbox::Transmit;

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use self::bucket::{Bucket, FLOODS};
use self::duplicates::Duplicates;
use self::neighbours::{Neighbour, Neighbours};
use self::outbox::Outbox;
use self::repeats::Repeats;
use self::routes::Routes;
use self::seal::{Plain, Seal};
use self::silence::Silence;
use self::trickle::Trickle;
use crate::config::FULL;
use crate::config::{Config, LinkAddress, LinkConfig, LinkId, MIN_MTU};
use crate::counters::{Counters, DropReason, count};
use crate::full::Full;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::{Ack, Frame, HEADER_LEN, MAX_TTL, Message, OVERHEAD, Object};

/// A neighbour is forgotten after this many of the longest hello intervals.
const SILENT_INTERVALS: u32 = 4;
/// A mesh is believed to be at least so many links wide.
const LEAST_REACH: u8 = 8;
/// Packets may travel so many links more than the longest route that is known.
const REACH_MARGIN: u8 = 4;
/// After so many floods in a row without an answer packets may travel as far as they can.
const FURTHEST: u8 = 5;
/// Frames for neighbours on lossy links that wait for acknowledgements, at most.
const REPEATED_FRAMES: usize = 64;

/// A packet that concerns this node.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) reach: Reach,
}

/// Whom a packet is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// This node.
    Here,
    /// Everyone.
    Everyone,
    /// Another node. It asks for a module, which this node may have, is a part of an object, which
    /// this node may keep, or an item of a flow, which it may work on; [`Mesh::pass_on`] sends it on.
    Passing,
}

/// The mesh as one node sees it.
#[derive(Debug)]
pub(crate) struct Mesh<S = Plain> {
    id: NodeId,
    links: Vec<LinkConfig>,
    /// Registries neither answer nor forward floods.
    is_registry: bool,
    neighbours: Neighbours,
    routes: Routes,
    /// Nodes that do not answer.
    silence: Full<Silence>,
    duplicates: Duplicates,
    /// The floods that are sent on.
    floods: Bucket,
    /// How often the reach of packets is doubled: floods for single nodes have had no answer.
    further: u8,
    /// Frames that wait, by link.
    outboxes: Vec<Outbox>,
    /// Frames that neighbours on lossy links have not acknowledged.
    repeats: Full<Repeats>,
    trickle: Option<Trickle>,
    /// How long a neighbour on the link takes to answer a hello, besides the time that it takes to speak.
    answer_takes: Full<Duration>,
    /// Registries that hellos told of, with the smallest frame size on the route.
    registries: Vec<(NodeId, u16)>,
    /// Whether requests for modules stop here on their way to another node.
    on_path: bool,
    /// Whether parts of objects are looked at on their way to another node.
    keep_passing: bool,
    /// Whether items of flows are looked at on their way to another node.
    works_on_flows: bool,
    /// Whether there is a neighbour that knows nothing of this node.
    newcomer: bool,
    /// Whether a registry has started anew.
    registry_anew: bool,
    sequence: u32,
    /// Which notes a hello begins with if not all fit.
    turn: u8,
    random: Random,
    scratch: Vec<u8>,
    seal: S,
}

impl Mesh {
    pub(crate) fn new(config: &Config) -> Self {
        Self::with_seal(config, Plain)
    }

    /// The part size for a packet over links of at least `mtu`, which others may have told: no link
    /// has shorter frames than [`MIN_MTU`], whatever they say.
    pub(crate) fn part_len(mtu: u16) -> u16 {
        let fixed = HEADER_LEN + OVERHEAD + crate::wire::Data::FIXED_LEN;
        mtu.max(MIN_MTU) - fixed as u16
    }
}

impl<S: Seal> Mesh<S> {
    /// A mesh whose frames are sealed by `seal`.
    fn with_seal(config: &Config, seal: S) -> Self {
        let limits = &config.limits;
        let mut random = Random::new(config.seed ^ u64::from(config.id.0) << 48);
        let now = Instant::ZERO;
        let topology = &config.topology;
        let trickle = topology
            .hello
            .map(|hello| Trickle::new(hello, now, &mut random));
        let longest = topology.hello.map_or(Duration::MAX, |hello| hello.max);
        let lifetime = longest.saturating_mul(SILENT_INTERVALS);
        let registries = config.namespaces.len().max(crate::wire::MAX_NOTES);
        let mtu = config.links.iter().map(|link| link.mtu).max().unwrap_or(0);
        let lossy = config.links.iter().any(|link| link.repeats > 0);
        let places = if lossy { REPEATED_FRAMES } else { 0 };
        Self {
            id: config.id,
            links: config.links.clone(),
            is_registry: config.role.is_registry(),
            neighbours: Neighbours::new(limits.neighbours, &topology.neighbours, lifetime),
            routes: Routes::new(limits.routes, &topology.routes),
            silence: Full::new(Silence::new),
            duplicates: Duplicates::new(limits.peers),
            floods: Bucket::FULL,
            further: 0,
            outboxes: config
                .links
                .iter()
                .map(|_| Outbox::new(limits.outbox_bytes))
                .collect(),
            repeats: Full::new(|| Repeats::new(places, mtu, config.pace.hop)),
            trickle,
            answer_takes: Full::of(config.pace.hop * 2),
            registries: Vec::with_capacity(registries),
            on_path: config.acquisition.on_path,
            keep_passing: config.acquisition.keep_passing,
            works_on_flows: FULL && config.limits.flows > 0,
            newcomer: false,
            registry_anew: false,
            sequence: config.first_sequence,
            turn: 0,
            random,
            scratch: vec![0; usize::from(mtu)],
            seal,
        }
    }

    /// Ids of the nodes in direct reach.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        self.neighbours.iter().map(|neighbour| neighbour.id)
    }

    /// How many windows over nodes' packet numbers are remembered.
    pub(crate) fn peers(&self) -> usize {
        self.duplicates.count()
    }

    /// How many routes are known.
    pub(crate) fn routes(&self) -> usize {
        self.routes.count()
    }

    /// Links to `destination` on the known route.
    pub(crate) fn hops(&self, now: Instant, destination: NodeId) -> Option<u8> {
        if self.neighbours.hearing(destination).is_some() {
            return Some(1);
        }
        self.routes.find(now, destination).map(|route| route.hops)
    }

    /// Whether `other` is a neighbour, or the node has, or had, a route to it.
    pub(crate) fn has_heard(&self, other: NodeId) -> bool {
        self.neighbours.find(other).is_some() || self.routes.remembers(other)
    }

    /// When a packet of `other` was sent that this node has heard, or heard of, last; at the earliest,
    /// as far as that is known. None if it never was.
    pub(crate) fn last_heard(&self, other: NodeId) -> Option<Instant> {
        self.neighbours.heard(other).max(self.routes.sent(other))
    }

    /// The smallest frame size among the node's links.
    pub(crate) fn smallest_mtu(&self) -> u16 {
        self.links.iter().map(|link| link.mtu).min().unwrap_or(0)
    }

    /// Bytes of the longest message that fits every link of the node.
    pub(crate) fn room(&self) -> usize {
        usize::from(self.smallest_mtu().max(MIN_MTU)) - HEADER_LEN - OVERHEAD
    }

    /// The part size for a packet of `other` over links of at least `mtu`: shorter if longer parts have
    /// not come over the neighbour on the way.
    pub(crate) fn part_from(&self, now: Instant, other: NodeId, mtu: u16) -> u16 {
        let part = Mesh::part_len(mtu.min(self.smallest_mtu()));
        let next = self.next(now, other);
        let narrow = next.and_then(|next| next.narrow(now));
        narrow.map_or(part, |narrow| narrow.min(part))
    }

    /// Only parts of at most `part` bytes have come from `other`.
    pub(crate) fn note_narrow(
        &mut self,
        now: Instant,
        other: NodeId,
        part: u16,
        counters: &mut Counters,
    ) {
        let next = self.next(now, other);
        let narrows = next.is_some_and(|next| {
            !next.is_wide(now, part + 1) && self.neighbours.narrow(now, next.id, part)
        });
        if narrows {
            count(&mut counters.narrowed);
        }
    }

    /// Whether parts of `other` as long as this have come lately over the neighbour on the way.
    pub(crate) fn is_wide(&self, now: Instant, other: NodeId, part: u16) -> bool {
        self.next(now, other)
            .is_some_and(|next| next.is_wide(now, part))
    }

    /// The neighbours over which long frames seem to vanish, with the longest frames that come.
    pub(crate) fn narrow(&self, now: Instant) -> impl Iterator<Item = (NodeId, u16)> {
        let fixed = (HEADER_LEN + crate::wire::Data::FIXED_LEN) as u16;
        let neighbours = self.neighbours.iter();
        neighbours.filter_map(move |it| Some((it.id, it.narrow(now)? + fixed)))
    }

    /// The smallest frame size between this node and `other`, as far as this node can know: links of
    /// other nodes may have the smallest frames that are allowed.
    pub(crate) fn mtu_between(&self, now: Instant, other: NodeId) -> u16 {
        let mtu = self.smallest_mtu();
        if self.next(now, other).is_some_and(|next| next.id == other) {
            return mtu;
        }
        let mut known = self.registries.iter().filter(|(id, _)| *id == other);
        mtu.min(known.next().map_or(MIN_MTU, |(_, mtu)| *mtu))
    }

    /// Whether a message to `destination` fits the link of its route, or any link if it is flooded.
    pub(crate) fn fits(&self, now: Instant, destination: NodeId, message: &Message<'_>) -> bool {
        let route = self.way(now, destination);
        let chosen = |link: usize| route.is_none_or(|route| usize::from(route.0) == link);
        let links = self.links.iter().enumerate();
        let mtu = links
            .filter(|(at, _)| chosen(*at))
            .map(|(_, link)| link.mtu);
        let frame = HEADER_LEN + message.len() + OVERHEAD;
        mtu.max().is_some_and(|mtu| frame <= usize::from(mtu))
    }

    /// The number that the next packet will have; no packet before or after has it.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.sequence
    }

    /// Receives a frame: learns from it, forwards it, and returns it if it is for this node.
    pub(crate) fn receive<'a>(
        &mut self,
        now: Instant,
        (link, from): (LinkId, LinkAddress),
        bytes: &'a [u8],
        counters: &mut Counters,
    ) -> Option<Delivery<'a>> {
        let known = self.links.get(usize::from(link.0));
        let opened = known.and_then(|known| self.seal.open(known, (link, from), bytes));
        let opened = opened.map(|it| Frame::parse_opened(it.header, it.body));
        let Some(Ok(frame)) = opened else {
            counters.drop(DropReason::Malformed);
            return None;
        };
        let is_ours = frame.receiver == self.id || frame.receiver == NodeId::EVERYONE;
        // spec/behaviour.md, section 4: who sends a packet here is not on its way from here.
        if is_ours && frame.sender != self.id {
            self.routes.doubt_way(frame.destination, frame.sender);
        }
        if let Some(repeats) = self.repeats.get_mut()
            && let Message::Ack(_) = frame.message
            && is_ours
            && frame.sender != self.id
        {
            repeats.acknowledge(frame.sender, (frame.origin, frame.sequence));
            counters.received(frame.message.kind(), bytes.len());
            return None;
        }
        if frame.sender == self.id || frame.origin == self.id {
            // Numbers are compared in a circle: this node's packets are behind its next one.
            let sent = frame.sequence.wrapping_sub(self.sequence) >= 1 << 31;
            // A node that has it over others shows nothing.
            if FULL && sent && frame.hops == 2 && frame.sender != self.id {
                self.neighbours.show(now, frame.sender);
            }
            counters.drop(match sent && frame.sender != self.id {
                true => DropReason::Duplicate,
                false => DropReason::OwnId,
            });
            return None;
        }
        if !is_ours {
            counters.drop(DropReason::NotForUs);
            return None;
        }
        if self.neighbours.hear(now, frame.sender, link, from) {
            self.newcomer = true;
            self.speak_soon(now);
        }
        if FULL && frame.receiver == self.id && self.links[usize::from(link.0)].repeats > 0 {
            self.acknowledge(now, &frame, (link, from), counters);
        }
        let seen = self.duplicates.has_seen(now, frame.origin, frame.sequence);
        if seen && !(FULL && self.may_come_back(&frame)) {
            counters.drop(DropReason::Duplicate);
            return None;
        }
        // spec/behaviour.md, section 3: what is not learnt from is not passed on.
        let deaf = self.is_deaf(frame.sender);
        let ends = frame.ttl == 0 || frame.destination == self.id;
        if deaf && !ends {
            counters.drop(DropReason::Deaf);
            return None;
        }
        if !self.admits(now, &frame) {
            counters.drop(DropReason::Limited);
            return None;
        }
        if frame.origin == frame.sender
            && self
                .neighbours
                .note_number(now, frame.sender, frame.sequence)
        {
            self.routes.doubt_over(frame.sender, false);
            self.newcomer = true;
            self.speak_soon(now);
        }
        self.note_answered(frame.origin);
        if !deaf {
            let anew = self.routes.learn(
                now,
                Duration::ZERO,
                frame.origin,
                frame.sender,
                frame.hops,
                frame.sequence,
            );
            if anew {
                self.hear_start(now, frame.origin);
            }
        }
        // Its origin may not have got the answers that went back over here.
        if frame.receiver == NodeId::EVERYONE && frame.destination != NodeId::EVERYONE {
            self.hint_neighbour(now, frame.sender, (frame.origin, frame.destination));
        }
        // One that asks in vain itself may not hear this node, whomever it asks.
        let came_alone = frame.receiver == self.id || frame.origin == frame.sender;
        if FULL && frame.unanswered && came_alone {
            self.suspect_neighbour(now, frame.sender);
        }
        if FULL
            && frame.receiver == self.id
            && let Message::Data(data) = frame.message
        {
            let part = u16::try_from(data.bytes.len()).unwrap_or(u16::MAX);
            self.neighbours.note_part(now, frame.sender, part);
        }
        if FULL && frame.receiver == self.id && frame.destination == self.id {
            self.hear_answer(&frame);
        }
        counters.received(frame.message.kind(), bytes.len());

        let reach = match frame.destination {
            NodeId::EVERYONE => Reach::Everyone,
            destination if destination == self.id => Reach::Here,
            _ => Reach::Passing,
        };
        let stops = reach == Reach::Passing && self.stops(&frame.message);
        if reach != Reach::Here && frame.ttl > 0 && !stops {
            self.forward(now, frame, counters);
        }
        (reach != Reach::Passing || stops).then_some(Delivery { frame, reach })
    }

    /// Whether a packet that was seen may have passed this node on its way to another one, which has sent it on
    /// to this node. It does no harm if it comes twice.
    fn may_come_back(&self, frame: &Frame<'_>) -> bool {
        let is_call = matches!(&frame.message, Message::Call(call) if call.oldest == u16::MAX);
        let ends_one = matches!(&frame.message, Message::Move(order) if order.is_nowhere());
        (is_call || ends_one) && frame.receiver == self.id && frame.destination == self.id
    }

    /// Tells a neighbour that its frame has arrived. If it was repeated, that may have got lost.
    fn acknowledge(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        (link, from): (LinkId, LinkAddress),
        counters: &mut Counters,
    ) {
        let ack = Frame {
            ttl: 0,
            sender: self.id,
            receiver: frame.sender,
            destination: frame.sender,
            hops: 1,
            unanswered: false,
            message: Message::Ack(Ack),
            ..*frame
        };
        self.emit(now, ack, link, Some(from), counters);
    }

    /// Repeats frames that were not acknowledged in time.
    pub(crate) fn repeat(&mut self, now: Instant, counters: &mut Counters) {
        while let Some(due) = self.repeats.get_mut().and_then(|it| it.poll(now)) {
            match due {
                Ok(frame) => {
                    let link = usize::from(frame.link.0);
                    let pushed = self.outboxes[link].push(Some(frame.address), &frame.bytes);
                    match pushed {
                        Ok(()) => {
                            let len = frame.bytes.len() + self.seal.added(&self.links[link]);
                            counters.repeated(frame.kind, len);
                        }
                        Err(_) => counters.drop(DropReason::QueueFull),
                    }
                }
                Err(neighbour) => self.doubt_neighbour(now, neighbour),
            }
        }
    }

    /// When frames are to be repeated.
    pub(crate) fn poll_repeat(&self) -> Option<Instant> {
        self.repeats.get().and_then(Repeats::poll_timeout)
    }

    fn is_registry(&self) -> bool {
        FULL && self.is_registry
    }

    /// Whether frames may need repetitions on their way, which takes longer.
    pub(crate) fn is_lossy(&self) -> bool {
        FULL && self.links.iter().any(|link| link.repeats > 0)
    }

    /// Whether a packet that was not seen before may pass: the node remembers it, and does not send on
    /// more floods than it may.
    fn admits(&mut self, now: Instant, frame: &Frame<'_>) -> bool {
        let ends = frame.ttl == 0 || frame.destination == self.id;
        let is_flood = frame.receiver == NodeId::EVERYONE && !ends;
        let spreads = is_flood && self.next(now, frame.destination).is_none();
        // Without hellos neighbours are those of the configuration.
        let limited = spreads && self.trickle.is_some();
        if limited && !self.neighbours.takes_flood(now, frame.sender) {
            return false;
        }
        if limited && !self.is_registry() && !self.floods.take(now, &FLOODS) {
            return false;
        }
        let Frame {
            origin, sequence, ..
        } = *frame;
        // What goes no further may come twice.
        self.duplicates.note(now, origin, sequence, limited) || ends
    }

    /// How far a packet may travel that is for a node anywhere, or for all: as far as the furthest node
    /// that is known, and some links more. In a mesh that is given by the configuration it may go
    /// anywhere.
    pub(crate) fn reach(&self, now: Instant) -> u8 {
        if self.trickle.is_none() {
            return MAX_TTL;
        }
        let known = self.routes.longest(now).max(LEAST_REACH);
        let reach = u32::from(known.saturating_add(REACH_MARGIN)) << self.further;
        u8::try_from(reach).unwrap_or(MAX_TTL)
    }

    /// Whether a message for another node concerns this one.
    fn stops(&self, message: &Message<'_>) -> bool {
        if let Message::Fetch(fetch) = message {
            let module = matches!(fetch.object, Object::Module(_));
            return module && (self.on_path || self.keep_passing);
        }
        if FULL && let Message::Flow(flow) = message {
            return self.works_on_flows && flow.may_stop();
        }
        self.keep_passing && matches!(message, Message::Data(_))
    }

    /// Sends a packet on that was only passing, to `destination`.
    pub(crate) fn pass_on(
        &mut self,
        now: Instant,
        frame: Frame<'_>,
        destination: NodeId,
        counters: &mut Counters,
    ) {
        if frame.ttl > 0 {
            // Who has made the packet, or sent it here, would drop it: they are not on its way.
            if FULL {
                self.routes.doubt_way(destination, frame.origin);
                self.routes.doubt_way(destination, frame.sender);
            }
            let frame = Frame {
                destination,
                ..frame
            };
            self.forward(now, frame, counters);
        }
    }

    /// Sends a packet to one node; without a route to it, floods it.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        destination: NodeId,
        message: Message<'_>,
        counters: &mut Counters,
    ) {
        let ttl = self.reach(now).saturating_sub(1);
        if let Some(silence) = self.silence.get_mut()
            && let Message::Call(_) | Message::Fetch(_) = message
        {
            silence.ask();
        }
        let frame = self.own(destination, ttl, message);
        self.transmit(now, frame, counters);
    }

    /// Sends a packet to every node within `ttl` hops.
    pub(crate) fn flood(
        &mut self,
        now: Instant,
        ttl: u8,
        message: Message<'_>,
        counters: &mut Counters,
    ) {
        let frame = self.own(NodeId::EVERYONE, ttl.saturating_sub(1), message);
        self.transmit(now, frame, counters);
    }

    /// Something sent to `destination` was not answered, and its route is used further.
    pub(crate) fn note_unanswered(&mut self, now: Instant, destination: NodeId) {
        if let Some(silence) = self.silence.get_mut() {
            silence.note(now, destination);
        }
    }

    /// Something sent to `destination` was answered, by itself or by a node on the way.
    pub(crate) fn note_answered(&mut self, destination: NodeId) {
        if let Some(silence) = self.silence.get_mut() {
            silence.hear(destination);
        }
    }

    /// The route to `destination` brought no answer.
    pub(crate) fn doubt(&mut self, now: Instant, destination: NodeId) {
        match self.next(now, destination) {
            Some(next) => self.doubt_neighbour(now, next.id),
            None => self.further = FURTHEST.min(self.further + 1),
        }
        self.routes.doubt(destination);
        self.note_unanswered(now, destination);
    }

    /// The next frame for `link`, sealed and written to the start of `out`.
    pub(crate) fn poll_transmit(&mut self, link: LinkId, out: &mut [u8]) -> Option<Transmit> {
        let outbox = self.outboxes.get_mut(usize::from(link.0))?;
        let frame = outbox.pop(link, out)?;
        Some(self.seal.seal(&self.links[usize::from(link.0)], frame, out))
    }

    /// Whether no frame waits for `link`.
    pub(crate) fn is_idle(&self, link: LinkId) -> bool {
        let outbox = self.outboxes.get(usize::from(link.0));
        outbox.is_none_or(Outbox::is_empty)
    }

    /// The link that packets for `destination` leave by; none if they are flooded.
    pub(crate) fn way(&self, now: Instant, destination: NodeId) -> Option<LinkId> {
        self.next(now, destination).map(|next| next.link)
    }

    /// The next hop to `destination`.
    fn next(&self, now: Instant, destination: NodeId) -> Option<Neighbour> {
        let route = self.routes.find(now, destination);
        route
            .and_then(|route| self.neighbours.hearing(route.next))
            .or_else(|| self.neighbours.hearing(destination))
            .copied()
    }

    fn own<'m>(&mut self, destination: NodeId, ttl: u8, message: Message<'m>) -> Frame<'m> {
        let unanswered = self
            .silence
            .get()
            .is_some_and(|silence| silence.is_of(destination));
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let (sender, origin) = (self.id, self.id);
        let receiver = NodeId::EVERYONE;
        Frame {
            ttl,
            sender,
            receiver,
            origin,
            destination,
            sequence,
            hops: 1,
            unanswered,
            message,
        }
    }

    fn forward(&mut self, now: Instant, frame: Frame<'_>, counters: &mut Counters) {
        // spec/behaviour.md, section 5: a registry forwards no floods.
        let unicast = frame.destination != NodeId::EVERYONE;
        if !unicast && self.is_registry() {
            return;
        }
        let Some(hops) = frame.hops.checked_add(1) else {
            counters.drop(DropReason::TtlExceeded);
            return;
        };
        let frame = Frame {
            ttl: frame.ttl - 1,
            hops,
            sender: self.id,
            ..frame
        };
        self.transmit(now, frame, counters);
    }

    /// Puts a frame on the link of the next hop, or on every link.
    fn transmit(&mut self, now: Instant, frame: Frame<'_>, counters: &mut Counters) {
        let next = match frame.destination {
            NodeId::EVERYONE => None,
            destination => self.next(now, destination),
        };
        if let Some(next) = next {
            // spec/behaviour.md, section 3: whoever floods it may have sent it over here in vain.
            if frame.origin != self.id && frame.receiver == NodeId::EVERYONE {
                self.hint_neighbour(now, next.id, (frame.origin, frame.destination));
            }
            if FULL && frame.unanswered {
                self.suspect_neighbour(now, next.id);
            }
            self.emit(
                now,
                Frame {
                    receiver: next.id,
                    ..frame
                },
                next.link,
                Some(next.address),
                counters,
            );
            return;
        }
        if frame.origin != self.id {
            if self.is_registry() {
                return;
            }
            // Floods that come as such were counted when they came.
            let becomes_flood = frame.receiver != NodeId::EVERYONE && self.trickle.is_some();
            if becomes_flood && !self.floods.take(now, &FLOODS) {
                counters.drop(DropReason::Limited);
                return;
            }
        }
        for link in 0..self.links.len() as u8 {
            self.emit(
                now,
                Frame {
                    receiver: NodeId::EVERYONE,
                    ..frame
                },
                LinkId(link),
                None,
                counters,
            );
        }
    }

    fn emit(
        &mut self,
        now: Instant,
        mut frame: Frame<'_>,
        link: LinkId,
        to: Option<LinkAddress>,
        counters: &mut Counters,
    ) {
        let config = self.links[usize::from(link.0)];
        let mtu = config.mtu;
        frame.message.lower_mtu(mtu);
        // spec/wire.md, section 2: counter and tag have to fit the link too.
        if frame.len() + OVERHEAD > usize::from(mtu) {
            counters.drop(DropReason::TooLong);
            return;
        }
        let Some(len) = frame.emit(&mut self.scratch) else {
            counters.drop(DropReason::TooLong);
            return;
        };
        let packet = (frame.origin, frame.sequence);
        match self.outboxes[usize::from(link.0)].push(to, &self.scratch[..len]) {
            Ok(()) => {
                let sent = len + self.seal.added(&config);
                counters.sent(frame.message.kind(), sent, frame.origin == self.id);
                if let Some(address) = to
                    && let Some(repeats) = self.repeats.get_mut()
                    && config.repeats > 0
                    && frame.message != Message::Ack(Ack)
                {
                    let to = (frame.receiver, link, address);
                    let frame = (frame.message.kind(), &self.scratch[..len]);
                    repeats.hold(now, packet, to, config.repeats, frame);
                }
            }
            Err(_) => counters.drop(DropReason::QueueFull),
        }
    }
}

#[cfg(test)]
mod tests;
