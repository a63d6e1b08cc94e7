//! Routes to other nodes, learnt from the packets that come in (spec/behaviour.md, section 4).

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use super::duplicates::same_run;
use crate::config::StaticRoute;
use crate::time::Instant;

/// A route is no longer used this long after its destination sent the packet that taught it.
const LIFETIME: Duration = Duration::from_secs(240);

/// How to reach a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    pub(crate) destination: NodeId,
    /// The neighbour that comes first.
    pub(crate) next: NodeId,
    /// Links to the destination.
    pub(crate) hops: u8,
    /// The number of the destination's packet that taught the route.
    pub(crate) sequence: u32,
    /// When the destination sent that packet; none for a static route.
    sent: Option<Instant>,
    /// False once the route failed; number and hops still guard against loops.
    usable: bool,
}

/// The table of routes.
///
/// A route is taken if its number is newer, or equal with fewer hops before the neighbour than those of
/// the route held; so along any path the pair (number, hops) rises towards the destination and packets
/// cannot circle (the feasibility condition of AODV, RFC 3561 section 6.2, and Babel, RFC 8966
/// section 3.5.1). Between numbers of two runs of a node there is no such order: a route of another
/// run is always taken, because only packets of the run that is believed in come here (see
/// [`Duplicates`](super::duplicates::Duplicates)).
#[derive(Debug)]
pub(crate) struct Routes {
    /// Ordered by destination.
    routes: Vec<Route>,
    limit: usize,
}

impl Routes {
    pub(crate) fn new(limit: usize, fixed: &[StaticRoute]) -> Self {
        let mut routes: Vec<Route> = Vec::with_capacity(limit.max(fixed.len()));
        // They are few: putting each in its place takes less code than sorting.
        for fixed in fixed {
            let destination = fixed.destination;
            let at = routes.partition_point(|route| route.destination <= destination);
            let route = Route {
                destination,
                next: fixed.next,
                hops: fixed.hops,
                sequence: 0,
                sent: None,
                usable: true,
            };
            routes.insert(at, route);
        }
        Self { routes, limit }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.routes.len()
    }

    /// The route to `destination`.
    pub(crate) fn find(&self, now: Instant, destination: NodeId) -> Option<&Route> {
        let at = self
            .routes
            .binary_search_by_key(&destination, |route| route.destination)
            .ok()?;
        Some(&self.routes[at]).filter(|route| route.usable && !route.expired(now))
    }

    /// Whether there is or was a route to `destination`, as far as the table remembers.
    pub(crate) fn remembers(&self, destination: NodeId) -> bool {
        let found = self
            .routes
            .binary_search_by_key(&destination, |route| route.destination);
        found.is_ok()
    }

    /// Learns a route to `destination` over the neighbour `next`, `hops` links long, from a packet that
    /// the destination sent `age` ago.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        age: Duration,
        destination: NodeId,
        next: NodeId,
        hops: u8,
        sequence: u32,
    ) {
        if age > LIFETIME {
            return;
        }
        let sent = Some(now.before(age));
        let route = Route {
            destination,
            next,
            hops,
            sequence,
            sent,
            usable: true,
        };
        match self
            .routes
            .binary_search_by_key(&destination, |route| route.destination)
        {
            Ok(at) => {
                let held = &mut self.routes[at];
                if held.sent.is_some() && held.yields_to(&route, now) {
                    *held = route;
                }
            }
            Err(mut at) => {
                if self.routes.len() >= self.limit {
                    let learnt =
                        (0..self.routes.len()).filter(|at| self.routes[*at].sent.is_some());
                    let Some(oldest) = learnt.min_by_key(|at| self.routes[*at].sent) else {
                        return;
                    };
                    self.routes.remove(oldest);
                    at -= usize::from(oldest < at);
                }
                self.routes.insert(at, route);
            }
        }
    }

    /// The neighbour `next` has restarted and knows no routes: the routes over it are not used until
    /// they are learnt again.
    pub(crate) fn doubt_over(&mut self, next: NodeId) {
        for route in self.routes.iter_mut().filter(|route| route.next == next) {
            route.usable &= route.sent.is_none() || route.destination == next;
        }
    }

    /// The neighbour `next` sends packets for `destination` here: it is not on the way there.
    pub(crate) fn doubt_way(&mut self, destination: NodeId, next: NodeId) {
        let at = self
            .routes
            .binary_search_by_key(&destination, |route| route.destination);
        if at.is_ok_and(|at| self.routes[at].next == next) {
            self.doubt(destination);
        }
    }

    /// A packet to `destination` was not answered: the route is not used until it is learnt again.
    pub(crate) fn doubt(&mut self, destination: NodeId) {
        if let Ok(at) = self
            .routes
            .binary_search_by_key(&destination, |r| r.destination)
        {
            let route = &mut self.routes[at];
            route.usable &= route.sent.is_none();
        }
    }
}

impl Route {
    /// The time since the destination sent the packet that taught the route.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.sent.map_or(Duration::ZERO, |at| now - at)
    }

    fn expired(&self, now: Instant) -> bool {
        self.sent.is_some_and(|at| now - at > LIFETIME)
    }

    fn yields_to(&self, other: &Self, now: Instant) -> bool {
        let ahead = other.sequence.wrapping_sub(self.sequence);
        let newer = ahead != 0 && ahead < 1 << 31;
        let as_new = ahead == 0;
        // The neighbour's own distance is one less than the length of the route over it.
        let nearer = other.hops < self.hops || other.hops == self.hops && !self.usable;
        let restarted = !same_run(self.sequence, other.sequence);
        restarted || newer || as_new && nearer || self.expired(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::ZERO;

    fn routes() -> Routes {
        Routes::new(4, &[])
    }

    fn next(routes: &Routes, destination: u16) -> Option<u16> {
        routes
            .find(Instant::ZERO, NodeId(destination))
            .map(|route| route.next.0)
    }

    #[test]
    fn the_newer_packet_wins_and_of_equally_new_routes_the_shorter() {
        let mut routes = routes();
        let mut learn = |via, hops, sequence| {
            routes.learn(Instant::ZERO, FRESH, NodeId(9), NodeId(via), hops, sequence);
            next(&routes, 9)
        };
        assert_eq!(learn(1, 3, 10), Some(1));
        assert_eq!(learn(2, 3, 10), Some(1));
        assert_eq!(learn(2, 2, 10), Some(2));
        assert_eq!(learn(3, 1, 9), Some(2), "an older packet");
        assert_eq!(
            learn(3, 7, 11),
            Some(3),
            "a newer packet, although the route is longer"
        );
    }

    #[test]
    fn a_failed_route_comes_back_only_over_a_node_that_is_nearer() {
        let mut routes = routes();
        routes.learn(Instant::ZERO, FRESH, NodeId(9), NodeId(1), 3, 10);
        routes.doubt(NodeId(9));
        assert_eq!(next(&routes, 9), None);
        routes.learn(Instant::ZERO, FRESH, NodeId(9), NodeId(2), 4, 10);
        assert_eq!(
            next(&routes, 9),
            None,
            "that route may lead back to this node"
        );
        routes.learn(Instant::ZERO, FRESH, NodeId(9), NodeId(3), 3, 10);
        assert_eq!(next(&routes, 9), Some(3));
    }

    #[test]
    fn a_packet_of_a_restarted_node_counts_with_any_number() {
        for number in [5, 1 << 31, u32::MAX] {
            let mut routes = routes();
            let mut learn = |via, sequence| {
                routes.learn(Instant::ZERO, FRESH, NodeId(9), NodeId(via), 3, sequence);
                next(&routes, 9)
            };
            assert_eq!(learn(1, 1_000_000), Some(1));
            assert_eq!(learn(2, number), Some(2), "{number}");
            assert_eq!(learn(3, number - 1), Some(2), "{number}");
        }
    }

    #[test]
    fn routes_over_a_restarted_neighbour_are_not_used_until_it_announces_them() {
        let mut routes = routes();
        for destination in [8, 9] {
            routes.learn(Instant::ZERO, FRESH, NodeId(destination), NodeId(8), 3, 10);
        }
        routes.doubt_over(NodeId(8));
        assert_eq!([8, 9].map(|id| next(&routes, id)), [Some(8), None]);
        routes.learn(Instant::ZERO, FRESH, NodeId(9), NodeId(8), 3, 10);
        assert_eq!(next(&routes, 9), Some(8));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_route_and_static_routes_stay() {
        let fixed = StaticRoute {
            destination: NodeId(1),
            next: NodeId(2),
            hops: 1,
        };
        let mut routes = Routes::new(2, &[fixed]);
        routes.learn(Instant::from_micros(1), FRESH, NodeId(7), NodeId(3), 2, 1);
        routes.learn(Instant::from_micros(2), FRESH, NodeId(5), NodeId(3), 2, 1);
        routes.learn(Instant::from_micros(3), FRESH, NodeId(1), NodeId(3), 1, 99);
        routes.doubt(NodeId(1));
        assert_eq!(
            [1, 5, 7].map(|id| next(&routes, id)),
            [Some(2), Some(3), None]
        );
    }

    #[test]
    fn who_sends_a_packet_back_is_not_on_its_way() {
        let mut routes = routes();
        routes.learn(Instant::ZERO, FRESH, NodeId(9), NodeId(1), 3, 7);
        routes.doubt_way(NodeId(9), NodeId(2));
        routes.doubt_way(NodeId(8), NodeId(1));
        assert_eq!(next(&routes, 9), Some(1));
        routes.doubt_way(NodeId(9), NodeId(1));
        assert_eq!(next(&routes, 9), None);
    }
}
