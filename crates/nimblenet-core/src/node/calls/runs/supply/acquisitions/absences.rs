//! Absences: what nobody had when it was searched for, while its registry was away
//! (spec/behaviour.md, section 6).
//!
//! A search of the mesh costs every node a frame, and robots call again what has failed. So a tasklet
//! that was searched for in vain is not searched for again for a while, and a node searches in vain only
//! so often. All of that is over as soon as somebody is known to have the module, or the registry is
//! heard.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{NodeId, TaskletRef};

use super::Wanted;
use crate::full::Full;
use crate::node::post::Post;
use crate::time::Instant;

/// How long a tasklet is not searched for after the first search in vain; twice as long after each other.
const FIRST_ABSENCE: Duration = Duration::from_secs(2);
/// The longest of these times.
const LONGEST_ABSENCE: Duration = Duration::from_secs(64);
/// A registry that was asked in vain in so many searches, and not heard meanwhile, is away.
const VAIN_UNTIL_AWAY: u8 = 4;
/// While a registry is away a node searches in vain once in this time on average.
const VAIN_EVERY: Duration = Duration::from_secs(8);
/// And so often at once, after a pause.
const VAIN_AT_ONCE: u32 = 4;

/// What was searched for in vain, and the registries that were silent then.
#[derive(Debug)]
pub(super) struct Absences {
    kept: Full<Kept>,
}

#[derive(Debug)]
struct Kept {
    absent: Vec<Absent>,
    silent: Vec<Silent>,
    /// When the node may search in vain as often as after a long pause.
    rested: Instant,
}

/// A tasklet that was searched for in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Absent {
    tasklet: TaskletRef,
    /// When the last search for it ended.
    since: Instant,
    /// How long it is not searched for after that.
    pause: Duration,
}

/// A registry that was asked in vain, and has not been heard since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Silent {
    registry: NodeId,
    /// When it was first asked in vain.
    since: Instant,
    /// In how many searches it was.
    vain: u8,
}

impl Absences {
    /// Room for `limit` tasklets, and for as many registries.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            kept: Full::new(|| Kept {
                absent: Vec::with_capacity(limit),
                silent: Vec::with_capacity(limit),
                rested: Instant::ZERO,
            }),
        }
    }

    /// Whether a registry was asked in vain so often that it is away.
    pub(super) fn is_away(&mut self, post: &Post<'_>, registry: NodeId) -> bool {
        self.silent(post, registry)
            .is_some_and(|held| held.vain >= VAIN_UNTIL_AWAY)
    }

    /// What is noted of a registry. One that has been heard since is asked as ever, for whatever it may have.
    fn silent(&mut self, post: &Post<'_>, registry: NodeId) -> Option<&mut Silent> {
        let kept = self.kept.get_mut()?;
        let at = kept.silent.iter().position(|it| it.registry == registry)?;
        let heard = post.mesh.last_heard(registry);
        if heard.is_some_and(|heard| heard > kept.silent[at].since) {
            kept.silent.remove(at);
            kept.absent.clear();
            kept.rested = post.now;
            return None;
        }
        Some(&mut kept.silent[at])
    }

    /// Whether a tasklet that is not here is not to be searched for now.
    pub(super) fn forbid(&mut self, post: &Post<'_>, wanted: &Wanted) -> bool {
        if !self.is_away(post, wanted.registry) || post.nearest(wanted.tasklet, None).is_some() {
            return false;
        }
        self.kept.get().is_some_and(|kept| {
            let pauses =
                |it: &Absent| it.tasklet == wanted.tasklet && post.now - it.since < it.pause;
            let spent = kept.rested - post.now > VAIN_EVERY * (VAIN_AT_ONCE - 1);
            spent || kept.absent.iter().any(pauses)
        })
    }

    /// Notes that a search has asked a registry in vain. Returns whether it is away.
    pub(super) fn note_silent(&mut self, post: &Post<'_>, registry: NodeId) -> bool {
        if let Some(held) = self.silent(post, registry) {
            held.vain = held.vain.saturating_add(1);
            return held.vain >= VAIN_UNTIL_AWAY;
        }
        if let Some(kept) = self.kept.get_mut()
            && kept.silent.len() < kept.silent.capacity()
        {
            kept.silent.push(Silent {
                registry,
                since: post.now,
                vain: 1,
            });
        }
        false
    }

    /// Notes that an acquisition has ended in vain. Of too many tasklets the one that was searched for
    /// longest ago is forgotten.
    pub(super) fn note(&mut self, now: Instant, wanted: &Wanted) {
        let Some(kept) = self.kept.get_mut() else {
            return;
        };
        let rested = kept.rested.max(now) + VAIN_EVERY;
        kept.rested = rested.min(now + VAIN_EVERY * VAIN_AT_ONCE);
        let absent = &mut kept.absent;
        if let Some(held) = absent.iter_mut().find(|it| it.tasklet == wanted.tasklet) {
            held.pause = LONGEST_ABSENCE.min(held.pause * 2);
            held.since = now;
            return;
        }
        if absent.len() == absent.capacity() {
            let oldest = (0..absent.len()).min_by_key(|at| absent[*at].since);
            let Some(oldest) = oldest else {
                return;
            };
            absent.remove(oldest);
        }
        absent.push(Absent {
            tasklet: wanted.tasklet,
            since: now,
            pause: FIRST_ABSENCE,
        });
    }

    /// A module has come: it is not absent.
    pub(super) fn forget(&mut self, tasklet: TaskletRef) {
        if let Some(kept) = self.kept.get_mut() {
            kept.absent.retain(|it| it.tasklet != tasklet);
        }
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::Digest;

    use super::*;
    use crate::node::stage::{REGISTRY, STRANGER, Stage, tasklet};

    fn wanted(number: u16) -> Wanted {
        Wanted {
            tasklet: tasklet(number, 1),
            digest: Digest::of(b""),
            size: 1,
            registry: REGISTRY,
            client: None,
        }
    }

    /// Searches for it in vain.
    fn fail(absences: &mut Absences, stage: &mut Stage, number: u16) {
        for _ in 0..VAIN_UNTIL_AWAY {
            absences.note_silent(&stage.post(), REGISTRY);
        }
        absences.note(stage.now, &wanted(number));
    }

    #[test]
    fn each_search_in_vain_doubles_the_pause_up_to_its_bound() {
        let (mut stage, mut absences) = (Stage::with(|_| {}), Absences::new(4));
        assert!(!absences.forbid(&stage.post(), &wanted(0)));
        let mut pause = FIRST_ABSENCE;
        for _ in 0..8 {
            fail(&mut absences, &mut stage, 0);
            stage.pass(pause - Duration::from_micros(1));
            assert!(absences.forbid(&stage.post(), &wanted(0)));
            stage.pass(Duration::from_micros(1));
            stage.pass(VAIN_EVERY);
            assert!(!absences.forbid(&stage.post(), &wanted(0)));
            pause = LONGEST_ABSENCE.min(pause * 2);
        }
        assert_eq!(pause, LONGEST_ABSENCE);
        absences.forget(tasklet(0, 1));
        assert!(!absences.forbid(&stage.post(), &wanted(0)));
    }

    #[test]
    fn a_node_searches_in_vain_only_so_often() {
        let (mut stage, mut absences) = (Stage::with(|_| {}), Absences::new(2));
        for number in 0..VAIN_AT_ONCE as u16 {
            assert!(!absences.forbid(&stage.post(), &wanted(number)));
            fail(&mut absences, &mut stage, number);
        }
        let more = wanted(VAIN_AT_ONCE as u16);
        assert!(
            absences.forbid(&stage.post(), &more),
            "it was searched for too often"
        );
        stage.pass(VAIN_EVERY);
        assert!(!absences.forbid(&stage.post(), &more));
        // What is forgotten first was searched for longest ago.
        fail(&mut absences, &mut stage, 1);
        assert!(absences.forbid(&stage.post(), &wanted(1)));
    }

    #[test]
    fn a_registry_that_is_heard_ends_it() {
        let (mut stage, mut absences) = (Stage::with(|_| {}), Absences::new(4));
        let wanted = Wanted {
            registry: STRANGER,
            ..wanted(0)
        };
        for _ in 1..VAIN_UNTIL_AWAY {
            let away = absences.note_silent(&stage.post(), STRANGER);
            assert!(!away, "frames get lost");
        }
        assert!(absences.note_silent(&stage.post(), STRANGER));
        absences.note(stage.now, &wanted);
        stage.pass(FIRST_ABSENCE / 2);
        assert!(absences.is_away(&stage.post(), STRANGER));
        assert!(!absences.is_away(&stage.post(), REGISTRY), "another one");
        assert!(absences.forbid(&stage.post(), &wanted));
        stage.hear_of(STRANGER);
        assert!(!absences.is_away(&stage.post(), STRANGER));
        assert!(!absences.forbid(&stage.post(), &wanted));
    }
}
