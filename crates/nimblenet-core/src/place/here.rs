//! Here: a node runs the calls that it takes, as the nodes of the paper do.

use super::{Decision, Facts, Place, Placement};

pub(super) const PLACEMENT: Placement = Placement {
    name: "here",
    about: "a call runs on the node that takes it",
    policy: &Here,
};

struct Here;

impl Place for Here {
    fn place(&self, _: &Facts<'_>) -> Decision {
        Decision::Here
    }
}
