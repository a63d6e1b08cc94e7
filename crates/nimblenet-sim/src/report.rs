//! What came out of a run.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use nimblenet_core::Acquired;
use nimblenet_core::wire::Kind;
use nimblenet_tasklet::NodeId;
use serde::Serialize;

use crate::bound::{LowerBound, perfect_pool_mean};
use crate::course::Course;
use crate::energy::Duty;
use crate::errands::HandOver;
use crate::run::Settings;
use crate::tally::{Accounting, Ended, Load, Tally, kind_name};
use crate::trace::{TaskSet, Trace, duration};
use crate::urgency::Deadlines;

/// Where acquired tasklets came from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Sources {
    /// The node's own cache.
    pub local: u64,
    /// A node one hop away.
    pub neighbour: u64,
    /// A node further away.
    pub global: u64,
    /// The registry.
    pub registry: u64,
}

/// The responses to the clients of a node.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Responses {
    /// Calls that had a result by the end.
    pub finished: u64,
    /// From the trigger to the result, in the mean, in seconds.
    pub mean_s: f64,
}

/// The bytes on air by both accountings, for the two headers that are always reported.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct AirBytes {
    /// The payloads of the paper's protocol.
    pub nominal: BTreeMap<u32, u64>,
    /// Frames as sent.
    pub real: BTreeMap<u32, u64>,
}

/// The packet headers that are always reported: IP with UDP, and these with 802.11 and LLC.
pub const HEADERS: [u32; 2] = [28, 100];

/// The length of the windows of responses, in seconds, as in the paper.
pub const RESPONSE_WINDOW_S: f64 = 100.0;

/// What came out of a run. Times are in seconds; bytes are counted as the settings say.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The registry's id.
    pub registry: u16,
    /// `nimble` or `monolithic`.
    pub taskset: &'static str,
    /// `paper` or `default`.
    pub profile: &'static str,
    /// How bytes are counted.
    pub accounting: Accounting,
    /// Bytes counted for each packet besides its payload.
    pub header_bytes: u32,
    /// Executors of each node; none for as many as needed.
    pub executors: Option<u16>,
    /// Calls that robots in contact made.
    pub triggered: u64,
    /// Calls that had a result by the end.
    pub finished_by_end: u64,
    /// Calls that failed by the end.
    pub failed: u64,
    /// The same by the code of their fault; `node-down` if the node was down, or went down before the
    /// call had ended.
    pub failures: BTreeMap<&'static str, u64>,
    /// Requests that were refused because the holder no longer had the module.
    pub nacks: u64,
    /// What each node has sent; forwarded packets count.
    pub tx_bytes: BTreeMap<u16, u64>,
    /// What each node has received; duplicates count.
    pub rx_bytes: BTreeMap<u16, u64>,
    /// How much of the time each node ran tasklets, sent and received; empty if nobody has said when nodes
    /// compute.
    pub duty_cycle: BTreeMap<u16, Duty>,
    /// What each node has used, in joules; empty likewise.
    pub energy_j: BTreeMap<u16, f64>,
    /// What all nodes have sent.
    pub air_bytes: u64,
    /// Packets that all nodes have sent.
    pub air_packets: u64,
    /// Bytes on air by both accountings.
    pub air_bytes_by_accounting: AirBytes,
    /// What was sent of each kind of message.
    pub tx_bytes_by_kind: BTreeMap<&'static str, u64>,
    /// Bytes of modules, and of catalogues that travel, at the nodes that had asked for them; without
    /// headers.
    pub received_module_bytes: u64,
    /// Messages at their origin.
    pub messages_originated: BTreeMap<&'static str, u64>,
    /// Where tasklets came from.
    pub acquisitions_by_source: Sources,
    /// The time in which a call waits for modules; none, as the other times, if no call has a result.
    pub mean_acquisition_s: Option<f64>,
    /// The same of calls that were the first of their chain at their node.
    pub first_acquisition_s: Option<f64>,
    /// The same of all other calls.
    pub later_acquisition_s: Option<f64>,
    /// Bytes of modules that a node holds at the end, in the mean.
    pub cached_bytes_per_node: u64,
    /// The time in which its tasklets run.
    pub mean_execution_s: Option<f64>,
    /// From the trigger to the result.
    pub mean_response_s: Option<f64>,
    /// The response that 99 of 100 calls do not exceed.
    pub p99_response_s: Option<f64>,
    /// What the clients of each node have got.
    pub responses_by_node: BTreeMap<u16, Responses>,
    /// The mean response if all executors were one pool and communication free; none if no call would
    /// end by the end.
    pub perfect_pool_mean_s: Option<f64>,
    /// Bytes of calls between nodes and of jobs that move; questions for results are not among them.
    pub placement_bytes: u64,
    /// Calls that another node took.
    pub calls_moved: u64,
    /// How robots got the results of their calls; none if they did not ask for them elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<HandOver>,
    /// How many calls of each priority have ended in time, of those that were due by the end; none if they
    /// had no deadlines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadlines: Option<BTreeMap<&'static str, Deadlines>>,
    /// Jain's index of what nodes have sent and received: 1 if all are equal. Without the registry.
    pub jain_txrx: f64,
    /// The coefficient of variation of the same.
    pub cv_txrx: f64,
    /// What was sent and received by the end of every tenth second, from second 0.
    pub cumulative_txrx_bytes_per_10s: Vec<u64>,
    /// The mean response of the calls that ended in each window of [`RESPONSE_WINDOW_S`].
    pub mean_response_s_per_100s: Vec<Option<f64>>,
    /// What no protocol can beat that runs each module where it ran; of calls that failed only what
    /// they ran counts.
    pub lower_bound_bytes: u64,
    /// The same for the two headers that are always reported.
    pub lower_bound_bytes_by_header: BTreeMap<u32, u64>,
    /// Bytes on air, as a multiple of the bound; none if no module ran.
    pub air_over_lower_bound: Option<f64>,
    /// A number that differs if anything happened otherwise.
    pub event_log_hash: String,
    /// CPU time that the run took; its driver fills it in.
    pub cpu_s: f64,
    /// The most memory that the process has held; its driver fills it in.
    pub peak_rss_bytes: u64,
}

/// A trace that was replayed, and what is known of the nodes that did: what a report is made from.
#[derive(Debug)]
pub struct Replay<'a> {
    /// The trace.
    pub trace: &'a Trace,
    /// The tasklets; the first catalogue numbers are those of the chains, in their order.
    pub tasks: &'a TaskSet,
    /// How it was replayed.
    pub settings: &'a Settings,
    /// What nodes have sent and received, and how calls have ended.
    pub tally: &'a Tally,
    /// Calls that robots in contact made.
    pub triggered: u64,
    /// Those that met a node that was down, or were lost with a node.
    pub refused: u64,
    /// Where the tasklets of each node came from.
    pub acquired: Vec<Acquired>,
    /// Bytes of modules that each node holds at the end.
    pub held_bytes: Vec<u64>,
}

impl Report {
    /// The report of a replay.
    pub fn of(replay: &Replay<'_>) -> Self {
        let Replay {
            trace,
            tasks,
            settings,
            tally,
            ..
        } = *replay;
        let cache_bytes = settings.cache_bytes as u64;
        let bound = LowerBound::of(trace, tasks, cache_bytes, &tally.needs);
        let pool = usize::from(settings.executors.unwrap_or(1)) * trace.nodes.len();
        let call_s = settings.call_cost.as_secs_f64();
        let pool = perfect_pool_mean(trace, tasks, pool, call_s);
        let mut report = Self::new(settings, tally, bound, pool);
        report.triggered = replay.triggered;
        report.failed = replay.refused + tally.failed.values().sum::<u64>();
        report.failures = tally.failed.clone();
        if replay.refused > 0 {
            report.failures.insert("node-down", replay.refused);
        }
        report.balance(NodeId(trace.registry.id), tally, settings);
        report.energy(tally, settings, trace.duration_s);
        let acquired = replay.acquired.iter();
        acquired.for_each(|acquired| report.acquired(acquired));
        let held = &replay.held_bytes;
        report.cached_bytes_per_node = held.iter().sum::<u64>() / (held.len() as u64).max(1);
        // Numbers follow the order of publication.
        let run = |number: u16| duration(tasks.run_s(number.into(), call_s));
        report.calls(tally, run);
        let course = Course::new(trace.duration_s, 0, tally);
        report.mean_response_s_per_100s = course.windows(RESPONSE_WINDOW_S);
        report
    }

    fn new(settings: &Settings, tally: &Tally, bound: LowerBound, pool: Option<Duration>) -> Self {
        let Settings {
            accounting,
            header_bytes,
            ..
        } = *settings;
        let bytes = |load: Load| load.bytes(accounting, header_bytes);
        let air = tally.air();
        let by_header = |accounting| {
            let at = |header| (header, air.bytes(accounting, header));
            HEADERS.map(at).into_iter().collect()
        };
        let mut report = Self {
            seed: settings.seed,
            taskset: settings.cut.name(),
            profile: settings.profile.name(),
            accounting,
            header_bytes,
            executors: settings.executors,
            air_bytes: bytes(air),
            air_packets: air.packets,
            air_bytes_by_accounting: AirBytes {
                nominal: by_header(Accounting::Nominal),
                real: by_header(Accounting::Real),
            },
            perfect_pool_mean_s: pool.map(|pool| pool.as_secs_f64()),
            received_module_bytes: tally.module_bytes(),
            cumulative_txrx_bytes_per_10s: tally.cumulative().map(bytes).collect(),
            lower_bound_bytes: bound.bytes(header_bytes),
            lower_bound_bytes_by_header: HEADERS.map(|it| (it, bound.bytes(it))).into(),
            ..Self::default()
        };
        let bound = Some(report.lower_bound_bytes).filter(|bound| *bound > 0);
        report.air_over_lower_bound = bound.map(|bound| report.air_bytes as f64 / bound as f64);
        for (id, sent, received) in tally.nodes() {
            report.tx_bytes.insert(id.0, bytes(sent));
            report.rx_bytes.insert(id.0, bytes(received));
        }
        for (kind, load, originated) in tally.kinds() {
            if load.packets == 0 {
                continue;
            }
            let name = kind_name(kind);
            *report.tx_bytes_by_kind.entry(name).or_default() += bytes(load);
            *report.messages_originated.entry(name).or_default() += originated;
            match kind {
                Kind::Refuse => report.nacks = originated,
                Kind::Load | Kind::Call | Kind::Return | Kind::Move | Kind::Offer | Kind::Go => {
                    report.placement_bytes += bytes(load);
                    if matches!(kind, Kind::Call | Kind::Offer) {
                        report.calls_moved += originated;
                    }
                }
                Kind::Search
                | Kind::Found
                | Kind::MetadataRequest
                | Kind::Metadata
                | Kind::Fetch
                | Kind::Data
                | Kind::Hello
                | Kind::Holdings
                | Kind::Report
                | Kind::Ack
                | Kind::Flow => {}
            }
        }
        // A question for a result travels as a call, and moves none.
        report.placement_bytes -= bytes(tally.claimed());
        report.calls_moved -= tally.questions();
        report
    }

    /// Fills in the registry, and how evenly the load lies on the other nodes.
    fn balance(&mut self, registry: NodeId, tally: &Tally, settings: &Settings) {
        let bytes = |load: Load| load.bytes(settings.accounting, settings.header_bytes) as f64;
        let nodes = tally.nodes().filter(|(id, ..)| *id != registry);
        let loads = nodes.map(|(_, sent, received)| bytes(sent) + bytes(received));
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for load in loads {
            count += 1.0;
            sum += load;
            squares += load * load;
        }
        self.registry = registry.0;
        if sum > 0.0 {
            self.jain_txrx = sum * sum / (count * squares);
            let mean = sum / count;
            let variance = (squares / count - mean * mean).max(0.0);
            self.cv_txrx = variance.sqrt() / mean;
        }
    }

    /// What nodes have done, and what they have used for it. The radio carries frames as they are sent,
    /// with their headers.
    fn energy(&mut self, tally: &Tally, settings: &Settings, seconds: f64) {
        if tally.ran().all(|(_, ran)| ran.is_zero()) {
            // Real nodes do not tell when they compute.
            return;
        }
        let energy = &settings.energy;
        let bytes = |load: Load| load.bytes(Accounting::Real, settings.header_bytes);
        for ((id, sent, received), (_, ran)) in tally.nodes().zip(tally.ran()) {
            let radio = (bytes(sent), bytes(received));
            let duty = energy.duty(seconds, ran.as_secs_f64(), radio);
            self.duty_cycle.insert(id.0, duty);
            self.energy_j.insert(id.0, energy.joules(duty, seconds));
        }
    }

    /// Adds where a node's tasklets came from.
    fn acquired(&mut self, acquired: &Acquired) {
        let sources = &mut self.acquisitions_by_source;
        sources.local += acquired.local;
        sources.neighbour += acquired.neighbour;
        sources.global += acquired.global;
        sources.registry += acquired.registry;
    }

    /// Fills in the times of calls; `run` says how long the chain with a catalogue number runs.
    fn calls(&mut self, tally: &Tally, run: impl Fn(u16) -> Duration) {
        self.finished_by_end = tally.ended.len() as u64;
        if tally.ended.is_empty() {
            return;
        }
        let count = tally.ended.len() as f64;
        let mean = |times: &mut dyn Iterator<Item = Duration>| {
            Some(times.sum::<Duration>().as_secs_f64() / count)
        };
        let ended = tally.ended.iter();
        self.mean_acquisition_s = mean(&mut ended.clone().map(|call| call.acquisition));
        let ran = ended.clone().filter_map(|call| call.number).map(run);
        let ran: Vec<Duration> = ran.collect();
        let ran_s = ran.iter().sum::<Duration>().as_secs_f64();
        self.mean_execution_s = (!ran.is_empty()).then(|| ran_s / ran.len() as f64);
        let mut known = BTreeSet::new();
        let (first, later): (Vec<&Ended>, Vec<&Ended>) = ended
            .clone()
            .partition(|call| known.insert((call.node, call.number)));
        let waited = |calls: &[&Ended]| {
            let waited: Duration = calls.iter().map(|call| call.acquisition).sum();
            (!calls.is_empty()).then(|| waited.as_secs_f64() / calls.len() as f64)
        };
        self.first_acquisition_s = waited(&first);
        self.later_acquisition_s = waited(&later);
        self.mean_response_s = mean(&mut ended.clone().map(|call| call.took));
        for call in &tally.ended {
            let own = self.responses_by_node.entry(call.node.0).or_default();
            own.finished += 1;
            own.mean_s += call.took.as_secs_f64();
        }
        for own in self.responses_by_node.values_mut() {
            own.mean_s /= own.finished as f64;
        }
        let mut responses: Vec<Duration> = ended.map(|call| call.took).collect();
        responses.sort_unstable();
        let at = (responses.len() * 99).div_ceil(100) - 1;
        self.p99_response_s = Some(responses[at].as_secs_f64());
    }
}
