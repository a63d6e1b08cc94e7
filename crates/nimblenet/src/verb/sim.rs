//! `nimblenet sim`: an experiment in virtual time.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use nimblenet_core::{Eviction, MIN_MTU, Placement};
use nimblenet_sim::scenario::{Parameter, Scenario, Sweep};
use nimblenet_sim::tally::Accounting;
use nimblenet_sim::{Cut, Profile};
use serde_json::{Value as Json, json};

use crate::failure::misuse;
use crate::outlet;
use crate::output::{self, counted};
use crate::sim::{
    self, Contest, Experiment, Files, Input, Outcome, Overrides, Recipe, Story, Which,
};

/// The seed of a run that is given none.
const SEED: u64 = 1;
/// Bytes of IP and UDP.
const HEADER_BYTES: u32 = 28;
/// Most nodes.
const NODES_MAX: i128 = 4096;
/// The most repetitions of a frame, as in scenarios.
const REPEATS_MAX: i128 = 8;
/// Most robots.
const ROBOTS_MAX: i128 = 100_000;
/// Bytes of a cache that holds a chain with what it calls, and of one that holds everything.
const CACHE_BYTES: core::ops::RangeInclusive<i128> = 1024..=100_000_000;
/// The longest run, in seconds.
const SECONDS_MAX: f64 = 1e6;
/// What compressed modules may have of their length.
const CODE_RATIO: core::ops::RangeInclusive<f64> = 0.2..=1.0;
/// How wrong declared costs may be.
const COST_ERROR: core::ops::RangeInclusive<f64> = 1.0..=1000.0;
/// Most runs of a swarm.
const SWARM_MAX: i128 = 10_000_000;
/// Most seeds of one command.
const SEEDS_MAX: u64 = 10_000;

/// Simulates a mesh with robots: real nodes, links and executors in virtual time.
///
/// Without flags this is the experiment of the NimbleNet paper with the default protocol: 12 nodes,
/// 20 robots, an hour, chains that call shared algorithms. A scenario says otherwise; the flags below
/// say otherwise than the scenario. The same seed gives the same run on every machine.
///
/// A trace has what robots do and the task set, but neither caches nor links.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet sim --seconds 600\n  \
    nimblenet sim --seeds 1..6 --profile paper --taskset monolithic --json\n  \
    nimblenet sim --scenario geometric --loss 0.05 --csv lossy.csv\n  \
    nimblenet sim --sweep cache-bytes=8192,32768 --seeds 1..3\n  \
    nimblenet sim --seeds 1..6 --html report.html --plots figures\n  \
    nimblenet sim --sweep size-factor=1,4,8 --bandwidth 250000 --plots sweeps\n  \
    nimblenet sim --executors 1 --placement two-choices --cost-error 5\n  \
    nimblenet sim --executors 1 --faults liar.toml --json\n  \
    nimblenet sim --explain slowest\n  \
    nimblenet sim --record hour.json\n  \
    nimblenet sim --scenario vibration --seconds 600\n  \
    nimblenet sim --swarm 1000\n  \
    nimblenet sim --faults found.toml\n  \
    nimblenet sim --trace hour.json --mtu 256")]
pub(crate) struct Args {
    /// Scenario: paper, line, ring, geometric, warehouse, mixed, calibrated, or a TOML file [default: paper]; or
    /// vibration: a flow of eleven nodes to a gateway, with its operator on the way and at the gateway,
    /// which heeds --seconds, --loss, --seed and --seeds alone.
    #[arg(long, value_name = "FILE", conflicts_with = "trace")]
    scenario: Option<String>,
    /// Recorded trace to run instead of a scenario.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "robots"])]
    trace: Option<PathBuf>,
    /// Chains that call shared algorithms, or that contain them [default: nimble; --sweep: both]
    #[arg(long, value_name = "NAME", value_parser = names::<Cut>(&Cut::NAMES))]
    taskset: Option<Cut>,
    /// The paper's protocol, or the one that nodes have [default: default]
    #[arg(long, value_name = "NAME", value_parser = names::<Profile>(&Profile::NAMES))]
    profile: Option<Profile>,
    /// Executors of each node: a number, or unlimited, so that no tasklet waits for one.
    #[arg(long, value_name = "N", value_parser = executors, allow_negative_numbers = true)]
    executors: Option<Executors>,
    /// Bytes of cached modules at each node.
    #[arg(long, value_name = "BYTES", value_parser = whole::<u32>(CACHE_BYTES), allow_negative_numbers = true)]
    cache_bytes: Option<u32>,
    /// Policy that chooses what leaves a full cache [default: the profile's]
    #[arg(long, value_name = "NAME", value_parser = evictions())]
    eviction: Option<String>,
    /// Policy that decides where calls run [default: the profile's]
    #[arg(long, value_name = "NAME", value_parser = placements())]
    placement: Option<String>,
    /// Declared costs of tasklets are so many times too high or too low, by chance.
    #[arg(long, value_name = "FACTOR", value_parser = cost_error, allow_negative_numbers = true)]
    cost_error: Option<f64>,
    /// Have robots that drive on ask for the results of their calls at the nodes that they come to.
    #[arg(long)]
    hand_over: bool,
    /// Compress modules, whose contents are made so that they keep this share of their length.
    #[arg(long, value_name = "SHARE", value_parser = code_ratio)]
    code_ratio: Option<f64>,
    /// Share of frames that each link loses, 0 to 1.
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    loss: Option<f64>,
    /// How often a frame is repeated that a neighbour does not acknowledge [default: it is not
    /// acknowledged]
    #[arg(long, value_name = "N", value_parser = whole::<u8>(0..=REPEATS_MAX), allow_negative_numbers = true)]
    repeats: Option<u8>,
    /// The longest frame in bytes.
    #[arg(long, value_name = "BYTES",
          value_parser = whole::<u16>(MIN_MTU.into()..=u16::MAX.into()), allow_negative_numbers = true)]
    mtu: Option<u16>,
    /// Bits a second of each link [default: transmissions take no time]
    #[arg(long, value_name = "BITS", allow_negative_numbers = true,
          value_parser = whole::<u32>(100..=u32::MAX.into()))]
    bandwidth: Option<u32>,
    /// Bytes counted for each packet besides its payload [default: 28]
    #[arg(long, value_name = "BYTES",
          value_parser = whole::<u32>(0..=10_000), allow_negative_numbers = true)]
    header_bytes: Option<u32>,
    /// Count payloads as the paper's protocol has them, or frames as they are [default: nominal]
    #[arg(long, value_name = "NAME", value_parser = names::<Accounting>(&Accounting::NAMES))]
    accounting: Option<Accounting>,
    /// What robots, links and nodes do at random follows from it [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=u64::MAX.into()), allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Run with each of these seeds, the last one included.
    #[arg(long, value_name = "A..B", value_parser = seeds, conflicts_with = "seed")]
    seeds: Option<Seeds>,
    /// Nodes on the floor.
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=NODES_MAX), allow_negative_numbers = true)]
    nodes: Option<u16>,
    /// Robots on the floor.
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=ROBOTS_MAX), allow_negative_numbers = true)]
    robots: Option<u32>,
    /// How much of the time to simulate, in seconds.
    #[arg(long, value_name = "S", value_parser = seconds, allow_negative_numbers = true)]
    seconds: Option<f64>,
    /// Run with several values of a parameter, and both task sets: sharing, algorithms, loss,
    /// repeats, cache-bytes, mtu, zipf, size-factor, nodes, preload (0 or 1), bandwidth, churn (crashes of
    /// each node an hour) or speed (of robots, m/s).
    #[arg(long, value_name = "NAME[=V,V]", value_parser = sweep)]
    sweep: Option<Box<Sweep>>,
    /// Write a row for each run into a CSV file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draw the paper's figures 3, 4, 5, 8, 9 and 10 into a folder, as SVG with CSV beside each;
    /// with --sweep, what it leads to.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Write a page with the figures and the paper's claims beside what came out, for both
    /// protocols.
    #[arg(long, value_name = "FILE", conflicts_with = "sweep")]
    html: Option<PathBuf>,
    /// Write the trace into a file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "sweep"])]
    record: Option<PathBuf>,
    /// Tell what happened to one call instead: its number, from 1, of those that robots in contact
    /// make; or slowest.
    #[arg(long, value_name = "N|slowest", allow_negative_numbers = true,
          conflicts_with_all = ["seeds", "sweep", "csv", "plots", "html", "swarm", "faults"])]
    explain: Option<Which>,
    /// Run so many short random trials with faults, one for each seed from --seed on, and say what
    /// the checkers find.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=SWARM_MAX), allow_negative_numbers = true,
          conflicts_with_all = ["scenario", "trace", "seeds", "sweep", "record", "csv", "plots", "html"])]
    swarm: Option<u64>,
    /// Let the faults of a TOML file befall nodes and links; if the file has a mesh, run that trial.
    #[arg(long, value_name = "FILE", conflicts_with = "swarm")]
    faults: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, Debug)]
struct Executors(Option<u16>);

#[derive(Clone, Debug)]
struct Seeds(Vec<u64>);

/// Runs the verb.
///
/// # Errors
/// If a file says what cannot be, or cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.check()?;
    if let Some(count) = args.swarm {
        let shaped = args.shaping();
        if let Some(flag) = shaped.first() {
            let message = format!(
                "--swarm draws meshes, calls and faults itself, from --seed on: leave {flag} out"
            );
            return Err(misuse(message).into());
        }
        return sim::swarm(args.first_seed(), count, args.json);
    }
    if args.scenario.as_deref() == Some(sim::VIBRATION) {
        let heeded = ["--scenario", "--seconds", "--loss", "--seeds"];
        let shaping = args.shaping().into_iter().filter(|flag| !heeded.contains(flag));
        let others = [
            ("--faults", args.faults.is_some()),
            ("--explain", args.explain.is_some()),
        ];
        let others = others.into_iter().filter_map(|(flag, is_given)| is_given.then_some(flag));
        if let Some(flag) = shaping.chain(args.writing()).chain(others).next() {
            let message = format!(
                "--scenario vibration has no robots and calls, but a flow: leave {flag} out; it heeds \
                 --seconds, --loss, --seed and --seeds"
            );
            return Err(misuse(message).into());
        }
        return sim::vibration(&args.seeds(), args.seconds, args.loss, args.json);
    }
    let faults = args.faults.as_deref().map(sim::faults).transpose()?;
    if let Some(trial) = faults.as_ref().filter(|faults| faults.mesh.is_some()) {
        let seed = args.seed.map(|_| "--seed");
        if let Some(flag) = args.shaping().into_iter().chain(args.writing()).chain(seed).next() {
            let message = format!(
                "the file of --faults has a mesh of its own, with calls and a seed, and checkers judge \
                 it: leave {flag} out, or take `[mesh]` and the calls out of the file"
            );
            return Err(misuse(message).into());
        }
        return sim::replay(trial, args.json);
    }
    let input = Input::read(&args.overrides())?;
    args.files().prepare()?;
    if let Some(made) = input.trace_seed().filter(|made| args.seed.is_none() && *made != SEED) {
        eprintln!(
            "note: the trace was made with seed {made}; nodes and links have seed {SEED}, as --seed says nothing else"
        );
    }
    if let Some(path) = &args.record {
        let left_out = input.left_out();
        if !left_out.is_empty() {
            eprintln!(
                "note: a trace has the floor, the task set and what robots do; a replay needs a flag, as far as \
                 there is one, for {}",
                left_out.join(", ")
            );
        }
        let trace = Recipe::new(input.clone(), args.first_seed()).trace().write();
        outlet::write(path, trace)?;
    }
    let recipe = Recipe::new(input.clone(), args.seeds()[0]);
    let experiment = Experiment {
        faults,
        ..args.experiment(input)
    };
    if let Some(which) = args.explain {
        let (profile, cut) = args.asked()[0];
        let settings = experiment.settings(&recipe, profile, cut);
        let story = Story::of(recipe.trace(), settings, which)?;
        return match args.json {
            true => output::json(&story.document()),
            false => output::text(&story.page()),
        };
    }
    let outcomes = experiment.run()?;
    args.draw(&outcomes, &recipe)?;
    let asked = args.asked();
    let is_asked = |it: &Outcome| asked.contains(&(it.profile, it.cut));
    let outcomes: Vec<Outcome> = outcomes.into_iter().filter(is_asked).collect();
    let runs: Vec<Json> = outcomes.iter().map(document).collect::<Result<_, _>>()?;
    if let Some(path) = &args.csv {
        sim::csv(path, &runs)?;
    }
    if args.json {
        output::json(&args.documents(runs, &sim::contests(&outcomes)))
    } else {
        output::text(&sim::page(&outcomes, args.sweep.as_deref()))
    }
}

impl Args {
    /// Checks that flags go together.
    fn check(&self) -> anyhow::Result<()> {
        let scenario = self.scenario.as_deref().map(Path::new);
        let read = [
            ("--scenario", scenario),
            ("--trace", self.trace.as_deref()),
            ("--faults", self.faults.as_deref()),
        ];
        let read = read.into_iter().filter_map(|(flag, path)| Some((flag, path?)));
        self.files().differ(&read.collect::<Vec<_>>())?;
        let Some(sweep) = &self.sweep else {
            return Ok(());
        };
        let parameter = sweep.parameter;
        let is_given = match parameter {
            Parameter::Loss => self.loss.is_some(),
            Parameter::Repeats => self.repeats.is_some(),
            Parameter::CacheBytes => self.cache_bytes.is_some(),
            Parameter::Mtu => self.mtu.is_some(),
            Parameter::Nodes => self.nodes.is_some(),
            Parameter::Bandwidth => self.bandwidth.is_some(),
            Parameter::Sharing
            | Parameter::Algorithms
            | Parameter::Zipf
            | Parameter::SizeFactor
            | Parameter::Preload
            | Parameter::Churn
            | Parameter::Speed => false,
        };
        if is_given {
            let name = parameter.name();
            let message = format!("--sweep {name} and --{name} contradict each other: leave one out");
            return Err(misuse(message).into());
        }
        Ok(())
    }

    fn header_bytes(&self) -> u32 {
        self.header_bytes.unwrap_or(HEADER_BYTES)
    }

    fn first_seed(&self) -> u64 {
        self.seed.unwrap_or(SEED)
    }

    /// The protocol that is asked for.
    fn profile(&self) -> Profile {
        self.profile.unwrap_or_default()
    }

    /// The flags that say what is run, as far as they are given, besides the seed and the faults.
    fn shaping(&self) -> Vec<&'static str> {
        let given = [
            ("--scenario", self.scenario.is_some()),
            ("--trace", self.trace.is_some()),
            ("--taskset", self.taskset.is_some()),
            ("--profile", self.profile.is_some()),
            ("--executors", self.executors.is_some()),
            ("--cache-bytes", self.cache_bytes.is_some()),
            ("--eviction", self.eviction.is_some()),
            ("--placement", self.placement.is_some()),
            ("--cost-error", self.cost_error.is_some()),
            ("--hand-over", self.hand_over),
            ("--code-ratio", self.code_ratio.is_some()),
            ("--loss", self.loss.is_some()),
            ("--repeats", self.repeats.is_some()),
            ("--mtu", self.mtu.is_some()),
            ("--bandwidth", self.bandwidth.is_some()),
            ("--header-bytes", self.header_bytes.is_some()),
            ("--accounting", self.accounting.is_some()),
            ("--seeds", self.seeds.is_some()),
            ("--nodes", self.nodes.is_some()),
            ("--robots", self.robots.is_some()),
            ("--seconds", self.seconds.is_some()),
            ("--sweep", self.sweep.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(flag, _)| flag).collect()
    }

    /// The flags that name what is written besides the answer, as far as they are given.
    fn writing(&self) -> Vec<&'static str> {
        let files = self.files();
        let plots = files.plots.iter().map(|_| "--plots");
        files.named().map(|(flag, _)| flag).chain(plots).collect()
    }

    fn files(&self) -> Files {
        Files {
            csv: self.csv.clone(),
            html: self.html.clone(),
            record: self.record.clone(),
            plots: self.plots.clone(),
        }
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            scenario: self.scenario.clone(),
            trace: self.trace.clone(),
            nodes: self.nodes,
            robots: self.robots,
            seconds: self.seconds,
            cache_bytes: self.cache_bytes,
            executors: self.executors.map(|executors| executors.0),
            loss: self.loss,
            repeats: self.repeats,
            mtu: self.mtu,
            bandwidth: self.bandwidth,
            cost_error: self.cost_error,
            hand_over: self.hand_over,
        }
    }

    fn seeds(&self) -> Vec<u64> {
        let several = self.seeds.as_ref().map(|seeds| seeds.0.clone());
        several.unwrap_or_else(|| vec![self.first_seed()])
    }

    /// What is to be printed.
    fn asked(&self) -> Vec<(Profile, Cut)> {
        let cuts = match self.taskset {
            None if self.sweep.is_some() => vec![Cut::Nimble, Cut::Monolithic],
            cut => vec![cut.unwrap_or_default()],
        };
        cuts.into_iter().map(|cut| (self.profile(), cut)).collect()
    }

    /// The protocols that figures are drawn of.
    fn drawn(&self) -> Vec<Profile> {
        match self.html {
            Some(_) => vec![Profile::Paper, Profile::Default],
            None => vec![self.profile()],
        }
    }

    /// What is to be run: figures compare task sets.
    fn pairs(&self) -> Vec<(Profile, Cut)> {
        if self.sweep.is_some() || (self.plots.is_none() && self.html.is_none()) {
            return self.asked();
        }
        let cuts = [Cut::Nimble, Cut::Monolithic];
        let profiles = self.drawn().into_iter();
        profiles.flat_map(|profile| cuts.map(|cut| (profile, cut))).collect()
    }

    fn experiment(&self, input: Input) -> Experiment {
        Experiment {
            input,
            seeds: self.seeds(),
            sweep: self.sweep.as_deref().cloned(),
            pairs: self.pairs(),
            eviction: self.eviction.as_deref().and_then(Eviction::named),
            placement: self.placement.as_deref().and_then(Placement::named),
            code_ratio: self.code_ratio,
            accounting: self.accounting.unwrap_or_default(),
            header_bytes: self.header_bytes(),
            faults: None,
            faults_file: self.faults.clone(),
            boards: false,
        }
    }

    /// Draws figures and writes the page, if that is asked for.
    fn draw(&self, outcomes: &[Outcome], recipe: &Recipe) -> anyhow::Result<()> {
        if self.plots.is_none() && self.html.is_none() {
            return Ok(());
        }
        let profiles = self.drawn();
        let figures = sim::figures(outcomes, self.sweep.as_deref(), &profiles, recipe);
        if let Some(folder) = &self.plots {
            sim::draw(folder, &figures)?;
        }
        if let Some(path) = &self.html {
            let page = sim::html(outcomes, &profiles, &self.conditions(recipe), &figures);
            outlet::write(path, page)?;
        }
        Ok(())
    }

    /// What was run, in a sentence.
    fn conditions(&self, recipe: &Recipe) -> String {
        let trace = recipe.trace();
        let seeds: Vec<String> = self.seeds().iter().map(u64::to_string).collect();
        let source = match (&self.trace, &self.scenario) {
            (Some(path), _) => format!("trace {}", path.display()),
            (None, Some(scenario)) => format!("scenario {scenario}"),
            (None, None) => "the paper's scenario".to_owned(),
        };
        format!(
            "{source}: {}, {}, {} s; {} {}; {} bytes a packet besides its payload, payloads {}",
            counted(trace.nodes.len(), "node"),
            counted(trace.robots as usize, "robot"),
            trace.duration_s,
            if seeds.len() == 1 { "seed" } else { "seeds" },
            seeds.join(", "),
            self.header_bytes(),
            Accounting::NAMES[self.accounting.unwrap_or_default() as usize],
        )
    }

    /// One document: of a single run its own, of several a list.
    fn documents(&self, mut runs: Vec<Json>, contests: &[Contest]) -> Json {
        match &self.sweep {
            Some(sweep) => {
                let name = sweep.parameter.name();
                json!({ "sweep": name, "runs": runs, "contests": contests })
            }
            None if self.seeds.is_some() => json!({ "runs": runs }),
            None => runs.remove(0),
        }
    }
}

/// A run's report; the value of the parameter that was varied is with it.
fn document(outcome: &Outcome) -> Result<Json, serde_json::Error> {
    let mut document = serde_json::to_value(&outcome.report)?;
    if let Some(value) = outcome.value {
        document["value"] = value.into();
    }
    Ok(document)
}

/// Reads one of these names.
pub(super) fn names<T>(known: &'static [&'static str]) -> impl clap::builder::TypedValueParser<Value = T>
where
    T: core::str::FromStr<Err: core::error::Error + Send + Sync> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(known).try_map(|name| name.parse::<T>())
}

fn evictions() -> PossibleValuesParser {
    PossibleValuesParser::new(Eviction::ALL.iter().map(|policy| policy.name))
}

pub(super) fn placements() -> PossibleValuesParser {
    PossibleValuesParser::new(Placement::ALL.iter().map(|policy| policy.name))
}

fn executors(text: &str) -> Result<Executors, String> {
    if text == "unlimited" {
        return Ok(Executors(None));
    }
    let number: Option<u16> = text.parse().ok();
    let number = number.filter(|number| (1..=256).contains(number));
    let number = number.ok_or("unlimited, or a number from 1 to 256, is expected")?;
    Ok(Executors(Some(number)))
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0 to 1 is expected".to_owned())
}

/// Reads a whole number of this range.
pub(super) fn whole<T>(range: core::ops::RangeInclusive<i128>) -> impl clap::builder::TypedValueParser<Value = T>
where
    T: TryFrom<i128> + Clone + Send + Sync + 'static,
{
    clap::builder::StringValueParser::new().try_map(move |text| {
        let number: Option<i128> = text.parse().ok();
        let number = number.filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            format!("a whole number from {} to {} is expected", range.start(), range.end())
        })
    })
}

fn cost_error(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| COST_ERROR.contains(factor));
    let (least, most) = (COST_ERROR.start(), COST_ERROR.end());
    factor.ok_or_else(|| format!("a number from {least} to {most} is expected"))
}

fn code_ratio(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| CODE_RATIO.contains(share));
    let (least, most) = (CODE_RATIO.start(), CODE_RATIO.end());
    share.ok_or_else(|| format!("a number from {least} to {most} is expected"))
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok();
    let seconds = seconds.filter(|seconds| (1.0..=SECONDS_MAX).contains(seconds));
    seconds.ok_or_else(|| format!("a number from 1 to {SECONDS_MAX} is expected"))
}

fn seeds(text: &str) -> Result<Seeds, String> {
    let bounds = text.split_once("..").and_then(|(first, last)| {
        let last = last.strip_prefix('=').unwrap_or(last);
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    let (first, last): (u64, u64) = bounds.ok_or("two numbers as in 1..6 are expected")?;
    if first > last || last - first >= SEEDS_MAX {
        return Err(format!("the first is the smaller one; at most {SEEDS_MAX} are taken"));
    }
    Ok(Seeds((first..=last).collect()))
}

fn sweep(text: &str) -> Result<Box<Sweep>, String> {
    let sweep: Sweep = text.parse()?;
    for value in &sweep.values {
        let scenario = Scenario::default().with(sweep.parameter, *value);
        scenario.check().map_err(|error| error.to_string())?;
    }
    Ok(sweep.into())
}
