//! `nimblenet pack`: from a module and a manifest to a package file.

use std::path::PathBuf;

use anyhow::Context;
use nimblenet_tasklet::TaskletName;

use nimblenet_pack::{Manifest, pack};

use crate::inlet;
use crate::local::file;
use crate::output;

/// Shrinks a module's memory, derives its catalogue entry and writes a package file.
///
/// If the module names its functions, the names go to a file beside the package that ends in
/// .names: `run` and `call --names` use it to say where a tasklet failed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  \
    nimblenet pack rms.wasm --name floor/rms --manifest rms.toml -o rms.nnp\n  \
    nimblenet pack --manifest lamp.toml -o lamp.nnp   # native, without a module")]
pub(crate) struct Args {
    /// WebAssembly module, binary or text; none for a native tasklet.
    module: Option<PathBuf>,
    /// Full name of the tasklet, NAMESPACE/NAME; not needed if the manifest has it.
    #[arg(long, value_name = "NS/NAME", required_unless_present = "manifest")]
    name: Option<TaskletName>,
    /// Manifest file (TOML).
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
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
/// If a file cannot be read or written, or the module and its manifest cannot be packed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let manifest = manifest(args)?;
    let module = match &args.module {
        Some(path) => file::read_bytes(path)?,
        None => Vec::new(),
    };
    let packed =
        pack(&module, &manifest).with_context(|| match (&args.module, &args.manifest) {
            (Some(path), _) | (None, Some(path)) => format!("packing {}", path.display()),
            (None, None) => "packing".to_owned(),
        })?;
    file::write_package(&args.output, &packed)?;
    if args.json {
        return output::json(&serde_json::to_value(&packed.report)?);
    }
    output::text(&packed.report.to_string())
}

fn manifest(args: &Args) -> anyhow::Result<Manifest> {
    let Some(path) = &args.manifest else {
        return Ok(Manifest::named(args.name.context("--name is missing")?));
    };
    let context = || format!("reading {}", path.display());
    let text = inlet::text(path, inlet::TEXT_BYTES)?;
    let manifest = Manifest::parse(&text).with_context(context)?;
    Ok(match args.name {
        Some(name) => manifest.with_name(name).with_context(context)?,
        None => manifest,
    })
}
