//! What waits is passed by what is more urgent alone, and nothing waits for ever (spec/behaviour.md,
//! section 18).

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use nimblenet_core::{Awaited, CallId, Event, Instant, Node, Priority, Standing};
use nimblenet_tasklet::{NodeId, Work};

use super::result::token;
use super::{Asked, Checker, Finding, Sight};
use crate::swarm::trial::{Trial, What};

/// What waits counts as of the next higher priority after each such time.
const RISES_AFTER: Duration = Duration::from_secs(30);
/// A call counts as due after this time at the latest.
const DUE_WITHIN: Duration = Duration::from_secs(60);
/// Nodes look for what has risen so often.
const LOOKED_FOR: Duration = Duration::from_secs(1);

/// A call of a node's client that the node may run itself.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    token: u32,
    priority: Priority,
    asked: Instant,
    due: Instant,
}

impl Waiter {
    /// Its place among those that wait for the same once it has waited for so long: what is less comes
    /// first.
    fn urgency(&self, call: CallId, waited: Duration) -> Urgency {
        let levels = Priority::ALL;
        let own = levels.iter().position(|level| *level == self.priority);
        let risen = waited.as_micros() / RISES_AFTER.as_micros();
        let class = (own.unwrap_or_default() + risen as usize).min(levels.len() - 1);
        (Reverse(class), self.due, (self.asked, call))
    }
}

/// The order of calls.
type Urgency = (Reverse<usize>, Instant, (Instant, CallId));

/// What the calls of a node wait for.
type Lines = BTreeMap<CallId, Awaited>;

/// What is known of a node: it acts, and has rested when nothing more follows from that.
#[derive(Default)]
struct Watched {
    /// Its clients' calls that it may run.
    calls: BTreeMap<CallId, Waiter>,
    /// Those of them that have come since it has rested last, or by what it did then.
    newly: Vec<CallId>,
    /// Who has waited when it had rested the time before, and the last time.
    before: Lines,
    last: Lines,
    /// How often it has rested.
    rests: u64,
}

/// Compares who leaves a line with those that stay in it.
#[derive(Default)]
pub(super) struct Starved {
    /// Nodes whose clocks go wrong: they measure other times.
    wrong: BTreeSet<NodeId>,
    nodes: BTreeMap<NodeId, Watched>,
    /// Tokens of calls that were made: one with another's token waits for the end of that one.
    made: BTreeSet<u32>,
    /// Where each call has begun to run, and how often that node had rested before.
    begun: BTreeMap<u32, (NodeId, u64)>,
}

impl Starved {
    fn begins(&mut self, trial: &Trial) {
        let wrong = trial.incidents.iter().filter_map(|incident| {
            let What::Clock { node, .. } = incident.what else {
                return None;
            };
            Some(NodeId(node))
        });
        self.wrong = wrong.collect();
    }

    fn asked(&mut self, now: Instant, asked: &Asked) {
        let (Ok(call), Some((priority, deadline))) = (asked.taken, asked.urgency) else {
            return;
        };
        let is_first = self.made.insert(asked.token);
        if !is_first || self.wrong.contains(&asked.node) {
            return;
        }
        let waiter = Waiter {
            token: asked.token,
            priority,
            asked: now,
            due: now + deadline.min(DUE_WITHIN),
        };
        let own = self.nodes.entry(asked.node).or_default();
        own.calls.insert(call, waiter);
        own.newly.push(call);
    }

    fn rested(&mut self, now: Instant, node: &Node) -> Finding {
        let own = self.nodes.entry(node.id()).or_default();
        let lines = match own.calls.is_empty() {
            true => Lines::default(),
            false => node.awaiting().collect(),
        };
        let newly = core::mem::take(&mut own.newly);
        own.before = core::mem::replace(&mut own.last, lines);
        own.rests += 1;
        let (own, begun) = (&*own, &self.begun);
        let begins = |call: &Waiter| begun.get(&call.token).copied();
        for (id, stays) in &own.calls {
            let Some(awaited) = own.last.get(id).copied() else {
                continue;
            };
            if begins(stays).is_some() {
                continue;
            }
            let was = |lines: &Lines, call: &CallId| lines.get(call) == Some(&awaited);
            if !was(&own.before, id) {
                continue;
            }
            let waited = |now: Instant| (now - stays.asked).saturating_sub(LOOKED_FOR);
            for (other, goes) in &own.calls {
                // One that has just come stood in no line before.
                let is_new = newly.contains(other);
                let (at, rests) = match is_new {
                    true => (goes.asked, own.rests.wrapping_sub(2)),
                    false => (now, own.rests.wrapping_sub(1)),
                };
                let in_line = is_new && !newly.contains(id) || was(&own.before, other);
                if !in_line || was(&own.last, other) {
                    continue;
                }
                let is_urgent =
                    goes.urgency(*other, at - goes.asked) < stays.urgency(*id, waited(at));
                let has_begun = begins(goes) == Some((node.id(), rests));
                if !is_urgent && goes_on(node, *other, awaited, has_begun) {
                    return Err(format!(
                        "call {} of node {} is passed by call {}, and both wait for {awaited:?}",
                        stays.token,
                        node.id().0,
                        goes.token
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether a call has got what it has waited for.
fn goes_on(node: &Node, call: CallId, awaited: Awaited, has_begun: bool) -> bool {
    let mut calls = node.calls().filter(|it| {
        let runs = matches!(it.standing, Standing::Waiting | Standing::Running);
        it.call == call && it.caller.is_none() && runs
    });
    match awaited {
        Awaited::Executor => has_begun,
        Awaited::Place => calls.next().is_some(),
        // What is on its stack has room.
        Awaited::Room => calls.any(|it| it.depth > 0),
    }
}

impl Checker for Starved {
    fn see(&mut self, now: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Begins(trial) => self.begins(trial),
            Sight::Asked(asked) => self.asked(now, asked),
            Sight::Worked(node, Work::Start(start)) if start.parent.is_none() => {
                if let Some(token) = token(start.args) {
                    let rests = self.nodes.get(node).map_or(0, |own| own.rests);
                    self.begun.entry(token).or_insert((*node, rests));
                }
            }
            Sight::Event(node, Event::Finished { call, .. }) => {
                if let Some(own) = self.nodes.get_mut(node) {
                    own.calls.remove(call);
                }
            }
            Sight::Rested(node) => return self.rested(now, node),
            Sight::Down(node) => {
                self.nodes.remove(node);
            }
            _ => {}
        }
        Ok(())
    }
}
