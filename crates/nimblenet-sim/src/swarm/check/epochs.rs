//! Catalogues do not grow older.

use std::collections::BTreeMap;

use nimblenet_core::{Event, Instant};
use nimblenet_tasklet::{NamespaceId, NodeId};

use super::{Checker, Finding, Sight};

/// Remembers the newest epoch that each node has held, over its restarts.
#[derive(Default)]
pub(super) struct EpochFalls {
    newest: BTreeMap<(NodeId, NamespaceId), u32>,
}

impl Checker for EpochFalls {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        if let Sight::Event(node, Event::Catalogue { namespace, epoch }) = sight {
            let newest = self.newest.entry((*node, *namespace)).or_default();
            if epoch < newest {
                let node = node.0;
                return Err(format!(
                    "node {node} takes up epoch {epoch} after epoch {newest}"
                ));
            }
            *newest = *epoch;
        }
        Ok(())
    }
}
