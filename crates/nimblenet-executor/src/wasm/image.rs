//! The image of an activation: the instance's image, and what else the executor must know
//! (spec/snapshot.md, "Activation image").
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 2 | version: 1 |
//! | 2 | 1 | 0 if the start function runs, 1 if the export does |
//! | 3 | 1 | 0 |
//! | 4 | 8 | fuel left |
//! | 12 | 4 | address of the space for a list result, else 0 |
//! | 16 | 4 | its capacity, else 0 |
//! | 20 | 4 | length of the arguments: 0 if the export runs |
//! | 24 | 4 | checksum: the first bytes of the SHA-256 of the 24 bytes above and the arguments |
//! | 28 | | the arguments, then the image of the instance, which has a checksum of its own |
//!
//! Numbers are little-endian.

use nimblenet_tasklet::{Digest, DigestHasher};

use super::activation::Phase;

/// Length of the header, which stands before the arguments.
pub(super) const HEADER_BYTES: usize = 28;

const CHECKED_BYTES: usize = 24;

const VERSION: u16 = 1;

/// The fields of an activation image besides the instance's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) phase: Phase,
    pub(super) fuel: u64,
    pub(super) result_space: [u32; 2],
    pub(super) args: u32,
}

impl Header {
    /// The header of an image with these arguments.
    pub(super) fn to_bytes(self, args: &[u8]) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_le_bytes());
        bytes[2] = u8::from(self.phase == Phase::Export);
        bytes[4..12].copy_from_slice(&self.fuel.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.result_space[0].to_le_bytes());
        bytes[16..20].copy_from_slice(&self.result_space[1].to_le_bytes());
        bytes[20..24].copy_from_slice(&self.args.to_le_bytes());
        let check = checksum(&bytes, args);
        bytes[CHECKED_BYTES..].copy_from_slice(&check);
        bytes
    }

    /// Splits an image into header, arguments and the image of the instance.
    pub(super) fn read(image: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (bytes, rest) = image.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte]));
        let phase = match bytes[2] {
            0 => Phase::Start,
            1 => Phase::Export,
            _ => return None,
        };
        let header = Self {
            phase,
            fuel: u64::from(word(4)) | u64::from(word(8)) << 32,
            result_space: [word(12), word(16)],
            args: word(20),
        };
        if bytes[..2] != VERSION.to_le_bytes() || bytes[3] != 0 {
            return None;
        }
        if header.phase == Phase::Export && header.args != 0 {
            return None;
        }
        let (args, instance) = rest.split_at_checked(header.args as usize)?;
        (bytes[CHECKED_BYTES..] == checksum(bytes, args)).then_some((header, args, instance))
    }
}

fn checksum(header: &[u8; HEADER_BYTES], args: &[u8]) -> [u8; HEADER_BYTES - CHECKED_BYTES] {
    let mut hasher = DigestHasher::new();
    hasher.update(&header[..CHECKED_BYTES]);
    hasher.update(args);
    let Digest([a, b, c, d, ..]) = hasher.finish();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_as_written_and_nothing_else_is_read() {
        let header = Header {
            phase: Phase::Start,
            fuel: u64::MAX - 7,
            result_space: [8, 16],
            args: 2,
        };
        let mut image = [0xaa; HEADER_BYTES + 5];
        image[..HEADER_BYTES].copy_from_slice(&header.to_bytes(&[0xaa; 2]));
        let read = Header::read(&image).unwrap();
        assert_eq!(read, (header, &[0xaa; 2][..], &[0xaa; 3][..]));
        for bit in 0..(HEADER_BYTES + 2) * 8 {
            let mut image = image;
            image[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::read(&image), None, "bit {bit}");
        }
        assert_eq!(Header::read(&image[..HEADER_BYTES + 1]), None);
    }
}
