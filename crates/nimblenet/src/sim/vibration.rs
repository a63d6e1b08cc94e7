//! The flow of vibrations: bytes with the operator on the way, and with all of it at the sink.

use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use nimblenet_sim::vibration::{self, GATEWAY, Outcome, SAMPLES, SOURCES, Settings, Site, WINDOW};
use nimblenet_tasklet::TaskletName;
use serde_json::{Value as Json, json};

use crate::demo;
use crate::failure::misuse;
use crate::output;

/// The name of the scenario.
pub(crate) const NAME: &str = "vibration";
/// The operator's tasklet.
const TASKLET: &str = "std/rms";
/// Seconds without --seconds.
const SECONDS: f64 = 600.0;
/// The longest run, in seconds: a day.
const SECONDS_MAX: f64 = 86_400.0;
/// The highest loss at which catalogues spread in time.
const LOSS_MAX: f64 = 0.3;

/// Runs the scenario with each seed and the operator at each place, and prints what came out.
///
/// # Errors
/// If the time or the loss is out of range, or standard output does not take it.
pub(crate) fn run(
    seeds: &[u64],
    seconds: Option<f64>,
    loss: Option<f64>,
    as_json: bool,
) -> anyhow::Result<()> {
    let seconds = seconds.unwrap_or(SECONDS);
    if !(f64::from(WINDOW)..=SECONDS_MAX).contains(&seconds) {
        let message = format!(
            "--seconds {seconds}: --scenario {NAME} takes {WINDOW} s, one window, to {SECONDS_MAX} s"
        );
        return Err(misuse(message).into());
    }
    let loss = loss.unwrap_or(0.0);
    if loss > LOSS_MAX {
        let message = format!("--loss {loss}: --scenario {NAME} takes 0 to {LOSS_MAX}");
        return Err(misuse(message).into());
    }
    let name: TaskletName = TASKLET.parse().context("the name of a built-in tasklet")?;
    let package = demo::built_in(&name)?;
    let runs = seeds.iter().map(|seed| {
        let settings = Settings {
            seed: *seed,
            items: seconds as u32,
            loss,
        };
        vibration::compare(&package, &settings)
    });
    let runs: Vec<_> = runs.collect();
    match as_json {
        true => output::json(&document(&runs)?),
        false => output::text(&page(&runs)),
    }
}

/// The run with the operator at each place, the sink last.
type Compared = [Outcome; 3];

/// The share of bytes on air that a run does without, of those with all of it at the sink.
fn fewer(run: &Outcome, at_sink: &Outcome) -> f64 {
    1.0 - run.air_bytes as f64 / at_sink.air_bytes as f64
}

fn document(runs: &[Compared]) -> anyhow::Result<Json> {
    let rows = runs.iter().flat_map(|compared| {
        let [.., at_sink] = compared;
        compared.iter().map(move |run| {
            let mut row = serde_json::to_value(run)?;
            row["arrived"] = run.arrived().into();
            row["equal"] = run.agrees_with(at_sink).into();
            row["fewer_air_bytes"] = fewer(run, at_sink).into();
            Ok(row)
        })
    });
    let rows: Vec<Json> = rows.collect::<Result<_, serde_json::Error>>()?;
    Ok(json!({
        "scenario": NAME,
        "sources": SOURCES.count(),
        "window": WINDOW,
        "tasklet": TASKLET,
        "runs": rows,
    }))
}

fn page(runs: &[Compared]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "SEED", "OPERATOR", "ITEMS", "ARRIVED", "EQUAL", "AIR", "FLOW", "SAVED", "FEWER",
    ]);
    for compared in runs {
        let [.., at_sink] = compared;
        for run in compared {
            let place = match run.place {
                Site::Source => "source",
                Site::Between => "between",
                Site::Sink => "sink",
            };
            let equal = run.agrees_with(at_sink);
            table.add_row([
                run.seed.to_string(),
                place.to_owned(),
                run.items.to_string(),
                run.arrived().to_string(),
                (if equal { "yes" } else { "no" }).to_owned(),
                run.air_bytes.to_string(),
                run.flow_bytes.to_string(),
                run.saved_bytes.to_string(),
                format!("{:.1} %", 100.0 * fewer(run, at_sink)),
            ]);
        }
    }
    format!(
        "{} nodes send {SAMPLES} samples a second each to node {GATEWAY};\n\
         {TASKLET} makes one number of {WINDOW} items.\n\n{table}\n\n\
         OPERATOR  where it may run: at the source; between, if only nodes 2 and 5\n          \
         beside the sink run modules; at the sink\n\
         EQUAL     whether what arrives is what the sink makes itself, as far as both\n          \
         have come ten minutes after the last item\n\
         AIR       bytes of all frames, the module's included\n\
         FLOW      bytes of frames of the flow among them\n\
         SAVED     bytes that links did not carry, as operators count\n\
         FEWER     the share of AIR at the sink that is not needed",
        SOURCES.count()
    )
}
