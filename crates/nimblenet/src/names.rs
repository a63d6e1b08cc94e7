//! Names of functions, from the files that `pack` writes.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nimblenet_pack::Names;
use nimblenet_tasklet::TaskletName;

use crate::inlet;

/// The names of functions of several tasklets.
pub(crate) struct FunctionNames(Vec<Names>);

impl FunctionNames {
    /// Reads files of names.
    ///
    /// # Errors
    /// If a file cannot be read, or is another one.
    pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let names = files.iter().map(|path| read(path));
        Ok(Self(names.collect::<anyhow::Result<_>>()?))
    }

    /// The name of a function, if it is known.
    pub(crate) fn of(&self, tasklet: &TaskletName, function: u32) -> Option<&str> {
        let known = self.0.iter().find(|names| names.tasklet == *tasklet);
        known.and_then(|names| names.function(function))
    }
}

fn read(path: &Path) -> anyhow::Result<Names> {
    let context = || format!("reading {}", path.display());
    let text = inlet::text(path, inlet::FILE_BYTES)?;
    let names = Names::parse(&text).context("it is no file of names that `pack` has written");
    names.with_context(context)
}
