//! Scenarios: files of parameters from which traces are made.
//!
//! A scenario is a TOML file. What it leaves out is as in the paper's experiment (its Table 1), so an
//! empty file is that experiment. [`Scenario::trace`] decides everything that the nodes do not: while
//! the trace runs, nobody draws anything but the links their faults.
//!
//! ```
//! use nimblenet_sim::scenario::Scenario;
//!
//! let scenario = Scenario::read("[floor]\nlayout = 'ring'\nnodes = 6\n")?;
//! let trace = scenario.trace(1);
//! assert_eq!(trace.links.len(), 6);
//! assert_eq!(trace.taskset.chains.len(), 200);
//! # Ok::<(), nimblenet_sim::scenario::BadScenario>(())
//! ```

mod check;
mod form;
mod generate;
mod sweep;

use core::fmt;
use core::time::Duration;

use nimblenet_core::Limits;
use serde::{Deserialize, Serialize};

use crate::churn::Churn;
use crate::energy::Energy;
use crate::floor::{CONTACT_RADIUS_M, SPACING_M};
use crate::kinds::Kinds;
use crate::link::{Bandwidth, Bursts, LinkModel};
use crate::run::Settings;
use crate::trace::duration;
use crate::urgency::Urgency;

pub(crate) use check::{must, within};
pub use generate::{CONTACT_STEP, path};
pub use sweep::{Parameter, Sweep};

/// The smallest and the largest value of something.
pub type Span<T> = (T, T);

/// Why a file is not a scenario.
#[derive(Debug)]
pub enum BadScenario {
    /// It is not TOML.
    Form(toml::de::Error),
    /// A field has a value that cannot be.
    Field {
        /// The field, as a path.
        field: String,
        /// What is wrong with it, and what would be right.
        what: String,
    },
}

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(error) => {
                let said = error.to_string();
                // The parser names its own types.
                let foreign = (
                    "invalid type: integer `",
                    "` as i128, expected any valid TOML value",
                );
                let number = said.split_once(foreign.0).and_then(|(place, rest)| {
                    let (number, _) = rest.split_once(foreign.1)?;
                    Some((place, number))
                });
                match number {
                    Some((place, number)) => {
                        write!(f, "{place}{number} is larger than any number may be")
                    }
                    None => f.write_str(said.trim_end()),
                }
            }
            Self::Field { field, what } => write!(f, "{field}: {what}"),
        }
    }
}

impl core::error::Error for BadScenario {}

/// The parameters of an experiment. Lengths are in metres, times in seconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// How long it lasts.
    pub duration_s: f64,
    /// Where nodes stand.
    pub floor: FloorTable,
    /// What moves and triggers.
    pub robots: RobotTable,
    /// What is triggered.
    pub tasks: TaskTable,
    /// How urgent it is, if calls have priorities and deadlines.
    pub urgency: Option<Urgency>,
    /// What nodes have.
    pub nodes: NodeTable,
    /// How links behave.
    pub link: LinkTable,
    /// The medium that each node shares with its neighbours, if they do.
    pub medium: Option<BandwidthTable>,
    /// The processor that run times are computed for, if they are.
    pub target: Option<TargetTable>,
    /// What nodes use.
    pub energy: Energy,
}

/// How nodes stand.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// In rows and columns, about 4 : 3.
    #[default]
    Grid,
    /// In one row.
    Line,
    /// On a circle.
    Ring,
    /// At random points; those in range hear each other.
    Geometric,
}

impl Shape {
    /// The names, in the order of the variants.
    const NAMES: [&'static str; 4] = ["grid", "line", "ring", "geometric"];
}

/// The floor and its nodes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FloorTable {
    /// How the nodes stand.
    pub layout: Shape,
    /// How many there are; the registry is one more.
    pub nodes: u16,
    /// Metres between neighbours. Of a geometric layout, an area of this squared has one node.
    pub spacing_m: f64,
    /// The greatest distance between a robot and the node that it talks to.
    pub radius_m: f64,
    /// The greatest distance between nodes that hear each other, in a geometric layout.
    pub range_m: f64,
}

/// The robots.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RobotTable {
    /// How many there are.
    pub count: u32,
    /// How fast they are.
    pub speed_m_s: Span<f64>,
    /// The time between two triggers of one robot.
    pub trigger_interval_s: Span<f64>,
    /// How many of the chains each robot triggers.
    pub chains: u32,
    /// Whether a robot that has driven on asks for the results of its calls at the node where it is.
    pub hand_over: bool,
}

/// The task set.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskTable {
    /// How many chains there are.
    pub chains: u32,
    /// How long their modules are.
    pub chain_bytes: Span<u32>,
    /// How long a chain runs before, between and after its calls, taken together.
    pub chain_run_s: Span<f64>,
    /// How many algorithms there are that chains share.
    pub algorithms: u32,
    /// How long their modules are.
    pub algorithm_bytes: Span<u32>,
    /// How long they run.
    pub algorithm_run_s: Span<f64>,
    /// How many algorithms a chain calls.
    pub algorithms_per_chain: Span<u32>,
    /// The share of calls that are to one of the shared algorithms. Each other call is to an algorithm
    /// that only its chain has.
    pub sharing: f64,
    /// How much more often popular chains are triggered (see [`Habits`](crate::robot::Habits)).
    pub zipf: f64,
    /// What all lengths of modules are multiplied by.
    pub size_factor: f64,
    /// The share of the shared algorithms that are native: devices have them, so nodes fetch none of
    /// their modules.
    pub native: f64,
    /// How wrong the declared costs are: each is so many times what the tasklet uses, or this part of
    /// it.
    pub cost_error: f64,
}

/// The nodes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeTable {
    /// Bytes of each node's cache.
    pub cache_bytes: u32,
    /// Executors of each node; without it no tasklet ever waits for one.
    pub executors: Option<u16>,
    /// Whether a call begins only when everything is here that its chain may call; without it as the
    /// profile has it.
    pub preload: Option<bool>,
    /// The share of nodes whose executors do not run WebAssembly (see [`lacks`](crate::kinds::lacks)).
    pub without_wasm: f64,
    /// The share of nodes that have no native tasklets.
    pub without_native: f64,
    /// How often each node goes down in an hour; it comes back with an empty cache.
    pub crashes_per_h: f64,
    /// How long it is down.
    pub down_s: Span<f64>,
}

/// The processor for which run times are computed from instructions: a run takes its fuel divided by
/// the speed, instead of a time drawn from `[tasks]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetTable {
    /// Fuel that its interpreter uses up in a second; an instruction is about one unit.
    pub fuel_per_s: f64,
    /// Fuel of the algorithms, in turn: the first algorithm has the first number.
    pub algorithm_fuel: Vec<u64>,
    /// Fuel of the chains, in turn, without the algorithms that they call.
    pub chain_fuel: Vec<u64>,
}

/// A link between two nodes, in each direction.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkTable {
    /// The time from the end of a transmission to its arrival.
    pub delay_s: f64,
    /// Additional time, random between zero and this.
    pub jitter_s: f64,
    /// Share of frames lost, each by itself.
    pub loss: f64,
    /// Share of frames that arrive twice.
    pub duplication: f64,
    /// Share of frames of which one bit arrives wrong.
    pub corruption: f64,
    /// The longest frame that nodes send, in bytes.
    pub mtu: u16,
    /// How often a frame for one neighbour is repeated that the neighbour does not acknowledge; 0: frames
    /// are not acknowledged.
    pub repeats: u8,
    /// Loss in bursts, besides the other.
    pub bursts: Option<BurstTable>,
    /// How fast frames leave; without it their transmission takes no time.
    pub bandwidth: Option<BandwidthTable>,
}

/// Loss in bursts (see [`Bursts`]).
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstTable {
    /// Chance that a good link becomes bad, for each frame.
    pub begin: f64,
    /// Chance that a bad link becomes good, for each frame.
    pub end: f64,
    /// Share of frames lost while it is bad.
    pub loss: f64,
}

/// How fast frames leave (see [`Bandwidth`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandwidthTable {
    /// Bits in a second.
    pub bits_per_s: u32,
    /// Bytes that may wait for their transmission on a link; frames beyond are lost. A shared medium
    /// loses none.
    #[serde(default = "BandwidthTable::queue_bytes")]
    pub queue_bytes: u32,
    /// Bytes that each frame has besides those of the node.
    #[serde(default)]
    pub header_bytes: u32,
}

impl Default for Scenario {
    /// The paper's experiment.
    fn default() -> Self {
        Self {
            duration_s: 3600.0,
            floor: FloorTable::default(),
            robots: RobotTable::default(),
            tasks: TaskTable::default(),
            urgency: None,
            nodes: NodeTable::default(),
            link: LinkTable::default(),
            medium: None,
            target: None,
            energy: Energy::default(),
        }
    }
}

impl Default for FloorTable {
    fn default() -> Self {
        Self {
            layout: Shape::Grid,
            nodes: 12,
            spacing_m: SPACING_M,
            radius_m: CONTACT_RADIUS_M,
            range_m: 1.5 * SPACING_M,
        }
    }
}

impl Default for RobotTable {
    fn default() -> Self {
        Self {
            count: 20,
            speed_m_s: (0.0, 1.0),
            trigger_interval_s: (9.0, 11.0),
            chains: 20,
            hand_over: false,
        }
    }
}

impl Default for TaskTable {
    fn default() -> Self {
        Self {
            chains: 200,
            chain_bytes: (100, 500),
            chain_run_s: (0.1, 0.5),
            algorithms: 50,
            algorithm_bytes: (100, 500),
            algorithm_run_s: (0.01, 2.0),
            algorithms_per_chain: (3, 7),
            sharing: 1.0,
            zipf: 0.0,
            size_factor: 1.0,
            native: 0.0,
            cost_error: 1.0,
        }
    }
}

impl Default for NodeTable {
    fn default() -> Self {
        Self {
            cache_bytes: 32_768,
            executors: None,
            preload: None,
            without_wasm: 0.0,
            without_native: 0.0,
            crashes_per_h: 0.0,
            down_s: (10.0, 60.0),
        }
    }
}

impl Default for LinkTable {
    fn default() -> Self {
        Self {
            delay_s: LinkModel::PAPER.delay.as_secs_f64(),
            jitter_s: 0.0,
            loss: 0.0,
            duplication: 0.0,
            corruption: 0.0,
            mtu: 4096,
            repeats: 0,
            bursts: None,
            bandwidth: None,
        }
    }
}

/// Declares the scenarios that come with the simulator, a file of `scenarios/` each.
macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        /// The names of the built-in scenarios.
        pub const BUILT_IN: &'static [&'static str] = &[$($name),+];

        /// The file of a built-in scenario; none if there is none with this name.
        pub fn built_in(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("../scenarios/", $name, ".toml"))),)+
                _ => None,
            }
        }
    };
}

impl Scenario {
    built_in![
        "paper",
        "line",
        "ring",
        "geometric",
        "warehouse",
        "mixed",
        "calibrated",
    ];

    /// Reads a scenario, and checks it.
    ///
    /// # Errors
    /// [`BadScenario`] names the line, or the field with its value and what would be right.
    pub fn read(text: &str) -> Result<Self, BadScenario> {
        let scenario = form::read(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The fields that differ from the usual and are no part of a [trace](Self::trace).
    pub fn left_out(&self) -> Vec<&'static str> {
        let usual = Self::default();
        let (nodes, link) = (&self.nodes, &self.link);
        let fields = [
            ("urgency", self.urgency.is_some()),
            ("medium", self.medium.is_some()),
            ("energy", self.energy != usual.energy),
            ("robots.hand_over", self.robots.hand_over),
            ("tasks.native", self.tasks.native > 0.0),
            (
                "tasks.cost_error",
                self.tasks.cost_error != usual.tasks.cost_error,
            ),
            (
                "nodes.cache_bytes",
                nodes.cache_bytes != usual.nodes.cache_bytes,
            ),
            ("nodes.executors", nodes.executors != usual.nodes.executors),
            ("nodes.preload", nodes.preload != usual.nodes.preload),
            ("nodes.without_wasm", nodes.without_wasm > 0.0),
            ("nodes.without_native", nodes.without_native > 0.0),
            ("nodes.crashes_per_h", nodes.crashes_per_h > 0.0),
            ("link", *link != usual.link),
        ];
        let others = fields
            .into_iter()
            .filter_map(|(field, differs)| differs.then_some(field));
        others.collect()
    }

    /// Gives settings the nodes and links of this scenario.
    pub fn settle(&self, settings: &mut Settings) {
        settings.cache_bytes = self.nodes.cache_bytes as usize;
        settings.executors = self.nodes.executors;
        settings.preload = self.nodes.preload;
        settings.energy = self.energy;
        settings.hand_over = self.robots.hand_over;
        settings.urgency = self.urgency;
        settings.kinds = Kinds {
            natives: (self.tasks.native * f64::from(self.tasks.algorithms)).round() as u32,
            without_wasm: self.nodes.without_wasm,
            without_native: self.nodes.without_native,
        };
        let (shortest, longest) = self.nodes.down_s;
        settings.cost_error = self.tasks.cost_error;
        settings.churn = (self.nodes.crashes_per_h > 0.0).then(|| Churn {
            per_hour: self.nodes.crashes_per_h,
            down: (duration(shortest), duration(longest)),
        });
        settings.link = self.link.model();
        settings.mtu = self.link.mtu;
        settings.repeats = self.link.repeats;
        settings.medium = self.medium.map(BandwidthTable::bandwidth);
    }
}

impl LinkTable {
    /// Lets frames leave at so many bits a second; each has the bytes of IP and UDP besides its own,
    /// unless the table says otherwise.
    pub fn set_bits_per_s(&mut self, bits_per_s: u32) {
        let usual = BandwidthTable {
            bits_per_s,
            queue_bytes: BandwidthTable::queue_bytes(),
            header_bytes: 28,
        };
        let table = self.bandwidth.unwrap_or(usual);
        self.bandwidth = Some(BandwidthTable {
            bits_per_s,
            ..table
        });
    }

    fn model(&self) -> LinkModel {
        LinkModel {
            delay: duration(self.delay_s),
            jitter: duration(self.jitter_s),
            loss: self.loss,
            bursts: self.bursts.map(|bursts| Bursts {
                begin: bursts.begin,
                end: bursts.end,
                loss: bursts.loss,
            }),
            duplication: self.duplication,
            corruption: self.corruption,
            bandwidth: self.bandwidth.map(BandwidthTable::bandwidth),
            mtu: usize::MAX,
        }
    }
}

impl BandwidthTable {
    const fn queue_bytes() -> u32 {
        Limits::linux().outbox_bytes as u32
    }

    pub(crate) const fn bandwidth(self) -> Bandwidth {
        Bandwidth {
            bits_per_s: self.bits_per_s,
            queue_bytes: self.queue_bytes,
            header_bytes: self.header_bytes,
        }
    }
}

impl RobotTable {
    fn interval(&self) -> (Duration, Duration) {
        let (shortest, longest) = self.trigger_interval_s;
        (duration(shortest), duration(longest))
    }
}
