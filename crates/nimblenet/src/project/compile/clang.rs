//! C and C++, by clang and lld.
//!
//! Without a C library the linker is called directly. With one, clang calls it, because it knows
//! where its library is; it is given no `-O` then, with which it would also run whatever
//! `wasm-opt` it finds, with flags of its own.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::super::programs::{CLANG, WASM_LD};
use super::Build;

/// What tasklets include.
const HEADERS: [(&str, &str); 2] = [
    (
        "nimblenet.h",
        include_str!("../../../../nimblenet-sdk/include/nimblenet.h"),
    ),
    // In place of the C library's, which writes to a console.
    (
        "assert.h",
        include_str!("../../../../nimblenet-sdk/include/assert.h"),
    ),
];

/// The instructions that nodes run, and small code.
const COMMON: [&str; 9] = [
    "-mcpu=mvp",
    "-mbulk-memory",
    "-msign-ext",
    "-mnontrapping-fptoint",
    "-Oz",
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    "-c",
];
/// With what compilers know beyond the standards, which much C takes for granted.
const C: [&str; 2] = ["-std=gnu11", "-Werror=implicit-function-declaration"];
const CPP: [&str; 4] = [
    "-std=gnu++17",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
];
/// What the packer has to know: where data ends, and where lists cross if the module says so.
const EXPORTS: [&str; 2] = ["--export=__data_end", "--export-if-defined=nimblenet_area"];

pub(super) fn module(
    build: &Build<'_>,
    sources: &[PathBuf],
    stack_bytes: u32,
) -> anyhow::Result<PathBuf> {
    let clang = build.programs.newest(CLANG.name);
    let clang = clang.ok_or_else(|| CLANG.missing())?;
    let linker = build.programs.beside(WASM_LD.name, &clang);
    let linker = linker.ok_or_else(|| WASM_LD.missing())?;
    let include = build.target.join("include");
    let write = |(name, text): &(&str, &str)| fs::write(include.join(name), text);
    fs::create_dir_all(&include)
        .and_then(|()| HEADERS.iter().try_for_each(write))
        .with_context(|| format!("writing {}", include.display()))?;
    let mut objects = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let object = build.place(format!("{at}.o"));
        let mut command = compiler(build, &clang, source);
        command.arg("-I").arg(&include).arg(source);
        command.arg("-o").arg(&object);
        let compiled = build.run_with_hint(&mut command, |said| hint(build, said));
        compiled.with_context(|| format!("compiling {}", source.display()))?;
        objects.push(object);
    }
    let module = build.place("wasm");
    let mut command = match build.project.settings.libc {
        true => link_with_library(&clang, stack_bytes),
        false => link(&linker, stack_bytes),
    };
    command.args(&objects).arg("-o").arg(&module);
    let linked = build.run_with_hint(&mut command, |said| hint(build, said));
    linked.with_context(|| format!("linking {}", module.display()))?;
    Ok(module)
}

/// Compiles one file.
fn compiler(build: &Build<'_>, clang: &Path, source: &Path) -> Command {
    let mut command = Command::new(clang);
    command.args(COMMON);
    match build.project.settings.libc {
        true => command.arg("--target=wasm32-wasi"),
        false => command.args(["--target=wasm32", "-ffreestanding"]),
    };
    match source.extension().is_some_and(|ending| ending == "c") {
        true => command.args(C),
        false => command.args(CPP),
    };
    if io::stderr().is_terminal() {
        command.arg("-fcolor-diagnostics");
    }
    command.args(&build.project.settings.flags);
    command
}

fn link(linker: &Path, stack_bytes: u32) -> Command {
    let mut command = Command::new(linker);
    command.args(["--no-entry", "--stack-first"]);
    command.args(EXPORTS).arg("-z");
    command.arg(format!("stack-size={stack_bytes}"));
    command
}

/// A module with a C library is a reactor: it has functions to call, and no `main`.
fn link_with_library(clang: &Path, stack_bytes: u32) -> Command {
    let mut command = Command::new(clang);
    command.args(["--target=wasm32-wasi", "-mexec-model=reactor"]);
    command.arg("-Wl,--stack-first");
    command.args(EXPORTS.map(|export| format!("-Wl,{export}")));
    command.arg(format!("-Wl,-z,stack-size={stack_bytes}"));
    command
}

/// What helps where a header or a function is missing: probably one of the C library.
fn hint(build: &Build<'_>, said: &str) -> Option<&'static str> {
    /// Of the library's own files.
    const FILES: [&str; 3] = ["file not found", "cannot open", "unable to find library"];
    /// Of its functions; with the library these are the author's.
    const FUNCTIONS: [&str; 2] = ["undefined symbol", "implicit-function-declaration"];
    let misses = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if said.contains("No available targets") || said.contains("unable to create target") {
        return Some("this clang does not compile for wasm32; take LLVM's own or the WASI SDK");
    }
    let libc = build.project.settings.libc;
    if !misses(&FILES) && (libc || !misses(&FUNCTIONS)) {
        return None;
    }
    Some(match libc {
        true => {
            "if the C library is not installed: Debian and Ubuntu: apt install wasi-libc and \
             libclang-rt-14-dev-wasm32, with clang's version for 14; elsewhere: the WASI SDK, \
             with its folder in WASI_SDK_PATH"
        }
        false => {
            "if it is of the C library: `libc = true` in the table [build] of tasklet.toml \
             links one"
        }
    })
}
