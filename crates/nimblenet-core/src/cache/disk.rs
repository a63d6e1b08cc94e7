//! The bytes that a cache keeps modules in.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// A region of bytes: taken from the heap, or lent by whoever makes the node, as a board does
/// with a part of its RAM that its second core reads too.
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
