//! Emulates boards with an RP2040: both cores run the very image that goes onto the board.
//!
//! A [`Board`] runs an [image](Image) in virtual time, counted in cycles of its system clock;
//! it reads no real clock, so a run repeats bit for bit. Bytes go in and out through its UARTs
//! only. A [`Bench`] holds boards in step, with wires between their UARTs, and [ties](Tie)
//! UARTs to UDP sockets or pseudo-terminals. It runs as fast as possible ([`Bench::run`]), or in
//! step with the wall clock ([`Bench::live`]).
//!
//! Boards in [`Lockstep`] run a step at a time, side by side on the threads of the host; in a
//! [`Dialogue`] another program says what happens around them.
//!
//! The emulator counts cycles, but nobody has compared its counts with silicon: they order events,
//! and must not be reported as timings of a board.
//!
//! ```text
//!  image --> Board <-- uart bytes --> Bench <-- frames --> UDP
//!  record                             Board     bytes ---> pseudo-terminal
//!                                     ...
//! ```

mod bench;
mod board;
mod dialogue;
mod flash;
mod image;
mod live;
mod lockstep;
mod rom;
mod tie;
mod uf2;

pub use bench::{Bench, BoardId, Port};
pub use board::{Board, Uart};
pub use dialogue::Dialogue;
pub use flash::Torn;
pub use image::Image;
pub use live::Pace;
pub use lockstep::{Lockstep, Sent};
pub use tie::{Losses, Tie};
