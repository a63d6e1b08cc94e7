//! A kind of link for these tests only, which uses nothing but the traits.

use super::*;
use crate::link::{Closed, Inlet, Link, LinkPlan, LinkStatus};
use alloc::sync::Arc;
use core::mem::take;
use nimblenet_core::{LinkAddress, LinkConfig};
use std::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

/// One end of a wire in memory.
#[derive(Debug)]
struct WireEnd {
    out: UnboundedSender<Vec<u8>>,
    /// Taken by the start.
    back: Mutex<Option<UnboundedReceiver<Vec<u8>>>>,
}

/// A wire's two ends.
fn wire() -> [Arc<dyn LinkPlan>; 2] {
    let (left, right) = (unbounded_channel(), unbounded_channel());
    let end = |out, back| -> Arc<dyn LinkPlan> {
        let back = Mutex::new(Some(back));
        Arc::new(WireEnd { out, back })
    };
    [end(left.0, right.1), end(right.0, left.1)]
}

impl LinkPlan for WireEnd {
    fn frames(&self) -> LinkConfig {
        LinkConfig::new(200)
    }

    fn start(&self, inlet: Inlet, tasks: &mut JoinSet<()>) -> io::Result<Box<dyn Link>> {
        let back = take(&mut *self.back.lock().unwrap());
        let mut back = back.expect("an end is started once");
        tasks.spawn(async move {
            while let Some(frame) = back.recv().await {
                if let Err(Closed) = inlet.give(LinkAddress(0), frame).await {
                    return;
                }
            }
            // The other end is gone, but this task goes on.
            core::future::pending().await
        });
        let status = LinkStatus {
            kind: "wire",
            name: "in memory".to_owned(),
            ..LinkStatus::default()
        };
        let out = self.out.clone();
        Ok(Box::new(Wire { out, status }))
    }
}

/// The sending half of a wire's end.
#[derive(Debug)]
struct Wire {
    out: UnboundedSender<Vec<u8>>,
    status: LinkStatus,
}

impl Link for Wire {
    fn send(&mut self, _: Option<LinkAddress>, frame: &[u8]) {
        assert!(
            frame.len() <= 200,
            "the node keeps to the link's frame size"
        );
        match self.out.send(frame.to_vec()) {
            Ok(()) => self.status.sent += 1,
            Err(_) => self.status.dropped += 1,
        }
    }

    fn status(&self) -> LinkStatus {
        LinkStatus {
            up: !self.out.is_closed(),
            ..self.status.clone()
        }
    }
}

#[test]
fn a_link_of_another_kind_joins_a_node_to_the_registry() {
    let ends = wire();
    let mut mesh = Mesh::with(1, |at, mesh| {
        mesh.neighbours.clear();
        mesh.links = vec![Arc::clone(&ends[at])];
    });
    mesh.publish(&[chain(), add(0)]).unwrap();
    assert_eq!(mesh.call(1, "shop/chain", &[2, 3]), Ok(10));
    let status = mesh.nodes[0].status().unwrap();
    let [udp, wire] = &status.links[..] else {
        panic!("a node without a socket or a wire");
    };
    assert_eq!((udp.kind, udp.sent), ("udp", 0));
    assert!(wire.kind == "wire" && wire.up && wire.sent > 0, "{wire:?}");
    let shown = Reply::Status(Box::new(status.clone())).document().bytes;
    assert!(shown.windows(4).any(|it| it == b"wire"), "in /status");

    // The other end goes, and the node keeps what it has.
    assert!(mesh.registry.take().unwrap().stop(PATIENCE).is_some());
    assert_eq!(mesh.call(1, "shop/chain", &[1, 1]), Ok(4));
}
