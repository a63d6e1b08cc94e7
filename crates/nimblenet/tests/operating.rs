//! What an operator sees of running nodes: the lines of tasklets, numbers, and which nodes come and
//! go.
#![allow(clippy::unwrap_used)]

mod processes;

use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::thread;

use nimblenet_tasklet::{Capabilities, Capability};
use processes::{ADD, Bench, Daemon, add, fail, free_ports, nimblenet, soon, succeed};
use serde_json::Value as Json;

/// Logs two lines, of which the second would colour a terminal, and adds.
const TALK: &str = r#"(module
    (import "nimblenet:log" "write" (func $log (param i32 i32)))
    (memory 1 1)
    (data (i32.const 0) "warm\1b[31mred")
    (func (export "run") (param i32 i32) (result i32)
      (call $log (i32.const 0) (i32.const 4))
      (call $log (i32.const 4) (i32.const 8))
      (i32.add (local.get 0) (local.get 1))))"#;

/// A package that may write to the log.
fn talking(bench: &Bench, name: &str) -> String {
    let module = wat::parse_str(TALK).unwrap();
    let log = Capabilities::NONE.with(Capability::Log);
    let package = processes::package_with_capabilities(name, ADD, &module, log);
    bench.write(&(name.replace('/', "-") + ".nnp"), package)
}

/// The configuration of a node in a mesh on these ports, of which the first is the registry's.
fn node(bench: &Bench, id: u16, port: u16, neighbours: &[u16]) -> String {
    let neighbours = neighbours
        .iter()
        .map(|port| format!("\"127.0.0.1:{port}\""));
    let neighbours: Vec<_> = neighbours.collect();
    let config = format!(
        "id = {id}\nlisten = \"127.0.0.1:{port}\"\ncoap = \"127.0.0.1:0\"\nneighbours = [{}]\n\
         [namespaces.shop]\nkey = \"{}\"\ncapabilities = [\"log\"]\n",
        neighbours.join(", "),
        bench.public("shop.key"),
    );
    bench.write(&format!("node-{port}.toml"), config)
}

fn registry(bench: &Bench, port: u16, neighbour: u16) -> Daemon {
    let config = format!(
        "listen = \"127.0.0.1:{port}\"\ncoap = \"127.0.0.1:0\"\ndata = \"{}\"\n\
         neighbours = [\"127.0.0.1:{neighbour}\"]\n[namespaces.shop]\nkey = \"{}\"\n",
        bench.path("data"),
        bench.public("shop.key"),
    );
    let config = bench.write("registry.toml", config);
    Daemon::start(&["registry", "--config", &config])
}

/// A registry and a node that have these packages.
fn pair(bench: &Bench, packages: &[&str]) -> (Daemon, Daemon, String) {
    let ports = free_ports(2);
    let registry = registry(bench, ports[0], ports[1]);
    let config = node(bench, 1, ports[1], &ports[..1]);
    let node = Daemon::start(&["node", "--config", &config]);
    let at = node.coap.to_string();
    let args: Vec<_> = ["--wait", &at]
        .into_iter()
        .chain(packages.iter().copied())
        .collect();
    let key = bench.path("shop.key");
    let published = bench.publish(&registry.coap.to_string(), &args, &key);
    published.unwrap();
    (registry, node, at)
}

fn json(args: &[&str]) -> Json {
    serde_json::from_str(&succeed(args)).unwrap()
}

#[test]
fn lines_of_tasklets_are_kept_on_their_node_with_tasklet_and_call() {
    let bench = Bench::new();
    let packages = [talking(&bench, "shop/talk"), talking(&bench, "shop/other")];
    let (_registry, _node, at) = pair(&bench, &[&packages[0], &packages[1]]);
    assert_eq!(
        json(&["logs", "--node", &at, "--json"])["lines"],
        Json::Array(vec![])
    );
    succeed(&["call", "shop/talk", "2", "3", "--node", &at]);
    succeed(&["call", "shop/other", "2", "3", "--node", &at]);
    let lines = json(&["logs", "--node", &at, "--json"])["lines"].clone();
    let told: Vec<_> = lines.as_array().unwrap().iter().collect();
    let of = |line: &Json| (line["tasklet"].clone(), line["text"].clone());
    assert_eq!(of(told[0]), ("shop/talk".into(), "warm".into()));
    assert_eq!(of(told[3]), ("shop/other".into(), "\u{1b}[31mred".into()));
    assert!(
        told[0]["call"].is_u64() && told[0]["call"] == told[1]["call"],
        "{lines}"
    );
    assert_ne!(told[1]["call"], told[2]["call"], "{lines}");

    let said = succeed(&["logs", "shop/other", "--node", &at]);
    let call = &told[2]["call"];
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains(&format!("call {call}  shop/other: warm")),
        "{said}"
    );
    assert!(
        !said.contains('\u{1b}'),
        "nothing reaches a terminal that is to be obeyed"
    );

    let mut follow = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args(["logs", "shop/talk", "--node", &at, "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let followed = BufReader::new(follow.stdout.take().unwrap());
    let mut followed = followed.lines().map(Result::unwrap);
    assert!(followed.next().unwrap().ends_with("shop/talk: warm"));
    assert!(followed.next().is_some());
    succeed(&["call", "shop/talk", "2", "3", "--node", &at]);
    let next = followed.next().unwrap();
    assert!(next.ends_with("shop/talk: warm") && !next.contains(&format!("call {call} ")));
    follow.kill().unwrap();
    follow.wait().unwrap();

    let nobody = format!("127.0.0.1:{}", free_ports(1)[0]);
    let silent = fail(&["logs", "--node", &nobody, "--timeout", "0.5"]);
    assert!(silent.contains(&nobody), "{silent}");
}

#[test]
fn the_numbers_of_nodes_stand_side_by_side() {
    let bench = Bench::new();
    let adder = bench.package("shop/add", ADD, &add(0), &[]);
    let (registry, _node, at) = pair(&bench, &[&adder]);
    for _ in 0..3 {
        succeed(&["call", "shop/add", "2", "3", "--node", &at]);
    }
    fail(&["call", "shop/add", "2", "--node", &at]);
    let registry = registry.coap.to_string();
    let both = ["top", "--node", &at, "--node", &registry];
    let said = succeed(&both);
    assert!(said.lines().all(|line| line.len() <= 80), "{said}");
    let rows: Vec<Vec<_>> = said
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..5], ["NODE", "CALLS", "/S", "DONE", "FAILED"]);
    assert_eq!(rows[1][..5], ["1", "4", "-", "3", "1"]);
    assert_eq!(rows[2][..2], ["65534", "0"]);
    let told = json(&[&both[..], &["--json", "--once"]].concat());
    assert_eq!(
        (&told["nodes"][0]["id"], &told["nodes"][0]["completed"]),
        (&1.into(), &3.into())
    );
    assert!(told["nodes"][0]["cache_used"].as_u64() > Some(0), "{told}");
    assert!(told["nodes"][1]["tx_bytes"].as_u64() > Some(0), "{told}");

    // A silent node hides no other node.
    let nobody = format!("127.0.0.1:{}", free_ports(1)[0]);
    let some = ["top", "--node", &nobody, "--node", &at, "--timeout", "1"];
    let output = nimblenet(&some);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("CALLS") && said.contains(&format!("{nobody}: ")),
        "{said}"
    );
    let output = nimblenet(&[&some[..], &["--json"]].concat());
    let told: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["error"]["code"].is_string() && told["nodes"][0]["error"]["code"].is_string());
    assert_eq!(told["nodes"][1]["calls"], 4);
}

#[test]
fn who_comes_and_who_is_a_stranger_is_one_line_in_the_log() {
    let bench = Bench::new();
    let ports = free_ports(3);
    let log = bench.path("log");
    let config = node(&bench, 1, ports[0], &ports[1..]);
    let _watcher = Daemon::start_with_log(&["node", "--config", &config], &log);
    let told = |words: &str| {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().filter(|line| line.contains(words)).count()
    };
    let other = node(&bench, 2, ports[1], &ports[..1]);
    let _other = Daemon::start(&["node", "--config", &other]);
    soon("a neighbour is told of", || {
        told("a neighbour is there node=2") == 1
    });

    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    soon("a stranger is told of", || {
        stranger.send_to(b"hello", ("127.0.0.1", ports[0])).unwrap();
        told(&address) == 1
    });
    let twin = node(&bench, 1, ports[2], &ports[..1]);
    let _twin = Daemon::start(&["node", "--config", &twin]);
    soon("a second node 1 is told of", || {
        told("another node has the id") == 1
    });
    assert_eq!((told(&address), told("is there")), (1, 1), "no line twice");
}

#[test]
fn a_node_that_is_terminated_answers_its_calls_and_is_gone_within_five_seconds() {
    let bench = Bench::new();
    let wat =
        "(module (func (export \"run\") (param i32 i32) (result i32) (loop (br 0)) (unreachable)))";
    let module = wat::parse_str(wat).unwrap();
    let endless = processes::package_with_fuel("shop/endless", ADD, &module, &[], u64::MAX);
    let endless = bench.write("endless.nnp", endless);
    let (registry, node, at) = pair(&bench, &[&endless]);
    let relay = registry.coap.to_string();
    let call = || nimblenet(&["call", "shop/endless", "1", "2", "--node", &at]);
    let relayed = || {
        let through = [
            "call",
            "shop/endless",
            "1",
            "2",
            "--node",
            &relay,
            "--at",
            "1",
        ];
        nimblenet(&through)
    };
    thread::scope(|scope| {
        let mut calls: Vec<_> = (0..2).map(|_| scope.spawn(call)).collect();
        calls.push(scope.spawn(relayed));
        let ps = ["ps", "--node", &at, "--json"];
        soon("the calls run", || {
            json(&ps)["calls"].as_array().unwrap().len() == 3
        });
        node.terminate_within(Duration::from_millis(5300));
        for call in calls {
            let output = call.join().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1));
            assert!(error.contains("stopped: shop/endless at node 1"), "{error}");
        }
    });
}

#[test]
fn a_node_that_is_asked_to_publish_says_that_it_is_no_registry() {
    let bench = Bench::new();
    let held = bench.package("shop/add", ADD, &add(0), &[]);
    let more = bench.package("shop/more", ADD, &add(1), &[]);
    let (_registry, node, at) = pair(&bench, &[&held, &more]);
    let new = bench.package("shop/new", ADD, &add(2), &[]);
    let key = bench.path("shop.key");
    for package in [&held, &new] {
        let said = bench.publish(&at, &[package], &key).unwrap_err();
        assert!(said.contains("not-a-registry"), "{said}");
    }
    let out = bench.path("pulled.nnp");
    let said = fail(&["pull", "shop/add", "--registry", &at, "-o", &out]);
    assert!(said.contains("not-a-registry"), "{said}");
    node.terminate();
}

#[test]
fn a_node_that_drains_says_so_and_a_call_that_went_elsewhere_may_have_run_there() {
    let bench = Bench::new();
    let spin =
        "(module (func (export \"run\") (param i32 i32) (result i32) (loop (br 0)) unreachable))";
    let spin = processes::package_with_fuel(
        "shop/spin",
        ADD,
        &wat::parse_str(spin).unwrap(),
        &[],
        1 << 60,
    );
    let spin = bench.write("spin.nnp", spin);
    let sum = bench.package("shop/add", ADD, &add(0), &[]);
    let ports = free_ports(3);
    let registry = registry(&bench, ports[0], ports[1]);
    let config = node(&bench, 1, ports[1], &[ports[0], ports[2]]);
    let one = Daemon::start(&["node", "--config", &config]);
    let at = one.coap.to_string();
    let key = bench.path("shop.key");
    let published = bench.publish(
        &registry.coap.to_string(),
        &["--wait", &at, &spin, &sum],
        &key,
    );
    published.unwrap();
    succeed(&["drain", "--node", &at]);
    let call = [
        "call",
        "shop/add",
        "1",
        "2",
        "--node",
        &at,
        "--timeout",
        "20",
    ];
    let said = fail(&call);
    assert!(
        said.contains("busy") && said.contains("the node drains"),
        "{said}"
    );
    let told = succeed(&["status", "--node", &at]);
    assert!(told.starts_with("it drains"), "{told}");
    let status = json(&["status", "--node", &at, "--json"]);
    assert_eq!(
        (&status["id"], &status["draining"]),
        (&1.into(), &true.into())
    );
    assert_eq!(status["links"][0]["kind"], "udp");
    assert!(succeed(&["top", "--node", &at]).contains("drains: it takes no new calls"));

    let config = node(&bench, 2, ports[2], &[ports[1]]);
    let mut other = Daemon::start(&["node", "--config", &config]);
    soon("the neighbour takes calls of the node that drains", || {
        nimblenet(&call).status.success()
    });
    let said = thread::scope(|scope| {
        let call = [
            "call",
            "shop/spin",
            "1",
            "2",
            "--node",
            &at,
            "--timeout",
            "60",
        ];
        let call = scope.spawn(move || fail(&call));
        let there = other.coap.to_string();
        soon("the call runs at the neighbour", || {
            let jobs = json(&["ps", "--node", &there, "--json"]);
            jobs["calls"]
                .as_array()
                .is_some_and(|jobs| !jobs.is_empty())
        });
        other.kill();
        call.join().unwrap()
    });
    assert!(said.contains("unreachable"), "{said}");
    assert!(said.contains("node 2, which was to run it"), "{said}");
    assert!(said.contains("may have run there"), "{said}");
}
