//! `nimblenet thaw`: continues a job that `nimblenet run` has saved.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::run::{Around, print};
use crate::local::{self, End, JobImage, Request, Runner, Tasklets, file};

/// Goes on with a saved job, from the sub-tasklet call it was saved at.
///
/// Nothing that ran before is run again, and the arguments of then are not needed. The files must
/// hold the very modules that were frozen; tasklets that are called later are resolved like those
/// of `run`. Values that tasklets kept on the device (nimblenet:kv) are not part of the job. The
/// output is that of `run`, with fuel and calls counted from the job's start.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  \
    nimblenet thaw job.img --module chain.nnp --with global/add=add.wasm --json")]
pub(crate) struct Args {
    /// Job image, as written by `nimblenet run --freeze-at-call`.
    image: PathBuf,
    /// Package or module of the outermost tasklet.
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    #[command(flatten)]
    around: Around,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the image is damaged or belongs to other modules, or the job fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let context = || format!("reading {}", args.image.display());
    let image = JobImage::decode(&file::read_bytes(&args.image)?).with_context(context)?;
    let outermost = image
        .activations
        .first()
        .context("the job image is empty")?;
    let tasklets = Tasklets::load(&Request {
        root: &args.module,
        export: Some(&outermost.export),
        with: &args.around.with,
        memory_bytes: None,
        frozen: Some(&image),
        devices: true,
    })?;
    let mut arena = local::arena(&tasklets);
    let mut runner = Runner::new(&tasklets, &mut arena, args.around.host(&tasklets));
    match runner.thaw(&image)? {
        End::Done(report) => print(&report, 1, &tasklets[0].needs(), args.json),
        End::Frozen { .. } => bail!("a thawed job was frozen again"),
    }
}
