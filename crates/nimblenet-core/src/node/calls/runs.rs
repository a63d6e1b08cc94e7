//! Runs: everything that brings a job from its call to its result on this node.
//!
//! The parent of [`jobs`], [`bench`], [`shelf`], [`subscriptions`], [`acquisitions`] and
//! [`fetches`]. It carries values between them as the node does between its parts. It resolves a
//! job in the catalogues, acquires its tasklets when they are called, and has executors run them.
//! [`Runs::poll`] returns what concerns other nodes.

mod acquisitions;
mod bench;
mod fetches;
mod jobs;
mod shelf;
mod subscriptions;

use nimblenet_tasklet::{Fault, NodeId, Outcome, Start, Trap, Work, abi};

use self::acquisitions::{Acquired, Acquisitions, Wanted};
use self::bench::{After, Bench, Demand, Ended, Stop, Turn};
use self::fetches::Fetches;
use self::jobs::Jobs;
pub(super) use self::jobs::Opening;
use self::shelf::{Around, Shelf, Shelved};
use self::subscriptions::{Missing, Subscriptions};
use crate::cache::{Buffer, Cache, SlotId};
use crate::catalogue::Catalogue;
use crate::config::{Config, ExecutorId};
use crate::counters::DropReason;
use crate::earliest::Earliest;
use crate::event::{CallRequest, Reason};
use crate::job::{Activation, Caller, ExportName, Job, Next, Source, State, Station, Step};
use crate::node::post::{FetchEnd, ImageWork, Owner, Post};
use crate::places::{AcquisitionAt, Depth, JobAt, SubscriptionAt};
use crate::queue::Queue;
use crate::time::Instant;
use crate::wire::job::{MovedJob, image, image_room};
use crate::wire::{Data, Found, Metadata};

/// The jobs of a node and all that they need to run.
pub(in crate::node) struct Runs {
    pub(in crate::node) jobs: Jobs,
    pub(in crate::node) subscriptions: Subscriptions,
    bench: Bench,
    shelf: Shelf,
    acquisitions: Acquisitions,
    fetches: Fetches,
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
    pub(in crate::node) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            jobs: Jobs::new(limits, config.namespaces.len()),
            subscriptions: Subscriptions::new(&config.namespaces, limits.catalogue),
            bench: Bench::new(limits),
            shelf: Shelf::new(limits),
            depth: limits.depth,
            acquisitions: Acquisitions::new(limits.acquisitions),
            // One for each acquisition, one for a delta, one for a record.
            fetches: Fetches::new(limits.acquisitions + 2),
            // Each job ends once, and one job arrives, with a module and a record.
            happened: Queue::with_capacity(limits.jobs + 2),
        }
    }

    /// Opens a job.
    ///
    /// # Errors
    /// [`Fault`] if the node has as many jobs as it may, or the arguments are too long.
    pub(in crate::node) fn open(
        &mut self,
        now: Instant,
        opening: Opening<'_>,
    ) -> Result<JobAt, Fault> {
        if self.bench.takes_jobs() {
            self.jobs.open(now, opening)
        } else {
            Err(Fault::Busy)
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
        let named = self.subscriptions.named(&request.name.namespace);
        let export = ExportName::new(request.export).ok_or(Fault::UnknownExport);
        let named = named.ok_or(Fault::UnknownNamespace);
        let accepted = named.and(export).and_then(|export| {
            let opening = Opening {
                name: request.name,
                export,
                args: request.args,
                caller,
                deadline: request.deadline.map(|after| post.now + after),
                state: State::Resolving,
            };
            let at = self.open(post.now, opening)?;
            self.resolve(post, at).map(|()| at).inspect_err(|_| {
                self.release_all(post, at);
                self.jobs.close(at);
            })
        });
        post.counters.failed += u64::from(accepted.is_err());
        accepted
    }

    /// Takes an executor's answer for an activation. `image_work` is the work for the job that
    /// moves. Returns whether the answer is for that work; if so, the job has taken it.
    pub(in crate::node) fn handle_outcome(
        &mut self,
        post: &mut Post<'_>,
        image_work: Option<ImageWork>,
        outcome: Outcome<'_>,
    ) -> bool {
        if let Outcome::Verified { ticket, good } = outcome {
            let needed = self.jobs.need_entries();
            let subscriptions = &mut self.subscriptions;
            subscriptions.handle_verified(post, ticket, good, needed);
            return false;
        }
        let after = match outcome {
            Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Frozen { .. } => After::Leaves,
            Outcome::NoRoom { .. } => After::AsBefore,
            Outcome::Called { .. }
            | Outcome::Yielded { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::Verified { .. } => After::Stays,
        };
        let answered = outcome
            .activation()
            .and_then(|activation| Some((activation, self.bench.end(activation, after)?)));
        let Some((activation, Ended { executor, freed })) = answered else {
            post.counters.drop(DropReason::StaleOutcome);
            return false;
        };
        if freed {
            self.make_room(executor);
        }
        let is_for = |(at, depth): (JobAt, Depth)| {
            let held = self.jobs[at].activation(depth);
            held.is_some_and(|held| held.id == activation)
        };
        if let Some(work) = image_work.filter(|work| is_for(work.place())) {
            self.jobs.note_image(work, &outcome);
            return true;
        }
        let freezing = self.shelf.poll_freezing(executor);
        if let Some((at, depth)) = freezing.filter(|place| is_for(*place)) {
            self.shelved(post, (at, depth), outcome);
        } else if let Some(at) = self.jobs.running(activation) {
            if let Outcome::NoRoom { .. } = outcome {
                self.stall(post, at, executor);
                return false;
            }
            self.shelf.unstall(at);
            if let State::Thawing(image, next) = self.jobs[at].state {
                self.thawed(post, at, (image, next), outcome);
            } else {
                self.go_on(post, at, outcome);
            }
        } else {
            post.counters.drop(DropReason::StaleOutcome);
        }
        false
    }

    /// Takes a part of an object; false if nothing waits for it.
    pub(in crate::node) fn handle_data(&mut self, post: &mut Post<'_>, data: &Data<'_>) -> bool {
        self.fetches.handle_data(post, data)
    }

    /// Takes the answer of a holder to a search.
    pub(in crate::node) fn handle_found(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        hops: u8,
        found: Found,
    ) {
        self.acquisitions.handle_found(post, origin, hops, found);
    }

    /// Takes a holder's description of a module.
    pub(in crate::node) fn handle_metadata(&mut self, post: &mut Post<'_>, metadata: Metadata<'_>) {
        self.acquisitions.handle_metadata(post, metadata);
    }

    /// Takes the refusal of a node to serve an object.
    pub(in crate::node) fn handle_refusal(&mut self, post: &mut Post<'_>, request: u16) {
        self.acquisitions.handle_refusal(post, request);
        self.fetches.handle_refusal(post, request);
    }

    /// Asks again where no answer came. Jobs whose time is up end later, in
    /// [`end_overdue`](Self::end_overdue), so that an answer of the same moment counts.
    pub(in crate::node) fn handle_timeout(&mut self, post: &mut Post<'_>) {
        self.acquisitions.handle_timeout(post);
        self.fetches.handle_timeout(post);
        self.subscriptions.handle_timeout(post);
    }

    /// Ends jobs whose time is up.
    pub(in crate::node) fn end_overdue(&mut self, post: &mut Post<'_>) {
        for at in self.jobs.places() {
            let job = &self.jobs[at];
            if job.state.live() && job.deadline.is_some_and(|deadline| deadline <= post.now) {
                self.end(post, at, Err(Fault::Deadline));
            }
        }
    }

    pub(in crate::node) fn note_timeouts(&self, earliest: &mut Earliest) {
        earliest.note(self.acquisitions.poll_timeout(), Reason::Acquisition);
        self.fetches.note_timeouts(earliest);
        earliest.note(self.subscriptions.poll_timeout(), Reason::Catalogue);
        for (_, job) in self.jobs.live() {
            earliest.note(job.deadline, Reason::Deadline);
        }
    }

    /// Carries what the parts say to one another until they have nothing more to say.
    ///
    /// The order is fixed. Acquired modules come first, so that jobs reserve them before a fetch
    /// takes their room. New fetches come after fetches that have ended; jobs that wait for a
    /// catalogue come last, since they may order more.
    pub(in crate::node) fn carry(&mut self, post: &mut Post<'_>) {
        loop {
            if let Some(acquired) = self.acquisitions.poll_ended(post.now) {
                self.acquired(post, &acquired);
            } else if let Some(ended) = self.fetches.poll_ended() {
                let (source, end) = (ended.source, ended.end);
                match ended.owner {
                    Owner::Acquisition(at) => {
                        self.acquisitions.handle_fetched(post, at, source, end);
                    }
                    Owner::Subscription(at) => {
                        self.subscriptions.handle_fetched(post, at, source, end);
                    }
                    Owner::Arrival => self.happened.push_back(Happened::Image(end)),
                }
            } else if let Some(order) = post.next_order() {
                self.fetches.begin(post, order);
            } else if self.subscriptions.poll_renewed() {
                self.resolve_waiting(post);
            } else if let Some(at) = self.poll_stuck(post.cache) {
                self.do_without(post, at);
            } else {
                break;
            }
        }
    }

    /// What concerns other nodes, oldest first.
    pub(in crate::node) fn poll(&mut self) -> Option<Happened> {
        self.happened.pop_front()
    }

    /// The next work for an executor. `image_work` is the work for the job that moves, and `record`
    /// the record of that job.
    pub(in crate::node) fn poll_work<'n>(
        &'n mut self,
        executor: ExecutorId,
        cache: &'n mut Cache,
        image_work: Option<ImageWork>,
        record: &'n Buffer,
    ) -> Option<Work<'n>> {
        if let Some(stop) = self.bench.poll_stop(executor) {
            // The executor works in order: once it has taken the stop, it does not run the
            // activation any more.
            if stop.placed {
                self.make_room(executor);
            }
            release(cache, stop.modules);
            if let Some(image) = stop.image {
                cache.release(image);
                cache.remove(image);
            }
            let activation = stop.activation;
            return Some(Work::Stop { activation });
        }
        if let Some(at) = self.subscriptions.poll_verification() {
            return Some(self.subscriptions.verification(at));
        }
        if !self.bench.is_idle(executor) {
            return None;
        }
        if let Some(work) = image_work.filter(|work| self.takes_image_work(executor, *work)) {
            return self.work_for_move(executor, cache, work, record);
        }
        let around = self.around(cache);
        if let Some(victim) = self.shelf.poll_room(executor, &around) {
            return self.clear_place(executor, cache, victim);
        }
        let full = !self.bench.has_place(executor);
        let victim = full.then(|| self.shelf.poll_place(executor, &around));
        let victim = victim.flatten();
        let Self {
            bench, shelf, jobs, ..
        } = self;
        let demand = |at: JobAt, may_begin: bool| {
            let job = &jobs[at];
            let top = job.top().filter(|top| top.has_module);
            if shelf.is_stalled_at(at, executor) {
                Demand::Patience
            } else if let Some(top) = top {
                match top.holder() {
                    Some(holder) => Demand::Holder(holder),
                    None if shelf.has_begun(at) => Demand::Place,
                    None if !may_begin => Demand::Patience,
                    None if shelf.begin(at, job.need) => Demand::Place,
                    None => Demand::Promise,
                }
            } else {
                Demand::Nothing
            }
        };
        match bench.poll_turn(executor, victim.is_some(), demand)? {
            Turn::MakePlace(_) => self.clear_place(executor, cache, victim?),
            Turn::Run(at) => self.run(executor, cache, at),
        }
    }

    /// Whether the executor can do this work for the job that moves: only the one that holds an
    /// activation can freeze it.
    fn takes_image_work(&self, executor: ExecutorId, work: ImageWork) -> bool {
        let (at, depth) = work.place();
        let holder = self.jobs[at].activation(depth).and_then(|it| it.holder());
        match work {
            ImageWork::Freeze { .. } => holder == Some(executor),
            ImageWork::Thaw { .. } => holder.is_none(),
        }
    }

    /// Work for the job that moves.
    fn work_for_move<'n>(
        &'n mut self,
        executor: ExecutorId,
        cache: &'n Cache,
        work: ImageWork,
        record: &'n Buffer,
    ) -> Option<Work<'n>> {
        let (at, depth) = work.place();
        let activation = self.jobs[at].activation(depth)?.id;
        let new = matches!(work, ImageWork::Thaw { .. });
        self.bench.begin(executor, activation, true, new);
        self.jobs.start(at, depth, executor);
        Some(match work {
            ImageWork::Freeze { .. } => Work::Freeze {
                activation,
                room: image_room(record.room()),
            },
            ImageWork::Thaw { .. } => Work::Thaw {
                start: self.start_of(cache, (at, depth), &[])?,
                image: image(record, depth.index()),
            },
        })
    }

    /// Work for the job whose turn it is.
    fn run<'n>(
        &'n mut self,
        executor: ExecutorId,
        cache: &'n mut Cache,
        at: JobAt,
    ) -> Option<Work<'n>> {
        let job = &self.jobs[at];
        let State::Ready(next) = job.state else {
            return None;
        };
        let depth = Depth::new(job.depth().checked_sub(1)?);
        let top = job.top()?;
        let (activation, placed, station) = (top.id, top.has_module, top.station);
        let new = top.holder().is_none();
        self.bench.begin(executor, activation, placed, new);
        self.jobs.start(at, depth, executor);
        if let Station::Shelf(slot) = station {
            // The executor may read the image until it has answered.
            cache.reserve(slot);
            self.jobs.set(at, State::Thawing(slot, next));
            return Some(Work::Thaw {
                start: self.start_of(cache, (at, depth), &[])?,
                image: cache.code(slot),
            });
        }
        self.jobs.set(at, State::Running(next));
        let job = &self.jobs[at];
        Some(match next {
            Next::Start => Work::Start(self.start_of(cache, (at, depth), &job.message)?),
            Next::Continue => Work::Continue { activation },
            Next::Resume(result) => Work::Resume {
                activation,
                result: result.map(|()| &job.message[..]),
                fuel: job.top()?.fuel,
            },
        })
    }

    /// What the shelf looks at around it.
    fn around<'r>(&'r self, cache: &'r Cache) -> Line<'r> {
        Line {
            jobs: &self.jobs,
            bench: &self.bench,
            cache,
        }
    }

    /// Tries stalled jobs again: an activation has left the executor.
    fn make_room(&mut self, executor: ExecutorId) {
        if let Some(first) = self.shelf.handle_room(executor) {
            self.bench.favour(first);
        }
    }

    /// Puts a job back in line: an executor had no room for its work.
    fn stall(&mut self, post: &mut Post<'_>, at: JobAt, executor: ExecutorId) {
        if let Some(next) = self.jobs.take_back(post, at) {
            let is_stalled = |job: JobAt| self.shelf.is_stalled(job);
            self.bench.put_back(at, next == Next::Continue, is_stalled);
            self.shelf.handle_no_room(at, executor);
        }
    }

    /// Takes a job out of the line.
    fn withdraw(&mut self, at: JobAt) {
        self.shelf.unstall(at);
        self.bench.withdraw(at);
    }

    /// The stalled job that must do without room, because no job that an executor holds can go on.
    fn poll_stuck(&self, cache: &Cache) -> Option<JobAt> {
        let still = self.bench.is_still();
        still.then(|| self.shelf.poll_stuck(&self.around(cache)))?
    }

    /// Fails the step for which a stalled job wants room.
    fn do_without(&mut self, post: &mut Post<'_>, at: JobAt) {
        self.withdraw(at);
        if let Some(top) = self.jobs[at].top() {
            match top.station {
                // The module may go at once: the executor runs nothing before it has taken the
                // stop.
                Station::At(executor) => self.bench.stop(Stop {
                    activation: top.id,
                    executor,
                    placed: top.has_module,
                    modules: [None; 2],
                    image: None,
                }),
                Station::Shelf(image) => post.cache.remove(image),
                Station::Nowhere | Station::Record => {}
            }
        }
        self.callee_failed(post, at, Fault::NoMemory);
    }

    /// The work that makes a place, or room: freezes an activation for the shelf.
    fn clear_place(
        &mut self,
        executor: ExecutorId,
        cache: &Cache,
        victim: (JobAt, Depth),
    ) -> Option<Work<'static>> {
        let (at, depth) = victim;
        let (job, bench) = (&self.jobs[at], &self.bench);
        let activation = job.activation(depth)?.id;
        let around = Line {
            jobs: &self.jobs,
            bench,
            cache,
        };
        let bytes = job.need.bytes;
        let room = self.shelf.begin_freezing(executor, victim, bytes, &around);
        self.bench.begin(executor, activation, true, false);
        Some(Work::Freeze { activation, room })
    }

    /// Takes the answer of an executor that was to freeze an activation for the shelf.
    fn shelved(&mut self, post: &mut Post<'_>, (at, depth): (JobAt, Depth), outcome: Outcome<'_>) {
        match Shelf::handle_frozen(post, outcome) {
            Shelved::Image(slot) => self.jobs.shelve(at, depth, Some(slot)),
            Shelved::Kept => self.jobs.shelve(at, depth, None),
            Shelved::Lost => {
                self.jobs.lose(at, depth);
                self.end(post, at, Err(Fault::BadImage));
            }
        }
    }

    /// Takes the answer of an executor that was to thaw the top activation of a job from the shelf.
    fn thawed(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        (image, next): (SlotId, Next),
        outcome: Outcome<'_>,
    ) {
        match Shelf::handle_thawed(post, image, outcome) {
            Ok(()) => {
                self.jobs.set(at, State::Ready(next));
                self.bench.make_first(at);
            }
            Err((fault, trap)) => {
                self.jobs.pop(post, at, None);
                self.jobs.note_trap(at, trap);
                self.callee_ended(post, at, Err(fault));
            }
        }
    }

    /// Ends a job, whatever it does, and takes its reservations back. An arriving job is declined
    /// instead.
    pub(in crate::node) fn end(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        result: Result<(), Fault>,
    ) {
        let former = self.jobs[at].state;
        if let (State::Arriving(_), Err(fault)) = (former, result) {
            self.happened.push_back(Happened::Arriving(Err(fault)));
            return;
        }
        if result.is_err() {
            self.jobs.blame(at, None);
        }
        self.release_all(post, at);
        self.jobs.finish(post.now, at, result);
        if let Some(acquisition) = former.awaited() {
            self.abandon(post, acquisition);
        }
        if let State::Ready(_) = former {
            self.withdraw(at);
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
            Ok(result) if self.jobs.set_message(at, result) => Ok(()),
            Ok(_) => Err(Fault::ValuesTooLarge),
            Err((fault, trap)) => {
                self.jobs.note_trap(at, trap);
                Err(fault)
            }
        };
        self.end(post, at, result);
    }

    /// Lets a job go on with `next`.
    pub(in crate::node) fn make_ready(&mut self, at: JobAt, next: Next) {
        self.jobs.set(at, State::Ready(next));
        self.bench.make_ready(at, next == Next::Continue);
    }

    /// Lets a job that has arrived go on with `next`.
    pub(in crate::node) fn settle(&mut self, at: JobAt, next: Next) {
        self.shelf.take_over(at, self.jobs[at].depth());
        self.make_ready(at, next);
    }

    /// Takes the leaving job off the bench, if it stands still; returns what it goes on with. While
    /// an executor may still read the image of an abandoned thaw, nothing leaves.
    pub(in crate::node) fn leave(&mut self, post: &mut Post<'_>, at: JobAt) -> Option<Next> {
        if !self.bench.is_clear() || self.shelf.is_freezing(at) {
            return None;
        }
        let state = self.jobs[at].state;
        let next = match (state, state.awaited()) {
            (State::Ready(next), _) => {
                self.withdraw(at);
                next
            }
            (State::Acquiring { .. } | State::Preloading { .. }, Some(acquisition)) => {
                self.jobs.set(at, State::Leaving);
                self.abandon(post, acquisition);
                Next::Start
            }
            _ => return None,
        };
        self.jobs.set_leaves(at, false);
        self.jobs.set(at, State::Leaving);
        Some(next)
    }

    /// Lets a job that was to leave stay and go on with `next`.
    pub(in crate::node) fn stay(&mut self, post: &mut Post<'_>, at: JobAt, next: Next) {
        let lacks_module = self.jobs[at]
            .top()
            .is_some_and(|top| top.slot.is_none() && top.has_module);
        if lacks_module {
            self.begin_top(post, at);
        } else {
            self.make_ready(at, next);
        }
    }

    /// Releases everything that a job holds: another node runs it.
    pub(in crate::node) fn hand_over(&mut self, post: &mut Post<'_>, at: JobAt) {
        self.release_all(post, at);
        self.jobs.set(at, State::Remote);
        self.forget_replaced();
    }

    /// Whether no executor may still read from the image buffer.
    pub(in crate::node) fn image_is_free(&self) -> bool {
        self.bench.is_clear()
    }

    /// Builds the arriving job from its record, as far as this node's catalogues allow; returns
    /// what it goes on with.
    ///
    /// # Errors
    /// The [`Fault`] with which to decline it.
    pub(in crate::node) fn unpack(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
    ) -> Result<Next, Fault> {
        let record = MovedJob::parse(post.image).map_err(|_| Fault::BadImage)?;
        self.jobs.take_head(at, &record.head)?;
        // The job keeps the entries that it started with, as far as this node has them.
        let epochs = self.subscriptions.catalogues().map(|held| {
            let (own, theirs) = (held.epoch(), record.epoch(held.id()));
            theirs.map_or(own, |theirs| theirs.min(own))
        });
        self.jobs.set_epochs(at, epochs);
        for moved in record.activations() {
            let namespace = moved.tasklet.namespace;
            let held = self.subscriptions.of(namespace);
            let held = held.ok_or(Fault::UnknownNamespace)?;
            let epoch = self.jobs[at].epochs[held.index()];
            let callee = self.subscriptions.callee(held, moved.tasklet.number, epoch);
            let callee = callee.ok_or(Fault::UnknownTasklet)?;
            if !self.subscriptions.may_run(&callee) {
                return Err(Fault::CapabilityDenied);
            }
            self.jobs.take_activation(at, &callee, &moved)?;
        }
        let job = &self.jobs[at];
        if let Some(first) = job.activations().first() {
            let (entry, depth) = (first.entry(), self.depth);
            let need = self.subscriptions.need(&entry, &job.epochs, depth);
            self.jobs.set_need(at, need);
        }
        Ok(record.head.next)
    }

    /// Acquires the module of an arriving job's activation.
    pub(in crate::node) fn acquire_for(&mut self, post: &mut Post<'_>, at: JobAt, depth: Depth) {
        let activation = self.jobs[at].activation(depth);
        let wanted = activation
            .ok_or(Fault::Stopped)
            .and_then(|it| self.wanted(it));
        match wanted.and_then(|wanted| self.acquisitions.acquire(post, wanted)) {
            Ok(acquisition) => {
                let lacking = Some((depth, acquisition));
                self.jobs.set(at, State::Arriving(lacking));
            }
            Err(fault) => self.happened.push_back(Happened::Arriving(Err(fault))),
        }
    }

    /// Declines a job that arrives.
    pub(in crate::node) fn decline(&mut self, post: &mut Post<'_>, at: JobAt, fault: Fault) {
        let waited = self.jobs[at].state.awaited();
        self.release_all(post, at);
        self.fetches.abandon(post, Owner::Arrival);
        self.jobs.set(at, State::Declined(fault));
        if let Some(acquisition) = waited {
            self.abandon(post, acquisition);
        }
        post.counters.moves_refused += 1;
        self.forget_replaced();
    }

    /// Checks what must hold between inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        self.jobs.assert_invariants();
        self.subscriptions.assert_invariants();
        self.acquisitions.assert_invariants();
        self.fetches.assert_invariants();
        let is_ready = |at: JobAt| matches!(self.jobs[at].state, State::Ready(_));
        let held = |executor| self.jobs.places_held(executor);
        let places = self.jobs.all_places();
        self.bench.assert_invariants(places, is_ready, held);
        let is_live = |at: JobAt| self.jobs[at].state.live();
        self.shelf.assert_invariants(is_live);
        debug_assert!(self.happened.is_empty(), "what happened is carried on");
    }

    /// Reservations in the cache that jobs and stops hold.
    pub(in crate::node) fn reservations(&self) -> usize {
        self.jobs.reservations() + self.bench.reservations()
    }

    /// Tries to find the tasklet of a job that waits for its catalogue, and to begin it.
    fn resolve(&mut self, post: &mut Post<'_>, at: JobAt) -> Result<(), Fault> {
        let (job, subscriptions) = (&self.jobs[at], &self.subscriptions);
        let held = subscriptions.named(&job.name.namespace);
        let held = held.ok_or(Fault::UnknownNamespace)?;
        let callee = match subscriptions.look_up(post, held, &job.name.name, job.accepted) {
            Ok(callee) => callee,
            Err(Missing::Catalogue(lacking)) => {
                self.subscriptions.refresh(post, lacking);
                return Ok(());
            }
            Err(Missing::ForGood(fault)) => return Err(fault),
        };
        let epochs = subscriptions.catalogues().map(Catalogue::epoch);
        self.jobs.set_epochs(at, epochs);
        let job = &self.jobs[at];
        let signature = callee.entry.terms.signature(job.export.as_str());
        let signature = signature.ok_or(Fault::UnknownExport)?;
        abi::check_args(&signature, &job.message).map_err(|_| Fault::WrongArguments)?;
        if !self.subscriptions.may_run(&callee) {
            return Err(Fault::CapabilityDenied);
        }
        let (export, fuel) = (job.export, callee.entry.fuel_ceiling());
        let need = subscriptions.need(&callee.entry, &job.epochs, self.depth);
        let wanted = Wanted::of(&callee);
        self.jobs.push(at, &callee, export, fuel)?;
        self.jobs.set_need(at, need);
        if post.config.acquisition.preload {
            let (first, limit) = (callee.tasklet(), post.config.limits.preload);
            let mut list = self.jobs.take_preload(at);
            let epochs = &self.jobs[at].epochs;
            self.subscriptions
                .list_callees(first, epochs, &mut list, limit);
            self.jobs.set_preload(at, list);
            self.preload_from(post, at, 0);
        } else {
            self.begin(post, at, wanted);
        }
        Ok(())
    }

    /// Tries again to resolve the jobs that wait for a catalogue: one has changed, or cannot be
    /// had.
    fn resolve_waiting(&mut self, post: &mut Post<'_>) {
        for at in self.jobs.places() {
            if self.jobs[at].state == State::Resolving
                && let Err(fault) = self.resolve(post, at)
            {
                self.end(post, at, Err(fault));
            }
        }
    }

    /// Acquires the items of the preload list from `item` on, then the job's own tasklet (paper,
    /// section 4.1).
    fn preload_from(&mut self, post: &mut Post<'_>, at: JobAt, item: usize) {
        for item in item..self.jobs[at].preload.len() {
            let (tasklet, _) = self.jobs[at].preload[item];
            let epochs = &self.jobs[at].epochs;
            let callee = self.subscriptions.callee_of(tasklet, epochs);
            let Some(wanted) = callee.as_ref().and_then(Wanted::of) else {
                continue;
            };
            let acquisition = self.acquisitions.acquire(post, wanted);
            if let Ok(acquisition) = acquisition {
                self.jobs.set(at, State::Preloading { item, acquisition });
                return;
            }
        }
        self.begin_top(post, at);
    }

    /// Acquires the top tasklet.
    fn begin_top(&mut self, post: &mut Post<'_>, at: JobAt) {
        let Some(top) = self.jobs[at].top() else {
            return;
        };
        let wanted = top.has_module.then(|| self.wanted(top)).transpose();
        match wanted {
            Ok(wanted) => self.begin(post, at, wanted),
            Err(fault) => self.callee_failed(post, at, fault),
        }
    }

    /// Acquires the top tasklet, which `wanted` names; a native tasklet needs no acquisition.
    fn begin(&mut self, post: &mut Post<'_>, at: JobAt, wanted: Option<Wanted>) {
        let job = &self.jobs[at];
        let Some(wanted) = wanted else {
            if let Some(top) = job.top() {
                let native = Step {
                    tasklet: top.tasklet,
                    name: top.name,
                    source: Source::Native,
                    hops: 0,
                    attempts: 0,
                    bytes: 0,
                    took: core::time::Duration::ZERO,
                };
                self.jobs.note(at, native);
            }
            self.make_ready(at, Next::Start);
            return;
        };
        if job.leaves {
            // The job leaves: the other node acquires the module.
            self.make_ready(at, Next::Start);
            return;
        }
        match self.acquisitions.acquire(post, wanted) {
            Ok(acquisition) => self.jobs.set(at, State::Acquiring { acquisition }),
            Err(fault) => self.callee_failed(post, at, fault),
        }
    }

    /// How to acquire the module of an activation.
    fn wanted(&self, activation: &Activation) -> Result<Wanted, Fault> {
        let tasklet = activation.tasklet;
        let (digest, size) = activation.module();
        let registry = self.subscriptions.registry(tasklet.namespace);
        Ok(Wanted {
            tasklet,
            digest,
            size,
            registry: registry.ok_or(Fault::UnknownNamespace)?,
        })
    }

    /// Gives an ended acquisition to the jobs that wait for it.
    fn acquired(&mut self, post: &mut Post<'_>, acquired: &Acquired) {
        self.fetches.abandon(post, Owner::Acquisition(acquired.at));
        for at in self.jobs.places() {
            if self.jobs[at].state.awaited() == Some(acquired.at) {
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

    /// Gives a job the module that it waits for.
    fn take_module(&mut self, post: &mut Post<'_>, at: JobAt, acquired: &Acquired, slot: SlotId) {
        post.counters.count_acquired(acquired.source);
        post.cache.reserve(slot);
        post.cache.touch(slot, post.now);
        let (job, tasklet) = (&self.jobs[at], acquired.tasklet);
        let state = job.state;
        let of_activation = job.activations().iter().find(|it| it.tasklet == tasklet);
        let in_catalogue = || self.subscriptions.callee_of(tasklet, &job.epochs);
        let name = match of_activation {
            Some(activation) => activation.name,
            None => in_catalogue().map_or(job.name, |callee| callee.name),
        };
        self.jobs.note(at, acquired.step(name));
        if let State::Preloading { item, .. } = state {
            self.jobs.preloaded(at, item, slot);
            self.preload_from(post, at, item + 1);
        } else if let State::Arriving(Some((depth, _))) = state {
            self.jobs.give_module_to(at, depth, slot);
            self.jobs.set(at, State::Arriving(None));
            self.happened.push_back(Happened::Arriving(Ok(())));
        } else {
            self.jobs.give_module(at, slot);
            self.make_ready(at, Next::Start);
        }
    }

    /// Tells a job that the module that it waits for cannot be had.
    fn miss_module(&mut self, post: &mut Post<'_>, at: JobAt, fault: Fault) {
        post.counters.not_acquired += 1;
        let state = self.jobs[at].state;
        if let State::Preloading { item, .. } = state {
            // A tasklet that cannot be preloaded may never be called.
            self.preload_from(post, at, item + 1);
        } else if let State::Arriving(_) = state {
            self.jobs.set(at, State::Arriving(None));
            self.happened.push_back(Happened::Arriving(Err(fault)));
        } else if fault == Fault::CacheFull && self.jobs.release_preload(post, at) {
            // The chain is larger than the cache: go on with loading on demand.
            self.begin_top(post, at);
        } else {
            self.callee_failed(post, at, fault);
        }
    }

    /// Takes an executor's answer for the top activation of a job.
    fn go_on(&mut self, post: &mut Post<'_>, at: JobAt, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Called {
                import, args, fuel, ..
            } => {
                self.jobs.set_fuel(at, fuel);
                match self.push_callee(post, at, import, args) {
                    Ok(wanted) => self.begin(post, at, wanted),
                    Err(fault) => self.make_ready(at, Next::Resume(Err(fault))),
                }
            }
            Outcome::Done { result, fuel, .. } => {
                self.jobs.pop(post, at, Some(fuel));
                let fits = self.jobs.set_message(at, result);
                let result = if fits {
                    Ok(())
                } else {
                    Err(Fault::ValuesTooLarge)
                };
                self.callee_ended(post, at, result);
            }
            Outcome::Failed {
                fault,
                trap,
                place,
                fuel,
                ..
            } => {
                self.jobs.blame(at, place);
                self.jobs.pop(post, at, Some(fuel));
                self.jobs.note_trap(at, trap);
                self.callee_ended(post, at, Err(fault));
            }
            Outcome::Yielded { fuel, .. } => {
                self.jobs.set_fuel(at, fuel);
                self.make_ready(at, Next::Continue);
            }
            Outcome::Frozen { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::NoRoom { .. }
            | Outcome::Verified { .. } => {}
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
        let wish = self.jobs.wish(post, at, import, args)?;
        let held = self.subscriptions.of(wish.namespace);
        let held = held.ok_or(Fault::UnknownNamespace)?;
        let epoch = self.jobs[at].epochs.get(held.index()).copied();
        let callee = epoch.and_then(|epoch| self.subscriptions.callee(held, wish.number, epoch));
        let callee = callee.ok_or(Fault::UnknownTasklet)?;
        let fuel = wish.admit(&callee.entry)?;
        if !self.subscriptions.may_run(&callee) {
            return Err(Fault::CapabilityDenied);
        }
        self.jobs.push(at, &callee, wish.export, fuel)?;
        Ok(Wanted::of(&callee))
    }

    /// Fails the top tasklet, which could not be acquired or could not go on.
    fn callee_failed(&mut self, post: &mut Post<'_>, at: JobAt, fault: Fault) {
        self.jobs.blame(at, None);
        self.jobs.pop(post, at, None);
        self.callee_ended(post, at, Err(fault));
    }

    /// Gives the end of a callee to its caller, or ends the job.
    fn callee_ended(&mut self, post: &mut Post<'_>, at: JobAt, result: Result<(), Fault>) {
        if self.jobs[at].depth() > 0 {
            self.make_ready(at, Next::Resume(result));
        } else {
            self.end(post, at, result);
        }
    }

    /// Takes back everything that a job holds, and tells executors to forget it. A module that an
    /// executor may read stays where it is until the executor takes the stop.
    fn release_all(&mut self, post: &mut Post<'_>, at: JobAt) {
        let mut thawing = self.jobs[at].state.thawing();
        while let Some(ended) = self.jobs.unwind(at) {
            let (activation, modules) = (ended.activation, ended.modules);
            if let Some(executor) = ended.holder {
                self.bench.stop(Stop {
                    activation,
                    executor,
                    placed: ended.placed,
                    modules,
                    image: thawing.take(),
                });
            } else {
                release(post.cache, modules);
            }
            if let Some(image) = ended.image {
                post.cache.remove(image);
            }
        }
        self.jobs.release_preload(post, at);
        self.shelf.forget(at);
    }

    /// Drops an acquisition unless another job still waits for it.
    fn abandon(&mut self, post: &mut Post<'_>, acquisition: AcquisitionAt) {
        let waits = |at: JobAt| self.jobs[at].state.awaited() == Some(acquisition);
        if !self.jobs.places().any(waits) {
            self.fetches.abandon(post, Owner::Acquisition(acquisition));
            self.acquisitions.abandon(post, acquisition);
        }
    }

    /// Forgets replaced entries that no job needs any more.
    fn forget_replaced(&mut self) {
        let jobs = &self.jobs;
        let oldest = |at: SubscriptionAt| jobs.oldest_epoch(at.index());
        self.subscriptions.forget_replaced(oldest);
    }

    /// The work that starts an activation.
    fn start_of<'n>(
        &'n self,
        cache: &'n Cache,
        (at, depth): (JobAt, Depth),
        args: &'n [u8],
    ) -> Option<Start<'n>> {
        let stack = self.jobs[at].activations();
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
            granted: self.subscriptions.granted(activation.tasklet.namespace),
        })
    }
}

/// What the shelf looks at around it.
struct Line<'r> {
    jobs: &'r Jobs,
    bench: &'r Bench,
    cache: &'r Cache,
}

impl Around for Line<'_> {
    fn jobs(&self) -> impl Iterator<Item = (JobAt, &Job)> {
        let in_line = |at: &JobAt| matches!(self.jobs[*at].state, State::Ready(_));
        let elsewhere = self.jobs.places().filter(move |at| !in_line(at));
        let all = elsewhere.chain(self.bench.backwards());
        all.map(|at| (at, &self.jobs[at]))
    }

    fn has_place(&self, executor: ExecutorId) -> bool {
        self.bench.has_place(executor)
    }

    fn image_bytes(&self, image: SlotId) -> usize {
        self.cache.code(image).len()
    }
}

fn release(cache: &mut Cache, modules: [Option<SlotId>; 2]) {
    for slot in modules.into_iter().flatten() {
        cache.release(slot);
    }
}
