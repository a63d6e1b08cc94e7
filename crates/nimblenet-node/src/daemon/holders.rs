//! Which epochs nodes hold of a registry's namespaces, as they announce.

use alloc::collections::BTreeMap;
use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::{NamespaceId, NodeId};

/// A node whose announcement is older is forgotten, as a route to it is (spec/behaviour.md,
/// section 4).
const LIFETIME: Duration = Duration::from_secs(3600);
/// The most announcements that are remembered; the oldest is forgotten first.
const MAX_HELD: usize = 16_384;

/// What nodes hold.
#[derive(Default, Debug)]
pub(super) struct Holders(BTreeMap<(NamespaceId, NodeId), Held>);

#[derive(Clone, Copy, Debug)]
struct Held {
    epoch: u32,
    heard: Instant,
}

impl Holders {
    /// Takes a node's announcement, which takes the place of the one before.
    pub(super) fn note(&mut self, now: Instant, namespace: NamespaceId, node: NodeId, epoch: u32) {
        if self.0.len() >= MAX_HELD && !self.0.contains_key(&(namespace, node)) {
            let oldest = self.0.iter().min_by_key(|(_, held)| held.heard);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let heard = now;
        self.0.insert((namespace, node), Held { epoch, heard });
    }

    /// The nodes that hold a namespace, and at which epoch, by their ids.
    pub(super) fn of(&self, now: Instant, namespace: NamespaceId) -> Vec<(NodeId, u32)> {
        let nodes = (namespace, NodeId(0))..=(namespace, NodeId::EVERYONE);
        let held = self.0.range(nodes);
        let held = held.filter(|(_, held)| now.since(held.heard) < LIFETIME);
        held.map(|((_, node), held)| (*node, held.epoch)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_counts_with_its_newest_announcement_until_it_is_silent_for_long() {
        let (shop, yard) = (NamespaceId(1), NamespaceId(2));
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let mut holders = Holders::default();
        holders.note(at(0), shop, NodeId(7), 2);
        holders.note(at(0), shop, NodeId(3), 2);
        holders.note(at(0), yard, NodeId(3), 9);
        holders.note(at(100), shop, NodeId(7), 1);
        assert_eq!(holders.of(at(239), shop), [(NodeId(3), 2), (NodeId(7), 1)]);
        assert_eq!(holders.of(at(3600), shop), [(NodeId(7), 1)]);
        assert_eq!(holders.of(at(3600), yard), []);
    }

    #[test]
    fn the_oldest_announcement_makes_room() {
        let mut holders = Holders::default();
        for node in 0..=MAX_HELD {
            let now = Instant::from_micros(node as u64);
            holders.note(now, NamespaceId(1), NodeId(node as u16), 1);
        }
        let held = holders.of(Instant::from_micros(MAX_HELD as u64), NamespaceId(1));
        assert_eq!((held.len(), held[0].0), (MAX_HELD, NodeId(1)));
    }
}
