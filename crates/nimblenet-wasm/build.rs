//! Chooses how instructions are dispatched.
//!
//! Handlers that call each other in tail position are fastest, but only where the compiler turns
//! those calls into jumps; elsewhere the stack would grow with every instruction. The list below
//! is what was seen to hold, and the test `stack_depth` measures it again on the machine it runs on.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(dispatch_tail)");
    let target = var("TARGET").unwrap_or_default();
    let optimised = var("OPT_LEVEL").is_ok_and(|level| level != "0");
    let asserting = var("CARGO_CFG_DEBUG_ASSERTIONS").is_ok();
    let jumps = target.starts_with("x86_64-")
        || target.starts_with("riscv32")
        || target.starts_with("thumbv7em-");
    // To measure the loop where handlers would be used.
    println!("cargo::rerun-if-env-changed=NIMBLENET_DISPATCH");
    let jumps = jumps && var("NIMBLENET_DISPATCH").as_deref() != Ok("loop");
    if jumps && optimised && !asserting {
        println!("cargo::rustc-cfg=dispatch_tail");
    }
}
