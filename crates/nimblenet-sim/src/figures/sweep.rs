//! A sweep as a figure: section 6.1 of the paper, and others of its kind.

use super::{Comparison, Figure, Sample, csv, mean_of};
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

/// What is drawn: a title, a unit, and the number.
type Measure = (&'static str, &'static str, fn(&Report) -> Option<f64>);

const MEASURES: [Measure; 3] = [
    ("bytes on air", "MB", |run| Some(run.air_bytes as f64 / 1e6)),
    ("sent by node 1", "MB", |run| {
        Some(*run.tx_bytes.get(&1)? as f64 / 1e6)
    }),
    ("wait for modules", "s", |run| run.mean_acquisition_s),
];

/// Draws what the values of a parameter lead to.
pub fn sweep(parameter: Parameter, points: &[Point<'_>]) -> Figure {
    let name = parameter.name();
    let measured = |runs: &[Sample<'_>], measure: fn(&Report) -> Option<f64>| {
        mean_of(runs, |run| measure(run.report))
    };
    let charts = MEASURES.map(|(title, unit, measure)| {
        let line = |cut: Cut| -> Vec<(f64, f64)> {
            let points = points.iter().zip(0..);
            let known = points.filter_map(|(point, at)| {
                Some((f64::from(at), measured(point.runs.of(cut), measure)?))
            });
            known.collect()
        };
        let lines = [
            ("monolithic", ORANGE, line(Cut::Monolithic)),
            ("nimble", BLUE, line(Cut::Nimble)),
        ];
        let largest: Vec<f64> = lines
            .iter()
            .flat_map(|it| it.2.iter().map(|at| at.1))
            .collect();
        let layers = lines.into_iter().filter(|(.., points)| !points.is_empty());
        let layers = layers.flat_map(|(name, colour, points)| {
            let dots = points
                .iter()
                .map(|(x, y)| (*x, *y, String::new()))
                .collect();
            let line = Layer::Line {
                name: Some(name.to_owned()),
                colour,
                width: 2,
                points,
            };
            let dots = Layer::Points {
                name: None,
                colour,
                points: dots,
            };
            [line, dots]
        });
        Chart {
            title: title.to_owned(),
            x: Axis::of(
                name,
                points.iter().map(|point| point.value.to_string()).collect(),
            ),
            y: Axis::up_to(unit, largest.into_iter()),
            layers: layers.collect(),
        }
    });
    let rows = points.iter().map(|point| {
        let both = [Cut::Nimble, Cut::Monolithic].map(|cut| point.runs.of(cut));
        let numbers = both.into_iter().flat_map(|runs| {
            MEASURES.map(|(.., measure)| measured(runs, measure).unwrap_or(f64::NAN))
        });
        [point.value].into_iter().chain(numbers).collect()
    });
    let header = [
        name,
        "nimble_air_mb",
        "nimble_node_1_mb",
        "nimble_acquisition_s",
        "monolithic_air_mb",
        "monolithic_node_1_mb",
        "monolithic_acquisition_s",
    ];
    Figure {
        name: format!("sweep-{name}"),
        caption: format!("What {name} leads to"),
        svg: svg(&charts, (1080, 340)),
        csv: csv(&header, rows),
    }
}
