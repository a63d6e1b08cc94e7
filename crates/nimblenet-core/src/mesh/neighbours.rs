//! Nodes in direct reach (spec/behaviour.md, section 3).

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use super::bucket::{Bucket, NEIGHBOUR_FLOODS};
use super::hearing::Hearing;
use super::width::Width;
use crate::config::{LinkAddress, LinkId, StaticNeighbour};
use crate::time::Instant;
use crate::wire::MAX_LISTED;

/// A number that is ahead of the newest of its node by more than this is of another run of the node,
/// or of somebody else.
pub(super) const RUN: u32 = 1 << 16;
/// The same if it is behind by more than this: a packet that is late is not as far.
const BEHIND: u32 = 1 << 10;
/// A neighbour does not seem to restart again for this long: others may speak in its name.
const SETTLE: Duration = Duration::from_secs(3);

/// A neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Neighbour {
    pub(crate) id: NodeId,
    pub(crate) link: LinkId,
    pub(crate) address: LinkAddress,
    /// When it was last heard; never for a static neighbour.
    heard: Option<Instant>,
    /// The number of its newest own packet.
    number: Option<u32>,
    /// When it was first heard, or has restarted as it seems.
    since: Instant,
    /// Its share of the floods that are sent on.
    floods: Bucket,
    hearing: Hearing,
    width: Width,
}

/// The table of neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    /// Ordered by id.
    neighbours: Vec<Neighbour>,
    limit: usize,
    lifetime: Duration,
    /// A node without a place here that asks whether this one hears it.
    stranger: Option<NodeId>,
}

impl Neighbours {
    pub(crate) fn new(limit: usize, fixed: &[StaticNeighbour], lifetime: Duration) -> Self {
        let mut neighbours: Vec<Neighbour> = Vec::with_capacity(limit.max(fixed.len()));
        // They are few: putting each in its place takes less code than sorting.
        for &StaticNeighbour { id, link, address } in fixed {
            let at = neighbours.partition_point(|neighbour| neighbour.id <= id);
            let neighbour = Neighbour::new(id, (link, address), None);
            neighbours.insert(at, neighbour);
        }
        Self {
            neighbours,
            limit,
            lifetime,
            stranger: None,
        }
    }

    /// A neighbour that hears this node, as far as that is known.
    pub(crate) fn hearing(&self, id: NodeId) -> Option<&Neighbour> {
        self.find(id).filter(|neighbour| !neighbour.is_deaf())
    }

    pub(crate) fn find(&self, id: NodeId) -> Option<&Neighbour> {
        let at = self
            .neighbours
            .binary_search_by_key(&id, |neighbour| neighbour.id)
            .ok()?;
        Some(&self.neighbours[at])
    }

    /// When `id` was heard last; none if it is no neighbour, or is one by the configuration only.
    pub(crate) fn heard(&self, id: NodeId) -> Option<Instant> {
        self.find(id)?.heard
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.neighbours.iter()
    }

    /// Notes that `id` was heard; true if it is new. A full table takes no new neighbours.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        id: NodeId,
        link: LinkId,
        address: LinkAddress,
    ) -> bool {
        match self
            .neighbours
            .binary_search_by_key(&id, |neighbour| neighbour.id)
        {
            Ok(at) => {
                let neighbour = &mut self.neighbours[at];
                if neighbour.heard.is_some() {
                    (neighbour.link, neighbour.address) = (link, address);
                    neighbour.heard = Some(now);
                }
                false
            }
            Err(at) => {
                let room = self.neighbours.len() < self.limit;
                if room {
                    let neighbour = Neighbour::new(id, (link, address), Some(now));
                    self.neighbours.insert(at, neighbour);
                }
                room
            }
        }
    }

    /// Notes the number of a packet that a neighbour has made itself; true if it has restarted, as it
    /// seems.
    pub(crate) fn note_number(&mut self, now: Instant, id: NodeId, number: u32) -> bool {
        let Some(neighbour) = self.find_mut(id) else {
            return false;
        };
        let newest = neighbour.number.unwrap_or(number);
        let ahead = number.wrapping_sub(newest);
        if !same_run(newest, number) {
            let settled = now - neighbour.since > SETTLE;
            if settled {
                (neighbour.number, neighbour.since) = (Some(number), now);
            }
            return settled;
        }
        if ahead <= RUN {
            neighbour.number = Some(number);
        }
        false
    }

    /// Whether another flood of this neighbour may be sent on.
    pub(crate) fn takes_flood(&mut self, now: Instant, id: NodeId) -> bool {
        let neighbour = self.find_mut(id);
        neighbour.is_none_or(|neighbour| neighbour.floods.take(now, &NEIGHBOUR_FLOODS))
    }

    /// The neighbours that the next hello asks whether they hear this node: of too many other ones at each
    /// `turn`.
    pub(crate) fn ask(&mut self, now: Instant, turn: u8) -> impl Iterator<Item = NodeId> {
        let asked = |neighbour: &&mut Neighbour| neighbour.hearing.is_asked();
        let first = usize::from(turn) % self.neighbours.len().max(1);
        let (before, from) = self.neighbours.split_at_mut(first);
        let all = from.iter_mut().chain(before).filter(asked);
        all.take(MAX_LISTED).map(move |neighbour| {
            neighbour.hearing.ask(now);
            neighbour.id
        })
    }

    /// Whether a neighbour is asked that may still answer in time.
    pub(crate) fn is_asking(&self) -> bool {
        let asked = |it: &Neighbour| it.hearing.is_asked() && !it.hearing.is_deaf();
        self.neighbours.iter().any(asked)
    }

    /// Whether a neighbour is asked that has not answered in time.
    pub(crate) fn is_asking_again(&self) -> bool {
        let mut neighbours = self.neighbours.iter();
        neighbours.any(|it| it.hearing.is_asked_again())
    }

    /// The neighbours that the next hello answers that this node hears them.
    pub(crate) fn answer(&mut self) -> impl Iterator<Item = NodeId> {
        let known = self.neighbours.iter_mut();
        let known = known.filter_map(|neighbour| neighbour.hearing.tell().then_some(neighbour.id));
        self.stranger
            .take()
            .into_iter()
            .chain(known)
            .take(MAX_LISTED)
    }

    /// Whether the next hello has to answer a neighbour.
    pub(crate) fn is_owing(&self) -> bool {
        self.stranger.is_some() || self.neighbours.iter().any(|it| it.hearing.owes)
    }

    /// A neighbour asks whether this node hears it.
    pub(crate) fn handle_ask(&mut self, now: Instant, id: NodeId) {
        match self.find_mut(id) {
            Some(neighbour) => neighbour.hearing.handle_ask(now),
            None => self.stranger = Some(id),
        }
    }

    /// A neighbour's hello does not ask whether this node hears it.
    pub(crate) fn handle_no_ask(&mut self, id: NodeId) {
        if let Some(neighbour) = self.find_mut(id) {
            neighbour.hearing.handle_no_ask();
        }
    }

    /// A neighbour sends what answers this node.
    pub(crate) fn soothe(&mut self, id: NodeId) {
        if let Some(neighbour) = self.find_mut(id) {
            neighbour.hearing.soothe();
        }
    }

    /// A neighbour says that it hears this node.
    pub(crate) fn handle_answer(&mut self, now: Instant, id: NodeId) {
        if let Some(neighbour) = self.find_mut(id) {
            neighbour.hearing.answer(now);
        }
    }

    /// A neighbour has sent on what it has from this node.
    pub(crate) fn show(&mut self, now: Instant, id: NodeId) {
        if let Some(neighbour) = self.find_mut(id) {
            neighbour.hearing.show(now);
        }
    }

    /// What went over a neighbour was not answered; true if it is to be asked for that.
    pub(crate) fn doubt(&mut self, now: Instant, id: NodeId) -> bool {
        let neighbour = self.find_mut(id);
        neighbour.is_some_and(|neighbour| neighbour.hearing.doubt(now))
    }

    /// Only parts of at most `part` bytes have come over a neighbour; true if that is new.
    pub(crate) fn narrow(&mut self, now: Instant, id: NodeId, part: u16) -> bool {
        let Some(neighbour) = self.find_mut(id) else {
            return false;
        };
        neighbour.width.note_narrow(now, part)
    }

    /// A part of this length has come over a neighbour.
    pub(crate) fn note_part(&mut self, now: Instant, id: NodeId, part: u16) {
        if let Some(neighbour) = self.find_mut(id) {
            neighbour.width.note_part(now, part);
        }
    }

    /// What goes over a neighbour is not answered, as the origin of a packet says; true if it is to be asked
    /// for that.
    pub(crate) fn suspect(&mut self, now: Instant, id: NodeId) -> bool {
        let neighbour = self.find_mut(id);
        neighbour.is_some_and(|neighbour| neighbour.hearing.suspect(now))
    }

    /// A packet from one node for another was flooded over a neighbour; true if it is to be asked for that.
    pub(crate) fn hint(&mut self, now: Instant, id: NodeId, pair: (NodeId, NodeId)) -> bool {
        let neighbour = self.find_mut(id);
        neighbour.is_some_and(|neighbour| neighbour.hearing.hint(now, pair))
    }

    /// Forgets neighbours that were silent for long.
    pub(crate) fn forget_silent(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        self.neighbours
            .retain(|neighbour| neighbour.heard.is_none_or(|at| now - at <= lifetime));
    }

    fn find_mut(&mut self, id: NodeId) -> Option<&mut Neighbour> {
        let at = self
            .neighbours
            .binary_search_by_key(&id, |neighbour| neighbour.id)
            .ok()?;
        Some(&mut self.neighbours[at])
    }
}

/// Whether a node that has come to the number `newest` can have used the other one without a restart.
pub(super) fn same_run(newest: u32, other: u32) -> bool {
    let ahead = other.wrapping_sub(newest);
    ahead <= RUN || ahead.wrapping_neg() <= BEHIND
}

impl Neighbour {
    fn new(id: NodeId, (link, address): (LinkId, LinkAddress), heard: Option<Instant>) -> Self {
        Self {
            id,
            link,
            address,
            heard,
            number: None,
            since: heard.unwrap_or(Instant::ZERO),
            floods: Bucket::FULL,
            hearing: Hearing::UNKNOWN,
            width: Width::UNKNOWN,
        }
    }

    /// Whether it seems not to hear this node.
    pub(crate) fn is_deaf(&self) -> bool {
        self.hearing.is_deaf()
    }

    /// Whether it seems so since the last hello.
    pub(crate) fn turns_deaf(&self) -> bool {
        self.hearing.turns_deaf()
    }

    /// The longest parts that come over it, if longer ones seem to vanish.
    pub(crate) fn narrow(&self, now: Instant) -> Option<u16> {
        self.width.narrow(now)
    }

    /// Whether a part of at least this length has come over it lately.
    pub(crate) fn is_wide(&self, now: Instant, part: u16) -> bool {
        self.width.is_wide(now, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_neighbour_is_forgotten_and_a_static_one_is_not() {
        let (link, address) = (LinkId(0), LinkAddress(1));
        let fixed = StaticNeighbour {
            id: NodeId(1),
            link,
            address,
        };
        let mut neighbours = Neighbours::new(2, &[fixed], Duration::from_secs(10));
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        assert!(neighbours.hear(at(1), NodeId(2), link, address));
        assert!(!neighbours.hear(at(5), NodeId(2), link, address));
        assert!(!neighbours.hear(at(5), NodeId(3), link, address), "full");
        neighbours.forget_silent(at(15));
        assert!(neighbours.find(NodeId(2)).is_some());
        neighbours.forget_silent(at(16));
        assert!(neighbours.find(NodeId(2)).is_none() && neighbours.find(NodeId(1)).is_some());
    }

    #[test]
    fn who_has_no_place_is_answered_too() {
        let mut neighbours = Neighbours::new(1, &[], Duration::MAX);
        for id in [1, 2] {
            neighbours.hear(Instant::ZERO, NodeId(id), LinkId(0), LinkAddress(1));
            neighbours.handle_ask(Instant::ZERO, NodeId(id));
        }
        assert_eq!(neighbours.answer().count(), 2);
        assert_eq!(neighbours.answer().count(), 0);
    }

    #[test]
    fn a_neighbour_whose_numbers_leap_has_restarted_but_not_again_at_once() {
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        for next in [5, 100_000 - BEHIND - 1, 100_001 + RUN, 1 << 31] {
            let mut neighbours = Neighbours::new(2, &[], Duration::MAX);
            neighbours.hear(at(1), NodeId(2), LinkId(0), LinkAddress(1));
            let mut note = |s, number| neighbours.note_number(at(s), NodeId(2), number);
            assert!(!note(1, 100_000));
            assert!(!note(2, next), "it is new");
            assert!(!note(5, 100_000 - BEHIND), "late");
            assert!(note(5, next), "{next}");
            assert!(!note(6, next + 1) && !note(7, next + 2 + RUN), "{next}");
            assert!(note(9, next + 2 + RUN), "{next}");
        }
        let mut neighbours = Neighbours::new(2, &[], Duration::MAX);
        assert!(!neighbours.note_number(at(9), NodeId(2), 7), "a stranger");
    }
}
