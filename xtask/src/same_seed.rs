//! Whether the simulator does the same on another machine: what a 32-bit build prints, with another C
//! library, is what the host's build prints.

use anyhow::{Result, bail, ensure};

use crate::workspace::{cargo, output};

/// A target that this machine can run, with other lengths of pointers and another C library.
const TARGET: &str = "i686-unknown-linux-musl";

/// Runs the simulator's example `event_log` in both builds and compares the hashes of their events.
pub(crate) fn run() -> Result<()> {
    let run = [
        "run",
        "--package",
        "nimblenet-sim",
        "--example",
        "event_log",
    ];
    let here = output(cargo().args(run))?;
    if !installed()? {
        bail!("there is no standard library for {TARGET}: run `rustup target add {TARGET}`");
    }
    let mut other = cargo();
    other.args(run).args(["--target", TARGET]);
    // rustup's own linker: no C compiler for the target is needed.
    other.env("CARGO_TARGET_I686_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
    let there = output(&mut other)?;
    for (here, there) in here.lines().zip(there.lines()) {
        ensure!(
            here == there,
            "{TARGET} has another run:\n  {here}\n  {there}"
        );
    }
    let runs = here.lines().count();
    ensure!(
        runs > 0 && runs == there.lines().count(),
        "the number of runs differs"
    );
    println!("{runs} runs are the same on {TARGET}");
    Ok(())
}

fn installed() -> Result<bool> {
    let mut rustup = std::process::Command::new("rustup");
    rustup.current_dir(crate::workspace::root());
    let targets = output(rustup.args(["target", "list", "--installed"]))?;
    Ok(targets.lines().any(|line| line.trim() == TARGET))
}
