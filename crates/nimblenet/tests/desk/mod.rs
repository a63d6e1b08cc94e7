//! A desk to work at, for tests of the command line.
#![allow(dead_code, reason = "no test needs all of it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A directory with files, and the binary.
pub(crate) struct Desk {
    dir: TempDir,
}

impl Desk {
    /// A directory with these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self { dir }
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the binary in the directory.
    pub(crate) fn nimblenet(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_nimblenet"))
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// Runs the binary, which succeeds, and returns its standard output as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Json {
        let output = self.nimblenet(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs the binary, which succeeds, and returns its standard output.
    pub(crate) fn text(&self, args: &[&str]) -> String {
        let output = self.nimblenet(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the binary, which fails with this exit code, and returns its error output.
    pub(crate) fn refusal(&self, code: i32, args: &[&str]) -> String {
        let output = self.nimblenet(args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            stderr(&output)
        );
        stderr(&output)
    }
}

/// What it wrote to standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
