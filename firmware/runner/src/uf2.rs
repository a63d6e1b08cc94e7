//! UF2: files that a board's boot loader writes into flash.

use anyhow::{Result, bail, ensure};

const BLOCK_BYTES: usize = 512;
const HEAD_BYTES: usize = 32;
/// The longest payload of a block.
const MAX_PAYLOAD_BYTES: usize = 476;
const MAGIC: [u8; 8] = *b"UF2\nWQ]\x9e";
const NOT_FOR_FLASH: u32 = 1;
const FAMILY_GIVEN: u32 = 0x2000;
/// The family of the RP2040.
const FAMILY: u32 = 0xe48b_ff56;

/// Whether a file has the magic numbers of UF2.
pub(crate) fn is(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

/// The parts of a file: addresses, and the bytes from there on.
///
/// # Errors
///
/// If the file is damaged, or is for another chip.
pub(crate) fn parts(file: &[u8]) -> Result<Vec<(u32, &[u8])>> {
    let mut parts = Vec::new();
    let blocks = file.chunks_exact(BLOCK_BYTES);
    ensure!(blocks.remainder().is_empty(), "a block is cut short");
    for (number, block) in blocks.enumerate() {
        ensure!(block.starts_with(&MAGIC), "block {number} is damaged");
        let word = |at: usize| {
            let [a, b, c, d] = [at, at + 1, at + 2, at + 3].map(|at| block[at]);
            u32::from_le_bytes([a, b, c, d])
        };
        let (flags, address, length, family) = (word(8), word(12), word(16) as usize, word(28));
        if flags & NOT_FOR_FLASH != 0 {
            continue;
        }
        if flags & FAMILY_GIVEN != 0 && family != FAMILY {
            bail!("block {number} is for another chip (family {family:#010x})");
        }
        ensure!(length <= MAX_PAYLOAD_BYTES, "block {number} is damaged");
        parts.push((address, &block[HEAD_BYTES..][..length]));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of four bytes.
    fn block(address: u32, family: u32) -> Vec<u8> {
        let mut block = MAGIC.to_vec();
        for word in [FAMILY_GIVEN, address, 4, 0, 1, family] {
            block.extend(word.to_le_bytes());
        }
        block.extend([1, 2, 3, 4]);
        block.resize(BLOCK_BYTES, 0);
        block
    }

    #[test]
    fn blocks_say_what_goes_where() {
        let file = [block(0x1000_0000, FAMILY), block(0x1000_0100, FAMILY)].concat();
        assert!(is(&file));
        let expected: [(u32, &[u8]); 2] =
            [(0x1000_0000, &[1, 2, 3, 4]), (0x1000_0100, &[1, 2, 3, 4])];
        assert_eq!(parts(&file).unwrap(), expected);
    }

    #[test]
    fn other_chips_and_damaged_files_are_refused() {
        assert!(parts(&block(0, 7)).is_err());
        assert!(parts(&block(0, FAMILY)[..300]).is_err());
        let mut long = block(0, FAMILY);
        long[16..20].copy_from_slice(&477_u32.to_le_bytes());
        assert!(parts(&long).is_err());
        let mut file = [block(0, FAMILY), block(0, FAMILY)].concat();
        file[BLOCK_BYTES] = 0;
        assert!(parts(&file).is_err());
    }
}
