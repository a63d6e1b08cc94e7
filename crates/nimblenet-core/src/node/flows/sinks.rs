//! The end of flows: items in order, each once.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use super::items::{Course, Items, Kept, Parcel};
use crate::flow::{FlowId, SinkStatus};
use crate::queue::Queue;
use crate::time::Instant;
use crate::wire::Taken;

/// Items of one source that wait for an earlier one, at most.
const EARLY: usize = 16;
/// A source hears what has arrived after so many items at the latest.
const TOLD_AFTER: u8 = 8;
/// What the source is told seems not to come to it after so many times in vain.
const IN_VAIN: u8 = 2;
/// After a silence of this time what comes of a run that seems older than the last one is of a newer run: the
/// source has started again, and its numbers have fallen back.
const FALLEN: Duration = Duration::from_secs(10);
/// A source that has been silent for so long may give its place to another.
const SILENT: Duration = Duration::from_secs(600);

/// An item for the user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) course: Course,
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) kept: Kept,
}

/// What has come from one source.
#[derive(Debug)]
struct Feeder {
    course: Course,
    /// The first item that has not arrived.
    next: u32,
    early: Vec<Ready>,
    /// When the source is told.
    due: Option<Instant>,
    /// Items since it was told.
    untold: u8,
    /// Whether items have come since then that it was told of before.
    again: bool,
    /// How often in sequence it was told in vain.
    vain: u8,
    heard: Instant,
    vacant: bool,
}

/// The flows that end at a node.
#[derive(Debug)]
pub(super) struct Sinks {
    wanted: Vec<SinkStatus>,
    feeders: Vec<Feeder>,
    ready: Queue<Ready>,
    reported: Option<Kept>,
    /// Sources of flows that nobody here wants.
    unwanted: Queue<Course>,
    room: usize,
}

impl Sinks {
    /// Room for so many flows and sources, and for `ready` items that the user has not seen.
    pub(super) fn new(flows: usize, feeders: usize, ready: usize) -> Self {
        let vacant = |_| Feeder {
            course: Course {
                flow: FlowId(0),
                source: NodeId::EVERYONE,
                run: 0,
            },
            next: 0,
            early: Vec::with_capacity(EARLY),
            due: None,
            untold: 0,
            again: false,
            vain: 0,
            heard: Instant::ZERO,
            vacant: true,
        };
        Self {
            wanted: Vec::with_capacity(flows),
            feeders: (0..feeders).map(vacant).collect(),
            ready: Queue::with_capacity(ready),
            reported: None,
            unwanted: Queue::with_capacity(feeders),
            room: flows,
        }
    }

    /// Takes the items of a flow from now on; false if there is no room for another.
    pub(super) fn want(&mut self, flow: FlowId) -> bool {
        let known = self.is_wanted(flow);
        if !known && self.wanted.len() < self.room {
            self.wanted.push(SinkStatus {
                flow,
                items: 0,
                dropped: 0,
            });
            return true;
        }
        known
    }

    /// Takes no more items of a flow; false if it took none.
    pub(super) fn unwant(&mut self, items: &mut Items, flow: FlowId) -> bool {
        let known = self.is_wanted(flow);
        self.wanted.retain(|wanted| wanted.flow != flow);
        for feeder in &mut self.feeders {
            if feeder.course.flow == flow {
                vacate(items, feeder);
            }
        }
        known
    }

    /// The flows that end here.
    pub(super) fn status(&self) -> impl Iterator<Item = SinkStatus> {
        self.wanted.iter().copied()
    }

    fn is_wanted(&self, flow: FlowId) -> bool {
        self.wanted.iter().any(|wanted| wanted.flow == flow)
    }

    /// Notes that there was no room for an item, which its source sends again.
    pub(super) fn note_dropped(&mut self, flow: FlowId) {
        let mut wanted = self.wanted.iter_mut();
        if let Some(wanted) = wanted.find(|wanted| wanted.flow == flow) {
            wanted.dropped = wanted.dropped.saturating_add(1);
        }
    }

    /// Whether items of this course are taken; if not, its source is told.
    pub(super) fn wants(&mut self, course: &Course) -> bool {
        let wants = self.is_wanted(course.flow);
        if !wants
            && self.unwanted.len() < self.unwanted.capacity()
            && !self.unwanted.contains(course)
        {
            self.unwanted.push_back(*course);
        }
        wants
    }

    /// Hears of a source, which may have a way to this node when it is told what has arrived.
    pub(super) fn greet(&mut self, now: Instant, items: &mut Items, course: Course, oldest: u32) {
        if let Some(at) = self.feeder(now, items, course, oldest) {
            let feeder = &mut self.feeders[at];
            feeder.heard = now;
            feeder.next = feeder.next.max(oldest);
            feeder.due = Some(now);
        }
    }

    /// Takes an item to which all operators have been applied; the source is told after `delay`.
    pub(super) fn take(
        &mut self,
        now: Instant,
        items: &mut Items,
        parcel: Parcel,
        delay: Duration,
    ) {
        let Some(at) = self.feeder(now, items, parcel.course, parcel.oldest) else {
            items.release(parcel.kept);
            self.note_dropped(parcel.course.flow);
            return;
        };
        let feeder = &mut self.feeders[at];
        feeder.heard = now;
        // What the source does not keep any more has arrived, in an earlier life of this node.
        feeder.next = feeder.next.max(parcel.oldest);
        feeder.due.get_or_insert(now + delay);
        let Parcel {
            course,
            first,
            last,
            kept,
            ..
        } = parcel;
        let known = feeder.early.iter_mut().find(|early| {
            let tells = early.kept != Kept::Nothing || kept == Kept::Nothing;
            early.last == last && tells
        });
        if let Some(known) = known {
            known.first = known.first.min(first);
            items.release(kept);
            return self.pass(items, at);
        }
        if last < feeder.next {
            feeder.again |= feeder.untold == 0;
            items.release(kept);
            return;
        }
        if feeder.early.len() == EARLY {
            let furthest = feeder.early.iter().enumerate();
            let furthest = furthest.max_by_key(|(_, early)| early.last);
            let furthest = furthest.map(|(at, early)| (at, early.last));
            match furthest {
                Some((at, end)) if last < end => items.release(feeder.early.remove(at).kept),
                _ => {
                    items.release(kept);
                    return;
                }
            }
        }
        let to = feeder.early.partition_point(|early| early.last < last);
        feeder.early.insert(
            to,
            Ready {
                course,
                first,
                last,
                kept,
            },
        );
        self.pass(items, at);
    }

    /// Gives the user what has come in order.
    fn pass(&mut self, items: &mut Items, at: usize) {
        let feeder = &mut self.feeders[at];
        while let Some(early) = feeder.early.first().copied() {
            let is_full = self.ready.len() == self.ready.capacity();
            if early.first > feeder.next || is_full {
                break;
            }
            feeder.early.remove(0);
            if early.last < feeder.next {
                items.release(early.kept);
                continue;
            }
            // What is dropped now may have failed before, and was reported.
            let early = Ready {
                first: early.first.max(feeder.next),
                ..early
            };
            feeder.next = early.last.saturating_add(1);
            feeder.untold = feeder.untold.saturating_add(1);
            if early.kept != Kept::Nothing {
                self.ready.push_back(early);
                let flow = early.course.flow;
                let mut wanted = self.wanted.iter_mut();
                if let Some(wanted) = wanted.find(|wanted| wanted.flow == flow) {
                    wanted.items = wanted.items.saturating_add(1);
                }
            }
        }
    }

    /// The place for a source, if need be a new one.
    fn feeder(
        &mut self,
        now: Instant,
        items: &mut Items,
        course: Course,
        oldest: u32,
    ) -> Option<usize> {
        let known = self
            .feeders
            .iter()
            .position(|it| !it.vacant && it.course.is_like(&course));
        if let Some(at) = known {
            let feeder = &mut self.feeders[at];
            if course.is_before(&feeder.course) && now - feeder.heard <= FALLEN {
                return None;
            }
            if feeder.course != course {
                vacate(items, feeder);
                begin(feeder, course, oldest);
            }
            return Some(at);
        }
        let vacant = self.feeders.iter().position(|it| it.vacant);
        let silent = || {
            let silent = self.feeders.iter().enumerate();
            let silent = silent.filter(|(_, it)| now - it.heard > SILENT);
            silent.min_by_key(|(_, it)| it.heard).map(|(at, _)| at)
        };
        let at = vacant.or_else(silent)?;
        let feeder = &mut self.feeders[at];
        vacate(items, feeder);
        begin(feeder, course, oldest);
        Some(at)
    }

    /// What is to be told to a source, which, and whether it was told in vain again and again.
    pub(super) fn poll_told(&mut self, now: Instant) -> Option<(NodeId, Taken, bool)> {
        if let Some(course) = self.unwanted.pop_front() {
            let Course { flow, source, run } = course;
            let (next, until, wanted) = (0, 0, false);
            return Some((
                source,
                Taken {
                    flow,
                    run,
                    next,
                    until,
                    wanted,
                },
                false,
            ));
        }
        let is_due = |it: &&mut Feeder| {
            !it.vacant && (it.untold >= TOLD_AFTER || it.due.is_some_and(|due| due <= now))
        };
        let feeder = self.feeders.iter_mut().find(is_due)?;
        feeder.due = None;
        feeder.untold = 0;
        feeder.vain = match core::mem::take(&mut feeder.again) {
            true => feeder.vain.saturating_add(1),
            false => 0,
        };
        let Course { flow, source, run } = feeder.course;
        let early = feeder.early.first().map(|early| early.first);
        let taken = Taken {
            flow,
            run,
            next: feeder.next,
            until: early.unwrap_or(feeder.next).max(feeder.next),
            wanted: true,
        };
        Some((source, taken, feeder.vain >= IN_VAIN))
    }

    /// When a source is to be told.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let feeders = self.feeders.iter().filter(|it| !it.vacant);
        feeders.filter_map(|it| it.due).min()
    }

    /// Whether there is an item for the user, or one that can be forgotten.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || self.reported.is_some()
    }

    /// The next item for the user; what it had before is forgotten.
    pub(super) fn poll_ready(&mut self, items: &mut Items) -> Option<Ready> {
        if let Some(kept) = self.reported.take() {
            items.release(kept);
        }
        let ready = self.ready.pop_front()?;
        self.reported = Some(ready.kept);
        Some(ready)
    }
}

fn begin(feeder: &mut Feeder, course: Course, oldest: u32) {
    feeder.course = course;
    feeder.next = oldest;
    feeder.vacant = false;
}

fn vacate(items: &mut Items, feeder: &mut Feeder) {
    for early in feeder.early.drain(..) {
        items.release(early.kept);
    }
    (feeder.due, feeder.untold, feeder.vacant) = (None, 0, true);
    (feeder.again, feeder.vain) = (false, 0);
}
