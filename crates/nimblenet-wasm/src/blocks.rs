//! Bytes that hold several instances, beside other bytes of their owner.
//!
//! The code that executes a block relies on its content: offsets, translated code, links between
//! frames. So a block that will be used again is kept in [`Blocks`], which lend it only as an
//! [`Instance`]. The owner can write to every other byte; a write to a byte of a block gives that
//! block up.

use core::ops::Range;

use crate::block::{NONE, Parts};
use crate::fault::{LoadError, NotAnInstance, ThawError};
use crate::instance::Instance;
use crate::limits::LoadOptions;

/// Bytes that hold up to `N` blocks; one more replaces another, which is given up.
#[derive(Debug)]
pub struct Blocks<'m, const N: usize> {
    bytes: &'m mut [u8],
    /// The offsets of the blocks; [`NONE`] in a place without a block.
    starts: [u32; N],
}

impl<'m, const N: usize> Blocks<'m, N> {
    /// Bytes without blocks. No more than 2 GiB of `bytes` are used.
    pub fn new(bytes: &'m mut [u8]) -> Self {
        let len = bytes.len().min(1 << 31);
        Self {
            bytes: &mut bytes[..len],
            starts: [NONE; N],
        }
    }

    /// All of the bytes.
    pub fn all(&mut self) -> Part<'_> {
        Part {
            bytes: &mut *self.bytes,
            starts: &mut self.starts,
            base: 0,
        }
    }

    /// The bytes, without blocks.
    pub fn into_bytes(self) -> &'m mut [u8] {
        self.bytes
    }

    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of `range`. A block that lies partly in the range is given up.
    ///
    /// # Panics
    /// If the range reaches past the bytes.
    pub fn part(&mut self, range: Range<usize>) -> Part<'_> {
        self.all().within(range)
    }

    /// The bytes of `range`, and those of `others` above it, in which all blocks are given up.
    ///
    /// # Panics
    /// If the ranges reach past the bytes, or are not in this order.
    pub fn part_and_bytes(
        &mut self,
        range: Range<usize>,
        others: Range<usize>,
    ) -> (Part<'_>, &mut [u8]) {
        let mut all = self.all();
        all.each(|block| is_apart(&block, &others).then_some(block.start));
        let Part { bytes, starts, .. } = all;
        let (low, high) = bytes.split_at_mut(others.start);
        let low = Part {
            bytes: low,
            starts,
            base: 0,
        };
        (low.within(range), &mut high[..others.len()])
    }
}

/// Whether a block has no byte in a range.
fn is_apart(block: &Range<usize>, range: &Range<usize>) -> bool {
    range.is_empty() || block.end <= range.start || range.end <= block.start
}

/// A part of [`Blocks`]. Offsets count from its start.
#[derive(Debug)]
pub struct Part<'a> {
    bytes: &'a mut [u8],
    starts: &'a mut [u32],
    /// Where it starts among all bytes.
    base: usize,
}

impl Part<'_> {
    /// A part of this part. A block that lies partly in it is given up.
    fn within(mut self, range: Range<usize>) -> Self {
        self.each(|block| {
            let is_in = range.start <= block.start && block.end <= range.end;
            (is_in || is_apart(&block, &range)).then_some(block.start)
        });
        let Self {
            bytes,
            starts,
            base,
        } = self;
        Self {
            base: base + range.start,
            bytes: &mut bytes[range],
            starts,
        }
    }

    /// The bytes, for reading.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Gives up all blocks.
    pub fn give_up(&mut self) {
        self.each(|_| None);
    }

    /// Writes `bytes` at offset `at`; nothing if they do not fit. Blocks that they overwrite are
    /// given up.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let range = at..at.checked_add(bytes.len())?;
        self.bytes.get(range.clone())?;
        self.each(|block| is_apart(&block, &range).then_some(block.start));
        self.bytes[range].copy_from_slice(bytes);
        Some(())
    }

    /// Copies the bytes of `from` to offset `to`. Blocks among them move too; other blocks that
    /// they overwrite are given up.
    ///
    /// # Panics
    /// If the bytes, before or after, reach past this part.
    pub fn shift(&mut self, from: Range<usize>, to: usize) {
        let target = to..to + from.len();
        self.each(|block| {
            if from.start <= block.start && block.end <= from.end {
                Some(block.start - from.start + to)
            } else {
                is_apart(&block, &target).then_some(block.start)
            }
        });
        self.bytes.copy_within(from, to);
    }

    /// Exchanges the first `len` bytes of `range` with those after them. Blocks move too.
    ///
    /// # Panics
    /// If the bytes reach past this part.
    pub fn rotate(&mut self, range: Range<usize>, len: usize) {
        let middle = range.start + len;
        self.each(|block| {
            if range.start <= block.start && block.end <= middle {
                Some(block.start + (range.end - middle))
            } else if middle <= block.start && block.end <= range.end {
                Some(block.start - len)
            } else {
                is_apart(&block, &range).then_some(block.start)
            }
        });
        self.bytes[range].rotate_left(len);
    }

    /// Loads a module at offset `at`: see [`Instance::load`].
    ///
    /// # Errors
    /// As for [`Instance::load`].
    pub fn load<'s>(
        &'s mut self,
        at: usize,
        code: &'s [u8],
        options: &LoadOptions,
    ) -> Result<Instance<'s>, LoadError> {
        let place = self.clear(at);
        let bytes = self.bytes.get_mut(at..).unwrap_or_default();
        let instance = Instance::load(bytes, code, options)?;
        self.starts[place] = (self.base + at) as u32;
        Ok(instance)
    }

    /// Thaws an image at offset `at`: see [`Instance::thaw`].
    ///
    /// # Errors
    /// As for [`Instance::thaw`].
    pub fn thaw<'s>(
        &'s mut self,
        at: usize,
        code: &'s [u8],
        image: &[u8],
        options: &LoadOptions,
    ) -> Result<Instance<'s>, ThawError> {
        let place = self.clear(at);
        let bytes = self.bytes.get_mut(at..).unwrap_or_default();
        let instance = Instance::thaw(bytes, code, image, options)?;
        self.starts[place] = (self.base + at) as u32;
        Ok(instance)
    }

    /// Returns the instance at offset `at`, whose memory may grow up to the end of this part, and
    /// the bytes before it. Blocks above it are given up. It reads all of `code` once, to check
    /// that this is the instance's module.
    ///
    /// # Errors
    /// If no block starts there, or the block reaches past this part, or belongs to another module.
    pub fn attach<'s>(
        &'s mut self,
        at: usize,
        code: &'s [u8],
    ) -> Result<(&'s [u8], Instance<'s>), NotAnInstance> {
        let start = (self.base + at) as u32;
        if !self.starts.contains(&start) {
            return Err(NotAnInstance);
        }
        self.each(|block| (block.start <= at).then_some(block.start));
        let (before, block) = self.bytes.split_at_mut(at);
        Ok((before, Instance::attach(block, code)?))
    }

    /// Gives up the blocks that reach past offset `at`; returns a place for a new one.
    fn clear(&mut self, at: usize) -> usize {
        self.each(|block| (block.end <= at).then_some(block.start));
        let free = self.starts.iter().position(|&start| start == NONE);
        free.unwrap_or(0)
    }

    /// Moves the start of each block of this part to the offset that `to` returns for it; if `to`
    /// returns nothing, the block is given up.
    fn each(&mut self, to: impl Fn(Range<usize>) -> Option<usize>) {
        for start in &mut *self.starts {
            let at = (*start as usize).wrapping_sub(self.base);
            let Some(bytes) = self.bytes.get(at..).filter(|bytes| !bytes.is_empty()) else {
                continue;
            };
            let end = at + bytes.end_of_memory();
            *start = to(at..end).map_or(NONE, |at| (self.base + at) as u32);
        }
    }
}
