//! Jobs: from a call to its result.

use core::time::Duration;

use nimblenet_tasklet::{
    ActivationId, Capabilities, Entry, Executor, Fault, Name, NamespaceId, NodeId, Outcome, Start,
    TaskletName, TaskletRef, Work, abi,
};

use super::Node;
use super::subscribe::Subscription;
use super::transit::{Moved, Transit};
use crate::acquisition::{Acquisition, Wanted};
use crate::cache::SlotId;
use crate::event::CallRequest;
use crate::job::{CallId, ExportName, Job, Next, Source, State, Step};
use crate::time::Instant;

/// Tasklets that are looked at to find namespaces without a catalogue.
const CALLEES: usize = 32;
/// Fuel of a tasklet whose entry sets no ceiling.
const DEFAULT_FUEL: u64 = 100_000_000;

/// An activation that the executor is to forget, and the modules that stay reserved until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    activation: ActivationId,
    modules: [Option<SlotId>; 2],
}

impl Node {
    pub(super) fn accept(
        &mut self,
        now: Instant,
        request: CallRequest<'_>,
        caller: Option<(NodeId, u32)>,
    ) -> Result<CallId, Fault> {
        let held = self.subscription_named(&request.name.namespace);
        held.ok_or(Fault::UnknownNamespace)?;
        let export = ExportName::new(request.export).ok_or(Fault::UnknownExport)?;
        let at = self.vacancy().ok_or(Fault::Busy)?;

        self.next_call = self.next_call.wrapping_add(1);
        let call = CallId(self.next_call);
        let calls_left = self.config.limits.calls;
        let job = &mut self.jobs[at];
        if !job.set_message(request.args) {
            return Err(Fault::ValuesTooLarge);
        }
        job.call = call;
        job.name = request.name;
        job.export = export;
        job.caller = caller;
        job.number = 0;
        job.accepted = now;
        job.deadline = request.deadline.map(|after| now + after);
        job.trap = None;
        job.steps.clear();
        job.calls_left = calls_left;
        job.preload.clear();
        job.state = State::Resolving;
        match self.resolve(now, at) {
            Ok(()) => Ok(call),
            Err(fault) => {
                self.release_all(at);
                self.jobs[at].state = State::Free;
                Err(fault)
            }
        }
    }

    /// Tries to find the tasklet of a job that waits for its catalogue, and to begin it.
    fn resolve(&mut self, now: Instant, at: usize) -> Result<(), Fault> {
        let name = self.jobs[at].name;
        let held = self.subscription_named(&name.namespace);
        let held = held.ok_or(Fault::UnknownNamespace)?;
        let accepted = self.jobs[at].accepted;
        let entry = self.subscriptions[held].catalogue().find(&name.name);
        let Some(entry) = entry else {
            if let Some(fault) = self.unresolvable(held) {
                return Err(fault);
            }
            // It may have been published a moment ago.
            let asked = self.refresh(now, held, accepted);
            return if asked {
                Ok(())
            } else {
                Err(Fault::UnknownTasklet)
            };
        };
        // Callees may be in namespaces whose catalogue is still on its way.
        let number = entry.number;
        if let Some(lacking) = self.lacking(held, number)
            && self.unresolvable(lacking).is_none()
            && self.refresh(now, lacking, accepted)
        {
            return Ok(());
        }
        let entry = self.subscriptions[held].catalogue().entry(number);
        let entry = entry.ok_or(Fault::UnknownTasklet)?;
        let job = &self.jobs[at];
        let export = entry
            .terms
            .export(job.export.as_str())
            .ok_or(Fault::UnknownExport)?;
        abi::check_args(&export.signature, &job.message).map_err(|_| Fault::WrongArguments)?;
        let fuel = fuel_ceiling(&entry);
        let epochs = self
            .subscriptions
            .iter()
            .map(|held| held.catalogue().epoch());
        let job = &mut self.jobs[at];
        job.epochs.clear();
        job.epochs.extend(epochs);
        self.push(at, held, number, self.jobs[at].export, fuel)?;
        if self.config.preload {
            self.list_preload(at);
            self.preload_next(now, at, 0);
        } else {
            self.begin_top(now, at);
        }
        Ok(())
    }

    /// A catalogue changed, or could not be had: looks again at the jobs that wait for one.
    pub(super) fn resolve_waiting(&mut self, now: Instant) {
        for at in 0..self.jobs.len() {
            if self.jobs[at].state == State::Resolving
                && let Err(fault) = self.resolve(now, at)
            {
                self.end_job(now, at, Err(fault));
            }
        }
    }

    /// A subscription without any catalogue that the tasklet calls into, directly or not.
    fn lacking(&self, held: usize, number: u16) -> Option<usize> {
        let mut listed = [(held, number); CALLEES];
        let (mut count, mut next) = (1, 0);
        while next < count {
            let (held, number) = listed[next];
            next += 1;
            let Some(entry) = self.subscriptions[held].catalogue().entry(number) else {
                continue;
            };
            for import in entry.imports() {
                let Some(held) = self.subscription(import.namespace) else {
                    continue;
                };
                if self.subscriptions[held].catalogue().epoch() == 0 {
                    return Some(held);
                }
                let callee = (held, import.number);
                if count < CALLEES && !listed[..count].contains(&callee) {
                    listed[count] = callee;
                    count += 1;
                }
            }
        }
        None
    }

    /// An acquisition that the job at `at` waits for has ended.
    pub(super) fn acquired(
        &mut self,
        now: Instant,
        at: usize,
        acquisition: &Acquisition,
        result: Result<SlotId, Fault>,
    ) {
        let state = self.jobs[at].state;
        match result {
            Ok(slot) => {
                let source = match (acquisition.hops, acquisition.from_registry) {
                    (0, _) => Source::Local,
                    (_, true) => Source::Registry,
                    (1, false) => Source::Neighbour,
                    (_, false) => Source::Global,
                };
                self.count_source(source);
                self.cache.reserve(slot);
                self.cache.touch(slot, now);
                self.explain(now, at, acquisition, source);
                if let State::Preloading { at: item, .. } = state {
                    self.jobs[at].preload[item].1 = Some(slot);
                    self.preload_next(now, at, item + 1);
                } else if let State::Arriving(_) = state {
                    self.module_arrived(now, at, Ok(slot));
                } else {
                    if let Some(top) = self.jobs[at].top_mut() {
                        top.slot = Some(slot);
                    }
                    self.make_ready(at, Next::Start);
                }
            }
            Err(fault) => {
                self.counters.not_acquired += 1;
                if let State::Arriving(_) = state {
                    self.module_arrived(now, at, Err(fault));
                } else if let State::Preloading { at: item, .. } = state {
                    // What cannot be had in advance may never be called.
                    self.preload_next(now, at, item + 1);
                } else if fault == Fault::CacheFull && self.release_preload(at) {
                    // The chain is larger than the cache: on with loading on demand.
                    self.begin_top(now, at);
                } else {
                    self.callee_failed(now, at, fault);
                }
            }
        }
    }

    /// What the executor says of an activation; false if it has ended already.
    pub(super) fn handle_activation(&mut self, now: Instant, outcome: Outcome<'_>) -> bool {
        let activation = match outcome {
            Outcome::Called { activation, .. }
            | Outcome::Done { activation, .. }
            | Outcome::Failed { activation, .. }
            | Outcome::Yielded { activation, .. }
            | Outcome::Frozen { activation, .. }
            | Outcome::NotFrozen { activation, .. } => activation,
            Outcome::Verified { .. } => return false,
        };
        if self.executing != Some(activation) {
            return false;
        }
        self.executing = None;
        if self.handle_image_outcome(now, activation, outcome) {
            return true;
        }
        let runs = |job: &Job| {
            job.state == State::Running && job.top().is_some_and(|top| top.id == activation)
        };
        let Some(at) = self.jobs.iter().position(runs) else {
            return false;
        };
        match outcome {
            Outcome::Called {
                import, args, fuel, ..
            } => {
                self.set_fuel(at, fuel);
                self.begin_callee(now, at, import, args);
            }
            Outcome::Done { result, fuel, .. } => {
                let used = self.pop(at, fuel);
                if !self.jobs[at].set_message(result) {
                    self.callee_result(now, at, used, Err(Fault::ValuesTooLarge));
                } else {
                    self.callee_result(now, at, used, Ok(()));
                }
            }
            Outcome::Failed {
                fault, trap, fuel, ..
            } => {
                let used = self.pop(at, fuel);
                self.jobs[at].trap = self.jobs[at].trap.or(trap);
                self.callee_result(now, at, used, Err(fault));
            }
            Outcome::Yielded { fuel, .. } => {
                self.set_fuel(at, fuel);
                self.make_ready(at, Next::Continue);
            }
            Outcome::Frozen { .. } | Outcome::NotFrozen { .. } | Outcome::Verified { .. } => {}
        }
        true
    }

    pub(super) fn next_work(&mut self) -> Option<Work<'_>> {
        if let Some(Stop {
            activation,
            modules,
        }) = self.stops.pop_front()
        {
            // The executor works in order: whoever takes this no longer runs the activation.
            for slot in modules.into_iter().flatten() {
                self.cache.release(slot);
            }
            return Some(Work::Stop { activation });
        }
        if let Some(at) = self.next_verification() {
            return Some(self.verification(at));
        }
        if self.executing.is_some() {
            return None;
        }
        if let Some(work) = self.next_image_work() {
            return self.image_work(work);
        }
        let at = self.ready.pop_front()?;
        let State::Ready(next) = self.jobs[at].state else {
            return None;
        };
        self.jobs[at].state = State::Running;
        let top = self.jobs[at].top_mut()?;
        top.started = true;
        self.executing = Some(top.id);
        let job = &self.jobs[at];
        let top = job.top()?;
        let activation = top.id;
        Some(match next {
            Next::Start => Work::Start(self.start_of(at, job.depth() - 1, &job.message)?),
            Next::Continue => Work::Continue { activation },
            Next::Resume(result) => Work::Resume {
                activation,
                result: result.map(|()| &job.message[..]),
                fuel: top.fuel,
            },
        })
    }

    /// The start of the activation at `place` of the stack of the job at `at`.
    pub(super) fn start_of<'n>(
        &'n self,
        at: usize,
        place: usize,
        args: &'n [u8],
    ) -> Option<Start<'n>> {
        let stack = self.jobs[at].activations();
        let activation = stack.get(place)?;
        let parent = place.checked_sub(1).and_then(|parent| stack.get(parent));
        Some(Start {
            activation: activation.id,
            parent: parent.map(|parent| parent.id),
            name: activation.name,
            entry: activation.entry(),
            code: activation.slot.map_or(&[], |slot| self.cache.code(slot)),
            export: activation.export.as_str(),
            args,
            fuel: activation.fuel,
            granted: self.granted(activation.namespace),
        })
    }

    /// Ends jobs whose time is up.
    pub(super) fn deadlines(&mut self, now: Instant) {
        for at in 0..self.jobs.len() {
            let job = &self.jobs[at];
            if job.state.live() && job.deadline.is_some_and(|deadline| deadline <= now) {
                self.end_job(now, at, Err(Fault::Deadline));
            }
        }
    }

    /// Ends the job at `at`, whatever it is doing; its reservations are taken back.
    pub(super) fn end_job(&mut self, now: Instant, at: usize, result: Result<(), Fault>) {
        let former = self.jobs[at].state;
        if let (State::Arriving(_), Err(fault)) = (former, result) {
            self.decline(now, at, fault);
            return;
        }
        self.release_all(at);
        if let Transit::Out(departure) = self.transit
            && departure.job == at
        {
            self.transit = Transit::Idle;
            self.counters.moves_failed += 1;
            let fault = result.err().unwrap_or(Fault::UnknownCall);
            let (call, to, result) = (self.jobs[at].call, departure.to, Err(fault));
            self.note_moved(Moved { call, to, result });
        }
        let job = &mut self.jobs[at];
        job.state = State::Finished(result);
        job.took = now - job.accepted;
        match former {
            State::Acquiring { acquisition } | State::Preloading { acquisition, .. } => {
                self.abandon(acquisition);
            }
            State::Ready(_) => self.ready.retain(|place| *place != at),
            State::Free
            | State::Resolving
            | State::Running
            | State::Remote(_)
            | State::Leaving
            | State::Arriving(_)
            | State::Finished(_)
            | State::Answered(_)
            | State::Declined(_) => {}
        }
        match result {
            Ok(()) => self.counters.completed += 1,
            Err(_) => self.counters.failed += 1,
        }
        self.forget_replaced();
        if self.jobs[at].caller.is_some() {
            self.answer_call(now, at);
            self.jobs[at].state = State::Answered(result);
        } else {
            self.finished.push_back(at);
        }
    }

    fn subscription_named(&self, name: &Name) -> Option<usize> {
        let mut held = self.subscriptions.iter();
        held.position(|held| held.config.name == *name)
    }

    pub(super) fn subscription(&self, id: NamespaceId) -> Option<usize> {
        self.subscriptions.iter().position(|held| held.id() == id)
    }

    /// The entry of a callee as it was when the job began.
    pub(super) fn entry_for(&self, at: usize, held: usize, number: u16) -> Option<Entry<'_>> {
        let epoch = self.jobs[at].epochs.get(held).copied()?;
        self.subscriptions[held].catalogue().entry_at(number, epoch)
    }

    /// Puts entry `number` of subscription `held` on top of the job.
    pub(super) fn push(
        &mut self,
        at: usize,
        held: usize,
        number: u16,
        export: ExportName,
        fuel: u64,
    ) -> Result<(), Fault> {
        let epoch = self.jobs[at].epochs.get(held).copied().unwrap_or(0);
        let Subscription { config, .. } = &self.subscriptions[held];
        let catalogue = self.subscriptions[held].catalogue();
        let entry = catalogue
            .entry_at(number, epoch)
            .ok_or(Fault::UnknownTasklet)?;
        if !config.capabilities.covers(entry.terms.capabilities) {
            return Err(Fault::CapabilityDenied);
        }
        let name = TaskletName {
            namespace: config.name,
            name: entry.name,
        };
        self.next_activation = self.next_activation.wrapping_add(1);
        let id = ActivationId(self.next_activation);
        self.jobs[at].push(id, name, (catalogue.id(), entry.encoded()), export, fuel)
    }

    /// Acquires the top tasklet; a native one is there already.
    pub(super) fn begin_top(&mut self, now: Instant, at: usize) {
        let Some(top) = self.jobs[at].top() else {
            return;
        };
        let (entry, namespace, name) = (top.entry(), top.namespace, top.name);
        if entry.terms.executor == Executor::Native {
            let tasklet = entry.reference(namespace);
            let (source, took) = (Source::Native, Duration::ZERO);
            let step = Step {
                tasklet,
                name,
                source,
                hops: 0,
                attempts: 0,
                bytes: 0,
                took,
            };
            self.jobs[at].note(step);
            self.make_ready(at, Next::Start);
            return;
        }
        if self.is_to_leave(at) {
            // Its module is wanted where it goes.
            self.make_ready(at, Next::Start);
            return;
        }
        let wanted = self.wanted(namespace, &entry);
        match wanted.and_then(|wanted| self.acquire(now, wanted)) {
            Ok(acquisition) => {
                self.jobs[at].state = State::Acquiring { acquisition };
                self.advance(now, acquisition);
            }
            Err(fault) => self.callee_failed(now, at, fault),
        }
    }

    pub(super) fn wanted(
        &self,
        namespace: NamespaceId,
        entry: &Entry<'_>,
    ) -> Result<Wanted, Fault> {
        let held = self
            .subscription(namespace)
            .ok_or(Fault::UnknownNamespace)?;
        Ok(Wanted {
            tasklet: entry.reference(namespace),
            digest: entry.digest,
            size: entry.size,
            registry: self.subscriptions[held].config.registry,
        })
    }

    /// The top tasklet called another.
    fn begin_callee(&mut self, now: Instant, at: usize, import: u16, args: &[u8]) {
        let pushed = self.push_callee(at, import, args);
        match pushed {
            Ok(()) => self.begin_top(now, at),
            Err(fault) => self.make_ready(at, Next::Resume(Err(fault))),
        }
    }

    fn push_callee(&mut self, at: usize, import: u16, args: &[u8]) -> Result<(), Fault> {
        let job = &mut self.jobs[at];
        job.calls_left = job.calls_left.checked_sub(1).ok_or(Fault::TooManyCalls)?;
        if !job.set_message(args) {
            return Err(Fault::ValuesTooLarge);
        }
        let top = job.top_mut().ok_or(Fault::Stopped)?;
        let (released, budget) = (top.callee_slot.take(), top.fuel);
        let entry = top.entry();
        let import = entry
            .imports()
            .nth(usize::from(import))
            .ok_or(Fault::UnknownImport)?;
        let export = ExportName::new(import.export).ok_or(Fault::UnknownExport)?;
        let (namespace, number, expected) = (import.namespace, import.number, import.signature);
        if let Some(slot) = released {
            self.cache.release(slot);
        }
        let held = self
            .subscription(namespace)
            .ok_or(Fault::UnknownNamespace)?;
        let entry = self
            .entry_for(at, held, number)
            .ok_or(Fault::UnknownTasklet)?;
        let offered = entry
            .terms
            .export(export.as_str())
            .ok_or(Fault::UnknownExport)?;
        if offered.signature != expected {
            return Err(Fault::WrongSignature);
        }
        let ceiling = fuel_ceiling(&entry);
        self.push(at, held, number, export, ceiling.min(budget))
    }

    /// The top tasklet could not be acquired or started.
    fn callee_failed(&mut self, now: Instant, at: usize, fault: Fault) {
        let fuel = self.jobs[at].top().map_or(0, |top| top.fuel);
        let used = self.pop(at, fuel);
        self.callee_result(now, at, used, Err(fault));
    }

    /// Takes the top tasklet off, leaving `fuel`; returns what it used. Its module stays reserved
    /// through the part of its caller that follows.
    fn pop(&mut self, at: usize, fuel: u64) -> u64 {
        let job = &mut self.jobs[at];
        let Some(ended) = job.pop() else { return 0 };
        let used = ended.fuel.saturating_sub(fuel);
        let (slot, callee_slot) = (ended.slot.take(), ended.callee_slot.take());
        ended.started = false;
        let kept = match job.top_mut() {
            Some(caller) => core::mem::replace(&mut caller.callee_slot, slot),
            None => slot,
        };
        for slot in [callee_slot, kept].into_iter().flatten() {
            self.cache.release(slot);
        }
        used
    }

    /// Hands the end of a callee to its caller, or ends the job.
    fn callee_result(&mut self, now: Instant, at: usize, used: u64, result: Result<(), Fault>) {
        let job = &mut self.jobs[at];
        match job.top_mut() {
            Some(caller) => {
                caller.fuel = caller.fuel.saturating_sub(used);
                self.make_ready(at, Next::Resume(result));
            }
            None => self.end_job(now, at, result),
        }
    }

    pub(super) fn make_ready(&mut self, at: usize, next: Next) {
        self.jobs[at].state = State::Ready(next);
        self.ready.push_back(at);
    }

    fn set_fuel(&mut self, at: usize, fuel: u64) {
        if let Some(top) = self.jobs[at].top_mut() {
            top.fuel = fuel.min(top.fuel);
        }
    }

    /// Takes back everything that the job holds, and tells the executor to forget it. Modules
    /// that the executor may be reading stay where they are until it takes the word to stop.
    pub(super) fn release_all(&mut self, at: usize) {
        while let Some(ended) = self.jobs[at].pop() {
            let activation = ended.id;
            let modules = [ended.slot.take(), ended.callee_slot.take()];
            if ended.started {
                self.stops.push_back(Stop {
                    activation,
                    modules,
                });
                if self.executing == Some(activation) {
                    self.executing = None;
                }
            } else {
                for slot in modules.into_iter().flatten() {
                    self.cache.release(slot);
                }
            }
        }
        self.release_preload(at);
    }

    fn granted(&self, namespace: NamespaceId) -> Capabilities {
        let held = self.subscription(namespace);
        held.map_or(Capabilities::NONE, |held| {
            self.subscriptions[held].config.capabilities
        })
    }

    fn count_source(&mut self, source: Source) {
        let acquired = &mut self.counters.acquired;
        match source {
            Source::Local => acquired.local += 1,
            Source::Neighbour => acquired.neighbour += 1,
            Source::Global => acquired.global += 1,
            Source::Registry => acquired.registry += 1,
            Source::Native => {}
        }
    }

    fn explain(&mut self, now: Instant, at: usize, acquisition: &Acquisition, source: Source) {
        let tasklet = acquisition.wanted.tasklet;
        let name = self.tasklet_name(at, tasklet);
        let bytes = if source == Source::Local {
            0
        } else {
            acquisition.wanted.size
        };
        let took = now - acquisition.started;
        let (hops, attempts) = (acquisition.hops, acquisition.attempts);
        self.jobs[at].note(Step {
            tasklet,
            name,
            source,
            hops,
            attempts,
            bytes,
            took,
        });
    }

    fn tasklet_name(&self, at: usize, tasklet: TaskletRef) -> TaskletName {
        let held = self.subscription(tasklet.namespace);
        let entry = held.and_then(|held| self.entry_for(at, held, tasklet.number).zip(Some(held)));
        entry.map_or(self.jobs[at].name, |(entry, held)| TaskletName {
            namespace: self.subscriptions[held].config.name,
            name: entry.name,
        })
    }
}

/// The most fuel that a tasklet gets.
pub(super) fn fuel_ceiling(entry: &Entry<'_>) -> u64 {
    match entry.terms.fuel {
        0 => DEFAULT_FUEL,
        fuel => fuel,
    }
}
