//! What a crash leaves for the next start.

use core::fmt::{self, Write};

/// The longest text that is kept of a crash.
pub const TEXT_BYTES: usize = 96;

/// Tells a record from what memory holds after power-on.
const MAGIC: u32 = 0x4e4e_4b31;
/// Packets that may have been sent since the number was last kept.
const AHEAD: u32 = 256;

/// Why a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cause {
    /// It panicked.
    Panic = 1,
    /// The processor refused an instruction or an address.
    Fault = 2,
    /// The interpreter did not answer any more.
    InterpreterLost = 3,
    /// Nobody fed the watchdog.
    Watchdog = 4,
}

/// The end of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crash {
    /// Why.
    pub cause: Cause,
    /// On which core.
    pub core: u8,
    /// The line of a panic, the address of a fault.
    pub place: u32,
    /// Microseconds since the start, modulo 2^32.
    pub micros: u32,
    text: Text,
}

impl Crash {
    /// What it said.
    #[must_use]
    pub fn text(&self) -> &str {
        let bytes = &self.text.bytes[..self.text.len];
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Text {
    bytes: [u8; TEXT_BYTES],
    len: usize,
}

impl Write for Text {
    /// Takes what fits.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

/// A record in memory that a reset leaves alone. Any content is a valid value: what it holds
/// after power-on is no record, since magic number and checksum do not match.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Kept {
    magic: u32,
    sequence: u32,
    cause: u32,
    core: u32,
    place: u32,
    micros: u32,
    len: u32,
    text: [u8; TEXT_BYTES],
    check: u32,
}

/// What the program before has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Before {
    /// A packet number that it has not used.
    pub sequence: u32,
    /// How it ended, unless it was reset from outside.
    pub crash: Option<Crash>,
}

impl Kept {
    /// No record.
    pub const NOTHING: Self = Self {
        magic: 0,
        sequence: 0,
        cause: 0,
        core: 0,
        place: 0,
        micros: 0,
        len: 0,
        text: [0; TEXT_BYTES],
        check: 0,
    };

    /// Takes the record of the program before, if there is one; `hungry` says that the watchdog
    /// has ended it.
    pub fn take(&mut self, hungry: bool) -> Option<Before> {
        let whole = self.magic == MAGIC && self.check == self.sum();
        let before = whole.then(|| Before {
            sequence: self.sequence.wrapping_add(AHEAD),
            crash: self.read(hungry),
        });
        *self = Self::NOTHING;
        before
    }

    /// Begins the record of a program that starts with this packet number.
    pub fn begin(&mut self, sequence: u32) {
        *self = Self {
            magic: MAGIC,
            sequence,
            ..Self::NOTHING
        };
        self.check = self.sum();
    }

    /// The program is well and has come to this packet number.
    pub fn go_on(&mut self, sequence: u32) {
        // Only the sum of two numbers changes: a reset in between costs no more than the record.
        self.check = self.check.wrapping_sub(self.sequence).wrapping_add(sequence);
        self.sequence = sequence;
    }

    /// The program ends. The first cause counts: what follows may be due to it.
    pub fn crash(&mut self, cause: Cause, core: u8, place: u32, micros: u32, words: fmt::Arguments<'_>) {
        if self.magic != MAGIC || self.cause != 0 {
            return;
        }
        let mut text = Text {
            bytes: [0; TEXT_BYTES],
            len: 0,
        };
        let _ = text.write_fmt(words);
        self.cause = cause as u32;
        self.core = core.into();
        self.place = place;
        self.micros = micros;
        self.len = text.len as u32;
        self.text = text.bytes;
        self.check = self.sum();
    }

    fn read(&self, hungry: bool) -> Option<Crash> {
        let cause = match self.cause {
            1 => Cause::Panic,
            2 => Cause::Fault,
            3 => Cause::InterpreterLost,
            _ if hungry => Cause::Watchdog,
            _ => return None,
        };
        Some(Crash {
            cause,
            core: self.core as u8,
            place: self.place,
            micros: self.micros,
            text: Text {
                bytes: self.text,
                len: (self.len as usize).min(TEXT_BYTES),
            },
        })
    }

    fn sum(&self) -> u32 {
        let words = [
            self.sequence, self.cause, self.core, self.place, self.micros, self.len,
        ];
        let text = self.text.iter().enumerate();
        let text = text.map(|(at, byte)| u32::from(*byte) << (at % 4 * 8));
        let all = words.into_iter().chain(text);
        all.fold(0x6b65_7074, u32::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;

    use super::*;

    fn running(sequence: u32) -> Kept {
        let mut kept = Kept::NOTHING;
        kept.begin(1);
        kept.go_on(sequence);
        kept
    }

    #[test]
    fn memory_after_power_on_is_no_record() {
        assert_eq!(Kept::NOTHING.clone().take(false), None);
        let mut noise = running(7);
        noise.place ^= 0x5555;
        assert_eq!(noise.take(false), None);
    }

    #[test]
    fn packet_numbers_go_on_after_a_reset_from_outside() {
        let mut kept = running(700);
        let before = kept.take(false).unwrap();
        assert_eq!((before.sequence, before.crash), (700 + AHEAD, None));
        assert_eq!(kept.take(false), None, "it is taken once");
    }

    #[test]
    fn the_first_cause_of_a_crash_is_kept() {
        let mut kept = running(9);
        kept.crash(Cause::Panic, 1, 42, 1000, format_args!("no {}", "room"));
        kept.crash(Cause::Fault, 0, 7, 1001, format_args!("then this"));
        let crash = kept.take(true).unwrap().crash.unwrap();
        assert_eq!((crash.cause, crash.core), (Cause::Panic, 1));
        assert_eq!((crash.place, crash.micros, crash.text()), (42, 1000, "no room"));
    }

    #[test]
    fn a_watchdog_that_was_not_fed_is_a_crash_too() {
        let crash = running(9).take(true).unwrap().crash.unwrap();
        assert_eq!((crash.cause, crash.text()), (Cause::Watchdog, ""));
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let mut kept = running(9);
        let long: String = "x".chars().chain("ü".chars().cycle().take(99)).collect();
        kept.crash(Cause::Panic, 0, 0, 0, format_args!("{long}"));
        let crash = kept.take(false).unwrap().crash.unwrap();
        assert_eq!(crash.text(), &long[..TEXT_BYTES - 1]);
    }
}
