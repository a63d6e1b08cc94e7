//! `nimblenet rollback`: what a namespace had before, again.

use core::str::FromStr;
use std::path::PathBuf;

use anyhow::Context;
use nimblenet_tasklet::{Name, TaskletName};

use super::publish::{self, REQUESTS, Spread, report, spread};
use crate::remote::{Address, Patience};

/// Gives a namespace, or one tasklet of it, what it had in an older epoch, as a new epoch.
///
/// No module moves: the registry keeps those of old epochs (`nimblenet history` lists them). A tasklet
/// that the old epoch does not have is withdrawn. Calls in progress end as they began.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  \
    nimblenet rollback shop/rms --to 3 --registry 127.0.0.1:5683 --key shop.key")]
pub(crate) struct Args {
    /// The namespace, or one tasklet of it.
    #[arg(value_name = "NS[/NAME]")]
    what: What,
    /// The epoch whose entries come back; without it, the one before the present one.
    #[arg(long, value_name = "EPOCH")]
    to: Option<u32>,
    /// Make the new epoch this one or a later one: the way back if nodes hold epochs that the registry
    /// has lost.
    #[arg(long, value_name = "EPOCH")]
    epoch_at_least: Option<u32>,
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

/// A namespace, or one of its tasklets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct What {
    namespace: Name,
    name: Option<Name>,
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            let full = TaskletName::new(text).map_err(|error| error.to_string())?;
            return Ok(Self {
                namespace: full.namespace,
                name: Some(full.name),
            });
        }
        let namespace = Name::new(text).map_err(|error| error.to_string())?;
        Ok(Self {
            namespace,
            name: None,
        })
    }
}

/// Runs the verb.
///
/// # Errors
/// If the registry cannot be reached or refuses, or does not keep the epoch.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let key = publish::load_key(&args.key)?;
    let What { namespace, name } = args.what;
    let back = args.patience.ask(&args.registry, async |wait| {
        let mut registry = wait.connect_for(&args.registry, REQUESTS).await?;
        if let Some(epoch) = args.epoch_at_least {
            registry.publish_at_least(epoch);
        }
        let back = registry.roll_back(&namespace, name.as_ref(), args.to, &key).await;
        let context = || format!("rolling {namespace} back at {} failed", args.registry);
        let back = back.with_context(context)?;
        let registry = (&args.registry, &mut registry);
        let late = spread(wait, &args.spread, registry, &[back]).await?;
        Ok((back, late))
    })?;
    let (back, late) = back;
    report(&[back], late, args.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_or_one_of_its_tasklets_is_meant() {
        let names = |text: &str| {
            let what = text.parse::<What>().unwrap();
            (what.namespace.to_string(), what.name.map(|name| name.to_string()))
        };
        assert_eq!(names("shop"), ("shop".to_owned(), None));
        assert_eq!(names("shop/rms"), ("shop".to_owned(), Some("rms".to_owned())));
        for wrong in ["", "Shop", "shop/", "/rms", "shop/rms/x"] {
            assert!(wrong.parse::<What>().is_err(), "{wrong}");
        }
    }
}
