//! A registry and nodes as processes, on real sockets: calls, other CoAP clients, nodes that
//! stop and die, and everything that can be wrong with a call.
#![allow(clippy::unwrap_used)]

mod processes;

use core::time::Duration;
use std::process::{Command, Stdio};

use nimblenet_tasklet::{Capabilities, Capability};
use processes::{ADD, Bench, Daemon, add, fail, free_ports, packed, soon, succeed};
use serde_json::{Value as Json, json};

/// A registry and nodes, each the neighbour of the next.
struct Mesh {
    bench: Bench,
    registry: Option<Daemon>,
    nodes: Vec<Option<Daemon>>,
    ports: Vec<u16>,
}

impl Mesh {
    fn new(nodes: usize) -> Self {
        let mut mesh = Self {
            bench: Bench::new(),
            registry: None,
            nodes: Vec::new(),
            ports: free_ports(nodes + 1),
        };
        mesh.start_registry();
        for at in 1..=nodes {
            let node = mesh.start_node(at);
            mesh.nodes.push(Some(node));
        }
        mesh
    }

    fn start_registry(&mut self) {
        let config = format!(
            "listen = \"127.0.0.1:{}\"\ncoap = \"127.0.0.1:0\"\ndata = \"{}\"\n\
             neighbours = [{}]\n[namespaces]\nshop.key = \"{key}\"\nstd.key = \"{key}\"\n",
            self.ports[0],
            self.bench.path("data"),
            self.neighbours(0),
            key = self.bench.public("shop.key"),
        );
        let config = self.bench.write("registry.toml", config);
        self.registry = Some(Daemon::start(&["registry", "--config", &config]));
    }

    fn start_node(&self, at: usize) -> Daemon {
        let namespace = |name: &str| {
            let key = self.bench.public("shop.key");
            format!(
                "[namespaces.{name}]\nkey = \"{key}\"\ncapabilities = [\"sensor\", \"actuator\", \"clock\"]\n"
            )
        };
        let config = format!(
            "id = {at}\nlisten = \"127.0.0.1:{}\"\ncoap = \"127.0.0.1:0\"\n\
             neighbours = [{}]\nstate = \"{}\"\n\
             natives = [\"shop/vibration\", \"shop/signal-lamp\"]\n\
             [timeouts]\ncall_ms = 15000\n{}{}",
            self.ports[at],
            self.neighbours(at),
            self.bench.path(&format!("state-{at}")),
            namespace("shop"),
            namespace("std"),
        );
        let config = self.bench.write(&format!("node-{at}.toml"), config);
        Daemon::start(&["node", "--config", &config])
    }

    fn neighbours(&self, at: usize) -> String {
        let around = [at.checked_sub(1), Some(at + 1)].into_iter().flatten();
        let ports = around.filter_map(|at| self.ports.get(at));
        let quoted: Vec<_> = ports.map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        quoted.join(", ")
    }

    fn publish(&self, packages: &[&str]) {
        let registry = self.registry.as_ref().unwrap().coap.to_string();
        let key = self.bench.path("shop.key");
        self.bench.publish(&registry, packages, &key).unwrap();
    }

    /// Publishes and waits until these nodes have heard of it.
    fn publish_and_wait(&self, packages: &[&str], nodes: &[String]) {
        let wait = nodes.iter().flat_map(|node| ["--wait", &node[..]]);
        let args: Vec<&str> = packages.iter().copied().chain(wait).collect();
        self.publish(&args);
    }

    fn coap(&self, node: usize) -> String {
        self.nodes[node - 1].as_ref().unwrap().coap.to_string()
    }

    fn call(&self, node: usize, args: &[&str]) -> Json {
        let at = self.coap(node);
        let base = ["call", "--json", "--explain", "--node", &at];
        serde_json::from_str(&succeed(&[&base, args].concat())).unwrap()
    }

    fn result(&self, node: usize, args: &[&str]) -> Json {
        self.call(node, args)["results"][0].clone()
    }

    fn refusal(&self, node: usize, args: &[&str]) -> String {
        let at = self.coap(node);
        fail(&[&["call", "--node", &at], args].concat())
    }

    /// Waits until a node has heard of a publication.
    fn wait_for_epoch(&self, node: usize, namespace: &str, epoch: u64) {
        let at = self.coap(node);
        soon(&format!("node {node} hears of {namespace} {epoch}"), || {
            let listed = succeed(&["ls", namespace, "--registry", &at, "--json"]);
            let listed: Json = serde_json::from_str(&listed).unwrap();
            listed["namespaces"][0]["epoch"] == epoch
        });
    }

    /// Calls until the result is as expected.
    fn wait_for(&self, node: usize, args: &[&str], expected: &Json) {
        let what = format!("{args:?} becomes {expected}");
        soon(&what, || self.result(node, args) == *expected);
    }
}

fn sources(explained: &Json) -> Vec<&str> {
    let steps = explained["steps"].as_array().unwrap().iter();
    steps.map(|step| step["source"].as_str().unwrap()).collect()
}

const CHAIN: &str = "(module
    (import \"shop/add\" \"run\" (func $add (param i32 i32) (result i32)))
    (func (export \"run\") (param i32 i32) (result i32)
      (call $add (local.get 0) (call $add (local.get 0) (local.get 1)))))";

#[test]
fn tasklets_spread_from_node_to_node_outlive_the_loss_of_nodes_and_are_renewed() {
    let mut mesh = Mesh::new(3);
    let chain = mesh.bench.package("shop/chain", ADD, CHAIN, &["shop/add"]);
    let adder = mesh.bench.package("shop/add", ADD, &add(0), &[]);
    mesh.publish(&[&chain, &adder]);
    let args = ["shop/chain", "2", "3"];
    let first = mesh.call(1, &args);
    assert_eq!(first["results"][0], 7);
    assert_eq!(sources(&first)[..2], ["registry", "registry"]);
    let second = mesh.call(2, &args);
    assert_eq!(second["results"][0], 7);
    assert_eq!(sources(&second)[..2], ["neighbour", "neighbour"]);
    assert!(
        sources(&mesh.call(2, &args))
            .iter()
            .all(|it| *it == "local")
    );

    mesh.wait_for_epoch(3, "shop", 1);
    // The first node ends in order, and with it the route to the registry; the third one gets the
    // module from the second.
    mesh.nodes[0].take().unwrap().terminate();
    let third = mesh.call(3, &args);
    assert_eq!(third["results"][0], 7);
    assert_eq!(sources(&third)[..2], ["neighbour", "neighbour"]);

    // The first node comes back, and a new version of one algorithm reaches all nodes.
    mesh.nodes[0] = Some(mesh.start_node(1));
    let newer = mesh.bench.package("shop/add", ADD, &add(100), &[]);
    let nodes = [1, 2, 3].map(|node| mesh.coap(node));
    mesh.publish_and_wait(&[&chain, &newer], &nodes);
    for node in 1..=3 {
        assert_eq!(mesh.result(node, &args), 207, "node {node} has heard of it");
    }
}

#[test]
fn a_node_killed_in_a_transfer_is_replaced_by_another_source() {
    let mut mesh = Mesh::new(3);
    // Large enough for many frames.
    let filler = "i32.const 1 drop ".repeat(6000);
    let wat = format!(
        "(module (func (export \"run\") (param i32 i32) (result i32) {filler} i32.const 5))"
    );
    let large = mesh.bench.package("shop/large", ADD, &wat, &[]);
    mesh.publish(&[&large]);
    let args = ["shop/large", "1", "1"];
    assert_eq!(mesh.result(2, &args), 5);
    let mut killed = 0;
    for round in 0..4_u64 {
        // A new third node fetches from the second, which dies meanwhile and comes back.
        drop(mesh.nodes[2].take());
        mesh.nodes[2] = Some(mesh.start_node(3));
        let at = mesh.coap(3);
        let mut call = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
            .args(["call", "shop/large", "1", "1", "--node", &at])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(5 + 15 * round));
        killed += usize::from(mesh.nodes[1].as_mut().unwrap().kill());
        mesh.nodes[1] = Some(mesh.start_node(2));
        // The call may fail if no source is left within its attempts, but it must end.
        soon("the call ends", || call.try_wait().unwrap().is_some());
        mesh.wait_for(3, &args, &5.into());
    }
    assert_eq!(killed, 4, "each kill must meet a running node");
}

#[test]
fn whatever_is_wrong_with_a_call_has_a_code_and_the_next_call_is_served() {
    let mesh = Mesh::new(1);
    let nullary = "func() -> u32";
    let endless = "(module (func (export \"run\") (result i32) (loop $l (br $l)) unreachable))";
    let trapping = "(module (func (export \"run\") (result i32) unreachable))";
    // Grows its memory until that fails, then returns how many pages it has.
    let growing = "(module (memory 1) (func (export \"run\") (result i32)
        (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (memory.size)))";
    let deep = "(module (func $f (export \"run\") (result i32) (call $f)))";
    let bench = &mesh.bench;
    let packages = [
        bench.package("shop/add", ADD, &add(0), &[]),
        bench.package("shop/endless", nullary, endless, &[]),
        bench.package("shop/trapping", nullary, trapping, &[]),
        bench.package("shop/growing", nullary, growing, &[]),
        bench.package("shop/deep", nullary, deep, &[]),
    ];
    let packages: Vec<_> = packages.iter().map(String::as_str).collect();
    mesh.publish(&packages);
    assert_eq!(mesh.result(1, &["shop/add", "2", "3"]), 5);
    for (args, code) in [
        (&["shop/nothing"][..], "unknown-tasklet"),
        (&["lab/add", "1", "2"], "unknown-namespace"),
        (
            &["shop/add", "1", "2", "--invoke", "other"],
            "unknown-export",
        ),
        (&["shop/add", "1"], "wrong-arguments"),
        (&["shop/add", "1", "-2"], "wrong-arguments"),
        (&["shop/add", "1", "\"text\""], "wrong-arguments"),
        (&["shop/endless"], "out-of-fuel"),
        (&["shop/trapping"], "trapped"),
        (&["shop/deep"], "trapped"),
    ] {
        let said = mesh.refusal(1, args);
        assert!(said.contains(code), "{args:?}: {said}");
        assert_eq!(mesh.result(1, &["shop/add", "2", "3"]), 5, "after {args:?}");
    }
    // Growing memory ends at the ceiling of the entry.
    assert_eq!(mesh.result(1, &["shop/growing"]), 1);
    assert_eq!(mesh.result(1, &["shop/add", "2", "3"]), 5);
}

#[test]
fn a_node_lists_the_modules_that_it_holds() {
    let mesh = Mesh::new(1);
    let chain = mesh.bench.package("shop/chain", ADD, CHAIN, &["shop/add"]);
    let adder = mesh.bench.package("shop/add", ADD, &add(0), &[]);
    let other = mesh.bench.package("shop/other", ADD, &add(1), &[]);
    mesh.publish(&[&chain, &adder, &other]);
    mesh.wait_for_epoch(1, "shop", 1);
    let at = mesh.coap(1);
    let held =
        || -> Json { serde_json::from_str(&succeed(&["ls", "--node", &at, "--json"])).unwrap() };
    assert_eq!(held()["modules"], Json::Array(vec![]));
    assert_eq!(mesh.result(1, &["shop/chain", "2", "3"]), 7);
    let now = held();
    let modules = now["modules"].as_array().unwrap();
    let names: Vec<_> = modules
        .iter()
        .map(|it| it["tasklet"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["shop/add", "shop/chain", "shop/dictionary"],
        "what was called and what expands it, and no more"
    );
    let facts = [
        &modules[0]["uses"],
        &modules[0]["pinned"],
        &modules[0]["loaded"],
    ];
    assert_eq!(facts, [&Json::from(2), &false.into(), &true.into()]);
    let said = succeed(&["ls", "shop", "--node", &at]);
    assert!(
        said.contains("shop/chain") && said.lines().all(|line| line.len() <= 80),
        "{said}"
    );
    let unknown = fail(&["ls", "lab", "--node", &at]);
    assert!(
        unknown.contains("no namespace lab") && unknown.contains("shop"),
        "{unknown}"
    );
}

const TRAP: &str = "(module (func (export \"run\") (param i32 i32) (result i32) unreachable))";

#[test]
fn a_failure_names_the_tasklet_the_node_and_what_was_met() {
    let mesh = Mesh::new(2);
    let packed = packed();
    let file = |name: &str| packed.iter().find(|path| path.ends_with(name)).unwrap();
    let (sensor, mean) = (file("shop-paint-sensor.nnp"), file("std-mean.nnp"));
    mesh.publish(&[sensor.to_str().unwrap(), mean.to_str().unwrap()]);
    let large = format!("[{}]", "1,".repeat(5000).trim_end_matches(','));
    let cases: [(&[&str], [&str; 4]); 5] = [
        (
            &["std/mean", "[1]", "--at", "65534"],
            [
                "not-a-node",
                "node 65534",
                "the registry of ",
                "runs no tasklets",
            ],
        ),
        (
            &["shop/paint-sensor", "8"],
            [
                "no-executor",
                "shop/paint-sensor",
                "node 1",
                "natives = shop/vibration",
            ],
        ),
        (
            &["std/mean", "[1]", "--at", "77"],
            ["unreachable", "std/mean", "node 77", "is up"],
        ),
        (
            &["std/mean", &large],
            ["values-too-large", "std/mean", "node 1", "at most 4096"],
        ),
        (
            &["std/mean", "[1]", "--invoke", "total"],
            ["unknown-export", "std/mean", "node 1", "it exports run"],
        ),
    ];
    for (args, words) in cases {
        let said = mesh.refusal(1, args);
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{args:?}: {said}"
        );
    }
    let stop = mesh.bench.package("shop/stop", ADD, TRAP, &[]);
    let chain = CHAIN.replace("shop/add", "shop/stop");
    let chain = mesh
        .bench
        .package("shop/chain", ADD, &chain, &["shop/stop"]);
    mesh.publish(&[&stop, &chain]);
    mesh.wait_for_epoch(1, "shop", 2);
    let said = mesh.refusal(1, &["shop/chain", "1", "2"]);
    let words = [
        "trapped",
        "shop/stop, which shop/chain calls, at node 1",
        "in function 0 at offset 0x",
    ];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    let names = format!(
        "nimblenet names 1\nshop/stop\n{}\n0 halt\n",
        "00".repeat(32)
    );
    let names = mesh.bench.write("stop.names", names);
    let said = mesh.refusal(1, &["shop/chain", "1", "2", "--names", &names]);
    assert!(said.contains("in halt at offset 0x"), "{said}");
    let at = mesh.coap(1);
    let there = [
        "call",
        "std/mean",
        "[1, 2]",
        "--node",
        &at,
        "--at",
        "2",
        "--explain",
    ];
    let said = succeed(&there);
    assert!(
        said.starts_with("1.5") && said.contains("node 2 ran it"),
        "{said}"
    );
}

#[test]
fn a_catalogue_by_another_key_is_not_taken() {
    let mesh = Mesh::new(1);
    // The registry serves a namespace for which the node trusts another key.
    let stranger = mesh.bench.path("stranger.key");
    succeed(&["keygen", "-o", &stranger]);
    let config = std::fs::read_to_string(mesh.bench.path("node-1.toml")).unwrap();
    let public = mesh.bench.public("shop.key");
    let config = config.replace(&public, &mesh.bench.public("stranger.key"));
    let config = mesh.bench.write("node-1.toml", config);
    let Mesh {
        mut nodes,
        bench,
        registry,
        ..
    } = mesh;
    nodes[0].take().unwrap().terminate();
    let adder = bench.package("shop/add", ADD, &add(0), &[]);
    let at = registry.as_ref().unwrap().coap.to_string();
    bench
        .publish(&at, &[&adder], &bench.path("shop.key"))
        .unwrap();
    let node = Daemon::start(&["node", "--config", &config]);
    let node = node.coap.to_string();
    let said = fail(&["call", "shop/add", "1", "2", "--node", &node]);
    assert!(
        said.contains("bad-signature") || said.contains("no-catalogue"),
        "{said}"
    );
}

/// Adds, sleeps and counts as often as its first argument says, and adds again. On a fast machine it
/// takes 20 ms a turn too.
const SLOW: &str = "(module
    (import \"nimblenet:clock\" \"sleep-us\" (func $sleep (param i32)))
    (import \"shop/add\" \"run\" (func $add (param i32 i32) (result i32)))
    (func (export \"run\") (param i32 i32) (result i32) (local i32 i32)
      (local.set 2 (call $add (local.get 1) (i32.const 1)))
      (loop
        (call $sleep (i32.const 20000))
        (local.set 3 (i32.const 100000))
        (loop
          (local.set 3 (i32.sub (local.get 3) (i32.const 1)))
          (br_if 0 (local.get 3)))
        (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
        (br_if 0 (local.get 0)))
      (call $add (local.get 2) (local.get 2))))";

/// Two nodes that hold the catalogue with `shop/slow` and what it calls.
fn slow_mesh() -> Mesh {
    let mesh = Mesh::new(2);
    let module = wat::parse_str(SLOW).unwrap();
    let clock = Capabilities::NONE.with(Capability::Clock);
    let callees = ["shop/add"];
    let slow = processes::package_with("shop/slow", ADD, &module, &callees, 1 << 50, clock);
    let slow = mesh.bench.write("slow.nnp", slow);
    let adder = mesh.bench.package("shop/add", ADD, &add(0), &[]);
    mesh.publish(&[&slow, &adder]);
    for node in [1, 2] {
        mesh.wait_for_epoch(node, "shop", 1);
    }
    mesh
}

/// The calls in progress at a node.
fn listed(node: &str) -> Vec<Json> {
    let listed: Json = serde_json::from_str(&succeed(&["ps", "--node", node, "--json"])).unwrap();
    listed["calls"].as_array().unwrap().clone()
}

#[test]
fn a_long_call_moves_from_one_daemon_to_another_while_it_runs() {
    let mesh = slow_mesh();
    let (first, second) = (mesh.coap(1), mesh.coap(2));
    let call = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args(["call", "shop/slow", "400", "20", "--node", &first])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    soon("the call runs", || {
        listed(&first).iter().any(|held| held["state"] == "running")
    });
    let number = listed(&first)[0]["call"].to_string();
    let said = fail(&["move", &number, "--node", &first, "--to", "1"]);
    assert!(said.contains("runs at node 1 already"), "{said}");
    let said = fail(&["move", "999", "--node", &first, "--to", "2"]);
    assert!(said.contains("unknown-call"), "{said}");
    succeed(&["move", &number, "--node", &first, "--to", "2"]);
    let here = &listed(&first)[0];
    assert_eq!(
        (&here["state"], &here["at"]),
        (&"remote".into(), &2.into()),
        "{here}"
    );
    let there = &listed(&second)[0];
    assert_eq!(
        (&there["tasklet"], &there["for"]),
        (&"shop/slow".into(), &1.into()),
        "{there}"
    );
    // Move it back: then the other node has nothing left to do.
    succeed(&["move", &number, "--node", &first, "--to", "1"]);
    soon("the call is back", || listed(&second).is_empty());
    let table = succeed(&["ps", "--node", &first]);
    assert!(
        table.contains("shop/slow") && table.contains("running"),
        "{table}"
    );
    let output = call.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "42");
}

#[test]
fn a_node_drains_while_a_call_runs_and_its_clients_get_their_results() {
    let mesh = slow_mesh();
    let (first, second) = (mesh.coap(1), mesh.coap(2));
    let begin = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_nimblenet"))
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let call = begin(&["call", "shop/slow", "400", "20", "--node", &first]);
    soon("the call runs", || {
        listed(&first).iter().any(|held| held["state"] == "running")
    });
    let drain = begin(&["drain", "--node", &first]);
    soon("the call has moved", || {
        listed(&first).iter().all(|held| held["at"] == 2) && !listed(&second).is_empty()
    });
    let said = fail(&["call", "shop/add", "1", "2", "--node", &second, "--at", "1"]);
    assert!(said.contains("busy"), "{said}");
    let said = fail(&["drain", "--node", &first, "--timeout", "1"]);
    assert!(said.contains("1 call in progress (1 remote)"), "{said}");
    let output = call.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "42");
    let output = drain.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && said.contains("is empty"),
        "{said}"
    );
    succeed(&["drain", "--node", &first, "--end"]);
    let sum = succeed(&["call", "shop/add", "1", "2", "--node", &second, "--at", "1"]);
    assert_eq!(sum.trim(), "3");
}

#[test]
fn a_client_drives_on_while_its_call_runs_and_gets_the_result_at_the_next_node() {
    let mesh = slow_mesh();
    let (first, second) = (mesh.coap(1), mesh.coap(2));
    let robot = ["--client", "7", "--number", "1"];
    let mut call = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args(["call", "shop/slow", "400", "20", "--node", &first])
        .args(robot)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    soon("the call runs", || {
        listed(&first).iter().any(|held| held["state"] == "running")
    });
    // It is out of reach from now on.
    call.kill().unwrap();
    call.wait().unwrap();
    let asks = |node: &str, at: &str, client: &str, number: &str| {
        let result = ["call", "shop/slow", "--result", "--node", node, "--at", at];
        let key = ["--client", client, "--number", number];
        result
            .into_iter()
            .chain(key)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let ask = |args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        (succeed(&args), listed(&first).len())
    };
    for at in ["1", "2"] {
        let args = asks(&second, at, "7", "2");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = fail(&args);
        assert!(said.contains("unknown-call"), "{said}");
    }
    let claimed = ask(asks(&second, "1", "7", "1"));
    assert_eq!(claimed, ("42\n".to_owned(), 0), "it has ended where it ran");
    assert_eq!(
        ask(asks(&second, "1", "7", "1")).0,
        "42\n",
        "it is asked again"
    );
    // The robot is back, and makes its call again: nothing runs.
    let again = ["call", "shop/slow", "400", "20", "--node", &first];
    assert_eq!(succeed(&[&again[..], &robot].concat()), "42\n");
    // The number is taken.
    let other = ["call", "shop/add", "1", "2", "--node", &first];
    let said = fail(&[&other[..], &robot].concat());
    assert!(
        said.contains("another tasklet here under this number"),
        "{said}"
    );
}

#[test]
fn a_cancelled_call_ends_for_who_waits_and_at_the_node_that_runs_it() {
    let mesh = slow_mesh();
    let (first, second) = (mesh.coap(1), mesh.coap(2));
    let robot = ["--client", "7", "--number", "1"];
    let call = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args(["call", "shop/slow", "4000000000", "20", "--node", &first])
        .args(["--at", "2", "--priority", "high", "--deadline", "50"])
        .args(robot)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    soon("the call runs at the other node", || {
        listed(&second)
            .iter()
            .any(|held| held["state"] == "running")
    });
    let held = &listed(&first)[0];
    assert_eq!((&held["client"], &held["number"]), (&json!(7), &json!(1)));
    assert_eq!(held["priority"], "high");
    let table = succeed(&["ps", "--node", &first]);
    assert!(
        table.contains("PRIORITY") && table.contains("high"),
        "{table}"
    );
    let cancel = ["cancel", "shop/slow", "--node"];
    let unknown = [&cancel[..], &[&second], &robot].concat();
    let said = fail(&unknown);
    assert!(said.contains("unknown-call"), "{said}");
    let known = [&cancel[..], &[&first], &robot].concat();
    assert!(succeed(&known).contains("cancelled"));
    let ended = call.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        !ended.status.success() && said.contains("cancelled"),
        "{said}"
    );
    soon("nobody works on it", || {
        listed(&first).is_empty() && listed(&second).is_empty()
    });
    let result = ["call", "shop/slow", "--result", "--node", &first];
    let said = fail(&[&result[..], &robot].concat());
    assert!(said.contains("cancelled"), "{said}");
}

#[test]
fn a_call_without_numbers_is_cancelled_by_its_place_in_the_list_of_the_node() {
    let mesh = slow_mesh();
    let node = mesh.coap(1);
    let call = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args(["call", "shop/slow", "4000000000", "20", "--node", &node])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    soon("the call runs", || listed(&node).len() == 1);
    let number = listed(&node)[0]["call"].to_string();
    assert_eq!(listed(&node)[0]["client"], Json::Null);
    let cancel = ["cancel", "--call", &number, "--node", &node];
    assert!(succeed(&cancel).contains("is cancelled"));
    let ended = call.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        !ended.status.success() && said.contains("cancelled"),
        "{said}"
    );
    soon("nobody works on it", || listed(&node).is_empty());
    assert!(fail(&cancel).contains("unknown-call"));
}

/// Sleeps half a second as often as its first argument says.
const NAPS: &str = "(module
    (import \"nimblenet:clock\" \"sleep-us\" (func $sleep (param i32)))
    (func (export \"run\") (param i32 i32) (result i32)
      (loop
        (call $sleep (i32.const 500000))
        (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
        (br_if 0 (local.get 0)))
      (local.get 1)))";

#[test]
fn a_tasklet_that_sleeps_again_and_again_lets_others_run_and_ends_when_it_is_cancelled() {
    let mesh = Mesh::new(1);
    let clock = Capabilities::NONE.with(Capability::Clock);
    let module = wat::parse_str(NAPS).unwrap();
    let naps = processes::package_with_capabilities("shop/naps", ADD, &module, clock);
    let naps = mesh.bench.write("naps.nnp", naps);
    let adder = mesh.bench.package("shop/add", ADD, &add(0), &[]);
    mesh.publish(&[&naps, &adder]);
    mesh.wait_for_epoch(1, "shop", 1);
    let node = mesh.coap(1);
    let robot = ["--client", "7", "--number", "1"];
    let sleeps = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args([
            "call",
            "shop/naps",
            "1000",
            "20",
            "--node",
            &node,
            "--deadline",
            "600",
        ])
        .args(robot)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    soon("it runs", || {
        listed(&node).iter().any(|held| held["state"] == "running")
    });
    // Another one has its turn between two sleeps: its deadline is far shorter than they are together.
    let add = [
        "call",
        "shop/add",
        "1",
        "2",
        "--node",
        &node,
        "--deadline",
        "9",
    ];
    assert_eq!(succeed(&add).trim(), "3");
    let cancel = ["cancel", "shop/naps", "--node", &node];
    succeed(&[&cancel[..], &robot].concat());
    assert!(!sleeps.wait_with_output().unwrap().status.success());
    assert_eq!(succeed(&add).trim(), "3");
}

#[test]
fn the_tasklets_of_the_repository_run_on_a_mesh_with_simulated_devices() {
    let mesh = Mesh::new(2);
    let paths = packed();
    let packages: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    mesh.publish(&packages);
    for namespace in ["std", "shop"] {
        mesh.wait_for_epoch(2, namespace, 1);
    }
    let explained = mesh.call(2, &["shop/bearing-check", "128"]);
    let class = explained["results"][0].as_u64().unwrap();
    assert!(class <= 2);
    assert!(sources(&explained).contains(&"native"));
    mesh.wait_for_epoch(1, "std", 1);
    assert_eq!(mesh.result(1, &["std/add", "2", "3"]), 5);
}

#[test]
fn other_coap_clients_get_the_same_answers() {
    let client = "coap-client-notls";
    if Command::new(client).arg("-h").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{client} is to be installed"
        );
        return;
    }
    let mesh = Mesh::new(1);
    let adder = mesh.bench.package("shop/add", ADD, &add(0), &[]);
    mesh.publish(&[&adder]);
    let node = mesh.coap(1);
    let registry = mesh.registry.as_ref().unwrap().coap.to_string();
    let to = mesh.bench.path("answer");
    let ask = |args: &[&str]| {
        let _ = std::fs::remove_file(&to);
        let output = Command::new(client)
            .args(["-B", "20", "-o", &to])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (std::fs::read(&to).unwrap_or_default(), said)
    };
    let add = format!("coap://{node}/t/shop/add");
    let arguments = mesh.bench.write("arguments", [0x82, 2, 3]);
    let (answer, said) = ask(&["-m", "post", "-t", "60", "-f", &arguments, &add]);
    assert_eq!(answer, [0x81, 5], "{said}");
    let (_, said) = ask(&["-m", "post", "-f", &arguments, &format!("{add}-up")]);
    assert!(said.contains("4.04"), "{said}");
    let (links, _) = ask(&["-m", "get", &format!("coap://{node}/.well-known/core")]);
    assert!(String::from_utf8(links).unwrap().contains("</t/shop/add>"));

    // A body in blocks, both ways: an upload is fetched back once it is published.
    let filler = "i32.const 1 drop ".repeat(2000);
    let wat = format!("(module (func (export \"run\") (result i32) {filler} i32.const 5))");
    let module = wat::parse_str(wat).unwrap();
    let package = processes::package("shop/large", "func() -> u32", &module, &[]);
    let package = mesh.bench.write("large.nnp", package);
    mesh.publish(&[&package]);
    let listed = succeed(&["ls", "shop", "--registry", &registry, "--json"]);
    let listed: Json = serde_json::from_str(&listed).unwrap();
    let digest = listed["namespaces"][0]["tasklets"][1]["digest"]
        .as_str()
        .unwrap();
    let (fetched, _) = ask(&["-m", "get", &format!("coap://{registry}/m/{digest}")]);
    assert_eq!(fetched, module);
    let file = mesh.bench.write("module", &module);
    let target = format!("coap://{registry}/m/{digest}");
    let (_, said) = ask(&["-m", "put", "-b", "256", "-f", &file, &target]);
    assert!(!said.contains("4."), "{said}");
}
