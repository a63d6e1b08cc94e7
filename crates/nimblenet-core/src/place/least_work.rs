//! Least work: a call goes where it will have ended first.

use core::time::Duration;

use super::{Decision, Facts, Neighbour, Place, Placement};

pub(super) static PLACEMENT: Placement = Placement {
    name: "least-work",
    policy: &LeastWork,
};

pub(super) const ABOUT: &str =
    "a call runs where the work before it ends first: here or at a neighbour";

struct LeastWork;

impl Place for LeastWork {
    fn place(&self, facts: &Facts<'_>) -> Decision {
        // What has no work before it here cannot end earlier anywhere else.
        if facts.pinned || facts.wait == Duration::ZERO {
            return Decision::Here;
        }
        let begins = |wait: Duration, lacks: usize| wait + facts.fetch * lacks as u32;
        let there = |other: &Neighbour| begins(other.wait, other.lacks) + other.way;
        let others = facts.neighbours.iter();
        let others = others.filter(|other| Some(other.id) != facts.caller);
        let first = others.min_by_key(|other| (there(other), other.id));
        // A call that gains no more than the waits may be wrong is not worth its packets.
        let here = begins(facts.wait, facts.lacks);
        match first.filter(|first| there(first) + facts.blur < here) {
            Some(first) => Decision::Send(first.id),
            None => Decision::Here,
        }
    }
}
