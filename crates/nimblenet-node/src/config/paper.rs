//! The mesh as the paper's protocol has it.

use std::path::Path;

use nimblenet_core::{LinkAddress, LinkId, StaticNeighbour, StaticRoute};
use serde::Deserialize;

use super::values::Id;
use super::{BadConfig, MeshConfig};

/// The mesh as a node of the paper's protocol knows it from its start: it learns nothing more.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PaperTopology {
    /// The ids of the neighbours, in the order of their addresses.
    pub neighbours: Vec<StaticNeighbour>,
    /// The routes to all other nodes.
    pub routes: Vec<StaticRoute>,
}

/// The protocol of the paper: which nodes the neighbours are, and the neighbour and the number of
/// links on the way to each other node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PaperFile {
    neighbours: Vec<Id>,
    routes: Vec<(Id, Id, u8)>,
}

impl PaperFile {
    pub(super) fn topology(self) -> PaperTopology {
        let neighbours = self.neighbours.into_iter().zip(0..);
        let neighbours = neighbours.map(|(Id(id), at)| StaticNeighbour {
            id,
            link: LinkId(0),
            address: LinkAddress(at),
        });
        let routes = self.routes.into_iter();
        let routes = routes.map(|(Id(destination), Id(next), hops)| StaticRoute {
            destination,
            next,
            hops,
        });
        PaperTopology {
            neighbours: neighbours.collect(),
            routes: routes.collect(),
        }
    }
}

/// Checks that the topology is about the neighbours that there are.
pub(super) fn check(mesh: &MeshConfig, text: &str, path: &Path) -> Result<(), BadConfig> {
    let Some(paper) = &mesh.paper else {
        return Ok(());
    };
    let addresses = mesh.neighbours.len();
    let ids = paper.neighbours.len();
    if ids != addresses {
        let message =
            format!("`paper` has ids of {ids} neighbours, but there are {addresses} addresses");
        return Err(BadConfig::at_key(path, text, ("neighbours", ""), message));
    }
    let is_known = |id| paper.neighbours.iter().any(|it| it.id == id);
    if let Some(lost) = paper.routes.iter().find(|route| !is_known(route.next)) {
        let StaticRoute {
            destination, next, ..
        } = lost;
        let message = format!("the route to {destination} goes to {next}, which is no neighbour");
        return Err(BadConfig::at_key(path, text, ("routes", ""), message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::NodeId;

    use super::super::NodeConfig;
    use super::*;

    fn path() -> &'static Path {
        Path::new("x.toml")
    }

    #[test]
    fn the_papers_protocol_needs_neighbours_and_routes_and_brings_its_eviction() {
        let text = "id = 1\nlisten = \"127.0.0.1:4001\"\nneighbours = [\"127.0.0.1:5\"]\n";
        let usual = NodeConfig::parse(text, path()).unwrap();
        assert_eq!(usual.mesh.paper, None);
        assert_eq!(usual.eviction.name, "nearby");
        let paper = format!("{text}[paper]\nneighbours = [2]\nroutes = [[2, 2, 1], [3, 2, 2]]\n");
        let paper = NodeConfig::parse(&paper, path()).unwrap();
        assert_eq!(paper.eviction.name, "lfu");
        let topology = paper.mesh.paper.unwrap();
        assert_eq!(topology.neighbours[0].id, NodeId(2));
        let [_, far] = topology.routes[..] else {
            panic!("{topology:?}");
        };
        assert_eq!(
            (far.destination, far.next, far.hops),
            (NodeId(3), NodeId(2), 2)
        );
    }
}
