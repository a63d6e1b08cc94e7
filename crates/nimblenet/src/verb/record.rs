//! `nimblenet record`: writes down what clients call at running nodes.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use nimblenet_core::Catalogue;
use nimblenet_node::remote::{Remote, TriggerList, TriggerSummary};
use nimblenet_sim::trace::recording::{Known, Made, NothingSeen, Recording, SHORTEST, Seen};
use nimblenet_tasklet::NamespaceId;
use serde_json::json;
use tokio::time::sleep_until;

use crate::clock;
use crate::failure::{self, Coded};
use crate::interrupt::Interrupt;
use crate::outlet;
use crate::output::{self, counted};
use crate::remote::{self, Address, unknown_host};

/// How often nodes are asked.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a node has for an answer; one that is silent is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest recording, in seconds: a week.
const SECONDS_MAX: f64 = 604_800.0;
/// The code of a recording without a call.
const NOTHING: &str = "nothing-recorded";

/// Records what clients call at running nodes, as a trace that `nimblenet sim` runs.
///
/// Nodes are asked each second and do nothing else for it. The trace has the nodes named here and
/// their neighbours, the links between them, who called what when, the lengths of modules, and how
/// long chains ran: the time of the quickest call of each, shared out by the cost that the catalogue
/// declares. Clients that give a number (`call --client`, `client=N`) are told apart as robots; the
/// others count as one robot a node.
///
/// Without --seconds it ends at Ctrl-C. Name each node at which clients call.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet record --node 127.0.0.1:5684 --seconds 600 -o hall.json\n  \
    nimblenet record --node cell-1 --node cell-2 -o hall.json\n  \
    nimblenet sim --trace hall.json\n  \
    nimblenet sim --trace hall.json --profile paper --cache-bytes 16384")]
pub(crate) struct Args {
    /// CoAP address of a node; give it once for each node.
    #[arg(long, value_name = "ADDR", required = true)]
    node: Vec<Address>,
    /// Seconds to record [default: until Ctrl-C]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let range = SHORTEST.as_secs_f64()..=SECONDS_MAX;
    let seconds = seconds.filter(|seconds| range.contains(seconds));
    let seconds = seconds.map(Duration::from_secs_f64);
    seconds.ok_or_else(|| format!("seconds from {} to {SECONDS_MAX} are expected", range.start()))
}

/// Runs the verb.
///
/// # Errors
/// If a node does not answer at the start, nobody calls anything, or the file cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    outlet::prepare(&args.output)?;
    let (recording, lasted, missed) = remote::block_on(record(args))?;
    let path = args.output.display();
    let made = recording.trace(lasted).map_err(|NothingSeen(left_out)| {
        let others = match left_out {
            0 => String::new(),
            _ => format!(
                " ({} of native tasklets, or of names that no catalogue has)",
                counted(left_out, "call")
            ),
        };
        let sentence = format!(
            "nobody called a tasklet with a module at {} in {:.0} s{others}; {path} is not written",
            counted(args.node.len(), "node"),
            lasted.as_secs_f64(),
        );
        Coded::new(NOTHING, sentence)
    })?;
    let Made { trace, mut notes } = made;
    let Missed { lost, restarted } = missed;
    if lost > 0 {
        notes.push(format!(
            "{lost} calls are missing: a node forgot them before it was asked"
        ));
    }
    if !restarted.is_empty() {
        notes.push(format!(
            "{} ended meanwhile: its last calls, of up to a second or more, are missing",
            restarted.join(", ")
        ));
    }
    outlet::write(&args.output, trace.write())?;
    let (calls, robots, nodes) = (trace.triggers.len(), trace.robots, trace.nodes.len());
    if args.json {
        return output::json(&json!({
            "file": args.output,
            "seconds": trace.duration_s,
            "nodes": nodes,
            "robots": robots,
            "calls": calls,
            "lost": lost,
            "notes": notes,
        }));
    }
    let mut page = format!(
        "{} of {} at {} in {:.0} s",
        counted(calls, "call"),
        counted(robots as usize, "robot"),
        counted(nodes, "node"),
        trace.duration_s,
    );
    for note in notes {
        page.push_str(&format!("\nnote: {note}"));
    }
    page.push_str(&format!("\nnext: nimblenet sim --trace {path}"));
    output::text(&page)
}

/// What a recording does not have.
struct Missed {
    /// Calls that nodes forgot before they were asked.
    lost: u64,
    /// The addresses of nodes that ended.
    restarted: Vec<String>,
}

/// A node that is recorded.
struct Station<'a> {
    address: &'a Address,
    remote: Remote,
    /// The number of the last trigger that is known.
    last: u64,
    /// The node's time at its last answer.
    uptime: Duration,
    lost: u64,
    silent: bool,
    /// Whether it has ended meanwhile.
    ended: bool,
}

/// Records until the time is over or the user ends it. Returns what was seen, how long that took,
/// and what was missed.
async fn record(args: &Args) -> anyhow::Result<(Recording, Duration, Missed)> {
    let mut interrupt = Interrupt::new().context("taking signals over")?;
    let mut stations = Vec::new();
    for address in &args.node {
        let remote = Remote::connect(&address.to_string(), PATIENCE).await;
        let remote = remote.with_context(|| unknown_host(address))?;
        stations.push(Station {
            address,
            remote,
            last: 0,
            uptime: Duration::ZERO,
            lost: 0,
            silent: false,
            ended: false,
        });
    }
    let mut recording = Recording::default();
    let begin = clock::now();
    for station in &mut stations {
        let asked = station.ask(begin, &mut recording).await;
        asked.with_context(|| format!("asking {} for its triggers failed", station.address))?;
    }
    learn(&mut stations, &mut recording).await?;
    let nodes = counted(stations.len(), "node");
    failure::complain(&format!("recording {nodes}; Ctrl-C ends\n"));
    let end = args.seconds.map(|seconds| begin + seconds);
    let mut next = begin + PAUSE;
    loop {
        let until = end.map_or(next, |end| end.min(next));
        let interrupted = tokio::select! {
            () = sleep_until(until.into()) => false,
            () = interrupt.requested() => true,
        };
        for station in &mut stations {
            station.look(begin, &mut recording).await;
        }
        let now = clock::now();
        tell(now - begin, &recording);
        if interrupted || end.is_some_and(|end| end <= now) {
            break;
        }
        next = now + PAUSE;
    }
    let lasted = clock::now() - begin;
    // Tasklets may have been published meanwhile. What was known before is not lost if this fails.
    if let Err(error) = learn(&mut stations, &mut recording).await {
        failure::complain(&format!(
            "the catalogues are those of the beginning: {error:#}\n"
        ));
    }
    let ended = stations.iter().filter(|it| it.ended || it.silent);
    let missed = Missed {
        lost: stations.iter().map(|station| station.lost).sum(),
        restarted: ended.map(|station| station.address.to_string()).collect(),
    };
    Ok((recording, lasted, missed))
}

/// Shows a person at a terminal how far it is.
fn tell(passed: Duration, recording: &Recording) {
    if io::stderr().is_terminal() {
        let calls = counted(recording.calls(), "call");
        let passed = passed.as_secs();
        failure::complain(&format!("\r\x1b[K{passed} s, {calls}; Ctrl-C ends"));
    }
}

impl Station<'_> {
    /// Asks the node, and says once if it falls silent or is back.
    async fn look(&mut self, begin: Instant, recording: &mut Recording) {
        let asked = self.ask(begin, recording).await;
        let silent = asked.is_err();
        if let (Err(error), false) = (&asked, self.silent) {
            let address = self.address;
            failure::complain(&format!(
                "asking {address} failed, it is asked on: {error:#}\n"
            ));
        }
        self.silent = silent;
    }

    /// Asks the node for what is new.
    async fn ask(&mut self, begin: Instant, recording: &mut Recording) -> anyhow::Result<()> {
        let asked = clock::now();
        let mut list = self.remote.triggers(self.last).await?;
        let mut heard = asked + (clock::now() - asked) / 2;
        if list.now < self.uptime {
            // It has started anew, and numbers its triggers from 1.
            self.last = 0;
            self.ended = true;
            list = self.remote.triggers(0).await?;
            heard = clock::now();
        }
        self.uptime = list.now;
        if let (Some(first), true) = (list.triggers.first(), self.last > 0) {
            self.lost += first.number.saturating_sub(self.last + 1);
        }
        self.last = list.triggers.last().map_or(self.last, |it| it.number);
        let neighbours = list.neighbours.iter().map(|node| node.0);
        recording.note_node(list.node.0, neighbours);
        if let Some(registry) = list.registry {
            recording.note_registry(registry.0);
        }
        for trigger in &list.triggers {
            // Older ones were before the recording.
            if let Some(at) = (heard + trigger.at).checked_duration_since(begin + list.now) {
                recording.note_call(seen(&list, trigger, at));
            }
        }
        Ok(())
    }
}

fn seen(list: &TriggerList, trigger: &TriggerSummary, at: Duration) -> Seen {
    let ran = trigger.took.saturating_sub(trigger.waited);
    Seen {
        at,
        node: list.node.0,
        client: trigger.client,
        tasklet: trigger.tasklet.clone(),
        ran: trigger.code.is_none().then_some(ran),
    }
}

/// Reads the catalogues that the nodes hold: of each namespace the newest.
async fn learn(stations: &mut [Station<'_>], recording: &mut Recording) -> anyhow::Result<()> {
    let mut catalogues: BTreeMap<NamespaceId, Catalogue> = BTreeMap::new();
    let mut failed = None;
    for station in stations.iter_mut().filter(|station| !station.silent) {
        let held = match station.remote.namespaces().await {
            Ok(held) => held,
            Err(error) => {
                failed = Some(anyhow!(error).context(format!("asking {}", station.address)));
                continue;
            }
        };
        for namespace in held {
            let known = catalogues.get(&NamespaceId::of(&namespace.name));
            if known.map_or(0, Catalogue::epoch) < namespace.epoch {
                let catalogue = station.remote.catalogue(&namespace.name).await?;
                catalogues.insert(catalogue.id(), catalogue);
            }
        }
    }
    if let (Some(failed), true) = (failed, catalogues.is_empty()) {
        return Err(failed);
    }
    for catalogue in catalogues.values() {
        for entry in catalogue.entries() {
            let calls = entry.imports().filter_map(|import| {
                let callee = catalogues.get(&import.namespace)?.entry(import.number)?;
                let namespace = catalogues.get(&import.namespace)?.name();
                Some(format!("{namespace}/{}", callee.name))
            });
            let known = Known {
                bytes: entry.size,
                cost: entry.terms.cost,
                calls: calls.collect(),
            };
            recording.note_tasklet(format!("{}/{}", catalogue.name(), entry.name), known);
        }
    }
    Ok(())
}
