//! What a protocol costs that doubts, on links that only lose frames.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_sim::scenario::Scenario;
use nimblenet_sim::{Run, Settings};

/// The bytes of hellos and the air over the lower bound in an hour in which links lose this share of
/// frames, as means of three seeds.
fn hour(loss: f64) -> (f64, f64) {
    let (mut hellos, mut air) = (0.0, 0.0);
    for seed in 21..=23 {
        let mut settings = Settings {
            seed,
            ..Settings::default()
        };
        settings.link.loss = loss;
        let trace = Scenario::default().trace(seed).cut(3600.0);
        let mut run = Run::new(&trace, settings);
        run.advance(Duration::from_secs(3600));
        let report = run.report();
        assert_eq!(report.failed, 0, "{loss} {seed}");
        hellos += report.tx_bytes_by_kind["hello"] as f64 / 3.0;
        air += report.air_over_lower_bound.unwrap() / 3.0;
    }
    (hellos, air)
}

#[test]
fn lost_frames_do_not_make_nodes_doubt_that_they_are_heard() {
    let (hellos, air) = hour(0.0);
    let (some, _) = hour(0.05);
    assert!(some < 1.15 * hellos, "{some} instead of {hellos}");
    let (more, air_with_more) = hour(0.1);
    assert!(more < 2.2 * hellos, "{more} instead of {hellos}");
    assert!(
        air_with_more < 1.38 * air,
        "{air_with_more} instead of {air}"
    );
}
