//! Abilities (spec/behaviour.md, section 13): which tasklets this node can run.

use alloc::vec::Vec;

use nimblenet_tasklet::{Entry, TaskletName};

/// What the executors of a node can run, for placement: a call that needs something else goes to a
/// neighbour that can run all of it, if there is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// Modules: the node has an interpreter. A node without one takes no calls that others place.
    pub modules: bool,
    /// The native tasklets that the device has.
    pub natives: Vec<TaskletName>,
}

impl Abilities {
    /// An interpreter and no native tasklets.
    pub const fn new() -> Self {
        Self {
            modules: true,
            natives: Vec::new(),
        }
    }

    /// Whether the node can run the tasklet `name`, which has this entry.
    pub(in crate::node) fn suit(&self, name: &TaskletName, entry: &Entry<'_>) -> bool {
        match entry.has_module() {
            true => self.modules,
            false => self.natives.contains(name),
        }
    }
}

impl Default for Abilities {
    fn default() -> Self {
        Self::new()
    }
}
