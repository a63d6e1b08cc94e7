//! The emulator's source with this project's mends, and the boards that run on it.
//!
//! The runner depends on a crate that needs a small patch. The source is copied out of cargo's
//! cache, patched, and put where the runner's manifest expects it; nobody keeps a fork.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{firmware, host, uf2, workspace};

/// What the patch is for.
const CRATE: &str = "rp2040-emu";
const VERSION: &str = "0.1.5";
/// Beside the patched source: the patch that made it.
const APPLIED: &str = "applied.patch";

/// The runner's project.
pub(crate) fn project() -> PathBuf {
    workspace::root().join("firmware/runner")
}

/// Checks the runner and tests it, with the image of each board.
pub(crate) fn test() -> Result<()> {
    let [images, others] = firmware::build()?;
    uf2::convert(&images, &["pico-uart"])?;
    let nimblenet = binary()?;
    prepare()?;
    workspace::run(cargo("clippy")?.args(["--all-targets", "--", "-Dwarnings"]))?;
    let mut tests = cargo("test")?;
    tests
        .arg("--no-fail-fast")
        .env("NIMBLENET", nimblenet)
        .env("PICO_UART", images.join("pico-uart"))
        .env("PICO_UART_UF2", uf2::file(&images, "pico-uart"))
        .env("PICO_UART_SINGLE", images.join("pico-uart-single"))
        .env("MPS2_AN385", others.join("mps2-an385"));
    let totals = host::counted(&mut tests)?;
    eprintln!("{totals}");
    Ok(())
}

/// Builds the program that people run, and returns where it is.
fn binary() -> Result<PathBuf> {
    workspace::run(workspace::cargo().args(["build", "--package", "nimblenet"]))?;
    Ok(workspace::target_directory()?.join("debug/nimblenet"))
}

/// Builds the runner and prints where it is.
pub(crate) fn build() -> Result<()> {
    prepare()?;
    workspace::run(cargo("build")?.arg("--release"))?;
    println!("{}", target()?.join("release/runner").display());
    Ok(())
}

fn target() -> Result<PathBuf> {
    Ok(workspace::target_directory()?.join("runner"))
}

fn cargo(subcommand: &str) -> Result<Command> {
    let mut command = workspace::cargo();
    command
        .current_dir(project())
        .arg(subcommand)
        .env("CARGO_TARGET_DIR", target()?);
    Ok(command)
}

/// Puts the patched source in its place, unless it is there.
pub(crate) fn prepare() -> Result<()> {
    let patch = project().join("rp2040-emu.patch");
    let wanted = fs::read(&patch).with_context(|| format!("cannot read {}", patch.display()))?;
    let place = project().join("emulator");
    if fs::read(place.join(APPLIED)).is_ok_and(|applied| applied == wanted) {
        return Ok(());
    }
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot clear {}", place.display()))?;
    }
    copy(&source()?, &place)?;
    let mut command = Command::new("patch");
    command
        .args(["--strip=1", "--silent", "--input"])
        .arg(&patch)
        .current_dir(&place);
    workspace::run(&mut command)?;
    // Last, so that a copy that was interrupted is made again.
    fs::write(place.join(APPLIED), wanted).context("cannot mark the source as patched")
}

/// The unpatched source in cargo's cache, fetched if need be.
fn source() -> Result<PathBuf> {
    let project = workspace::target_directory()?.join("emulator-source");
    fs::create_dir_all(project.join("src")).context("cannot make a project to fetch with")?;
    let manifest = format!(
        "[package]\nname = \"source\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{CRATE} = \"={VERSION}\"\n\n[workspace]\n"
    );
    fs::write(project.join("Cargo.toml"), manifest).context("cannot write a manifest")?;
    fs::write(project.join("src/lib.rs"), "").context("cannot write an empty library")?;
    let mut command = workspace::cargo();
    command
        .current_dir(&project)
        .args(["metadata", "--format-version=1"]);
    let metadata: serde_json::Value = serde_json::from_str(&workspace::output(&mut command)?)
        .context("cargo metadata did not print JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("no packages in the metadata")?;
    let package = packages.iter().find(|package| package["name"] == CRATE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let folder = manifest.and_then(|path| Path::new(path).parent());
    folder
        .map(PathBuf::from)
        .with_context(|| format!("cargo did not fetch {CRATE}"))
}

/// Copies what a patch and a build need of a crate.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else if name != ".cargo-ok" && name != "Cargo.lock" {
            let text =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            // Written anew: the cache's files may be read-only, and a patch must not be refused.
            fs::write(to.join(name), text)
                .with_context(|| format!("cannot fill {}", to.display()))?;
        }
    }
    if !to.exists() {
        bail!("nothing was copied from {}", from.display());
    }
    Ok(())
}
