//! What clients call at running nodes becomes a trace that the simulator runs.
#![allow(clippy::unwrap_used)]

mod processes;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use processes::line::Line;
use processes::{ADD, add, fail, succeed};
use serde_json::Value as Json;

#[test]
fn a_recorded_mesh_runs_in_the_simulator() {
    let line = Line::new(2);
    let (first, second) = (line.coap(1), line.coap(2));
    let (sum, chain) = (add(0), add(1));
    let sum = line.bench.package("shop/sum", ADD, &sum, &[]);
    let chain = line.bench.package("shop/chain", ADD, &chain, &["shop/sum"]);
    line.publish(&[&sum, &chain]);
    // This call was before the recording.
    succeed(&["call", "shop/sum", "1", "2", "--node", &first]);
    let file = line.bench.path("folder/hall.json");
    let mut recorder = Command::new(env!("CARGO_BIN_EXE_nimblenet"));
    recorder.args([
        "record", "--node", &first, "--node", &second, "-o", &file, "--json",
    ]);
    recorder.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut recorder = recorder.spawn().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(recorder.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert_eq!(said, "recording 2 nodes; Ctrl-C ends\n");
    for (at, client) in [(&first, "7"), (&second, "7"), (&second, "9")] {
        let call = [
            "call",
            "shop/chain",
            "1",
            "2",
            "--node",
            at,
            "--client",
            client,
        ];
        succeed(&call);
    }
    succeed(&["call", "shop/sum", "1", "2", "--node", &second]);

    let id = recorder.id().to_string();
    Command::new("kill")
        .args(["-s", "INT", &id])
        .status()
        .unwrap();
    let ended = recorder.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let told: Json = serde_json::from_slice(&ended.stdout).unwrap();
    let numbers = ["nodes", "robots", "calls", "lost"].map(|key| told[key].as_u64().unwrap());
    assert_eq!(numbers, [2, 3, 4, 0], "{told}");
    let trace: Json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(trace["links"].to_string(), "[[1,2]]");
    assert_eq!(
        trace["registry"].to_string(),
        r#"{"attached_to":1,"id":65534}"#
    );
    let nodes: Vec<_> = trace["triggers"].as_array().unwrap().iter().collect();
    let nodes: Vec<_> = nodes
        .iter()
        .map(|it| it["node"].as_u64().unwrap())
        .collect();
    assert_eq!(nodes, [1, 2, 2, 2]);

    let simulated = succeed(&["sim", "--trace", &file, "--json"]);
    let simulated: Json = serde_json::from_str(&simulated).unwrap();
    assert_eq!(simulated["triggered"].as_u64(), Some(4), "{simulated}");
}

#[test]
fn a_recording_without_calls_or_without_its_node_leaves_no_file() {
    let line = Line::new(1);
    let file = line.bench.path("hall.json");
    let nobody = fail(&[
        "record",
        "--node",
        &line.coap(1),
        "--seconds",
        "1",
        "-o",
        &file,
    ]);
    assert!(
        nobody.contains("nobody called a tasklet with a module at 1 node"),
        "{nobody}"
    );
    let silent = fail(&[
        "record",
        "--node",
        "127.0.0.1:9",
        "--seconds",
        "1",
        "-o",
        &file,
    ]);
    assert!(
        silent.contains("asking 127.0.0.1:9 for its triggers failed"),
        "{silent}"
    );
    let registry = fail(&[
        "record",
        "--node",
        &line.coap(0),
        "--seconds",
        "1",
        "-o",
        &file,
    ]);
    assert!(registry.contains("not-a-node"), "{registry}");
    assert!(!Path::new(&file).exists());
}
