//! How full the tables of a node are.

use super::Node;

/// A table of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occupancy {
    /// What it holds, in the plural.
    pub name: &'static str,
    /// How many of them.
    pub held: usize,
    /// The most that it may hold.
    pub limit: usize,
}

impl Node {
    /// How full each table is.
    pub fn occupancy(&self) -> [Occupancy; 7] {
        let (limits, mesh) = (&self.ground.config.limits, &self.ground.mesh);
        let table = |name, held, limit| Occupancy { name, held, limit };
        let topology = &self.ground.config.topology;
        let (fixed, known) = (topology.neighbours.len(), topology.routes.len());
        let jobs = self.jobs();
        let (peers, routes) = (mesh.peers(), mesh.routes());
        let neighbours = mesh.neighbours().count();
        [
            table("jobs", jobs, limits.jobs),
            table("peers", peers, limits.peers),
            table("routes", routes, limits.routes.max(known)),
            table("neighbours", neighbours, limits.neighbours.max(fixed)),
            table("pages", self.ground.holders.pages(), limits.holdings),
            table("servings", self.servings.count(), limits.servings),
            table(
                "modules",
                self.ground.cache.tasklets().count(),
                limits.cache_entries,
            ),
        ]
    }
}
