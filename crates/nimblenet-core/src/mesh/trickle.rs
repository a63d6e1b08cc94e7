//! The Trickle timer (RFC 6206; spec/behaviour.md, section 2): often after a change, seldom when
//! nothing happens.
//!
//! Suppression (the constant k) is left out: a hello is also the sign that a node is there, so
//! hearing others' does not replace one's own.

use core::time::Duration;

use crate::config::{FULL, HelloConfig};
use crate::random::Random;
use crate::time::{Instant, micros};

#[derive(Debug)]
pub(crate) struct Trickle {
    config: HelloConfig,
    interval: Duration,
    interval_ends: Instant,
    /// When to speak in this interval; none if that has happened.
    fires: Option<Instant>,
    /// When to speak besides, for a neighbour that waits.
    also: Option<Instant>,
}

impl Trickle {
    pub(crate) fn new(config: HelloConfig, now: Instant, random: &mut Random) -> Self {
        let mut timer = Self {
            config,
            interval: config.min,
            interval_ends: now,
            fires: None,
            also: None,
        };
        timer.begin(now, random);
        timer
    }

    /// Something changed (RFC 6206 section 4.2, rule 6).
    pub(crate) fn reset(&mut self, now: Instant, random: &mut Random) {
        if self.interval > self.config.min {
            self.interval = self.config.min;
            self.begin(now, random);
        }
    }

    /// A neighbour waits for a word, and nothing has changed: speaks within a quarter of the shortest
    /// interval. To repeat what was said, if `answered` is how long words take there and back, it waits until
    /// an answer can have come. After that it speaks as often as before.
    pub(crate) fn speak_also(
        &mut self,
        now: Instant,
        answered: Option<Duration>,
        random: &mut Random,
    ) {
        let min = self.config.min;
        let (least, span) = match answered.filter(|_| FULL) {
            Some(travel) => ((min / 4 + travel).max(min / 2), min / 2),
            None => (Duration::ZERO, min / 4),
        };
        let within = random.below(micros(span).max(1));
        let soon = now + least + Duration::from_micros(within);
        let at = if FULL {
            &mut self.also
        } else {
            &mut self.fires
        };
        *at = Some(at.map_or(soon, |at| at.min(soon)));
    }

    /// The neighbour does not wait any more.
    pub(crate) fn fall_silent(&mut self) {
        self.also = None;
    }

    /// There are news that others wait for: speaks within a quarter of the shortest interval.
    pub(crate) fn hurry(&mut self, now: Instant, random: &mut Random) {
        self.reset(now, random);
        let within = random.below(micros(self.config.min / 4).max(1));
        let soon = now + Duration::from_micros(within);
        self.fires = Some(self.fires.map_or(soon, |fires| fires.min(soon)));
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        let regular = self.fires.unwrap_or(self.interval_ends);
        let also = self.also.filter(|_| FULL);
        also.map_or(regular, |also| also.min(regular))
    }

    /// True if it is time to speak.
    pub(crate) fn handle_timeout(&mut self, now: Instant, random: &mut Random) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let speak = due(self.fires) || FULL && due(self.also);
        if speak {
            self.fires = None;
            if FULL {
                self.also = None;
            }
        }
        if self.interval_ends <= now {
            self.interval = (self.interval * 2).min(self.config.max);
            self.begin(now, random);
        }
        speak
    }

    /// Picks a moment in the second half of a new interval (rule 2).
    fn begin(&mut self, now: Instant, random: &mut Random) {
        let half = self.interval / 2;
        let within = random.below(micros(half).max(1));
        let fires = now + half + Duration::from_micros(within);
        self.fires = Some(self.fires.map_or(fires, |held| held.min(fires)));
        self.interval_ends = now + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_double_up_to_the_longest_and_a_change_starts_over() {
        let config = HelloConfig {
            min: Duration::from_millis(100),
            max: Duration::from_millis(800),
        };
        let mut random = Random::new(1);
        let mut timer = Trickle::new(config, Instant::ZERO, &mut random);
        let mut spoken = 0;
        let mut now = Instant::ZERO;
        while now < Instant::from_micros(10_000_000) {
            now = timer.poll_timeout();
            spoken += u32::from(timer.handle_timeout(now, &mut random));
        }
        // 100 + 200 + 400 ms, then 800 ms each.
        assert!((14..=16).contains(&spoken), "{spoken}");
        timer.reset(now, &mut random);
        assert!(timer.poll_timeout() - now <= config.min);
    }

    #[test]
    fn a_word_for_a_neighbour_is_said_soon_or_not_at_all_if_it_waits_no_more() {
        let config = HelloConfig {
            min: Duration::from_millis(100),
            max: Duration::from_secs(64),
        };
        let mut random = Random::new(2);
        let mut timer = Trickle::new(config, Instant::ZERO, &mut random);
        let mut now = Instant::ZERO;
        while now < Instant::from_micros(20_000_000) {
            now = timer.poll_timeout();
            timer.handle_timeout(now, &mut random);
        }
        let regular = timer.poll_timeout();
        assert!(regular - now > config.min);
        timer.speak_also(now, Some(Duration::ZERO), &mut random);
        assert!(timer.poll_timeout() - now <= config.min);
        timer.fall_silent();
        assert_eq!(timer.poll_timeout(), regular);
        timer.speak_also(now, None, &mut random);
        assert!(timer.handle_timeout(timer.poll_timeout(), &mut random));
    }

    #[test]
    fn a_question_is_not_asked_again_before_its_answer_can_have_come() {
        let config = HelloConfig {
            min: Duration::from_millis(100),
            max: Duration::from_secs(64),
        };
        let travel = Duration::from_millis(200);
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut timer = Trickle::new(config, Instant::ZERO, &mut random);
            timer.fires = None;
            timer.interval_ends = Instant::from_micros(1_000_000);
            timer.speak_also(Instant::ZERO, Some(travel), &mut random);
            let after = timer.poll_timeout() - Instant::ZERO;
            let first = travel + config.min / 4;
            assert!(after >= first && after <= first + config.min / 2);
        }
    }
}
