//! The record of a crash that outlives the reset.

use nimblenet_core::wire::{Cause, REPORT_ADDRESSES, Report};

/// Distinguishes a record from what memory holds after power-on.
const MAGIC: u32 = 0x4e4e_4b33;

/// Addresses where a program was when it crashed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Places {
    words: [u32; REPORT_ADDRESSES],
    len: usize,
}

impl Places {
    /// Takes an address, if there is room.
    pub fn push(&mut self, address: u32) {
        if let Some(place) = self.words.get_mut(self.len) {
            *place = address;
            self.len += 1;
        }
    }

    /// Takes the return addresses from `stack`, the words from the stack pointer upwards: odd
    /// addresses in `code` that follow a branch with link. `half` reads a half word of code. Some
    /// may be left over from calls that have returned.
    pub fn unwind(
        &mut self,
        stack: impl Iterator<Item = u32>,
        code: core::ops::Range<u32>,
        half: impl Fn(u32) -> u16,
    ) {
        for word in stack {
            let to = word & !1;
            if word & 1 == 0 || !code.contains(&to) || !code.contains(&to.wrapping_sub(4)) {
                continue;
            }
            // BL has two half words, BLX of a register has one (ARMv6-M A6.7.13, A6.7.14).
            let long = half(to - 4) & 0xf800 == 0xf000 && half(to - 2) & 0xd000 == 0xd000;
            let short = half(to - 2) & 0xff80 == 0x4780;
            if long || short {
                self.push(to - if long { 4 } else { 2 });
            }
        }
    }

    fn bytes(&self) -> [u8; 4 * REPORT_ADDRESSES] {
        let mut bytes = [0; 4 * REPORT_ADDRESSES];
        for (place, word) in bytes.chunks_exact_mut(4).zip(self.words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// The end of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crash {
    cause: Cause,
    core: u8,
    /// Microseconds since the start, modulo 2^32.
    micros: u32,
    places: Places,
}

impl Crash {
    /// No end of a program, but what a registry hears of in the same way: the ledger's numbers were lost.
    pub(crate) const LEDGER_DAMAGED: Self = Self {
        cause: Cause::LedgerDamaged,
        core: 0,
        micros: 0,
        places: Places {
            words: [0; REPORT_ADDRESSES],
            len: 0,
        },
    };

    /// Calls `tell` with the report of this crash under `number`.
    pub fn report(&self, number: u32, tell: impl FnOnce(&Report<'_>)) {
        let bytes = self.places.bytes();
        let addresses = &bytes[..4 * self.places.len];
        let milliseconds = self.micros / 1000;
        let report = Report::new(number, self.cause, self.core, milliseconds, addresses, "");
        if let Some(report) = report {
            tell(&report);
        }
    }
}

/// A record in memory that a reset does not clear. Any bytes are a valid value; after power-on they
/// are no record, since magic number and checksum do not match.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Kept {
    magic: u32,
    cause: u32,
    core: u32,
    micros: u32,
    places: [u32; REPORT_ADDRESSES],
    places_len: u32,
    check: u32,
}

impl Kept {
    /// No record.
    pub const NOTHING: Self = Self {
        magic: 0,
        cause: 0,
        core: 0,
        micros: 0,
        places: [0; REPORT_ADDRESSES],
        places_len: 0,
        check: 0,
    };

    /// Takes how the previous program ended, unless that is not known or it was reset from outside, and
    /// begins the record of this one; `hungry` says that the watchdog has reset the previous one.
    pub fn take(&mut self, hungry: bool) -> Option<Crash> {
        let whole = self.magic == MAGIC && self.check == self.sum();
        let crash = self.read(hungry).filter(|_| whole);
        *self = Self {
            magic: MAGIC,
            ..Self::NOTHING
        };
        self.check = self.sum();
        crash
    }

    /// The program ends. Only the first cause is kept, since it may have caused the others.
    pub fn crash(&mut self, cause: Cause, core: u8, micros: u32, places: &Places) {
        if self.magic != MAGIC || self.cause != 0 {
            return;
        }
        self.cause = cause as u32;
        self.core = core.into();
        self.micros = micros;
        self.places = places.words;
        self.places_len = places.len as u32;
        self.check = self.sum();
    }

    fn read(&self, hungry: bool) -> Option<Crash> {
        let cause = match Cause::from_number(self.cause as u8) {
            Some(cause) => cause,
            None if hungry => Cause::Watchdog,
            None => return None,
        };
        Some(Crash {
            cause,
            core: self.core as u8,
            micros: self.micros,
            places: Places {
                words: self.places,
                len: (self.places_len as usize).min(REPORT_ADDRESSES),
            },
        })
    }

    fn sum(&self) -> u32 {
        let words = [self.cause, self.core, self.micros, self.places_len];
        let words = words.into_iter().chain(self.places);
        words.fold(0x6b65_7074, u32::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn running() -> Kept {
        let mut kept = Kept::NOTHING;
        assert_eq!(kept.take(true), None);
        kept
    }

    fn crashed(cause: Cause) -> Kept {
        let mut kept = running();
        kept.crash(cause, 1, 1_234_567, &Places::default());
        kept
    }

    #[test]
    fn memory_after_power_on_is_no_record() {
        assert_eq!(Kept::NOTHING.clone().take(true), None);
        let mut noise = running();
        noise.micros ^= 0x5555;
        assert_eq!(noise.take(true), None);
    }

    #[test]
    fn a_reset_from_outside_is_no_crash_and_a_crash_is_taken_once() {
        assert_eq!(running().take(false), None);
        let mut kept = crashed(Cause::Panic);
        assert!(kept.take(false).is_some());
        assert_eq!(kept.take(false), None);
    }

    #[test]
    fn the_first_cause_of_a_crash_is_kept() {
        let mut kept = crashed(Cause::Panic);
        kept.crash(Cause::Fault, 0, 7, &Places::default());
        let crash = kept.take(true).unwrap();
        let mut told = None;
        crash.report(5, |report| {
            told = Some((report.number, report.cause, report.core, report.uptime_ms))
        });
        assert_eq!(told, Some((5, Cause::Panic, 1, 1234)));
    }

    #[test]
    fn a_watchdog_that_was_not_fed_is_a_crash_too() {
        let crash = running().take(true).unwrap();
        assert_eq!(crash.cause, Cause::Watchdog);
    }

    #[test]
    fn addresses_behind_calls_are_found_on_the_stack() {
        // The code at 0x100: a nop, BL, BLX of a register, a nop.
        let code: [u16; 6] = [0xbf00, 0xbf00, 0xf7ff, 0xfffe, 0x4798, 0xbf00];
        let half = |at: u32| code[(at - 0x100) as usize / 2];
        // Data, an even address, those behind BL and BLX, one behind neither, and one outside.
        let stack = [7, 0x108, 0x109, 0x10b, 0x105, 0x2000_0001];
        let mut places = Places::default();
        places.push(0xabc);
        places.unwind(stack.into_iter(), 0x100..0x10c, half);
        assert_eq!(places.words[..places.len], [0xabc, 0x104, 0x108]);
        for _ in 0..9 {
            places.push(1);
        }
        let mut kept = running();
        kept.crash(Cause::Fault, 0, 0, &places);
        let mut told = Vec::new();
        let crash = kept.take(false).unwrap();
        crash.report(1, |report| told.extend(report.addresses()));
        assert_eq!(told, [0xabc, 0x104, 0x108, 1, 1, 1]);
    }
}
