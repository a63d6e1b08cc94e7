//! Breaks core on purpose, and shows that the swarm finds it.
//!
//! Each checker of `nimblenet-sim` has a patch in `crates/nimblenet-sim/tests/breaks` with its name. A
//! copy of the workspace is patched and tested: within 1,000 runs, that checker must find something that
//! is not known. The copy has a folder of builds of its own: cargo takes a crate of the copy for that of
//! the workspace, and one would be taken for the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::workspace;

/// Where the patches are.
const PATCHES: &str = "crates/nimblenet-sim/tests/breaks";
/// The checker that is the nodes' own assertions; the others have to do without them.
const ASSERTIONS: &str = "invariants";
/// Keeps the nodes' assertions out of a build.
const WITHOUT_ASSERTIONS: &str = "profile.dev.package.nimblenet-core.debug-assertions=false";

/// Breaks core with each patch, or those of these checkers, and runs the swarm.
///
/// # Errors
/// If a patch does not fit, or its break is not found.
pub(crate) fn run(only: &[String]) -> Result<()> {
    let folder = workspace::root().join(PATCHES);
    let mut names: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_suffix(".patch")?.to_owned())
        })
        .collect();
    names.sort();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        bail!("{PATCHES} has no {unknown}.patch");
    }
    names.retain(|name| only.is_empty() || only.contains(name));
    let copy = copy()?;
    let mut missed = Vec::new();
    for name in &names {
        let patch = folder.join(format!("{name}.patch"));
        apply(&copy, &patch, &[])?;
        let found = is_found(&copy, name);
        apply(&copy, &patch, &["-R"])?;
        if found? {
            println!("{name:<20} found");
        } else {
            println!("{name:<20} NOT FOUND");
            missed.push(name.as_str());
        }
    }
    ensure!(
        missed.is_empty(),
        "the swarm does not find {}",
        missed.join(", ")
    );
    Ok(())
}

/// Copies the files of the workspace.
fn copy() -> Result<PathBuf> {
    let copy = workspace::target_directory()?.join("breaks");
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("removing {}", copy.display()))?;
    }
    for file in workspace::files()? {
        let (from, to) = (workspace::root().join(&file), copy.join(&file));
        if from.is_file() {
            let parent = to.parent().context("a file is in a folder")?;
            fs::create_dir_all(parent)?;
            fs::copy(&from, &to).with_context(|| format!("copying {file}"))?;
        }
    }
    Ok(copy)
}

fn apply(copy: &Path, patch: &Path, how: &[&str]) -> Result<()> {
    let mut patching = Command::new("patch");
    patching
        .current_dir(copy)
        .args(["-p1", "--silent", "--no-backup-if-mismatch"]);
    let status = patching.args(how).arg("-i").arg(patch).status();
    let status = status.context("running patch")?;
    ensure!(
        status.success(),
        "{} does not fit core any more",
        patch.display()
    );
    Ok(())
}

fn is_found(copy: &Path, checker: &str) -> Result<bool> {
    let mut test = workspace::cargo();
    test.current_dir(copy)
        .env(
            "CARGO_TARGET_DIR",
            workspace::target_directory()?.join("breaks-build"),
        )
        .env("NIMBLENET_BREAK", checker)
        .args(["test", "--package=nimblenet-sim", "--test=breaks"]);
    if checker != ASSERTIONS {
        test.args(["--config", WITHOUT_ASSERTIONS]);
    }
    let status = test.args(["--", "--ignored", "--nocapture"]).status();
    Ok(status.context("running the swarm")?.success())
}
