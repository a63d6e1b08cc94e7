//! Nodes agree with their registries.

use nimblenet_core::{Catalogue, Instant};

use super::{Checker, End, Finding, Sight};

/// Compares catalogues with those of the registries, once all has been calm for longer than the longest
/// time between two hellos.
#[derive(Default)]
pub(super) struct Agreed;

/// Whether two catalogues of one epoch have the same entries.
fn same(one: &Catalogue, other: &Catalogue) -> bool {
    one.entries()
        .map(|entry| entry.encoded())
        .eq(other.entries().map(|entry| entry.encoded()))
}

impl Checker for Agreed {
    fn see(&mut self, _: Instant, _: &Sight<'_>) -> Finding {
        Ok(())
    }

    fn end(&mut self, _: Instant, end: &End<'_>) -> Finding {
        for (namespace, registry) in &end.namespaces {
            let find = |id| end.nodes.iter().find(|node| node.id() == id);
            let Some(right) = find(*registry).and_then(|node| node.catalogue(*namespace)) else {
                continue;
            };
            for node in &end.nodes {
                let held = node.catalogue(*namespace);
                let (id, epoch) = (node.id().0, right.epoch());
                let held_epoch = held.map_or(0, Catalogue::epoch);
                if held_epoch != epoch {
                    return Err(format!(
                        "node {id} is at epoch {held_epoch}; its registry at {epoch}"
                    ));
                }
                if held.is_some_and(|held| !same(held, right)) {
                    return Err(format!(
                        "node {id} and its registry are at epoch {epoch} with other entries"
                    ));
                }
            }
        }
        Ok(())
    }
}
