//! Printing to standard output, and a line of progress. If the reader has closed its end, that is an error and no panic.

use core::fmt;
use core::time::Duration;
use std::io::{self, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value as Json;

/// A line on standard error that shows what is going on, only at a terminal.
pub(crate) fn spinner() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Prints one JSON document.
///
/// # Errors
/// If standard output does not take it.
pub(crate) fn json(document: &Json) -> anyhow::Result<()> {
    print(format_args!("{document}"))
}

/// Prints text, with a line end after it.
///
/// # Errors
/// If standard output does not take it.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    print(format_args!("{}", text.trim_end()))
}

fn print(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{line}").map_err(Lost)?)
}

/// Standard output did not take what was printed.
#[derive(Debug)]
struct Lost(io::Error);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output cannot be written")
    }
}

impl core::error::Error for Lost {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The same error; if it is of standard output, it says that the output of the verb is lost.
pub(crate) fn of_verb(error: anyhow::Error, verb: &str) -> anyhow::Error {
    if !error.chain().any(|cause| cause.is::<Lost>()) {
        return error;
    }
    error.context(format!(
        "the output of `nimblenet {verb}` is lost, or a part of it: send it elsewhere and run it again"
    ))
}

/// So many of something, whose plural ends in s.
pub(crate) fn counted(count: usize, one: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {one}{ending}")
}

/// Columns of a page.
const PAGE_COLUMNS: usize = 80;
/// Columns for the titles of a page's rows.
const LABEL_COLUMNS: usize = 12;

/// Adds a row to a page: its title, and its text on as many lines as it needs.
pub(crate) fn row(page: &mut String, label: &str, text: &str) {
    let mut line = format!("{label:LABEL_COLUMNS$}");
    let mut words = 0;
    for word in text.split(' ') {
        if words > 0 && line.chars().count() + 1 + word.chars().count() > PAGE_COLUMNS {
            page.push_str(&line);
            page.push('\n');
            line = " ".repeat(LABEL_COLUMNS);
            words = 0;
        }
        if words > 0 {
            line.push(' ');
        }
        line.push_str(word);
        words += 1;
    }
    page.push_str(line.trim_end());
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_on_below_its_text_where_a_page_ends() {
        let mut page = String::new();
        row(&mut page, "import", &"word ".repeat(20));
        row(&mut page, "module", "60 bytes");
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines.iter().all(|line| line.len() <= PAGE_COLUMNS),
            "{page}"
        );
        assert!(lines[1].starts_with("            word"), "{page}");
        assert_eq!(lines[2], "module      60 bytes");
    }
}
