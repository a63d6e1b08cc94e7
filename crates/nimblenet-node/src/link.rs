//! Links to other nodes.

mod serial;
mod udp;

/// The longest frame of a serial line, which is what boards have room for.
pub(crate) use nimblenet_board::framing::MAX_FRAME_BYTES;
pub use serial::SerialStatus;
pub(crate) use serial::{Heard, SerialLink};
pub use udp::{LinkCounters, UdpLink};
