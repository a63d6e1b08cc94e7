//! Loaded blocks that are kept after a run, for another start of their module.
//!
//! A block in which a run has ended, in whatever way, stays where it is and keeps its place in the
//! table of activations. The next start of the same module resets it in place and runs: the module
//! is neither validated nor translated nor hashed again. Its bytes were hashed when the block was
//! loaded, and the block belongs to that digest; a start whose entry has another digest never gets
//! it. Every start checks what follows from its entry: the export's type, the imports and what is
//! granted, and the ceiling on memory, which must be the one that the block was loaded with.
//!
//! Kept blocks take nothing from runs. When no place is free, a kept block gives up its place; and
//! all kept blocks give up their room before an activation has to.

use nimblenet_wasm::Part;

use super::activation::Activation;
use super::arena::rounded;
use super::{Slot, Wasm};
use crate::options::ACTIVATIONS;

/// A loaded block that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Warm {
    /// The digest of its module.
    pub(super) digest: [u8; 32],
    /// The ceiling on linear memory that it was loaded with.
    pub(super) memory_bytes: u32,
    /// The links before it, in bytes.
    pub(super) links: usize,
    /// The number of starts at the time when its last run ended.
    ended: u32,
}

impl Warm {
    /// Keeps the block in the region of a run that has ended.
    pub(super) fn keep(run: &Activation, mut region: Part<'_>, starts: u64) -> Self {
        let layout = &run.layout;
        let warm = Self {
            digest: run.digest,
            memory_bytes: run.memory_bytes,
            links: layout.links,
            ended: starts as u32,
        };
        // If a start function ran, the arguments of the export stand before the block.
        if layout.instance != warm.instance() {
            region.shift(layout.instance..layout.used, warm.instance());
        }
        warm
    }

    /// Where the block starts in its region.
    pub(super) fn instance(&self) -> usize {
        rounded(self.links)
    }
}

impl Wasm<'_> {
    /// Gives up the kept block that was used least recently, and returns its slot, which is free;
    /// nothing if no block is kept.
    pub(crate) fn give_up_warm(&mut self) -> Option<usize> {
        let now = self.starts() as u32;
        let age = |slot: &usize| match &self.slots[*slot] {
            Slot::Warm(warm) => Some(now.wrapping_sub(warm.ended)),
            Slot::Free | Slot::Run(_) => None,
        };
        let oldest = (0..ACTIVATIONS).max_by_key(age)?;
        age(&oldest)?;
        self.arena.release(oldest);
        self.slots[oldest] = Slot::Free;
        Some(oldest)
    }
}
