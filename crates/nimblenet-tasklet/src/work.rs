//! What a node asks of its executor, and what the executor answers.
//!
//! The executor is a peer of the node, like the network: it may live in the same loop, on
//! another thread, on the second core of a microcontroller, or in virtual time.
//!
//! Work and outcomes have one list of variants each, [`Order`] and [`Answer`], which are generic
//! in how they hold bytes. [`Work`] and [`Outcome`] borrow them. What must live longer than a call
//! is the same list in another form: work in a [`Parcel`], an outcome as `Answer<Vec<u8>>` or as
//! an `Answer<usize>` of lengths.

mod answer;
mod host;
mod order;
mod parcel;

pub use answer::{Answer, Outcome};
pub use host::Host;
pub use order::{Begin, Order, Start, Work};
pub use parcel::{Fixed, Growing, Parcel, Storage};
