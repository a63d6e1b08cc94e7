//! `nimblenet inline`: a chain and its sub-tasklets as one module.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nimblenet_pack::{Inlined, inline_shortened};
use nimblenet_tasklet::TaskletName;
use serde_json::json;

use crate::local::With;
use crate::local::file::{self, Content};
use crate::output;
use crate::project::{Optimiser, Programs};

/// Makes one module of a chain and the tasklets that it calls.
///
/// Imports become calls within the module, memories are laid behind one another, and lists are
/// copied from one to the other as a node does it. Each call finds its tasklet as it is at the
/// start. Results, calls to the outside and traps are those of the chain; a node has to get, load and
/// keep only one module.
///
/// If wasm-opt is there, it makes the module shorter; what belongs to one tasklet only and is called at
/// one place needs no function of its own any longer.
///
/// Native tasklets and those that no --with is given for stay calls. What a node fails because it
/// cannot carry a value (a list that is longer than the area for it) traps in the module.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  \
    nimblenet inline crest.nnp --with std/rms=rms.nnp --with std/peak=peak.nnp \\\n      \
        --name std/crest-alone -o alone.nnp\n  \
    nimblenet run alone.nnp '[0.5, -1.5, 1]'")]
pub(crate) struct Args {
    /// Package of the chain.
    #[arg(value_name = "CHAIN")]
    chain: PathBuf,
    /// Package of a tasklet that it calls, directly or not; give it once for each.
    #[arg(long, value_name = "NS/NAME=FILE")]
    with: Vec<With>,
    /// Full name of the tasklet that comes out [default: that of the chain]
    #[arg(long, value_name = "NS/NAME")]
    name: Option<TaskletName>,
    /// Package file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print what was derived as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If a file is no package, or the tasklets cannot be one module.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let chain = package(&args.chain)?;
    let files = args.with.iter().map(|with| package(&with.file));
    let files = files.collect::<anyhow::Result<Vec<_>>>()?;
    let names = args.with.iter().map(|with| with.name);
    let with: Vec<_> = names.zip(files.iter().map(Vec::as_slice)).collect();
    let mut note = None;
    let inlined = inline_shortened(&chain, &with, args.name, &mut |module| {
        let found = Optimiser::find(&Programs::of_environment());
        let short = found.and_then(|optimiser| optimiser.shorten(module));
        short.map_err(|error| note = Some(error.to_string())).ok()
    });
    let mut inlined = inlined.with_context(|| format!("inlining {}", args.chain.display()))?;
    inlined.packed.report.notes.extend(note);
    file::write_package(&args.output, &inlined.packed)?;
    if args.json {
        let mut report = serde_json::to_value(&inlined.packed.report)?;
        report["parts"] = json!(inlined.parts);
        return output::json(&report);
    }
    output::text(&format!("{}{}", inlined.packed.report, parts(&inlined)))
}

/// The bytes of a package file.
fn package(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.extension().is_some_and(|it| it == "csv") {
        bail!(
            "{} has answers of a native tasklet; a native tasklet stays a call, so leave it out",
            path.display()
        );
    }
    match file::read(path)? {
        Content::Package(bytes) => Ok(bytes),
        Content::Module(_) => bail!(
            "{} is a module without a package, which does not say what its values are; pack it \
             first: nimblenet pack {} --name NAMESPACE/NAME -o FILE.nnp",
            path.display(),
            path.display()
        ),
    }
}

/// What the module is made of, a line each.
fn parts(inlined: &Inlined) -> String {
    let lines = inlined.parts.iter().map(|part| {
        format!(
            "  part    {}: {} B, memory {} B at {}\n",
            part.name, part.module_bytes, part.region_bytes, part.region_offset
        )
    });
    lines.collect()
}
