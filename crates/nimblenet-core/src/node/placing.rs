//! Placing: the facts for the policy that places a call.

use alloc::vec::Vec;

use nimblenet_tasklet::{NodeId, TaskletRef};

use super::post::Ground;
use crate::catalogue::Catalogue;
use crate::event::CallRequest;
use crate::place::Facts;

/// Gathers the facts of a call.
#[derive(Debug)]
pub(super) struct Placing {
    /// Kept between calls, so that a call allocates nothing.
    neighbours: Vec<NodeId>,
}

impl Placing {
    pub(super) fn new(neighbours: usize) -> Self {
        Self {
            neighbours: Vec::with_capacity(neighbours),
        }
    }

    /// The facts of a call from outside the mesh whose namespace has this catalogue, while
    /// `backlog` jobs are here; none if the catalogue does not have its tasklet.
    pub(super) fn facts(
        &mut self,
        ground: &Ground,
        catalogue: &Catalogue,
        backlog: usize,
        request: &CallRequest<'_>,
    ) -> Option<Facts<'_>> {
        let entry = catalogue.find(&request.name.name)?;
        let tasklet = TaskletRef {
            namespace: catalogue.id(),
            number: entry.number,
            sequence: entry.sequence,
        };
        self.neighbours.clear();
        self.neighbours.extend(ground.mesh.neighbours());
        self.neighbours.sort_unstable();
        Some(Facts {
            tasklet,
            module_bytes: if entry.has_module() { entry.size } else { 0 },
            cost: entry.terms.cost,
            cached: ground.cache.find(tasklet).is_some(),
            caller: None,
            left: request.deadline,
            backlog,
            executors: ground.config.limits.executors,
            neighbours: &self.neighbours,
        })
    }
}
