//! Serial lines, each a point-to-point link of the node (spec/board.md, section 1).
//!
//! Each line is a task of its own. Frames to it wait in a bounded queue; a frame that finds the
//! queue full is dropped and counted, so that a slow line holds nothing else up. While its device
//! is missing, the task looks for it again and again.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::path::PathBuf;

use nimblenet_board::framing::{Deframer, Frame, MAX_LINE_BYTES, stuffed};
use nimblenet_board::start::LINE;
use nimblenet_core::{LinkAddress, LinkConfig};
use serial2_tokio::SerialPort;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Closed, Inlet, Link, LinkPlan, LinkStatus};

/// The only neighbour on a line.
const OTHER_END: LinkAddress = LinkAddress(0);
/// The most frames that wait for a line: a third of a second at 1 MBd.
const QUEUE_FRAMES: usize = 128;
/// The time between two attempts to open a device.
const RETRY: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 4096;

/// A serial line to a neighbour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SerialConfig {
    /// The device, which need not be there yet.
    pub device: PathBuf,
    /// Bits a second; the same at both ends.
    pub baud: u32,
}

impl SerialConfig {
    /// The rate of a line whose configuration gives none, which is that of boards.
    pub const DEFAULT_BAUD: u32 = 1_000_000;

    /// A line at the usual rate.
    pub fn new(device: impl Into<PathBuf>) -> Self {
        Self {
            device: device.into(),
            baud: Self::DEFAULT_BAUD,
        }
    }
}

impl LinkPlan for SerialConfig {
    fn frames(&self) -> LinkConfig {
        LINE
    }

    fn start(&self, inlet: Inlet, tasks: &mut JoinSet<()>) -> io::Result<Box<dyn Link>> {
        Ok(Box::new(SerialLink::start(self.clone(), inlet, tasks)))
    }
}

/// The sending half of a serial line.
#[derive(Debug)]
struct SerialLink {
    device: PathBuf,
    queue: Sender<Frame>,
    counters: Arc<Counters>,
}

#[derive(Default, Debug)]
struct Counters {
    up: AtomicBool,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    damaged: AtomicU64,
    dropped: AtomicU64,
}

impl SerialLink {
    fn start(config: SerialConfig, inlet: Inlet, tasks: &mut JoinSet<()>) -> Self {
        let (queue, waiting) = channel(QUEUE_FRAMES);
        let counters = Arc::new(Counters::default());
        let device = config.device.clone();
        let line = Line {
            config,
            inlet,
            waiting,
            counters: Arc::clone(&counters),
        };
        tasks.spawn(line.run());
        Self {
            device,
            queue,
            counters,
        }
    }
}

impl Link for SerialLink {
    fn send(&mut self, _: Option<LinkAddress>, frame: &[u8]) {
        // The node keeps to the link's MTU, so no frame is too long.
        let taken = Frame::from_slice(frame).is_ok_and(|frame| self.queue.try_send(frame).is_ok());
        if !taken {
            add(&self.counters.dropped, 1);
        }
    }

    fn status(&self) -> LinkStatus {
        let counters = &self.counters;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkStatus {
            kind: "serial",
            name: self.device.to_string_lossy().into_owned(),
            up: counters.up.load(Ordering::Relaxed),
            sent: of(&counters.sent),
            sent_bytes: of(&counters.sent_bytes),
            received: of(&counters.received),
            received_bytes: of(&counters.received_bytes),
            damaged: of(&counters.damaged),
            dropped: of(&counters.dropped),
            strangers: 0,
        }
    }
}

fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}

/// The task of a line.
struct Line {
    config: SerialConfig,
    inlet: Inlet,
    waiting: Receiver<Frame>,
    counters: Arc<Counters>,
}

impl Line {
    async fn run(mut self) {
        let device = self.config.device.display().to_string();
        let mut reported = false;
        loop {
            let error = match open(self.config.clone()).await {
                Ok(port) => {
                    tracing::info!(device, "the serial line is up");
                    reported = false;
                    self.counters.up.store(true, Ordering::Relaxed);
                    let ended = self.carry(&port).await;
                    self.counters.up.store(false, Ordering::Relaxed);
                    match ended {
                        Ok(Closed) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if !reported {
                tracing::warn!(device, %error, "the serial line is down; it is tried every second");
                reported = true;
            }
            if let Some(Closed) = self.idle().await {
                return;
            }
        }
    }

    /// Moves frames until the device is gone or the daemon ends.
    async fn carry(&mut self, port: &SerialPort) -> io::Result<Closed> {
        let mut deframer = Deframer::new();
        let mut buffer = vec![0; READ_BYTES];
        // A zero byte ends the frame that the other side may have begun to read.
        let mut line = vec![0];
        let mut frame_bytes = None;
        loop {
            tokio::select! {
                read = port.read(&mut buffer) => {
                    let read = read?;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    for byte in &buffer[..read] {
                        let Some(ended) = deframer.push(*byte) else { continue };
                        let Ok(frame) = ended else {
                            add(&self.counters.damaged, 1);
                            continue;
                        };
                        add(&self.counters.received, 1);
                        add(&self.counters.received_bytes, frame.len());
                        let frame = frame.to_vec();
                        if let Err(Closed) = self.inlet.give(OTHER_END, frame).await {
                            return Ok(Closed);
                        }
                    }
                }
                written = port.write(&line), if !line.is_empty() => {
                    line.drain(..written?);
                    if let Some(bytes) = frame_bytes.take_if(|_| line.is_empty()) {
                        add(&self.counters.sent, 1);
                        add(&self.counters.sent_bytes, bytes);
                    }
                }
                frame = self.waiting.recv(), if line.is_empty() => {
                    let Some(frame) = frame else { return Ok(Closed) };
                    line.extend(stuffed(&frame, &mut [0; MAX_LINE_BYTES]));
                    frame_bytes = Some(frame.len());
                }
            }
        }
    }

    /// Waits until it is time to open the device again. Drops all frames meanwhile: they are old by
    /// then.
    async fn idle(&mut self) -> Option<Closed> {
        let end = Instant::now() + RETRY;
        loop {
            tokio::select! {
                () = sleep_until(end) => return None,
                frame = self.waiting.recv() => match frame {
                    Some(_) => add(&self.counters.dropped, 1),
                    None => return Some(Closed),
                },
            }
        }
    }
}

/// Opens a device: eight bits, no parity, one stop bit, no flow control, bytes as they are.
async fn open(config: SerialConfig) -> io::Result<SerialPort> {
    // Opening may block: the driver may be slow.
    let open = move || {
        let port = SerialPort::open(&config.device, config.baud)?;
        port.discard_buffers()?;
        Ok(port)
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use nimblenet_core::LinkId;

    use super::*;

    #[tokio::test]
    async fn frames_beyond_the_queue_are_dropped_and_hold_nobody_up() {
        let nowhere = SerialConfig::new("/dev/there-is-no-such-line");
        let (inlet, mut tasks) = (Inlet::new(LinkId(1), channel(1).0), JoinSet::new());
        let mut link = SerialLink::start(nowhere, inlet, &mut tasks);
        // The line's own task gets no turn before the first await.
        for _ in 0..QUEUE_FRAMES + 3 {
            link.send(None, b"frame");
        }
        assert_eq!(link.status().dropped, 3);
        assert!(!link.status().up);
        let all = QUEUE_FRAMES as u64 + 3;
        while link.status().dropped < all {
            tokio::task::yield_now().await;
        }
        assert_eq!((link.status().dropped, link.status().sent), (all, 0));
    }
}
