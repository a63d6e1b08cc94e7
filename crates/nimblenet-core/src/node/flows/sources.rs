//! The beginning of flows: items are kept until the sink has them, and sent again if it does not get
//! them.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{NodeId, Signature, TaskletName, TaskletRef};

use super::items::{Course, DROPPED_FOR, Items, Kept, Parcel};
use crate::flow::{
    Feed, FlowError, FlowId, FlowPlan, FlowStatus, MAX_STAGES, Stage, StageKind, Stages,
};
use crate::places::ItemAt;
use crate::queue::Queue;
use crate::time::Instant;
use crate::wire::{Begin, Taken};

/// The time until items are sent again doubles with each time in vain, so often at most.
const DOUBLINGS: u8 = 5;
/// So many items are sent again at a time, or as many as make an output.
const SENT_AGAIN: u32 = 8;
/// Numbers of items of one run are below this; then the flow begins a new run.
const LAST: u32 = 1 << 30;
/// A run is later than another one if it is above it by this much at most.
const LATER: u32 = (1 << 31) - 1;

/// A flow that begins here.
#[derive(Debug)]
struct Source {
    course: Course,
    sink: NodeId,
    feed: Feed,
    stages: Stages,
    names: [Option<TaskletName>; MAX_STAGES],
    at_sink: bool,
    /// How many items make one output.
    span: u32,
    room: usize,
    /// Items that the sink may lack; the first one has the number `oldest`.
    items: Queue<ItemAt>,
    oldest: u32,
    next: u32,
    /// Those of them that are to be sent now.
    sending: (u32, u32),
    /// Those that the sink has said to lack.
    lacking: Option<(u32, u32)>,
    /// When they are sent again.
    due: Option<Instant>,
    /// What the sink lacked ends here when items were sent again last.
    recovers: u32,
    /// When they were sent again last.
    again: Instant,
    tries: u8,
    /// How long outputs have taken until the source heard of them.
    usual: Duration,
    /// When the output that ends here was begun to wait for.
    timed: Option<(u32, Instant)>,
    /// When the source's own tasklet runs next, and the run that lasts.
    tick: Option<Instant>,
    /// When the sink is asked, to which there is no way, and how often it was.
    asks: Option<(Instant, u8)>,
    running: Option<u32>,
    status: FlowStatus,
}

/// The flows that begin at a node.
#[derive(Debug)]
pub(super) struct Sources {
    table: Vec<Source>,
    room: usize,
    /// The last run that has begun here; none if none has.
    last_run: Option<u32>,
}

impl Sources {
    /// Room for so many flows.
    pub(super) fn new(flows: usize) -> Self {
        Self {
            table: Vec::with_capacity(flows),
            room: flows,
            last_run: None,
        }
    }

    /// Begins a flow, or begins it anew. `run` is newer than those before a restart of the node, and
    /// `find` says the newest version of a tasklet whose signature suits.
    ///
    /// # Errors
    /// [`FlowError`] if it cannot begin.
    pub(super) fn begin(
        &mut self,
        (now, own, run): (Instant, NodeId, u32),
        items: &mut Items,
        plan: &FlowPlan<'_>,
        find: impl Fn(&TaskletName, &dyn Fn(&Signature) -> bool) -> Result<TaskletRef, FlowError>,
    ) -> Result<Course, FlowError> {
        let flow = FlowId::of(&plan.name);
        let mut span = 1u32;
        let mut list = [None; MAX_STAGES];
        let mut names = [None; MAX_STAGES];
        for (at, stage) in plan.stages.iter().enumerate() {
            let place = list.get_mut(at).ok_or(FlowError::TooManyStages)?;
            if stage.count == 0 || (stage.count != 1 && !stage.kind.gathers()) {
                return Err(FlowError::BadCount);
            }
            span = span.saturating_mul(stage.count.into());
            names[at] = Some(stage.tasklet);
            *place = Some(Stage {
                kind: stage.kind,
                count: stage.count,
                tasklet: find(&stage.tasklet, &|signature| stage.kind.suits(signature))?,
            });
        }
        let fits = span.saturating_mul(2) as usize <= plan.room && plan.room <= items.room();
        if !fits || plan.room == 0 {
            return Err(FlowError::BadCount);
        }
        let tick = match plan.feed {
            Feed::Given => None,
            Feed::Every { period, .. } if period.is_zero() => return Err(FlowError::BadPeriod),
            Feed::Every { tasklet, .. } => {
                let gives = |it: &Signature| it.params().len() == 0 && it.results().len() == 1;
                find(&tasklet, &gives)?;
                Some(now)
            }
        };
        self.end(items, flow);
        if self.table.len() == self.room {
            return Err(FlowError::TooManyFlows);
        }
        let run = match self.last_run {
            Some(last) if run.wrapping_sub(last).wrapping_sub(1) >= LATER => last.wrapping_add(1),
            _ => run,
        };
        self.last_run = Some(run);
        let course = Course {
            flow,
            source: own,
            run,
        };
        self.table.push(Source {
            course,
            sink: plan.sink,
            feed: plan.feed,
            stages: Stages::new(list.into_iter().flatten()).ok_or(FlowError::TooManyStages)?,
            names,
            at_sink: plan.at_sink,
            span,
            room: plan.room,
            items: Queue::with_capacity(plan.room),
            oldest: 0,
            next: 0,
            sending: (0, 0),
            lacking: None,
            recovers: 0,
            due: None,
            again: Instant::ZERO,
            tries: 0,
            usual: Duration::ZERO,
            timed: None,
            tick,
            asks: None,
            running: None,
            status: FlowStatus {
                flow,
                sink: plan.sink,
                taken: 0,
                refused: 0,
                arrived: 0,
                repeated: 0,
                unwanted: false,
            },
        });
        Ok(course)
    }

    /// Ends a flow; what the sink has not got is lost. Returns what it was.
    pub(super) fn end(&mut self, items: &mut Items, flow: FlowId) -> Option<Course> {
        let is = |source: &Source| source.course.flow == flow;
        let at = self.table.iter().position(is)?;
        let source = self.table.remove(at);
        for item in source.items.iter() {
            items.release(Kept::Value(*item));
        }
        Some(source.course)
    }

    /// How each flow stands.
    pub(super) fn status(&self) -> impl Iterator<Item = FlowStatus> {
        self.table.iter().map(|source| source.status)
    }

    /// Takes an item and returns its number; [`poll_item`](Self::poll_item) sends it.
    ///
    /// # Errors
    /// [`FlowError`] if it is not taken.
    pub(super) fn give(
        &mut self,
        items: &mut Items,
        flow: FlowId,
        value: &[u8],
        fits: impl Fn(usize) -> bool,
    ) -> Result<u32, FlowError> {
        let is = |source: &&mut Source| source.course.flow == flow;
        let source = self.table.iter_mut().find(is);
        let source = source.ok_or(FlowError::UnknownFlow)?;
        if source.next >= LAST && source.items.is_empty() {
            let run = self.last_run.map_or(0, |last| last.wrapping_add(1));
            self.last_run = Some(run);
            source.course.run = run;
            (source.oldest, source.next, source.sending) = (0, 0, (0, 0));
        }
        let too_long = value.len() > items.item_bytes() || !fits(source.stages.len());
        let is_full = source.items.len() >= source.room || source.next >= LAST;
        let taken = match (too_long, is_full) {
            (true, _) => Err(FlowError::TooLong),
            (_, true) => Err(FlowError::Full),
            _ => items.put(value).ok_or(FlowError::Full),
        };
        let at = taken.inspect_err(|_| source.status.refused += 1)?;
        source.items.push_back(at);
        let number = source.next;
        source.next += 1;
        source.status.taken += 1;
        if source.sending.0 == source.sending.1 {
            source.sending = (number, number + 1);
        } else if source.sending.1 == number {
            source.sending.1 = number + 1;
        }
        Ok(number)
    }

    /// The next item to send, for which the caller gets a share of the value. Items are not flooded: if there
    /// is no way to the sink, [`poll_begin`](Self::poll_begin) asks for one.
    pub(super) fn poll_item(
        &mut self,
        items: &mut Items,
        find: impl Fn(&TaskletName) -> Option<TaskletRef>,
        has_way: impl Fn(NodeId) -> bool,
    ) -> Option<Parcel> {
        for source in &mut self.table {
            let (begin, end) = source.sending;
            let number = begin.max(source.oldest);
            if number >= end {
                source.sending = (end, end);
                source.asks = None;
                continue;
            }
            if source.sink != source.course.source && !has_way(source.sink) {
                source.asks.get_or_insert((Instant::ZERO, 0));
                continue;
            }
            source.asks = None;
            source.sending.0 = number + 1;
            let at = *source.items.get((number - source.oldest) as usize)?;
            let kept = Kept::Value(at);
            items.share(kept);
            source.refresh(&find);
            return Some(source.parcel(number, kept));
        }
        None
    }

    /// What a sink is asked to which a source knows no way.
    pub(super) fn poll_begin(
        &mut self,
        now: Instant,
        patience: impl Fn(NodeId) -> Duration,
    ) -> Option<(NodeId, Begin)> {
        let asks = |it: &&mut Source| it.asks.is_some_and(|(due, _)| due <= now);
        let source = self.table.iter_mut().find(asks)?;
        let (_, asked) = source.asks?;
        let asked = asked.saturating_add(1);
        let pause = patience(source.sink) * (1 << asked.min(DOUBLINGS));
        source.asks = Some((now + pause, asked));
        let Course { flow, run, .. } = source.course;
        let oldest = source.oldest;
        Some((source.sink, Begin { flow, run, oldest }))
    }

    /// Takes what the sink `from` says.
    pub(super) fn handle_taken(
        &mut self,
        now: Instant,
        items: &mut Items,
        from: NodeId,
        taken: &Taken,
        patience: impl Fn(NodeId) -> Duration,
    ) -> bool {
        let is = |it: &&mut Source| {
            it.course.flow == taken.flow && it.course.run == taken.run && it.sink == from
        };
        let Some(source) = self.table.iter_mut().find(is) else {
            return false;
        };
        source.status.unwanted = !taken.wanted;
        if !taken.wanted || taken.next < source.oldest || taken.next > source.next {
            return true;
        }
        if let Some((end, since)) = source.timed
            && taken.next > end
        {
            source.usual = match source.usual.is_zero() {
                true => now - since,
                false => (source.usual * 3 + (now - since)) / 4,
            };
            source.timed = None;
        }
        let moves = taken.next > source.oldest;
        while source.oldest < taken.next {
            if let Some(item) = source.items.pop_front() {
                items.release(Kept::Value(item));
            }
            source.oldest += 1;
            source.status.arrived += 1;
        }
        let lacks = taken.next < taken.until && taken.until <= source.next;
        source.lacking = lacks.then_some((taken.next, taken.until));
        let wait = source.wait(patience(source.sink));
        if moves {
            source.tries = 0;
            // Items that are sent again follow what has arrived of them.
            let recovers = source.recovers > source.oldest;
            let wait = if recovers { Duration::ZERO } else { wait };
            source.due = source.is_waiting().then_some(now + wait);
        }
        if lacks {
            let soon = (source.again + wait).max(now);
            source.due = source.due.map(|due| due.min(soon));
        }
        true
    }

    /// Begins to send again what the sink has not got in time, and to wait for what was sent; returns the
    /// sinks that do not answer.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        patience: impl Fn(NodeId) -> Duration,
    ) -> Option<NodeId> {
        let mut silent = None;
        for source in &mut self.table {
            let wait = source.wait(patience(source.sink));
            if !source.is_waiting() {
                source.due = None;
                continue;
            }
            let complete = source.complete();
            match source.due {
                None => {
                    source.due = Some(now + wait);
                    if source.tries == 0 {
                        source.timed = Some((complete - 1, now));
                    }
                }
                Some(due) if due <= now => {
                    let lacking = source.lacking.take();
                    let (first, end) = lacking.unwrap_or((source.oldest, complete));
                    let first = first.max(source.oldest);
                    if source.recovers <= source.oldest {
                        source.recovers = complete;
                    }
                    let most = SENT_AGAIN.div_ceil(source.span) * source.span;
                    let end = end.min(first - first % source.span + most);
                    source.status.repeated += end.saturating_sub(first);
                    // Items after these that were not sent yet follow with the next time.
                    source.sending = match source.sending.0 == source.sending.1 {
                        true => (first, end),
                        false => (first, end.max(source.sending.1)),
                    };
                    source.timed = None;
                    source.again = now;
                    source.tries = source.tries.saturating_add(1);
                    let doubled = source.tries.min(DOUBLINGS);
                    source.due = Some(now + wait * (1 << doubled));
                    if source.tries > 1 {
                        silent = Some(source.sink);
                    }
                }
                Some(_) => {}
            }
        }
        silent
    }

    /// The tasklet of a source that runs now, as run number `number`.
    pub(super) fn poll_tick(&mut self, now: Instant, number: u32) -> Option<TaskletName> {
        for source in &mut self.table {
            let Feed::Every { period, tasklet } = source.feed else {
                continue;
            };
            if source.tick.is_none_or(|tick| tick > now) {
                continue;
            }
            let late = source.tick.map_or(now, |tick| tick + period);
            // Runs that were missed are not made up for.
            source.tick = Some(if late <= now { now + period } else { late });
            if source.running.is_some() {
                source.status.refused += 1;
                continue;
            }
            source.running = Some(number);
            return Some(tasklet);
        }
        None
    }

    /// The flow whose own tasklet has ended.
    pub(super) fn ticked(&mut self, number: u32) -> Option<FlowId> {
        let ran = |source: &&mut Source| source.running == Some(number);
        let source = self.table.iter_mut().find(ran)?;
        source.running = None;
        Some(source.course.flow)
    }

    /// Notes that an item could not be made.
    pub(super) fn refuse(&mut self, flow: FlowId) {
        let is = |source: &&mut Source| source.course.flow == flow;
        if let Some(source) = self.table.iter_mut().find(is) {
            source.status.refused += 1;
        }
    }

    /// When something is to be done.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let asks = |it: &Source| it.asks.map(|(due, _)| due);
        let times = self.table.iter();
        let times = times.flat_map(|it| [it.due, it.tick, asks(it)]);
        times.flatten().min()
    }

    /// Checks what must hold between two inputs.
    pub(super) fn assert_invariants(&self) {
        for source in &self.table {
            debug_assert_eq!(
                source.items.len() as u32,
                source.next - source.oldest,
                "a source keeps what its sink may lack"
            );
        }
    }
}

impl Source {
    fn parcel(&self, number: u32, kept: Kept) -> Parcel {
        Parcel {
            course: self.course,
            sink: self.sink,
            first: number,
            last: number,
            oldest: self.oldest,
            unit: 1,
            at_sink: self.at_sink,
            stages: self.stages,
            kept,
        }
    }

    /// Takes the newest versions of the tasklets.
    fn refresh(&mut self, find: impl Fn(&TaskletName) -> Option<TaskletRef>) {
        let names = self.names.iter().flatten();
        let stages = self.stages.iter().zip(names).map(|(stage, name)| Stage {
            tasklet: find(name).unwrap_or(stage.tasklet),
            ..stage
        });
        if let Some(stages) = Stages::new(stages) {
            self.stages = stages;
        }
    }

    /// Whether the sink is to have an output that it may lack.
    fn is_waiting(&self) -> bool {
        self.complete() > self.oldest
    }

    /// The first item of the output that is not complete.
    fn complete(&self) -> u32 {
        self.next - self.next % self.span
    }

    /// How long to wait for the sink.
    fn wait(&self, patience: Duration) -> Duration {
        let mut stages = self.stages.iter();
        let filters = stages.any(|stage| stage.kind == StageKind::Filter);
        let dropped = if filters { DROPPED_FOR } else { Duration::ZERO };
        (patience * 2 + dropped).max(self.usual * 2)
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::Fault;

    use super::*;

    #[test]
    fn a_run_has_the_number_of_the_next_packet_and_is_later_than_the_one_before() {
        let plan = FlowPlan {
            name: "flow".parse().unwrap(),
            sink: NodeId(1),
            feed: Feed::Given,
            stages: &[],
            at_sink: false,
            room: 2,
        };
        let mut items = Items::new(4, 8);
        let mut runs = |sources: &mut Sources, run| {
            let own = (Instant::ZERO, NodeId(2), run);
            let none = |name: &TaskletName, _: &dyn Fn(&Signature) -> bool| {
                Err(FlowError::Tasklet(*name, Fault::UnknownTasklet))
            };
            sources.begin(own, &mut items, &plan, none).unwrap().run
        };
        // The first one has the number whatever it is: before a restart there were others.
        let high = 0xf000_0000;
        let mut sources = Sources::new(1);
        assert_eq!(runs(&mut sources, high), high);
        assert_eq!(runs(&mut sources, high), high + 1);
        assert_eq!(runs(&mut sources, 5), 5, "numbers wrap");
        assert_eq!(runs(&mut sources, high), 6);
    }
}
