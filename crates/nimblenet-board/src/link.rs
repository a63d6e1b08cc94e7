//! The two tasks of a serial link: bytes to frames, frames to bytes.

use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::channel::{Receiver, Sender};
use embassy_sync::signal::Signal;
use embedded_io_async::{Read, Write};
use nimblenet_core::{LinkAddress, LinkId};
use portable_atomic::{AtomicU32, Ordering};

use crate::framing::{Deframer, Dropped, MAX_LINE_BYTES, stuffed};
use crate::orchestrator::{Arrival, Departure};

/// How many bytes are read from the line at once.
const READ_BYTES: usize = 64;
/// The only neighbour on a serial line.
const OTHER_END: LinkAddress = LinkAddress(0);

/// Counts what went through a link and what did not.
#[derive(Default, Debug)]
pub struct Counters {
    received: AtomicU32,
    sent: AtomicU32,
    too_long: AtomicU32,
    malformed: AtomicU32,
    refused: AtomicU32,
    line_errors: AtomicU32,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Frames given to the node.
    pub received: u32,
    /// Frames put on the line.
    pub sent: u32,
    /// Frames dropped because they were too long.
    pub too_long: u32,
    /// Bytes between two zeros dropped because they were no frame, or a damaged one.
    pub malformed: u32,
    /// Frames dropped because the node had not taken those before them.
    pub refused: u32,
    /// Errors that the line itself reported.
    pub line_errors: u32,
}

impl Counters {
    /// Counters at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            received: AtomicU32::new(0),
            sent: AtomicU32::new(0),
            too_long: AtomicU32::new(0),
            malformed: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            line_errors: AtomicU32::new(0),
        }
    }

    /// Reads all counters.
    pub fn read(&self) -> Counts {
        Counts {
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            too_long: self.too_long.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            line_errors: self.line_errors.load(Ordering::Relaxed),
        }
    }
}

/// Only one task counts in each counter, so a load and a store are enough.
fn count(counter: &AtomicU32) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// Gives the frames of a line to the node until the line ends; drops and counts a frame for which
/// there is no room.
///
/// A receiver cannot tell a serial line to wait: holding a frame back would lose the bytes of the
/// next ones without anyone noticing.
pub async fn receive<M: RawMutex, const DEPTH: usize>(
    link: LinkId,
    mut line: impl Read,
    frames: Sender<'_, M, Arrival, DEPTH>,
    counters: &Counters,
) {
    let mut deframer = Deframer::new();
    let mut bytes = [0; READ_BYTES];
    loop {
        let length = match line.read(&mut bytes).await {
            Ok(0) => return,
            Ok(length) => length,
            Err(_) => {
                count(&counters.line_errors);
                continue;
            }
        };
        for byte in &bytes[..length] {
            match deframer.push(*byte) {
                None => {}
                Some(Ok(frame)) => {
                    let from = OTHER_END;
                    match frames.try_send(Arrival { link, from, frame }) {
                        Ok(()) => count(&counters.received),
                        Err(_) => count(&counters.refused),
                    }
                }
                Some(Err(Dropped::TooLong)) => count(&counters.too_long),
                Some(Err(Dropped::Malformed)) => count(&counters.malformed),
            }
        }
    }
}

/// Puts frames on a line, and signals each time that there is room for another.
pub async fn send<M: RawMutex, const DEPTH: usize>(
    mut line: impl Write,
    frames: Receiver<'_, M, Departure, DEPTH>,
    room: &Signal<M, ()>,
    counters: &Counters,
) {
    let mut bytes = [0; MAX_LINE_BYTES];
    loop {
        let Departure { frame, .. } = frames.receive().await;
        room.signal(());
        match line.write_all(stuffed(&frame, &mut bytes)).await {
            Ok(()) => count(&counters.sent),
            Err(_) => count(&counters.line_errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use embassy_futures::block_on;
    use embassy_futures::select::select;
    use embassy_sync::blocking_mutex::raw::NoopRawMutex;
    use embassy_sync::channel::Channel;

    use super::*;
    use crate::framing::Frame;

    const LINK: LinkId = LinkId(1);

    fn arrival(bytes: &[u8]) -> Arrival {
        Arrival {
            link: LINK,
            from: OTHER_END,
            frame: frame(bytes),
        }
    }

    fn departure(bytes: &[u8]) -> Departure {
        let (to, frame) = (None, frame(bytes));
        Departure { to, frame }
    }

    fn frame(bytes: &[u8]) -> Frame {
        Frame::from_slice(bytes).unwrap()
    }

    fn line(frames: &[&[u8]]) -> Vec<u8> {
        let lines = frames
            .iter()
            .map(|bytes| stuffed(&frame(bytes), &mut [0; MAX_LINE_BYTES]).to_vec());
        lines.flatten().collect()
    }

    #[test]
    fn frames_of_a_line_are_handed_on() {
        let bytes = line(&[b"one", b"two"]);
        let channel = Channel::<NoopRawMutex, Arrival, 2>::new();
        let counters = Counters::new();
        block_on(receive(LINK, &bytes[..], channel.sender(), &counters));
        assert_eq!(channel.try_receive(), Ok(arrival(b"one")));
        assert_eq!(channel.try_receive(), Ok(arrival(b"two")));
        assert_eq!(
            counters.read(),
            Counts {
                received: 2,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn what_cannot_be_handed_on_is_counted() {
        let mut bytes = line(&[b"one", b"two", b"three"]);
        bytes.extend_from_slice(&[9, 1, 0]);
        bytes.extend([1; MAX_LINE_BYTES + 1]);
        bytes.push(0);
        let channel = Channel::<NoopRawMutex, Arrival, 1>::new();
        let counters = Counters::new();
        block_on(receive(LINK, &bytes[..], channel.sender(), &counters));
        let expected = Counts {
            received: 1,
            refused: 2,
            malformed: 1,
            too_long: 1,
            ..Counts::default()
        };
        assert_eq!(counters.read(), expected);
    }

    /// A line that keeps what is written to it, a few bytes at a time.
    struct Paper<'a>(&'a mut Vec<u8>);

    impl embedded_io_async::ErrorType for Paper<'_> {
        type Error = core::convert::Infallible;
    }

    impl Write for Paper<'_> {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
            self.0.push(bytes[0]);
            Ok(1)
        }

        async fn flush(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    #[test]
    fn frames_go_onto_the_line_in_order() {
        let channel = Channel::<NoopRawMutex, Departure, 2>::new();
        let counters = Counters::new();
        channel.try_send(departure(b"one")).unwrap();
        channel.try_send(departure(b"two")).unwrap();
        let mut written = Vec::new();
        let room = Signal::new();
        let sending = send(Paper(&mut written), channel.receiver(), &room, &counters);
        block_on(select(sending, core::future::ready(())));
        assert!(room.signaled());
        assert_eq!(written, line(&[b"one", b"two"]));
        assert_eq!(counters.read().sent, 2);
    }
}
