//! A task of continuous integration: announced, timed, reported in a table.

use core::fmt;
use core::time::Duration;
use std::io::Write as _;

use anyhow::Result;

/// A named task.
pub(crate) struct Step {
    /// What `--only` and the table call it.
    pub(crate) name: &'static str,
    /// One line on what it makes sure of.
    pub(crate) about: &'static str,
    /// The task itself.
    pub(crate) action: fn() -> Result<()>,
}

/// How a step ended.
pub(crate) struct Ended {
    name: &'static str,
    took: Duration,
    error: Option<anyhow::Error>,
}

impl Step {
    /// Announces the step on standard error, runs it and says how it ended.
    pub(crate) fn run(&self) -> Ended {
        eprintln!("\n==> {}: {}", self.name, self.about);
        let begin = now();
        let error = (self.action)().err();
        let ended = Ended {
            name: self.name,
            took: begin.elapsed(),
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
        let seconds = self.took.as_secs_f64();
        match &self.error {
            None => write!(f, "{:<10} ok     {seconds:>7.1} s", self.name),
            Some(error) => write!(f, "{:<10} FAILED {seconds:>7.1} s  {error:#}", self.name),
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
