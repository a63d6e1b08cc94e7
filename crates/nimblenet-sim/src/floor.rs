//! The factory floor: where nodes stand and which of them reach each other.

use core::ops::RangeInclusive;

use nimblenet_tasklet::NodeId;

/// Metres between neighbouring nodes of a row or column.
pub const SPACING_M: f64 = 20.0;
/// The greatest distance between a robot and the node that it talks to, in metres.
pub const CONTACT_RADIUS_M: f64 = 10.0;

/// A point on the floor, in metres from its corner.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Position {
    /// Along the rows.
    pub x_m: f64,
    /// Along the columns.
    pub y_m: f64,
}

/// A floor with a grid of cells, a node in the middle of each. Nodes are numbered from 1, row by
/// row; the last row may be shorter than the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Floor {
    columns: u16,
    nodes: u16,
}

impl Floor {
    /// The floor of the paper: 4 x 3 nodes on 80 m x 60 m.
    pub const PAPER: Self = Self {
        columns: 4,
        nodes: 12,
    };

    /// A floor for `nodes` nodes whose sides are as near to 4 : 3 as the grid allows.
    ///
    /// # Panics
    /// If `nodes` is 0.
    pub fn new(nodes: u16) -> Self {
        assert!(nodes > 0, "a floor has at least one node");
        let columns = (f64::from(nodes) * 4.0 / 3.0).sqrt().round() as u16;
        let columns = columns.min(nodes);
        Self { columns, nodes }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> u16 {
        self.nodes
    }

    /// Nodes of a full row.
    pub fn columns(&self) -> u16 {
        self.columns
    }

    /// Rows, the last one included if it is shorter.
    pub fn rows(&self) -> u16 {
        self.nodes.div_ceil(self.columns)
    }

    /// Length of the floor along its rows.
    pub fn width_m(&self) -> f64 {
        f64::from(self.columns) * SPACING_M
    }

    /// Length of the floor along its columns.
    pub fn height_m(&self) -> f64 {
        f64::from(self.rows()) * SPACING_M
    }

    /// Every node, in the order of their ids.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.numbers().map(NodeId)
    }

    /// Where a node of this floor stands.
    pub fn position(&self, node: NodeId) -> Position {
        debug_assert!(self.numbers().contains(&node.0), "{node:?} is elsewhere");
        let at = node.0.saturating_sub(1);
        let middle = |cell: u16| (f64::from(cell) + 0.5) * SPACING_M;
        Position {
            x_m: middle(at % self.columns),
            y_m: middle(at / self.columns),
        }
    }

    /// Pairs of nodes that hear each other: those next to each other in a row or column. The
    /// lower id comes first.
    pub fn links(&self) -> impl Iterator<Item = (NodeId, NodeId)> + use<> {
        let floor = *self;
        let pairs = self.numbers().flat_map(move |node| {
            let right = (node % floor.columns != 0).then_some(node + 1);
            let below = node.checked_add(floor.columns);
            [right, below]
                .into_iter()
                .flatten()
                .map(move |other| (node, other))
        });
        let inside = move |&(_, other): &(u16, u16)| other <= floor.nodes;
        pairs
            .filter(inside)
            .map(|(node, other)| (NodeId(node), NodeId(other)))
    }

    /// The node that registries are attached to.
    pub fn gateway(&self) -> NodeId {
        NodeId(1)
    }

    /// The node that a robot at this point talks to: the nearest within the contact radius, the
    /// one with the lower id if two are equally near.
    pub fn node_in_contact(&self, at: Position) -> Option<NodeId> {
        // The cell around the point has the nearest node in its middle. A point between two
        // cells belongs to the lower one.
        let cell = |metres: f64| ((metres / SPACING_M).ceil() - 1.0).max(0.0) as u16;
        let (column, row) = (cell(at.x_m), cell(at.y_m));
        if column >= self.columns || row >= self.rows() {
            return None;
        }
        let node = NodeId(row * self.columns + column + 1);
        if node.0 > self.nodes {
            return None;
        }
        let middle = self.position(node);
        let (x_m, y_m) = (at.x_m - middle.x_m, at.y_m - middle.y_m);
        // Compare squares: the result of `hypot` may differ from machine to machine.
        (x_m * x_m + y_m * y_m <= CONTACT_RADIUS_M * CONTACT_RADIUS_M).then_some(node)
    }

    fn numbers(&self) -> RangeInclusive<u16> {
        1..=self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(floor: Floor, x_m: f64, y_m: f64) -> Option<u16> {
        floor
            .node_in_contact(Position { x_m, y_m })
            .map(|node| node.0)
    }

    #[test]
    fn twelve_nodes_stand_as_on_the_floor_of_the_paper() {
        let floor = Floor::new(12);
        assert_eq!(floor, Floor::PAPER);
        assert_eq!((floor.width_m(), floor.height_m()), (80.0, 60.0));
        let place = |id| floor.position(NodeId(id));
        assert_eq!((place(1).x_m, place(1).y_m), (10.0, 10.0));
        assert_eq!((place(12).x_m, place(12).y_m), (70.0, 50.0));
        let links: Vec<_> = floor.links().map(|(a, b)| (a.0, b.0)).collect();
        let expected = [
            (1, 2),
            (1, 5),
            (2, 3),
            (2, 6),
            (3, 4),
            (3, 7),
            (4, 8),
            (5, 6),
            (5, 9),
            (6, 7),
            (6, 10),
            (7, 8),
            (7, 11),
            (8, 12),
            (9, 10),
            (10, 11),
            (11, 12),
        ];
        assert_eq!(links, expected);
    }

    #[test]
    fn other_numbers_of_nodes_keep_the_proportion_and_stay_connected() {
        for (nodes, columns, rows) in [
            (1, 1, 1),
            (2, 2, 1),
            (6, 3, 2),
            (7, 3, 3),
            (48, 8, 6),
            (768, 32, 24),
        ] {
            let floor = Floor::new(nodes);
            assert_eq!((floor.columns(), floor.rows()), (columns, rows));
        }
        for nodes in 1..200 {
            let mut reached = vec![false; usize::from(nodes) + 1];
            reached[1] = true;
            // Links come in the order of their lower id, so one pass is enough on a grid.
            for (a, b) in Floor::new(nodes).links() {
                assert!(a < b && b.0 <= nodes && reached[usize::from(a.0)]);
                reached[usize::from(b.0)] = true;
            }
            assert!(reached[1..].iter().all(|reached| *reached), "{nodes}");
        }
    }

    #[test]
    fn a_robot_talks_to_the_nearest_node_within_the_radius() {
        let floor = Floor::PAPER;
        assert_eq!(contact(floor, 10.0, 10.0), Some(1));
        assert_eq!(contact(floor, 0.0, 0.0), None);
        assert_eq!(contact(floor, 20.0, 10.0), Some(1));
        assert_eq!(contact(floor, 20.1, 10.0), Some(2));
        assert_eq!(contact(floor, 80.0, 50.0), Some(12));
        assert_eq!(contact(floor, 20.0, 20.0), None);
        assert_eq!(contact(floor, 90.0, 10.0), None);
        assert_eq!(contact(Floor::new(7), 30.0, 50.0), None);
    }
}
