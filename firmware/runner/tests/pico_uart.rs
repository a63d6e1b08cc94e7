//! The image `pico-uart` on emulated boards, in virtual time: a run repeats to the cycle.

mod awkward;
mod floor;
mod lines;

use floor::{BOARD, Floor, OTHER_BOARD, REGISTRY, Reported, draft, port};
use lines::{ONE, drafts, two_boards};
use nimblenet_core::wire::Cause;
use runner::{BoardId, Uart};

/// The variable that names the image's file.
const IMAGE: &str = "PICO_UART";

#[test]
fn a_run_repeats_to_the_cycle() {
    let run = || {
        let (mut floor, [near, far]) = two_boards(&drafts());
        let finished = floor.ask(REGISTRY, OTHER_BOARD, "shop/chain", &[5]);
        let counts = [near, far].map(|board| {
            let board = floor.look(board);
            [board.instructions(0), board.instructions(1)]
        });
        (finished.took, finished.number(), counts)
    };
    assert_eq!(run(), run());
}

/// Measures what one call of a callee costs besides the callee's own instructions: frames, search
/// of the cache, the reset of its warm block, values in and out, and resuming the caller.
#[test]
fn a_call_on_a_loaded_board_stays_within_its_budget() {
    const BUDGET: u64 = 85_000;
    let calls = |count: usize| {
        let wat = format!(
            r#"(module (import "shop/triple" "run" (func $f (param i32) (result i32)))
                (func (export "run") (param i32) (result i32) (local.get 0) {}))"#,
            "(call $f)".repeat(count)
        );
        draft(&format!("calls-{count}"), &wat, ONE).calling("shop/triple", ONE)
    };
    let mut drafts = drafts();
    drafts.extend([calls(2), calls(12)]);
    let mut floor = Floor::new(&drafts);
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    let mut cost = |name: &str| {
        // The first call brings all modules onto the board.
        floor.ask(REGISTRY, BOARD, name, &[1]);
        floor.run(50);
        let spent = |floor: &mut Floor| {
            let board = floor.look(board);
            let instructions = board.instructions(0) + board.instructions(1);
            (instructions, board.busy(0) + board.busy(1))
        };
        let before = spent(&mut floor);
        assert!(floor.ask(REGISTRY, BOARD, name, &[1]).result.is_ok());
        let after = spent(&mut floor);
        (after.0 - before.0, after.1 - before.1)
    };
    let (many, few) = (cost("shop/calls-12"), cost("shop/calls-2"));
    let (one, cycles) = ((many.0 - few.0) / 10, (many.1 - few.1) / 10);
    eprintln!("{one} instructions and {cycles} emulated cycles a call");
    assert!(
        one <= BUDGET,
        "{one} instructions a call, {BUDGET} are allowed"
    );
}

/// A branch to itself. Default handlers are such loops.
const ENDLESS_LOOP: u32 = 0xe7fe;

/// An address in the image that holds this instruction.
fn instruction(floor: &mut Floor, board: BoardId, wanted: u32) -> u32 {
    let board = floor.look(board);
    let mut flash = (0x1000_0200u32..0x1004_0000).step_by(4);
    let found = flash.find_map(|at| match board.peek(at) {
        word if word & 0xffff == wanted => Some(at),
        word if word >> 16 == wanted => Some(at + 2),
        _ => None,
    });
    found.expect("the image has one")
}

/// Lets a board run a chain, and does something to it. Returns the reports, once the board works
/// again.
fn crashed(what: impl FnOnce(&mut Floor, BoardId)) -> Vec<Reported> {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/chain", &[1]).number(), 109);
    what(&mut floor, board);
    floor.run(12_000);
    assert_eq!(floor.look(board).resets(), 1);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/chain", &[2]).number(), 118);
    floor.reports().to_vec()
}

#[test]
fn a_fault_is_reported_with_its_address_and_the_board_goes_on() {
    let [report] = &crashed(|floor, board| floor.look(board).jump(0, 0xf000_0000))[..] else {
        panic!("it is reported once");
    };
    assert_eq!(
        (report.node, report.cause, report.core),
        (BOARD, Cause::Fault, 0)
    );
    assert_eq!(report.addresses[0], 0xf000_0000);
    assert!(
        report.addresses.len() > 2,
        "callers were found: {report:x?}"
    );
}

#[test]
fn an_interpreter_that_hangs_is_reported() {
    let [report] = &crashed(|floor, board| {
        let place = instruction(floor, board, ENDLESS_LOOP);
        floor.call(REGISTRY, BOARD, "shop/spin", &[0]);
        floor.wait_for_work(board, 100_000);
        floor.look(board).jump(1, place);
    })[..] else {
        panic!("it is reported once");
    };
    assert_eq!((report.node, report.cause), (BOARD, Cause::InterpreterLost));
}

#[test]
fn a_watchdog_that_nobody_feeds_is_reported() {
    let [report] = &crashed(|floor, board| {
        let place = instruction(floor, board, ENDLESS_LOOP);
        floor.look(board).jump(0, place);
    })[..] else {
        panic!("it is reported once");
    };
    assert_eq!((report.node, report.cause), (BOARD, Cause::Watchdog));
}

#[test]
fn a_panic_is_told_from_other_faults() {
    let [report] = &crashed(|floor, board| {
        // Images are built so that a panic is this instruction.
        let place = instruction(floor, board, 0xdefe);
        floor.look(board).jump(0, place);
    })[..] else {
        panic!("it is reported once");
    };
    assert_eq!((report.cause, report.core), (Cause::Panic, 0));
}

#[test]
fn a_board_has_room_for_every_namespace_that_its_record_may_have() {
    let mut floor = Floor::new(&drafts());
    let board = floor.board_of(BOARD, &["a", "b", "c"]);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/chain", &[5]).number(), 145);
    assert_eq!(floor.look(board).resets(), 0);
}
