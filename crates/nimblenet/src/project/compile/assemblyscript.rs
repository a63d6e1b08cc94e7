//! AssemblyScript, by asc.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::super::programs::{ASC, NODE};
use super::Build;

/// No garbage collector, no messages of assertions, and data from the first address on, which
/// stays free for the null pointer.
const FLAGS: [&str; 8] = [
    "-Oz",
    "--debug",
    "--noAssert",
    "--runtime",
    "stub",
    "--use",
    "abort=",
    "--memoryBase=16",
];

pub(super) fn module(build: &Build<'_>, source: &Path) -> anyhow::Result<PathBuf> {
    let compiler = installed(&build.project.root).or_else(|| build.programs.find(ASC.name));
    let compiler = compiler.ok_or_else(|| ASC.missing())?;
    // What npm installs is a script.
    build
        .programs
        .find(NODE.name)
        .ok_or_else(|| NODE.missing())?;
    let root = &build.project.root;
    let module = build.place("wasm");
    let absolute = std::path::absolute(&module);
    let absolute = absolute.with_context(|| format!("finding {}", module.display()))?;
    let mut command = Command::new(compiler);
    // It looks for packages of npm from the folder where it is started.
    command.current_dir(root);
    command
        .arg(source.strip_prefix(root).unwrap_or(source))
        .args(FLAGS);
    command.args(&build.project.settings.flags);
    build.run(command.arg("-o").arg(absolute))?;
    Ok(module)
}

/// The compiler that npm has put into the project's folder or one above.
fn installed(root: &Path) -> Option<PathBuf> {
    let root = root.canonicalize().ok()?;
    let place = |folder: &Path| folder.join("node_modules/.bin").join(ASC.name);
    root.ancestors().map(place).find(|place| place.exists())
}
