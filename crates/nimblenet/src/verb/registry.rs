//! `nimblenet registry`: runs a registry, at which tasklets are published.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use nimblenet_node::config::{DEFAULT_REGISTRY, MeshConfig, RegistryConfig};
use nimblenet_node::Trust;
use nimblenet_node::daemon::{Daemon, StartError};

use super::node;
use crate::failure::complain;
use crate::remote;

/// Runs a registry until it is interrupted or terminated.
///
/// Without a configuration file it takes publications at --listen and frames of the mesh at the
/// next port, from anyone; the first publication of a namespace claims it for its key, if --listen is an
/// address of this machine alone or with --claim. Prints one line when it is ready. The environment variable NIMBLENET_LOG says how much is logged.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet registry --listen 127.0.0.1:5683 --data ./registry\n  \
    nimblenet registry --config registry.toml\n\n\
    The file is described in docs/operating.md.")]
pub(crate) struct Args {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where CoAP requests are taken [default: as configured, else 127.0.0.1:5683]
    #[arg(long, value_name = "ADDR", value_parser = remote::listen_address)]
    listen: Option<SocketAddr>,
    /// Directory of the store [default: as configured, else nimblenet-registry]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Let the first publication of a namespace claim it for its key, whoever sends it.
    #[arg(long, conflicts_with = "config")]
    claim: bool,
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
/// If the configuration is wrong or the registry cannot start.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    node::log();
    let mut config = match &args.config {
        Some(path) => RegistryConfig::load(path)?,
        None => open_registry(args)?,
    };
    if let Some(listen) = args.listen {
        config.coap = listen;
    }
    if let Some(data) = &args.data {
        config.data.clone_from(data);
    }
    let (id, data) = (config.mesh.id, config.data.clone());
    // An option of the command line has no line in the file.
    let file = args.config.as_ref();
    let file = file.filter(|_| args.listen.is_none() && args.data.is_none());
    let daemon = Daemon::registry(config, None).map_err(|error| {
        if args.config.is_none() && matches!(error, StartError::Bind { key: "listen", .. }) {
            let sentence = "frames of the mesh are taken at the port after that of --listen; choose another \
                            --listen, or give both in a configuration file";
            return anyhow::Error::new(error).context(sentence);
        }
        node::blamed(error, file)
    });
    let daemon = daemon.with_context(|| format!("cannot start with data {}", data.display()))?;
    let manners = node::Manners { attached: args.attached, json: args.json };
    node::serve(daemon, "registry", id, manners)
}

/// A registry for a trial: everyone who sends to it is a neighbour.
///
/// # Errors
/// If there is no port after that for CoAP.
fn open_registry(args: &Args) -> anyhow::Result<RegistryConfig> {
    let default = || SocketAddr::from(([127, 0, 0, 1], 5683));
    let coap = args.listen.unwrap_or_else(default);
    let next = match coap.port() {
        0 => Some(0),
        port => port.checked_add(1),
    };
    let next = next.with_context(|| {
        format!("--listen {coap} leaves no port for the mesh, which is the next one; choose another")
    })?;
    let mut mesh = MeshConfig::new(DEFAULT_REGISTRY, SocketAddr::new(coap.ip(), next));
    mesh.open = true;
    let mut config = RegistryConfig::new(mesh, coap, PathBuf::from("nimblenet-registry"));
    if !args.claim && !coap.ip().is_loopback() {
        config.trust = Trust::Keys(BTreeMap::new());
        complain(
            "nobody can publish here: --claim lets whoever publishes first claim a namespace, a \
             configuration file says whose they are\n",
        );
    }
    Ok(config)
}
