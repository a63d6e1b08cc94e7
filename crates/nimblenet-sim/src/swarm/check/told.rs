//! Nodes say that their registries have lost something.

use std::collections::BTreeSet;

use nimblenet_core::{Event, Instant};
use nimblenet_tasklet::{NamespaceId, NodeId};

use super::{Checker, Finding, Sight};

/// Remembers which nodes have spoken of a contradiction, and compares that with what they hold.
#[derive(Default)]
pub(super) struct Told {
    spoken: BTreeSet<(NodeId, NamespaceId)>,
}

impl Checker for Told {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        match sight {
            Sight::Event(node, Event::Contradicted { namespace, .. }) => {
                self.spoken.insert((*node, *namespace));
            }
            Sight::Down(node) => self.spoken.retain(|(speaker, _)| speaker != node),
            Sight::Settled(end) => {
                for (namespace, registry) in &end.namespaces {
                    let find = |id| end.nodes.iter().find(|node| node.id() == id);
                    let right = find(*registry).and_then(|node| node.catalogue(*namespace));
                    let Some(right) = right.map(|it| (it.epoch(), it.root())) else {
                        continue;
                    };
                    for node in &end.nodes {
                        let held = node.catalogue(*namespace);
                        let held = held.map_or((0, 0), |it| (it.epoch(), it.root()));
                        let contradicts = held.0 > right.0 || held.0 == right.0 && held != right;
                        if contradicts && !self.spoken.contains(&(node.id(), *namespace)) {
                            let (id, held, right) = (node.id().0, held.0, right.0);
                            return Err(format!(
                                "node {id} holds epoch {held}, its registry {right}; it says nothing"
                            ));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
