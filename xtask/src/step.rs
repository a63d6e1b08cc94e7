//! A task of continuous integration: announced, timed, reported in a table.

use core::fmt;
use core::time::Duration;
use std::io::Write as _;

use anyhow::Result;

use crate::workspace;

/// A named task.
pub(crate) struct Step {
    /// What `--only` and the table call it.
    pub(crate) name: &'static str,
    /// One line on what it makes sure of.
    pub(crate) about: &'static str,
    /// The task itself.
    pub(crate) action: fn() -> Result<()>,
    /// Folders of builds that no later step needs. Continuous integration removes them: its disk is small.
    pub(crate) leaves: &'static [&'static str],
}

/// How a step ended.
pub(crate) struct Ended {
    name: &'static str,
    took: Duration,
    built: Option<u64>,
    error: Option<anyhow::Error>,
}

impl Step {
    /// Announces the step on standard error, runs it and says how it ended and what builds have filled by then.
    pub(crate) fn run(&self) -> Ended {
        eprintln!("\n==> {}: {}", self.name, self.about);
        let begin = now();
        let error = (self.action)().err();
        if std::env::var_os("CI").is_some() {
            workspace::remove_builds(self.leaves);
        }
        let ended = Ended {
            name: self.name,
            took: begin.elapsed(),
            built: workspace::built_bytes().ok(),
            error,
        };
        eprintln!("<== {ended}");
        // What the step printed must not overtake the next announcement in a log.
        let _ = std::io::stdout().flush();
        ended
    }
}

impl Ended {
    /// Whether the step failed.
    pub(crate) fn failed(&self) -> bool {
        self.error.is_some()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = if self.failed() { "FAILED" } else { "ok" };
        let seconds = self.took.as_secs_f64();
        write!(f, "{:<10} {result:<6} {seconds:>7.1} s", self.name)?;
        if let Some(built) = self.built {
            write!(f, " {:>6} MB", built / 1_000_000)?;
        }
        match &self.error {
            None => Ok(()),
            Some(error) => write!(f, "  {error:#}"),
        }
    }
}

/// The time now.
#[expect(
    clippy::disallowed_methods,
    reason = "tasks are timed by the wall clock"
)]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
