//! The tests that the page of threats names.

use std::collections::HashSet;

use super::{File, Finding};

/// The page with a table of cases.
const PAGE: &str = "docs/threats.md";
/// The last column of a table, in which each name is that of a test.
const COLUMN: &str = "test";

/// Finds names of tests that no file has.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return Vec::new();
    };
    let sources = files.iter().filter(|file| file.has_extension(&["rs"]));
    let words = sources.flat_map(|file| file.text.split("fn ").skip(1));
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let functions: HashSet<&str> = words
        .filter_map(|word| word.split(|letter| !is_name(letter)).next())
        .collect();
    let mut findings = Vec::new();
    let mut in_table = false;
    for (line, text) in (1..).zip(page.text.lines()) {
        let last = text.trim_matches('|').rsplit('|').next().unwrap_or("");
        in_table = text.starts_with('|') && (in_table || last.trim() == COLUMN);
        let names = last.split('`').skip(1).step_by(2).filter(|_| in_table);
        for name in names.filter(|name| !functions.contains(name)) {
            findings.push(Finding::at(PAGE, line, format!("there is no test {name}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_test_that_is_named_and_not_there_is_found() {
        let page = "Say `anything`.\n\n| case | test |\n|---|---|\n| 1 `x` | `there`, `gone` |\n";
        let source = "#[test]\nfn there() {}\n";
        let found = check(&[file(PAGE, page), file("crates/a/src/lib.rs", source)]);
        let expected = [Finding::at(PAGE, 5, "there is no test gone")];
        assert_eq!(found, expected);
    }
}
