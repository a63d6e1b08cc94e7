//! The checksum of a frame (spec/wire.md, section 2): CRC-32 as in IEEE 802.3, which notices up to three
//! wrong bits in a frame of any length that a link may have.

use super::HEADER_LEN;

/// Flag of frames that end with a checksum.
pub const CHECKED: u8 = 0x02;
/// Bytes of the checksum.
pub const CHECKSUM_LEN: usize = 4;

/// The polynomial, lowest power first in the highest bit.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What four bits add: a table for eight would take 1 kB of a board's flash.
const NIBBLES: [u32; 16] = {
    let mut table = [0; 16];
    let mut at = 0;
    while at < 16 {
        let (mut sum, mut bit) = (at as u32, 0);
        while bit < 4 {
            sum = (sum >> 1) ^ (POLYNOMIAL * (sum & 1));
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
};

/// Ends the frame of `len` bytes at the start of `out` with a checksum; returns its new length.
///
/// # Panics
/// If `out` has no room for the checksum, or the frame no header.
pub fn check(out: &mut [u8], len: usize) -> usize {
    out[0] |= CHECKED;
    let (frame, rest) = out.split_at_mut(len);
    rest[..CHECKSUM_LEN].copy_from_slice(&sum(frame).to_be_bytes());
    len + CHECKSUM_LEN
}

/// The header and the body of a frame that ends with the right checksum; none of another one.
pub(crate) fn checked(bytes: &[u8]) -> Option<(&[u8; HEADER_LEN], &[u8])> {
    let (frame, found) = bytes.split_last_chunk()?;
    let right = sum(frame) == u32::from_be_bytes(*found);
    frame.split_first_chunk().filter(|_| right)
}

fn sum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        let low = sum ^ u32::from(*byte);
        let high = (low >> 4) ^ NIBBLES[low as usize & 15];
        (high >> 4) ^ NIBBLES[high as usize & 15]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_has() {
        assert_eq!(sum(b"123456789"), 0xcbf4_3926);
        assert_eq!(sum(b""), 0);
    }

    #[test]
    fn up_to_three_wrong_bits_are_noticed_wherever_they_are() {
        let mut frame = [0x5a; HEADER_LEN + 9 + CHECKSUM_LEN];
        let len = check(&mut frame, HEADER_LEN + 9);
        assert_eq!(len, frame.len());
        assert!(checked(&frame).is_some_and(|(header, body)| header[1] == 0x5a && body.len() == 9));
        let bits = 8 * len;
        let mut flip = |bits: &[usize]| {
            let turn = |frame: &mut [u8; HEADER_LEN + 13]| {
                for bit in bits {
                    frame[bit / 8] ^= 1 << (bit % 8);
                }
            };
            turn(&mut frame);
            assert_eq!(checked(&frame), None, "{bits:?}");
            turn(&mut frame);
        };
        for one in 0..bits {
            flip(&[one]);
            for two in 0..one {
                flip(&[one, two]);
                (0..two)
                    .step_by(7)
                    .for_each(|three| flip(&[one, two, three]));
            }
        }
        assert_eq!(checked(&frame[..HEADER_LEN]), None);
        assert_eq!(checked(&[]), None);
    }
}
