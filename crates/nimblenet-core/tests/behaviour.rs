//! The defaults in `spec/behaviour.md` are those of the code.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::{Config, Discovery};
use nimblenet_tasklet::NodeId;

#[test]
fn the_specification_s_defaults_are_those_of_a_configuration() {
    let spec = include_str!("../../../spec/behaviour.md");
    let config = Config::new(NodeId(1), 256);
    let hello = config.topology.hello.unwrap();
    let millis = |time: Duration| format!("{} ms", time.as_millis());
    let settings = [
        ("pace.hop", millis(config.pace.hop)),
        ("pace.local_search", millis(config.pace.local_search)),
        ("pace.global_search", millis(config.pace.global_search)),
        ("topology.hello.min", millis(hello.min)),
        ("topology.hello.max", millis(hello.max)),
        (
            "acquisition.attempts",
            config.acquisition.attempts.to_string(),
        ),
        (
            "acquisition.discovery",
            match config.acquisition.discovery {
                Discovery::Flood => "`flood`".into(),
                Discovery::Known => "`known`".into(),
            },
        ),
        ("pace.announce", millis(config.pace.announce)),
        ("pace.load", millis(config.pace.load)),
    ];
    for (name, value) in &settings {
        let ending = format!(" | {value} | `{name}` |");
        let found = spec.lines().any(|line| line.ends_with(&ending));
        assert!(found, "no row of spec/behaviour.md ends with{ending}");
    }
    let tables = spec.split("| setting |\n").skip(1);
    let rows = tables.map(|table| table.lines().skip(1).take_while(|it| it.starts_with('|')));
    assert_eq!(rows.flatten().count(), settings.len());
}
