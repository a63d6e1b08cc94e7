//! The state that loading and translation share: the block, which fills from both ends, the budget
//! of validation, and what the sections before the code say.

use crate::block::{FLAG_MEMORY, Field, HEADER_BYTES, Words};
use crate::fault::{Fault, InvalidModule, LoadError};
use crate::limits::Limits;
use crate::reader::Reader;

/// The block while it is filled, and how much of it is in use.
pub(crate) struct Space<'l> {
    pub(crate) block: &'l mut [u8],
    /// End of the tables that grow from the block's start.
    pub(crate) at: usize,
    /// Start of the loading-time tables at the block's end.
    pub(crate) top: usize,
    /// Steps that validation has left.
    work: u32,
    /// Translated code is counted but not written: the block is too small, or nobody needs the
    /// code.
    pub(crate) counting: bool,
    /// The most bytes that were in use at once.
    pub(crate) peak: usize,
    /// Some function calls another of the module.
    pub(crate) calls_inside: bool,
    /// The word of translated code whose instruction in the module is searched; 0 if there is no
    /// search.
    pub(crate) sought: u32,
    /// The offset in the module of the instruction that was translated to that word.
    pub(crate) found: u32,
}

impl<'l> Space<'l> {
    /// A block that has only its header.
    pub(super) fn new(block: &'l mut [u8], work: u32) -> Self {
        // Offsets are 32 bits wide, and the loading-time tables are aligned.
        let top = block.len().min(1 << 31) & !7;
        Self {
            block,
            at: HEADER_BYTES,
            top,
            work,
            counting: false,
            peak: HEADER_BYTES,
            calls_inside: false,
            sought: 0,
            found: 0,
        }
    }

    /// Whether the module has a memory.
    pub(crate) fn has_memory(&self) -> bool {
        self.block.field(Field::FLAGS) & FLAG_MEMORY != 0
    }

    /// Takes `steps` from the validation budget.
    pub(crate) fn spend(&mut self, steps: u32, at: &Reader<'_>) -> Result<(), InvalidModule> {
        match self.work.checked_sub(steps) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => Err(at.fault(Fault::ValidationBudget)),
        }
    }

    /// Appends `len` zeroed bytes, aligned to 4, to the tables; returns their offset.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<usize, LoadError> {
        let at = self.at.next_multiple_of(4);
        let end = at.saturating_add(len);
        if end > self.top {
            return Err(self.out_of_memory(end - self.top));
        }
        self.block[at..end].fill(0);
        self.at = end;
        self.peak = self.peak.max(end + (self.block.len() - self.top));
        Ok(at)
    }

    /// Reserves `len` bytes at the block's end; returns their offset.
    pub(crate) fn reserve_top(&mut self, len: usize) -> Result<usize, LoadError> {
        let len = len.next_multiple_of(8);
        if len > self.top - self.at.min(self.top) {
            return Err(self.out_of_memory(len));
        }
        self.top -= len;
        self.peak = self.peak.max(self.at + (self.block.len() - self.top));
        Ok(self.top)
    }

    pub(crate) fn out_of_memory(&self, missing: usize) -> LoadError {
        LoadError::OutOfMemory {
            needed: self.block.len() + missing.max(1024),
        }
    }
}

/// The facts about the module that come before its code.
#[derive(Clone, Copy)]
pub(crate) struct Known<'l> {
    pub(crate) code: &'l [u8],
    pub(crate) limits: Limits,
    /// Loading-time table: for each type, the offset of its description (2 bytes each).
    pub(crate) type_index: usize,
    pub(crate) type_count: u32,
    /// Loading-time table: for each global its type, mutability and byte offset (4 bytes each).
    pub(crate) global_types: usize,
}

impl Known<'_> {
    /// The description of the type with this index: its offset in the table of types.
    pub(crate) fn type_at(
        &self,
        block: &[u8],
        index: u32,
        at: &Reader<'_>,
    ) -> Result<u16, InvalidModule> {
        if index >= self.type_count {
            return Err(at.fault(Fault::UnknownIndex));
        }
        Ok(block.half(self.type_index + index as usize * 2))
    }
}
