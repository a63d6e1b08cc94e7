//! The NimbleNet node on Linux: keys, the registry's store, CoAP, links and the daemon.
#![forbid(unsafe_code)]

extern crate alloc;

pub mod coap;
mod key;
mod publication;
mod store;

pub use key::{BadHex, KeyError, PublicKey, SigningKey, hex_bytes};
pub use publication::{BadPackages, Publication};
pub use store::{OpenError, Published, Refusal, StorageFault, Store, StoreLimits, Trust};
