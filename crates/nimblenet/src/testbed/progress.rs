//! Shows a person at the terminal how far a replay has come.

use core::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nimblenet_sim::Cut;

use super::robots::Ended;

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
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            bar,
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
