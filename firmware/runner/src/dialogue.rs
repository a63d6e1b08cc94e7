//! Boards that another program runs, a step at a time: what it says on standard input, and what it
//! hears on standard output.
//!
//! Each message is a line of words; times are whole microseconds since power-on, frames are in
//! hexadecimal digits, without what the serial line adds.
//!
//! | it says | |
//! |---|---|
//! | `frame BOARD.UART TIME FRAME` | this frame comes into this UART at this time, which has not passed |
//! | `run TIME` | run until this time |
//! | `look` | say how the boards are |
//!
//! | it hears | |
//! |---|---|
//! | `ready` | first: the boards are powered on |
//! | `sent BOARD.UART TIME FRAME` | after `run`: this frame had left at this time |
//! | `at TIME` | after these: all boards have run until this time |
//! | `board NAME KEY NUMBER...` | after `look`, for each board; see [`Dialogue::look`] |
//! | `end` | after these |
//!
//! At the end of the input the program ends. A line that it does not understand, and a board that is
//! lost, end it with an error.

use core::fmt::Write as _;
use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail};

use crate::{Lockstep, Uart};

/// Boards, and their names in a dialogue.
pub struct Dialogue {
    boards: Lockstep,
    names: Vec<String>,
}

impl Dialogue {
    /// A dialogue about boards with these names.
    #[must_use]
    pub fn new(boards: Lockstep, names: Vec<String>) -> Self {
        Self { boards, names }
    }

    /// Does what `input` says until it ends.
    ///
    /// # Errors
    ///
    /// If it says something that cannot be done, a board is lost, or nobody reads `output`.
    pub fn hold(&mut self, input: impl BufRead, mut output: impl Write) -> Result<()> {
        let mut say = |text: &str| {
            let said = output
                .write_all(text.as_bytes())
                .and_then(|()| output.flush());
            said.context("nobody hears")
        };
        say("ready\n")?;
        for line in input.lines() {
            let line = line.context("reading what to do")?;
            let answer = self.answer(&line);
            say(&answer.with_context(|| format!("told `{line}`"))?)?;
        }
        Ok(())
    }

    fn answer(&mut self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["frame", port, at, frame] => {
                let (board, uart) = self.port(port)?;
                self.boards.send(board, uart, time(at)?, &bytes(frame)?)?;
                Ok(String::new())
            }
            ["run", until] => self.run(time(until)?),
            ["look"] => Ok(self.look()),
            _ => bail!("it is none of: frame BOARD.UART TIME FRAME, run TIME, look"),
        }
    }

    fn run(&mut self, until_us: u64) -> Result<String> {
        let mut said = String::new();
        for sent in self.boards.run_until(until_us)? {
            let (name, uart) = (&self.names[sent.board], sent.uart.index());
            let _ = write!(said, "sent {name}.{uart} {} ", sent.at_us);
            for byte in sent.frame {
                let _ = write!(said, "{byte:02x}");
            }
            said.push('\n');
        }
        let _ = writeln!(said, "at {}", self.boards.now_us());
        Ok(said)
    }

    /// How the boards are: `resets`; `instructions-0` and `-1`, executed by each core; `busy-0` and
    /// `-1`, cycles in which it was not asleep; `lost`, bytes that its UARTs did not take; `damaged`,
    /// how often something that was no frame left it.
    fn look(&self) -> String {
        let mut said = String::new();
        for (name, (board, damaged)) in self.names.iter().zip(self.boards.boards()) {
            let lost: u64 = Uart::ALL.iter().map(|uart| board.lost(*uart)).sum();
            let _ = writeln!(
                said,
                "board {name} resets {} instructions-0 {} instructions-1 {} busy-0 {} busy-1 {} \
                 lost {lost} damaged {damaged}",
                board.resets(),
                board.instructions(0),
                board.instructions(1),
                board.busy(0),
                board.busy(1),
            );
        }
        said.push_str("end\n");
        said
    }

    fn port(&self, port: &str) -> Result<(usize, Uart)> {
        let (name, uart) = port
            .rsplit_once('.')
            .context("a UART is BOARD.0 or BOARD.1")?;
        let board = self.names.iter().position(|known| known == name);
        let board = board.with_context(|| format!("there is no board {name}"))?;
        match uart {
            "0" => Ok((board, Uart::Zero)),
            "1" => Ok((board, Uart::One)),
            _ => bail!("a UART is BOARD.0 or BOARD.1"),
        }
    }
}

fn time(text: &str) -> Result<u64> {
    text.parse().context("a time is a number of microseconds")
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2).map(|digits| {
        let digits = str::from_utf8(digits).ok().filter(|it| it.len() == 2);
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
    });
    let bytes: Option<Vec<u8>> = digits.collect();
    bytes.context("a frame is pairs of hexadecimal digits")
}
