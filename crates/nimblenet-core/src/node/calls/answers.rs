//! Answers: what became of calls and jobs of other nodes, for as long as those may still ask.
//!
//! A job that has ended for another node is kept in its place, with its result. When another job needs
//! the place, the answer moves here. Nothing here is forgotten while its caller may ask again; if there
//! is no room, the new job is refused instead.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId, Trap};

use crate::config::{Limits, PLACES};
use crate::job::{Caller, Job, State};
use crate::node::post::{ASK_AFTER, LONGEST_WAIT, Post};
use crate::time::Instant;
use crate::wire::{Answer, GoNumber};

/// The answers of a node.
#[derive(Debug)]
pub(in crate::node) struct Answers {
    /// Oldest first.
    records: Vec<Record>,
    /// Their results, one after the other.
    results: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    caller: Caller,
    /// Until when the caller may ask.
    until: Instant,
    end: End,
    /// Bytes of the result.
    bytes: u16,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Failed(Fault, Option<Trap>),
    Declined(Fault, Option<GoNumber>),
    /// The call was passed on to this node.
    Passed(NodeId),
    /// The node does not ask for anything before this request any more; what comes of that is late.
    Over,
}

impl Answers {
    pub(in crate::node) fn new(limits: &Limits) -> Self {
        Self {
            records: Vec::with_capacity(limits.answers),
            results: Vec::with_capacity(limits.answer_bytes),
        }
    }

    /// How many there are.
    pub(in crate::node) fn count(&self) -> usize {
        self.records.len()
    }

    /// Keeps the answer of a job that has ended, unless its caller does not ask any more; false if there
    /// is no room.
    pub(in crate::node) fn keep(&mut self, post: &Post<'_>, job: &Job) -> bool {
        let Some(caller) = job.caller else {
            return true;
        };
        let until = may_ask_until(post, caller, job.accepted + job.took, job.deadline);
        // A job that was never ready here gets no go, and whoever offers it again hears the same again.
        let was_offered = matches!(job.state, State::Declined(_)) && job.number.is_none();
        if until <= post.now || was_offered {
            return true;
        }
        let (end, result) = if let State::Declined(fault) = job.state {
            (End::Declined(fault, job.number), &[][..])
        } else if let Some(Err(fault)) = job.state.result() {
            (End::Failed(fault, job.trap), &[][..])
        } else {
            (End::Done, &job.message[..])
        };
        self.forget_old(post.now);
        let room = self.records.len() < self.records.capacity()
            && self.results.len() + result.len() <= self.results.capacity();
        if room {
            self.results.extend_from_slice(result);
            let bytes = result.len() as u16;
            self.records.push(Record {
                caller,
                until,
                end,
                bytes,
            });
        }
        room
    }

    /// Remembers, while the caller may ask, that a call was passed on to a node, which has the time `left` for
    /// it; false if there is no room.
    pub(in crate::node) fn note_passed(
        &mut self,
        post: &Post<'_>,
        caller: Caller,
        (to, left): (NodeId, Duration),
    ) -> bool {
        let until = may_ask_until(post, caller, post.now, Some(post.now + left));
        self.note(post.now, caller, until, End::Passed(to))
    }

    /// Remembers, while the caller may ask, that this node has refused a call and never runs it; false
    /// if there is no room.
    pub(in crate::node) fn note_refused(
        &mut self,
        post: &Post<'_>,
        caller: Caller,
        fault: Fault,
    ) -> bool {
        let until = may_ask_until(post, caller, post.now, None);
        self.note(post.now, caller, until, End::Declined(fault, None))
    }

    /// Remembers, while the call itself may still be on its way, that its caller has cancelled it, so that it
    /// never runs here. If there is no room, it may run in vain.
    pub(in crate::node) fn note_cancelled(&mut self, now: Instant, caller: Caller) {
        self.note(
            now,
            caller,
            now + FLIGHT,
            End::Failed(Fault::Cancelled, None),
        );
    }

    /// The node to which a call was passed on.
    pub(in crate::node) fn passed_to(&mut self, post: &Post<'_>, caller: Caller) -> Option<NodeId> {
        let asks_until = may_ask_until(post, caller, post.now, None);
        // That the caller has forgotten older ones may be noted under the same number.
        let mut own = self.records.iter_mut().filter(|it| it.caller == caller);
        own.find_map(|record| {
            let End::Passed(to) = record.end else {
                return None;
            };
            record.until = record.until.max(asks_until);
            Some(to)
        })
    }

    fn note(&mut self, now: Instant, caller: Caller, until: Instant, end: End) -> bool {
        self.forget_old(now);
        let room = self.records.len() < self.records.capacity();
        if room {
            let bytes = 0;
            self.records.push(Record {
                caller,
                until,
                end,
                bytes,
            });
        }
        room
    }

    /// The answer for a caller that asks again.
    pub(in crate::node) fn find(&mut self, post: &Post<'_>, caller: Caller) -> Option<Answer<'_>> {
        let is_answer = |end| !matches!(end, End::Over | End::Passed(_));
        let is = |record: &Record| record.caller == caller && is_answer(record.end);
        let at = self.records.iter().position(is)?;
        let record = &mut self.records[at];
        record.until = may_ask_until(post, caller, post.now, None);
        let end = record.end;
        match end {
            End::Done => Some(Answer::Done(&self.results[self.result_of(at)])),
            End::Failed(fault, trap) => Some(Answer::Failed(fault, trap)),
            End::Declined(fault, number) => Some(Answer::Refused(fault, number)),
            End::Over | End::Passed(_) => None,
        }
    }

    /// Whether there are answers for a node to what it asked before its request `oldest`.
    pub(in crate::node) fn has_before(&self, node: NodeId, oldest: u32) -> bool {
        let mut callers = self.records.iter().map(|record| record.caller);
        callers.any(|caller| is_before(caller, node, oldest))
    }

    /// Forgets the answers for a node to whatever it asked before its request `oldest`: it asks for
    /// these no more, and what comes of it is late. False if there is no room to remember that.
    pub(in crate::node) fn forget_before(
        &mut self,
        post: &Post<'_>,
        node: NodeId,
        oldest: u32,
    ) -> bool {
        self.forget(|record| is_before(record.caller, node, oldest));
        let until = post.now + FLIGHT;
        self.note(post.now, (node, oldest), until, End::Over)
    }

    /// Whether a call is late: its caller has said that it does not ask for it any more.
    pub(in crate::node) fn is_late(&self, now: Instant, (node, request): Caller) -> bool {
        let over = |record: &Record| {
            let before = is_before((node, request), node, record.caller.1);
            matches!(record.end, End::Over) && record.until > now && before
        };
        let mut own = self.records.iter().filter(|record| record.caller.0 == node);
        own.any(over)
    }

    fn forget_old(&mut self, now: Instant) {
        self.forget(|record| record.until <= now);
    }

    fn forget(&mut self, is_over: impl Fn(&Record) -> bool) {
        let mut at = 0;
        while at < self.records.len() {
            if is_over(&self.records[at]) {
                let result = self.result_of(at);
                self.results.drain(result);
                self.records.remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn result_of(&self, at: usize) -> Range<usize> {
        let before = self.records[..at].iter();
        let from = before.map(|record| usize::from(record.bytes)).sum();
        from..from + usize::from(self.records[at].bytes)
    }
}

/// A frame may be on its way for so long.
pub(in crate::node) const FLIGHT: Duration = Duration::from_secs(3);

/// Whether a call is one of `node`, and older than its request `oldest`.
pub(in crate::node) fn is_before(caller: Caller, node: NodeId, oldest: u32) -> bool {
    caller.0 == node && caller.1.wrapping_sub(oldest) > 1 << 31
}

/// Until when a caller may ask for a job that has ended at `ended`, or was asked for then.
fn may_ask_until(
    post: &Post<'_>,
    (node, _): Caller,
    ended: Instant,
    deadline: Option<Instant>,
) -> Instant {
    let own = post.patience_for(node);
    let patience: Duration = own.max(post.config.pace.global_search);
    // Who has placed the call may expect its end late, and does not ask before.
    let silent = if PLACES {
        own * ASK_AFTER * LONGEST_WAIT
    } else {
        Duration::ZERO
    };
    let until = ended + patience * MAY_ASK + silent;
    // At its deadline the caller ends the call.
    deadline.map_or(until, |deadline| until.min(deadline + patience))
}

/// A caller may ask for a job that has ended for so many times its patience: it lets the node work for
/// eight times that, then asks six times, and its patience may be a little longer than it seems.
const MAY_ASK: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::stage::{NEAR, OTHER, Stage};

    fn answers(records: usize, bytes: usize) -> Answers {
        Answers::new(&Limits {
            answers: records,
            answer_bytes: bytes,
            ..Limits::board()
        })
    }

    fn job(stage: &Stage, caller: Caller, result: &[u8]) -> Job {
        let mut job = Job::vacant(&Limits::board(), 0);
        job.state = State::Answered(Ok(()));
        job.caller = Some(caller);
        job.accepted = stage.now;
        job.set_message(result);
        job
    }

    #[test]
    fn an_answer_is_kept_while_its_caller_may_ask_and_a_new_one_waits_for_that() {
        let mut stage = Stage::new();
        let mut answers = answers(2, 100);
        for request in [1, 2] {
            let job = job(&stage, (NEAR, request), &[0x81, request as u8]);
            assert!(answers.keep(&stage.post(), &job));
        }
        let third = job(&stage, (OTHER, 1), &[0x80]);
        assert!(!answers.keep(&stage.post(), &third), "no room");
        stage.pass(Duration::from_secs(25));
        assert!(!answers.keep(&stage.post(), &third), "still no room");
        let found = answers.find(&stage.post(), (NEAR, 2));
        assert_eq!(found, Some(Answer::Done(&[0x81, 2])));
        stage.pass(Duration::from_secs(17));
        let third = job(&stage, (OTHER, 1), &[0x80]);
        assert!(answers.keep(&stage.post(), &third));
        assert_eq!(
            answers.find(&stage.post(), (NEAR, 1)),
            None,
            "it asks no more"
        );
        let found = answers.find(&stage.post(), (NEAR, 2));
        assert_eq!(found, Some(Answer::Done(&[0x81, 2])), "it has asked again");
    }

    #[test]
    fn a_caller_says_what_it_asks_for_no_more() {
        let mut stage = Stage::new();
        let mut answers = answers(4, 5);
        for (caller, result) in [((NEAR, 7), 2), ((OTHER, 7), 1), ((NEAR, 9), 2)] {
            let job = job(&stage, caller, &[0x80; 2][..result]);
            assert!(answers.keep(&stage.post(), &job));
        }
        let next = job(&stage, (NEAR, 11), &[0x81, 1]);
        assert!(!answers.keep(&stage.post(), &next), "too many bytes");
        assert!(!answers.has_before(NEAR, 7) && answers.has_before(NEAR, 9));
        assert!(answers.forget_before(&stage.post(), NEAR, 9));
        assert!(answers.keep(&stage.post(), &next));
        let found = [(NEAR, 7), (NEAR, 9), (NEAR, 11), (OTHER, 7)];
        let found = found.map(|caller| answers.find(&stage.post(), caller).is_some());
        assert_eq!(found, [false, true, true, true]);
        let late = [(NEAR, 7), (NEAR, 8), (NEAR, 9), (OTHER, 7)];
        assert_eq!(
            late.map(|caller| answers.is_late(stage.now, caller)),
            [true, true, false, false]
        );
        assert!(
            !answers.is_late(stage.now + FLIGHT, (NEAR, 7)),
            "by then it is not on its way"
        );
        let last = answers.find(&stage.post(), (NEAR, 11));
        assert_eq!(last, Some(Answer::Done(&[0x81, 1])));
    }

    #[test]
    fn where_a_call_was_passed_and_that_one_was_refused_is_kept_while_the_caller_may_ask() {
        let mut stage = Stage::new();
        let mut answers = answers(2, 0);
        let left = Duration::from_secs(60);
        assert!(answers.note_passed(&stage.post(), (NEAR, 1), (OTHER, left)));
        assert!(answers.note_refused(&stage.post(), (NEAR, 2), Fault::Busy));
        assert!(
            !answers.note_passed(&stage.post(), (NEAR, 3), (OTHER, left)),
            "no room"
        );
        assert_eq!(answers.find(&stage.post(), (NEAR, 1)), None);
        let refused = Some(Answer::Refused(Fault::Busy, None));
        assert_eq!(answers.find(&stage.post(), (NEAR, 2)), refused);
        stage.pass(Duration::from_secs(25));
        let to = answers.passed_to(&stage.post(), (NEAR, 1));
        assert_eq!(to, Some(OTHER), "it asks again");
        assert_eq!(answers.passed_to(&stage.post(), (NEAR, 2)), None);
        stage.pass(Duration::from_secs(17));
        assert!(answers.note_passed(&stage.post(), (NEAR, 3), (OTHER, left)));
        assert_eq!(answers.passed_to(&stage.post(), (NEAR, 1)), Some(OTHER));
        assert_eq!(
            answers.find(&stage.post(), (NEAR, 2)),
            None,
            "it asks no more"
        );
    }

    #[test]
    fn a_call_that_is_the_oldest_of_its_caller_is_known_to_have_been_passed_on() {
        let stage = &mut Stage::new();
        let mut answers = answers(3, 0);
        let left = Duration::from_secs(60);
        assert!(answers.note_passed(&stage.post(), (NEAR, 1), (OTHER, left)));
        assert!(answers.forget_before(&stage.post(), NEAR, 2));
        assert!(answers.note_passed(&stage.post(), (NEAR, 2), (OTHER, left)));
        assert_eq!(answers.passed_to(&stage.post(), (NEAR, 1)), None);
        assert_eq!(answers.passed_to(&stage.post(), (NEAR, 2)), Some(OTHER));
    }

    #[test]
    fn a_deadline_of_weeks_keeps_no_room_for_longer_than_its_caller_may_be_silent() {
        let mut stage = Stage::new();
        let mut answers = answers(2, 0);
        let weeks = Duration::from_secs(30 * 86_400);
        for request in [1, 2] {
            let caller = (NEAR, request);
            assert!(answers.note_passed(&stage.post(), caller, (OTHER, weeks)));
        }
        stage.pass(Duration::from_secs(25));
        let soon = Duration::from_secs(1);
        assert!(
            !answers.note_passed(&stage.post(), (OTHER, 3), (NEAR, soon)),
            "they may still ask"
        );
        stage.pass(Duration::from_secs(35));
        assert!(answers.note_passed(&stage.post(), (OTHER, 3), (NEAR, soon)));
        assert_eq!(answers.passed_to(&stage.post(), (NEAR, 1)), None);
    }

    #[test]
    fn faults_and_refusals_are_kept_as_they_are() {
        let mut stage = Stage::new();
        let mut answers = answers(4, 0);
        let mut failed = job(&stage, (NEAR, 1), &[0x80]);
        failed.state = State::Answered(Err(Fault::Deadline));
        assert!(answers.keep(&stage.post(), &failed));
        let found = answers.find(&stage.post(), (NEAR, 1));
        assert_eq!(found, Some(Answer::Failed(Fault::Deadline, None)));
        let mut declined = job(&stage, (NEAR, 2), &[]);
        declined.state = State::Declined(Fault::Busy);
        declined.number = GoNumber::new(7);
        assert!(answers.keep(&stage.post(), &declined));
        let found = answers.find(&stage.post(), (NEAR, 2));
        assert_eq!(found, Some(Answer::Refused(Fault::Busy, declined.number)));
    }

    #[test]
    fn offers_of_jobs_that_were_never_ready_here_take_no_room() {
        let stage = &mut Stage::new();
        let mut answers = answers(1, 0);
        for request in 1..100 {
            let mut declined = job(stage, (NEAR, request), &[]);
            declined.state = State::Declined(Fault::Unreachable);
            assert!(answers.keep(&stage.post(), &declined));
        }
        assert_eq!(answers.count(), 0);
    }
}
