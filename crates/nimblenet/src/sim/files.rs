//! The files that an experiment writes. They are tried before it runs, so that nobody waits for an
//! outcome that has nowhere to go.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf, absolute};

use anyhow::Context as _;

use crate::failure::misuse;

/// Where outcomes go, as far as that is asked for.
#[derive(Clone, Default, Debug)]
pub(crate) struct Files {
    /// A row for each run.
    pub(crate) csv: Option<PathBuf>,
    /// The page.
    pub(crate) html: Option<PathBuf>,
    /// The trace.
    pub(crate) record: Option<PathBuf>,
    /// The folder of the figures.
    pub(crate) plots: Option<PathBuf>,
}

impl Files {
    /// The flags that name a file, with the file.
    fn named(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("--csv", &self.csv),
            ("--html", &self.html),
            ("--record", &self.record),
        ];
        files
            .into_iter()
            .filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
    }

    /// Checks that no two flags name the same file; `read` are those that are read.
    ///
    /// # Errors
    /// A misuse, if two do.
    pub(crate) fn differ(&self, read: &[(&'static str, &Path)]) -> anyhow::Result<()> {
        let mut known = read.to_vec();
        for (flag, path) in self.named() {
            let same = |other: &Path| absolute(path).ok() == absolute(other).ok();
            if let Some((other, _)) = known.iter().find(|(_, other)| same(other)) {
                let place = path.display();
                let message =
                    format!("{other} and {flag} both name {place}: give each its own file");
                return Err(misuse(message).into());
            }
            known.push((flag, path));
        }
        Ok(())
    }

    /// Makes the folders, and sees that each file can be written. What is there stays as it is.
    ///
    /// # Errors
    /// If one cannot.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        for (_, path) in self.named() {
            prepare_file(path)?;
        }
        if let Some(folder) = &self.plots {
            make(folder)?;
            try_to_write(&folder.join(".nimblenet"))?;
        }
        Ok(())
    }
}

/// Makes the folder of a file, and sees that the file can be written. What is there stays as it is.
///
/// # Errors
/// If it cannot.
pub(crate) fn prepare_file(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        make(folder)?;
    }
    try_to_write(path)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    let place = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("making the folder {place}"))
}

/// Opens a file for writing; one that was not there is not there afterwards.
fn try_to_write(path: &Path) -> anyhow::Result<()> {
    let context = || format!("writing {}", path.display());
    let is_new = !path.exists();
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .open(path)
        .with_context(context)?;
    if is_new {
        fs::remove_file(path).with_context(context)?;
    }
    Ok(())
}
