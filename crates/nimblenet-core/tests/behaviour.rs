//! The defaults in `spec/behaviour.md` are those of the code.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::Config;
use nimblenet_tasklet::NodeId;

#[test]
fn the_specification_s_defaults_are_those_of_a_configuration() {
    let spec = include_str!("../../../spec/behaviour.md");
    let config = Config::new(NodeId(1), 256);
    let hello = config.hello.unwrap();
    let millis = |time: Duration| format!("{} ms", time.as_millis());
    let settings = [
        ("hop_time", millis(config.hop_time)),
        ("local_search", millis(config.local_search)),
        ("global_search", millis(config.global_search)),
        ("hello.min", millis(hello.min)),
        ("hello.max", millis(hello.max)),
        ("attempts", config.attempts.to_string()),
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
