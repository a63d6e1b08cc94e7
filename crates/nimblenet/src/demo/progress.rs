//! Shows a person at the terminal the progress of a demonstration.

use core::cell::Cell;
use std::io::{self, Write as _};

use indicatif::ProgressBar;

use super::crew::Call;
use crate::output;

/// A line on standard error, only at a terminal. If asked for, it also reports every call, wherever
/// standard error goes.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    verbose: bool,
    calls: Cell<u64>,
    failed: Cell<u64>,
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn new(verbose: bool) -> Self {
        Self {
            bar: output::spinner(),
            verbose,
            calls: Cell::new(0),
            failed: Cell::new(0),
        }
    }

    /// Shows the present step.
    pub(crate) fn step(&self, what: &'static str) {
        if self.verbose {
            self.say(what);
        }
        self.bar.set_message(what);
    }

    /// Counts a call that has ended.
    pub(crate) fn call(&self, call: &Call) {
        self.calls.set(self.calls.get() + 1);
        self.failed
            .set(self.failed.get() + u64::from(call.end.is_err()));
        if self.verbose {
            let (robot, node, tasklet) = (call.robot, call.node + 1, call.tasklet);
            let end = match &call.end {
                Ok(took) => format!("{:.1} ms", took.as_secs_f64() * 1000.0),
                Err(code) => format!("failed: {code}"),
            };
            self.say(&format!("robot {robot} at node {node}: {tasklet}: {end}"));
        }
        let (calls, failed) = (self.calls.get(), self.failed.get());
        let message = format!("robots move: {calls} calls ended, {failed} of them failed");
        self.bar.set_message(message);
    }

    fn say(&self, line: &str) {
        // If the reader of standard error has closed it, the run goes on without lines.
        let print = || writeln!(io::stderr(), "{line}");
        let _ = self.bar.suspend(print);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
