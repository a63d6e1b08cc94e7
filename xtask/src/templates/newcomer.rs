//! A new user's way, from nothing to a call on a node, with the time of each step.

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::Desk;
use crate::step::now;
use crate::workspace;

/// From a saved source in C to its printed result; what the machine does besides may slow one
/// of the edits, not all.
const EDIT_MAX: Duration = Duration::from_millis(500);
const EDITS: u32 = 5;
/// A node may not have heard of what has just been published.
const CALL_MAX: Duration = Duration::from_secs(30);
const CALL_PAUSE: Duration = Duration::from_millis(50);

/// Goes the way and prints the times.
///
/// # Errors
/// If a step fails or takes too long.
pub(super) fn run(desk: &Desk) -> Result<()> {
    println!("a new user's way, in C:");
    timed("new", || {
        desk.json(&["new", "shop/first", "--lang", "c"]).map(drop)
    })?;
    timed("dev --once", || {
        let ran = desk.json(&["dev", "first", "[1, 2, 6]", "--once"])?;
        ensure!(ran["results"] == serde_json::json!([3.0]), "it gives {ran}");
        Ok(())
    })?;
    edits(desk)?;
    timed("test", || desk.json(&["test", "first"]).map(drop))?;
    let (_registry, _node, registry, node) = timed("registry, node", || mesh(desk))?;
    timed("publish", || {
        let package = "first/target/shop-first.nnp";
        let args = [
            "publish",
            package,
            "--registry",
            &registry,
            "--key",
            "shop.key",
        ];
        desk.json(&args).map(drop)
    })?;
    timed("call", || {
        let begin = now();
        loop {
            let mut call = desk.nimblenet();
            call.args(["call", "shop/first", "[1, 2, 6]", "--node", &node]);
            let output = call.output().context("starting the call")?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() {
                // The last version that was saved.
                let expected = format!("{}.0\n", 3 + EDITS);
                ensure!(
                    said == expected,
                    "the node gives {said} instead of {expected}"
                );
                return Ok(());
            }
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(begin.elapsed() < CALL_MAX, "the call fails: {error}");
            std::thread::sleep(CALL_PAUSE);
        }
    })
}

fn timed<T>(step: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let begin = now();
    let done = action().with_context(|| format!("the step {step}"))?;
    show(step, begin.elapsed());
    Ok(done)
}

fn show(step: &str, took: Duration) {
    println!("  {step:<16} {:>7.3} s", took.as_secs_f64());
}

/// Saves the source again and again while `dev` watches it.
fn edits(desk: &Desk) -> Result<()> {
    let path = desk.folder.join("first/first.c");
    let source = fs::read_to_string(&path)?;
    let mut command = desk.nimblenet();
    command.args(["dev", "first", "[1, 2, 6]", "--json"]);
    let (_dev, mut lines) = Process::start(&mut command)?;
    let mut result = || {
        lines
            .next()
            .context("dev has ended")?
            .context("reading of dev")
    };
    ensure!(
        result()?.contains("\"results\":[3.0]"),
        "the first result is wrong"
    );
    let mut fastest = Duration::MAX;
    for edit in 1..=EDITS {
        let edited = source.replace("return count ?", &format!("return {edit} + (count ?"));
        let edited = edited.replace(": 0;", ": 0);");
        let begin = now();
        fs::write(&path, edited)?;
        let line = result()?;
        fastest = fastest.min(begin.elapsed());
        let expected = format!("\"results\":[{}.0]", 3 + edit);
        ensure!(line.contains(&expected), "edit {edit} gives {line}");
    }
    show("an edit in dev", fastest);
    ensure!(
        fastest <= EDIT_MAX,
        "an edit takes longer than {EDIT_MAX:?}"
    );
    fs::write(
        desk.folder.join("first/tests.csv"),
        "samples,result\n\"[1, 2, 6]\",8\n",
    )?;
    fs::remove_file(desk.folder.join("first/tests.toml"))?;
    Ok(())
}

/// A registry and a node that trust a new key, and where they take requests.
fn mesh(desk: &Desk) -> Result<(Process, Process, String, String)> {
    workspace::output(desk.nimblenet().args(["keygen", "-o", "shop.key"]))?;
    let key = fs::read_to_string(desk.folder.join("shop.key"))?;
    let public = key.lines().find_map(|line| line.strip_prefix("public = "));
    let public = public.context("the key file has no public half")?;
    let [registry_port, node_port] = free_ports()?;
    let registry = format!(
        "listen = \"127.0.0.1:{registry_port}\"\ncoap = \"127.0.0.1:0\"\ndata = \"data\"\n\
         neighbours = [\"127.0.0.1:{node_port}\"]\n[namespaces]\nshop.key = {public}\n"
    );
    let node = format!(
        "id = 1\nlisten = \"127.0.0.1:{node_port}\"\ncoap = \"127.0.0.1:0\"\n\
         neighbours = [\"127.0.0.1:{registry_port}\"]\n[namespaces]\nshop.key = {public}\n"
    );
    let (registry, registry_coap) = daemon(desk, "registry", &registry)?;
    let (node, node_coap) = daemon(desk, "node", &node)?;
    Ok((registry, node, registry_coap, node_coap))
}

/// Starts a daemon and waits until it says where it takes requests.
fn daemon(desk: &Desk, kind: &str, config: &str) -> Result<(Process, String)> {
    let file = format!("{kind}.toml");
    fs::write(desk.folder.join(&file), config)?;
    let mut command = desk.nimblenet();
    let (process, mut lines) = Process::start(command.args([kind, "--config", &file]))?;
    let Some(Ok(line)) = lines.next() else {
        bail!("the {kind} did not start");
    };
    let coap = line.rsplit_once("coap ").map(|(_, coap)| coap.to_owned());
    let coap = coap.with_context(|| format!("the {kind} says {line:?}"))?;
    Ok((process, coap))
}

/// Two ports that nothing listens at.
fn free_ports() -> Result<[u16; 2]> {
    let sockets = [
        UdpSocket::bind("127.0.0.1:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    ];
    let [one, other] = sockets.each_ref().map(UdpSocket::local_addr);
    Ok([one?.port(), other?.port()])
}

/// A process that ends with its owner.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Result<(Self, Lines<BufReader<ChildStdout>>)> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("starting {}", workspace::shown(command)))?;
        let output = child.stdout.take().context("its output is a pipe")?;
        Ok((Self(child), BufReader::new(output).lines()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
