//! `nimblenet demo`: a mesh with robots on this machine.

use core::time::Duration;

use crate::demo::{self, Options};
use crate::output;

/// Most nodes: each is a daemon with threads and sockets of its own.
const NODES_MAX: i64 = 256;
/// Most robots.
const ROBOTS_MAX: i64 = 10_000;
/// The longest run, in seconds.
const SECONDS_MAX: f64 = 86_400.0;

/// Shows a real mesh on this machine.
///
/// Starts a global and a private registry and a floor of nodes, each a daemon with UDP links and
/// a CoAP server on the loopback interface; publishes tasklets signed with fresh keys; then lets
/// robots move over the floor and call the node in their reach over CoAP. Nothing is simulated
/// but the robots and the sensors.
///
/// Time on the floor and the patience of nodes run --speedup times faster than the clock;
/// response times are real. Bytes are what each node's mesh socket moved, acquisitions are of all
/// nodes together.
///
/// Ctrl-C ends it with the numbers so far. Exits with 1 if not one call completed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet demo\n  \
    nimblenet demo --nodes 6 --robots 8 --seconds 5 --json")]
pub(crate) struct Args {
    /// Nodes on the floor, in a grid of about 4 : 3.
    #[arg(long, value_name = "N", default_value_t = 12,
          value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    nodes: u16,
    /// Robots on the floor.
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=ROBOTS_MAX))]
    robots: u32,
    /// How long robots move, in real time.
    #[arg(long, value_name = "S", default_value = "20", value_parser = seconds)]
    seconds: Duration,
    /// How many times faster than the clock time runs on the floor.
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    speedup: u32,
    /// What robots do follows from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Bytes of cached modules at each node; less than all tasklets together, so that some are
    /// evicted.
    #[arg(long, value_name = "BYTES", default_value_t = 2048)]
    cache_bytes: usize,
    /// Print one JSON document instead of tables.
    #[arg(long)]
    pub(super) json: bool,
    /// Print a row for each node, however many there are.
    #[arg(long)]
    all: bool,
    /// Tell about every call on standard error.
    #[arg(long)]
    verbose: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the mesh cannot be started, or not one call completed; calls that fail are part of the
/// report.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let report = demo::run(Options {
        nodes: args.nodes,
        robots: args.robots.into(),
        length: args.seconds,
        speedup: args.speedup,
        seed: args.seed,
        cache_bytes: args.cache_bytes,
        verbose: args.verbose,
    })?;
    let idle = report.idle();
    if args.json {
        let mut document = report.to_json();
        if let Some(idle) = &idle {
            document["error"] = idle.to_json();
        }
        output::json(&document)?;
    } else {
        output::text(&report.to_text(args.all))?;
    }
    idle.map_or(Ok(()), |idle| Err(idle.told().into()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let seconds = seconds.filter(|seconds| *seconds > 0.0 && *seconds <= SECONDS_MAX);
    let seconds = seconds.map(Duration::from_secs_f64);
    seconds.ok_or_else(|| format!("a number above 0 and up to {SECONDS_MAX} is expected"))
}
