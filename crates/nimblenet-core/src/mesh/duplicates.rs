//! Which packets were seen before.

use alloc::vec::Vec;
use core::ops::Range;

use nimblenet_tasklet::NodeId;

use crate::time::Instant;

/// A packet is through the mesh, with all its copies, after this time at the latest; until then it is
/// not forgotten. In milliseconds.
pub(super) const FLIGHT_MS: u32 = 3000;
/// A number that is ahead of the newest by more than this begins a window of its own.
const AHEAD: u32 = 16;
/// A window that has to take in a number further ahead does so up to here.
const STRETCH: u32 = 1 << 15;

/// A node whose numbers leap has so many windows at most, as long as it can be helped: of more the table
/// would lose the one with the numbers that the node itself has come to.
const APART: usize = 8;

/// A window over the packet numbers of a node.
///
/// It remembers the numbers from its first to its newest; those that are too far behind the newest to
/// tell count as seen while its packets may still be on their way.
#[derive(Clone, Copy, Debug)]
struct Window {
    origin: NodeId,
    /// How far the first number of the window is behind the newest.
    span: u16,
    /// The newest packet number.
    newest: u32,
    /// Bit n: the packet n before the newest was seen.
    before: u32,
    /// When a packet was last new in it, in milliseconds; wraps.
    at: u32,
}

/// The packets that were seen lately: a few windows over the numbers of each node.
///
/// Numbers that leap begin another window, beside the one that there is: so a node that has restarted
/// with any numbers is heard at once, and whoever speaks in its name with other numbers does not make
/// it unheard. A packet that was seen is not forgotten while it may still be on its way
/// ([`FLIGHT_MS`]): a full table does not take in a node that it does not know until a window is older
/// than that. So each node sends a packet on at most once, whatever the number of origins.
#[derive(Debug)]
pub(crate) struct Duplicates {
    /// Ordered by origin.
    windows: Vec<Window>,
    limit: usize,
}

impl Duplicates {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            windows: Vec::with_capacity(limit),
            limit,
        }
    }

    /// How many windows there are.
    pub(crate) fn count(&self) -> usize {
        self.windows.len()
    }

    /// Whether a packet was seen before, or may have been. A window whose packets have all left the mesh
    /// cannot claim numbers that it does not know: the node may come to them itself, whoever spoke in its
    /// name before.
    pub(crate) fn has_seen(&self, now: Instant, origin: NodeId, sequence: u32) -> bool {
        let at = millis(now);
        let mut own = self.windows[self.of(origin)].iter();
        own.any(|window| {
            let travels = at.wrapping_sub(window.at) <= FLIGHT_MS;
            window.has_seen(sequence, travels)
        })
    }

    /// Notes a packet that was not seen before; false if there is no room for it. Floods take only a
    /// part of the room, so that other packets of nodes that are not known find some.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        origin: NodeId,
        sequence: u32,
        floods: bool,
    ) -> bool {
        let at = millis(now);
        let own = self.of(origin);
        let held = &mut self.windows[own.clone()];
        let goes_on = held.iter().position(|window| window.goes_on(sequence));
        let takes = || held.iter().position(|window| window.takes(sequence));
        if let Some(found) = goes_on.or_else(takes) {
            held[found].note(at, sequence);
            return true;
        }
        let age = |window: &Window| at.wrapping_sub(window.at);
        let travel = self.windows.iter().filter(|held| age(held) <= FLIGHT_MS);
        let travel = travel.count();
        let room = match floods {
            true => self.limit - self.limit / 4,
            false => self.limit,
        };
        // A node whose numbers leap again and again does not take the room of others.
        let leaps = own.len() > 1 && (travel > self.limit / 2 || own.len() >= APART);
        if leaps || travel >= room {
            let ahead = |window: &Window| sequence.wrapping_sub(window.newest);
            let windows = self.windows[own.clone()].iter_mut();
            let nearest = windows.min_by_key(|window| ahead(window));
            if let Some(window) = nearest.filter(|window| ahead(window) <= STRETCH) {
                window.note(at, sequence);
                return true;
            }
        }
        if travel >= room {
            return false;
        }
        let mut place = own.end;
        if self.windows.len() >= self.limit {
            let oldest = (0..self.windows.len()).max_by_key(|index| age(&self.windows[*index]));
            let Some(oldest) = oldest else {
                return false;
            };
            self.windows.remove(oldest);
            place -= usize::from(oldest < place);
        }
        let window = Window {
            origin,
            span: 0,
            newest: sequence,
            before: 1,
            at,
        };
        self.windows.insert(place, window);
        true
    }

    /// The windows of a node.
    fn of(&self, origin: NodeId) -> Range<usize> {
        let end = |last: bool| {
            self.windows
                .partition_point(|window| window.origin < origin || last && window.origin == origin)
        };
        end(false)..end(true)
    }
}

impl Window {
    /// Whether a number was seen; if it is too far behind to tell, it counts as seen if that is `unclear`.
    fn has_seen(&self, sequence: u32, unclear: bool) -> bool {
        let behind = self.newest.wrapping_sub(sequence);
        let known = 1u32.checked_shl(behind).map(|bit| self.before & bit != 0);
        behind <= u32::from(self.span) && known.unwrap_or(unclear)
    }

    /// Whether a number is the next one here, or comes soon after it.
    fn goes_on(&self, sequence: u32) -> bool {
        self.newest.wrapping_sub(sequence).wrapping_neg() <= AHEAD
    }

    /// Whether a number that was not seen belongs here, where it can be told from others.
    fn takes(&self, sequence: u32) -> bool {
        let behind = self.newest.wrapping_sub(sequence);
        behind <= u32::from(self.span) && behind < u32::BITS || self.goes_on(sequence)
    }

    fn note(&mut self, at: u32, sequence: u32) {
        self.at = at;
        let behind = self.newest.wrapping_sub(sequence);
        if behind <= u32::from(self.span) {
            self.before |= 1u32.checked_shl(behind).unwrap_or(0);
            return;
        }
        let ahead = behind.wrapping_neg();
        self.before = self.before.checked_shl(ahead).unwrap_or(0) | 1;
        self.newest = sequence;
        let span = u32::from(self.span).saturating_add(ahead);
        self.span = u16::try_from(span).unwrap_or(u16::MAX);
    }
}

/// The milliseconds of a moment, as many as fit in 32 bits.
pub(super) fn millis(now: Instant) -> u32 {
    (now.as_micros() / 1000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// Whether a packet counts: it was not seen before, and there is room for it.
    fn counts(seen: &mut Duplicates, millis: u64, node: NodeId, sequence: u32) -> bool {
        let now = at(millis);
        !seen.has_seen(now, node, sequence) && seen.note(now, node, sequence, false)
    }

    #[test]
    fn a_packet_counts_once_in_any_order() {
        let mut seen = Duplicates::new(4);
        let mut first = |sequence| counts(&mut seen, 0, NODE, sequence);
        assert!(first(u32::MAX - 1));
        assert!(first(3), "numbers wrap");
        assert!(first(0));
        assert!(!first(3) && !first(0) && !first(u32::MAX - 1));
        assert!((4..60).all(&mut first));
        assert!(!first(2), "too old to tell");
        assert_eq!(seen.count(), 1);
    }

    #[test]
    fn a_full_table_forgets_the_quietest_node_but_none_whose_packets_may_still_travel() {
        let mut seen = Duplicates::new(2);
        let late = u64::from(FLIGHT_MS);
        assert!(counts(&mut seen, 0, NodeId(1), 7));
        assert!(counts(&mut seen, 1, NodeId(2), 7));
        assert!(!counts(&mut seen, late, NodeId(3), 7), "no room");
        assert!(!counts(&mut seen, late, NodeId(1), 7), "not forgotten");
        assert!(counts(&mut seen, late + 1, NodeId(3), 7));
        assert!(!counts(&mut seen, late + 1, NodeId(2), 7), "not forgotten");
    }

    #[test]
    fn a_full_table_still_hears_whom_it_knows_wherever_the_numbers_go_on() {
        let mut seen = Duplicates::new(2);
        assert!(counts(&mut seen, 0, NodeId(1), 100));
        assert!(counts(&mut seen, 0, NodeId(2), 100));
        assert!(counts(&mut seen, 1, NodeId(1), 5000));
        assert!(!counts(&mut seen, 1, NodeId(1), 5000));
        assert!(!counts(&mut seen, 1, NodeId(1), 100));
        assert!(!counts(&mut seen, 1, NodeId(1), 4000), "it cannot tell");
        assert!(!counts(&mut seen, 1, NodeId(1), 50), "unknown");
    }

    #[test]
    fn floods_leave_room_for_other_packets_and_leaping_numbers_for_other_nodes() {
        let mut seen = Duplicates::new(8);
        let floods = (0..20).filter(|id| seen.note(at(0), NodeId(100 + id), 7, true));
        assert_eq!(floods.count(), 6);
        assert!(counts(&mut seen, 1, NodeId(1), 7));
        assert!((0..100).all(|leap| counts(&mut seen, 1, NodeId(1), 1000 + 100 * leap)));
        assert_eq!(seen.count(), 8);
        assert!(counts(&mut seen, 1, NodeId(1), 8), "the first is not lost");
        assert!(!counts(&mut seen, 1, NodeId(1), 1000 + 99 * 100));
    }

    #[test]
    fn a_node_whose_numbers_leap_in_either_direction_is_heard_and_so_is_who_was_before() {
        for next in [5, 1_000_000 - 300, 1_000_000 + 300, 1 << 31] {
            let mut seen = Duplicates::new(4);
            let mut first = |sequence| counts(&mut seen, 0, NODE, sequence);
            assert!(first(1_000_000));
            for step in 0..100 {
                assert!(first(next + step), "{next}");
                assert!(!first(next + step), "{next}");
                assert!(first(1_000_001 + step), "{next}");
                assert!(!first(1_000_001 + step), "{next}");
            }
        }
    }

    #[test]
    fn numbers_that_somebody_used_in_a_nodes_name_are_its_own_again_once_that_has_ended() {
        let mut seen = Duplicates::new(4);
        let (forged, late) = (1100..2900, u64::from(FLIGHT_MS) + 1);
        assert!((1000..1050).all(|number| counts(&mut seen, 0, NODE, number)));
        assert!(
            forged
                .clone()
                .all(|number| counts(&mut seen, 0, NODE, number))
        );
        assert!(
            !counts(&mut seen, late - 1, NODE, 1200),
            "it may be on its way"
        );
        // The node has come to it while somebody else spoke in its name.
        assert!((1200..1300).all(|number| counts(&mut seen, late, NODE, number)));
        let mut first = |number| counts(&mut seen, late, NODE, number);
        assert!((1050..1200).chain(1300..2860).all(&mut first));
        assert!(!first(1500) && !first(1020), "each once");
        // Those of the node may be the newer window too.
        let mut seen = Duplicates::new(4);
        assert!(
            forged
                .clone()
                .all(|number| counts(&mut seen, 0, NODE, number))
        );
        assert!((1000..1050).all(|number| counts(&mut seen, 0, NODE, number)));
        assert!((1050..2860).all(|number| counts(&mut seen, late, NODE, number)));
    }

    #[test]
    fn what_was_seen_is_not_forgotten_when_windows_meet() {
        let mut seen = Duplicates::new(4);
        let mut first = |sequence| counts(&mut seen, 0, NODE, sequence);
        assert!(first(100) && first(140));
        let others = (101..200).filter(|number| *number != 140);
        assert!(others.clone().all(&mut first));
        assert!((100..200).all(|number| !first(number)));
    }
}
