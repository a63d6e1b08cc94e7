//! A real mesh on this machine, with robots that use it: all messages go through sockets.

mod crew;
mod errand;
mod mesh;
mod progress;
mod report;
mod shelf;
mod tally;

pub(crate) use report::Report;

use core::time::Duration;

use anyhow::{Context, bail, ensure};
use nimblenet_node::SigningKey;
use nimblenet_node::remote::{Form, Remote};
use nimblenet_sim::floor::{CONTACT_RADIUS_M, Floor, SPACING_M};
use nimblenet_tasklet::{Name, Package, TaskletName};
use tokio::time;

use crate::interrupt::Interrupt;
use crate::scratch::Scratch;
use crew::{Crew, Shift};
use mesh::{Mesh, Plan};
use progress::Progress;
use tally::Tally;

/// The time within which a registry must store a publication.
const PUBLISH_MAX: Duration = Duration::from_secs(30);
/// The time within which nodes must hear of the publications.
const CATALOGUES_MAX: Duration = Duration::from_secs(30);
/// The pause between two checks of that.
const CATALOGUES_POLL: Duration = Duration::from_millis(20);

/// The built-in package of a tasklet that is for everyone.
///
/// # Errors
/// If there is none, or it cannot be read.
pub(crate) fn built_in(name: &TaskletName) -> anyhow::Result<Package<'static>> {
    let mut packages = shelf::global()?.into_iter();
    let package = packages.find(|package| package.name == *name);
    package.with_context(|| format!("{name} is no built-in tasklet"))
}

/// The options of a demonstration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Nodes on the floor.
    pub(crate) nodes: u16,
    /// Robots on the floor.
    pub(crate) robots: u64,
    /// How long robots move, in real time.
    pub(crate) length: Duration,
    /// Seconds on the floor for each real one.
    pub(crate) speedup: u32,
    /// The seed of everything that robots do.
    pub(crate) seed: u64,
    /// Bytes of cached modules at each node.
    pub(crate) cache_bytes: usize,
    /// Whether a line on standard error reports every call.
    pub(crate) verbose: bool,
}

/// Starts a mesh, publishes, lets robots move, stops everything and reports.
///
/// # Errors
/// If the mesh cannot be started, or a request to end comes before robots have begun.
pub(crate) fn run(options: Options) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build();
    runtime
        .context("starting the clients")?
        .block_on(show(options))
}

async fn show(options: Options) -> anyhow::Result<Report> {
    let mut interrupt = Interrupt::new().context("taking signals over")?;
    let scratch = Scratch::new().context("making a directory for the registries")?;
    let progress = Progress::new(options.verbose);
    let floor = Floor::grid(options.nodes, SPACING_M, CONTACT_RADIUS_M);
    let mesh = tokio::select! {
        mesh = prepare(options, &floor, &scratch, &progress) => mesh?,
        () = interrupt.requested() => bail!("interrupted before any robot moved"),
    };

    let nodes = mesh.doors()?;
    let mut tally = Tally::default();
    let mut crew = Crew::new(floor, nodes, options.robots, options.seed)?;
    let shift = Shift {
        length: options.length,
        speedup: options.speedup,
    };
    progress.step("robots move");
    let watch = |call: &crew::Call| progress.call(call);
    let interrupted = crew.work(shift, &mut tally, &mut interrupt, watch).await;
    progress.step("stopping");
    let (nodes, registries) = mesh.stop();
    Ok(Report {
        tally,
        nodes,
        registries,
        interrupted,
    })
}

/// A mesh in which everything is published and every node has heard of it.
async fn prepare(
    options: Options,
    floor: &Floor,
    scratch: &Scratch,
    progress: &Progress,
) -> anyhow::Result<Mesh> {
    let namespace = |name| Name::new(name).context("a built-in name");
    let (std, shop) = (namespace("std")?, namespace("shop")?);
    let key = || SigningKey::generate().context("making a key");
    let (std_key, shop_key) = (key()?, key()?);
    let (global, private) = (shelf::global()?, shelf::private()?);
    let plan = Plan {
        floor: floor.clone(),
        speedup: options.speedup,
        cache_bytes: options.cache_bytes,
        natives: shelf::natives(&private),
        global: (std, std_key.public()),
        private: (shop, shop_key.public()),
    };
    let least = shelf::deepest_bytes(&[&global[..], &private[..]].concat());
    ensure!(
        options.cache_bytes >= least,
        "--cache-bytes {} holds no chain with all that it calls; at least {least} are needed",
        options.cache_bytes
    );
    progress.step("starting registries and nodes");
    let mesh = Mesh::start(&plan, scratch.path())?;
    progress.step("publishing");
    let [at_global, at_private] = mesh.registries()?;
    let mut at_global = Remote::connect(at_global, PUBLISH_MAX).await?;
    let mut at_private = Remote::connect(at_private, PUBLISH_MAX).await?;
    let published = at_global
        .publish(&global, Form::Plain, &std_key, &mut [])
        .await;
    published
        .map_err(|stopped| stopped.error)
        .context("publishing at the global registry")?;
    let others = &mut [at_global];
    let published = at_private
        .publish(&private, Form::Plain, &shop_key, others)
        .await;
    published
        .map_err(|stopped| stopped.error)
        .context("publishing at the private registry")?;
    progress.step("waiting for catalogues");
    let informed = async {
        while mesh.informed() < usize::from(floor.nodes()) {
            time::sleep(CATALOGUES_POLL).await;
        }
    };
    let waited = time::timeout(CATALOGUES_MAX, informed).await;
    if waited.is_err() {
        let (informed, all) = (mesh.informed(), floor.nodes());
        bail!("only {informed} of {all} nodes have heard of the catalogues; is the machine busy?");
    }
    Ok(mesh)
}
