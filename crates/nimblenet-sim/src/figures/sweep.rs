//! A sweep as figures: section 6.1 of the paper, and others of its kind.

use super::{Comparison, Figure, csv, mean_of};
use crate::plot::{Axis, BLUE, Chart, Layer, ORANGE, svg};
use crate::report::Report;
use crate::run::Cut;
use crate::scenario::Parameter;

/// One value of the parameter, with the runs of both task sets; one may have none.
#[derive(Clone, Debug)]
pub struct Point<'a> {
    /// The value.
    pub value: f64,
    /// The runs.
    pub runs: Comparison<'a>,
}

/// What is drawn.
struct Measure {
    title: &'static str,
    unit: &'static str,
    /// What the numbers are called in CSV.
    column: &'static str,
    of: fn(&Report) -> Option<f64>,
}

/// What the mesh carries, and what fails.
const LOAD: [Measure; 4] = [
    Measure {
        title: "bytes on air",
        unit: "MB",
        column: "air_mb",
        of: |run| Some(run.air_bytes as f64 / 1e6),
    },
    Measure {
        title: "sent by node 1",
        unit: "MB",
        column: "node_1_mb",
        of: |run| Some(*run.tx_bytes.get(&1)? as f64 / 1e6),
    },
    Measure {
        title: "packets",
        unit: "thousands",
        column: "packets_k",
        of: |run| Some(run.air_packets as f64 / 1e3),
    },
    Measure {
        title: "calls that failed",
        unit: "%",
        column: "failed_percent",
        of: |run| Some(100.0 * run.failed as f64 / (run.triggered as f64).max(1.0)),
    },
];

/// What calls meet.
const CALLS: [Measure; 4] = [
    Measure {
        title: "wait for modules",
        unit: "s",
        column: "acquisition_s",
        of: |run| run.mean_acquisition_s,
    },
    Measure {
        title: "first call of a chain at a node",
        unit: "wait for modules, s",
        column: "first_acquisition_s",
        of: |run| run.first_acquisition_s,
    },
    Measure {
        title: "later calls",
        unit: "wait for modules, s",
        column: "later_acquisition_s",
        of: |run| run.later_acquisition_s,
    },
    Measure {
        title: "response",
        unit: "s",
        column: "response_s",
        of: |run| run.mean_response_s,
    },
];

/// Draws what the values of a parameter lead to: what the mesh carries, and what calls meet.
pub fn sweep(parameter: Parameter, points: &[Point<'_>]) -> [Figure; 2] {
    let name = parameter.name();
    [
        figure(name, "", &LOAD, points),
        figure(name, "-calls", &CALLS, points),
    ]
}

fn figure(name: &str, part: &str, measures: &[Measure], points: &[Point<'_>]) -> Figure {
    let charts = measures.iter().map(|measure| chart(name, measure, points));
    let charts: Vec<Chart> = charts.collect();
    let cuts = [Cut::Nimble, Cut::Monolithic];
    let rows = points.iter().map(|point| {
        let numbers = cuts.iter().flat_map(|cut| {
            let runs = point.runs.of(*cut);
            let numbers = measures
                .iter()
                .map(|it| mean_of(runs, |run| (it.of)(run.report)));
            numbers.map(|number| number.unwrap_or(f64::NAN))
        });
        [point.value].into_iter().chain(numbers).collect()
    });
    let columns = cuts.iter().flat_map(|cut| {
        let columns = measures.iter().map(|measure| measure.column);
        columns.map(|column| format!("{}_{column}", cut.name()))
    });
    let header: Vec<String> = [name.to_owned()].into_iter().chain(columns).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    Figure {
        name: format!("sweep-{name}{part}"),
        caption: format!("What {name} leads to"),
        svg: svg(&charts, (1320, 360)),
        csv: csv(&header, rows),
    }
}

fn chart(name: &str, measure: &Measure, points: &[Point<'_>]) -> Chart {
    let line = |cut: Cut| -> Vec<(f64, f64)> {
        let points = points.iter().zip(0..);
        let known = points.filter_map(|(point, at)| {
            let number = mean_of(point.runs.of(cut), |run| (measure.of)(run.report))?;
            Some((f64::from(at), number))
        });
        known.collect()
    };
    let lines = [
        ("monolithic", ORANGE, line(Cut::Monolithic)),
        ("nimble", BLUE, line(Cut::Nimble)),
    ];
    let all = lines.iter().flat_map(|it| it.2.iter().map(|at| at.1));
    let y = Axis::up_to(measure.unit, all);
    let layers = lines.into_iter().filter(|(.., points)| !points.is_empty());
    let layers = layers.flat_map(|(name, colour, points)| {
        let dots = points.iter().map(|(x, y)| (*x, *y, String::new()));
        let dots = Layer::Points {
            name: None,
            colour,
            points: dots.collect(),
        };
        let line = Layer::Line {
            name: Some(name.to_owned()),
            colour,
            width: 2,
            points,
        };
        [line, dots]
    });
    let names = points.iter().map(|point| point.value.to_string());
    Chart {
        title: measure.title.to_owned(),
        x: Axis::of(name, names.collect()),
        y,
        layers: layers.collect(),
    }
}
