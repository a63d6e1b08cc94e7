//! What boards with an RP2040 have in common and the mains only wire together.
//!
//! Nothing here touches a register, so that all of it is tested on the host: [`framing`] turns
//! bytes of a serial line into frames and back, [`link`] holds the two tasks of such a line.
#![no_std]
#![forbid(unsafe_code)]

pub mod framing;
pub mod link;
