//! Nodes that do not answer (spec/behaviour.md, section 3).
//!
//! A route may be new again and again while what goes over it gets lost further on, and there may be none; so
//! this is no part of the routes.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::time::Instant;

/// So many nodes are remembered.
const NODES: usize = 16;
/// A node that has not answered so often in a row is silent where everything else is answered; a single packet
/// may have got lost.
const SILENT_AFTER: u8 = 3;
/// One more for each such share of questions that got no answer lately: links that lose frames are no dead ones.
const SHARE: u16 = u16::MAX / 16;
/// Of about so many questions that is the share.
const QUESTIONS: u16 = 32;
/// What is not answered in so short a time may have got lost together.
const TOGETHER: Duration = Duration::from_millis(500);
/// It is not in a row if it takes longer than this from one to the next.
const IN_A_ROW: Duration = Duration::from_secs(15);

/// The nodes that have not answered.
#[derive(Debug)]
pub(super) struct Silence {
    /// The one that was added last is the last.
    nodes: Vec<Silent>,
    /// The share of questions that get no answer; [`u16::MAX`] is all.
    lost: u16,
}

#[derive(Debug)]
struct Silent {
    node: NodeId,
    /// How often it has not answered in a row.
    times: u8,
    /// How often it must not for it to be silent.
    needed: u8,
    /// The last time.
    at: Instant,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::with_capacity(NODES),
            lost: 0,
        }
    }

    /// A question goes to some node.
    pub(super) fn ask(&mut self) {
        self.lost -= self.lost / QUESTIONS;
    }

    /// Something sent to `node` was not answered. The node that was added first makes room.
    pub(super) fn note(&mut self, at: Instant, node: NodeId) {
        let needed = SILENT_AFTER + (self.lost / SHARE) as u8;
        self.lost += (u16::MAX - self.lost) / QUESTIONS;
        let first = Silent {
            node,
            times: 1,
            needed,
            at,
        };
        if let Some(held) = self.nodes.iter_mut().find(|held| held.node == node) {
            let since = at - held.at;
            if since > IN_A_ROW {
                *held = first;
            } else if since > TOGETHER {
                (held.times, held.at) = (held.times.saturating_add(1), at);
            }
            return;
        }
        if self.nodes.len() == NODES {
            self.nodes.remove(0);
        }
        self.nodes.push(first);
    }

    /// A packet of `node` has come.
    pub(super) fn hear(&mut self, node: NodeId) {
        self.nodes.retain(|held| held.node != node);
    }

    /// Whether `node` has not answered again and again.
    pub(super) fn is_of(&self, node: NodeId) -> bool {
        let mut held = self.nodes.iter();
        held.any(|held| held.node == node && held.times >= held.needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    /// Nothing of these nodes comes, so often in a row.
    fn note(silence: &mut Silence, times: u8, node: NodeId) {
        for turn in 0..u32::from(times) {
            silence.note(NOW + IN_A_ROW * turn, node);
        }
    }

    #[test]
    fn a_node_is_silent_when_it_has_not_answered_again_and_again_until_a_packet_of_it_comes() {
        let mut silence = Silence::new();
        note(&mut silence, SILENT_AFTER - 1, NodeId(9));
        assert!(!silence.is_of(NodeId(9)));
        silence.hear(NodeId(9));
        note(&mut silence, SILENT_AFTER, NodeId(9));
        note(&mut silence, SILENT_AFTER - 1, NodeId(8));
        assert!(silence.is_of(NodeId(9)) && !silence.is_of(NodeId(8)));
        silence.hear(NodeId(9));
        assert!(!silence.is_of(NodeId(9)));
    }

    #[test]
    fn what_gets_lost_together_counts_once_and_what_was_long_ago_does_not_count() {
        let mut silence = Silence::new();
        for _ in 0..=SILENT_AFTER {
            silence.note(NOW, NodeId(9));
        }
        assert!(!silence.is_of(NodeId(9)), "that was one moment");
        for turn in 1..=u32::from(SILENT_AFTER) {
            let later = (IN_A_ROW + Duration::from_millis(1)) * turn;
            silence.note(NOW + later, NodeId(9));
        }
        assert!(!silence.is_of(NodeId(9)), "each was long ago");
    }

    #[test]
    fn where_many_questions_get_no_answer_it_takes_more_of_them() {
        let mut silence = Silence::new();
        for turn in 0..500 {
            silence.ask();
            if turn % 3 == 0 {
                silence.note(NOW, NodeId(1));
            }
        }
        note(&mut silence, SILENT_AFTER + 1, NodeId(9));
        assert!(!silence.is_of(NodeId(9)), "a third is lost");
        note(&mut silence, 5 * SILENT_AFTER, NodeId(8));
        assert!(silence.is_of(NodeId(8)));
        for _ in 0..500 {
            silence.ask();
        }
        note(&mut silence, SILENT_AFTER, NodeId(7));
        assert!(silence.is_of(NodeId(7)));
    }

    #[test]
    fn the_node_that_was_added_first_makes_room() {
        let mut silence = Silence::new();
        (0..=NODES as u16).for_each(|id| silence.note(NOW, NodeId(id)));
        let mut again = |id| {
            for turn in 1..u32::from(SILENT_AFTER) {
                silence.note(NOW + Duration::from_secs(1) * turn, NodeId(id));
            }
            silence.is_of(NodeId(id))
        };
        assert!(again(1), "it is the oldest one that is remembered");
        assert!(!again(0), "it was forgotten");
    }
}
