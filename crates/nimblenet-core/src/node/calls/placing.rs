//! Placing (spec/behaviour.md, section 13): what this node knows of the work that waits around it, and the facts for the policy that
//! places a call.
//!
//! Nodes tell their neighbours how long new work waits with them whenever that is not what those
//! compute. In between each lets the numbers run down, and adds what it has placed itself.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{NodeId, TaskletRef};

use crate::cache::SlotId;
use crate::node::post::Post;
use crate::place::Neighbour;
use crate::random::Random;
use crate::time::{Instant, micros};
use crate::wire::{Load, Wait};

/// So many calls are acknowledged by a node after one that it did not answer in time.
const DOUBTS: u8 = 16;

/// The pace of a node at which calls run as long as here.
const SAME: i64 = 1000;
/// The paces between which others are believed to be.
const PACES: core::ops::RangeInclusive<u64> = 125..=8000;
/// What was seen of a node's pace is forgotten after this time.
const PACE_MEMORY: Duration = Duration::from_secs(120);

/// The work around a node.
#[derive(Debug)]
pub(in crate::node) struct Placing {
    /// Nodes that have said how long work waits with them, ordered by id.
    others: Vec<Other>,
    limit: usize,
    /// What the neighbours of this node were told, and when; none if they know nothing.
    told: Option<(Instant, Duration)>,
    /// Whether there is a neighbour that was told nothing.
    owed: bool,
    /// When to look again whether to tell.
    due: Option<Instant>,
    /// Kept between calls, so that a call allocates nothing.
    neighbours: Vec<Neighbour>,
    random: Random,
}

#[derive(Clone, Copy, Debug)]
struct Other {
    id: NodeId,
    heard: Instant,
    wait: Duration,
    executors: u8,
    /// How much longer work waits there since then because of what this node has placed there last,
    /// and when that was.
    placed: Duration,
    placed_at: Instant,
    /// How many calls it must acknowledge because one was not answered in time.
    doubts: u8,
    /// How long calls run there, in thousandths of the time that they would run here, as seen last, and
    /// when that was.
    pace: u32,
    paced_at: Instant,
}

/// What a call runs.
#[derive(Clone, Copy, Default)]
pub(in crate::node) struct Wanted<'a> {
    /// How long all of it runs here.
    pub(in crate::node) work: Duration,
    /// The modules that it may run.
    pub(in crate::node) modules: &'a [(TaskletRef, Option<SlotId>)],
    /// The native tasklets that it may run.
    pub(in crate::node) natives: &'a [TaskletRef],
}

impl Other {
    fn wait_at(&self, now: Instant) -> Duration {
        (self.wait + self.placed).saturating_sub(now - self.heard)
    }

    /// How long calls run there, in thousandths of the time here: as was seen, and the more as here the
    /// longer ago that is, so that a node which nobody asks any more is tried again.
    fn pace_at(&self, now: Instant) -> u32 {
        let fresh = PACE_MEMORY.saturating_sub(now - self.paced_at).as_millis() as i64;
        let off = (i64::from(self.pace) - SAME) * fresh / PACE_MEMORY.as_millis() as i64;
        (SAME + off) as u32
    }
}

impl Placing {
    /// Room for what `limit` neighbours say, 0 if calls are not placed; a list has at most `listed`.
    pub(in crate::node) fn new(limit: usize, listed: usize, random: Random) -> Self {
        Self {
            others: Vec::with_capacity(limit),
            limit,
            told: None,
            owed: false,
            due: None,
            neighbours: Vec::with_capacity(limit.max(listed)),
            random,
        }
    }

    /// A random number for a decision.
    pub(in crate::node) fn chance(&mut self) -> u32 {
        self.random.below(1 << 32) as u32
    }

    /// Takes what a neighbour says of its work.
    pub(in crate::node) fn handle_load(&mut self, post: &Post<'_>, id: NodeId, load: Load) {
        let found = self.others.binary_search_by_key(&id, |other| other.id);
        let placed = found.ok().map(|at| self.others[at]);
        // What is still on its way there is not in what the node says.
        let flight = post.config.pace.hop * 2;
        let on_way = placed.filter(|other| post.now - other.placed_at < flight);
        let other = Other {
            id,
            heard: post.now,
            wait: load.wait.duration(),
            executors: load.executors,
            placed: on_way.map_or(Duration::ZERO, |other| other.placed),
            placed_at: on_way.map_or(Instant::ZERO, |other| other.placed_at),
            doubts: placed.map_or(0, |other| other.doubts),
            pace: placed.map_or(SAME as u32, |other| other.pace),
            paced_at: placed.map_or(Instant::ZERO, |other| other.paced_at),
        };
        match found {
            Ok(at) => self.others[at] = other,
            Err(at) if self.others.len() < self.limit => self.others.insert(at, other),
            Err(_) => {
                let gone = |other: &Other| post.mesh.neighbours().all(|id| id != other.id);
                self.others.retain(|other| !gone(other));
            }
        }
    }

    /// Takes what a node that works on a call says of its work: the call is in it.
    pub(in crate::node) fn handle_wait(&mut self, now: Instant, id: NodeId, wait: Wait) {
        if let Some(other) = self.find(id) {
            other.heard = now;
            other.wait = wait.duration();
            other.placed = Duration::ZERO;
        }
    }

    /// Notes that a call which runs for `work` was placed at a node.
    pub(in crate::node) fn note_placed(&mut self, now: Instant, id: NodeId, work: Duration) {
        if let Some(other) = self.find(id) {
            other.wait = other.wait_at(now);
            other.heard = now;
            other.placed = work / u32::from(other.executors.max(1));
            other.placed_at = now;
        }
    }

    /// How long a call that a node gets now waits there, and how long it runs there if it runs for
    /// `work` here.
    pub(in crate::node) fn outlook(
        &mut self,
        now: Instant,
        id: NodeId,
        work: Duration,
    ) -> (Duration, Duration) {
        let other = self.find(id);
        other.map_or((Duration::ZERO, work), |other| {
            let pace = other.pace_at(now);
            (other.wait_at(now), work * pace / SAME as u32)
        })
    }

    /// Whether a node that gets a call now must say that it works on it: something that it said or was
    /// sent lately was lost.
    pub(in crate::node) fn take_doubt(&mut self, id: NodeId) -> bool {
        let other = self.find(id).filter(|other| other.doubts > 0);
        other.map(|other| other.doubts -= 1).is_some()
    }

    /// Notes that a call which would run for `work` here ran for `ran` at a node, as far as that can be
    /// seen from here. Both may be wrong by `blur`.
    pub(in crate::node) fn note_ran(
        &mut self,
        now: Instant,
        id: NodeId,
        (work, ran): (Duration, Duration),
        blur: Duration,
    ) {
        let Some(other) = self.find(id).filter(|_| !work.is_zero()) else {
            return;
        };
        let seen = match work.abs_diff(ran) > blur {
            true => micros(ran) * SAME as u64 / micros(work),
            false => SAME as u64,
        };
        let seen = seen.clamp(*PACES.start(), *PACES.end()) as u32;
        other.pace = (other.pace_at(now) + seen) / 2;
        other.paced_at = now;
    }

    /// Notes that a node did not answer in time.
    pub(in crate::node) fn doubt(&mut self, id: NodeId) {
        if let Some(other) = self.find(id) {
            other.doubts = DOUBTS;
        }
    }

    /// Notes that a node has refused a call, or is silent: it takes none until it has said again how long
    /// work waits with it.
    pub(in crate::node) fn note_refused(&mut self, id: NodeId) {
        if let Some(other) = self.find(id) {
            other.executors = 0;
        }
    }

    /// The neighbours that take work of others, except `avoid`, and can run a call, as far as this node
    /// knows.
    pub(in crate::node) fn neighbours(
        &mut self,
        post: &Post<'_>,
        avoid: Option<NodeId>,
        wanted: Wanted<'_>,
    ) -> &[Neighbour] {
        let Wanted {
            work,
            modules,
            natives,
        } = wanted;
        let way = post.config.pace.hop * 2;
        self.neighbours.clear();
        for other in &self.others {
            let takes = other.executors > 0 && Some(other.id) != avoid;
            let near = || post.mesh.neighbours().any(|id| id == other.id);
            let has = |native| post.holders.holds(other.id, native);
            if takes && near() && natives.iter().copied().all(has) {
                self.neighbours.push(Neighbour {
                    id: other.id,
                    wait: other.wait_at(post.now),
                    work: work * other.pace_at(post.now) / SAME as u32,
                    way,
                    executors: other.executors,
                    lacks: count(modules, |module| !post.holders.holds(other.id, module)),
                });
            }
        }
        &self.neighbours
    }

    /// The neighbours that take work of others; where none says that, those that hear this node.
    pub(in crate::node) fn takers(&mut self, post: &Post<'_>) -> &[Neighbour] {
        if self.neighbours(post, None, Wanted::default()).is_empty() && self.limit == 0 {
            let near = post
                .mesh
                .neighbours()
                .filter(|id| post.mesh.is_hearing(*id));
            let near = near.map(|id| Neighbour {
                id,
                wait: Duration::ZERO,
                work: Duration::ZERO,
                way: Duration::ZERO,
                executors: 1,
                lacks: 0,
            });
            let room = self.neighbours.capacity();
            self.neighbours.extend(near.take(room));
        }
        &self.neighbours
    }

    /// Tells the neighbours how long work waits here, which is `wait`, if that is far from what they
    /// compute.
    pub(in crate::node) fn poll_load(
        &mut self,
        now: Instant,
        pause: Duration,
        wait: Duration,
    ) -> bool {
        if self.limit == 0 {
            return false;
        }
        let (when, told) = self.told.unwrap_or((Instant::ZERO, Duration::ZERO));
        let computed = told.saturating_sub(now - when);
        let far = wait.abs_diff(computed) > pause / 2;
        self.due = (far || self.owed).then_some(when + pause);
        let tells = self.due.is_some_and(|due| due <= now);
        if tells {
            self.told = Some((now, wait));
            self.owed = false;
            self.due = None;
        }
        tells
    }

    /// When to look again whether to tell the neighbours.
    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// There is a neighbour that knows nothing yet.
    pub(in crate::node) fn handle_newcomer(&mut self) {
        self.owed = true;
    }

    fn find(&mut self, id: NodeId) -> Option<&mut Other> {
        self.others.iter_mut().find(|other| other.id == id)
    }
}

/// How many of these modules are so.
pub(in crate::node) fn count(
    modules: &[(TaskletRef, Option<SlotId>)],
    is: impl Fn(TaskletRef) -> bool,
) -> usize {
    modules.iter().filter(|(module, _)| is(*module)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::stage::{NEAR, OTHER, STRANGER, Stage};

    const SECOND: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_secs(2);

    fn load(wait_s: u16) -> Load {
        Load {
            wait: Wait(wait_s * 100),
            executors: 1,
        }
    }

    fn running(work: Duration) -> Wanted<'static> {
        Wanted {
            work,
            ..Wanted::default()
        }
    }

    fn waits(placing: &mut Placing, stage: &mut Stage) -> Vec<(NodeId, u64)> {
        let neighbours = placing.neighbours(&stage.post(), None, running(SECOND));
        let wait = |it: &Neighbour| (it.id, it.wait.as_secs());
        neighbours.iter().map(wait).collect()
    }

    #[test]
    fn what_a_neighbour_has_said_runs_down_and_grows_by_what_is_placed_there() {
        let (mut stage, mut placing) = (Stage::new(), Placing::new(4, 4, Random::new(1)));
        assert_eq!(
            waits(&mut placing, &mut stage),
            [],
            "nobody has said anything"
        );
        for (id, wait_s) in [(OTHER, 3), (NEAR, 8), (STRANGER, 0)] {
            placing.handle_load(&stage.post(), id, load(wait_s));
        }
        stage.pass(2 * SECOND);
        assert_eq!(waits(&mut placing, &mut stage), [(NEAR, 6), (OTHER, 1)]);
        placing.note_placed(stage.now, OTHER, 5 * SECOND);
        stage.pass(SECOND);
        assert_eq!(waits(&mut placing, &mut stage), [(NEAR, 5), (OTHER, 5)]);
        placing.note_placed(stage.now, NEAR, 5 * SECOND);
        placing.handle_load(&stage.post(), NEAR, load(5));
        placing.handle_load(&stage.post(), OTHER, load(4));
        let said = waits(&mut placing, &mut stage);
        assert_eq!(
            said,
            [(NEAR, 10), (OTHER, 4)],
            "the call to one is on its way"
        );
        placing.handle_wait(stage.now, NEAR, Wait(1100));
        assert_eq!(waits(&mut placing, &mut stage)[0], (NEAR, 11));
    }

    #[test]
    fn what_is_seen_of_a_nodes_pace_counts_and_is_forgotten() {
        let (mut stage, mut placing) = (Stage::new(), Placing::new(4, 4, Random::new(1)));
        placing.handle_load(&stage.post(), NEAR, load(0));
        let work = |placing: &mut Placing, stage: &Stage| {
            let (_, run) = placing.outlook(stage.now, NEAR, 8 * SECOND);
            run.as_secs()
        };
        assert_eq!(work(&mut placing, &stage), 8);
        placing.note_ran(stage.now, NEAR, (8 * SECOND, 9 * SECOND), SECOND);
        assert_eq!(work(&mut placing, &stage), 8, "it may be no slower");
        placing.note_ran(stage.now, NEAR, (8 * SECOND, 32 * SECOND), SECOND);
        assert_eq!(work(&mut placing, &stage), 20, "half of it is believed");
        placing.handle_load(&stage.post(), NEAR, load(3));
        let near = placing.neighbours(&stage.post(), None, running(8 * SECOND))[0];
        assert_eq!((near.wait, near.work), (3 * SECOND, 20 * SECOND));
        stage.pass(PACE_MEMORY / 2);
        assert_eq!(work(&mut placing, &stage), 14);
        stage.pass(PACE_MEMORY);
        assert_eq!(work(&mut placing, &stage), 8);
        for _ in 0..9 {
            placing.note_ran(stage.now, NEAR, (8 * SECOND, Duration::ZERO), SECOND);
        }
        assert_eq!(work(&mut placing, &stage), 1, "nobody is that fast");
    }

    #[test]
    fn who_has_refused_a_call_gets_none_until_it_says_how_long_work_waits() {
        let (mut stage, mut placing) = (Stage::new(), Placing::new(4, 4, Random::new(1)));
        placing.handle_load(&stage.post(), NEAR, load(0));
        placing.note_refused(NEAR);
        assert_eq!(waits(&mut placing, &mut stage), []);
        placing.handle_load(&stage.post(), NEAR, load(1));
        assert_eq!(waits(&mut placing, &mut stage), [(NEAR, 1)]);
    }

    #[test]
    fn neighbours_are_told_what_they_do_not_compute_and_not_too_often() {
        let (mut stage, mut placing) = (Stage::new(), Placing::new(4, 4, Random::new(1)));
        let mut tell =
            |stage: &Stage, wait_s: u32| placing.poll_load(stage.now, PAUSE, wait_s * SECOND);
        stage.pass(10 * SECOND);
        assert!(!tell(&stage, 0), "that is what they assume");
        assert!(tell(&stage, 5));
        stage.pass(SECOND);
        assert!(!tell(&stage, 12), "too soon");
        stage.pass(SECOND);
        assert!(!tell(&stage, 4), "it is near what they compute");
        assert!(tell(&stage, 12));
        assert!(!tell(&stage, 70), "too soon again");
        let due = placing.poll_timeout();
        assert_eq!(due, Some(stage.now + PAUSE));
        placing.handle_newcomer();
        stage.wait(due);
        assert!(
            placing.poll_load(stage.now, PAUSE, 10 * SECOND),
            "to the newcomer"
        );
        assert_eq!(placing.poll_timeout(), None);
    }

    #[test]
    fn a_node_that_does_not_place_calls_tells_nothing_and_keeps_nothing() {
        let (mut stage, mut placing) = (Stage::new(), Placing::new(0, 0, Random::new(1)));
        placing.handle_load(&stage.post(), NEAR, load(3));
        placing.handle_newcomer();
        assert!(!placing.poll_load(stage.now, PAUSE, 9 * SECOND));
        assert_eq!(waits(&mut placing, &mut stage), []);
    }
}
