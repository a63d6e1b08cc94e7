//! The checksum that detects damage of images and of a module's bytes.

/// The checksum of spec/snapshot.md, section 7: each word is mixed in by a multiplication that
/// loses no bits. So it detects every change inside one word, and all but one in 2^32 of other
/// changes.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = 0x811c_9dc5 ^ bytes.len() as u32;
    let mut mix = |word: u32| sum = (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b1);
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        mix(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    }
    for &byte in words.remainder() {
        mix(u32::from(byte));
    }
    sum ^ sum >> 16
}
