//! Dependencies that nobody uses, and folders that the workspace names and that do not exist.

use toml::Table;

use super::{File, Finding};

const ROOT: &str = "Cargo.toml";

/// The tables of a manifest that list dependencies.
const TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// Finds what manifests name in vain.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let Some(root) = files.iter().find(|file| file.path == ROOT) else {
        return vec![Finding::of(ROOT, "is missing")];
    };
    let Ok(workspace) = root.text.parse::<Table>() else {
        return vec![Finding::of(ROOT, "is not TOML")];
    };
    let mut findings = Vec::new();
    let mut named = Vec::new();
    for file in files.iter().filter(|file| is_member(&file.path)) {
        let Ok(manifest) = file.text.parse::<Table>() else {
            continue;
        };
        let folder = file.path.trim_end_matches(ROOT);
        for name in dependencies(&manifest) {
            if !uses(files, folder, &name) {
                let what = format!("depends on {name} and does not use it");
                findings.push(Finding::of(&file.path, what));
            }
            named.push(name);
        }
    }
    let workspace = workspace.get("workspace").and_then(|it| it.as_table());
    let offered = workspace.and_then(|it| it.get("dependencies")?.as_table());
    for name in offered.into_iter().flat_map(Table::keys) {
        if !named.contains(name) {
            findings.push(Finding::of(ROOT, format!("no crate depends on {name}")));
        }
    }
    let excluded = workspace.and_then(|it| it.get("exclude")?.as_array());
    for folder in excluded.into_iter().flatten().filter_map(|it| it.as_str()) {
        let inside = format!("{folder}/");
        if !files.iter().any(|file| file.path.starts_with(&inside)) {
            findings.push(Finding::of(
                ROOT,
                format!("there is no {folder} to exclude"),
            ));
        }
    }
    findings
}

/// Whether a path is the manifest of a crate of the workspace.
fn is_member(path: &str) -> bool {
    let folder = path.strip_suffix("/Cargo.toml").unwrap_or_default();
    folder == "xtask"
        || folder
            .strip_prefix("crates/")
            .is_some_and(|name| !name.contains('/'))
}

/// The names of a manifest's dependencies, those for one target included.
fn dependencies(manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(|it| it.as_table());
    let targets = targets.into_iter().flat_map(Table::values);
    let places = targets.filter_map(|it| it.as_table()).chain([manifest]);
    let tables = places.flat_map(|place| TABLES.iter().filter_map(|it| place.get(*it)?.as_table()));
    tables.flat_map(Table::keys).cloned().collect()
}

/// Whether a source file in the folder names a crate.
fn uses(files: &[File], folder: &str, name: &str) -> bool {
    let name = name.replace('-', "_");
    let sources = files.iter().filter(|file| file.path.starts_with(folder));
    let mut sources = sources.filter(|file| file.has_extension(&["rs"]));
    sources.any(|file| {
        file.text.match_indices(&name).any(|(at, _)| {
            let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let before = file.text[..at].chars().next_back();
            let after = file.text[at + name.len()..].chars().next();
            !part(before) && !part(after)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const MEMBER: &str = "[dependencies]\nred-paint.workspace = true\n\
                          [target.'cfg(unix)'.dev-dependencies]\nblue = \"1\"\n";

    fn found(root: &str, source: &str) -> Vec<Finding> {
        check(&[
            file(ROOT, root),
            file("crates/a/Cargo.toml", MEMBER),
            file("crates/a/src/lib.rs", source),
            file("firmware/x.rs", "red_paint"),
        ])
    }

    #[test]
    fn what_is_named_and_used_is_fine() {
        let root =
            "[workspace]\nexclude = [\"firmware\"]\n[workspace.dependencies]\nred-paint = \"1\"\n";
        assert_eq!(found(root, "use red_paint::Red;\nblue::sky();"), []);
    }

    #[test]
    fn what_is_named_in_vain_is_found() {
        let root = "[workspace]\nexclude = [\"fuzz\"]\n[workspace.dependencies]\ngreen = \"1\"\n";
        let expected = [
            Finding::of(
                "crates/a/Cargo.toml",
                "depends on red-paint and does not use it",
            ),
            Finding::of(ROOT, "no crate depends on green"),
            Finding::of(ROOT, "there is no fuzz to exclude"),
        ];
        assert_eq!(found(root, "red_paints(); blue"), expected);
    }
}
