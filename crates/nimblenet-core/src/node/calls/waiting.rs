//! Waiting: calls that have met a full table of jobs, the most urgent of which is next.
//!
//! A job is large, and a call that waits needs little of it: which tasklet, who calls, until when. So
//! only a call of `run` with short arguments waits here; any other is refused.

use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId};

use crate::config::{FULL, PLACES};
use crate::event::{ClientId, PartyId, Priority};
use crate::full::Full;
use crate::job::{CallId, Caller};
use crate::places::SubscriptionAt;
use crate::queue::Queue;
use crate::time::Instant;
use crate::urgency::{Urgency, class};

/// The most bytes of the arguments of a call that waits.
pub(in crate::node) const ARGS_BYTES: usize = 11;

/// The calls that wait.
#[derive(Debug)]
pub(in crate::node) struct Waiting {
    /// The oldest one first; those that have ended are not reported yet.
    line: Queue<Waiter>,
}

/// A call that waits. Its size is what a board has for it: what a type for nothing would double is
/// one number instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Waiter {
    accepted: Instant,
    /// [`NEVER`] for none. Of a call that has ended it is when that was.
    deadline: Instant,
    call: CallId,
    /// Of a call of this node's client: whom it comes from.
    request: u32,
    client: u32,
    /// Everyone if no other node calls.
    node: NodeId,
    number: u16,
    namespace: u8,
    has_client: bool,
    has_party: bool,
    priority: Full<Priority>,
    /// How long it runs, in microseconds, as far as that is known.
    work_us: [u32; PLACES as usize],
    /// Why it has ended.
    ended: Option<Fault>,
    len: u8,
    args: [u8; ARGS_BYTES],
}

/// The deadline of a call without one.
const NEVER: Instant = Instant::from_micros(u64::MAX);

const _: () = assert!(PLACES || size_of::<Waiter>() <= 48);

/// What a call that is to wait says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Wish<'a> {
    /// When it was taken, and its number.
    pub(in crate::node) since: (Instant, CallId),
    /// The namespace and the number of its tasklet.
    pub(in crate::node) tasklet: (SubscriptionAt, u16),
    pub(in crate::node) args: &'a [u8],
    pub(in crate::node) caller: Option<Caller>,
    pub(in crate::node) deadline: Option<Instant>,
    pub(in crate::node) priority: Full<Priority>,
    pub(in crate::node) client: Option<ClientId>,
    pub(in crate::node) from: Option<PartyId>,
    /// How long it runs here, where calls are placed.
    pub(in crate::node) work_us: [u32; PLACES as usize],
}

impl Waiting {
    /// Room for so many calls.
    pub(in crate::node) fn new(calls: usize) -> Self {
        Self {
            line: Queue::with_capacity(calls),
        }
    }

    /// How many calls there are.
    pub(in crate::node) fn count(&self) -> usize {
        self.line.len()
    }

    /// Whether another call may wait.
    pub(in crate::node) fn has_room(&self) -> bool {
        self.line.len() < self.line.capacity()
    }

    /// Lets a call wait; false if its arguments are too long.
    pub(in crate::node) fn push(&mut self, wish: &Wish<'_>) -> bool {
        debug_assert!(self.has_room(), "nothing is allocated");
        let waiter = Waiter::of(wish);
        if let Some(waiter) = waiter {
            self.line.push_back(waiter);
        }
        waiter.is_some()
    }

    /// The calls that have not ended, the oldest one first.
    pub(in crate::node) fn live(&self) -> impl Iterator<Item = &Waiter> {
        self.line.iter().filter(|waiter| waiter.ended.is_none())
    }

    /// The tasklets of the calls that are more urgent at the moment `now` than another one is.
    pub(in crate::node) fn before(
        &self,
        now: Instant,
        urgency: Urgency,
    ) -> impl Iterator<Item = (SubscriptionAt, u16)> {
        let before = self
            .live()
            .filter(move |waiter| waiter.urgency(now) < urgency);
        before.map(|waiter| waiter.wish().tasklet)
    }

    /// How long all of them run, one after the other, as far as that is known.
    pub(in crate::node) fn work(&self) -> Duration {
        let work = self.live().flat_map(|waiter| waiter.work_us);
        Duration::from_micros(work.map(u64::from).sum())
    }

    /// Whether this call of another node waits.
    pub(in crate::node) fn has(&self, caller: Caller) -> bool {
        self.line
            .iter()
            .any(|waiter| waiter.caller() == Some(caller))
    }

    /// Takes the call out that is next: the most urgent one at the moment `now`, or, on a board, the one that
    /// has waited longest.
    pub(in crate::node) fn pop(&mut self, now: Instant) -> Option<Waiter> {
        if !FULL {
            return self.pop_if(|_| true);
        }
        let next = self.live().min_by_key(|waiter| waiter.urgency(now))?.call;
        self.pop_call(next)
    }

    /// Takes this call out.
    pub(in crate::node) fn pop_call(&mut self, call: CallId) -> Option<Waiter> {
        self.pop_if(|it| it.call == call)
    }

    /// Takes this call of another node out.
    pub(in crate::node) fn pop_caller(&mut self, caller: Caller) -> Option<Waiter> {
        self.pop_if(|it| it.caller() == Some(caller))
    }

    /// Takes a call out whose time is up.
    pub(in crate::node) fn pop_overdue(&mut self, now: Instant) -> Option<Waiter> {
        self.pop_if(|it| it.deadline <= now)
    }

    /// Ends a call that was taken out, so that the client of this node hears of that.
    pub(in crate::node) fn end(&mut self, now: Instant, mut waiter: Waiter, fault: Fault) {
        (waiter.deadline, waiter.ended) = (now, Some(fault));
        self.line.push_back(waiter);
    }

    /// Whether a call of one of these callers waits.
    pub(in crate::node) fn has_any(&self, is: impl Fn(Caller) -> bool) -> bool {
        self.line.iter().filter_map(Waiter::caller).any(is)
    }

    /// Forgets the calls of these callers.
    pub(in crate::node) fn forget(&mut self, is: impl Fn(Caller) -> bool) {
        self.line.retain(|it| !it.caller().is_some_and(&is));
    }

    /// A call of a client of this node that has ended while it waited, why, and after which time.
    pub(in crate::node) fn poll_ended(&mut self) -> Option<(CallId, Fault, Duration)> {
        let at = self.line.iter().position(|it| it.ended.is_some())?;
        let waiter = self.line.remove(at)?;
        Some((
            waiter.call,
            waiter.ended?,
            waiter.deadline - waiter.accepted,
        ))
    }

    /// When the first deadline is.
    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.live().map(|waiter| waiter.deadline);
        deadlines.min().filter(|at| *at != NEVER)
    }

    fn pop_if(&mut self, is: impl Fn(&Waiter) -> bool) -> Option<Waiter> {
        let is = |it: &Waiter| it.ended.is_none() && is(it);
        let at = self.line.iter().position(is)?;
        self.line.remove(at)
    }
}

impl Waiter {
    fn of(wish: &Wish<'_>) -> Option<Self> {
        let mut args = [0; ARGS_BYTES];
        args.get_mut(..wish.args.len())?.copy_from_slice(wish.args);
        let from = wish.from.filter(|_| FULL).map_or(0, |from| from.0);
        let (node, request) = wish.caller.unwrap_or((NodeId::EVERYONE, from));
        let (accepted, call) = wish.since;
        Some(Self {
            accepted,
            deadline: wish.deadline.unwrap_or(NEVER),
            call,
            request,
            client: wish.client.map_or(0, |client| client.0),
            node,
            number: wish.tasklet.1,
            namespace: u8::try_from(wish.tasklet.0.index()).ok()?,
            has_client: wish.client.is_some(),
            has_party: FULL && wish.from.is_some(),
            priority: wish.priority,
            work_us: wish.work_us,
            ended: None,
            len: wish.args.len() as u8,
            args,
        })
    }

    /// What it said when it began to wait.
    pub(in crate::node) fn wish(&self) -> Wish<'_> {
        let namespace = SubscriptionAt::new(self.namespace.into());
        Wish {
            since: (self.accepted, self.call),
            tasklet: (namespace, self.number),
            args: &self.args[..usize::from(self.len)],
            caller: self.caller(),
            deadline: Some(self.deadline).filter(|at| *at != NEVER),
            priority: self.priority,
            client: self.has_client.then_some(ClientId(self.client)),
            from: (FULL && self.has_party).then_some(PartyId(self.request)),
            work_us: self.work_us,
        }
    }

    fn urgency(&self, now: Instant) -> Urgency {
        let class = class(self.priority.value(), now - self.accepted);
        Urgency::new(class, (self.accepted, self.call), Some(self.deadline))
    }

    fn caller(&self) -> Option<Caller> {
        let caller = (self.node, self.request);
        (self.node != NodeId::EVERYONE).then_some(caller)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn wish(number: u32, deadline: Option<u64>, caller: Option<Caller>) -> Wish<'static> {
        Wish {
            since: (at(1), CallId(number)),
            tasklet: (SubscriptionAt::new(1), 9),
            args: &[0x81, 7],
            caller,
            deadline: deadline.map(at),
            priority: Full::of(Priority::Normal),
            client: Some(ClientId(5)),
            from: caller.is_none().then_some(PartyId(8)),
            work_us: [5_000; PLACES as usize],
        }
    }

    fn order(waiting: &mut Waiting) -> Vec<u32> {
        core::iter::from_fn(|| waiting.pop(at(1)))
            .map(|waiter| waiter.call.0)
            .collect()
    }

    #[test]
    fn calls_leave_in_the_order_they_came_in_with_all_that_they_said() {
        let mut waiting = Waiting::new(3);
        for number in [4, 5, 6] {
            assert!(waiting.has_room());
            assert!(waiting.push(&wish(number, Some(9), Some((NodeId(3), number)))));
        }
        assert!(!waiting.has_room());
        let first = waiting.pop(at(1)).unwrap();
        assert_eq!(first.wish(), wish(4, Some(9), Some((NodeId(3), 4))));
        assert_eq!(order(&mut waiting), [5, 6]);
    }

    #[test]
    fn the_most_urgent_call_leaves_first_and_none_waits_for_ever() {
        let call = |number, taken, deadline, priority| Wish {
            since: (at(taken), CallId(number)),
            priority: Full::of(priority),
            ..wish(number, deadline, None)
        };
        let calls = [
            call(1, 0, None, Priority::Low),
            call(2, 0, Some(90), Priority::Normal),
            call(3, 1, Some(20), Priority::Normal),
            call(4, 2, None, Priority::High),
        ];
        let mut waiting = Waiting::new(calls.len());
        let push = |waiting: &mut Waiting| {
            for call in &calls {
                assert!(waiting.push(call));
            }
        };
        push(&mut waiting);
        assert_eq!(order(&mut waiting), [4, 3, 2, 1]);
        push(&mut waiting);
        // After a minute the low one counts as high, and as due: what comes then waits for it.
        waiting.pop_call(CallId(4)).unwrap();
        let late = call(5, 61, Some(61), Priority::High);
        assert!(waiting.push(&late));
        let rest = core::iter::from_fn(|| waiting.pop(at(61)));
        let rest: Vec<_> = rest.map(|waiter| waiter.call.0).collect();
        assert_eq!(rest, [3, 1, 2, 5]);
    }

    #[test]
    fn long_arguments_do_not_wait() {
        let mut waiting = Waiting::new(1);
        let args = [0; ARGS_BYTES + 1];
        let long = Wish {
            args: &args,
            ..wish(1, None, None)
        };
        assert!(!waiting.push(&long));
        let fits = Wish {
            args: &args[1..],
            ..long
        };
        assert!(waiting.push(&fits));
    }

    #[test]
    fn a_deadline_ends_a_call_where_it_waits() {
        let mut waiting = Waiting::new(4);
        let caller = (NodeId(3), 70);
        waiting.push(&wish(1, None, None));
        waiting.push(&wish(2, Some(5), None));
        waiting.push(&wish(3, Some(4), Some(caller)));
        assert_eq!(waiting.poll_timeout(), Some(at(4)));
        assert_eq!(waiting.pop_overdue(at(3)), None);
        let overdue = |waiting: &mut Waiting| {
            let waiter = waiting.pop_overdue(at(6)).unwrap();
            (waiter.call, waiter.wish().caller, waiter)
        };
        let (call, nobody, waiter) = overdue(&mut waiting);
        assert_eq!((call, nobody), (CallId(2), None));
        let (call, other, _) = overdue(&mut waiting);
        assert_eq!((call, other), (CallId(3), Some(caller)));
        assert_eq!(waiting.pop_overdue(at(6)), None);
        // A client of this node hears of it as of every end.
        waiting.end(at(6), waiter, Fault::Deadline);
        assert_eq!(waiting.pop_call(CallId(2)), None);
        let ended = waiting.poll_ended().unwrap();
        assert_eq!(ended, (CallId(2), Fault::Deadline, Duration::from_secs(5)));
        assert_eq!(waiting.poll_ended(), None);
        assert_eq!(order(&mut waiting), [1]);
    }

    #[test]
    fn a_call_leaves_with_its_client_or_the_node_that_has_made_it() {
        let mut waiting = Waiting::new(4);
        waiting.push(&wish(1, None, None));
        waiting.push(&wish(2, None, Some((NodeId(3), 70))));
        waiting.push(&wish(3, None, Some((NodeId(4), 70))));
        assert!(waiting.pop_call(CallId(1)).is_some());
        assert!(waiting.pop_call(CallId(1)).is_none(), "it has left");
        assert!(waiting.has((NodeId(3), 70)));
        waiting.forget(|(node, _)| node == NodeId(3));
        assert!(!waiting.has((NodeId(3), 70)));
        assert_eq!(order(&mut waiting), [3]);
    }
}
