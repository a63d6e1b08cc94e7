//! What a scenario may be.

use core::fmt::Display;

use nimblenet_core::{CatalogueLimits, MIN_MTU};

use super::{
    BadScenario, BandwidthTable, LinkTable, Scenario, Shape, Span, TargetTable, TaskTable,
};
use crate::trace::{CALLS_MAX, MODULE_BYTES_MAX, MODULE_BYTES_MIN};
use crate::urgency::Urgency;

/// The most nodes.
const NODES_MAX: u16 = 4096;
/// The most repetitions of a frame.
const REPEATS_MAX: u8 = 8;
/// The most nodes in a line: the hops of a packet are counted in one byte.
const LINE_MAX: u16 = 250;
/// The most nodes on a circle.
const RING_MAX: u16 = 500;
/// The most robots.
const ROBOTS_MAX: u32 = 100_000;

/// The longest run of a chain without its algorithms, in seconds.
const CHAIN_RUN_S_MAX: f64 = 1000.0;
/// The longest run of an algorithm, in seconds.
const ALGORITHM_RUN_S_MAX: f64 = 200.0;
/// The most fuel of a run.
const FUEL_MAX: f64 = 1e15;

/// A number of a scenario, and what it may be.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Limit {
    /// The field, as a path.
    pub(super) field: String,
    /// What it is.
    pub(super) value: f64,
    /// The least that it may be.
    pub(super) from: f64,
    /// The most that it may be.
    pub(super) to: f64,
}

/// The numbers of a scenario, in the order of its tables.
#[derive(Default)]
struct Limits(Vec<Limit>);

impl Limits {
    fn one(
        &mut self,
        field: impl Into<String>,
        value: impl Into<f64>,
        from: impl Into<f64>,
        to: impl Into<f64>,
    ) {
        self.0.push(Limit {
            field: field.into(),
            value: value.into(),
            from: from.into(),
            to: to.into(),
        });
    }

    /// The second number of a span is not below the first.
    fn span<T: Into<f64> + Copy>(
        &mut self,
        field: &str,
        (smallest, largest): Span<T>,
        from: T,
        to: T,
    ) {
        self.one(format!("{field}[0]"), smallest, from, to);
        self.one(format!("{field}[1]"), largest, smallest, to);
    }
}

impl Scenario {
    /// Checks that every value can be.
    ///
    /// # Errors
    /// [`BadScenario::Field`] for the first field that is wrong.
    pub fn check(&self) -> Result<(), BadScenario> {
        for limit in self.limits() {
            let Limit {
                field,
                value,
                from,
                to,
            } = limit;
            within(field, value, from, to)?;
        }
        let (triggered, chains) = (self.robots.chains, self.tasks.chains);
        // The one of the two that is not as usual is the one that somebody has written.
        let field = match chains == Self::default().tasks.chains {
            true => "robots.chains",
            false => "tasks.chains",
        };
        must(triggered <= chains, field, || {
            format!(
                "robots trigger {triggered} chains (robots.chains), and there are {chains} (tasks.chains)"
            )
        })?;
        self.tasks.check()?;
        let shares = self.urgency.map_or(0.0, |it| it.high + it.low);
        must(shares <= 1.0, "urgency.low", || {
            format!("with urgency.high it is {shares} of all calls; at most 1 can be")
        })?;
        self.target.as_ref().map_or(Ok(()), TargetTable::check)
    }

    /// Every number with what it may be.
    pub(super) fn limits(&self) -> Vec<Limit> {
        let mut limits = Limits::default();
        limits.one("duration_s", self.duration_s, 1.0, 1e6);
        let floor = &self.floor;
        let nodes_max = match floor.layout {
            Shape::Grid | Shape::Geometric => NODES_MAX,
            Shape::Line => LINE_MAX,
            Shape::Ring => RING_MAX,
        };
        limits.one("floor.nodes", floor.nodes, 1, nodes_max);
        limits.one("floor.spacing_m", floor.spacing_m, 0.1, 10_000.0);
        limits.one("floor.radius_m", floor.radius_m, 0.1, 10_000.0);
        limits.one("floor.range_m", floor.range_m, 0.1, 100_000.0);
        let robots = &self.robots;
        limits.one("robots.count", robots.count, 1, ROBOTS_MAX);
        limits.span("robots.speed_m_s", robots.speed_m_s, 0.0, 100.0);
        let interval = robots.trigger_interval_s;
        limits.span("robots.trigger_interval_s", interval, 0.01, 1e6);
        self.tasks.limits(&mut limits);
        if let Some(urgency) = &self.urgency {
            urgency.limits(&mut limits);
        }
        limits.one(
            "robots.chains",
            robots.chains,
            1,
            CatalogueLimits::LARGE.entries as u32,
        );
        limits.one("nodes.cache_bytes", self.nodes.cache_bytes, 1024, 1e8);
        if let Some(executors) = self.nodes.executors {
            limits.one("nodes.executors", executors, 1, 256);
        }
        limits.one("nodes.without_wasm", self.nodes.without_wasm, 0.0, 1.0);
        limits.one("nodes.without_native", self.nodes.without_native, 0.0, 1.0);
        limits.one("nodes.crashes_per_h", self.nodes.crashes_per_h, 0.0, 60.0);
        limits.span("nodes.down_s", self.nodes.down_s, 0.1, 3600.0);
        if let Some(target) = &self.target {
            target.limits(&mut limits);
        }
        let energy = &self.energy;
        limits.one("energy.idle_w", energy.idle_w, 0.0, 1000.0);
        limits.one("energy.run_w", energy.run_w, 0.0, 1000.0);
        limits.one("energy.send_w", energy.send_w, 0.0, 1000.0);
        limits.one("energy.receive_w", energy.receive_w, 0.0, 1000.0);
        limits.one("energy.bits_per_s", energy.bits_per_s, 1, 1e9);
        self.link.limits("link", &mut limits);
        if let Some(medium) = self.medium {
            medium.limits("medium", &mut limits);
        }
        limits.0
    }
}

impl Urgency {
    fn limits(&self, limits: &mut Limits) {
        limits.one("urgency.high", self.high, 0.0, 1.0);
        limits.one("urgency.low", self.low, 0.0, 1.0);
        for (field, deadlines) in [
            ("urgency.high_s", self.high_s),
            ("urgency.normal_s", self.normal_s),
            ("urgency.low_s", self.low_s),
        ] {
            limits.span(field, deadlines, 0.01, 600.0);
        }
    }
}

impl TaskTable {
    fn limits(&self, limits: &mut Limits) {
        let entries = CatalogueLimits::LARGE.entries as u32;
        limits.one("tasks.chains", self.chains, 1, entries);
        limits.one("tasks.algorithms", self.algorithms, 1, entries);
        let (least, most) = (MODULE_BYTES_MIN, MODULE_BYTES_MAX);
        limits.span("tasks.chain_bytes", self.chain_bytes, least, most);
        limits.span("tasks.algorithm_bytes", self.algorithm_bytes, least, most);
        limits.span("tasks.chain_run_s", self.chain_run_s, 0.0, CHAIN_RUN_S_MAX);
        limits.span(
            "tasks.algorithm_run_s",
            self.algorithm_run_s,
            0.0,
            ALGORITHM_RUN_S_MAX,
        );
        let calls = self.algorithms_per_chain;
        limits.span("tasks.algorithms_per_chain", calls, 0, CALLS_MAX as u32);
        limits.one("tasks.sharing", self.sharing, 0.0, 1.0);
        limits.one("tasks.zipf", self.zipf, 0.0, 5.0);
        limits.one("tasks.size_factor", self.size_factor, 0.1, 100.0);
        limits.one("tasks.native", self.native, 0.0, 1.0);
        limits.one("tasks.cost_error", self.cost_error, 1.0, 1000.0);
    }

    /// Checks what several fields lead to, each of which can be.
    fn check(&self) -> Result<(), BadScenario> {
        let (algorithms, most) = (self.algorithms, self.algorithms_per_chain.1);
        let field = match algorithms == Self::default().algorithms {
            true => "tasks.algorithms_per_chain",
            false => "tasks.algorithms",
        };
        must(most <= algorithms, field, || {
            format!(
                "a chain calls up to {most} algorithms (tasks.algorithms_per_chain), and there are \
                 {algorithms} (tasks.algorithms)"
            )
        })?;
        let bytes = (MODULE_BYTES_MIN, MODULE_BYTES_MAX);
        let (algorithm_bytes, calls) = (self.algorithm_bytes, self.algorithms_per_chain);
        let smallest = f64::from(self.chain_bytes.0.min(algorithm_bytes.0)) * self.size_factor;
        let largest = f64::from(self.chain_bytes.1 + calls.1 * algorithm_bytes.1);
        let largest = largest * self.size_factor;
        must(smallest >= f64::from(bytes.0), "tasks.size_factor", || {
            format!(
                "the smallest module would have {smallest} bytes; at least {} are needed",
                bytes.0
            )
        })?;
        let field = match self.size_factor > 1.0 {
            true => "tasks.size_factor",
            false if self.chain_bytes.1 > calls.1 * algorithm_bytes.1 => "tasks.chain_bytes",
            false => "tasks.algorithm_bytes",
        };
        must(largest <= f64::from(bytes.1), field, || {
            let most = bytes.1;
            format!("a chain with its algorithms could have {largest} bytes; at most {most} can be")
        })?;
        let entries = CatalogueLimits::LARGE.entries as u32;
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

impl TargetTable {
    fn limits(&self, limits: &mut Limits) {
        limits.one("target.fuel_per_s", self.fuel_per_s, 1.0, 1e12);
        let lists = [
            ("target.algorithm_fuel", &self.algorithm_fuel),
            ("target.chain_fuel", &self.chain_fuel),
        ];
        for (field, list) in lists {
            for (at, fuel) in list.iter().enumerate() {
                limits.one(format!("{field}[{at}]"), *fuel as f64, 0, FUEL_MAX);
            }
        }
    }

    /// Checks that there is fuel, and that nothing runs for longer than a trace may say.
    fn check(&self) -> Result<(), BadScenario> {
        let lists = [
            (
                "target.algorithm_fuel",
                &self.algorithm_fuel,
                ALGORITHM_RUN_S_MAX,
            ),
            ("target.chain_fuel", &self.chain_fuel, CHAIN_RUN_S_MAX),
        ];
        for (field, list, most_s) in lists {
            must(!list.is_empty(), field, || {
                "it is empty; at least one number is needed".into()
            })?;
            let longest_s = list.iter().map(|fuel| *fuel as f64 / self.fuel_per_s);
            let longest_s = longest_s.fold(0.0, f64::max);
            must(longest_s <= most_s, field, || {
                format!("a run of {longest_s} s with this fuel_per_s; at most {most_s} can be")
            })?;
        }
        Ok(())
    }
}

impl LinkTable {
    /// Those of the table that a file calls `table`.
    fn limits(&self, table: &str, limits: &mut Limits) {
        let field = |name| format!("{table}.{name}");
        limits.one(field("delay_s"), self.delay_s, 0.0, 60.0);
        limits.one(field("jitter_s"), self.jitter_s, 0.0, 60.0);
        limits.one(field("loss"), self.loss, 0.0, 1.0);
        limits.one(field("duplication"), self.duplication, 0.0, 1.0);
        limits.one(field("corruption"), self.corruption, 0.0, 1.0);
        limits.one(field("mtu"), self.mtu, MIN_MTU, u16::MAX);
        limits.one(field("repeats"), self.repeats, 0, REPEATS_MAX);
        if let Some(bursts) = self.bursts {
            limits.one(field("bursts.begin"), bursts.begin, 0.0, 1.0);
            limits.one(field("bursts.end"), bursts.end, 0.0, 1.0);
            limits.one(field("bursts.loss"), bursts.loss, 0.0, 1.0);
        }
        if let Some(bandwidth) = self.bandwidth {
            bandwidth.limits(&field("bandwidth"), limits);
        }
    }
}

impl BandwidthTable {
    fn limits(&self, table: &str, limits: &mut Limits) {
        let field = |name| format!("{table}.{name}");
        limits.one(field("bits_per_s"), self.bits_per_s, 100, u32::MAX);
        limits.one(field("queue_bytes"), self.queue_bytes, 1, u32::MAX);
        limits.one(field("header_bytes"), self.header_bytes, 0, 1000);
    }
}

/// The range that a field must be in.
pub(crate) fn within<T: PartialOrd + Display>(
    field: impl Into<String>,
    value: T,
    from: T,
    to: T,
) -> Result<(), BadScenario> {
    must((&from..=&to).contains(&&value), field, || {
        format!("{value} is not within {from} to {to}")
    })
}

/// What must hold of a field, or what is wrong with it.
pub(crate) fn must(
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
                "robots.chains: robots trigger 201 chains (robots.chains), and there are 200 (tasks.chains)",
            ),
            (
                "[tasks]\nalgorithms = 5",
                "tasks.algorithms: a chain calls up to 7 algorithms (tasks.algorithms_per_chain), and there are 5",
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
                "[target]\nfuel_per_s = 0.1\nalgorithm_fuel = [5]\nchain_fuel = [5]",
                "target.fuel_per_s: 0.1 is not within 1 to 1000000000000",
            ),
            (
                "[target]\nfuel_per_s = 10\nalgorithm_fuel = [5, 9000]\nchain_fuel = [5]",
                "target.algorithm_fuel: a run of 900 s with this fuel_per_s; at most 200 can be",
            ),
            (
                "[target]\nfuel_per_s = 10\nalgorithm_fuel = [5]\nchain_fuel = []",
                "target.chain_fuel: it is empty; at least one number is needed",
            ),
            (
                "[urgency]\nlow = 1.5",
                "urgency.low: 1.5 is not within 0 to 1",
            ),
            (
                "[urgency]\nnormal_s = [5, 2]",
                "urgency.normal_s[1]: 2 is not within 5 to 600",
            ),
            (
                "[urgency]\nhigh = 0.6\nlow = 0.5",
                "urgency.low: with urgency.high it is 1.1 of all calls; at most 1 can be",
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
}
