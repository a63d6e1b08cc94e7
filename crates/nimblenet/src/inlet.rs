//! What the user names to be read: files, and what is like a file, as a pipe. Each kind has a limit, so
//! that what never ends is refused instead of filling the memory.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

/// The most bytes of a module, a package, an image, or an argument.
pub(crate) const FILE_BYTES: u64 = 64 << 20;
/// The most bytes of a text that people write: a manifest, a scenario, a table of tests.
pub(crate) const TEXT_BYTES: u64 = 4 << 20;
/// The most bytes of a recorded trace.
pub(crate) const TRACE_BYTES: u64 = 512 << 20;

/// All bytes of `path`, at most `most`.
///
/// # Errors
/// If it cannot be read or has more bytes.
pub(crate) fn read(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let place = path.display();
    let context = || format!("reading {place}");
    let file = File::open(path).with_context(context)?;
    if file.metadata().with_context(context)?.is_dir() {
        bail!("{place} is a folder; name a file in it");
    }
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.with_context(context)?;
    ensure!(
        bytes.len() as u64 <= most,
        "{place} has more than {most} bytes, the most that are read of such a file; name another one"
    );
    Ok(bytes)
}

/// The same of a text.
///
/// # Errors
/// Also if it is no text.
pub(crate) fn text(path: &Path, most: u64) -> anyhow::Result<String> {
    let bytes = read(path, most)?;
    let text = String::from_utf8(bytes).ok();
    text.with_context(|| format!("{} is no text (UTF-8)", path.display()))
}
