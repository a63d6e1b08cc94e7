//! The tasklet contract: what every part of NimbleNet, on every kind of device, agrees on.
//!
//! A *tasklet* is a small WebAssembly module (or a function of the device itself) that is known
//! by a [name](TaskletName), described by a [catalogue entry](Entry) and called with typed
//! [values](Signature) that travel as CBOR. This crate has no input, output, clock or
//! allocation; it defines
//!
//! - identifiers: [`Name`], [`TaskletName`], [`NamespaceId`], [`TaskletRef`], [`Digest`],
//!   [`NodeId`];
//! - what a tasklet offers and needs: [`Terms`], [`Entry`], [`Delta`], [`Package`];
//! - how it is called: [`Signature`], the [`abi`] between CBOR and linear memory;
//! - the work that a node gives to an executor and the outcome that it answers: [`Work`] and
//!   [`Outcome`]; and work on its way between threads and cores: [`Parcel`];
//! - the form in which modules travel and are kept: [`compression`];
//! - why a call failed: [`Fault`], with codes that never change;
//! - the names of a node's interface to its clients: [`api`].
//!
//! All stored formats are CBOR in deterministic form (RFC 8949 section 4.2.1); anything else is
//! refused by [`deterministic::check`].
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod api;
mod capability;
mod catalogue;
pub mod compression;
pub mod deterministic;
mod digest;
mod entry;
mod fault;
mod id;
mod name;
mod package;
mod place;
mod signature;
mod terms;
mod work;

pub use capability::{CapabilityFunction, SLEEP_US_MAX};
pub use catalogue::{Delta, PAGE_ENTRIES, RootHasher, SIGNED_BYTES, signed_bytes};
pub use digest::{Digest, DigestHasher};
pub use entry::{Entry, EntryFields, Import, Module};
pub use fault::{Fault, Trap};
pub use id::{ActivationId, NamespaceId, NodeId, TaskletRef};
pub use name::{BadName, MAX_NAME_BYTES, Name, TaskletName};
pub use package::{NamedImport, Package, PackageFields};
pub use place::Place;
pub use signature::{BadSignature, FlatType, MAX_PARAMS, MAX_RESULTS, Scalar, Signature, Type};
pub use terms::{Area, Capabilities, Capability, Executor, Export, Terms};
pub use work::{Answer, Begin, Fixed, Growing, Host, Order, Outcome, Parcel, Start, Storage, Work};

/// Why stored bytes were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Malformed {
    /// Not CBOR in deterministic form, cut short, or with bytes left over.
    NotDeterministic,
    /// A field that the format requires is missing, or has the wrong type or range.
    Field(u8),
    /// A critical field (key below 64) that this reader does not know.
    Unknown(u8),
    /// More exports, imports or entries than the format allows.
    TooMany,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotDeterministic => f.write_str("not CBOR in deterministic form"),
            Self::Field(key) => write!(f, "field {key} is missing or wrong"),
            Self::Unknown(key) => write!(f, "field {key} is critical and not known"),
            Self::TooMany => f.write_str("too many items"),
        }
    }
}

impl core::error::Error for Malformed {}
