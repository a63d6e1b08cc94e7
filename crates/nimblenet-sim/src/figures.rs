//! The paper's figures, drawn from runs; each comes with its numbers as CSV.

mod course;
mod scene;
mod sweep;

use crate::course::Course;
use crate::report::Report;
use crate::run::Cut;

pub use course::{break_even, cumulative, load_per_node, responses};
pub use scene::{first_call, robot_path, taskset};
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
}

/// The mean of some numbers; 0 of none.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// Writes rows of numbers below a header.
fn csv(header: &[&str], rows: impl Iterator<Item = Vec<f64>>) -> String {
    let mut text = header.join(",") + "\n";
    for row in rows {
        let cells: Vec<String> = row.iter().map(f64::to_string).collect();
        text += &cells.join(",");
        text.push('\n');
    }
    text
}
