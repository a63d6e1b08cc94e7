//! The specification and the code that obeys it: sections that are cited exist, and constants of
//! core have the values that the specification says.

use super::{File, Finding};

/// Where the documents of the specification are.
const FOLDER: &str = "spec/";

/// Where constants of the specification are declared.
const CONSTANTS: &str = "crates/nimblenet-core/src/";

/// Where citations are examples.
const EXAMPLES: &str = "xtask/src/tidy/spec.rs";

/// Finds citations of what does not exist, and constants that differ.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let specs = files.iter().filter(|file| file.path.starts_with(FOLDER));
    let specs: Vec<&File> = specs.filter(|file| file.has_extension(&["md"])).collect();
    let mut findings = Vec::new();
    let citing = files.iter().filter(|file| file.path != EXAMPLES);
    for file in citing.filter(|file| file.has_extension(&["rs", "md"])) {
        // Names of documents may be set in code.
        let text = file.text.replace('`', "");
        for (line, citation) in citations(&text) {
            let what = match specs.iter().find(|spec| spec.path == citation.path()) {
                None => format!("there is no {}", citation.path()),
                Some(spec) if !titles(&spec.text).any(|title| citation.means(title)) => {
                    format!("{} has no section {}", citation.path(), citation.section)
                }
                Some(_) => continue,
            };
            findings.push(Finding::at(&file.path, line, what));
        }
    }
    for spec in specs {
        findings.extend(constants(spec, files));
    }
    findings
}

/// A section that a text refers to.
#[derive(PartialEq, Eq, Debug)]
struct Citation<'t> {
    /// The document's name without its ending.
    document: &'t str,
    /// The section's number, or its title between quotation marks.
    section: &'t str,
}

impl Citation<'_> {
    fn path(&self) -> String {
        format!("{FOLDER}{}.md", self.document)
    }

    /// Whether a heading is that of the section.
    fn means(&self, title: &str) -> bool {
        match self.section.strip_prefix('"') {
            Some(quoted) => title.ends_with(quoted.trim_end_matches('"')),
            None => {
                title
                    .split_once(' ')
                    .map(|(first, _)| first.trim_end_matches('.'))
                    == Some(self.section)
            }
        }
    }
}

/// The headings of a document, without their marks.
fn titles(text: &str) -> impl Iterator<Item = &str> {
    let headings = text.lines().filter(|line| line.starts_with("##"));
    headings.map(|line| line.trim_start_matches('#').trim())
}

/// Citations of the forms `x.md, section 1`, `x.md, sections 1 and 2` and `x.md, "Title"`, each with
/// its line. A citation may go on over the end of a line, also of a comment.
fn citations(text: &str) -> Vec<(usize, Citation<'_>)> {
    let mut found = Vec::new();
    for (at, ending) in text.match_indices(".md, ") {
        let before = &text[..at];
        let start = before.rfind(|c: char| !c.is_ascii_lowercase() && c != '-');
        let document = &before[start.map_or(0, |start| start + 1)..];
        let line = before.lines().count().max(1);
        let after = &text[at + ending.len()..];
        let sections = match after.strip_prefix("section") {
            Some(rest) => numbers(rest.strip_prefix('s').unwrap_or(rest)),
            None => quoted(after).into_iter().collect(),
        };
        let cited = sections.into_iter();
        found.extend(cited.map(|section| (line, Citation { document, section })));
    }
    found
}

/// The numbers at the start of a text, with commas and conjunctions between them.
fn numbers(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let words = text.split([' ', ',', '\n', '/', ':', ';', ')']);
    for word in words.filter(|word| !word.is_empty()) {
        let number = word.trim_end_matches('.');
        let is_number = number.chars().all(|c| c.is_ascii_digit() || c == '.');
        match number {
            "and" | "or" | "to" => {}
            _ if is_number && !number.is_empty() => found.push(number),
            _ => break,
        }
        if word.ends_with('.') {
            break;
        }
    }
    found
}

fn quoted(text: &str) -> Option<&str> {
    let end = text.strip_prefix('"')?.find('"')?;
    Some(&text[..end + 2])
}

/// Rows of tables with a last column `constant` whose constant has another value.
fn constants(spec: &File, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_table = false;
    for (number, line) in spec.text.lines().enumerate() {
        if !line.starts_with('|') {
            in_table = false;
        } else if line.ends_with("| constant |") {
            in_table = true;
        } else if in_table
            && !line.starts_with("|---")
            && let Some(what) = differs(line, files)
        {
            findings.push(Finding::at(&spec.path, number + 1, what));
        }
    }
    findings
}

/// What is wrong with a row.
fn differs(row: &str, files: &[File]) -> Option<String> {
    let mut cells = row.trim_matches('|').rsplit('|').map(str::trim);
    let name = cells.next()?.trim_matches('`');
    let said = cells.next()?;
    let sources = files.iter().filter(|file| file.path.starts_with(CONSTANTS));
    let declared: Vec<&str> = sources
        .flat_map(|file| declarations(&file.text, name))
        .collect();
    match declared[..] {
        [expression] => {
            let value = value(expression);
            let same = value.as_deref() == Some(said);
            let has = value.unwrap_or_else(|| expression.into());
            (!same).then(|| format!("`{name}` is {has}, not {said}"))
        }
        [] => Some(format!("there is no constant `{name}` in {CONSTANTS}")),
        _ => Some(format!(
            "there are several constants `{name}` in {CONSTANTS}"
        )),
    }
}

/// The expressions that constants of that name have.
fn declarations<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let declared = text.lines().filter_map(|line| {
        let (before, rest) = line.split_once("const ")?;
        let published = before.trim().is_empty() || before.trim().starts_with("pub");
        let rest = rest.strip_prefix(name)?.strip_prefix(':')?;
        let (_, expression) = rest.split_once(" = ")?;
        published.then_some(expression.trim_end_matches(';'))
    });
    declared.collect()
}

/// The value of an expression as tables have it.
fn value(expression: &str) -> Option<String> {
    let number = |text: &str| text.replace('_', "").parse::<u64>().ok();
    for (call, unit) in [("from_secs", "s"), ("from_millis", "ms")] {
        let argument = expression.strip_prefix(&format!("Duration::{call}("));
        if let Some(argument) = argument.and_then(|rest| rest.strip_suffix(')')) {
            return Some(format!("{} {unit}", number(argument)?));
        }
    }
    let value = match expression.split_once(" << ") {
        Some((base, shift)) => number(base)? << number(shift)?,
        None => number(expression)?,
    };
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn document() -> File {
        file(
            "spec/x.md",
            "# X\n## 1. First\n### 1.2 Part\n## 2. Last one\n",
        )
    }

    #[test]
    fn sections_are_cited_by_number_or_title() {
        let text = "// spec/x.md, section 1: so.\n// (spec/x.md, sections 1, 1.2 and 2).\n\
                    // x.md, \"Last one\"\n// see x.md, which is long";
        let files = [document(), file("a.rs", text)];
        assert_eq!(citations(text).len(), 5);
        assert_eq!(check(&files), []);
    }

    #[test]
    fn what_is_cited_and_does_not_exist_is_found() {
        let text = "// spec/x.md, section 3\n\n// y.md, sections 1\n// and 2; x.md, \"Other\"";
        let files = [document(), file("a.rs", text)];
        let expected = [
            Finding::at("a.rs", 1, "spec/x.md has no section 3"),
            Finding::at("a.rs", 3, "there is no spec/y.md"),
            Finding::at("a.rs", 3, "there is no spec/y.md"),
            Finding::at("a.rs", 4, "spec/x.md has no section \"Other\""),
        ];
        assert_eq!(check(&files), expected);
    }

    #[test]
    fn constants_are_held_against_the_code() {
        let code = "pub(super) const RUN: u32 = 1 << 16;\nconst LIFE: Duration = Duration::from_secs(240);\n\
                    /// Not a const ASKS: 9.\nconst ASKS: u8 = 6;\nconst TWICE: u8 = 1;\nconst TWICE: u8 = 1;";
        let table = |rows: &str| {
            let head = "| what | value | constant |\n|---|---|---|\n";
            let spec = file("spec/x.md", &format!("{head}{rows}\n| other | 1 |\n"));
            check(&[spec, file("crates/nimblenet-core/src/a.rs", code)])
        };
        assert_eq!(
            table("| a | 65536 | `RUN` |\n| b | 240 s | `LIFE` |\n| c | 6 | `ASKS` |\n"),
            []
        );
        let found = table("| a | 7 | `ASKS` |\n| b | 1 | `TWICE` |\n| c | 1 | `NONE` |\n");
        let found: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
        let expected = [
            "`ASKS` is 6, not 7",
            "there are several constants `TWICE` in crates/nimblenet-core/src/",
            "there is no constant `NONE` in crates/nimblenet-core/src/",
        ];
        assert_eq!(found, expected);
    }
}
