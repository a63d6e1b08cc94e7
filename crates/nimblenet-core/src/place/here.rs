//! Here: a node runs the calls that it takes, as the nodes of the paper do.

use super::{Decision, Facts, Place, Placement};

pub(super) static PLACEMENT: Placement = Placement {
    name: "here",
    policy: &Here,
};

pub(super) const ABOUT: &str = "a call runs on the node that takes it";

struct Here;

impl Place for Here {
    fn needs_facts(&self) -> bool {
        false
    }

    fn place(&self, _: &Facts<'_>) -> Decision {
        Decision::Here
    }
}
