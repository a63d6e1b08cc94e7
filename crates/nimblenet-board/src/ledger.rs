//! The ledger of a board: numbers that must never fall, in two sectors of its flash (spec/board.md, section 6).
//!
//! The numbers are the boot index, which is in front of packet numbers, and the newest epoch that the
//! board has held of each namespace. They are written before they are used. A record has all of them, a
//! sequence number and a checksum, and stands in both sectors: what a cut or a flipped bit takes from one
//! sector, the other one still has. Each record is made from the one before, so of all that are whole the
//! newest has the maximum of every number.
//!
//! 1. A sector is *sound* if the last record in it is whole and no record anywhere is newer. Only a sound
//!    sector takes another record behind those that it has; any other is erased before it is written, for
//!    nobody knows how firmly its bits hold after a cut.
//! 2. The sector that is not sound is written first, so the other one is never touched before it is.
//!    So at any moment one sector at least ends in a record with all numbers that were reported as written.
//! 3. If no sector ends in the newest record, and the sectors are not as new, something has been lost: the
//!    ledger is [`Damaged`], and nobody takes its numbers for zero.

use nimblenet_tasklet::NamespaceId;

/// The sectors of a ledger.
pub const SECTORS: usize = 2;
/// Bytes that are erased together.
pub const SECTOR_BYTES: usize = 4096;
/// Bytes that are programmed together.
pub const PAGE_BYTES: usize = 256;
/// Bytes of a word, which is read and programmed with its lowest byte first.
pub const WORD_BYTES: usize = 4;
/// The words of a page.
pub const PAGE_WORDS: usize = PAGE_BYTES / WORD_BYTES;
/// The most namespaces whose epochs are kept. A board has fewer; those of its former records stay until
/// their room is needed.
const FLOORS: usize = 6;
const _: () = assert!(FLOORS <= 8, "a bit each");
/// So many boot indexes are set aside with one record; each has 65,536 packets.
const ASIDE: u32 = 2;
/// The bits of a packet number that count packets; the boot index is in front of them.
const COUNT_BITS: u32 = 16;

const RECORD_WORDS: usize = 16;
const RECORD_BYTES: usize = RECORD_WORDS * WORD_BYTES;
/// The words of a record: a number that rises by one with each, the first boot index that is not set aside
/// (0 if none ever was), pairs of a namespace and its newest epoch (0 where there is none), what kind of
/// record it is, and the checksum of the words before.
const SEQUENCE: usize = 0;
const BOOT: usize = 1;
const FIRST_FLOOR: usize = 2;
const FORMAT: usize = FIRST_FLOOR + 2 * FLOORS;
const CHECK: usize = RECORD_WORDS - 1;
const FORMAT_1: u32 = u32::from_le_bytes(*b"NNL1");
/// The checksum of the first record, of which all other words are 0.
const FIRST_CHECK: u32 = {
    let mut words = [0; RECORD_WORDS];
    words[FORMAT] = FORMAT_1;
    check(&words)
};
/// The value of each word of erased flash.
const ERASED: u32 = u32::MAX;

/// The two sectors of flash that a ledger is kept in, which a chip provides.
pub trait Flash {
    /// Reads the word of a sector that begins at the byte `at`.
    fn read(&self, sector: usize, at: usize) -> u32;
    /// Sets all bits of a sector.
    fn erase(&mut self, sector: usize);
    /// Clears, in the page of a sector that begins at the byte `at`, the bits that are clear in `page`.
    fn program(&mut self, sector: usize, at: usize, page: &[u32; PAGE_WORDS]);
}

/// No sector ends in the newest record: numbers were lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damaged;

/// The ledger of a board, whatever its flash.
pub type BoardLedger = dyn Keep + Send;

/// What a ledger does, whatever its flash.
pub trait Keep {
    /// The newest epoch that was held of a namespace of this board; 0 if none was.
    fn floor(&mut self, namespace: NamespaceId) -> u32;
    /// Keeps that a namespace of this board is held at `epoch`, if that is newer than what is kept. If all
    /// places are taken, a namespace leaves that the board has no more.
    fn raise(&mut self, namespace: NamespaceId, epoch: u32);
    /// The first packet number of a run: its boot index is above all before, and is set aside with one
    /// more. In a new ledger it begins with `random`.
    fn begin(&mut self, random: u32) -> u32;
    /// Sets more boot indexes aside if the next packet, with the number `next`, comes near their end.
    fn come_to(&mut self, next: u32);
}

/// The numbers of a board that never fall.
#[derive(Debug)]
pub struct Ledger<F> {
    flash: F,
    newest: Record,
    /// Where each sector takes the next record; none if it is erased first.
    next: [Option<usize>; SECTORS],
    /// Which places of the newest record are those of the board's present namespaces, a bit each.
    present: u8,
}

/// All numbers as of one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record([u32; RECORD_WORDS]);

impl Record {
    /// The first record of a new ledger.
    fn first() -> Self {
        let mut words = [0; RECORD_WORDS];
        words[FORMAT] = FORMAT_1;
        words[CHECK] = FIRST_CHECK;
        Self(words)
    }

    fn is_erased(&self) -> bool {
        self.0.iter().all(|word| *word == ERASED)
    }

    fn is_whole(&self) -> bool {
        self.0[FORMAT] == FORMAT_1 && self.0[CHECK] == check(&self.0)
    }

    /// Whether this may be what a cut has left of the first record: no bit is clear that is set there.
    fn begins(&self) -> bool {
        self.0[FORMAT] & FORMAT_1 == FORMAT_1 && self.0[CHECK] & FIRST_CHECK == FIRST_CHECK
    }

    fn epoch_at(&mut self, place: usize) -> &mut u32 {
        &mut self.0[FIRST_FLOOR + 2 * place + 1]
    }

    fn namespace_at(&mut self, place: usize) -> &mut u32 {
        &mut self.0[FIRST_FLOOR + 2 * place]
    }

    /// Where the epoch of a namespace is.
    fn place(&mut self, namespace: NamespaceId) -> Option<usize> {
        (0..FLOORS).find(|at| *self.namespace_at(*at) == namespace.0 && *self.epoch_at(*at) > 0)
    }
}

/// The CRC-32 (ISO-HDLC) of the words before the checksum, each with its lowest byte first.
const fn check(words: &[u32; RECORD_WORDS]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let (mut crc, mut bit) = (u32::MAX, 0);
    while bit < 32 * CHECK {
        if bit % 32 == 0 {
            crc ^= words[bit / 32];
        }
        crc = crc >> 1 ^ POLYNOMIAL & (crc & 1).wrapping_neg();
        bit += 1;
    }
    !crc
}

impl<F: Flash> Ledger<F> {
    /// Reads what is kept in `flash`. Sectors that are new, or in which the first record was cut off,
    /// have nothing.
    ///
    /// # Errors
    /// [`Damaged`] if numbers were lost.
    pub fn open(flash: F) -> Result<Self, Damaged> {
        let mut newest = None::<Record>;
        // Of each sector the number of the last record, if that is whole, and the place behind it.
        let mut ends = [(None, 0); SECTORS];
        // Whether nothing is there but, in the first place, what a cut may leave of the first record.
        let mut new = true;
        for (sector, end) in ends.iter_mut().enumerate() {
            for at in (0..SECTOR_BYTES).step_by(RECORD_BYTES) {
                let word = |word| flash.read(sector, at + word * WORD_BYTES);
                let record = Record(core::array::from_fn(word));
                if record.is_erased() {
                    continue;
                }
                new &= sector + at == 0 && record.begins();
                let sequence = record.is_whole().then_some(record.0[SEQUENCE]);
                *end = (sequence, at + RECORD_BYTES);
                if sequence > newest.map(|newest| newest.0[SEQUENCE]) {
                    newest = Some(record);
                }
            }
        }
        let mut ledger = Self {
            flash,
            newest: newest.unwrap_or_else(Record::first),
            next: [None; SECTORS],
            present: 0,
        };
        let mut sound = false;
        for (next, (last, end)) in ledger.next.iter_mut().zip(ends) {
            if last == Some(ledger.newest.0[SEQUENCE]) {
                sound = true;
                *next = (end < SECTOR_BYTES).then_some(end);
            }
        }
        if !sound {
            if !new {
                return Err(Damaged);
            }
            ledger.write_to(0);
        }
        Ok(ledger)
    }

    /// The flash, with all that was written.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Writes the record with these numbers to both sectors, first to the one that is not sound.
    fn write(&mut self, mut record: Record) {
        record.0[SEQUENCE] = record.0[SEQUENCE].wrapping_add(1);
        record.0[CHECK] = check(&record.0);
        self.newest = record;
        let first = usize::from(self.next[0].is_some() && self.next[1].is_none());
        self.write_to(first);
        self.write_to(1 - first);
    }

    fn write_to(&mut self, sector: usize) {
        let at = self.next[sector].unwrap_or_else(|| {
            self.flash.erase(sector);
            0
        });
        let within = at % PAGE_BYTES;
        let mut page = [ERASED; PAGE_WORDS];
        page[within / WORD_BYTES..][..RECORD_WORDS].copy_from_slice(&self.newest.0);
        self.flash.program(sector, at - within, &page);
        let end = at + RECORD_BYTES;
        self.next[sector] = (end < SECTOR_BYTES).then_some(end);
    }

    fn set_aside(&mut self, index: u32) {
        let mut risen = self.newest;
        risen.0[BOOT] = index.wrapping_add(ASIDE);
        self.write(risen);
    }
}

impl<F: Flash> Keep for Ledger<F> {
    fn floor(&mut self, namespace: NamespaceId) -> u32 {
        let Some(at) = self.newest.place(namespace) else {
            return 0;
        };
        self.present |= 1 << at;
        *self.newest.epoch_at(at)
    }

    fn raise(&mut self, namespace: NamespaceId, epoch: u32) {
        if epoch <= self.floor(namespace) {
            return;
        }
        let mut risen = self.newest;
        let at = match risen.place(namespace) {
            Some(at) => at,
            None => {
                // A free place, else that of a namespace that the board has no more.
                let free = |at: &usize| *risen.epoch_at(*at) == 0;
                let gone = |at: &usize| self.present >> *at & 1 == 0;
                let found = (0..FLOORS).find(free);
                let Some(at) = found.or_else(|| (0..FLOORS).find(gone)) else {
                    return;
                };
                at
            }
        };
        *risen.namespace_at(at) = namespace.0;
        *risen.epoch_at(at) = epoch;
        self.present |= 1 << at;
        self.write(risen);
    }

    fn begin(&mut self, random: u32) -> u32 {
        let index = match self.newest.0[BOOT] {
            // Not 0, which is no index that was set aside.
            0 => (random >> COUNT_BITS).max(1),
            boot => boot,
        };
        self.set_aside(index);
        index << COUNT_BITS
    }

    fn come_to(&mut self, next: u32) {
        let boot = self.newest.0[BOOT];
        let left = (boot << COUNT_BITS).wrapping_sub(next) >> COUNT_BITS;
        if left < ASIDE / 2 {
            self.set_aside(boot);
        }
    }
}

#[cfg(test)]
mod tests;
