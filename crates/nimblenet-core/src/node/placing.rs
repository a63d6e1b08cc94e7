//! Placing: the facts for the policy that decides where a call runs.

use alloc::vec::Vec;

use nimblenet_tasklet::{NodeId, TaskletRef};

use super::post::Ground;
use crate::catalogue::Catalogue;
use crate::event::CallRequest;
use crate::place::Facts;

/// Where the facts of a call are gathered.
#[derive(Debug)]
pub(super) struct Placing {
    /// Kept so that a call takes no memory.
    neighbours: Vec<NodeId>,
}

impl Placing {
    pub(super) fn new(neighbours: usize) -> Self {
        Self {
            neighbours: Vec::with_capacity(neighbours),
        }
    }

    /// What is known of a call from outside the mesh whose namespace has this catalogue, while
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
