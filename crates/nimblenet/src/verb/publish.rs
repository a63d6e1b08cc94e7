//! `nimblenet publish`: packages into a registry.

use core::time::Duration;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nimblenet_node::SigningKey;
use nimblenet_node::remote::{PublishReport, Stopped};
use nimblenet_tasklet::Package;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::failure::{Coded, NOT_SPREAD};
use crate::output;
use crate::remote::{Address, Patience, Wait};

/// How often a node is asked whether it has heard of a publication.
const POLL: Duration = Duration::from_millis(50);
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
    --wait 127.0.0.1:5684")]
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
    /// Another registry at which called tasklets are looked up; give it once for each.
    #[arg(long, value_name = "ADDR")]
    also: Vec<Address>,
    /// A node that must have heard of it before the command ends; give it once for each.
    #[arg(long, value_name = "ADDR")]
    wait: Vec<Address>,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If a file is not what it should be, or the registry refuses.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let key = SigningKey::load(&args.key);
    let key = key.with_context(|| format!("cannot use the key {}", args.key.display()))?;
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
    let reports = args.patience.ask(&args.registry, async |wait| {
        let mut others = Vec::new();
        for address in &args.also {
            others.push(wait.connect(address).await?);
        }
        let mut registry = wait.connect_for(&args.registry, REQUESTS).await?;
        let published = match registry.publish(&packages, &key, &mut others).await {
            Ok(published) => published,
            Err(stopped) => return Ok(told_apart(stopped, &args.registry)),
        };
        let late = spread(wait, &args.wait, &published).await?;
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
    let sentence = format!("publishing {namespace} at {registry} failed: {error}");
    let error = Coded::new(error.code().to_owned(), sentence);
    (published, Some(error))
}

/// Waits until each of the nodes has the epochs that were published. An error says which one has
/// not.
pub(super) async fn spread(
    wait: Wait,
    nodes: &[Address],
    published: &[PublishReport],
) -> anyhow::Result<Option<Coded>> {
    for address in nodes {
        let mut node = wait.connect(address).await?;
        loop {
            let held = match node.namespaces().await {
                Ok(held) => held,
                Err(error) => {
                    let sentence = format!("published, but asking {address} failed: {error}");
                    return Ok(Some(Coded::new(error.code().to_owned(), sentence)));
                }
            };
            let epoch = |name| held.iter().find(|it| it.name == name).map(|it| it.epoch);
            let old = published.iter().find(|report| {
                // A node that is not configured for a namespace never hears of it.
                epoch(report.namespace).is_some_and(|epoch| epoch < report.epoch)
            });
            let Some(old) = old else {
                break;
            };
            if wait.is_over() {
                let PublishReport { namespace, .. } = old;
                let sentence = format!(
                    "published, but {address} has epoch {} of {namespace} yet; it hears of the \
                     next one from its neighbours",
                    epoch(*namespace).unwrap_or(0)
                );
                return Ok(Some(Coded::new(NOT_SPREAD, sentence)));
            }
            sleep(POLL).await;
        }
    }
    Ok(None)
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
    let reading = || format!("cannot read {shown}");
    if std::fs::metadata(path).with_context(reading)?.len() > MAX_PACKAGE_BYTES {
        bail!("{shown} is too large for a package");
    }
    let bytes = std::fs::read(path).with_context(reading)?;
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
