//! Boards with an RP2040, emulated: the very image that goes onto the board, both cores.
//!
//! A [`Board`] runs an [image](Image) in virtual time, counted in cycles of its system clock;
//! nothing in it looks at a real clock, so a run repeats bit for bit. Its UARTs are the only way
//! in and out. A [`Bench`] holds several boards in step, with wires between their UARTs; a
//! [`Bridge`] ties one board to the wall clock and its UARTs to UDP sockets, one datagram per
//! frame.
//!
//! The emulator counts cycles, but nobody has held its counts against silicon: they order events
//! and must not be reported as timings of a board.
//!
//! ```text
//!  image --> Board <-- uart bytes --> Bench: Board, Board, ...   virtual time
//!                  <-- uart bytes --> Bridge: UDP                wall clock
//! ```

mod bench;
mod board;
mod bridge;
mod frames;
mod image;
mod uf2;

pub use bench::{Bench, BoardId, Port};
pub use board::{Board, Uart};
pub use bridge::{Bridge, Tie};
pub use frames::Frames;
pub use image::Image;
