//! The links of a daemon.

use alloc::sync::Arc;
use std::io;

use nimblenet_core::{LinkId, Transmit};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;

use crate::link::{Heard, Inlet, Link, LinkPlan, LinkStatus};

/// The most frames that wait for the loop; while there are as many, links are not read.
const HEARD_FRAMES: usize = 64;

/// The links, in the order of their numbers.
pub(super) struct Links(Vec<Box<dyn Link>>);

impl Links {
    /// Starts the links of `plans`, which get their numbers in this order. Must be called within
    /// a runtime.
    pub(super) fn start(
        plans: &[Arc<dyn LinkPlan>],
        tasks: &mut JoinSet<()>,
    ) -> io::Result<(Self, Receiver<Heard>)> {
        let (frames, heard) = channel(HEARD_FRAMES);
        let numbered = plans.iter().zip((0..=u8::MAX).map(LinkId));
        let links =
            numbered.map(|(plan, link)| plan.start(Inlet::new(link, frames.clone()), tasks));
        Ok((Self(links.collect::<io::Result<_>>()?), heard))
    }

    /// Puts a frame on the link that it is for.
    pub(super) fn send(&mut self, transmit: Transmit, frame: &[u8]) {
        if let Some(link) = self.0.get_mut(usize::from(transmit.link.0)) {
            link.send(transmit.to, frame);
        }
    }

    /// The state of each link.
    pub(super) fn status(&self) -> Vec<LinkStatus> {
        self.0.iter().map(|link| link.status()).collect()
    }
}
