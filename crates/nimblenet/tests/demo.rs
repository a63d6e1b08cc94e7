//! `nimblenet demo` as a script uses it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nimblenet"));
    command.arg("demo").args(args);
    command
}

fn number(report: &Json, key: &str) -> u64 {
    report[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {report}"))
}

#[test]
fn a_small_mesh_serves_its_robots() {
    let small = ["--nodes", "6", "--robots", "8", "--seconds", "4", "--json"];
    let output = demo(&small).output().expect("the binary starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "", "quiet without a terminal");
    let report: Json = serde_json::from_slice(&output.stdout).expect("one JSON document");

    assert_eq!(number(&report, "nodes"), 6);
    let calls = number(&report, "calls");
    assert!(calls >= 20, "{report}");
    assert_eq!(number(&report, "failed"), 0, "{report}");
    assert!(number(&report, "completed") * 100 >= calls * 99, "{report}");
    for source in ["local", "neighbour", "registry"] {
        assert!(number(&report["acquisitions"], source) > 0, "{report}");
    }
    assert!(report["acquisitions"]["global"].is_u64(), "{report}");
    for id in 1..=6 {
        assert!(number(&report["tx_bytes"], &id.to_string()) > 0, "{report}");
    }
    let mean_s = report["mean_response_s"].as_f64().expect("a number");
    assert!(mean_s > 0.0 && mean_s < 4.0, "{mean_s} s");
    let share = report["no_contact_share"].as_f64().expect("a number");
    assert!((0.0..0.6).contains(&share), "{share}");
}

#[test]
fn tables_tell_of_every_node_and_source() {
    let tiny = ["--nodes", "2", "--robots", "4", "--seconds", "1"];
    let output = demo(&tiny).output().expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    for word in [
        "node",
        "neighbour",
        "registry",
        "response: mean",
        "0 failed",
    ] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}

#[test]
fn the_report_of_many_nodes_fits_a_terminal() {
    let many = ["--nodes", "20", "--robots", "10", "--seconds", "2"];
    let output = demo(&many).output().expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("9 others"), "{text}");
    assert!(text.lines().count() <= 24, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let all = demo(&many)
        .arg("--all")
        .output()
        .expect("the binary starts");
    let text = String::from_utf8_lossy(&all.stdout);
    assert!(
        text.lines()
            .any(|line| line.trim_start().starts_with("20 ")),
        "{text}"
    );
}

#[test]
fn a_cache_in_which_nothing_can_work_is_refused() {
    let output = demo(&["--cache-bytes", "100"])
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("--cache-bytes 100") && said.contains("at least"),
        "{said}"
    );
    let least = said
        .split("at least ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let tight = ["--nodes", "2", "--robots", "8", "--seconds", "3", "--json"];
    let tight = demo(&tight)
        .args(["--cache-bytes", least.expect("a number")])
        .output();
    let tight = tight.expect("the binary starts");
    let report: Json = serde_json::from_slice(&tight.stdout).expect("one JSON document");
    assert!(
        tight.status.success() && number(&report, "completed") > 0,
        "{report}"
    );
}

#[test]
fn an_interrupt_ends_it_with_the_numbers_so_far() {
    let long = ["--nodes", "2", "--robots", "4", "--seconds", "600"];
    let child = demo(&long)
        .args(["--json", "--verbose"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the binary starts");
    let told = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut told = told.map(|line| line.expect("text"));
    assert!(told.any(|line| line.starts_with("robot ")), "no call");
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill runs").success());
    // Read on, since the process would wait for room in the pipe.
    assert!(told.any(|line| line == "stopping"), "no end");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let report: Json = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(report["interrupted"], true);
    assert!(number(&report, "completed") > 0, "{report}");
}

#[test]
fn wrong_usage_is_told_apart() {
    for wrong in [["--nodes", "0"], ["--seconds", "0"], ["--dashboard", "x"]] {
        let output = demo(&wrong).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
