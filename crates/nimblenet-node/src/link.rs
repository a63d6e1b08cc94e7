//! Links to other nodes.

mod udp;

pub use udp::{LinkCounters, UdpLink};
