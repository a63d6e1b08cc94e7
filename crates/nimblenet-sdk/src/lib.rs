//! The library for tasklets written in Rust.
//!
//! A tasklet is a `no_std` library of crate type `cdylib`, built for `wasm32-unknown-unknown`.
//! [`export!`] makes a function callable by name, [`import!`] makes another tasklet callable as a
//! function, [`node`] has the functions of the node, and [`float`] the arithmetic that `core`
//! lacks.
//!
//! ```
//! # #![allow(clippy::needless_doctest_main)]
//! use nimblenet_sdk::{export, float, import};
//!
//! import! {
//!     "shop/vibration" fn vibration(count: u32, samples: &mut [i16]) -> usize;
//! }
//!
//! export! {
//!     /// Loudness of the next `count` samples of the vibration sensor.
//!     fn run(count: u32) -> f32 {
//!         let mut samples = [0; 128];
//!         let read = vibration(count, &mut samples);
//!         rms(&samples[..read])
//!     }
//! }
//!
//! fn rms(samples: &[i16]) -> f32 {
//!     let energy: f32 = samples.iter().map(|s| f32::from(*s) * f32::from(*s)).sum();
//!     float::sqrt(energy / samples.len() as f32)
//! }
//! # fn main() { assert_eq!(rms(&[3, -3, 3, -3]), 3.0); }
//! ```
//!
//! # Lists
//!
//! A list argument is a slice. The function writes a list result to a `&mut [T]`, its last
//! parameter, and returns how many elements it has written. In the manifest the same function is
//! `func(count: u32) -> list<s16>`: the last parameter is the space of the result. The host copies
//! lists between memories, so a slice lives in the tasklet's own memory and ends with the call.
//!
//! # On other targets
//!
//! The crate builds on the host, so that a tasklet's arithmetic is tested by `cargo test`. An
//! exported function is an ordinary function there; an imported one panics, since there is no
//! node to call.
//!
//! On `wasm32` the crate brings the panic handler, which traps without a message.
#![no_std]
#![cfg_attr(
    target_arch = "wasm32",
    expect(
        unsafe_code,
        reason = "the module's boundary is made of addresses, which the host has checked"
    )
)]

#[cfg(not(target_arch = "wasm32"))]
extern crate std;

mod boundary;
pub mod float;
pub mod node;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use boundary::{slice, slice_mut, text};

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
