//! A NimbleNet node as one state machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod archive;
pub mod cache;
mod catalogue;
mod config;
mod counters;
mod mesh;
mod random;
mod time;
mod transfer;
pub mod wire;

pub use archive::Archive;
pub use catalogue::{BadDelta, Catalogue, CatalogueLimits};
pub use config::{
    Config, ConfigError, Eviction, HelloConfig, Limits, LinkAddress, LinkConfig, LinkId, MIN_MTU,
    NamespaceConfig, StaticNeighbour, StaticRoute,
};
pub use counters::{Acquired, Counters, Drop, Traffic};
pub use mesh::Transmit;
pub use time::Instant;
