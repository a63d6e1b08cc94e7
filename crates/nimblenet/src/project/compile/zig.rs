//! Zig.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::super::programs::ZIG;
use super::Build;

/// The instructions that nodes run, small code, and every exported function.
const FLAGS: [&str; 8] = [
    "-target",
    "wasm32-freestanding",
    "-mcpu=mvp+bulk_memory+sign_ext+nontrapping_fptoint",
    "-OReleaseSmall",
    "-fno-entry",
    "-fno-strip",
    "-rdynamic",
    "--export=__data_end",
];

pub(super) fn module(
    build: &Build<'_>,
    source: &Path,
    stack_bytes: u32,
) -> anyhow::Result<PathBuf> {
    let mut command = compiler(build)?;
    let module = build.place("wasm");
    // It has no way to look at a path that starts with two dots from inside its own cache.
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("finding {}", path.display()))
    };
    command.arg("build-exe").arg(absolute(source)?).args(FLAGS);
    command.arg("--stack").arg(stack_bytes.to_string());
    command.args(&build.project.settings.flags);
    command
        .arg("--cache-dir")
        .arg(build.target.join("zig-cache"));
    let mut emit = std::ffi::OsString::from("-femit-bin=");
    emit.push(&module);
    build.run(command.arg(emit))?;
    Ok(module)
}

/// The program, or the Python package that brings it.
fn compiler(build: &Build<'_>) -> anyhow::Result<Command> {
    if let Some(zig) = build.programs.find(ZIG.name) {
        return Ok(Command::new(zig));
    }
    let python = build.programs.newest("python3").filter(|python| {
        let mut asked = Command::new(python);
        let asked = asked.args(["-m", "ziglang", "version"]).output();
        asked.is_ok_and(|answer| answer.status.success())
    });
    let mut command = Command::new(python.ok_or_else(|| ZIG.missing())?);
    command.args(["-m", "ziglang"]);
    Ok(command)
}
