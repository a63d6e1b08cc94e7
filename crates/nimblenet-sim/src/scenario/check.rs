//! What a scenario may be.

use core::fmt::Display;

use nimblenet_core::{CatalogueLimits, MIN_MTU};

use super::{BadScenario, BandwidthTable, LinkTable, Scenario, Shape, Span, TaskTable};
use crate::trace::{CALLS_MAX, MODULE_BYTES_MAX, MODULE_BYTES_MIN};

/// The most nodes.
const NODES_MAX: u16 = 4096;
/// The most nodes in a line: the hops of a packet are counted in one byte.
const LINE_MAX: u16 = 250;
/// The most nodes on a circle.
const RING_MAX: u16 = 500;
/// The most robots.
const ROBOTS_MAX: u32 = 100_000;

impl Scenario {
    /// Checks that every value can be.
    ///
    /// # Errors
    /// [`BadScenario::Field`] for the first field that is wrong.
    pub fn check(&self) -> Result<(), BadScenario> {
        within("duration_s", self.duration_s, 1.0, 1e6)?;
        let floor = &self.floor;
        let nodes_max = match floor.layout {
            Shape::Grid | Shape::Geometric => NODES_MAX,
            Shape::Line => LINE_MAX,
            Shape::Ring => RING_MAX,
        };
        within("floor.nodes", floor.nodes, 1, nodes_max)?;
        within("floor.spacing_m", floor.spacing_m, 0.1, 10_000.0)?;
        within("floor.radius_m", floor.radius_m, 0.1, 10_000.0)?;
        within("floor.range_m", floor.range_m, 0.1, 100_000.0)?;
        let robots = &self.robots;
        within("robots.count", robots.count, 1, ROBOTS_MAX)?;
        span("robots.speed_m_s", robots.speed_m_s, 0.0, 100.0)?;
        let interval = robots.trigger_interval_s;
        span("robots.trigger_interval_s", interval, 0.01, 1e6)?;
        self.tasks.check()?;
        within("robots.chains", robots.chains, 1, self.tasks.chains)?;
        let cache = f64::from(self.nodes.cache_bytes);
        within("nodes.cache_bytes", cache, 1024.0, 1e8)?;
        if let Some(executors) = self.nodes.executors {
            within("nodes.executors", executors, 1, 256)?;
        }
        self.link.check()?;
        self.medium.map_or(Ok(()), |medium| medium.check("medium"))
    }
}

impl TaskTable {
    fn check(&self) -> Result<(), BadScenario> {
        let entries = CatalogueLimits::LARGE.entries as u32;
        within("tasks.chains", self.chains, 1, entries)?;
        within("tasks.algorithms", self.algorithms, 1, entries)?;
        let bytes = (MODULE_BYTES_MIN, MODULE_BYTES_MAX);
        span("tasks.chain_bytes", self.chain_bytes, bytes.0, bytes.1)?;
        let algorithm_bytes = self.algorithm_bytes;
        span("tasks.algorithm_bytes", algorithm_bytes, bytes.0, bytes.1)?;
        span("tasks.chain_run_s", self.chain_run_s, 0.0, 1000.0)?;
        span("tasks.algorithm_run_s", self.algorithm_run_s, 0.0, 200.0)?;
        let calls = self.algorithms_per_chain;
        let calls_max = self.algorithms.min(CALLS_MAX as u32);
        span("tasks.algorithms_per_chain", calls, 0, calls_max)?;
        within("tasks.sharing", self.sharing, 0.0, 1.0)?;
        within("tasks.zipf", self.zipf, 0.0, 5.0)?;
        within("tasks.size_factor", self.size_factor, 0.1, 100.0)?;
        let smallest = f64::from(self.chain_bytes.0.min(algorithm_bytes.0)) * self.size_factor;
        let largest = f64::from(self.chain_bytes.1 + calls.1 * algorithm_bytes.1);
        let largest = largest * self.size_factor;
        must(smallest >= f64::from(bytes.0), "tasks.size_factor", || {
            format!(
                "the smallest module would have {smallest} bytes; at least {} are needed",
                bytes.0
            )
        })?;
        must(largest <= f64::from(bytes.1), "tasks.size_factor", || {
            let most = bytes.1;
            format!("a chain with its algorithms could have {largest} bytes; at most {most} can be")
        })?;
        let own = if self.sharing < 1.0 {
            self.chains * calls.1
        } else {
            0
        };
        let all = self.chains + self.algorithms + own;
        must(all <= entries, "tasks.chains", || {
            format!("there could be {all} tasklets; a catalogue has at most {entries}")
        })
    }
}

impl LinkTable {
    fn check(&self) -> Result<(), BadScenario> {
        within("link.delay_s", self.delay_s, 0.0, 60.0)?;
        within("link.jitter_s", self.jitter_s, 0.0, 60.0)?;
        within("link.loss", self.loss, 0.0, 1.0)?;
        within("link.duplication", self.duplication, 0.0, 1.0)?;
        within("link.corruption", self.corruption, 0.0, 1.0)?;
        within("link.mtu", self.mtu, MIN_MTU, u16::MAX)?;
        if let Some(bursts) = self.bursts {
            within("link.bursts.begin", bursts.begin, 0.0, 1.0)?;
            within("link.bursts.end", bursts.end, 0.0, 1.0)?;
            within("link.bursts.loss", bursts.loss, 0.0, 1.0)?;
        }
        let bandwidth = self.bandwidth;
        bandwidth.map_or(Ok(()), |bandwidth| bandwidth.check("link.bandwidth"))
    }
}

impl BandwidthTable {
    fn check(&self, table: &str) -> Result<(), BadScenario> {
        let field = |name| format!("{table}.{name}");
        within(field("bits_per_s"), self.bits_per_s, 100, u32::MAX)?;
        within(field("queue_bytes"), self.queue_bytes, 1, u32::MAX)?;
        within(field("header_bytes"), self.header_bytes, 0, 1000)
    }
}

fn must(
    holds: bool,
    field: impl Into<String>,
    what: impl FnOnce() -> String,
) -> Result<(), BadScenario> {
    if holds {
        return Ok(());
    }
    Err(BadScenario::Field {
        field: field.into(),
        what: what(),
    })
}

fn within<T: PartialOrd + Display>(
    field: impl Into<String>,
    value: T,
    from: T,
    to: T,
) -> Result<(), BadScenario> {
    must((&from..=&to).contains(&&value), field, || {
        format!("{value} is not within {from} to {to}")
    })
}

fn span<T: PartialOrd + Display + Copy>(
    field: &str,
    (smallest, largest): Span<T>,
    from: T,
    to: T,
) -> Result<(), BadScenario> {
    within(format!("{field}[0]"), smallest, from, to)?;
    within(format!("{field}[1]"), largest, smallest, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_named_with_its_field_and_range() {
        let cases = [
            ("duration_s = 0", "duration_s: 0 is not within 1 to 1000000"),
            (
                "[floor]\nnodes = 5000",
                "floor.nodes: 5000 is not within 1 to 4096",
            ),
            (
                "[floor]\nlayout = 'line'\nnodes = 251",
                "floor.nodes: 251 is not within 1 to 250",
            ),
            (
                "[robots]\nspeed_m_s = [2, 1]",
                "robots.speed_m_s[1]: 1 is not within 2 to 100",
            ),
            (
                "[robots]\nchains = 201",
                "robots.chains: 201 is not within 1 to 200",
            ),
            (
                "[tasks]\nalgorithms = 5",
                "tasks.algorithms_per_chain[1]: 7 is not within 3 to 5",
            ),
            (
                "[tasks]\nsize_factor = 20",
                "tasks.size_factor: a chain with its algorithms could have 80000 bytes; at most 60000",
            ),
            (
                "[tasks]\nsharing = 0.5\nchains = 2000",
                "tasks.chains: there could be 16050 tasklets; a catalogue has at most 4096",
            ),
            (
                "[nodes]\nexecutors = 0",
                "nodes.executors: 0 is not within 1 to 256",
            ),
            ("[link]\nloss = 1.5", "link.loss: 1.5 is not within 0 to 1"),
            (
                "[link.bandwidth]\nbits_per_s = 1",
                "link.bandwidth.bits_per_s: 1 is not within 100 to 4294967295",
            ),
        ];
        for (text, expected) in cases {
            let error = Scenario::read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn an_unknown_field_or_a_wrong_kind_of_value_is_shown_in_its_line() {
        for (text, words) in [
            ("[floor]\nnods = 3", ["line 2", "nods"]),
            ("[floor]\nlayout = 'star'", ["line 2", "star"]),
            ("[robots]\ncount = 'ten'", ["line 2", "ten"]),
        ] {
            let error = Scenario::read(text).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
