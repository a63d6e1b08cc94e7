//! UF2 files, which a board takes when it is plugged in as a drive
//! (<https://github.com/microsoft/uf2>).
//!
//! A file is blocks of 512 bytes, one for each page of 256 bytes of flash. The boot loader of the
//! RP2040 erases the sectors that the pages lie in and leaves the rest of its flash as it is
//! (RP2040 datasheet, section 2.8.4.2).

#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// Bytes of flash in one block; the boot loader of the RP2040 takes no others.
const PAGE_BYTES: usize = 256;
const BLOCK_BYTES: usize = 512;
const MAGIC: [u32; 2] = [0x0a32_4655, 0x9e5d_5157];
const MAGIC_END: u32 = 0x0ab1_6f30;
const FAMILY_GIVEN: u32 = 0x2000;
/// The family of the RP2040.
const FAMILY: u32 = 0xe48b_ff56;
/// Where flash begins and ends on a board with 2 MiB.
const FLASH: core::ops::Range<u32> = 0x1000_0000..0x1020_0000;

/// Content for flash, page by page.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Image {
    pages: BTreeMap<u32, [u8; PAGE_BYTES]>,
}

impl Image {
    /// An image of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `content` at `address`. The rest of a page that it covers in part is zero, unless
    /// something else is put there.
    ///
    /// # Errors
    /// [`OutsideFlash`] if not all of it lies in flash; nothing is put then.
    pub fn put(&mut self, address: u32, content: &[u8]) -> Result<(), OutsideFlash> {
        let len = u32::try_from(content.len()).ok();
        let end = len.and_then(|len| address.checked_add(len));
        if address < FLASH.start || end.is_none_or(|end| end > FLASH.end) {
            return Err(OutsideFlash {
                address,
                bytes: content.len(),
            });
        }
        for (at, byte) in (address..).zip(content) {
            let within = at as usize % PAGE_BYTES;
            let page = self.pages.entry(at - within as u32);
            page.or_insert([0; PAGE_BYTES])[within] = *byte;
        }
        Ok(())
    }

    /// The image as a file.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        let count = self.pages.len() as u32;
        let mut file = Vec::with_capacity(self.pages.len() * BLOCK_BYTES);
        for (number, (address, page)) in (0..).zip(&self.pages) {
            let head = [
                MAGIC[0],
                MAGIC[1],
                FAMILY_GIVEN,
                *address,
                PAGE_BYTES as u32,
                number,
                count,
                FAMILY,
            ];
            let end = file.len() + BLOCK_BYTES;
            file.extend(head.into_iter().flat_map(u32::to_le_bytes));
            file.extend(page);
            file.resize(end - 4, 0);
            file.extend(MAGIC_END.to_le_bytes());
        }
        file
    }
}

/// Something does not lie in flash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutsideFlash {
    /// Where it begins.
    pub address: u32,
    /// Its length.
    pub bytes: usize,
}

impl fmt::Display for OutsideFlash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, bytes } = self;
        write!(
            f,
            "{bytes} bytes at {address:#x} lie outside flash, which is {:#x} to {:#x}",
            FLASH.start, FLASH.end
        )
    }
}

impl core::error::Error for OutsideFlash {}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(file: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn each_page_is_a_block_with_its_address_and_number() {
        let mut image = Image::new();
        image.put(0x1000_1000, &[7; 300]).unwrap();
        image.put(0x1000_0000, &[9; 4]).unwrap();
        let file = image.file();
        assert_eq!(file.len(), 3 * BLOCK_BYTES);
        for (number, address) in [0x1000_0000, 0x1000_1000, 0x1000_1100]
            .into_iter()
            .enumerate()
        {
            let block = &file[number * BLOCK_BYTES..][..BLOCK_BYTES];
            assert_eq!((word(block, 0), word(block, 4)), (MAGIC[0], MAGIC[1]));
            assert_eq!((word(block, 12), word(block, 16)), (address, 256));
            assert_eq!((word(block, 20), word(block, 24)), (number as u32, 3));
            assert_eq!(word(block, BLOCK_BYTES - 4), MAGIC_END);
        }
        let last = &file[2 * BLOCK_BYTES + 32..];
        assert_eq!((last[43], last[44], last[255]), (7, 0, 0));
    }

    #[test]
    fn parts_of_one_page_come_together() {
        let mut image = Image::new();
        image.put(0x1000_0010, &[1]).unwrap();
        image.put(0x1000_0020, &[2]).unwrap();
        let file = image.file();
        assert_eq!(file.len(), BLOCK_BYTES);
        assert_eq!((file[32 + 0x10], file[32 + 0x20]), (1, 2));
    }

    #[test]
    fn what_is_outside_flash_is_refused() {
        for (address, bytes) in [
            (0x0fff_ffff, 2),
            (0x101f_ffff, 2),
            (u32::MAX, 2),
            (0x2000_0000, 1),
        ] {
            let mut image = Image::new();
            let content = alloc::vec![0; bytes];
            assert_eq!(
                image.put(address, &content),
                Err(OutsideFlash { address, bytes })
            );
            assert!(image.file().is_empty());
        }
    }
}
