//! The tasks of this repository, run as `cargo xtask <task>`.
//!
//! Continuous integration runs `cargo xtask ci` and nothing else, so that whatever it does can
//! be done on any machine. A task is a module with one `run` function; [`workspace`] knows where
//! things are, [`toolchain`] which compiler builds for which target, [`step`] how a task is
//! announced, timed and reported.
#![forbid(unsafe_code)]

extern crate alloc;

mod book;
mod breaks;
mod ci;
mod demo;
mod emulator;
mod firmware;
mod host;
mod image;
mod imports;
mod licences;
mod no_std;
mod prove;
mod same_seed;
mod step;
mod tasklets;
mod templates;
mod tidy;
mod toolchain;
mod uf2;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of the NimbleNet repository.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    after_help = "Examples:\n  \
        cargo xtask ci                everything that continuous integration runs\n  \
        cargo xtask tidy              rules that the compiler does not know\n  \
        cargo xtask test -- wire::    tests whose path contains wire::"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every step of continuous integration and prints a table of their times.
    #[command(
        after_help = "Examples:\n  cargo xtask ci\n  cargo xtask ci --only tidy,doc\n  \
        cargo xtask ci --list"
    )]
    Ci(ci::Options),
    /// Formats the workspace, or with --check says what is not formatted.
    #[command(after_help = "Example:\n  cargo xtask fmt --check")]
    Fmt {
        /// Changes nothing and fails if something would change.
        #[arg(long)]
        check: bool,
    },
    /// Runs clippy on all targets, warnings being errors.
    #[command(after_help = "Example:\n  cargo xtask clippy")]
    Clippy,
    /// Runs all tests, going on after a failure, and ends with a line of totals.
    #[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test -- wire::")]
    Test {
        /// Passed to the test programs.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Checks the rules of this repository that the compiler does not know.
    #[command(after_help = "Examples:\n  cargo xtask tidy\n  cargo xtask tidy --remarks")]
    Tidy {
        /// Also lists long files and functions, which are allowed.
        #[arg(long)]
        remarks: bool,
    },
    /// Checks that a seed gives the same simulated run in a 32-bit build.
    #[command(after_help = "Example:\n  cargo xtask same-seed")]
    SameSeed,
    /// Builds the device crates for bare metal and the core for wasm32, which may import nothing.
    #[command(after_help = "Example:\n  cargo xtask no-std")]
    NoStd,
    /// Builds the example tasklets, or with --check says which packed outputs differ.
    #[command(after_help = "Examples:\n  cargo xtask tasklets\n  cargo xtask tasklets --check")]
    Tasklets {
        /// Writes nothing and fails if something would change.
        #[arg(long)]
        check: bool,
    },
    /// Builds and runs what `nimblenet new` makes in each language, and times a new user's way.
    #[command(after_help = "Example:\n  cargo xtask templates")]
    Templates,
    /// Tries the code blocks of README and book, as a reader does.
    #[command(after_help = "Example:\n  cargo xtask book")]
    Book,
    /// Builds the images for boards and weighs them; fails past a limit.
    #[command(
        after_help = "Examples:\n  cargo xtask firmware\n  cargo xtask firmware --json\n  \
        cargo xtask firmware --uf2"
    )]
    Firmware {
        /// Prints the sizes as JSON on standard output.
        #[arg(long)]
        json: bool,
        /// Also writes the images as UF2, for boards that are plugged in as drives.
        #[arg(long)]
        uf2: bool,
    },
    /// Runs the images on emulated boards, as tests of both.
    #[command(after_help = "Examples:\n  cargo xtask runner\n  cargo xtask runner --build")]
    Runner {
        /// Tests nothing; builds the runner and prints where it is.
        #[arg(long)]
        build: bool,
    },
    /// Breaks core on purpose, once for each checker of the swarm, and shows that it is found.
    #[command(
        after_help = "Examples:\n  cargo xtask breaks\n  cargo xtask breaks frame-once served"
    )]
    Breaks {
        /// Only the breaks of these checkers.
        checkers: Vec<String>,
    },
    /// Runs what takes too long for continuous integration: a large swarm, a soak, the breaks of core.
    #[command(
        after_help = "Examples:\n  cargo xtask prove\n  cargo xtask prove --only swarm --runs 5000\n  \
        cargo xtask prove --only soak --soak-s 600"
    )]
    Prove(prove::Options),
    /// Checks licences and versions of all dependencies against deny.toml.
    #[command(after_help = "Example:\n  cargo xtask deny")]
    Deny,
    /// Builds the documentation of the workspace, warnings being errors.
    #[command(after_help = "Example:\n  cargo xtask doc")]
    Doc,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Ci(options) => ci::run(&options),
        Task::Fmt { check } => host::fmt(check),
        Task::Clippy => host::clippy(),
        Task::Test { arguments } => host::test(&arguments).map(|totals| println!("{totals}")),
        Task::Tidy { remarks } => tidy::run(remarks),
        Task::SameSeed => same_seed::run(),
        Task::NoStd => no_std::run(),
        Task::Tasklets { check } => tasklets::run(check),
        Task::Templates => templates::run(),
        Task::Book => book::run(),
        Task::Firmware { json, uf2 } => firmware::run(json, uf2),
        Task::Runner { build: true } => emulator::build(),
        Task::Runner { build: false } => emulator::test(),
        Task::Breaks { checkers } => breaks::run(&checkers),
        Task::Prove(options) => prove::run(&options),
        Task::Deny => licences::run(),
        Task::Doc => host::doc(),
    }
}
