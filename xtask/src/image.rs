//! What an image takes of a board's flash and RAM, by section and by crate.

use alloc::collections::BTreeMap;
use core::fmt;

use anyhow::{Context as _, Result};
use object::elf::{SHF_ALLOC, SHT_NOBITS};
use object::read::elf::{ElfFile32, SectionHeader as _};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use serde_json::{Value, json};

/// Where RAM begins; what lies below is flash.
const RAM_BEGIN: u64 = 0x2000_0000;
/// Statics that hold what a board can spare, by the names of which the rest is told apart.
const SPARE: [&str; 2] = ["DISK", "ARENA"];
/// What no symbol claims: constants without a name, padding, the vector table.
const UNCLAIMED: &str = "(unclaimed)";

/// Bytes of flash and RAM.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Bytes {
    flash: u64,
    ram: u64,
}

/// What an image takes.
#[derive(Default, Debug)]
pub(crate) struct Size {
    /// Flash, initial values of variables included.
    pub(crate) flash_bytes: u64,
    /// RAM that is taken before the program begins.
    pub(crate) ram_bytes: u64,
    /// The same without the cache's disk and the interpreter's arena.
    pub(crate) ram_bytes_outside_disk_and_arena: u64,
    by_section: BTreeMap<String, Bytes>,
    by_crate: BTreeMap<String, Bytes>,
}

/// Weighs an ELF file.
pub(crate) fn weigh(elf: &[u8]) -> Result<Size> {
    let file: ElfFile32<'_> = ElfFile32::parse(elf)?;
    let mut size = Size::default();
    let mut kinds = BTreeMap::new();
    for section in file.sections() {
        let header = section.elf_section_header();
        let endian = file.endian();
        if header.sh_flags(endian) & SHF_ALLOC == 0 || section.size() == 0 {
            continue;
        }
        let stored = header.sh_type(endian) != SHT_NOBITS;
        let in_ram = section.address() >= RAM_BEGIN;
        // Initial values are stored in flash and copied.
        let kind = move |bytes: u64| Bytes {
            flash: if stored { bytes } else { 0 },
            ram: if in_ram { bytes } else { 0 },
        };
        let name = section.name().context("a section without a name")?;
        let bytes = kind(section.size());
        size.by_section.insert(name.into(), bytes);
        size.flash_bytes += bytes.flash;
        size.ram_bytes += bytes.ram;
        kinds.insert(section.index().0, kind);
    }
    let mut spare = 0;
    let mut claimed = Bytes::default();
    for symbol in file.symbols() {
        let kind = symbol.section_index().and_then(|index| kinds.get(&index.0));
        let (Some(kind), Ok(name)) = (kind, symbol.name()) else {
            continue;
        };
        let bytes = kind(symbol.size());
        let path = format!("{:#}", rustc_demangle::demangle(name));
        if SPARE
            .iter()
            .any(|spare| path.rsplit("::").next() == Some(spare))
        {
            spare += bytes.ram;
        }
        size.by_crate
            .entry(crate_of(&path).into())
            .or_default()
            .add(bytes);
        claimed.add(bytes);
    }
    let unclaimed = Bytes {
        flash: size.flash_bytes.saturating_sub(claimed.flash),
        ram: size.ram_bytes.saturating_sub(claimed.ram),
    };
    size.by_crate.insert(UNCLAIMED.into(), unclaimed);
    size.by_crate.retain(|_, bytes| *bytes != Bytes::default());
    size.ram_bytes_outside_disk_and_arena = size.ram_bytes - spare;
    Ok(size)
}

/// The crate that a demangled path begins with; what has no path comes from the compiler or C.
fn crate_of(path: &str) -> &str {
    let mut path = path.trim_start_matches(['<', '&', '[', '(', '*']);
    for word in ["mut ", "const ", "dyn "] {
        path = path.strip_prefix(word).unwrap_or(path);
    }
    let end = path
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(path.len());
    if path[end..].starts_with("::") {
        &path[..end]
    } else {
        "(runtime)"
    }
}

impl Bytes {
    fn add(&mut self, other: Self) {
        self.flash += other.flash;
        self.ram += other.ram;
    }

    fn json(self) -> Value {
        json!({ "flash_bytes": self.flash, "ram_bytes": self.ram })
    }
}

impl Size {
    /// All of it, for scripts.
    pub(crate) fn json(&self) -> Value {
        let table = |rows: &BTreeMap<String, Bytes>| -> Value {
            rows.iter()
                .map(|(name, bytes)| (name.clone(), bytes.json()))
                .collect()
        };
        json!({
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "ram_bytes_outside_disk_and_arena": self.ram_bytes_outside_disk_and_arena,
            "by_section": table(&self.by_section),
            "by_crate": table(&self.by_crate),
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<28}{:>9}{:>9}", "", "flash", "RAM")?;
        let mut crates: Vec<_> = self.by_crate.iter().collect();
        crates.sort_by_key(|(_, bytes)| core::cmp::Reverse(bytes.flash + bytes.ram));
        for (name, bytes) in self.by_section.iter().chain(crates) {
            writeln!(f, "  {name:<28}{:>9}{:>9}", bytes.flash, bytes.ram)?;
        }
        writeln!(
            f,
            "  {:<28}{:>9}{:>9}",
            "all", self.flash_bytes, self.ram_bytes
        )?;
        let rest = self.ram_bytes_outside_disk_and_arena;
        writeln!(f, "  {:<28}{:>9}{rest:>9}", "outside disk and arena", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_of_a_path_is_its_first_name() {
        assert_eq!(crate_of("embassy_rp::uart::init"), "embassy_rp");
        assert_eq!(
            crate_of("<nimblenet_board::link::Counters as core::fmt::Debug>::fmt"),
            "nimblenet_board"
        );
        assert_eq!(
            crate_of("<&mut heapless::Vec<u8> as core::fmt::Write>::write"),
            "heapless"
        );
        assert_eq!(crate_of("memcpy"), "(runtime)");
        assert_eq!(crate_of("__aeabi_uidiv"), "(runtime)");
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(weigh(b"not an ELF file").is_err());
    }
}
