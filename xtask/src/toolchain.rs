//! Which compiler builds for a target that is not the host's.
//!
//! With rustup the pinned toolchain does, once `rustup target add` has fetched the target's
//! standard library. Where that cannot be fetched, the compiler that Debian packages
//! (`rustc-web`, `cargo-web`, `rust-web-src`) builds `core` and `alloc` itself, and Debian's
//! linkers do the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::workspace;

/// Debian's cargo.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// Debian's compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Debian's source of `core` and `alloc`.
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";
/// What builds `core` and `alloc`; mem: bare metal has no C library to take `memcpy` from.
const BUILD_STD: [&str; 2] = [
    "-Zbuild-std=core,alloc",
    "-Zbuild-std-features=compiler-builtins-mem",
];

/// The same; optimize_for_size: divisions, sorts and searches of `core` that are short, not fast.
const BUILD_SMALL_STD: [&str; 2] = [
    "-Zbuild-std=core,alloc",
    "-Zbuild-std-features=compiler-builtins-mem,optimize_for_size",
];

/// A compiler that can build for a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Toolchain {
    /// The pinned stable toolchain, with the target's standard library from rustup.
    Rustup,
    /// The distribution's compiler, which builds the target's standard library itself.
    Debian,
}

impl Toolchain {
    /// Finds out which toolchain there is for a target.
    pub(crate) fn find(target: &str) -> Result<Self> {
        if rustup_has(target) {
            return Ok(Self::Rustup);
        }
        if debian_has_source() {
            return Ok(Self::Debian);
        }
        bail!(
            "nothing here builds for {target}: run `rustup target add {target}`, or install \
             Debian's rustc-web, cargo-web and rust-web-src"
        )
    }

    /// Finds out which toolchain builds `core` itself for a target, as images need it.
    pub(crate) fn find_with_source(target: &str) -> Result<Self> {
        if rustup_has(target) && rustup_has_source()? {
            return Ok(Self::Rustup);
        }
        if debian_has_source() {
            return Ok(Self::Debian);
        }
        bail!(
            "images build `core` themselves: run `rustup target add {target}` and `rustup component \
             add rust-src`, or install Debian's rustc-web, cargo-web and rust-web-src"
        )
    }

    /// A cargo command for the target, in the root of the repository.
    ///
    /// Subcommand and arguments that belong to the target are in place.
    pub(crate) fn cargo(self, subcommand: &str, target: &str) -> Command {
        let mut command = match self {
            Self::Rustup => workspace::cargo(),
            Self::Debian => debian_cargo(),
        };
        command.args([subcommand, "--target", target]);
        if self == Self::Debian {
            command.args(BUILD_STD);
        }
        command
    }

    /// The same, with `core` and `alloc` built for the smallest size and with the flags of the
    /// rest, for the target without a frame pointer. `folder` takes the target's description.
    pub(crate) fn cargo_with_core(
        self,
        subcommand: &str,
        target: &str,
        folder: &Path,
    ) -> Result<Command> {
        let mut command = match self {
            Self::Rustup => rustup_cargo_with_source(),
            Self::Debian => debian_cargo(),
        };
        let target = self.without_frame_pointer(target, folder)?;
        command.arg(subcommand).arg("--target").arg(target);
        command.arg("-Zjson-target-spec").args(BUILD_SMALL_STD);
        Ok(command)
    }

    /// Describes a target that differs from a known one in that no register is kept for a frame
    /// pointer: processors with eight registers that every instruction takes can use one more,
    /// and no flag turns it off. Returns the file, whose name is the target's.
    fn without_frame_pointer(self, target: &str, folder: &Path) -> Result<PathBuf> {
        let mut rustc = match self {
            Self::Rustup => Command::new("rustc"),
            Self::Debian => Command::new(DEBIAN_RUSTC),
        };
        rustc
            .current_dir(workspace::root())
            .args(["-Zunstable-options", "--print", "target-spec-json"])
            .args(["--target", target])
            .env("RUSTC_BOOTSTRAP", "1");
        let mut known: Value = serde_json::from_str(&workspace::output(&mut rustc)?)
            .with_context(|| format!("the description of {target} is no JSON"))?;
        known["frame-pointer"] = "may-omit".into();
        let text = serde_json::to_string_pretty(&known)?;
        let file = folder.join(target).with_extension("json");
        // Written only if it differs: its time tells cargo whether to build everything anew.
        if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&file, text))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(file)
    }

    /// A linker for wasm objects, with the arguments that select it.
    pub(crate) fn wasm_linker(self) -> Result<Command> {
        match self {
            Self::Rustup => {
                let mut rustc = Command::new("rustc");
                rustc
                    .current_dir(workspace::root())
                    .args(["--print", "target-libdir"]);
                let libraries = workspace::output(&mut rustc)?;
                let mut linker = Command::new(Path::new(libraries.trim()).join("../bin/rust-lld"));
                linker.args(["-flavor", "wasm"]);
                Ok(linker)
            }
            Self::Debian => Ok(Command::new("wasm-ld-14")),
        }
    }
}

fn rustup_has(target: &str) -> bool {
    let mut rustup = Command::new("rustup");
    rustup
        .current_dir(workspace::root())
        .args(["target", "list", "--installed"]);
    rustup.output().is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line.trim() == target)
    })
}

/// Whether Debian's compiler and the source of its `core` and `alloc` are there.
fn debian_has_source() -> bool {
    let needed = [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_SOURCE];
    needed.iter().all(|path| Path::new(path).exists())
}

/// Whether the pinned toolchain has the standard library's source.
fn rustup_has_source() -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(workspace::root())
        .args(["--print", "sysroot"]);
    let sysroot = workspace::output(&mut rustc)?;
    Ok(Path::new(sysroot.trim())
        .join("lib/rustlib/src/rust/library")
        .exists())
}

/// The pinned toolchain, which is to build the standard library itself.
fn rustup_cargo_with_source() -> Command {
    let mut command = workspace::cargo();
    // A stable compiler refuses -Z options unless told that it is nightly.
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

/// Debian's cargo with nothing of rustup's environment left, which would lead it back there.
fn debian_cargo() -> Command {
    let mut command = Command::new(DEBIAN_CARGO);
    command.current_dir(workspace::root());
    for name in [
        "CARGO",
        "RUSTDOC",
        "RUSTUP_TOOLCHAIN",
        "LD_LIBRARY_PATH",
        "RUSTC_WRAPPER",
    ] {
        command.env_remove(name);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("/usr/bin:{path}"))
        .env("RUSTC", DEBIAN_RUSTC)
        // The pinned stable compiler refuses -Z options; this one is told that it is nightly.
        .env("RUSTC_BOOTSTRAP", "1");
    command
}
