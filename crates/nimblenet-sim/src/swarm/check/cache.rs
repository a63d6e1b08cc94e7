//! Caches keep to their budget.

use nimblenet_core::Instant;

use super::{Checker, Finding, Sight};

/// Compares what the cache holds with its limits.
#[derive(Default)]
pub(super) struct CacheBudget;

impl Checker for CacheBudget {
    fn see(&mut self, _: Instant, sight: &Sight<'_>) -> Finding {
        let Sight::Rested(node) = sight else {
            return Ok(());
        };
        let (cache, limits) = (node.cache(), &node.config().limits);
        let bytes: usize = cache.modules().map(|module| module.bytes as usize).sum();
        let count = cache.modules().count();
        if bytes.max(cache.used()) > limits.cache_bytes || count > limits.cache_entries {
            let (most, entries) = (limits.cache_bytes, limits.cache_entries);
            return Err(format!(
                "node {} caches {count} modules of {bytes} bytes; {entries} of {most} may be",
                node.id().0
            ));
        }
        Ok(())
    }
}
