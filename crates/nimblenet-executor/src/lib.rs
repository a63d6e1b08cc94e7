//! An executor of tasklets: see [`Executor`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;
mod wasm;

pub use nimblenet_wasm::Limits;
pub use wasm::{
    ACTIVATIONS, CodeSource, Counts, Executor, ExecutorOptions, Freezing, HOST_CALL_FUEL,
};
