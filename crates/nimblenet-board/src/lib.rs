//! A node on a microcontroller: what is the same on every chip, and the mains only wire together.
//!
//! ```text
//!   core 0                                                      core 1
//!   line --bytes--> link --frames--> orchestrator --parcels---> worker
//!   line <--bytes-- link <--frames-- (the node)   <--answers--- (the interpreter)
//! ```
//!
//! On a board with one core, what stands left runs in an interrupt, and the worker in the time that
//! it leaves.
//!
//! Nothing here touches a register, so that all of it is tested on the host: [`framing`] turns
//! bytes of a serial line into frames and back, [`link`] holds the two tasks of such a line,
//! [`orchestrator`] drives the node, [`worker`] the interpreter, and what passes between the two
//! is in [`parcel`]. [`neighbours`] tells the other ends of a radio link apart. [`host`] is what
//! tasklets find on the board, [`coap`] reads what robots ask for in datagrams, and [`calls`] asks
//! the node for it. [`provision`] is the record of who a board is. Registers and fixed addresses are
//! left to the firmware of each chip.
#![no_std]

extern crate alloc;

pub mod calls;
pub mod clock;
pub mod coap;
pub mod crash;
pub mod framing;
pub mod heap;
pub mod host;
pub mod lent;
pub mod link;
pub mod neighbours;
pub mod orchestrator;
pub mod parcel;
pub mod provision;
pub mod start;
pub mod worker;
