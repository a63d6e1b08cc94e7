//! The programs that compile tasklets: where they are, and how to get a missing one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::{Coded, MISSING_PROGRAM};

/// A program that may be missing on a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The name of its file.
    pub(crate) name: &'static str,
    /// What it does: the clause after "which".
    pub(crate) does: &'static str,
    /// How to get it.
    pub(crate) get: &'static str,
}

/// The compiler of C and C++.
pub(super) const CLANG: Wanted = Wanted {
    name: "clang",
    does: "compiles C and C++",
    get: "Debian and Ubuntu: apt install clang lld; Fedora: dnf install clang lld; \
          macOS: brew install llvm lld",
};

/// The linker of C and C++.
pub(super) const WASM_LD: Wanted = Wanted {
    name: "wasm-ld",
    does: "links WebAssembly modules",
    get: "Debian and Ubuntu: apt install lld; Fedora: dnf install lld; macOS: brew install lld",
};

/// The optimiser.
pub(super) const WASM_OPT: Wanted = Wanted {
    name: "wasm-opt",
    does: "makes modules smaller",
    get: "Debian, Ubuntu and Fedora: install binaryen; macOS: brew install binaryen",
};

/// Rust's build tool.
pub(super) const CARGO: Wanted = Wanted {
    name: "cargo",
    does: "builds Rust",
    get: "install rustup, then: rustup target add wasm32-unknown-unknown",
};

/// AssemblyScript's compiler.
pub(super) const ASC: Wanted = Wanted {
    name: "asc",
    does: "compiles AssemblyScript",
    get: "run `npm install` in the tasklet's folder (Debian and Ubuntu: apt install nodejs npm; \
          macOS: brew install node)",
};

/// The program that runs AssemblyScript's compiler.
pub(super) const NODE: Wanted = Wanted {
    name: "node",
    does: "runs the compiler of AssemblyScript",
    get: "Debian and Ubuntu: apt install nodejs npm; macOS: brew install node",
};

/// Zig's compiler.
pub(super) const ZIG: Wanted = Wanted {
    name: "zig",
    does: "compiles Zig",
    get: "pip install ziglang, or macOS: brew install zig",
};

impl Wanted {
    /// The error if it is missing.
    pub(super) fn missing(&self) -> anyhow::Error {
        let Self { name, does, get } = self;
        Coded::new(
            MISSING_PROGRAM,
            format!("{name} is missing, which {does}; {get}"),
        )
        .into()
    }
}

/// The folders in which programs are searched.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    path: Vec<PathBuf>,
}

impl Programs {
    /// Those of the environment variable `PATH`, after those of the WASI SDK if it is there
    /// (`WASI_SDK_PATH`).
    pub(crate) fn of_environment() -> Self {
        let sdk = std::env::var_os("WASI_SDK_PATH").map(|sdk| Path::new(&sdk).join("bin"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
        Self {
            path: sdk.into_iter().chain(folders).collect(),
        }
    }

    /// The program of exactly this name.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let mut places = self.path.iter().map(|folder| folder.join(name));
        places.find(|place| is_program(place))
    }

    /// The program of this name, or else the highest version of it, `name-14`.
    pub(super) fn newest(&self, name: &str) -> Option<PathBuf> {
        self.find(name).or_else(|| {
            let files = self.path.iter().filter_map(|folder| folder.read_dir().ok());
            let files = files.flatten().filter_map(Result::ok);
            let versions = files.filter_map(|file| {
                let version = version(&file.file_name().to_string_lossy(), name)?;
                Some((version, file.path()))
            });
            let programs = versions.filter(|(_, path)| is_program(path));
            let newest = programs.max_by_key(|(version, _)| *version);
            newest.map(|(_, path)| path)
        })
    }

    /// The program of this name that belongs to `other`, whose version it shares, or else the
    /// newest version.
    pub(super) fn beside(&self, name: &str, other: &Path) -> Option<PathBuf> {
        let other = other.file_name().map(|name| name.to_string_lossy());
        let version = other.as_ref().and_then(|other| other.rsplit_once('-'));
        let version = version.and_then(|(_, version)| version.parse::<u32>().ok());
        let same = version.and_then(|version| self.find(&format!("{name}-{version}")));
        same.or_else(|| self.newest(name))
    }

    /// The folders in the form of the environment variable.
    pub(super) fn as_path(&self) -> OsString {
        std::env::join_paths(&self.path).unwrap_or_default()
    }
}

/// The number in `name-14`.
fn version(file: &str, name: &str) -> Option<u32> {
    file.strip_prefix(name)?.strip_prefix('-')?.parse().ok()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let there = path.metadata();
    there.is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn programs(names: &[&str]) -> (tempfile::TempDir, Programs) {
        let dir = tempfile::tempdir().expect("a folder");
        for name in names {
            let path = dir.path().join(name);
            fs::write(&path, "").expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
        }
        let path = vec![dir.path().to_owned()];
        (dir, Programs { path })
    }

    fn name(found: Option<PathBuf>) -> Option<String> {
        let name = found?.file_name()?.to_string_lossy().into_owned();
        Some(name)
    }

    #[test]
    fn a_program_is_found_by_its_name_or_by_its_highest_version() {
        let (_dir, debian) = programs(&["clang-9", "clang-14", "clang-14.cfg", "clang-tidy-15"]);
        assert_eq!(name(debian.newest("clang")).as_deref(), Some("clang-14"));
        let (_dir, plain) = programs(&["clang", "clang-14"]);
        assert_eq!(name(plain.newest("clang")).as_deref(), Some("clang"));
        let (_dir, none) = programs(&[]);
        assert_eq!(none.newest("clang"), None);
    }

    #[test]
    fn the_linker_is_that_of_the_compilers_version() {
        let (_dir, both) = programs(&["wasm-ld-13", "wasm-ld-14", "wasm-ld"]);
        let of = |clang: &str| name(both.beside("wasm-ld", Path::new(clang)));
        assert_eq!(of("bin/clang-13").as_deref(), Some("wasm-ld-13"));
        assert_eq!(of("bin/clang-12").as_deref(), Some("wasm-ld"));
        assert_eq!(of("bin/clang").as_deref(), Some("wasm-ld"));
    }

    #[test]
    fn a_file_that_cannot_be_started_is_no_program() {
        let (dir, programs) = programs(&["clang"]);
        let path = dir.path().join("clang");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a file");
        assert_eq!(programs.find("clang"), None);
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder");
        assert_eq!(programs.find("clang"), None);
    }
}
