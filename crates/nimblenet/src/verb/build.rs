//! `nimblenet build`: makes a tasklet's folder into its package.

use std::path::PathBuf;

use crate::output;
use crate::project::{Build, Built, Programs, Project};

/// Compiles, links, optimises and packs the tasklet of a folder.
///
/// The language is that of the files: Cargo.toml for Rust, else .cpp, .c, .zig, .ts or .wat in the
/// folder, in src or in assembly. The package is target/NAMESPACE-NAME.nnp. If a compiler is
/// missing, the error names it and says how to get it; without wasm-opt the module is larger.
///
/// The manifest, tasklet.toml, may have a table `build`: `libc = true` links C and C++ with a C
/// library, and `flags = ["..."]` are more arguments for the compiler.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  nimblenet build\n  nimblenet build loudness --verbose")]
pub(crate) struct Args {
    /// Folder of the tasklet.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Package file to write, instead of the one in the folder `target`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show each command on standard error.
    #[arg(short, long)]
    verbose: bool,
    /// Print what was derived as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If a program is missing or fails, or the module cannot be packed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let project = Project::of(&args.folder)?;
    let build = Build {
        project: &project,
        programs: &Programs::of_environment(),
        target: &project.target()?,
        output: args.output.as_deref(),
        verbose: args.verbose,
    };
    let Built { packed, file } = build.package()?;
    if args.json {
        return output::json(&serde_json::to_value(&packed.report)?);
    }
    output::text(&format!("{}  file    {}", packed.report, file.display()))
}
