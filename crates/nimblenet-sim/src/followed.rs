//! The story of one call: what its node acquired for it from whom, what ran when, and the waits in
//! between.

use std::collections::BTreeMap;

use core::iter::once;
use core::time::Duration;

use nimblenet_core::wire::{Message, Object};
use nimblenet_core::{CallId, Event, Instant, Step};
use nimblenet_tasklet::{ActivationId, Fault, NodeId, TaskletName, TaskletRef, Work};

use crate::engine::Passing;

/// A call that was followed to its end.
#[derive(Clone, PartialEq, Debug)]
pub struct Followed {
    /// The node that took it.
    pub node: NodeId,
    /// Its chain.
    pub chain: TaskletName,
    /// When it was made.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The fault that it ended with, if it has no result.
    pub fault: Option<Fault>,
    /// What its node acquired for it, in order.
    pub steps: Vec<Acquisition>,
    /// The node that it ran on.
    pub ran_on: NodeId,
    /// What ran, in order.
    pub spans: Vec<Span>,
}

/// A tasklet that was acquired for a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquisition {
    /// What the node says of it.
    pub step: Step,
    /// The node that sent its module while the call was followed.
    pub holder: Option<NodeId>,
}

/// A time in which one tasklet of a call ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The tasklet.
    pub tasklet: TaskletName,
    /// Whether another tasklet called it.
    pub called: bool,
    /// When it began.
    pub from: Instant,
    /// When it was over.
    pub to: Instant,
}

impl Followed {
    /// The times in which nothing of the call ran: a module, the call or its result was on its way, or no
    /// executor was free.
    pub fn waits(&self) -> impl Iterator<Item = (Instant, Instant)> + '_ {
        let ends = once(self.begun).chain(self.spans.iter().map(|span| span.to));
        let begins = self.spans.iter().map(|span| span.from);
        let gaps = ends.zip(begins.chain(once(self.ended)));
        gaps.filter(|(from, to)| from < to)
    }
}

/// The call that is followed.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Call {
    node: NodeId,
    id: CallId,
    chain: TaskletName,
    begun: Instant,
}

/// A run of a tasklet at some node.
#[derive(Clone, PartialEq, Debug)]
struct Activation {
    node: NodeId,
    id: ActivationId,
    parent: Option<ActivationId>,
    name: TaskletName,
    spans: Vec<(Instant, Instant)>,
}

/// Follows one call. Other calls run at the same time, so everything that runs meanwhile is noted, and
/// what belongs to the call is chosen in the end.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Follower {
    call: Option<Call>,
    activations: Vec<Activation>,
    /// The modules that its node asked for, by the numbers of the requests.
    requests: BTreeMap<u16, TaskletRef>,
    holders: BTreeMap<TaskletRef, NodeId>,
    followed: Option<Followed>,
}

impl Follower {
    pub(crate) fn followed(&self) -> Option<&Followed> {
        self.followed.as_ref()
    }

    /// The call to follow was made.
    pub(crate) fn called(&mut self, now: Instant, node: NodeId, id: CallId, chain: TaskletName) {
        let begun = now;
        self.call = Some(Call {
            node,
            id,
            chain,
            begun,
        });
    }

    fn following(&self) -> Option<Call> {
        self.call.filter(|_| self.followed.is_none())
    }

    /// A node has put a frame on a link.
    pub(crate) fn sent(&mut self, passing: &Passing<'_>) {
        let (Some(call), Some(frame)) = (self.following(), passing.frame) else {
            return;
        };
        if let Message::Fetch(fetch) = &frame.message
            && let Object::Module(tasklet) = fetch.object
            && frame.origin == call.node
        {
            self.requests.insert(fetch.request, tasklet);
        }
    }

    /// A frame has reached a node.
    pub(crate) fn received(&mut self, passing: &Passing<'_>) {
        let (Some(call), Some(frame)) = (self.following(), passing.frame) else {
            return;
        };
        if let Message::Data(data) = &frame.message
            && frame.destination == call.node
            && passing.node == call.node
            && let Some(tasklet) = self.requests.get(&data.request)
        {
            self.holders.insert(*tasklet, frame.origin);
        }
    }

    /// An executor took up work that lasts so long.
    pub(crate) fn worked(&mut self, now: Instant, node: NodeId, work: &Work<'_>, time: Duration) {
        if self.following().is_none() {
            return;
        }
        let id = match work {
            Work::Start(start) => {
                self.activations.push(Activation {
                    node,
                    id: start.activation,
                    parent: start.parent,
                    name: start.name,
                    spans: Vec::new(),
                });
                start.activation
            }
            Work::Resume { activation, .. } | Work::Continue { activation } => *activation,
            Work::Freeze { .. } | Work::Thaw { .. } | Work::Stop { .. } | Work::Verify { .. } => {
                return;
            }
        };
        let mut known = self.activations.iter_mut().rev();
        if let Some(activation) = known.find(|it| it.node == node && it.id == id) {
            activation.spans.push((now, now + time));
        }
    }

    /// A node told its user something.
    pub(crate) fn event(&mut self, now: Instant, node: NodeId, event: &Event<'_>) {
        let (
            Some(own),
            Event::Finished {
                call,
                result,
                steps,
                ..
            },
        ) = (self.following(), event)
        else {
            return;
        };
        if (node, *call) != (own.node, own.id) {
            return;
        }
        let root = self.root(&own, now);
        let spans = root.map_or_else(Vec::new, |root| self.spans(root, now));
        let acquired = steps.iter().map(|step| Acquisition {
            step: *step,
            holder: self.holders.get(&step.tasklet).copied(),
        });
        self.followed = Some(Followed {
            node,
            chain: own.chain,
            begun: own.begun,
            ended: now,
            fault: result.err(),
            steps: acquired.collect(),
            ran_on: root.map_or(node, |root| root.node),
            spans,
        });
        self.activations = Vec::new();
    }

    /// The run of the call's chain: that which has just ended at its node, or else the last one that
    /// ended somewhere; of a call that failed, the last one that began at its node.
    fn root(&self, own: &Call, now: Instant) -> Option<&Activation> {
        let chains = self.activations.iter();
        let chains = chains.filter(|it| it.parent.is_none() && it.name == own.chain);
        let over = |it: &Activation| it.spans.last().map(|span| span.1).filter(|to| *to <= now);
        let mut here = chains.clone().filter(|it| it.node == own.node);
        let just = here.clone().find(|it| over(it) == Some(now));
        just.or_else(|| {
            chains
                .filter(|it| it.node != own.node)
                .max_by_key(|it| over(it))
        })
        .or_else(|| here.next_back())
    }

    /// What ran of a chain and of those that it called, by time.
    fn spans(&self, root: &Activation, now: Instant) -> Vec<Span> {
        let own = self.activations.iter().filter(|it| {
            let is_root = it.parent.is_none() && it.id == root.id;
            it.node == root.node && (is_root || it.parent == Some(root.id))
        });
        let spans = own.flat_map(|it| {
            it.spans.iter().map(|(from, to)| Span {
                tasklet: it.name,
                called: it.parent.is_some(),
                from: *from,
                to: (*to).min(now),
            })
        });
        let mut spans: Vec<Span> = spans.collect();
        spans.sort_by_key(|span| (span.from, span.to));
        spans
    }
}
