//! Whether a neighbour hears this node (spec/behaviour.md, section 3).
//!
//! That a node hears another says nothing of the other direction. So it asks, in its hellos: first when it
//! meets a neighbour, and again when what it sends over that neighbour is not answered twice. Who does not
//! say in its own hellos that it was asked is deaf, until it does.
//!
//! Links lose frames, and one answer that is missing is no reason to ask: hellos would cost more than what
//! was lost. So a doubt waits for a second one, and whatever the neighbour answers in between ends it. Of
//! packets that are flooded since nobody knows a way, only those are a sign that come again.

use core::num::NonZeroU32;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::config::FULL;
use crate::time::Instant;

/// With so many hellos a neighbour is asked in vain until it counts as deaf.
const HEARING_ASKS: u8 = 5;
/// Hellos count as one question if they come within this time.
const ANSWER_TAKES: Duration = Duration::from_millis(120);
/// A neighbour that has said that it hears this node is not asked again for this long.
const HEARING_SETTLES: Duration = Duration::from_secs(3);

/// Floods from one node for another say something only if they come again in so short a time.
const HINTS_TOGETHER: Duration = Duration::from_secs(5);

/// A moment in little room: its milliseconds, which begin anew after 24 days. What is asked a second time
/// for that costs a hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp(NonZeroU32);

impl Stamp {
    fn of(now: Instant) -> Self {
        Self(NonZeroU32::MIN.saturating_add((now.as_micros() / 1000) as u32 & (u32::MAX >> 1)))
    }

    /// Whether it is no longer ago than this.
    fn is_within(self, time: Duration, now: Instant) -> bool {
        let ago = Self::of(now).0.get().wrapping_sub(self.0.get()) & (u32::MAX >> 1);
        u128::from(ago) <= time.as_millis()
    }
}

/// What is known of the way to a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hearing {
    /// None if it need not be asked; else how many hellos have asked it.
    asks: Option<u8>,
    /// When a hello has asked it that counts.
    asked: Option<Stamp>,
    /// When it last has shown that it hears this node.
    shown: Option<Stamp>,
    /// Whether it has asked the same, and gets the answer with the next hello.
    pub(super) owes: bool,
    /// Whether it was told that, and has not said a hello without the question since.
    told: bool,
    /// When a packet was flooded over it that may have been sent in vain before.
    hinted: Option<Stamp>,
    /// From which node that was, and for which.
    pair: u16,
    /// Whether something that was sent over it was not answered.
    doubted: bool,
}

impl Hearing {
    /// Nothing is known of it, and it is to be asked.
    pub(super) const UNKNOWN: Self = Self {
        asks: if FULL { Some(0) } else { None },
        asked: None,
        shown: None,
        owes: false,
        told: false,
        hinted: None,
        pair: 0,
        doubted: false,
    };

    /// What was sent over it was not answered, the first time because something got lost, as it seems. True
    /// if it is to be asked for that.
    pub(super) fn doubt(&mut self, now: Instant) -> bool {
        FULL && !self.is_settled(now) && core::mem::replace(&mut self.doubted, true) && self.begin()
    }

    /// A packet from one node for another was flooded over it, from it or to it: the first time because
    /// nobody knows a way yet, as it seems. True if it is to be asked for that.
    pub(super) fn hint(&mut self, now: Instant, (from, to): (NodeId, NodeId)) -> bool {
        let before = self.hinted.replace(Stamp::of(now));
        let pair = from.0.rotate_left(7) ^ to.0;
        let same = core::mem::replace(&mut self.pair, pair) == pair;
        let again = same && before.is_some_and(|before| before.is_within(HINTS_TOGETHER, now));
        FULL && again && !self.is_settled(now) && self.begin()
    }

    /// What was sent over it, or came over it, was not answered again and again. True if it is to be asked for
    /// that.
    pub(super) fn suspect(&mut self, now: Instant) -> bool {
        FULL && !self.is_settled(now) && self.begin()
    }

    /// It asks whether this node hears it. If it asks again although it was told, it may not hear the
    /// answers: so it is asked too.
    pub(super) fn handle_ask(&mut self, now: Instant) {
        self.owes = true;
        if FULL && self.told && !self.is_settled(now) {
            self.begin();
        }
    }

    /// Its hello does not ask whether this node hears it.
    pub(super) fn handle_no_ask(&mut self) {
        self.told = false;
    }

    /// It is told that this node hears it; true if it has asked for that.
    pub(super) fn tell(&mut self) -> bool {
        let owed = core::mem::take(&mut self.owes);
        self.told |= owed;
        owed
    }

    /// Something came from it that answers what was sent over it.
    pub(super) fn soothe(&mut self) {
        (self.doubted, self.hinted) = (false, None);
    }

    /// Whether it has shown lately that it hears this node.
    fn is_settled(self, now: Instant) -> bool {
        self.shown
            .is_some_and(|shown| shown.is_within(HEARING_SETTLES, now))
    }

    /// Begins to ask it; false if it is asked already.
    fn begin(&mut self) -> bool {
        let begins = self.asks.is_none();
        if begins {
            self.asks = Some(0);
        }
        begins
    }

    /// Whether the next hello asks it.
    pub(super) fn is_asked(self) -> bool {
        FULL && self.asks.is_some()
    }

    /// A hello asks it. Hellos that come one right after the other count as one: answers take their time.
    pub(super) fn ask(&mut self, now: Instant) {
        let waited = |asked: Stamp| !asked.is_within(ANSWER_TAKES, now);
        if self.is_deaf() || self.asked.is_none_or(waited) || self.asks == Some(0) {
            self.asks = self.asks.map(|asks| asks.saturating_add(1));
            self.asked = Some(Stamp::of(now));
        }
    }

    /// Whether it was asked in vain, as it seems.
    pub(super) fn is_asked_again(self) -> bool {
        FULL && self.asks.is_some_and(|asks| asks > 1)
    }

    /// It has shown that it hears this node.
    pub(super) fn show(&mut self, now: Instant) {
        self.asks = None;
        self.shown = Some(Stamp::of(now));
        self.soothe();
    }

    /// It has answered, unless that was an earlier question.
    pub(super) fn answer(&mut self, now: Instant) {
        if self.asks != Some(0) {
            self.show(now);
        }
    }

    /// Whether the last hello that asked it was the one after which it is deaf.
    pub(super) fn turns_deaf(self) -> bool {
        FULL && self.asks == Some(HEARING_ASKS)
    }

    /// Whether it seems not to hear this node.
    pub(super) fn is_deaf(self) -> bool {
        FULL && self.asks.is_some_and(|asks| asks >= HEARING_ASKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_five_hellos_is_deaf_until_it_does() {
        let mut now = Instant::from_micros(1);
        let mut hearing = Hearing::UNKNOWN;
        for _ in 0..HEARING_ASKS {
            assert!(hearing.is_asked() && !hearing.is_deaf());
            hearing.ask(now);
            hearing.ask(now + ANSWER_TAKES);
            now = now + ANSWER_TAKES + Duration::from_millis(1);
        }
        assert!(hearing.is_deaf() && hearing.is_asked());
        hearing.answer(now);
        assert!(!hearing.is_deaf() && !hearing.is_asked());
    }

    #[test]
    fn an_answer_settles_doubts_for_a_while_and_one_to_an_earlier_question_does_not() {
        let now = Instant::from_micros(1);
        let mut hearing = Hearing::UNKNOWN;
        hearing.ask(now);
        hearing.answer(now);
        assert!(!hearing.doubt(now + HEARING_SETTLES));
        let later = now + HEARING_SETTLES + Duration::from_millis(1);
        assert!(!hearing.doubt(later), "one frame may be lost");
        hearing.soothe();
        assert!(!hearing.doubt(later), "something was answered");
        assert!(hearing.doubt(later) && !hearing.doubt(later), "once");
        hearing.answer(later);
        assert!(hearing.is_asked());
        hearing.ask(now);
        hearing.answer(later);
        assert!(!hearing.is_asked());
    }

    #[test]
    fn a_neighbour_is_asked_at_once_if_the_origin_of_a_packet_says_that_it_gets_no_answers() {
        let now = Instant::from_micros(1);
        let mut hearing = Hearing::UNKNOWN;
        hearing.show(now);
        assert!(!hearing.suspect(now + HEARING_SETTLES), "it has answered");
        let later = now + HEARING_SETTLES + Duration::from_millis(1);
        assert!(hearing.suspect(later) && hearing.is_asked());
        assert!(!hearing.suspect(later), "once");
    }

    #[test]
    fn floods_over_a_neighbour_are_a_reason_to_ask_if_they_come_again_in_a_short_time() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let pair = |to| (NodeId(7), NodeId(to));
        let mut hearing = Hearing::UNKNOWN;
        hearing.show(at(1));
        for seconds in [10, 20, 30, 40] {
            assert!(!hearing.hint(at(seconds), pair(1)));
        }
        for to in 2..100 {
            assert!(!hearing.hint(at(42), pair(to)), "others ask for a way");
        }
        assert!(hearing.hint(at(44), pair(99)) && hearing.is_asked());
    }

    #[test]
    fn who_asks_again_although_it_was_told_is_asked_too() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut hearing = Hearing::UNKNOWN;
        hearing.show(at(1));
        for _ in 0..2 {
            hearing.handle_ask(at(10_000));
            assert!(!hearing.is_asked(), "it waits for an answer");
            assert!(hearing.tell() && !hearing.tell());
            hearing.handle_no_ask();
        }
        hearing.handle_ask(at(20_000));
        assert!(hearing.tell() && !hearing.is_asked());
        hearing.handle_ask(at(20_200));
        assert!(hearing.is_asked(), "it has not heard the answer");
    }
}
