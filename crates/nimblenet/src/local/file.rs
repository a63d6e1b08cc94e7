//! Files that hold a tasklet: a package, or a WebAssembly module in binary or text form.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use nimblenet_pack::{Names, Packed};
use nimblenet_tasklet::{Name, Package, TaskletName};

use crate::{inlet, outlet};

const WASM_MAGIC: &[u8] = b"\0asm";

/// The content of a file.
#[derive(Debug)]
pub(crate) enum Content {
    /// A package file's bytes, which are valid.
    Package(Vec<u8>),
    /// A binary module.
    Module(Vec<u8>),
}

impl Content {
    /// The package, if it is one.
    pub(crate) fn package(&self) -> Option<Package<'_>> {
        match self {
            Self::Package(bytes) => Some(Package::decode(bytes).expect("checked when it was read")),
            Self::Module(_) => None,
        }
    }

    /// The names of the parameters of export `name`, as far as the package has them.
    pub(crate) fn param_names(&self, name: &str) -> Vec<String> {
        let (Self::Package(bytes), Some(package)) = (self, self.package()) else {
            return Vec::new();
        };
        let at = package.terms.exports().position(|it| it.name == name);
        let names = nimblenet_pack::param_names(bytes).zip(at);
        names
            .and_then(|(names, at)| names.into_iter().nth(at))
            .unwrap_or_default()
    }

    /// The module's bytes; empty for the package of a native tasklet.
    pub(crate) fn module(&self) -> &[u8] {
        match self {
            Self::Package(_) => self.package().expect("it is a package").module,
            Self::Module(bytes) => bytes,
        }
    }
}

/// Reads a tasklet's file.
///
/// # Errors
/// If it cannot be read, or is neither a package nor a module.
pub(crate) fn read(path: &Path) -> anyhow::Result<Content> {
    tasklet(read_bytes(path)?).with_context(|| format!("reading {}", path.display()))
}

/// Reads any file, up to a length that no file of NimbleNet has.
///
/// # Errors
/// If it cannot be read, or is too long.
pub(crate) fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    inlet::read(path, inlet::FILE_BYTES)
}

/// Writes a package, and beside it the names of its functions if there are any. Names that an
/// earlier package has left there are removed.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write_package(path: &Path, packed: &Packed) -> anyhow::Result<()> {
    outlet::write(path, &packed.file)?;
    let beside = Names::beside(path);
    if beside == path {
        return Ok(());
    }
    if let Some(names) = &packed.names {
        return outlet::write(&beside, names.to_string());
    }
    let stale =
        inlet::text(&beside, inlet::FILE_BYTES).is_ok_and(|text| Names::parse(&text).is_some());
    if stale {
        fs::remove_file(&beside).with_context(|| format!("removing {}", beside.display()))?;
    }
    Ok(())
}

/// Recognises the content of a tasklet's file.
///
/// # Errors
/// If the bytes are neither a package nor a module.
pub(crate) fn tasklet(bytes: Vec<u8>) -> anyhow::Result<Content> {
    ensure!(
        !bytes.is_empty(),
        "the file is empty: there is no package and no module"
    );
    if Package::recognise(&bytes) {
        Package::decode(&bytes).context("the package is malformed; pack the module again")?;
        return Ok(Content::Package(bytes));
    }
    if bytes.starts_with(WASM_MAGIC) {
        return Ok(Content::Module(bytes));
    }
    let text = std::str::from_utf8(&bytes).ok();
    let text = text.filter(|text| text.contains('('));
    let text = text.context("neither a package nor a WebAssembly module, binary or text")?;
    Ok(Content::Module(wat::parse_str(text)?))
}

/// The name of a tasklet that comes without one: `local/` and the file's name.
pub(crate) fn local_name(path: &Path) -> TaskletName {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let name = stem.and_then(|stem| Name::new(&stem.to_ascii_lowercase()).ok());
    TaskletName {
        namespace: Name::new("local").expect("a good name"),
        name: name.unwrap_or_else(|| Name::new("main").expect("a good name")),
    }
}
