//! Frames on a serial line (spec/board.md, section 1): stuffed with COBS, each ended by a zero.

/// The longest frame that is put together; what is longer is dropped.
const MAX_BYTES: usize = 2048;

/// A frame as it goes onto the line, zero included.
#[must_use]
pub fn stuffed(frame: &[u8]) -> Vec<u8> {
    let mut line = cobs::encode_vec(frame);
    line.push(0);
    line
}

/// Finds frames in a stream of bytes.
#[derive(Default, Debug)]
pub struct Frames {
    open: Vec<u8>,
    overflowed: bool,
    damaged: u64,
}

impl Frames {
    /// Takes the next byte; returns the frame that it ends, not stuffed any more.
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
        let frame = cobs::decode_vec(&line).ok().filter(|_| !overflowed);
        self.damaged += u64::from(frame.is_none());
        frame
    }

    /// Frames that were dropped: too long, or not stuffed correctly.
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

    #[test]
    fn frames_survive_the_line_zeros_and_all() {
        let frames = [vec![0], vec![1, 0, 2], vec![7; 300], vec![0; 300]];
        let line: Vec<u8> = frames.iter().flat_map(|frame| stuffed(frame)).collect();
        assert_eq!(line.iter().filter(|byte| **byte == 0).count(), 4);
        assert_eq!(found(&line), (frames.to_vec(), 0));
    }

    #[test]
    fn zeros_between_frames_are_not_frames() {
        assert_eq!(found(&[0, 0, 2, 7, 0, 0]), (vec![vec![7]], 0));
    }

    #[test]
    fn damaged_and_endless_frames_are_dropped_and_counted() {
        let mut line = vec![9, 1, 1, 0];
        line.extend([1].repeat(MAX_BYTES + 1));
        line.push(0);
        line.extend(stuffed(b"after"));
        assert_eq!(found(&line), (vec![b"after".to_vec()], 2));
    }
}
