//! The work that a node gives to its executor, and the executor's answers.
//!
//! The executor is a peer of the node, like the network: it may run in the same loop, on another
//! thread, on the second core of a microcontroller, or in virtual time.
//!
//! Work and outcomes have one list of variants each, [`Order`] and [`Answer`], which are generic in
//! how they hold bytes. [`Work`] and [`Outcome`] borrow them. To outlive a call, work is kept in a
//! [`Parcel`], and an outcome as an `Answer<Vec<u8>>` or as an `Answer<usize>` of lengths.

mod answer;
mod host;
mod order;
mod parcel;

pub use answer::{Answer, Outcome};
pub use host::Host;
pub use order::{Begin, Order, Start, Work};
pub use parcel::{Fixed, Growing, Parcel, Storage};
