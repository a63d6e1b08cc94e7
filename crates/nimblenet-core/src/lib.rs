//! A NimbleNet node as one state machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod acquisition;
mod archive;
pub mod cache;
mod catalogue;
mod config;
mod counters;
mod event;
mod job;
mod mesh;
mod node;
mod pump;
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
pub use counters::{Acquired, Counters, DropReason, Traffic};
pub use event::{CallRequest, Event, Input, Reason};
pub use job::{CallId, Source, Step};
pub use mesh::Transmit;
pub use node::Node;
pub use pump::{Driver, drain, pump};
pub use time::Instant;
