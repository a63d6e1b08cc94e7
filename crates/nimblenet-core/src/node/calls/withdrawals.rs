//! Withdrawals: calls that were cancelled here and that another node may still work on
//! (spec/behaviour.md, section 19).
//!
//! That node is told until it answers, or was told often enough. Nothing depends on it: whoever never hears
//! of it works in vain until the deadline of the call, and what it returns then is for nobody.

use nimblenet_tasklet::NodeId;

use crate::job::Caller;
use crate::node::post::{Ask, Post};
use crate::table::Table;
use crate::time::Instant;
use crate::wire::{Answer, Message, Move, Return};

/// The calls of which other nodes are being told that nobody wants them.
#[derive(Debug)]
pub(in crate::node) struct Withdrawals {
    table: Table<Withdrawal>,
}

/// A call that another node is to give up.
#[derive(Clone, Copy, Debug)]
struct Withdrawal {
    /// The node that works on it, as far as is known.
    to: NodeId,
    request: u32,
    ask: Ask,
}

impl Withdrawals {
    /// Room for so many calls.
    pub(in crate::node) fn new(calls: usize) -> Self {
        Self {
            table: Table::new(calls),
        }
    }

    /// How many calls there are.
    pub(in crate::node) fn count(&self) -> usize {
        self.table.iter().count()
    }

    /// Tells a node that nobody wants the call with this request number any more. If too many are told of
    /// already, it is told once.
    pub(in crate::node) fn begin(&mut self, post: &mut Post<'_>, (to, request): Caller) {
        let ask = Ask::new(post.now);
        let withdrawal = Withdrawal { to, request, ask };
        match self.table.insert(withdrawal) {
            Some(at) => self.tell(post, at),
            None => withdraw(post, (to, request)),
        }
    }

    /// Takes an answer of a node; false if it is not about a call that was cancelled.
    pub(in crate::node) fn handle_return(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        answer: &Return<'_>,
    ) -> bool {
        let is = |held: &Withdrawal| held.request == answer.request;
        let Some(at) = self.table.position(is) else {
            return false;
        };
        match answer.answer {
            // A microcontroller goes on with it.
            Answer::Done(_) | Answer::Failed(..) | Answer::Refused(..) | Answer::Unmoved(..) => {
                self.table.take(at);
            }
            // It has not heard of it yet, or the call was passed on to it.
            Answer::Working(..) | Answer::Adopting(_) | Answer::Moving(_) => {
                if let Some(held) = self.table.get_mut(at)
                    && held.to != origin
                {
                    held.to = origin;
                    held.ask.renew();
                    self.tell(post, at);
                }
            }
        }
        true
    }

    /// Tells again where no answer came.
    pub(in crate::node) fn handle_timeout(&mut self, post: &mut Post<'_>) {
        while let Some(at) = self.table.position(|held| held.ask.is_due(post.now)) {
            if self
                .table
                .get(at)
                .is_some_and(|held| held.ask.is_exhausted())
            {
                self.table.take(at);
            } else {
                self.tell(post, at);
            }
        }
    }

    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        self.table.iter().map(|held| held.ask.due()).min()
    }

    fn tell(&mut self, post: &mut Post<'_>, at: usize) {
        if let Some(held) = self.table.get_mut(at) {
            let patience = post.patience_for(held.to);
            held.ask.asked(post.now, patience);
            withdraw(post, (held.to, held.request));
        }
    }
}

/// A move to nowhere.
fn withdraw(post: &mut Post<'_>, (to, request): Caller) {
    let nowhere = NodeId::EVERYONE;
    post.send(
        to,
        Message::Move(Move {
            request,
            to: nowhere,
        }),
    );
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use nimblenet_tasklet::Fault;

    use super::*;
    use crate::node::stage::{NEAR, OTHER, Stage};
    use crate::wire::{Answer, Wait};

    fn told(stage: &mut Stage) -> Option<(NodeId, u32)> {
        let frame = stage.sent()?;
        let Message::Move(Move { request, to }) = frame.message else {
            panic!("{:?}", frame.message);
        };
        assert_eq!(to, NodeId::EVERYONE);
        Some((frame.destination, request))
    }

    fn hear(calls: &mut Withdrawals, stage: &mut Stage, from: NodeId, answer: Answer<'_>) -> bool {
        let request = 7;
        calls.handle_return(&mut stage.post(), from, &Return { request, answer })
    }

    #[test]
    fn a_node_is_told_until_it_says_that_the_call_has_ended() {
        let (mut stage, mut calls) = (Stage::new(), Withdrawals::new(2));
        calls.begin(&mut stage.post(), (NEAR, 7));
        assert_eq!(told(&mut stage), Some((NEAR, 7)));
        let works = Answer::Working(1, Wait::default());
        assert!(
            hear(&mut calls, &mut stage, NEAR, works),
            "it is about that call"
        );
        assert_eq!(told(&mut stage), None, "it has been told");
        stage.now = calls.poll_timeout().unwrap();
        calls.handle_timeout(&mut stage.post());
        assert_eq!(told(&mut stage), Some((NEAR, 7)));
        assert!(hear(
            &mut calls,
            &mut stage,
            NEAR,
            Answer::Failed(Fault::Cancelled, None)
        ));
        assert_eq!((calls.count(), calls.poll_timeout()), (0, None));
        assert!(
            !hear(&mut calls, &mut stage, NEAR, Answer::Done(&[0x80])),
            "nobody waits for it"
        );
    }

    #[test]
    fn whoever_says_that_it_works_on_the_call_is_told_at_once() {
        let (mut stage, mut calls) = (Stage::new(), Withdrawals::new(2));
        calls.begin(&mut stage.post(), (NEAR, 7));
        assert_eq!(told(&mut stage), Some((NEAR, 7)));
        let works = Answer::Working(1, Wait::default());
        assert!(hear(&mut calls, &mut stage, OTHER, works));
        assert_eq!(told(&mut stage), Some((OTHER, 7)));
        assert!(
            hear(&mut calls, &mut stage, OTHER, Answer::Done(&[0x80])),
            "it was too late"
        );
        assert_eq!(calls.count(), 0);
    }

    #[test]
    fn a_node_that_is_silent_is_told_so_often_and_no_more() {
        let (mut stage, mut calls) = (Stage::new(), Withdrawals::new(1));
        calls.begin(&mut stage.post(), (NEAR, 7));
        calls.begin(&mut stage.post(), (OTHER, 8));
        let mut all = Vec::new();
        while let Some(due) = calls.poll_timeout() {
            all.extend(core::iter::from_fn(|| told(&mut stage)));
            stage.now = due + Duration::from_millis(1);
            calls.handle_timeout(&mut stage.post());
        }
        let near = all.iter().filter(|told| **told == (NEAR, 7)).count();
        assert_eq!(near, usize::from(crate::node::post::ASKS));
        let other = all.iter().filter(|told| **told == (OTHER, 8)).count();
        assert_eq!(other, 1, "there is room for one");
    }
}
