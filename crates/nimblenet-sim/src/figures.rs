//! The paper's figures, drawn from runs; each comes with its numbers as CSV.

mod course;
mod scene;
mod sweep;

use crate::course::{Course, won};
use crate::report::{RESPONSE_WINDOW_S, Report};
use crate::run::Cut;

pub use course::{break_even, cumulative, load_per_node, responses};
pub use scene::{first_call, robot_path, spoken, taskset};
pub use sweep::{Point, sweep};

/// A figure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figure {
    /// The name of its files, without their ending.
    pub name: String,
    /// What it shows.
    pub caption: String,
    /// The drawing.
    pub svg: String,
    /// The numbers.
    pub csv: String,
}

/// A run that was made.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// What came out.
    pub report: &'a Report,
    /// How it went.
    pub course: &'a Course,
}

/// The two task sets with one protocol: for each seed a run of each, in the same order.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// Runs of the nimble task set.
    pub nimble: Vec<Sample<'a>>,
    /// Runs of the monolithic task set.
    pub monolithic: Vec<Sample<'a>>,
}

impl<'a> Comparison<'a> {
    /// The runs of one task set.
    pub fn of(&self, cut: Cut) -> &[Sample<'a>] {
        match cut {
            Cut::Nimble => &self.nimble,
            Cut::Monolithic => &self.monolithic,
        }
    }

    /// In how many windows of [`RESPONSE_WINDOW_S`] after the break-even the nimble task set responds
    /// faster, and how many there are in all seeds; none if there is no break-even. Bytes are those of
    /// the reports.
    pub fn windows_won(&self) -> Option<(usize, usize)> {
        let report = self.nimble.first()?.report;
        let from_s = break_even(self, report.accounting, report.header_bytes)?;
        let from = (from_s / RESPONSE_WINDOW_S).ceil() as usize;
        let pairs = self.nimble.iter().zip(&self.monolithic);
        let windows = pairs.map(|(nimble, monolithic)| {
            let of = |run: &Sample<'_>| run.report.mean_response_s_per_100s.clone();
            won(&of(nimble), &of(monolithic), from)
        });
        Some(windows.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1)))
    }
}

/// The mean over the runs that have the number.
pub(crate) fn mean_of(
    runs: &[Sample<'_>],
    number: impl Fn(&Sample<'_>) -> Option<f64>,
) -> Option<f64> {
    let numbers: Vec<f64> = runs.iter().filter_map(number).collect();
    (!numbers.is_empty()).then(|| mean(numbers.into_iter()))
}

/// The mean of some numbers; 0 of none.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// Writes rows of numbers below a header; a number that is none is an empty cell.
fn csv(header: &[&str], rows: impl Iterator<Item = Vec<f64>>) -> String {
    let mut text = header.join(",") + "\n";
    for row in rows {
        let cells = row.iter().map(|cell| match cell.is_nan() {
            true => String::new(),
            false => cell.to_string(),
        });
        let cells: Vec<String> = cells.collect();
        text += &cells.join(",");
        text.push('\n');
    }
    text
}
