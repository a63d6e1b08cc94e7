//! Runs: everything that brings a job from its call to its result on this node.
//!
//! The parent of [`execution`] and [`supply`]. It carries values between them as the node does
//! between its parts. It resolves a job in the catalogues, acquires its tasklets when they are
//! called, and gives the modules to the jobs that wait for them. [`Runs::poll`] returns what
//! concerns other nodes.

mod abilities;
mod execution;
mod supply;

use alloc::vec::Vec;

use nimblenet_tasklet::{Fault, Outcome, TaskletName, TaskletRef, Trap, Work, abi};

pub use self::abilities::Abilities;
pub(super) use self::execution::Opening;
use self::execution::{Effect, Execution};
use self::supply::{Acquired, Missing, Supplied, Supply, Wanted};
use crate::cache::{Buffer, Cache, Disk, NotExpanded, SlotId};
use crate::catalogue::Catalogue;
use crate::config::{Config, ExecutorId, FULL};
use crate::counters::count;
use crate::earliest::Earliest;
use crate::event::{CallRequest, Reason};
use crate::full::Full;
use crate::job::{Caller, ExportName, Need, Next, State, Step};
use crate::node::post::{FetchEnd, ImageWork, Post};
use crate::places::{AcquisitionAt, Depth, JobAt, SubscriptionAt};
use crate::queue::Queue;
use crate::time::Instant;
use crate::wire::job::MovedJob;

/// The jobs of a node and all that they need to run.
pub(in crate::node) struct Runs {
    pub(in crate::node) execution: Execution,
    pub(in crate::node) supply: Supply,
    abilities: Full<Abilities>,
    /// The most activations of a job.
    depth: usize,
    happened: Queue<Happened>,
}

/// What concerns other nodes.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) enum Happened {
    /// A job has ended with this result.
    Ended(JobAt, Result<(), Fault>),
    /// An arriving job has the module that it lacked, or cannot have it, or its time is up.
    Arriving(Result<(), Fault>),
    /// The fetch of the arriving job's record has ended.
    Image(FetchEnd),
}

impl Runs {
    pub(in crate::node) fn new(config: &Config, catalogues: Vec<Disk>) -> Self {
        let limits = &config.limits;
        Self {
            execution: Execution::new(config),
            supply: Supply::new(config, catalogues),
            abilities: Full::new(Abilities::new),
            depth: limits.depth,
            // Each job ends once, and one job arrives, with a module and a record.
            happened: Queue::with_capacity(limits.jobs + 2),
        }
    }

    /// Takes a call, and makes a job of it.
    ///
    /// # Errors
    /// [`Fault`] if it is refused at once.
    pub(in crate::node) fn accept(
        &mut self,
        post: &mut Post<'_>,
        request: CallRequest<'_>,
        caller: Option<Caller>,
    ) -> Result<JobAt, Fault> {
        post.counters.calls += 1;
        if let Some(client) = request.client {
            post.cache.meet(post.now, client);
        }
        let named = self.supply.subscriptions.named(&request.name.namespace);
        let export = ExportName::new(request.export).ok_or(Fault::UnknownExport);
        let named = named.ok_or(Fault::UnknownNamespace);
        let accepted = named.and(export).and_then(|export| {
            let opening = Opening {
                name: request.name,
                export,
                args: request.args,
                caller,
                deadline: request.deadline.map(|after| post.now + after),
                priority: Full::of(request.priority),
                client: request.client,
                from: request.from,
                state: State::Resolving,
                since: None,
            };
            let at = self.execution.open(post.now, opening)?;
            let resolved = self.resolve(post, at);
            let resolved = resolved.inspect_err(|_| self.execution.close(post, at));
            resolved.map(|()| at)
        });
        post.counters.failed += u64::from(accepted.is_err());
        accepted
    }

    /// The namespace and the number of a tasklet; none if no catalogue has it.
    ///
    /// # Errors
    /// [`Fault::UnknownNamespace`] if the node does not take tasklets from its namespace.
    pub(in crate::node) fn find(
        &self,
        name: &TaskletName,
    ) -> Result<Option<(SubscriptionAt, u16)>, Fault> {
        let subscriptions = &self.supply.subscriptions;
        let at = subscriptions.named(&name.namespace);
        let at = at.ok_or(Fault::UnknownNamespace)?;
        let catalogue = subscriptions.catalogue_named(&name.namespace);
        let entry = catalogue.and_then(|catalogue| catalogue.find(&name.name));
        Ok(entry.map(|entry| (at, entry.number)))
    }

    /// The name of the tasklet with this namespace and number.
    pub(in crate::node) fn name_of(
        &self,
        (at, number): (SubscriptionAt, u16),
    ) -> Option<TaskletName> {
        let catalogue = self.supply.subscriptions.catalogues().nth(at.index())?;
        let entry = catalogue.entry_at(number, catalogue.epoch())?;
        Some(TaskletName {
            namespace: *catalogue.name(),
            name: entry.name,
        })
    }

    /// Makes a job of a call that has waited for a place.
    pub(in crate::node) fn begin_waited(&mut self, post: &mut Post<'_>, opening: Opening<'_>) {
        // There is a place, and longer arguments do not wait.
        if let Ok(at) = self.execution.open(post.now, opening)
            && let Err(fault) = self.resolve(post, at)
        {
            self.end(post, at, Err(fault));
        }
    }

    /// Takes an executor's answer. `image_work` is the work for the job that moves. Returns whether
    /// the answer is for that work; if so, the job has taken it.
    pub(in crate::node) fn handle_outcome(
        &mut self,
        post: &mut Post<'_>,
        image_work: Option<ImageWork>,
        outcome: Outcome<'_>,
    ) -> bool {
        if let Outcome::Verified { ticket, good } = outcome {
            let needed = self.execution.jobs.need_entries();
            let subscriptions = &mut self.supply.subscriptions;
            subscriptions.handle_verified(post, ticket, good, needed);
            return false;
        }
        match self.execution.handle_outcome(post, image_work, outcome) {
            Effect::Nothing => {}
            Effect::ForMove => return true,
            Effect::Called { at, import, args } => match self.push_callee(post, at, import, args) {
                Ok(wanted) => self.begin(post, at, wanted),
                Err(fault) => self.execution.make_ready(at, Next::Resume(Err(fault))),
            },
            Effect::Over(at, result) => self.end(post, at, result),
        }
        false
    }

    /// Ends jobs whose time is up.
    pub(in crate::node) fn end_overdue(&mut self, post: &mut Post<'_>) {
        for at in self.execution.jobs.places() {
            let job = &self.execution.jobs[at];
            if job.state.live() && job.deadline.is_some_and(|deadline| deadline <= post.now) {
                self.end(post, at, Err(Fault::Deadline));
            }
        }
    }

    pub(in crate::node) fn note_timeouts(&self, earliest: &mut Earliest) {
        self.supply.note_timeouts(earliest);
        for (_, job) in self.execution.jobs.live() {
            earliest.note(job.deadline, Reason::Deadline);
        }
    }

    /// Carries what the parts say to one another until they have nothing more to say.
    ///
    /// The order is fixed: what is supplied goes to the jobs that wait for it before a stalled job
    /// must do without room.
    pub(in crate::node) fn carry(&mut self, post: &mut Post<'_>) {
        self.execution.rise(post.now);
        loop {
            match self.supply.poll(post) {
                Some(Supplied::Module(acquired)) => self.acquired(post, &acquired),
                Some(Supplied::Record(end)) => self.happened.push_back(Happened::Image(end)),
                Some(Supplied::Catalogue) => {
                    self.tell_natives(post);
                    self.resolve_waiting(post);
                }
                None if let Some(at) = self.execution.poll_room() => {
                    if let Err(fault) = self.resolve(post, at) {
                        self.end(post, at, Err(fault));
                    }
                }
                None => {
                    let Some(at) = self.execution.poll_stuck(post.cache) else {
                        break;
                    };
                    if let Some(result) = self.execution.do_without(post, at) {
                        self.end(post, at, result);
                    }
                }
            }
        }
    }

    /// What concerns other nodes, oldest first.
    pub(in crate::node) fn poll(&mut self) -> Option<Happened> {
        self.happened.pop_front()
    }

    /// Whether work waits for some executor, except for the job that moves.
    pub(in crate::node) fn has_work(&self) -> bool {
        self.execution.has_work() || self.supply.subscriptions.has_verification()
    }

    /// The next work for an executor. `image_work` is the work for the job that moves, and `record`
    /// the record of that job.
    pub(in crate::node) fn poll_work<'n>(
        &'n mut self,
        (now, executor): (Instant, ExecutorId),
        cache: &'n mut Cache,
        image_work: Option<ImageWork>,
        record: &'n Buffer,
    ) -> Option<Work<'n>> {
        if let Some(activation) = self.execution.poll_stop(executor, cache) {
            return Some(Work::Stop { activation });
        }
        let subscriptions = &mut self.supply.subscriptions;
        if let Some(at) = subscriptions.poll_verification() {
            return Some(subscriptions.verification(at));
        }
        let granted = |namespace| subscriptions.granted(namespace);
        self.execution
            .poll_work((now, executor), cache, (image_work, record), granted)
    }

    /// Ends a job, whatever it does, and takes its reservations back. An arriving job is declined
    /// instead.
    pub(in crate::node) fn end(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        result: Result<(), Fault>,
    ) {
        let former = self.execution.jobs[at].state;
        if let (State::Arriving(_), Err(fault)) = (former, result) {
            self.happened.push_back(Happened::Arriving(Err(fault)));
            return;
        }
        self.execution.end(post, at, result);
        if let Some(acquisition) = former.awaited() {
            self.abandon(post, acquisition);
        }
        match result {
            Ok(()) => post.counters.completed += 1,
            Err(_) => post.counters.failed += 1,
        }
        self.forget_replaced();
        self.happened.push_back(Happened::Ended(at, result));
    }

    /// Ends a job that has run on another node and ended there.
    pub(in crate::node) fn end_remote(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        result: Result<&[u8], (Fault, Option<Trap>)>,
    ) {
        let result = match result {
            Ok(result) if self.execution.jobs.set_message(at, result) => Ok(()),
            Ok(_) => Err(Fault::ValuesTooLarge),
            Err((fault, trap)) => {
                self.execution.jobs.note_trap(at, trap);
                Err(fault)
            }
        };
        self.end(post, at, result);
    }

    /// Takes the leaving job out of the line, if it stands still; returns what it goes on with.
    pub(in crate::node) fn leave(&mut self, post: &mut Post<'_>, at: JobAt) -> Option<Next> {
        let awaited = self.execution.jobs[at].state.awaited();
        let next = self.execution.leave(at)?;
        if let Some(acquisition) = awaited {
            self.abandon(post, acquisition);
        }
        Some(next)
    }

    /// Lets a job that was to leave stay and go on with `next`.
    pub(in crate::node) fn stay(&mut self, post: &mut Post<'_>, at: JobAt, next: Next) {
        let lacks_module = self.execution.jobs[at]
            .top()
            .is_some_and(|top| top.slot.is_none() && top.has_module);
        if lacks_module {
            self.begin_top(post, at);
        } else {
            self.execution.make_ready(at, next);
        }
    }

    /// Releases everything that a job holds: another node runs it.
    pub(in crate::node) fn hand_over(&mut self, post: &mut Post<'_>, at: JobAt) {
        self.execution.release_all(post, at);
        self.execution.jobs.set(at, State::Remote);
        self.forget_replaced();
    }

    /// Builds the arriving job from its record; returns what it goes on with.
    ///
    /// # Errors
    /// The [`Fault`] with which to decline it: [`Fault::NoCatalogue`] if the catalogue of a tasklet that it
    /// may still call is older than when the job began. The node asks for it then.
    /// [`Fault::UnknownNamespace`] if this node does not have its namespace, but the other one does.
    pub(in crate::node) fn unpack(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
    ) -> Result<Next, Fault> {
        let record = MovedJob::parse(post.image).map_err(|_| Fault::BadImage)?;
        self.execution.jobs.take_head(at, &record.head)?;
        // The job keeps the entries that it started with.
        let subscriptions = &self.supply.subscriptions;
        let epochs = subscriptions.catalogues();
        let epochs = epochs.map(|held| record.epoch(held.id()).unwrap_or(held.epoch()));
        self.execution.jobs.set_epochs(at, epochs);
        let epochs = &self.execution.jobs[at].epochs;
        let first = record.activations().next().map(|it| it.tasklet);
        if let Some(first) = first
            && let Some(held) = subscriptions.of(first.namespace)
        {
            let first = (held, first.number);
            if let Some(lacking) = subscriptions.lacking(first, epochs) {
                self.supply.subscriptions.refresh(post, lacking);
                return Err(Fault::NoCatalogue);
            }
            if FULL && subscriptions.leaves_out(first, epochs, &record) {
                return Err(Fault::UnknownNamespace);
            }
        }
        for moved in record.activations() {
            let namespace = moved.tasklet.namespace;
            let (number, epochs) = (moved.tasklet.number, &self.execution.jobs[at].epochs);
            let callee = self.supply.callee(namespace, number, epochs)?;
            // Another registry's catalogue of the same epoch has other tasklets under its numbers.
            if FULL && self.execution.jobs[at].depth() == 0 && callee.name != record.head.name {
                return Err(Fault::UnknownTasklet);
            }
            if !self.supply.subscriptions.may_run(&callee) {
                return Err(Fault::CapabilityDenied);
            }
            self.execution.jobs.take_activation(at, &callee, &moved)?;
        }
        let job = &self.execution.jobs[at];
        if let Some(first) = job.activations().first() {
            let (entry, depth) = (first.entry(), self.depth);
            let (called, costs) = ((first.tasklet.namespace, &entry), &self.execution.costs);
            let need = self
                .supply
                .subscriptions
                .need(called, &job.epochs, depth, costs);
            self.execution.take_chain(at, need);
        }
        Ok(record.head.next)
    }

    /// Acquires the module of an arriving job's activation.
    pub(in crate::node) fn acquire_for(&mut self, post: &mut Post<'_>, at: JobAt, depth: Depth) {
        let activation = self.execution.jobs[at].activation(depth);
        let wanted = activation
            .ok_or(Fault::Stopped)
            .and_then(|it| self.supply.wanted(it, None))
            .and_then(|wanted| self.dictionary_or(post, at, depth, wanted));
        match wanted.and_then(|wanted| self.supply.acquire(post, wanted)) {
            Ok(acquisition) => {
                let lacking = Some((depth, acquisition));
                self.execution.jobs.set(at, State::Arriving(lacking));
            }
            Err(fault) => self.happened.push_back(Happened::Arriving(Err(fault))),
        }
    }

    /// Declines a job that arrives.
    pub(in crate::node) fn decline(&mut self, post: &mut Post<'_>, at: JobAt, fault: Fault) {
        let waited = self.execution.jobs[at].state.awaited();
        self.execution.release_all(post, at);
        self.supply.abandon_record(post);
        self.execution.jobs.set(at, State::Declined(fault));
        if let Some(acquisition) = waited {
            self.abandon(post, acquisition);
        }
        count(&mut post.counters.moves_refused);
        self.forget_replaced();
    }

    /// Checks what must hold between inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        self.execution.assert_invariants();
        self.supply.assert_invariants();
        debug_assert!(self.happened.is_empty(), "what happened is carried on");
    }

    /// Tries to find the tasklet of a job that waits for its catalogue, and to begin it.
    fn resolve(&mut self, post: &mut Post<'_>, at: JobAt) -> Result<(), Fault> {
        let (job, subscriptions) = (&self.execution.jobs[at], &self.supply.subscriptions);
        let held = subscriptions.named(&job.name.namespace);
        let held = held.ok_or(Fault::UnknownNamespace)?;
        let callee = match subscriptions.look_up(post, held, &job.name.name, job.accepted) {
            Ok(callee) => callee,
            Err(Missing::Catalogue(lacking)) => {
                self.supply.subscriptions.refresh(post, lacking);
                return Ok(());
            }
            Err(Missing::ForGood(fault)) => return Err(fault),
        };
        let epochs = subscriptions.catalogues().map(Catalogue::epoch);
        self.execution.jobs.set_epochs(at, epochs);
        let job = &self.execution.jobs[at];
        let signature = callee.entry.terms.signature(job.export.as_str());
        let signature = signature.ok_or(Fault::UnknownExport)?;
        abi::check_args(&signature, &job.message).map_err(|_| Fault::WrongArguments)?;
        if !self.supply.subscriptions.may_run(&callee) {
            return Err(Fault::CapabilityDenied);
        }
        let (export, fuel) = (job.export, callee.entry.fuel_ceiling());
        let called = (callee.namespace, &callee.entry);
        let costs = &self.execution.costs;
        let need = subscriptions.need(called, &job.epochs, self.depth, costs);
        let wanted = Wanted::of(&callee, job.client);
        if !self.execution.admit_chain(at, need) {
            return Ok(());
        }
        self.execution.jobs.push(at, &callee, export, fuel)?;
        if post.config.acquisition.preload {
            let (first, limit) = (callee.tasklet(), post.config.limits.preload);
            let mut list = self.execution.jobs.take_preload(at);
            let epochs = &self.execution.jobs[at].epochs;
            self.supply
                .subscriptions
                .list_callees(first, epochs, &mut list, limit);
            self.execution.jobs.set_preload(at, list);
            self.preload_from(post, at, 0);
        } else {
            let first = callee.tasklet();
            self.begin(post, at, wanted);
            self.prefetch(post, at, first);
        }
        Ok(())
    }

    /// How long a call of this tasklet runs here, with all that it may call, and what else it needs;
    /// none if the tasklet is not in a catalogue.
    pub(in crate::node) fn need_of(&self, name: &TaskletName) -> Option<(TaskletRef, Need)> {
        let subscriptions = &self.supply.subscriptions;
        let catalogue = subscriptions.catalogue_named(&name.namespace)?;
        let entry = catalogue.find(&name.name)?;
        let called = (catalogue.id(), &entry);
        let costs = &self.execution.costs;
        // Without epochs every entry is the newest.
        let need = subscriptions.need(called, &[], self.depth, costs);
        Some((entry.reference(catalogue.id()), need))
    }

    /// Takes what the executors of this node can run.
    pub(in crate::node) fn set_abilities(&mut self, post: &mut Post<'_>, abilities: Abilities) {
        if let Some(own) = self.abilities.get_mut() {
            *own = abilities;
        }
        self.tell_natives(post);
    }

    /// Whether this node can run modules.
    pub(in crate::node) fn runs_modules(&self) -> bool {
        self.abilities.get().is_none_or(|own| own.modules)
    }

    /// Whether this node can run a tasklet, and whether that is a native one; none if it is not in a
    /// catalogue.
    pub(in crate::node) fn suits(&self, tasklet: TaskletRef) -> Option<(bool, bool)> {
        let callee = self.supply.subscriptions.callee_of(tasklet, &[])?;
        let own = self.abilities.get();
        let suits = own.is_none_or(|own| own.suit(&callee.name, &callee.entry));
        Some((suits, !callee.entry.has_module()))
    }

    /// Lets the neighbours know which native tasklets of the catalogues this node has.
    fn tell_natives(&self, post: &mut Post<'_>) {
        let Some(own) = self.abilities.get() else {
            return;
        };
        let mut natives = Vec::new();
        for name in &own.natives {
            let catalogue = self.supply.subscriptions.catalogue_named(&name.namespace);
            let held = catalogue.and_then(|held| Some((held.id(), held.find(&name.name)?)));
            if let Some((namespace, entry)) = held.filter(|(_, entry)| !entry.has_module()) {
                natives.push(entry.reference(namespace));
            }
        }
        post.holders.set_natives(post.now, natives);
    }

    /// Runs a job here that was placed at another node, which has refused it.
    pub(in crate::node) fn take_back(&mut self, post: &mut Post<'_>, at: JobAt) {
        self.execution.jobs.set(at, State::Resolving);
        if let Err(fault) = self.resolve(post, at) {
            self.end(post, at, Err(fault));
        }
    }

    /// Starts to acquire what the job's first tasklet may call.
    fn prefetch(&mut self, post: &mut Post<'_>, at: JobAt, first: TaskletRef) {
        if !post.config.acquisition.prefetch || !self.execution.jobs[at].state.live() {
            return;
        }
        let limit = post.config.limits.preload;
        let mut list = self.execution.jobs.take_preload(at);
        let epochs = &self.execution.jobs[at].epochs;
        self.supply
            .subscriptions
            .list_callees(first, epochs, &mut list, limit);
        let client = self.execution.jobs[at].client;
        self.supply.prefetch(post, &list, epochs, client);
        list.clear();
        self.execution.jobs.set_preload(at, list);
    }

    /// Tries again to resolve the jobs that wait for a catalogue: one has changed, or cannot be
    /// had.
    fn resolve_waiting(&mut self, post: &mut Post<'_>) {
        for at in self.execution.jobs.places() {
            if self.execution.jobs[at].state == State::Resolving
                && let Err(fault) = self.resolve(post, at)
            {
                self.end(post, at, Err(fault));
            }
        }
    }

    /// Acquires the items of the preload list from `item` on, then the job's own tasklet (paper,
    /// section 4.1).
    fn preload_from(&mut self, post: &mut Post<'_>, at: JobAt, item: usize) {
        let job = &self.execution.jobs[at];
        let acquisition = self
            .supply
            .preload(post, (&job.preload, item), &job.epochs, job.client);
        if let Some((item, acquisition)) = acquisition {
            self.execution
                .jobs
                .set(at, State::Preloading { item, acquisition });
        } else {
            self.begin_top(post, at);
        }
    }

    /// Acquires the top tasklet.
    fn begin_top(&mut self, post: &mut Post<'_>, at: JobAt) {
        let Some(top) = self.execution.jobs[at].top() else {
            return;
        };
        let client = self.execution.jobs[at].client;
        let wanted = top
            .has_module
            .then(|| self.supply.wanted(top, client))
            .transpose();
        match wanted {
            Ok(wanted) => self.begin(post, at, wanted),
            Err(fault) => self.callee_failed(post, at, fault),
        }
    }

    /// Acquires the top tasklet, which `wanted` names; a native tasklet needs no acquisition.
    fn begin(&mut self, post: &mut Post<'_>, at: JobAt, wanted: Option<Wanted>) {
        let job = &self.execution.jobs[at];
        let Some(wanted) = wanted else {
            if let Some(top) = job.top() {
                let native = Step::native(top.tasklet, top.name);
                self.execution.jobs.note(at, native);
            }
            self.execution.make_ready(at, Next::Start);
            return;
        };
        if job.leaves {
            // The job leaves: the other node acquires the module.
            self.execution.make_ready(at, Next::Start);
            return;
        }
        let wanted = self.dictionary_or(post, at, job.top_depth(), wanted);
        match wanted.and_then(|wanted| self.supply.acquire(post, wanted)) {
            Ok(acquisition) => self
                .execution
                .jobs
                .set(at, State::Acquiring { acquisition }),
            Err(fault) => self.callee_failed(post, at, fault),
        }
    }

    /// What an activation needs first: the dictionary of its module if that is not here, or else
    /// the module, which is `module`. A dictionary that is here is reserved for the activation.
    ///
    /// # Errors
    /// [`Fault`] if the catalogue does not have the dictionary.
    fn dictionary_or(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        depth: Depth,
        module: Wanted,
    ) -> Result<Wanted, Fault> {
        let job = &self.execution.jobs[at];
        let lacking = job.activation(depth).filter(|it| it.dictionary.is_none());
        let compression = lacking.and_then(|it| it.module().compression);
        let Some(compression) = compression else {
            return Ok(module);
        };
        let (namespace, number) = (module.tasklet.namespace, compression.dictionary);
        let callee = self.supply.callee(namespace, number, &job.epochs)?;
        let dictionary = Wanted::of(&callee, module.client);
        let dictionary = dictionary.ok_or(Fault::UnknownTasklet)?;
        let Some(slot) = post.cache.find(dictionary.tasklet) else {
            return Ok(dictionary);
        };
        self.take_dictionary(post, at, depth, slot);
        Ok(module)
    }

    /// Gives an activation the dictionary of its module.
    fn take_dictionary(&mut self, post: &mut Post<'_>, at: JobAt, depth: Depth, slot: SlotId) {
        post.cache.reserve(slot);
        post.cache.touch(slot, post.now);
        self.execution.jobs.give_dictionary(at, depth, slot);
    }

    /// Gives an activation the module that it waits for, in the form in which it runs.
    ///
    /// # Errors
    /// [`Fault`] if the module is compressed and cannot be expanded.
    fn give_module(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        depth: Depth,
        slot: SlotId,
    ) -> Result<(), Fault> {
        post.cache.touch(slot, post.now);
        let activation = self.execution.jobs[at].activation(depth);
        let compression = activation.and_then(|it| it.module().compression);
        let Some(compression) = compression else {
            post.cache.reserve(slot);
            self.execution.jobs.give_module(at, depth, slot);
            return Ok(());
        };
        let dictionary = self.execution.jobs.take_dictionary(at, depth);
        let dictionary = dictionary.ok_or(Fault::UnknownTasklet)?;
        let len = compression.plain_bytes as usize;
        let copy = post.cache.expand(slot, dictionary, len, post.now);
        post.cache.release(dictionary);
        let copy = copy.map_err(|why| match why {
            NotExpanded::NoRoom => Fault::CacheFull,
            NotExpanded::Bad => Fault::InvalidModule,
        })?;
        self.execution.jobs.give_module(at, depth, copy);
        Ok(())
    }

    /// Gives an ended acquisition to the jobs that wait for it.
    fn acquired(&mut self, post: &mut Post<'_>, acquired: &Acquired) {
        for at in self.execution.jobs.places() {
            if self.execution.jobs[at].state.awaited() == Some(acquired.at) {
                match acquired.result {
                    Ok(slot) => self.take_module(post, at, acquired, slot),
                    Err(fault) => self.miss_module(post, at, fault),
                }
            }
        }
        if let Ok(slot) = acquired.result {
            post.cache.release(slot);
        }
    }

    /// Gives a job the module or the dictionary that it waits for.
    fn take_module(&mut self, post: &mut Post<'_>, at: JobAt, acquired: &Acquired, slot: SlotId) {
        post.counters.count_acquired(acquired.source);
        post.cache.note_user(slot, self.execution.jobs[at].client);
        let (job, tasklet) = (&self.execution.jobs[at], acquired.tasklet);
        let state = job.state;
        let of_activation = job.activations().iter().find(|it| it.tasklet == tasklet);
        let in_catalogue = || self.supply.subscriptions.callee_of(tasklet, &job.epochs);
        let name = match of_activation {
            Some(activation) => activation.name,
            None => in_catalogue().map_or(job.name, |callee| callee.name),
        };
        self.execution.jobs.note(at, acquired.step(name));
        if let State::Preloading { item, .. } = state {
            post.cache.reserve(slot);
            post.cache.touch(slot, post.now);
            self.execution.jobs.preloaded(at, item, slot);
            self.preload_from(post, at, item + 1);
            return;
        }
        let arriving = if let State::Arriving(Some((depth, _))) = state {
            Some(depth)
        } else {
            None
        };
        let job = &self.execution.jobs[at];
        let depth = arriving.unwrap_or(job.top_depth());
        let own = job
            .activation(depth)
            .is_some_and(|it| it.tasklet == tasklet);
        if !own {
            self.take_dictionary(post, at, depth, slot);
            match arriving {
                Some(depth) => self.acquire_for(post, at, depth),
                None => self.begin_top(post, at),
            }
        } else if let Err(fault) = self.give_module(post, at, depth, slot) {
            self.miss_module(post, at, fault);
        } else if arriving.is_some() {
            self.execution.jobs.set(at, State::Arriving(None));
            self.happened.push_back(Happened::Arriving(Ok(())));
        } else {
            self.execution.make_ready(at, Next::Start);
        }
    }

    /// Tells a job that the module that it waits for cannot be had.
    fn miss_module(&mut self, post: &mut Post<'_>, at: JobAt, fault: Fault) {
        count(&mut post.counters.not_acquired);
        let state = self.execution.jobs[at].state;
        if let State::Preloading { item, .. } = state {
            // A tasklet that cannot be preloaded may never be called.
            self.preload_from(post, at, item + 1);
        } else if let State::Arriving(_) = state {
            self.execution.jobs.set(at, State::Arriving(None));
            self.happened.push_back(Happened::Arriving(Err(fault)));
        } else if fault == Fault::CacheFull && self.execution.jobs.release_preload(post, at) {
            // The chain is larger than the cache: go on with loading on demand.
            self.begin_top(post, at);
        } else {
            self.callee_failed(post, at, fault);
        }
    }

    /// Pushes the callee that the top tasklet calls by its import number `import`; returns how to
    /// acquire it.
    fn push_callee(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        import: u16,
        args: &[u8],
    ) -> Result<Option<Wanted>, Fault> {
        let wish = self.execution.jobs.wish(post, at, import, args)?;
        let epochs = &self.execution.jobs[at].epochs;
        let callee = self.supply.callee(wish.namespace, wish.number, epochs)?;
        let fuel = wish.admit(&callee.entry)?;
        if !self.supply.subscriptions.may_run(&callee) {
            return Err(Fault::CapabilityDenied);
        }
        self.execution.jobs.push(at, &callee, wish.export, fuel)?;
        let client = self.execution.jobs[at].client;
        Ok(Wanted::of(&callee, client))
    }

    /// Fails the top tasklet, which could not be acquired.
    fn callee_failed(&mut self, post: &mut Post<'_>, at: JobAt, fault: Fault) {
        if let Some(result) = self.execution.fail_callee(post, at, fault) {
            self.end(post, at, result);
        }
    }

    /// Drops an acquisition unless another job still waits for it.
    fn abandon(&mut self, post: &mut Post<'_>, acquisition: AcquisitionAt) {
        let waits = |at: JobAt| self.execution.jobs[at].state.awaited() == Some(acquisition);
        if !self.execution.jobs.places().any(waits) {
            self.supply.abandon(post, acquisition);
        }
    }

    /// Forgets replaced entries that no job needs any more.
    fn forget_replaced(&mut self) {
        let jobs = &self.execution.jobs;
        let oldest = |at: SubscriptionAt| jobs.oldest_epoch(at.index());
        self.supply.subscriptions.forget_replaced(oldest);
    }
}
