//! The users of a trial's flows: they begin them, give them items, mend them where a node has started
//! again, and stop them.

use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;

use super::check::Sight;
use super::check::flow::FlowSight;
use super::deed::{NUMBERS, number};
use super::flow::Flow;
use super::watch::Watch;
use crate::engine::Engine;
use crate::trace::{duration, moment};

/// How often a user looks whether the nodes of a flow still have it.
const TENDED: Duration = Duration::from_secs(2);
/// The time between the last items of a source, which come once all is calm.
const LAST_EVERY: Duration = Duration::from_millis(100);

/// What a user does, for the flow with this place in the trial.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Step {
    /// Begins it, or mends it where a node does not have it any more.
    Tend(usize),
    /// Gives an item to a source.
    Give(usize, NodeId),
    /// Stops it.
    Stop(usize),
}

/// The users of flows.
#[derive(Debug)]
pub(super) struct Feeding<'t> {
    flows: &'t [Flow],
    stopped: Vec<bool>,
    /// Items that were made.
    made: u32,
}

impl<'t> Feeding<'t> {
    pub(super) fn new(flows: &'t [Flow]) -> Self {
        Self {
            flows,
            stopped: vec![false; flows.len()],
            made: 0,
        }
    }

    /// What the users do and when: until `calm`, and the last items from `noticed` on, when faults have been
    /// over for a while.
    pub(super) fn agenda(&self, calm: Instant, noticed: Instant) -> Vec<(Instant, Step)> {
        let mut agenda = Vec::new();
        for (at, flow) in self.flows.iter().enumerate() {
            let begins = moment(flow.at_s);
            let tended = (0..).map(|turn| begins + TENDED * turn);
            let tended = tended.take_while(|moment| *moment < noticed);
            agenda.extend(tended.map(|moment| (moment, Step::Tend(at))));
            if let Some(after_s) = flow.stop_after_s {
                agenda.push((begins + duration(after_s), Step::Stop(at)));
            }
            if flow.sensed {
                continue;
            }
            let usual = (0..flow.items).map(|item| begins + flow.every() * item);
            let usual = usual.take_while(|moment| *moment < calm);
            let last = (0..flow.span() * 2).map(|item| noticed + LAST_EVERY * item);
            for moment in usual.chain(last) {
                let sources = flow.sources.iter();
                agenda.extend(sources.map(|id| (moment, Step::Give(at, NodeId(*id)))));
            }
        }
        agenda
    }

    /// Does what is on the agenda.
    pub(super) fn act(&mut self, engine: &mut Engine<Watch>, step: Step) {
        match step {
            Step::Tend(at) => self.tend(engine, at),
            Step::Give(at, source) => self.give(engine, at, source),
            Step::Stop(at) => self.stop(engine, at),
        }
    }

    /// Stops all flows.
    pub(super) fn stop_all(&mut self, engine: &mut Engine<Watch>) {
        (0..self.flows.len()).for_each(|at| self.stop(engine, at));
    }

    /// The sources that go on with a flow whose sink takes it.
    pub(super) fn goes_on<'s>(
        &'s self,
        engine: &'s Engine<Watch>,
    ) -> impl Iterator<Item = (usize, NodeId, NodeId)> + 's {
        let flows = self.flows.iter().enumerate();
        let flows = flows.filter(move |(at, flow)| takes(engine, *at, NodeId(flow.sink)));
        flows.flat_map(move |(at, flow)| {
            let sources = flow.sources.iter().map(|id| NodeId(*id));
            let sources = sources.filter(move |id| has(engine, at, *id));
            sources.map(move |id| (at, id, NodeId(flow.sink)))
        })
    }

    fn tend(&mut self, engine: &mut Engine<Watch>, at: usize) {
        let flow = &self.flows[at];
        if self.stopped[at] {
            return;
        }
        let (id, sink) = (Flow::id(at), NodeId(flow.sink));
        if engine.node(sink).is_some() && !takes(engine, at, sink) {
            let taken = engine.command(sink, |node, _| node.take_flow(id));
            let taken = u64::from(taken.is_ok());
            engine.observer_mut().fire("flow-taken", taken);
        }
        let stages = flow.stages();
        let plan = flow.plan(at, &stages);
        for source in flow.sources.iter().map(|source| NodeId(*source)) {
            if engine.node(source).is_none() || has(engine, at, source) {
                continue;
            }
            let begun = engine.command(source, |node, now| node.begin_flow(now, &plan));
            let now = engine.now();
            let watch = engine.observer_mut();
            watch.fire("flow-refused", begun.is_err().into());
            if begun.is_ok() {
                watch.fire("flow-begun", 1);
                watch.see(now, &Sight::Flow(FlowSight::Begun(at, source)));
            }
        }
    }

    fn give(&mut self, engine: &mut Engine<Watch>, at: usize, source: NodeId) {
        if self.stopped[at] || !has(engine, at, source) {
            return;
        }
        let value = self.made.wrapping_mul(7919) % NUMBERS;
        self.made += 1;
        let now = engine.now();
        // It may arrive within the command.
        let given = FlowSight::Given(at, source, value);
        engine.observer_mut().see(now, &Sight::Flow(given));
        let id = Flow::id(at);
        let taken = engine.command(source, |node, now| node.give(now, id, &number(value)));
        let watch = engine.observer_mut();
        watch.fire("item", 1);
        watch.fire("item-refused", taken.is_err().into());
    }

    fn stop(&mut self, engine: &mut Engine<Watch>, at: usize) {
        if core::mem::replace(&mut self.stopped[at], true) {
            return;
        }
        let flow = &self.flows[at];
        let id = Flow::id(at);
        for node in flow
            .sources
            .iter()
            .chain([&flow.sink])
            .map(|id| NodeId(*id))
        {
            if engine.node(node).is_some() {
                // One that has started again does not have it.
                let _ = engine.command(node, |node, _| node.end_flow(id));
            }
        }
        let now = engine.now();
        let watch = engine.observer_mut();
        watch.fire("flow-stopped", 1);
        watch.see(now, &Sight::Flow(FlowSight::Stopped(at)));
    }
}

/// Whether a node that is up has a flow as its source.
fn has(engine: &Engine<Watch>, at: usize, source: NodeId) -> bool {
    let node = engine.node(source);
    node.is_some_and(|node| node.flows().any(|flow| flow.flow == Flow::id(at)))
}

/// Whether a node that is up takes a flow as its sink.
fn takes(engine: &Engine<Watch>, at: usize, sink: NodeId) -> bool {
    let node = engine.node(sink);
    node.is_some_and(|node| node.taken_flows().any(|flow| flow.flow == Flow::id(at)))
}
