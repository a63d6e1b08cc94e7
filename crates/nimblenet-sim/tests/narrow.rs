//! Large modules on narrow links, and short frames: what there is to send fills the links.
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_alloc,
    reason = "tests for an operating system"
)]

use nimblenet_core::{Config, MIN_MTU};
use nimblenet_sim::scenario::Scenario;
use nimblenet_sim::{Bandwidth, Profile, Report, Run, Settings};
use nimblenet_tasklet::NodeId;

/// Five minutes of the paper's floor with modules `size` times as large, on links of 250 kbit/s.
fn narrow(seed: u64, size: f64, change: impl FnOnce(&mut Settings)) -> Report {
    let mut scenario = Scenario {
        duration_s: 300.0,
        ..Scenario::default()
    };
    scenario.tasks.size_factor = size;
    let trace = scenario.trace(seed);
    let mut settings = Settings {
        seed,
        ..Settings::default()
    };
    settings.link.bandwidth = Some(Bandwidth {
        bits_per_s: 250_000,
        queue_bytes: 256 << 10,
        header_bytes: 28,
    });
    change(&mut settings);
    let mut run = Run::new(&trace, settings);
    run.advance(trace.duration());
    run.report()
}

fn searches(report: &Report) -> u64 {
    report.messages_originated.get("req").copied().unwrap_or(0)
}

#[test]
fn on_links_that_are_full_no_call_fails_and_nobody_searches_for_what_is_merely_slow() {
    for seed in 1..=3 {
        let report = narrow(seed, 8.0, |_| {});
        assert_eq!(report.failed, 0, "seed {seed}");
        let few = report.messages_originated["get"] / 50;
        assert!(
            searches(&report) <= few,
            "seed {seed}: {}",
            searches(&report)
        );
        let paper = narrow(seed, 8.0, |settings| settings.profile = Profile::Paper);
        let wait = |report: &Report| report.mean_acquisition_s.unwrap();
        assert!(wait(&report) < wait(&paper) / 2.0, "seed {seed}");
        assert!(report.air_bytes < paper.air_bytes, "seed {seed}");
    }
}

#[test]
fn in_the_shortest_frames_modules_and_news_of_caches_arrive_in_parts() {
    let short = |settings: &mut Settings| settings.mtu = MIN_MTU;
    let (report, usual) = (narrow(1, 1.0, short), narrow(1, 1.0, |_| {}));
    assert_eq!((report.failed, report.triggered), (0, usual.triggered));
    let sent = |report: &Report, kind| report.messages_originated[kind];
    assert!(sent(&report, "data") > 2 * sent(&usual, "data"));
    assert!(
        sent(&report, "holdings") > sent(&usual, "holdings"),
        "pages are split"
    );
    assert!(searches(&report) <= searches(&usual) + 10, "but known");
}

#[test]
fn without_adaptation_the_same_links_collapse() {
    let report = narrow(1, 8.0, |settings| {
        let mut acquisition = Config::new(NodeId(1), MIN_MTU).acquisition;
        acquisition.adapt = false;
        settings.acquisition = Some(acquisition);
    });
    assert!(
        report.failed > 0 && searches(&report) > 1000,
        "{}",
        searches(&report)
    );
}
