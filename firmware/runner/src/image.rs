//! The content of a board's flash: an image from an ELF file of the linker, a UF2 file for the boot
//! loader, or raw bytes; and the record of who the board is.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use nimblenet_board::provision::Provision;
use object::read::elf::{ElfFile32, ProgramHeader as _};

use crate::uf2;

/// The address at which flash is mapped.
const FLASH_BEGIN: u64 = 0x1000_0000;
/// The flash of a Raspberry Pi Pico.
const FLASH_BYTES: usize = 2 * 1024 * 1024;
/// The start of the board's record: the last sector (spec/board.md, section 4).
const RECORD_OFFSET: usize = FLASH_BYTES - SECTOR_BYTES;
/// The start of the board's ledger, two sectors (spec/board.md, section 6).
const LEDGER_OFFSET: usize = RECORD_OFFSET - 2 * SECTOR_BYTES;
const SECTOR_BYTES: usize = 4096;
/// The value of each byte of erased flash.
const ERASED: u8 = 0xff;

/// The content of a board's whole flash, second-stage loader first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image(Vec<u8>);

impl Image {
    /// Reads an ELF file, a UF2 file or, if it is neither, raw flash content.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or does not fit into the flash.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let image = if bytes.starts_with(b"\x7fELF") {
            Self::elf(&bytes)
        } else if uf2::is(&bytes) {
            Self::uf2(&bytes)
        } else {
            Self::raw(&bytes)
        };
        image.with_context(|| format!("{} is not an image for this board", path.display()))
    }

    /// Takes raw flash content; the flash behind it is erased.
    ///
    /// # Errors
    ///
    /// If it is empty or larger than the flash.
    pub fn raw(bytes: &[u8]) -> Result<Self> {
        Self::erased().with(0, bytes)
    }

    /// Takes what a UF2 file puts into flash.
    ///
    /// # Errors
    ///
    /// If the file is damaged, for another chip, or puts something beyond the flash.
    pub fn uf2(bytes: &[u8]) -> Result<Self> {
        let mut image = Self::erased();
        for (address, part) in uf2::parts(bytes)? {
            image.put(offset(address)?, part)?;
        }
        Ok(image)
    }

    /// Takes the parts of an ELF file that are loaded into flash.
    ///
    /// # Errors
    ///
    /// If the file is damaged, or loads nothing into flash or something beyond it.
    pub fn elf(bytes: &[u8]) -> Result<Self> {
        let file: ElfFile32<'_> = ElfFile32::parse(bytes)?;
        let endian = file.endian();
        let mut image = Self::erased();
        let mut empty = true;
        for header in file.elf_program_headers() {
            if header.p_type(endian) != object::elf::PT_LOAD {
                continue;
            }
            let data = header
                .data(endian, bytes)
                .ok()
                .context("a segment is cut short")?;
            let Ok(at) = offset(header.p_paddr(endian)) else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            // RAM lies above flash: a segment there has no content to load.
            image.put(at, data)?;
            empty = false;
        }
        ensure!(!empty, "it loads nothing into flash");
        Ok(image)
    }

    /// The same flash with other bytes at an offset from its beginning.
    ///
    /// # Errors
    ///
    /// If there are no bytes, or they reach beyond the flash.
    pub fn with(&self, offset: usize, bytes: &[u8]) -> Result<Self> {
        let mut image = self.clone();
        image.put(offset, bytes)?;
        Ok(image)
    }

    /// The same flash with the record of who the board is: at most a sector of bytes.
    ///
    /// # Errors
    ///
    /// If there are none, or more.
    pub fn provisioned(&self, record: &[u8]) -> Result<Self> {
        ensure!(
            record.len() <= SECTOR_BYTES,
            "{} bytes are more than the sector of a record",
            record.len()
        );
        self.with(RECORD_OFFSET, record)
    }

    /// The same flash with a record from a file: a sector in UF2, or as it is.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is for another place than that of the record, or holds no record
    /// that a board of this version could use.
    pub fn provisioned_by(&self, path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let (sector, ledger) = if uf2::is(&bytes) {
            sectors(&bytes)?
        } else {
            (bytes, Vec::new())
        };
        let provisioned = Provision::decode(&sector).map_err(Into::into);
        let provisioned = provisioned.and_then(|_| self.provisioned(&sector));
        let provisioned = provisioned.and_then(|image| match ledger.is_empty() {
            true => Ok(image),
            false => image.with(LEDGER_OFFSET, &ledger),
        });
        provisioned.with_context(|| {
            format!(
                "{} is not the record of a board; `nimblenet provision` writes one",
                path.display()
            )
        })
    }

    /// The bytes from the beginning of the flash to its end.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn erased() -> Self {
        Self(vec![ERASED; FLASH_BYTES])
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        ensure!(!bytes.is_empty(), "it is empty");
        let place = self.0.get_mut(offset..offset.saturating_add(bytes.len()));
        let Some(place) = place else {
            bail!("{} bytes do not fit into the flash", bytes.len());
        };
        place.copy_from_slice(bytes);
        Ok(())
    }
}

/// The sectors of a UF2 file that holds nothing else: that of the record, and those of the ledger, if it
/// has them.
fn sectors(file: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut sectors, mut renews) = (vec![ERASED; FLASH_BYTES - LEDGER_OFFSET], false);
    for (address, part) in uf2::parts(file)? {
        let at = offset(address)?.checked_sub(LEDGER_OFFSET);
        let place = at.and_then(|at| sectors.get_mut(at..at + part.len()));
        let place = place.context("it writes elsewhere than the last sectors of the flash")?;
        place.copy_from_slice(part);
        renews |= offset(address)? < RECORD_OFFSET;
    }
    let record = sectors.split_off(RECORD_OFFSET - LEDGER_OFFSET);
    sectors.truncate(if renews { sectors.len() } else { 0 });
    Ok((record, sectors))
}

/// The offset of an address from the beginning of the flash.
fn offset(address: u32) -> Result<usize> {
    let offset = u64::from(address).checked_sub(FLASH_BEGIN);
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    offset.with_context(|| format!("{address:#010x} is not in flash"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(Image::raw(&[]).is_err());
        assert!(Image::raw(&[0; FLASH_BYTES + 1]).is_err());
        assert!(Image::elf(b"\x7fELF and nothing else").is_err());
    }

    #[test]
    fn a_record_stands_at_the_end_of_the_flash_and_changes_nothing_else() {
        let image = Image::raw(&[1, 2, 3]).unwrap();
        let whole = image.provisioned(&[7; SECTOR_BYTES]).unwrap();
        assert_eq!(whole.bytes()[RECORD_OFFSET..], [7; SECTOR_BYTES]);
        assert_eq!(
            whole.bytes()[..RECORD_OFFSET],
            image.bytes()[..RECORD_OFFSET]
        );
        assert_eq!(image.bytes()[RECORD_OFFSET..], [ERASED; SECTOR_BYTES]);
        assert!(image.provisioned(&[7; SECTOR_BYTES + 1]).is_err());
        assert!(image.with(usize::MAX, &[1]).is_err());
    }
}
