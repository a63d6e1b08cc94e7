//! Reports: a node that starts after a crash reports it to its registry, which tells its user.

use alloc::vec::Vec;

use nimblenet_tasklet::NodeId;

use super::post::Post;
use crate::queue::Queue;
use crate::wire::{Message, Report};

/// A report is repeated with this many hellos, since nobody confirms it.
const REPEATS: u8 = 4;
/// How many reports are remembered, so that the user hears each once.
const REMEMBERED: usize = 16;

/// Reports that go out and come in.
#[derive(Debug)]
pub(in crate::node) struct Reports {
    own: Vec<u8>,
    /// How often the node's own report must still be sent.
    repeats: u8,
    heard: Vec<u8>,
    heard_from: Option<NodeId>,
    remembered: Queue<(NodeId, u32)>,
}

impl Reports {
    /// Room for one report of its own or, at a registry, for those of others.
    pub(in crate::node) fn new(is_registry: bool) -> Self {
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
            remembered: Queue::with_capacity(if is_registry { REMEMBERED } else { 0 }),
        }
    }

    /// Takes the node's own report. A registry does not report.
    pub(in crate::node) fn set_own(&mut self, report: &Report<'_>) {
        if self.own.capacity() >= report.len() {
            self.own.clear();
            self.own.resize(report.len(), 0);
            report.write(&mut self.own);
            self.repeats = REPEATS;
        }
    }

    /// Sends the node's own report to `registry` after a hello: the neighbours know the node by
    /// then, and so a route for the report.
    pub(in crate::node) fn handle_hello(&mut self, post: &mut Post<'_>, registry: Option<NodeId>) {
        let Some(left) = self.repeats.checked_sub(1) else {
            return;
        };
        if let (Some(registry), Ok(report)) = (registry, Report::read(&self.own)) {
            post.send(registry, Message::Report(report));
        }
        self.repeats = left;
    }

    /// Takes a report of another node.
    pub(in crate::node) fn handle_report(&mut self, origin: NodeId, report: &Report<'_>) {
        let key = (origin, report.number);
        if self.heard.capacity() < report.len() || self.remembered.contains(&key) {
            return;
        }
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(key);
        self.heard.clear();
        self.heard.resize(report.len(), 0);
        report.write(&mut self.heard);
        self.heard_from = Some(origin);
    }

    /// Whether there is a report that the user has not heard.
    pub(in crate::node) fn has_news(&self) -> bool {
        self.heard_from.is_some()
    }

    /// The report that the user has not heard.
    pub(in crate::node) fn poll_news(&mut self) -> Option<(NodeId, Report<'_>)> {
        let from = self.heard_from.take()?;
        Some((from, Report::read(&self.heard).ok()?))
    }
}

#[cfg(test)]
mod tests;
