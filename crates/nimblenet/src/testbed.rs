//! The testbed: a trace replayed on real nodes with an emulated air between them, beside the
//! simulator.

mod air;
mod boards;
mod compare;
mod load;
mod peers;
mod processes;
mod progress;
mod radio;
mod robots;
mod runner;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use nimblenet_core::{Acquired, Catalogue, Config, DropReason, Instant};
use nimblenet_node::SigningKey;
use nimblenet_node::remote::{Form, Remote};
use nimblenet_sim::course::Course;
use nimblenet_sim::tally::Tally;
use nimblenet_sim::trace::{TaskSet, Trace};
use nimblenet_sim::{Balance, Fates, HandOver, NAMESPACE, Replay, Report, Settings};
use nimblenet_tasklet::api::status;
use nimblenet_tasklet::{Name, NodeId, Package, SLEEP_US_MAX};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use self::air::Air;
use self::load::{Load, Needs, Room};
use self::processes::{Process, Site};
use self::progress::Progress;
use self::radio::{Pace, Radio};
use self::robots::{Ended, Robots};
use self::runner::State;
use crate::interrupt::Interrupt;
use crate::scratch::Scratch;

pub(crate) use self::boards::{MTU as BOARD_MTU, fits as fits_boards};
pub(crate) use self::compare::{Both, bound_of_finished, document, figures, page, too_late};
pub(crate) use self::runner::Firmware;

/// The time within which a registry must store the publication.
const PUBLISH_MAX: Duration = Duration::from_secs(120);
/// The time within which a node must say its numbers.
const NUMBERS_MAX: Duration = Duration::from_secs(10);
/// How often processes are looked at, in real time.
const LOOK: Duration = Duration::from_millis(200);

/// A trace that is to be replayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// The trace.
    pub(crate) trace: &'a Trace,
    /// The protocol, the task set, the cache and the links.
    pub(crate) settings: Settings,
    /// How many times as fast as real time everything goes.
    pub(crate) speedup: u32,
    /// The folder in which configurations and logs stay; none if they go.
    pub(crate) logs: Option<&'a Path>,
    /// What boards need, if nodes are boards.
    pub(crate) firmware: Option<&'a Firmware>,
}

/// What came out of a replay.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The same as of a simulation.
    pub(crate) report: Report,
    /// How it went over time.
    pub(crate) course: Course,
    /// What only a testbed has.
    pub(crate) extra: Extra,
}

/// What only a testbed has.
#[derive(Clone, Debug)]
pub(crate) struct Extra {
    /// How many times as fast as real time it went.
    pub(crate) speedup: u32,
    /// The modules.
    pub(crate) room: Room,
    /// How often tasklets were acquired from a node so many links away, for calls with a result.
    pub(crate) by_hops: BTreeMap<u8, u64>,
    /// By how much a call that was alone at its node took longer than its waits and acquisitions, in
    /// seconds; none if no call was alone. On boards only calls count that acquired nothing.
    pub(crate) overhead_s: Option<f64>,
    /// Calls that had no answer when the trace was over, and got one when their node ended.
    pub(crate) cut_off: u64,
    /// Calls that never got an answer.
    pub(crate) unanswered: u64,
    /// Frames that nodes dropped because too many waited.
    pub(crate) outbox_full: u64,
    /// By how much frames came later than their links say, in the time of the trace: 99 of 100 at most
    /// so much, and the latest one.
    pub(crate) lateness: (Duration, Duration),
    /// What became of frames in the air, in the whole life of the nodes.
    pub(crate) fates: Fates,
    /// What each direction of each link has carried: from, to, and its bytes.
    pub(crate) balances: Vec<(NodeId, NodeId, Balance)>,
    /// How the boards are at the end; none if nodes are processes.
    pub(crate) boards: Option<Vec<State>>,
    /// A number that differs if a board has sent anything else, or at another time; none if nodes are
    /// processes.
    pub(crate) hash: Option<u64>,
}

/// The numbers of all nodes at the end of the trace.
#[derive(Debug, Default)]
struct Numbers {
    acquired: Vec<Acquired>,
    held_bytes: Vec<u64>,
    outbox_full: u64,
    /// The most memory that one of them has held.
    peak_bytes: u64,
}

/// Replays a trace on processes or boards.
///
/// # Errors
/// If these or the air cannot be started or fail, or a request to end comes.
pub(crate) fn replay(plan: &Plan<'_>) -> anyhow::Result<Outcome> {
    match plan.firmware {
        Some(firmware) => boards::replay(plan, firmware),
        None => crate::remote::block_on(run(plan)),
    }
}

async fn run(plan: &Plan<'_>) -> anyhow::Result<Outcome> {
    let mut interrupt = Interrupt::new().context("taking signals over")?;
    let progress = Progress::new(plan.settings.cut, plan.trace.duration_s);
    let done = tokio::select! {
        done = work(plan, &progress) => done,
        () = interrupt.requested() => bail!("interrupted; all processes have ended"),
    };
    done
}

async fn work(plan: &Plan<'_>, progress: &Progress) -> anyhow::Result<Outcome> {
    let Plan {
        trace, settings, ..
    } = plan;
    let before = used();
    let tasks = settings.cut.of(&trace.taskset);
    let registry = NodeId(trace.registry.id);
    let fuel_ms = Config::new(registry, settings.mtu).fuel_ms;
    let needs = Needs {
        sleep_us: SLEEP_US_MAX,
        fuel_us: u64::from(fuel_ms) / 1000,
    };
    let load = Load::of(&tasks, needs)?;
    let everyone = [registry].into_iter().chain(trace.ids());
    let tally = Tally::new(everyone, trace.duration(), tasks.chains.len() as u16);
    let pace = Pace::start(plan.speedup);
    let air = Air::new(trace.all_links(), settings.link, settings.seed, tally);
    let radio = Radio::start(air, pace)?;
    let scratch = Scratch::new().context("making a folder for the processes")?;
    let key = SigningKey::generate().context("making a key")?;
    let site = Site {
        folder: scratch.path(),
        logs: plan.logs.unwrap_or(scratch.path()),
        trace,
        settings,
        speedup: plan.speedup,
        key: key.public(),
        radio: &radio,
    };
    progress.step("starting the registry");
    let mut shop = site.registry()?;
    progress.step("publishing");
    let catalogue = publish(shop.coap, &load, &key, &tasks).await?;
    progress.step("starting the nodes");
    let mut nodes = site.nodes(&catalogue)?;
    let doors = nodes.iter().map(|node| (node.id(), node.coap)).collect();
    let (begun, end) = (pace.now(), pace.now() + trace.duration());
    radio.begin(begun, end);
    let mut robots = Robots::new(trace, doors, pace, begun, settings.hand_over)?;
    let mut ended = Vec::new();
    loop {
        let now = pace.now();
        progress.time(now.since(begun), robots.made, &ended);
        if now >= end {
            break;
        }
        let next = (now + LOOK * plan.speedup).min(end);
        ended.extend(robots.work(next).await);
        nodes
            .iter_mut()
            .chain([&mut shop])
            .try_for_each(Process::check)?;
        radio.check()?;
    }
    let numbers = numbers(&nodes).await?;
    progress.step("stopping");
    let stopping = tokio::task::spawn_blocking(move || processes::end(nodes));
    ended.extend(robots.come_home().await);
    stopping.await.context("stopping the nodes")??;
    processes::end(vec![shop])?;
    let hand_over = robots.outcome();
    let facts = Facts {
        hand_over,
        plan,
        tasks: &tasks,
        load: &load,
        numbers,
        made: robots.made as u64,
        triggered: robots.triggered as u64,
        ended,
        fetched: BTreeMap::new(),
    };
    let mut outcome = radio.stop(|air| facts.outcome(air));
    outcome.report.cpu_s = used().saturating_sub(before).as_secs_f64();
    Ok(outcome)
}

/// Publishes the load in one batch. Returns the catalogue, whose numbers are those of the trace.
async fn publish(
    registry: SocketAddr,
    load: &Load,
    key: &SigningKey,
    tasks: &TaskSet,
) -> anyhow::Result<Catalogue> {
    let packages = load.packages.iter().map(|bytes| Package::decode(bytes));
    let packages: Vec<_> = packages
        .collect::<Result<_, _>>()
        .context("reading a package")?;
    let mut remote = Remote::connect(registry, PUBLISH_MAX).await?;
    let published = remote.publish(&packages, Form::Plain, key, &mut []).await;
    published
        .map_err(|stopped| stopped.error)
        .context("publishing the trace's tasklets")?;
    let namespace = Name::new(NAMESPACE).context("the namespace of traces")?;
    let catalogue = remote.signed_catalogue(&namespace, &key.public()).await;
    let catalogue = catalogue.context("fetching the catalogue")?;
    for chain in 0..tasks.chains.len() as u32 {
        let name = robots::name(chain)?.name;
        let number = catalogue.find(&name).map(|entry| u32::from(entry.number));
        ensure!(
            number == Some(chain),
            "{name} is not number {chain} of the catalogue"
        );
    }
    Ok(catalogue)
}

/// Asks all nodes for their numbers.
async fn numbers(nodes: &[Process]) -> anyhow::Result<Numbers> {
    let mut all = Numbers::default();
    for node in nodes {
        let mut remote = Remote::connect(node.coap, NUMBERS_MAX).await?;
        let numbers = remote.numbers().await;
        let numbers = numbers.with_context(|| format!("asking node {}", node.id()))?;
        let number = |key: &str| numbers.get(key).copied().unwrap_or(0);
        all.acquired.push(Acquired {
            local: number(status::ACQUIRED_LOCAL),
            neighbour: number(status::ACQUIRED_NEIGHBOUR),
            global: number(status::ACQUIRED_GLOBAL),
            registry: number(status::ACQUIRED_REGISTRY),
        });
        all.held_bytes.push(number(status::CACHE_USED));
        all.peak_bytes = all.peak_bytes.max(node.peak_bytes());
        all.outbox_full += number(DropReason::QueueFull.name());
    }
    Ok(all)
}

/// The CPU time of all processes that have ended. Nothing if the system does not say.
fn used() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
    let time = used.map_or(0, |used| {
        (used.user_time() + used.system_time()).num_microseconds()
    });
    Duration::from_micros(time.unsigned_abs())
}

/// All that is known when the processes have ended.
struct Facts<'a> {
    /// How robots got their results, but for the bytes.
    hand_over: Option<HandOver>,
    plan: &'a Plan<'a>,
    tasks: &'a TaskSet,
    load: &'a Load,
    numbers: Numbers,
    made: u64,
    triggered: u64,
    ended: Vec<Ended>,
    /// When modules came to each node whose calls do not say how long they have waited for them.
    fetched: BTreeMap<NodeId, Vec<Instant>>,
}

impl Facts<'_> {
    fn outcome(mut self, air: &Air) -> Outcome {
        let trace = self.plan.trace;
        let end = Instant::ZERO + trace.duration();
        self.ended.sort_by_key(|call| call.at);
        let (in_time, late): (Vec<&Ended>, Vec<&Ended>) =
            self.ended.iter().partition(|call| call.at <= end);
        let mut tally = air.tally().clone();
        let mut by_hops = BTreeMap::new();
        for (call, number) in in_time.iter().zip(0..) {
            robots::count(&mut tally, call, number);
            let Ok(answered) = &call.answer else {
                continue;
            };
            for step in &answered.steps {
                *by_hops.entry(step.hops).or_default() += 1;
            }
            let chain = &self.tasks.chains[call.chain as usize];
            tally.started(call.node, call.chain as u16);
            let first = self.tasks.chains.len() as u32;
            for id in &chain.calls {
                tally.started(call.node, (first + id) as u16);
            }
        }
        let overhead_s = self.overhead_s(&in_time);
        let mut settings = self.plan.settings;
        settings.call_cost = self.call_cost(&in_time, overhead_s.unwrap_or(0.0));
        let mut report = Report::of(&Replay {
            trace,
            tasks: self.tasks,
            settings: &settings,
            tally: &tally,
            triggered: self.made,
            refused: 0,
            acquired: self.numbers.acquired.clone(),
            held_bytes: self.numbers.held_bytes.clone(),
        });
        report.hand_over = self.hand_over.map(|hand_over| HandOver {
            bytes: (tally.claimed()).bytes(settings.accounting, settings.header_bytes),
            ..hand_over
        });
        report.mean_execution_s = self
            .waits_s(&in_time)
            .map(|waits_s| waits_s + overhead_s.unwrap_or(0.0));
        report.peak_rss_bytes = self.numbers.peak_bytes;
        let unanswered = self.made.saturating_sub(self.ended.len() as u64);
        Outcome {
            course: Course::new(trace.duration_s, self.triggered, &tally),
            report,
            extra: Extra {
                speedup: self.plan.speedup,
                room: self.load.room,
                by_hops,
                overhead_s,
                cut_off: late.len() as u64,
                unanswered,
                outbox_full: self.numbers.outbox_full,
                lateness: air.lateness(),
                fates: air.fates(),
                balances: air.balances().collect(),
                boards: None,
                hash: None,
            },
        }
    }

    /// How long the chains of calls with a result wait in the mean, in seconds.
    fn waits_s(&self, ended: &[&Ended]) -> Option<f64> {
        let done = ended.iter().filter(|call| call.answer.is_ok());
        let waits = done.map(|call| self.load.waits[call.chain as usize].as_secs_f64());
        mean(waits)
    }

    /// See [`Extra::overhead_s`].
    fn overhead_s(&self, ended: &[&Ended]) -> Option<f64> {
        let mut of_nodes: BTreeMap<NodeId, Vec<&Ended>> = BTreeMap::new();
        // Calls that ended later keep executors busy too.
        for call in &self.ended {
            of_nodes.entry(call.node).or_default().push(call);
        }
        let alone = ended.iter().filter(|call| {
            let others = &of_nodes[&call.node];
            let meets = |other: &&&Ended| other.made <= call.at && call.made <= other.at;
            let fetched = self.fetched.get(&call.node);
            let within = |at: &Instant| (call.made..=call.at).contains(at);
            let waited = fetched.is_some_and(|times| times.iter().any(within));
            !waited && others.iter().filter(meets).count() == 1
        });
        mean(alone.filter_map(|call| {
            let answered = call.answer.as_ref().ok()?;
            let waited: Duration = answered.steps.iter().map(|step| step.took).sum();
            let known = waited + self.load.waits[call.chain as usize];
            Some(answered.took.as_secs_f64() - known.as_secs_f64())
        }))
    }

    /// What each call between tasklets costs, if that is all that a chain costs besides its waits.
    fn call_cost(&self, ended: &[&Ended], overhead_s: f64) -> Duration {
        let calls = ended
            .iter()
            .map(|call| self.tasks.chains[call.chain as usize].calls.len());
        let calls = mean(calls.map(|calls| calls as f64)).filter(|calls| *calls > 0.0);
        calls.map_or(Duration::ZERO, |calls| {
            Duration::from_secs_f64((overhead_s / calls).max(0.0))
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), it| (sum + it, count + 1.0));
    (count > 0.0).then(|| sum / count)
}
