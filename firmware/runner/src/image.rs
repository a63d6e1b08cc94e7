//! What a board finds in its flash: an ELF file as the linker wrote it, or raw bytes.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use object::read::elf::{ElfFile32, ProgramHeader as _};

/// Where flash is mapped.
const FLASH_BEGIN: u64 = 0x1000_0000;
/// The flash of a Raspberry Pi Pico.
const FLASH_BYTES: usize = 2 * 1024 * 1024;

/// The content of a board's flash, second-stage loader first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image(Vec<u8>);

impl Image {
    /// Reads an ELF file or, if it is none, raw flash content.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or does not fit into the flash.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let image = if bytes.starts_with(b"\x7fELF") {
            Self::elf(&bytes)
        } else {
            Self::raw(bytes)
        };
        image.with_context(|| format!("{} is not an image for this board", path.display()))
    }

    /// Takes raw flash content.
    ///
    /// # Errors
    ///
    /// If it is empty or larger than the flash.
    pub fn raw(bytes: Vec<u8>) -> Result<Self> {
        ensure!(!bytes.is_empty(), "it is empty");
        ensure!(
            bytes.len() <= FLASH_BYTES,
            "{} bytes do not fit into the flash",
            bytes.len()
        );
        Ok(Self(bytes))
    }

    /// Takes the parts of an ELF file that are loaded into flash.
    ///
    /// # Errors
    ///
    /// If the file is damaged, or loads nothing into flash or something beyond it.
    pub fn elf(bytes: &[u8]) -> Result<Self> {
        let file: ElfFile32<'_> = ElfFile32::parse(bytes)?;
        let endian = file.endian();
        let mut flash = Vec::new();
        for header in file.elf_program_headers() {
            if header.p_type(endian) != object::elf::PT_LOAD {
                continue;
            }
            let data = header
                .data(endian, bytes)
                .ok()
                .context("a segment is cut short")?;
            let at = u64::from(header.p_paddr(endian)).checked_sub(FLASH_BEGIN);
            let Some(at) = at.and_then(|at| usize::try_from(at).ok()) else {
                continue;
            };
            let end = at + data.len();
            if data.is_empty() {
                continue;
            }
            if end > FLASH_BYTES {
                // RAM lies above flash: a segment there has no content of its own to load.
                bail!("a segment of {} bytes lies beyond the flash", data.len());
            }
            flash.resize(flash.len().max(end), 0xff);
            flash[at..end].copy_from_slice(data);
        }
        Self::raw(flash)
    }

    /// The bytes from the beginning of the flash.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(Image::raw(Vec::new()).is_err());
        assert!(Image::raw(vec![0; FLASH_BYTES + 1]).is_err());
        assert!(Image::elf(b"\x7fELF and nothing else").is_err());
    }
}
