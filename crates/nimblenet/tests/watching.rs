//! What a caller and an operator are told of calls while they run and when they fail.
#![allow(clippy::unwrap_used)]

mod processes;

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;

use nimblenet_tasklet::{Capabilities, Capability, Digest};
use processes::line::Line;
use processes::{ADD, Bench, add, fail, nimblenet, soon, succeed};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value as Json;

/// Says one line and fails in function 1.
const FAILS: &str = r#"(module
    (import "nimblenet:log" "write" (func $log (param i32 i32)))
    (memory 1 1)
    (data (i32.const 0) "warm")
    (func (export "run") (param i32 i32) (result i32)
      (call $log (i32.const 0) (i32.const 4))
      (i32.div_u (local.get 0) (local.get 1))))"#;

const ENDLESS: &str =
    "(module (func (export \"run\") (param i32 i32) (result i32) (loop (br 0)) (unreachable)))";

fn json(args: &[&str]) -> Json {
    serde_json::from_str(&succeed(args)).unwrap()
}

fn endless(bench: &Bench) -> String {
    let module = wat::parse_str(ENDLESS).unwrap();
    let package = processes::package_with_fuel("shop/endless", ADD, &module, &[], u64::MAX);
    bench.write("endless.nnp", package)
}

/// The numbers of the calls that a node has in progress.
fn calls(at: &str) -> Vec<String> {
    let listed = json(&["ps", "--node", at, "--json"]);
    let calls = listed["calls"].as_array().unwrap().iter();
    calls.map(|held| held["call"].to_string()).collect()
}

#[test]
fn a_caller_gets_the_lines_of_its_call_and_why_it_failed() {
    let line = Line::new(1);
    let module = wat::parse_str(FAILS).unwrap();
    let log = Capabilities::NONE.with(Capability::Log);
    let package = processes::package_with_capabilities("shop/ratio", ADD, &module, log);
    let package = line.bench.write("ratio.nnp", package);
    line.publish(&[&package]);
    let at = line.coap(1);
    let call = ["call", "shop/ratio", "6", "2", "--node", &at, "--logs"];
    let output = nimblenet(&call);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "3");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.ends_with("shop/ratio: warm\n") && said.lines().count() == 1,
        "{said}"
    );
    let told = json(&[&call[..], &["--json"]].concat());
    assert_eq!(
        (&told["results"][0], &told["lines"][0]["text"]),
        (&3.into(), &"warm".into())
    );

    let digest = Digest::of(&module);
    let names = format!("nimblenet names 1\nshop/ratio\n{digest}\n1 quotient\n");
    let names = line.bench.write("ratio.names", names);
    let call = [
        "call",
        "shop/ratio",
        "6",
        "0",
        "--node",
        &at,
        "--logs",
        "--names",
        &names,
    ];
    let said = fail(&call);
    let (lines, error) = said.split_once("error: ").unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[0].ends_with("shop/ratio: warm"), "{said}");
    assert!(
        lines[1].contains("divided by zero") && lines[1].contains("in quotient at"),
        "{said}"
    );
    assert!(error.contains("in quotient at"), "{said}");
    let output = nimblenet(&[&call[..], &["--json"]].concat());
    let told: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["error"]["code"], "trapped");
    assert_eq!(told["lines"][1]["function"], 1, "{told}");

    let kept = succeed(&["logs", "--node", &at, "--names", &names]);
    assert!(kept.contains("in quotient at"), "{kept}");
    let elsewhere = [
        "call",
        "shop/ratio",
        "6",
        "2",
        "--node",
        &at,
        "--at",
        "77",
        "--logs",
    ];
    let said = fail(&elsewhere);
    assert!(
        said.contains("node 77 runs the call and keeps its lines"),
        "{said}"
    );
}

#[test]
fn a_move_says_when_another_one_is_under_way_and_a_caller_which_node_is_lost() {
    let mut line = Line::new(2);
    let endless = endless(&line.bench);
    line.publish(&[&endless]);
    let at = line.coap(1);
    let call = |more: &[&str]| {
        nimblenet(&[&["call", "shop/endless", "1", "2", "--node", &at], more].concat())
    };
    let moved = |call: &str, to: &str| nimblenet(&["move", call, "--node", &at, "--to", to]);
    thread::scope(|scope| {
        let there = scope.spawn(|| call(&["--at", "2"]));
        let first = scope.spawn(|| call(&["--timeout", "20"]));
        let second = scope.spawn(|| call(&["--timeout", "20"]));
        soon("the calls run", || {
            calls(&at).len() == 3 && calls(&line.coap(2)).len() == 1
        });
        let ps = json(&["ps", "--node", &at, "--json"]);
        let ps = ps["calls"].as_array().unwrap();
        let here: Vec<_> = ps.iter().filter(|held| held["at"].is_null()).collect();
        let number = |at: usize| here[at]["call"].to_string();
        let (one, other) = (number(0), number(1));
        let nowhere = scope.spawn({
            let moved = &moved;
            move || moved(&one, "77")
        });
        soon("the move is under way", || {
            let listed = json(&["ps", "--node", &at, "--json"]);
            let mut listed = listed["calls"].as_array().unwrap().iter();
            listed.any(|held| held["state"] == "moving")
        });
        let said = String::from_utf8(moved(&other, "78").stderr).unwrap();
        assert!(
            said.contains("busy") && said.contains("another call moves"),
            "{said}"
        );
        assert!(line.kill(2));
        let error = String::from_utf8(there.join().unwrap().stderr).unwrap();
        assert!(
            error.contains("unreachable") && error.contains("node 2"),
            "{error}"
        );
        assert!(error.contains("was to run it"), "{error}");
        nowhere.join().unwrap();
        assert!(line.kill(1));
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn what_is_no_business_of_a_registry_or_of_a_node_is_refused() {
    let line = Line::new(1);
    let adder = line.bench.package("shop/add", ADD, &add(0), &[]);
    line.publish(&[&adder]);
    let (registry, node) = (line.coap(0), line.coap(1));
    for asks in [&["ls"][..], &["logs"], &["call", "shop/add", "1", "2"]] {
        let said = fail(&[asks, &["--node", &registry]].concat());
        assert!(
            said.contains("not-a-node") && said.contains("ask a node"),
            "{said}"
        );
    }
    // It may have calls that it has passed on to nodes.
    let listed = succeed(&["ps", "--node", &registry]);
    assert!(listed.contains("CALL"), "{listed}");
    let key = line.bench.path("shop.key");
    let said = fail(&["publish", &adder, "--registry", &node, "--key", &key]);
    assert!(
        said.contains("not-a-registry") && said.contains("of the registry"),
        "{said}"
    );
}

#[test]
fn a_registry_that_has_just_started_anew_gives_nodes_time_to_tell_what_they_hold() {
    let mut line = Line::new(3);
    let old = line.bench.package("shop/add", ADD, &add(0), &[]);
    line.publish(&[&old]);
    assert!(line.kill(0));
    line.restart(0);
    let new = line.bench.package("shop/add", ADD, &add(1), &[]);
    let (registry, key) = (line.coap(0), line.bench.path("shop.key"));
    line.bench
        .publish(&registry, &[&new, "--wait"], &key)
        .unwrap();
    let listed = json(&["ls", "--registry", &registry, "--json"]);
    let nodes = listed["namespaces"][0]["nodes"].as_object().unwrap();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    assert!(nodes.values().all(|epoch| *epoch == 2), "{nodes:?}");
}

#[test]
fn a_publication_waits_for_the_nodes_that_the_registry_knows() {
    let mut line = Line::new(3);
    let old = line.bench.package("shop/add", ADD, &add(0), &[]);
    line.publish(&[&old]);
    let registry = line.coap(0);
    let held = || json(&["ls", "--registry", &registry, "--json"]);
    soon("the registry knows the nodes", || {
        held()["namespaces"][0]["nodes"].as_object().unwrap().len() == 3
    });
    let new = line.bench.package("shop/add", ADD, &add(1), &[]);
    let key = line.bench.path("shop.key");
    line.bench
        .publish(&registry, &[&new, "--wait"], &key)
        .unwrap();
    for node in 1..=3 {
        let listed = json(&["ls", "--registry", &line.coap(node), "--json"]);
        assert_eq!(listed["namespaces"][0]["epoch"], 2, "node {node}");
    }
    assert!(line.kill(3));
    let base = [
        "--registry",
        &registry,
        "--key",
        &key,
        "--timeout",
        "2",
        "--wait",
    ];
    let said = nimblenet(&[&["rm", "shop/add"], &base[..]].concat());
    assert_eq!(said.status.code(), Some(1));
    let error = String::from_utf8(said.stderr).unwrap();
    assert!(
        error.contains("not all nodes yet") && error.contains("node 3 (epoch 2)"),
        "{error}"
    );
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("shop: epoch 3"),
        "what has changed is told: {said}"
    );
}

#[test]
fn numbers_are_shown_again_and_again_on_a_terminal() {
    let line = Line::new(1);
    let adder = line.bench.package("shop/add", ADD, &add(0), &[]);
    line.publish(&[&adder]);
    let at = line.coap(1);
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new())
        .unwrap()
        .into_string()
        .unwrap();
    let screen = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .unwrap();
    let mut top = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args(["top", "--node", &at])
        .stdin(Stdio::null())
        .stdout(screen)
        .spawn()
        .unwrap();
    let mut shown = String::new();
    let mut terminal = std::fs::File::from(terminal);
    let mut read_until = |words: &str| {
        let mut bytes = [0; 1024];
        while !shown.contains(words) {
            let length = terminal.read(&mut bytes).unwrap();
            shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        core::mem::take(&mut shown)
    };
    let first = read_until("Ctrl-C ends");
    assert!(
        first.starts_with("\x1b[H\x1b[J") && first.contains("NODE"),
        "{first:?}"
    );
    succeed(&["call", "shop/add", "1", "2", "--node", &at]);
    let mut later = read_until("Ctrl-C ends");
    while !later.lines().any(|row| {
        let cells: Vec<_> = row.split_whitespace().collect();
        cells.first() == Some(&"1") && cells.get(1) == Some(&"1")
    }) {
        later = read_until("Ctrl-C ends");
    }
    top.kill().unwrap();
    top.wait().unwrap();
}

#[test]
fn a_chain_that_is_denied_names_the_tasklet_that_wants_the_capability() {
    let line = Line::new(1);
    let module = wat::parse_str(add(0)).unwrap();
    let sensor = Capabilities::NONE.with(Capability::Sensor);
    let read = processes::package_with_capabilities("shop/read", ADD, &module, sensor);
    let read = line.bench.write("read.nnp", read);
    let calls = r#"(module
        (import "shop/read" "run" (func $read (param i32 i32) (result i32)))
        (func (export "run") (param i32 i32) (result i32)
          (call $read (local.get 0) (local.get 1))))"#;
    let chain = line.bench.package("shop/chain", ADD, calls, &["shop/read"]);
    line.publish(&[&read, &chain]);
    for name in ["shop/read", "shop/chain"] {
        let denied = fail(&["call", name, "1", "2", "--node", &line.coap(1)]);
        assert!(denied.contains("capability-denied"), "{denied}");
        assert!(denied.contains("wants sensor; granted are log"), "{denied}");
    }
}
