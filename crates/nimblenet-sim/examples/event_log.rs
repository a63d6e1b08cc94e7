//! Prints the hash of everything that happens in some short runs: a line for each, the same on every
//! machine. `cargo xtask same-seed` compares what a 32-bit build prints with what a 64-bit one does.

use core::time::Duration;

use nimblenet_sim::scenario::Scenario;
use nimblenet_sim::{Cut, Profile, Run, Settings};

/// How much of each scenario runs, in seconds.
const SECONDS: f64 = 120.0;

fn main() {
    for name in ["paper", "ring", "geometric"] {
        let text = Scenario::built_in(name).expect("it is one of the built-in scenarios");
        let mut scenario = Scenario::read(text).expect("built-in scenarios are valid");
        scenario.duration_s = SECONDS;
        for seed in 1..=2 {
            let trace = scenario.trace(seed);
            for (profile, cut) in [
                (Profile::Default, Cut::Nimble),
                (Profile::Default, Cut::Monolithic),
                (Profile::Paper, Cut::Nimble),
            ] {
                let mut settings = Settings {
                    profile,
                    cut,
                    seed,
                    ..Settings::default()
                };
                scenario.settle(&mut settings);
                let mut run = Run::new(&trace, settings);
                while run.advance(Duration::from_secs_f64(SECONDS)) {}
                let hash = run.report().event_log_hash;
                println!("{name} {} {} {seed} {hash}", profile.name(), cut.name());
            }
        }
    }
}
