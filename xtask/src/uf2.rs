//! Images as files that a board takes when it is plugged in as a drive.
//!
//! The tool that makes them is installed into the target directory the first time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace;

const TOOL: &str = "elf2uf2-rs";
const VERSION: &str = "2.2.0";

/// Writes `IMAGE.uf2` beside each of the images in `folder`.
pub(crate) fn convert(folder: &Path, images: &[&str]) -> Result<()> {
    let tool = tool()?;
    for image in images {
        let from = folder.join(image);
        let to = file(folder, image);
        workspace::run(Command::new(&tool).arg(&from).arg(&to))?;
        eprintln!("{}", to.display());
    }
    Ok(())
}

/// The file that an image becomes.
pub(crate) fn file(folder: &Path, image: &str) -> PathBuf {
    folder.join(image).with_extension("uf2")
}

fn tool() -> Result<PathBuf> {
    let target = workspace::target_directory()?;
    let (root, build) = (target.join("tools"), target.join("tools/build"));
    let tool = root.join("bin").join(TOOL);
    if tool.exists() {
        return Ok(tool);
    }
    let mut command = workspace::cargo();
    command
        .args(["install", TOOL, "--version", VERSION, "--locked", "--root"])
        .arg(&root)
        .env("CARGO_TARGET_DIR", build);
    workspace::run(&mut command)
        .with_context(|| format!("cannot install {TOOL}; on Debian it needs libudev-dev"))?;
    Ok(tool)
}
