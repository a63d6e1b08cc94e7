//! Frames on a serial line (spec/board.md, section 1): each has a checksum, is stuffed with COBS,
//! and ends with a zero byte.
//!
//! A receiver that starts in the middle, or loses bytes, finds the next frame after the next zero.
//! Both ends of a line use this module: boards, Linux nodes, and the runner of emulated boards.

use cobs::CobsEncoder;
use crc::{CRC_16_GENIBUS, Crc, NoTable};

/// The longest frame that a line carries.
pub const MAX_FRAME_BYTES: usize = 256;

const CHECKSUM_BYTES: usize = 2;
/// The most bytes that are stuffed together: a frame and its checksum.
const MAX_CHECKED_BYTES: usize = MAX_FRAME_BYTES + CHECKSUM_BYTES;

/// The longest frame as it is on the line: a code byte for each 254 bytes, and the zero.
pub const MAX_LINE_BYTES: usize = MAX_CHECKED_BYTES + MAX_CHECKED_BYTES / 254 + 2;

/// The checksum, computed without a table, which would take half a kilobyte of flash.
const CHECKSUM: Crc<u16, NoTable> = Crc::<u16, NoTable>::new(&CRC_16_GENIBUS);

/// A frame, without checksum and stuffing.
pub type Frame = heapless::Vec<u8, MAX_FRAME_BYTES>;

/// Room for a frame as it is on the line.
pub type Line = [u8; MAX_LINE_BYTES];

/// Why bytes between two zeros were dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dropped {
    /// More bytes than the longest frame has.
    TooLong,
    /// The bytes are no stuffed frame, or their checksum is wrong: some got lost or changed.
    Malformed,
}

/// Finds frames in a stream of bytes.
#[derive(Default, Debug)]
pub struct Deframer {
    line: heapless::Vec<u8, MAX_LINE_BYTES>,
    overflowed: bool,
}

impl Deframer {
    /// A deframer that waits for the first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: heapless::Vec::new(),
            overflowed: false,
        }
    }

    /// Takes the next byte. A zero byte completes a frame, which is returned; nothing if the frame
    /// is empty.
    pub fn push(&mut self, byte: u8) -> Option<Result<Frame, Dropped>> {
        if byte != 0 {
            self.overflowed |= self.line.push(byte).is_err();
            return None;
        }
        let ended = self.end();
        self.line.clear();
        self.overflowed = false;
        ended
    }

    fn end(&self) -> Option<Result<Frame, Dropped>> {
        if self.overflowed {
            return Some(Err(Dropped::TooLong));
        }
        if self.line.is_empty() {
            return None;
        }
        let mut decoded = [0; MAX_LINE_BYTES];
        let Ok(report) = cobs::decode(&self.line, &mut decoded) else {
            return Some(Err(Dropped::Malformed));
        };
        let decoded = &decoded[..report.frame_size()];
        let Some((frame, checksum)) = decoded.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Some(Err(Dropped::Malformed));
        };
        if frame.is_empty() || CHECKSUM.checksum(frame).to_be_bytes() != *checksum {
            return Some(Err(Dropped::Malformed));
        }
        Some(Frame::from_slice(frame).map_err(|_| Dropped::TooLong))
    }
}

/// Writes a frame as it goes onto the line, with checksum and zero byte; returns the bytes written.
pub fn stuffed<'l>(frame: &Frame, line: &'l mut Line) -> &'l [u8] {
    let checksum = CHECKSUM.checksum(frame).to_be_bytes();
    let mut encoder = CobsEncoder::new(&mut line[..]);
    for bytes in [&frame[..], &checksum] {
        encoder.push(bytes).expect("the longest frame has room");
    }
    let length = encoder.finalize();
    line[length] = 0;
    &line[..=length]
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn line(frame: &[u8]) -> Vec<u8> {
        stuffed(
            &Frame::from_slice(frame).unwrap(),
            &mut [0xff; MAX_LINE_BYTES],
        )
        .to_vec()
    }

    fn frames(bytes: &[u8]) -> Vec<Result<Vec<u8>, Dropped>> {
        let mut deframer = Deframer::new();
        let ended = bytes.iter().filter_map(|byte| deframer.push(*byte));
        ended
            .map(|frame| frame.map(|frame| frame.to_vec()))
            .collect()
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
    fn the_specification_s_frame_goes_onto_the_line_as_it_says() {
        let [frame, on_the_line] = vector();
        assert_eq!(line(&frame), on_the_line);
        assert_eq!(frames(&on_the_line), [Ok(frame)]);
    }

    #[test]
    fn a_frame_with_any_bit_changed_is_dropped() {
        let zeros = [[0; 40], [3; 40]].concat();
        for frame in [&vector()[0][..], b"", &zeros, &[7; MAX_FRAME_BYTES]] {
            let whole = line(frame);
            for bit in 0..whole.len() * 8 {
                let mut changed = [&whole[..], &[0]].concat();
                changed[bit / 8] ^= 1 << (bit % 8);
                let found = frames(&changed);
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
                assert_eq!(frames(&line), [Ok(frame)]);
            }
        }
    }

    #[test]
    fn zeros_between_frames_are_not_frames() {
        let bytes = [&[0, 0][..], &line(&[7]), &[0, 0]].concat();
        assert_eq!(frames(&bytes), [Ok([7].to_vec())]);
    }

    #[test]
    fn what_is_no_frame_costs_only_itself() {
        use Dropped::{Malformed, TooLong};

        let frame = [1; MAX_FRAME_BYTES + 1];
        let checksum = CHECKSUM.checksum(&frame).to_be_bytes();
        let mut longer = [0; MAX_LINE_BYTES + 1];
        let length = cobs::encode(&[&frame[..], &checksum].concat(), &mut longer);
        assert_eq!(length, MAX_LINE_BYTES, "with its zero, a byte too many");
        let endless = [&[1].repeat(MAX_LINE_BYTES * 3)[..], &[0]].concat();
        for (noise, dropped) in [
            (&[9, 1, 1, 0][..], Malformed),
            (&[2, 7, 0], Malformed),
            (&line(b""), Malformed),
            (&longer, TooLong),
            (&endless, TooLong),
        ] {
            let bytes = [noise, &line(b"after")].concat();
            assert_eq!(frames(&bytes), [Err(dropped), Ok(b"after".to_vec())]);
        }
    }
}
