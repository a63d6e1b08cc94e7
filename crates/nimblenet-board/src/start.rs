//! What a board's node is told at its start.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_core::{Config, HelloConfig, Limits, LinkConfig, NamespaceConfig};
use nimblenet_tasklet::NodeId;

use crate::framing::MAX_FRAME_BYTES;

/// What a namespace takes besides its catalogue.
const NAMESPACE_BYTES: usize = 704;

/// The configuration of the node `id` with `lines` serial links.
#[must_use]
pub fn config(
    id: NodeId,
    namespaces: Vec<NamespaceConfig>,
    lines: usize,
    first_sequence: u32,
    seed: u64,
) -> Config {
    let mtu = MAX_FRAME_BYTES as u16;
    let mut config = Config::new(id, mtu);
    config.links = (0..lines).map(|_| LinkConfig { mtu }).collect();
    config.namespaces = namespaces;
    // A frame takes 3 ms on a line.
    config.local_search = Duration::from_millis(50);
    config.global_search = Duration::from_millis(250);
    config.hop_time = Duration::from_millis(20);
    config.hello = Some(HelloConfig {
        min: Duration::from_millis(250),
        max: Duration::from_secs(8),
    });
    config.first_sequence = first_sequence;
    config.seed = seed;
    config.limits = Limits::board();
    // All namespaces together take what one would, whatever they are.
    let shares = config.namespaces.len().max(1);
    let catalogue = &mut config.limits.catalogue;
    catalogue.bytes = (catalogue.bytes - NAMESPACE_BYTES * (shares - 1)) / shares;
    catalogue.entries /= shares;
    config
}
