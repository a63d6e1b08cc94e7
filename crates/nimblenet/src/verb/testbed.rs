//! `nimblenet testbed`: a trace on real nodes, beside the simulator.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use nimblenet_core::{MIN_MTU, Placement};
use nimblenet_node::config::MAX_SPEEDUP;
use nimblenet_sim::tally::Accounting;
use nimblenet_sim::{Cut, Profile};

use super::sim::{names, seconds, share, whole};
use crate::failure::misuse;
use crate::output;
use crate::sim::{self, Experiment, Files, Input, Overrides, Recipe};
use crate::testbed::{self, BOARD_MTU, Both, Firmware, Plan};

/// Bytes counted for each packet besides its payload: IP and UDP.
const HEADER_BYTES: u32 = 28;
/// Nodes that are processes.
const PROCESS: &str = "process";
/// Nodes that are emulated boards.
const PICO: &str = "pico";
/// The seed of the simulator, and of what links do at random.
const SEED: u64 = 1;

/// Replays a trace on real nodes, and compares with the simulator.
///
/// Starts a registry and a process for each node of the trace, and puts an emulated air between them,
/// with the links of the simulator: delay, bandwidth, loss, longest frame. Publishes modules of the
/// trace's sizes that call each other and wait as the trace says, makes its calls as CoAP clients,
/// and counts bytes in the air. Nodes have one executor and a cache of 32768 bytes; bytes are those of
/// the frames, and 28 for IP and UDP.
///
/// With `--boards pico` each node is an emulated board, on which the image for a Raspberry Pi Pico runs
/// on both cores, in virtual time: a replay repeats bit for bit. The simulator's nodes have the limits
/// of boards then, and in a second column those of Linux nodes.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet sim --seconds 60 --record minute.json\n  \
    nimblenet testbed --trace minute.json\n  \
    nimblenet testbed --trace hour.json --speedup 10 --seconds 600 --json\n  \
    nimblenet testbed --trace hour.json --speedup 10 --plots figures\n  \
    nimblenet testbed --trace hour.json --speedup 10 --placement least-work\n  \
    nimblenet testbed --trace hour.json --boards pico --seconds 300")]
pub(crate) struct Args {
    /// Recorded trace.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// What the nodes are.
    #[arg(long, value_name = "KIND", default_value = "process",
          value_parser = PossibleValuesParser::new([PROCESS, PICO]))]
    boards: String,
    /// With `--boards pico`: the program that runs boards [default: $NIMBLENET_RUNNER, or where
    /// `cargo xtask runner --build` puts it]
    #[arg(long, value_name = "FILE")]
    runner: Option<PathBuf>,
    /// With `--boards pico`: the image that they run [default: $NIMBLENET_IMAGE, or where `cargo
    /// xtask firmware` puts it]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Chains that call shared algorithms, or that contain them.
    #[arg(long, value_name = "NAME", default_value = "nimble", value_parser = names::<Cut>(&Cut::NAMES))]
    taskset: Cut,
    /// The paper's protocol, or the one that nodes have.
    #[arg(long, value_name = "NAME", default_value = "default",
          value_parser = names::<Profile>(&Profile::NAMES))]
    profile: Profile,
    /// Where calls run, of processes; boards run the calls that are made at them.
    #[arg(long, value_name = "NAME", default_value = "here", value_parser = super::sim::placements())]
    placement: String,
    /// Have robots that drive on ask for the results of their calls at the nodes that they come to.
    #[arg(long)]
    hand_over: bool,
    /// How many times as fast as real time everything goes.
    #[arg(long, value_name = "X", default_value_t = 1, allow_negative_numbers = true,
          value_parser = whole::<u32>(1..=MAX_SPEEDUP.into()))]
    speedup: u32,
    /// How much of the trace to replay, in seconds of the trace.
    #[arg(long, value_name = "S", value_parser = seconds, allow_negative_numbers = true)]
    seconds: Option<f64>,
    /// Share of frames that each link loses, 0 to 1.
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    loss: Option<f64>,
    /// The longest frame in bytes.
    #[arg(long, value_name = "BYTES",
          value_parser = whole::<u16>(MIN_MTU.into()..=u16::MAX.into()), allow_negative_numbers = true)]
    mtu: Option<u16>,
    /// Bits a second of each link [default: transmissions take no time]
    #[arg(long, value_name = "BITS", allow_negative_numbers = true,
          value_parser = whole::<u32>(100..=u32::MAX.into()))]
    bandwidth: Option<u32>,
    /// Replay both task sets and draw the paper's figures 8, 9 and 10 into a folder, for testbed and
    /// simulator.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Keep the configurations and logs of all processes in a folder.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the trace cannot be replayed, or a process fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let firmware = args.firmware()?;
    let input = Input::read(&args.overrides())?;
    // A board has room for few tasklets besides those.
    let input = match firmware {
        Some(_) => input.used(),
        None => input,
    };
    args.files().prepare()?;
    let cuts = match args.plots {
        None => vec![args.taskset],
        Some(_) => vec![Cut::Nimble, Cut::Monolithic],
    };
    let experiment = args.experiment(input.clone(), &cuts);
    let as_linux = Experiment {
        boards: false,
        ..args.experiment(input.clone(), &cuts)
    };
    let recipe = Recipe::new(input, SEED);
    if firmware.is_some() {
        let mut sets = cuts.iter().map(|cut| cut.of(&recipe.trace().taskset));
        sets.try_for_each(|tasks| testbed::fits_boards(&tasks))?;
    }
    let simulated = experiment.run()?;
    let linux = match firmware {
        Some(_) => as_linux.run()?,
        None => Vec::new(),
    };
    let mut linux = linux.into_iter();
    let mut all = Vec::new();
    for (cut, sim) in cuts.into_iter().zip(simulated) {
        let logs = args.logs.as_ref().map(|folder| folder.join(cut.name()));
        if let Some(folder) = &logs {
            let place = || format!("making the folder {}", folder.display());
            std::fs::create_dir_all(folder).with_context(place)?;
        }
        let settings = experiment.settings(&recipe, args.profile, cut);
        let testbed = testbed::replay(&Plan {
            trace: recipe.trace(),
            settings,
            speedup: args.speedup,
            logs: logs.as_deref(),
            firmware: firmware.as_ref(),
        })?;
        let linux = linux.next();
        let bound = |experiment: &Experiment, run| {
            let settings = experiment.settings(&recipe, args.profile, cut);
            testbed::bound_of_finished(recipe.trace(), &settings, run)
        };
        let bounds = (
            bound(&experiment, &sim),
            linux.as_ref().map(|run| bound(&as_linux, run)),
        );
        all.push(Both {
            cut,
            testbed,
            sim,
            linux,
            bounds,
        });
    }
    for late in all.iter().filter_map(testbed::too_late) {
        eprintln!("warning: {late}");
    }
    let all: Vec<&Both> = all.iter().collect();
    if let Some(folder) = &args.plots {
        sim::draw(folder, &testbed::figures(&all))?;
    }
    let (asked, other): (Vec<&Both>, Vec<&Both>) =
        all.iter().partition(|both| both.cut == args.taskset);
    let asked = asked.first().context("the task set that was asked for")?;
    let other = other.first().copied();
    match args.json {
        true => output::json(&testbed::document(asked, other)?),
        false => output::text(&testbed::page(asked, other)),
    }
}

impl Args {
    /// What boards need, if nodes are to be boards.
    fn firmware(&self) -> anyhow::Result<Option<Firmware>> {
        if self.boards == PROCESS {
            let of_boards = [("--runner", &self.runner), ("--image", &self.image)];
            return match of_boards.iter().find(|(_, path)| path.is_some()) {
                Some((flag, _)) => Err(misuse(format!("{flag}: only --boards pico needs it")).into()),
                None => Ok(None),
            };
        }
        let wrong = if self.speedup != 1 {
            Some("--speedup: boards run in virtual time, as fast as the machine can")
        } else if self.profile == Profile::Paper {
            Some("--profile paper: boards have the default profile only")
        } else if self.hand_over {
            Some("--hand-over: boards keep no results")
        } else if self.placement != Placement::HERE.name {
            Some("--placement: boards run the calls that are made at them")
        } else if self.mtu.is_some_and(|mtu| mtu > BOARD_MTU) {
            Some("--mtu: a board's line carries frames of at most 256 bytes")
        } else {
            None
        };
        match wrong {
            Some(wrong) => Err(misuse(wrong).into()),
            None => Firmware::find(self.runner.as_deref(), self.image.as_deref()).map(Some),
        }
    }

    /// The longest frame.
    fn mtu(&self) -> Option<u16> {
        let own = (self.boards == PICO).then_some(BOARD_MTU);
        self.mtu.or(own)
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            trace: Some(self.trace.clone()),
            seconds: self.seconds,
            executors: Some(Some(1)),
            loss: self.loss,
            mtu: self.mtu(),
            bandwidth: self.bandwidth,
            hand_over: self.hand_over,
            ..Overrides::default()
        }
    }

    fn files(&self) -> Files {
        Files {
            plots: self.plots.clone(),
            ..Files::default()
        }
    }

    fn experiment(&self, input: Input, cuts: &[Cut]) -> Experiment {
        Experiment {
            input,
            seeds: vec![SEED],
            sweep: None,
            pairs: cuts.iter().map(|cut| (self.profile, *cut)).collect(),
            placement: Placement::named(&self.placement),
            eviction: None,
            code_ratio: None,
            accounting: Accounting::Real,
            header_bytes: HEADER_BYTES,
            faults: None,
            faults_file: None,
            boards: self.boards == PICO,
        }
    }
}
