//! Figures 8 to 10: what both task sets cost over time and on each node.

use super::{Comparison, Figure, Sample, csv, mean};
use crate::course::break_even_s;
use crate::plot::{Axis, BLUE, Chart, Colour, Layer, ORANGE, svg};
use crate::report::RESPONSE_WINDOW_S;
use crate::tally::{Accounting, Load, WINDOW};

/// How far the windows of responses are apart, in seconds.
const SLIDE_S: f64 = 10.0;
/// The size of a figure with one chart, and of one with two.
const SINGLE: (u32, u32) = (720, 420);
const DOUBLE: (u32, u32) = (960, 400);
/// The most nodes that have boxes beside each other.
const NODES_BESIDE: usize = 64;

/// A run's own accounting, applied to a load.
fn bytes(sample: &Sample<'_>, load: Load) -> f64 {
    let report = sample.report;
    load.bytes(report.accounting, report.header_bytes) as f64
}

fn label(comparison: &Comparison<'_>) -> String {
    let runs = &comparison.nimble;
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
        return String::new();
    };
    let (profile, first, last) = (first.report.profile, first.report.seed, last.report.seed);
    if first == last {
        format!("profile {profile}, seed {first}")
    } else {
        format!("profile {profile}, mean of seeds {first} to {last}")
    }
}

/// Numbers over time, at the same moments in each run; none where a run has none.
type Row = Vec<(f64, Option<f64>)>;

/// A bold line for the mean of several runs, and a thin one for each.
fn lines(name: &str, colour: Colour, runs: &[Row]) -> Vec<Layer> {
    let (red, green, blue) = colour;
    let pale = |share: u8| (u16::from(share) / 3 + 170) as u8;
    let paler = (pale(red), pale(green), pale(blue));
    let thin = runs.iter().filter(|_| runs.len() > 1);
    let thin = thin.flat_map(|run| pieces(None, paler, 1, run));
    let bold = pieces(Some(name), colour, 2, &mean_line(runs));
    thin.chain(bold).collect()
}

/// A line that is interrupted where there is no number; the name is that of its first piece.
fn pieces(name: Option<&str>, colour: Colour, width: u32, row: &Row) -> Vec<Layer> {
    let pieces = row.chunk_by(|a, b| a.1.is_some() == b.1.is_some());
    let known = pieces.map(|piece| {
        piece
            .iter()
            .filter_map(|(at, number)| Some((*at, (*number)?)))
    });
    let known = known
        .map(Iterator::collect::<Vec<_>>)
        .filter(|piece| !piece.is_empty());
    let pieces = known.enumerate().map(|(at, points)| Layer::Line {
        name: name.filter(|_| at == 0).map(str::to_owned),
        colour,
        width,
        points,
    });
    pieces.collect()
}

/// At each moment the mean of the runs that have a number there.
fn mean_line(runs: &[Row]) -> Row {
    let longest = runs.iter().max_by_key(|run| run.len());
    let moments = longest.into_iter().flatten().enumerate();
    let means = moments.map(|(at, (moment, _))| {
        let there = runs.iter().filter_map(|run| run.get(at));
        let known: Vec<f64> = there.filter_map(|(_, number)| *number).collect();
        let number = (!known.is_empty()).then(|| mean(known.into_iter()));
        (*moment, number)
    });
    means.collect()
}

/// The means of both task sets side by side, for moments at which one has a number.
fn side_by_side(nimble: &[Row], monolithic: &[Row]) -> Vec<Vec<f64>> {
    let both = mean_line(nimble).into_iter().zip(mean_line(monolithic));
    let known = both.filter(|((_, nimble), (_, other))| nimble.or(*other).is_some());
    let rows = known.map(|((at, nimble), (_, other))| {
        let cell = |number: Option<f64>| number.unwrap_or(f64::NAN);
        vec![at, cell(nimble), cell(other)]
    });
    rows.collect()
}

/// Figure 8: what each node sends and receives, in kB; without the registry, as in the paper.
pub fn load_per_node(comparison: &Comparison<'_>) -> Figure {
    let ids: Vec<u16> = comparison.nimble.first().map_or_else(Vec::new, |run| {
        let ids = run.course.nodes.iter().map(|(id, ..)| id.0);
        ids.filter(|id| *id != run.report.registry).collect()
    });
    let of_node = |runs: &[Sample<'_>], id: u16, received: bool| {
        mean(runs.iter().flat_map(|run| {
            let nodes = run
                .course
                .nodes
                .iter()
                .filter(move |(node, ..)| node.0 == id);
            nodes.map(|(_, tx, rx)| bytes(run, if received { *rx } else { *tx }) / 1000.0)
        }))
    };
    let values = |runs: &[Sample<'_>], received: bool| -> Vec<f64> {
        ids.iter().map(|id| of_node(runs, *id, received)).collect()
    };
    // Beside each other they would be thinner than a pixel.
    let crowded = |title: &str, received: bool| {
        let busiest = |runs| {
            let mut values = values(runs, received);
            values.sort_by(|a, b| b.total_cmp(a));
            values
        };
        let sets = [
            ("nimble", BLUE, busiest(&comparison.nimble)),
            ("monolithic", ORANGE, busiest(&comparison.monolithic)),
        ];
        let all: Vec<f64> = sets
            .iter()
            .flat_map(|(.., values)| values.clone())
            .collect();
        let layers = sets.into_iter().map(|(name, colour, values)| Layer::Line {
            name: Some(name.to_owned()),
            colour,
            width: 2,
            points: values
                .into_iter()
                .zip(1..)
                .map(|(value, at)| (f64::from(at), value))
                .collect(),
        });
        Chart {
            title: title.to_owned(),
            x: Axis::over(
                "nodes, the busiest of each task set first",
                1.0..ids.len() as f64,
            ),
            y: Axis::up_to("kB in the whole run", all.into_iter()),
            layers: layers.collect(),
        }
    };
    let chart = |title: &str, received: bool| {
        if ids.len() > NODES_BESIDE {
            return crowded(title, received);
        }
        let (nimble, monolithic) = (
            values(&comparison.nimble, received),
            values(&comparison.monolithic, received),
        );
        let boxes = |name: &str, colour, from: f64, values: &[f64]| Layer::Boxes {
            name: Some(name.to_owned()),
            colour,
            corners: values
                .iter()
                .zip(0..)
                .map(|(value, at)| {
                    let left = f64::from(at) + from;
                    [(left, 0.0), (left + 0.4, *value)]
                })
                .collect(),
        };
        Chart {
            title: title.to_owned(),
            x: Axis::of("node", ids.iter().map(u16::to_string).collect()),
            y: Axis::up_to(
                "kB in the whole run",
                nimble.iter().chain(&monolithic).copied(),
            ),
            layers: vec![
                boxes("nimble", BLUE, -0.4, &nimble),
                boxes("monolithic", ORANGE, 0.0, &monolithic),
            ],
        }
    };
    let rows = ids.iter().map(|id| {
        let both = [&comparison.nimble, &comparison.monolithic];
        let loads = both.map(|runs| [false, true].map(|rx| of_node(runs, *id, rx)));
        let [[tx_n, rx_n], [tx_m, rx_m]] = loads;
        vec![f64::from(*id), tx_n, rx_n, tx_m, rx_m]
    });
    let header = [
        "node",
        "nimble_tx_kb",
        "nimble_rx_kb",
        "monolithic_tx_kb",
        "monolithic_rx_kb",
    ];
    Figure {
        name: "figure-8".to_owned(),
        caption: format!("What each node sends and receives ({})", label(comparison)),
        svg: svg(&[chart("sent", false), chart("received", true)], DOUBLE),
        csv: csv(&header, rows),
    }
}

/// The mean over all seeds of what was sent and received by the end of each window, in bytes.
fn mean_load(runs: &[Sample<'_>], accounting: Accounting, header_bytes: u32) -> Vec<u64> {
    let all = runs
        .iter()
        .map(|run| run.course.cumulative(accounting, header_bytes));
    let all: Vec<Vec<u64>> = all.collect();
    let shortest = all.iter().map(Vec::len).min().unwrap_or(0);
    let at = |at: usize| mean(all.iter().map(|run| run[at] as f64)).round() as u64;
    (0..shortest).map(at).collect()
}

/// When the nimble task set's load falls below the monolithic one's for good, in seconds; none if it
/// does not.
pub fn break_even(
    comparison: &Comparison<'_>,
    accounting: Accounting,
    header_bytes: u32,
) -> Option<f64> {
    let load = |runs| mean_load(runs, accounting, header_bytes);
    let at_s = break_even_s(&load(&comparison.nimble), &load(&comparison.monolithic))?;
    // The last window may be cut off by the end.
    let duration_s = comparison.nimble.first()?.course.duration_s;
    Some(at_s.min(duration_s))
}

fn break_even_as_reported(comparison: &Comparison<'_>) -> Option<f64> {
    let report = comparison.nimble.first()?.report;
    break_even(comparison, report.accounting, report.header_bytes)
}

fn mark(at_s: Option<f64>, height: f64) -> Option<Layer> {
    let x = at_s?;
    let text = format!("break-even at {x} s");
    Some(Layer::Mark { x, height, text })
}

/// Figure 9: what all nodes have sent and received, over time.
pub fn cumulative(comparison: &Comparison<'_>) -> Figure {
    let line = |run: &Sample<'_>| -> Row {
        let end = |at: usize| (at as f64 * WINDOW.as_secs_f64()).min(run.course.duration_s);
        let loads = run.course.load.iter().enumerate();
        let points = loads.map(|(at, load)| (end(at), Some(bytes(run, *load) / 1e6)));
        points.collect()
    };
    let lines_of = |runs: &[Sample<'_>]| -> Vec<_> { runs.iter().map(line).collect() };
    let (nimble, monolithic) = (
        lines_of(&comparison.nimble),
        lines_of(&comparison.monolithic),
    );
    let ends = nimble
        .iter()
        .chain(&monolithic)
        .filter_map(|run| run.last());
    let duration_s = ends.clone().map(|end| end.0).fold(0.0, f64::max);
    let mut layers = lines("monolithic", ORANGE, &monolithic);
    layers.extend(lines("nimble", BLUE, &nimble));
    layers.extend(mark(break_even_as_reported(comparison), 0.6));
    let chart = Chart {
        title: "total network load".to_owned(),
        x: Axis::over("time, s", 0.0..duration_s),
        y: Axis::up_to("sent and received, MB", ends.filter_map(|end| end.1)),
        layers,
    };
    let rows = side_by_side(&nimble, &monolithic).into_iter();
    Figure {
        name: "figure-9".to_owned(),
        caption: format!("Bytes sent and received over time ({})", label(comparison)),
        svg: svg(&[chart], SINGLE),
        csv: csv(&["time_s", "nimble_mb", "monolithic_mb"], rows),
    }
}

/// Figure 10: the mean response of calls that ended within 100 s, over time. Where no call did, there is
/// no number.
pub fn responses(comparison: &Comparison<'_>) -> Figure {
    let line = |run: &Sample<'_>| -> Row {
        let windows = run.course.windows_every(RESPONSE_WINDOW_S, SLIDE_S);
        let windows = windows.into_iter().enumerate();
        let end = |at: usize| at as f64 * SLIDE_S + RESPONSE_WINDOW_S;
        let windows = windows.map(|(at, mean)| (end(at).min(run.course.duration_s), mean));
        windows.collect()
    };
    let lines_of = |runs: &[Sample<'_>]| -> Vec<_> { runs.iter().map(line).collect() };
    let (nimble, monolithic) = (
        lines_of(&comparison.nimble),
        lines_of(&comparison.monolithic),
    );
    let all = nimble.iter().chain(&monolithic).flatten();
    let last_s = all.clone().map(|at| at.0).fold(1.0, f64::max);
    let mut layers = lines("monolithic", ORANGE, &monolithic);
    layers.extend(lines("nimble", BLUE, &nimble));
    layers.extend(mark(break_even_as_reported(comparison), 1.0));
    let chart = Chart {
        title: "response, mean of the last 100 s".to_owned(),
        x: Axis::over("time, s", 0.0..last_s),
        y: Axis::up_to("response, s", all.filter_map(|at| at.1)),
        layers,
    };
    let rows = side_by_side(&nimble, &monolithic).into_iter();
    Figure {
        name: "figure-10".to_owned(),
        caption: format!("Response over time ({})", label(comparison)),
        svg: svg(&[chart], SINGLE),
        csv: csv(&["time_s", "nimble_s", "monolithic_s"], rows),
    }
}
