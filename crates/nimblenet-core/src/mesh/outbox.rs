//! Frames that wait for a link.

use alloc::collections::VecDeque;

use crate::config::{LinkAddress, LinkId};

/// Where a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// The link.
    pub link: LinkId,
    /// The peer on it; none for every peer.
    pub to: Option<LinkAddress>,
    /// The frame's length in bytes.
    pub len: usize,
}

/// Precedes each frame in the queue: its length; then 1 and its peer's address, or 0.
const HEAD_BYTES: usize = 7;

/// A queue with a byte limit. Frames that do not fit are dropped and counted by the caller.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: VecDeque<u8>,
    limit: usize,
}

/// The queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        let bytes = VecDeque::with_capacity(limit);
        Self { bytes, limit }
    }

    pub(crate) fn push(&mut self, to: Option<LinkAddress>, frame: &[u8]) -> Result<(), Full> {
        let len = u16::try_from(frame.len()).map_err(|_| Full)?;
        if self.bytes.len() + HEAD_BYTES + frame.len() > self.limit {
            return Err(Full);
        }
        let LinkAddress(address) = to.unwrap_or(LinkAddress(0));
        self.bytes.extend(len.to_be_bytes());
        self.bytes.push_back(u8::from(to.is_some()));
        self.bytes.extend(address.to_be_bytes());
        self.bytes.extend(frame);
        Ok(())
    }

    /// The oldest frame for `link`, written to the start of `out`; dropped if it does not fit
    /// there.
    pub(crate) fn pop(&mut self, link: LinkId, out: &mut [u8]) -> Option<Transmit> {
        loop {
            let mut head = [0; HEAD_BYTES];
            self.take(&mut head)?;
            let [high, low, known, address @ ..] = head;
            let len = usize::from(u16::from_be_bytes([high, low]));
            let to = (known == 1).then(|| LinkAddress(u32::from_be_bytes(address)));
            let fits = len <= out.len();
            if fits {
                self.take(&mut out[..len])?;
            } else {
                self.bytes.drain(..len);
            }
            if fits {
                return Some(Transmit { link, to, len });
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Moves the oldest bytes to `out`.
    fn take(&mut self, out: &mut [u8]) -> Option<()> {
        let (first, second) = self.bytes.as_slices();
        let split = out.len().min(first.len());
        let (head, tail) = out.split_at_mut(split);
        head.copy_from_slice(&first[..split]);
        tail.copy_from_slice(second.get(..tail.len())?);
        self.bytes.drain(..out.len());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(3);

    #[test]
    fn frames_come_out_in_order_with_their_peers() {
        let mut outbox = Outbox::new(64);
        let to = Some(LinkAddress(0x0102_0304));
        outbox.push(None, b"everyone").unwrap();
        outbox.push(to, b"you").unwrap();
        let mut out = [0; 16];
        let first = outbox.pop(LINK, &mut out).unwrap();
        assert_eq!((first.to, &out[..first.len]), (None, &b"everyone"[..]));
        let second = outbox.pop(LINK, &mut out).unwrap();
        assert_eq!((second.to, &out[..second.len]), (to, &b"you"[..]));
        assert_eq!((second.link, outbox.pop(LINK, &mut out)), (LINK, None));
    }

    #[test]
    fn what_is_past_the_limit_is_refused_and_what_is_too_long_dropped() {
        let mut outbox = Outbox::new(40);
        outbox.push(None, &[1; 20]).unwrap();
        assert_eq!(outbox.push(None, &[2; 20]), Err(Full));
        outbox.push(None, &[3; 5]).unwrap();
        let mut out = [0; 8];
        let popped = outbox.pop(LINK, &mut out).unwrap();
        assert_eq!(out[..popped.len], [3; 5]);
        assert!(outbox.is_empty());
    }
}
