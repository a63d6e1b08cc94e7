//! The agenda: what happens next.

use std::collections::BinaryHeap;

use core::cmp::Reverse;

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;

/// What goes first among things of the same moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    /// A frame arrives.
    Frame,
    /// An executor answers.
    Outcome,
    /// A client commands; such things are not on the agenda, but have their turn here.
    Command,
    /// A node has asked to be woken.
    Wake,
}

/// The order in which things happen: by time, then by rank, then by the id of the node that caused
/// them, then as they were put on the agenda.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Turn {
    pub(super) at: Instant,
    pub(super) rank: Rank,
    pub(super) origin: NodeId,
    order: u64,
}

/// Things that will happen, in their order. What is on it stays where it is until its turn; only
/// turns are sorted.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    turns: BinaryHeap<Reverse<(Turn, u32)>>,
    things: Vec<Option<T>>,
    vacant: Vec<u32>,
    order: u64,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Self {
        Self {
            turns: BinaryHeap::new(),
            things: Vec::new(),
            vacant: Vec::new(),
            order: 0,
        }
    }

    pub(super) fn put(&mut self, at: Instant, rank: Rank, origin: NodeId, thing: T) {
        self.order += 1;
        let order = self.order;
        let turn = Turn {
            at,
            rank,
            origin,
            order,
        };
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.things.push(None);
            self.things.len() as u32 - 1
        });
        self.things[place as usize] = Some(thing);
        self.turns.push(Reverse((turn, place)));
    }

    /// The turn of what happens next.
    pub(super) fn peek(&self) -> Option<Turn> {
        self.turns.peek().map(|Reverse((turn, _))| *turn)
    }

    /// What happens next, taken off the agenda.
    pub(super) fn take(&mut self) -> Option<(Turn, T)> {
        let Reverse((turn, place)) = self.turns.pop()?;
        let thing = self.things[place as usize].take()?;
        self.vacant.push(place);
        Some((turn, thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_moment_happen_by_rank_then_origin_then_order() {
        let mut agenda = Agenda::new();
        let soon = Instant::from_micros(5);
        for (at, rank, origin, thing) in [
            (6, Rank::Frame, 1, "later"),
            (5, Rank::Wake, 1, "wake"),
            (5, Rank::Frame, 9, "frame of 9"),
            (5, Rank::Outcome, 1, "outcome"),
            (5, Rank::Frame, 2, "frame of 2"),
            (5, Rank::Frame, 2, "second frame of 2"),
        ] {
            agenda.put(Instant::from_micros(at), rank, NodeId(origin), thing);
        }
        assert_eq!(agenda.peek().map(|turn| turn.at), Some(soon));
        let mut order = Vec::new();
        while let Some((_, thing)) = agenda.take() {
            order.push(thing);
        }
        let expected = [
            "frame of 2",
            "second frame of 2",
            "frame of 9",
            "outcome",
            "wake",
            "later",
        ];
        assert_eq!(order, expected);
    }
}
