//! A tasklet as its author has it: a folder with a source, a manifest and a tests file.
//!
//! ```text
//!   folder --Project::of--> language, sources, manifest --Build--> module --> package
//!          --Trials::read-> what the package must answer
//! ```

mod build;
mod compile;
mod language;
mod optimiser;
mod programs;
mod template;
mod trials;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nimblenet_pack::Manifest;
use nimblenet_tasklet::TaskletName;
use serde::Deserialize;

use crate::inlet;
use crate::local::file;

pub(crate) use build::{Build, Built};
pub(crate) use language::{Language, Source, is_source};
pub(crate) use optimiser::Optimiser;
pub(crate) use programs::Programs;
pub(crate) use template::Template;
pub(crate) use trials::{Expected, Trial, Trials};

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "tasklet.toml";
/// The file that makes a folder a Rust package.
const CARGO_MANIFEST: &str = "Cargo.toml";
/// The folders in which sources may be, besides the tasklet's folder.
pub(crate) const SOURCE_FOLDERS: [&str; 2] = ["src", "assembly"];

/// A folder that holds a tasklet, or a source file without one.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder.
    pub(crate) root: PathBuf,
    /// The sources to compile; none of a native tasklet.
    pub(crate) source: Option<Source>,
    /// The manifest; everything is derived without one. It has a name.
    pub(crate) manifest: Manifest,
    /// How to compile.
    pub(crate) settings: Settings,
    /// Whether the folder is the tasklet's own, so that `target` in it is the place for outputs.
    pub(crate) owns_folder: bool,
}

/// The manifest's table `[build]`.
#[derive(Deserialize, Clone, PartialEq, Eq, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Whether C and C++ are linked with a C library.
    pub(crate) libc: bool,
    /// More arguments for the compiler.
    pub(crate) flags: Vec<String>,
}

/// The part of the manifest that the build reads; the packer reads the rest.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Written {
    build: Settings,
}

impl Project {
    /// The project of a folder, or of a source file: that of its folder if there is a manifest,
    /// else the file alone.
    ///
    /// # Errors
    /// If there is nothing to compile, or the manifest is wrong.
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        let there = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
        if there.is_dir() {
            return Self::in_folder(path);
        }
        if let Some(root) = root_of(path) {
            return Self::in_folder(&root);
        }
        let source = Source::of_file(path)?;
        Ok(Self {
            root: folder_of(path),
            source: Some(source),
            manifest: Manifest::named(file::local_name(path)),
            settings: Settings::default(),
            owns_folder: false,
        })
    }

    fn in_folder(root: &Path) -> anyhow::Result<Self> {
        let path = root.join(MANIFEST);
        let (mut manifest, settings) = match path.exists() {
            true => read_manifest(&path).with_context(|| format!("reading {}", path.display()))?,
            false => (Manifest::named(folder_name(root)), Settings::default()),
        };
        manifest.name = manifest.name.or_else(|| Some(folder_name(root)));
        let source = match manifest.executor.has_module() {
            true => Some(Source::in_folder(root)?),
            false => None,
        };
        Ok(Self {
            root: root.to_owned(),
            source,
            manifest,
            settings,
            owns_folder: true,
        })
    }

    /// The tasklet's full name.
    pub(crate) fn name(&self) -> TaskletName {
        self.manifest.name.expect("every project has a name")
    }

    /// The folder for outputs: `target` in the tasklet's own folder.
    ///
    /// # Errors
    /// If the folder is not the tasklet's own.
    pub(crate) fn target(&self) -> anyhow::Result<PathBuf> {
        if !self.owns_folder {
            bail!("{} is not a tasklet's folder", self.root.display());
        }
        Ok(self.root.join("target"))
    }
}

/// The folder of the project that a source file belongs to.
pub(crate) fn root_of(file: &Path) -> Option<PathBuf> {
    let is_root =
        |folder: &Path| folder.join(MANIFEST).exists() || folder.join(CARGO_MANIFEST).exists();
    let folder = folder_of(file);
    if is_root(&folder) {
        return Some(folder);
    }
    let absolute = fs::canonicalize(&folder).ok()?;
    let inside = SOURCE_FOLDERS.iter().any(|name| absolute.ends_with(name));
    let above = folder.join("..");
    (inside && is_root(&above)).then_some(above)
}

/// The folder that a file is in.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The name of a tasklet whose manifest gives none.
fn folder_name(root: &Path) -> TaskletName {
    // A name for `.` comes from its absolute path.
    file::local_name(&fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()))
}

fn read_manifest(path: &Path) -> anyhow::Result<(Manifest, Settings)> {
    let text = inlet::text(path, inlet::TEXT_BYTES)?;
    let manifest = Manifest::parse(&text)?;
    let Written { build } = toml::from_str(&text)?;
    Ok((manifest, build))
}
