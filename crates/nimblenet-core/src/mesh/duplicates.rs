//! Which packets were seen already.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::time::Instant;

/// After this silence a node's numbers may start anew.
const FORGET_AFTER: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
struct Seen {
    origin: NodeId,
    /// The newest packet number.
    newest: u32,
    /// Bit n: the packet n before the newest was seen.
    before: u64,
    at: Instant,
}

/// A window over the packet numbers of each node.
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

    /// Notes a packet; false if it was seen before or is too old to tell.
    pub(crate) fn first_time(&mut self, now: Instant, origin: NodeId, sequence: u32) -> bool {
        let fresh = Seen {
            origin,
            newest: sequence,
            before: 1,
            at: now,
        };
        match self.seen.binary_search_by_key(&origin, |seen| seen.origin) {
            Ok(at) => {
                let seen = &mut self.seen[at];
                if now - seen.at > FORGET_AFTER {
                    *seen = fresh;
                    return true;
                }
                let first = seen.note(sequence);
                if first {
                    seen.at = now;
                }
                first
            }
            Err(mut at) => {
                if self.seen.len() == self.limit {
                    let oldest = (0..self.limit).min_by_key(|at| self.seen[*at].at);
                    let Some(oldest) = oldest else { return true };
                    self.seen.remove(oldest);
                    at -= usize::from(oldest < at);
                }
                self.seen.insert(at, fresh);
                true
            }
        }
    }
}

impl Seen {
    fn note(&mut self, sequence: u32) -> bool {
        let ahead = sequence.wrapping_sub(self.newest);
        if ahead != 0 && ahead < 1 << 31 {
            self.before = self.before.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = sequence;
            return true;
        }
        let behind = self.newest.wrapping_sub(sequence);
        let bit = 1u64.checked_shl(behind).unwrap_or(0);
        let first = bit != 0 && self.before & bit == 0;
        self.before |= bit;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_counts_once_in_any_order() {
        let mut seen = Duplicates::new(4);
        let mut first = |sequence| seen.first_time(Instant::ZERO, NodeId(1), sequence);
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
        let at = Instant::from_micros;
        assert!(seen.first_time(at(1), NodeId(1), 7));
        assert!(seen.first_time(at(2), NodeId(2), 7));
        assert!(seen.first_time(at(3), NodeId(3), 7));
        assert!(!seen.first_time(at(4), NodeId(2), 7));
        assert!(seen.first_time(at(5), NodeId(1), 7), "forgotten");
    }

    #[test]
    fn a_restarted_node_with_lower_numbers_is_heard_after_a_while() {
        let mut seen = Duplicates::new(2);
        assert!(seen.first_time(Instant::ZERO, NodeId(1), 1000));
        assert!(!seen.first_time(Instant::ZERO, NodeId(1), 5));
        let later = Instant::ZERO + FORGET_AFTER + FORGET_AFTER;
        assert!(seen.first_time(later, NodeId(1), 6));
    }
}
