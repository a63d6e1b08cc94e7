//! Images as files that a board takes when it is plugged in as a drive.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nimblenet_uf2::Image;
use object::elf::PT_LOAD;
use object::read::elf::{ElfFile32, ProgramHeader as _};

/// Writes `IMAGE.uf2` beside each of the images in `folder`.
pub(crate) fn convert(folder: &Path, images: &[&str]) -> Result<()> {
    for image in images {
        let (from, to) = (folder.join(image), file(folder, image));
        let elf = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let content = content(&elf).with_context(|| format!("{} is no image", from.display()))?;
        fs::write(&to, content.file()).with_context(|| format!("cannot write {}", to.display()))?;
        eprintln!("{}", to.display());
    }
    Ok(())
}

/// The file that an image becomes.
pub(crate) fn file(folder: &Path, image: &str) -> PathBuf {
    folder.join(image).with_extension("uf2")
}

/// What an ELF file puts into flash: each segment at its physical address, which for initial values
/// of variables is where they are copied from.
fn content(elf: &[u8]) -> Result<Image> {
    let file: ElfFile32<'_> = ElfFile32::parse(elf)?;
    let endian = file.endian();
    let mut image = Image::new();
    for segment in file.elf_program_headers() {
        let stored = segment.data(endian, elf);
        let stored = stored.ok().context("a segment goes past the end")?;
        if segment.p_type(endian) == PT_LOAD && !stored.is_empty() {
            image.put(segment.p_paddr(endian), stored)?;
        }
    }
    Ok(image)
}
