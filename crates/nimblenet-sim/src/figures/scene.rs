//! Figures 3 to 5: a call, the task set, and the way of a robot.

use core::f64::consts::TAU;

use nimblenet_core::Instant;
use nimblenet_tasklet::TaskletName;

use super::{Figure, csv};
use crate::followed::Followed;
use crate::plot::{Axis, BLUE, Chart, GREEN, GREY, LEGEND_PX, Layer, ORANGE, svg};
use crate::trace::Trace;

/// The row of the times in which nothing runs.
const WAIT: &str = "waits for a module";

/// What a tasklet of a trace is called in figures and stories.
pub fn spoken(name: &TaskletName) -> String {
    let name = name.name.as_str();
    let Some((kind, number)) = name.split_once('-') else {
        return name.to_owned();
    };
    let kind = if kind == "chain" { kind } else { "algorithm" };
    let number = number.trim_start_matches('0');
    let number = if number.is_empty() { "0" } else { number };
    format!("{kind} {number}")
}

fn seconds(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}

/// Figure 3: a call of a chain, and when what of it ran; modules come from afar, as it is the first.
/// `profile` names the protocol.
pub fn first_call(call: &Followed, profile: &str) -> Figure {
    let mut names: Vec<String> = Vec::new();
    for span in &call.spans {
        let name = spoken(&span.tasklet);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.push(WAIT.to_owned());
    // The chain stands at the top, the waits below all others.
    names.reverse();
    let height = |name: &str| names.iter().position(|known| known == name).unwrap_or(0) as f64;
    let from_s = seconds(call.begun);
    let length_s = seconds(call.ended) - from_s;
    let stripe = |name: &str, from: Instant, to: Instant| {
        let (at, from, to) = (height(name), seconds(from) - from_s, seconds(to) - from_s);
        // What is shorter than a pixel is to be seen, too.
        let to = to.max(from + length_s * 0.002);
        [(from, at - 0.35), (to, at + 0.35)]
    };
    let spans = |called: bool| -> Vec<_> {
        let spans = call.spans.iter().filter(|span| span.called == called);
        spans
            .map(|span| stripe(&spoken(&span.tasklet), span.from, span.to))
            .collect()
    };
    let waits: Vec<_> = call
        .waits()
        .map(|(from, to)| stripe(WAIT, from, to))
        .collect();
    let boxes = |colour, corners: &[_]| Layer::Boxes {
        name: None,
        colour,
        corners: corners.to_vec(),
    };
    let (chain, called) = (spans(false), spans(true));
    let chart = Chart {
        title: format!("the first call, at node {}", call.node.0),
        x: Axis::over("time from the trigger, s", 0.0..length_s * 1.02),
        y: Axis::of("", names.clone()),
        layers: vec![
            boxes(ORANGE, &chain),
            boxes(BLUE, &called),
            boxes(GREY, &waits),
        ],
    };
    let kinds = [(0.0, &waits), (1.0, &chain), (2.0, &called)];
    let rows = kinds.into_iter().flat_map(|(kind, stripes)| {
        stripes
            .iter()
            .map(move |[from, to]| vec![kind, from.0, to.0])
    });
    Figure {
        name: "figure-3".to_owned(),
        caption: format!(
            "The first call: a chain calls its algorithms one after the other, and waits for those \
             that its node does not have (profile {profile})"
        ),
        svg: svg(&[chart], (820, 340)),
        csv: csv(&["wait0_chain1_algorithm2", "from_s", "to_s"], rows),
    }
}

/// Figure 4: how long chains run and how large they are with their algorithms, by their run time.
pub fn taskset(trace: &Trace, call_s: f64) -> Figure {
    let tasks = &trace.taskset;
    let whole = tasks.inlined();
    let mut chains: Vec<_> = tasks.chains.iter().zip(&whole.chains).collect();
    let run_s = |id: u32| tasks.run_s(id, call_s);
    chains.sort_by(|(a, _), (b, _)| run_s(a.id).total_cmp(&run_s(b.id)));
    let own_s = |at: usize| chains[at].0.segments_s.iter().sum::<f64>();
    let all_s = |at: usize| run_s(chains[at].0.id);
    let own_b = |at: usize| f64::from(chains[at].0.size_bytes);
    let all_b = |at: usize| f64::from(chains[at].1.size_bytes);
    let boxes = |name: &str, colour, height: &dyn Fn(usize) -> f64| Layer::Boxes {
        name: Some(name.to_owned()),
        colour,
        corners: (0..chains.len())
            .map(|at| [(at as f64, 0.0), (at as f64 + 1.0, height(at))])
            .collect(),
    };
    let x = || Axis::over("chains by run time", 0.0..chains.len() as f64);
    let charts = [
        Chart {
            title: "run time".to_owned(),
            x: x(),
            y: Axis::up_to("run time, s", (0..chains.len()).map(all_s)),
            layers: vec![
                boxes("algorithms", BLUE, &all_s),
                boxes("chain itself", ORANGE, &own_s),
            ],
        },
        Chart {
            title: "size".to_owned(),
            x: x(),
            y: Axis::up_to("size, bytes", (0..chains.len()).map(all_b)),
            layers: vec![
                boxes("algorithms", BLUE, &all_b),
                boxes("chain itself", ORANGE, &own_b),
            ],
        },
    ];
    let rows = (0..chains.len()).map(|at| {
        let id = f64::from(chains[at].0.id);
        vec![id, own_s(at), all_s(at), own_b(at), all_b(at)]
    });
    let header = ["chain", "own_s", "run_s", "own_bytes", "bytes"];
    Figure {
        name: "figure-4".to_owned(),
        caption: format!("The task set of seed {}", trace.seed),
        svg: svg(&charts, (960, 400)),
        csv: csv(&header, rows),
    }
}

/// Figure 5: where a robot goes, in metres, and where the nodes stand.
pub fn robot_path(trace: &Trace, path: &[(f64, f64)], robot: u32, until_s: f64) -> Figure {
    let radius_m = trace.floor.radius_m;
    let circle = |(x, y): (f64, f64)| {
        let around = (0..=48).map(|step| {
            let (sin, cos) = libm::sincos(TAU * f64::from(step) / 48.0);
            (x + radius_m * cos, y + radius_m * sin)
        });
        around.collect()
    };
    let mut layers: Vec<Layer> = trace
        .nodes
        .iter()
        .map(|node| Layer::Line {
            name: None,
            colour: GREY,
            width: 1,
            points: circle((node.x_m, node.y_m)),
        })
        .collect();
    layers.push(Layer::Line {
        name: Some(format!("robot {robot}")),
        colour: BLUE,
        width: 2,
        points: path.to_vec(),
    });
    let nodes = trace.nodes.iter();
    layers.push(Layer::Points {
        name: Some("node and its radius".to_owned()),
        colour: ORANGE,
        points: nodes
            .map(|it| (it.x_m, it.y_m, it.id.to_string()))
            .collect(),
    });
    let begin = path.first().map(|(x, y)| (*x, *y, "start".to_owned()));
    layers.push(Layer::Points {
        name: None,
        colour: GREEN,
        points: begin.into_iter().collect(),
    });
    let side = |of: fn(&(f64, f64)) -> f64, nodes: Vec<f64>| {
        let all = path
            .iter()
            .map(of)
            .chain(nodes.iter().map(|at| at + radius_m));
        all.fold(1.0, f64::max)
    };
    let width_m = side(|at| at.0, trace.nodes.iter().map(|it| it.x_m).collect());
    let height_m = side(|at| at.1, trace.nodes.iter().map(|it| it.y_m).collect());
    // A metre is as long along both axes, also where the page is larger than the floor.
    let size = (
        746,
        (660.0 * height_m / width_m).clamp(200.0, 900.0) as u32 + 84 + LEGEND_PX,
    );
    let (room_x, room_y) = (660.0, f64::from(size.1 - 84 - LEGEND_PX));
    let scale = (width_m / room_x).max(height_m / room_y);
    let around = |length_m: f64, room: f64| {
        let beside = (room * scale - length_m).max(0.0) / 2.0;
        -beside..length_m + beside
    };
    let chart = Chart {
        title: format!("robot {robot} in {until_s} s"),
        x: Axis::over("x, m", around(width_m, room_x)),
        y: Axis::over("y, m", around(height_m, room_y)),
        layers,
    };
    let step_s = crate::scenario::CONTACT_STEP.as_secs_f64();
    let rows = path
        .iter()
        .zip(0..)
        .map(|((x, y), step)| vec![f64::from(step) * step_s, *x, *y]);
    Figure {
        name: "figure-5".to_owned(),
        caption: format!("The way of robot {robot} over the floor"),
        svg: svg(&[chart], size),
        csv: csv(&["time_s", "x_m", "y_m"], rows),
    }
}
