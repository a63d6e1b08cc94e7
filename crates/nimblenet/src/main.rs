//! `nimblenet`: everything that a person or a script does with tasklets, in one binary.

#![forbid(unsafe_code)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for an operating system"
)]

extern crate alloc;

mod clock;
mod demo;
mod explained;
mod failure;
mod flow;
mod inlet;
mod interrupt;
mod keys;
mod local;
mod names;
mod outlet;
mod output;
mod project;
mod remote;
mod scratch;
mod sim;
mod steps;
mod testbed;
mod verb;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use verb::Verb;

/// Publishes, distributes and runs small WebAssembly programs on a mesh of devices.
#[derive(Parser, Debug)]
#[command(name = "nimblenet", version, term_width = 80)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

/// Exits with 0, with 1 after an error, and with 2 for wrong usage.
fn main() -> ExitCode {
    let CommandLine { verb } = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return failure::usage(&error),
    };
    match verb
        .run()
        .map_err(|error| output::of_verb(error, &verb.name()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, verb.json()),
    }
}
