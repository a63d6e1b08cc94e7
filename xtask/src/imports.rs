//! The purity of the core, proved by its linker: as a wasm module it imports nothing.
//!
//! A core that read a clock, opened a socket or asked for randomness would have to import it.
//! A probe crate adds what every program without a standard library needs (panic handler,
//! allocator); all its objects, whether used or not, are linked into one module, and what is
//! then still undefined would be an import. The probe is not optimised, because the optimiser
//! leaves the code of small functions to the crates that call them, and none does here.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use wasmparser::{Parser, Payload};

use crate::toolchain::Toolchain;
use crate::workspace;

const TARGET: &str = "wasm32-unknown-unknown";
const CRATE: &str = "nimblenet-core";

/// The probe: all of the core, and what an embedding program adds.
const PROBE: &str = r#"#![no_std]
extern crate nimblenet_core;

struct Nothing;

unsafe impl core::alloc::GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: core::alloc::Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}
}

#[global_allocator]
static NOTHING: Nothing = Nothing;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
"#;

/// Links all of the core into one module and fails if that imports anything.
pub(crate) fn run() -> Result<()> {
    let directory = workspace::target_directory()?.join("imports");
    write_probe(&directory)?;
    let toolchain = Toolchain::find(TARGET)?;
    let mut build = toolchain.cargo("build", TARGET);
    build
        .args(["--release", "--manifest-path"])
        .arg(directory.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", directory.join("target"));
    workspace::run(&mut build)?;

    let module = directory.join("core.wasm");
    let mut link = toolchain.wasm_linker()?;
    link.args([
        "--no-entry",
        "--no-gc-sections",
        "--allow-undefined",
        "--whole-archive",
    ])
    .arg(
        directory
            .join("target")
            .join(TARGET)
            .join("release/libprobe.a"),
    )
    .arg("-o")
    .arg(&module);
    workspace::run(&mut link)?;

    let bytes = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let imports = imports(&bytes)?;
    if !imports.is_empty() {
        bail!("{CRATE} needs from outside: {}", imports.join(", "));
    }
    eprintln!(
        "{CRATE} as a wasm module: {} bytes, no imports",
        bytes.len()
    );
    Ok(())
}

fn write_probe(directory: &Path) -> Result<()> {
    let source = directory.join("src");
    fs::create_dir_all(&source).with_context(|| format!("cannot make {}", source.display()))?;
    let core = workspace::root().join("crates").join(CRATE);
    let manifest = format!(
        "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"staticlib\"]\n\n\
         [dependencies]\n{CRATE} = {{ path = {core:?} }}\n\n\
         [profile.release]\npanic = \"abort\"\nopt-level = 0\n\n[workspace]\n"
    );
    fs::write(directory.join("Cargo.toml"), manifest).context("cannot write the probe")?;
    fs::write(source.join("lib.rs"), PROBE).context("cannot write the probe")?;
    // The versions that the workspace has settled on; what the probe does not use is dropped.
    fs::copy(
        workspace::root().join("Cargo.lock"),
        directory.join("Cargo.lock"),
    )
    .context("cannot copy Cargo.lock")?;
    Ok(())
}

/// The imports of a module as `module.field`.
fn imports(module: &[u8]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload.context("not a wasm module")? {
            for import in section.into_imports() {
                let import = import.context("not a wasm module")?;
                found.push(format!("{}.{}", import.module, import.name));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_named() {
        // (module (import "env" "now" (func)))
        let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x0b\x01\x03env\x03now\0\0";
        assert_eq!(imports(module).unwrap(), ["env.now"]);
        assert!(imports(b"\0asm\x01\0\0\0").unwrap().is_empty());
        assert!(imports(b"\x7fELF").is_err());
    }
}
