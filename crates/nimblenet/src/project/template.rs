//! New tasklets: the files of each language, with names filled in.

use std::fs;
use std::path::Path;

use anyhow::Context;
use nimblenet_tasklet::TaskletName;

use super::Language;
use crate::failure::{Coded, EXISTS};

/// The files of a language's tasklet: path and text, both with names to fill in.
type Files = &'static [(&'static str, &'static str)];

/// The files of every tasklet.
const COMMON: Files = &[
    (
        "tasklet.toml",
        include_str!("../../templates/tasklet.toml.in"),
    ),
    ("tests.toml", include_str!("../../templates/tests.toml.in")),
    (".gitignore", include_str!("../../templates/gitignore.in")),
];

const RUST: Files = &[
    (
        "README.md",
        include_str!("../../templates/rust/README.md.in"),
    ),
    (
        "Cargo.toml",
        include_str!("../../templates/rust/Cargo.toml.in"),
    ),
    ("src/lib.rs", include_str!("../../templates/rust/lib.rs.in")),
    (
        "nimblenet-sdk/Cargo.toml",
        include_str!("../../templates/rust/sdk.toml.in"),
    ),
];

/// The sources of `nimblenet-sdk`, which are copied as they are.
const RUST_SDK: Files = &[
    (
        "nimblenet-sdk/src/lib.rs",
        include_str!("../../../nimblenet-sdk/src/lib.rs"),
    ),
    (
        "nimblenet-sdk/src/boundary.rs",
        include_str!("../../../nimblenet-sdk/src/boundary.rs"),
    ),
    (
        "nimblenet-sdk/src/float.rs",
        include_str!("../../../nimblenet-sdk/src/float.rs"),
    ),
    (
        "nimblenet-sdk/src/node.rs",
        include_str!("../../../nimblenet-sdk/src/node.rs"),
    ),
];

const C: Files = &[
    ("README.md", include_str!("../../templates/c/README.md.in")),
    ("{{name}}.c", include_str!("../../templates/c/source.c.in")),
];

const CPP: Files = &[
    (
        "README.md",
        include_str!("../../templates/cpp/README.md.in"),
    ),
    (
        "{{name}}.cpp",
        include_str!("../../templates/cpp/source.cpp.in"),
    ),
];

const AS: Files = &[
    ("README.md", include_str!("../../templates/as/README.md.in")),
    (
        "{{name}}.ts",
        include_str!("../../templates/as/source.ts.in"),
    ),
    (
        "package.json",
        include_str!("../../templates/as/package.json.in"),
    ),
    (
        "tsconfig.json",
        include_str!("../../templates/as/tsconfig.json.in"),
    ),
];

const ZIG: Files = &[
    (
        "README.md",
        include_str!("../../templates/zig/README.md.in"),
    ),
    (
        "{{name}}.zig",
        include_str!("../../templates/zig/source.zig.in"),
    ),
];

/// The lines of the manifest on memory, for a compiler that does not tell how much data takes.
const MEMORY: &str = "# Bytes of data and heap, which the compiler does not tell.\nmemory = 0\n";

/// A new tasklet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    /// Its full name.
    pub(crate) name: TaskletName,
    /// Its language.
    pub(crate) language: Language,
}

impl Template {
    /// Writes the files into a new folder, and returns their paths in it.
    ///
    /// # Errors
    /// If `folder` exists already, or cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let shown = folder.display();
        if let Some(above) = folder.parent() {
            fs::create_dir_all(above)
                .with_context(|| format!("making the folder {}", above.display()))?;
        }
        match fs::create_dir(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let sentence = format!("{shown} exists and is left as it is; choose another name");
                return Err(Coded::new(EXISTS, sentence).into());
            }
            Err(error) => return Err(error).with_context(|| format!("making the folder {shown}")),
        }
        let (files, copied) = self.files();
        let filled = COMMON.iter().chain(files);
        let filled = filled.map(|(path, text)| (self.fill(path), self.fill(text)));
        let copied = copied
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let mut written = Vec::new();
        for (path, text) in filled.chain(copied) {
            let place = folder.join(&path);
            let above = place.parent().expect("it is in a folder");
            fs::create_dir_all(above)
                .and_then(|()| fs::write(&place, text))
                .with_context(|| format!("writing {}", place.display()))?;
            written.push(path);
        }
        Ok(written)
    }

    /// The files with names to fill in, and those that are copied.
    const fn files(&self) -> (Files, Files) {
        match self.language {
            Language::Rust => (RUST, RUST_SDK),
            Language::C => (C, &[]),
            Language::Cpp => (CPP, &[]),
            Language::As => (AS, &[]),
            Language::Zig => (ZIG, &[]),
            Language::Text => (&[], &[]),
        }
    }

    fn fill(&self, text: &str) -> String {
        let TaskletName { namespace, name } = self.name;
        let memory = match self.language {
            Language::As => MEMORY,
            Language::Rust | Language::C | Language::Cpp | Language::Zig | Language::Text => "",
        };
        text.replace("{{memory}}", memory)
            .replace("{{full}}", &self.name.to_string())
            .replace("{{package}}", &format!("{namespace}-{name}"))
            .replace("{{name}}", name.as_str())
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
    }
}
