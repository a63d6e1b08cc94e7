//! `nimblenet rm`: withdraws published tasklets.

use std::path::PathBuf;

use anyhow::{Context, bail};
use nimblenet_core::publication::BadPackages;
use nimblenet_node::remote::RemoteError;
use nimblenet_tasklet::{Entry, Name, TaskletName};

use super::pull::dictionary;
use super::publish::{self, REQUESTS, Spread, report, spread};
use crate::remote::{Address, Patience};

/// Withdraws tasklets: once a node has the namespace's next epoch, it refuses to call them.
///
/// All of one namespace at a time; all or none are withdrawn. A tasklet that another published one
/// calls is withdrawn together with that one only. Calls in progress end as they began, caches let
/// the module go when they need the room, and publishing the name again brings it back.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  \
    nimblenet rm shop/rms shop/chain --registry 127.0.0.1:5683 --key shop.key")]
pub(crate) struct Args {
    /// Tasklets of one namespace.
    #[arg(value_name = "NS/NAME", required = true)]
    names: Vec<TaskletName>,
    /// CoAP address of the registry.
    #[arg(long, value_name = "ADDR")]
    registry: Address,
    /// Key file that signs.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    spread: Spread,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the registry cannot be reached or refuses, or one of the tasklets is not published.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let key = publish::load_key(&args.key)?;
    let first = args.names.first().context("no tasklet is named")?;
    let namespace = first.namespace;
    let stray = args.names.iter().find(|name| name.namespace != namespace);
    if let Some(stray) = stray {
        bail!("{first} and {stray} are of two namespaces; withdraw one namespace at a time");
    }
    let names: Vec<Name> = args.names.iter().map(|name| name.name).collect();
    let withdrawn = args.patience.ask(&args.registry, async |wait| {
        let mut registry = wait.connect_for(&args.registry, REQUESTS).await?;
        let withdrawn = registry.withdraw(&namespace, &names, &key).await;
        let context = || format!("withdrawing from {namespace} at {} failed", args.registry);
        let withdrawn = match withdrawn {
            Err(RemoteError::Packages(BadPackages::UnknownName { name })) => {
                let catalogue = registry.catalogue(&namespace).await?;
                let is_it = |entry: Entry<'_>| entry.is_dictionary() && entry.name == name.name;
                let unknown = RemoteError::Packages(BadPackages::UnknownName { name });
                Err(match catalogue.entries().any(is_it) {
                    true => dictionary(&name).into(),
                    false => anyhow::Error::new(unknown),
                })
            }
            withdrawn => withdrawn.map_err(anyhow::Error::new),
        };
        let withdrawn = withdrawn.with_context(context)?;
        let registry = (&args.registry, &mut registry);
        let late = spread(wait, &args.spread, registry, &[withdrawn]).await?;
        Ok((withdrawn, late))
    })?;
    let (withdrawn, late) = withdrawn;
    report(&[withdrawn], late, args.json)
}
