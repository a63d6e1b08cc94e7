//! The bytes that a cache keeps modules in.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// A region of bytes: taken from the heap, or lent by the creator of the node, as a board lends a part
/// of its RAM that its second core reads too.
#[derive(Debug)]
pub struct Disk(Region);

#[derive(Debug)]
enum Region {
    Owned(Vec<u8>),
    Lent(&'static mut [u8]),
}

impl Disk {
    /// A region of `bytes` bytes from the heap.
    pub fn allocate(bytes: usize) -> Self {
        Self(Region::Owned(vec![0; bytes]))
    }

    /// Keeps the first `at` bytes and returns the others; none if there are fewer.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        let at = at.min(self.len());
        let whole = core::mem::take(&mut self.0);
        let (kept, rest) = match whole {
            Region::Owned(mut bytes) => {
                let rest = bytes.split_off(at);
                (Region::Owned(bytes), Region::Owned(rest))
            }
            Region::Lent(bytes) => {
                let (kept, rest) = bytes.split_at_mut(at);
                (Region::Lent(kept), Region::Lent(rest))
            }
        };
        self.0 = kept;
        Self(rest)
    }
}

impl Default for Region {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl From<&'static mut [u8]> for Disk {
    fn from(bytes: &'static mut [u8]) -> Self {
        Self(Region::Lent(bytes))
    }
}

impl Deref for Disk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Region::Owned(bytes) => bytes,
            Region::Lent(bytes) => bytes,
        }
    }
}

impl DerefMut for Disk {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Region::Owned(bytes) => bytes,
            Region::Lent(bytes) => bytes,
        }
    }
}

/// A part of a disk that is filled from its start and never grows.
#[derive(Debug)]
pub(crate) struct Buffer {
    region: Disk,
    len: usize,
}

impl Buffer {
    pub(crate) fn new(region: Disk) -> Self {
        Self { region, len: 0 }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.region.len()
    }

    /// Bytes that may still come.
    pub(crate) fn room(&self) -> usize {
        self.region.len() - self.len
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Makes it `len` bytes long, at most its capacity; new bytes are those of the region.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.len = len.min(self.region.len());
    }

    /// Lengthens the content by what `write` writes to the start of the free bytes; it returns how
    /// many they are.
    ///
    /// # Errors
    /// What `write` fails with; the content is as before then.
    pub(crate) fn extend<E>(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let written = write(&mut self.region[self.len..])?;
        self.set_len(self.len + written);
        Ok(())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.region[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.region[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_split_whether_it_is_owned_or_lent() {
        let lent: &'static mut [u8] = Vec::leak(vec![0; 10]);
        for mut disk in [Disk::allocate(10), Disk::from(lent)] {
            disk[7] = 9;
            let rest = disk.split_off(6);
            assert_eq!((disk.len(), &rest[..]), (6, &[0, 9, 0, 0][..]));
            assert_eq!(disk.split_off(99).len(), 0);
        }
    }

    #[test]
    fn a_buffer_is_filled_up_to_its_end() {
        let mut buffer = Buffer::new(Disk::allocate(5));
        let write = |bytes: &'static [u8]| {
            move |room: &mut [u8]| {
                room.get_mut(..3).ok_or(())?.copy_from_slice(bytes);
                Ok(3)
            }
        };
        assert_eq!(buffer.extend(write(b"abc")), Ok(()));
        assert_eq!(buffer.extend(write(b"def")), Err(()));
        assert_eq!((&buffer[..], buffer.room()), (&b"abc"[..], 2));
        assert_eq!(buffer.capacity(), 5);
    }
}
