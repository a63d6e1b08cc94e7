//! Frames that wait for their link.

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

/// A queue with a byte limit. Frames that do not fit are dropped and counted by the caller.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: VecDeque<Transmit>,
    bytes: VecDeque<u8>,
    limit: usize,
}

/// The queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        // No frame is shorter than its header.
        let frames = VecDeque::with_capacity(limit / crate::wire::HEADER_LEN);
        Self {
            frames,
            bytes: VecDeque::with_capacity(limit),
            limit,
        }
    }

    pub(crate) fn push(
        &mut self,
        link: LinkId,
        to: Option<LinkAddress>,
        frame: &[u8],
    ) -> Result<(), Full> {
        if self.bytes.len() + frame.len() > self.limit {
            return Err(Full);
        }
        self.frames.push_back(Transmit {
            link,
            to,
            len: frame.len(),
        });
        self.bytes.extend(frame);
        Ok(())
    }

    /// The oldest frame, written to the start of `out`; dropped if it does not fit there.
    pub(crate) fn pop(&mut self, out: &mut [u8]) -> Option<Transmit> {
        loop {
            let transmit = self.frames.pop_front()?;
            let frame = self.bytes.drain(..transmit.len);
            if transmit.len <= out.len() {
                out.iter_mut().zip(frame).for_each(|(to, from)| *to = from);
                return Some(transmit);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}
