//! The files that an experiment writes. They are tried before it runs, so that nobody waits for an
//! outcome that has nowhere to go.

use std::path::{Component, Path, PathBuf, absolute};

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
            let same = |other: &Path| place(path) == place(other);
            if let Some((other, _)) = known.iter().find(|(_, other)| same(other)) {
                let place = path.display();
                let message =
                    format!("{other} and {flag} both name {place}: give each its own file");
                return Err(misuse(message).into());
            }
            let drawn = self
                .plots
                .as_deref()
                .filter(|folder| is_drawn(folder, path));
            if let Some(folder) = drawn {
                let (place, folder) = (path.display(), folder.display());
                let message = format!(
                    "{flag} {place}: --plots {folder} writes a figure's file there: give {flag} another name"
                );
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

/// Where a path leads, links and `..` resolved as far as there is something; two paths to one file are the
/// same then, also if it is not there yet.
fn place(path: &Path) -> PathBuf {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut place = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                place.pop();
            }
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::Normal(_) => place.push(part),
        }
        place = place.canonicalize().unwrap_or(place);
    }
    place
}

/// Whether a file has the place of one that belongs to a figure in this folder.
fn is_drawn(folder: &Path, file: &Path) -> bool {
    let file = place(file);
    let name = file.file_name().map(|name| name.to_string_lossy());
    let drawn = name.is_some_and(|name| name.starts_with("figure-") || name.starts_with("sweep-"));
    drawn && file.parent() == Some(&place(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_one_place_are_refused_however_they_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Some(dir.path().join(name));
        let detour = Files {
            csv: at("new/../page.html"),
            html: at("page.html"),
            ..Files::default()
        };
        let said = detour.differ(&[]).unwrap_err().to_string();
        assert!(said.contains("--csv and --html both name"), "{said}");
        let drawn = Files {
            csv: at("plots/figure-8.csv"),
            plots: at("plots"),
            ..Files::default()
        };
        let said = drawn.differ(&[]).unwrap_err().to_string();
        assert!(said.contains("writes a figure's file there"), "{said}");
        let beside = Files {
            csv: at("plots/runs.csv"),
            plots: at("plots"),
            ..Files::default()
        };
        beside.differ(&[]).unwrap();
    }
}
