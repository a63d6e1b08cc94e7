//! Routes to other nodes, learnt from the packets that come in (spec/behaviour.md, section 4).

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use super::duplicates::FLIGHT_MS;
use super::neighbours::same_run;
use crate::config::{FULL, StaticRoute};
use crate::time::Instant;

/// A route is no longer used this long after its destination sent the packet that taught it.
const LIFETIME: Duration = Duration::from_secs(240);
/// A packet is through the mesh after this time: one that comes later was sent later.
const FLIGHT: Duration = Duration::from_millis(FLIGHT_MS as u64);
/// Ages that are passed on are rounded up by so much at each link.
const ROUNDING: Duration = Duration::from_secs(1);
/// Ages that are passed on are compared with this error.
const YOUNGER: Duration = Duration::from_secs(16);

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
    /// The newest number of another run of the destination that this node has sent on.
    passed: u32,
    /// When the destination sent that packet; none for a static route.
    sent: Option<Instant>,
    /// False once the route failed; number and hops still guard against loops.
    usable: bool,
    /// Whether routes that are not kept make room first.
    kept: bool,
}

/// The table of routes.
///
/// A route is taken if its number is newer, or equal with fewer hops before the neighbour than those of
/// the route held; so along any path the pair (number, hops) rises towards the destination and packets
/// cannot circle (the feasibility condition of AODV, RFC 3561 section 6.2, and Babel, RFC 8966
/// section 3.5.1). Between numbers of two runs of a node there is no such order. But no packet travels
/// for long: what was clearly sent later is newer, whatever its number. As long as that is not clear,
/// the route is not used: the node sends on what others may use to learn a route of the other run.
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
                passed: 0,
                sent: None,
                usable: true,
                kept: false,
            };
            routes.insert(at, route);
        }
        Self { routes, limit }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.routes.len()
    }

    /// The links of the longest route in use.
    pub(crate) fn longest(&self, now: Instant) -> u8 {
        let live = self.routes.iter().filter(|route| !route.expired(now));
        live.map(|route| route.hops).max().unwrap_or(0)
    }

    /// The route to `destination`.
    pub(crate) fn find(&self, now: Instant, destination: NodeId) -> Option<&Route> {
        Some(&self.routes[self.place(destination).ok()?])
            .filter(|route| route.usable && !route.expired(now))
    }

    /// Whether there is or was a route to `destination`, as far as the table remembers.
    pub(crate) fn remembers(&self, destination: NodeId) -> bool {
        self.place(destination).is_ok()
    }

    /// When `destination` sent the packet that taught the route to it, whether that is used or not.
    pub(crate) fn sent(&self, destination: NodeId) -> Option<Instant> {
        let mut routes = self.routes.iter();
        routes.find(|it| it.destination == destination)?.sent
    }

    /// Learns a route to `destination` over the neighbour `next`, `hops` links long, from a packet that
    /// the destination sent `age` ago. Returns whether that shows that the destination has started anew.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        age: Duration,
        destination: NodeId,
        next: NodeId,
        hops: u8,
        sequence: u32,
    ) -> bool {
        if age > LIFETIME {
            return false;
        }
        let sent = Some(now.before(age));
        let route = Route {
            destination,
            next,
            hops,
            sequence,
            passed: sequence,
            sent,
            usable: true,
            kept: false,
        };
        match self.place(destination) {
            Ok(at) => {
                let held = &mut self.routes[at];
                match held.compare(&route, now) {
                    Other::Better => {
                        let anew = !same_run(held.sequence, sequence);
                        let passed = match anew {
                            false => held.passed,
                            true => held.sequence,
                        };
                        let kept = FULL && held.kept;
                        *held = Route {
                            passed,
                            kept,
                            ..route
                        };
                        return anew;
                    }
                    Other::Worse => {}
                    Other::Unclear => {
                        held.usable = false;
                        if !same_run(held.passed, sequence) || is_newer(sequence, held.passed) {
                            held.passed = sequence;
                        }
                    }
                }
            }
            Err(mut at) => {
                if self.routes.len() >= self.limit {
                    let learnt =
                        (0..self.routes.len()).filter(|at| self.routes[*at].sent.is_some());
                    let oldest = match FULL {
                        true => {
                            learnt.min_by_key(|at| (self.routes[*at].kept, self.routes[*at].sent))
                        }
                        false => learnt.min_by_key(|at| self.routes[*at].sent),
                    };
                    let Some(oldest) = oldest else {
                        return false;
                    };
                    self.routes.remove(oldest);
                    at -= usize::from(oldest < at);
                }
                self.routes.insert(at, route);
            }
        }
        false
    }

    /// The route to `destination` makes room for others last: many origins, which somebody may have made up, do not
    /// push out what the node needs.
    pub(crate) fn keep(&mut self, destination: NodeId) {
        if let Ok(at) = self.place(destination) {
            self.routes[at].kept = true;
        }
    }

    /// The neighbour `next` has restarted and knows no routes, or it does not hear this node: the routes
    /// over it are not used until they are learnt again, not even that to itself if it is `deaf`.
    pub(crate) fn doubt_over(&mut self, next: NodeId, deaf: bool) {
        for route in self.routes.iter_mut().filter(|route| route.next == next) {
            route.usable &= route.sent.is_none() || route.destination == next && !deaf;
        }
    }

    /// The neighbour `next` sends packets for `destination` here: it is not on the way there.
    pub(crate) fn doubt_way(&mut self, destination: NodeId, next: NodeId) {
        if self
            .place(destination)
            .is_ok_and(|at| self.routes[at].next == next)
        {
            self.doubt(destination);
        }
    }

    /// A packet to `destination` was not answered: the route is not used until it is learnt again.
    pub(crate) fn doubt(&mut self, destination: NodeId) {
        if let Ok(at) = self.place(destination) {
            let route = &mut self.routes[at];
            route.usable &= route.sent.is_none();
        }
    }

    /// Where the route to `destination` is, or would be.
    fn place(&self, destination: NodeId) -> Result<usize, usize> {
        self.routes
            .binary_search_by_key(&destination, |route| route.destination)
    }
}

impl Route {
    /// The time since the destination sent the packet that taught the route.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.sent.map_or(Duration::ZERO, |at| now - at)
    }

    /// Of ways of the same length that one packet teaches, the one with the least turn is taken. It is
    /// another one for each packet, so that neighbours share what is sent on.
    fn turn(&self, next: NodeId) -> u32 {
        (u32::from(next.0) ^ self.sequence).wrapping_mul(0x9e37_79b9) >> 16
    }

    fn expired(&self, now: Instant) -> bool {
        self.sent.is_some_and(|at| now - at > LIFETIME)
    }

    fn compare(&self, other: &Self, now: Instant) -> Other {
        let (Some(held), Some(sent)) = (self.sent, other.sent) else {
            return Other::Worse;
        };
        let fresh = sent == now;
        let error = match fresh {
            true => FLIGHT + ROUNDING * self.hops.into(),
            false => YOUNGER,
        };
        // The neighbour's own distance is one less than the length of the route over it.
        let equal = other.hops == self.hops;
        let first = || self.turn(other.next) < self.turn(self.next);
        let nearer = other.hops < self.hops || equal && (!self.usable || first());
        let better = match other.sequence == self.sequence {
            true => nearer,
            false => is_newer(other.sequence, self.sequence),
        };
        let in_order =
            !same_run(self.passed, other.sequence) || is_newer(other.sequence, self.passed);
        let later = sent - held > error;
        let takes = match same_run(self.sequence, other.sequence) {
            true => better && held - sent <= error || later && fresh,
            false => in_order && later,
        };
        if takes || self.expired(now) {
            Other::Better
        } else if fresh && !same_run(self.sequence, other.sequence) {
            Other::Unclear
        } else {
            Other::Worse
        }
    }
}

/// Whether a packet number is newer than another of the same run.
fn is_newer(one: u32, other: u32) -> bool {
    (1..1 << 31).contains(&one.wrapping_sub(other))
}

/// How another route to the same node compares with the one held.
enum Other {
    Better,
    Worse,
    /// Its packet is of another run, and nothing says which one is newer.
    Unclear,
}

#[cfg(test)]
mod tests {
    use super::super::neighbours::RUN;
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
    fn packets_take_turns_among_ways_of_the_same_length_whichever_is_heard_first() {
        let taken = |ways: [u16; 3], sequence| {
            let mut routes = routes();
            for via in ways {
                routes.learn(Instant::ZERO, FRESH, NodeId(9), NodeId(via), 3, sequence);
            }
            next(&routes, 9).unwrap()
        };
        let mut times = [0; 3];
        for sequence in 0..300 {
            let via = taken([1, 2, 3], sequence);
            assert_eq!(taken([3, 1, 2], sequence), via, "{sequence}");
            times[usize::from(via) - 1] += 1;
        }
        assert!(times.iter().all(|times| *times > 60), "{times:?}");
    }

    #[test]
    fn a_route_that_is_kept_makes_room_last() {
        let mut routes = routes();
        let learn = |routes: &mut Routes, destination| {
            routes.learn(Instant::ZERO, FRESH, NodeId(destination), NodeId(1), 3, 10);
        };
        learn(&mut routes, 9);
        routes.keep(NodeId(9));
        (20..30).for_each(|made_up| learn(&mut routes, made_up));
        assert_eq!(next(&routes, 9), Some(1));
        assert_eq!(routes.count(), 4);
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
    fn a_packet_of_a_restarted_node_counts_with_any_number_once_earlier_ones_have_ended() {
        for number in [5, 990_000, 1_000_002 + RUN, 1 << 31, u32::MAX] {
            let mut routes = routes();
            let mut learn = |millis: u64, via, sequence| {
                let now = Instant::from_micros(millis * 1000);
                routes.learn(now, FRESH, NodeId(9), NodeId(via), 2, sequence);
                next(&routes, 9)
            };
            assert_eq!(learn(0, 1, 1_000_000), Some(1));
            assert_eq!(learn(5_000, 2, number), None, "{number}");
            assert_eq!(learn(5_000, 1, 1_000_001), Some(1), "{number}");
            let number = number.wrapping_add(1);
            assert_eq!(learn(10_000, 2, number), None, "{number}");
            assert_eq!(learn(10_002, 2, number), None, "it was sent on already");
            let number = number.wrapping_add(1);
            assert_eq!(learn(10_002, 2, number), Some(2), "{number}");
        }
    }

    #[test]
    fn a_false_number_leads_the_wrong_way_only_until_the_node_has_spoken_clearly_later() {
        let mut routes = routes();
        let mut learn = |millis: u64, via, sequence| {
            let now = Instant::from_micros(millis * 1000);
            routes.learn(now, FRESH, NodeId(9), NodeId(via), 2, sequence);
            next(&routes, 9)
        };
        assert_eq!(learn(0, 1, 1000), Some(1));
        assert_eq!(learn(1000, 2, 1100), Some(2), "false");
        assert_eq!(learn(6000, 1, 1001), Some(2), "it may be late");
        assert_eq!(learn(6001, 1, 1002), Some(1));
    }

    #[test]
    fn a_note_of_a_restart_is_believed_if_it_is_younger_and_an_older_one_never_after_it() {
        let mut routes = routes();
        let mut learn = |now: u64, sent: u64, via, sequence| {
            let (now, age) = (
                Instant::from_micros(now * 1_000_000),
                Duration::from_secs(now - sent),
            );
            routes.learn(now, age, NodeId(9), NodeId(via), 2, sequence);
            next(&routes, 9)
        };
        assert_eq!(learn(20, 19, 1, 1_000_000), Some(1));
        assert_eq!(learn(30, 21, 2, 1_000_009), Some(2));
        assert_eq!(learn(40, 37, 3, 5), Some(2), "not clearly younger");
        assert_eq!(learn(40, 38, 3, 5), Some(3));
        assert_eq!(learn(60, 21, 2, 1_000_009), Some(3), "from before");
        assert_eq!(learn(60, 38, 2, 1_000_009), Some(3), "as old");
    }

    #[test]
    fn routes_over_a_restarted_neighbour_are_not_used_until_it_announces_them() {
        let mut routes = routes();
        for destination in [8, 9] {
            routes.learn(Instant::ZERO, FRESH, NodeId(destination), NodeId(8), 3, 10);
        }
        routes.doubt_over(NodeId(8), false);
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
