//! Links to other nodes.

mod serial;
mod udp;

pub use serial::SerialStatus;
pub(crate) use serial::{Heard, MAX_FRAME_BYTES, SerialLink};
pub use udp::{LinkCounters, UdpLink};
