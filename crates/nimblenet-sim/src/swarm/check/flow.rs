//! Flows bring what they promise (spec/behaviour.md, section 17).

use std::collections::{BTreeMap, BTreeSet};

use nimblenet_core::wire::{self, Message, Return};
use nimblenet_core::{Event, FlowId, Instant, Node};
use nimblenet_tasklet::{ActivationId, Answer, Fault, NodeId, Work};

use super::{Checker, Finding, Sight};
use crate::swarm::deed::whole;
use crate::swarm::flow::{FLOWS, Flow, OTHERS};

/// A CBOR array with one value.
const ONE: u8 = 0x81;

/// Something that happens to a flow, which its place in the trial names.
#[derive(Clone, Copy)]
pub(in crate::swarm) enum FlowSight<'a> {
    /// It has begun at a source.
    Begun(usize, NodeId),
    /// A source that has begun it is given this item, and may refuse it.
    Given(usize, NodeId, u32),
    /// All has been calm for long: the sink must have what this source was given.
    Through(usize, NodeId),
    /// It is stopped at all of its nodes that are up.
    Stopped(usize),
    /// All flows were stopped long ago.
    Over(&'a Node),
}

/// What a source has taken from one beginning of the flow there to its end.
#[derive(Default)]
struct Run {
    items: Vec<u32>,
    /// The last item of the furthest output that the sink has ever had of it.
    reached: Option<u32>,
    /// Whether the source goes on with it.
    open: bool,
}

/// How far a sink is in its present life.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Progress {
    /// The run of which it has had something last.
    at: usize,
    /// The last item of that.
    had: Option<u32>,
}

/// What a source gives, and what its sink has of it.
struct Course {
    runs: Vec<Run>,
    /// How far the sink may be: a failure looks the same in every run.
    sink: Vec<Progress>,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            sink: vec![Progress::default()],
        }
    }
}

impl Course {
    /// Whether a sink that is as far as `sink` may have this of a run now: nothing before it is left out but
    /// what it had in an earlier life, and it is what all operators at the sink would have made.
    fn may_have(&self, flow: &Flow, sink: Progress, at: usize, output: Output<'_>) -> bool {
        let Output {
            first,
            last,
            result,
        } = output;
        let run = &self.runs[at];
        let had = sink.had.filter(|_| at == sink.at);
        let is_new = had.is_none_or(|had| first > had);
        let is_whole = (last + 1).is_multiple_of(flow.span()) && (last as usize) < run.items.len();
        if first > last || !is_new || !is_whole {
            return false;
        }
        let there = had.or(run.reached);
        let outputs = flow.outputs(&run.items);
        let is_left_out = |end: u32| end < last && there.is_none_or(|there| end > there);
        if outputs.iter().any(|(end, _)| is_left_out(*end)) {
            return false;
        }
        match result {
            Ok(value) => outputs.contains(&(last, whole(value).unwrap_or(u32::MAX))),
            Err(fault) => is_of_sink(fault),
        }
    }

    fn take(&mut self, flow: &Flow, output: Output<'_>) -> bool {
        let mut next = Vec::new();
        for sink in &self.sink {
            for at in sink.at..self.runs.len() {
                let had = Some(output.last);
                let progress = Progress { at, had };
                if self.may_have(flow, *sink, at, output) && !next.contains(&progress) {
                    next.push(progress);
                }
            }
        }
        if next.is_empty() {
            return false;
        }
        for progress in &next {
            let run = &mut self.runs[progress.at];
            run.reached = run.reached.max(progress.had);
        }
        self.sink = next;
        true
    }

    /// The newest run, while the source goes on with it.
    fn open(&mut self) -> Option<&mut Run> {
        self.runs.last_mut().filter(|run| run.open)
    }
}

/// What a sink tells its user.
#[derive(Clone, Copy)]
struct Output<'a> {
    first: u32,
    last: u32,
    result: Result<&'a [u8], Fault>,
}

/// The only one of some results.
fn one(results: &[u8]) -> Option<u32> {
    results.strip_prefix(&[ONE]).and_then(whole)
}

/// Whether a sink that cannot run a tasklet may say so with this fault; the tasklets of flows do not fail.
fn is_of_sink(fault: Fault) -> bool {
    !matches!(
        fault,
        Fault::WrongArguments
            | Fault::WrongSignature
            | Fault::UnknownExport
            | Fault::InvalidModule
            | Fault::UnknownImport
            | Fault::OutOfFuel
            | Fault::Trapped
            | Fault::TooDeep
            | Fault::TooManyCalls
            | Fault::ValuesTooLarge
            | Fault::Busy
            | Fault::TooLate
            | Fault::Cancelled
            | Fault::Stopped
    )
}

/// Follows items from their sources to their sinks.
#[derive(Default)]
pub(super) struct Flowing {
    flows: Vec<Flow>,
    courses: BTreeMap<(usize, NodeId), Course>,
    stopped: Vec<usize>,
    /// Runs of the tasklet that makes items. One may begin before the checker hears of its flow.
    senses: BTreeSet<(NodeId, ActivationId)>,
    /// Items that were made, perhaps at a node to which the run has moved from its source.
    made: BTreeSet<u32>,
    /// Those that were on their way to a source.
    returned: Vec<(NodeId, u32)>,
}

impl Flowing {
    fn arrived(
        &mut self,
        sink: NodeId,
        (id, source): (FlowId, NodeId),
        output: Output<'_>,
    ) -> Finding {
        let Output {
            first,
            last,
            result,
        } = output;
        let at = (0..self.flows.len()).find(|at| Flow::id(*at) == id);
        let found = at.and_then(|at| Some((at, self.courses.get_mut(&(at, source))?)));
        let Some((at, course)) = found.filter(|(at, _)| !self.stopped.contains(at)) else {
            let node = source.0;
            return Err(format!(
                "items of node {node} arrive by a flow that it does not have"
            ));
        };
        let flow = &self.flows[at];
        if flow.sink != sink.0 {
            return Err(format!("node {} has items of flow {at}", sink.0));
        }
        if course.take(flow, output) {
            return Ok(());
        }
        let result = result.map(whole);
        let (source, runs) = (source.0, course.runs.len());
        let first_of = |sink: &Progress| {
            let run = course.runs.get(sink.at);
            let outputs = run.map(|run| flow.outputs(&run.items)).unwrap_or_default();
            outputs.into_iter().find(|(end, _)| Some(*end) > sink.had)
        };
        let next = course.sink.iter().map(|sink| {
            let (at, had, next) = (sink.at, sink.had, first_of(sink));
            format!("after item {had:?} of run {at} of {runs}, where {next:?} is next")
        });
        let next = next.collect::<Vec<_>>().join(", or ");
        Err(format!(
            "flow {at} brings items {first} to {last} of node {source} as {result:?} {next}"
        ))
    }

    fn happens(&mut self, sight: FlowSight<'_>) -> Finding {
        match sight {
            FlowSight::Begun(flow, source) => {
                let course = self.courses.entry((flow, source)).or_default();
                course.runs.push(Run {
                    open: true,
                    ..Run::default()
                });
            }
            FlowSight::Given(flow, source, value) => self.give((flow, source), value),
            FlowSight::Through(flow, source) => return self.through(flow, source),
            FlowSight::Stopped(flow) => self.stopped.push(flow),
            FlowSight::Over(node) => {
                let kept = node.kept_items();
                let left = [
                    node.flows().count(),
                    node.taken_flows().count(),
                    node.operators().count(),
                ];
                if kept > 0 || left != [0; 3] {
                    let id = node.id().0;
                    return Err(format!(
                        "all flows were stopped; node {id} keeps {kept} items, and {left:?} sources, sinks \
                         and operators"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Notes an item that the source is given. Whether it takes it, its status says afterwards.
    fn give(&mut self, course: (usize, NodeId), value: u32) {
        let course = self.courses.get_mut(&course);
        if let Some(run) = course.and_then(Course::open) {
            run.items.push(value);
        }
    }

    fn through(&self, at: usize, source: NodeId) -> Finding {
        let (flow, course) = (&self.flows[at], self.courses.get(&(at, source)));
        let Some(run) = course.and_then(|course| course.runs.last()) else {
            return Ok(());
        };
        let outputs = flow.outputs(&run.items);
        let last = outputs.last().map(|(end, _)| *end);
        if run.reached < last {
            let (source, reached) = (source.0, run.reached);
            return Err(format!(
                "the sink of flow {at} has items of node {source} up to {reached:?}; it lacks those up to \
                 {last:?}"
            ));
        }
        Ok(())
    }

    /// Looks at the tables of a node, and at what its sources have taken.
    fn rested(&mut self, node: &Node) -> Finding {
        let id = node.id();
        let limits = &node.config().limits;
        for (what, held, limit) in [
            ("flows", node.flows().count(), limits.flows),
            (
                "flows as their sink",
                node.taken_flows().count(),
                limits.flows,
            ),
            ("operators", node.operators().count(), OTHERS),
            ("items", node.kept_items(), limits.flow_items),
        ] {
            if held > limit {
                return Err(format!("node {} has {held} {what}; {limit} may be", id.0));
            }
        }
        for status in node.flows() {
            let at = (0..self.flows.len()).find(|at| Flow::id(*at) == status.flow);
            let Some(at) = at else {
                continue;
            };
            let course = self.courses.get_mut(&(at, id));
            let Some(run) = course.and_then(Course::open) else {
                continue;
            };
            let taken = status.taken as usize;
            if taken > run.items.len()
                && let Some(returned) = self.returned.iter().position(|(to, _)| *to == id)
            {
                run.items.push(self.returned.remove(returned).1);
            }
            if taken > run.items.len() {
                let given = run.items.len();
                return Err(format!(
                    "node {} was given {given} items and has taken {taken}",
                    id.0
                ));
            }
            // It has refused the others.
            run.items.truncate(taken);
            let room = u32::from(self.flows[at].room);
            let kept = status.taken.checked_sub(status.arrived);
            if kept.is_none_or(|kept| kept > room) {
                return Err(format!(
                    "node {} has taken {} items, {} have arrived; it may keep {room}",
                    id.0, status.taken, status.arrived
                ));
            }
        }
        Ok(())
    }

    /// A node goes down: as a source it begins anew, as a sink it may have again what it has had.
    fn down(&mut self, node: NodeId) {
        self.senses.retain(|(at, _)| *at != node);
        for ((flow, source), course) in &mut self.courses {
            if *source == node
                && let Some(run) = course.runs.last_mut()
            {
                run.open = false;
            }
            if self.flows[*flow].sink == node.0 {
                course.sink = vec![Progress::default()];
            }
        }
    }

    /// The flow whose items a tasklet makes at a node.
    fn sensed(&self, node: NodeId) -> Option<usize> {
        let at = self.flows.iter().position(|flow| flow.sensed)?;
        self.courses.contains_key(&(at, node)).then_some(at)
    }
}

impl Checker for Flowing {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Begins(trial) => {
                debug_assert!(trial.flows.len() <= FLOWS, "the trial was checked");
                self.flows = trial.flows.clone();
            }
            _ if self.flows.is_empty() => {}
            Sight::Flow(sight) => return self.happens(*sight),
            Sight::Worked(node, Work::Start(start)) if start.args == [ONE - 1] => {
                self.senses.insert((*node, start.activation));
            }
            Sight::Answered(
                node,
                Answer::Done {
                    activation, result, ..
                },
            ) => {
                if self.senses.remove(&(*node, *activation))
                    && let Some(value) = one(result)
                {
                    self.made.insert(value);
                    if let Some(flow) = self.sensed(*node) {
                        self.give((flow, *node), value);
                    }
                }
            }
            Sight::Sent(_, frame, _) => {
                if let Message::Return(Return {
                    answer: wire::Answer::Done(result),
                    ..
                }) = frame.message
                    && let Some(value) = one(result)
                    && self.made.remove(&value)
                {
                    self.returned.push((frame.destination, value));
                }
            }
            Sight::Event(
                node,
                Event::Item {
                    flow,
                    source,
                    first,
                    last,
                    result,
                },
            ) => {
                let output = Output {
                    first: *first,
                    last: *last,
                    result: *result,
                };
                return self.arrived(*node, (*flow, *source), output);
            }
            Sight::Rested(node) => return self.rested(node),
            Sight::Down(node) => self.down(*node),
            _ => {}
        }
        Ok(())
    }
}
