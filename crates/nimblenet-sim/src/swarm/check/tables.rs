//! Tables keep to their limits.

use nimblenet_core::Instant;

use super::{Checker, Finding, Sight};

/// Compares what each table of a node holds with its limit.
#[derive(Default)]
pub(super) struct Tables;

impl Checker for Tables {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        let Sight::Rested(node) = sight else {
            return Ok(());
        };
        let mut tables = node.occupancy().into_iter();
        let over = tables.find(|table| table.held > table.limit);
        over.map_or(Ok(()), |table| {
            let (node, name) = (node.id().0, table.name);
            let (held, limit) = (table.held, table.limit);
            Err(format!("node {node} holds {held} {name}; {limit} may be"))
        })
    }
}
