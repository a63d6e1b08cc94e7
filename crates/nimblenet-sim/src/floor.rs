//! The floor: where nodes stand, which of them hear each other, and which one is near a point.

use core::f64::consts::TAU;

use nimblenet_tasklet::NodeId;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

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

impl Position {
    /// The square of the distance to another point. Squares are compared, as the result of `hypot`
    /// differs from machine to machine.
    fn squared(self, other: Self) -> f64 {
        let (x_m, y_m) = (self.x_m - other.x_m, self.y_m - other.y_m);
        x_m * x_m + y_m * y_m
    }
}

/// A floor with nodes, which are numbered from 1. Registries are attached to node 1.
#[derive(Clone, PartialEq, Debug)]
pub struct Floor {
    width_m: f64,
    height_m: f64,
    spacing_m: f64,
    radius_m: f64,
    /// Columns and rows of a grid; none elsewhere.
    grid: Option<(u16, u16)>,
    nodes: Vec<Position>,
    links: Vec<(NodeId, NodeId)>,
    cells: Cells,
}

impl Floor {
    /// The floor of the paper: 4 x 3 nodes on 80 m x 60 m.
    pub fn paper() -> Self {
        Self::grid(12, SPACING_M, CONTACT_RADIUS_M)
    }

    /// Cells of `spacing_m` with a node in the middle of each, row by row, whose sides are as near to
    /// 4 : 3 as the cells allow; the last row may be shorter than the others. Nodes next to each other
    /// in a row or column hear each other.
    ///
    /// # Panics
    /// If `nodes` is 0.
    pub fn grid(nodes: u16, spacing_m: f64, radius_m: f64) -> Self {
        assert!(nodes > 0, "a floor has at least one node");
        let columns = (f64::from(nodes) * 4.0 / 3.0).sqrt().round() as u16;
        Self::cells(nodes, columns, spacing_m, radius_m)
    }

    /// Nodes in one row, each of which hears the two next to it.
    ///
    /// # Panics
    /// If `nodes` is 0.
    pub fn line(nodes: u16, spacing_m: f64, radius_m: f64) -> Self {
        assert!(nodes > 0, "a floor has at least one node");
        Self::cells(nodes, nodes, spacing_m, radius_m)
    }

    fn cells(nodes: u16, columns: u16, spacing_m: f64, radius_m: f64) -> Self {
        let rows = nodes.div_ceil(columns);
        let middle = |cell: u16| (f64::from(cell) + 0.5) * spacing_m;
        let positions = (0..nodes).map(|at| Position {
            x_m: middle(at % columns),
            y_m: middle(at / columns),
        });
        let links = (1..=nodes).flat_map(|node| {
            let right = (node % columns != 0).then_some(node + 1);
            let below = node.checked_add(columns);
            let pairs = [right, below].into_iter().flatten();
            pairs.map(move |other| (node, other))
        });
        let links = links.filter(|(_, other)| *other <= nodes);
        let size_m = [columns, rows].map(|cells| f64::from(cells) * spacing_m);
        let links = links.map(|(a, b)| (NodeId(a), NodeId(b))).collect();
        let mut floor = Self::of(size_m, spacing_m, radius_m, positions.collect(), links);
        floor.grid = Some((columns, rows));
        floor
    }

    /// Nodes on a circle, `spacing_m` apart along it, each of which hears the two next to it.
    ///
    /// # Panics
    /// If `nodes` is 0.
    pub fn ring(nodes: u16, spacing_m: f64, radius_m: f64) -> Self {
        assert!(nodes > 0, "a floor has at least one node");
        let circle_m = f64::from(nodes) * spacing_m / TAU;
        let middle_m = circle_m + spacing_m / 2.0;
        let positions = (0..nodes).map(|at| {
            let (sin, cos) = libm::sincos(TAU * f64::from(at) / f64::from(nodes));
            Position {
                x_m: middle_m + circle_m * cos,
                y_m: middle_m + circle_m * sin,
            }
        });
        let around = (1..nodes).map(|node| (NodeId(node), NodeId(node + 1)));
        let last = (nodes > 2).then_some((NodeId(1), NodeId(nodes)));
        let size_m = [2.0 * middle_m; 2];
        let links = around.chain(last).collect();
        Self::of(size_m, spacing_m, radius_m, positions.collect(), links)
    }

    /// Nodes at random points of a floor with sides of 4 : 3 and an area of `spacing_m` squared for
    /// each. Nodes up to `range_m` apart hear each other. Where parts of the mesh are further apart
    /// than that, the shortest links connect them.
    ///
    /// # Panics
    /// If `nodes` is 0.
    pub fn geometric(
        nodes: u16,
        spacing_m: f64,
        radius_m: f64,
        range_m: f64,
        random: &mut ChaCha8Rng,
    ) -> Self {
        assert!(nodes > 0, "a floor has at least one node");
        let width_m = (f64::from(nodes) * 4.0 / 3.0).sqrt() * spacing_m;
        let size_m = [width_m, width_m * 0.75];
        let positions = (0..nodes).map(|_| {
            let [x_m, y_m] = size_m.map(|size_m| random.random_range(0.0..size_m));
            Position { x_m, y_m }
        });
        let positions: Vec<Position> = positions.collect();
        let mut links = spanning_tree(&positions);
        for (a, from) in (1..).zip(&positions) {
            for (b, to) in (1..).zip(&positions).skip(usize::from(a)) {
                if from.squared(*to) <= range_m * range_m {
                    links.push((NodeId(a), NodeId(b)));
                }
            }
        }
        links.sort_unstable();
        links.dedup();
        Self::of(size_m, spacing_m, radius_m, positions, links)
    }

    fn of(
        [width_m, height_m]: [f64; 2],
        spacing_m: f64,
        radius_m: f64,
        nodes: Vec<Position>,
        links: Vec<(NodeId, NodeId)>,
    ) -> Self {
        let cells = Cells::new([width_m, height_m], radius_m.max(spacing_m), &nodes);
        Self {
            width_m,
            height_m,
            spacing_m,
            radius_m,
            grid: None,
            nodes,
            links,
            cells,
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> u16 {
        self.nodes.len() as u16
    }

    /// Columns and rows, the last one included if it is shorter; none if the floor has no cells.
    pub fn columns_and_rows(&self) -> Option<(u16, u16)> {
        self.grid
    }

    /// Metres between neighbouring nodes; where they stand at random, an area of this squared has
    /// one.
    pub fn spacing_m(&self) -> f64 {
        self.spacing_m
    }

    /// The greatest distance between a robot and the node that it talks to, in metres.
    pub fn radius_m(&self) -> f64 {
        self.radius_m
    }

    /// Length of the floor along its rows.
    pub fn width_m(&self) -> f64 {
        self.width_m
    }

    /// Length of the floor along its columns.
    pub fn height_m(&self) -> f64 {
        self.height_m
    }

    /// Every node, in the order of their ids.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes()).map(NodeId)
    }

    /// Where a node of this floor stands.
    ///
    /// # Panics
    /// If it stands elsewhere.
    pub fn position(&self, node: NodeId) -> Position {
        self.nodes[usize::from(node.0) - 1]
    }

    /// Pairs of nodes that hear each other. The lower id comes first.
    pub fn links(&self) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        self.links.iter().copied()
    }

    /// The node that registries are attached to.
    pub fn gateway(&self) -> NodeId {
        NodeId(1)
    }

    /// The node that a robot at this point talks to: the nearest within the contact radius, the
    /// one with the lower id if two are equally near.
    pub fn node_in_contact(&self, at: Position) -> Option<NodeId> {
        let near = self.cells.around(at).map(|node| {
            let distance = at.squared(self.nodes[usize::from(node)]);
            (distance, NodeId(node + 1))
        });
        let near = near.filter(|(distance, _)| *distance <= self.radius_m * self.radius_m);
        let nearest = near.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        nearest.map(|(_, node)| node)
    }
}

/// The shortest links that connect all points (Prim's algorithm).
fn spanning_tree(points: &[Position]) -> Vec<(NodeId, NodeId)> {
    let mut links = Vec::with_capacity(points.len());
    // The nearest connected point of each that is not connected yet.
    let mut outside: Vec<(f64, usize, usize)> = (1..points.len())
        .map(|at| (points[0].squared(points[at]), at, 0))
        .collect();
    let shortest = |outside: &[(f64, usize, usize)]| {
        let all = outside.iter().enumerate();
        all.min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0))
            .map(|(place, _)| place)
    };
    while let Some(place) = shortest(&outside) {
        let (_, at, to) = outside.swap_remove(place);
        let id = |at: usize| NodeId(at as u16 + 1);
        links.push((id(at.min(to)), id(at.max(to))));
        for (distance, other, nearest) in &mut outside {
            let from_here = points[at].squared(points[*other]);
            if from_here < *distance {
                (*distance, *nearest) = (from_here, at);
            }
        }
    }
    links
}

/// Nodes by squares of the floor, so that those around a point are found without a look at all.
#[derive(Clone, PartialEq, Debug)]
struct Cells {
    side_m: f64,
    columns: usize,
    rows: usize,
    /// For each square, row by row, the places of its nodes.
    nodes: Vec<Vec<u16>>,
}

impl Cells {
    /// Squares with sides of at least the contact radius.
    fn new([width_m, height_m]: [f64; 2], side_m: f64, nodes: &[Position]) -> Self {
        let [columns, rows] = [width_m, height_m].map(|size_m| (size_m / side_m) as usize + 1);
        let mut cells = Self {
            side_m,
            columns,
            rows,
            nodes: vec![Vec::new(); columns * rows],
        };
        for (node, at) in (0..).zip(nodes) {
            let (column, row) = (cells.square(at.x_m, columns), cells.square(at.y_m, rows));
            cells.nodes[row * columns + column].push(node);
        }
        cells
    }

    fn square(&self, metres: f64, squares: usize) -> usize {
        ((metres / self.side_m).max(0.0) as usize).min(squares - 1)
    }

    /// The nodes of the square around a point and of those next to it.
    fn around(&self, at: Position) -> impl Iterator<Item = u16> + '_ {
        let next = |metres, squares| {
            let square = self.square(metres, squares);
            square.saturating_sub(1)..=(square + 1).min(squares - 1)
        };
        let columns = next(at.x_m, self.columns);
        let rows = next(at.y_m, self.rows);
        let squares = rows.flat_map(move |row| columns.clone().map(move |column| (column, row)));
        squares.flat_map(|(column, row)| self.nodes[row * self.columns + column].iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn contact(floor: &Floor, x_m: f64, y_m: f64) -> Option<u16> {
        floor
            .node_in_contact(Position { x_m, y_m })
            .map(|node| node.0)
    }

    #[test]
    fn twelve_nodes_stand_as_on_the_floor_of_the_paper() {
        let floor = Floor::paper();
        assert_eq!(floor.nodes(), 12);
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
            let floor = Floor::grid(nodes, SPACING_M, CONTACT_RADIUS_M);
            assert_eq!(floor.columns_and_rows(), Some((columns, rows)));
        }
        for nodes in 1..200 {
            assert_connected(&Floor::grid(nodes, SPACING_M, CONTACT_RADIUS_M));
        }
    }

    fn assert_connected(floor: &Floor) {
        let mut reached = vec![1];
        let mut at = 0;
        while let Some(node) = reached.get(at).copied() {
            for (a, b) in floor.links() {
                assert!(a < b && b.0 <= floor.nodes());
                let next = match node {
                    _ if a.0 == node => b.0,
                    _ if b.0 == node => a.0,
                    _ => continue,
                };
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), usize::from(floor.nodes()), "{floor:?}");
    }

    #[test]
    fn nodes_on_a_circle_hear_the_two_next_to_them() {
        let floor = Floor::ring(12, 20.0, 10.0);
        assert_eq!(floor.links().count(), 12);
        assert_connected(&floor);
        for node in floor.ids() {
            let at = floor.position(node);
            assert!(at.x_m >= 0.0 && at.x_m <= floor.width_m());
            assert_eq!(floor.node_in_contact(at), Some(node));
        }
    }

    #[test]
    fn nodes_at_random_points_are_always_connected() {
        for seed in 0..50 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            // With this range hardly any two hear each other, were it not for the shortest links.
            let sparse = Floor::geometric(20, 20.0, 10.0, 5.0, &mut random);
            assert_connected(&sparse);
            let dense = Floor::geometric(20, 20.0, 10.0, 40.0, &mut random);
            assert!(dense.links().count() > sparse.links().count());
        }
    }

    #[test]
    fn the_node_in_contact_is_the_nearest_of_all() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let floor = Floor::geometric(60, 20.0, 15.0, 30.0, &mut random);
        for _ in 0..2000 {
            let at = Position {
                x_m: random.random_range(0.0..floor.width_m()),
                y_m: random.random_range(0.0..floor.height_m()),
            };
            let far = |node: &NodeId| at.squared(floor.position(*node));
            let nearest = floor.ids().min_by(|a, b| far(a).total_cmp(&far(b)));
            let nearest = nearest.filter(|node| far(node) <= 15.0 * 15.0);
            assert_eq!(floor.node_in_contact(at), nearest);
        }
    }

    #[test]
    fn a_robot_talks_to_the_nearest_node_within_the_radius() {
        let floor = &Floor::paper();
        assert_eq!(contact(floor, 10.0, 10.0), Some(1));
        assert_eq!(contact(floor, 0.0, 0.0), None);
        assert_eq!(contact(floor, 20.0, 10.0), Some(1));
        assert_eq!(contact(floor, 20.1, 10.0), Some(2));
        assert_eq!(contact(floor, 80.0, 50.0), Some(12));
        assert_eq!(contact(floor, 20.0, 20.0), None);
        assert_eq!(contact(floor, 90.0, 10.0), None);
        assert_eq!(contact(&Floor::grid(7, 20.0, 10.0), 30.0, 50.0), None);
    }
}
