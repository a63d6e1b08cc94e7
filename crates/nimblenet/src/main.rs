//! `nimblenet`: everything that a person or a script does with tasklets, in one binary.

#![forbid(unsafe_code)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for an operating system"
)]

mod clock;
mod demo;
mod local;
mod output;
mod remote;
mod uf2;
mod verb;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use verb::Verb;

/// Publishes, distributes and runs small WebAssembly programs on a mesh of devices.
#[derive(Parser, Debug)]
#[command(name = "nimblenet", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

/// Exits with 0, with 1 after an error, and with 2 (by way of clap) for wrong usage.
fn main() -> ExitCode {
    match CommandLine::parse().verb.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Whether whoever read the output has gone away, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
