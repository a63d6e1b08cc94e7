//! Steal: a node that has nothing to do takes a call that would wait at a neighbour.

use core::time::Duration;

use super::{Decision, Facts, Place, Placement};

pub(super) static PLACEMENT: Placement = Placement {
    name: "steal",
    policy: &Steal,
};

pub(super) const ABOUT: &str =
    "a call runs on the node that takes it, unless it waits there and a neighbour has nothing to do";

struct Steal;

impl Place for Steal {
    fn place(&self, facts: &Facts<'_>) -> Decision {
        if facts.wait <= facts.blur {
            return Decision::Here;
        }
        let others = facts.neighbours.iter().filter(|other| Some(other.id) != facts.caller);
        let idle = others.filter(|other| other.wait == Duration::ZERO);
        match idle.min_by_key(|other| (other.lacks, other.way, other.id)) {
            Some(idle) => Decision::Send(idle.id),
            None => Decision::Here,
        }
    }
}
