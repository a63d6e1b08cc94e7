//! The NimbleNet node on Linux: keys, the registry's store, CoAP, links and the daemon.
#![forbid(unsafe_code)]

extern crate alloc;

mod clock;
pub mod coap;
pub mod config;
pub mod daemon;
mod device;
mod executor;
pub mod flow;
mod host;
mod key;
mod lines;
pub mod link;
mod random;
pub mod remote;
mod socket;
mod state;
mod store;
mod triggers;
mod values;

pub use device::{Device, Devices};
pub use key::{BadHex, KeyError, PublicKey, SigningKey, hex_bytes};
pub use store::{
    Change, EpochSummary, OpenError, Published, Refusal, StorageFault, Store, StoreLimits, Trust,
};
