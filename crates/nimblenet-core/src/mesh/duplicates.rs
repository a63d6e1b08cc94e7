//! Which packets were seen before, and which nodes have restarted.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::time::Instant;

/// After this silence any number of a node is believed.
const FORGET_AFTER: Duration = Duration::from_secs(120);
/// A number that differs by more than this from the newest, in either direction, belongs to another
/// run of the node: no packet travels for so long.
pub(super) const RUN: u32 = 1 << 16;
/// A node that is new or has restarted is not believed to restart again for this long. It is more
/// than twice the time that a packet takes through the mesh, so the node's earlier packets have left
/// the mesh when another restart is believed.
const SETTLE: Duration = Duration::from_secs(3);
/// A note that was passed on announces a restart if it is younger than the last packet of the node by
/// more than this, which exceeds the error of ages that are rounded up at each hop.
const YOUNGER: Duration = Duration::from_secs(16);

/// How a packet relates to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sighting {
    /// It is new.
    First,
    /// It was seen before, or is too old to tell.
    Again,
    /// It is new, and its origin has restarted.
    Restarted,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    origin: NodeId,
    /// The newest packet number.
    newest: u32,
    /// Bit n: the packet n before the newest was seen. No bit is set if only a note that was passed on
    /// tells of the node: the note may be false, and shows at most the run of its numbers.
    before: u64,
    /// When a packet of the node last counted, or when the packet was sent that the note of this run
    /// goes back to.
    at: Instant,
    /// When it was first heard in this run of its numbers.
    since: Instant,
}

/// A window over the packet numbers of each node.
///
/// A node whose numbers leap has restarted: its window moves to its present numbers and stays there for
/// [`SETTLE`], even if other numbers come in its name. So a packet counts at most once in that time and
/// a flood ends, even if frames of two runs travel at once: a replayed old frame silences the node for
/// that long, and no longer. Every node on a path keeps to the run that it believes in and drops all
/// frames of another, so routes of one run never lead into routes of the other and back.
#[derive(Debug)]
pub(crate) struct Duplicates {
    /// Ordered by origin.
    seen: Vec<Seen>,
    limit: usize,
}

impl Duplicates {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            seen: Vec::with_capacity(limit),
            limit,
        }
    }

    /// How many nodes are remembered.
    pub(crate) fn count(&self) -> usize {
        self.seen.len()
    }

    /// Notes a packet.
    pub(crate) fn see(&mut self, now: Instant, origin: NodeId, sequence: u32) -> Sighting {
        let fresh = Seen {
            origin,
            newest: sequence,
            before: 1,
            at: now,
            since: now,
        };
        let Some(seen) = self.find_or_insert(fresh) else {
            return Sighting::First;
        };
        let sighting = seen.note(now, sequence);
        match sighting {
            Sighting::First => seen.at = now,
            Sighting::Again => {}
            Sighting::Restarted => *seen = fresh,
        }
        sighting
    }

    /// Notes the number that a node had at the moment `sent`, as a neighbour reports it; false if the
    /// number belongs to an earlier run of the node.
    pub(crate) fn hear_of(
        &mut self,
        now: Instant,
        sent: Instant,
        origin: NodeId,
        sequence: u32,
    ) -> bool {
        let heard = Seen {
            origin,
            newest: sequence,
            before: 0,
            at: sent,
            since: now,
        };
        let Some(seen) = self.find_or_insert(heard) else {
            return true;
        };
        if seen.has_in_run(sequence) {
            return true;
        }
        // spec/wire.md, section 8: notes from before a restart may still be about.
        let restarted = sent - seen.at > YOUNGER && seen.is_settled(now);
        if restarted {
            *seen = heard;
        }
        restarted
    }

    /// What is known of the node of `fresh`; none if that is all, and was noted.
    fn find_or_insert(&mut self, fresh: Seen) -> Option<&mut Seen> {
        match self
            .seen
            .binary_search_by_key(&fresh.origin, |seen| seen.origin)
        {
            Ok(at) => Some(&mut self.seen[at]),
            Err(mut at) => {
                if self.seen.len() == self.limit {
                    let oldest = (0..self.limit).min_by_key(|at| self.seen[*at].at)?;
                    self.seen.remove(oldest);
                    at -= usize::from(oldest < at);
                }
                self.seen.insert(at, fresh);
                None
            }
        }
    }
}

impl Seen {
    fn note(&mut self, now: Instant, sequence: u32) -> Sighting {
        let silent = now - self.at > FORGET_AFTER;
        // spec/wire.md, section 2: when a restart is believed.
        if !self.has_in_run(sequence) {
            return if silent || self.is_settled(now) {
                Sighting::Restarted
            } else {
                Sighting::Again
            };
        }
        if self.before == 0 {
            self.newest = sequence;
        }
        let ahead = sequence.wrapping_sub(self.newest);
        if (1..=RUN).contains(&ahead) {
            self.before = self.before.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = sequence;
            return Sighting::First;
        }
        let behind = self.newest.wrapping_sub(sequence);
        let bit = 1u64.checked_shl(behind).unwrap_or(0);
        let first = bit != 0 && self.before & bit == 0;
        self.before |= bit;
        match (first, silent) {
            (true, _) => Sighting::First,
            (false, true) => Sighting::Restarted,
            (false, false) => Sighting::Again,
        }
    }

    /// Whether the number belongs to the same run as the newest.
    fn has_in_run(&self, sequence: u32) -> bool {
        same_run(self.newest, sequence)
    }

    /// Whether a restart of the node is believed.
    fn is_settled(&self, now: Instant) -> bool {
        now - self.since > SETTLE
    }
}

/// Whether a node can have used both numbers without a restart in between.
pub(super) fn same_run(one: u32, other: u32) -> bool {
    let ahead = one.wrapping_sub(other);
    ahead.min(ahead.wrapping_neg()) <= RUN
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn settled() -> Instant {
        Instant::ZERO + SETTLE + Duration::from_micros(1)
    }

    #[test]
    fn a_packet_counts_once_in_any_order() {
        let mut seen = Duplicates::new(4);
        let mut first = |sequence| seen.see(Instant::ZERO, NODE, sequence) == Sighting::First;
        assert!(first(u32::MAX - 1));
        assert!(first(3), "numbers wrap");
        assert!(first(0));
        assert!(!first(3) && !first(0) && !first(u32::MAX - 1));
        assert!(first(100));
        assert!(!first(2), "older than the window");
    }

    #[test]
    fn a_full_table_forgets_the_quietest_node() {
        let mut seen = Duplicates::new(2);
        let mut see = |millis, node| seen.see(at(millis), NodeId(node), 7);
        assert_eq!(see(1, 1), Sighting::First);
        assert_eq!(see(2, 2), Sighting::First);
        assert_eq!(see(3, 3), Sighting::First);
        assert_eq!(see(4, 2), Sighting::Again);
        assert_eq!(see(5, 1), Sighting::First, "forgotten");
    }

    #[test]
    fn a_node_whose_numbers_leap_in_either_direction_has_restarted() {
        for next in [5, 1_000_000 - RUN - 1, 1_000_000 + RUN + 1, 1 << 31] {
            let mut seen = Duplicates::new(2);
            seen.see(Instant::ZERO, NODE, 1_000_000);
            let mut see = |sequence| seen.see(settled(), NODE, sequence);
            assert_eq!(see(next), Sighting::Restarted, "{next}");
            assert_eq!(see(next), Sighting::Again, "{next}");
            assert_eq!(see(next.wrapping_add(1)), Sighting::First, "{next}");
        }
        let mut seen = Duplicates::new(2);
        seen.see(Instant::ZERO, NODE, 1_000_000);
        let mut see = |sequence| seen.see(settled(), NODE, sequence);
        assert_eq!(see(1_000_000 - RUN), Sighting::Again, "late");
        assert_eq!(see(1_000_000 + RUN), Sighting::First, "busy");
    }

    #[test]
    fn an_ancient_frame_costs_one_window_and_no_flood_comes_back() {
        let mut seen = Duplicates::new(2);
        assert_eq!(seen.see(at(0), NODE, 1_000_000), Sighting::First);
        assert_eq!(seen.see(at(4_000), NODE, 7), Sighting::Restarted);
        // Neither the one nor the other counts again, however often they come by.
        for millis in 4_000..7_000 {
            assert_eq!(seen.see(at(millis), NODE, 1_000_000), Sighting::Again);
            assert_eq!(seen.see(at(millis), NODE, 7), Sighting::Again);
        }
        let later = seen.see(at(7_001), NODE, 1_000_001);
        assert_eq!(later, Sighting::Restarted);
        assert_eq!(seen.see(at(7_002), NODE, 1_000_002), Sighting::First);
        assert_eq!(seen.see(at(7_003), NODE, 7), Sighting::Again);
    }

    #[test]
    fn a_restarted_node_with_numbers_little_lower_is_heard_after_a_while() {
        let mut seen = Duplicates::new(2);
        seen.see(Instant::ZERO, NODE, 1000);
        assert_eq!(seen.see(Instant::ZERO, NODE, 5), Sighting::Again);
        let later = Instant::ZERO + FORGET_AFTER + FORGET_AFTER;
        assert_eq!(seen.see(later, NODE, 6), Sighting::Restarted);
        assert_eq!(seen.see(later, NODE, 7), Sighting::First);
    }

    #[test]
    fn a_note_of_a_restart_is_believed_if_it_is_younger_and_an_older_one_never_after_it() {
        let mut seen = Duplicates::new(2);
        let mut hear_of = |now, sent, sequence| seen.hear_of(at(now), at(sent), NODE, sequence);
        assert!(hear_of(20_000, 19_000, 1_000_000));
        assert!(hear_of(30_000, 21_000, 1_000_000 + 9));
        assert!(!hear_of(40_000, 35_000, 5), "not clearly younger");
        assert!(hear_of(40_000, 35_001, 5));
        assert!(!hear_of(60_000, 21_000, 1_000_000 + 9), "from before");
        assert!(!hear_of(60_000, 35_001, 1_000_000 + 9), "as old");
        assert_eq!(seen.see(at(60_000), NODE, 5), Sighting::First);
        assert_eq!(seen.see(at(60_000), NODE, 5), Sighting::Again);
    }

    #[test]
    fn a_note_that_is_passed_on_hides_no_packets_of_the_same_run() {
        let mut seen = Duplicates::new(2);
        assert!(seen.hear_of(at(9_000), at(8_000), NODE, 50_000));
        assert_eq!(seen.see(at(9_000), NODE, 7), Sighting::First);
        for millis in 1..200 {
            assert!(seen.hear_of(at(millis * 1000), at(millis * 1000), NODE, 50_000));
        }
        assert_eq!(seen.see(at(200_000), NODE, 8), Sighting::First);
        assert_eq!(seen.see(at(200_000), NODE, 7), Sighting::Again);
    }
}
