//! Rust, by cargo.
//!
//! The toolchain that the folder selects builds it if it has the target's standard library.
//! Debian's compiler comes without, and builds `core` and `alloc` itself from their source.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use serde_json::Value as Json;

use super::super::programs::{CARGO, WASM_LD};
use super::Build;

const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's compiler, which may stand behind another on the path.
const DEBIAN: &str = "/usr/bin";
/// What builds `core` and `alloc`, with the functions that other targets take from a C library.
const BUILD_STD: [&str; 2] = [
    "-Zbuild-std=core,alloc",
    "-Zbuild-std-features=compiler-builtins-mem",
];
/// The instructions that nodes run; the stack first, so that its overflow is a trap.
const FLAGS: [&str; 3] = [
    "-Ctarget-cpu=mvp",
    "-Ctarget-feature=+bulk-memory,+sign-ext,+nontrapping-fptoint",
    "-Clink-arg=--stack-first",
];

pub(super) fn module(build: &Build<'_>, stack_bytes: u32) -> anyhow::Result<PathBuf> {
    let mut cargo = cargo(build)?;
    // They replace all others, which are for other programs.
    cargo.env_remove("RUSTFLAGS");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    cargo.args(["--message-format=json-render-diagnostics", "--quiet"]);
    cargo.args(&build.project.settings.flags);
    let stack = format!("-Clink-arg=-zstack-size={stack_bytes}");
    let messages = build.read(cargo.args(["--", &stack]))?;
    artifact(&messages).context(
        "cargo made no module: the package needs `crate-type = [\"cdylib\"]` under [lib] of its \
         Cargo.toml",
    )
}

/// Cargo with the arguments that belong to the target.
fn cargo(build: &Build<'_>) -> anyhow::Result<Command> {
    let found = build.programs.find(CARGO.name);
    let path = found.as_ref().filter(|_| {
        let library = sysroot(build, build.programs.find("rustc"));
        library.is_some_and(|root| root.join("lib/rustlib").join(TARGET).exists())
    });
    let debian = Path::new(DEBIAN).join("cargo");
    let mut command = match path {
        Some(cargo) => Command::new(cargo),
        None if debian_builds(build) => Command::new(debian),
        None if found.is_none() => return Err(CARGO.missing()),
        None => {
            return Err(anyhow!(
                "the Rust compiler has no standard library for {TARGET}: run `rustup target add \
                 {TARGET}` (Debian: apt install rustc-web cargo-web rust-web-src lld)"
            ));
        }
    };
    command.current_dir(&build.project.root);
    command.args(["rustc", "--release", "--lib", "--target", TARGET]);
    if path.is_none() {
        as_debian(build, &mut command)?;
    }
    Ok(command)
}

/// Where a compiler keeps its libraries.
fn sysroot(build: &Build<'_>, rustc: Option<PathBuf>) -> Option<PathBuf> {
    let mut rustc = Command::new(rustc?);
    rustc.current_dir(&build.project.root);
    let answer = rustc.args(["--print", "sysroot"]).output().ok()?;
    let root = String::from_utf8(answer.stdout).ok()?;
    Some(PathBuf::from(root.trim()))
}

/// Whether Debian's compiler is there, with the source of `core`, and may be used.
fn debian_builds(build: &Build<'_>) -> bool {
    let on_path = build.programs.find(CARGO.name).is_some();
    let needed = ["cargo", "rustc", "../lib/rustlib/src/rust/library"];
    on_path
        && needed
            .iter()
            .all(|part| Path::new(DEBIAN).join(part).exists())
}

/// Debian's cargo with nothing of rustup's environment, which would lead it back there.
fn as_debian(build: &Build<'_>, cargo: &mut Command) -> anyhow::Result<()> {
    for name in [
        "CARGO",
        "RUSTDOC",
        "RUSTUP_TOOLCHAIN",
        "LD_LIBRARY_PATH",
        "RUSTC_WRAPPER",
    ] {
        cargo.env_remove(name);
    }
    let mut path = std::ffi::OsString::from(DEBIAN);
    path.push(":");
    path.push(build.programs.as_path());
    let linker = build.programs.newest(WASM_LD.name);
    cargo
        .env("PATH", path)
        .env("RUSTC", Path::new(DEBIAN).join("rustc"))
        // A stable compiler builds no `core` unless told that it may.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            linker.ok_or_else(|| WASM_LD.missing())?,
        )
        .args(BUILD_STD);
    Ok(())
}

/// The module among the files that cargo says it has made.
fn artifact(messages: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let files = messages.flat_map(|message: Json| match message["filenames"].as_array() {
        Some(files) => files.clone(),
        None => Vec::new(),
    });
    let mut files = files.filter_map(|file| file.as_str().map(PathBuf::from));
    files.rfind(|file| file.extension().is_some_and(|ending| ending == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_the_last_one_that_cargo_names() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["target/libsdk.rlib"]}
{"reason":"compiler-artifact","filenames":["target/a.wasm","target/a.d"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(artifact(messages), Some(PathBuf::from("target/a.wasm")));
        assert_eq!(artifact("{\"reason\":\"build-finished\"}"), None);
    }
}
