//! How full the tables of a node are.

use super::post::Ground;

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

impl Occupancy {
    /// How full each table is, if there are so many jobs, calls that wait, answers and servings.
    pub(in crate::node) fn of(
        ground: &Ground,
        (jobs, waiting, answers): (usize, usize, usize),
        servings: usize,
    ) -> [Self; 9] {
        let (limits, mesh) = (&ground.config.limits, &ground.mesh);
        let table = |name, held, limit| Self { name, held, limit };
        let topology = &ground.config.topology;
        let (fixed, known) = (topology.neighbours.len(), topology.routes.len());
        let (peers, routes) = (mesh.peers(), mesh.routes());
        let neighbours = mesh.neighbours().count();
        let modules = ground.cache.tasklets().count();
        [
            table("jobs", jobs, limits.jobs),
            table("waiting", waiting, limits.waiting),
            table("answers", answers, limits.answers),
            table("peers", peers, limits.peers),
            table("routes", routes, limits.routes.max(known)),
            table("neighbours", neighbours, limits.neighbours.max(fixed)),
            table("pages", ground.holders.pages(), limits.holdings),
            table("servings", servings, limits.servings),
            table("modules", modules, limits.cache_entries),
        ]
    }
}
