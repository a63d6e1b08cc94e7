//! Jobs: the table of calls, and the stack of activations that each runs.

mod arrival;
mod wish;

use alloc::vec::Vec;
use core::ops::Index;
use core::time::Duration;

use nimblenet_tasklet::{
    ActivationId, Capabilities, Fault, NamespaceId, Outcome, Place, Start, TaskletName, TaskletRef,
    Trap,
};

use crate::cache::{Cache, SlotId};
use crate::config::{ExecutorId, FULL, Limits};
use crate::event::{CallRequest, ClientId, PartyId, Priority};
use crate::full::Full;
use crate::job::{
    Activation, CallId, Callee, Caller, ExportName, Job, Need, Next, State, Station, Step,
};
use crate::node::post::{ImageWork, Post};
use crate::places::{Depth, JobAt};
use crate::queue::Queue;
use crate::time::Instant;
use crate::wire::GoNumber;

/// So many places are made at the start, so that none of their jobs fails for want of memory later. The
/// limits of large nodes are far above what they need on most days.
const PLACES_AT_ONCE: usize = 16;

/// The jobs of a node.
#[derive(Debug)]
pub(in crate::node) struct Jobs {
    table: Vec<Job>,
    growth: Full<Growth>,
    /// All places from here on are free.
    end: usize,
    /// Jobs that have ended and are not reported yet, oldest first.
    finished: Queue<JobAt>,
    /// The finished job whose result was reported last.
    reported: Option<JobAt>,
    last_call: u32,
    last_activation: u32,
    calls: u32,
}

/// How further places are made.
#[derive(Debug)]
struct Growth {
    limits: Limits,
    /// Namespaces of the node.
    namespaces: usize,
}

/// What a job is opened with.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Opening<'a> {
    pub(in crate::node) name: TaskletName,
    pub(in crate::node) export: ExportName,
    pub(in crate::node) args: &'a [u8],
    pub(in crate::node) caller: Option<Caller>,
    pub(in crate::node) deadline: Option<Instant>,
    pub(in crate::node) priority: Full<Priority>,
    pub(in crate::node) client: Option<ClientId>,
    pub(in crate::node) from: Option<PartyId>,
    pub(in crate::node) state: State,
    /// When the node took the call, and its number, if it has waited for a place.
    pub(in crate::node) since: Option<(Instant, CallId)>,
}

impl Opening<'_> {
    /// What is known of an offered job before its record is here.
    pub(in crate::node) fn arrival(caller: Caller, deadline: Option<Instant>) -> Self {
        Self {
            name: TaskletName::new("-/-").expect("both segments are valid"),
            export: ExportName::default(),
            args: &[],
            caller: Some(caller),
            deadline,
            priority: Full::of(Priority::Normal),
            client: None,
            from: None,
            state: State::Arriving(None),
            since: None,
        }
    }
}

impl<'a> Opening<'a> {
    /// The wait for the result of another call of this node.
    pub(in crate::node) fn claim(claim: &CallRequest<'a>, deadline: Instant) -> Self {
        Self {
            name: claim.name,
            export: ExportName::default(),
            args: claim.args,
            caller: None,
            deadline: Some(deadline),
            priority: Full::of(claim.priority),
            client: claim.client,
            from: claim.from,
            state: State::Remote,
            since: None,
        }
    }
}

/// An activation that a job has given up.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Unwound {
    pub(in crate::node) activation: ActivationId,
    /// The modules that it has reserved.
    pub(in crate::node) modules: [Option<SlotId>; 2],
    /// The executor that holds it.
    pub(in crate::node) holder: Option<ExecutorId>,
    /// Whether it takes a place there.
    pub(in crate::node) placed: bool,
    /// Its image on the shelf.
    pub(in crate::node) image: Option<SlotId>,
}

impl Jobs {
    /// Room for all the jobs that the limits allow. A full node makes the places beyond
    /// [`PLACES_AT_ONCE`] when so many jobs are there for the first time.
    pub(in crate::node) fn new(limits: &Limits, namespaces: usize) -> Self {
        let places = match FULL {
            true => limits.jobs.min(PLACES_AT_ONCE),
            false => limits.jobs,
        };
        let mut table = Vec::with_capacity(limits.jobs);
        table.extend((0..places).map(|_| Job::vacant(limits, namespaces)));
        Self {
            table,
            growth: Full::new(|| Growth {
                limits: *limits,
                namespaces,
            }),
            end: 0,
            finished: Queue::with_capacity(limits.jobs),
            reported: None,
            last_call: 0,
            last_activation: 0,
            calls: limits.calls,
        }
    }

    /// The places up to the last one that is not free, in order; some of them may be free.
    pub(in crate::node) fn places(&self) -> impl Iterator<Item = JobAt> + use<> {
        (0..self.end).map(JobAt::new)
    }

    /// All places, whatever they hold.
    pub(in crate::node) fn all_places(&self) -> impl Iterator<Item = JobAt> + use<> {
        (0..self.table.len()).map(JobAt::new)
    }

    /// Jobs that have yet to end, with their places.
    pub(in crate::node) fn live(&self) -> impl Iterator<Item = (JobAt, &Job)> {
        let held = self.held().iter().enumerate();
        let live = held.filter(|(_, job)| job.state.live());
        live.map(|(at, job)| (JobAt::new(at), job))
    }

    /// Jobs that have yet to end and that no other node runs.
    pub(in crate::node) fn live_here(&self) -> usize {
        let here = |(_, job): &(JobAt, &Job)| job.state != State::Remote;
        self.live().filter(here).count()
    }

    /// How many jobs run or wait; those that only wait to be reported count too.
    pub(in crate::node) fn count(&self) -> usize {
        let is_over =
            |state| matches!(state, State::Free | State::Answered(_) | State::Declined(_));
        self.held().iter().filter(|job| !is_over(job.state)).count()
    }

    /// Whether any job needs catalogue entries.
    pub(in crate::node) fn need_entries(&self) -> bool {
        self.held().iter().any(|job| job.depth() > 0)
    }

    /// The oldest epoch of the node's namespace number `namespace` that a job uses.
    pub(in crate::node) fn oldest_epoch(&self, namespace: usize) -> Option<u32> {
        let jobs = self.held().iter().filter(|job| job.depth() > 0);
        jobs.filter_map(|job| job.epochs.get(namespace))
            .min()
            .copied()
    }

    /// The job of a call that has not ended.
    pub(in crate::node) fn by_call(&self, call: CallId) -> Option<JobAt> {
        self.position(|job| job.call == call && job.state.live())
    }

    /// The job of another node's call, whether it runs or is kept for repetitions.
    pub(in crate::node) fn by_caller(&self, caller: Caller) -> Option<JobAt> {
        self.position(|job| job.caller == Some(caller) && job.state != State::Free)
    }

    /// The job that runs this activation.
    pub(in crate::node) fn running(&self, activation: ActivationId) -> Option<JobAt> {
        self.position(|job| {
            matches!(job.state, State::Running(_) | State::Thawing(..))
                && job.top().is_some_and(|top| top.id == activation)
        })
    }

    /// Opens a job in a free place.
    ///
    /// # Errors
    /// [`Fault::Busy`] if there is no such place, [`Fault::ValuesTooLarge`] if the arguments are
    /// longer than the limit.
    pub(in crate::node) fn open(
        &mut self,
        now: Instant,
        opening: Opening<'_>,
    ) -> Result<JobAt, Fault> {
        let at = self.free_place().map(JobAt::new).ok_or(Fault::Busy)?;
        if opening.args.len() > self[at].message.capacity() {
            return Err(Fault::ValuesTooLarge);
        }
        self.end = self.end.max(at.index() + 1);
        let (accepted, call) = match opening.since {
            Some(since) => since,
            None => (now, self.next_call()),
        };
        let calls_left = self.calls;
        let job = self.job_mut(at);
        job.set_message(opening.args);
        debug_assert_eq!(job.depth(), 0, "a free place has no activations");
        job.call = call;
        job.state = opening.state;
        job.name = opening.name;
        job.export = opening.export;
        job.caller = opening.caller;
        job.client = opening.client;
        job.leaves = false;
        job.blame_nobody();
        job.number = None;
        job.accepted = accepted;
        job.deadline = opening.deadline;
        job.priority = opening.priority;
        if FULL {
            job.stepped = accepted;
            job.ran = Full::of(opening.state == State::Remote);
        }
        job.epochs.clear();
        job.trap = None;
        job.took = Duration::ZERO;
        job.steps.clear();
        job.calls_left = calls_left;
        job.need = Need::NONE;
        job.left_us = 0;
        job.preload.clear();
        Ok(at)
    }

    /// The number of the next call.
    pub(in crate::node) fn next_call(&mut self) -> CallId {
        let call = self.coming_call();
        self.last_call = call.0;
        call
    }

    /// The number that the next call will have.
    pub(in crate::node) fn coming_call(&self) -> CallId {
        CallId(self.last_call.wrapping_add(1))
    }

    /// Whether a place is free.
    pub(in crate::node) fn has_free_place(&self) -> bool {
        self.can_grow() || self.table.iter().any(|job| job.state == State::Free)
    }

    /// A free place, which is made if all that there are are taken.
    fn free_place(&mut self) -> Option<usize> {
        let free = self.table.iter().position(|job| job.state == State::Free);
        if free.is_some() || !self.can_grow() {
            return free;
        }
        let Growth { limits, namespaces } = self.growth.get()?;
        self.table.push(Job::vacant(limits, *namespaces));
        Some(self.table.len() - 1)
    }

    fn can_grow(&self) -> bool {
        let growth = self.growth.get();
        growth.is_some_and(|it| self.table.len() < it.limits.jobs)
    }

    /// Frees a place, if none is free, whose job has ended and is only kept for its caller: `keep` says
    /// whether its answer is kept elsewhere.
    pub(in crate::node) fn vacate(&mut self, keep: impl FnOnce(&Job) -> bool) {
        if self.has_free_place() {
            return;
        }
        let is_kept = |state| matches!(state, State::Answered(_) | State::Declined(_));
        let kept = self.places().filter(|at| is_kept(self[*at].state));
        let oldest = kept.min_by_key(|at| self[*at].accepted);
        if let Some(at) = oldest.filter(|at| keep(&self[*at])) {
            self.close(at);
        }
    }

    /// Whether a job has ended for one of these callers.
    pub(in crate::node) fn has_answered(&self, is: impl Fn(Caller) -> bool) -> bool {
        self.held().iter().any(|job| answered_for(job, &is))
    }

    /// Frees the places of jobs that have ended, for whose answers the callers do not ask any more.
    pub(in crate::node) fn forget_answered(&mut self, is_over: impl Fn(Caller) -> bool) {
        for at in self.places() {
            if answered_for(&self[at], &is_over) {
                self.close(at);
            }
        }
    }

    /// Frees the place of a job that was never reported to anyone.
    pub(in crate::node) fn close(&mut self, at: JobAt) {
        self.set(at, State::Free);
        let last = self.held().iter().rposition(|job| job.state != State::Free);
        self.end = last.map_or(0, |last| last + 1);
    }

    /// Sets the state of a job.
    pub(in crate::node) fn set(&mut self, at: JobAt, state: State) {
        let job = self.job_mut(at);
        job.state = state;
        // From the offer on nobody can say that it has not run there.
        if FULL && matches!(state, State::Remote | State::Leaving) {
            job.ran = Full::of(true);
        }
    }

    /// Sets whether the job leaves for another node as soon as it stands still.
    pub(in crate::node) fn set_leaves(&mut self, at: JobAt, leaves: bool) {
        self.job_mut(at).leaves = leaves;
    }

    /// Sets the number under which the job is ready.
    pub(in crate::node) fn set_number(&mut self, at: JobAt, number: GoNumber) {
        self.job_mut(at).number = Some(number);
    }

    /// Sets the epochs of the node's namespaces that the job uses.
    pub(in crate::node) fn set_epochs(&mut self, at: JobAt, epochs: impl Iterator<Item = u32>) {
        let job = self.job_mut(at);
        job.epochs.clear();
        job.epochs.extend(epochs);
    }

    /// Sets what the whole chain of the job needs.
    pub(in crate::node) fn set_need(&mut self, at: JobAt, need: Need) {
        let job = self.job_mut(at);
        job.need = need;
        job.left_us = need.time_us;
    }

    /// Notes that an executor begins a step of a job.
    pub(in crate::node) fn note_step(&mut self, at: JobAt, now: Instant) {
        let job = self.job_mut(at);
        job.stepped = now;
        job.ran = Full::of(true);
    }

    /// Notes that the present step of a job has ended.
    pub(in crate::node) fn note_ran(&mut self, at: JobAt, now: Instant) {
        self.job_mut(at).note_ran(now);
    }

    /// Replaces arguments or results on their way; false if they are longer than the limit.
    pub(in crate::node) fn set_message(&mut self, at: JobAt, message: &[u8]) -> bool {
        self.job_mut(at).set_message(message)
    }

    /// Notes a trap. A job reports its first one.
    pub(in crate::node) fn note_trap(&mut self, at: JobAt, trap: Option<Trap>) {
        let job = self.job_mut(at);
        job.trap = job.trap.or(trap);
    }

    /// Notes that the top activation of a job has failed, at `place` if that is known. A job
    /// reports the first one that fails.
    pub(in crate::node) fn blame(&mut self, at: JobAt, place: Option<Place>) {
        self.job_mut(at).blame_top(place);
    }

    /// Notes an acquisition for the explanation of the call.
    pub(in crate::node) fn note(&mut self, at: JobAt, step: Step) {
        self.job_mut(at).note(step);
    }

    /// Takes the preload list, emptied, out of the job; [`set_preload`](Self::set_preload) puts it
    /// back.
    pub(in crate::node) fn take_preload(&mut self, at: JobAt) -> Vec<(TaskletRef, Option<SlotId>)> {
        core::mem::take(&mut self.job_mut(at).preload)
    }

    pub(in crate::node) fn set_preload(
        &mut self,
        at: JobAt,
        list: Vec<(TaskletRef, Option<SlotId>)>,
    ) {
        self.job_mut(at).preload = list;
    }

    /// Notes the reserved module of an item of the preload list.
    pub(in crate::node) fn preloaded(&mut self, at: JobAt, item: usize, slot: SlotId) {
        self.job_mut(at).preload[item].1 = Some(slot);
    }

    /// Gives back the reservations of preloaded modules; false if there are none.
    pub(in crate::node) fn release_preload(&mut self, post: &mut Post<'_>, at: JobAt) -> bool {
        let mut released = false;
        for (_, slot) in self.job_mut(at).preload.drain(..) {
            released |= slot.is_some();
            slot.into_iter().for_each(|slot| post.cache.release(slot));
        }
        released
    }

    /// Puts a tasklet on top of a job.
    ///
    /// # Errors
    /// [`Fault::TooDeep`] at the limit.
    pub(in crate::node) fn push(
        &mut self,
        at: JobAt,
        callee: &Callee<'_>,
        export: ExportName,
        fuel: u64,
    ) -> Result<(), Fault> {
        self.last_activation = self.last_activation.wrapping_add(1);
        let id = ActivationId(self.last_activation);
        self.job_mut(at).push(id, callee, export, fuel)
    }

    /// Notes the reserved module of an activation, in the form in which it runs.
    pub(in crate::node) fn give_module(&mut self, at: JobAt, depth: Depth, slot: SlotId) {
        if let Some(activation) = self.job_mut(at).activation_mut(depth) {
            debug_assert!(activation.dictionary.is_none(), "it was needed before this");
            activation.slot = Some(slot);
        }
    }

    /// Notes the reserved dictionary of an activation's module.
    pub(in crate::node) fn give_dictionary(&mut self, at: JobAt, depth: Depth, slot: SlotId) {
        if let Some(activation) = self.job_mut(at).activation_mut(depth) {
            activation.dictionary = Some(slot);
        }
    }

    /// Takes the reservation of an activation's dictionary.
    pub(in crate::node) fn take_dictionary(&mut self, at: JobAt, depth: Depth) -> Option<SlotId> {
        self.job_mut(at).activation_mut(depth)?.dictionary.take()
    }

    /// Notes that an executor takes an activation; from here on the executor must be told if the
    /// run is not wanted any more.
    pub(in crate::node) fn start(&mut self, at: JobAt, depth: Depth, executor: ExecutorId) {
        if let Some(activation) = self.job_mut(at).activation_mut(depth) {
            activation.station = Station::At(executor);
            activation.fixed = false;
        }
    }

    /// Notes that the image of an activation is on the shelf; none if the executor could not freeze
    /// it.
    pub(in crate::node) fn shelve(&mut self, at: JobAt, depth: Depth, image: Option<SlotId>) {
        if let Some(activation) = self.job_mut(at).activation_mut(depth) {
            activation.fixed = image.is_none();
            if let Some(slot) = image {
                activation.station = Station::Shelf(slot);
            }
        }
    }

    /// The work that starts an activation; `granted` says which capabilities a namespace has.
    pub(in crate::node) fn start_of<'n>(
        &'n self,
        cache: &'n Cache,
        (at, depth): (JobAt, Depth),
        args: &'n [u8],
        granted: impl Fn(NamespaceId) -> Capabilities,
    ) -> Option<Start<'n>> {
        let stack = self[at].activations();
        let activation = stack.get(depth.index())?;
        let parent = depth.index().checked_sub(1);
        let parent = parent.and_then(|parent| stack.get(parent));
        Some(Start {
            activation: activation.id,
            parent: parent.map(|parent| parent.id),
            name: activation.name,
            entry: activation.entry(),
            code: activation.slot.map_or(&[], |slot| cache.code(slot)),
            export: activation.export.as_str(),
            args,
            fuel: activation.fuel,
            granted: granted(activation.tasklet.namespace),
        })
    }

    /// Takes back work for which an executor had no room, so that everything is as before. Returns
    /// the step that the job waits with.
    pub(in crate::node) fn take_back(&mut self, post: &mut Post<'_>, at: JobAt) -> Option<Next> {
        let job = self.job_mut(at);
        let state = job.state;
        let top = job.top_mut()?;
        let next = if let State::Thawing(image, next) = state {
            post.cache.release(image);
            top.station = Station::Shelf(image);
            top.fixed = false;
            next
        } else if let State::Running(next) = state {
            if next == Next::Start {
                top.station = Station::Nowhere;
            }
            next
        } else {
            return None;
        };
        job.state = State::Ready(next);
        Some(next)
    }

    /// Notes that the state of an activation is lost.
    pub(in crate::node) fn lose(&mut self, at: JobAt, depth: Depth) {
        if let Some(activation) = self.job_mut(at).activation_mut(depth) {
            activation.station = Station::Nowhere;
        }
    }

    /// How many places of an executor activations take.
    pub(in crate::node) fn places_held(&self, executor: ExecutorId) -> usize {
        let activations = self.held().iter().flat_map(|job| job.activations());
        let held = |it: &&Activation| it.has_module && it.holder() == Some(executor);
        activations.filter(held).count()
    }

    /// Sets the fuel that the top activation has left. All that wait for it pay for what it has used since it
    /// was set last; a board, which has no room for more, charges its caller for its last slice when it ends.
    pub(in crate::node) fn set_fuel(&mut self, at: JobAt, fuel: u64) {
        let job = self.job_mut(at);
        if let Some(top) = job.top_mut() {
            let used = top.fuel.saturating_sub(fuel);
            top.fuel = fuel.min(top.fuel);
            if FULL {
                job.charge_callers(used);
            }
        }
    }

    /// Whether the executor can do this work for the job that moves: only the one that holds an
    /// activation can freeze it.
    pub(in crate::node) fn lets_do(&self, executor: ExecutorId, work: ImageWork) -> bool {
        let (at, depth) = work.place();
        let holder = self[at].activation(depth).and_then(|it| it.holder());
        match work {
            ImageWork::Freeze { .. } => holder == Some(executor),
            ImageWork::Thaw { .. } => holder.is_none(),
        }
    }

    /// Takes the answer of an executor that was to freeze or thaw an activation for a move.
    pub(in crate::node) fn note_image(&mut self, work: ImageWork, outcome: &Outcome<'_>) {
        let (at, depth) = work.place();
        let Some(activation) = self.job_mut(at).activation_mut(depth) else {
            return;
        };
        match (*outcome, work) {
            (Outcome::Frozen { .. }, _)
            | (Outcome::Failed { .. } | Outcome::NoRoom { .. }, ImageWork::Thaw { .. }) => {
                activation.station = Station::Record;
            }
            (Outcome::Called { fuel, .. } | Outcome::Yielded { fuel, .. }, _) => {
                activation.fuel = activation.fuel.min(fuel);
            }
            (Outcome::Failed { .. }, ImageWork::Freeze { .. }) => {
                activation.station = Station::Nowhere;
            }
            (
                Outcome::Done { .. }
                | Outcome::NotFrozen { .. }
                | Outcome::NoRoom { .. }
                | Outcome::Verified { .. },
                _,
            ) => {}
        }
    }

    /// Takes the top activation off. `fuel` is the fuel that it has left; none if it has used none since it was
    /// set last. All that wait for it pay for what it has used. Its module stays reserved until the caller
    /// calls again or ends.
    pub(in crate::node) fn pop(&mut self, post: &mut Post<'_>, at: JobAt, fuel: Option<u64>) {
        if FULL && let Some(left) = fuel {
            self.set_fuel(at, left);
        }
        let job = self.job_mut(at);
        let Some(ended) = job.pop() else { return };
        let last = fuel.filter(|_| !FULL);
        let last = last.map_or(0, |left| ended.fuel.saturating_sub(left));
        let (slot, callee_slot) = (ended.slot.take(), ended.callee_slot.take());
        let dictionary = ended.dictionary.take();
        ended.station = Station::Nowhere;
        let kept = match job.top_mut() {
            Some(caller) => {
                if !FULL {
                    caller.fuel = caller.fuel.saturating_sub(last);
                }
                core::mem::replace(&mut caller.callee_slot, slot)
            }
            None => slot,
        };
        for slot in [callee_slot, dictionary, kept].into_iter().flatten() {
            post.cache.release(slot);
        }
    }

    /// Takes the top activation off a job that ends or leaves.
    pub(in crate::node) fn unwind(&mut self, at: JobAt) -> Option<Unwound> {
        let ended = self.job_mut(at).pop()?;
        let (holder, image) = (ended.holder(), ended.image());
        ended.station = Station::Nowhere;
        Some(Unwound {
            activation: ended.id,
            // While the dictionary is needed, the module is not there yet.
            modules: [
                ended.slot.take().or(ended.dictionary.take()),
                ended.callee_slot.take(),
            ],
            holder,
            placed: ended.has_module,
            image,
        })
    }

    /// Ends a job: its result waits to be reported, or is kept for its caller.
    pub(in crate::node) fn finish(&mut self, now: Instant, at: JobAt, result: Result<(), Fault>) {
        let job = self.job_mut(at);
        job.took = now - job.accepted;
        if job.caller.is_some() {
            job.state = State::Answered(result);
        } else {
            job.state = State::Finished(result);
            self.finished.push_back(at);
        }
    }

    /// The job that ended longest ago and is not reported yet. Frees the place of the job that was
    /// reported before.
    pub(in crate::node) fn poll_finished(&mut self) -> Option<&Job> {
        self.forget_reported();
        let at = self.finished.pop_front()?;
        self.reported = Some(at);
        Some(&self[at])
    }

    /// Frees the place of the job that was reported last.
    pub(in crate::node) fn forget_reported(&mut self) {
        if let Some(at) = self.reported.take() {
            self.close(at);
        }
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        for (at, job) in self.table.iter().enumerate() {
            match job.state {
                State::Free | State::Answered(_) | State::Declined(_) | State::Finished(_) => {
                    debug_assert_eq!(job.depth(), 0, "job {at} has ended");
                    debug_assert!(job.preload.is_empty(), "job {at} has ended");
                }
                State::Acquiring { .. }
                | State::Ready(_)
                | State::Running(_)
                | State::Thawing(..) => {
                    debug_assert!(job.depth() > 0, "job {at} runs something");
                }
                State::Resolving
                | State::Preloading { .. }
                | State::Remote
                | State::Leaving
                | State::Arriving(_) => {}
            }
        }
        let last = self.table.iter().rposition(|job| job.state != State::Free);
        debug_assert_eq!(self.end, last.map_or(0, |last| last + 1), "the last job");
        let moves = |job: &&Job| matches!(job.state, State::Leaving | State::Arriving(_));
        let moving = self.held().iter().filter(moves).count();
        debug_assert!(moving <= 1, "one job moves at a time");
    }

    /// How many reservations jobs hold in the cache.
    pub(in crate::node) fn reservations(&self) -> usize {
        let of_job = |job: &Job| {
            let activations = job.activations().iter();
            let slots = activations.flat_map(|it| [it.slot, it.dictionary, it.callee_slot]);
            let preloaded = job.preload.iter().map(|(_, slot)| *slot);
            slots.chain(preloaded).flatten().count()
        };
        let thawing = |job: &&Job| matches!(job.state, State::Thawing(..));
        let images = self.held().iter().filter(thawing).count();
        self.held().iter().map(of_job).sum::<usize>() + images
    }

    /// The job at this place; none if the place is free.
    pub(in crate::node) fn get(&self, at: JobAt) -> Option<&Job> {
        self.held()
            .get(at.index())
            .filter(|job| job.state != State::Free)
    }

    /// The table up to the last place that is not free.
    fn held(&self) -> &[Job] {
        &self.table[..self.end]
    }

    fn position(&self, is: impl Fn(&Job) -> bool) -> Option<JobAt> {
        self.held().iter().position(is).map(JobAt::new)
    }

    // Not inlined, like `index`: it has many callers, and its code is longer than a call.
    #[inline(never)]
    fn job_mut(&mut self, at: JobAt) -> &mut Job {
        &mut self.table[at.index()]
    }
}

/// Whether a job has ended for one of these callers.
fn answered_for(job: &Job, is: &impl Fn(Caller) -> bool) -> bool {
    matches!(job.state, State::Answered(_)) && job.caller.is_some_and(is)
}

impl Index<JobAt> for Jobs {
    type Output = Job;

    #[inline(never)]
    fn index(&self, at: JobAt) -> &Job {
        &self.table[at.index()]
    }
}

#[cfg(test)]
mod tests;
