//! The flows that clients have begun at this node, and what has arrived of those that end here.

use alloc::collections::{BTreeMap, VecDeque};

use nimblenet_core::{
    Feed, FlowError, FlowId, FlowStatus, Instant, OperatorStatus, SinkStatus, StageKind,
};
use nimblenet_tasklet::api::Problem;
use nimblenet_tasklet::{Fault, Name, NamespaceId, NodeId, TaskletName};

use super::api::{Answer, Refused, Reply};
use super::run::Service;
use crate::flow::Plan;

/// Items of a flow that are kept for clients.
const MAX_ITEMS: usize = 1024;
/// Items that are listed at a time.
const MAX_LISTED: usize = 256;

/// An item at the sink of its flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Item {
    /// Its number; items are numbered from 1 since the node takes the flow.
    pub(crate) number: u64,
    /// When it came.
    pub(crate) at: Instant,
    /// The node that it comes from.
    pub(crate) source: NodeId,
    /// The first item of that source that it covers.
    pub(crate) first: u32,
    /// The last one.
    pub(crate) last: u32,
    /// Its value in CBOR, or why an operator has failed.
    pub(crate) result: Result<Vec<u8>, Fault>,
}

/// A flow at this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FlowSummary {
    /// Its name.
    pub(crate) name: Name,
    /// Its number in frames.
    pub(crate) id: FlowId,
    /// The node that its items are for.
    pub(crate) sink: NodeId,
    /// How it stands here as its source.
    pub(crate) source: Option<FlowStatus>,
    /// How it stands here as its sink.
    pub(crate) taken: Option<SinkStatus>,
}

/// The flows of a node, and what its operators have done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FlowList {
    pub(crate) node: NodeId,
    pub(crate) flows: Vec<FlowSummary>,
    pub(crate) operators: Vec<OperatorStatus>,
}

/// The flows that clients have begun.
#[derive(Default, Debug)]
pub(super) struct Flows(BTreeMap<Name, Begun>);

#[derive(Debug)]
struct Begun {
    plan: Plan,
    /// What has come, if the flow ends here: the newest items.
    items: VecDeque<Item>,
    /// The number of the last one.
    last: u64,
}

impl Flows {
    /// Keeps an item for clients, under the next number. The oldest is forgotten first.
    pub(super) fn note(&mut self, flow: FlowId, mut item: Item) {
        let mut begun = self.0.iter_mut();
        let Some((_, begun)) = begun.find(|(name, _)| FlowId::of(name) == flow) else {
            return;
        };
        begun.last += 1;
        item.number = begun.last;
        if begun.items.len() == MAX_ITEMS {
            begun.items.pop_front();
        }
        begun.items.push_back(item);
    }
}

impl Begun {
    /// The items after number `from`, oldest first. If there is no such number yet, the node has started
    /// since the reader heard of it: all items.
    fn after(&self, from: u64) -> Vec<Item> {
        let from = if from > self.last { 0 } else { from };
        let first = self.items.partition_point(|item| item.number <= from);
        self.items
            .range(first..)
            .take(MAX_LISTED)
            .cloned()
            .collect()
    }
}

impl Service {
    /// Begins a flow, or ends it here if this node is its sink. The plan that it has already changes
    /// nothing, and another one is refused.
    pub(super) fn begin_flow(&mut self, name: Name, plan: Plan, answer: Answer) {
        let id = FlowId::of(&name);
        if let Some(begun) = self.flows.0.get(&name) {
            answer.give(match begun.plan == plan {
                true => Reply::FlowChanged,
                false => self.flow_problem(&name, Problem::FlowDiffers),
            });
            return;
        }
        let mut others = self.flows.0.keys();
        if let Some(other) = others.find(|other| FlowId::of(other) == id) {
            let message = format!("flow {name} has the short identifier of flow {other}");
            answer.give(Refused::new(Problem::FlowClash, message));
            return;
        }
        let begun = match plan.sink == self.node.id() {
            true => self.node.take_flow(id),
            false => {
                let now = self.clock.now();
                self.node.begin_flow(now, &plan.named(name)).map(drop)
            }
        };
        if let Err(error) = begun {
            let refused = if let FlowError::Tasklet(tasklet, Fault::WrongSignature) = error {
                self.unfit(&name, &plan, tasklet)
            } else {
                self.flow_refused(&name, error)
            };
            answer.give(refused);
            return;
        }
        tracing::info!(flow = %name, sink = plan.sink.0, "a flow begins");
        let begun = Begun {
            plan,
            items: VecDeque::new(),
            last: 0,
        };
        self.flows.0.insert(name, begun);
        answer.give(Reply::FlowChanged);
        self.drain();
    }

    /// Ends a flow of this node.
    pub(super) fn end_flow(&mut self, name: &Name, answer: Answer) {
        if self.flows.0.remove(name).is_none() {
            answer.give(self.flow_refused(name, FlowError::UnknownFlow));
            return;
        }
        if let Err(error) = self.node.end_flow(FlowId::of(name)) {
            tracing::error!(flow = %name, error = error.code(), "the node has not got it");
        }
        tracing::info!(flow = %name, "a flow has ended");
        answer.give(Reply::FlowEnded);
        self.drain();
    }

    /// Takes an item of a client.
    pub(super) fn give_item(&mut self, name: &Name, value: &[u8], answer: Answer) {
        let now = self.clock.now();
        match self.node.give(now, FlowId::of(name), value) {
            Ok(_) => {
                answer.give(Reply::FlowChanged);
                self.drain();
            }
            Err(error) => answer.give(self.flow_refused(name, error)),
        }
    }

    /// Lists the flows of this node and what its operators have done.
    pub(super) fn flow_list(&self) -> Reply {
        let flows = self.flows.0.iter().map(|(name, begun)| {
            let id = FlowId::of(name);
            FlowSummary {
                name: *name,
                id,
                sink: begun.plan.sink,
                source: self.node.flows().find(|status| status.flow == id),
                taken: self.node.taken_flows().find(|status| status.flow == id),
            }
        });
        Reply::Flows(Box::new(FlowList {
            node: self.node.id(),
            flows: flows.collect(),
            operators: self.node.operators().collect(),
        }))
    }

    /// Lists what has arrived of a flow that ends here after number `from`.
    pub(super) fn items(&self, name: &Name, from: u64) -> Reply {
        match self.flows.0.get(name) {
            Some(begun) if begun.plan.sink == self.node.id() => Reply::Items(begun.after(from)),
            Some(begun) => {
                let message = format!(
                    "flow {name} begins at node {}, its items are at node {}; ask that one",
                    self.node.id(),
                    begun.plan.sink
                );
                Refused::new(Problem::UnknownFlow, message).into()
            }
            None => self.flow_refused(name, FlowError::UnknownFlow),
        }
    }

    /// Why a flow cannot begin here, or an item is not taken: where, what, and what to do.
    fn flow_refused(&self, name: &Name, error: FlowError) -> Reply {
        let problem = match error {
            FlowError::Tasklet(tasklet, fault) => {
                let place = format!("{tasklet} of flow {name} at node {}", self.node.id());
                let (fault, detail) = self.not_found(tasklet.namespace, fault);
                return Reply::refused_call(fault, place, detail);
            }
            FlowError::TooManyFlows => Problem::TooManyFlows,
            FlowError::TooManyStages => Problem::TooManyStages,
            FlowError::BadCount => Problem::BadCount,
            FlowError::BadPeriod => Problem::BadPeriod,
            FlowError::UnknownFlow => Problem::UnknownFlow,
            FlowError::TooLong => Problem::ItemTooLong,
            FlowError::Full => Problem::FlowFull,
            FlowError::NotAValue => Problem::NotAValue,
            _ => Problem::BadPlan,
        };
        self.flow_problem(name, problem)
    }

    /// Why a tasklet is not found, and what that does not say: a node that has started a moment ago has no
    /// catalogue yet.
    fn not_found(&self, namespace: Name, fault: Fault) -> (Fault, Option<String>) {
        let catalogue = self.node.catalogue(NamespaceId::of(&namespace));
        let is_there = catalogue.is_none_or(|held| held.epoch() > 0);
        if is_there || fault != Fault::UnknownTasklet {
            return (fault, None);
        }
        let of = self.facts.namespaces.get(&namespace);
        let detail = of.map(|it| format!("the registry of {namespace} is node {}", it.registry));
        (Fault::NoCatalogue, detail)
    }

    /// The refusal of a plan in which the signature of `tasklet` does not fit its stage: what the stage wants,
    /// and what there is.
    fn unfit(&self, name: &Name, plan: &Plan, tasklet: TaskletName) -> Reply {
        let is_fed = matches!(plan.feed, Feed::Every { tasklet: fed, .. } if fed == tasklet);
        let kind = plan.operators.iter().find(|it| it.tasklet == tasklet);
        let wanted = match kind.filter(|_| !is_fed).map(|it| it.kind) {
            None => "the tasklet of a feed takes nothing and returns one value",
            Some(StageKind::Map) => "a map takes what comes in and returns one value",
            Some(StageKind::Filter) => "a filter takes what comes in and returns one bool",
            Some(StageKind::Window) => "a window takes one list and returns one value",
            Some(StageKind::Accumulate) => {
                "an accumulation takes a state and what comes in, and returns the next state"
            }
        };
        let catalogue = self.node.catalogue(NamespaceId::of(&tasklet.namespace));
        let entry = catalogue.and_then(|held| held.find(&tasklet.name));
        let there = match entry.and_then(|entry| entry.terms.signature("")) {
            Some(signature) => format!("its `run` is {signature}"),
            None => "it has no `run`".to_owned(),
        };
        let message = format!(
            "{tasklet} of flow {name} at node {}: {wanted}, but {there}; name a tasklet that fits the stage",
            self.node.id()
        );
        Reply::Unfit(Fault::WrongSignature, message)
    }

    fn flow_problem(&self, name: &Name, problem: Problem) -> Reply {
        let place = format!("flow {name} at node {}", self.node.id());
        let meaning = problem.meaning().trim().trim_end_matches('.');
        let message = format!("{place}: {meaning}; {}", problem.remedy());
        Refused::new(problem, message).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        Item {
            number: 0,
            at: Instant::ZERO,
            source: NodeId(3),
            first: 0,
            last: 7,
            result: Ok(vec![5]),
        }
    }

    #[test]
    fn a_reader_gets_the_oldest_that_it_has_not_seen_and_a_gap_tells_of_what_was_forgotten() {
        let name: Name = "vibration".parse().unwrap();
        let plan = Plan {
            sink: NodeId(1),
            feed: Feed::Given,
            operators: Vec::new(),
            at_sink: false,
            room: 1,
        };
        let begun = Begun {
            plan,
            items: VecDeque::new(),
            last: 0,
        };
        let mut flows = Flows([(name, begun)].into());
        let other = FlowId::of(&"other".parse().unwrap());
        flows.note(other, item());
        for _ in 0..MAX_ITEMS + 10 {
            flows.note(FlowId::of(&name), item());
        }
        let begun = &flows.0[&name];
        let ends = |from| {
            let items = begun.after(from);
            let last = items.last().map(|item| item.number);
            (items.first().map(|item| item.number), last, items.len())
        };
        assert_eq!(ends(0), (Some(11), Some(266), MAX_LISTED));
        assert_eq!(ends(1030), (Some(1031), Some(1034), 4));
        assert_eq!(ends(1034), (None, None, 0));
        // The sink has started since.
        assert_eq!(ends(9999).0, Some(11));
    }
}
