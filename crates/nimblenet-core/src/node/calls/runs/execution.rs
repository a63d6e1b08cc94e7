//! Execution: jobs, and what executors do for them.
//!
//! The parent of [`jobs`], [`bench`] and [`shelf`]. A job that is ready waits here until an
//! executor takes the next step of its top activation. The answer of the executor says what
//! follows: another step, a call of another tasklet, or the end of the job.

mod bench;
mod jobs;
mod room;
mod shares;
mod shelf;

use core::time::Duration;

use nimblenet_tasklet::{ActivationId, Capabilities, Fault, Name, NamespaceId, Outcome, Work};

use self::bench::{After, Bench, Demand, Ended, Stop, Turn};
use self::jobs::Jobs;
pub(in crate::node) use self::jobs::Opening;
use self::room::Room;
use self::shares::{Party, Shares};
use self::shelf::{Around, Shelf, Shelved};
use crate::cache::{Buffer, Cache, SlotId};
use crate::config::{Config, ExecutorId, FULL};
use crate::costs::Costs;
use crate::counters::DropReason;
use crate::event::{Awaited, PartyId};
use crate::full::Full;
use crate::job::{CallId, Caller, Job, Need, Next, State, Station};
use crate::node::post::{ImageWork, Post};
use crate::places::{Depth, JobAt};
use crate::time::Instant;
use crate::urgency::Urgency;
use crate::wire::job::{image, image_room};

/// The jobs of a node, and what its executors do.
pub(in crate::node) struct Execution {
    pub(in crate::node) jobs: Jobs,
    /// How long tasklets run here.
    pub(in crate::node) costs: Costs,
    bench: Bench,
    shelf: Shelf,
    shares: Full<Shares>,
    /// Of the cache.
    room: Full<Room>,
    /// When jobs last rose in the lines of the bench.
    risen: Full<Instant>,
}

/// Jobs rise in the lines of the bench once in this time.
const RISE_EVERY: Duration = Duration::from_secs(1);

/// What follows from an executor's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Effect<'o> {
    /// Nothing, or the job goes on by itself.
    Nothing,
    /// The answer is for the work of the job that moves, which has taken it.
    ForMove,
    /// The top tasklet of a job calls another, by its import number `import`.
    Called {
        at: JobAt,
        import: u16,
        args: &'o [u8],
    },
    /// A job is over, with this result.
    Over(JobAt, Result<(), Fault>),
}

impl Execution {
    /// No jobs yet, for the executors that the configuration names.
    pub(in crate::node) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            jobs: Jobs::new(limits, config.namespaces.len()),
            costs: Costs::new(
                match config.places_calls() {
                    true => limits.costs,
                    false => 0,
                },
                config.fuel_ms,
            ),
            bench: Bench::new(limits),
            shelf: Shelf::new(limits),
            shares: Full::new(|| Shares::new(limits.jobs)),
            room: Full::new(|| Room::new(limits)),
            risen: Full::of(Instant::ZERO),
        }
    }

    /// Whether there is a place for another job.
    pub(in crate::node) fn takes_jobs(&self) -> bool {
        self.bench.takes_jobs() && self.jobs.has_free_place()
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
            let opened = self.jobs.open(now, opening);
            opened.inspect(|at| {
                if let Some(shares) = self.shares.get_mut() {
                    shares.note_opened(*at, opening.from);
                }
            })
        } else {
            Err(Fault::Busy)
        }
    }

    /// Whether a call may have a place among the jobs: another node's, or that of somebody outside.
    pub(in crate::node) fn admit(
        &mut self,
        now: Instant,
        (caller, from): (Option<Caller>, Option<PartyId>),
        namespace: &Name,
    ) -> bool {
        let party = match (caller, from) {
            (Some((node, _)), _) => Party::Node(node),
            (None, Some(from)) => Party::Outside(from),
            (None, None) => Party::Unknown,
        };
        let shares = self.shares.get_mut();
        shares.is_none_or(|shares| shares.admit(now, party, namespace, self.jobs.live()))
    }

    /// Notes what the chain of a job needs, and gives it room in the cache; false if it must wait for that.
    pub(in crate::node) fn admit_chain(&mut self, at: JobAt, need: Need) -> bool {
        self.jobs.set_need(at, need);
        let (jobs, now) = (&self.jobs, self.risen.value());
        let is_before = |other: JobAt| jobs[other].urgency(now) < jobs[at].urgency(now);
        let room = self.room.get_mut();
        room.is_none_or(|room| room.admit(at, need.cache, is_before))
    }

    /// Notes what the chain of a job that has begun elsewhere needs.
    pub(in crate::node) fn take_chain(&mut self, at: JobAt, need: Need) {
        self.jobs.set_need(at, need);
        if let Some(room) = self.room.get_mut() {
            room.take(at, need.cache);
        }
    }

    /// The most urgent job that waits for room in the cache, if there is some; the room is its own then.
    pub(in crate::node) fn poll_room(&mut self) -> Option<JobAt> {
        let now = self.risen.value();
        let Self { room, jobs, .. } = self;
        let room = room.get_mut()?;
        let at = room.poll(|at| jobs[at].need.cache, |at| jobs[at].urgency(now))?;
        room.take(at, jobs[at].need.cache);
        Some(at)
    }

    /// The calls that wait in a line, and for what.
    pub(in crate::node) fn awaiting(&self) -> impl Iterator<Item = (CallId, Awaited)> {
        let room = self.room.get().into_iter().flat_map(Room::waiting);
        let room = room.map(|at| (at, Awaited::Room));
        let fresh = self.bench.fresh().map(|at| (at, Awaited::Executor));
        let all = room.chain(fresh);
        all.map(|(at, awaited)| (self.jobs[at].call, awaited))
    }

    /// Frees the place of a job that was never reported to anyone.
    pub(in crate::node) fn close(&mut self, post: &mut Post<'_>, at: JobAt) {
        self.release_all(post, at);
        self.jobs.close(at);
    }

    /// Takes an executor's answer for an activation. `image_work` is the work for the job that
    /// moves.
    pub(in crate::node) fn handle_outcome<'o>(
        &mut self,
        post: &mut Post<'_>,
        image_work: Option<ImageWork>,
        outcome: Outcome<'o>,
    ) -> Effect<'o> {
        let after = match outcome {
            Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Frozen { .. } => After::Leaves,
            Outcome::NoRoom { .. } => After::AsBefore,
            Outcome::Called { .. }
            | Outcome::Yielded { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::Verified { .. } => After::Stays,
        };
        let answered = outcome.activation();
        let answered = answered.and_then(|it| Some((it, self.bench.end(it, after)?)));
        let Some((activation, Ended { executor, freed })) = answered else {
            post.counters.drop(DropReason::StaleOutcome);
            return Effect::Nothing;
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
            return Effect::ForMove;
        }
        let freezing = self.shelf.poll_freezing(executor);
        if let Some((at, depth)) = freezing.filter(|place| is_for(*place)) {
            return self.shelved(post, (at, depth), outcome);
        }
        let Some(at) = self.jobs.running(activation) else {
            post.counters.drop(DropReason::StaleOutcome);
            return Effect::Nothing;
        };
        if self.costs.remembers() {
            self.jobs.note_ran(at, post.now);
        }
        if let Outcome::NoRoom { .. } = outcome {
            self.stall(post, at, executor);
            return Effect::Nothing;
        }
        self.shelf.unstall(at);
        if let State::Thawing(image, next) = self.jobs[at].state {
            self.thawed(post, at, (image, next), outcome)
        } else {
            self.go_on(post, at, outcome)
        }
    }

    /// The next activation that an executor must forget. It must be told at once.
    pub(in crate::node) fn poll_stop(
        &mut self,
        executor: ExecutorId,
        cache: &mut Cache,
    ) -> Option<ActivationId> {
        if self.bench.is_clear() {
            return None;
        }
        let stop = self.bench.poll_stop(executor)?;
        // The executor works in order: once it has taken the stop, it does not run the activation
        // any more.
        if stop.placed {
            self.make_room(executor);
        }
        release(cache, stop.modules);
        if let Some(image) = stop.image {
            cache.release(image);
            cache.remove(image);
        }
        Some(stop.activation)
    }

    /// Whether work or a stop waits for some executor.
    pub(in crate::node) fn has_work(&self) -> bool {
        !self.bench.is_clear() || self.bench.has_line()
    }

    /// The next step of a job for an executor. `image_work` is the work for the job that moves, and
    /// `record` the record of that job; `granted` says which capabilities a namespace has.
    pub(in crate::node) fn poll_work<'n>(
        &'n mut self,
        (now, executor): (Instant, ExecutorId),
        cache: &'n mut Cache,
        (image_work, record): (Option<ImageWork>, &'n Buffer),
        granted: impl Fn(NamespaceId) -> Capabilities,
    ) -> Option<Work<'n>> {
        if !self.bench.is_idle(executor) {
            return None;
        }
        self.rise(now);
        if let Some(work) = image_work.filter(|work| self.jobs.lets_do(executor, *work)) {
            return self.work_for_move(executor, cache, (work, record), granted);
        }
        let around = self.around(cache);
        if let Some(victim) = self.shelf.poll_room(executor, &around) {
            return self.clear_place(executor, cache, victim);
        }
        let full = !self.bench.has_place(executor);
        let victim = full.then(|| self.shelf.poll_place(executor, &around));
        let victim = victim.flatten();
        let Self {
            bench,
            shelf,
            jobs,
            shares,
            ..
        } = self;
        let ranked = self.risen.value();
        let class = |at: JobAt| jobs[at].class(ranked);
        let yields = |at: JobAt| {
            let shares = shares.get();
            shares.is_some_and(|shares| shares.lets_others(at, &jobs[at]))
        };
        let demand = |at: JobAt, may_begin: bool| {
            let job = &jobs[at];
            let place = || Demand::Place {
                anywhere: shelf.is_stalled(at),
            };
            let top = job.top().filter(|top| top.has_module);
            if shelf.is_stalled_at(at, executor) {
                Demand::Patience
            } else if let Some(top) = top {
                match top.holder() {
                    Some(holder) => Demand::Holder(holder),
                    None if shelf.has_begun(at) => place(),
                    None if !may_begin => Demand::Patience,
                    None if shelf.begin(at, job.need) => Demand::Place { anywhere: false },
                    None => Demand::Promise,
                }
            } else {
                Demand::Nothing
            }
        };
        match bench.poll_turn(executor, victim.is_some(), class, yields, demand)? {
            Turn::MakePlace(_) => self.clear_place(executor, cache, victim?),
            Turn::Run(at) => {
                let sliced = self.bench.last_was_sliced();
                if let Some(shares) = self.shares.get_mut().filter(|_| sliced) {
                    shares.note_turn(at, &self.jobs[at]);
                }
                if FULL || self.costs.remembers() {
                    self.jobs.note_step(at, now);
                }
                self.run(executor, cache, at, granted)
            }
        }
    }

    /// The stalled job that must do without room, because no job that an executor holds can go on.
    pub(in crate::node) fn poll_stuck(&self, cache: &Cache) -> Option<JobAt> {
        if !self.shelf.has_stalled() || !self.bench.is_still() {
            return None;
        }
        self.shelf.poll_stuck(&self.around(cache))
    }

    /// Fails the step for which a stalled job wants room. Returns the result of the job if that
    /// ends it.
    pub(in crate::node) fn do_without(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
    ) -> Option<Result<(), Fault>> {
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
        self.fail_callee(post, at, Fault::NoMemory)
    }

    /// Fails the top tasklet, which cannot go on. Returns the result of the job if that ends it.
    pub(in crate::node) fn fail_callee(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        fault: Fault,
    ) -> Option<Result<(), Fault>> {
        self.jobs.blame(at, None);
        self.jobs.pop(post, at, None);
        self.callee_ended(at, Err(fault))
    }

    /// Lets a job go on with `next`.
    pub(in crate::node) fn make_ready(&mut self, at: JobAt, next: Next) {
        self.jobs.set(at, State::Ready(next));
        let (jobs, now) = (&self.jobs, self.risen.value());
        let sliced = next == Next::Continue;
        let is_after = |other| is_after(jobs, now, (at, other), sliced);
        self.bench.make_ready(at, sliced, is_after);
    }

    /// Lets the jobs rise in the lines that have waited long enough, if it is time.
    pub(in crate::node) fn rise(&mut self, now: Instant) {
        let Self { jobs, bench, .. } = self;
        let Some(risen) = self.risen.get_mut().filter(|at| now - **at >= RISE_EVERY) else {
            return;
        };
        let before = core::mem::replace(risen, now);
        let has_risen = |at: JobAt| jobs[at].class(now) != jobs[at].class(before);
        bench.rise(has_risen, |at, other, sliced| {
            is_after(jobs, now, (at, other), sliced)
        });
    }

    /// Lets a job that has arrived go on with `next`.
    pub(in crate::node) fn settle(&mut self, at: JobAt, next: Next) {
        self.shelf.take_over(at, self.jobs[at].depth());
        self.make_ready(at, next);
    }

    /// Takes the leaving job out of the line, if it stands still; returns what it goes on with.
    /// While an executor may still read the image of an abandoned thaw, nothing leaves.
    pub(in crate::node) fn leave(&mut self, at: JobAt) -> Option<Next> {
        if !self.bench.is_clear() || self.shelf.is_freezing(at) {
            return None;
        }
        let state = self.jobs[at].state;
        let next = if let State::Ready(next) = state {
            self.withdraw(at);
            next
        } else if let State::Acquiring { .. } | State::Preloading { .. } = state {
            Next::Start
        } else {
            return None;
        };
        self.jobs.set_leaves(at, false);
        self.jobs.set(at, State::Leaving);
        Some(next)
    }

    /// Ends a job, whatever it does.
    pub(in crate::node) fn end(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        result: Result<(), Fault>,
    ) {
        let former = self.jobs[at].state;
        if result.is_err() {
            self.jobs.blame(at, None);
        }
        self.release_all(post, at);
        self.jobs.finish(post.now, at, result);
        if let State::Ready(_) = former {
            self.withdraw(at);
        }
    }

    /// Takes back everything that a job holds, and tells executors to forget it. A module that an
    /// executor may read stays where it is until the executor takes the stop.
    pub(in crate::node) fn release_all(&mut self, post: &mut Post<'_>, at: JobAt) {
        if let Some(room) = self.room.get_mut() {
            room.forget(at);
        }
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

    /// Whether no executor may still read from the image buffer.
    pub(in crate::node) fn image_is_free(&self) -> bool {
        self.bench.is_clear()
    }

    /// How long new work waits until an executor is free.
    pub(in crate::node) fn wait(&self, now: Instant) -> Duration {
        if self.jobs.live_here() < self.bench.executors() {
            return Duration::ZERO;
        }
        let left = self.jobs.live().map(|(_, job)| job.left_us(now));
        let left: u64 = left.map(u64::from).sum();
        Duration::from_micros(left / self.bench.executors() as u64)
    }

    /// How long work of this urgency waits here until an executor is free for it, besides the calls that wait
    /// for a place and take `others` in all.
    pub(in crate::node) fn wait_before(
        &self,
        now: Instant,
        urgency: Urgency,
        others: Duration,
    ) -> Duration {
        if self.jobs.live_here() < self.bench.executors() {
            return Duration::ZERO;
        }
        let before = self
            .jobs
            .live()
            .filter(|(_, job)| job.urgency(now) < urgency);
        let left: u64 = before.map(|(_, job)| u64::from(job.left_us(now))).sum();
        (Duration::from_micros(left) + others) / self.bench.executors() as u32
    }

    /// Reservations in the cache that jobs and stops hold.
    pub(in crate::node) fn reservations(&self) -> usize {
        self.jobs.reservations() + self.bench.reservations()
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        self.jobs.assert_invariants();
        let is_ready = |at: JobAt| matches!(self.jobs[at].state, State::Ready(_));
        let held = |executor| self.jobs.places_held(executor);
        let places = self.jobs.all_places();
        self.bench.assert_invariants(places, is_ready, held);
        let is_live = |at: JobAt| self.jobs[at].state.live();
        self.shelf.assert_invariants(is_live);
        if let Some(room) = self.room.get() {
            room.assert_invariants();
        }
    }

    /// Work for the job that moves.
    fn work_for_move<'n>(
        &'n mut self,
        executor: ExecutorId,
        cache: &'n Cache,
        (work, record): (ImageWork, &'n Buffer),
        granted: impl Fn(NamespaceId) -> Capabilities,
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
                start: self.jobs.start_of(cache, (at, depth), &[], granted)?,
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
        granted: impl Fn(NamespaceId) -> Capabilities,
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
                start: self.jobs.start_of(cache, (at, depth), &[], granted)?,
                image: cache.code(slot),
            });
        }
        self.jobs.set(at, State::Running(next));
        let job = &self.jobs[at];
        Some(match next {
            Next::Start => {
                Work::Start(
                    self.jobs
                        .start_of(cache, (at, depth), &job.message, granted)?,
                )
            }
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

    /// The work that makes a place, or room: freezes an activation for the shelf.
    fn clear_place(
        &mut self,
        executor: ExecutorId,
        cache: &Cache,
        victim: (JobAt, Depth),
    ) -> Option<Work<'static>> {
        let (at, depth) = victim;
        let (jobs, bench) = (&self.jobs, &self.bench);
        let activation = jobs[at].activation(depth)?.id;
        let bytes = jobs[at].need.bytes;
        let around = Line { jobs, bench, cache };
        let room = self.shelf.begin_freezing(executor, victim, bytes, &around);
        self.bench.begin(executor, activation, true, false);
        Some(Work::Freeze { activation, room })
    }

    /// Takes the answer of an executor that was to freeze an activation for the shelf.
    fn shelved(
        &mut self,
        post: &mut Post<'_>,
        (at, depth): (JobAt, Depth),
        outcome: Outcome<'_>,
    ) -> Effect<'static> {
        match Shelf::handle_frozen(post, outcome) {
            Shelved::Image(slot) => self.jobs.shelve(at, depth, Some(slot)),
            Shelved::Kept => self.jobs.shelve(at, depth, None),
            Shelved::Lost => {
                self.jobs.lose(at, depth);
                return Effect::Over(at, Err(Fault::BadImage));
            }
        }
        Effect::Nothing
    }

    /// Takes the answer of an executor that was to thaw the top activation of a job from the shelf.
    fn thawed(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        (image, next): (SlotId, Next),
        outcome: Outcome<'_>,
    ) -> Effect<'static> {
        match Shelf::handle_thawed(post, image, outcome) {
            Ok(()) => {
                self.jobs.set(at, State::Ready(next));
                self.bench.make_first(at);
                Effect::Nothing
            }
            Err((fault, trap)) => {
                self.jobs.pop(post, at, None);
                self.jobs.note_trap(at, trap);
                Effect::of(at, self.callee_ended(at, Err(fault)))
            }
        }
    }

    /// Takes an executor's answer for the top activation of a job.
    fn go_on<'o>(&mut self, post: &mut Post<'_>, at: JobAt, outcome: Outcome<'o>) -> Effect<'o> {
        match outcome {
            Outcome::Called {
                import, args, fuel, ..
            } => {
                self.jobs.set_fuel(at, fuel);
                Effect::Called { at, import, args }
            }
            Outcome::Done { result, fuel, .. } => {
                self.note_time(at);
                self.jobs.pop(post, at, Some(fuel));
                let fits = self.jobs.set_message(at, result);
                let result = fits.then_some(()).ok_or(Fault::ValuesTooLarge);
                Effect::of(at, self.callee_ended(at, result))
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
                Effect::of(at, self.callee_ended(at, Err(fault)))
            }
            Outcome::Yielded { fuel, .. } => {
                self.jobs.set_fuel(at, fuel);
                self.make_ready(at, Next::Continue);
                Effect::Nothing
            }
            Outcome::Frozen { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::NoRoom { .. }
            | Outcome::Verified { .. } => Effect::Nothing,
        }
    }

    /// Remembers how long the top tasklet of a job has run.
    fn note_time(&mut self, at: JobAt) {
        if let Some(top) = self.jobs[at].top().filter(|_| self.costs.remembers()) {
            let cost = top.entry().terms.cost;
            self.costs.note(top.tasklet, cost, top.ran_us);
        }
    }

    /// Gives the end of a callee to its caller. Returns the result if there is no caller: then the
    /// job is over.
    fn callee_ended(&mut self, at: JobAt, result: Result<(), Fault>) -> Option<Result<(), Fault>> {
        if self.jobs[at].depth() == 0 {
            return Some(result);
        }
        self.make_ready(at, Next::Resume(result));
        None
    }
}

impl Effect<'_> {
    /// What follows if a job goes on, or is over with a result.
    fn of(at: JobAt, over: Option<Result<(), Fault>>) -> Self {
        over.map_or(Self::Nothing, |result| Self::Over(at, result))
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

/// Whether the job at `other` comes after that at `at`, among those with new work or after a slice.
fn is_after(jobs: &Jobs, now: Instant, (at, other): (JobAt, JobAt), sliced: bool) -> bool {
    match sliced {
        true => jobs[other].class(now) < jobs[at].class(now),
        false => jobs[other].urgency(now) > jobs[at].urgency(now),
    }
}

fn release(cache: &mut Cache, modules: [Option<SlotId>; 2]) {
    let held = modules.into_iter().flatten();
    held.for_each(|slot| cache.release(slot));
}
