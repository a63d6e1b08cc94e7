//! Which crate of the workspace may see which.

use serde_json::Value;

use super::Finding;

/// Each crate with all workspace crates it may depend on, for tests too.
///
/// Contract and interpreter see no one; the executor brings these two together; executor, state
/// machine and SDK never see each other; the drivers bring executor and state machine together.
/// Linux nodes have of boards what both ends of a serial line share; the packer has its modules
/// judged by the interpreter; the binary brings all of them together.
const ARROWS: &[(&str, &[&str])] = &[
    ("nimblenet-tasklet", &[]),
    ("nimblenet-wasm", &[]),
    (
        "nimblenet-executor",
        &["nimblenet-tasklet", "nimblenet-wasm"],
    ),
    ("nimblenet-core", &["nimblenet-tasklet"]),
    ("nimblenet-sdk", &["nimblenet-tasklet"]),
    (
        "nimblenet-sim",
        &["nimblenet-tasklet", "nimblenet-executor", "nimblenet-core"],
    ),
    (
        "nimblenet-node",
        &[
            "nimblenet-tasklet",
            "nimblenet-wasm",
            "nimblenet-executor",
            "nimblenet-core",
            "nimblenet-board",
        ],
    ),
    (
        "nimblenet-board",
        &[
            "nimblenet-tasklet",
            "nimblenet-wasm",
            "nimblenet-executor",
            "nimblenet-core",
        ],
    ),
    (
        "nimblenet-pack",
        &["nimblenet-tasklet", "nimblenet-wasm", "nimblenet-executor"],
    ),
    ("nimblenet-uf2", &[]),
    (
        "nimblenet",
        &[
            "nimblenet-tasklet",
            "nimblenet-wasm",
            "nimblenet-executor",
            "nimblenet-core",
            "nimblenet-sim",
            "nimblenet-node",
            "nimblenet-board",
            "nimblenet-pack",
            "nimblenet-uf2",
        ],
    ),
    ("xtask", &["nimblenet-tasklet", "nimblenet-uf2"]),
];

/// Finds dependencies among workspace crates that no arrow allows.
pub(super) fn check(metadata: &Value) -> Vec<Finding> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let names: Vec<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or("?");
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            findings.push(Finding::of(
                name,
                "has no line in the table of arrows (xtask, tidy)",
            ));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies.filter_map(|dependency| dependency["name"].as_str()) {
            if names.contains(&dependency) && !allowed.contains(&dependency) {
                findings.push(Finding::of(
                    name,
                    format!("must not depend on {dependency}"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(dependency: &str) -> Value {
        serde_json::json!({ "packages": [
            { "name": "nimblenet-tasklet", "dependencies": [{ "name": "minicbor" }] },
            { "name": "nimblenet-core", "dependencies": [{ "name": dependency }] },
            { "name": "nimblenet-wasm", "dependencies": [] },
        ] })
    }

    #[test]
    fn arrows_that_are_drawn_are_allowed() {
        assert_eq!(check(&metadata("nimblenet-tasklet")), []);
    }

    #[test]
    fn siblings_must_not_see_each_other() {
        let findings = check(&metadata("nimblenet-wasm"));
        assert_eq!(
            findings,
            [Finding::of(
                "nimblenet-core",
                "must not depend on nimblenet-wasm"
            )]
        );
    }

    #[test]
    fn a_new_crate_needs_a_line_in_the_table() {
        let metadata = serde_json::json!({ "packages": [{ "name": "new", "dependencies": [] }] });
        assert_eq!(check(&metadata).len(), 1);
    }
}
