//! The paper's experiment on a recorded hour.
#![allow(clippy::std_instead_of_alloc, reason = "tests of a program for an operating system")]

use core::time::Duration;

use nimblenet_sim::trace::Trace;
use nimblenet_sim::{Cut, Profile, Run, Settings};

fn hour() -> Trace {
    let json = include_bytes!("../traces/floor12-seed1.trace.json");
    Trace::read(json).unwrap()
}

#[test]
fn prints() {
    let trace = hour();
    for cut in [Cut::Nimble, Cut::Monolithic] {
        for profile in [Profile::Paper, Profile::Default] {
        let settings = Settings { profile, cut, ..Settings::default() };
        let mut run = Run::new(&trace, settings);
        run.advance(Duration::from_secs(4000));
        let mut report = run.report();
        report.cumulative_txrx_bytes_per_10s = report.cumulative_txrx_bytes_per_10s.split_off(358);
        println!("{report:#?} {:?}", run.engine().fates());
        }
    }
}
