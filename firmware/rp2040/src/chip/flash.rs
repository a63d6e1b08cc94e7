//! The sectors of flash that have the board's ledger. Nothing runs from flash while one is written: this
//! core runs a routine in RAM with its interrupts off, and the other one is [parked](crate::park).

use core::ptr;

use cortex_m::asm;
use nimblenet_board::ledger::{self, Ledger, PAGE_BYTES, PAGE_WORDS, SECTOR_BYTES};
use static_cell::StaticCell;

use crate::park;

/// The sectors are in front of that of the record. This is where flash is mapped for reading without the
/// cache.
const UNCACHED: usize = 0x1300_0000;
const LEDGER: usize = 0x001f_d000;
/// The second stage of booting, at the beginning of flash, which maps flash for the cores.
const SECOND_STAGE: usize = 0x1000_0000;
const SECOND_STAGE_WORDS: usize = 64;

/// The board's ledger; none if its numbers were lost. Called once.
pub(crate) fn ledger() -> Option<&'static mut Ledger<LedgerFlash>> {
    static LEDGER: StaticCell<Ledger<LedgerFlash>> = StaticCell::new();
    let ledger = Ledger::open(LedgerFlash).ok()?;
    Some(LEDGER.init(ledger))
}

/// The two sectors.
#[derive(Debug)]
pub(crate) struct LedgerFlash;

impl ledger::Flash for LedgerFlash {
    fn read(&self, sector: usize, at: usize) -> u32 {
        let from = UNCACHED + LEDGER + sector * SECTOR_BYTES + at;
        // SAFETY: flash is mapped there and can be read; it changes only in `write`. Words are aligned.
        unsafe { (from as *const u32).read_volatile() }
    }

    fn erase(&mut self, sector: usize) {
        write(LEDGER + sector * SECTOR_BYTES, ptr::null());
    }

    fn program(&mut self, sector: usize, at: usize, page: &[u32; PAGE_WORDS]) {
        write(LEDGER + sector * SECTOR_BYTES + at, page.as_ptr().cast());
    }
}

/// What the routine in RAM needs: it must not read flash.
#[repr(C)]
struct Routine {
    /// Functions of the boot ROM (datasheet 2.8.3.1.3).
    connect: unsafe extern "C" fn(),
    unmap: unsafe extern "C" fn(),
    erase: unsafe extern "C" fn(u32, usize, u32, u8),
    program: unsafe extern "C" fn(u32, *const u8, usize),
    flush: unsafe extern "C" fn(),
    /// The second stage, copied to RAM.
    map: [u32; SECOND_STAGE_WORDS],
}

/// Programs the page at an offset of the flash; or, without a page, erases the sector there.
fn write(offset: usize, page: *const u8) {
    // SAFETY: these are the functions with these letters, whose types the datasheet gives.
    let mut routine = unsafe {
        Routine {
            connect: core::mem::transmute::<usize, unsafe extern "C" fn()>(function(*b"IF")),
            unmap: core::mem::transmute::<usize, unsafe extern "C" fn()>(function(*b"EX")),
            erase: core::mem::transmute::<usize, unsafe extern "C" fn(u32, usize, u32, u8)>(
                function(*b"RE"),
            ),
            program: core::mem::transmute::<usize, unsafe extern "C" fn(u32, *const u8, usize)>(
                function(*b"RP"),
            ),
            flush: core::mem::transmute::<usize, unsafe extern "C" fn()>(function(*b"FC")),
            map: [0; SECOND_STAGE_WORDS],
        }
    };
    for (at, word) in routine.map.iter_mut().enumerate() {
        // SAFETY: flash is mapped, and begins with the second stage.
        *word = unsafe { (SECOND_STAGE as *const u32).add(at).read_volatile() };
    }
    park::while_parked(|| {
        cortex_m::interrupt::free(|_| {
            asm::dsb();
            // SAFETY: this core runs nothing but the routine, and the other one a loop in RAM. The offset
            // is that of a page or sector of the ledger. No DMA reads flash.
            unsafe { in_ram(&raw const routine, offset as u32, page) };
        });
    });
}

/// # Safety
/// Nothing may read flash meanwhile.
#[unsafe(link_section = ".data.in_ram")]
#[inline(never)]
unsafe extern "C" fn in_ram(routine: *const Routine, offset: u32, page: *const u8) {
    // SAFETY: the caller's promise; the pointers are those of `write`. A second stage is a function in
    // Thumb code, which has odd addresses, and returns since the link register is not 0.
    unsafe {
        ((*routine).connect)();
        ((*routine).unmap)();
        if page.is_null() {
            // The block is longer than what is erased, so the command for blocks is not used.
            ((*routine).erase)(offset, SECTOR_BYTES, 1 << 31, 0);
        } else {
            ((*routine).program)(offset, page, PAGE_BYTES);
        }
        ((*routine).flush)();
        let map = (&raw const (*routine).map).cast::<u8>().add(1);
        let map: unsafe extern "C" fn() = core::mem::transmute(map);
        map();
    }
}

/// The address of a function of the boot ROM, by its letters; each of those that are asked for exists.
fn function(letters: [u8; 2]) -> usize {
    /// Where the ROM has the address of its table of functions, in half a word.
    const TABLE: usize = 0x14;
    let wanted = u16::from_le_bytes(letters);
    // SAFETY: the ROM can be read, and its table has pairs of half words until one that is 0.
    unsafe {
        let mut entry = usize::from((TABLE as *const u16).read_volatile()) as *const u16;
        while entry.read_volatile() != wanted {
            entry = entry.add(2);
        }
        entry.add(1).read_volatile().into()
    }
}
