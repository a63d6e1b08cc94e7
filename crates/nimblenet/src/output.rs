//! Printing to standard output. A reader that goes away is an error here, not a panic.

use std::io::{self, Write};

use serde_json::Value as Json;

/// Prints one JSON document.
///
/// # Errors
/// If standard output is closed.
pub(crate) fn json(document: &Json) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{document}")?)
}

/// Prints text, with a line end after it.
///
/// # Errors
/// If standard output is closed.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{}", text.trim_end())?)
}
