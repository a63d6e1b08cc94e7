//! `nimblenet dev`: builds and runs a tasklet at every change of its source.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use nimblenet_node::SigningKey;
use nimblenet_node::remote::{CallOptions, Form};
use nimblenet_pack::values::{self, Item};
use nimblenet_tasklet::Package;
use tokio::runtime;

use super::publish;
use super::run::{self, Around};
use crate::clock;
use crate::failure;
use crate::interrupt::Interrupt;
use crate::local::{self, End, Request, Runner, Tasklets};
use crate::output;
use crate::project::{self, Build, Programs, Project};
use crate::remote::{Address, Patience};
use crate::scratch::Scratch;
use crate::watch::Watch;

/// Builds and runs a tasklet each time that its source is saved.
///
/// SOURCE is a tasklet's folder or a source file; a file without a manifest runs with what can be
/// derived. An error of the compiler or of the run is printed, and dev waits for the next change.
/// Ctrl-C ends it.
///
/// It runs on this machine, with the fuel of the manifest, unless --node names a node: then each
/// version is published at --registry, signed by --key, and called at the node as soon as that
/// has heard of it.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Arguments are values in CBOR diagnostic notation:\n  \
    -7  0xff  1.5  NaN  true  '\"text\"'  \"h'00ff'\"  '[1, 2, 3]'\n  \
    -- -Infinity    (after --, for its minus)\n  \
    @FILE is what a file holds: a list in .csv, one value in .json or .cbor\n\n\
    Examples:\n  \
    nimblenet dev loudness.c '[1, 2, 6]'\n  \
    nimblenet dev loudness '[1, 2, 6]' --once\n  \
    nimblenet dev . --node 127.0.0.1:5684 --registry 127.0.0.1:5683 --key shop.key")]
pub(crate) struct Args {
    /// Folder or source file.
    source: PathBuf,
    /// Arguments, in CBOR diagnostic notation, or @FILE (.csv, .json or .cbor).
    #[arg(value_name = "ARG", allow_negative_numbers = true, value_parser = local::argument)]
    args: Vec<Item>,
    /// Export to call [default: run, else the only function]
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,
    #[command(flatten)]
    around: Around,
    /// Build and run once, and do not watch.
    #[arg(long)]
    once: bool,
    /// CoAP address of a node that runs it.
    #[arg(long, value_name = "ADDR", requires_all = ["registry", "key"],
          conflicts_with_all = ["with", "sensor"])]
    node: Option<Address>,
    /// CoAP address of the registry to publish at, for --node.
    #[arg(long, value_name = "ADDR", requires = "node")]
    registry: Option<Address>,
    /// Key file that signs what is published, for --node.
    #[arg(long, value_name = "FILE", requires = "node")]
    key: Option<PathBuf>,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON, a document for each version.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If there is no such source; with --once, if it cannot be built or run.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folders = folders(&args.source)?;
    let scratch = Arc::new(Scratch::new().context("making a folder for outputs")?);
    if args.once {
        return attempt(args, scratch.path());
    }
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(watch(args, &scratch, &folders));
    // A run that does not end is abandoned.
    runtime.shutdown_background();
    ended
}

/// Builds and runs at every change until it is interrupted.
async fn watch(args: &Args, scratch: &Arc<Scratch>, folders: &[PathBuf]) -> anyhow::Result<()> {
    let mut interrupt = Interrupt::new().context("taking signals over")?;
    let watch = Watch::start(folders, project::is_source)?;
    loop {
        let (args, scratch) = (args.clone(), Arc::clone(scratch));
        let attempt = tokio::task::spawn_blocking(move || {
            let attempted = attempt(&args, scratch.path());
            if let Err(error) = &attempted {
                failure::report(error, args.json);
            }
            attempted.err().filter(failure::is_broken_pipe)
        });
        tokio::select! {
            ended = attempt => if let Some(closed) = ended? {
                return Err(closed);
            },
            () = interrupt.requested() => return Ok(()),
        }
        tokio::select! {
            () = watch.changed() => {}
            () = interrupt.requested() => return Ok(()),
        }
    }
}

/// The folders that may hold sources.
fn folders(source: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let there = source.metadata();
    let there = there.with_context(|| format!("reading {}", source.display()))?;
    let root = match there.is_dir() {
        true => source.to_owned(),
        false => project::root_of(source).unwrap_or_else(|| project::folder_of(source)),
    };
    let inside = project::SOURCE_FOLDERS.map(|name| root.join(name));
    let inside = inside.into_iter().filter(|folder| folder.is_dir());
    Ok(inside.chain([root.clone()]).collect())
}

/// Builds the source in its present state, runs it and prints the results.
fn attempt(args: &Args, scratch: &Path) -> anyhow::Result<()> {
    let begin = clock::now();
    let project = Project::of(&args.source)?;
    let target = match project.owns_folder {
        true => project.target()?,
        false => scratch.to_owned(),
    };
    let build = Build {
        project: &project,
        programs: &Programs::of_environment(),
        target: &target,
        output: None,
        verbose: false,
    };
    let built = build.package()?;
    eprintln!(
        "{}: built in {} ms, module {} B, memory {} B",
        project.name(),
        begin.elapsed().as_millis(),
        built.packed.report.module_bytes,
        built.packed.report.memory_bytes
    );
    match &args.node {
        Some(node) => run_at(args, node, &built.packed.file),
        None => run_here(args, &built.file, project.manifest.fuel),
    }
}

fn run_here(args: &Args, file: &Path, fuel: u64) -> anyhow::Result<()> {
    let tasklets = Tasklets::load(&Request {
        root: file,
        export: args.invoke.as_deref(),
        with: &args.around.with,
        memory_bytes: None,
        frozen: None,
        devices: true,
    })?;
    let values = run::arguments(&args.args, &tasklets)?;
    let mut arena = local::arena(&tasklets);
    let mut runner = Runner::new(&tasklets, &mut arena, args.around.host(&tasklets));
    match runner.run(&values, fuel, None)? {
        End::Done(report) => run::print(&report, 1, &tasklets[0].needs(), args.json),
        End::Frozen { .. } => bail!("it was frozen, although nobody asked for it"),
    }
}

/// Publishes the package and calls it at a node that has heard of it.
fn run_at(args: &Args, node: &Address, package: &[u8]) -> anyhow::Result<()> {
    let registry = args.registry.as_ref().context("--registry is missing")?;
    let path = args.key.as_ref().context("--key is missing")?;
    let key = SigningKey::load(path);
    let key = key.with_context(|| format!("cannot use the key {}", path.display()))?;
    let package = Package::decode(package).context("the package does not read back")?;
    let name = package.name;
    let values = values::encode(&args.args);
    let answer = args.patience.ask(node, async |wait| {
        let mut published = wait.connect_for(registry, publish::REQUESTS).await?;
        let reports = published.publish(&[package], Form::Shortest, &key, &mut []).await;
        let reports = reports
            .map_err(|stopped| stopped.error)
            .with_context(|| format!("publishing at {registry} failed"))?;
        if let Some(late) = publish::spread_to(wait, node, &reports).await? {
            return Err(late.into());
        }
        let mut remote = wait.connect(node).await?;
        let invoke = args.invoke.as_deref();
        let options = CallOptions {
            export: invoke,
            ..CallOptions::default()
        };
        let answer = remote.call(&name, &values, options).await;
        answer.with_context(|| format!("calling {name} at {node} failed"))
    })?;
    let results = values::decode(&answer);
    let results = results.context("the node's answer is not what it should be")?;
    if args.json {
        return output::json(&serde_json::json!({ "results": values::to_json(&results) }));
    }
    let results: Vec<_> = results.iter().map(Item::to_string).collect();
    output::text(&results.join("\n"))
}
