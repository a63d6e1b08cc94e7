//! Rules of this repository that the compiler does not know.
//!
//! Each rule is a function from the files of the repository, or from its packages, to
//! [`Finding`]s; a finding fails the task. Long files and functions are only remarked on.

mod arrows;
mod crates;
mod dependencies;
mod length;
mod links;
mod spec;
mod text;
mod threats;
mod variants;

use core::fmt;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Checks all rules; with `remarks`, also lists what is allowed and worth a thought.
pub(crate) fn run(remarks: bool) -> Result<()> {
    let files = read()?;
    let metadata = workspace::metadata()?;
    let mut findings = text::check(&files);
    findings.extend(links::check(&files));
    findings.extend(spec::check(&files));
    findings.extend(crates::check(&files, &metadata));
    findings.extend(dependencies::check(&files));
    findings.extend(arrows::check(&metadata));
    findings.extend(variants::check(&files));
    findings.extend(threats::check(&files));
    for finding in &findings {
        eprintln!("{finding}");
    }
    let long = length::check(&files);
    if remarks {
        for remark in &long {
            eprintln!("remark: {remark}");
        }
    } else if !long.is_empty() {
        eprintln!(
            "{} long files or functions: `cargo xtask tidy --remarks`",
            long.len()
        );
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    eprintln!("{} files are tidy", files.len());
    Ok(())
}

/// A text file of the repository.
struct File {
    /// Relative to the root, with `/` between folders.
    path: String,
    text: String,
}

impl File {
    fn has_extension(&self, extensions: &[&str]) -> bool {
        self.path
            .rsplit_once('.')
            .is_some_and(|(_, end)| extensions.contains(&end))
    }
}

/// A rule that is not kept, and where.
#[derive(PartialEq, Eq, Debug)]
struct Finding {
    path: String,
    /// Counted from 1; none if the whole file is meant.
    line: Option<usize>,
    what: String,
}

impl Finding {
    fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: Some(line),
            what: what.into(),
        }
    }

    fn of(path: &str, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: None,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

/// All files of the repository that are text.
fn read() -> Result<Vec<File>> {
    let mut files = Vec::new();
    for path in workspace::files()? {
        let bytes = fs::read(workspace::root().join(&path))
            .with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File {
        path: path.into(),
        text: text.into(),
    }
}
