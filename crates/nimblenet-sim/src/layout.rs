//! Which nodes there are, and which of them are linked.

use nimblenet_tasklet::NodeId;

/// Nodes and the links between them. The registry is node 0, attached to node 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Every node, the registry included.
    pub nodes: Vec<NodeId>,
    /// Every link.
    pub links: Vec<(NodeId, NodeId)>,
    /// The registry.
    pub registry: NodeId,
}

impl Layout {
    /// The registry and two nodes: 0 - 1 - 2.
    pub fn pair() -> Self {
        Self::line(2)
    }

    /// The registry and nodes 1 to `nodes` in a line, the registry first.
    pub fn line(nodes: u16) -> Self {
        let links = (0..nodes).map(|id| (NodeId(id), NodeId(id + 1))).collect();
        Self {
            nodes: (0..=nodes).map(NodeId).collect(),
            links,
            registry: NodeId(0),
        }
    }

    /// Nodes in rows of `columns`, linked to their neighbours in row and column.
    pub fn grid(columns: u16, rows: u16) -> Self {
        let id = |column: u16, row: u16| NodeId(1 + row * columns + column);
        let mut links = vec![(NodeId(0), NodeId(1))];
        for row in 0..rows {
            for column in 0..columns {
                if column + 1 < columns {
                    links.push((id(column, row), id(column + 1, row)));
                }
                if row + 1 < rows {
                    links.push((id(column, row), id(column, row + 1)));
                }
            }
        }
        let nodes = (0..=columns * rows).map(NodeId).collect();
        Self {
            nodes,
            links,
            registry: NodeId(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_s_grid_has_seventeen_links_and_one_to_the_registry() {
        let grid = Layout::grid(4, 3);
        assert_eq!((grid.nodes.len(), grid.links.len()), (13, 18));
    }
}
