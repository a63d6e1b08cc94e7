//! The files that an experiment writes. They are tried before it runs, so that nobody waits for an
//! outcome that has nowhere to go.

use std::path::{Path, PathBuf, absolute};

use crate::failure::misuse;
use crate::outlet;

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
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &Path)> {
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
            outlet::prepare(path)?;
        }
        if let Some(folder) = &self.plots {
            outlet::prepare_folder(folder)?;
        }
        Ok(())
    }
}
