//! Boards with an RP2040, emulated: the very image that goes onto the board, both cores.
//!
//! A [`Board`] runs an [image](Image) in virtual time, counted in cycles of its system clock;
//! nothing in it looks at a real clock, so a run repeats bit for bit. Its UARTs are the only way
//! in and out. A [`Bench`] holds boards in step, with wires between their UARTs, and [ties](Tie)
//! UARTs to UDP sockets or pseudo-terminals. It runs as fast as it goes ([`Bench::run`]), or in
//! step with the wall clock ([`Bench::live`]).
//!
//! The emulator counts cycles, but nobody has held its counts against silicon: they order events
//! and must not be reported as timings of a board.
//!
//! ```text
//!  image --> Board <-- uart bytes --> Bench <-- frames --> UDP
//!  record                             Board     bytes ---> pseudo-terminal
//!                                     ...
//! ```

mod bench;
mod board;
mod image;
mod live;
mod tie;
mod uf2;

pub use bench::{Bench, BoardId, Port};
pub use board::{Board, Uart};
pub use image::Image;
pub use live::Pace;
pub use tie::{Losses, Tie};
