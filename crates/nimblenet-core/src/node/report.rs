//! Reports: a node that starts after a crash tells its registry, which tells its user.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use nimblenet_tasklet::NodeId;

use super::Node;
use crate::time::Instant;
use crate::wire::{Message, Report};

/// A report is sent with this many hellos, since nobody confirms it.
const REPEATS: u8 = 4;
/// Reports that are remembered, so that each is told once.
const REMEMBERED: usize = 16;

/// Reports that go out and come in.
#[derive(Debug)]
pub(super) struct Reports {
    own: Vec<u8>,
    /// How often the own report is yet to be sent.
    repeats: u8,
    heard: Vec<u8>,
    heard_from: Option<NodeId>,
    remembered: VecDeque<(NodeId, u32)>,
}

impl Reports {
    /// Room for one report of its own or, at a registry, for those of others.
    pub(super) fn new(is_registry: bool) -> Self {
        let (own, heard) = if is_registry {
            (0, Report::MAX_LEN)
        } else {
            (Report::MAX_LEN, 0)
        };
        Self {
            own: Vec::with_capacity(own),
            repeats: 0,
            heard: Vec::with_capacity(heard),
            heard_from: None,
            remembered: VecDeque::with_capacity(if is_registry { REMEMBERED } else { 0 }),
        }
    }

    /// Whether there is a report that nobody was told of.
    pub(super) fn waits(&self) -> bool {
        self.heard_from.is_some()
    }

    /// What came in since the last time.
    pub(super) fn take(&mut self) -> Option<(NodeId, Report<'_>)> {
        let from = self.heard_from.take()?;
        Some((from, Report::read(&self.heard).ok()?))
    }
}

impl Node {
    /// Tells the registry of the node's first namespace how the program before this one ended. A
    /// registry does not report.
    pub fn report(&mut self, report: &Report<'_>) {
        let reports = &mut self.reports;
        if reports.own.capacity() >= report.len() {
            reports.own.clear();
            reports.own.resize(report.len(), 0);
            report.write(&mut reports.own);
            reports.repeats = REPEATS;
        }
    }

    /// A hello was sent: neighbours know the node, so a report has a way.
    pub(super) fn send_report(&mut self, now: Instant) {
        let Self {
            reports,
            subscriptions,
            mesh,
            counters,
            ..
        } = self;
        let Some(left) = reports.repeats.checked_sub(1) else {
            return;
        };
        let registry = subscriptions.first().map(|held| held.config.registry);
        if let (Some(registry), Ok(report)) = (registry, Report::read(&reports.own)) {
            mesh.send(now, registry, Message::Report(report), counters);
        }
        reports.repeats = left;
    }

    /// Another node reports.
    pub(super) fn hear_report(&mut self, origin: NodeId, report: &Report<'_>) {
        let reports = &mut self.reports;
        let key = (origin, report.number);
        if reports.heard.capacity() < report.len() || reports.remembered.contains(&key) {
            return;
        }
        if reports.remembered.len() == REMEMBERED {
            reports.remembered.pop_front();
        }
        reports.remembered.push_back(key);
        reports.heard.clear();
        reports.heard.resize(report.len(), 0);
        report.write(&mut reports.heard);
        reports.heard_from = Some(origin);
    }
}
