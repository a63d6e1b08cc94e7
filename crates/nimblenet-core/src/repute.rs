//! Repute: which sources have failed this node lately (spec/behaviour.md, section 6).
//!
//! A source that is silent or sends what is not the module gets points. It is not asked while it has
//! many, and the fewer a source has the sooner it is. Time halves points, and so does a module that came
//! whole: what was bad may be good again.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::full::Full;
use crate::time::Instant;

/// Points of a source that has not answered.
pub(crate) const SILENT_POINTS: u8 = 2;
/// Points of a source whose bytes are not the module.
pub(crate) const FALSE_POINTS: u8 = 16;
/// A source with so many points is not asked.
pub(crate) const BAD_POINTS: u8 = 2;
/// Points are halved after this long.
const POINTS_HALVE: Duration = Duration::from_secs(30);

/// The sources that have points.
#[derive(Debug)]
pub(crate) struct Repute {
    sources: Full<Vec<Blamed>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Blamed {
    source: NodeId,
    points: u8,
    /// When it had these.
    since: Instant,
}

impl Repute {
    /// Room for `limit` sources.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            sources: Full::new(|| Vec::with_capacity(limit)),
        }
    }

    /// The points of a source.
    pub(crate) fn points(&self, now: Instant, source: NodeId) -> u8 {
        let mut held = self.sources.get().into_iter().flatten();
        let held = held.find(|held| held.source == source);
        held.map_or(0, |held| held.points(now))
    }

    /// Whether a source is not asked at present.
    pub(crate) fn is_bad(&self, now: Instant, source: NodeId) -> bool {
        self.points(now, source) >= BAD_POINTS
    }

    /// A source has failed. Of too many the one with the fewest points is forgotten.
    pub(crate) fn blame(&mut self, now: Instant, source: NodeId, points: u8) {
        let points = self.points(now, source).saturating_add(points);
        let Some(sources) = self.sources.get_mut() else {
            return;
        };
        sources.retain(|held| held.source != source);
        if sources.len() == sources.capacity() {
            let held = (0..sources.len()).min_by_key(|at| sources[*at].points(now));
            let Some(least) = held else {
                return;
            };
            sources.remove(least);
        }
        sources.push(Blamed {
            source,
            points,
            since: now,
        });
    }

    /// A module of a source came whole.
    pub(crate) fn forgive(&mut self, now: Instant, source: NodeId) {
        let mut held = self.sources.get_mut().into_iter().flatten();
        if let Some(held) = held.find(|held| held.source == source) {
            (held.points, held.since) = (held.points(now) / 2, now);
        }
    }
}

impl Blamed {
    fn points(&self, now: Instant) -> u8 {
        let halvings = (now - self.since).as_micros() / POINTS_HALVE.as_micros();
        self.points >> halvings.min(7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: NodeId = NodeId(2);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn points_are_halved_with_time_and_by_a_module_that_came_whole() {
        let mut repute = Repute::new(2);
        assert!(!repute.is_bad(at(1), NEAR));
        repute.blame(at(1), NEAR, SILENT_POINTS);
        assert!(repute.is_bad(at(30), NEAR) && !repute.is_bad(at(31), NEAR));
        assert_eq!(repute.points(at(61), NEAR), 0);
        repute.blame(at(100), NEAR, FALSE_POINTS);
        assert!(repute.is_bad(at(189), NEAR));
        repute.forgive(at(189), NEAR);
        assert!(repute.is_bad(at(190), NEAR), "it had four");
        repute.forgive(at(190), NEAR);
        assert!(!repute.is_bad(at(190), NEAR));
    }

    #[test]
    fn of_too_many_the_one_with_the_fewest_points_is_forgotten() {
        let mut repute = Repute::new(2);
        repute.blame(at(1), NEAR, FALSE_POINTS);
        repute.blame(at(1), NodeId(3), SILENT_POINTS);
        repute.blame(at(2), NodeId(4), SILENT_POINTS);
        let bad = [2, 3, 4].map(|id| repute.is_bad(at(2), NodeId(id)));
        assert_eq!(bad, [true, false, true]);
        let mut none = Repute::new(0);
        none.blame(at(1), NEAR, FALSE_POINTS);
        assert!(!none.is_bad(at(1), NEAR), "no room");
    }
}
