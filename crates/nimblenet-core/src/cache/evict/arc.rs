//! Adaptive replacement (N. Megiddo and D. S. Modha, "ARC: A Self-Tuning, Low Overhead Replacement
//! Cache", USENIX FAST 2003).
//!
//! Modules used once are in one list, those used again in another; each list has ghosts of modules
//! that left it. A ghost that comes back says that its list is too short, and moves the target for
//! the length of the first list. So a scan of modules that nobody uses again passes through the
//! first list and leaves the second alone.
//!
//! The paper's pages are all of one size, modules are not. Here all lengths are in bytes: the
//! target, the four lists and their bounds; and a ghost that comes back moves the target by its own
//! bytes (times the quotient of the ghost lists, as in the paper). There are as many places for
//! ghosts as for modules; when they are used up the oldest ghost of the longer list goes.
//!
//! The cache makes room before it says what comes, so a ghost's return counts from the next
//! eviction on, and the paper's rule for a tie (a page from the ghosts of the second list takes from
//! the first) has no place.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use nimblenet_tasklet::TaskletRef;

use super::{Evict, Eviction, Exit, Facts, Size};
use crate::cache::SlotId;

pub(super) const ABOUT: &str =
    "modules used once or modules used again leave first, as past evictions proved wrong";

pub(super) static EVICTION: Eviction = Eviction {
    name: "arc",
    make: |size| Box::new(Arc::new(size)),
};

/// A list of the paper: T1 with its ghosts B1, or T2 with its ghosts B2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum List {
    Once,
    Again,
}

/// A module that is here.
#[derive(Clone, Copy, Debug)]
struct Held {
    list: List,
    /// When it was last used, in events of this policy.
    at: u64,
}

/// A module that was here.
#[derive(Clone, Copy, Debug)]
struct Ghost {
    tasklet: TaskletRef,
    list: List,
    bytes: u64,
}

/// Bytes of a list and of its ghosts.
#[derive(Clone, Copy, Default, Debug)]
struct Length {
    held: u64,
    ghosts: u64,
}

pub(super) struct Arc {
    capacity: u64,
    /// Bytes that the first list is to have: the paper's p.
    target: u64,
    events: u64,
    /// By slot.
    held: Vec<Option<Held>>,
    /// Oldest first.
    ghosts: Vec<Ghost>,
    once: Length,
    again: Length,
}

impl Arc {
    pub(super) fn new(size: Size) -> Self {
        Self {
            capacity: size.bytes as u64,
            target: 0,
            events: 0,
            held: vec![None; size.entries],
            ghosts: Vec::with_capacity(size.entries),
            once: Length::default(),
            again: Length::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn target(&self) -> u64 {
        self.target
    }

    fn length(&mut self, list: List) -> &mut Length {
        match list {
            List::Once => &mut self.once,
            List::Again => &mut self.again,
        }
    }

    /// Puts a module into a list as its most recent.
    fn put(&mut self, id: SlotId, list: List, bytes: u32) {
        self.events += 1;
        let held = Held {
            list,
            at: self.events,
        };
        if let Some(place) = self.held.get_mut(id.index()) {
            *place = Some(held);
            self.length(list).held += u64::from(bytes);
        }
    }

    fn take(&mut self, id: SlotId, bytes: u32) -> Option<Held> {
        let held = self.held.get_mut(id.index())?.take()?;
        self.length(held.list).held -= u64::from(bytes);
        Some(held)
    }

    /// A module of that list came back: the list was too short.
    fn adapt(&mut self, ghost: Ghost) {
        let (own, other) = match ghost.list {
            List::Once => (self.once.ghosts, self.again.ghosts),
            List::Again => (self.again.ghosts, self.once.ghosts),
        };
        let step = ghost.bytes.saturating_mul((other / own.max(1)).max(1));
        self.target = match ghost.list {
            List::Once => self.target.saturating_add(step).min(self.capacity),
            List::Again => self.target.saturating_sub(step),
        };
    }

    fn remove_ghost(&mut self, at: usize) -> Ghost {
        let ghost = self.ghosts.remove(at);
        self.length(ghost.list).ghosts -= ghost.bytes;
        ghost
    }

    /// Forgets the oldest ghost of a list, if it has one.
    fn forget(&mut self, list: List) -> bool {
        let oldest = self.ghosts.iter().position(|ghost| ghost.list == list);
        oldest.map(|at| self.remove_ghost(at)).is_some()
    }

    fn remember(&mut self, ghost: Ghost) {
        if self.ghosts.len() == self.ghosts.capacity() {
            let longer = if self.once.ghosts > self.again.ghosts {
                List::Once
            } else {
                List::Again
            };
            if !self.forget(longer) {
                return;
            }
        }
        self.ghosts.push(ghost);
        self.length(ghost.list).ghosts += ghost.bytes;
    }

    /// Keeps the paper's bounds: the first list with its ghosts fits the cache once, all four
    /// together twice.
    fn trim(&mut self) {
        while self.once.held + self.once.ghosts > self.capacity && self.forget(List::Once) {}
        let all = |it: &Self| {
            it.once.held + it.once.ghosts + it.again.held + it.again.ghosts > 2 * it.capacity
        };
        while all(self) && self.forget(List::Again) {}
    }
}

impl Evict for Arc {
    fn on_insert(&mut self, id: SlotId, facts: &Facts<'_>) {
        let mut ghosts = self.ghosts.iter();
        let returns = ghosts.position(|ghost| ghost.tasklet == facts.tasklet);
        let list = match returns {
            Some(at) => {
                self.adapt(self.ghosts[at]);
                self.remove_ghost(at);
                List::Again
            }
            None => List::Once,
        };
        self.put(id, list, facts.bytes);
        self.trim();
    }

    fn on_hit(&mut self, id: SlotId, facts: &Facts<'_>) {
        if self.take(id, facts.bytes).is_some() {
            self.put(id, List::Again, facts.bytes);
        }
    }

    fn on_evict(&mut self, id: SlotId, facts: &Facts<'_>, exit: Exit) {
        if let Some(held) = self.take(id, facts.bytes)
            && exit == Exit::Evicted
        {
            self.remember(Ghost {
                tasklet: facts.tasklet,
                list: held.list,
                bytes: facts.bytes.into(),
            });
            self.trim();
        }
    }

    fn worth(&self, id: SlotId, _: &Facts<'_>) -> (u64, u64) {
        let gives = if self.once.held > self.target {
            List::Once
        } else {
            List::Again
        };
        let held = self.held.get(id.index()).copied().flatten();
        held.map_or((0, 0), |held| (u64::from(held.list != gives), held.at))
    }
}
