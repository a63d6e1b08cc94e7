//! Nodes in direct reach (spec/behaviour.md, section 3).

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::config::{LinkAddress, LinkId, StaticNeighbour};
use crate::time::Instant;

/// A neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Neighbour {
    pub(crate) id: NodeId,
    pub(crate) link: LinkId,
    pub(crate) address: LinkAddress,
    /// When it was last heard; never for a static neighbour.
    heard: Option<Instant>,
}

/// The table of neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    /// Ordered by id.
    neighbours: Vec<Neighbour>,
    limit: usize,
    lifetime: Duration,
}

impl Neighbours {
    pub(crate) fn new(limit: usize, fixed: &[StaticNeighbour], lifetime: Duration) -> Self {
        let mut neighbours: Vec<Neighbour> = Vec::with_capacity(limit.max(fixed.len()));
        // They are few: putting each in its place takes less code than sorting.
        for &StaticNeighbour { id, link, address } in fixed {
            let at = neighbours.partition_point(|neighbour| neighbour.id <= id);
            let neighbour = Neighbour {
                id,
                link,
                address,
                heard: None,
            };
            neighbours.insert(at, neighbour);
        }
        Self {
            neighbours,
            limit,
            lifetime,
        }
    }

    pub(crate) fn find(&self, id: NodeId) -> Option<&Neighbour> {
        let at = self
            .neighbours
            .binary_search_by_key(&id, |neighbour| neighbour.id)
            .ok()?;
        Some(&self.neighbours[at])
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
                    *neighbour = Neighbour {
                        id,
                        link,
                        address,
                        heard: Some(now),
                    };
                }
                false
            }
            Err(at) => {
                let room = self.neighbours.len() < self.limit;
                if room {
                    self.neighbours.insert(
                        at,
                        Neighbour {
                            id,
                            link,
                            address,
                            heard: Some(now),
                        },
                    );
                }
                room
            }
        }
    }

    /// Forgets neighbours that were silent for long.
    pub(crate) fn forget_silent(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        self.neighbours
            .retain(|neighbour| neighbour.heard.is_none_or(|at| now - at <= lifetime));
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
}
