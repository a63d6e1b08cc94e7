//! The outcomes as figures and as a page.

use std::path::Path;

use nimblenet_sim::claims;
use nimblenet_sim::figures::{
    Comparison, Figure, Point, Sample, break_even, cumulative, first_call, load_per_node,
    responses, robot_path, sweep, taskset,
};
use nimblenet_sim::scenario::Sweep;
use nimblenet_sim::{Cut, Profile, Settings};
use serde::Serialize;

use super::{Outcome, Recipe};
use crate::outlet;

/// The robot of figure 5, and how long it is followed, in seconds.
const ROBOT: u32 = 1;
const FOLLOWED_S: f64 = 1800.0;

/// The runs of both task sets with one protocol.
fn comparison<'o>(outcomes: &[&'o Outcome], profile: Profile) -> Comparison<'o> {
    let of = |cut: Cut| {
        let chosen = outcomes
            .iter()
            .filter(|it| it.profile == profile && it.cut == cut);
        let samples = chosen.map(|outcome| Sample {
            report: &outcome.report,
            course: &outcome.course,
        });
        samples.collect()
    };
    Comparison {
        nimble: of(Cut::Nimble),
        monolithic: of(Cut::Monolithic),
    }
}

/// Which task set does better with one value of a sweep.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Contest {
    /// The value.
    pub(crate) value: f64,
    /// From when on the nimble task set has sent and received less; none if it never has for good.
    pub(crate) break_even_s: Option<f64>,
    /// Windows of 100 s after that in which it responds faster, in all seeds.
    pub(crate) windows_won: usize,
    /// Windows of 100 s after that.
    pub(crate) windows: usize,
}

/// A contest for each value of a sweep; none without both task sets.
pub(crate) fn contests(outcomes: &[Outcome]) -> Vec<Contest> {
    let points = outcomes.chunk_by(|a, b| a.value == b.value);
    let contests = points.filter_map(|outcomes| {
        let first = outcomes.first()?;
        let runs = comparison(&outcomes.iter().collect::<Vec<_>>(), first.profile);
        if runs.nimble.is_empty() || runs.monolithic.is_empty() {
            return None;
        }
        let report = &first.report;
        let (windows_won, windows) = runs.windows_won().unwrap_or_default();
        Some(Contest {
            value: first.value?,
            break_even_s: break_even(&runs, report.accounting, report.header_bytes),
            windows_won,
            windows,
        })
    });
    contests.collect()
}

/// The figures of the paper for each protocol, or those of a sweep. Figures 3 to 5 are those of the
/// first seed.
pub(crate) fn figures(
    outcomes: &[Outcome],
    sweep_of: Option<&Sweep>,
    profiles: &[Profile],
    recipe: &Recipe,
) -> Vec<Figure> {
    if let Some(varied) = sweep_of {
        let points = outcomes.chunk_by(|a, b| a.value == b.value);
        let points = points.map(|outcomes| Point {
            value: outcomes[0].value.unwrap_or_default(),
            runs: comparison(&outcomes.iter().collect::<Vec<_>>(), outcomes[0].profile),
        });
        let points: Vec<Point<'_>> = points.collect();
        return sweep(varied.parameter, &points).into();
    }
    let outcomes: Vec<&Outcome> = outcomes.iter().collect();
    let runs: Vec<Comparison<'_>> = profiles
        .iter()
        .map(|profile| comparison(&outcomes, *profile))
        .collect();
    let mut figures = Vec::new();
    // Of several protocols each has its own files.
    let named = |figure: Figure, profile: &Profile| {
        let name = match profiles {
            [_] => figure.name,
            _ => format!("{}-{}", figure.name, profile.name()),
        };
        Figure { name, ..figure }
    };
    for (profile, runs) in profiles.iter().zip(&runs) {
        let first = runs.nimble.first();
        let call = first.and_then(|run| run.course.followed.as_ref());
        figures.extend(call.map(|call| named(first_call(call, profile.name()), profile)));
    }
    let trace = recipe.trace();
    let call_s = Settings::default().call_cost.as_secs_f64();
    figures.push(taskset(trace, call_s));
    let until_s = FOLLOWED_S.min(recipe.duration_s());
    let path = recipe.path(ROBOT, until_s);
    figures.extend(path.map(|path| robot_path(trace, &path, ROBOT, until_s)));
    for (profile, runs) in profiles.iter().zip(&runs) {
        let all = [load_per_node(runs), cumulative(runs), responses(runs)];
        figures.extend(all.map(|figure| named(figure, profile)));
    }
    figures
}

/// Writes each figure into a folder that is there, with its numbers beside it.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(folder: &Path, figures: &[Figure]) -> anyhow::Result<()> {
    for figure in figures {
        for (ending, text) in [("svg", &figure.svg), ("csv", &figure.csv)] {
            let path = folder.join(&figure.name).with_extension(ending);
            outlet::write(&path, text)?;
        }
    }
    Ok(())
}

/// The page with the claims of the paper, what came out, and the figures.
pub(crate) fn page(
    outcomes: &[Outcome],
    profiles: &[Profile],
    conditions: &str,
    figures: &[Figure],
) -> String {
    let outcomes: Vec<&Outcome> = outcomes.iter().collect();
    let protocols = profiles
        .iter()
        .map(|profile| (*profile, comparison(&outcomes, *profile)));
    let protocols: Vec<_> = protocols.collect();
    claims::page(&protocols, conditions, figures)
}
