//! Least work: a call goes where it will have ended first.

use super::{Decision, Facts, Neighbour, Place, Placement};

pub(super) static PLACEMENT: Placement = Placement {
    name: "least-work",
    policy: &LeastWork,
};

pub(super) const ABOUT: &str =
    "a call runs where it will have ended first: here or at a neighbour";

/// So often the time of a fetch counts: its packets also keep the links from others.
const FETCH_COST: u32 = 2;

struct LeastWork;

impl Place for LeastWork {
    fn place(&self, facts: &Facts<'_>) -> Decision {
        let fetch = facts.fetch * FETCH_COST;
        let there = |other: &Neighbour| {
            other.wait + other.work + other.way + fetch * other.lacks as u32
        };
        let others = || facts.neighbours.iter().filter(|other| Some(other.id) != facts.caller);
        let Some(first) = others().map(there).min() else {
            return Decision::Here;
        };
        // Nobody knows which of these is the first, so the one that fetches least takes the call.
        let firsts = others().filter(|other| there(other) <= first + facts.blur);
        let best = firsts.min_by_key(|other| (other.lacks, there(other), other.id));
        // A call that gains little more than the waits may be wrong is not worth its packets.
        let gain = facts.blur + facts.blur / 2;
        let here = facts.wait + facts.work + fetch * facts.lacks as u32;
        // What has no work before it here stays, unless it runs faster there.
        let stays = |best: &Neighbour| facts.wait.is_zero() && best.work >= facts.work;
        match best.filter(|best| there(best) + gain < here && !stays(best)) {
            Some(best) => Decision::Send(best.id),
            None => Decision::Here,
        }
    }
}
