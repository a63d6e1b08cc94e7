//! One stretch of memory, shared out among activations.
//!
//! ```text
//! | block | block |  hole  | block |            gap            | image | image |
//! 0                                                                        end
//! ```
//! Blocks of activations that can run stand at the bottom, images of frozen ones at the top.
//! Images are always packed. Blocks are packed only when room is needed ([`Arena::compact`]), for
//! moving them costs time; nothing in a block depends on where it stands.

use crate::options::ACTIVATIONS;

/// What every region starts at a multiple of, and is a multiple of in length.
pub(super) const ALIGN: usize = 16;

/// `len`, rounded up to what a region can have.
pub(super) const fn rounded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// Bytes of the arena that belong to one activation.
#[derive(Clone, Copy, Debug)]
struct Region {
    at: usize,
    len: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Free,
    Block,
    Image,
}

/// The arena. Regions are numbered like the activations they belong to.
pub(crate) struct Arena<'m> {
    bytes: &'m mut [u8],
    regions: [Region; ACTIVATIONS],
}

impl<'m> Arena<'m> {
    pub(super) fn new(bytes: &'m mut [u8]) -> Self {
        let skip = bytes.as_ptr().align_offset(ALIGN).min(bytes.len());
        let len = (bytes.len() - skip) / ALIGN * ALIGN;
        let free = Region {
            at: 0,
            len: 0,
            kind: Kind::Free,
        };
        Self {
            bytes: &mut bytes[skip..skip + len],
            regions: [free; ACTIVATIONS],
        }
    }

    /// The bytes there are to share out.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that images take.
    pub(super) fn image_bytes(&self) -> usize {
        self.bytes.len() - self.images_start()
    }

    /// The bytes of region `slot`.
    pub(super) fn region(&mut self, slot: usize) -> &mut [u8] {
        let Region { at, len, .. } = self.regions[slot];
        &mut self.bytes[at..at + len]
    }

    /// How long region `slot` is.
    pub(super) fn region_len(&self, slot: usize) -> usize {
        self.regions[slot].len
    }

    /// The free bytes between the highest block and the lowest image.
    pub(crate) fn gap(&mut self) -> &mut [u8] {
        let (from, to) = self.gap_range();
        &mut self.bytes[from..to]
    }

    /// Makes the first `len` bytes of the gap the block of `slot`.
    pub(super) fn take_gap(&mut self, slot: usize, len: usize) {
        let (at, end) = self.gap_range();
        debug_assert!(self.regions[slot].kind == Kind::Free && len <= end - at);
        self.regions[slot] = Region {
            at,
            len,
            kind: Kind::Block,
        };
    }

    /// The gap, and the image of `slot` beside it.
    pub(super) fn gap_and_image(&mut self, slot: usize) -> (&mut [u8], &[u8]) {
        let image = self.regions[slot];
        debug_assert!(image.kind == Kind::Image);
        let (from, to) = self.gap_range();
        let (low, high) = self.bytes.split_at_mut(to);
        let image = image.at - to..image.at - to + image.len;
        (&mut low[from..], &high[image])
    }

    /// Makes the image of `slot` a block: the first `len` bytes of the gap. The image is gone.
    pub(super) fn swap_in(&mut self, slot: usize, len: usize) {
        let (at, end) = self.gap_range();
        debug_assert!(len <= end - at);
        self.release(slot);
        self.regions[slot] = Region {
            at,
            len,
            kind: Kind::Block,
        };
    }

    /// The block of `slot`, and the `len` bytes at the gap's end for its image; nothing if the gap
    /// is shorter.
    pub(super) fn block_and_image(
        &mut self,
        slot: usize,
        len: usize,
    ) -> Option<(&mut [u8], &mut [u8])> {
        let block = self.regions[slot];
        debug_assert!(block.kind == Kind::Block);
        let (from, to) = self.gap_range();
        let image = to.checked_sub(len).filter(|image| *image >= from)?;
        let (low, high) = self.bytes.split_at_mut(image);
        Some((&mut low[block.at..block.at + block.len], &mut high[..len]))
    }

    /// Makes the block of `slot` an image: the last `len` bytes of the gap. The block is gone.
    pub(super) fn swap_out(&mut self, slot: usize, len: usize) {
        let (from, to) = self.gap_range();
        debug_assert!(len <= to - from);
        self.regions[slot] = Region {
            at: to - len,
            len,
            kind: Kind::Image,
        };
    }

    /// Makes the block of `slot` the image that these bytes are; they take no more than the block.
    pub(super) fn replace(&mut self, slot: usize, image: &[u8]) {
        debug_assert!(image.len() <= self.regions[slot].len);
        self.release(slot);
        self.compact();
        self.swap_out(slot, image.len());
        self.region(slot).copy_from_slice(image);
    }

    /// Gives the bytes of `slot` back.
    pub(super) fn release(&mut self, slot: usize) {
        let gone = core::mem::replace(
            &mut self.regions[slot],
            Region {
                at: 0,
                len: 0,
                kind: Kind::Free,
            },
        );
        if gone.kind == Kind::Image {
            let start = self.images_start().min(gone.at);
            self.bytes.copy_within(start..gone.at, start + gone.len);
            let images = self.regions.iter_mut();
            for image in images.filter(|it| it.kind == Kind::Image && it.at < gone.at) {
                image.at += gone.len;
            }
        }
    }

    /// Shortens the block of `slot` to `len` bytes.
    pub(super) fn shrink(&mut self, slot: usize, len: usize) {
        debug_assert!(len <= self.regions[slot].len);
        self.regions[slot].len = len;
    }

    /// Lengthens the block of `slot` to `len` bytes where it stands; false if something is in the
    /// way.
    pub(super) fn extend(&mut self, slot: usize, len: usize) -> bool {
        let Region { at, len: now, .. } = self.regions[slot];
        if len <= now {
            return true;
        }
        let others = self.regions.iter().filter(|it| it.kind != Kind::Free);
        let next = others
            .map(|it| it.at)
            .filter(|it| *it > at)
            .min()
            .unwrap_or(self.bytes.len());
        let fits = at + len <= next;
        if fits {
            self.regions[slot].len = len;
        }
        fits
    }

    /// Packs the blocks; true if the gap has grown.
    pub(super) fn compact(&mut self) -> bool {
        let before = self.blocks_end();
        let mut end = 0;
        for slot in self.blocks_upwards() {
            let Region { at, len, .. } = self.regions[slot];
            if at > end {
                self.bytes.copy_within(at..at + len, end);
                self.regions[slot].at = end;
            }
            end += len;
        }
        self.blocks_end() < before
    }

    /// Packs the blocks with that of `slot` as the highest, next to the gap.
    pub(super) fn raise(&mut self, slot: usize) {
        self.compact();
        let Region { at, len, .. } = self.regions[slot];
        let end = self.blocks_end();
        // The rotation happens in place: there may be no room for a copy.
        self.bytes[at..end].rotate_left(len);
        let blocks = self.regions.iter_mut();
        for block in blocks.filter(|it| it.kind == Kind::Block && it.at > at) {
            block.at -= len;
        }
        self.regions[slot].at = end - len;
    }

    fn gap_range(&self) -> (usize, usize) {
        (self.blocks_end(), self.images_start())
    }

    fn blocks_end(&self) -> usize {
        let blocks = self.regions.iter().filter(|it| it.kind == Kind::Block);
        blocks.map(|it| it.at + it.len).max().unwrap_or(0)
    }

    fn images_start(&self) -> usize {
        let images = self.regions.iter().filter(|it| it.kind == Kind::Image);
        images.map(|it| it.at).min().unwrap_or(self.bytes.len())
    }

    /// The slots of all blocks, in the order they stand in.
    fn blocks_upwards(&self) -> impl Iterator<Item = usize> + use<> {
        let mut order = [0; ACTIVATIONS];
        let mut count = 0;
        for slot in 0..ACTIVATIONS {
            if self.regions[slot].kind == Kind::Block {
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
