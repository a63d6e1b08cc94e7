//! What this crate relies on in the emulator, each with a program of a few instructions.

mod thumb;

use runner::{Board, Image, Uart};
use thumb::{NVIC_ENABLE, Program, UARTS};

/// A word of RAM that programs leave their results in.
const RESULT: u32 = 0x2000_0100;
/// The last sector of the flash.
const RECORD: u32 = 0x101f_f000;

const SIO: u32 = 0xd000_0000;
const SIO_FIFO_WRITE: u32 = SIO + 0x54;

/// Divisor 8: at a clock of 125 MHz, 16 * 8 cycles a bit.
const BYTE_CYCLES: u64 = 16 * 8 * 10;

/// Turns UART0 on; returns where its data register is.
fn uart0(program: &mut Program) -> u32 {
    let (_, base, _, reset) = UARTS[0];
    program.turn_on(base, reset);
    base
}

/// A program that answers each byte with the next one, asleep in between.
fn answering(uart: usize, masked: bool) -> Board {
    let mut program = Program::default();
    let (_, base, interrupt, reset) = UARTS[uart];
    program.turn_on(base, reset);
    program.poke(NVIC_ENABLE, 1 << interrupt);
    if masked {
        program.mask_interrupts();
    }
    program.sleep_for_ever();
    program.handler(interrupt);
    program.load(0, base).read(1, 0).add(1, 1).write(1, 0);
    program.load(0, RESULT).write(1, 0);
    program.return_from_interrupt();
    Board::new(&program.image()).expect("it is a small image")
}

#[test]
fn time_passes_while_both_cores_sleep() {
    let mut program = Program::default();
    program.sleep_for_ever();
    let mut board = Board::new(&program.image()).unwrap();
    board.run_until(1_000_000).unwrap();
    assert!(board.now() >= 1_000_000);
    assert!(board.busy(0) < 100, "{} cycles awake", board.busy(0));
}

#[test]
fn a_received_byte_wakes_a_sleeping_core_and_is_answered() {
    for (number, (uart, ..)) in UARTS.into_iter().enumerate() {
        let mut board = answering(number, false);
        board.run_until(10_000).unwrap();
        board.send(uart, &[7]);
        board.run_until(10_000 + 8 * BYTE_CYCLES).unwrap();
        assert_eq!(board.take(uart), [8]);
        assert_eq!(board.peek(RESULT), 8);
        assert_eq!(board.lost(uart), 0);
    }
}

#[test]
fn a_masked_interrupt_wakes_nobody() {
    let mut board = answering(0, true);
    board.send(Uart::Zero, &[7]);
    board.run_until(100 * BYTE_CYCLES).unwrap();
    assert_eq!(board.peek(RESULT), 0);
}

#[test]
fn a_uart_sends_while_both_cores_sleep_at_its_own_rate() {
    let mut program = Program::default();
    let data = uart0(&mut program);
    for byte in [1, 2, 3] {
        program.poke(data, byte);
    }
    program.sleep_for_ever();
    let mut board = Board::new(&program.image()).unwrap();
    board.run_until(BYTE_CYCLES).unwrap();
    assert!(
        board.take(Uart::Zero).len() < 2,
        "one byte's time is not enough for two"
    );
    board.run_until(5 * BYTE_CYCLES).unwrap();
    let mut rest = board.take(Uart::Zero);
    rest.insert(0, 1);
    rest.dedup();
    assert_eq!(rest, [1, 2, 3]);
}

#[test]
fn what_comes_while_nobody_reads_is_lost_and_counted() {
    let mut program = Program::default();
    uart0(&mut program);
    program.sleep_for_ever();
    let mut board = Board::new(&program.image()).unwrap();
    board.run_until(10_000).unwrap();
    board.send(Uart::Zero, &[5; 20]);
    board.run_until(10_000 + 25 * BYTE_CYCLES).unwrap();
    assert_eq!(board.lost(Uart::Zero), 4, "the FIFO holds 16");
}

#[test]
fn the_second_core_starts_and_runs_beside_the_first() {
    let mut program = Program::default();
    let second = program.here();
    program
        .load(0, SIO)
        .read(2, 0)
        .add(2, 40)
        .load(0, RESULT)
        .write(2, 0);
    program.sleep_for_ever();

    let first = program.here();
    for word in [0, 0, 1, program.vectors(), 0x2003_0000, second + 1] {
        program.poke(SIO_FIFO_WRITE, word).send_event();
    }
    program
        .load(0, SIO)
        .read(2, 0)
        .add(2, 40)
        .load(0, RESULT + 4)
        .write(2, 0);
    program.sleep_for_ever();
    program.begin_at(first);

    let mut board = Board::new(&program.image()).unwrap();
    board.run_until(100_000).unwrap();
    assert_eq!(board.peek(RESULT), 41, "core 1 wrote its number");
    assert_eq!(board.peek(RESULT + 4), 40, "core 0 wrote its number");
}

#[test]
fn a_program_finds_the_record_of_who_it_is_in_its_last_sector() {
    let mut program = Program::default();
    program.load(0, RECORD).read(2, 0);
    program.load(0, RESULT).write(2, 0);
    program.sleep_for_ever();
    let found = |image: Image| {
        let mut board = Board::new(&image).unwrap();
        board.run_until(10_000).unwrap();
        board.peek(RESULT).to_le_bytes()
    };
    assert_eq!(found(program.image()), [0xff; 4], "erased flash");
    assert_eq!(
        found(program.image().provisioned(b"NNPR").unwrap()),
        *b"NNPR"
    );

    // The same sector as a UF2 file: its first block, with only that much in it.
    let mut block = b"UF2\nWQ]\x9e".to_vec();
    for word in [0x2000, RECORD, 4, 0, 1, 0xe48b_ff56] {
        block.extend(u32::to_le_bytes(word));
    }
    block.extend(b"NNPR");
    block.resize(512, 0);
    let file = std::env::temp_dir().join(format!("record-{}.uf2", std::process::id()));
    std::fs::write(&file, &block).unwrap();
    assert_eq!(
        found(program.image().provisioned_by(&file).unwrap()),
        *b"NNPR"
    );
    block[14] = 0;
    std::fs::write(&file, &block).unwrap();
    assert!(
        program.image().provisioned_by(&file).is_err(),
        "not its place"
    );
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_run_repeats_to_the_cycle() {
    let run = || {
        let mut board = answering(0, false);
        let mut seen = Vec::new();
        for turn in 0..200 {
            board.send(Uart::Zero, &[turn as u8]);
            board.run_until(turn * 1_000 + 500).unwrap();
            seen.push((board.now(), board.busy(0), board.take(Uart::Zero)));
        }
        seen
    };
    assert_eq!(run(), run());
}
