//! Hellos: what neighbours tell one another (spec/behaviour.md, sections 2 and 3).

use core::time::Duration;

use nimblenet_tasklet::NodeId;

use super::Mesh;
use super::neighbours::Neighbour;
use super::routes::Route;
use super::seal::Seal;
use super::trickle::Trickle;
use crate::config::FULL;
use crate::counters::Counters;
use crate::time::Instant;
use crate::wire::{
    EpochNote, Frame, HELLO_BYTES, Hello, Holder, LISTED_BYTES, Listed, Message, RegistryNote,
};

impl<S: Seal> Mesh<S> {
    /// Whether there is a neighbour that knows nothing of this node; asked once for each.
    pub(crate) fn poll_newcomer(&mut self) -> bool {
        core::mem::take(&mut self.newcomer)
    }

    /// Whether a registry has started anew, so that it does not know who holds what; asked once for each.
    pub(crate) fn poll_registry_anew(&mut self) -> bool {
        FULL && core::mem::take(&mut self.registry_anew)
    }

    /// A node has started anew; if it is a registry, neighbours hear of that soon.
    pub(super) fn hear_start(&mut self, now: Instant, id: NodeId) {
        if FULL && self.registries.iter().any(|(registry, _)| *registry == id) {
            self.registry_anew = true;
            self.speak_also(now, false);
        }
    }

    /// Asks a neighbour soon whether it hears this node.
    pub(super) fn doubt_neighbour(&mut self, now: Instant, id: NodeId) {
        if FULL && self.trickle.is_some() && self.neighbours.doubt(now, id) {
            self.speak_also(now, false);
        }
    }

    /// Asks a neighbour soon whether it hears this node if packets from one node for another are flooded
    /// again and again over it.
    pub(super) fn hint_neighbour(&mut self, now: Instant, id: NodeId, pair: (NodeId, NodeId)) {
        if FULL && self.trickle.is_some() && self.neighbours.hint(now, id, pair) {
            self.speak_also(now, false);
        }
    }

    /// A packet goes or has come over a neighbour whose origin says that those before were not answered: asks
    /// it soon whether it hears this node.
    pub(super) fn suspect_neighbour(&mut self, now: Instant, id: NodeId) {
        if FULL && self.trickle.is_some() && self.neighbours.suspect(now, id) {
            self.speak_also(now, false);
        }
    }

    /// Answers do not seem to come to `destination`: hints at the neighbour that is the next hop there.
    pub(crate) fn hint(&mut self, now: Instant, destination: NodeId) {
        if FULL && let Some(next) = self.next(now, destination) {
            self.hint_neighbour(now, next.id, (self.id, destination));
        }
    }

    /// What a neighbour brings that nobody sends without having heard this node ends doubts of it.
    pub(super) fn hear_answer(&mut self, frame: &Frame<'_>) {
        if let Message::Data(_) | Message::Return(_) | Message::Refuse(_) = frame.message {
            self.neighbours.soothe(frame.sender);
        }
    }

    /// Whether `id` is a neighbour that seems not to hear this node: it is no way to anywhere.
    pub(crate) fn is_deaf(&self, id: NodeId) -> bool {
        FULL && self.neighbours.find(id).is_some_and(Neighbour::is_deaf)
    }

    /// Whether `id` is a neighbour that hears this node, as far as that is known.
    pub(crate) fn is_hearing(&self, id: NodeId) -> bool {
        self.neighbours.hearing(id).is_some()
    }

    /// Learns from a neighbour's hello who hears whom.
    pub(crate) fn hear_listed(&mut self, now: Instant, from: NodeId, hello: &Hello<'_>) {
        if FULL && hello.answered().any(|id| id == self.id) {
            self.neighbours.handle_answer(now, from);
            self.fall_silent();
        }
        if hello.asked().any(|id| id == self.id) {
            self.neighbours.handle_ask(now, from);
            self.speak_also(now, false);
        } else if FULL {
            self.neighbours.handle_no_ask(from);
        }
    }

    /// A question is answered: the hello that was to repeat it is not needed, if it has nothing else to say.
    fn fall_silent(&mut self) {
        let idle = !self.neighbours.is_asking() && !self.neighbours.is_owing();
        if let Some(trickle) = self.trickle.as_mut().filter(|_| idle) {
            trickle.fall_silent();
        }
    }

    /// Something that hellos tell has changed: says hello soon.
    pub(crate) fn speak_soon(&mut self, now: Instant) {
        if let Some(trickle) = &mut self.trickle {
            trickle.reset(now, &mut self.random);
        }
    }

    /// Learns from the registry notes of a neighbour's hello.
    pub(crate) fn hear_registries(&mut self, now: Instant, from: NodeId, hello: &Hello<'_>) {
        if self.is_deaf(from) {
            return;
        }
        let mut news = false;
        // spec/behaviour.md, section 2: it has restarted, and waits for what this node knows.
        if hello.registries().next().is_none() && self.tells_registries(now) {
            self.speak_soon(now);
        }
        let mtu = self.smallest_mtu();
        let own = self.id;
        for note in hello.registries().filter(|note| note.registry != own) {
            let hops = note.hops.saturating_add(1);
            let age = Duration::from_secs(note.age_s.into());
            let anew = self
                .routes
                .learn(now, age, note.registry, from, hops, note.sequence);
            if anew {
                self.hear_start(now, note.registry);
            }
            let mtu = mtu.min(note.mtu);
            let mut known = self.registries.iter_mut();
            if let Some((_, held)) = known.find(|(id, _)| *id == note.registry) {
                *held = mtu;
            } else if self.registries.len() < self.registries.capacity() {
                self.registries.push((note.registry, mtu));
                news = true;
            } else if FULL {
                // Somebody may have made it up.
                continue;
            }
            if FULL {
                self.routes.keep(note.registry);
            }
        }
        if news {
            self.hurry(now);
        }
    }

    /// Whether the next hello has a registry note: without a way to a registry there is nothing to tell.
    fn tells_registries(&self, now: Instant) -> bool {
        if !FULL {
            return !self.registries.is_empty();
        }
        let mut known = self.registries.iter();
        self.is_registry() || known.any(|(registry, _)| self.routes.find(now, *registry).is_some())
    }

    /// A neighbour is asked, or asks: says hello soon, which changes nothing else.
    fn speak_also(&mut self, now: Instant, again: bool) {
        if let Some(trickle) = &mut self.trickle {
            // Who has not answered the first time has lost it, or hears nothing: it is asked soon.
            let takes = match self.neighbours.is_asking_again() {
                false => self.answer_takes.value(),
                true => Duration::ZERO,
            };
            let answered = again.then_some(takes);
            trickle.speak_also(now, answered, &mut self.random);
        }
    }

    /// Others wait for what the next hello tells.
    fn hurry(&mut self, now: Instant) {
        if let Some(trickle) = &mut self.trickle {
            trickle.hurry(now, &mut self.random);
        }
    }

    /// Learns the route to a node from what the neighbour `from` passes on of it.
    pub(crate) fn hear_holder(&mut self, now: Instant, from: NodeId, holder: &Holder) {
        let age = Duration::from_secs(holder.age_s.into());
        if holder.id != self.id && !self.is_deaf(from) {
            self.routes
                .learn(now, age, holder.id, from, 2, holder.sequence);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.trickle.as_ref().map(Trickle::poll_timeout)
    }

    /// Says hello if it is time, with `epochs` as the catalogues held; returns whether it did.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        epochs: impl Iterator<Item = EpochNote> + Clone,
        counters: &mut Counters,
    ) -> bool {
        let Some(trickle) = &mut self.trickle else {
            return false;
        };
        if !trickle.handle_timeout(now, &mut self.random) {
            return false;
        }
        self.neighbours.forget_silent(now);
        self.further = self.further.saturating_sub(1);
        let sequence = self.sequence;
        let registry = self.id;
        let own = RegistryNote {
            registry,
            sequence,
            hops: 0,
            age_s: 0,
            mtu: u16::MAX,
        };
        let own = self.is_registry().then_some(own);
        let (mut asked, mut answered) = ([0; LISTED_BYTES], [0; LISTED_BYTES]);
        let asks = FULL.then(|| self.neighbours.ask(now, self.turn));
        let asked = Listed::new(asks.into_iter().flatten(), &mut asked);
        let answered = Listed::new(self.neighbours.answer(), &mut answered);
        if FULL && self.neighbours.is_asking() {
            self.speak_also(now, true);
        }
        if FULL && self.neighbours.iter().any(Neighbour::turns_deaf) {
            self.speak_soon(now);
        }
        let Self {
            neighbours, routes, ..
        } = self;
        if FULL {
            for deaf in neighbours.iter().filter(|neighbour| neighbour.is_deaf()) {
                routes.doubt_over(deaf.id, true);
            }
        }
        let mut space = [0; HELLO_BYTES];
        // One byte has the numbers of notes.
        let room = self.room() - 1 - Listed::len_of(asked, answered);
        let room = room.min(HELLO_BYTES);
        let known = self.registries.iter().filter_map(|(registry, mtu)| {
            let route = self.routes.find(now, *registry)?;
            // spec/wire.md, section 8: rounded up, so that a note ages by a second a hop at least.
            let age_s = u8::try_from(route.age(now).as_secs() + 1).ok()?;
            let Route { hops, sequence, .. } = *route;
            Some(RegistryNote {
                registry: *registry,
                sequence,
                hops,
                age_s,
                mtu: *mtu,
            })
        });
        let registries = own.into_iter().chain(known);
        let hello = Hello::new(registries, epochs, self.turn, &mut space[..room]);
        let hello = hello.with_listed(asked, answered);
        self.turn = self.turn.wrapping_add(1);
        self.flood(now, 1, Message::Hello(hello), counters);
        true
    }
}
