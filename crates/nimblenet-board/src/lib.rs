//! A node on a microcontroller: the parts that are the same on every chip. The mains of a chip's
//! firmware only wire them together.
//!
//! ```text
//!   core 0                                                      core 1
//!   line --bytes--> link --frames--> orchestrator --parcels---> worker
//!   line <--bytes-- link <--frames-- (the node)   <--answers--- (the interpreter)
//! ```
//!
//! On a board with one core, links and orchestrator run in an interrupt, and the worker runs in the
//! time that they leave.
//!
//! Nothing here touches a register, so that the host can test all of it. [`framing`] turns
//! bytes of a serial line into frames and back, and [`link`] holds the two tasks of such a line.
//! [`orchestrator`] drives the node, [`worker`] the interpreter, and [`parcel`] has what passes
//! between the two. [`neighbours`] numbers the other ends of a radio link. [`host`] is what the
//! board offers to tasklets, [`coap`] reads the requests of robots, and [`calls`] makes their calls
//! at the node. `datagrams`, with the feature `net`, has the tasks of
//! boards on a network. [`provision`] is the record of who a board is, and [`ledger`] keeps the numbers that
//! must not fall. Registers and fixed addresses are
//! left to the firmware of each chip.
#![no_std]

extern crate alloc;

pub mod calls;
pub mod clock;
pub mod coap;
pub mod crash;
#[cfg(feature = "net")]
pub mod datagrams;
pub mod framing;
pub mod heap;
pub mod host;
pub mod ledger;
pub mod lent;
pub mod link;
pub mod neighbours;
pub mod orchestrator;
pub mod parcel;
pub mod provision;
pub mod start;
pub mod worker;

/// Whether the image has what it takes to place calls at other nodes.
const PLACES: bool = cfg!(feature = "placement");
