//! One stretch of memory, shared out among activations.
//!
//! ```text
//! | block | block |  hole  | block |            gap            | image | image |
//! 0                                                                        end
//! ```
//! Blocks of activations that can run stand at the bottom, images of frozen ones at the top.
//! Images are always packed. Blocks are packed only when room is needed ([`Arena::compact`]), for
//! moving them costs time; nothing in a block depends on where it stands.

use core::ops::Range;

use nimblenet_wasm::{Blocks, Part};

use crate::options::ACTIVATIONS;

/// The start and the length of every region are multiples of this.
pub(super) const ALIGN: usize = 16;

/// `len`, rounded up to a length that a region can have.
pub(super) const fn rounded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// The bytes of the arena that belong to one slot. It takes two words, since there is one region
/// for each slot.
#[derive(Clone, Copy, Debug)]
struct Region {
    /// Where it starts; the lowest bit is set if it holds an image.
    at: u32,
    /// Its length, 0 if the slot has no bytes.
    len: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Free,
    Block,
    Image,
}

impl Region {
    const FREE: Self = Self { at: 0, len: 0 };

    fn block(at: usize, len: usize) -> Self {
        Self {
            at: at as u32,
            len: len as u32,
        }
    }

    fn image(at: usize, len: usize) -> Self {
        Self {
            at: at as u32 | 1,
            len: len as u32,
        }
    }

    fn at(self) -> usize {
        (self.at & !1) as usize
    }

    fn len(self) -> usize {
        self.len as usize
    }

    fn range(self) -> Range<usize> {
        self.at()..self.at() + self.len()
    }

    fn kind(self) -> Kind {
        match (self.len, self.at & 1) {
            (0, _) => Kind::Free,
            (_, 0) => Kind::Block,
            _ => Kind::Image,
        }
    }
}

/// The arena. A region has the number of the slot that it belongs to.
pub(crate) struct Arena<'m> {
    bytes: Blocks<'m, ACTIVATIONS>,
    regions: [Region; ACTIVATIONS],
}

impl<'m> Arena<'m> {
    pub(super) fn new(bytes: &'m mut [u8]) -> Self {
        let skip = bytes.as_ptr().align_offset(ALIGN).min(bytes.len());
        let len = (bytes.len() - skip) / ALIGN * ALIGN;
        Self {
            bytes: Blocks::new(&mut bytes[skip..skip + len]),
            regions: [Region::FREE; ACTIVATIONS],
        }
    }

    /// The length of the arena.
    pub(super) fn len(&self) -> usize {
        self.bytes.bytes()
    }

    /// Bytes that images take.
    pub(super) fn image_bytes(&self) -> usize {
        self.len() - self.images_start()
    }

    /// The bytes of region `slot`.
    pub(super) fn region(&mut self, slot: usize) -> Part<'_> {
        self.bytes.part(self.regions[slot].range())
    }

    /// How long region `slot` is.
    pub(super) fn region_len(&self, slot: usize) -> usize {
        self.regions[slot].len()
    }

    /// The free bytes between the highest block and the lowest image.
    pub(crate) fn gap(&mut self) -> Part<'_> {
        let mut gap = self.bytes.part(self.gap_range());
        gap.give_up();
        gap
    }

    /// The length of the gap.
    pub(crate) fn gap_len(&self) -> usize {
        self.gap_range().len()
    }

    /// Makes the first `len` bytes of the gap the block of `slot`.
    pub(super) fn take_gap(&mut self, slot: usize, len: usize) {
        debug_assert!(self.regions[slot].kind() == Kind::Free && len <= self.gap_len());
        self.regions[slot] = Region::block(self.blocks_end(), len);
    }

    /// The gap, and the image of `slot` beside it.
    pub(super) fn gap_and_image(&mut self, slot: usize) -> (Part<'_>, &[u8]) {
        let image = self.regions[slot];
        debug_assert!(image.kind() == Kind::Image);
        let (mut gap, image) = self.bytes.part_and_bytes(self.gap_range(), image.range());
        gap.give_up();
        (gap, image)
    }

    /// Makes the image of `slot` a block: the first `len` bytes of the gap. The image is gone.
    pub(super) fn swap_in(&mut self, slot: usize, len: usize) {
        debug_assert!(len <= self.gap_len());
        let at = self.blocks_end();
        self.release(slot);
        self.regions[slot] = Region::block(at, len);
    }

    /// The block of `slot`, and the last `len` bytes of the gap for its image; nothing if the gap
    /// is shorter.
    pub(super) fn block_and_image(
        &mut self,
        slot: usize,
        len: usize,
    ) -> Option<(Part<'_>, &mut [u8])> {
        let block = self.regions[slot];
        debug_assert!(block.kind() == Kind::Block);
        let Range { start, end } = self.gap_range();
        let image = end.checked_sub(len).filter(|image| *image >= start)?;
        Some(self.bytes.part_and_bytes(block.range(), image..end))
    }

    /// Makes the block of `slot` an image: the last `len` bytes of the gap. The block is gone.
    pub(super) fn swap_out(&mut self, slot: usize, len: usize) {
        debug_assert!(len <= self.gap_len());
        self.region(slot).give_up();
        self.regions[slot] = Region::image(self.images_start() - len, len);
    }

    /// Frees the block of `slot`, and puts `image`, which is no longer, among the images.
    pub(super) fn replace(&mut self, slot: usize, image: &[u8]) {
        debug_assert!(image.len() <= self.regions[slot].len());
        self.release(slot);
        self.compact();
        self.swap_out(slot, image.len());
        let written = self.region(slot).write(0, image);
        debug_assert!(written.is_some());
    }

    /// Frees the bytes of `slot`.
    pub(super) fn release(&mut self, slot: usize) {
        self.region(slot).give_up();
        let gone = core::mem::replace(&mut self.regions[slot], Region::FREE);
        if gone.kind() == Kind::Image {
            let start = self.images_start().min(gone.at());
            let below = start..gone.at();
            self.bytes.all().shift(below, start + gone.len());
            let images = self.regions.iter_mut();
            for image in images.filter(|it| it.kind() == Kind::Image && it.at < gone.at) {
                image.at += gone.len;
            }
        }
    }

    /// Shortens the block of `slot` to `len` bytes.
    pub(super) fn shrink(&mut self, slot: usize, len: usize) {
        debug_assert!(len <= self.regions[slot].len());
        self.regions[slot].len = len as u32;
    }

    /// Lengthens the block of `slot` to `len` bytes where it stands; false if something is in the
    /// way.
    pub(super) fn extend(&mut self, slot: usize, len: usize) -> bool {
        let block = self.regions[slot];
        if len <= block.len() {
            return true;
        }
        let others = self.regions.iter().filter(|it| it.kind() != Kind::Free);
        let next = others
            .map(|it| it.at())
            .filter(|it| *it > block.at())
            .min()
            .unwrap_or(self.len());
        let fits = block.at() + len <= next;
        if fits {
            self.regions[slot].len = len as u32;
        }
        fits
    }

    /// Packs the blocks; true if the gap has grown.
    pub(super) fn compact(&mut self) -> bool {
        let before = self.blocks_end();
        let mut end = 0;
        for slot in self.blocks_upwards() {
            let block = self.regions[slot];
            if block.at() > end {
                self.bytes.all().shift(block.range(), end);
                self.regions[slot] = Region::block(end, block.len());
            }
            end += block.len();
        }
        self.blocks_end() < before
    }

    /// Packs the blocks, and moves that of `slot` to the top, next to the gap.
    pub(super) fn raise(&mut self, slot: usize) {
        self.compact();
        let raised = self.regions[slot];
        let end = self.blocks_end();
        // The rotation happens in place: there may be no room for a copy.
        self.bytes.all().rotate(raised.at()..end, raised.len());
        let blocks = self.regions.iter_mut();
        for block in blocks.filter(|it| it.kind() == Kind::Block && it.at > raised.at) {
            block.at -= raised.len;
        }
        self.regions[slot] = Region::block(end - raised.len(), raised.len());
    }

    fn gap_range(&self) -> Range<usize> {
        self.blocks_end()..self.images_start()
    }

    fn blocks_end(&self) -> usize {
        let blocks = self.regions.iter().filter(|it| it.kind() == Kind::Block);
        blocks.map(|it| it.range().end).max().unwrap_or(0)
    }

    fn images_start(&self) -> usize {
        let images = self.regions.iter().filter(|it| it.kind() == Kind::Image);
        images.map(|it| it.at()).min().unwrap_or(self.len())
    }

    /// The slots of all blocks, from the lowest block to the highest.
    fn blocks_upwards(&self) -> impl Iterator<Item = usize> + use<> {
        let mut order = [0; ACTIVATIONS];
        let mut count = 0;
        for slot in 0..ACTIVATIONS {
            if self.regions[slot].kind() == Kind::Block {
                // They are few: putting each in its place takes less code than sorting.
                let before = |other: &usize| self.regions[*other].at < self.regions[slot].at;
                let at = order[..count].partition_point(before);
                order.copy_within(at..count, at + 1);
                order[at] = slot;
                count += 1;
            }
        }
        order.into_iter().take(count)
    }
}
