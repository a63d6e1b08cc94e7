//! Tasks on the host with the pinned stable toolchain: fmt, clippy, test, doc.

use core::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{cargo, run, shown, target_directory};

/// Projects beside the workspace: other targets, or other versions of dependencies.
const BESIDE: [&str; 4] = [
    "firmware/mps2",
    "firmware/rp2040",
    "firmware/runner",
    "tasklets",
];

/// Formats all Rust code or, with `check`, fails if it is not formatted.
pub(crate) fn fmt(check: bool) -> Result<()> {
    for project in [""].into_iter().chain(BESIDE) {
        let mut command = cargo();
        command.args(["fmt", "--all", "--manifest-path"]);
        command.arg(Path::new(project).join("Cargo.toml"));
        if check {
            command.arg("--check");
        }
        run(&mut command)?;
    }
    Ok(())
}

/// Runs clippy; a warning fails the task.
pub(crate) fn clippy() -> Result<()> {
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]))
}

/// Builds the documentation; a warning fails the task.
pub(crate) fn doc() -> Result<()> {
    let mut command = cargo();
    command
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-Dwarnings");
    run(&mut command)
}

/// Runs all tests, shows their output as it comes, and counts.
pub(crate) fn test(arguments: &[String]) -> Result<Totals> {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--no-fail-fast", "--"])
        .args(arguments);
    counted(&mut command)
}

/// Runs the tests of interpreter and executor with the dispatcher of boards with little flash. In a folder of its
/// own, so that nothing else is built anew.
pub(crate) fn test_compact() -> Result<()> {
    let mut command = cargo();
    command
        .args(["test", "--package", "nimblenet-wasm"])
        .args(["--package", "nimblenet-executor"])
        .env("NIMBLENET_DISPATCH", "compact")
        .env("CARGO_TARGET_DIR", target_directory()?.join("compact"));
    let totals = counted(&mut command)?;
    eprintln!("{totals}");
    Ok(())
}

/// Runs the tests of a core that is built as for a board which places calls.
pub(crate) fn test_boards() -> Result<()> {
    let mut command = cargo();
    command
        .args(["test", "--package", "nimblenet-core"])
        .args(["--no-default-features", "--features", "placement"])
        .args(["--test", "boards"])
        .env("CARGO_TARGET_DIR", target_directory()?.join("boards"));
    let totals = counted(&mut command)?;
    eprintln!("{totals}");
    Ok(())
}

/// What test programs reported, summed up.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Ignored tests are left out: whoever reads the last line of a log looks for these two numbers.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Totals {
    /// Adds what one line of output reports, if it is the closing line of a test program.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        for item in counts.split(['.', ';']) {
            let mut words = item.split_whitespace();
            let (Some(count), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

/// Runs a command that runs tests: passes its output on and sums up its closing lines.
pub(crate) fn counted(command: &mut Command) -> Result<Totals> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let stdout = child.stdout.take().expect("it was asked for");
    let mut totals = Totals::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read the output of the tests")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        totals.add(&line);
    }
    let status = child.wait().context("the tests cannot be waited for")?;
    if !status.success() || totals.failed > 0 {
        bail!("tests failed: {totals} ({status})");
    }
    if totals.ignored > 0 {
        eprintln!("{} tests were ignored", totals.ignored);
    }
    if totals.passed == 0 {
        bail!("no test ran");
    }
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_several_programs_are_summed() {
        let mut totals = Totals::default();
        totals.add("running 4 tests");
        totals.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        totals.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured");
        assert_eq!(
            totals,
            Totals {
                passed: 4,
                failed: 2,
                ignored: 1
            }
        );
        assert_eq!(totals.to_string(), "4 passed, 2 failed");
    }

    #[test]
    fn other_output_is_not_counted() {
        let mut totals = Totals::default();
        totals.add("12 passed; 3 failed");
        assert_eq!(totals, Totals::default());
    }
}
