//! Chooses how instructions are dispatched.
//!
//! Handlers that call each other in tail position (`tail`) are fastest, but only where the compiler
//! turns those calls into jumps; elsewhere the stack would grow with every instruction. The list
//! below is what was seen to hold, and the test `stack_depth` measures it again on the machine it
//! runs on. One large `match` in a loop (`match`) works everywhere, and is as large. Where flash is
//! small, and read through a small cache, instructions are put together from parts (`compact`).

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(dispatch_tail, dispatch_match, dispatch_compact)");
    let target = var("TARGET").unwrap_or_default();
    let optimised = var("OPT_LEVEL").is_ok_and(|level| level != "0");
    let asserting = var("CARGO_CFG_DEBUG_ASSERTIONS").is_ok();
    let jumps = target.starts_with("x86_64-")
        || target.starts_with("riscv32")
        || target.starts_with("thumbv7em-");
    let small = target.starts_with("thumbv6m-") || target.starts_with("thumbv8m.base-");
    // To test and measure one of the others where it would not be chosen.
    println!("cargo::rerun-if-env-changed=NIMBLENET_DISPATCH");
    let dispatch = match var("NIMBLENET_DISPATCH").as_deref() {
        Ok("compact") => "compact",
        Ok("match") => "match",
        _ if small => "compact",
        _ if jumps && optimised && !asserting => "tail",
        _ => "match",
    };
    println!("cargo::rustc-cfg=dispatch_{dispatch}");
}
