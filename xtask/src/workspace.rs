//! Where things are: the root of the repository, its files, its packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask/ has a parent")
}

/// The pinned stable cargo, in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// What `cargo metadata` says of the workspace, without packages of registries.
pub(crate) fn metadata() -> Result<Value> {
    metadata_of("", false)
}

/// What `cargo metadata` says of a project; with `dependencies`, of all packages that it needs.
pub(crate) fn metadata_of(project: &str, dependencies: bool) -> Result<Value> {
    let mut command = cargo();
    command
        .current_dir(root().join(project))
        .args(["metadata", "--format-version=1"]);
    if !dependencies {
        command.arg("--no-deps");
    }
    let text = output(&mut command)?;
    serde_json::from_str(&text).context("cargo metadata did not print JSON")
}

/// The directory that builds go to.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    let directory = metadata["target_directory"].as_str();
    directory
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}

/// Removes folders of builds, as far as they are there.
pub(crate) fn remove_builds(folders: &[&str]) {
    let Ok(target) = target_directory() else {
        return;
    };
    for folder in folders {
        // It may not have been made; and what is left over only takes room.
        let _ = std::fs::remove_dir_all(target.join(folder));
    }
}

/// Bytes of the disk that everything built so far takes.
pub(crate) fn built_bytes() -> Result<u64> {
    let mut du = Command::new("du");
    let sum = output(du.args(["-sk"]).arg(target_directory()?))?;
    let kilobytes = sum
        .split_whitespace()
        .next()
        .context("du printed nothing")?;
    Ok(kilobytes.parse::<u64>().context("du printed no number")? * 1024)
}

/// Paths of all files that are or would be part of a commit, relative to the root.
pub(crate) fn files() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listing = output(&mut git)?;
    let mut files: Vec<String> = listing.split_terminator('\0').map(String::from).collect();
    files.retain(|path| root().join(path).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

/// Runs a command that inherits the terminal; fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a command and returns what it wrote to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed ({})", shown(command), output.status);
    }
    String::from_utf8(output.stdout).context("output is not UTF-8")
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut text = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
