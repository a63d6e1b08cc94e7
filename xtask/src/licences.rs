//! Licences and versions of the dependencies, held against `deny.toml`.
//!
//! `cargo deny` does it where it is installed. Building that takes longer than most of continuous
//! integration together, so without it the two questions that matter for every change are
//! answered here from the same file: is each licence allowed, and does each requirement of a
//! workspace crate name a version.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use spdx::{Expression, ParseMode};

use crate::{emulator, workspace};

/// Projects with dependencies of their own.
const PROJECTS: [&str; 4] = ["", "firmware/mps2", "firmware/rp2040", "firmware/runner"];

/// Checks with cargo-deny or, where that is not installed, without.
pub(crate) fn run() -> Result<()> {
    // Without it the runner's dependencies cannot be resolved.
    emulator::prepare()?;
    if has_cargo_deny() {
        return PROJECTS.into_iter().try_for_each(cargo_deny);
    }
    eprintln!("cargo-deny is not installed: licences, wildcards and sources are checked without");
    let text =
        fs::read_to_string(workspace::root().join("deny.toml")).context("cannot read deny.toml")?;
    let allowed = allowed(&text)?;
    let mut wrong = 0;
    for project in PROJECTS {
        wrong += check(project, &allowed)?;
    }
    if wrong > 0 {
        bail!("{wrong} complaints about dependencies");
    }
    Ok(())
}

/// Runs cargo-deny. Advisories are a database on another server, and a build must not depend on
/// its mood.
fn cargo_deny(project: &str) -> Result<()> {
    let root = workspace::root();
    let mut command = workspace::cargo();
    command
        .args(["deny", "--config"])
        .arg(root.join("deny.toml"))
        .arg("--manifest-path")
        .arg(root.join(project).join("Cargo.toml"));
    workspace::run(command.args(["check", "bans", "licenses", "sources"]))
}

/// Prints what is wrong with the dependencies of one project; returns how much it is.
fn check(project: &str, allowed: &[String]) -> Result<usize> {
    let metadata = workspace::metadata_of(project, true)?;
    let packages = metadata["packages"]
        .as_array()
        .context("no packages in the metadata")?;
    let wrong: Vec<String> = packages
        .iter()
        .flat_map(|package| complaints(package, allowed))
        .collect();
    for line in &wrong {
        eprintln!("{line}");
    }
    eprintln!("{} packages below ./{project}", packages.len());
    for (name, versions) in duplicates(packages) {
        eprintln!(
            "remark: {name} is there in versions {}",
            versions.join(", ")
        );
    }
    Ok(wrong.len())
}

fn has_cargo_deny() -> bool {
    let mut command = Command::new("cargo-deny");
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The licences that `deny.toml` allows.
fn allowed(text: &str) -> Result<Vec<String>> {
    let table: toml::Table = text.parse().context("deny.toml is not TOML")?;
    let list = table
        .get("licenses")
        .and_then(|licences| licences.get("allow"));
    let list = list
        .and_then(toml::Value::as_array)
        .context("deny.toml allows no licences")?;
    Ok(list
        .iter()
        .filter_map(|licence| licence.as_str().map(String::from))
        .collect())
}

/// What is wrong with one package.
fn complaints(package: &Value, allowed: &[String]) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or("?");
    let version = package["version"].as_str().unwrap_or("?");
    let mut wrong = Vec::new();
    match package["license"].as_str() {
        None => wrong.push(format!("{name} {version} names no licence")),
        Some(licence) if !acceptable(licence, allowed) => {
            wrong.push(format!(
                "{name} {version} is under {licence}, which is not allowed"
            ));
        }
        Some(_) => {}
    }
    let source = package["source"].as_str();
    if source.is_some_and(|source| !source.starts_with("registry+")) {
        wrong.push(format!("{name} {version} does not come from a registry"));
    }
    if source.is_none() {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies.filter(|dependency| dependency["req"] == "*") {
            if dependency["path"].is_null() {
                wrong.push(format!(
                    "{name} takes any version of {}",
                    dependency["name"]
                ));
            }
        }
    }
    wrong
}

/// Whether the terms of an expression can be met with the allowed licences alone.
fn acceptable(licence: &str, allowed: &[String]) -> bool {
    // Old manifests write MIT/Apache-2.0.
    let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|requirement| allowed.contains(&requirement.to_string()))
}

/// Packages that are there in several versions.
fn duplicates(packages: &[Value]) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for package in packages {
        let (Some(name), Some(version)) = (package["name"].as_str(), package["version"].as_str())
        else {
            continue;
        };
        match found.iter_mut().find(|(other, _)| *other == name) {
            Some((_, versions)) => versions.push(version),
            None => found.push((name, vec![version])),
        }
    }
    found.retain(|(_, versions)| versions.len() > 1);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn licences(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        let allowed = licences(&["MIT"]);
        assert!(acceptable("MIT OR GPL-3.0-only", &allowed));
        assert!(acceptable("MIT/Apache-2.0", &allowed));
        assert!(!acceptable("GPL-3.0-only", &allowed));
        assert!(!acceptable("my own terms", &allowed));
    }

    #[test]
    fn all_conjoined_terms_must_be_allowed() {
        let terms = "(MIT OR Apache-2.0) AND Unicode-3.0";
        assert!(!acceptable(terms, &licences(&["MIT"])));
        assert!(acceptable(terms, &licences(&["MIT", "Unicode-3.0"])));
    }

    #[test]
    fn exceptions_are_licences_of_their_own() {
        let terms = "Apache-2.0 WITH LLVM-exception";
        assert!(!acceptable(terms, &licences(&["Apache-2.0"])));
        assert!(acceptable(
            terms,
            &licences(&["Apache-2.0 WITH LLVM-exception"])
        ));
    }

    #[test]
    fn strange_sources_and_wildcards_are_complained_about() {
        let allowed = licences(&["MIT"]);
        let package = serde_json::json!({
            "name": "a", "version": "1.0.0", "license": "MIT", "source": "git+ssh://x",
        });
        assert_eq!(
            complaints(&package, &allowed),
            ["a 1.0.0 does not come from a registry"]
        );
        let package = serde_json::json!({
            "name": "a", "version": "1.0.0", "license": "MIT", "source": null,
            "dependencies": [{ "name": "b", "req": "*", "path": null }],
        });
        assert_eq!(
            complaints(&package, &allowed),
            ["a takes any version of \"b\""]
        );
    }
}
