//! What each crate of the workspace owes: a description, a place on the map, the lints, and its
//! word on unsafe code.

use serde_json::Value;

use super::{File, Finding};

/// Where unsafe code is allowed, each with the reason.
///
/// The lints of the workspace still deny it there, and a module that needs it allows it for itself.
const UNSAFE: &[(&str, &str)] = &[
    (
        "nimblenet-wasm",
        "the execution module, where a measured gain pays for it",
    ),
    (
        "nimblenet-sdk",
        "a guest's exports and imports are raw symbols",
    ),
    (
        "nimblenet-board",
        "firmware: memory that two cores share, and the heap",
    ),
];

/// The map of the repository.
const MAP: &str = "ARCHITECTURE.md";

/// Finds crates that do not keep the rules.
pub(super) fn check(files: &[File], metadata: &Value) -> Vec<Finding> {
    let map = files.iter().find(|file| file.path == MAP);
    let mut findings = Vec::new();
    if map.is_none() {
        findings.push(Finding::of(MAP, "is missing"));
    }
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or("?");
        if package["description"].as_str().is_none_or(str::is_empty) {
            findings.push(Finding::of(name, "has no description"));
        }
        if map.is_some_and(|map| !names(&map.text, name)) {
            findings.push(Finding::of(MAP, format!("does not mention {name}")));
        }
        let folder = if name == "xtask" {
            "xtask".into()
        } else {
            format!("crates/{name}")
        };
        let manifest = files
            .iter()
            .find(|file| file.path == format!("{folder}/Cargo.toml"));
        if manifest.is_some_and(|file| !file.text.contains("[lints]\nworkspace = true")) {
            findings.push(Finding::of(
                name,
                "does not take the lints of the workspace",
            ));
        }
        for root in ["src/lib.rs", "src/main.rs"] {
            let path = format!("{folder}/{root}");
            if let Some(file) = files.iter().find(|file| file.path == path) {
                findings.extend(unsafe_attribute(name, file));
            }
        }
    }
    findings.extend(files.iter().flat_map(unsafe_allowances));
    findings
}

/// Whether a text names a crate, and not only one whose name begins the same way.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let after = text[at + name.len()..].chars().next();
        !after.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_')
    })
}

fn unsafe_attribute(name: &str, root: &File) -> Option<Finding> {
    let attribute = "#![forbid(unsafe_code)]";
    let kept = excused(name) || root.text.contains(attribute);
    (!kept).then(|| Finding::of(&root.path, format!("lacks {attribute}")))
}

fn excused(name: &str) -> bool {
    UNSAFE.iter().any(|(other, _)| *other == name)
}

/// Allowances of unsafe code in a place that has no excuse for it.
fn unsafe_allowances(file: &File) -> Vec<Finding> {
    let mut folders = file.path.split('/');
    let in_crates = folders.next() == Some("crates");
    let name = folders.next().unwrap_or_default();
    // Tests and benches are programs of their own, which never ship.
    let ships = folders.next() == Some("src");
    if !in_crates || !ships || excused(name) {
        return Vec::new();
    }
    let lines = file.text.lines().enumerate();
    let allowing = lines.filter(|(_, line)| {
        line.contains("allow(unsafe_code") || line.contains("expect(unsafe_code")
    });
    allowing
        .map(|(number, _)| Finding::at(&file.path, number + 1, "unsafe code is not allowed here"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn package(name: &str) -> Value {
        serde_json::json!({ "packages": [{ "name": name, "description": "d" }] })
    }

    fn crate_files(name: &str, root: &str) -> Vec<File> {
        vec![
            file(MAP, &format!("`{name}` does things")),
            file(
                &format!("crates/{name}/Cargo.toml"),
                "[lints]\nworkspace = true\n",
            ),
            file(&format!("crates/{name}/src/lib.rs"), root),
        ]
    }

    #[test]
    fn a_crate_that_keeps_the_rules_is_fine() {
        let files = crate_files("nimblenet-core", "#![forbid(unsafe_code)]");
        assert_eq!(check(&files, &package("nimblenet-core")), []);
    }

    #[test]
    fn a_crate_root_forbids_unsafe_code_unless_excused() {
        let files = crate_files("nimblenet-core", "#![deny(unsafe_code)]");
        assert_eq!(check(&files, &package("nimblenet-core")).len(), 1);
        let files = crate_files("nimblenet-wasm", "");
        assert_eq!(check(&files, &package("nimblenet-wasm")), []);
    }

    #[test]
    fn unsafe_code_is_allowed_in_tests_only() {
        let allowance = "#![allow(unsafe_code)]";
        assert_eq!(
            unsafe_allowances(&file("crates/nimblenet-core/src/a.rs", allowance)).len(),
            1
        );
        assert_eq!(
            unsafe_allowances(&file("crates/nimblenet-core/tests/a.rs", allowance)),
            []
        );
        assert_eq!(
            unsafe_allowances(&file("crates/nimblenet-wasm/src/a.rs", allowance)),
            []
        );
    }

    #[test]
    fn a_longer_name_does_not_mention_the_shorter() {
        assert!(!names("nimblenet-core and nimblenet_sim", "nimblenet"));
        assert!(names("nimblenet-core and `nimblenet`", "nimblenet"));
    }

    #[test]
    fn the_map_and_a_description_are_needed() {
        let metadata = serde_json::json!({ "packages": [{ "name": "x", "description": null }] });
        let findings = check(&[], &metadata);
        assert_eq!(
            findings,
            [
                Finding::of(MAP, "is missing"),
                Finding::of("x", "has no description")
            ]
        );
    }
}
