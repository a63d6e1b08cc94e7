//! A board in real time, with its UARTs on UDP sockets: one datagram per frame.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::UdpSocket;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::board::CLOCK_HZ;
use crate::{Board, Frames, Uart};

/// Emulated time between two looks at the sockets and the wall clock.
const TURN: Duration = Duration::from_micros(100);
/// Emulated time may run ahead of the wall clock by this much before it waits: sleeping is not
/// exact, and short sleeps cost more than they wait.
const AHEAD: Duration = Duration::from_micros(500);
/// Emulated time that lags by more than this does not try to catch up.
const BEHIND: Duration = Duration::from_millis(50);
const MAX_DATAGRAM_BYTES: usize = 2048;

/// A UART on a socket.
pub struct Tie {
    uart: Uart,
    socket: UdpSocket,
    frames: Frames,
}

impl Tie {
    /// Listens on one address; what the UART sends goes to the other.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on.
    pub fn new(uart: Uart, listen: SocketAddr, peer: SocketAddr) -> Result<Self> {
        let socket =
            UdpSocket::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        socket
            .connect(peer)
            .with_context(|| format!("cannot send to {peer}"))?;
        socket
            .set_nonblocking(true)
            .context("cannot poll a socket")?;
        Ok(Self {
            uart,
            socket,
            frames: Frames::default(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// If the operating system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.socket
            .local_addr()
            .context("a socket without an address")
    }

    /// Moves what has arrived on either side; losing a datagram is what UDP does.
    fn carry(&mut self, board: &mut Board) {
        let mut datagram = [0; MAX_DATAGRAM_BYTES];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            board.send(self.uart, &datagram[..length]);
        }
        for byte in board.take(self.uart) {
            if let Some(frame) = self.frames.push(byte) {
                let _ = self.socket.send(&frame);
            }
        }
    }
}

/// A board tied to the wall clock.
pub struct Bridge {
    board: Board,
    ties: Vec<Tie>,
}

impl Bridge {
    /// Ties a board to sockets.
    #[must_use]
    pub fn new(board: Board, ties: Vec<Tie>) -> Self {
        Self { board, ties }
    }

    /// Runs in step with the wall clock, for a while or for ever; may be called again.
    ///
    /// # Errors
    ///
    /// If a core of the board has locked up.
    pub fn run(&mut self, lasts: Option<Duration>) -> Result<()> {
        let begin = Instant::now();
        let first = self.board.now();
        // Virtual time as seen from `begin`, moved when the host could not keep up.
        let mut skipped = Duration::ZERO;
        loop {
            let next = self.board.now() + cycles(TURN);
            self.board.run_until(next)?;
            for tie in &mut self.ties {
                tie.carry(&mut self.board);
            }
            let real = begin.elapsed();
            if lasts.is_some_and(|lasts| real >= lasts) {
                return Ok(());
            }
            let emulated = duration(self.board.now() - first) + skipped;
            if emulated > real + AHEAD {
                std::thread::sleep(emulated - real);
            } else if real > emulated + BEHIND {
                skipped += real - emulated;
            }
        }
    }

    /// The board.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }
}

fn cycles(time: Duration) -> u64 {
    time.as_micros() as u64 * (CLOCK_HZ / 1_000_000)
}

fn duration(cycles: u64) -> Duration {
    Duration::from_nanos(cycles * (1_000_000_000 / CLOCK_HZ))
}
