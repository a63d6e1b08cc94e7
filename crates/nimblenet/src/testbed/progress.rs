//! Shows a person at the terminal how far a replay has come.

use core::time::Duration;

use indicatif::ProgressBar;
use nimblenet_sim::Cut;

use super::robots::Ended;
use crate::output;

/// A line on standard error, only at a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    cut: Cut,
    duration_s: f64,
}

impl Progress {
    /// That of a replay of one task set.
    pub(super) fn new(cut: Cut, duration_s: f64) -> Self {
        Self {
            bar: output::spinner(),
            cut,
            duration_s,
        }
    }

    /// Shows the present step.
    pub(super) fn step(&self, what: &str) {
        self.bar.set_message(format!("{}: {what}", self.cut.name()));
    }

    /// Shows how far the trace is.
    pub(super) fn time(&self, now: Duration, made: usize, ended: &[Ended]) {
        let failed = ended.iter().filter(|call| call.answer.is_err()).count();
        self.step(&format!(
            "{:.0} of {} s of the trace; {made} calls, {} ended, {failed} of them failed",
            now.as_secs_f64(),
            self.duration_s,
            ended.len()
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
