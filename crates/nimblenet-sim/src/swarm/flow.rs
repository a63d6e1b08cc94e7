//! A flow of a trial: between which nodes, with which operators, and what it must bring.

use core::time::Duration;
use std::collections::BTreeSet;

use nimblenet_core::{Feed, FlowId, FlowPlan, MAX_STAGES, StageKind, StagePlan};
use nimblenet_tasklet::{Name, NodeId, TaskletName};
use serde::{Deserialize, Serialize};

use super::deed::{Deed, digest, mix, passes, scale};
use super::goods;
use super::trial::no_node;
use crate::scenario::{BadScenario, must, within};
use crate::trace::duration;

/// Items that nodes of a trial with flows keep.
pub(super) const ITEMS: usize = 256;
/// Flows that begin or end at such a node.
pub(super) const FLOWS: usize = 4;
/// Operators that such a node has, and sources of flows that end there.
pub(super) const OTHERS: usize = 4 * FLOWS;
/// Items that wait for a map or a filter, or at the sink for an earlier one.
const WAITING: u32 = 16;

/// Items on their way from nodes to a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// When it begins, in seconds.
    pub at_s: f64,
    /// The node where items arrive.
    pub sink: u16,
    /// The nodes where they begin.
    pub sources: Vec<u16>,
    /// How many items each source keeps until the sink has them.
    pub room: u16,
    /// How many items each source is given.
    pub items: u32,
    /// The time from item to item, in seconds.
    pub every_s: f64,
    /// Whether a tasklet of each source makes the items, until the flow is stopped.
    #[serde(default, skip_serializing_if = "Flow::is_false")]
    pub sensed: bool,
    /// Whether nobody but the sink applies operators.
    #[serde(default, skip_serializing_if = "Flow::is_false")]
    pub at_sink: bool,
    /// Stop it after this time, in seconds; else it is stopped once all has arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after_s: Option<f64>,
    /// Its operators, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<Operator>,
}

/// An operator of a flow. Its kind is that for which its tasklet was made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The tasklet: `scale` maps, `pass` filters, `digest` has a window and `mix` accumulates. Those of calls
    /// map an item to itself.
    pub tasklet: String,
    /// How many inputs make one output.
    #[serde(default = "Operator::one", skip_serializing_if = "Operator::is_one")]
    pub count: u16,
}

impl Operator {
    const fn one() -> u16 {
        1
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    const fn is_one(count: &u16) -> bool {
        *count == 1
    }

    fn deed(&self) -> Deed {
        let name = self.tasklet.split_once('/').map(|(_, name)| name);
        name.map_or(Deed::Echo, goods::deed)
    }

    fn kind(&self) -> StageKind {
        match self.deed() {
            Deed::Echo | Deed::Scale | Deed::Sense => StageKind::Map,
            Deed::Pass => StageKind::Filter,
            Deed::Digest => StageKind::Window,
            Deed::Mix => StageKind::Accumulate,
        }
    }

    /// What it makes of its inputs, in which nothing stands for what a filter has dropped.
    fn apply(&self, inputs: &[Option<u32>]) -> Vec<Option<u32>> {
        let one = |input: &Option<u32>| match self.deed() {
            Deed::Pass => input.filter(|value| passes(*value)),
            Deed::Scale => input.map(scale),
            Deed::Echo | Deed::Digest | Deed::Mix | Deed::Sense => *input,
        };
        let block = |block: &[Option<u32>]| {
            let values: Vec<u32> = block.iter().flatten().copied().collect();
            let made = match self.deed() == Deed::Digest {
                true => digest(&values),
                false => values.iter().fold(0, |state, value| mix(state, *value)),
            };
            (!values.is_empty()).then_some(made)
        };
        match self.kind() {
            StageKind::Map | StageKind::Filter => inputs.iter().map(one).collect(),
            StageKind::Window | StageKind::Accumulate => {
                let blocks = inputs.chunks_exact(self.count.into());
                blocks.map(block).collect()
            }
        }
    }
}

impl Flow {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    const fn is_false(is: &bool) -> bool {
        !*is
    }

    /// The name of the flow with this place in the list.
    pub(super) fn name(at: usize) -> Name {
        Name::new(&format!("flow-{at}")).expect("a valid name")
    }

    /// The same, as events have it.
    pub(super) fn id(at: usize) -> FlowId {
        FlowId::of(&Self::name(at))
    }

    /// How many items of a source make one output.
    pub(super) fn span(&self) -> u32 {
        let counts = self.operators.iter().map(|it| u32::from(it.count));
        counts.fold(1, u32::saturating_mul)
    }

    /// The operators that a node may have for this flow at most, and the items that it may keep.
    fn needs(&self) -> (usize, u32) {
        let mut left = self.span();
        let inputs = self.operators.iter().map(|it| {
            let all = left;
            left /= u32::from(it.count);
            match it.kind().gathers() {
                true => all.max(2 * u32::from(it.count)),
                false => all.max(WAITING),
            }
        });
        let of_source = WAITING + inputs.sum::<u32>();
        let sources = self.sources.len();
        let operators = sources * self.operators.len().max(1);
        (operators, u32::from(self.room) + sources as u32 * of_source)
    }

    /// Whether a node has room for all that these flows may need there: without it, what comes is dropped and
    /// sent again, perhaps for ever.
    ///
    /// # Errors
    /// What is too much.
    pub(super) fn fit(flows: &[Self]) -> Result<(), String> {
        let needs = flows.iter().map(Self::needs);
        let (operators, items) = needs.fold((0, 0), |(operators, items), more| {
            (operators + more.0, items + more.1)
        });
        match operators <= OTHERS && items as usize <= ITEMS {
            true => Ok(()),
            false => Err(format!(
                "they may need {operators} operators and {items} items at a node; \
                 {OTHERS} and {ITEMS} can be"
            )),
        }
    }

    /// The time from item to item.
    pub(super) fn every(&self) -> Duration {
        duration(self.every_s)
    }

    /// The operators as nodes take them.
    pub(super) fn stages(&self) -> Vec<StagePlan> {
        let stages = self.operators.iter().map(|operator| StagePlan {
            kind: operator.kind(),
            count: operator.count,
            tasklet: operator.tasklet.parse().expect("the trial was checked"),
        });
        stages.collect()
    }

    /// The flow with this place in the list, as its sources take it.
    pub(super) fn plan<'s>(&self, at: usize, stages: &'s [StagePlan]) -> FlowPlan<'s> {
        FlowPlan {
            name: Self::name(at),
            sink: NodeId(self.sink),
            feed: match self.sensed {
                true => Feed::Every {
                    period: self.every(),
                    tasklet: goods::SENSE.parse().expect("a valid name"),
                },
                false => Feed::Given,
            },
            stages,
            at_sink: self.at_sink,
            room: self.room.into(),
        }
    }

    /// What arrives if all operators are applied to these items in order: each with the number of the last
    /// item that it covers.
    pub(super) fn outputs(&self, items: &[u32]) -> Vec<(u32, u32)> {
        let inputs = items.iter().copied().map(Some).collect();
        let operators = self.operators.iter();
        let outputs = operators.fold(inputs, |inputs: Vec<_>, it| it.apply(&inputs));
        let ends = (1..).map(|block| block * self.span() - 1);
        let outputs = ends.zip(outputs);
        outputs
            .filter_map(|(last, value)| Some((last, value?)))
            .collect()
    }

    /// Checks the flow that a file calls `field` against the nodes and namespaces of a mesh.
    ///
    /// # Errors
    /// [`BadScenario::Field`] for the first field that is wrong.
    pub(super) fn check(
        &self,
        field: impl Fn(&str) -> String,
        (nodes, namespaces): (&BTreeSet<u16>, usize),
        until_s: f64,
    ) -> Result<(), BadScenario> {
        within(field("at_s"), self.at_s, 0.0, until_s)?;
        within(field("sources"), self.sources.len(), 1, OTHERS)?;
        let is_node =
            |name: &str, id: u16| must(nodes.contains(&id), field(name), || no_node(id, nodes));
        is_node("sink", self.sink)?;
        for (at, source) in self.sources.iter().enumerate() {
            is_node("sources", *source)?;
            let others = self.sources[..at].iter().chain([&self.sink]);
            must(
                !others.into_iter().any(|it| it == source),
                field("sources"),
                || format!("{source} is the sink, or named twice"),
            )?;
        }
        within(field("items"), self.items, 0, 1000)?;
        within(field("every_s"), self.every_s, 0.001, 600.0)?;
        let stop = self.stop_after_s;
        within(field("stop_after_s"), stop.unwrap_or(1.0), 0.0, until_s)?;
        let stops = stop.is_some_and(|after_s| self.at_s + after_s <= until_s);
        must(!self.sensed || stops, field("sensed"), || {
            format!("without stop_after_s up to {until_s} it would never end")
        })?;
        within(field("operators"), self.operators.len(), 0, MAX_STAGES)?;
        for (at, operator) in self.operators.iter().enumerate() {
            let field = |name: &str| field(&format!("operators[{at}].{name}"));
            let named = operator.tasklet.parse::<TaskletName>();
            let known = goods::is_operator(&operator.tasklet, namespaces);
            must(named.is_ok() && known, field("tasklet"), || {
                format!("{} is not published as an operator", operator.tasklet)
            })?;
            let (count, gathers) = (operator.count, operator.kind().gathers());
            must(gathers || count == 1, field("count"), || {
                let tasklet = &operator.tasklet;
                format!("{tasklet} takes one item at a time, not {count}: leave it out")
            })?;
            within(field("count"), count, 1, ITEMS as u16)?;
        }
        let least = self.span().saturating_mul(2);
        within(field("room"), u32::from(self.room), least, ITEMS as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_after_a_filter_has_what_the_filter_has_left_of_its_block() {
        let operator = |name: &str, count| Operator {
            tasklet: format!("alpha/{name}"),
            count,
        };
        let flow = Flow {
            at_s: 0.0,
            sink: 1,
            sources: vec![2],
            room: 16,
            items: 9,
            every_s: 1.0,
            sensed: false,
            at_sink: false,
            stop_after_s: None,
            operators: vec![operator("pass", 1), operator("digest", 4)],
        };
        let outputs = flow.outputs(&[1, 2, 3, 4, 6, 9, 12, 15, 5]);
        assert_eq!(outputs, [(3, digest(&[1, 2, 4]))]);
        let outputs = flow.outputs(&[6, 9, 12, 15, 1, 3, 2, 3, 7]);
        assert_eq!(
            outputs,
            [(7, digest(&[1, 2]))],
            "nothing is left of a block"
        );
    }
}
