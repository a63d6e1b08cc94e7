//! The search for a holder that nobody knows: among neighbours, in the mesh, at the registry.

use super::{Acquisition, Phase};
use crate::config::{Discovery, FULL, Pace};
use crate::node::post::Post;
use crate::places::AcquisitionAt;
use crate::wire::{Message, Search};

/// The TTL of the local search: one hop (Algorithm 1, line 2).
const LOCAL_TTL: u8 = 1;
/// How often a search goes twice as far before it asks the whole mesh, if sources are known else.
const RINGS: u8 = 6;
/// How often a search goes to two links again before it goes further, while the registry has never been
/// heard of. A way to it may become known at any moment; after a start of the whole mesh all nodes
/// would search all of it.
const EARLY_RINGS: u8 = 3;
/// Whom a search asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Neighbours,
    Mesh,
    Registry,
}

impl Acquisition {
    /// Goes on after a search that nobody has answered: with the whole mesh, as Algorithm 1 does; or
    /// with a source that has become known meanwhile, or else twice as far.
    pub(super) fn widen(&mut self, post: &mut Post<'_>, at: AcquisitionAt) {
        if post.config.acquisition.discovery == Discovery::Flood
            || self.ring >= RINGS
            || self.is_brief()
        {
            self.search(post, Scope::Mesh);
        } else if let Some(holder) = self.source(post) {
            self.fetch(post, at, holder);
        } else {
            self.ring += 1;
            self.search(post, Scope::Neighbours);
        }
    }

    /// Asks who has the module, or the registry.
    pub(super) fn search(&mut self, post: &mut Post<'_>, scope: Scope) {
        // Who was asked before may still answer: that takes longer than this node can know without a
        // route.
        let again = self.ring > 0 || (self.phase, scope) == (Phase::Fallback, Scope::Registry);
        if !again {
            self.request = post.new_request();
        }
        let message = Message::Search(Search {
            tasklet: self.wanted.tasklet,
            request: self.request,
            mtu: post.mesh.smallest_mtu(),
        });
        let Pace {
            local_search,
            global_search,
            ..
        } = post.config.pace;
        let registry = self.wanted.registry;
        let reach = post.mesh.reach(post.now);
        // How far it goes; none if it asks the registry.
        let ttl = match scope {
            Scope::Neighbours => {
                self.phase = Phase::LocalSearch;
                let wait = local_search * (1 << self.ring);
                self.ask.answered(post.now, wait.min(2 * global_search));
                let heard = self.registry_failed || post.mesh.has_heard(registry);
                let ring = match self.ring {
                    0 | 1 => self.ring,
                    ring if !heard => ring.saturating_sub(EARLY_RINGS).max(1),
                    ring => ring,
                };
                // It is there, although the way to it is not known.
                let lost = FULL && heard && !self.registry_failed && self.ring % 2 == 1;
                (!lost).then(|| (LOCAL_TTL << ring).min(reach))
            }
            Scope::Mesh => {
                self.phase = Phase::GlobalSearch;
                self.ask.answered(post.now, global_search);
                Some(reach)
            }
            Scope::Registry => {
                self.phase = Phase::Fallback;
                self.ask.asked(post.now, post.patience_for(registry));
                None
            }
        };
        match ttl {
            Some(ttl) => post.flood(ttl, message),
            None => post.send(registry, message),
        }
    }
}
