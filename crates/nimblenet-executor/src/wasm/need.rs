//! What a run needs of an arena.

use nimblenet_wasm::Facts;

use super::arena::rounded;
use super::link::LINK_BYTES;

/// Bytes that a run takes of an arena at most: the links of its imports, the interpreter's state,
/// and linear memory up to a ceiling of `memory_bytes`, 0 for what the module starts with. An arena
/// of these bytes is enough for the run alone, and for loading its module.
///
/// `facts` are those of the module under the limits of the executor. While a start function runs,
/// the arguments of the call wait in the arena too; they are not counted.
pub fn arena_bytes(facts: &Facts, memory_bytes: u32) -> usize {
    let ceiling = match memory_bytes {
        0 => facts.memory_bytes,
        bytes => bytes,
    };
    let memory = facts.memory_limit.min(ceiling).max(facts.memory_bytes);
    let links = facts.imports as usize * LINK_BYTES;
    let grown = facts.block_bytes + memory as usize;
    rounded(links + grown.max(facts.load_bytes))
}
