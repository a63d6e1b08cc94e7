//! Chooses how instructions are dispatched.
//!
//! Handlers that call each other in tail position (`tail`) are fastest, but only if the compiler
//! turns those calls into jumps; if not, the stack grows with every instruction. The list below
//! names the targets on which the compiler was found to do so, and the test `stack_depth` measures
//! it again on its machine. One large `match` in a loop (`match`) works everywhere, and is as
//! large. Where flash is small, and is read through a small cache, instructions are assembled from
//! parts (`compact`).

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
    // This chooses another dispatcher for tests and measurements.
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
