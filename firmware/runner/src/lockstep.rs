//! Boards in step with a program that owns the world around them: it says which frames come when,
//! and hears which frames have left when.
//!
//! Within a step no board hears of another, so boards run side by side on the threads of the host, and
//! what comes out does not depend on which of them runs first. A step may be as long as the shortest
//! time that a frame takes from one board to another.

use core::num::NonZero;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use nimblenet_board::framing::{Deframer, Frame, MAX_LINE_BYTES, stuffed};

use crate::board::CLOCK_HZ;
use crate::{Board, Image, Uart};

/// Cycles of a microsecond.
const MICROSECOND: u64 = CLOCK_HZ / 1_000_000;

/// Boards that run one step after another.
pub struct Lockstep {
    seats: Vec<Seat>,
    now_us: u64,
}

/// A frame that has left a board.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// When its last byte had left, in microseconds since power-on.
    pub at_us: u64,
    /// The place of the board, in the order of [`Lockstep::new`].
    pub board: usize,
    /// The UART.
    pub uart: Uart,
    /// The frame.
    pub frame: Vec<u8>,
}

/// A board and the other ends of its lines.
struct Seat {
    board: Board,
    deframers: [Deframer; 2],
    /// Frames that are to come, for each UART, in the order of their times.
    coming: [VecDeque<(u64, Frame)>; 2],
    sent: Vec<(u64, Uart, Frame)>,
    /// Bytes between two zeros that were no frame.
    damaged: u64,
}

impl Lockstep {
    /// Powers a board on for each image.
    ///
    /// # Errors
    ///
    /// As [`Board::new`].
    pub fn new(images: &[Image]) -> Result<Self> {
        let seats = images.iter().map(|image| {
            Ok(Seat {
                board: Board::new(image)?,
                deframers: [Deframer::new(), Deframer::new()],
                coming: Default::default(),
                sent: Vec::new(),
                damaged: 0,
            })
        });
        Ok(Self {
            seats: seats.collect::<Result<_>>()?,
            now_us: 0,
        })
    }

    /// The time up to which all boards have run, in microseconds since power-on.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Puts a frame on the wire into a UART at a time that has not passed.
    ///
    /// # Errors
    ///
    /// If there is no such board, the time has passed, or the frame is too long.
    pub fn send(&mut self, board: usize, uart: Uart, at_us: u64, frame: &[u8]) -> Result<()> {
        ensure!(
            at_us >= self.now_us,
            "a frame cannot come at {at_us} us: it is {} us already",
            self.now_us
        );
        let frame = Frame::from_slice(frame).ok();
        let frame = frame.context("a frame is longer than a line carries")?;
        let seat = self.seats.get_mut(board);
        let seat = seat.with_context(|| format!("there is no board number {board}"))?;
        let coming = &mut seat.coming[uart.index()];
        // Of frames with the same time the first stays first.
        let place = coming.partition_point(|(at, _)| *at <= at_us);
        coming.insert(place, (at_us, frame));
        Ok(())
    }

    /// Runs all boards until a time; returns the frames that have left, in the order of their times,
    /// and of boards and UARTs where these are the same.
    ///
    /// # Errors
    ///
    /// As [`Board::run_until`].
    pub fn run_until(&mut self, until_us: u64) -> Result<Vec<Sent>> {
        self.now_us = self.now_us.max(until_us);
        let cycle = self.now_us * MICROSECOND;
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let waiting = Mutex::new(self.seats.iter_mut().enumerate());
        let work = || -> Result<()> {
            loop {
                let next = waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .next();
                let Some((number, seat)) = next else {
                    return Ok(());
                };
                let ran = seat.run_until(cycle);
                ran.with_context(|| format!("board number {number}"))?;
            }
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = others.into_iter().map(|thread| match thread.join() {
                Ok(ran) => ran,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            others.fold(own, Result::and)
        })?;
        let mut all = Vec::new();
        for (board, seat) in self.seats.iter_mut().enumerate() {
            all.extend(seat.sent.drain(..).map(|(cycle, uart, frame)| Sent {
                at_us: cycle.div_ceil(MICROSECOND),
                board,
                uart,
                frame: frame.to_vec(),
            }));
        }
        all.sort_by_key(|sent| (sent.at_us, sent.board, sent.uart));
        Ok(all)
    }

    /// The boards, in their order, each with how often something that was no frame came out of it.
    pub fn boards(&self) -> impl Iterator<Item = (&Board, u64)> {
        self.seats.iter().map(|seat| (&seat.board, seat.damaged))
    }
}

impl Seat {
    fn run_until(&mut self, cycle: u64) -> Result<()> {
        for uart in Uart::ALL {
            let coming = &mut self.coming[uart.index()];
            while let Some((at_us, frame)) =
                coming.pop_front_if(|(at, _)| *at * MICROSECOND < cycle)
            {
                let mut line = [0; MAX_LINE_BYTES];
                let line = stuffed(&frame, &mut line);
                self.board.send_at(uart, at_us * MICROSECOND, line);
            }
        }
        self.board.run_until(cycle)?;
        for uart in Uart::ALL {
            for (at, byte) in self.board.take_timed(uart) {
                match self.deframers[uart.index()].push(byte) {
                    None => {}
                    // A step ends with an instruction, which may be a little late.
                    Some(Ok(frame)) => self.sent.push((at.min(cycle), uart, frame)),
                    Some(Err(_)) => self.damaged += 1,
                }
            }
        }
        Ok(())
    }
}
