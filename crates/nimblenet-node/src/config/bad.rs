//! Configuration files that cannot be used.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A configuration file that cannot be used.
#[derive(Debug)]
pub struct BadConfig {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// The file cannot be read.
    Io(io::Error),
    /// What a line says cannot be used.
    Line {
        /// Its number, and what stands there; none if no line says it.
        place: Option<(usize, Box<str>)>,
        message: Box<str>,
    },
}

impl BadConfig {
    /// The error that the value of `key` in the file at `path` cannot be used, for the reason
    /// `message`. It names the line of the key, or the file alone if it has no such line.
    pub fn of_key(path: &Path, key: &str, message: impl fmt::Display) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self::at_key(path, &text, (key, ""), message)
    }

    /// The same, for a file whose content is `text` and a line that has `value` too.
    pub(super) fn at_key(
        path: &Path,
        text: &str,
        (key, value): (&str, &str),
        message: impl fmt::Display,
    ) -> Self {
        let has_key = |line: &str| {
            let rest = line.trim_start().strip_prefix(key);
            rest.is_some_and(|rest| rest.trim_start().starts_with('=') && rest.contains(value))
        };
        let found = text.lines().zip(1..).find(|(line, _)| has_key(line));
        let place = found.map(|(line, number)| (number, line.trim().into()));
        let message = message.to_string().into();
        Self {
            path: path.to_path_buf(),
            reason: Reason::Line { place, message },
        }
    }

    pub(super) fn unreadable(path: &Path, error: io::Error) -> Self {
        Self {
            path: path.to_path_buf(),
            reason: Reason::Io(error),
        }
    }

    /// The error that `text`, the content of the file at `path`, is not what it should be.
    pub(super) fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..start).unwrap_or("");
        let line = before.matches('\n').count();
        let source = text.lines().nth(line).unwrap_or("").trim();
        Self {
            path: path.to_path_buf(),
            reason: Reason::Line {
                place: Some((line + 1, source.into())),
                message: plain(error.message()).into(),
            },
        }
    }
}

/// The words of the parser in those of an author: what is there, and what may be written.
fn plain(message: &str) -> String {
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("the key {key} is missing");
    }
    let Some((found, expected)) = message.split_once(", expected ") else {
        return message.to_owned();
    };
    let expected = expected.trim_start_matches("one of ");
    let unknown = ["unknown field ", "unknown variant "];
    if let Some(name) = unknown.iter().find_map(|it| found.strip_prefix(it)) {
        return format!("there is no {name} here; there are {expected}");
    }
    let kinds = ["invalid type: ", "invalid value: "];
    let Some(found) = kinds.iter().find_map(|it| found.strip_prefix(it)) else {
        return message.to_owned();
    };
    let expected = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "a nonzero u32" => "a whole number from 1 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "i64" | "i128" | "u128" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("{expected} is expected, not {found}")
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Io(error) => write!(
                f,
                "{path}: {error}; give the path of a configuration file, which the page on \
                 operating nodes describes"
            ),
            Reason::Line {
                place: Some((line, source)),
                message,
            } if !source.is_empty() => write!(f, "{path}:{line}: {message} (in `{source}`)"),
            Reason::Line {
                place: Some((line, _)),
                message,
            } => write!(f, "{path}:{line}: {message}"),
            Reason::Line {
                place: None,
                message,
            } => write!(f, "{path}: {message}"),
        }
    }
}

impl core::error::Error for BadConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_with_its_line_and_a_missing_one_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, "id = 1\n  mtu = 3\n").unwrap();
        let shown = path.display();
        let named = BadConfig::of_key(&path, "mtu", "too small").to_string();
        assert_eq!(named, format!("{shown}:2: too small (in `mtu = 3`)"));
        let missing = BadConfig::of_key(&path, "state", "no room").to_string();
        assert_eq!(missing, format!("{shown}: no room"));
    }
}
