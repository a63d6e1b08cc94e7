//! The recorded hour of the paper's experiment: what a simulated message costs.
//!
//! ```text
//! cargo bench -p nimblenet-sim --bench recorded_hour -- paper nimble
//! valgrind --tool=callgrind target/release/deps/recorded_hour-* paper nimble
//! ```
//! The arguments are a profile and a task set; `report` prints the whole report. The bench prints what is the same in every run, and
//! how long this one took.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::std_instead_of_alloc,
    clippy::disallowed_methods,
    reason = "a bench for an operating system; the clock is that of the person who waits"
)]

use nimblenet_core::Eviction;
use nimblenet_sim::trace::Trace;
use nimblenet_sim::{Run, Settings};

fn main() {
    let mut settings = Settings::default();
    for given in std::env::args().skip(1) {
        settings.profile = given.parse().unwrap_or(settings.profile);
        settings.cut = given.parse().unwrap_or(settings.cut);
        settings.eviction = Eviction::named(&given).or(settings.eviction);
    }
    let trace = Trace::read(include_bytes!("../traces/floor12-seed1.trace.json")).unwrap();
    let began = std::time::Instant::now();
    let mut run = Run::new(&trace, settings);
    run.advance(trace.duration());
    let took = began.elapsed();
    let report = run.report();
    println!(
        "{} {}: {} B in {} packets, {} calls finished, hash {}, {took:?}",
        report.profile,
        report.taskset,
        report.air_bytes,
        report.air_packets,
        report.finished_by_end,
        report.event_log_hash,
    );
    if std::env::args().any(|given| given == "report") {
        println!("{}", serde_json::to_string_pretty(&report).unwrap());
    }
}
