//! The story of one call: what its node acquired for it from whom, what ran when, and the waits in
//! between.

use std::collections::BTreeMap;

use core::iter::once;
use core::time::Duration;

use nimblenet_core::wire::{Message, Object};
use nimblenet_core::{CallId, Event, Instant, Node, Standing, Step};
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
    /// None until its node has said it.
    id: Option<CallId>,
    chain: TaskletName,
    begun: Instant,
}

/// A run of a tasklet at some node.
#[derive(Clone, PartialEq, Debug)]
struct Activation {
    node: NodeId,
    id: ActivationId,
    /// The call of that node for which it runs; none until the node has come to rest.
    call: Option<CallId>,
    /// Whether another tasklet called it.
    called: bool,
    name: TaskletName,
    spans: Vec<(Instant, Instant)>,
}

impl Activation {
    /// When it was over, as far as it is by then.
    fn over(&self, now: Instant) -> Option<Instant> {
        let end = self.spans.last().map(|span| span.1);
        end.filter(|to| *to <= now)
    }
}

/// A request for a call that the followed call's node has sent to another.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Request {
    /// Its number.
    number: u32,
    /// The node that is asked first.
    to: NodeId,
    /// The call for which it was sent; none until its node has come to rest.
    call: Option<CallId>,
}

/// Follows one call. Other calls run at the same time, so everything that runs meanwhile is noted, and
/// what belongs to the call is chosen in the end.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Follower {
    call: Option<Call>,
    activations: Vec<Activation>,
    /// Calls of the same chain that its node has given away.
    requests: Vec<Request>,
    /// The calls of its node that others run, with those.
    away: BTreeMap<CallId, NodeId>,
    /// Requests of its node that have just reached another.
    arrived: Vec<(NodeId, u32)>,
    /// The calls that other nodes have made of requests.
    taken: BTreeMap<(NodeId, CallId), u32>,
    /// Calls of its node that have ended before it has said which one is followed.
    early: Vec<(CallId, Followed)>,
    /// The modules that its node asked for, by the numbers of the requests.
    fetches: BTreeMap<u16, TaskletRef>,
    holders: BTreeMap<TaskletRef, NodeId>,
    followed: Option<Followed>,
}

impl Follower {
    pub(crate) fn followed(&self) -> Option<&Followed> {
        self.followed.as_ref()
    }

    /// The call to follow is about to be made: what follows from it may happen before its node says which
    /// it is.
    pub(crate) fn expect(&mut self, now: Instant, node: NodeId, chain: TaskletName) {
        self.call = Some(Call {
            node,
            id: None,
            chain,
            begun: now,
        });
    }

    /// The node has taken the call, or refused it.
    pub(crate) fn called(&mut self, now: Instant, taken: Result<CallId, Fault>) {
        let Some(call) = &mut self.call else {
            return;
        };
        match taken {
            Ok(id) => {
                call.id = Some(id);
                let mut early = core::mem::take(&mut self.early).into_iter();
                let ended = early.find(|(ended, _)| *ended == id);
                self.followed = ended.map(|(_, followed)| followed);
            }
            Err(fault) => self.end(now, fault),
        }
    }

    /// A node goes down with the calls that it had taken.
    pub(crate) fn lost(&mut self, now: Instant, node: NodeId) {
        if self.following().is_some_and(|call| call.node == node) {
            self.end(now, Fault::Unreachable);
        }
    }

    /// The call has ended without a word of its node.
    fn end(&mut self, now: Instant, fault: Fault) {
        if let Some(call) = self.following() {
            self.followed = Some(self.story(&call, now, Err(fault), &[]));
        }
    }

    fn following(&self) -> Option<Call> {
        self.call.filter(|_| self.followed.is_none())
    }

    /// A node has put a frame on a link.
    pub(crate) fn sent(&mut self, passing: &Passing<'_>) {
        let (Some(call), Some(frame)) = (self.following(), passing.frame) else {
            return;
        };
        if frame.origin != call.node || passing.node != call.node {
            return;
        }
        if let Message::Fetch(fetch) = &frame.message
            && let Object::Module(tasklet) = fetch.object
        {
            self.fetches.insert(fetch.request, tasklet);
        }
        if let Message::Call(asked) = &frame.message
            && asked.name == call.chain
            && self.requests.iter().all(|it| it.number != asked.request)
        {
            self.requests.push(Request {
                number: asked.request,
                to: frame.destination,
                call: None,
            });
        }
    }

    /// A frame has reached a node.
    pub(crate) fn received(&mut self, passing: &Passing<'_>) {
        let (Some(call), Some(frame)) = (self.following(), passing.frame) else {
            return;
        };
        if frame.destination != passing.node {
            return;
        }
        if let Message::Data(data) = &frame.message
            && passing.node == call.node
            && let Some(tasklet) = self.fetches.get(&data.request)
        {
            self.holders.insert(*tasklet, frame.origin);
        }
        if let Message::Call(asked) = &frame.message
            && frame.origin == call.node
            && asked.name == call.chain
        {
            self.arrived.push((passing.node, asked.request));
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
                    call: None,
                    called: start.parent.is_some(),
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

    /// A node has done all that follows from what has happened: it says now which of its calls what is
    /// for.
    pub(crate) fn rested(&mut self, now: Instant, node: &Node) {
        let Some(own) = self.following() else {
            return;
        };
        let new = self.activations.iter_mut().rev();
        // All of earlier moments are known.
        let new = new.take_while(|it| it.spans.first().is_none_or(|span| span.0 == now));
        for activation in new.filter(|it| it.node == node.id() && it.call.is_none()) {
            activation.call = node.running_call(activation.id);
        }
        if node.id() == own.node {
            self.note_away(node, own.chain);
        }
        let arrived = self.arrived.extract_if(.., |(at, _)| *at == node.id());
        for (_, request) in arrived.collect::<Vec<_>>() {
            let theirs = node.calls().filter(|it| {
                let is_own = it.caller == Some(own.node) && it.name == Some(own.chain);
                is_own && !self.taken.contains_key(&(node.id(), it.call))
            });
            // One that it has passed on, or had before, is not among them.
            let newest = theirs.max_by_key(|it| it.call);
            if let Some(newest) = newest.filter(|it| it.accepted == now) {
                self.taken.insert((node.id(), newest.call), request);
            }
        }
    }

    /// Notes for which of its calls the followed call's node has sent requests.
    fn note_away(&mut self, node: &Node, chain: TaskletName) {
        let calls = node.calls().filter(|it| it.name == Some(chain));
        let away = calls.filter_map(|it| match it.standing {
            Standing::At(other) => Some((it.call, other)),
            Standing::Waiting | Standing::Queued | Standing::Running | Standing::Moving => None,
        });
        let away: BTreeMap<CallId, NodeId> = away.collect();
        for request in self.requests.iter_mut().filter(|it| it.call.is_none()) {
            // Older ones may have been away before the call was made.
            let gone = away.iter().rev().find(|(call, other)| {
                **other == request.to && self.away.get(*call) != Some(*other)
            });
            request.call = gone.map(|(call, _)| *call);
            self.away.extend(gone);
        }
        self.away = away;
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
        if node != own.node || own.id.is_some_and(|id| id != *call) {
            return;
        }
        let own = Call {
            id: Some(*call),
            ..own
        };
        let story = self.story(&own, now, result.map(drop), steps);
        match self.call.and_then(|call| call.id) {
            Some(_) => {
                self.followed = Some(story);
                self.activations = Vec::new();
            }
            None => self.early.push((*call, story)),
        }
    }

    /// What is known of the call when it ends.
    fn story(
        &self,
        own: &Call,
        now: Instant,
        result: Result<(), Fault>,
        steps: &[Step],
    ) -> Followed {
        let root = self.root(own, now);
        let acquired = steps.iter().map(|step| Acquisition {
            step: *step,
            holder: self.holders.get(&step.tasklet).copied(),
        });
        Followed {
            node: own.node,
            chain: own.chain,
            begun: own.begun,
            ended: now,
            fault: result.err(),
            steps: acquired.collect(),
            ran_on: root.map_or(own.node, |root| root.node),
            spans: root.map_or_else(Vec::new, |root| self.spans(root, now)),
        }
    }

    /// Whether an activation runs for the call: at its node, or at one that was asked for it.
    fn is_of(&self, own: &Call, activation: &Activation) -> bool {
        let Some(call) = activation.call else {
            return false;
        };
        if activation.node == own.node {
            return own.id == Some(call);
        }
        let request = self.taken.get(&(activation.node, call));
        let mut asked = self.requests.iter().filter(|it| it.call == own.id);
        request.is_some_and(|number| asked.any(|it| it.number == *number))
    }

    /// The run of the call's chain that ended last, or else began last.
    fn root(&self, own: &Call, now: Instant) -> Option<&Activation> {
        let chains = self.activations.iter().filter(|it| !it.called);
        let own = chains.filter(|it| self.is_of(own, it));
        own.max_by_key(|it| it.over(now))
    }

    /// What ran of a chain and of those that it called, by time.
    fn spans(&self, root: &Activation, now: Instant) -> Vec<Span> {
        let activations = self.activations.iter();
        let own = activations.filter(|it| it.node == root.node && it.call == root.call);
        let spans = own.flat_map(|it| {
            it.spans.iter().map(|(from, to)| Span {
                tasklet: it.name,
                called: it.called,
                from: *from,
                to: (*to).min(now),
            })
        });
        let mut spans: Vec<Span> = spans.collect();
        spans.sort_by_key(|span| (span.from, span.to));
        spans
    }
}
