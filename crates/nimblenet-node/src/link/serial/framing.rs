//! Frames on a serial line (spec/board.md, section 1): stuffed with COBS, each ended by a zero.

use super::MAX_FRAME_BYTES;

/// The longest frame as it is on the line, without its zero: a code byte for each 254 bytes.
const MAX_LINE_BYTES: usize = MAX_FRAME_BYTES + MAX_FRAME_BYTES / 254 + 1;

/// Adds a frame to what goes onto the line.
pub(super) fn stuff(frame: &[u8], line: &mut Vec<u8>) {
    line.extend(cobs::encode_vec(frame));
    line.push(0);
}

/// What stood between two zeros was no frame: too long, or not stuffed correctly.
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
        let frame = cobs::decode_vec(&self.line).ok();
        self.line.clear();
        let frame = frame.filter(|frame| !overflowed && frame.len() <= MAX_FRAME_BYTES);
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
        for noise in [vec![9, 1, 1, 0], long, endless] {
            let bytes = [vec![0, 0], noise, line(b"after")].concat();
            assert_eq!(found(&bytes), [Err(Damaged), Ok(b"after".to_vec())]);
        }
    }
}
