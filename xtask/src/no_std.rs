//! The device crates on the smallest machines: no standard library, no C library.

use anyhow::Result;

use crate::toolchain::Toolchain;
use crate::{imports, workspace};

/// What runs on a board.
const DEVICE_CRATES: [&str; 5] = [
    "nimblenet-tasklet",
    "nimblenet-wasm",
    "nimblenet-executor",
    "nimblenet-core",
    "nimblenet-board",
];

/// The board's processor, a Cortex-M0+ without compare-and-swap.
pub(crate) const BOARD: &str = "thumbv6m-none-eabi";

/// Other processors of the same class, which nothing may shut out.
const OTHERS: [&str; 2] = ["thumbv7em-none-eabi", "riscv32imc-unknown-none-elf"];

/// Builds the device crates for the board, checks them for others, and makes of the core a wasm
/// module that must import nothing.
pub(crate) fn run() -> Result<()> {
    compile("build", BOARD)?;
    for target in OTHERS {
        compile("check", target)?;
    }
    imports::run()
}

fn compile(subcommand: &str, target: &str) -> Result<()> {
    let toolchain = Toolchain::find(target)?;
    eprintln!("{subcommand} for {target} with {toolchain:?}");
    let mut command = toolchain.cargo(subcommand, target);
    command
        .arg("--release")
        .args(DEVICE_CRATES.iter().flat_map(|name| ["-p", name]));
    // A directory of its own: two compilers do not wait for one another's lock.
    command.env(
        "CARGO_TARGET_DIR",
        workspace::target_directory()?.join("no-std"),
    );
    workspace::run(&mut command)
}
