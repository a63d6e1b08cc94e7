//! The observer of a trial: it shows everything to every checker, and stops at the first finding.

use std::collections::BTreeMap;

use core::time::Duration;

use nimblenet_core::{Event, Instant, Node};
use nimblenet_tasklet::{Answer, NodeId, Work};

use super::check::{CHECKERS, Checker, End, Finding, Sight};
use super::intruder::Tap;
use super::{Failure, Fired};
use crate::engine::{Observer, Passing};

/// All checkers, and what they have found.
pub(super) struct Watch {
    checkers: Vec<(&'static str, Box<dyn Checker>)>,
    pub(super) tap: Tap,
    pub(super) failure: Option<Failure>,
    /// How often each kind of thing has happened.
    pub(super) fired: Fired,
}

impl Watch {
    pub(super) fn new() -> Self {
        let checkers = CHECKERS.iter().map(|entry| (entry.name, (entry.make)()));
        Self {
            checkers: checkers.collect(),
            tap: Tap::default(),
            failure: None,
            fired: BTreeMap::new(),
        }
    }

    /// Shows the checkers what happens.
    pub(super) fn see(&mut self, now: Instant, sight: &Sight<'_>) {
        self.ask(now, |checker| checker.see(now, sight));
    }

    /// Shows the checkers how everything is at the end.
    pub(super) fn end(&mut self, now: Instant, end: &End<'_>) {
        self.ask(now, |checker| checker.end(now, end));
    }

    /// Counts something that has happened.
    pub(super) fn fire(&mut self, kind: &'static str, times: u64) {
        if times > 0 {
            *self.fired.entry(kind).or_default() += times;
        }
    }

    /// Fails by itself.
    pub(super) fn fail(&mut self, now: Instant, checker: &'static str, what: String) {
        let at_s = (now - Instant::ZERO).as_secs_f64();
        let failure = Failure {
            checker,
            at_s,
            what,
        };
        self.failure.get_or_insert(failure);
    }

    fn ask(&mut self, now: Instant, mut ask: impl FnMut(&mut dyn Checker) -> Finding) {
        if self.failure.is_some() {
            return;
        }
        let mut findings = self.checkers.iter_mut();
        let found = findings.find_map(|(name, checker)| Some((*name, ask(&mut **checker).err()?)));
        if let Some((name, what)) = found {
            self.fail(now, name, what);
        }
    }
}

impl Observer for Watch {
    fn sent(&mut self, now: Instant, passing: Passing<'_>) {
        if let Some(frame) = passing.frame {
            self.tap.hear(frame, passing.bytes);
            self.see(now, &Sight::Sent(passing.node, frame, passing.bytes.len()));
        }
    }

    fn received(&mut self, now: Instant, passing: Passing<'_>) {
        self.see(now, &Sight::Received(passing.bytes.len()));
    }

    fn worked(&mut self, now: Instant, node: NodeId, work: &Work<'_>, _: Duration) {
        self.fire("freeze", matches!(work, Work::Freeze { .. }).into());
        self.fire("thaw", matches!(work, Work::Thaw { .. }).into());
        self.see(now, &Sight::Worked(node, work));
    }

    fn answered(&mut self, now: Instant, node: NodeId, answer: &Answer<Vec<u8>>) {
        self.see(now, &Sight::Answered(node, answer));
    }

    fn event(&mut self, now: Instant, node: NodeId, event: &Event<'_>) {
        if let Event::Finished { result, .. } = event {
            self.fire("call-completed", result.is_ok().into());
            self.fire("call-failed", result.is_err().into());
        }
        let moved = matches!(event, Event::Moved { result: Ok(()), .. });
        self.fire("call-moved", moved.into());
        self.see(now, &Sight::Event(node, event));
    }

    fn rested(&mut self, now: Instant, node: &Node) {
        self.see(now, &Sight::Rested(node));
    }
}
