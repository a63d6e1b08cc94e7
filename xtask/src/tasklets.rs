//! Builds, shrinks and packs the tasklets of this repository.
//!
//! A tasklet is a folder `tasklets/<namespace>/<name>` with its manifest `tasklet.toml` and either
//! a Rust package, or `<name>.c`, or nothing else if it is native. The packed outputs are
//! committed, so that only who changes a tasklet needs a WebAssembly toolchain. Their bytes are
//! those of Debian's compilers (rustc 1.96, clang 14, binaryen 108), which continuous integration
//! has; another compiler makes equivalent modules of other bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::toolchain::Toolchain;
use crate::workspace;

const TARGET: &str = "wasm32-unknown-unknown";
/// What the interpreter understands beyond WebAssembly 1.0 and what shortens code.
const CLANG_FEATURES: [&str; 3] = ["-mbulk-memory", "-msign-ext", "-mnontrapping-fptoint"];
const OPTIMIZER_FEATURES: [&str; 3] = [
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
];
const CLANGS: [&str; 2] = ["clang-14", "clang"];

/// Builds all tasklets and writes `tasklets/packed`; with `check`, tests those in Rust and compares
/// with what is there.
///
/// # Errors
/// If a tool is missing or fails, or, with `check`, naming every packed output that differs.
pub(crate) fn run(check: bool) -> Result<()> {
    let tasklets = tasklets()?;
    let build = Build::prepare()?;
    if check {
        build.test_on_host()?;
    }
    let mut differing = Vec::new();
    for tasklet in &tasklets {
        let fresh = build.pack(tasklet)?;
        let path = packed_directory().join(tasklet.packed_name());
        if fs::read(&path).is_ok_and(|committed| committed == fresh) {
            continue;
        }
        if check {
            differing.push(format!(
                "{} differs from its sources",
                tasklet.packed_name()
            ));
        } else {
            fs::write(&path, &fresh).with_context(|| format!("writing {}", path.display()))?;
            println!("wrote {} ({} B)", tasklet.packed_name(), fresh.len());
        }
    }
    for stray in strays(&tasklets)? {
        if check {
            differing.push(format!("{stray} has no sources"));
        } else {
            fs::remove_file(packed_directory().join(&stray))?;
            println!("removed {stray}");
        }
    }
    if differing.is_empty() {
        println!(
            "{} tasklets are packed as their sources say",
            tasklets.len()
        );
        return Ok(());
    }
    if build.toolchain == Toolchain::Rustup {
        eprintln!(
            "note: built with rustup's {TARGET}; the committed bytes are those of Debian's \
             compilers, so differences may come from the compiler alone"
        );
    }
    bail!(
        "{}\nrun `cargo xtask tasklets` with Debian's compilers and commit tasklets/packed",
        differing.join("\n")
    )
}

/// A folder with a manifest.
struct Tasklet {
    namespace: String,
    name: String,
    directory: PathBuf,
    manifest: Manifest,
}

/// What building needs of a manifest; the packer reads and checks the rest.
struct Manifest {
    native: bool,
    stack_bytes: i64,
}

impl Tasklet {
    fn packed_name(&self) -> String {
        format!("{}-{}.nnp", self.namespace, self.name)
    }

    fn manifest_path(&self) -> PathBuf {
        self.directory.join("tasklet.toml")
    }
}

/// All tasklets, by namespace and name.
fn tasklets() -> Result<Vec<Tasklet>> {
    let mut tasklets = Vec::new();
    for namespace in folders(&tasklets_directory())? {
        for name in folders(&tasklets_directory().join(&namespace))? {
            let directory = tasklets_directory().join(&namespace).join(&name);
            let path = directory.join("tasklet.toml");
            if path.exists() {
                let manifest = Manifest::read(&path)?;
                let namespace = namespace.clone();
                tasklets.push(Tasklet {
                    namespace,
                    name,
                    directory,
                    manifest,
                });
            }
        }
    }
    Ok(tasklets)
}

impl Manifest {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        let table: toml::Table =
            toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let executor = table.get("executor").and_then(toml::Value::as_str);
        let stack = table.get("stack").and_then(toml::Value::as_integer);
        Ok(Self {
            native: executor == Some("native"),
            stack_bytes: stack.unwrap_or(1024),
        })
    }
}

/// The names of the folders in `directory`, sorted.
fn folders(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && !name.starts_with('.') && name != "target" {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Packed outputs of tasklets that are gone.
fn strays(tasklets: &[Tasklet]) -> Result<Vec<String>> {
    let known: Vec<_> = tasklets.iter().map(Tasklet::packed_name).collect();
    let mut strays = Vec::new();
    for entry in fs::read_dir(packed_directory())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
            strays.push(name);
        }
    }
    strays.sort();
    Ok(strays)
}

/// Tools and places of one run.
struct Build {
    toolchain: Toolchain,
    clang: &'static str,
    packer: PathBuf,
    /// Everything that is not committed goes here.
    target: PathBuf,
}

impl Build {
    fn prepare() -> Result<Self> {
        let toolchain = Toolchain::find(TARGET)?;
        let clang = CLANGS.into_iter().find(|name| exists(name));
        let clang = clang.context("clang is missing: install clang-14 and lld-14")?;
        if !exists("wasm-opt") {
            bail!("wasm-opt is missing: install binaryen");
        }
        workspace::run(workspace::cargo().args(["build", "--quiet", "-p", "nimblenet"]))?;
        let target = workspace::target_directory()?;
        let packer = target.join("debug/nimblenet");
        let target = target.join("tasklets");
        fs::create_dir_all(&target)?;
        fs::create_dir_all(packed_directory())?;
        Ok(Self {
            toolchain,
            clang,
            packer,
            target,
        })
    }

    /// Tests the arithmetic of the tasklets in Rust.
    fn test_on_host(&self) -> Result<()> {
        let mut cargo = workspace::cargo();
        cargo.current_dir(tasklets_directory());
        cargo.env("CARGO_TARGET_DIR", &self.target);
        workspace::run(cargo.args(["test", "--quiet", "--locked"]))
    }

    /// The packed bytes of a tasklet, from its sources.
    fn pack(&self, tasklet: &Tasklet) -> Result<Vec<u8>> {
        let out = self.target.join(tasklet.packed_name());
        let mut packer = Command::new(&self.packer);
        packer.arg("pack");
        if !tasklet.manifest.native {
            packer.arg(self.module(tasklet)?);
        }
        packer.arg("--manifest").arg(tasklet.manifest_path());
        packer
            .arg("--name")
            .arg(format!("{}/{}", tasklet.namespace, tasklet.name));
        packer.arg("-o").arg(&out);
        workspace::output(&mut packer)?;
        Ok(fs::read(&out)?)
    }

    /// The optimised module of a tasklet.
    fn module(&self, tasklet: &Tasklet) -> Result<PathBuf> {
        let built = if tasklet.directory.join("Cargo.toml").exists() {
            self.compile_rust(tasklet)?
        } else {
            self.compile_c(tasklet)?
        };
        let name = format!("{}-{}.wasm", tasklet.namespace, tasklet.name);
        let optimised = self.target.join(name);
        let mut optimizer = Command::new("wasm-opt");
        optimizer
            .arg("-Oz")
            .arg("--converge")
            .args(OPTIMIZER_FEATURES);
        optimizer.arg(built).arg("-o").arg(&optimised);
        workspace::run(&mut optimizer)?;
        Ok(optimised)
    }

    fn compile_rust(&self, tasklet: &Tasklet) -> Result<PathBuf> {
        let package = format!("{}-{}", tasklet.namespace, tasklet.name);
        let stack = format!("-Clink-arg=-zstack-size={}", tasklet.manifest.stack_bytes);
        let mut cargo = self.toolchain.cargo("rustc", TARGET);
        // The folder's own configuration has the compiler's flags.
        cargo.current_dir(tasklets_directory());
        cargo.env("CARGO_TARGET_DIR", &self.target);
        cargo.args([
            "--quiet",
            "--locked",
            "--release",
            "--lib",
            "--package",
            &package,
        ]);
        cargo.args(["--", &stack]);
        if self.toolchain == Toolchain::Debian {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-14");
        }
        workspace::run(&mut cargo)?;
        let file = format!("{}.wasm", package.replace('-', "_"));
        Ok(self.target.join(TARGET).join("release").join(file))
    }

    fn compile_c(&self, tasklet: &Tasklet) -> Result<PathBuf> {
        let source = tasklet.directory.join(format!("{}.c", tasklet.name));
        let object = format!("{}-{}.o.wasm", tasklet.namespace, tasklet.name);
        let out = self.target.join(object);
        let mut clang = Command::new(self.clang);
        clang.args([
            "--target=wasm32",
            "-mcpu=mvp",
            "-Oz",
            "-std=c11",
            "-Wall",
            "-Wextra",
        ]);
        clang.args(["-Werror", "-ffreestanding", "-nostdlib", "-fno-math-errno"]);
        clang.args(CLANG_FEATURES);
        clang
            .arg("-I")
            .arg(workspace::root().join("crates/nimblenet-sdk/include"));
        clang.arg(source).arg("-o").arg(&out);
        clang.args(["-Wl,--no-entry,--strip-all,--stack-first,--export=__data_end"]);
        clang.arg(format!("-Wl,-zstack-size={}", tasklet.manifest.stack_bytes));
        workspace::run(&mut clang)?;
        Ok(out)
    }
}

fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn tasklets_directory() -> PathBuf {
    workspace::root().join("tasklets")
}

fn packed_directory() -> PathBuf {
    tasklets_directory().join("packed")
}
