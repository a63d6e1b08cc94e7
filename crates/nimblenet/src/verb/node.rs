//! `nimblenet node`: runs a node of the mesh.

use core::time::Duration;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::thread;

use anyhow::ensure;
use nimblenet_node::config::{BadConfig, NodeConfig};
use nimblenet_node::daemon::{Addresses, Daemon, FAREWELL, StartError};
use nimblenet_tasklet::NodeId;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::interval;
use tracing_subscriber::EnvFilter;

use crate::{output, remote};

/// The time in which a daemon ends when it is told to.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a daemon is checked. If it has broken down, this process ends, so that its supervisor
/// restarts it.
const LOOK: Duration = Duration::from_secs(1);

/// Runs a node of the mesh until it is interrupted or terminated.
///
/// Prints one line when it is ready. Logs go to standard error; the environment variable
/// NIMBLENET_LOG (error, warn, info, debug, trace) says how much.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  nimblenet node --config node.toml\n\n\
    The file is described in docs/operating.md.")]
pub(crate) struct Args {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// End when standard input ends, as it does with the program that has started this one.
    #[arg(long)]
    attached: bool,
    /// Print the line of readiness as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the configuration is wrong or the node cannot start.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    log();
    let config = NodeConfig::load(&args.config)?;
    let id = config.mesh.id;
    let daemon = Daemon::node(config, None).map_err(|error| blamed(error, Some(&args.config)))?;
    serve(daemon, "node", id, Manners { attached: args.attached, json: args.json })
}

/// Why a daemon does not start, with the line of the configuration that is the cause.
pub(super) fn blamed(error: StartError, config: Option<&PathBuf>) -> anyhow::Error {
    match (config, error.key()) {
        (Some(path), Some(key)) => BadConfig::of_key(path, key, error).into(),
        _ => error.into(),
    }
}

/// How a daemon deals with whoever has started it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    /// Whether it ends with standard input.
    pub(super) attached: bool,
    /// Whether it says in JSON that it is ready.
    pub(super) json: bool,
}

/// Lets a daemon run until this process is told to end: by a request to terminate, an interrupt,
/// the end of its terminal or, if it is attached, of its input.
///
/// # Errors
/// If signals or standard output are not available, or the daemon breaks down.
pub(super) fn serve(
    daemon: Daemon,
    what: &str,
    id: NodeId,
    manners: Manners,
) -> anyhow::Result<()> {
    let Manners { attached, json } = manners;
    let (left, mut alone) = oneshot::channel();
    if attached {
        thread::spawn(move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            left.send(())
        });
    }
    let watch = async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        announce(daemon.addresses(), what, id, json)?;
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                _ = terminated.recv() => return Ok(()),
                _ = interrupted.recv() => return Ok(()),
                _ = hung_up.recv() => return Ok(()),
                _ = &mut alone, if attached => return Ok(()),
                _ = look.tick() => ensure!(daemon.is_running(), "the {what} has broken down"),
            }
        }
    };
    remote::block_on(watch)?;
    tracing::info!("stopping");
    daemon.stop(PATIENCE - FAREWELL);
    Ok(())
}

fn announce(addresses: Addresses, what: &str, id: NodeId, json: bool) -> anyhow::Result<()> {
    let Addresses { mesh, coap } = addresses;
    if json {
        let coap = coap.map(|coap| coap.to_string());
        return output::json(&json!({ "ready": what, "id": id.0, "mesh": mesh.to_string(), "coap": coap }));
    }
    let coap = coap.map(|coap| format!(", coap {coap}"));
    output::text(&format!("{what} {id} ready: mesh {mesh}{}", coap.unwrap_or_default()))
}

/// Sends logs to standard error: warnings, and at a terminal also progress.
pub(super) fn log() {
    let terminal = io::stderr().is_terminal();
    let usual = if terminal { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("NIMBLENET_LOG");
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new(usual)))
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .try_init();
}
