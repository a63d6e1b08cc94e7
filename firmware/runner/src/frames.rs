//! Frames on a wire, still stuffed: whatever a zero byte ends.

/// The longest frame that is put together; firmware that never sends a zero is cut off there.
const MAX_BYTES: usize = 2048;

/// Cuts a stream of bytes after each zero.
#[derive(Default, Debug)]
pub struct Frames {
    open: Vec<u8>,
}

impl Frames {
    /// Takes the next byte; returns the frame that it ends, with its zero.
    pub fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        self.open.push(byte);
        let ended = byte == 0 || self.open.len() == MAX_BYTES;
        ended.then(|| core::mem::take(&mut self.open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_after_zeros() {
        let mut frames = Frames::default();
        let cut: Vec<_> = [1, 2, 0, 3, 0, 4]
            .iter()
            .filter_map(|byte| frames.push(*byte))
            .collect();
        assert_eq!(cut, [vec![1, 2, 0], vec![3, 0]]);
    }

    #[test]
    fn an_endless_frame_is_cut_off() {
        let mut frames = Frames::default();
        let cut: Vec<_> = (0..MAX_BYTES + 1).filter_map(|_| frames.push(7)).collect();
        assert_eq!(cut.len(), 1);
    }
}
