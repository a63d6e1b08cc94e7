//! `nimblenet ls`: what is published at a registry, or held by a node.


use anyhow::{Context, bail};
use clap::ArgGroup;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use nimblenet_core::Catalogue;
use nimblenet_node::PublicKey;
use nimblenet_node::remote::{ModuleSummary, NamespaceSummary, Remote};
use nimblenet_tasklet::api::{Problem, module, namespace};
use nimblenet_tasklet::{Entry, Executor, Name, NodeId};
use serde_json::{Value as Json, json};

use crate::failure::Coded;
use crate::output;
use crate::remote::{Address, Patience};


/// Lists the tasklets that a registry has published, or the modules that a node holds.
///
/// A node fetches a module when it is first called, so that at first it holds none; native
/// tasklets have no module. Loaded are those whose next start is quick. Pinned are those that a call
/// needs, so that they cannot leave the cache.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet ls --registry 127.0.0.1:5683\n  \
    nimblenet ls shop --registry 127.0.0.1:5683 --json\n  \
    nimblenet ls --node 127.0.0.1:5684")]
#[command(group = ArgGroup::new("whom").required(true))]
pub(crate) struct Args {
    /// Only this namespace.
    #[arg(value_name = "NS")]
    namespace: Option<Name>,
    /// CoAP address of a registry, or of a node to see the catalogues that it has heard of.
    #[arg(long, value_name = "ADDR", group = "whom")]
    registry: Option<Address>,
    /// CoAP address of a node.
    #[arg(long, value_name = "ADDR", group = "whom")]
    node: Option<Address>,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A namespace with everything in it.
struct Listing {
    key: Option<PublicKey>,
    /// At a registry: the epoch of each node that it knows.
    nodes: Option<Vec<(NodeId, u32)>>,
    catalogue: Catalogue,
}

/// Runs the verb.
///
/// # Errors
/// If the registry or node does not answer as it should, or does not know the namespace.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match (&args.registry, &args.node) {
        (Some(registry), _) => published(args, registry),
        (None, Some(node)) => held(args, node),
        (None, None) => bail!("--registry or --node says whom to ask"),
    }
}

/// Lists what is published.
fn published(args: &Args, registry: &Address) -> anyhow::Result<()> {
    let listings = args.patience.ask(registry, async |wait| {
        let mut remote = wait.connect(registry).await?;
        let listings = list(&mut remote, args.namespace.as_ref()).await;
        listings.with_context(|| format!("listing at {registry} failed"))
    })?;
    if args.json {
        let namespaces: Vec<_> = listings.iter().map(to_json).collect();
        return output::json(&json!({ "namespaces": namespaces }));
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["TASKLET", "VERSION", "BYTES", "KIND", "MODULE"]);
    for Listing { catalogue, .. } in &listings {
        for entry in catalogue.entries().filter(|entry| !entry.is_withdrawn()) {
            let kind = match entry.is_dictionary() {
                true => "dictionary",
                false => entry.terms.executor.name(),
            };
            let digest = match entry.terms.executor {
                Executor::Wasm => entry.digest.to_string()[..12].to_owned(),
                Executor::Native => "-".to_owned(),
            };
            table.add_row([
                format!("{}/{}", catalogue.name(), entry.name),
                entry.sequence.to_string(),
                match entry.compression {
                    Some(compression) => format!("{} of {}", entry.size, compression.plain_bytes),
                    None => entry.size.to_string(),
                },
                kind.to_owned(),
                digest,
            ]);
            // On lines of their own: signatures are long.
            for export in exports(&entry) {
                table.add_row([format!("  {export}")]);
            }
        }
    }
    output::text(&table.to_string())
}

/// Lists the modules in a node's cache.
fn held(args: &Args, node: &Address) -> anyhow::Result<()> {
    let modules = args.patience.ask(node, async |wait| {
        let mut remote = wait.connect(node).await?;
        if let Some(namespace) = &args.namespace {
            known(&remote.namespaces().await?, namespace)?;
        }
        let modules = remote.cache().await;
        modules.with_context(|| format!("asking {node} for its cache failed"))
    })?;
    let ours = |module: &&ModuleSummary| {
        let namespace = module.tasklet.split('/').next();
        let only = args.namespace.as_ref();
        only.is_none_or(|only| namespace == Some(only.as_str()))
    };
    let modules: Vec<&ModuleSummary> = modules.iter().filter(ours).collect();
    if args.json {
        let modules = modules.iter().map(|it| {
            json!({
                module::TASKLET: it.tasklet,
                module::VERSION: it.version,
                module::BYTES: it.bytes,
                module::USES: it.uses,
                module::PINNED: it.pinned,
                module::LOADED: it.loaded,
            })
        });
        return output::json(&json!({ "modules": modules.collect::<Vec<_>>() }));
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["TASKLET", "VERSION", "BYTES", "USES", "LOADED", "PINNED"]);
    for module in modules {
        table.add_row([
            // Escaped: it comes from elsewhere and goes to a terminal.
            module.tasklet.escape_debug().to_string(),
            module.version.to_string(),
            module.bytes.to_string(),
            module.uses.to_string(),
            yes_or_no(module.loaded),
            yes_or_no(module.pinned),
        ]);
    }
    output::text(&table.to_string())
}

fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

/// Whether there is such a namespace.
fn known(all: &[NamespaceSummary], namespace: &Name) -> anyhow::Result<()> {
    if all.iter().any(|it| it.name == *namespace) {
        return Ok(());
    }
    let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
    let names = match &names[..] {
        [] => "there is none".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    let sentence = format!("there is no namespace {namespace}; {names}");
    Err(Coded::new(Problem::UnknownNamespace.code(), sentence).into())
}

async fn list(remote: &mut Remote, only: Option<&Name>) -> anyhow::Result<Vec<Listing>> {
    let mut listings = Vec::new();
    let namespaces = remote.namespaces().await?;
    if let Some(only) = only {
        known(&namespaces, only)?;
    }
    for summary in namespaces {
        if only.is_none_or(|only| summary.name == *only) {
            listings.push(Listing {
                key: summary.key,
                nodes: summary.nodes,
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
            "plain_bytes": entry.plain_bytes(),
            "dictionary": entry.compression.map(|it| it.dictionary),
            "executor": (!entry.is_dictionary()).then(|| entry.terms.executor.name()),
            "digest": entry.digest.to_string(),
            "memory_bytes": entry.terms.memory_bytes,
            "fuel": entry.terms.fuel,
            "cost": entry.terms.cost,
            "capabilities": capabilities.map(|it| it.name()).collect::<Vec<_>>(),
            "exports": exports(&entry).collect::<Vec<_>>(),
        })
    });
    let mut document = json!({
        "namespace": catalogue.name().as_str(),
        "epoch": catalogue.epoch(),
        "key": listing.key.map(|key| key.to_string()),
        "tasklets": entries.collect::<Vec<_>>(),
    });
    if let Some(nodes) = &listing.nodes {
        let nodes = nodes.iter().map(|(node, epoch)| (node.to_string(), Json::from(*epoch)));
        document[namespace::NODES] = Json::Object(nodes.collect());
    }
    document
}
