//! What registries keep, lose and get back, with real processes.
#![allow(clippy::unwrap_used)]

mod processes;

use core::net::SocketAddr;
use core::time::Duration;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use nimblenet_tasklet::NamespaceId;
use processes::{
    ADD, Bench, Daemon, add, fail, free_ports, nimblenet, registry_port, soon, succeed,
};
use serde_json::Value as Json;

const BINARY: &str = env!("CARGO_BIN_EXE_nimblenet");

fn json(args: &[&str]) -> Json {
    serde_json::from_str(&succeed(args)).unwrap()
}

/// A registry and a node that are neighbours, whose logs are files.
struct Pair {
    bench: Bench,
    ports: Vec<u16>,
    registry: Option<Daemon>,
    node: Option<Daemon>,
}

impl Pair {
    fn new() -> Self {
        let bench = Bench::new();
        let ports = free_ports(3);
        let mut pair = Self {
            bench,
            ports,
            registry: None,
            node: None,
        };
        pair.start_registry();
        pair.start_node();
        pair
    }

    fn start_registry(&mut self) {
        let [mesh, node, coap] = self.ports[..] else {
            unreachable!("three were asked for");
        };
        let config = format!(
            "listen = \"127.0.0.1:{mesh}\"\ncoap = \"127.0.0.1:{coap}\"\ndata = \"{}\"\n\
             neighbours = [\"127.0.0.1:{node}\"]\nclaim = true\n",
            self.bench.path("data"),
        );
        let config = self.bench.write("registry.toml", config);
        let log = self.bench.path("registry.log");
        self.registry = None;
        let registry = Daemon::start_with_log(&["registry", "--config", &config], log);
        self.registry = Some(registry);
    }

    fn start_node(&mut self) {
        let [mesh, node, _] = self.ports[..] else {
            unreachable!("three were asked for");
        };
        let config = format!(
            "id = 1\nlisten = \"127.0.0.1:{node}\"\ncoap = \"127.0.0.1:0\"\n\
             neighbours = [\"127.0.0.1:{mesh}\"]\nstate = \"{}\"\n\
             [namespaces.shop]\nkey = \"{}\"\n",
            self.bench.path("state"),
            self.bench.public("shop.key"),
        );
        let config = self.bench.write("node.toml", config);
        let log = self.bench.path("node.log");
        self.node = None;
        self.node = Some(Daemon::start_with_log(&["node", "--config", &config], log));
    }

    fn at(&self) -> String {
        self.registry.as_ref().unwrap().coap.to_string()
    }

    fn node(&self) -> String {
        self.node.as_ref().unwrap().coap.to_string()
    }

    fn publish(&self, package: &str, more: &[&str]) -> Result<String, String> {
        let args = [&[package], more].concat();
        self.bench
            .publish(&self.at(), &args, &self.bench.path("shop.key"))
    }

    /// What a call of `shop/add` with 2 and 3 gives.
    fn called(&self) -> String {
        succeed(&["call", "shop/add", "2", "3", "--node", &self.node()])
            .trim()
            .to_owned()
    }

    fn log(&self, of: &str) -> String {
        fs::read_to_string(self.bench.path(of)).unwrap()
    }
}

#[test]
fn what_was_published_comes_back_and_no_module_moves() {
    let pair = Pair::new();
    let (at, key, node) = (pair.at(), pair.bench.path("shop.key"), pair.node());
    for version in 0..3 {
        let package = pair.bench.package("shop/add", ADD, &add(version), &[]);
        pair.publish(&package, &["--wait", &pair.node(), "--plain"])
            .unwrap();
    }
    assert_eq!(pair.called(), "7");
    let listed = json(&["history", "shop", "--registry", &at, "--json"]);
    let epochs = listed["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), 3, "{listed}");
    assert_eq!(epochs[2]["changes"][0]["version"], 3, "{listed}");
    let told = succeed(&["history", "shop", "--registry", &at]);
    assert!(told.contains("epoch 2: add version 2"), "{told}");

    let back = ["rollback", "--registry", &at, "--key", &key, "--json"];
    let whole = [&back[..], &["shop", "--wait", &node]].concat();
    let said = json(&whole)["namespaces"][0].clone();
    assert_eq!((&said["epoch"], &said["modules"]), (&4.into(), &0.into()));
    assert_eq!(pair.called(), "6");
    let one = [&back[..], &["shop/add", "--to", "1", "--wait", &node]].concat();
    assert_eq!(json(&one)["namespaces"][0]["epoch"], 5);
    assert_eq!(pair.called(), "5");
    let back = ["rollback", "shop", "--registry", &at, "--key", &key];
    let said = fail(&[&back[..], &["--to", "9"]].concat());
    assert!(
        said.contains("unknown-epoch: epoch 9 is not kept"),
        "{said}"
    );
}

#[test]
fn fault_04_two_commands_lead_back_after_a_registry_has_lost_its_disk() {
    let mut pair = Pair::new();
    for version in 0..3 {
        let package = pair.bench.package("shop/add", ADD, &add(version), &[]);
        pair.publish(&package, &["--wait", &pair.node()]).unwrap();
    }
    assert_eq!(pair.called(), "7");
    pair.registry = None;
    fs::remove_dir_all(pair.bench.path("data")).unwrap();
    pair.start_registry();
    soon("the node says so", || {
        pair.log("node.log")
            .contains("the registry is behind this node")
    });
    let log = pair.log("node.log");
    let line = log.lines().find(|line| line.contains("behind")).unwrap();
    assert!(
        line.contains("WARN") && line.contains("namespace=shop"),
        "{line}"
    );
    let numbers = json(&["top", "--node", &pair.node(), "--once", "--json"]);
    let counted = &numbers["nodes"][0]["contradictions"];
    assert!(counted.as_u64().unwrap() > 0, "{numbers}");
    assert_eq!(pair.called(), "7", "what the node has works on");

    // Who publishes is told what to do.
    let other = pair.bench.package("shop/add", ADD, &add(10), &[]);
    let history = |of: &str| {
        let output = nimblenet(&["history", of, "--registry", &pair.at()]);
        String::from_utf8(output.stdout).unwrap()
    };
    soon("the registry hears what the node holds", || {
        history("shop").contains("--epoch-at-least 4")
    });
    // Without its disk it does not know the name, and its log has the short identifier.
    let id = NamespaceId::of(&"shop".parse().unwrap());
    let short = history(&format!("{:#010x}", id.0));
    assert!(short.contains("--epoch-at-least 4"), "{short}");
    let unknown = fail(&["history", "nope", "--registry", &pair.at()]);
    assert!(unknown.contains("has nothing of nope"), "{unknown}");
    let said = pair.publish(&other, &[]).unwrap_err();
    assert!(
        said.contains("registry-behind") && said.contains("--epoch-at-least 4"),
        "{said}"
    );
    let args = ["--epoch-at-least", "4", "--wait", &pair.node()];
    let said = pair.publish(&other, &args).unwrap();
    assert!(said.contains("shop: epoch 4"), "{said}");
    assert_eq!(pair.called(), "15");
    let next = pair.bench.package("shop/add", ADD, &add(11), &[]);
    let said = pair.publish(&next, &["--wait", &pair.node()]).unwrap();
    assert!(said.contains("shop: epoch 5"), "{said}");
    assert_eq!(pair.called(), "16");
}

#[test]
fn fault_04_an_older_backup_is_brought_back_by_rollback_and_a_node_keeps_its_floor() {
    let mut pair = Pair::new();
    let (data, backup) = (pair.bench.path("data"), pair.bench.path("backup"));
    for version in 0..3 {
        let package = pair.bench.package("shop/add", ADD, &add(version), &[]);
        pair.publish(&package, &["--wait", &pair.node()]).unwrap();
        if version == 1 {
            pair.registry.take().unwrap().terminate();
            let copied = Command::new("cp").args(["-r", &data, &backup]).status();
            assert!(copied.unwrap().success());
            pair.start_registry();
        }
    }
    pair.registry.take().unwrap().terminate();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&backup, &data).unwrap();
    pair.start_registry();
    soon("the registry says so", || {
        pair.log("registry.log")
            .contains("this registry is behind a node")
    });
    // What the backup has is nothing new, and still not what the node runs.
    let kept = pair.bench.package("shop/add", ADD, &add(1), &[]);
    let said = pair.publish(&kept, &[]).unwrap_err();
    assert!(
        said.contains("registry-behind") && said.contains("--epoch-at-least 4"),
        "{said}"
    );

    // Without its catalogue the node takes none that is older than it has held.
    pair.node = None;
    fs::remove_file(pair.bench.path("state/shop.catalogue")).unwrap();
    pair.start_node();
    soon("the node compares", || {
        pair.log("node.log")
            .contains("the registry is behind this node")
    });
    let refused = nimblenet(&[
        "call",
        "shop/add",
        "2",
        "3",
        "--node",
        &pair.node(),
        "--timeout",
        "2",
    ]);
    assert!(!refused.status.success());

    let (at, key) = (pair.at(), pair.bench.path("shop.key"));
    let told = succeed(&["history", "shop", "--registry", &at]);
    assert!(told.contains("epoch 2: add version 2"), "{told}");
    let args = [
        "rollback",
        "shop",
        "--to",
        "2",
        "--epoch-at-least",
        "4",
        "--registry",
        &at,
    ];
    succeed(&[&args[..], &["--key", &key, "--wait", &pair.node()]].concat());
    assert_eq!(pair.called(), "6");
}

/// What stands between a publisher and a registry: it passes their datagrams on, and counts them.
struct Between {
    socket: UdpSocket,
    registry: SocketAddr,
    publisher: Option<SocketAddr>,
    passed: u32,
}

impl Between {
    fn new(registry: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let moment = Some(Duration::from_millis(5));
        socket.set_read_timeout(moment).unwrap();
        Self {
            socket,
            registry,
            publisher: None,
            passed: 0,
        }
    }

    /// Passes on what comes next, unless nothing comes for a moment.
    fn pass(&mut self) {
        let mut datagram = [0; 2048];
        let Ok((len, from)) = self.socket.recv_from(&mut datagram) else {
            return;
        };
        let to = match from == self.registry {
            true => self.publisher.unwrap(),
            false => {
                self.publisher = Some(from);
                self.registry
            }
        };
        // Nobody may be there any more.
        let _ = self.socket.send_to(&datagram[..len], to);
        self.passed += 1;
    }
}

#[test]
fn fault_10_the_exit_code_of_a_publication_is_true_whenever_the_registry_is_killed() {
    let rounds = std::env::var("NIMBLENET_KILLS").ok();
    let rounds: u32 = rounds.map_or(20, |rounds| rounds.parse().unwrap());
    let bench = Bench::new();
    let port = registry_port();
    let (at, data) = (format!("127.0.0.1:{port}"), bench.path("data"));
    let start = || Daemon::start(&["registry", "--listen", &at, "--data", &data]);
    let mut registry = start();
    let (mut true_codes, mut published, mut killed, mut datagrams) = (0, 0, 0, 0);
    for round in 0..rounds {
        let mut between = Between::new(at.parse().unwrap());
        let by = between.socket.local_addr().unwrap().to_string();
        let package = bench.package(&format!("shop/a{round}"), ADD, &add(round), &[]);
        let key = bench.path("shop.key");
        let args = [
            "publish",
            &package,
            "--registry",
            &by,
            "--key",
            &key,
            "--timeout",
            "20",
        ];
        let mut publisher = Command::new(BINARY)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The first publication goes undisturbed. Kills go through the datagrams of such a one.
        let last = (round > 0).then(|| 1 + round * 7 % datagrams);
        let mut alive = true;
        let status = loop {
            between.pass();
            if alive && last.is_some_and(|last| between.passed >= last) {
                killed += u32::from(registry.kill());
                registry = start();
                alive = false;
            }
            if let Some(status) = publisher.try_wait().unwrap() {
                break status;
            }
        };
        if round == 0 {
            datagrams = between.passed;
        }
        let listed = json(&["ls", "--registry", &at, "--json"]);
        let tasklets = listed["namespaces"][0]["tasklets"].as_array();
        let name = Json::from(format!("a{round}"));
        let there = tasklets.is_some_and(|all| all.iter().any(|it| it["name"] == name));
        true_codes += u32::from(status.success() == there);
        published += u32::from(there);
    }
    assert_eq!(true_codes, rounds, "{published} of {rounds} were published");
    assert_eq!(killed, rounds - 1, "each while it ran");
}

#[test]
fn a_registry_on_a_read_only_disk_serves_and_says_so() {
    serves_what_it_has(
        "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && shift && exec \"$@\"",
        "the disk is read-only",
    );
}

#[test]
fn a_registry_on_a_full_disk_serves_and_says_so() {
    serves_what_it_has(
        "cp -rT \"$1\" \"$1.copy\" && mount -t tmpfs -o size=8m none \"$1\" && \
         cp -rT \"$1.copy\" \"$1\" && { dd if=/dev/zero of=\"$1/rest\" bs=4096 2> /dev/null; \
         shift && exec \"$@\"; }",
        "No space left",
    );
}

/// Starts a registry with content on a disk that `script` makes unwritable, where that is allowed: it serves,
/// refuses publications, and its log has these `words`. The script has the directory as its first argument, and then what to
/// execute.
fn serves_what_it_has(script: &str, words: &str) {
    let bench = Bench::new();
    let package = bench.package("shop/add", ADD, &add(0), &[]);
    let (key, data) = (bench.path("shop.key"), bench.path("data"));
    let mut registry = bench.registry();
    bench
        .publish(&registry.coap.to_string(), &[&package], &key)
        .unwrap();
    // The file is not closed in order.
    registry.kill();
    let port = registry_port();
    let at = format!("127.0.0.1:{port}");
    let inside = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh", &data]);
        command.args(args);
        command
    };
    if !inside(&["true"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        // No right to mount here.
        return;
    }
    let log = File::create(bench.path("log")).unwrap();
    let mut child = inside(&[BINARY, "registry", "--listen", &at, "--data", &data])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    soon("it serves", || {
        nimblenet(&["ls", "--registry", &at, "--timeout", "1"])
            .status
            .success()
    });
    assert!(succeed(&["ls", "--registry", &at]).contains("shop/add"));
    let pulled = bench.path("pulled.nnp");
    succeed(&["pull", "shop/add", "--registry", &at, "-o", &pulled]);
    let other = bench.package("shop/sub", ADD, &add(1), &[]);
    let said = bench.publish(&at, &[&other], &key).unwrap_err();
    assert!(said.contains("storage-failed"), "{said}");
    let log = fs::read_to_string(bench.path("log")).unwrap();
    assert!(log.contains(words), "{log}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn att_61_a_damaged_store_is_one_message_and_exit_code_1() {
    let bench = Bench::new();
    let package = bench.package("shop/add", ADD, &add(0), &[]);
    let key = bench.path("shop.key");
    let registry = bench.registry();
    bench
        .publish(&registry.coap.to_string(), &[&package], &key)
        .unwrap();
    registry.terminate();
    let file = bench.path("data/registry.redb");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[4096..middle] {
        *byte ^= 0x5a;
    }
    fs::write(&file, bytes).unwrap();
    let data = bench.path("data");
    let said = fail(&["registry", "--listen", "127.0.0.1:0", "--data", &data]);
    assert_eq!(
        said.matches("registry.redb is damaged").count(),
        1,
        "{said}"
    );
    assert!(
        !said.contains("panicked") && said.lines().count() <= 3,
        "{said}"
    );
}
