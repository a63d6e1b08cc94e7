//! What must not stand in a text: leftovers, characters outside ASCII, paths of somebody's
//! machine, references to trackers.

use super::{File, Finding};

/// Extensions of files that are source, not prose.
const SOURCE: &[&str] = &["rs", "toml", "sh", "wat", "c", "ts", "x"];

/// Words that unfinished work leaves behind. Written in halves, as this file is checked too.
const LEFTOVERS: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
];

/// What numbers in trackers look like.
const TRACKERS: &[&str] = &[
    concat!("issue", " #"),
    concat!("pull request", " #"),
    concat!("/issues", "/"),
];

/// Folders of somebody's machine.
const MACHINE: &[&str] = &[
    concat!("/wo", "rk"),
    concat!("/ro", "ot"),
    concat!("/t", "mp"),
    concat!("/ho", "me"),
];

/// Finds text that must not be there.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| written(&file.path))
        .flat_map(findings)
        .collect()
}

/// Whether a file is written by people of this project; the rest is generated or quoted.
fn written(path: &str) -> bool {
    let generated = path.ends_with(".lock") || path.ends_with(".svg") || path.ends_with(".patch");
    let built = path.contains("/dist/") || path.contains("/corpus/") || path.ends_with(".min.js");
    let licence = path.starts_with("LICENSE");
    !(generated || built || licence)
}

fn findings(file: &File) -> Vec<Finding> {
    let source = file.has_extension(SOURCE) || file.path.starts_with(".ci/");
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let mut found = |what: String| findings.push(Finding::at(&file.path, number + 1, what));
        if source {
            if let Some(character) = line.chars().find(|character| !character.is_ascii()) {
                found(format!("`{}` is not ASCII", character.escape_unicode()));
            }
            for word in LEFTOVERS.iter().filter(|word| line.contains(**word)) {
                found(format!("`{word}` is a leftover"));
            }
        }
        let lower = line.to_lowercase();
        for word in TRACKERS.iter().filter(|word| lower.contains(**word)) {
            found(format!("`{word}` refers to a tracker"));
        }
        for folder in MACHINE.iter().filter(|folder| names_folder(line, folder)) {
            found(format!("`{folder}` is a path of one machine"));
        }
    }
    findings
}

/// Whether a line names an absolute folder or something in it.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        // Part of a longer path, of a URL, or of a longer word.
        let part = before.is_some_and(|c| c.is_alphanumeric() || "._-/}{)*]>$".contains(c));
        let longer = after.is_some_and(|c| c.is_alphanumeric() || "_-.".contains(c));
        !part && !longer
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[file(path, text)]).len()
    }

    #[test]
    fn leftovers_are_found_in_source() {
        for word in LEFTOVERS {
            assert_eq!(count("a.rs", &format!("// {word}x)")), 1, "{word}");
        }
        assert_eq!(count("a.rs", "let todo = Vec::new();"), 0);
    }

    #[test]
    fn source_is_ascii_and_prose_need_not_be() {
        assert_eq!(count("a.rs", "let \u{e9} = 1;"), 1);
        assert_eq!(count(".ci/run", "# \u{2192}"), 1);
        assert_eq!(count("a.md", "\u{2192}"), 0);
    }

    #[test]
    fn machine_paths_are_found() {
        let folder = MACHINE[2];
        assert_eq!(count("a.md", &format!("see {folder}/x")), 1);
        assert_eq!(count("a.rs", &format!("\"{folder}\"")), 1);
        assert_eq!(
            count("a.md", &format!("target{folder}/x and {folder}late")),
            0
        );
    }

    #[test]
    fn references_to_trackers_are_found() {
        assert_eq!(count("a.md", &format!("{}12", TRACKERS[0])), 1);
        assert_eq!(count("a.md", "an issue with routing"), 0);
    }

    #[test]
    fn generated_files_are_left_alone() {
        assert_eq!(count("Cargo.lock", &format!("{}12", TRACKERS[0])), 0);
    }
}
