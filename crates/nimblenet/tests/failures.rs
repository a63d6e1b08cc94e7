//! The messages and exit codes of commands that fail.
#![allow(clippy::unwrap_used)]

mod processes;

use std::io::pipe;
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};

use processes::{ADD, Bench, add, nimblenet};
use serde_json::Value as Json;

/// The code of the error in the one JSON document that a failed command prints.
fn error_code(args: &[&str], exit: i32) -> String {
    let output = nimblenet(args);
    assert_eq!(output.status.code(), Some(exit), "{args:?}");
    let document: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?} printed no JSON document: {error}"));
    let error = &document["error"];
    let message = error["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{args:?} says nothing: {document}");
    assert!(!output.stderr.is_empty(), "{args:?} tells a person nothing");
    error["code"].as_str().unwrap().to_owned()
}

#[test]
fn an_error_is_one_json_document_where_json_is_asked_for() {
    let bench = Bench::new();
    let junk = bench.write("junk.wasm", b"\0asm\x01\0\0\0\xff");
    let key = bench.path("shop.key");
    let nobody = "127.0.0.1:9";
    let here = ["--timeout", "0.5", "--json"];
    let asking: [&[&str]; 5] = [
        &["call", "shop/add", "1", "--node", nobody],
        &["ls", "--registry", nobody],
        &["ps", "--node", nobody],
        &["move", "1", "--to", "2", "--node", nobody],
        &["pull", "shop/add", "-o", "/dev/null", "--registry", nobody],
    ];
    for asks in asking {
        let args = [asks, &here].concat();
        assert_eq!(error_code(&args, 1), "unreachable", "{args:?}");
    }
    let missing = ["run", "no-such-file.wasm", "--json"];
    assert_eq!(error_code(&missing, 1), "io");
    let unread = [
        "call",
        "shop/add",
        "@no-such-file.json",
        "--node",
        nobody,
        "--json",
    ];
    assert_eq!(error_code(&unread, 1), "io");
    let nameless = ["call", "shop/add", "--node", "nohost.invalid", "--json"];
    assert_eq!(error_code(&nameless, 1), "unknown-host");
    assert_eq!(error_code(&["inspect", "no-such-file", "--json"], 1), "io");
    assert_eq!(error_code(&["check", &junk, "--json"], 1), "refused");
    assert_eq!(error_code(&["keygen", "-o", &key, "--json"], 1), "exists");
    let config = bench.write("node.toml", "id = 1\nlisten = \"nowhere\"\n");
    let node = ["node", "--config", &config, "--json"];
    assert_eq!(error_code(&node, 1), "bad-config");
    assert_eq!(error_code(&["call", "shop/add", "--json"], 2), "usage");
    assert_eq!(error_code(&["no-such-verb", "--json"], 2), "usage");
}

#[test]
fn a_daemon_that_cannot_start_names_file_line_and_key() {
    let bench = Bench::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let file = bench.write("file", "");
    let cases = [
        (format!("listen = \"{taken}\""), "listen", 2),
        (
            format!("listen = \"127.0.0.1:0\"\ncoap = \"{taken}\""),
            "coap",
            3,
        ),
        (
            format!("listen = \"127.0.0.1:0\"\nstate = \"{file}/x\""),
            "state",
            3,
        ),
    ];
    for (lines, key, line) in cases {
        let config = bench.write("node.toml", format!("id = 1\n{lines}\n"));
        let output = nimblenet(&["node", "--config", &config]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty(), "it did not say that it is ready");
        assert!(said.contains(&format!("node.toml:{line}: ")), "{said}");
        assert!(said.contains(&format!("(in `{key} = ")), "{said}");
    }
}

#[test]
fn a_registry_without_a_port_for_its_mesh_is_refused() {
    let output = nimblenet(&["registry", "--listen", "127.0.0.1:65535"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--listen 127.0.0.1:65535"), "{said}");
}

#[test]
fn the_port_of_the_mesh_that_is_taken_is_said_to_follow_that_of_the_command_line() {
    let bench = Bench::new();
    // Both ports are free now, so the next one can be taken.
    let (taken, before) = core::iter::repeat_with(|| UdpSocket::bind("127.0.0.1:0").unwrap())
        .find_map(|taken| {
            let port = taken.local_addr().unwrap().port();
            UdpSocket::bind(("127.0.0.1", port - 1))
                .is_ok()
                .then_some((taken, port - 1))
        })
        .unwrap();
    let (listen, data) = (format!("127.0.0.1:{before}"), bench.path("data"));
    let said = processes::fail(&["registry", "--listen", &listen, "--data", &data]);
    assert!(said.contains("the port after that of --listen"), "{said}");
    drop(taken);
}

#[test]
fn a_public_key_is_printed_again() {
    let bench = Bench::new();
    let key = bench.path("shop.key");
    let shown = processes::succeed(&["keygen", "--show", &key]);
    assert_eq!(shown.trim(), bench.public("shop.key"));
}

#[test]
fn a_trap_has_its_code_in_json() {
    let bench = Bench::new();
    let text = "(module (func (export \"run\") unreachable))";
    let module = bench.write("stop.wat", text);
    assert_eq!(error_code(&["run", &module, "--json"], 1), "trapped");
}

#[test]
fn no_wait_is_longer_than_its_timeout() {
    // Takes requests and never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let call = ["call", "shop/add", "--node", &address, "--timeout", "1"];
    let output = nimblenet(&call);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("unreachable") && said.contains(&address),
        "{said}"
    );
    // A request is repeated after 0.3, 0.9, 2.1 and 4.5 seconds: there was no third one.
    silent.set_nonblocking(true).unwrap();
    let mut datagram = [0; 64];
    let asked = core::iter::repeat_with(|| silent.recv(&mut datagram)).take_while(Result::is_ok);
    assert!((1..=3).contains(&asked.count()), "it gave up in time");
}

#[test]
fn fault_15_a_node_that_acknowledges_a_call_and_dies_is_waited_for_as_long_as_is_said() {
    let dying = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = dying.local_addr().unwrap().to_string();
    let (code, said) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut datagram = [0; 64];
            let (_, from) = dying.recv_from(&mut datagram).unwrap();
            // An empty acknowledgement: the answer comes later, and never does.
            let [_, _, high, low, ..] = datagram;
            dying.send_to(&[0x60, 0, high, low], from).unwrap();
        });
        let call = ["call", "shop/add", "--node", &address, "--timeout", "1.5"];
        let output = nimblenet(&call);
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    });
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!("{address} was waited for, 1.5 s")) && said.contains("--timeout"),
        "{said}"
    );
    assert!(said.contains("no-answer"), "{said}");
    // It was acknowledged, so it was not sent again.
    dying.set_nonblocking(true).unwrap();
    assert!(dying.recv(&mut [0; 64]).is_err());
}

/// Runs a command whose reader has closed its end.
fn unread(args: &[&str]) -> Output {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_nimblenet"));
    let command = command.args(args).stdin(Stdio::null()).stdout(writer);
    command.output().unwrap()
}

#[test]
fn a_closed_pipe_is_no_error() {
    let bench = Bench::new();
    let module = bench.write("add.wat", add(1));
    let package = bench.path("add.nnp");
    nimblenet(&["pack", &module, "--name", "shop/add", "-o", &package]);
    let (to, key) = (bench.path("new.nnp"), bench.path("other.key"));
    let commands: [&[&str]; 10] = [
        &["pack", &module, "--name", "shop/add", "-o", &to],
        &["pack", &module, "--name", "shop/add", "-o", &to, "--json"],
        &["check", &package],
        &["check", &package, "--json"],
        &["inspect", &package],
        &["run", &module, "1", "2"],
        &["run", &module, "1", "2", "--json"],
        &["keygen", "-o", &key],
        &["--help"],
        &["call", "--help"],
    ];
    for args in commands {
        let output = unread(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && said.is_empty(),
            "{args:?}: {said}"
        );
    }
    let wrong = unread(&["inspect", "no-such-file", "--json"]);
    assert_eq!(wrong.status.code(), Some(1), "an error stays one");
}

#[test]
fn a_wrong_value_is_answered_with_what_is_expected() {
    let bench = Bench::new();
    let add = bench.package("shop/add", ADD, &add(0), &[]);
    let nokey = bench.path("no.key");
    let nofile = bench.path("no.toml");
    let registry = ["--registry", "127.0.0.1:9"];
    let publish = [&["publish", &add, "--key", &nokey], &registry[..]].concat();
    let misplaced = [
        &["publish", "--key", &nokey],
        &registry[..],
        &["--wait", &add],
    ]
    .concat();
    let moved = |call, to| ["move", call, "--node", "127.0.0.1:9", "--to", to];
    let at = ["call", "shop/add", "--node", "127.0.0.1:9", "--at", "65535"];
    let port = ["ps", "--node", "127.0.0.1:99999"];
    let rows: [(i32, &str, &[&str]); 9] = [
        (2, "a port a number up to 65535", &port),
        (2, "as `nimblenet ps` shows it", &moved("x", "2")),
        (2, "0 to 65534", &moved("1", "65535")),
        (2, "0 to 65534", &at),
        (
            2,
            "such as 127.0.0.1:5683",
            &["registry", "--listen", "nohost:1"],
        ),
        (
            1,
            "give the path of a configuration file",
            &["node", "--config", &nofile],
        ),
        (1, "nimblenet keygen -o", &publish),
        (2, "write --wait after", &misplaced),
        (
            1,
            "a multicast address",
            &[
                "registry",
                "--data",
                &bench.path("data"),
                "--listen",
                "224.0.0.9:0",
            ],
        ),
    ];
    for (code, words, args) in rows {
        let output = nimblenet(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
