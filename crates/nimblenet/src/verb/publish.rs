//! `nimblenet publish`: packages into a registry.

use core::time::Duration;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ArgAction;
use nimblenet_core::publication::BadPackages;
use nimblenet_node::SigningKey;
use nimblenet_node::remote::{Form, NamespaceSummary, PublishReport, Remote, RemoteError, Stopped};
use nimblenet_tasklet::Package;
use nimblenet_tasklet::api::status;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::failure::{Coded, NOT_SPREAD, complain};
use crate::inlet;
use crate::output;
use crate::remote::{Address, Patience, Wait};

/// How often a node is asked whether it has heard of a publication.
const POLL: Duration = Duration::from_millis(50);
/// Nodes have told a registry that has started anew what they hold when it has run for so long.
const GATHERED_AFTER: Duration = Duration::from_secs(10);
/// Requests between which the time is divided, so that a lost answer leaves time to ask again.
pub(super) const REQUESTS: u32 = 4;
/// A module is at most a few hundred kilobytes; what is larger is no package.
const MAX_PACKAGE_BYTES: u64 = 16 << 20;

/// Publishes packages: uploads the modules that are new, and signs the catalogue that results.
///
/// Packages of one namespace become visible together, and callees may be among them. A package
/// that is published already as it is moves nothing. Each namespace is published whole or not at
/// all; an error says which ones were.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  \
    nimblenet publish rms.nnp chain.nnp --registry 127.0.0.1:5683 --key shop.key \\\n      \
    --wait\n\n\
    What it calls of another namespace is at another registry:\n  \
    nimblenet publish chain.nnp --registry 10.0.0.2:5683 --key shop.key \\\n      \
    --also 10.0.0.1:5683")]
pub(crate) struct Args {
    /// Packages, as made by nimblenet pack.
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<PathBuf>,
    /// CoAP address of the registry.
    #[arg(long, value_name = "ADDR")]
    registry: Address,
    /// Key file that signs.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Another registry, which has a namespace of which tasklets are called: they are looked up there, and
    /// nothing is published there; give it once for each.
    #[arg(long, value_name = "ADDR")]
    also: Vec<Address>,
    /// Publish modules as they run. Otherwise they are compressed, where that is shorter, with the
    /// namespace's dictionary; a namespace without one gets one if that pays.
    #[arg(long)]
    plain: bool,
    /// Make the new epoch this one or a later one: the way back if nodes hold epochs that the registry
    /// has lost (`nimblenet history` tells). Every entry is published again.
    #[arg(long, value_name = "EPOCH")]
    epoch_at_least: Option<u32>,
    #[command(flatten)]
    spread: Spread,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Whom a change of a catalogue must have reached before a command ends.
#[derive(clap::Args, Debug)]
pub(super) struct Spread {
    /// Wait until all nodes have heard of it that have told the registry what they hold, or until
    /// the node at this address has; give it once for each such node.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, action = ArgAction::Append)]
    #[arg(default_missing_value = "", value_parser = waited_for)]
    wait: Vec<Waited>,
}

#[derive(Clone, Debug)]
enum Waited {
    /// All nodes that the registry knows.
    All,
    /// The node at this address.
    Node(Address),
}

fn waited_for(text: &str) -> Result<Waited, String> {
    if text.is_empty() {
        return Ok(Waited::All);
    }
    if text.ends_with(".nnp") || text.contains('/') && !text.contains("://") {
        return Err(format!("{text} is no address; write --wait after what it is about"));
    }
    Ok(Waited::Node(text.parse()?))
}

/// Runs the verb.
///
/// # Errors
/// If a file is not what it should be, or the registry refuses.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let key = load_key(&args.key)?;
    let files: Vec<_> = args
        .packages
        .iter()
        .map(|path| read(path))
        .collect::<anyhow::Result<_>>()?;
    let mut packages = Vec::new();
    for (path, bytes) in args.packages.iter().zip(&files) {
        let package = Package::decode(bytes);
        packages.push(package.with_context(|| format!("{} is damaged", path.display()))?);
    }
    let form = if args.plain { Form::Plain } else { Form::Shortest };
    let reports = args.patience.ask(&args.registry, async |wait| {
        let mut others = Vec::new();
        for address in &args.also {
            others.push(wait.connect(address).await?);
        }
        let mut registry = wait.connect_for(&args.registry, REQUESTS).await?;
        if let Some(epoch) = args.epoch_at_least {
            registry.publish_at_least(epoch);
        }
        let published = match registry.publish(&packages, form, &key, &mut others).await {
            Ok(published) => published,
            Err(stopped) => return Ok(told_apart(stopped, &args.registry)),
        };
        let late = spread(wait, &args.spread, (&args.registry, &mut registry), &published).await?;
        Ok((published, late))
    })?;
    let (published, error) = reports;
    report(&published, error, args.json)
}

/// What was published, and why it went no further.
fn told_apart(stopped: Stopped, registry: &Address) -> (Vec<PublishReport>, Option<Coded>) {
    let Stopped {
        namespace,
        published,
        error,
    } = stopped;
    let elsewhere = if let RemoteError::Packages(BadPackages::UnknownImport { callee, .. }) = &error
        && callee.namespace != namespace
    {
        format!(
            "; if another registry has {}, `--also ADDR` names it, so that the callee is looked up there",
            callee.namespace
        )
    } else {
        String::new()
    };
    let sentence = format!("publishing {namespace} at {registry} failed: {error}{elsewhere}");
    let error = Coded::new(error.code().to_owned(), sentence);
    (published, Some(error))
}

/// Loads the key that signs.
///
/// # Errors
/// If there is none.
pub(super) fn load_key(path: &Path) -> anyhow::Result<SigningKey> {
    SigningKey::load(path).with_context(|| {
        let shown = path.display();
        format!("cannot use the key {shown}")
    })
}

/// Waits until the nodes have the epochs that were published. An error says which ones have not.
pub(super) async fn spread(
    wait: Wait,
    spread: &Spread,
    (address, registry): (&Address, &mut Remote),
    published: &[PublishReport],
) -> anyhow::Result<Option<Coded>> {
    for waited in &spread.wait {
        let late = match waited {
            Waited::All => spread_to_all(wait, (address, registry), published).await,
            Waited::Node(node) => spread_to(wait, node, published).await?,
        };
        if late.is_some() {
            return Ok(late);
        }
    }
    Ok(None)
}

/// Waits until all nodes that the registry knows have the epochs.
async fn spread_to_all(
    wait: Wait,
    (address, registry): (&Address, &mut Remote),
    published: &[PublishReport],
) -> Option<Coded> {
    loop {
        let held = match registry.namespaces().await {
            Ok(held) => held,
            Err(error) => return Some(unheard(address, &error)),
        };
        let mut late = published.iter().filter_map(|report| missing(&held, report));
        let missing = late.next();
        if missing.is_none() && (wait.is_over() || has_gathered(registry).await) {
            published.iter().for_each(|report| tell_if_nobody(&held, report));
            return None;
        }
        if let Some(missing) = missing
            && wait.is_over()
        {
            let sentence = format!("the registry has the change, but not all nodes yet: {missing}");
            return Some(Coded::new(NOT_SPREAD, sentence));
        }
        sleep(POLL).await;
    }
}

/// Whether the registry has run for so long that nodes have told it what they hold.
async fn has_gathered(registry: &mut Remote) -> bool {
    let numbers = registry.numbers().await;
    let up = numbers.ok().and_then(|numbers| numbers.get(status::UPTIME_MS).copied());
    up.is_none_or(|up| Duration::from_millis(up) >= GATHERED_AFTER)
}

/// Tells a person that no node was waited for, if the registry knows of none.
fn tell_if_nobody(held: &[NamespaceSummary], report: &PublishReport) {
    let of_namespace = held.iter().filter(|it| it.name == report.namespace);
    if of_namespace.flat_map(|it| it.nodes.iter().flatten()).next().is_none() {
        complain(&format!(
            "the registry knows of no node that takes {}, so none was waited for\n",
            report.namespace
        ));
    }
}

/// The nodes that the registry knows and that do not have what was published, in words.
fn missing(held: &[NamespaceSummary], report: &PublishReport) -> Option<String> {
    let PublishReport { namespace, .. } = report;
    let summary = held.iter().find(|it| it.name == *namespace)?;
    let nodes = summary.nodes.iter().flatten();
    let late = nodes.filter(|(_, epoch)| *epoch < report.epoch);
    let late: Vec<_> = late.map(|(node, epoch)| format!("{node} (epoch {epoch})")).collect();
    let is_one = late.len() == 1;
    (!late.is_empty()).then(|| {
        format!(
            "{namespace} is at epoch {}, which {} {} {} not; a node hears of it from its neighbours",
            report.epoch,
            if is_one { "node" } else { "nodes" },
            late.join(", "),
            if is_one { "has" } else { "have" },
        )
    })
}

/// Waits until the node at `address` has the epochs.
pub(super) async fn spread_to(
    wait: Wait,
    address: &Address,
    published: &[PublishReport],
) -> anyhow::Result<Option<Coded>> {
    let mut node = wait.connect(address).await?;
    loop {
        let held = match node.namespaces().await {
            Ok(held) => held,
            Err(error) => return Ok(Some(unheard(address, &error))),
        };
        let epoch = |name| held.iter().find(|it| it.name == name).map(|it| it.epoch);
        let old = published.iter().find(|report| {
            // A node that is not configured for a namespace never hears of it.
            epoch(report.namespace).is_some_and(|epoch| epoch < report.epoch)
        });
        let Some(PublishReport { namespace, .. }) = old else {
            return Ok(None);
        };
        if wait.is_over() {
            let sentence = format!(
                "the registry has the change, but {address} has epoch {} of {namespace} yet; it \
                 hears of the next one from its neighbours",
                epoch(*namespace).unwrap_or(0)
            );
            return Ok(Some(Coded::new(NOT_SPREAD, sentence)));
        }
        sleep(POLL).await;
    }
}

/// The error that `address` does not say what it holds.
fn unheard(address: &Address, error: &RemoteError) -> Coded {
    let sentence = format!("the registry has the change, but asking {address} failed: {error}");
    Coded::new(error.code().to_owned(), sentence)
}

/// Prints what was published, and fails with the error at which it stopped.
pub(super) fn report(
    published: &[PublishReport],
    error: Option<Coded>,
    json: bool,
) -> anyhow::Result<()> {
    if json {
        let namespaces: Vec<_> = published.iter().map(to_json).collect();
        let mut document = json!({ "namespaces": namespaces });
        if let Some(error) = &error {
            document["error"] = error.to_json();
        }
        output::json(&document)?;
    } else if !published.is_empty() {
        let lines: Vec<_> = published.iter().map(to_text).collect();
        output::text(&lines.join("\n"))?;
    }
    error.map_or(Ok(()), |error| Err(error.told().into()))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let bytes = inlet::read(path, MAX_PACKAGE_BYTES)?;
    if !Package::recognise(&bytes) {
        bail!("{shown} is not a package; make one with nimblenet pack");
    }
    Ok(bytes)
}

fn to_text(report: &PublishReport) -> String {
    let PublishReport {
        namespace, epoch, ..
    } = report;
    if report.entries == 0 {
        return format!("{namespace}: nothing new, still at epoch {epoch}");
    }
    let unchanged = match report.unchanged {
        0 => String::new(),
        count => format!(", {count} unchanged"),
    };
    let claimed = if report.claimed {
        ", namespace claimed"
    } else {
        ""
    };
    format!(
        "{namespace}: epoch {epoch}, {}{unchanged}, {} ({} bytes) and {} bytes of catalogue \
         moved{claimed}",
        counted(report.entries, "entry changed", "entries changed"),
        counted(report.modules, "module", "modules"),
        report.module_bytes,
        report.delta_bytes,
    )
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn to_json(report: &PublishReport) -> Json {
    json!({
        "namespace": report.namespace.as_str(),
        "epoch": report.epoch,
        "entries": report.entries,
        "unchanged": report.unchanged,
        "modules": report.modules,
        "module_bytes": report.module_bytes,
        "delta_bytes": report.delta_bytes,
        "claimed": report.claimed,
    })
}
