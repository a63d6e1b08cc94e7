//! Frames on a serial line (spec/board.md, section 1): with a checksum, stuffed with COBS, each
//! ended by a zero.

use crc::{CRC_16_GENIBUS, Crc};

use super::MAX_FRAME_BYTES;

const CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_GENIBUS);
const CHECKSUM_BYTES: usize = 2;

/// The most bytes that are stuffed together.
const MAX_CHECKED_BYTES: usize = MAX_FRAME_BYTES + CHECKSUM_BYTES;
/// The longest frame as it is on the line, without its zero: a code byte for each 254 bytes.
const MAX_LINE_BYTES: usize = MAX_CHECKED_BYTES + MAX_CHECKED_BYTES / 254 + 1;

/// Adds a frame to what goes onto the line.
pub(super) fn stuff(frame: &[u8], line: &mut Vec<u8>) {
    let checksum = CHECKSUM.checksum(frame).to_be_bytes();
    line.extend(cobs::encode_vec(&[frame, &checksum].concat()));
    line.push(0);
}

/// The frame of what was stuffed, if its checksum is right.
fn checked(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let (frame, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    let right = CHECKSUM.checksum(frame).to_be_bytes() == *checksum;
    let length = frame.len();
    bytes.truncate(length);
    (right && (1..=MAX_FRAME_BYTES).contains(&length)).then_some(bytes)
}

/// What stood between two zeros was no frame: too long, not stuffed correctly, or changed on its
/// way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Damaged;

/// Finds frames in a stream of bytes.
#[derive(Default, Debug)]
pub(super) struct Deframer {
    line: Vec<u8>,
    overflowed: bool,
}

impl Deframer {
    /// Takes the next byte; returns what a zero ends, and nothing for an empty frame.
    pub(super) fn push(&mut self, byte: u8) -> Option<Result<Vec<u8>, Damaged>> {
        if byte != 0 {
            if self.line.len() < MAX_LINE_BYTES {
                self.line.push(byte);
            } else {
                self.overflowed = true;
            }
            return None;
        }
        let overflowed = core::mem::take(&mut self.overflowed);
        if self.line.is_empty() {
            return None;
        }
        let bytes = cobs::decode_vec(&self.line).ok();
        self.line.clear();
        let frame = bytes.filter(|_| !overflowed).and_then(checked);
        Some(frame.ok_or(Damaged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(frame: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        stuff(frame, &mut line);
        line
    }

    fn found(bytes: &[u8]) -> Vec<Result<Vec<u8>, Damaged>> {
        let mut deframer = Deframer::default();
        let found = bytes.iter().filter_map(|byte| deframer.push(*byte));
        found.collect()
    }

    /// A frame and its line, as the specification has them.
    fn vector() -> [Vec<u8>; 2] {
        ["```hex frame\n", "```hex line\n"].map(|kind| {
            let spec = include_str!("../../../../../spec/board.md");
            let block = spec.split(kind).nth(1).unwrap();
            let digits = block.split("```").next().unwrap().trim();
            let bytes = digits.as_bytes().chunks(2);
            let byte = |two| u8::from_str_radix(core::str::from_utf8(two).unwrap(), 16).unwrap();
            bytes.map(byte).collect()
        })
    }

    #[test]
    fn the_specification_s_frame_goes_onto_the_line_as_it_says() {
        let [frame, on_the_line] = vector();
        assert_eq!(line(&frame), on_the_line);
        assert_eq!(found(&on_the_line), [Ok(frame)]);
    }

    #[test]
    fn a_frame_with_any_bit_changed_is_dropped() {
        let zeros = [[0; 40], [3; 40]].concat();
        for frame in [&vector()[0][..], b"", &zeros, &[7; MAX_FRAME_BYTES]] {
            let whole = line(frame);
            for bit in 0..whole.len() * 8 {
                let mut changed = [&whole[..], &[0]].concat();
                changed[bit / 8] ^= 1 << (bit % 8);
                let found = found(&changed);
                assert!(!found.is_empty(), "{bit}");
                assert!(found.iter().all(Result::is_err), "{bit} {frame:?}");
            }
        }
    }

    #[test]
    fn frames_of_every_length_survive_the_line() {
        for length in 1..=MAX_FRAME_BYTES {
            for step in [0, 1, 7] {
                let frame: Vec<u8> = (0..length).map(|i| (i * step) as u8).collect();
                let line = line(&frame);
                assert_eq!(line.iter().filter(|byte| **byte == 0).count(), 1);
                assert_eq!(found(&line), [Ok(frame)]);
            }
        }
    }

    #[test]
    fn what_is_no_frame_costs_only_itself() {
        let long = line(&[1; MAX_FRAME_BYTES + 1]);
        let endless = [[1].repeat(MAX_LINE_BYTES * 3), vec![0]].concat();
        for noise in [vec![9, 1, 1, 0], vec![2, 7, 0], line(b""), long, endless] {
            let bytes = [vec![0, 0], noise, line(b"after")].concat();
            assert_eq!(found(&bytes), [Err(Damaged), Ok(b"after".to_vec())]);
        }
    }
}
