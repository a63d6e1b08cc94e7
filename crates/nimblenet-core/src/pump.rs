//! The one loop that every driver uses.

use nimblenet_tasklet::{NamespaceId, Work};

use crate::config::{ExecutorId, LinkId};
use crate::event::{Event, Input, Reason};
use crate::mesh::Transmit;
use crate::node::Node;
use crate::time::Instant;

/// Carries out what a node asks for.
pub trait Driver {
    /// Whether `link` takes a frame now. Until it does, its frames wait in the node; beyond
    /// [`Limits::outbox_bytes`](crate::Limits::outbox_bytes) the node drops and counts them.
    fn takes_frame(&self, link: LinkId) -> bool {
        let _ = link;
        true
    }
    /// Whether this executor takes work now. Until it does, work waits in the node.
    fn takes_work(&self, executor: ExecutorId) -> bool {
        let _ = executor;
        true
    }
    /// Keeps, durably, that a catalogue is at `epoch`: after a restart the node must not take an older one
    /// ([`Node::set_floor`]). Called before anything else follows from that epoch.
    fn keep(&mut self, now: Instant, namespace: NamespaceId, epoch: u32) {
        let _ = (now, namespace, epoch);
    }
    /// Puts `frame` on its link.
    fn transmit(&mut self, now: Instant, transmit: Transmit, frame: &[u8]);
    /// Gives `work` to this executor. The outcome is a later input.
    fn work(&mut self, now: Instant, executor: ExecutorId, work: Work<'_>);
    /// Tells the user.
    fn event(&mut self, now: Instant, event: Event<'_>);
}

/// Tells the node what happened, and carries out everything that follows. Returns the latest time
/// for the next call with [`Input::Timeout`], and its reason. `frame` is scratch space for the
/// largest frame of any link.
pub fn pump(
    node: &mut Node,
    now: Instant,
    input: Input<'_>,
    driver: &mut impl Driver,
    frame: &mut [u8],
) -> Option<(Instant, Reason)> {
    node.handle(now, input);
    drain(node, now, driver, frame)
}

/// Carries out everything that follows after a command, or after a link or an executor has room
/// again. Returns the same as [`pump`].
pub fn drain(
    node: &mut Node,
    now: Instant,
    driver: &mut impl Driver,
    frame: &mut [u8],
) -> Option<(Instant, Reason)> {
    while let Some((namespace, epoch)) = node.poll_floor() {
        driver.keep(now, namespace, epoch);
    }
    for link in (0..node.config().links.len()).map(|link| LinkId(link as u8)) {
        while driver.takes_frame(link)
            && let Some(transmit) = node.poll_transmit(now, link, frame)
        {
            driver.transmit(now, transmit, &frame[..transmit.len]);
        }
    }
    for executor in (0..node.config().limits.executors).map(|it| ExecutorId(it as u8)) {
        if !node.has_work() {
            break;
        }
        while driver.takes_work(executor)
            && let Some(work) = node.poll_work(executor)
        {
            driver.work(now, executor, work);
        }
    }
    while let Some(event) = node.poll_event() {
        driver.event(now, event);
    }
    node.poll_timeout()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use nimblenet_tasklet::{Capabilities, Delta, Name, NodeId};

    use super::*;
    use crate::config::{Config, NamespaceConfig};

    /// What a node wanted, in order.
    #[derive(Default)]
    struct Wanted(Vec<(&'static str, u32)>);

    impl Driver for Wanted {
        fn keep(&mut self, _: Instant, _: NamespaceId, epoch: u32) {
            self.0.push(("keep", epoch));
        }
        fn transmit(&mut self, _: Instant, _: Transmit, _: &[u8]) {
            self.0.push(("transmit", 0));
        }
        fn work(&mut self, _: Instant, _: ExecutorId, _: Work<'_>) {}
        fn event(&mut self, _: Instant, event: Event<'_>) {
            if let Event::Catalogue { epoch, .. } = event {
                self.0.push(("event", epoch));
            }
        }
    }

    #[test]
    fn att_60_an_epoch_is_kept_before_anything_follows_from_it_and_once() {
        let name = Name::new("shop").unwrap();
        let mut config = Config::new(NodeId(2), 256);
        config.namespaces.push(NamespaceConfig {
            name,
            registry: NodeId(1),
            key: [7; 32],
            capabilities: Capabilities::NONE,
            stays: false,
        });
        let mut node = Node::new(config).unwrap();
        // A catalogue of epoch 3 without entries.
        let mut bytes = b"\x86\x64shop\x00\x03\x00\x58\x40".to_vec();
        bytes.extend([0; 64]);
        bytes.push(0x80);
        let delta = Delta::decode(&bytes).unwrap();
        node.install(Instant::ZERO, &delta).unwrap();
        let (mut wanted, mut frame) = (Wanted::default(), [0; 256]);
        let second = Instant::from_micros(1_000_000);
        for now in [Instant::ZERO, second, Instant::from_micros(60_000_000)] {
            pump(&mut node, now, Input::Timeout, &mut wanted, &mut frame);
        }
        let firsts = wanted.0.iter().filter(|(what, _)| *what == "keep");
        assert_eq!(firsts.count(), 1);
        assert_eq!(wanted.0[0], ("keep", 3));
        assert!(wanted.0.contains(&("event", 3)) && wanted.0.contains(&("transmit", 0)));
    }
}
