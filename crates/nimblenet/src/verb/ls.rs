//! `nimblenet ls`: what is published.


use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use nimblenet_core::Catalogue;
use nimblenet_node::PublicKey;
use nimblenet_node::remote::Remote;
use nimblenet_tasklet::{Entry, Name};
use serde_json::{Value as Json, json};

use crate::output;
use crate::remote::{Address, Patience};


/// Lists the tasklets that a registry has published, or that a node knows.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet ls --registry 127.0.0.1:5683\n  \
    nimblenet ls shop --registry 127.0.0.1:5683 --json")]
pub(crate) struct Args {
    /// Only this namespace.
    #[arg(value_name = "NS")]
    namespace: Option<Name>,
    /// CoAP address of the registry or node.
    #[arg(long, value_name = "ADDR", visible_alias = "node")]
    registry: Address,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A namespace with everything in it.
struct Listing {
    key: Option<PublicKey>,
    catalogue: Catalogue,
}

/// Runs the verb.
///
/// # Errors
/// If the registry or node does not answer as it should.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let listings = args.patience.ask(&args.registry, async |wait| {
        let mut remote = wait.connect(&args.registry).await?;
        let listings = list(&mut remote, args.namespace.as_ref()).await;
        listings.with_context(|| format!("listing at {} failed", args.registry))
    })?;
    if args.json {
        let namespaces: Vec<_> = listings.iter().map(to_json).collect();
        return output::json(&json!({ "namespaces": namespaces }));
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["TASKLET", "VERSION", "BYTES", "KIND", "EXPORTS", "MODULE"]);
    for Listing { catalogue, .. } in &listings {
        for entry in catalogue.entries().filter(|entry| !entry.is_withdrawn()) {
            let exports: Vec<_> = exports(&entry).collect();
            table.add_row([
                format!("{}/{}", catalogue.name(), entry.name),
                entry.sequence.to_string(),
                entry.size.to_string(),
                entry.terms.executor.name().to_owned(),
                exports.join("\n"),
                entry.digest.to_string()[..12].to_owned(),
            ]);
        }
    }
    output::text(&table.to_string())
}

async fn list(remote: &mut Remote, only: Option<&Name>) -> anyhow::Result<Vec<Listing>> {
    let mut listings = Vec::new();
    for summary in remote.namespaces().await? {
        if only.is_none_or(|only| summary.name == *only) {
            listings.push(Listing {
                key: summary.key,
                catalogue: remote.catalogue(&summary.name).await?,
            });
        }
    }
    Ok(listings)
}

fn exports<'a>(entry: &Entry<'a>) -> impl Iterator<Item = String> + use<'a> {
    // Escaped: they come from elsewhere and go to a terminal.
    let exports = entry.terms.exports();
    exports.map(|export| format!("{}: {}", export.name.escape_debug(), export.signature))
}

fn to_json(listing: &Listing) -> Json {
    let catalogue = &listing.catalogue;
    let entries = catalogue.entries().filter(|entry| !entry.is_withdrawn());
    let entries = entries.map(|entry| {
        let capabilities = entry.terms.capabilities.iter();
        json!({
            "name": entry.name.as_str(),
            "number": entry.number,
            "version": entry.sequence,
            "bytes": entry.size,
            "executor": entry.terms.executor.name(),
            "digest": entry.digest.to_string(),
            "memory_bytes": entry.terms.memory_bytes,
            "fuel": entry.terms.fuel,
            "cost": entry.terms.cost,
            "capabilities": capabilities.map(|it| it.name()).collect::<Vec<_>>(),
            "exports": exports(&entry).collect::<Vec<_>>(),
        })
    });
    json!({
        "namespace": catalogue.name().as_str(),
        "epoch": catalogue.epoch(),
        "key": listing.key.map(|key| key.to_string()),
        "tasklets": entries.collect::<Vec<_>>(),
    })
}
