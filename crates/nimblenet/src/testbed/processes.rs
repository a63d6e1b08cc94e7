//! The nodes as processes: this program's own `node` and `registry`, each with a configuration and a
//! log of its own in a folder that goes away with them.

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;

use anyhow::{Context as _, anyhow, bail};
use nimblenet_core::{Catalogue, Pace, Placement};
use nimblenet_node::PublicKey;
use nimblenet_node::daemon::keep_catalogue;
use nimblenet_sim::trace::{Distances, Trace};
use nimblenet_sim::{NAMESPACE, Profile, Settings, paper};
use nimblenet_tasklet::NodeId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::radio::Radio;
use crate::failure::{Coded, PROCESS_FAILED};

/// How long a process may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long a process may take to end in order, which includes answers to all of its clients.
const END_MAX: Duration = Duration::from_secs(12);
/// The pause between two looks whether it has.
const END_POLL: Duration = Duration::from_millis(10);
/// How many lines of a log an error shows.
const LOG_LINES: usize = 5;
/// By how much longer, in real time, a search lasts than the simulator's, where an answer that comes
/// at the last moment is in time. The simulator's nodes and sockets take no time; real ones do.
const SEARCH_SLACK: Duration = Duration::from_millis(5);
/// How many calls a node may hold; those of an hour in which one executor cannot keep up.
const JOBS: usize = 1024;
/// How long a call may take: longer than any trace of which a replay can be waited for.
pub(super) const CALL_MAX: Duration = Duration::from_secs(86_400);
/// The room in which tasklets run.
const ARENA_BYTES: usize = 1 << 20;

/// A registry or node that runs.
#[derive(Debug)]
pub(crate) struct Process {
    id: NodeId,
    name: String,
    log: PathBuf,
    child: Child,
    lines: Receiver<String>,
    /// Where it takes calls or publications.
    pub(crate) coap: SocketAddr,
}

/// The line by which a daemon says that it is ready.
#[derive(Deserialize)]
struct Ready {
    mesh: SocketAddr,
    coap: Option<SocketAddr>,
}

/// What the processes of a replay have in common.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// The folder of their stores.
    pub(crate) folder: &'a Path,
    /// The folder of their configurations and logs.
    pub(crate) logs: &'a Path,
    /// The trace.
    pub(crate) trace: &'a Trace,
    /// The protocol, the cache and the links.
    pub(crate) settings: &'a Settings,
    /// How many times as fast as real time everything goes.
    pub(crate) speedup: u32,
    /// The publisher.
    pub(crate) key: PublicKey,
    /// The air.
    pub(crate) radio: &'a Radio,
}

impl Site<'_> {
    /// Starts the registry.
    ///
    /// # Errors
    /// If it does not become ready.
    pub(crate) fn registry(&self) -> anyhow::Result<Process> {
        let id = NodeId(self.trace.registry.id);
        let mut text = self.mesh(id);
        let data = self.folder.join("registry");
        let _ = writeln!(text, "data = {:?}", data.display().to_string());
        text.push_str(&self.paper(id));
        let _ = write!(text, "[namespaces.{NAMESPACE}]\nkey = \"{}\"\n", self.key);
        let mut process = self.spawn(id, "registry", &text)?;
        self.await_ready(&mut process)?;
        Ok(process)
    }

    /// Starts all nodes, which hold `catalogue` from the start.
    ///
    /// # Errors
    /// If one of them does not become ready.
    pub(crate) fn nodes(&self, catalogue: &Catalogue) -> anyhow::Result<Vec<Process>> {
        let spawn = |id: NodeId| {
            let state = self.folder.join(format!("state-{id}"));
            keep_catalogue(&state, catalogue).context("writing the catalogue of a node")?;
            self.spawn(id, "node", &self.node(id, &state))
        };
        let nodes: anyhow::Result<Vec<Process>> = self.trace.ids().map(spawn).collect();
        let mut nodes = nodes?;
        for process in &mut nodes {
            self.await_ready(process)?;
        }
        Ok(nodes)
    }

    fn node(&self, id: NodeId, state: &Path) -> String {
        let mut text = self.mesh(id);
        let Settings {
            cache_bytes,
            executors,
            placement,
            ..
        } = self.settings;
        let placement = placement.unwrap_or(Placement::HERE).name;
        let _ = write!(
            text,
            "cache_bytes = {cache_bytes}\nexecutors = {}\njobs = {JOBS}\nshelf_bytes = 0\n\
             arena_bytes = {ARENA_BYTES}\nplacement = {placement:?}\nstate = {:?}\n",
            executors.unwrap_or(1),
            state.display().to_string(),
        );
        text.push_str(&self.paper(id));
        let registry = self.trace.registry.id;
        let (pace, slack) = (Pace::PAPER, SEARCH_SLACK * self.speedup);
        let _ = write!(
            text,
            "[timeouts]\nlocal_search_ms = {}\nglobal_search_ms = {}\nhop_ms = {}\n\
             announce_ms = {}\nload_ms = {}\ncall_ms = {}\n\
             [namespaces.{NAMESPACE}]\nkey = \"{}\"\nregistry = {registry}\n\
             capabilities = [\"clock\"]\n",
            (pace.local_search + slack).as_millis(),
            (pace.global_search + slack).as_millis(),
            pace.hop.as_millis(),
            pace.announce.as_millis(),
            pace.load.as_millis(),
            CALL_MAX.as_millis(),
            self.key,
        );
        text
    }

    /// The part of a configuration that registry and nodes share.
    fn mesh(&self, id: NodeId) -> String {
        let neighbours = self.radio.neighbours(id).into_iter();
        let neighbours: Vec<String> = neighbours.map(|(_, at)| format!("\"{at}\"")).collect();
        format!(
            "id = {id}\nlisten = \"127.0.0.1:0\"\ncoap = \"127.0.0.1:0\"\nmtu = {}\n\
             speedup = {}\nneighbours = [{}]\n",
            self.settings.mtu,
            self.speedup,
            neighbours.join(", "),
        )
    }

    /// The table of the paper's protocol, if that is to be followed.
    fn paper(&self, id: NodeId) -> String {
        if self.settings.profile == Profile::Default {
            return String::new();
        }
        let topology = paper(id, self.settings.mtu, &Distances::of(self.trace)).topology;
        let neighbours = self.radio.neighbours(id).into_iter();
        let neighbours: Vec<String> = neighbours.map(|(id, _)| id.to_string()).collect();
        let routes = topology.routes.iter();
        let routes = routes.map(|it| format!("[{}, {}, {}]", it.destination, it.next, it.hops));
        let routes: Vec<String> = routes.collect();
        format!(
            "[paper]\nneighbours = [{}]\nroutes = [{}]\n",
            neighbours.join(", "),
            routes.join(", "),
        )
    }

    fn spawn(&self, id: NodeId, verb: &str, config: &str) -> anyhow::Result<Process> {
        let name = match verb {
            "registry" => "the registry".to_owned(),
            _ => format!("node {id}"),
        };
        let path = self.logs.join(format!("{id}.toml"));
        fs::write(&path, config).context("writing a configuration")?;
        let log = self.logs.join(format!("{id}.log"));
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .args([verb, "--json", "--attached", "--config"])
            .arg(&path)
            // It ends when this process does, however that may be.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).context("making a log")?)
            // An interrupt at the terminal is for the testbed, which ends its processes in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let (sender, lines) = channel();
        let stdout = child.stdout.take();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = stdout.map(|out| BufReader::new(out).read_line(&mut line));
            if matches!(read, Some(Ok(1..))) {
                let _ = sender.send(line);
            }
        });
        let coap = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Process {
            id,
            name,
            log,
            child,
            lines,
            coap,
        })
    }

    fn await_ready(&self, process: &mut Process) -> anyhow::Result<()> {
        let line = process.lines.recv_timeout(READY_MAX);
        let line = line.map_err(|error| match error {
            RecvTimeoutError::Timeout => process.failed("is not ready in time"),
            RecvTimeoutError::Disconnected => process.failed("has not started"),
        })?;
        let ready: Option<Ready> = serde_json::from_str(&line).ok();
        let ready = ready.ok_or_else(|| process.failed("does not say where it listens"))?;
        process.coap = ready.coap.context("a daemon takes no requests")?;
        self.radio.connect(process.id, ready.mesh);
        Ok(())
    }
}

impl Process {
    /// The id of its node.
    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// The most memory that it has held so far, in bytes. Nothing if the system does not say.
    pub(crate) fn peak_bytes(&self) -> u64 {
        peak_bytes(self.child.id())
    }

    /// Checks that it still runs.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failed(&format!("has ended ({status})"))),
            Err(error) => Err(self.failed(&format!("cannot be watched: {error}"))),
        }
    }

    /// The error that something is wrong with it, with the end of its log.
    fn failed(&self, what: &str) -> anyhow::Error {
        let log = end_of_log(&self.log, LOG_LINES);
        Coded::new(PROCESS_FAILED, format!("{} {what}; {log}", self.name)).into()
    }

    /// Asks it to end.
    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).map(Pid::from_raw);
        let _ = pid.map(|pid| kill(pid, Signal::SIGTERM));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What has ended already is reaped all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most memory that a process has held so far, in bytes. Nothing if the system does not say.
pub(super) fn peak_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// The last lines of a log, in words.
pub(super) fn end_of_log(log: &Path, lines: usize) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let all: Vec<&str> = log.lines().collect();
    match all[all.len().saturating_sub(lines)..].join("\n  ").as_str() {
        "" => "its log is empty".to_owned(),
        end => format!("its log ends with\n  {end}"),
    }
}

/// Ends processes in order, all at the same time.
///
/// # Errors
/// If one of them has not ended in time, or not with success. All have ended then, too.
pub(crate) fn end(mut processes: Vec<Process>) -> anyhow::Result<()> {
    processes.iter().for_each(Process::terminate);
    let mut left = END_MAX;
    for process in &mut processes {
        loop {
            match process.child.try_wait() {
                Ok(Some(status)) if status.success() => break,
                Ok(Some(status)) => return Err(process.failed(&format!("has ended ({status})"))),
                Ok(None) if left.is_zero() => bail!(process.failed("does not end")),
                Ok(None) => {
                    sleep(END_POLL);
                    left = left.saturating_sub(END_POLL);
                }
                Err(error) => return Err(anyhow!(error).context("waiting for a process")),
            }
        }
    }
    Ok(())
}
