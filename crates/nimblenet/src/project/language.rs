//! The languages of tasklets, and which files of a folder belong to which language.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::{CARGO_MANIFEST, SOURCE_FOLDERS};

/// A language that tasklets are written in.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    /// Rust, built by cargo.
    Rust,
    /// C, compiled by clang.
    C,
    /// C++, compiled by clang.
    Cpp,
    /// AssemblyScript, compiled by asc.
    As,
    /// Zig.
    Zig,
    /// WebAssembly's text form, which the packer reads.
    #[value(skip)]
    Text,
}

impl Language {
    /// If a folder has files of several languages, the tasklet's language is the first of these.
    const ALL: [Self; 6] = [
        Self::Rust,
        Self::Cpp,
        Self::C,
        Self::Zig,
        Self::As,
        Self::Text,
    ];

    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Cpp => "C++",
            Self::As => "AssemblyScript",
            Self::Zig => "Zig",
            Self::Text => "WebAssembly text",
        }
    }

    /// The endings of its source files.
    const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["rs"],
            Self::C => &["c"],
            Self::Cpp => &["cpp", "cc", "cxx"],
            Self::As => &["ts"],
            Self::Zig => &["zig"],
            Self::Text => &["wat"],
        }
    }

    /// Whether its linker sets a stack in linear memory aside.
    pub(super) const fn has_stack(self) -> bool {
        match self {
            Self::Rust | Self::C | Self::Cpp | Self::Zig => true,
            Self::As | Self::Text => false,
        }
    }

    fn has(self, path: &Path) -> bool {
        has_ending(path, self.endings())
    }

    /// If the compiler takes one file only, the name of that file in a folder with several; nothing
    /// if it takes all files.
    const fn entry(self) -> Option<&'static str> {
        match self {
            Self::As => Some("index"),
            Self::Zig | Self::Text => Some("main"),
            Self::Rust | Self::C | Self::Cpp => None,
        }
    }
}

/// Whether a change of the file may change what is built.
pub(crate) fn is_source(path: &Path) -> bool {
    const FILES: [&str; 3] = [super::MANIFEST, CARGO_MANIFEST, "package.json"];
    let name = path.file_name().and_then(|name| name.to_str());
    let known = name.is_some_and(|name| FILES.contains(&name));
    known
        || has_ending(path, &["h", "hh", "hpp"])
        || Language::ALL.iter().any(|language| language.has(path))
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| endings.contains(&ending))
}

/// The sources to compile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    /// Its language.
    pub(crate) language: Language,
    /// The files for the compiler, sorted; none for Rust, since cargo finds them.
    pub(crate) files: Vec<PathBuf>,
}

impl Source {
    /// The sources in a folder.
    ///
    /// # Errors
    /// If there are none, or it is not clear which one the compiler takes.
    pub(super) fn in_folder(root: &Path) -> anyhow::Result<Self> {
        if root.join(CARGO_MANIFEST).exists() {
            return Ok(Self {
                language: Language::Rust,
                files: Vec::new(),
            });
        }
        let files = listing(root)?;
        let found = Language::ALL.into_iter().find(|language| {
            // A single Rust source is no package of cargo.
            *language != Language::Rust && files.iter().any(|path| language.has(path))
        });
        let Some(language) = found else {
            bail!(
                "{} holds nothing to compile: a tasklet is a Cargo.toml, or files that end in \
                 .c, .cpp, .zig, .ts or .wat; `nimblenet new` makes one",
                root.display()
            );
        };
        let own = |path: &PathBuf| {
            // A C++ tasklet may have parts in C.
            language.has(path) || language == Language::Cpp && Language::C.has(path)
        };
        let files: Vec<_> = files.into_iter().filter(own).collect();
        Self { language, files }.entered(root)
    }

    /// A single source file.
    ///
    /// # Errors
    /// If no language has files of that name.
    pub(super) fn of_file(path: &Path) -> anyhow::Result<Self> {
        let mut languages = Language::ALL.into_iter();
        let language = languages.find(|language| language.has(path));
        let language = language.with_context(|| {
            format!(
                "{} is no source of a tasklet: they end in .c, .cpp, .zig, .ts or .wat",
                path.display()
            )
        })?;
        ensure!(
            language != Language::Rust,
            "{} is not in a package of cargo: give it a Cargo.toml, as `nimblenet new --lang rust` \
             makes it",
            path.display()
        );
        Ok(Self {
            language,
            files: vec![path.to_owned()],
        })
    }

    /// The same with the one file that the compiler takes, if it takes one.
    fn entered(mut self, root: &Path) -> anyhow::Result<Self> {
        let Some(entry) = self.language.entry().filter(|_| self.files.len() > 1) else {
            return Ok(self);
        };
        let is_entry = |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem == entry);
        let first = self.files.iter().find(is_entry);
        let first = first.with_context(|| {
            let names = self.files.iter().filter_map(|path| path.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            format!(
                "{} has several {} files ({}): keep one, or call the first {entry}",
                root.display(),
                self.language.name(),
                names.join(", "),
            )
        })?;
        self.files = vec![first.clone()];
        Ok(self)
    }
}

/// The files of a folder and of its folders for sources, sorted.
fn listing(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let folders = SOURCE_FOLDERS.iter().map(|name| root.join(name));
    let folders = folders.filter(|folder| folder.is_dir());
    for folder in [root.to_owned()].into_iter().chain(folders) {
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> anyhow::Result<(Language, Vec<String>)> {
        let dir = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        let source = Source::in_folder(dir.path())?;
        let names = source.files.iter().map(|path| {
            let name = path.strip_prefix(dir.path()).expect("it is in the folder");
            name.to_string_lossy().into_owned()
        });
        Ok((source.language, names.collect()))
    }

    #[test]
    fn a_folder_shows_its_language_by_its_files() {
        for (files, language, compiled) in [
            (&["Cargo.toml", "src/lib.rs"][..], Language::Rust, &[][..]),
            (&["b.c", "a.c", "a.h"], Language::C, &["a.c", "b.c"]),
            (
                &["a.cpp", "src/part.c"],
                Language::Cpp,
                &["a.cpp", "src/part.c"],
            ),
            (&["mean.ts"], Language::As, &["mean.ts"]),
            (
                &["assembly/index.ts", "assembly/part.ts"],
                Language::As,
                &["assembly/index.ts"],
            ),
            (&["main.zig", "part.zig"], Language::Zig, &["main.zig"]),
            (&["add.wat"], Language::Text, &["add.wat"]),
        ] {
            let (found, names) = found(files).expect("a tasklet");
            assert_eq!(
                (found, names),
                (language, compiled.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn a_folder_without_a_source_or_with_two_first_ones_is_refused() {
        let error = found(&["notes.txt"]).expect_err("nothing to compile");
        assert!(error.to_string().contains("nimblenet new"), "{error}");
        let error = found(&["a.zig", "b.zig"]).expect_err("two");
        assert!(error.to_string().contains("call the first main"), "{error}");
    }

    #[test]
    fn what_changes_a_build_is_known_by_its_name() {
        for name in [
            "a.c",
            "a.h",
            "lib.rs",
            "tasklet.toml",
            "Cargo.toml",
            "a.wat",
        ] {
            assert!(is_source(Path::new(name)), "{name}");
        }
        for name in [
            "Cargo.lock",
            "a.c~",
            ".a.c.swp",
            "tests.toml",
            "4913",
            "a.o",
        ] {
            assert!(!is_source(Path::new(name)), "{name}");
        }
    }
}
