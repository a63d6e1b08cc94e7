//! Results: what has come of calls whose clients give them numbers, kept for clients that have gone on
//! to another node (spec/behaviour.md, section 16).
//!
//! A client in motion makes a call here and asks for its result there. So the node that took the call
//! remembers it by the client and the client's own number, and keeps the result for a while. The same
//! memory has a call that is made again with its number answered, not run again.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use nimblenet_tasklet::{Fault, TaskletName, Trap};

use crate::config::Limits;
use crate::event::CallKey;
use crate::job::{CallId, Caller};
use crate::time::Instant;

/// How long the result of a call with a number is kept for its client.
pub const RESULTS_KEPT: Duration = Duration::from_secs(300);

/// So many nodes are told of the end of a call: where its client is, and where it was before.
const CLAIMANTS: usize = 2;

/// Calls with numbers, those in progress and those that have ended.
#[derive(Debug)]
pub(in crate::node) struct Results {
    /// The oldest first.
    records: Vec<Record>,
    /// The results one after the other, in the order of the records.
    bytes: Vec<u8>,
    /// So many nodes are to be told of the end of a call, or fewer.
    awaited: usize,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    key: CallKey,
    name: TaskletName,
    call: CallId,
    /// Who has asked for it while it was in progress, the last one first.
    claimants: [Option<Caller>; CLAIMANTS],
    state: State,
    /// Whether it has failed before any of it ran: then the same call made again is a new one.
    vain: bool,
    /// Bytes of the result.
    len: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Working,
    /// It has ended like this, and is kept until then.
    Ended(Result<(), (Fault, Option<Trap>)>, Instant),
}

impl Record {
    fn is_over(&self, now: Instant) -> bool {
        matches!(self.state, State::Ended(_, until) if until <= now)
    }

    fn has_ended(&self) -> bool {
        self.state != State::Working
    }
}

/// What is known of a call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::node) enum Known<'a> {
    /// It is in progress.
    Working,
    /// It has ended.
    Ended(End<'a>),
}

/// How a call has ended: with a CBOR array, or with a fault.
pub(in crate::node) type End<'a> = Result<&'a [u8], (Fault, Option<Trap>)>;

impl Results {
    pub(in crate::node) fn new(limits: &Limits) -> Self {
        Self {
            records: Vec::with_capacity(limits.results),
            bytes: Vec::with_capacity(limits.result_bytes),
            awaited: 0,
        }
    }

    /// Results that are kept at the moment `now`.
    pub(in crate::node) fn count(&self, now: Instant) -> usize {
        let kept = |record: &&Record| record.has_ended() && !record.is_over(now);
        self.records.iter().filter(kept).count()
    }

    /// Whether the same call made again is answered from here, as it runs or has run.
    pub(in crate::node) fn answers(&self, now: Instant, key: CallKey) -> bool {
        let at = self.at(now, key);
        at.is_some_and(|at| !self.records[at].vain)
    }

    /// Whether a call with this key is known.
    pub(in crate::node) fn knows(&self, now: Instant, key: CallKey) -> bool {
        self.at(now, key).is_some()
    }

    /// Remembers a call that begins, unless the node keeps nothing. If there is no room, the oldest result of the client with the most of
    /// them is given up.
    ///
    /// # Errors
    /// [`Fault::Busy`] if all the calls that are remembered are in progress.
    pub(in crate::node) fn begin(
        &mut self,
        now: Instant,
        (key, name): (CallKey, TaskletName),
        call: CallId,
    ) -> Result<(), Fault> {
        if self.records.capacity() == 0 {
            return Ok(());
        }
        self.forget(|record| record.is_over(now) || record.key == key);
        if self.records.len() == self.records.capacity() && !self.give_up_one() {
            return Err(Fault::Busy);
        }
        self.records.push(Record {
            key,
            name,
            call,
            claimants: [None; CLAIMANTS],
            state: State::Working,
            vain: false,
            len: 0,
        });
        Ok(())
    }

    /// Forgets a call that was refused.
    pub(in crate::node) fn forget_call(&mut self, call: CallId) {
        self.forget(|record| record.call == call);
    }

    /// Keeps the result of a call, if it has a number. `ran` says whether any of it may have run.
    pub(in crate::node) fn end(&mut self, now: Instant, call: CallId, end: End<'_>, ran: bool) {
        let working = |record: &Record| record.call == call && !record.has_ended();
        let Some(at) = self.records.iter().position(working) else {
            return;
        };
        let bytes = end.unwrap_or_default();
        let mut record = self.records.remove(at);
        // Who has cancelled a call does not want it again.
        record.vain = !ran && end.is_err_and(|(fault, _)| fault != Fault::Cancelled);
        while self.bytes.len() + bytes.len() > self.bytes.capacity() && self.give_up_one() {}
        if self.bytes.len() + bytes.len() <= self.bytes.capacity() {
            // The records of those that have ended stand in the order of their results.
            self.bytes.extend_from_slice(bytes);
            record.state = State::Ended(end.map(drop), now + RESULTS_KEPT);
            record.len = bytes.len() as u16;
        } else {
            record.state = State::Ended(Err((Fault::ValuesTooLarge, None)), now + RESULTS_KEPT);
        }
        self.awaited += record.claimants.iter().flatten().count();
        self.records.push(record);
    }

    /// A node that has asked for a result before the call has ended, and how it has ended.
    pub(in crate::node) fn poll_claimant(&mut self) -> Option<(Caller, End<'_>)> {
        if self.awaited == 0 {
            return None;
        }
        let awaited = |record: &Record| record.has_ended() && record.claimants != [None; CLAIMANTS];
        let Some(at) = self.records.iter().position(awaited) else {
            // Its record was given up for others.
            self.awaited = 0;
            return None;
        };
        self.awaited -= 1;
        let claimant = self.records[at]
            .claimants
            .iter_mut()
            .find_map(Option::take)?;
        Some((claimant, self.end_of(at)?))
    }

    /// What is known of a call; `claimant` hears of its end if it is in progress. None if there is no such
    /// call, or its result is not kept any more.
    pub(in crate::node) fn claim(
        &mut self,
        now: Instant,
        (key, name): (CallKey, TaskletName),
        claimant: Caller,
    ) -> Option<Known<'_>> {
        let at = self.at(now, key)?;
        let record = &mut self.records[at];
        if record.name != name {
            return None;
        }
        if !record.has_ended() && !record.claimants.contains(&Some(claimant)) {
            record.claimants.rotate_right(1);
            record.claimants[0] = Some(claimant);
        }
        Some(self.end_of(at).map_or(Known::Working, Known::Ended))
    }

    /// The call of a tasklet that a client has made with this key, and how it has ended, if it has; none if
    /// there is no such call.
    pub(in crate::node) fn call_of(
        &self,
        now: Instant,
        key: CallKey,
        name: &TaskletName,
    ) -> Option<(CallId, Option<Result<(), Fault>>)> {
        let record = &self.records[self.at(now, key)?];
        let ended = match record.state {
            State::Working => None,
            State::Ended(end, _) => Some(end.map_err(|(fault, _)| fault)),
        };
        (record.name == *name).then_some((record.call, ended))
    }

    /// How a call has ended; none if it is in progress.
    fn end_of(&self, at: usize) -> Option<End<'_>> {
        match self.records[at].state {
            State::Ended(Ok(()), _) => Some(Ok(&self.bytes[self.result_of(at)])),
            State::Ended(Err(fault), _) => Some(Err(fault)),
            State::Working => None,
        }
    }

    /// Checks what must hold between two inputs: `is_in_progress` says whether a call is.
    pub(in crate::node) fn assert_invariants(&self, is_in_progress: impl Fn(CallId) -> bool) {
        let len: usize = self.records.iter().map(|it| usize::from(it.len)).sum();
        debug_assert_eq!(len, self.bytes.len());
        for (at, record) in self.records.iter().enumerate() {
            debug_assert!(
                record.has_ended() || is_in_progress(record.call),
                "{record:?}"
            );
            let same = |other: &Record| other.key == record.key;
            debug_assert!(!self.records[at + 1..].iter().any(same), "{record:?}");
        }
    }

    fn at(&self, now: Instant, key: CallKey) -> Option<usize> {
        let is = |record: &Record| record.key == key && !record.is_over(now);
        self.records.iter().position(is)
    }

    /// Gives up the oldest result of the client that has the most; false if there is none.
    fn give_up_one(&mut self) -> bool {
        let ended = || self.records.iter().filter(|record| record.has_ended());
        let of = |client| ended().filter(|record| record.key.client == client).count();
        // Of those with as many, the one with the oldest.
        let most = ended().rev().max_by_key(|record| of(record.key.client));
        let Some(client) = most.map(|record| record.key.client) else {
            return false;
        };
        let mut given_up = false;
        self.forget(|record| {
            let is = !given_up && record.has_ended() && record.key.client == client;
            given_up |= is;
            is
        });
        given_up
    }

    fn forget(&mut self, mut is_over: impl FnMut(&Record) -> bool) {
        let mut at = 0;
        while at < self.records.len() {
            if is_over(&self.records[at]) {
                let result = self.result_of(at);
                self.bytes.drain(result);
                self.records.remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn result_of(&self, at: usize) -> Range<usize> {
        let before = self.records[..at].iter();
        let from: usize = before.map(|record| usize::from(record.len)).sum();
        from..from + usize::from(self.records[at].len)
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::NodeId;

    use super::*;
    use crate::event::ClientId;

    fn results(results: usize, result_bytes: usize) -> Results {
        Results::new(&Limits {
            results,
            result_bytes,
            ..Limits::linux()
        })
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn call(client: u32, number: u32) -> (CallKey, TaskletName) {
        let client = ClientId(client);
        (
            CallKey { client, number },
            TaskletName::new("shop/check").unwrap(),
        )
    }

    const HERE: Caller = (NodeId(4), 1);
    const THERE: Caller = (NodeId(5), 1);
    const AWAY: Caller = (NodeId(6), 1);

    #[test]
    fn a_call_that_failed_before_it_ran_may_be_made_again_and_its_fault_is_told_till_then() {
        let mut results = results(4, 100);
        let fault = |fault| Err((fault, None));
        for (number, end, ran, answers) in [
            (1, fault(Fault::Unreachable), false, false),
            (2, fault(Fault::Unreachable), true, true),
            (3, fault(Fault::Cancelled), false, true),
        ] {
            let call = CallId(number);
            let (key, name) = self::call(7, number);
            results.begin(at(1), (key, name), call).unwrap();
            assert!(results.answers(at(1), key), "it is in progress");
            results.end(at(2), call, end, ran);
            assert_eq!(results.answers(at(3), key), answers, "{number}");
            let claimed = results.claim(at(3), (key, name), (NodeId(5), 1));
            assert_eq!(claimed, Some(Known::Ended(end)));
        }
        let (key, name) = call(7, 1);
        results.begin(at(4), (key, name), CallId(9)).unwrap();
        assert!(results.answers(at(4), key));
    }

    #[test]
    fn a_client_asks_for_its_result_as_often_as_it_likes_and_for_no_other() {
        let mut results = results(4, 100);
        results.begin(at(0), call(7, 1), CallId(31)).unwrap();
        assert_eq!(results.claim(at(1), call(7, 1), HERE), Some(Known::Working));
        results.end(at(2), CallId(30), Ok(&[1]), true);
        assert_eq!(results.poll_claimant(), None, "another call has ended");
        results.end(at(2), CallId(31), Ok(&[0x81, 5]), true);
        let told = results.poll_claimant();
        assert_eq!(told, Some((HERE, Ok(&[0x81, 5][..]))));
        assert_eq!(results.poll_claimant(), None);
        let done = Some(Known::Ended(Ok(&[0x81, 5][..])));
        for _ in 0..3 {
            assert_eq!(results.claim(at(3), call(7, 1), THERE), done);
        }
        assert_eq!(results.claim(at(3), call(7, 2), THERE), None);
        assert_eq!(results.claim(at(3), call(8, 1), THERE), None);
        let other = (call(7, 1).0, TaskletName::new("shop/other").unwrap());
        assert_eq!(results.claim(at(3), other, THERE), None);
        assert_eq!(results.claim(at(301), call(7, 1), THERE), done);
        assert_eq!(results.claim(at(302), call(7, 1), THERE), None);
    }

    #[test]
    fn the_nodes_where_a_client_was_last_hear_of_the_end() {
        let mut results = results(4, 100);
        results.begin(at(0), call(7, 1), CallId(31)).unwrap();
        for claimant in [HERE, THERE, THERE, AWAY, AWAY] {
            results.claim(at(1), call(7, 1), claimant).unwrap();
        }
        let fault = Err((Fault::Trapped, Some(Trap::Unreachable)));
        results.end(at(2), CallId(31), fault, true);
        let failed = Err((Fault::Trapped, Some(Trap::Unreachable)));
        assert_eq!(results.poll_claimant(), Some((AWAY, failed)));
        assert_eq!(results.poll_claimant(), Some((THERE, failed)));
        assert_eq!(results.poll_claimant(), None);
        let found = results.claim(at(3), call(7, 1), HERE);
        assert_eq!(found, Some(Known::Ended(failed)));
    }

    #[test]
    fn the_client_with_the_most_results_loses_its_oldest_one() {
        let mut results = results(4, 100);
        let calls = [(7, 1), (8, 1), (8, 2), (9, 1)];
        for (number, (client, its)) in calls.into_iter().enumerate() {
            let number = CallId(number as u32);
            results.begin(at(0), call(client, its), number).unwrap();
            results.end(at(1), number, Ok(&[number.0 as u8]), true);
        }
        results.begin(at(2), call(8, 3), CallId(9)).unwrap();
        let known = [(7, 1), (8, 1), (8, 2), (8, 3), (9, 1)];
        let known = known.map(|(client, its)| results.knows(at(2), call(client, its).0));
        assert_eq!(known, [true, false, true, true, true]);
        assert_eq!(
            results.claim(at(2), call(9, 1), HERE),
            Some(Known::Ended(Ok(&[3])))
        );
    }

    #[test]
    fn calls_in_progress_are_never_forgotten_and_room_for_others_is_refused() {
        let mut results = results(2, 100);
        for number in [1, 2] {
            results
                .begin(at(0), call(7, number), CallId(number))
                .unwrap();
        }
        let third = results.begin(at(999), call(8, 1), CallId(3));
        assert_eq!(third, Err(Fault::Busy));
        results.forget_call(CallId(2));
        results.begin(at(999), call(8, 1), CallId(3)).unwrap();
        assert!(results.knows(at(999), call(7, 1).0));
    }

    #[test]
    fn a_long_result_takes_the_room_of_older_ones() {
        let mut results = results(8, 10);
        for number in 1..=4 {
            results
                .begin(at(0), call(7, number), CallId(number))
                .unwrap();
        }
        for number in 1..=3 {
            results.end(at(1), CallId(number), Ok(&[number as u8; 4]), true);
        }
        assert_eq!(results.claim(at(2), call(7, 1), HERE), None);
        for number in [2, 3] {
            let bytes = [number as u8; 4];
            let kept = Some(Known::Ended(Ok(&bytes)));
            assert_eq!(results.claim(at(2), call(7, number), HERE), kept);
        }
        results.end(at(2), CallId(4), Ok(&[0; 11]), true);
        let too_large = Err((Fault::ValuesTooLarge, None));
        let found = results.claim(at(2), call(7, 4), HERE);
        assert_eq!(found, Some(Known::Ended(too_large)));
        results.assert_invariants(|_| false);
    }
}
