//! Tests what this crate needs of the emulator, each with a program of a few instructions.

mod thumb;

use nimblenet_board::provision::Provision;
use nimblenet_tasklet::NodeId;
use runner::{Board, Image, Uart};
use thumb::{NVIC_ENABLE, Program, RESETS_CLEAR, UARTS};

/// The word of RAM in which programs leave their results.
const RESULT: u32 = 0x2000_0100;
/// The last sector of the flash.
const RECORD: u32 = 0x101f_f000;

const NVIC_PEND: u32 = 0xe000_e200;
const NVIC_PRIORITIES: u32 = 0xe000_e400;
/// Interrupts that only software raises.
const SOFTWARE: core::ops::RangeInclusive<usize> = 26..=31;
const SIO: u32 = 0xd000_0000;
const SIO_FIFO_WRITE: u32 = SIO + 0x54;
const AIRCR: u32 = 0xe000_ed0c;
const AIRCR_RESET: u32 = 0x05fa_0004;
const PSM_WATCHDOG_RESETS: u32 = 0x4001_0008;
const PSM_ALL: u32 = 0x0001_fffc;
const WATCHDOG: u32 = 0x4005_8000;
const WATCHDOG_LOAD: u32 = WATCHDOG + 0x04;
const WATCHDOG_REASON: u32 = WATCHDOG + 0x08;
const WATCHDOG_SCRATCH: u32 = WATCHDOG + 0x0c;
const WATCHDOG_TICK: u32 = WATCHDOG + 0x2c;
const WATCHDOG_ENABLE: u32 = 1 << 30;
const WATCHDOG_TRIGGER: u32 = 1 << 31;
const ADC: u32 = 0x4004_c000;
const ADC_INTERRUPT: usize = 22;

/// The time of a byte with divisor 8: at a clock of 125 MHz, a bit takes 16 * 8 cycles.
const BYTE_CYCLES: u64 = 16 * 8 * 10;

/// Turns UART0 on; returns where its data register is.
fn uart0(program: &mut Program) -> u32 {
    let (_, base, _, reset) = UARTS[0];
    program.turn_on(base, reset);
    base
}

/// Copies a word, by way of registers 0 and 1.
fn copy(program: &mut Program, from: u32, to: u32) {
    program.load(0, from).read(1, 0).load(0, to).write(1, 0);
}

/// Counts a word up, by way of registers 0 and 1.
fn count(program: &mut Program, at: u32) {
    program.load(0, at).read(1, 0).add(1, 1).write(1, 0);
}

fn spin_for_ever(program: &mut Program) {
    let spin = program.here();
    program.jump(spin);
}

/// Starts core 1 at an address.
fn start_second(program: &mut Program, at: u32) {
    for word in [0, 0, 1, program.vectors(), 0x2003_0000, at + 1] {
        program.poke(SIO_FIFO_WRITE, word).send_event();
    }
}

fn board(program: &Program) -> Board {
    Board::new(&program.image()).expect("it is a small image")
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
    start_second(&mut program, second);
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
    let record = Provision::new(NodeId(7), Vec::new()).unwrap().encode();
    let block = |address: u32, record: &[u8]| {
        let mut block = b"UF2\nWQ]\x9e".to_vec();
        for word in [0x2000, address, record.len() as u32, 0, 1, 0xe48b_ff56] {
            block.extend(word.to_le_bytes());
        }
        block.extend(record);
        block.resize(512, 0);
        block
    };
    let file = std::env::temp_dir().join(format!("record-{}.uf2", std::process::id()));
    std::fs::write(&file, block(RECORD, &record)).unwrap();
    assert_eq!(
        found(program.image().provisioned_by(&file).unwrap()),
        *b"NNPR"
    );
    // A file that renews the ledger too: a page of it, at the sector before, and the record.
    let renews = [block(RECORD - 0x1000, &[0xff; 256]), block(RECORD, &record)].concat();
    std::fs::write(&file, renews).unwrap();
    let damaged = program.image().with(0x1f_d000, &[0; 0x2000]).unwrap();
    let renewed = damaged.provisioned_by(&file).unwrap();
    assert_eq!(renewed.bytes()[0x1f_d000..][..0x2000], [0xff; 0x2000]);
    assert_eq!(found(renewed), *b"NNPR");
    for (address, record) in [
        (RECORD - 0x1000, &record[..]),
        (RECORD - 0x3000, &record),
        (RECORD, b"NNPR"),
    ] {
        std::fs::write(&file, block(address, record)).unwrap();
        assert!(
            program.image().provisioned_by(&file).is_err(),
            "{address:#x}"
        );
    }
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

/// Turns the watchdog on: after `ticks` it resets the whole chip.
///
/// After a reset both clocks are still the ring oscillator, so a tick is twelve cycles.
fn watch(program: &mut Program, ticks: u32) {
    program.poke(PSM_WATCHDOG_RESETS, PSM_ALL);
    program.poke(WATCHDOG_TICK, 1 << 9 | 12);
    // The counter is decremented twice per tick (RP2040-E1).
    program.poke(WATCHDOG_LOAD, 2 * ticks);
    program.poke(WATCHDOG, WATCHDOG_ENABLE);
}

/// Counts boots and notes why the last one came and what was left in a scratch register.
fn note_boot(program: &mut Program) {
    count(program, RESULT);
    copy(program, WATCHDOG_REASON, RESULT + 4);
    copy(program, WATCHDOG_SCRATCH, RESULT + 8);
}

#[test]
fn a_watchdog_that_nobody_feeds_resets_the_chip() {
    let mut program = Program::default();
    note_boot(&mut program);
    count(&mut program, WATCHDOG_SCRATCH);
    watch(&mut program, 1_000);
    spin_for_ever(&mut program);
    let mut board = board(&program);
    board.run_until(12_000).unwrap();
    assert_eq!((board.resets(), board.peek(RESULT + 4)), (0, 0));
    board.run_until(3 * 12_500).unwrap();
    assert_eq!(board.resets(), 3);
    assert_eq!(board.peek(RESULT), 4, "RAM keeps its content");
    assert_eq!(board.peek(RESULT + 4), 1, "by the timer");
    assert_eq!(board.peek(RESULT + 8), 3, "so do the scratch registers");
}

#[test]
fn a_watchdog_fires_while_both_cores_sleep_but_not_while_it_is_fed() {
    for fed in [false, true] {
        let mut program = Program::default();
        watch(&mut program, 1_000);
        let again = program.here();
        if fed {
            program.poke(WATCHDOG_LOAD, 2_000).jump(again);
        }
        program.sleep_for_ever();
        let mut board = board(&program);
        board.run_until(100_000).unwrap();
        assert_eq!(board.resets() > 0, !fed);
    }
}

#[test]
fn a_watchdog_resets_only_what_is_selected() {
    let mut program = Program::default();
    watch(&mut program, 10);
    program.poke(PSM_WATCHDOG_RESETS, 0);
    spin_for_ever(&mut program);
    let mut board = board(&program);
    board.run_until(100_000).unwrap();
    assert_eq!(board.resets(), 0);
}

#[test]
fn either_core_can_reset_the_chip() {
    let triggers = [(AIRCR, AIRCR_RESET, 0), (WATCHDOG, WATCHDOG_TRIGGER, 2)];
    for (register, value, reason) in triggers {
        for by_second in [false, true] {
            let mut program = Program::default();
            let reset = program.here();
            program.poke(PSM_WATCHDOG_RESETS, PSM_ALL);
            program.poke(WATCHDOG_SCRATCH, 7);
            program.poke(register, value);
            spin_for_ever(&mut program);
            let once = program.here();
            if by_second {
                start_second(&mut program, reset);
                program.sleep_for_ever();
            } else {
                program.jump(reset);
            }
            let again = program.here();
            program.jump(once);
            let first = program.here();
            note_boot(&mut program);
            program.load(2, RESULT).read(2, 2);
            program.jump_if_clear(2, 2, again);
            program.sleep_for_ever();
            program.begin_at(first);

            let mut board = board(&program);
            board.run_until(10_000).unwrap();
            assert_eq!(board.resets(), 1);
            assert_eq!(board.peek(RESULT), 2);
            assert_eq!(board.peek(RESULT + 4), reason);
            assert_eq!(board.peek(RESULT + 8), 7);
        }
    }
}

#[test]
fn instructions_are_counted_per_core_and_over_resets() {
    let mut program = Program::default();
    program.load(0, 1);
    program.sleep_for_ever();
    let mut once = board(&program);
    once.run_until(10_000).unwrap();
    assert_eq!(once.instructions(0), 8);
    assert_eq!(once.instructions(1), 0);

    let mut program = Program::default();
    program.poke(AIRCR, AIRCR_RESET);
    let mut often = board(&program);
    often.run_until(10_000).unwrap();
    assert_eq!(often.instructions(0), 15 * often.resets());
    assert!(often.resets() > 100 && often.busy(0) > 5_000);
}

/// A board that makes a fault at an address, and whose handler notes the fault's address and resets
/// the chip. Returns the address of the faulty instruction too.
fn faulting(address: u32, fault: fn(&mut Program)) -> (Board, u32) {
    let mut program = Program::default();
    let at = program.here();
    fault(&mut program);
    spin_for_ever(&mut program);
    let first = program.here();
    program.load(2, RESULT).read(2, 2).load(0, address);
    program.jump_if_clear(2, u32::MAX, at);
    program.sleep_for_ever();
    program.begin_at(first);
    program.fault_handler();
    program.read_stack(1, 6).load(0, RESULT).write(1, 0);
    program.poke(AIRCR, AIRCR_RESET);
    spin_for_ever(&mut program);
    (board(&program), at)
}

#[test]
fn unaligned_and_unmapped_accesses_fault_and_are_handled() {
    let read: fn(&mut Program) = |program| _ = program.read(1, 0);
    let write: fn(&mut Program) = |program| _ = program.write(1, 0);
    let half: fn(&mut Program) = |program| _ = program.read_half(1, 0);
    let many: fn(&mut Program) = |program| _ = program.read_many(0, &[1, 2]);
    let mut cases = vec![
        (0x2000_0101, read),
        (0x2000_0102, write),
        (0x2000_0101, half),
        (0x2000_0102, many),
    ];
    let unmapped = [
        0x1500_4000,
        0x1fff_fffc,
        0x2004_2000,
        0x3000_0000,
        0x400f_0000,
        0x6000_0000,
        0xf000_0000,
    ];
    cases.extend(unmapped.map(|address| (address, read)));
    cases.extend(unmapped.map(|address| (address, write)));
    for (address, fault) in cases {
        let (mut board, at) = faulting(address, fault);
        board.run_until(10_000).unwrap();
        assert_eq!(board.resets(), 1, "{address:#x}");
        assert_eq!(board.peek(RESULT), at, "{address:#x}");
    }
}

#[test]
fn a_fault_without_a_handler_is_an_error_unless_a_watchdog_is_on() {
    for watched in [false, true] {
        let mut program = Program::default();
        if watched {
            watch(&mut program, 10);
        }
        program.load(0, 1).read(0, 0);
        let mut board = board(&program);
        let end = board.run_until(100_000);
        assert_eq!(end.is_ok(), watched, "{end:?}");
        assert_eq!(board.resets() > 0, watched);
    }
}

#[test]
fn a_fault_handler_that_never_ends_is_an_error() {
    let mut program = Program::default();
    program.load(0, 1).read(0, 0);
    program.fault_handler();
    spin_for_ever(&mut program);
    let mut board = board(&program);
    board.run_until(1_000_000).unwrap();
    assert!(board.run_until(2_000_000).is_err());
}

#[test]
fn software_interrupts_preempt_spinning_code_on_both_cores() {
    for interrupt in SOFTWARE {
        for second in [false, true] {
            let mut program = Program::default();
            let work = program.here();
            program.poke(NVIC_ENABLE, 1 << interrupt);
            let again = program.here();
            program.poke(NVIC_PEND, 1 << interrupt);
            count(&mut program, RESULT);
            program.jump(again);

            let first = program.here();
            if second {
                start_second(&mut program, work);
                program.sleep_for_ever();
            } else {
                program.jump(work);
            }
            program.begin_at(first);
            program.handler(interrupt);
            count(&mut program, RESULT + 4);
            program.return_from_interrupt();

            let mut board = board(&program);
            board.run_until(20_000).unwrap();
            let (spun, handled) = (board.peek(RESULT), board.peek(RESULT + 4));
            assert!(spun > 50, "{spun} rounds");
            assert!(handled.abs_diff(spun) <= 1, "{handled} of {spun}");
        }
    }
}

#[test]
fn a_more_urgent_interrupt_preempts_a_handler_and_an_equal_one_waits() {
    for (priorities, order) in [(0x4080_0000, [1, 2]), (0x8080_0000, [2, 1])] {
        let mut program = Program::default();
        program.poke(NVIC_PRIORITIES + 24, priorities);
        program.poke(NVIC_ENABLE, 3 << 26);
        program.poke(NVIC_PEND, 1 << 26);
        program.sleep_for_ever();
        // Each handler notes in which order it has come this far.
        let note = |program: &mut Program, to: u32| {
            count(program, RESULT);
            program.load(0, to).write(1, 0);
            program.return_from_interrupt();
        };
        program.handler(26);
        program.poke(NVIC_PEND, 1 << 27);
        note(&mut program, RESULT + 8);
        program.handler(27);
        note(&mut program, RESULT + 4);
        let mut board = board(&program);
        board.run_until(10_000).unwrap();
        assert_eq!([board.peek(RESULT + 4), board.peek(RESULT + 8)], order);
    }
}

#[test]
fn what_an_interrupt_has_done_is_not_slept_over() {
    let mut program = Program::default();
    program.poke(NVIC_ENABLE, 1 << 26);
    program.poke(NVIC_PEND, 1 << 26);
    program.wait_for_event();
    program.poke(RESULT, 1);
    program.sleep_for_ever();
    program.handler(26).return_from_interrupt();
    let mut board = board(&program);
    board.run_until(10_000).unwrap();
    assert_eq!(board.peek(RESULT), 1);
}

#[test]
fn a_masked_interrupt_ends_a_wait_for_interrupts_but_not_one_for_events() {
    for events in [false, true] {
        let mut program = Program::default();
        program.mask_interrupts();
        program.poke(NVIC_ENABLE, 1 << 26);
        program.poke(NVIC_PEND, 1 << 26);
        if events {
            program.wait_for_event();
        } else {
            program.wait_for_interrupt();
        }
        program.poke(RESULT, 1);
        program.sleep_for_ever();
        let mut board = board(&program);
        board.run_until(10_000).unwrap();
        assert_eq!(board.peek(RESULT) == 1, !events);
    }
}

/// Turns the ADC and its temperature sensor on.
fn turn_adc_on(program: &mut Program) {
    program.poke(RESETS_CLEAR, 1);
    program.poke(ADC, 0x3);
}

#[test]
fn the_temperature_is_converted_once_when_asked() {
    let mut program = Program::default();
    turn_adc_on(&mut program);
    let again = program.here();
    program.poke(ADC, 0x4007);
    program.load(0, ADC);
    let wait = program.here();
    program.read(1, 0).jump_if_clear(1, 1 << 8, wait);
    copy(&mut program, ADC + 0x04, RESULT);
    program.jump(again);
    let mut board = board(&program);
    board.run_until(10_000).unwrap();
    assert_eq!(board.peek(RESULT), 891);
    board.set_adc(4, 876);
    board.run_until(20_000).unwrap();
    assert_eq!(board.peek(RESULT), 876);
}

#[test]
fn a_conversion_goes_through_the_fifo_and_wakes_by_interrupt() {
    let mut program = Program::default();
    turn_adc_on(&mut program);
    program.poke(ADC + 0x08, 1 << 24 | 1);
    program.poke(ADC + 0x18, 1);
    program.poke(NVIC_ENABLE, 1 << ADC_INTERRUPT);
    program.poke(ADC, 0x4007);
    program.sleep_for_ever();
    program.handler(ADC_INTERRUPT);
    copy(&mut program, ADC + 0x0c, RESULT);
    program.poke(ADC + 0x18, 0);
    program.return_from_interrupt();
    let mut board = board(&program);
    board.run_until(10_000).unwrap();
    assert_eq!(board.peek(RESULT), 891);
}

#[test]
fn an_empty_fifo_reaches_a_threshold_of_zero() {
    let mut program = Program::default();
    turn_adc_on(&mut program);
    program.poke(NVIC_ENABLE, 1 << ADC_INTERRUPT);
    program.poke(ADC + 0x18, 1);
    program.sleep_for_ever();
    program.handler(ADC_INTERRUPT);
    program.poke(ADC + 0x18, 0);
    program.poke(RESULT, 1);
    program.return_from_interrupt();
    let mut board = board(&program);
    board.run_until(10_000).unwrap();
    assert_eq!(board.peek(RESULT), 1);
}

#[test]
fn a_pin_shows_its_level_once_it_is_driven() {
    let mut program = Program::default();
    program.poke(0x4001_4000 + 25 * 8 + 4, 5);
    program.poke(SIO + 0x14, 1 << 25);
    program.poke(SIO + 0x24, 1 << 25);
    program.sleep_for_ever();
    let mut board = board(&program);
    assert_eq!(board.pin(25), None);
    board.run_until(10_000).unwrap();
    assert_eq!(board.pin(25), Some(true));
    assert_eq!(board.pin(24), None);
}
