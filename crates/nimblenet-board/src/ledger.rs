//! The ledger of a board: numbers that must never fall, in two sectors of its flash (spec/board.md, section 6).
//!
//! The numbers are the boot index, which is in front of packet numbers, and the newest epoch that the
//! board has held of each namespace. They are written before they are used. A record has all of them, a
//! sequence number and a checksum, and stands in both sectors: what a cut or a flipped bit takes from one
//! sector, the other one still has. Of all records that are whole the maximum counts, number by number.
//!
//! 1. A sector is *sound* if the last record in it is whole and no record anywhere is newer. Only a sound
//!    sector takes another record behind those that it has; any other is erased before it is written, for
//!    nobody knows how firmly its bits hold after a cut.
//! 2. The sector that is not sound is written first, so the other one is never touched before it is.
//!    So at any moment one sector at least ends in a record with all numbers that were reported as written.
//! 3. If no sector ends in the newest record, and the sectors are not as new, something has been lost: the
//!    ledger is [`Damaged`], and nobody takes its numbers for zero.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use nimblenet_tasklet::NamespaceId;

/// The sectors of a ledger.
pub const SECTORS: usize = 2;
/// Bytes that are erased together.
pub const SECTOR_BYTES: usize = 4096;
/// Bytes that are programmed together.
pub const PAGE_BYTES: usize = 256;
/// The most namespaces whose epochs are kept. A board has fewer; those of its former records stay until
/// their room is needed.
const FLOORS: usize = 6;
/// So many boot indexes are set aside with one record; each has 65,536 packets.
const ASIDE: u32 = 2;
/// The bits of a packet number that count packets; the boot index is in front of them.
const COUNT_BITS: u32 = 16;

const RECORD_BYTES: usize = 64;
const CHECK_BYTES: usize = 4;
const MAGIC: u32 = u32::from_be_bytes(*b"NNLG");
/// The value of each byte of erased flash.
const ERASED: u8 = 0xff;
/// The checksum, computed without a table, which would take a kilobyte of flash.
const CHECK: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// The two sectors of flash that a ledger is kept in, which a chip provides.
pub trait Flash {
    /// Reads the bytes of a sector from `at` on.
    fn read(&self, sector: usize, at: usize, out: &mut [u8; RECORD_BYTES]);
    /// Sets all bits of a sector.
    fn erase(&mut self, sector: usize);
    /// Clears, in the page of a sector that begins at `at`, the bits that are clear in `page`.
    fn program(&mut self, sector: usize, at: usize, page: &[u8; PAGE_BYTES]);
}

/// No sector ends in the newest record: numbers were lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damaged;

/// The numbers of a board that never fall.
#[derive(Debug)]
pub struct Ledger<F> {
    flash: F,
    newest: Record,
    /// Where each sector takes the next record; none if it is erased first.
    next: [Option<usize>; SECTORS],
}

/// All numbers as of one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    /// Rises by one with each record.
    sequence: u32,
    /// The first boot index that is not set aside; 0 if none ever was.
    boot: u32,
    /// The newest epochs of namespaces; 0 where there is none.
    floors: [(u32, u32); FLOORS],
}

impl Record {
    /// The first record of a new ledger.
    const FIRST: Self = Self {
        sequence: 0,
        boot: 0,
        floors: [(0, 0); FLOORS],
    };

    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let floors = self.floors.iter().flat_map(|floor| [floor.0, floor.1]);
        let head = [MAGIC, self.sequence, self.boot];
        let fields = head.into_iter().chain(floors);
        for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        let (fields, check) = bytes.split_at_mut(RECORD_BYTES - CHECK_BYTES);
        check.copy_from_slice(&CHECK.checksum(fields).to_be_bytes());
        bytes
    }

    /// None if the bytes are no whole record.
    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let mut words = bytes.chunks_exact(4).map(|word| {
            let word = word.try_into().unwrap_or_default();
            u32::from_be_bytes(word)
        });
        let mut word = || words.next().unwrap_or_default();
        let magic = word();
        let (sequence, boot) = (word(), word());
        let floors = core::array::from_fn(|_| (word(), word()));
        let check = CHECK.checksum(&bytes[..RECORD_BYTES - CHECK_BYTES]);
        let whole = magic == MAGIC && word() == check;
        whole.then_some(Self {
            sequence,
            boot,
            floors,
        })
    }

    /// Where the epoch of a namespace is.
    fn place(&self, namespace: NamespaceId) -> Option<usize> {
        let is_it = |floor: &(u32, u32)| floor.1 > 0 && floor.0 == namespace.0;
        self.floors.iter().position(is_it)
    }

    fn floor(&self, namespace: NamespaceId) -> u32 {
        self.place(namespace).map_or(0, |at| self.floors[at].1)
    }

    /// Raises the epoch of a namespace, in place of what stands at `else_at` if it has none yet.
    fn raise(&mut self, namespace: NamespaceId, epoch: u32, else_at: Option<usize>) {
        if epoch <= self.floor(namespace) {
            return;
        }
        let free = || self.floors.iter().position(|floor| floor.1 == 0);
        let at = self.place(namespace).or_else(free).or(else_at);
        if let Some(floor) = at.and_then(|at| self.floors.get_mut(at)) {
            *floor = (namespace.0, epoch);
        }
    }

    /// Takes what another record has more of. Epochs of namespaces that the newer of the two has no more
    /// room for are left.
    fn rise(&mut self, other: Self) {
        let (mut newer, older) = match other.sequence > self.sequence {
            true => (other, *self),
            false => (*self, other),
        };
        newer.boot = newer.boot.max(older.boot);
        for (namespace, epoch) in older.floors {
            newer.raise(NamespaceId(namespace), epoch, None);
        }
        *self = newer;
    }
}

impl<F: Flash> Ledger<F> {
    /// Reads what is kept in `flash`. Sectors that are new, or in which the first record was cut off,
    /// have nothing.
    ///
    /// # Errors
    /// [`Damaged`] if numbers were lost.
    pub fn open(flash: F) -> Result<Self, Damaged> {
        let first = Record::FIRST.encode();
        let mut newest = None::<Record>;
        // Of each sector the last record, where it is not whole none, and the place behind it.
        let mut ends = [(None, 0); SECTORS];
        // Whether nothing is there but, in the first place, what a cut may leave of the first record.
        let mut new = true;
        for (sector, end) in ends.iter_mut().enumerate() {
            for at in (0..SECTOR_BYTES).step_by(RECORD_BYTES) {
                let mut bytes = [0; RECORD_BYTES];
                flash.read(sector, at, &mut bytes);
                if bytes == [ERASED; RECORD_BYTES] {
                    continue;
                }
                let kept = |(byte, first): (&u8, &u8)| byte & first == *first;
                new &= sector == 0 && at == 0 && bytes.iter().zip(&first).all(kept);
                let record = Record::decode(&bytes);
                *end = (record.map(|it| it.sequence), at + RECORD_BYTES);
                if let Some(record) = record {
                    match &mut newest {
                        Some(newest) => newest.rise(record),
                        None => newest = Some(record),
                    }
                }
            }
        }
        let known = newest.map(|newest| newest.sequence);
        let sound = known.is_some() && ends.iter().any(|(last, _)| *last == known);
        if !sound && !new {
            return Err(Damaged);
        }
        let newest = newest.unwrap_or(Record::FIRST);
        let next = ends.map(|(last, end)| {
            let goes_on = last == Some(newest.sequence) && end < SECTOR_BYTES;
            goes_on.then_some(end)
        });
        let mut ledger = Self {
            flash,
            newest,
            next,
        };
        if !sound {
            ledger.write_to(0, &first);
        }
        Ok(ledger)
    }

    /// The newest epoch of a namespace that was held; 0 if none was.
    pub fn floor(&self, namespace: NamespaceId) -> u32 {
        self.newest.floor(namespace)
    }

    /// Keeps that a namespace was held at `epoch`, if that is newer than what is kept. `lasts` says of
    /// which namespaces the epochs must stay; at least one of those kept must not be among them when all
    /// places are taken.
    pub fn raise(
        &mut self,
        namespace: NamespaceId,
        epoch: u32,
        lasts: impl Fn(NamespaceId) -> bool,
    ) {
        let leaves = |floor: &(u32, u32)| !lasts(NamespaceId(floor.0));
        let mut risen = self.newest;
        let else_at = risen.floors.iter().position(leaves);
        risen.raise(namespace, epoch, else_at);
        if risen != self.newest {
            self.write(risen);
        }
    }

    /// The first packet number of a run: its boot index is above all before, and is set aside with one
    /// more. In a new ledger it begins with `random`.
    pub fn begin(&mut self, random: u32) -> u32 {
        let index = match self.newest.boot {
            // Not 0, which is no index that was set aside.
            0 => (random >> COUNT_BITS).max(1),
            boot => boot,
        };
        self.set_aside(index);
        index << COUNT_BITS
    }

    /// Sets more boot indexes aside if the next packet, with the number `next`, comes near their end.
    pub fn come_to(&mut self, next: u32) {
        let left = (self.newest.boot << COUNT_BITS).wrapping_sub(next) >> COUNT_BITS;
        if left < ASIDE / 2 {
            self.set_aside(self.newest.boot);
        }
    }

    fn set_aside(&mut self, index: u32) {
        let mut risen = self.newest;
        risen.boot = index.wrapping_add(ASIDE);
        self.write(risen);
    }

    /// Writes a record with these numbers to both sectors, first to the one that is not sound.
    fn write(&mut self, mut record: Record) {
        record.sequence = self.newest.sequence.wrapping_add(1);
        let bytes = record.encode();
        let order = match self.next {
            [Some(_), None] => [1, 0],
            _ => [0, 1],
        };
        for sector in order {
            self.write_to(sector, &bytes);
        }
        self.newest = record;
    }

    fn write_to(&mut self, sector: usize, record: &[u8; RECORD_BYTES]) {
        let at = self.next[sector].unwrap_or_else(|| {
            self.flash.erase(sector);
            0
        });
        let (page, within) = (at - at % PAGE_BYTES, at % PAGE_BYTES);
        let mut bytes = [ERASED; PAGE_BYTES];
        bytes[within..within + RECORD_BYTES].copy_from_slice(record);
        self.flash.program(sector, page, &bytes);
        let end = at + RECORD_BYTES;
        self.next[sector] = (end < SECTOR_BYTES).then_some(end);
    }
}

#[cfg(test)]
mod tests;
