//! The paper's experiment on a recorded hour, beside what another implementation of the same rules
//! has measured on it.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "tests of a program for an operating system"
)]

use core::time::Duration;

use nimblenet_sim::bound::{LowerBound, Needs};
use nimblenet_sim::trace::Trace;
use nimblenet_sim::{Cut, Profile, Report, Run, Settings};
use serde_json::Value;

/// How far totals may be from those of the other implementation.
const TOTALS: f64 = 0.02;
/// How far the bytes of one node may be: routes of the same length are chosen otherwise.
const NODES: f64 = 0.15;

fn hour() -> Trace {
    let json = include_bytes!("../traces/floor12-seed1.trace.json");
    Trace::read(json).unwrap()
}

fn expected(taskset: &str) -> Value {
    let json = include_bytes!("../traces/floor12-seed1.expected.json");
    let mut all: Value = serde_json::from_slice(json).unwrap();
    all["runs"][taskset].take()
}

fn run(trace: &Trace, settings: Settings) -> Report {
    let mut run = Run::new(trace, settings);
    while run.advance(Duration::from_secs(100) + (run.engine().now() - Default::default())) {}
    run.report()
}

fn paper(cut: Cut) -> Settings {
    Settings {
        profile: Profile::Paper,
        cut,
        ..Settings::default()
    }
}

/// Checks that each number of `expected` is in `found`, within `band`.
fn assert_near(path: &str, found: &Value, expected: &Value, band: f64) {
    if let Value::Object(fields) = expected {
        for (key, value) in fields {
            let band = if key == "tx_bytes" { NODES } else { band };
            assert_near(&format!("{path}.{key}"), &found[key], value, band);
        }
        return;
    }
    let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
    let off = (found - expected).abs() / expected.max(1.0);
    assert!(off <= band, "{path}: {found} instead of {expected}");
}

/// Checks the bound of the whole hour. That of a run is a little less: some calls do not get as far as
/// their last modules before the end.
fn assert_bound(report: &Report, cut: Cut, expected: u64) {
    let trace = hour();
    let tasks = cut.of(&trace.taskset);
    let needs = Needs::of_trace(&trace, &tasks);
    let whole = LowerBound::of(&trace, &tasks, 32768, &needs).bytes(28);
    assert_eq!(whole, expected);
    let off = whole.saturating_sub(report.lower_bound_bytes);
    assert!(
        report.lower_bound_bytes <= whole && off * 1000 < whole,
        "{off} of {whole}"
    );
}

#[test]
fn a_recorded_hour_of_the_nimble_task_set_is_that_of_another_implementation() {
    let report = run(&hour(), paper(Cut::Nimble));
    let mut expected = expected("nimble");
    let cumulative = expected["cumulative_txrx_bytes_per_10s"].take();
    let found = serde_json::to_value(&report).unwrap();
    expected
        .as_object_mut()
        .unwrap()
        .remove("cumulative_txrx_bytes_per_10s");
    assert_near("nimble", &found, &expected, TOTALS);
    for (at, bytes) in cumulative.as_array().unwrap().iter().enumerate().skip(1) {
        let found = &found["cumulative_txrx_bytes_per_10s"][36 * at];
        assert_near(&format!("window {at}"), found, bytes, TOTALS);
    }
    // Not a single byte is off.
    assert_eq!(report.air_bytes, expected["air_bytes"]);
    assert_bound(&report, Cut::Nimble, 839_926);
    assert_eq!(report.failed, 0);
}

#[test]
fn a_recorded_hour_of_the_monolithic_task_set_is_that_of_another_implementation() {
    let report = run(&hour(), paper(Cut::Monolithic));
    let mut expected = expected("monolithic");
    let fields = expected.as_object_mut().unwrap();
    fields.remove("cumulative_txrx_bytes_per_10s");
    // Seven of four thousand: the band would be less than one.
    assert!(
        report
            .nacks
            .abs_diff(fields.remove("nacks").unwrap().as_u64().unwrap())
            <= 3
    );
    let found = serde_json::to_value(&report).unwrap();
    assert_near("monolithic", &found, &expected, TOTALS);
    assert_bound(&report, Cut::Monolithic, 4_525_690);
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_seed_others() {
    let trace = hour().cut(120.0);
    let settings = |seed| Settings {
        seed,
        ..Settings::default()
    };
    let first = run(&trace, settings(1));
    assert_eq!(
        first.event_log_hash,
        run(&trace, settings(1)).event_log_hash
    );
    assert_ne!(
        first.event_log_hash,
        run(&trace, settings(2)).event_log_hash
    );
}

#[test]
fn a_trace_that_cannot_be_is_refused_with_the_field_and_what_would_be_right() {
    let spoilt = |spoil: &dyn Fn(&mut Trace)| {
        let mut trace = hour();
        spoil(&mut trace);
        Trace::read(trace.write().as_bytes())
            .unwrap_err()
            .to_string()
    };
    type Spoil<'s> = &'s dyn Fn(&mut Trace);
    let cases: [(Spoil<'_>, &str); 6] = [
        (
            &|trace| trace.duration_s = 0.0,
            "duration_s: 0 is not within 1 to 10000000",
        ),
        (
            &|trace| trace.links[3] = (4, 4),
            "links[3]: a node has no link to itself",
        ),
        (
            &|trace| trace.links[3] = (4, 99),
            "links[3]: there is no node 99",
        ),
        (
            &|trace| trace.taskset.chains[7].calls[0] = 50,
            "taskset.chains[7].calls: algorithms are 0 to 49",
        ),
        (
            &|trace| trace.triggers[5].at_s = 0.0,
            "triggers[5].at_s: 0 is not within",
        ),
        (
            &|trace| trace.registry.id = 12,
            "registry.id: 12 is a node's id, or 65535",
        ),
    ];
    for (spoil, expected) in cases {
        let error = spoilt(spoil);
        assert!(error.starts_with(expected), "{error}");
    }
}
