//! Where the board's ledger is. What the board calls flash is memory that QEMU fills at the start: it outlives
//! a reset, and is zero when the board gets power. So that zeros are erased flash, all bits are inverted.
#![allow(unsafe_code)]

use nimblenet_board::ledger::{self, Ledger, PAGE_BYTES, PAGE_WORDS, SECTOR_BYTES, WORD_BYTES};
use static_cell::StaticCell;

/// The sectors are in front of that of the seed.
const LEDGER: usize = 0x003f_c000;
const ERASED: u32 = u32::MAX;

/// The board's ledger; none if its numbers were lost. Called once.
pub(crate) fn ledger() -> Option<&'static mut Ledger<LedgerFlash>> {
    static LEDGER: StaticCell<Ledger<LedgerFlash>> = StaticCell::new();
    let ledger = Ledger::open(LedgerFlash).ok()?;
    Some(LEDGER.init(ledger))
}

/// The two sectors.
#[derive(Debug)]
pub(crate) struct LedgerFlash;

impl LedgerFlash {
    fn write(sector: usize, at: usize, word: u32) {
        let to = LEDGER + sector * SECTOR_BYTES + at;
        // SAFETY: memory is mapped there, words are aligned, and nothing else is there: the linker's part
        // of it ends before.
        unsafe { (to as *mut u32).write_volatile(!word) };
    }
}

impl ledger::Flash for LedgerFlash {
    fn read(&self, sector: usize, at: usize) -> u32 {
        let from = LEDGER + sector * SECTOR_BYTES + at;
        // SAFETY: as in `write`.
        !unsafe { (from as *const u32).read_volatile() }
    }

    fn erase(&mut self, sector: usize) {
        for at in (0..SECTOR_BYTES).step_by(WORD_BYTES) {
            Self::write(sector, at, ERASED);
        }
    }

    fn program(&mut self, sector: usize, at: usize, page: &[u32; PAGE_WORDS]) {
        for (at, word) in (at..at + PAGE_BYTES).step_by(WORD_BYTES).zip(page) {
            Self::write(sector, at, self.read(sector, at) & word);
        }
    }
}
