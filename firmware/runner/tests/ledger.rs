//! The ledger in the flash of an emulated board: the power goes at every write and erase.

mod floor;

use floor::{BOARD, Floor, REGISTRY, draft, port};
use nimblenet_board::ledger::{Flash, Keep as _, Ledger, PAGE_WORDS, SECTOR_BYTES, SECTORS};
use nimblenet_core::wire::{Cause, Frame, Message};
use nimblenet_sim::Draft;
use nimblenet_tasklet::{Fault, Name, NamespaceId};
use runner::{BoardId, Image, Torn, Uart};

/// The variable that names the image's file.
const IMAGE: &str = "PICO_UART";
/// Where the ledger is in flash (spec/board.md, section 6).
const LEDGER: usize = 0x1f_d000;
const LEDGER_BYTES: usize = SECTORS * SECTOR_BYTES;
/// A board has its catalogue after so many milliseconds at the latest.
const SOON: u64 = 2000;
/// The restarted board is heard, and a call there ends, after so many.
const AT_ONCE: u64 = 500;
/// How often a test looks, in milliseconds.
const STEP: u64 = 5;

/// The ledger's sectors of a flash.
struct Sectors(Vec<u8>);

impl Sectors {
    fn of(flash: &Image) -> Self {
        Self(flash.bytes()[LEDGER..][..LEDGER_BYTES].to_vec())
    }
}

impl Flash for Sectors {
    fn read(&self, sector: usize, at: usize) -> u32 {
        let word = self.0[sector * SECTOR_BYTES + at..].first_chunk();
        u32::from_le_bytes(*word.expect("it is within the sectors"))
    }

    fn erase(&mut self, sector: usize) {
        self.0[sector * SECTOR_BYTES..][..SECTOR_BYTES].fill(0xff);
    }

    fn program(&mut self, sector: usize, at: usize, page: &[u32; PAGE_WORDS]) {
        let new = page.iter().flat_map(|word| word.to_le_bytes());
        let place = &mut self.0[sector * SECTOR_BYTES + at..];
        for (byte, new) in place.iter_mut().zip(new) {
            *byte &= new;
        }
    }
}

fn shop() -> NamespaceId {
    NamespaceId::of(&Name::new("shop").expect("it is a name"))
}

/// What a ledger in this flash knows: the first packet number of the next run, and the floor.
fn known(flash: &Image) -> (u32, u32) {
    let mut ledger = Ledger::open(Sectors::of(flash)).expect("a cut is no damage");
    (ledger.begin(0), ledger.floor(shop()))
}

/// The greatest packet number and the greatest epoch that were heard from the board.
fn heard(floor: &Floor) -> (Option<u32>, u32) {
    let frames = floor
        .heard
        .iter()
        .filter_map(|frame| Frame::parse(frame).ok());
    let (mut number, mut epoch) = (None, 0);
    for frame in frames.filter(|frame| frame.origin == BOARD) {
        number = number.max(Some(frame.sequence));
        if let Message::Hello(hello) = frame.message {
            epoch = hello.epochs().map(|note| note.epoch).fold(epoch, u32::max);
        }
    }
    (number, epoch)
}

fn drafts() -> Vec<Draft> {
    let wat = r#"(module (func (export "run") (param i32) (result i32)
        (i32.mul (local.get 0) (i32.const 3))))"#;
    // Counts down; with a large number that takes long.
    let busy = r#"(module (func (export "run") (param i32) (result i32)
        (loop $next
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if $next (local.get 0)))
        (i32.const 7)))"#;
    let mut busy = draft("busy", busy, "func(s32) -> s32");
    busy.fuel = 100_000_000;
    vec![draft("triple", wat, "func(s32) -> s32"), busy]
}

/// Lets time pass until something is so; false if it is not so in time.
fn runs_until(floor: &mut Floor, limit: u64, mut is_so: impl FnMut(&mut Floor) -> bool) -> bool {
    for _ in 0..limit / STEP {
        if is_so(floor) {
            return true;
        }
        floor.run(STEP);
    }
    is_so(floor)
}

/// A registry at the line of a board with this flash.
fn floor_with(flash: &Image) -> (Floor, BoardId) {
    let mut floor = Floor::new(&drafts());
    let board = floor.power_on(flash);
    floor.registry(port(board, Uart::Zero));
    (floor, board)
}

fn new_board() -> Image {
    Floor::new(&drafts()).image_of(BOARD, &[])
}

/// The flash of a board that has started `starts` times.
fn used(starts: usize) -> Image {
    let mut sectors = Sectors::of(&new_board());
    for _ in 0..starts {
        let mut ledger = Ledger::open(sectors).expect("nothing is damaged");
        ledger.begin(1 << 20);
        sectors = ledger.into_flash();
    }
    let image = new_board().with(LEDGER, &sectors.0);
    image.expect("it fits")
}

/// What a board with this flash does until it has its catalogue: its operations of flash.
fn operations(flash: &Image) -> u64 {
    let (mut floor, board) = floor_with(flash);
    let kept = |floor: &mut Floor| known(&floor.look(board).flash()).1 == 1;
    assert!(runs_until(&mut floor, SOON, kept), "the floor is kept");
    floor.run(100);
    floor.look(board).flash_operations()
}

/// Cuts the power of a board that has started `starts` times at each operation of its flash, until it has
/// its catalogue, and gives it again. Returns the number of operations.
fn cut_everywhere(starts: usize) -> u64 {
    let flash = used(starts);
    let operations = operations(&flash);
    let before = known(&flash);
    for (operation, torn) in (0..operations).flat_map(|at| Torn::ALL.map(|torn| (at, torn))) {
        let case = format!("after {starts} starts, operation {operation}, {torn:?}");
        let (mut floor, board) = floor_with(&flash);
        floor.look(board).cut_power_at(operation, torn);
        let off = runs_until(&mut floor, SOON, |floor| floor.look(board).is_off());
        assert!(off, "{case}");
        let (number, epoch) = heard(&floor);
        let next = known(&floor.look(board).flash());
        assert!(starts == 0 || next.0 >= before.0, "{case}: the index fell");
        assert!(number.is_none_or(|it| it < next.0), "{case}: {number:x?}");
        assert!(epoch <= next.1, "{case}: the floor fell");
        // The next life is heard at once, by a registry that has heard the one before.
        floor.heard.clear();
        floor.look(board).power_on_again().expect("as before");
        let heard_at_once = runs_until(&mut floor, AT_ONCE, |floor| {
            let number = heard(floor).0;
            number.is_some_and(|it| it >= next.0)
        });
        assert!(heard_at_once, "{case}: {:x?}", heard(&floor).0);
        let answer = floor.ask(REGISTRY, BOARD, "shop/triple", &[5]);
        assert_eq!(answer.number(), 15, "{case}");
        assert!(answer.took.as_millis() < SOON.into(), "{case}: {answer:?}");
        assert_eq!(known(&floor.look(board).flash()).1, 1, "{case}");
        assert_eq!(floor.look(board).resets(), 0, "{case}");
    }
    operations
}

/// Two sectors are erased, the first record goes into one of them, and two records into both.
#[test]
fn att_60_nothing_falls_whichever_write_or_erase_of_a_new_board_is_cut() {
    assert_eq!(cut_everywhere(0), 2 + 1 + 2 * 2);
}

#[test]
fn att_60_nothing_falls_whichever_write_of_a_used_board_is_cut() {
    assert_eq!(cut_everywhere(5), 2 * 2);
}

#[test]
fn att_60_nothing_falls_whichever_write_or_erase_of_a_board_with_full_sectors_is_cut() {
    // The first record of a new ledger is in the first sector only.
    assert_eq!(cut_everywhere(63), 2 + 2 * 2);
}

#[test]
fn a_board_that_is_reset_goes_on_with_its_ledger() {
    let (mut floor, board) = floor_with(&new_board());
    floor.run(SOON);
    let before = known(&floor.look(board).flash());
    // A fault resets the chip.
    floor.look(board).jump(0, 0xf000_0000);
    floor.heard.clear();
    floor.run(SOON);
    assert_eq!(floor.look(board).resets(), 1);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/triple", &[1]).number(), 3);
    let number = heard(&floor).0.expect("it is heard");
    assert!(
        (before.0..before.0 + (1 << 16)).contains(&number),
        "{number:x}"
    );
}

/// The node comes near the end of the packet numbers that are set aside, while the other core interprets a
/// tasklet: that core is parked, in the middle of whatever it does, while flash is written.
#[test]
fn packet_numbers_are_set_aside_while_the_other_core_is_busy() {
    const RAM: core::ops::Range<u32> = 0x2000_0000..0x2004_2000;
    let (mut floor, board) = floor_with(&used(5));
    floor.run(SOON);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/busy", &[9]).number(), 7);
    let before = known(&floor.look(board).flash()).0;
    let newest = heard(&floor).0.expect("it is heard");
    let call = floor.call(REGISTRY, BOARD, "shop/busy", &[3_000_000]);
    floor.wait_for_work(board, 1_000_000);
    let operations = floor.look(board).flash_operations();
    // As if it had sent nearly as many packets as one index has: its next number is somewhere in RAM.
    let is_next = |word: u32| (newest..newest + 16).contains(&word);
    let chip = floor.look(board);
    for at in RAM
        .step_by(4)
        .filter(|at| is_next(chip.peek(*at)))
        .collect::<Vec<_>>()
    {
        let word = chip.peek(at);
        chip.poke(at, word + 0xfff0);
    }
    let ran = floor.look(board).instructions(1);
    let written = |floor: &mut Floor| floor.look(board).flash_operations() == operations + 2;
    assert!(runs_until(&mut floor, SOON, written), "more are set aside");
    floor.run(100);
    let after = known(&floor.look(board).flash()).0;
    assert_eq!(after - before, 2 << 16);
    assert!(
        floor.look(board).instructions(1) > ran + 100_000,
        "it is busy"
    );
    assert!(!floor.has_ended(call, REGISTRY));
    assert_eq!(floor.end(call, REGISTRY).number(), 7);
    assert_eq!(floor.look(board).resets(), 0);
}

#[test]
fn att_32_a_board_takes_no_older_catalogue_after_its_power_was_off() {
    let (mut floor, board) = floor_with(&new_board());
    for _ in 0..2 {
        floor.run(SOON);
        floor.publish(&drafts());
    }
    floor.run(3000);
    let flash = floor.look(board).flash();
    assert_eq!(known(&flash).1, 3);
    let (mut floor, board) = floor_with(&flash);
    floor.run(SOON);
    let old = floor.ask(REGISTRY, BOARD, "shop/triple", &[5]);
    assert_eq!(old.result, Err(Fault::NoCatalogue));
    for _ in 0..2 {
        floor.publish(&drafts());
        floor.run(1000);
    }
    floor.run(10_000);
    let new = floor.ask(REGISTRY, BOARD, "shop/triple", &[5]);
    assert_eq!(new.number(), 15);
    assert_eq!(floor.look(board).resets(), 0);
}

#[test]
fn a_board_with_a_damaged_ledger_says_so_and_runs_nothing_until_it_is_renewed() {
    let damaged = used(5).with(LEDGER, &[0; LEDGER_BYTES]).expect("it fits");
    let (mut floor, board) = floor_with(&damaged);
    floor.run(3000);
    let [report] = floor.reports() else {
        panic!("it is reported once: {:?}", floor.reports());
    };
    assert_eq!((report.node, report.cause), (BOARD, Cause::LedgerDamaged));
    let refused = floor.ask(REGISTRY, BOARD, "shop/triple", &[5]);
    assert_eq!(refused.result, Err(Fault::NoCatalogue));
    let flash = floor.look(board).flash();
    assert_eq!(flash, damaged, "nothing is written over it");
    // As `nimblenet provision --renew` does.
    let renewed = damaged
        .with(LEDGER, &[0xff; LEDGER_BYTES])
        .expect("it fits");
    let (mut floor, _) = floor_with(&renewed);
    floor.run(SOON);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/triple", &[5]).number(), 15);
    assert_eq!(floor.reports(), []);
}
