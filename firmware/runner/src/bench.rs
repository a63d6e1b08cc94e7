//! Several boards in one virtual time, with wires between their UARTs and ties to the outside.

use anyhow::{Context as _, Result};

use crate::{Board, Image, Tie, Uart};

/// How far one board runs ahead of the others: the time of a byte at 1 MBd, so that no byte of
/// another board is missed.
const TURN_CYCLES: u64 = 1_250;

/// A board of a bench.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BoardId(usize);

/// One end of a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Port {
    /// The board.
    pub board: BoardId,
    /// Its UART.
    pub uart: Uart,
}

/// A wire between two ports: each receives what the other sends.
struct Wire {
    ends: [Port; 2],
    cut: bool,
}

/// Boards, wires between them, and ties to the outside. A port has one wire or one tie.
#[derive(Default)]
pub struct Bench {
    boards: Vec<Board>,
    wires: Vec<Wire>,
    ties: Vec<(Port, Tie)>,
    now: u64,
}

impl Bench {
    /// A bench with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a board on the bench and powers it on.
    ///
    /// # Errors
    ///
    /// As [`Board::new`].
    pub fn add(&mut self, image: &Image) -> Result<BoardId> {
        self.boards.push(Board::new(image)?);
        Ok(BoardId(self.boards.len() - 1))
    }

    /// Ties two UARTs together.
    pub fn wire(&mut self, a: Port, b: Port) {
        self.wires.push(Wire {
            ends: [a, b],
            cut: false,
        });
    }

    /// Ties a UART to the outside. A run with ties depends on what others send and when, and so
    /// does not repeat.
    pub fn tie(&mut self, port: Port, tie: Tie) {
        self.ties.push((port, tie));
    }

    /// The ties, in the order in which they were made.
    pub fn ties(&self) -> impl Iterator<Item = (Port, &Tie)> {
        self.ties.iter().map(|(port, tie)| (*port, tie))
    }

    /// Cuts or mends all wires between two boards.
    pub fn cut(&mut self, a: BoardId, b: BoardId, cut: bool) {
        for wire in &mut self.wires {
            let [x, y] = wire.ends.map(|end| end.board);
            if (x, y) == (a, b) || (x, y) == (b, a) {
                wire.cut = cut;
            }
        }
    }

    /// A board, to send it bytes from outside or look into it.
    pub fn board(&mut self, board: BoardId) -> &mut Board {
        &mut self.boards[board.0]
    }

    /// Cycles since the bench was made.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Runs all boards for a number of cycles, as fast as possible. Calls `seen` with the time, the
    /// port and the bytes of everything that is sent over a wire, even a cut one. Ties are served
    /// once, at the end.
    ///
    /// # Errors
    ///
    /// As [`Board::run_until`].
    pub fn run(&mut self, cycles: u64, mut seen: impl FnMut(u64, Port, &[u8])) -> Result<()> {
        let end = self.now + cycles;
        while self.now < end {
            self.now = end.min(self.now + TURN_CYCLES);
            for (number, board) in self.boards.iter_mut().enumerate() {
                board
                    .run_until(self.now)
                    .with_context(|| format!("board {number}"))?;
            }
            for wire in &self.wires {
                let [a, b] = wire.ends;
                for (from, to) in [(a, b), (b, a)] {
                    let bytes = self.boards[from.board.0].take(from.uart);
                    if bytes.is_empty() {
                        continue;
                    }
                    seen(self.now, from, &bytes);
                    if !wire.cut {
                        self.boards[to.board.0].send(to.uart, &bytes);
                    }
                }
            }
        }
        for (port, tie) in &mut self.ties {
            tie.carry(&mut self.boards[port.board.0], port.uart);
        }
        Ok(())
    }
}
