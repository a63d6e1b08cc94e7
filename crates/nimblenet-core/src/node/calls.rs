//! Calls: jobs wherever they run, here and at other nodes.
//!
//! The parent of [`runs`], [`exchanges`] and [`moves`]. It carries values between them as the node
//! does between its parts. A call that runs here is a job of `runs`; `exchanges` keeps a call that
//! another node runs; `moves` takes a running job from one node to another.

mod admission;
mod answers;
mod draining;
mod exchanges;
mod moves;
mod placing;
mod results;
mod runs;
mod waiting;
mod withdrawals;

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId, Outcome, Signature, TaskletName, TaskletRef, Type, Work};

use self::admission::{Admission, Outlook};
use self::answers::{Answers, FLIGHT, is_before};
use self::draining::Draining;
use self::exchanges::{Exchange, Exchanges, Heard, Thought};
pub(super) use self::moves::Moved;
use self::moves::{Moves, OfferAnswer, Passed};
use self::placing::{Placing, Wanted};
pub use self::results::RESULTS_KEPT;
use self::results::{End, Known, Results};
pub use self::runs::Abilities;
use self::runs::{Happened, Opening, Runs};
use self::waiting::{Waiter, Waiting, Wish};
use self::withdrawals::Withdrawals;
use super::post::Post;
use crate::cache::{Buffer, Cache, Disk, SlotId};
use crate::catalogue::Catalogue;
use crate::config::{Config, ExecutorId, FULL, PLACES};
use crate::counters::count;
use crate::earliest::Earliest;
use crate::event::{Awaited, CallKey, CallRequest, Priority, Progress, Reason, Standing};
use crate::full::Full;
use crate::job::{CallId, Caller, ExportName, Job, State};
use crate::place::{Decision, Facts};
use crate::places::JobAt;
use crate::queue::Queue;
use crate::random::Random;
use crate::time::Instant;
use crate::urgency::Urgency;
use crate::wire::{
    Answer, Call, Frame, Go, Load, Message, Move, Object, Offer, Passes, Return, Wait,
};

/// How long new work waits, as policies see it, at a node that must not run it.
const NEVER: Duration = Duration::from_secs(3600);

/// Where a call runs that does not run here.
struct Placed {
    to: NodeId,
    thought: Option<Thought>,
    /// When its result is expected, if nothing is to come before that.
    expected: Option<Duration>,
}

/// How a call fits this node.
struct Fit {
    tasklet: TaskletRef,
    /// How long it runs here.
    work: Duration,
    /// Whether no other node may run it.
    bound: bool,
    /// Whether this node can run all that the call may run.
    able: bool,
}

/// The calls of a node.
pub(super) struct Calls {
    pub(super) runs: Runs,
    exchanges: Exchanges,
    moves: Moves,
    answers: Answers,
    placing: Placing,
    draining: Full<Draining>,
    results: Full<Results>,
    withdrawals: Full<Withdrawals>,
    admission: Full<Admission>,
    /// Kept between calls, so that a call allocates nothing.
    modules: Vec<(TaskletRef, Option<SlotId>)>,
    natives: Vec<TaskletRef>,
    waiting: Waiting,
    /// Jobs of this node's own that have ended and are not taken yet.
    own: Full<Queue<JobAt>>,
    /// When this run of the node has begun.
    began: Option<Instant>,
}

impl Calls {
    pub(super) fn new(config: &Config, catalogues: Vec<Disk>) -> Self {
        let jobs = config.limits.jobs;
        let listed = match config.places_calls() {
            true => config.limits.preload + 1,
            false => 0,
        };
        Self {
            runs: Runs::new(config, catalogues),
            exchanges: Exchanges::new(jobs),
            moves: Moves::new(jobs),
            answers: Answers::new(&config.limits),
            placing: Placing::new(
                match config.places_calls() {
                    true => config.limits.neighbours,
                    false => 0,
                },
                if FULL { config.limits.neighbours } else { 0 },
                Random::new(config.seed ^ u64::from(config.id.0) << 48 ^ 2),
            ),
            draining: Full::new(Draining::new),
            results: Full::new(|| Results::new(&config.limits)),
            withdrawals: Full::new(|| Withdrawals::new(jobs)),
            admission: Full::new(Admission::new),
            modules: Vec::with_capacity(listed),
            natives: Vec::with_capacity(listed),
            waiting: Waiting::new(config.limits.waiting),
            own: Full::new(|| Queue::with_capacity(jobs)),
            began: None,
        }
    }

    /// Calls in progress, in no particular order.
    pub(super) fn progress(&self) -> impl Iterator<Item = Progress> {
        let waiting = self.waiting.live().map(|waiter| {
            let wish = waiter.wish();
            let (accepted, call) = wish.since;
            Progress {
                call,
                name: self.runs.name_of(wish.tasklet),
                standing: Standing::Waiting,
                caller: wish.caller.map(|(caller, _)| caller),
                depth: 0,
                accepted,
                deadline: wish.deadline,
            }
        });
        let jobs = self.runs.execution.jobs.live().map(|(at, job)| {
            let known = !matches!(job.state, State::Arriving(_)) || job.depth() > 0;
            Progress {
                call: job.call,
                name: known.then_some(job.name),
                standing: match (job.state, self.exchanges.node_of(at)) {
                    (State::Remote, Some(node)) => Standing::At(node),
                    (State::Leaving | State::Arriving(_), _) => Standing::Moving,
                    (State::Ready(_), _) => Standing::Queued,
                    (State::Running(_) | State::Thawing(..), _) => Standing::Running,
                    _ => Standing::Waiting,
                },
                caller: job.caller.map(|(caller, _)| caller),
                depth: job.depth(),
                accepted: job.accepted,
                deadline: job.deadline,
            }
        });
        jobs.chain(waiting)
    }

    /// The calls that wait in a line, and for what.
    pub(super) fn awaiting(&self) -> impl Iterator<Item = (CallId, Awaited)> {
        let waiting = self.waiting.live().map(|waiter| waiter.wish().since.1);
        let waiting = waiting.map(|call| (call, Awaited::Place));
        waiting.chain(self.runs.execution.awaiting())
    }

    /// Answers that are kept for other nodes besides the jobs.
    pub(super) fn answers(&self) -> usize {
        self.answers.count()
    }

    /// Results that are kept for clients.
    pub(super) fn results(&self, now: Instant) -> usize {
        self.results.get().map_or(0, |results| results.count(now))
    }

    /// Calls that were cancelled here, of which other nodes are still being told.
    pub(super) fn withdrawn(&self) -> usize {
        self.withdrawals.get().map_or(0, Withdrawals::count)
    }

    /// Calls that wait because there are as many jobs as there may be.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.count()
    }

    /// Takes a call with `take`. If its client gives it a number, its result will be kept; if that number
    /// is known, the call waits for the result instead.
    ///
    /// # Errors
    /// [`Fault`] if it is refused at once.
    pub(super) fn take<'r>(
        &mut self,
        post: &mut Post<'_>,
        request: CallRequest<'r>,
        take: impl FnOnce(&mut Self, &mut Post<'_>, CallRequest<'r>) -> Result<CallId, Fault>,
    ) -> Result<CallId, Fault> {
        let (Some(key), Some(results)) = (request.key, self.results.get_mut()) else {
            return take(self, post, request);
        };
        if results.answers(post.now, key) {
            return self.claim(post, post.config.id, (key, request));
        }
        let call = self.runs.execution.jobs.coming_call();
        results.begin(post.now, (key, request.name), call)?;
        let taken = take(self, post, request);
        if let (Err(_), Some(results)) = (taken, self.results.get_mut()) {
            results.forget_call(call);
        }
        debug_assert!(taken.is_err() || taken == Ok(call), "{taken:?}");
        taken
    }

    /// Waits for the result of a call that a client has made at the node `at`.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if that is this node, which does not know the call; [`Fault::Busy`] if it
    /// has as many jobs as it may.
    pub(super) fn claim(
        &mut self,
        post: &mut Post<'_>,
        at: NodeId,
        (key, request): (CallKey, CallRequest<'_>),
    ) -> Result<CallId, Fault> {
        let claim = CallRequest {
            export: "",
            args: &key.to_bytes(),
            priority: Priority::Normal,
            key: None,
            ..request
        };
        post.counters.calls += 1;
        post.cache.meet(post.now, key.client);
        let claimed = if at == post.config.id {
            self.claim_here(post, key, claim)
        } else {
            let placed = Placed {
                to: at,
                thought: None,
                expected: None,
            };
            self.accept_remote(post, placed, claim, Passes::CLAIM)
        };
        post.counters.failed += u64::from(claimed.is_err());
        claimed
    }

    /// Waits for the result of a call that a client has made at this node.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    fn claim_here(
        &mut self,
        post: &mut Post<'_>,
        key: CallKey,
        claim: CallRequest<'_>,
    ) -> Result<CallId, Fault> {
        let knows = |results: &Results| results.knows(post.now, key);
        if !self.results.get().is_some_and(knows) {
            return Err(Fault::UnknownCall);
        }
        let deadline = post.now + claim.deadline.unwrap_or(exchanges::DEFAULT_DEADLINE);
        self.vacate(post);
        self.admit(post.now, &claim, None)?;
        let opening = Opening::claim(&claim, deadline);
        let at = self.runs.execution.open(post.now, opening)?;
        let call = self.runs.execution.jobs[at].call;
        // Nothing is sent: the number only tells this wait from others.
        let (own, number) = (post.config.id, call.0);
        self.exchanges
            .begin(at, Exchange::own(own, number, deadline + FLIGHT));
        let results = self.results.get_mut();
        let known = results.and_then(|it| it.claim(post.now, (key, claim.name), (own, number)));
        let result = match known {
            Some(Known::Working) => return Ok(call),
            Some(Known::Ended(end)) => end,
            None => Err((Fault::UnknownCall, None)),
        };
        self.runs.end_remote(post, at, result);
        self.carry(post);
        Ok(call)
    }

    /// Answers a node where a client asks for the result of a call that it has made here.
    fn handle_claim(&mut self, post: &mut Post<'_>, caller: Caller, call: &Call<'_>) {
        let wait = self.own_wait(post);
        let unknown = Answer::Failed(Fault::UnknownCall, None);
        let key = CallKey::from_bytes(call.args).filter(|_| FULL);
        let known = key.and_then(|key| {
            let results = self.results.get_mut()?;
            results.claim(post.now, (key, call.name), caller)
        });
        let answer = match known {
            Some(Known::Working) => Answer::Working(exchanges::run(post), wait),
            Some(Known::Ended(end)) => {
                count(&mut post.counters.handed_over);
                answer_of(end)
            }
            None => unknown,
        };
        exchanges::send_fitting(post, caller, answer);
    }

    /// Gives the result of a call that has ended to a node where its client has asked for it meanwhile;
    /// false if nobody has.
    fn hand_over(&mut self, post: &mut Post<'_>) -> bool {
        let Self {
            results,
            runs,
            exchanges,
            ..
        } = self;
        let results = results.get_mut();
        let Some((claimant, end)) = results.and_then(Results::poll_claimant) else {
            return false;
        };
        let (node, request) = claimant;
        if node != post.config.id {
            count(&mut post.counters.handed_over);
            exchanges::send_fitting(post, claimant, answer_of(end));
        } else if let Some(at) = exchanges.find(node, request) {
            runs.end_remote(post, at, end);
        }
        true
    }

    /// Takes a call. The policy decides where it runs; if the tasklet is not in a catalogue yet, it
    /// runs here, and so does, on a board, a call that must wait for one of its few places for jobs.
    ///
    /// # Errors
    /// [`Fault`] if it is refused at once.
    pub(super) fn call(
        &mut self,
        post: &mut Post<'_>,
        request: CallRequest<'_>,
    ) -> Result<CallId, Fault> {
        if !FULL {
            self.vacate(post);
            if self.must_wait() {
                return self.call_here(post, request);
            }
        }
        let placed = match self.place(post, &request, None) {
            Ok(Some(placed)) => placed,
            Ok(None) => return self.call_here(post, request),
            Err(fault) => {
                post.counters.calls += 1;
                post.counters.failed += 1;
                return Err(fault);
            }
        };
        if let Some(client) = request.client {
            post.cache.meet(post.now, client);
        }
        post.counters.calls += 1;
        match self.accept_remote(post, placed, request, Passes::PLACED) {
            Ok(call) => {
                post.counters.placed += 1;
                Ok(call)
            }
            // It is too long for a frame, or must wait for a place.
            Err(Fault::ValuesTooLarge | Fault::Busy) => {
                post.counters.calls -= 1;
                self.call_here(post, request)
            }
            Err(fault) => {
                post.counters.failed += 1;
                Err(fault)
            }
        }
    }

    /// The other node at which a call runs, as the policy decides; `caller` is the node that calls. The
    /// work is noted there. If the call cannot end in time where the policy decides, but elsewhere, it runs there.
    ///
    /// # Errors
    /// [`Fault::TooLate`] if it cannot end in time anywhere, as far as is known.
    fn place(
        &mut self,
        post: &Post<'_>,
        request: &CallRequest<'_>,
        caller: Option<NodeId>,
    ) -> Result<Option<Placed>, Fault> {
        if !post.config.places_calls() {
            return Ok(None);
        }
        let fit = self.fit(post, &request.name);
        let fit = fit.filter(|fit| !fit.bound);
        let Some(Fit {
            tasklet,
            work,
            able,
            ..
        }) = fit
        else {
            return Ok(None);
        };
        let policy = post.config.placement.policy;
        let chance = self.placing.chance();
        let lacks = |module| post.cache.find(module).is_none();
        let must_leave = !able || self.is_draining();
        let left = Admission::tight(request.deadline).filter(|_| FULL);
        let here = left.and_then(|_| self.outlook_here(post.now, request));
        let wanted = Wanted {
            work,
            modules: &self.modules,
            natives: &self.natives,
        };
        let facts = Facts {
            lacks: placing::count(&self.modules, lacks),
            fetch: post.patience(1),
            blur: post.config.pace.load / 2,
            tasklet,
            work,
            caller,
            left: request.deadline,
            backlog: self.runs.execution.jobs.live_here() + self.waiting.live().count(),
            wait: match must_leave {
                true => NEVER,
                false if !FULL => self.present_wait(post.now),
                false => {
                    let urgency = self.urgency(post.now, request);
                    let execution = &self.runs.execution;
                    execution.wait_before(post.now, urgency, Duration::ZERO)
                }
            },
            executors: post.config.limits.executors,
            chance,
            neighbours: self.placing.neighbours(post, caller, wanted),
        };
        let to = match policy.place(&facts) {
            Decision::Send(to) => Some(to),
            Decision::Here if must_leave => facts.first_neighbour(),
            Decision::Here => None,
        };
        let to = match left {
            Some(left) => {
                let in_time = in_time(&facts, left, (here, !must_leave), to);
                in_time.map_err(|soonest| self.too_late(soonest))?
            }
            None => to,
        };
        let Some(to) = to else {
            return Ok(None);
        };
        let (wait, run) = self.placing.outlook(post.now, to, work);
        let doubt = self.placing.take_doubt(to);
        self.placing.note_placed(post.now, to, run);
        let way = post.config.pace.hop * 2;
        Ok(Some(Placed {
            to,
            thought: Some(Thought::new(wait + way, work)),
            expected: (!doubt).then_some(wait + run),
        }))
    }

    /// When a call would end that runs here; none if its tasklet is in no catalogue, or this node does not
    /// remember how long tasklets run.
    fn outlook_here(&self, now: Instant, request: &CallRequest<'_>) -> Option<Outlook> {
        let costs = &self.runs.execution.costs;
        if !costs.remembers() {
            return None;
        }
        let (tasklet, need) = self.runs.need_of(&request.name)?;
        let urgency = self.urgency(now, request);
        let time = |name: &TaskletName| {
            let need = self.runs.need_of(name).map_or(0, |(_, need)| need.time_us);
            Duration::from_micros(need.into())
        };
        let waiting = self.waiting.before(now, urgency);
        let waiting = waiting.filter_map(|tasklet| self.runs.name_of(tasklet));
        let others = waiting.map(|name| time(&name)).sum();
        Some(Outlook {
            before: self.runs.execution.wait_before(now, urgency, others),
            work: Duration::from_micros(need.time_us.into()),
            seen: costs.has_seen(tasklet),
        })
    }

    /// How urgent a call is that comes now.
    fn urgency(&self, now: Instant, request: &CallRequest<'_>) -> Urgency {
        let age = (now, self.runs.execution.jobs.coming_call());
        let deadline = request.deadline.map(|left| now + left);
        Urgency::new(request.priority, age, deadline)
    }

    /// Checks that a call which runs here may end in time.
    ///
    /// # Errors
    /// [`Fault::TooLate`] if it cannot.
    fn check_deadline(&mut self, post: &Post<'_>, request: &CallRequest<'_>) -> Result<(), Fault> {
        let Some(left) = Admission::tight(request.deadline).filter(|_| FULL) else {
            return Ok(());
        };
        let here = self.outlook_here(post.now, request);
        match here {
            Some(here) if !Admission::meets(left, Some(here)) => Err(self.too_late(here.end())),
            _ => Ok(()),
        }
    }

    /// Why a call is refused that would have ended after this time at the soonest.
    fn too_late(&mut self, soonest: Duration) -> Fault {
        let admission = self.admission.get_mut();
        admission.map_or(Fault::TooLate, |admission| admission.refuse(soonest))
    }

    /// How long the call that was refused last as too late would have taken.
    pub(super) fn wanted_time(&self) -> Option<Duration> {
        self.admission.get()?.wanted()
    }

    /// How a call of a tasklet fits this node, and lists what it may run; none if the tasklet is not in a
    /// catalogue.
    fn fit(&mut self, post: &Post<'_>, name: &TaskletName) -> Option<Fit> {
        let (tasklet, need) = self.runs.need_of(name)?;
        let limit = post.config.limits.preload;
        let Self {
            runs,
            modules,
            natives,
            ..
        } = self;
        modules.clear();
        natives.clear();
        let subscriptions = &runs.supply.subscriptions;
        subscriptions.list_callees(tasklet, &[], modules, limit);
        modules.push((tasklet, None));
        let mut able = true;
        modules.retain(|(tasklet, _)| {
            let (suits, native) = runs.suits(*tasklet).unwrap_or((true, false));
            able &= suits;
            if native {
                natives.push(*tasklet);
            }
            !native
        });
        Some(Fit {
            tasklet,
            work: Duration::from_micros(need.time_us.into()),
            bound: need.pinned,
            able,
        })
    }

    /// Takes what the executors of this node can run.
    pub(super) fn set_abilities(&mut self, post: &mut Post<'_>, abilities: Abilities) {
        self.runs.set_abilities(post, abilities);
        self.placing.handle_newcomer();
        self.carry(post);
    }

    /// Takes what a neighbour says of the work that waits there.
    pub(super) fn handle_load(&mut self, post: &Post<'_>, from: NodeId, load: Load) {
        if post.config.places_calls() {
            self.placing.handle_load(post, from, load);
        }
    }

    /// There is a neighbour that knows nothing of this node.
    pub(super) fn handle_newcomer(&mut self) {
        self.placing.handle_newcomer();
    }

    /// Tells the neighbours how long work waits here, if they do not know that.
    fn tell_load(&mut self, post: &mut Post<'_>) {
        if !post.config.places_calls() {
            return;
        }
        let wait = self.present_wait(post.now);
        let pause = post.config.pace.load;
        if self.placing.poll_load(post.now, pause, wait) {
            let executors = match self.is_draining() || !self.runs.runs_modules() {
                true => 0,
                false => u8::try_from(post.config.limits.executors).unwrap_or(u8::MAX),
            };
            let wait = Wait::of(wait);
            post.flood(1, Message::Load(Load { wait, executors }));
        }
    }

    /// How long new work waits here, as answers say it.
    fn own_wait(&self, post: &Post<'_>) -> Wait {
        match post.config.places_calls() {
            true => Wait::of(self.present_wait(post.now)),
            false => Wait::default(),
        }
    }

    /// How long new work waits here: on a board, also for the calls that wait for a place among its few jobs.
    fn present_wait(&self, now: Instant) -> Duration {
        let wait = self.runs.execution.wait(now);
        match FULL {
            true => wait,
            false => wait + self.waiting.work(),
        }
    }

    /// Tells the caller of the job at `at` how it stands.
    fn answer(&self, post: &mut Post<'_>, at: JobAt) {
        let wait = self.own_wait(post);
        exchanges::answer(post, &self.runs.execution.jobs[at], wait);
    }

    /// Takes a call that runs here.
    ///
    /// # Errors
    /// [`Fault`] if it is refused at once.
    pub(super) fn call_here(
        &mut self,
        post: &mut Post<'_>,
        request: CallRequest<'_>,
    ) -> Result<CallId, Fault> {
        self.vacate(post);
        let call = match self.admit_here(post, &request, None) {
            Err(fault) => {
                post.counters.calls += 1;
                post.counters.failed += 1;
                Err(fault)
            }
            Ok(()) if self.must_wait() => self.wait(post, request, None),
            Ok(()) => {
                let accepted = self.runs.accept(post, request, None);
                accepted.map(|at| self.runs.execution.jobs[at].call)
            }
        };
        self.carry(post);
        call
    }

    /// Takes a call of this node's own, under a number that the node chooses; it runs here. Its end is taken
    /// with [`poll_own`](Self::poll_own).
    ///
    /// # Errors
    /// [`Fault`] if it is refused at once.
    pub(super) fn call_own(
        &mut self,
        post: &mut Post<'_>,
        number: u32,
        request: CallRequest<'_>,
    ) -> Result<(), Fault> {
        let caller = Some((post.config.id, number));
        self.vacate(post);
        self.admit_here(post, &request, caller)?;
        self.runs.accept(post, request, caller)?;
        Ok(())
    }

    /// A call of this node's own that has ended: its number, and its place for
    /// [`own_result`](Self::own_result) and [`close_own`](Self::close_own).
    pub(super) fn poll_own(&mut self) -> Option<(JobAt, u32)> {
        let at = self.own.get_mut()?.pop_front()?;
        let (_, number) = self.runs.execution.jobs[at].caller?;
        Some((at, number))
    }

    /// The results of a call of this node's own, as a CBOR array, or why there are none.
    pub(super) fn own_result(&self, at: JobAt) -> Result<&[u8], Fault> {
        let job = &self.runs.execution.jobs[at];
        let result = job.state.result().unwrap_or(Err(Fault::Stopped));
        result.map(|()| &job.message[..])
    }

    /// Forgets a call of this node's own that has ended.
    pub(super) fn close_own(&mut self, at: JobAt) {
        self.runs.execution.jobs.close(at);
    }

    /// The newest version of a tasklet, and what its function without a name takes and returns.
    ///
    /// # Errors
    /// [`Fault`] if no catalogue has it.
    pub(super) fn newest(
        &self,
        name: &TaskletName,
    ) -> Result<(TaskletRef, Option<Signature>), Fault> {
        self.runs.find(name)?;
        let (tasklet, _) = self.runs.need_of(name).ok_or(Fault::UnknownTasklet)?;
        let callee = self.runs.supply.subscriptions.callee_of(tasklet, &[]);
        let signature = callee.and_then(|callee| callee.entry.terms.signature(""));
        Ok((tasklet, signature))
    }

    /// The name and the type of the first parameter of a tasklet that may run here for a source elsewhere;
    /// with `any` in whatever version is here, and whatever it is bound to.
    ///
    /// # Errors
    /// [`Fault`] if it may not.
    pub(super) fn applicable(
        &self,
        tasklet: TaskletRef,
        any: bool,
    ) -> Result<(TaskletName, Option<Type>), Fault> {
        let subscriptions = &self.runs.supply.subscriptions;
        if subscriptions.of(tasklet.namespace).is_none() {
            return Err(Fault::UnknownNamespace);
        }
        let callee = subscriptions.callee_of(tasklet, &[]);
        let callee = callee.filter(|it| !it.entry.is_withdrawn() && !it.entry.is_dictionary());
        let callee = callee.filter(|it| any || it.tasklet() == tasklet);
        let callee = callee.ok_or(Fault::UnknownTasklet)?;
        if !subscriptions.may_run(&callee) {
            return Err(Fault::CapabilityDenied);
        }
        let suits = self.runs.suits(tasklet).is_some_and(|(suits, _)| suits);
        let is_bound = || {
            self.runs
                .need_of(&callee.name)
                .is_none_or(|(_, it)| it.pinned)
        };
        if !suits || (!any && (self.is_draining() || is_bound())) {
            return Err(Fault::NoExecutor);
        }
        let signature = callee.entry.terms.signature("");
        Ok((callee.name, signature.and_then(|it| it.params().next())))
    }

    /// Takes note that somebody wants a place among the jobs.
    ///
    /// # Errors
    /// [`Fault::Busy`] if it has its share of them, and others ask.
    fn admit(
        &mut self,
        now: Instant,
        request: &CallRequest<'_>,
        caller: Option<Caller>,
    ) -> Result<(), Fault> {
        let namespace = &request.name.namespace;
        let admitted = self
            .runs
            .execution
            .admit(now, (caller, request.from), namespace);
        admitted.then_some(()).ok_or(Fault::Busy)
    }

    /// Takes note that somebody wants a call to run here.
    ///
    /// # Errors
    /// [`Fault::Busy`] as [`admit`](Self::admit), or if this node drains or no other call may wait;
    /// [`Fault::TooLate`] if the call cannot
    /// end in time.
    fn admit_here(
        &mut self,
        post: &Post<'_>,
        request: &CallRequest<'_>,
        caller: Option<Caller>,
    ) -> Result<(), Fault> {
        if self.is_draining() {
            return Err(Fault::Busy);
        }
        self.check_deadline(post, request)?;
        self.admit(post.now, request, caller)?;
        // A place that has just become free is for one of those that wait.
        let waits = || self.waiting.live().next().is_some();
        match FULL && waits() && !self.waiting.has_room() {
            true => Err(Fault::Busy),
            false => Ok(()),
        }
    }

    /// Whether another call must wait, and may: the table of jobs is full.
    fn must_wait(&self) -> bool {
        let full = !self.runs.execution.takes_jobs() || self.waiting.live().next().is_some();
        full && self.waiting.has_room()
    }

    /// How long a call of a tasklet runs here, in microseconds; 0 if that is not known, or nobody asks for it.
    fn time_us(&self, post: &Post<'_>, name: &TaskletName) -> u32 {
        let need = post.config.places_calls().then(|| self.runs.need_of(name));
        need.flatten().map_or(0, |(_, need)| need.time_us)
    }

    /// Lets a call wait for a place in the table of jobs.
    ///
    /// # Errors
    /// [`Fault`] if it is refused at once.
    fn wait(
        &mut self,
        post: &mut Post<'_>,
        request: CallRequest<'_>,
        caller: Option<Caller>,
    ) -> Result<CallId, Fault> {
        post.counters.calls += 1;
        if let Some(client) = request.client {
            post.cache.meet(post.now, client);
        }
        let tasklet = self.runs.find(&request.name);
        let waits = tasklet.and_then(|tasklet| {
            let call = self.runs.execution.jobs.next_call();
            let wish = Wish {
                since: (post.now, call),
                tasklet: tasklet.ok_or(Fault::Busy)?,
                args: request.args,
                caller,
                deadline: request.deadline.map(|after| post.now + after),
                priority: Full::of(request.priority),
                client: request.client,
                from: request.from,
                work_us: [self.time_us(post, &request.name); PLACES as usize],
            };
            let waits = request.export.is_empty() && self.waiting.push(&wish);
            waits.then_some(call).ok_or(Fault::Busy)
        });
        post.counters.failed += u64::from(waits.is_err());
        waits
    }

    /// Ends a call that has waited, and tells who has made it.
    fn give_up(&mut self, post: &mut Post<'_>, waiter: Waiter, fault: Fault) {
        post.counters.failed += 1;
        if let Some(results) = self.results.get_mut() {
            let (_, call) = waiter.wish().since;
            results.end(post.now, call, Err((fault, None)), false);
        }
        match waiter.wish().caller {
            Some(caller) => exchanges::send(post, caller, Answer::Failed(fault, None)),
            None => self.waiting.end(post.now, waiter, fault),
        }
    }

    /// Makes a job of the call that has waited longest; false if none waits, or there is no place.
    fn begin_waiting(&mut self, post: &mut Post<'_>) -> bool {
        if self.waiting.live().next().is_none() {
            return false;
        }
        self.vacate(post);
        if !self.runs.execution.takes_jobs() {
            return false;
        }
        let Some(waiter) = self.waiting.pop(post.now) else {
            return false;
        };
        let Wish {
            since,
            tasklet,
            args,
            caller,
            deadline,
            priority,
            client,
            from,
            ..
        } = waiter.wish();
        let Some(name) = self.runs.name_of(tasklet) else {
            // The catalogue is another one than when the call came.
            self.give_up(post, waiter, Fault::UnknownTasklet);
            return true;
        };
        let opening = Opening {
            name,
            export: ExportName::default(),
            args,
            caller,
            deadline,
            priority,
            client,
            from,
            state: State::Resolving,
            since: Some(since),
        };
        self.runs.begin_waited(post, opening);
        true
    }

    /// Takes a call that another node runs.
    ///
    /// # Errors
    /// [`Fault`] if the node has as many jobs as it may, or the arguments are too long.
    pub(super) fn call_at(
        &mut self,
        post: &mut Post<'_>,
        node: NodeId,
        request: CallRequest<'_>,
    ) -> Result<CallId, Fault> {
        post.counters.calls += 1;
        let placed = Placed {
            to: node,
            thought: None,
            expected: None,
        };
        let accepted = self.accept_remote(post, placed, request, Passes::PINNED);
        post.counters.failed += u64::from(accepted.is_err());
        accepted
    }

    /// Ends a call before its result.
    pub(super) fn stop(&mut self, post: &mut Post<'_>, call: CallId) {
        if let Some(at) = self.runs.execution.jobs.by_call(call) {
            self.runs.end(post, at, Err(Fault::Stopped));
            self.carry(post);
        } else if let Some(waiter) = self.waiting.pop_call(call) {
            self.give_up(post, waiter, Fault::Stopped);
            self.carry(post);
        }
    }

    /// Ends a call that nobody wants any more, and tells the node that works on it, if that is another one.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if there is no such call in progress.
    pub(super) fn cancel(&mut self, post: &mut Post<'_>, call: CallId) -> Result<(), Fault> {
        if let Some(at) = self.runs.execution.jobs.by_call(call) {
            self.cancel_job(post, at);
        } else {
            let waiter = self.waiting.pop_call(call);
            let waiter = waiter.ok_or(Fault::UnknownCall)?;
            self.give_up(post, waiter, Fault::Cancelled);
        }
        self.carry(post);
        Ok(())
    }

    /// Ends the call that a client has made here with this key.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if there is no such call, or it has ended in another way.
    pub(super) fn cancel_for(
        &mut self,
        post: &mut Post<'_>,
        key: CallKey,
        name: &TaskletName,
    ) -> Result<(), Fault> {
        let results = self.results.get();
        match results.and_then(|results| results.call_of(post.now, key, name)) {
            Some((call, None)) => self.cancel(post, call),
            Some((_, Some(Err(Fault::Cancelled)))) => Ok(()),
            Some((_, Some(_))) | None => Err(Fault::UnknownCall),
        }
    }

    /// Ends the job at `at`, which nobody wants any more, here and where it runs.
    fn cancel_job(&mut self, post: &mut Post<'_>, at: JobAt) {
        let runs_at = self.exchanges.runs_at(at).or_else(|| self.moves.told(at));
        let elsewhere = runs_at.filter(|(node, _)| *node != post.config.id);
        self.runs.end(post, at, Err(Fault::Cancelled));
        if let (Some(there), Some(withdrawals)) = (elsewhere, self.withdrawals.get_mut()) {
            withdrawals.begin(post, there);
        }
    }

    /// Takes the word of a node that nobody wants its call any more, which came in `frame`.
    pub(super) fn handle_cancel(&mut self, post: &mut Post<'_>, frame: Frame<'_>, request: u32) {
        let caller = (frame.origin, request);
        if let Some(at) = self.runs.execution.jobs.by_caller(caller) {
            if self.runs.execution.jobs[at].state.live() {
                self.cancel_job(post, at);
                self.carry(post);
            } else {
                self.answer(post, at);
            }
        } else if let Some(waiter) = self.waiting.pop_caller(caller) {
            self.answers.note_cancelled(post.now, caller);
            self.give_up(post, waiter, Fault::Cancelled);
            self.carry(post);
        } else if FULL && let Some(to) = self.answers.passed_to(post, caller) {
            post.mesh.pass_on(post.now, frame, to, post.counters);
        } else if !self.recall(post, caller) {
            // The call may be on its way still.
            self.answers.note_cancelled(post.now, caller);
            exchanges::send(post, caller, Answer::Failed(Fault::Cancelled, None));
        }
    }

    /// Moves a call to another node.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if there is no such call in progress; [`Fault::Busy`] if another job
    /// moves.
    pub(super) fn move_call(
        &mut self,
        post: &mut Post<'_>,
        call: CallId,
        to: NodeId,
    ) -> Result<(), Fault> {
        let at = self
            .runs
            .execution
            .jobs
            .by_call(call)
            .ok_or(Fault::UnknownCall)?;
        self.order_move(post, at, to)?;
        self.carry(post);
        Ok(())
    }

    /// Begins to give all jobs to other nodes and to take no new ones, or ends that.
    pub(super) fn drain(&mut self, post: &mut Post<'_>, drains: bool) {
        let draining = self.draining.get_mut();
        if draining.is_some_and(|draining| draining.set(drains)) {
            // Neighbours place no calls here, or do so again.
            self.placing.handle_newcomer();
            self.carry(post);
        }
    }

    /// Whether this node gives its jobs to others.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get().is_some_and(Draining::is_on)
    }

    /// Orders the next job to leave, if this node is to give its jobs away and none is on its way; false
    /// if there is nothing to order now.
    fn drain_next(&mut self, post: &mut Post<'_>) -> bool {
        if !self.is_draining() || self.moves.job().is_some() {
            return false;
        }
        let jobs = &self.runs.execution.jobs;
        let leaves = |job: &Job| job.state != State::Remote && !job.need.pinned;
        let here = || jobs.live().filter(|(_, job)| leaves(job));
        let stands = |job: &Job| !matches!(job.state, State::Running(_) | State::Thawing(..));
        // One that runs leaves when it next stands still: until then others would wait for it.
        let any_stands = here().any(|(_, job)| stands(job));
        let offered = here().filter(|(_, job)| stands(job) || !any_stands);
        let calls = offered.map(|(_, job)| job.call);
        let neighbours = self.placing.takers(post);
        let draining = self.draining.get_mut();
        let next = draining.and_then(|draining| draining.next(post.now, calls, neighbours));
        let Some((call, to)) = next else {
            return false;
        };
        let Some(at) = self.runs.execution.jobs.by_call(call) else {
            return false;
        };
        let name = self.runs.execution.jobs[at].name;
        if let Some((_, need)) = self.runs.need_of(&name) {
            let work = Duration::from_micros(need.time_us.into());
            self.placing.note_placed(post.now, to, work);
        }
        self.order_move(post, at, to).is_ok()
    }

    /// Takes an executor's answer.
    pub(super) fn handle_outcome(&mut self, post: &mut Post<'_>, outcome: Outcome<'_>) {
        let work = self.moves.work();
        let for_move = self.runs.handle_outcome(post, work, outcome);
        if let Some(work) = work.filter(|_| for_move) {
            let (at, _) = work.place();
            let job = &self.runs.execution.jobs[at];
            self.moves.handle_outcome(post, work, job, outcome);
        }
    }

    /// Asks again where no answer came, and ends jobs whose time is up.
    pub(super) fn handle_timeout(&mut self, post: &mut Post<'_>) {
        self.runs.supply.handle_timeout(post);
        while let Some((at, silent)) = self.exchanges.poll_due(post) {
            if silent {
                // A board, which asks nobody whether it is heard, would go on to send calls there.
                if PLACES
                    && !FULL
                    && let Some(node) = self.exchanges.node_of(at)
                {
                    self.placing.note_refused(node);
                }
                self.exchanges.forget(at);
                self.runs.end(post, at, Err(Fault::Unreachable));
            } else {
                if let Some(node) = self.exchanges.unheard(at).filter(|_| PLACES) {
                    self.placing.doubt(node);
                }
                self.exchanges.ask(post, at, &self.runs.execution.jobs[at]);
            }
        }
        if let Some(at) = self.moves.job() {
            self.moves
                .handle_timeout(post, &self.runs.execution.jobs[at]);
        }
        if let Some(withdrawals) = self.withdrawals.get_mut() {
            withdrawals.handle_timeout(post);
        }
        while let Some(waiter) = self.waiting.pop_overdue(post.now) {
            self.give_up(post, waiter, Fault::Deadline);
        }
        self.carry(post);
        self.runs.end_overdue(post);
    }

    /// Whether work waits for some executor.
    pub(super) fn has_work(&self) -> bool {
        self.moves.work().is_some() || self.runs.has_work()
    }

    /// The next work for an executor; `image` is the image of the job that moves.
    pub(super) fn poll_work<'n>(
        &'n mut self,
        seat: (Instant, ExecutorId),
        cache: &'n mut Cache,
        image: &'n Buffer,
    ) -> Option<Work<'n>> {
        let work = self.moves.work();
        self.runs.poll_work(seat, cache, work, image)
    }

    /// The result of a move that was ordered here.
    pub(super) fn poll_moved(&mut self) -> Option<Moved> {
        self.moves.poll_news()
    }

    /// The job that ended longest ago and was not reported.
    pub(super) fn poll_finished(&mut self) -> Option<&Job> {
        self.runs.execution.jobs.poll_finished()
    }

    /// A call that has ended while it waited: why, and after which time.
    pub(super) fn poll_refused(&mut self) -> Option<(CallId, Fault, Duration)> {
        self.waiting.poll_ended()
    }

    pub(super) fn note_timeouts(&self, earliest: &mut Earliest) {
        self.runs.note_timeouts(earliest);
        earliest.note(self.waiting.poll_timeout(), Reason::Deadline);
        if self.own.get().is_some_and(|own| !own.is_empty()) {
            earliest.note(Some(Instant::ZERO), Reason::Flow);
        }
        let waits = self.waiting.live().next().is_some();
        if waits && self.runs.execution.takes_jobs() {
            // A job was reported, and nothing else says that its place is free.
            earliest.note(Some(Instant::ZERO), Reason::Waiting);
        }
        earliest.note(self.exchanges.poll_timeout(), Reason::RemoteCall);
        let withdrawals = self.withdrawals.get();
        let told = withdrawals.and_then(Withdrawals::poll_timeout);
        earliest.note(told, Reason::RemoteCall);
        earliest.note(self.moves.poll_timeout(), Reason::Move);
        earliest.note(self.placing.poll_timeout(), Reason::Load);
        let offered = self.draining.get().and_then(Draining::poll_timeout);
        earliest.note(offered, Reason::Move);
    }

    /// Whether the node `to` may fetch this object because it was offered the job.
    pub(super) fn offers(&self, to: NodeId, object: Object) -> bool {
        self.moves.offers(to, object)
    }

    /// Checks what must hold between two inputs.
    pub(super) fn assert_invariants(&self) {
        self.runs.assert_invariants();
        self.moves.assert_invariants();
        let jobs = &self.runs.execution.jobs;
        self.exchanges
            .assert_invariants(|at| jobs.get(at).is_some_and(|job| job.state == State::Remote));
        if let Some(results) = self.results.get() {
            let waits = |call| self.waiting.live().any(|it| it.wish().since.1 == call);
            results.assert_invariants(|call| jobs.by_call(call).is_some() || waits(call));
        }
    }

    /// Carries what the parts say to one another until they have nothing more to say.
    pub(super) fn carry(&mut self, post: &mut Post<'_>) {
        self.began.get_or_insert(post.now);
        loop {
            self.runs.carry(post);
            if let Some(happened) = self.runs.poll() {
                self.happened(post, happened);
            } else if let Some(passed) = self.moves.poll_passed() {
                self.passed(post, passed);
            } else if let Some(at) = self.moves.waiting()
                && let Some(next) = self.runs.leave(post, at)
            {
                let catalogues = self
                    .runs
                    .supply
                    .subscriptions
                    .catalogues()
                    .map(Catalogue::id);
                let job = &self.runs.execution.jobs[at];
                // Both are equally long: a job has an epoch for each namespace.
                let epochs = catalogues.zip(job.epochs.iter().copied());
                self.moves.depart(post, job, next, epochs);
            } else if !self.begin_waiting(post) && !self.drain_next(post) && !self.hand_over(post) {
                break;
            }
        }
        self.tell_load(post);
    }

    /// Does what follows for other nodes from something that happened to a job.
    fn happened(&mut self, post: &mut Post<'_>, happened: Happened) {
        match happened {
            Happened::Ended(at, result) => {
                let job = &self.runs.execution.jobs[at];
                let fault = result.err().unwrap_or(Fault::UnknownCall);
                let ran = job.ran.value();
                self.exchanges.forget(at);
                if let Some(results) = self.results.get_mut() {
                    let end = match result {
                        Ok(()) => Ok(&job.message[..]),
                        Err(fault) => Err((fault, job.trap)),
                    };
                    results.end(post.now, job.call, end, ran);
                }
                self.moves.ended(post, at, job.call, fault);
                let is_own = FULL && job.caller.is_some_and(|(node, _)| node == post.config.id);
                match self.own.get_mut().filter(|_| is_own) {
                    Some(own) => own.push_back(at),
                    None => self.answer(post, at),
                }
            }
            Happened::Arriving(Ok(())) => {
                if let Some(at) = self.moves.job() {
                    self.moves
                        .handle_module(post, &self.runs.execution.jobs[at]);
                }
            }
            Happened::Arriving(Err(fault)) => self.moves.decline(fault),
            Happened::Image(end) => self.moves.handle_fetched(post, end),
        }
    }

    /// Does what follows from a step of the job that moves.
    fn passed(&mut self, post: &mut Post<'_>, passed: Passed) {
        match passed {
            Passed::Failed(at, fault) => self.runs.end(post, at, Err(fault)),
            Passed::Stays(at, next) => self.runs.stay(post, at, next),
            Passed::Arrived(at) => {
                let next = self.runs.unpack(post, at);
                self.moves
                    .handle_unpacked(post, &self.runs.execution.jobs[at], next);
            }
            Passed::Lacks(at, depth) => self.runs.acquire_for(post, at, depth),
            Passed::Ready(at, number) => {
                self.runs.execution.jobs.set_number(at, number);
                self.answer(post, at);
            }
            Passed::Declined(at, fault) => {
                self.runs.decline(post, at, fault);
                self.answer(post, at);
            }
        }
    }

    /// Moves the job at `at`, or asks the node that runs it to move it.
    fn order_move(&mut self, post: &mut Post<'_>, at: JobAt, to: NodeId) -> Result<(), Fault> {
        if to == NodeId::EVERYONE {
            return Err(Fault::Unreachable);
        }
        if let Some(heard) = self.exchanges.redirect(at, to) {
            self.heard(post, at, heard);
            return Ok(());
        }
        let call = self.runs.execution.jobs[at].call;
        self.moves.order(post, (at, call), to)?;
        let leaves = self.moves.waiting() == Some(at);
        self.runs.execution.jobs.set_leaves(at, leaves);
        Ok(())
    }

    fn accept_remote(
        &mut self,
        post: &mut Post<'_>,
        Placed {
            to,
            thought,
            expected,
        }: Placed,
        request: CallRequest<'_>,
        passes: Passes,
    ) -> Result<CallId, Fault> {
        let passes = if FULL {
            passes.of(request.priority)
        } else {
            passes
        };
        let export = ExportName::new(request.export).ok_or(Fault::UnknownExport)?;
        let number = post.mesh.next_sequence();
        let message = Message::Call(Call {
            request: number,
            deadline_ms: 0,
            run: 0,
            asked_ds: 0,
            oldest: 0,
            passes,
            name: request.name,
            export: export.as_str(),
            args: request.args,
        });
        if !post.mesh.fits(post.now, to, &message) {
            return Err(Fault::ValuesTooLarge);
        }
        let deadline = request.deadline.unwrap_or(exchanges::DEFAULT_DEADLINE);
        let opening = Opening {
            name: request.name,
            export,
            args: request.args,
            caller: None,
            deadline: Some(post.now + deadline),
            priority: Full::of(request.priority),
            client: request.client,
            from: request.from,
            state: State::Remote,
            since: None,
        };
        self.vacate(post);
        self.admit(post.now, &request, None)?;
        let at = self.runs.execution.open(post.now, opening)?;
        let job = &self.runs.execution.jobs[at];
        let exchange = Exchange::call(post.now, to, number, passes);
        self.exchanges
            .begin(at, exchange.expecting(thought, expected));
        self.exchanges.ask(post, at, job);
        Ok(job.call)
    }

    /// Takes a call of another node, which came in `frame`.
    pub(super) fn handle_call(&mut self, post: &mut Post<'_>, frame: Frame<'_>, call: Call<'_>) {
        let origin = frame.origin;
        let caller = (origin, call.request);
        let request = CallRequest {
            name: call.name,
            export: call.export,
            args: call.args,
            deadline: Some(Duration::from_millis(call.deadline_ms.into())),
            priority: call.passes.priority(),
            client: None,
            key: None,
            from: None,
        };
        self.forget_before(post, origin, &call);
        if call.passes.is_claim() {
            return self.handle_claim(post, caller, &call);
        }
        if self.waiting.has(caller) {
            note_repeated(post, origin, &call);
            let answer = Answer::Working(exchanges::run(post), self.own_wait(post));
            exchanges::send(post, caller, answer);
            return;
        }
        let known = self.runs.execution.jobs.by_caller(caller);
        if known.is_some() {
            note_repeated(post, origin, &call);
        } else {
            if FULL && let Some(to) = self.answers.passed_to(post, caller) {
                pass_on(post, frame, call, to);
                return;
            }
            if self.answers.is_late(post.now, caller) {
                return;
            }
            if self.recall(post, caller) {
                note_repeated(post, origin, &call);
                return;
            }
            if !self.is_new(post, &call) {
                let answer = Answer::Failed(Fault::Unreachable, None);
                exchanges::send(post, caller, answer);
                return;
            }
            let left = Duration::from_millis(call.deadline_ms.into());
            if let Some(to) = self.place_on(post, &frame, &call, &request)
                && self.answers.note_passed(post, caller, (to, left))
            {
                post.counters.passed += 1;
                pass_on(post, frame, call, to);
                return;
            }
            self.vacate(post);
        }
        let admitted = match known {
            Some(_) => Ok(()),
            None if call.passes.is_placed() && !self.takes(post, &request.name) => {
                Err(Fault::NoExecutor)
            }
            None => self.admit_here(post, &request, Some(caller)),
        };
        let accepted = match known {
            Some(at) => Ok(at),
            None if let Err(fault) = admitted => {
                post.counters.calls += 1;
                post.counters.failed += 1;
                Err(fault)
            }
            None if self.must_wait() => {
                let answer = match self.wait(post, request, Some(caller)) {
                    Ok(_) => Answer::Working(exchanges::run(post), self.own_wait(post)),
                    Err(fault) if PLACES => self.refusal(post, (caller, call.passes), fault),
                    Err(fault) => Answer::Failed(fault, None),
                };
                self.carry(post);
                return exchanges::send(post, caller, answer);
            }
            None => self.runs.accept(post, request, Some(caller)),
        };
        self.carry(post);
        match accepted.map(|at| &self.runs.execution.jobs[at]) {
            // A new job that has ended already was answered when it ended.
            Ok(job) if known.is_none() && !job.state.live() => {}
            Ok(job) if known.is_none() && job.state.live() && call.passes.is_quiet() => {}
            Ok(job) => exchanges::answer(post, job, self.own_wait(post)),
            Err(fault) if PLACES => {
                let answer = self.refusal(post, (caller, call.passes), fault);
                exchanges::send(post, caller, answer);
            }
            Err(fault) => exchanges::send(post, caller, Answer::Failed(fault, None)),
        }
    }

    /// What another node hears whose call is not taken: who has placed it here runs it itself then.
    fn refusal(
        &mut self,
        post: &Post<'_>,
        (caller, passes): (Caller, Passes),
        fault: Fault,
    ) -> Answer<'static> {
        match passes.is_placed() && self.answers.note_refused(post, caller, fault) {
            true => Answer::Refused(fault, None),
            false => Answer::Failed(fault, None),
        }
    }

    /// Whether this node runs a call that another node has placed here.
    fn takes(&mut self, post: &Post<'_>, name: &TaskletName) -> bool {
        let fit = match FULL || post.config.places_calls() {
            true => self.fit(post, name),
            false => None,
        };
        fit.is_none_or(|fit| fit.able && !fit.bound)
    }

    /// Where a call of another node runs that may be passed on.
    fn place_on(
        &mut self,
        post: &Post<'_>,
        frame: &Frame<'_>,
        call: &Call<'_>,
        request: &CallRequest<'_>,
    ) -> Option<NodeId> {
        // Who has sent the call on does not get it again: it would drop the packet.
        let direct = frame.sender == frame.origin || frame.hops <= 2;
        if !FULL || call.passes.next().is_none() || !direct {
            return None;
        }
        // If it cannot end in time anywhere, it is refused.
        let placed = self.place(post, request, Some(frame.sender)).ok()??;
        Some(placed.to).filter(|to| *to != frame.origin)
    }

    /// Takes an answer of another node.
    pub(super) fn handle_return(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        answer: Return<'_>,
    ) {
        if let Some(at) = self.moves.job() {
            let job = &self.runs.execution.jobs[at];
            match self.moves.handle_offer_answer(post, origin, &answer, job) {
                OfferAnswer::Other => {}
                OfferAnswer::Taken => return,
                OfferAnswer::HandedOver(gone) => {
                    self.runs.hand_over(post, at);
                    self.exchanges.begin(at, Exchange::gone(gone));
                }
            }
        }
        let withdrawals = self.withdrawals.get_mut();
        if withdrawals.is_some_and(|it| it.handle_return(post, origin, &answer)) {
            return;
        }
        let Some(at) = self.exchanges.answered(origin, answer.request) else {
            post.unexpected();
            return;
        };
        if PLACES && let Answer::Working(_, wait) = answer.answer {
            self.placing.handle_wait(post.now, origin, wait);
        }
        if PLACES
            && let Answer::Done(_) = answer.answer
            && let Some(times) = self.exchanges.ran(post.now, at)
        {
            let blur = post.config.pace.load / 2;
            self.placing.note_ran(post.now, origin, times, blur);
        }
        let heard = self.exchanges.handle_return(post, at, answer.answer);
        if let Heard::Ended(result) = heard {
            self.runs.end_remote(post, at, result);
        } else {
            self.heard(post, at, heard);
        }
    }

    /// Does what follows from an answer about a job that another node works on.
    fn heard(&mut self, post: &mut Post<'_>, at: JobAt, heard: Heard<'_>) {
        let job = &self.runs.execution.jobs[at];
        match heard {
            Heard::Works | Heard::Ended(_) => {}
            Heard::Refused if !PLACES => {}
            Heard::Refused => {
                if let Some(node) = self.exchanges.node_of(at) {
                    self.placing.note_refused(node);
                }
                let ordered = self.exchanges.ordered(at);
                self.exchanges.forget(at);
                if !(FULL && self.place_again(post, at)) {
                    self.runs.take_back(post, at);
                }
                if FULL && let Some(to) = ordered {
                    self.order_again(post, at, to);
                }
                self.carry(post);
            }
            Heard::Ask => self.exchanges.ask(post, at, job),
            Heard::Redirected(to, result) => {
                let call = job.call;
                self.moves.note(Moved { call, to, result });
            }
            Heard::Stray => post.unexpected(),
        }
    }

    /// Moves a call that one node has refused, before it could be told to move it.
    fn order_again(&mut self, post: &mut Post<'_>, at: JobAt, to: NodeId) {
        let job = &self.runs.execution.jobs[at];
        let (call, live) = (job.call, job.state.live());
        if live && let Err(fault) = self.order_move(post, at, to) {
            let result = Err(fault);
            self.moves.note(Moved { call, to, result });
        }
    }

    /// Places a call at another node once more, which one has refused, if this node must not run it itself or it
    /// could not end in time here; it ends if it could not anywhere. False if it runs here.
    fn place_again(&mut self, post: &mut Post<'_>, at: JobAt) -> bool {
        let job = &self.runs.execution.jobs[at];
        let (name, deadline, priority) = (job.name, job.deadline, job.priority.value());
        let deadline = deadline.map(|deadline| deadline.since(post.now));
        let fit = self.fit(post, &name);
        let is_at_ease = Admission::tight(deadline).is_none();
        if is_at_ease && !self.is_draining() && fit.is_none_or(|fit| fit.able) {
            return false;
        }
        let request = CallRequest {
            name,
            export: "",
            args: &[],
            deadline,
            priority,
            client: None,
            key: None,
            from: None,
        };
        let placed = match self.place(post, &request, None) {
            Ok(Some(placed)) => placed,
            Ok(None) => return false,
            Err(fault) => {
                self.runs.end(post, at, Err(fault));
                return true;
            }
        };
        let Placed {
            to,
            thought,
            expected,
        } = placed;
        let number = post.mesh.next_sequence();
        let exchange = Exchange::call(post.now, to, number, Passes::PLACED.of(priority));
        self.exchanges
            .begin(at, exchange.expecting(thought, expected));
        self.exchanges.ask(post, at, &self.runs.execution.jobs[at]);
        true
    }

    /// Takes the order of another node to move its call elsewhere.
    pub(super) fn handle_move(&mut self, post: &mut Post<'_>, origin: NodeId, order: Move) {
        let caller = (origin, order.request);
        let Some(at) = self.runs.execution.jobs.by_caller(caller) else {
            if FULL && self.waiting.has(caller) {
                exchanges::send(post, caller, Answer::Unmoved(order.to, Fault::Busy));
            } else if !self.recall(post, caller) {
                let answer = Answer::Unmoved(order.to, Fault::UnknownCall);
                exchanges::send(post, caller, answer);
            }
            return;
        };
        if !self.runs.execution.jobs[at].state.live() {
            self.answer(post, at);
            return;
        }
        let answer = match self.order_move(post, at, order.to) {
            Ok(()) => Answer::Moving(order.to),
            Err(fault) => Answer::Unmoved(order.to, fault),
        };
        exchanges::send(post, caller, answer);
    }

    /// Takes another node's offer of a job.
    pub(super) fn handle_offer(&mut self, post: &mut Post<'_>, origin: NodeId, offer: &Offer) {
        let caller = (origin, offer.request);
        if let Some(at) = self.runs.execution.jobs.by_caller(caller) {
            self.answer(post, at);
            return;
        }
        if self.recall(post, caller) {
            return;
        }
        self.vacate(post);
        let timed = offer.deadline_ms != Offer::NO_DEADLINE;
        let left = Duration::from_millis(offer.deadline_ms.into());
        let admitted = self.moves.admit(post, offer).and_then(|()| {
            if !self.runs.execution.image_is_free() || self.is_draining() {
                return Err(Fault::Busy);
            }
            self.runs.execution.open(
                post.now,
                Opening::arrival(caller, timed.then_some(post.now + left)),
            )
        });
        match admitted {
            Ok(at) => self.moves.take_in(post, at, origin, offer),
            Err(fault) => {
                count(&mut post.counters.moves_refused);
                exchanges::send(post, caller, Answer::Refused(fault, None));
            }
        }
    }

    /// Takes another node's go, or its question how the job stands.
    pub(super) fn handle_go(&mut self, post: &mut Post<'_>, origin: NodeId, go: Go) {
        let caller = (origin, go.request);
        // If this node does not know the job, nobody knows whether the job has run.
        let disowned = Answer::Failed(Fault::Unreachable, None);
        let Some(at) = self.runs.execution.jobs.by_caller(caller) else {
            if !self.recall(post, caller) {
                exchanges::send(post, caller, disowned);
            }
            return;
        };
        let job = &self.runs.execution.jobs[at];
        let ours = job.number == Some(go.number);
        if let State::Arriving(_) = job.state {
            if ours {
                self.settle(post, at);
            } else {
                // The number belongs to another life of this node, so this life gets no go for
                // the job.
                self.moves.decline(Fault::Unreachable);
                self.carry(post);
                exchanges::send(post, caller, disowned);
            }
        } else if let (State::Declined(_), false) = (job.state, ours) {
            exchanges::send(post, caller, disowned);
        } else {
            self.answer(post, at);
        }
    }

    /// Forgets the answers for which a node does not ask any more, as its call says.
    fn forget_before(&mut self, post: &Post<'_>, origin: NodeId, call: &Call<'_>) {
        let oldest = call.request.wrapping_sub(call.oldest.into());
        let is_over = |caller| is_before(caller, origin, oldest);
        let jobs = &mut self.runs.execution.jobs;
        let any = jobs.has_answered(is_over)
            || self.answers.has_before(origin, oldest)
            || self.waiting.has_any(is_over);
        if call.oldest != u16::MAX && any && self.answers.forget_before(post, origin, oldest) {
            jobs.forget_answered(is_over);
            self.waiting.forget(is_over);
        }
    }

    /// Makes room for another job, if there is none: the answer of one that has ended is kept apart.
    fn vacate(&mut self, post: &Post<'_>) {
        let Self { runs, answers, .. } = self;
        // Who has made a call of this node's own has yet to take its result.
        let is_own = |job: &Job| job.caller.is_some_and(|(node, _)| node == post.config.id);
        runs.execution
            .jobs
            .vacate(|job| !(FULL && is_own(job)) && answers.keep(post, job));
    }

    /// Answers a node that asks for a job that has ended and has no place any more; false if there is
    /// none.
    fn recall(&mut self, post: &mut Post<'_>, caller: Caller) -> bool {
        let answer = self.answers.find(post, caller);
        answer
            .map(|answer| exchanges::send_fitting(post, caller, answer))
            .is_some()
    }

    /// Whether a call that this node does not know has never run here: not in an earlier run of the
    /// node either.
    fn is_new(&self, post: &Post<'_>, call: &Call<'_>) -> bool {
        // Who knows a run of this node has been answered.
        let unanswered = call.run == 0;
        let asked = Duration::from_millis(100) * call.asked_ds.into();
        // Clocks go wrong, and a frame of an earlier run may have been on its way.
        let before = asked + asked / 8 + FLIGHT;
        let up = self.began.map_or(Duration::ZERO, |began| post.now - began);
        unanswered && (asked.is_zero() || up > before)
    }

    /// Makes the arriving job at `at` this node's own, and runs it.
    fn settle(&mut self, post: &mut Post<'_>, at: JobAt) {
        let Some(settled) = self.moves.settle(post) else {
            return;
        };
        let home = settled.home;
        let waits = home.and_then(|(node, request)| self.exchanges.find(node, request));
        self.runs.execution.settle(at, settled.next);
        if let Some(waits) = waits {
            let heard = self.exchanges.redirected(waits, None, Ok(()));
            self.heard(post, waits, heard);
            self.exchanges.forget(waits);
            self.runs.execution.jobs.rejoin(at, waits);
        } else {
            post.counters.calls += 1;
        }
        self.answer(post, waits.unwrap_or(at));
    }
}

/// Where a call runs that has the time `left`, if the policy has chosen `to`: the same, if the call may end in
/// time there; else here, if it may run here; else the first neighbour where it may. `here` is its outlook
/// here, and whether it may run here.
///
/// # Errors
/// The time after which it would have ended at the soonest, if it is in time nowhere.
fn in_time(
    facts: &Facts<'_>,
    left: Duration,
    (here, may_stay): (Option<Outlook>, bool),
    to: Option<NodeId>,
) -> Result<Option<NodeId>, Duration> {
    let others = facts
        .neighbours
        .iter()
        .filter(|it| Some(it.id) != facts.caller);
    let others = others.map(|other| {
        let outlook = Outlook {
            before: other.wait + other.way,
            work: other.work,
            seen: true,
        };
        (other.id, outlook)
    });
    let in_time = |outlook: Outlook| Admission::meets(left, Some(outlook));
    let stays = may_stay && Admission::meets(left, here);
    let chosen = others.clone().find(|(id, _)| Some(*id) == to);
    match chosen {
        Some((id, outlook)) if in_time(outlook) => return Ok(Some(id)),
        None if to.is_some() => return Ok(to),
        _ if stays => return Ok(None),
        _ => {}
    }
    let first = others.clone().filter(|(_, outlook)| in_time(*outlook));
    let first = first.min_by_key(|(id, outlook)| (outlook.end(), *id));
    let soonest = || {
        let ends = others.map(|(_, outlook)| outlook.end());
        let here = here.filter(|_| may_stay).map(Outlook::end);
        ends.chain(here).min()
    };
    match (first, soonest()) {
        (Some((id, _)), _) => Ok(Some(id)),
        (None, Some(soonest)) => Err(soonest),
        // Nothing is known of any node.
        (None, None) => Ok(None),
    }
}

/// A call has come again that this node has answered: if its origin does not know this node's run yet, it
/// has got no answer, and the way there may be dead.
fn note_repeated(post: &mut Post<'_>, origin: NodeId, call: &Call<'_>) {
    if call.run == 0 {
        post.mesh.hint(post.now, origin);
    }
}

/// The answer to a claim of a call that has ended.
fn answer_of(end: End<'_>) -> Answer<'_> {
    match end {
        Ok(result) => Answer::Done(result),
        Err((fault, trap)) => Answer::Failed(fault, trap),
    }
}

/// Sends a call of another node on to the node `to`.
fn pass_on(post: &mut Post<'_>, frame: Frame<'_>, call: Call<'_>, to: NodeId) {
    let passes = call.passes.next().unwrap_or(call.passes);
    // What the caller says of its oldest request, it says to this node alone.
    let oldest = u16::MAX;
    let call = Call {
        passes,
        oldest,
        ..call
    };
    let message = Message::Call(call);
    let frame = Frame { message, ..frame };
    post.mesh.pass_on(post.now, frame, to, post.counters);
}
