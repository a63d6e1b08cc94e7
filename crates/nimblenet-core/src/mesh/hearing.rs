//! Whether a neighbour hears this node (spec/behaviour.md, section 3).
//!
//! That a node hears another says nothing of the other direction. So it asks, in its hellos: first when it
//! meets a neighbour, and again when what it sends over that neighbour is not answered. Who does not say in
//! its own hellos that it was asked is deaf, until it does.

use core::time::Duration;

use crate::config::FULL;
use crate::time::Instant;

/// With so many hellos a neighbour is asked in vain until it counts as deaf.
const HEARING_ASKS: u8 = 4;
/// A neighbour that has said that it hears this node is not asked again for this long.
const HEARING_SETTLES: Duration = Duration::from_secs(3);

/// What is known of the way to a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hearing {
    /// None if it need not be asked; else how many hellos have asked it.
    asks: Option<u8>,
    /// When it last has shown that it hears this node, or the start of time.
    shown: Instant,
    /// Whether it has asked the same, and gets the answer with the next hello.
    pub(super) owes: bool,
    /// Whether a packet was flooded over it that may have been sent in vain before.
    hinted: bool,
}

impl Hearing {
    /// Nothing is known of it, and it is to be asked.
    pub(super) const UNKNOWN: Self = Self {
        asks: if FULL { Some(0) } else { None },
        shown: Instant::ZERO,
        owes: false,
        hinted: false,
    };

    /// What was sent over it was not answered; true if it is to be asked for that.
    pub(super) fn doubt(&mut self, now: Instant) -> bool {
        let settled = self.shown > Instant::ZERO && now - self.shown <= HEARING_SETTLES;
        let begins = FULL && self.asks.is_none() && !settled;
        if begins {
            self.asks = Some(0);
        }
        begins
    }

    /// A packet for one node was flooded over it, from it or to it: the first time because nobody knows a
    /// way yet, as it seems. True if it is to be asked for that.
    pub(super) fn hint(&mut self, now: Instant) -> bool {
        FULL && core::mem::replace(&mut self.hinted, true) && self.doubt(now)
    }

    /// Whether the next hello asks it.
    pub(super) fn is_asked(self) -> bool {
        FULL && self.asks.is_some()
    }

    /// A hello asks it.
    pub(super) fn ask(&mut self) {
        self.asks = self.asks.map(|asks| asks.saturating_add(1));
    }

    /// It has shown that it hears this node.
    pub(super) fn show(&mut self, now: Instant) {
        self.asks = None;
        self.hinted = false;
        self.shown = now;
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
    fn who_does_not_answer_four_hellos_is_deaf_until_it_does() {
        let now = Instant::from_micros(1);
        let mut hearing = Hearing::UNKNOWN;
        for _ in 0..HEARING_ASKS {
            assert!(hearing.is_asked() && !hearing.is_deaf());
            hearing.ask();
        }
        assert!(hearing.is_deaf() && hearing.is_asked());
        hearing.answer(now);
        assert!(!hearing.is_deaf() && !hearing.is_asked());
    }

    #[test]
    fn an_answer_settles_doubts_for_a_while_and_one_to_an_earlier_question_does_not() {
        let now = Instant::from_micros(1);
        let mut hearing = Hearing::UNKNOWN;
        hearing.ask();
        hearing.answer(now);
        assert!(!hearing.doubt(now + HEARING_SETTLES));
        let later = now + HEARING_SETTLES + Duration::from_micros(1);
        assert!(hearing.doubt(later) && !hearing.doubt(later), "once");
        hearing.answer(later);
        assert!(hearing.is_asked());
        hearing.ask();
        hearing.answer(later);
        assert!(!hearing.is_asked());
    }
}
