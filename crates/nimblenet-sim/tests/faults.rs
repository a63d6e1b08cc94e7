//! Faults of a file that befall a run at the same time, and what a node lacks after them.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_sim::scenario::Scenario;
use nimblenet_sim::swarm::Trial;
use nimblenet_sim::{Profile, Run, Settings};
use nimblenet_tasklet::NodeId;

/// A run of the paper's scenario with these faults.
fn with<T>(faults: &str, profile: Profile, look: impl FnOnce(Run<'_>) -> T) -> T {
    let trace = Scenario::default().trace(1).cut(300.0);
    let settings = Settings {
        profile,
        catalogue_moves: true,
        ..Settings::default()
    };
    let mut run = Run::new(&trace, settings);
    run.befall(&Trial::read(faults).unwrap()).unwrap();
    look(run)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether a node is up, and holds the catalogue.
fn state(run: &Run<'_>, node: u16) -> (bool, bool) {
    let node = run.engine().node(NodeId(node));
    let epoch = |node: &nimblenet_core::Node| {
        let namespace = node.config().namespaces.first()?;
        let id = nimblenet_tasklet::NamespaceId::of(&namespace.name);
        Some(node.catalogue(id)?.epoch())
    };
    let holds = node.and_then(epoch).is_some_and(|epoch| epoch > 0);
    (node.is_some(), holds)
}

#[test]
fn a_fault_within_another_one_ends_without_ending_that() {
    let crashes = "[[fault]]\nkind = \"crash\"\nnode = 3\nat_s = 50\nfor_s = 100\n\
        [[fault]]\nkind = \"crash\"\nnode = 3\nat_s = 60\nfor_s = 10\n";
    with(crashes, Profile::Default, |mut run| {
        for (at, is_up) in [
            (40, true),
            (55, false),
            (80, false),
            (140, false),
            (160, true),
        ] {
            run.advance(seconds(at));
            assert_eq!(state(&run, 3).0, is_up, "at {at} s");
        }
    });
    // Half as fast for long, and within that a tenth as fast: nobody is faster because of the second one.
    let took = |faults: &str| {
        with(faults, Profile::Default, |mut run| {
            run.advance(seconds(300));
            run.report().mean_execution_s
        })
    };
    let slow = |node: u16, at: u32, lasts: u32, speed: f64| {
        format!(
            "[[fault]]\nkind = \"slow\"\nnode = {node}\nat_s = {at}\nfor_s = {lasts}\nspeed = {speed}\n"
        )
    };
    let long: String = (1..=12).map(|node| slow(node, 10, 280, 0.5)).collect();
    let within: String = (1..=12).map(|node| slow(node, 20, 5, 0.4)).collect();
    let (alone, both) = (took(&long), took(&format!("{long}{within}")));
    assert!(both >= alone, "{both:?} after {alone:?}");
}

#[test]
fn a_node_that_has_lost_its_catalogue_gets_it_again() {
    let crash = "[[fault]]\nkind = \"crash\"\nnode = 3\nat_s = 50\nfor_s = 10\n";
    for profile in [Profile::Default, Profile::Paper] {
        with(crash, profile, |mut run| {
            run.advance(seconds(59));
            assert_eq!(state(&run, 3), (false, false));
            run.advance(seconds(75));
            assert_eq!(state(&run, 3), (true, true), "{profile:?}");
        });
    }
}
