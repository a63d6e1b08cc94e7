//! Ledgers on a flash whose power goes at every operation, and whose bits flip.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::*;

/// The value of each byte of erased flash.
const ERASED: u8 = 0xff;

/// What an operation during which the power goes has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    /// Nothing.
    Before,
    /// The first half of it.
    FirstHalf,
    /// The second half of it.
    SecondHalf,
    /// Some of the bits, from a seed.
    Bits(u64),
    /// All of it.
    Behind,
}

const CUTS: [Cut; 6] = [
    Cut::Before,
    Cut::FirstHalf,
    Cut::SecondHalf,
    Cut::Bits(1),
    Cut::Bits(0x9e37_79b9),
    Cut::Behind,
];

/// Two sectors of flash.
#[derive(Clone, Debug)]
struct Chip {
    bytes: [[u8; SECTOR_BYTES]; SECTORS],
    /// After so many operations the power goes; none if it stays.
    left: Option<(usize, Cut)>,
    powered: bool,
    erases: [usize; SECTORS],
}

impl Chip {
    fn new() -> Self {
        Self {
            bytes: [[ERASED; SECTOR_BYTES]; SECTORS],
            left: None,
            powered: true,
            erases: [0; SECTORS],
        }
    }

    /// Turns what a sector has from the byte `at` on into `new`, as far as the power lasts.
    fn turn(&mut self, sector: usize, at: usize, new: &[u8]) {
        if !self.powered {
            return;
        }
        let cut = match &mut self.left {
            Some((0, cut)) => {
                self.powered = false;
                *cut
            }
            Some((left, _)) => {
                *left -= 1;
                Cut::Behind
            }
            None => Cut::Behind,
        };
        let place = &mut self.bytes[sector][at..at + new.len()];
        let half = new.len() / 2;
        match cut {
            Cut::Before => {}
            Cut::FirstHalf => place[..half].copy_from_slice(&new[..half]),
            Cut::SecondHalf => place[half..].copy_from_slice(&new[half..]),
            Cut::Bits(seed) => {
                let mut random = Draw(seed);
                for (byte, new) in place.iter_mut().zip(new) {
                    let turned = random.next() as u8;
                    *byte = *byte & !turned | new & turned;
                }
            }
            Cut::Behind => place.copy_from_slice(new),
        }
    }
}

/// The flash of a board, as the test sees it too.
#[derive(Clone, Debug)]
struct Shared(Rc<RefCell<Chip>>);

impl Flash for Shared {
    fn read(&self, sector: usize, at: usize) -> u32 {
        let bytes = &self.0.borrow().bytes[sector][at..];
        u32::from_le_bytes(*bytes.first_chunk().unwrap())
    }

    fn erase(&mut self, sector: usize) {
        let chip = &mut *self.0.borrow_mut();
        chip.erases[sector] += usize::from(chip.powered);
        chip.turn(sector, 0, &[ERASED; SECTOR_BYTES]);
    }

    fn program(&mut self, sector: usize, at: usize, page: &[u32; PAGE_WORDS]) {
        let chip = &mut *self.0.borrow_mut();
        let mut new: Vec<u8> = page.iter().flat_map(|word| word.to_le_bytes()).collect();
        for (new, held) in new.iter_mut().zip(&chip.bytes[sector][at..]) {
            let erased = !chip.powered || *held == ERASED;
            assert!(*new == ERASED || erased, "programmed twice");
            *new &= held;
        }
        chip.turn(sector, at, &new);
    }
}

/// Numbers that look random.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 29
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}

/// What the board was told that its ledger has.
#[derive(Clone, Debug, Default)]
struct Told {
    /// The first packet number of the newest run, if there was any.
    first: Option<u32>,
    floors: Vec<(NamespaceId, u32)>,
}

impl Told {
    /// A run of a board on `chip`: it starts and raises floors, `raises` times. Whatever the ledger says
    /// must be as new as what it said before. False if the power has gone.
    fn run(&mut self, chip: &Rc<RefCell<Chip>>, draw: &mut Draw, raises: usize) -> bool {
        let powered = || chip.borrow().powered;
        let mut ledger = Ledger::open(Shared(chip.clone())).expect("a cut is no damage");
        for (namespace, floor) in &self.floors {
            assert!(ledger.floor(*namespace) >= *floor, "a floor fell");
        }
        let first = ledger.begin(draw.next() as u32 >> 2);
        if let Some(before) = self.first {
            let ahead = first.wrapping_sub(before) >> COUNT_BITS;
            assert!((1..1 << 15).contains(&ahead), "{before:#x} {first:#x}");
        }
        if !powered() {
            return false;
        }
        self.first = Some(first);
        for _ in 0..raises {
            let namespace = NamespaceId(draw.below(4) as u32);
            let epoch = draw.below(1000) as u32;
            ledger.raise(namespace, epoch);
            if !powered() {
                return false;
            }
            assert!(ledger.floor(namespace) >= epoch);
            self.floors.push((namespace, epoch));
        }
        true
    }
}

fn chip() -> Rc<RefCell<Chip>> {
    Rc::new(RefCell::new(Chip::new()))
}

/// A chip with a ledger of `raises` raised floors, and what was told of it.
fn written(raises: usize) -> (Rc<RefCell<Chip>>, Told) {
    let (chip, mut told) = (chip(), Told::default());
    assert!(told.run(&chip, &mut Draw(7), raises));
    (chip, told)
}

fn copy(chip: &Rc<RefCell<Chip>>) -> Rc<RefCell<Chip>> {
    Rc::new(RefCell::new(chip.borrow().clone()))
}

fn cut_after(chip: &Rc<RefCell<Chip>>, operations: usize, cut: Cut) {
    let chip = &mut *chip.borrow_mut();
    (chip.left, chip.powered) = (Some((operations, cut)), true);
}

fn mend(chip: &Rc<RefCell<Chip>>) {
    let chip = &mut *chip.borrow_mut();
    (chip.left, chip.powered) = (None, true);
}

/// Runs a board on every number of records and cuts its power at every operation, in each way; then
/// at every operation of the start after that, and then starts it for good.
#[test]
fn att_60_nothing_falls_whichever_write_or_erase_the_power_is_cut_at() {
    let (mut cuts, mut erases) = (0, 0);
    for raises in 0..2 * SECTOR_BYTES / RECORD_BYTES {
        let (before, told) = written(raises);
        for operations in 0.. {
            let mut went = false;
            for cut in CUTS {
                let (chip, mut told) = (copy(&before), told.clone());
                cut_after(&chip, operations, cut);
                let mut draw = Draw(raises as u64);
                if told.run(&chip, &mut draw, 3) {
                    continue;
                }
                (went, cuts) = (true, cuts + 1);
                for again in [0, 1, 2, 3] {
                    let (chip, mut told) = (copy(&chip), told.clone());
                    cut_after(&chip, again, CUTS[1 + (cuts + again) % 5]);
                    told.run(&chip, &mut draw, 1);
                    mend(&chip);
                    assert!(told.run(&chip, &mut draw, 2));
                    assert!(told.run(&chip, &mut draw, 0));
                    erases += chip.borrow().erases[1];
                }
            }
            if !went {
                break;
            }
        }
    }
    assert!(cuts > 2_000 && erases > 0, "{cuts} cuts, {erases} erases");
}

#[test]
fn nothing_falls_over_hundreds_of_cuts_in_a_row() {
    for seed in 0..20 {
        let (chip, mut told, mut draw) = (chip(), Told::default(), Draw(seed));
        for _ in 0..400 {
            let cut = match draw.below(4) {
                0 => CUTS[draw.below(CUTS.len())],
                _ => Cut::Bits(draw.next()),
            };
            let raises = draw.below(12);
            cut_after(&chip, draw.below(20), cut);
            told.run(&chip, &mut draw, raises);
            mend(&chip);
        }
        assert!(told.run(&chip, &mut draw, 1));
    }
}

#[test]
fn att_61_one_flipped_bit_anywhere_or_one_lost_sector_takes_nothing() {
    for raises in [1, 4, 70] {
        let (before, told) = written(raises);
        let used = match raises {
            70 => SECTOR_BYTES,
            _ => (raises + 4) * RECORD_BYTES,
        };
        for sector in 0..SECTORS {
            for bit in (0..used * 8).step_by(if raises == 70 { 101 } else { 1 }) {
                let chip = copy(&before);
                chip.borrow_mut().bytes[sector][bit / 8] ^= 1 << (bit % 8);
                assert!(told.clone().run(&chip, &mut Draw(0), 2), "{bit}");
            }
            for value in [0, 0x55, ERASED] {
                let chip = copy(&before);
                chip.borrow_mut().bytes[sector].fill(value);
                assert!(told.clone().run(&chip, &mut Draw(0), 2), "{value}");
            }
        }
    }
}

#[test]
fn what_both_sectors_have_lost_is_damage_and_never_zero() {
    let damaged = |chip: &Rc<RefCell<Chip>>| {
        let before = chip.borrow().bytes;
        let opened = Ledger::open(Shared(chip.clone()));
        assert_eq!(opened.err(), Some(Damaged));
        assert_eq!(chip.borrow().bytes, before, "nothing is written over it");
    };
    for raises in [0, 1, 5, 70] {
        let (before, _) = written(raises);
        for values in [[0, 0], [0, ERASED], [ERASED, 0], [0x55, 0xaa]] {
            let chip = copy(&before);
            for (sector, value) in chip.borrow_mut().bytes.iter_mut().zip(values) {
                sector.fill(value);
            }
            damaged(&chip);
        }
        // The newest record in both, at any two bits.
        for bit in 0..RECORD_BYTES * 8 {
            let chip = copy(&before);
            let other = bit * 31 % (RECORD_BYTES * 8);
            for (sector, bit) in chip.borrow_mut().bytes.iter_mut().zip([bit, other]) {
                let records = sector.chunks_exact_mut(RECORD_BYTES);
                let last = records.filter(|it| it.iter().any(|byte| *byte != ERASED));
                last.last().unwrap()[bit / 8] ^= 1 << (bit % 8);
            }
            damaged(&chip);
        }
    }
}

#[test]
fn a_new_ledger_begins_with_a_drawn_index_and_rises_by_more_than_a_run() {
    let chip = chip();
    let open = || Ledger::open(Shared(chip.clone())).unwrap();
    assert_eq!(open().begin(0x1234_5678), 0x1234 << COUNT_BITS);
    let mut first = open().begin(1);
    assert_eq!(first, 0x1236 << COUNT_BITS);
    for packets in [0, 1, 65_536, 10_000_000] {
        let mut ledger = open();
        let mut next = ledger.begin(0);
        assert!(next.wrapping_sub(first) >> COUNT_BITS >= 1);
        first = next;
        while next.wrapping_sub(first) < packets {
            next = next.wrapping_add(1000);
            ledger.come_to(next);
        }
        first = next;
    }
}

#[test]
fn epochs_of_namespaces_that_the_board_has_no_more_leave_last() {
    let chip = chip();
    let open = || Ledger::open(Shared(chip.clone())).unwrap();
    let mut ledger = open();
    for namespace in 0..FLOORS as u32 {
        ledger.raise(NamespaceId(namespace), 9);
    }
    // The board has other namespaces now.
    let mut ledger = open();
    for namespace in [0, 1, 3] {
        assert_eq!(ledger.floor(NamespaceId(namespace)), 9);
    }
    assert_eq!(ledger.floor(NamespaceId(100)), 0);
    ledger.raise(NamespaceId(100), 5);
    ledger.raise(NamespaceId(100), 6);
    ledger.raise(NamespaceId(1), 3);
    let mut ledger = open();
    let floors = [0, 1, 2, 3, 4, 5, 100].map(|it| ledger.floor(NamespaceId(it)));
    assert_eq!(floors, [9, 9, 0, 9, 9, 9, 6]);
}

/// A board with 24 starts a day, 24 new epochs of each of four namespaces, and 50 packets a second.
#[test]
fn a_year_of_a_busy_board_erases_each_sector_less_than_a_thousand_times() {
    let chip = chip();
    let mut epoch = 0;
    let days = 30;
    for _ in 0..24 * days {
        let mut ledger = Ledger::open(Shared(chip.clone())).unwrap();
        let mut next = ledger.begin(9);
        epoch += 1;
        for namespace in 0..4 {
            ledger.raise(NamespaceId(namespace), epoch);
            ledger.raise(NamespaceId(namespace), epoch);
        }
        for _ in 0..3600 {
            next = next.wrapping_add(50);
            ledger.come_to(next);
        }
    }
    let erases = chip.borrow().erases;
    let years = erases.map(|erases| erases * 365 / days);
    assert!(
        years.iter().all(|erases| (500..1000).contains(erases)),
        "{years:?}"
    );
}

#[test]
fn the_checksum_is_a_known_one() {
    let mut words = [0; RECORD_WORDS];
    for (at, word) in words.iter_mut().enumerate() {
        *word = 0x9e37_79b9_u32.wrapping_mul(at as u32 + 1);
    }
    let bytes: Vec<u8> = words[..CHECK]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let known = crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISO_HDLC);
    assert_eq!(check(&words), known.checksum(&bytes));
}
