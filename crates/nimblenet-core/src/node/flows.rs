//! Flows (spec/behaviour.md, section 17): items on their way from sources to sinks, and the operators
//! that this node applies to them.
//!
//! The parent of [`sources`], [`operators`] and [`sinks`]. An item that a source makes, that an operator
//! gives or that passes is offered to the operator for its next stage, if this node can apply that; else
//! it goes on towards its sink. What nobody has applied, the sink applies. The source keeps every item
//! until the sink has what became of it, so no operator needs to survive.

mod items;
mod operators;
mod seen;
mod sinks;
mod sources;
mod values;

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId, Signature, TaskletName, TaskletRef};

use self::items::{Course, Items, Kept, Parcel};
pub(in crate::node) use self::operators::Applicable;
use self::operators::{Offered, Operators, Ran, Step, Turn};
use self::sinks::{Ready, Sinks};
use self::sources::Sources;
use super::post::Post;
use crate::config::Limits;
use crate::counters::DropReason;
use crate::earliest::Earliest;
use crate::event::Reason;
use crate::flow::{FlowError, FlowId, FlowPlan, FlowStatus, OperatorStatus, SinkStatus};
use crate::wire::{Begin, Flow, FlowContent, Frame, HEADER_LEN, Item, ItemValue, Message, Taken};

/// So many operators and sources of others for each flow.
const OTHERS: usize = 4;
/// How long the tasklet of an operator or a source may run.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the rest of the node knows of tasklets.
pub(in crate::node) trait Tasklets {
    /// The newest version of a tasklet.
    ///
    /// # Errors
    /// [`Fault`] if no catalogue has it.
    fn newest(&self, name: &TaskletName) -> Result<Newest, Fault>;
    /// What an operator needs to know of a tasklet that this node can run for others; with `any` in
    /// whatever version it has.
    ///
    /// # Errors
    /// [`Fault`] if it cannot.
    fn applicable(&self, tasklet: TaskletRef, any: bool) -> Result<Applicable, Fault>;
}

/// The newest version of a tasklet that a node knows.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Newest {
    pub(in crate::node) tasklet: TaskletRef,
    /// What its function without a name takes and returns.
    pub(in crate::node) signature: Option<Signature>,
}

/// A call of the tasklet of an operator or a source.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Order {
    pub(in crate::node) number: u32,
    pub(in crate::node) name: TaskletName,
    pub(in crate::node) deadline: Duration,
}

/// An item that has arrived at its sink.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Arrived<'f> {
    pub(in crate::node) flow: FlowId,
    pub(in crate::node) source: NodeId,
    pub(in crate::node) first: u32,
    pub(in crate::node) last: u32,
    pub(in crate::node) result: Result<&'f [u8], Fault>,
}

/// The flows of a node.
#[derive(Debug)]
pub(in crate::node) struct Flows {
    /// Whether a flow has ever been here: until then there is nothing to do.
    begun: bool,
    items: Items,
    sources: Sources,
    operators: Operators,
    sinks: Sinks,
    /// The number of the next run of a tasklet, and its arguments.
    number: u32,
    args: Vec<u8>,
    message: Vec<u8>,
    /// Items on their way through this part.
    parcels: Vec<Parcel>,
}

impl Flows {
    pub(in crate::node) fn new(limits: &Limits) -> Self {
        let Limits {
            flows,
            flow_items,
            item_bytes,
            ..
        } = *limits;
        let some = |count: usize| if flows == 0 { 0 } else { count };
        let others = flows * OTHERS;
        Self {
            begun: false,
            items: Items::new(some(flow_items), item_bytes),
            sources: Sources::new(flows),
            operators: Operators::new(others, some(flow_items)),
            sinks: Sinks::new(flows, others, some(flow_items)),
            number: 0,
            args: Vec::with_capacity(some(limits.message_bytes)),
            message: vec![0; some(Item::HEAD_LEN + item_bytes)],
            parcels: Vec::with_capacity(some(flow_items)),
        }
    }

    /// Begins a flow at this node.
    ///
    /// # Errors
    /// [`FlowError`] if it cannot begin.
    pub(in crate::node) fn begin(
        &mut self,
        post: &Post<'_>,
        plan: &FlowPlan<'_>,
        tasklets: &impl Tasklets,
    ) -> Result<FlowId, FlowError> {
        self.begun = true;
        let find = |name: &TaskletName, suits: &dyn Fn(&Signature) -> bool| {
            let newest = tasklets.newest(name);
            let newest = newest.and_then(|newest| match newest.signature {
                Some(signature) if suits(&signature) => Ok(newest.tasklet),
                _ => Err(Fault::WrongSignature),
            });
            newest.map_err(|fault| FlowError::Tasklet(*name, fault))
        };
        let own = (post.now, post.config.id, post.mesh.next_sequence());
        let course = self.sources.begin(own, &mut self.items, plan, find)?;
        Ok(course.flow)
    }

    /// Ends a flow of this node, at its source and at its sink; false if it has none.
    pub(in crate::node) fn end(&mut self, flow: FlowId) -> bool {
        let ended = self.sources.end(&mut self.items, flow);
        if let Some(course) = &ended {
            self.operators.end(&mut self.items, course);
        }
        let was_sink = self.sinks.unwant(&mut self.items, flow);
        if was_sink {
            // Items of other sources that have come as far as this will go no further.
            self.operators.end_all(&mut self.items, flow);
        }
        was_sink || ended.is_some()
    }

    /// Takes the items of a flow at this node, which is its sink.
    ///
    /// # Errors
    /// [`FlowError::TooManyFlows`] if there is no room.
    pub(in crate::node) fn want(&mut self, flow: FlowId) -> Result<(), FlowError> {
        self.begun = true;
        let wants = self.sinks.want(flow);
        wants.then_some(()).ok_or(FlowError::TooManyFlows)
    }

    /// Takes an item of a client for a flow that begins here, and returns its number.
    ///
    /// # Errors
    /// [`FlowError`] if it is not taken.
    pub(in crate::node) fn give(
        &mut self,
        post: &Post<'_>,
        flow: FlowId,
        value: &[u8],
    ) -> Result<u32, FlowError> {
        if !values::is_value(value) {
            return Err(FlowError::NotAValue);
        }
        let room = post.mesh.room();
        let fits = |stages: usize| Item::head_len(stages) + value.len() <= room;
        self.sources.give(&mut self.items, flow, value, fits)
    }

    /// How flows that begin here stand.
    pub(in crate::node) fn status(&self) -> impl Iterator<Item = FlowStatus> {
        self.sources.status()
    }

    /// How flows that end here stand.
    pub(in crate::node) fn taken(&self) -> impl Iterator<Item = SinkStatus> {
        self.sinks.status()
    }

    /// What operators have done here.
    pub(in crate::node) fn operators(&self) -> impl Iterator<Item = OperatorStatus> {
        self.operators.status()
    }

    /// How many items are kept.
    pub(in crate::node) fn count(&self) -> usize {
        self.items.count()
    }

    /// Takes a message of a flow that is for this node.
    pub(in crate::node) fn handle(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        flow: &Flow<'_>,
        tasklets: &impl Tasklets,
    ) {
        self.begun = true;
        match flow.content() {
            Ok(FlowContent::Item(item)) => {
                let course = Parcel::of(&item, post.config.id, Kept::Nothing).course;
                if !self.sinks.wants(&course) {
                    post.counters.drop(DropReason::Unexpected);
                    return;
                }
                self.operators.end_before(&mut self.items, &course);
                if let Some(kept) = self.items.keep(item.value) {
                    let parcel = Parcel::of(&item, post.config.id, kept);
                    self.route(post, parcel, tasklets);
                } else {
                    self.sinks.note_dropped(course.flow);
                }
            }
            Ok(FlowContent::Begin(Begin { flow, run, oldest })) => {
                let source = origin;
                let course = Course { flow, source, run };
                if self.sinks.wants(&course) {
                    self.sinks.greet(post.now, &mut self.items, course, oldest);
                }
            }
            Ok(FlowContent::Taken(taken)) => {
                let patience = |sink| post.usual_patience_for(sink);
                let (sources, items) = (&mut self.sources, &mut self.items);
                if !sources.handle_taken(post.now, items, origin, &taken, patience) {
                    post.unexpected();
                }
            }
            Err(_) => post.counters.drop(DropReason::Malformed),
        }
    }

    /// Takes an item that passes, if this node can apply its next operator; false if it is to go on.
    pub(in crate::node) fn handle_passing(
        &mut self,
        post: &mut Post<'_>,
        frame: &Frame<'_>,
        flow: &Flow<'_>,
        tasklets: &impl Tasklets,
    ) -> bool {
        self.begun = true;
        let Ok(FlowContent::Item(item)) = flow.content() else {
            return false;
        };
        let course = Parcel::of(&item, frame.destination, Kept::Nothing).course;
        self.operators.end_before(&mut self.items, &course);
        // One that is flooded is on its way to a sink that many nodes may pass it on to.
        let may_stay = !item.at_sink && frame.receiver != NodeId::EVERYONE;
        let Some(stage) = item.stages.first().filter(|_| may_stay) else {
            return false;
        };
        let Ok(applicable) = tasklets.applicable(stage.tasklet, false) else {
            return false;
        };
        let Some(kept) = self.items.keep(item.value) else {
            return false;
        };
        let parcel = Parcel::of(&item, frame.destination, kept);
        let size = size(post, &item, parcel.sink);
        let offered =
            self.operators
                .offer(post.now, &mut self.items, parcel, stage, applicable, size);
        if offered == Offered::NoRoom {
            self.items.release(kept);
        }
        offered == Offered::Taken
    }

    /// Brings an item to the operator for its next stage, to the sink, or on its way.
    fn route(&mut self, post: &mut Post<'_>, parcel: Parcel, tasklets: &impl Tasklets) {
        let ends_here = parcel.sink == post.config.id;
        let Some(stage) = parcel.stages.first() else {
            if ends_here {
                let delay = post.config.pace.hop * 2;
                self.sinks.take(post.now, &mut self.items, parcel, delay);
            } else {
                self.send(post, parcel);
            }
            return;
        };
        let applicable = match ends_here || !parcel.at_sink {
            true => tasklets.applicable(stage.tasklet, ends_here),
            false => Err(Fault::NoExecutor),
        };
        let (applicable, parcel) = match applicable {
            Ok(applicable) => (applicable, parcel),
            // Nobody else can apply it: what the operator makes has failed, a whole block at once.
            Err(fault) if ends_here => (Applicable::unknown(), self.fail(parcel, fault)),
            Err(_) => return self.send(post, parcel),
        };
        let size = size(post, &parcel.item(&self.items), parcel.sink);
        let offered =
            self.operators
                .offer(post.now, &mut self.items, parcel, stage, applicable, size);
        match offered {
            Offered::Taken => {}
            // The source sends it again.
            Offered::NoRoom if ends_here => {
                self.items.release(parcel.kept);
                self.sinks.note_dropped(parcel.course.flow);
            }
            Offered::NoRoom => self.send(post, parcel),
        }
    }

    /// The same item without its value: an operator of it has failed.
    fn fail(&mut self, parcel: Parcel, fault: Fault) -> Parcel {
        self.items.release(parcel.kept);
        let kept = match parcel.kept {
            Kept::Value(_) => Kept::Failed(fault),
            Kept::Nothing | Kept::Failed(_) => parcel.kept,
        };
        Parcel { kept, ..parcel }
    }

    /// Sends an item towards its sink.
    fn send(&mut self, post: &mut Post<'_>, parcel: Parcel) {
        let content = FlowContent::Item(parcel.item(&self.items));
        if let Some(len) = content.write(&mut self.message) {
            let flow = Flow::new(&self.message[..len]);
            post.send(parcel.sink, Message::Flow(flow));
        }
        self.items.release(parcel.kept);
    }

    /// Takes the end of a run.
    pub(in crate::node) fn handle_ran(
        &mut self,
        post: &mut Post<'_>,
        number: u32,
        result: Result<&[u8], Fault>,
        tasklets: &impl Tasklets,
    ) {
        if let Some(flow) = self.sources.ticked(number) {
            let value = result.ok().and_then(values::result);
            match value {
                // A refusal is counted where it arises.
                Some(value) => {
                    let _counted = self.give(post, flow, value);
                }
                None => self.sources.refuse(flow),
            }
            return;
        }
        let ran = match result {
            Ok(results) => Ran::Done(results),
            Err(fault) if is_of_tasklet(fault) => Ran::Failed(fault),
            Err(fault) => Ran::Hindered(fault),
        };
        let own = post.config.id;
        let is_sink = self.operators.sink_of(number) == Some(own);
        let (items, parcels) = (&mut self.items, &mut self.parcels);
        let step = self
            .operators
            .handle_ran(post.now, items, (number, is_sink), ran, parcels);
        if let Some(step) = step {
            self.step(post, step, tasklets);
        }
        while let Some(parcel) = self.parcels.pop() {
            self.send(post, parcel);
        }
    }

    /// Does what an operator says; returns a run that it wants.
    fn step(&mut self, post: &mut Post<'_>, step: Step, tasklets: &impl Tasklets) -> Option<Order> {
        match step {
            Step::Run { number, name } => Some(Order {
                number,
                name,
                deadline: DEADLINE,
            }),
            Step::Give { parcel, again } => {
                if again && parcel.sink != post.config.id {
                    post.mesh.hint(post.now, parcel.sink);
                }
                let size = size(post, &parcel.item(&self.items), parcel.sink);
                self.operators.note_given(&parcel, size, again);
                self.route(post, parcel, tasklets);
                None
            }
        }
    }

    /// Does all that can be done without a run, and returns the next run that is wanted;
    /// [`args`](Self::args) has its arguments.
    pub(in crate::node) fn poll(
        &mut self,
        post: &mut Post<'_>,
        tasklets: &impl Tasklets,
    ) -> Option<Order> {
        if !self.begun {
            return None;
        }
        self.wait(post);
        loop {
            let number = self.number;
            if let Some(name) = self.sources.poll_tick(post.now, number) {
                self.args.clear();
                self.args.push(0x80);
                self.number = number.wrapping_add(1);
                return Some(Order {
                    number,
                    name,
                    deadline: DEADLINE,
                });
            }
            let find = |name: &TaskletName| Some(tasklets.newest(name).ok()?.tasklet);
            let has_way = |sink| post.mesh.way(post.now, sink).is_some();
            if let Some(parcel) = self.sources.poll_item(&mut self.items, find, has_way) {
                self.route(post, parcel, tasklets);
                continue;
            }
            let mut turn = Turn {
                items: &mut self.items,
                number,
                args: &mut self.args,
            };
            let Some(step) = self.operators.poll(post.now, &mut turn) else {
                break;
            };
            if let Some(order) = self.step(post, step, tasklets) {
                self.number = number.wrapping_add(1);
                return Some(order);
            }
        }
        while let Some((sink, begin)) = self
            .sources
            .poll_begin(post.now, |sink| post.usual_patience_for(sink))
        {
            if let Some(len) = FlowContent::Begin(begin).write(&mut self.message) {
                post.send(sink, Message::Flow(Flow::new(&self.message[..len])));
            }
        }
        while let Some((source, taken, in_vain)) = self.sinks.poll_told(post.now) {
            if in_vain {
                post.mesh.doubt(post.now, source);
            }
            self.tell(post, source, taken);
        }
        None
    }

    /// Waits for the sinks of what was sent, and sends again what they lack.
    fn wait(&mut self, post: &mut Post<'_>) {
        self.operators.forget_idle(post.now, &mut self.items);
        let patience = |sink| post.usual_patience_for(sink);
        if let Some(silent) = self.sources.handle_timeout(post.now, patience) {
            post.mesh.hint(post.now, silent);
        }
    }

    /// Tells a source what has arrived.
    fn tell(&mut self, post: &mut Post<'_>, source: NodeId, taken: Taken) {
        if source == post.config.id {
            let (sources, items) = (&mut self.sources, &mut self.items);
            let patience = |_| post.patience(1);
            sources.handle_taken(post.now, items, source, &taken, patience);
            return;
        }
        if let Some(len) = FlowContent::Taken(taken).write(&mut self.message) {
            post.send(source, Message::Flow(Flow::new(&self.message[..len])));
        }
    }

    /// The arguments of the run that was returned last.
    pub(in crate::node) fn args(&self) -> &[u8] {
        &self.args
    }

    /// When something is to be done.
    pub(in crate::node) fn note_timeouts(&self, earliest: &mut Earliest) {
        if !self.begun {
            return;
        }
        let times = [
            self.sources.poll_timeout(),
            self.operators.poll_timeout(),
            self.sinks.poll_timeout(),
        ];
        earliest.note(times.into_iter().flatten().min(), Reason::Flow);
    }

    /// Whether an item has arrived for the user, or one can be forgotten.
    pub(in crate::node) fn has_arrived(&self) -> bool {
        self.sinks.has_ready()
    }

    /// The next item for the user.
    pub(in crate::node) fn poll_arrived(&mut self) -> Option<Arrived<'_>> {
        let Ready {
            course: Course { flow, source, .. },
            first,
            last,
            kept,
        } = self.sinks.poll_ready(&mut self.items)?;
        let result = match self.items.value(kept) {
            ItemValue::Value(value) => Ok(value),
            ItemValue::Failed(fault) => Err(fault),
            // These are not reported.
            ItemValue::Nothing => return None,
        };
        Some(Arrived {
            flow,
            source,
            first,
            last,
            result,
        })
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        self.sources.assert_invariants();
        self.operators.assert_invariants();
    }
}

/// The bytes of the frame of an item, and the number of links to its sink.
fn size(post: &Post<'_>, item: &Item<'_>, sink: NodeId) -> (usize, u8) {
    let hops = match sink == post.config.id {
        true => 0,
        false => post.mesh.hops(post.now, sink).unwrap_or(0),
    };
    (HEADER_LEN + item.len(), hops)
}

/// Whether a tasklet fails with this fault wherever it runs.
fn is_of_tasklet(fault: Fault) -> bool {
    matches!(
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
    )
}
