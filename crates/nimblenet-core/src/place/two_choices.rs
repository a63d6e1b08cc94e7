//! Two choices: a call goes to the better one of two neighbours that chance has chosen.

use core::time::Duration;

use super::{Decision, Facts, Neighbour, Place, Placement};

pub(super) static PLACEMENT: Placement = Placement {
    name: "two-choices",
    policy: &TwoChoices,
};

pub(super) const ABOUT: &str =
    "a call runs here or at one of two neighbours that chance has chosen, where the work before it ends first";

struct TwoChoices;

impl Place for TwoChoices {
    fn place(&self, facts: &Facts<'_>) -> Decision {
        if facts.wait == Duration::ZERO {
            return Decision::Here;
        }
        let others = || facts.neighbours.iter().filter(|other| Some(other.id) != facts.caller);
        let count = others().count() as u32;
        if count == 0 {
            return Decision::Here;
        }
        // Each half of the random number chooses one; the second is another one than the first.
        let (low, high) = (facts.chance & 0xffff, facts.chance >> 16);
        let one = low % count;
        let two = (one + 1 + high % (count - 1).max(1)) % count;
        let chosen = others().zip(0..).filter(|(_, at)| [one, two].contains(at));
        let there = |other: &Neighbour| other.wait + other.way;
        let first = chosen.map(|(other, _)| other).min_by_key(|other| (there(other), other.id));
        match first.filter(|first| there(first) + facts.blur < facts.wait) {
            Some(first) => Decision::Send(first.id),
            None => Decision::Here,
        }
    }
}
