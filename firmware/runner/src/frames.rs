//! Frames on a serial line (spec/board.md, section 1): with a checksum, stuffed with COBS, each
//! ended by a zero.

use crc::{CRC_16_GENIBUS, Crc};

const CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_GENIBUS);
/// The longest frame that is put together; what is longer is dropped.
const MAX_BYTES: usize = 2048;

/// A frame as it goes onto the line, checksum and zero included.
#[must_use]
pub fn stuffed(frame: &[u8]) -> Vec<u8> {
    let checksum = CHECKSUM.checksum(frame).to_be_bytes();
    let mut line = cobs::encode_vec(&[frame, &checksum].concat());
    line.push(0);
    line
}

/// The frame of what was stuffed, if its checksum is right.
fn checked(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let (frame, checksum) = bytes.split_last_chunk()?;
    let right = CHECKSUM.checksum(frame).to_be_bytes() == *checksum;
    let length = frame.len();
    bytes.truncate(length);
    (right && length > 0).then_some(bytes)
}

/// Finds frames in a stream of bytes.
#[derive(Default, Debug)]
pub struct Frames {
    open: Vec<u8>,
    overflowed: bool,
    damaged: u64,
}

impl Frames {
    /// Takes the next byte; returns the frame that it ends, as it was before the line.
    pub fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        if byte != 0 {
            if self.open.len() < MAX_BYTES {
                self.open.push(byte);
            } else {
                self.overflowed = true;
            }
            return None;
        }
        let line = core::mem::take(&mut self.open);
        let overflowed = core::mem::take(&mut self.overflowed);
        if line.is_empty() {
            return None;
        }
        let bytes = cobs::decode_vec(&line).ok().filter(|_| !overflowed);
        let frame = bytes.and_then(checked);
        self.damaged += u64::from(frame.is_none());
        frame
    }

    /// Frames that were dropped: too long, not stuffed correctly, or with a wrong checksum.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let mut frames = Frames::default();
        let found = bytes.iter().filter_map(|byte| frames.push(*byte)).collect();
        (found, frames.damaged())
    }

    /// A frame and its line, as the specification has them.
    fn vector() -> [Vec<u8>; 2] {
        ["```hex frame\n", "```hex line\n"].map(|kind| {
            let spec = include_str!("../../../spec/board.md");
            let block = spec.split(kind).nth(1).unwrap();
            let digits = block.split("```").next().unwrap().trim();
            let bytes = digits.as_bytes().chunks(2);
            let byte = |two| u8::from_str_radix(core::str::from_utf8(two).unwrap(), 16).unwrap();
            bytes.map(byte).collect()
        })
    }

    #[test]
    fn frames_survive_the_line_zeros_and_all() {
        let frames = [vec![0], vec![1, 0, 2], vec![7; 300], vec![0; 300]];
        let line: Vec<u8> = frames.iter().flat_map(|frame| stuffed(frame)).collect();
        assert_eq!(line.iter().filter(|byte| **byte == 0).count(), 4);
        assert_eq!(found(&line), (frames.to_vec(), 0));
    }

    #[test]
    fn zeros_between_frames_are_not_frames() {
        let line = [&[0, 0][..], &stuffed(&[7]), &[0, 0]].concat();
        assert_eq!(found(&line), (vec![vec![7]], 0));
    }

    #[test]
    fn damaged_and_endless_frames_are_dropped_and_counted() {
        let mut line = vec![9, 1, 1, 0, 2, 7, 0];
        line.extend([1].repeat(MAX_BYTES + 1));
        line.push(0);
        line.extend(stuffed(b"after"));
        assert_eq!(found(&line), (vec![b"after".to_vec()], 3));
    }

    #[test]
    fn the_specification_s_frame_goes_onto_the_line_as_it_says() {
        let [frame, line] = vector();
        assert_eq!(stuffed(&frame), line);
        assert_eq!(found(&line), (vec![frame], 0));
    }

    #[test]
    fn a_frame_with_any_bit_changed_is_dropped_and_counted() {
        let whole = stuffed(&vector()[0]);
        for bit in 0..whole.len() * 8 {
            let mut changed = [&whole[..], &[0]].concat();
            changed[bit / 8] ^= 1 << (bit % 8);
            let (frames, damaged) = found(&changed);
            assert!(frames.is_empty() && damaged > 0, "{bit}: {frames:?}");
        }
    }
}
