//! Exchanges: calls between nodes, and jobs that another node has taken over.
//!
//! The caller repeats its question until it is answered. The callee runs the call once; if it is
//! asked meanwhile it says that it works, and it keeps the answer for repetitions.

use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId, Trap};

use crate::config::{FULL, PLACES};
use crate::job::{Caller, Job, State, whole_us};
use crate::node::post::{ASK_AFTER, Ask, Gone, LONGEST_WAIT, Post};
use crate::places::JobAt;
use crate::table::Table;
use crate::time::Instant;
use crate::wire::{
    Answer, Call, Go, GoNumber, HEADER_LEN, Message, Move, OVERHEAD, Passes, Return, Wait,
};

/// How long a call to another node may take if the caller sets no limit.
pub(in crate::node) const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// A call that was asked for so often in vain is asked for no sooner than after [`SLOWER`].
const SLOWER_AFTER: u8 = 3;
/// The last questions come so far apart that a dead link next to either node is noticed before the caller gives
/// up, however near the other node is.
const SLOWER: Duration = Duration::from_millis(1500);
/// They come after so many times the patience at the latest.
const SLOWER_TIMES: u32 = 4;

/// The jobs that other nodes work on.
#[derive(Debug)]
pub(in crate::node) struct Exchanges {
    /// The exchanges, each at the place of its job.
    table: Table<Exchange>,
}

/// A job that another node works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Exchange {
    to: NodeId,
    request: u32,
    ask: Ask,
    /// When the other node was first asked.
    begun: Instant,
    /// The run of the other node; 0 if it has not said that.
    run: u32,
    /// The number of the go of a moved job; none for a call.
    number: Option<GoNumber>,
    /// How far placement may take the call.
    passes: Passes,
    /// When the result of a call that has not been sent yet is expected, if nothing is to come before
    /// it.
    expected: Option<Duration>,
    /// How long a call takes that placement has sent to `to`; none if another node works on it.
    thought: Option<Thought>,
    /// Whether the other node has said that it works on it.
    known: bool,
    /// The node to which the other node is to move it.
    redirect: Option<NodeId>,
}

impl Exchange {
    /// A call that has not been sent yet.
    pub(in crate::node) fn call(now: Instant, to: NodeId, request: u32, passes: Passes) -> Self {
        Self {
            to,
            request,
            ask: Ask::new(now),
            begun: now,
            run: 0,
            number: None,
            passes,
            expected: None,
            thought: None,
            known: false,
            redirect: None,
        }
    }

    /// The wait for a call that this node itself has in progress: nobody is asked before `end`.
    pub(in crate::node) fn own(own: NodeId, request: u32, end: Instant) -> Self {
        Self::call(end, own, request, Passes::CLAIM)
    }

    /// A job that the other node was told to run.
    pub(in crate::node) fn gone(gone: Gone) -> Self {
        Self {
            number: Some(gone.number),
            ..Self::call(gone.due, gone.to, gone.request, Passes::PINNED)
        }
    }

    /// The same, whose result is expected after this time; nothing is expected before it.
    #[must_use]
    pub(in crate::node) fn expecting(
        self,
        thought: Option<Thought>,
        expected: Option<Duration>,
    ) -> Self {
        Self {
            thought,
            expected,
            ..self
        }
    }

    /// Whether the call may be at another node than the one that was asked.
    fn may_pass(&self) -> bool {
        PLACES && self.passes.is_placed() && !self.known
    }
}

/// How long a placed call takes at the node that was asked, as was thought when it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Thought {
    /// On the way and until it begins, in microseconds.
    before_us: u32,
    /// How long it would run on this node, in microseconds.
    work_us: u32,
}

impl Thought {
    /// Of a call that begins there after the time `before`, and would run here for `work`.
    pub(in crate::node) fn new(before: Duration, work: Duration) -> Self {
        Self {
            before_us: whole_us(before),
            work_us: whole_us(work),
        }
    }
}

/// What follows from an answer, or from an order to move.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::node) enum Heard<'a> {
    /// The other node works on the job.
    Works,
    /// It is time to ask the other node.
    Ask,
    /// It has refused to run the call, which placement has sent there, and never ran it.
    Refused,
    /// It has agreed to move the job to this node, or refused.
    Redirected(NodeId, Result<(), Fault>),
    /// The job has ended.
    Ended(Result<&'a [u8], (Fault, Option<Trap>)>),
    /// The answer does not fit the job.
    Stray,
}

impl Exchanges {
    /// Room for `jobs` jobs.
    pub(in crate::node) fn new(jobs: usize) -> Self {
        Self {
            table: Table::new(jobs),
        }
    }

    /// Notes that another node works on the job at `at`.
    pub(in crate::node) fn begin(&mut self, at: JobAt, exchange: Exchange) {
        self.table.put(at.index(), exchange);
    }

    /// Forgets the job at `at`, which has ended or is here again.
    pub(in crate::node) fn forget(&mut self, at: JobAt) {
        self.table.take(at.index());
    }

    /// The node to which another node is to move the job at `at`, which it has not answered yet.
    pub(in crate::node) fn ordered(&self, at: JobAt) -> Option<NodeId> {
        self.table.get(at.index())?.redirect
    }

    /// The node that works on the job at `at`.
    pub(in crate::node) fn node_of(&self, at: JobAt) -> Option<NodeId> {
        self.table.get(at.index()).map(|exchange| exchange.to)
    }

    /// The node that runs the job at `at`, as far as is known, and the number under which it does; none if
    /// only a result is waited for.
    pub(in crate::node) fn runs_at(&self, at: JobAt) -> Option<Caller> {
        let exchange = self.table.get(at.index());
        let exchange = exchange.filter(|it| !it.passes.is_claim())?;
        Some((exchange.to, exchange.request))
    }

    /// The node that was asked for the placed call at `at`, if nobody has answered.
    pub(in crate::node) fn unheard(&self, at: JobAt) -> Option<NodeId> {
        let exchange = self.table.get(at.index());
        let exchange = exchange.filter(|exchange| exchange.may_pass())?;
        Some(exchange.to)
    }

    /// The job that `to` works on under this request number.
    pub(in crate::node) fn find(&self, to: NodeId, request: u32) -> Option<JobAt> {
        let is = |held: &Exchange| (held.to, held.request) == (to, request);
        self.table.position(is).map(JobAt::new)
    }

    /// The job that `from` answers for under this request number: the node that was asked, or one to
    /// which the call was passed on.
    pub(in crate::node) fn answered(&mut self, from: NodeId, request: u32) -> Option<JobAt> {
        let is = |held: &Exchange| held.request == request && (held.to == from || held.may_pass());
        let at = self.table.position(is)?;
        let exchange = self.table.get_mut(at)?;
        if PLACES && exchange.to != from {
            exchange.thought = None;
        }
        exchange.to = from;
        Some(JobAt::new(at))
    }

    /// How long the call at `at`, whose result has come now, would have run here, and how long it has run
    /// at the node that was asked, if the call has begun there when that was thought; none if another
    /// has run it.
    pub(in crate::node) fn ran(&self, now: Instant, at: JobAt) -> Option<(Duration, Duration)> {
        let exchange = self.table.get(at.index())?;
        let Thought { before_us, work_us } = exchange.thought?;
        let micros = |us: u32| Duration::from_micros(us.into());
        let ran = (now - exchange.begun).saturating_sub(micros(before_us));
        Some((micros(work_us), ran))
    }

    /// Asks the other node to run the call, how the job stands, or to move it.
    pub(in crate::node) fn ask(&mut self, post: &mut Post<'_>, at: JobAt, job: &Job) {
        let oldest = self.oldest(at);
        let Some(exchange) = self.table.get_mut(at.index()) else {
            return;
        };
        let mut patience = post.patience_for(exchange.to);
        if FULL && exchange.ask.unanswered() >= SLOWER_AFTER {
            // The other node keeps its answer for many times the patience.
            patience = patience.max(SLOWER.min(patience * SLOWER_TIMES));
        }
        let quiet = exchange.expected.take().filter(|_| PLACES);
        let late = quiet.map(|time| patience + time + time / 2);
        let late = late.map(|late| late.min(patience * ASK_AFTER * LONGEST_WAIT));
        exchange.ask.asked(post.now, late.unwrap_or(patience));
        let Exchange {
            to,
            request,
            number,
            known,
            redirect,
            run,
            begun,
            passes,
            ..
        } = *exchange;
        let asked = (post.now - begun).as_millis().div_ceil(100);
        let left = job
            .deadline
            .map_or(DEFAULT_DEADLINE, |deadline| deadline - post.now);
        let call = Call {
            request,
            deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            run,
            asked_ds: u16::try_from(asked).unwrap_or(u16::MAX),
            oldest,
            passes: match quiet {
                Some(_) => passes.quiet(),
                None => passes,
            },
            name: job.name,
            export: job.export.as_str(),
            args: &job.message,
        };
        let message = match (redirect.filter(|_| known), number) {
            (Some(to), _) => Message::Move(Move { request, to }),
            (None, Some(number)) => Message::Go(Go { request, number }),
            (None, None) => Message::Call(call),
        };
        post.send(to, message);
    }

    /// The next job whose node is due to be asked again, and whether it was asked often enough.
    pub(in crate::node) fn poll_due(&mut self, post: &mut Post<'_>) -> Option<(JobAt, bool)> {
        let is_due = |held: &Exchange| held.ask.is_due(post.now);
        let at = self.table.position(is_due)?;
        let exchange = self.table.get(at)?;
        post.mesh.doubt(post.now, exchange.to);
        Some((JobAt::new(at), exchange.ask.is_exhausted()))
    }

    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        let held = self.table.iter();
        held.map(|exchange| exchange.ask.due()).min()
    }

    /// Takes an answer of the node that works on the job at `at`.
    pub(in crate::node) fn handle_return<'a>(
        &mut self,
        post: &Post<'_>,
        at: JobAt,
        answer: Answer<'a>,
    ) -> Heard<'a> {
        match answer {
            Answer::Working(run, wait) => {
                let exchange = self.works(post, at, wait);
                let redirect = exchange.and_then(|exchange| {
                    exchange.run = run;
                    exchange.redirect
                });
                if redirect.is_some() {
                    Heard::Ask
                } else {
                    Heard::Works
                }
            }
            Answer::Moving(to) => {
                self.works(post, at, Wait::default());
                self.redirected(at, Some(to), Ok(()))
            }
            // Who does not move a call may not even have it yet.
            Answer::Unmoved(to, fault) => {
                let held = self.table.get(at.index());
                if FULL && fault != Fault::UnknownCall && held.is_some_and(|it| it.known) {
                    self.works(post, at, Wait::default());
                }
                self.redirected(at, Some(to), Err(fault))
            }
            Answer::Refused(_, None) if self.unheard(at).is_some() => Heard::Refused,
            // These are answers to an offer, which are too late for a job that was handed over.
            Answer::Adopting(_) | Answer::Refused(..) => Heard::Stray,
            Answer::Done(result) => Heard::Ended(Ok(result)),
            Answer::Failed(fault, trap) => Heard::Ended(Err((fault, trap))),
        }
    }

    /// Orders the other node to move the job at `at` to the node `to`; none if no other node works
    /// on it.
    pub(in crate::node) fn redirect(&mut self, at: JobAt, to: NodeId) -> Option<Heard<'static>> {
        let exchange = self.table.get_mut(at.index())?;
        if exchange.to == to {
            exchange.redirect = None;
            return Some(Heard::Redirected(to, Ok(())));
        }
        exchange.redirect = Some(to);
        if !exchange.known {
            return Some(Heard::Works);
        }
        exchange.ask.renew();
        Some(Heard::Ask)
    }

    /// Ends the order to move, to the node `said` if there is one: the other node has agreed or refused, or the
    /// job has come home.
    pub(in crate::node) fn redirected(
        &mut self,
        at: JobAt,
        said: Option<NodeId>,
        result: Result<(), Fault>,
    ) -> Heard<'static> {
        let exchange = self.table.get_mut(at.index());
        let redirect = exchange.map(|exchange| &mut exchange.redirect);
        let ordered = |to: &mut NodeId| said.is_none_or(|said| said == *to);
        match redirect.and_then(|redirect| redirect.take_if(ordered)) {
            Some(to) => Heard::Redirected(to, result),
            None => Heard::Works,
        }
    }

    /// Checks what must hold between two inputs: `is_remote` says whether another node has the job.
    pub(in crate::node) fn assert_invariants(&self, is_remote: impl Fn(JobAt) -> bool) {
        self.table.assert_invariants();
        for at in (0..self.table.len()).map(JobAt::new) {
            debug_assert_eq!(self.node_of(at).is_some(), is_remote(at), "{at:?}");
        }
    }

    /// How far the oldest request of those to the same node is behind that of the job at `at`.
    fn oldest(&self, at: JobAt) -> u16 {
        let Some(own) = self.table.get(at.index()) else {
            return 0;
        };
        // Who works on a call that may be passed on is not known.
        let same = |other: &&Exchange| other.to == own.to || other.may_pass();
        let others = self.table.iter().filter(same);
        let behind = others.map(|other| own.request.wrapping_sub(other.request));
        let behind = behind.filter(|behind| *behind < 1 << 31).max();
        behind.map_or(0, |behind| u16::try_from(behind).unwrap_or(u16::MAX))
    }

    /// Notes that the other node has said that it works on the job at `at`, and how long it works on
    /// what it has.
    fn works(&mut self, post: &Post<'_>, at: JobAt, wait: Wait) -> Option<&mut Exchange> {
        let exchange = self.table.get_mut(at.index())?;
        let patience = post.working_patience_for(exchange.to);
        // The result comes by itself, unless it is lost. Nobody is believed who says that this takes
        // very long.
        let wait = (wait.duration() + patience / 4).min(patience * LONGEST_WAIT);
        let wait = if PLACES { wait.max(patience) } else { patience };
        exchange.ask.answered(post.now, wait);
        exchange.known = true;
        Some(exchange)
    }
}

/// Tells the caller of a job how it stands; new work waits here for `wait`.
pub(in crate::node) fn answer(post: &mut Post<'_>, job: &Job, wait: Wait) {
    let Some(caller) = job.caller else {
        return;
    };
    let answer = match (job.state, job.state.result()) {
        (_, Some(Ok(()))) => Answer::Done(&job.message),
        (_, Some(Err(fault))) => Answer::Failed(fault, job.trap),
        (State::Arriving(_), None) => Answer::Adopting(job.number),
        (State::Declined(fault), None) => Answer::Refused(fault, job.number),
        (_, None) => Answer::Working(run(post), wait),
    };
    send_fitting(post, caller, answer);
}

/// This run of the node, as its answers say it; not 0.
pub(in crate::node) fn run(post: &Post<'_>) -> u32 {
    post.config.first_sequence.max(1)
}

/// Sends an answer to the node that asked; if it is too long for a frame, that it is.
pub(in crate::node) fn send_fitting(
    post: &mut Post<'_>,
    (caller, request): Caller,
    answer: Answer<'_>,
) {
    let message = Message::Return(Return { request, answer });
    let frame = message.len() + HEADER_LEN + OVERHEAD;
    if frame > usize::from(post.mesh.smallest_mtu()) {
        send(
            post,
            (caller, request),
            Answer::Failed(Fault::ValuesTooLarge, None),
        );
    } else {
        post.send(caller, message);
    }
}

/// Sends an answer to the node that asked.
pub(in crate::node) fn send(post: &mut Post<'_>, (to, request): Caller, answer: Answer<'_>) {
    post.send(to, Message::Return(Return { request, answer }));
}

#[cfg(test)]
mod tests;
