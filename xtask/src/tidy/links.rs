//! Links between the Markdown files of the repository.

use super::{File, Finding};

/// The table of contents of the book.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Finds links to files or headings that do not exist, and pages missing from the book.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pages: Vec<&File> = files
        .iter()
        .filter(|file| file.has_extension(&["md"]))
        .collect();
    let mut in_book = Vec::new();
    for page in &pages {
        for (line, target) in links(&page.text) {
            if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() {
                page.path.clone()
            } else {
                resolve(&page.path, path)
            };
            if page.path == SUMMARY {
                in_book.push(path.clone());
            }
            if let Some(what) = dead(files, &path, anchor) {
                findings.push(Finding::at(&page.path, line, what));
            }
        }
    }
    let has_book = pages.iter().any(|page| page.path == SUMMARY);
    for page in pages.iter().filter(|page| page.path.starts_with("docs/")) {
        if has_book && page.path != SUMMARY && !in_book.contains(&page.path) {
            findings.push(Finding::of(&page.path, format!("is not in {SUMMARY}")));
        }
    }
    findings
}

/// What is dead about a link, if anything.
fn dead(files: &[File], path: &str, anchor: &str) -> Option<String> {
    let Some(target) = files.iter().find(|file| file.path == path) else {
        let folder = format!("{}/", path.trim_end_matches('/'));
        // Files that are not text are not among the files, but are on the disk.
        let there = files.iter().any(|file| file.path.starts_with(&folder))
            || crate::workspace::root().join(path).exists();
        return (!there).then(|| format!("dead link to {path}"));
    };
    let checked = !anchor.is_empty() && target.has_extension(&["md"]);
    let there = || headings(&target.text).any(|heading| heading == anchor);
    (checked && !there()).then(|| format!("{path} has no heading #{anchor}"))
}

/// Targets of inline links outside code, each with its line.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let in_code = line[..at].matches('`').count() % 2 == 1;
            let rest = &line[at + 2..];
            if let (false, Some(end)) = (in_code, rest.find(')')) {
                let target = rest[..end].split_whitespace().next().unwrap_or_default();
                found.push((number + 1, target));
            }
        }
    }
    found
}

/// The anchors of a page's headings.
fn headings(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
}

/// A relative target seen from a page, as a path from the root.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn links_to_what_exists_are_fine() {
        let files = [
            file(
                "README.md",
                "[a](docs/a.md#what-it-is), [b](https://example.org), [c](docs/)",
            ),
            file(
                "docs/a.md",
                "# What it is?\n[up](../README.md) [here](#what-it-is)",
            ),
        ];
        assert_eq!(check(&files), []);
    }

    #[test]
    fn dead_links_are_found_with_their_line() {
        let files = [file("a.md", "\n[x](missing.md)\n[y](#nowhere)\n")];
        let expected = [
            Finding::at("a.md", 2, "dead link to missing.md"),
            Finding::at("a.md", 3, "a.md has no heading #nowhere"),
        ];
        assert_eq!(check(&files), expected);
    }

    #[test]
    fn code_holds_no_links() {
        let files = [file(
            "a.md",
            "```\n[x](missing.md)\n```\n`[y](missing.md)`\n",
        )];
        assert_eq!(check(&files), []);
    }

    #[test]
    fn every_page_is_in_the_book() {
        let files = [
            file(SUMMARY, "[a](a.md)"),
            file("docs/a.md", ""),
            file("docs/b.md", ""),
        ];
        assert_eq!(
            check(&files),
            [Finding::of("docs/b.md", "is not in docs/SUMMARY.md")]
        );
    }
}
