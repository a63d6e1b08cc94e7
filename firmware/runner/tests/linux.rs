//! A registry, a node and boards as users run them: processes on this machine, a board's line at a
//! pseudo-terminal, and the commands that people type.
//!
//! `cargo xtask runner` sets `PICO_UART_UF2` to the file that goes onto boards, and `NIMBLENET` to the
//! binary.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

/// The time that a loaded machine may take for what usually takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);
const REGISTRY: &str = "65534";

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory with keys, packages and all files made from them.
struct Place(TempDir);

impl Place {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The public half of a key file.
    fn public(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(name)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("public = "));
        line.unwrap().trim_matches('"').to_owned()
    }

    /// The record of a board that takes tasklets of `shop` and `std`.
    fn board(&self, id: &str) -> String {
        let (file, key) = (self.path(&format!("board-{id}.uf2")), self.path("shop.key"));
        let shop = format!("shop={key}@{REGISTRY}:sensor,actuator,clock");
        let std = format!("std={key}@{REGISTRY}");
        let namespaces = ["--namespace", &shop, "--namespace", &std];
        nimblenet(&[&["provision", "--id", id, "-o", &file][..], &namespaces].concat()).unwrap();
        file
    }

    /// A package of a module in text form.
    fn package(&self, name: &str, signature: &str, imports: &[(&str, &str)], wat: &str) -> String {
        let file = self.path(&name.replace('/', "-"));
        let module = format!("{file}.wasm");
        fs::write(&module, wat::parse_str(wat).unwrap()).unwrap();
        let mut manifest = format!(
            "name = \"{name}\"\nexports = {{ run = \"{signature}\" }}\nfuel = 50_000_000\n[imports]\n"
        );
        for (callee, signature) in imports {
            manifest += &format!("\"{callee}\" = \"{signature}\"\n");
        }
        let manifest = self.write(&format!("{}.toml", name.replace('/', "-")), &manifest);
        let package = format!("{file}.nnp");
        let args = [
            "pack",
            &module,
            "--name",
            name,
            "--manifest",
            &manifest,
            "-o",
            &package,
        ];
        nimblenet(&args).unwrap();
        package
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("NIMBLENET").expect("`cargo xtask runner` sets NIMBLENET");
    path.into()
}

fn image() -> String {
    std::env::var("PICO_UART_UF2").expect("`cargo xtask runner` sets PICO_UART_UF2")
}

/// Runs a command to its end; returns its output, or its error.
fn nimblenet(args: &[&str]) -> Result<String, String> {
    let output = Command::new(binary()).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// Starts a daemon; returns it and its address for CoAP requests.
fn daemon(args: &[&str]) -> (Process, String) {
    let mut child = Command::new(binary())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let (_, coap) = line.trim_end().rsplit_once("coap ").expect("it is ready");
    (Process(child), coap.to_owned())
}

fn boards(args: &[&str]) -> Process {
    let runner = env!("CARGO_BIN_EXE_runner");
    Process(
        Command::new(runner)
            .args(args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

/// Tries until it works.
fn soon<T>(what: &str, mut try_it: impl FnMut() -> Result<T, String>) -> T {
    const PAUSE: Duration = Duration::from_millis(200);
    let begin = Instant::now();
    loop {
        match try_it() {
            Ok(result) => return result,
            Err(error) if begin.elapsed() > PATIENCE => panic!("{what}: {error}"),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn call(coap: &str, at: &str, name: &str, args: &[&str]) -> Result<String, String> {
    let call = ["call", name, "--node", coap, "--at", at, "--json"];
    let output = nimblenet(&[&call[..], args].concat())?;
    let output: Value = serde_json::from_str(&output).unwrap();
    Ok(output["results"].to_string())
}

fn packed() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tasklets/packed");
    let files = fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path().to_str().unwrap().to_owned());
    files.filter(|file| file.ends_with(".nnp")).collect()
}

/// Calls another tasklet `n` times and adds up the results, slowly enough to be moved meanwhile.
const LONG: &str = r#"(module
    (import "std/add" "run" (func $add (param i32 i32) (result i32)))
    (func (export "run") (param $n i32) (result i32) (local $sum i32)
        (loop $next
            (local.set $sum (call $add (local.get $sum) (local.get $n)))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

#[test]
fn boards_a_registry_and_a_node_as_people_run_them() {
    let place = Place(tempfile::tempdir().unwrap());
    let key = place.path("shop.key");
    nimblenet(&["keygen", "-o", &key]).unwrap();

    // A registry with a board at its serial port, another board behind that one.
    let sockets: [UdpSocket; 2] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [mesh, node] = sockets.map(|socket| socket.local_addr().unwrap());
    let line = place.path("board");
    let registry = place.write(
        "registry.toml",
        &format!(
            "id = {REGISTRY}\nlisten = \"{mesh}\"\ncoap = \"127.0.0.1:0\"\ndata = \"{}\"\n\
             claim = true\nneighbours = [\"{node}\"]\nmtu = 256\nserial = [\"{line}\"]\n",
            place.path("data"),
        ),
    );
    let (_registry, coap) = daemon(&["registry", "--config", &registry]);
    let image = image();
    let board = |name: &str, id: &str| format!("{name}={image},provision={}", place.board(id));
    let (near, far) = (board("near", "7"), board("far", "8"));
    let tie = format!("near.0=pty:{line}");
    let args = [
        "--board",
        &near,
        "--board",
        &far,
        "--tie",
        &tie,
        "--wire",
        "near.1-far.0",
    ];
    let running = boards(&args);

    let long = place.package(
        "shop/long",
        "func(n: u32) -> u32",
        &[("std/add", "func(a: u32, b: u32) -> u32")],
        LONG,
    );
    let packages = packed();
    let mut publish = vec!["publish", "--registry", &coap, "--key", &key, &long];
    publish.extend(packages.iter().map(String::as_str));
    nimblenet(&publish).unwrap();

    // Both boards run chains, with native tasklets among their callees.
    for at in ["7", "8"] {
        let sum = soon("the board adds", || {
            call(&coap, at, "std/add", &["2", "40"])
        });
        assert_eq!(sum, "[42]");
        let alarm = soon("the board measures", || {
            call(&coap, at, "shop/heat-alarm", &["4", "90000"])
        });
        let degrees: Vec<i32> = serde_json::from_str(&alarm).unwrap();
        assert!((20_000..30_000).contains(&degrees[0]), "{alarm}");
        assert_eq!(call(&coap, at, "shop/long", &["5"]).unwrap(), "[15]");
    }
    let wrong = call(&coap, "7", "shop/nothing", &[]).unwrap_err();
    assert!(wrong.contains("unknown-tasklet"), "{wrong}");

    // A call from a node ends there, although it began on a board.
    let config = place.write(
        "node.toml",
        &format!(
            "id = 20\nlisten = \"{node}\"\ncoap = \"127.0.0.1:0\"\nneighbours = [\"{mesh}\"]\nmtu = 256\n\
             [namespaces.shop]\nkey = \"{0}\"\nregistry = {REGISTRY}\n\
             [namespaces.std]\nkey = \"{0}\"\nregistry = {REGISTRY}\n",
            place.public("shop.key"),
        ),
    );
    let (_node, at_node) = daemon(&["node", "--config", &config]);
    soon("the node reaches the far board", || {
        call(&at_node, "8", "std/add", &["1", "1"])
    });
    let moved = std::thread::spawn({
        let at_node = at_node.clone();
        move || call(&at_node, "8", "shop/long", &["240"])
    });
    soon("the call moves", || {
        let calls = nimblenet(&["ps", "--node", &at_node, "--json"])?;
        let calls: Value = serde_json::from_str(&calls).unwrap();
        let calls = calls.as_array().or_else(|| calls["calls"].as_array());
        let number = calls
            .and_then(|calls| calls.first())
            .map(|call| call["call"].to_string());
        let number = number.ok_or("no call yet")?;
        nimblenet(&["move", &number, "--node", &at_node, "--to", "20"])
    });
    assert_eq!(moved.join().unwrap().unwrap(), "[28920]");

    // The boards lose power; when they are back they serve again.
    drop(running);
    let _running = boards(&args);
    let again = soon("the board is back", || {
        call(&coap, "8", "std/add", &["3", "4"])
    });
    assert_eq!(again, "[7]");
}
