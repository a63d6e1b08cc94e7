//! `nimblenet testbed`: thirteen processes, and what is left of them.
#![allow(clippy::unwrap_used)]

mod processes;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use processes::{Bench, nimblenet, soon, succeed};
use serde_json::Value as Json;

const BINARY: &str = env!("CARGO_BIN_EXE_nimblenet");

/// A recorded floor of so many seconds.
fn recorded(bench: &Bench, seconds: &str) -> String {
    let path = bench.path("trace.json");
    succeed(&["sim", "--seconds", seconds, "--record", &path, "--json"]);
    path
}

/// The processes of nodes and registries whose configuration is in a folder: their ids and command
/// lines.
fn running(folder: &str) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains(folder) && line.contains("--config")).then_some((id, line))
    });
    processes.collect()
}

/// Begins a replay that lasts far longer than a test, and waits until all of its processes run.
fn long_replay(trace: &str, logs: &str) -> Child {
    let child = Command::new(BINARY)
        .args(["testbed", "--trace", trace, "--logs", logs, "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    soon("all processes run", || running(logs).len() == 13);
    child
}

/// The sentence and the code of the error with which a replay has ended, with exit code 1.
fn error_of(output: &Output) -> (String, String) {
    assert_eq!(output.status.code(), Some(1));
    let document: Json = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key: &str| document["error"][key].as_str().unwrap().to_owned();
    (text("message"), text("code"))
}

/// Whether a number is within a share of another.
fn near(number: &Json, other: &Json, share: f64) -> bool {
    let (number, other) = (number.as_f64().unwrap(), other.as_f64().unwrap());
    (number - other).abs() <= share * other
}

#[test]
fn a_short_replay_on_thirteen_processes_is_like_the_simulator_and_leaves_nothing_running() {
    let bench = Bench::new();
    let (trace, logs) = (recorded(&bench, "30"), bench.path("logs"));
    let args = [
        "--trace",
        &trace,
        "--speedup",
        "3",
        "--logs",
        &logs,
        "--json",
    ];
    let output = succeed(&[&["testbed"], &args[..]].concat());
    let both: Json = serde_json::from_str(&output).unwrap();
    let sim = &both["sim"];
    // Every call has ended, and every byte is somewhere.
    let number = |key: &str| both[key].as_u64().unwrap();
    let ended = number("finished_by_end") + number("failed") + number("cut_off");
    assert_eq!(
        (ended, number("unanswered")),
        (number("triggered"), 0),
        "{both}"
    );
    assert_eq!(number("failed"), 0, "{both}");
    assert_eq!(both["triggered"], sim["triggered"]);
    assert!(number("finished_by_end") > 10, "{both}");
    assert_eq!(both["air"]["conserved"], true, "{both}");
    assert_eq!(both["air"]["frames_lost"], 0);
    // A busy machine delays nodes, so that some ask again.
    for (key, share) in [("air_bytes", 0.25), ("received_module_bytes", 0.2)] {
        assert!(
            near(&both[key], &sim[key], share),
            "{key}: {} {}",
            both[key],
            sim[key]
        );
        assert!(!both["difference"][key].is_null());
    }
    let acquired = |report: &Json| -> u64 {
        let sources = report["acquisitions_by_source"].as_object().unwrap();
        sources.values().filter_map(Json::as_u64).sum()
    };
    let (real, simulated) = (acquired(&both), acquired(sim));
    assert!(
        near(&real.into(), &simulated.into(), 0.15),
        "{real} {simulated}"
    );
    // Both count what calls with a result have run.
    let bound = &sim["lower_bound_of_finished_bytes"];
    assert!(near(&both["lower_bound_bytes"], bound, 0.15), "{bound}");
    // What the report of a simulation has.
    for (key, value) in sim.as_object().unwrap() {
        let known = &both[key];
        assert!(!known.is_null() || value.is_null(), "{key} in {both}");
    }
    assert_eq!(running(&logs), []);
    let of_node = Path::new(&logs).join("nimble/12.log");
    assert!(of_node.exists(), "logs stay where they were asked for");
}

#[test]
fn placed_calls_relieve_busy_processes_as_they_do_in_the_simulator() {
    let bench = Bench::new();
    let trace = recorded(&bench, "60");
    let replay = |placement: &str| -> Json {
        let args = ["testbed", "--trace", &trace, "--speedup", "6", "--json"];
        let output = succeed(&[&args[..], &["--placement", placement]].concat());
        serde_json::from_str(&output).unwrap()
    };
    let (placed, here) = (replay("least-work"), replay("here"));
    for (both, moves) in [(&placed, true), (&here, false)] {
        let number = |key: &str| both[key].as_u64().unwrap();
        // No call is lost, and none is answered twice.
        let ended = number("finished_by_end") + number("cut_off");
        assert_eq!(
            (ended, number("failed"), number("unanswered")),
            (number("triggered"), 0, 0),
            "{both}"
        );
        assert_eq!(number("calls_moved") > 10, moves, "{both}");
        // A busy machine delays nodes.
        let (response, sim) = (&both["mean_response_s"], &both["sim"]["mean_response_s"]);
        assert!(near(response, sim, 0.25), "{response} {sim}");
    }
    let finished = |both: &Json| both["finished_by_end"].as_u64().unwrap();
    assert!(finished(&placed) > finished(&here), "{placed} {here}");
}

#[test]
fn a_process_that_ends_ends_the_replay_with_its_name_and_its_log() {
    let bench = Bench::new();
    let (trace, logs) = (recorded(&bench, "600"), bench.path("logs"));
    let child = long_replay(&trace, &logs);
    let nodes = running(&logs);
    let (node, _) = nodes
        .iter()
        .find(|(_, line)| line.contains("/7.toml"))
        .unwrap();
    let killed = Command::new("kill")
        .args(["-9", &node.to_string()])
        .status();
    assert!(killed.unwrap().success());
    let (message, code) = error_of(&child.wait_with_output().unwrap());
    assert!(message.starts_with("node 7 has "), "{message}");
    assert!(message.contains("log"), "{message}");
    assert_eq!(code, "process-failed");
    assert_eq!(running(&logs), []);
}

#[test]
fn a_request_to_end_leaves_nothing_running() {
    let bench = Bench::new();
    let (trace, logs) = (recorded(&bench, "600"), bench.path("logs"));
    let child = long_replay(&trace, &logs);
    let id = child.id().to_string();
    let told = Command::new("kill").args(["-INT", &id]).status();
    assert!(told.unwrap().success());
    let (message, _) = error_of(&child.wait_with_output().unwrap());
    assert!(message.starts_with("interrupted"), "{message}");
    assert_eq!(running(&logs), []);
}

#[test]
fn a_testbed_that_is_killed_takes_its_processes_along() {
    let bench = Bench::new();
    let (trace, logs) = (recorded(&bench, "600"), bench.path("logs"));
    let mut child = long_replay(&trace, &logs);
    child.kill().unwrap();
    child.wait().unwrap();
    soon("all processes have ended", || running(&logs).is_empty());
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    let bench = Bench::new();
    let trace = recorded(&bench, "10");
    let empty = bench.write("empty.json", "{}");
    for (exit, args, words) in [
        (
            1,
            &["--trace", "/nowhere.json"][..],
            "reading /nowhere.json",
        ),
        (
            1,
            &["--trace", &empty],
            "not a trace of the form nimblenet-trace/1",
        ),
        (
            2,
            &["--trace", &trace, "--taskset", "tiny"],
            "nimble, monolithic",
        ),
        (2, &["--trace", &trace, "--boards", "pi"], "process, pico"),
        (
            1,
            &[
                "--trace", &trace, "--boards", "pico", "--runner", "/nowhere",
            ],
            "cargo xtask runner --build",
        ),
        (
            2,
            &["--trace", &trace, "--boards", "pico", "--speedup", "2"],
            "virtual time",
        ),
        (
            2,
            &["--trace", &trace, "--speedup", "0"],
            "a whole number from 1 to 100",
        ),
        (
            2,
            &["--trace", &trace, "--speedup", "101"],
            "a whole number from 1 to 100",
        ),
        (
            2,
            &["--trace", &trace, "--seconds", "11"],
            "the trace lasts 10 s",
        ),
        (2, &[], "--trace"),
    ] {
        let output = nimblenet(&[&["testbed"], args].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {error}");
        assert!(error.contains(words), "{args:?}: {error}");
    }
}
