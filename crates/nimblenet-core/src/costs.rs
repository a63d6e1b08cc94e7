//! Costs: how long tasklets run on this node (spec/behaviour.md, section 13).
//!
//! A catalogue says how much fuel a typical activation uses. The node turns that into time by the
//! speed at which its executors have used declared fuel lately, and remembers how long the tasklets
//! that ran here took instead, as long as there is room.

use alloc::vec::Vec;

use nimblenet_tasklet::TaskletRef;

use crate::config::PLACES;

/// The speed forgets half of what it is made of when that has become so much time.
const MEMORY_US: u64 = 64_000_000;
/// The time that the first speed weighs.
const PRIOR_US: u64 = 1_000_000;
/// A run takes the remembered time this part of the way to its own.
const SHARE: i64 = 4;

/// What is known of the times of tasklets.
#[derive(Debug)]
pub(crate) struct Costs {
    /// The fuel that what ran lately had declared, and the time that it took.
    fuel: u64,
    time_us: u64,
    /// Times of tasklets, ordered by tasklet.
    seen: Vec<Seen>,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    tasklet: TaskletRef,
    time_us: u32,
}

impl Costs {
    /// Room for the times of `limit` tasklets; before anything has run, an executor uses `fuel_ms`
    /// fuel in a millisecond.
    pub(crate) fn new(limit: usize, fuel_ms: u32) -> Self {
        Self {
            fuel: u64::from(fuel_ms) * PRIOR_US / 1000,
            time_us: PRIOR_US,
            seen: Vec::with_capacity(limit),
            limit,
        }
    }

    /// Whether anything is remembered.
    pub(crate) fn remembers(&self) -> bool {
        PLACES && self.limit > 0
    }

    /// How many microseconds an activation of a tasklet runs, without its callees, if it declares
    /// to use the fuel `cost`.
    pub(crate) fn time_us(&self, tasklet: TaskletRef, cost: u64) -> u32 {
        match self.find(tasklet) {
            Ok(at) => self.seen[at].time_us,
            Err(_) => {
                let time = cost.saturating_mul(self.time_us) / self.fuel.max(1);
                u32::try_from(time).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether it is remembered how long a tasklet has run here.
    pub(crate) fn has_seen(&self, tasklet: TaskletRef) -> bool {
        self.find(tasklet).is_ok()
    }

    /// Notes that an activation of a tasklet that declares `cost` ran for `time_us`.
    pub(crate) fn note(&mut self, tasklet: TaskletRef, cost: u64, time_us: u32) {
        if cost > 0 {
            self.fuel = self.fuel.saturating_add(cost);
            self.time_us += u64::from(time_us);
            if self.time_us > MEMORY_US {
                self.fuel /= 2;
                self.time_us /= 2;
            }
        }
        let full = self.seen.len() == self.limit;
        match self.find(tasklet) {
            Ok(at) => {
                let seen = &mut self.seen[at].time_us;
                let step = (i64::from(time_us) - i64::from(*seen)) / SHARE;
                *seen = (i64::from(*seen) + step) as u32;
            }
            Err(at) if !full => self.seen.insert(at, Seen { tasklet, time_us }),
            Err(at) => {
                // One of its two neighbours in the order gives way: that is as good as any.
                let last = self.seen.len().saturating_sub(1);
                if let Some(seen) = self.seen.get_mut(at.min(last)) {
                    *seen = Seen { tasklet, time_us };
                }
            }
        }
    }

    fn find(&self, tasklet: TaskletRef) -> Result<usize, usize> {
        self.seen
            .binary_search_by_key(&tasklet, |seen| seen.tasklet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nimblenet_tasklet::NamespaceId;

    fn tasklet(number: u16) -> TaskletRef {
        TaskletRef {
            namespace: NamespaceId(7),
            number,
            sequence: 1,
        }
    }

    #[test]
    fn what_was_declared_counts_until_the_tasklet_has_run() {
        let mut costs = Costs::new(2, 1000);
        assert_eq!(costs.time_us(tasklet(1), 50_000), 50_000);
        costs.note(tasklet(1), 50_000, 250_000);
        assert_eq!(costs.time_us(tasklet(1), 50_000), 250_000);
        costs.note(tasklet(1), 50_000, 50_000);
        assert_eq!(costs.time_us(tasklet(1), 50_000), 200_000);
        assert_eq!(costs.time_us(tasklet(2), 0), 0, "nothing is declared");
    }

    #[test]
    fn the_speed_of_a_slow_executor_is_learnt_from_what_it_has_run() {
        let mut costs = Costs::new(1, 1000);
        for number in 0..100 {
            costs.note(tasklet(number), 1_000_000, 4_000_000);
        }
        let time = costs.time_us(tasklet(200), 1_000_000);
        assert!((3_900_000..=4_000_000).contains(&time), "{time}");
    }

    #[test]
    fn a_full_table_takes_the_newest_and_stays_in_order() {
        let mut costs = Costs::new(3, 1000);
        for number in [5, 1, 9, 3, 7, 0, 8] {
            costs.note(tasklet(number), 0, 1000 + u32::from(number));
            assert_eq!(costs.time_us(tasklet(number), 0), 1000 + u32::from(number));
            assert!(costs.seen.is_sorted_by_key(|seen| seen.tasklet.number));
            assert!(costs.seen.len() <= 3);
        }
        let mut none = Costs::new(0, 1000);
        none.note(tasklet(1), 0, 1);
        assert_eq!(none.time_us(tasklet(1), 0), 0);
    }
}
