//! Operators that this node applies, each for one source of one flow.
//!
//! What an operator makes is determined by the numbers of the items at the source alone: a window or an
//! accumulation covers a block of as many items, counted from the first one, and what a filter has
//! dropped is missing in it. So any node makes the same of the same items, whether it has seen others
//! before or not, and items that are sent again give the same output again.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId, TaskletName, Type};

use super::items::{Course, DROPPED_FOR, Items, Kept, Parcel};
use super::seen::Seen;
use super::values;
use crate::flow::{FlowId, OperatorStatus, Stage, StageKind};
use crate::time::Instant;

/// Inputs of a map or a filter that wait, at most.
const WAITING: usize = 16;
/// What a filter has dropped is told after so many items of its input.
const DROPPED: u32 = 16;
/// What a filter has dropped and not told is less than half of what an item can cover.
const DROPPED_RANGE: u32 = 1 << 15;
/// An operator that has had nothing to do for so long may give its room to another.
const IDLE: Duration = Duration::from_secs(10);
/// An operator that has had nothing to do for so long is forgotten, with the inputs of a block that was never
/// whole.
const FORGOTTEN: Duration = Duration::from_secs(900);
/// A call that the node has no room for is tried again after this time.
const RETRY: Duration = Duration::from_millis(250);
/// How often a call is tried that fails for a reason of this node.
const TRIES: u8 = 8;

/// A place in the table of operators.
type At = u16;

/// An item that waits for an operator.
#[derive(Clone, Copy, Debug)]
struct Input {
    at: At,
    first: u32,
    last: u32,
    kept: Kept,
}

/// How far an accumulation is in its block.
#[derive(Clone, Copy, Debug)]
struct Fold {
    /// Begins at this item.
    first: u32,
    /// Its output covers this one too: blocks before it were dropped.
    from: u32,
    /// The first item that is not in the state.
    next: u32,
    kept: Kept,
}

/// What an operator runs its tasklet for.
#[derive(Clone, Copy, Debug)]
struct Running {
    number: u32,
    /// What the output covers.
    first: u32,
    last: u32,
}

/// An operator for one source of one flow.
#[derive(Debug)]
struct Operator {
    /// The items that it is for; the value is unused.
    like: Parcel,
    stage: Stage,
    name: TaskletName,
    /// The type of its tasklet's first parameter.
    state: Option<Type>,
    /// Inputs for which there is room.
    room: usize,
    running: Option<Running>,
    fold: Option<Fold>,
    /// What a filter has dropped and not told, since when.
    dropped: Option<(u32, u32, Instant)>,
    retry: Option<Instant>,
    tries: u8,
    used: Instant,
    /// The end of the furthest output.
    told: Option<u32>,
    /// Inputs that have come.
    seen: Seen,
    status: OperatorStatus,
}

impl Operator {
    /// How many items of the source make one output.
    fn span(&self) -> u32 {
        u32::from(self.like.unit) * u32::from(self.stage.count)
    }

    /// The block of an item.
    fn block(&self, item: u32) -> (u32, u32) {
        let span = self.span();
        let first = item - item % span;
        (first, first.saturating_add(span - 1))
    }

    /// Gives an output.
    fn give(&mut self, first: u32, last: u32, kept: Kept) -> Step {
        let again = self.told.is_some_and(|told| last <= told);
        self.told = self.told.max(Some(last));
        let parcel = Parcel {
            first,
            last,
            unit: u16::try_from(self.span()).unwrap_or(u16::MAX),
            stages: self.like.stages.rest(),
            kept,
            ..self.like
        };
        Step::Give { parcel, again }
    }

    /// When it is forgotten if nothing comes for it.
    fn forgotten(&self) -> Option<Instant> {
        self.running.is_none().then_some(self.used + FORGOTTEN)
    }

    /// Notes that a run has come to an end that counts.
    fn come_through(&mut self) {
        (self.tries, self.retry) = (0, None);
    }
}

/// What this node needs to know of a tasklet to apply it.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Applicable {
    pub(in crate::node) name: TaskletName,
    /// The type of its first parameter.
    pub(in crate::node) state: Option<Type>,
}

impl Applicable {
    /// Of a tasklet of which this node knows nothing: what is offered with it has failed or was dropped.
    pub(super) fn unknown() -> Self {
        Self {
            name: TaskletName::new("-/-").expect("both segments are valid"),
            state: None,
        }
    }
}

/// What became of an item that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offered {
    /// An operator has it, or needs it no more.
    Taken,
    /// There is no room for the operator: the item goes on as it is.
    NoRoom,
}

/// What an operator does next.
#[derive(Debug)]
pub(super) enum Step {
    /// It runs its tasklet with the arguments that were written.
    Run { number: u32, name: TaskletName },
    /// It gives an item. If that is given once more, the sink has not got it.
    Give { parcel: Parcel, again: bool },
}

/// What operators need for a step.
pub(super) struct Turn<'t> {
    pub(super) items: &'t mut Items,
    /// The number of the next run.
    pub(super) number: u32,
    /// Takes the arguments of a run.
    pub(super) args: &'t mut Vec<u8>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ran<'r> {
    /// These are its results.
    Done(&'r [u8]),
    /// The tasklet has failed.
    Failed(Fault),
    /// This node could not run it.
    Hindered(Fault),
}

/// The operators of a node.
#[derive(Debug)]
pub(super) struct Operators {
    table: Vec<Option<Operator>>,
    /// Sorted by operator and end.
    inputs: Vec<Input>,
    /// How many inputs the operators may have together.
    room: usize,
}

impl Operators {
    /// Room for so many operators, which have at most `inputs` inputs together.
    pub(super) fn new(operators: usize, inputs: usize) -> Self {
        Self {
            table: (0..operators).map(|_| None).collect(),
            inputs: Vec::with_capacity(inputs),
            room: inputs,
        }
    }

    /// What each operator has done.
    pub(super) fn status(&self) -> impl Iterator<Item = OperatorStatus> {
        self.table.iter().flatten().map(|operator| operator.status)
    }

    /// Offers an item to the operator for its next stage, which this node can apply. `bytes` is the length
    /// of its frame and `hops` the number of links to its sink. The caller keeps the value only if
    /// there is no room.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        items: &mut Items,
        parcel: Parcel,
        stage: Stage,
        applicable: Applicable,
        (bytes, hops): (usize, u8),
    ) -> Offered {
        let Some(at) = self.find(now, items, &parcel, stage, applicable) else {
            return Offered::NoRoom;
        };
        let Some(operator) = &mut self.table[usize::from(at)] else {
            return Offered::NoRoom;
        };
        operator.used = now;
        if matches!(parcel.kept, Kept::Value(_)) {
            // It may not have been known before.
            (operator.name, operator.state) = (applicable.name, applicable.state);
            operator.status.tasklet = applicable.name;
        }
        if parcel.oldest > operator.like.oldest {
            operator.like.oldest = parcel.oldest;
            let oldest = parcel.oldest;
            if let Some(fold) = operator.fold.take_if(|fold| fold.first < oldest) {
                items.release(fold.kept);
            }
            self.forget(items, at, 0, oldest.saturating_sub(1));
        }
        let Range { start, end } = self.range(at);
        let Some(operator) = &mut self.table[usize::from(at)] else {
            return Offered::NoRoom;
        };
        let is_old = parcel.last < operator.like.oldest;
        let is_folded = operator
            .fold
            .is_some_and(|fold| fold.first <= parcel.last && parcel.last < fold.next);
        // A filter may give more of what it has dropped with the same item when it runs again.
        let mut own = self.inputs.iter_mut().filter(|input| input.at == at);
        let known = own.find(|input| {
            let tells = input.kept != Kept::Nothing || parcel.kept == Kept::Nothing;
            input.last == parcel.last && tells
        });
        let is_known = known.is_some();
        if let Some(known) = known {
            known.first = known.first.min(parcel.first);
        }
        if is_old || is_folded || is_known {
            items.release(parcel.kept);
            return Offered::Taken;
        }
        let before = |input: &Input| (input.at, input.last) < (at, parcel.last);
        let to = self.inputs.partition_point(before);
        if end - start >= operator.room {
            // The source sends again what comes too early.
            if to == end {
                items.release(parcel.kept);
                return Offered::Taken;
            }
            items.release(self.inputs.remove(end - 1).kept);
        }
        let Parcel {
            first, last, kept, ..
        } = parcel;
        self.inputs.insert(
            to,
            Input {
                at,
                first,
                last,
                kept,
            },
        );
        operator.status.items_in += 1;
        operator.status.bytes_in += bytes as u64;
        // Without the operator, links would have carried it once.
        if operator.seen.note(last / u32::from(operator.like.unit)) {
            operator.status.saved += bytes as i64 * i64::from(hops);
        }
        Offered::Taken
    }

    /// Notes that an output has gone on, perhaps again, in a frame of `bytes` over `hops` links.
    pub(super) fn note_given(&mut self, parcel: &Parcel, (bytes, hops): (usize, u8), again: bool) {
        let gave = |it: &&mut Operator| {
            it.like.course == parcel.course && it.like.stages.rest() == parcel.stages
        };
        if let Some(operator) = self.table.iter_mut().flatten().find(gave) {
            operator.status.items_out += 1;
            operator.status.bytes_out += bytes as u64;
            // Without the operator, links would have carried its inputs again.
            if !again {
                operator.status.saved -= bytes as i64 * i64::from(hops);
            }
        }
    }

    /// The operator for these items, if need be a new one.
    fn find(
        &mut self,
        now: Instant,
        items: &mut Items,
        parcel: &Parcel,
        stage: Stage,
        applicable: Applicable,
    ) -> Option<At> {
        let is = |it: &Operator| {
            it.like.course == parcel.course
                && it.like.stages == parcel.stages
                && it.like.unit == parcel.unit
        };
        let mut table = self.table.iter();
        if let Some(at) = table.position(|it| it.as_ref().is_some_and(is)) {
            return Some(at as At);
        }
        // Those of an earlier run, or of earlier versions of tasklets, are over.
        self.end_before(items, &parcel.course);
        self.remove_if(items, |it| {
            it.like.course == parcel.course && it.like.stages.len() == parcel.stages.len()
        });
        let usual = match stage.kind.gathers() {
            true => usize::from(stage.count) * 2,
            false => WAITING,
        };
        // The source sends again what makes one output in the end, all at once.
        let room = usual.max(parcel.stages.span() as usize);
        loop {
            let vacant = self.table.iter().position(Option::is_none);
            let reserved: usize = self.table.iter().flatten().map(|it| it.room).sum();
            if let Some(at) = vacant.filter(|_| reserved + room <= self.room) {
                let Parcel { course, .. } = *parcel;
                self.table[at] = Some(Operator {
                    like: Parcel {
                        kept: Kept::Nothing,
                        ..*parcel
                    },
                    stage,
                    name: applicable.name,
                    state: applicable.state,
                    room,
                    running: None,
                    fold: None,
                    dropped: None,
                    retry: None,
                    tries: 0,
                    used: now,
                    told: None,
                    seen: Seen::default(),
                    status: OperatorStatus {
                        flow: course.flow,
                        source: course.source,
                        kind: stage.kind,
                        tasklet: applicable.name,
                        items_in: 0,
                        bytes_in: 0,
                        items_out: 0,
                        bytes_out: 0,
                        saved: 0,
                    },
                });
                return Some(at as At);
            }
            let idle = self.table.iter().enumerate().filter_map(|(at, it)| {
                let it = it.as_ref()?;
                (it.running.is_none() && now - it.used > IDLE).then_some((it.used, at))
            });
            let (_, at) = idle.min()?;
            self.remove(items, at as At);
        }
    }

    /// Ends an operator.
    fn remove(&mut self, items: &mut Items, at: At) {
        self.forget(items, at, 0, u32::MAX);
        if let Some(operator) = self.table[usize::from(at)].take()
            && let Some(fold) = operator.fold
        {
            items.release(fold.kept);
        }
    }

    /// Forgets the inputs of an operator that end from `first` to `last`.
    fn forget(&mut self, items: &mut Items, at: At, first: u32, last: u32) {
        self.inputs.retain(|input| {
            let is_over = input.at == at && (first..=last).contains(&input.last);
            if is_over {
                items.release(input.kept);
            }
            !is_over
        });
    }

    /// Ends all operators of a flow and its source.
    pub(super) fn end(&mut self, items: &mut Items, course: &Course) {
        self.remove_if(items, |it| it.like.course == *course);
    }

    /// Ends the operators of earlier runs of a flow at its source: what they would still give would seem to be
    /// of a later run.
    pub(super) fn end_before(&mut self, items: &mut Items, course: &Course) {
        self.remove_if(items, |it| {
            it.like.course.is_like(course) && it.like.course.is_before(course)
        });
    }

    /// Ends all operators of a flow, whatever its sources.
    pub(super) fn end_all(&mut self, items: &mut Items, flow: FlowId) {
        self.remove_if(items, |it| it.like.course.flow == flow);
    }

    /// Forgets operators that have had nothing to do for long: their flows may have ended elsewhere.
    pub(super) fn forget_idle(&mut self, now: Instant, items: &mut Items) {
        self.remove_if(items, |it| it.forgotten().is_some_and(|at| at <= now));
    }

    fn remove_if(&mut self, items: &mut Items, is: impl Fn(&Operator) -> bool) {
        for at in 0..self.table.len() as At {
            if self.table[usize::from(at)].as_ref().is_some_and(&is) {
                self.remove(items, at);
            }
        }
    }

    /// The next step of any operator; a run has the arguments that are written, and the next number.
    pub(super) fn poll(&mut self, now: Instant, turn: &mut Turn<'_>) -> Option<Step> {
        for at in 0..self.table.len() as At {
            let Some(operator) = &self.table[usize::from(at)] else {
                continue;
            };
            if let Some((first, last, since)) = operator.dropped
                && (since + DROPPED_FOR <= now
                    || last - first
                        >= DROPPED_RANGE.min(DROPPED * u32::from(operator.like.unit) - 1))
            {
                return self.tell_dropped(at);
            }
            if operator.running.is_some() || operator.retry.is_some_and(|retry| now < retry) {
                continue;
            }
            let step = match operator.stage.kind {
                StageKind::Map | StageKind::Filter => self.step_each(at, now, turn),
                StageKind::Window => self.step_window(at, turn),
                StageKind::Accumulate => self.step_fold(at, turn),
            };
            if step.is_some() {
                return step;
            }
        }
        None
    }

    /// When an operator must be polled again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let operators = self.table.iter().flatten();
        let times = operators.flat_map(|it| {
            let dropped = it.dropped.map(|(_, _, since)| since + DROPPED_FOR);
            let retry = it.retry.filter(|_| it.running.is_none());
            [dropped, retry, it.forgotten()]
        });
        times.flatten().min()
    }

    /// Where the inputs of an operator are.
    fn range(&self, at: At) -> Range<usize> {
        let start = self.inputs.partition_point(|input| input.at < at);
        let end = self.inputs.partition_point(|input| input.at <= at);
        start..end
    }

    fn own(&self, at: At) -> &[Input] {
        &self.inputs[self.range(at)]
    }

    fn run(&mut self, at: At, number: u32, first: u32, last: u32) -> Option<Step> {
        let operator = self.table[usize::from(at)].as_mut()?;
        operator.running = Some(Running {
            number,
            first,
            last,
        });
        let name = operator.name;
        Some(Step::Run { number, name })
    }

    /// Gives an output; its inputs are over.
    fn give(
        &mut self,
        at: At,
        items: &mut Items,
        (first, last): (u32, u32),
        kept: Kept,
    ) -> Option<Step> {
        let operator = self.table[usize::from(at)].as_mut()?;
        let mut first = first;
        if let Some((dropped, end, _)) = operator.dropped
            && end.checked_add(1) == Some(first)
        {
            first = dropped;
            operator.dropped = None;
        }
        operator.come_through();
        let step = operator.give(first, last, kept);
        let from = match operator.stage.kind.gathers() {
            true => operator.block(last).0,
            false => last,
        };
        self.forget(items, at, from, last);
        Some(step)
    }

    fn tell_dropped(&mut self, at: At) -> Option<Step> {
        let operator = self.table[usize::from(at)].as_mut()?;
        let (first, last, _) = operator.dropped.take()?;
        Some(operator.give(first, last, Kept::Nothing))
    }

    /// Notes that a filter has dropped what an input covers.
    fn drop_input(
        &mut self,
        at: At,
        now: Instant,
        items: &mut Items,
        (first, last): (u32, u32),
    ) -> Option<Step> {
        let told = match self.table[usize::from(at)].as_mut()?.dropped {
            Some((_, end, _)) if end.checked_add(1) != Some(first) => self.tell_dropped(at),
            _ => None,
        };
        let operator = self.table[usize::from(at)].as_mut()?;
        operator.come_through();
        let begun = operator
            .dropped
            .map_or((first, now), |(first, _, since)| (first, since));
        operator.dropped = Some((begun.0, last, begun.1));
        self.forget(items, at, last, last);
        told
    }

    fn step_each(&mut self, at: At, now: Instant, turn: &mut Turn<'_>) -> Option<Step> {
        let filters = self.table[usize::from(at)].as_ref()?.stage.kind == StageKind::Filter;
        while let Some(Input {
            first, last, kept, ..
        }) = self.own(at).first().copied()
        {
            match kept {
                Kept::Nothing if filters => {
                    let told = self.drop_input(at, now, turn.items, (first, last));
                    if told.is_some() {
                        return told;
                    }
                }
                Kept::Nothing | Kept::Failed(_) => {
                    return self.give(at, turn.items, (first, last), kept);
                }
                Kept::Value(value) => {
                    return match values::write_item(turn.items.get(value), turn.args) {
                        Some(()) => self.run(at, turn.number, first, last),
                        None => {
                            let failed = Kept::Failed(Fault::ValuesTooLarge);
                            self.give(at, turn.items, (first, last), failed)
                        }
                    };
                }
            }
        }
        None
    }

    /// Where the items from `from` on that are here end, if they do not go on to `end`.
    fn covered(&self, at: At, from: u32, end: u32) -> u32 {
        let oldest = |it: &Operator| it.like.oldest;
        let mut next = self.table[usize::from(at)].as_ref().map_or(from, oldest);
        next = next.max(from);
        for input in self.own(at) {
            if input.first <= next && next <= input.last {
                next = input.last.saturating_add(1);
            }
            if next > end {
                break;
            }
        }
        next
    }

    /// What an output for a block covers: the block, and blocks before it in which everything was
    /// dropped.
    fn reach(&self, at: At, (first, last): (u32, u32), span: u32) -> (u32, u32) {
        let covers = |input: &&Input| input.first < first && first <= input.last;
        let before = self.own(at).iter().filter(covers);
        let before = before.map(|input| input.first.div_ceil(span) * span).min();
        (before.map_or(first, |before| before.min(first)), last)
    }

    /// The first block of which inputs are here, and all of them.
    fn whole(&self, at: At) -> Option<(u32, u32)> {
        let operator = self.table[usize::from(at)].as_ref()?;
        let mut looked = None;
        let mut blocks = self.own(at).iter().map(|input| operator.block(input.last));
        blocks.find(|block| {
            let is_new = looked.replace(*block) != Some(*block);
            is_new && self.covered(at, block.0, block.1) > block.1
        })
    }

    /// The first block that can begin, or whose inputs before those that are here were dropped.
    fn begun(&self, at: At) -> Option<(u32, u32)> {
        let operator = self.table[usize::from(at)].as_ref()?;
        let mut blocks = self.own(at).iter().map(|input| operator.block(input.last));
        blocks.find(|block| {
            let first = block.0.max(operator.like.oldest);
            self.covered(at, block.0, first) > first
        })
    }

    /// Whether all of a block is here that comes before the one in `fold`, or after one that has been given
    /// before and waits for an item: those of it that are here have come again, and after its output. The
    /// source sends again what is lost by that, if the sink lacks it.
    fn is_overtaken(&self, operator: &Operator, at: At, fold: Fold) -> bool {
        let (_, last) = operator.block(fold.first);
        let is_told = operator.told.is_some_and(|told| last <= told);
        let goes_on = fold.next > last || self.covered(at, fold.next, fold.next) > fold.next;
        let whole = self.whole(at).map(|(first, _)| first);
        whole.is_some_and(|whole| whole < fold.first || (is_told && !goes_on))
    }

    fn step_window(&mut self, at: At, turn: &mut Turn<'_>) -> Option<Step> {
        let span = self.table[usize::from(at)].as_ref()?.span();
        let block = self.whole(at)?;
        let reach = self.reach(at, block, span);
        let inside = |input: &&Input| (block.0..=block.1).contains(&input.last);
        let inputs = self.own(at).iter().filter(inside);
        let failed = inputs.clone().find_map(|input| match input.kept {
            Kept::Failed(fault) => Some(fault),
            Kept::Nothing | Kept::Value(_) => None,
        });
        if let Some(fault) = failed {
            return self.give(at, turn.items, reach, Kept::Failed(fault));
        }
        let values = inputs.filter_map(|input| match input.kept {
            Kept::Value(value) => Some(turn.items.get(value)),
            Kept::Nothing | Kept::Failed(_) => None,
        });
        if values.clone().next().is_none() {
            return self.give(at, turn.items, reach, Kept::Nothing);
        }
        match values::write_list(values, turn.args) {
            Some(()) => self.run(at, turn.number, reach.0, reach.1),
            None => self.give(at, turn.items, reach, Kept::Failed(Fault::ValuesTooLarge)),
        }
    }

    fn step_fold(&mut self, at: At, turn: &mut Turn<'_>) -> Option<Step> {
        loop {
            let operator = self.table[usize::from(at)].as_ref()?;
            if let Some(fold) = operator.fold
                && self.is_overtaken(operator, at, fold)
            {
                turn.items.release(fold.kept);
                self.table[usize::from(at)].as_mut()?.fold = None;
                continue;
            }
            let block = match operator.fold {
                Some(fold) => operator.block(fold.first),
                None => self.begun(at)?,
            };
            let fold = operator.fold.unwrap_or(Fold {
                first: block.0,
                from: self.reach(at, block, operator.span()).0,
                next: block.0.max(operator.like.oldest),
                kept: Kept::Nothing,
            });
            if fold.next > block.1 {
                self.table[usize::from(at)].as_mut()?.fold = None;
                return self.give(at, turn.items, (fold.from, block.1), fold.kept);
            }
            let covers = |input: &&Input| input.first <= fold.next && fold.next <= input.last;
            let Input {
                first, last, kept, ..
            } = self.own(at).iter().find(covers).copied()?;
            let next = last.saturating_add(1);
            let is_in = last <= block.1;
            let value = match (kept, fold.kept) {
                (Kept::Value(value), Kept::Nothing | Kept::Value(_)) if is_in => value,
                (Kept::Failed(fault), Kept::Nothing | Kept::Value(_)) if is_in => {
                    turn.items.release(fold.kept);
                    self.set_fold(
                        at,
                        Fold {
                            next,
                            kept: Kept::Failed(fault),
                            ..fold
                        },
                    );
                    self.forget(turn.items, at, last, last);
                    continue;
                }
                _ => {
                    let next = next.min(block.1.saturating_add(1));
                    self.set_fold(at, Fold { next, ..fold });
                    if is_in {
                        self.forget(turn.items, at, last, last);
                    }
                    continue;
                }
            };
            let state = match fold.kept {
                Kept::Value(state) => Some(turn.items.get(state)),
                Kept::Nothing | Kept::Failed(_) => operator.state.map(values::zero),
            };
            let written = state
                .and_then(|state| values::write_state(state, turn.items.get(value), turn.args));
            if written.is_some() {
                self.set_fold(at, fold);
                return self.run(at, turn.number, first, last);
            }
            turn.items.release(fold.kept);
            let kept = Kept::Failed(Fault::ValuesTooLarge);
            self.set_fold(at, Fold { next, kept, ..fold });
            self.forget(turn.items, at, last, last);
        }
    }

    fn set_fold(&mut self, at: At, fold: Fold) {
        if let Some(operator) = &mut self.table[usize::from(at)] {
            operator.fold = Some(fold);
        }
    }

    /// Takes the end of a run; returns what follows from it, or items that this node cannot work on after
    /// all go to `untouched`.
    pub(super) fn handle_ran(
        &mut self,
        now: Instant,
        items: &mut Items,
        (number, is_sink): (u32, bool),
        ran: Ran<'_>,
        untouched: &mut Vec<Parcel>,
    ) -> Option<Step> {
        let runs = |it: &Operator| it.running.is_some_and(|running| running.number == number);
        let at = self
            .table
            .iter()
            .position(|it| it.as_ref().is_some_and(runs))?;
        let operator = self.table[at].as_mut()?;
        let Running { first, last, .. } = operator.running.take()?;
        let kind = operator.stage.kind;
        let at = at as At;
        let made = match (ran, kind) {
            (Ran::Done(results), StageKind::Filter) => match values::verdict(results) {
                Some(false) => Ok(Kept::Nothing),
                Some(true) => {
                    let mut own = self.own(at).iter();
                    let kept = own.find(|input| input.last == last)?.kept;
                    items.share(kept);
                    Ok(kept)
                }
                None => Ok(Kept::Failed(Fault::WrongSignature)),
            },
            (Ran::Done(results), _) => match values::result(results) {
                Some(value) => {
                    let kept = items.put(value).map(Kept::Value);
                    kept.ok_or(Fault::ValuesTooLarge)
                }
                None => Ok(Kept::Failed(Fault::WrongSignature)),
            },
            (Ran::Failed(fault), _) => Ok(Kept::Failed(fault)),
            (Ran::Hindered(fault), _) => Err(fault),
        };
        let kept = match made {
            Ok(kept) => kept,
            Err(fault) => {
                let operator = self.table[usize::from(at)].as_mut()?;
                operator.tries += 1;
                operator.retry = Some(now + RETRY);
                // A sink that is busy is not for ever.
                let waits = is_sink && fault == Fault::Busy;
                if operator.tries < TRIES || waits {
                    operator.tries = operator.tries.min(TRIES);
                    return None;
                }
                if !is_sink {
                    self.give_up(items, at, untouched);
                    return None;
                }
                Kept::Failed(fault)
            }
        };
        match kind {
            StageKind::Filter if kept == Kept::Nothing => {
                self.drop_input(at, now, items, (first, last))
            }
            StageKind::Accumulate => {
                let operator = self.table[usize::from(at)].as_mut()?;
                operator.come_through();
                match operator.fold.as_mut() {
                    Some(fold) => {
                        items.release(fold.kept);
                        fold.kept = kept;
                        fold.next = last.saturating_add(1);
                    }
                    // The sink has got its block from elsewhere.
                    None => items.release(kept),
                }
                self.forget(items, at, last, last);
                None
            }
            StageKind::Map | StageKind::Filter | StageKind::Window => {
                self.give(at, items, (first, last), kept)
            }
        }
    }

    /// The sink of the items for which a run is.
    pub(super) fn sink_of(&self, number: u32) -> Option<NodeId> {
        let runs = |it: &&Operator| it.running.is_some_and(|running| running.number == number);
        let mut table = self.table.iter().flatten();
        table.find(runs).map(|it| it.like.sink)
    }

    /// Ends an operator that this node cannot run; its items go on untouched.
    fn give_up(&mut self, items: &mut Items, at: At, untouched: &mut Vec<Parcel>) {
        let Some(operator) = &self.table[usize::from(at)] else {
            return;
        };
        for input in self.own(at) {
            if untouched.len() < untouched.capacity() {
                items.share(input.kept);
                untouched.push(Parcel {
                    first: input.first,
                    last: input.last,
                    kept: input.kept,
                    ..operator.like
                });
            }
        }
        self.remove(items, at);
    }

    /// Checks what must hold between two inputs.
    pub(super) fn assert_invariants(&self) {
        debug_assert!(self.inputs.len() <= self.room, "operators keep their room");
        debug_assert!(
            self.inputs.is_sorted_by_key(|input| (input.at, input.last)),
            "inputs are sorted"
        );
    }
}

#[cfg(test)]
mod tests;
