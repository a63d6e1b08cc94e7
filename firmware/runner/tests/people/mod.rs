//! What people do: files in a directory, processes on this machine, and commands that they type.
//!
//! `cargo xtask runner` sets `PICO_UART_UF2` to the file that goes onto boards, and `NIMBLENET` to the
//! binary.
#![allow(dead_code, reason = "each test program uses a part")]

use core::net::SocketAddr;
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
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const REGISTRY: &str = "65534";

/// A process that ends with the test.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory with keys, packages and all files made from them.
pub(crate) struct Place(TempDir);

impl Place {
    /// A new directory with the key `shop.key`.
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        nimblenet(&["keygen", "-o", &place.path("shop.key")]).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The public half of a key file.
    pub(crate) fn public(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(name)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("public = "));
        line.unwrap().trim_matches('"').to_owned()
    }

    /// The record of a board that takes tasklets of `shop` and `std`, made with further arguments.
    pub(crate) fn board(&self, id: &str, more: &[&str]) -> String {
        let (file, key) = (self.path(&format!("board-{id}")), self.path("shop.key"));
        let shop = format!("shop={key}@{REGISTRY}:sensor,actuator,clock");
        let std = format!("std={key}@{REGISTRY}");
        let namespaces = ["--namespace", &shop, "--namespace", &std];
        let provision = ["provision", "--id", id, "-o", &file];
        nimblenet(&[&provision[..], &namespaces, more].concat()).unwrap();
        file
    }

    /// A package of a module in text form; `more` goes into its manifest.
    pub(crate) fn package(
        &self,
        name: &str,
        signature: &str,
        imports: &[(&str, &str)],
        more: &str,
        wat: &str,
    ) -> String {
        let file = self.path(&name.replace('/', "-"));
        let module = format!("{file}.wasm");
        fs::write(&module, wat::parse_str(wat).unwrap()).unwrap();
        let mut manifest = format!(
            "name = \"{name}\"\nexports = {{ run = \"{signature}\" }}\nfuel = 50_000_000\n{more}\n[imports]\n"
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

    /// The configuration of the node 20, with these addresses of its own and of its neighbour.
    pub(crate) fn node(&self, listen: SocketAddr, neighbour: SocketAddr) -> String {
        self.write(
            "node.toml",
            &format!(
                "id = 20\nlisten = \"{listen}\"\ncoap = \"127.0.0.1:0\"\n\
                 neighbours = [\"{neighbour}\"]\nmtu = 256\n\
                 [namespaces.shop]\nkey = \"{0}\"\nregistry = {REGISTRY}\ncapabilities = [\"clock\"]\n\
                 [namespaces.std]\nkey = \"{0}\"\nregistry = {REGISTRY}\n",
                self.public("shop.key"),
            ),
        )
    }
}

pub(crate) fn binary() -> PathBuf {
    let path = std::env::var_os("NIMBLENET").expect("`cargo xtask runner` sets NIMBLENET");
    path.into()
}

/// The file that goes onto a Pico.
pub(crate) fn image() -> String {
    std::env::var("PICO_UART_UF2").expect("`cargo xtask runner` sets PICO_UART_UF2")
}

/// Free addresses of this machine for datagrams.
pub(crate) fn free<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let sockets = [(); COUNT].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap())
}

/// Runs a command to its end; returns its output, or its error.
pub(crate) fn nimblenet(args: &[&str]) -> Result<String, String> {
    let output = Command::new(binary()).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// Starts a daemon; returns it and its address for CoAP requests.
pub(crate) fn daemon(args: &[&str]) -> (Process, String) {
    daemon_that_logs(args, Stdio::inherit())
}

/// The same for one that writes its log to `log`.
pub(crate) fn daemon_that_logs(args: &[&str], log: Stdio) -> (Process, String) {
    let mut child = Command::new(binary())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let (_, coap) = line.trim_end().rsplit_once("coap ").expect("it is ready");
    (Process(child), coap.to_owned())
}

pub(crate) fn boards(args: &[&str]) -> Process {
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
pub(crate) fn soon<T>(what: &str, mut try_it: impl FnMut() -> Result<T, String>) -> T {
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

pub(crate) fn call(coap: &str, at: &str, name: &str, args: &[&str]) -> Result<String, String> {
    let call = ["call", name, "--node", coap, "--at", at, "--json"];
    let output = nimblenet(&[&call[..], args].concat())?;
    let output: Value = serde_json::from_str(&output).unwrap();
    Ok(output["results"].to_string())
}

pub(crate) fn packed() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tasklets/packed");
    let files = fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path().to_str().unwrap().to_owned());
    files.filter(|file| file.ends_with(".nnp")).collect()
}

/// Moves the only call of a node to another, as soon as it is there.
pub(crate) fn move_on(coap: &str, to: &str) {
    soon("the call moves", || {
        let calls = nimblenet(&["ps", "--node", coap, "--json"])?;
        let calls: Value = serde_json::from_str(&calls).unwrap();
        let calls = calls.as_array().or_else(|| calls["calls"].as_array());
        let number = calls
            .and_then(|calls| calls.first())
            .map(|call| call["call"].to_string());
        let number = number.ok_or("no call yet")?;
        nimblenet(&["move", &number, "--node", coap, "--to", to])
    });
}
