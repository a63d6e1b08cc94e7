//! The flash of a board: what is written there stays over resets, and the power can be cut while it is.

use anyhow::{Result, bail, ensure};

use crate::board::CLOCK_HZ;
use crate::rom::{ERASE, PROGRAM};

const SECTOR_BYTES: usize = 4096;
const PAGE_BYTES: usize = 256;
/// The value of each byte of erased flash.
const ERASED: u8 = 0xff;
/// How long a sector is erased, and a page programmed: typical times of the W25Q16JV (its datasheet, 9.6).
const ERASE_CYCLES: u64 = CLOCK_HZ * 45 / 1_000;
const PROGRAM_CYCLES: u64 = CLOCK_HZ * 4 / 10_000;

/// How much of an operation is done when the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Torn {
    /// Nothing.
    Before,
    /// Of the bytes the first half.
    Half,
    /// Of each byte some bits.
    Bits,
    /// All of it, but nobody learns so.
    Behind,
}

impl Torn {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Before, Self::Half, Self::Bits, Self::Behind];
}

/// The flash, and what it is busy with.
pub(crate) struct Flash {
    bytes: Vec<u8>,
    operations: u64,
    /// Until when the present operation takes.
    busy: Option<u64>,
    cut: Option<(u64, Torn)>,
    is_cut: bool,
}

impl Flash {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            operations: 0,
            busy: None,
            cut: None,
            is_cut: false,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(crate) fn cut_at(&mut self, operation: u64, torn: Torn) {
        self.cut = Some((operation, torn));
    }

    /// Does at `now` what is asked for; true once it is done. `ram` reads a word of the board's memory.
    ///
    /// # Errors
    ///
    /// If no flash can do that.
    pub(crate) fn serve(
        &mut self,
        now: u64,
        [offset, second, third]: [u32; 3],
        what: u32,
        ram: impl Fn(u32) -> u32,
    ) -> Result<bool> {
        if let Some(busy) = self.busy {
            let done = busy <= now;
            self.busy = (!done).then_some(busy);
            return Ok(done);
        }
        let at = offset as usize;
        let (length, unit, cycles) = match what {
            ERASE => (second as usize, SECTOR_BYTES, ERASE_CYCLES),
            PROGRAM => (third as usize, PAGE_BYTES, PROGRAM_CYCLES),
            _ => bail!("flash has no operation {what}"),
        };
        let fits = at
            .checked_add(length)
            .is_some_and(|end| end <= self.bytes.len());
        ensure!(
            fits && at.is_multiple_of(unit),
            "{length} bytes at {offset:#x} are no flash"
        );
        ensure!(
            length == unit,
            "{length} bytes in one go cannot be cut in the tests"
        );
        let place = &mut self.bytes[at..at + length];
        let new: Vec<u8> = match what {
            ERASE => vec![ERASED; length],
            _ => {
                let words = (second..).step_by(4).take(length / 4);
                let data = words.flat_map(|address| ram(address).to_le_bytes());
                place.iter().zip(data).map(|(old, new)| old & new).collect()
            }
        };
        let torn = self
            .cut
            .filter(|(operation, _)| *operation == self.operations);
        self.operations += 1;
        let (done, mask) = match torn {
            None | Some((_, Torn::Behind)) => (length, ERASED),
            Some((_, Torn::Before)) => (0, 0),
            Some((_, Torn::Half)) => (length / 2, ERASED),
            Some((_, Torn::Bits)) => (length, 0x5a),
        };
        for (byte, new) in place.iter_mut().zip(new).take(done) {
            *byte = *byte & !mask | new & mask;
        }
        self.is_cut = torn.is_some();
        self.busy = Some(now + cycles);
        Ok(false)
    }
}
