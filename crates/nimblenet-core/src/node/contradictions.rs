//! Contradictions: a node says that it holds what cannot be, as long as the namespace's registry has
//! lost nothing (spec/behaviour.md, section 8). Users are told, and a registry tells everybody what it
//! holds.

use core::time::Duration;

use nimblenet_tasklet::{NamespaceId, NodeId};

use super::post::Post;
use crate::queue::Queue;
use crate::time::Instant;
use crate::wire::{EpochNote, HELLO_BYTES, Hello, Message};

/// It goes on for so long after it has heard a contradiction: neighbours that contradict say hello
/// twice.
const DISPUTED: Duration = Duration::from_secs(150);
/// So many of a registry's hellos after the first contradiction follow quickly on one another: floods get
/// lost on their way.
const HURRIED: u8 = 12;
/// The user hears of a contradiction in one namespace so often at most.
const AGAIN: Duration = Duration::from_secs(60);
/// So many namespaces of a registry are told apart.
const NAMESPACES: usize = 32;
/// A hello with fewer epoch notes has all of the sender's.
const COMPLETE: usize = 4;

/// What this node and another one say of one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Contradiction {
    /// The other node.
    pub(in crate::node) node: NodeId,
    /// What it holds.
    pub(in crate::node) note: EpochNote,
    /// The epoch that this node holds.
    pub(in crate::node) held: u32,
}

/// Contradictions that were heard.
#[derive(Debug)]
pub(in crate::node) struct Contradictions {
    /// The namespaces of which the user was told, and when.
    told: Queue<(NamespaceId, Instant)>,
    news: Queue<Contradiction>,
    /// How often this registry has told everybody what it holds.
    times: u8,
    /// How many of its hellos are still to come quickly.
    hurried: u8,
    is_registry: bool,
    /// Until when a registry tells everybody.
    disputed: Option<Instant>,
}

impl Contradictions {
    /// For a node with so many namespaces.
    pub(in crate::node) fn new(is_registry: bool, namespaces: usize) -> Self {
        let apart = if is_registry { NAMESPACES } else { namespaces };
        Self {
            told: Queue::with_capacity(apart),
            news: Queue::with_capacity(apart),
            times: 0,
            hurried: 0,
            is_registry,
            disputed: None,
        }
    }

    /// Takes what a registry says in a hello. `held` has what this node holds of that registry's
    /// namespaces. Returns whether the registry is found to be behind after it was not for long: it may
    /// not know of the namespace at all, so it has to be told.
    pub(in crate::node) fn handle_registry(
        &mut self,
        post: &mut Post<'_>,
        registry: NodeId,
        hello: &Hello<'_>,
        held: impl Iterator<Item = EpochNote>,
    ) -> bool {
        let mut begins = false;
        let is_complete = hello.epochs().count() < COMPLETE;
        for own in held {
            let said = hello.epochs().find(|note| note.namespace == own.namespace);
            let none = EpochNote {
                epoch: 0,
                root: 0,
                ..own
            };
            let said = said.or(is_complete.then_some(none));
            if let Some(note) = said.filter(|note| note.epoch < own.epoch) {
                begins |= self.note(post, registry, note, own.epoch);
            }
        }
        begins
    }

    /// Takes what another node says that it holds of a namespace of which this node holds `own`. A
    /// registry is the `judge` of its namespaces: nobody can hold a newer epoch. Returns whether that is a
    /// contradiction after none for long: the registry may not have heard of it, so it has to be told.
    pub(in crate::node) fn handle_note(
        &mut self,
        post: &mut Post<'_>,
        node: NodeId,
        note: EpochNote,
        (own, judge): (EpochNote, bool),
    ) -> bool {
        let known = note.root != 0 && own.root != 0;
        let other = note.epoch == own.epoch && note.root != own.root && known;
        (other || judge && note.epoch > own.epoch) && self.note(post, node, note, own.epoch)
    }

    /// Notes a contradiction; returns whether it is the first one for long.
    fn note(&mut self, post: &mut Post<'_>, node: NodeId, note: EpochNote, held: u32) -> bool {
        post.counters.contradictions += 1;
        let now = post.now;
        let begins = self.disputed.is_none_or(|until| until <= now);
        if begins {
            self.hurried = HURRIED;
            post.mesh.speak_soon(now);
        }
        self.disputed = Some(now + DISPUTED);
        self.told.retain(|(_, told)| *told + AGAIN > now);
        let is_told = self.told.iter().any(|(of, _)| *of == note.namespace);
        // The user hears of each within a pump, so there is room for one of each namespace.
        if is_told || self.told.len() == self.told.capacity() {
            return begins;
        }
        if self.news.len() == self.news.capacity() {
            self.news.pop_front();
        }
        self.told.push_back((note.namespace, now));
        self.news.push_back(Contradiction { node, note, held });
        begins
    }

    /// After a hello of a registry: tells every node what the registry holds, if some hold something else.
    pub(in crate::node) fn handle_hello(
        &mut self,
        post: &mut Post<'_>,
        held: impl Iterator<Item = EpochNote> + Clone,
    ) {
        let is_disputed = self.disputed.is_some_and(|until| post.now < until);
        if !self.is_registry || !is_disputed {
            return;
        }
        let mut space = [0; HELLO_BYTES];
        let room = (post.mesh.room() - 1).min(HELLO_BYTES);
        let hello = Hello::new([].into_iter(), held, self.times, &mut space[..room]);
        self.times = self.times.wrapping_add(1);
        if self.hurried > 0 {
            self.hurried -= 1;
            post.mesh.speak_soon(post.now);
        }
        let reach = post.mesh.reach(post.now);
        post.flood(reach, Message::Hello(hello));
    }

    /// A contradiction that the user has not heard of.
    pub(in crate::node) fn poll_news(&mut self) -> Option<Contradiction> {
        self.news.pop_front()
    }
}

#[cfg(test)]
mod tests;
