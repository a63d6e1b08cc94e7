//! A short replay on twelve boards beside the simulator, as a user starts it.

use std::process::Command;

use serde_json::Value as Json;

/// The program that people run, which `cargo xtask runner` builds.
fn nimblenet(arguments: &[&str]) -> Json {
    let program = std::env::var_os("NIMBLENET").expect("`cargo xtask runner` sets NIMBLENET");
    let image = std::env::var_os("PICO_UART").expect("`cargo xtask runner` sets PICO_UART");
    let output = Command::new(program)
        .args(arguments)
        .env("NIMBLENET_RUNNER", env!("CARGO_BIN_EXE_runner"))
        .env("NIMBLENET_IMAGE", image)
        .output()
        .expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

#[test]
fn twelve_boards_do_what_the_simulator_says_and_the_same_each_time() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let trace = folder.path().join("trace.json");
    let trace = trace.to_str().expect("a path is text");
    nimblenet(&["sim", "--seconds", "60", "--record", trace, "--json"]);
    let replay = |seconds: &str| {
        nimblenet(&[
            "testbed",
            "--trace",
            trace,
            "--boards",
            "pico",
            "--seconds",
            seconds,
            "--json",
        ])
    };
    let both = replay("60");
    let number = |document: &Json, key: &str| document[key].as_f64().expect("it is a number");
    let ended = ["finished_by_end", "failed", "cut_off"].map(|key| number(&both, key));
    assert_eq!(
        ended.iter().sum::<f64>(),
        number(&both, "triggered"),
        "{both}"
    );
    assert_eq!(both["air"]["conserved"], true, "{both}");
    for (key, share) in [("finished_by_end", 0.1), ("air_bytes", 0.15)] {
        let (boards, sim) = (number(&both, key), number(&both["sim"], key));
        assert!(
            (boards - sim).abs() <= share * sim,
            "{key}: {boards} and {sim}"
        );
    }
    assert_eq!(both["failures"], both["sim"]["failures"], "{both}");
    // Whatever the boards send, and when.
    let hash = |seconds| replay(seconds)["replay_hash"].clone();
    assert_eq!(hash("5"), hash("5"));
}
