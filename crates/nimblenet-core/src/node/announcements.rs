//! Announcements: a node tells the registries of its namespaces which epochs it holds, so that
//! whoever publishes can wait for the nodes (spec/behaviour.md, section 2).

use nimblenet_tasklet::NodeId;

use super::post::Post;
use crate::queue::Queue;
use crate::wire::{EPOCH_LEN, EpochNote, Hello, MAX_NOTES, Message};

/// After a change this many hellos in a row come with an announcement, since nobody confirms it.
const ANNOUNCED: u8 = 4;
/// Otherwise one hello of this many does.
const ANNOUNCED_EVERY: u8 = 16;

/// Announcements that go out and come in.
#[derive(Debug)]
pub(in crate::node) struct Announcements {
    /// The sum of the epochs that were announced last.
    last: Option<u32>,
    /// Hellos that still come with an announcement.
    row: u8,
    /// Hellos since the last announcement.
    since: u8,
    /// What other nodes have announced and the user has not heard.
    heard: Queue<(NodeId, EpochNote)>,
}

impl Announcements {
    /// Room for the announcement of another node, at a registry.
    pub(in crate::node) fn new(is_registry: bool) -> Self {
        Self {
            last: None,
            row: 0,
            since: 0,
            heard: Queue::with_capacity(if is_registry { MAX_NOTES } else { 0 }),
        }
    }

    /// Announces, after a hello, what the node holds of each namespace to the namespace's registry.
    /// `held` has every namespace with its registry.
    pub(in crate::node) fn handle_hello(
        &mut self,
        post: &mut Post<'_>,
        held: impl Iterator<Item = (NodeId, EpochNote)> + Clone,
    ) {
        if !self.is_due(held.clone().map(|(_, note)| note.epoch)) {
            return;
        }
        for (registry, note) in held {
            // An announcement is not worth a flood.
            if post.mesh.hops(post.now, registry).is_some() {
                let mut space = [0; EPOCH_LEN];
                let hello = Hello::announcement(note, &mut space);
                post.send(registry, Message::Hello(hello));
            }
        }
    }

    /// A registry does not know what this node holds: the next hellos come with an announcement.
    pub(in crate::node) fn begin(&mut self) {
        self.row = ANNOUNCED;
    }

    fn is_due(&mut self, epochs: impl Iterator<Item = u32>) -> bool {
        // Epochs only grow, and so does their sum.
        let sum = Some(epochs.fold(0, u32::wrapping_add));
        if self.last != sum {
            self.last = sum;
            self.row = ANNOUNCED;
        }
        self.since += 1;
        let due = self.row > 0 || self.since >= ANNOUNCED_EVERY;
        self.row = self.row.saturating_sub(1);
        if due {
            self.since = 0;
        }
        due
    }

    /// Takes what another node says that it holds.
    pub(in crate::node) fn handle_note(&mut self, node: NodeId, note: EpochNote) {
        if self.heard.len() < self.heard.capacity() {
            self.heard.push_back((node, note));
        }
    }

    /// What another node holds, which the user has not heard.
    pub(in crate::node) fn poll_news(&mut self) -> Option<(NodeId, EpochNote)> {
        self.heard.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use nimblenet_tasklet::NamespaceId;

    use super::*;
    use crate::node::stage::{NEAR, OWN, REGISTRY, STRANGER, Stage};

    fn note(namespace: u32, epoch: u32) -> EpochNote {
        EpochNote {
            namespace: NamespaceId(namespace),
            epoch,
            root: 0,
        }
    }

    /// The messages after a hello: whom they are for, and what they say.
    fn said(
        announcements: &mut Announcements,
        stage: &mut Stage,
        held: &[(NodeId, EpochNote)],
    ) -> Vec<(NodeId, EpochNote)> {
        announcements.handle_hello(&mut stage.post(), held.iter().copied());
        let mut said = Vec::new();
        while let Some((to, message)) = stage.message() {
            let Message::Hello(hello) = message else {
                panic!("{message:?} is no hello");
            };
            assert_eq!((hello.registries().count(), hello.epochs().count()), (0, 1));
            said.extend(hello.epochs().map(|note| (to, note)));
        }
        said
    }

    #[test]
    fn each_registry_hears_of_its_own_namespaces() {
        let mut stage = Stage::new();
        let mut announcements = Announcements::new(false);
        let held = [
            (REGISTRY, note(1, 3)),
            (NEAR, note(2, 0)),
            (REGISTRY, note(3, 7)),
            (STRANGER, note(4, 1)),
        ];
        let told = said(&mut announcements, &mut stage, &held);
        let expected = [
            (REGISTRY, note(1, 3)),
            (NEAR, note(2, 0)),
            (REGISTRY, note(3, 7)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_change_is_announced_four_times_and_then_less_often() {
        let mut stage = Stage::new();
        let mut announcements = Announcements::new(false);
        let mut announced = |epoch, hellos: usize| {
            let held = [(REGISTRY, note(1, epoch))];
            let said = (0..hellos).map(|_| said(&mut announcements, &mut stage, &held).len());
            said.collect::<Vec<_>>()
        };
        assert_eq!(announced(0, 5), [1, 1, 1, 1, 0]);
        assert_eq!(announced(1, 4), [1, 1, 1, 1]);
        assert_eq!(announced(1, 16).iter().sum::<usize>(), 1);
    }

    #[test]
    fn a_registry_hears_as_much_as_one_node_says_at_a_time() {
        let mut announcements = Announcements::new(true);
        for namespace in 0..20 {
            announcements.handle_note(OWN, note(namespace, 1));
        }
        let heard = core::iter::from_fn(|| announcements.poll_news());
        assert_eq!(heard.count(), MAX_NOTES);
        let mut other = Announcements::new(false);
        other.handle_note(OWN, note(1, 1));
        assert_eq!(other.poll_news(), None, "only registries are told");
    }
}
