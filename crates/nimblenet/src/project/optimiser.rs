//! The optimiser of modules, for those that are not built from sources.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::Programs;
use super::build::OPTIMISER_FLAGS;
use super::programs::WASM_OPT;
use crate::scratch::Scratch;

/// The program, where it was found.
#[derive(Debug)]
pub(crate) struct Optimiser(PathBuf);

impl Optimiser {
    /// Looks for it.
    ///
    /// # Errors
    /// If it is missing; the error says how to get it.
    pub(crate) fn find(programs: &Programs) -> anyhow::Result<Self> {
        let program = programs.newest(WASM_OPT.name);
        program.map(Self).ok_or_else(|| WASM_OPT.missing())
    }

    /// What it makes of a module.
    ///
    /// # Errors
    /// If it cannot be started, or does not know all that the module has.
    pub(crate) fn shorten(&self, module: &[u8]) -> anyhow::Result<Vec<u8>> {
        let scratch = Scratch::new().context("making a folder for the optimiser")?;
        let [from, to] = ["from.wasm", "to.wasm"].map(|name| scratch.path().join(name));
        fs::write(&from, module).context("writing a module for the optimiser")?;
        let mut command = Command::new(&self.0);
        command.args(OPTIMISER_FLAGS).arg(&from).arg("-o").arg(&to);
        let output = command.stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("starting {}", self.0.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{} does not take the module: {}",
                WASM_OPT.name,
                said.trim()
            );
        }
        fs::read(&to).context("reading what the optimiser has written")
    }
}
