//! Compilers: each turns the sources of a project into one module, with the flags that tasklets
//! need, so that no author has to know them.

mod assemblyscript;
mod clang;
mod rust;
mod zig;

use std::path::PathBuf;

use super::{Build, Language, Source};

/// The module that a project's sources make, linked with so many bytes of stack.
///
/// # Errors
/// If a program is missing or complains.
pub(super) fn module(
    build: &Build<'_>,
    source: &Source,
    stack_bytes: u32,
) -> anyhow::Result<PathBuf> {
    match source.language {
        Language::Rust => rust::module(build, stack_bytes),
        Language::C | Language::Cpp => clang::module(build, &source.files, stack_bytes),
        Language::As => assemblyscript::module(build, &source.files[0]),
        Language::Zig => zig::module(build, &source.files[0], stack_bytes),
        Language::Text => Ok(source.files[0].clone()),
    }
}
