//! A NimbleNet node as one state machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod archive;
mod catalogue;
mod time;
pub mod wire;

pub use archive::Archive;
pub use catalogue::{BadDelta, Catalogue, CatalogueLimits};
pub use time::Instant;
