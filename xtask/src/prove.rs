//! What takes too long for continuous integration: a large swarm, a long soak, and the breaks of core.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::breaks;
use crate::workspace;

/// What to prove, and how long that may take.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// How many random trials the swarm has.
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The first seed of the swarm.
    #[arg(long, default_value_t = 1_000_000, value_name = "SEED")]
    seed: u64,
    /// How long the soak lasts, in seconds.
    #[arg(long, default_value_t = 3600, value_name = "S", value_parser = clap::value_parser!(u32).range(15..))]
    soak_s: u32,
}

/// A part of the proof.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Random meshes in which everything goes wrong: 100,000 of them show nothing unknown.
    Swarm,
    /// Twelve daemons for an hour, with churn and noise: every call ends and memory stays the same.
    Soak,
    /// Core is broken on purpose, once for each checker of the swarm, which finds it.
    Breaks,
}

/// Proves the parts one after the other, and goes on after one that fails.
///
/// # Errors
/// If one of them fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut failed = 0;
    for part in Part::value_variants() {
        if !options.only.is_empty() && !options.only.contains(part) {
            continue;
        }
        let name = part.to_possible_value();
        let name = name.as_ref().map_or("?", |name| name.get_name());
        eprintln!("\n==> {name}");
        let ended = part.prove(options);
        match &ended {
            Ok(()) => eprintln!("<== {name} ok"),
            Err(error) => eprintln!("<== {name} FAILED {error:#}"),
        }
        failed += u32::from(ended.is_err());
    }
    ensure!(failed == 0, "{failed} of the parts failed");
    Ok(())
}

impl Part {
    fn prove(self, options: &Options) -> Result<()> {
        match self {
            Self::Swarm => {
                let mut command = workspace::cargo();
                command.args(["run", "--release", "--package", "nimblenet", "--"]);
                let (runs, seed) = (options.runs.to_string(), options.seed.to_string());
                workspace::run(command.args(["sim", "--swarm", &runs, "--seed", &seed]))
            }
            Self::Soak => {
                let mut command = workspace::cargo();
                command.env("NIMBLENET_SOAK_S", options.soak_s.to_string());
                command.args([
                    "test",
                    "--release",
                    "--package",
                    "nimblenet",
                    "--test",
                    "soak",
                ]);
                workspace::run(command.args(["--", "--ignored", "--nocapture"]))
            }
            Self::Breaks => breaks::run(&[]),
        }
    }
}
