//! Builds and runs what `nimblenet new` makes, in every language whose compiler is here or can be
//! fetched, and goes the way of a new user with one of them.
//!
//! Compilers of C, C++ and Rust come from the packages that `.ci/run` installs. npm and pip bring
//! those of AssemblyScript and Zig; where they are missing the language is said to be left out.

mod newcomer;
pub(crate) mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::workspace;

/// The version of Zig that is fetched where there is none.
const ZIG: &str = "ziglang==0.13.0";

/// A language of templates.
struct Language {
    /// What `--lang` calls it.
    name: &'static str,
    /// The ending of its source, where one file is the source.
    ending: Option<&'static str>,
    /// Brings the compiler for a tasklet's folder; says what is missing for that.
    prepare: fn(&Desk, &Path) -> Result<Option<&'static str>>,
    /// Other sources, each with a bound on its module's bytes.
    others: &'static [Other],
}

/// A source that is built in place of the template's.
struct Other {
    name: &'static str,
    source: &'static str,
    signature: &'static str,
    args: &'static [&'static str],
    results: &'static str,
    bytes_max: u64,
}

/// The bound on a template's module, which is the mean of a list.
const MEAN_BYTES_MAX: u64 = 170;

const LANGUAGES: [Language; 5] = [
    Language {
        name: "c",
        ending: Some("c"),
        prepare: |_, _| Ok(None),
        others: &[
            Other {
                name: "add",
                source: "#include <nimblenet.h>\n\
                    NN_EXPORT(\"run\") int32_t run(int32_t a, int32_t b) { return a + b; }\n",
                signature: "func(a: s32, b: s32) -> s32",
                args: &["2", "3"],
                results: "[5]",
                bytes_max: 60,
            },
            Other {
                name: "rms",
                source: include_str!("../../tasklets/std/rms/rms.c"),
                signature: "func(samples: list<f32>) -> f32",
                args: &["[3, -3, 3]"],
                results: "[3.0]",
                bytes_max: 110,
            },
        ],
    },
    Language {
        name: "cpp",
        ending: Some("cpp"),
        prepare: |_, _| Ok(None),
        others: &[Other {
            // A constructor that runs before the first call.
            name: "static",
            source: "#include <nimblenet.h>\n\
                struct Table {\n    int32_t cells[8];\n    \
                Table() { for (auto &cell : cells) cell = 42 + (nn_random_u32() & 0); }\n};\n\
                static Table table;\n\
                NN_EXPORT(\"run\") int32_t run(uint32_t at) { return table.cells[at & 7]; }\n",
            signature: "func(at: u32) -> s32",
            args: &["3"],
            results: "[42]",
            bytes_max: 250,
        }],
    },
    Language {
        name: "rust",
        ending: None,
        prepare: |_, _| Ok(None),
        others: &[],
    },
    Language {
        name: "as",
        ending: Some("ts"),
        prepare: Desk::fetch_assemblyscript,
        others: &[
            Other {
                name: "add",
                source: "export function run(a: i32, b: i32): i32 { return a + b; }\n",
                signature: "func(a: s32, b: s32) -> s32",
                args: &["2", "3"],
                results: "[5]",
                bytes_max: 60,
            },
            Other {
                name: "rms",
                source: "export function run(samples: usize, count: u32): f32 {\n  \
                    let energy: f32 = 0;\n  const end = samples + (count << 2);\n  \
                    for (let at = samples; at < end; at += 4) {\n    \
                    const sample = load<f32>(at);\n    energy += sample * sample;\n  }\n  \
                    return count ? sqrt<f32>(energy / f32(count)) : 0;\n}\n",
                signature: "func(samples: list<f32>) -> f32",
                args: &["[3, -3, 3]"],
                results: "[3.0]",
                bytes_max: 110,
            },
        ],
    },
    Language {
        name: "zig",
        ending: Some("zig"),
        prepare: Desk::fetch_zig,
        others: &[],
    },
];

/// Builds, tests and runs the templates, prints their sizes, and times a new user's way.
///
/// # Errors
/// If one of them does not do what it should, or is larger than it may be.
pub(crate) fn run() -> Result<()> {
    workspace::run(workspace::cargo().args(["build", "--quiet", "-p", "nimblenet"]))?;
    let desk = Desk::clear("templates")?;
    println!("{:<5} {:<7} {:>8} {:>8}", "", "source", "module", "memory");
    for language in &LANGUAGES {
        desk.try_language(language)
            .with_context(|| format!("the template for {}", language.name))?;
    }
    desk.try_library().context("a tasklet with a C library")?;
    desk.try_assertion()
        .context("a tasklet with an assertion")?;
    newcomer::run(&desk)
}

/// A folder for tasklets, and the binary.
struct Desk {
    binary: PathBuf,
    folder: PathBuf,
    /// Where a compiler of Zig is put.
    zig: PathBuf,
    /// What cargo builds for tasklets.
    rust: PathBuf,
}

impl Desk {
    /// An empty folder of this name.
    fn clear(name: &str) -> Result<Self> {
        let target = workspace::target_directory()?;
        let folder = target.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).context("clearing the folder for tasklets")?;
        }
        fs::create_dir_all(&folder).context("making the folder for tasklets")?;
        Ok(Self {
            binary: target.join("debug/nimblenet"),
            folder,
            zig: target.join("ziglang"),
            rust: target.join("authors"),
        })
    }

    /// The binary, in the folder of tasklets.
    fn nimblenet(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.folder);
        // `core` is built once for all tasklets.
        command.env("CARGO_TARGET_DIR", &self.rust);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([self.zig.join("ziglang")]);
        command.env("PATH", std::env::join_paths(folders).unwrap_or(path));
        command
    }

    /// What a verb prints as JSON.
    fn json(&self, args: &[&str]) -> Result<Value> {
        let text = workspace::output(self.nimblenet().args(args).arg("--json"))?;
        serde_json::from_str(&text).with_context(|| format!("{args:?} printed no JSON: {text}"))
    }

    fn try_language(&self, language: &Language) -> Result<()> {
        let name = format!("mean-{}", language.name);
        self.json(&["new", &name, "--lang", language.name])?;
        let folder = self.folder.join(&name);
        if let Some(missing) = (language.prepare)(self, &folder)? {
            println!(
                "{:<5} is left out: {missing} is not installed here",
                language.name
            );
            return Ok(());
        }
        let report = self.json(&["build", &name])?;
        self.weigh(language, "mean", &report, MEAN_BYTES_MAX)?;
        let names = folder.join("target").join(format!("local-{name}.names"));
        let names = fs::read_to_string(&names).context("there is no file of names")?;
        ensure!(
            names.contains("run"),
            "no function is called `run`: {names}"
        );
        let tests = self.json(&["test", &name])?;
        ensure!(tests["failed"] == 0, "its tests fail: {tests}");
        let ran = self.json(&["dev", &name, "[1, 2, 6]", "--once"])?;
        ensure!(ran["results"] == serde_json::json!([3.0]), "it gives {ran}");
        for other in language.others {
            self.try_other(language, &folder, other)
                .with_context(|| format!("the source {}", other.name))?;
        }
        Ok(())
    }

    /// Puts another source in place of the template's.
    fn try_other(&self, language: &Language, folder: &Path, other: &Other) -> Result<()> {
        let ending = language.ending.context("one file is the source")?;
        let name = format!("mean-{}", language.name);
        fs::write(folder.join(&name).with_extension(ending), other.source)?;
        let manifest = format!("exports = {{ run = \"{}\" }}\n", other.signature);
        fs::write(folder.join("tasklet.toml"), manifest)?;
        let report = self.json(&["build", &name])?;
        self.weigh(language, other.name, &report, other.bytes_max)?;
        let args = [&["dev", name.as_str()], other.args, &["--once"]].concat();
        let ran = self.json(&args)?;
        let expected: Value = serde_json::from_str(other.results)?;
        ensure!(ran["results"] == expected, "it gives {ran}");
        Ok(())
    }

    /// Prints the sizes of a module and holds them against the bound.
    fn weigh(&self, language: &Language, source: &str, report: &Value, max: u64) -> Result<()> {
        let number = |key: &str| report[key].as_u64().context("the report has no sizes");
        let (bytes, memory) = (number("module_bytes")?, number("memory_bytes")?);
        println!(
            "{:<5} {source:<7} {bytes:>6} B {memory:>6} B",
            language.name
        );
        ensure!(bytes <= max, "{source} has {bytes} bytes, more than {max}");
        Ok(())
    }

    /// A tasklet that sorts with the C library's function.
    fn try_library(&self) -> Result<()> {
        const SOURCE: &str = "#include <nimblenet.h>\n#include <stdlib.h>\n#include <string.h>\n\
            static float sorted[64];\n\
            static int order(const void *a, const void *b) {\n    \
            float x = *(const float *)a, y = *(const float *)b;\n    return (x > y) - (x < y);\n}\n\
            NN_EXPORT(\"run\") float run(const float *samples, uint32_t count) {\n    \
            if (count == 0 || count > NN_LEN(sorted)) __builtin_trap();\n    \
            memcpy(sorted, samples, count * sizeof *sorted);\n    \
            qsort(sorted, count, sizeof *sorted, order);\n    return sorted[count / 2];\n}\n";
        const MANIFEST: &str = "exports = { run = \"func(samples: list<f32>) -> f32\" }\n\
            [build]\nlibc = true\n";
        let folder = self.folder.join("median");
        fs::create_dir(&folder)?;
        fs::write(folder.join("median.c"), SOURCE)?;
        fs::write(folder.join("tasklet.toml"), MANIFEST)?;
        let ran = self.json(&["dev", "median", "[5, 1, 3]", "--once"])?;
        ensure!(ran["results"] == serde_json::json!([3.0]), "it gives {ran}");
        Ok(())
    }

    /// A function beyond the standard, and an assertion that fails, which is a trap.
    fn try_assertion(&self) -> Result<()> {
        const SOURCE: &str = "#include <assert.h>\n#include <nimblenet.h>\n#include <time.h>\n\
            NN_EXPORT(\"run\") int64_t run(int32_t year) {\n    assert(year >= 1970);\n    \
            struct tm first = {.tm_year = year - 1900, .tm_mday = 1};\n    \
            return timegm(&first);\n}\n";
        const MANIFEST: &str = "exports = { run = \"func(year: s32) -> s64\" }\n\
            [build]\nlibc = true\n";
        let folder = self.folder.join("seconds");
        fs::create_dir(&folder)?;
        fs::write(folder.join("seconds.c"), SOURCE)?;
        fs::write(folder.join("tasklet.toml"), MANIFEST)?;
        let ran = self.json(&["dev", "seconds", "2000", "--once"])?;
        let expected = serde_json::json!([946_684_800]);
        ensure!(ran["results"] == expected, "it gives {ran}");
        let package = "seconds/target/local-seconds.nnp";
        let failed = self.nimblenet().args(["run", package, "1969"]).output()?;
        let said = String::from_utf8_lossy(&failed.stderr);
        ensure!(said.contains("unreachable"), "the assertion says {said}");
        Ok(())
    }

    /// npm brings the compiler into the tasklet's folder.
    fn fetch_assemblyscript(&self, folder: &Path) -> Result<Option<&'static str>> {
        if !exists("npm") {
            return Ok(Some("npm"));
        }
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-fund", "--no-audit", "--loglevel=error"]);
        twice(npm.current_dir(folder))?;
        Ok(None)
    }

    /// pip brings the compiler, unless it is on the path.
    fn fetch_zig(&self, _: &Path) -> Result<Option<&'static str>> {
        if exists("zig") || self.zig.join("ziglang/zig").exists() {
            return Ok(None);
        }
        let mut pip = Command::new("python3");
        if !pip
            .args(["-m", "pip", "--version"])
            .output()
            .is_ok_and(|pip| pip.status.success())
        {
            return Ok(Some("pip"));
        }
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
        let pip = pip.arg(&self.zig).arg(ZIG);
        twice(pip)?;
        Ok(None)
    }
}

/// What fetches from elsewhere may fail once.
fn twice(command: &mut Command) -> Result<()> {
    workspace::run(command).or_else(|_| workspace::run(command))
}

fn exists(program: &str) -> bool {
    let version = if program == "zig" {
        "version"
    } else {
        "--version"
    };
    let started = Command::new(program).arg(version).output();
    started.is_ok_and(|output| output.status.success())
}
