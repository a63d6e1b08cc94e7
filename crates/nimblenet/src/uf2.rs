//! UF2: files that a board's boot loader writes into flash.

/// Bytes of flash in one block; the boot loader of the RP2040 takes no others.
const PAYLOAD_BYTES: usize = 256;
const BLOCK_BYTES: usize = 512;
const MAGIC: [u32; 2] = [0x0a32_4655, 0x9e5d_5157];
const MAGIC_END: u32 = 0x0ab1_6f30;
const FAMILY_GIVEN: u32 = 0x2000;
/// The family of the RP2040.
const FAMILY: u32 = 0xe48b_ff56;

/// The file that puts `content` at `address`.
///
/// # Panics
/// If the content is not a whole number of 256-byte pages, or the address is not that of one.
pub(crate) fn file(address: u32, content: &[u8]) -> Vec<u8> {
    assert!(content.len().is_multiple_of(PAYLOAD_BYTES));
    assert!((address as usize).is_multiple_of(PAYLOAD_BYTES));
    let count = content.len() / PAYLOAD_BYTES;
    let mut file = Vec::with_capacity(count * BLOCK_BYTES);
    for (number, payload) in content.chunks(PAYLOAD_BYTES).enumerate() {
        let head = [
            MAGIC[0],
            MAGIC[1],
            FAMILY_GIVEN,
            address + (number * PAYLOAD_BYTES) as u32,
            PAYLOAD_BYTES as u32,
            number as u32,
            count as u32,
            FAMILY,
        ];
        file.extend(head.into_iter().flat_map(u32::to_le_bytes));
        file.extend(payload);
        file.resize((number + 1) * BLOCK_BYTES - 4, 0);
        file.extend(MAGIC_END.to_le_bytes());
    }
    file
}
