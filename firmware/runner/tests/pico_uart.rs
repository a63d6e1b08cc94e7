//! The image `pico-uart` on emulated boards, in virtual time: a run repeats to the cycle.

mod floor;

use floor::{BOARD, Floor, GATEWAY, OTHER_BOARD, REGISTRY, Reported, draft, port};
use nimblenet_core::wire::{Cause, Kind};
use nimblenet_sim::Draft;
use nimblenet_tasklet::Fault;
use runner::{BoardId, Uart};

/// Adds one hundred to what `shop/triple` makes of its argument, calling it twice.
const CHAIN: &str = r#"(module
    (import "shop/triple" "run" (func $triple (param i32) (result i32)))
    (func (export "run") (param i32) (result i32)
        (i32.add (i32.const 100) (call $triple (call $triple (local.get 0))))))"#;

const TRIPLE: &str = r#"(module (func (export "run") (param i32) (result i32)
    (i32.mul (local.get 0) (i32.const 3))))"#;

const SPIN: &str = r#"(module (func (export "run") (param i32) (loop (br 0))))"#;

/// Writes its argument to both ends of a page of memory, calls another with one less, and returns
/// what that returned and one more, if its memory is as it left it.
const DEEP: &str = r#"(module
    (import "shop/NEXT" "run" (func $next (param i32) (result i32)))
    (memory 1)
    (func (export "run") (param i32) (result i32) (local i32)
        (i32.store8 (i32.const 0) (local.get 0))
        (i32.store8 (i32.const 65535) (local.get 0))
        (local.set 1 (call $next (i32.sub (local.get 0) (i32.const 1))))
        (if (i32.ne (i32.load8_u (i32.const 0)) (local.get 0)) (then (unreachable)))
        (if (i32.ne (i32.load8_u (i32.const 65535)) (local.get 0)) (then (unreachable)))
        (i32.add (local.get 1) (i32.const 1))))"#;

const LEAF: &str = r#"(module (memory 1)
    (func (export "run") (param i32) (result i32)
        (i32.store8 (i32.const 65535) (local.get 0))
        (i32.load8_u (i32.const 65535))))"#;

const ONE: &str = "func(s32) -> s32";

/// Calls another `n` times and keeps what it made of it in memory, a global and locals of several
/// types, so that a state lost or changed on the way shows in the result.
const LONG: &str = r#"(module
    (import "shop/triple" "run" (func $triple (param i32) (result i32)))
    (memory 1)
    (global $sum (mut i64) (i64.const 0))
    (func (export "run") (param $n i32) (result i64) (local $at i32) (local $part f64)
        (loop $next
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (i32.store (i32.mul (local.get $at) (i32.const 4)) (call $triple (local.get $at)))
            (global.set $sum (i64.add (global.get $sum) (i64.extend_i32_u
                (i32.load (i32.mul (local.get $at) (i32.const 4))))))
            (local.set $part (f64.add (local.get $part) (f64.const 0.5)))
            (br_if $next (i32.lt_u (local.get $at) (local.get $n))))
        (i64.add (i64.mul (global.get $sum) (i64.const 4294967296))
            (i64.trunc_f64_s (local.get $part)))))"#;

/// What [`LONG`] returns.
fn long(n: i64) -> i64 {
    (3 * n * (n + 1) / 2 << 32) + n / 2
}

fn drafts() -> Vec<Draft> {
    let mut spin = draft("spin", SPIN, "func(s32)");
    spin.fuel = 2_000_000;
    vec![
        draft("chain", CHAIN, ONE).calling("shop/triple", ONE),
        draft("triple", TRIPLE, ONE),
        {
            let mut long = draft("long", LONG, "func(s32) -> s64").calling("shop/triple", ONE);
            long.memory_bytes = 65536;
            long
        },
        spin,
        Draft::new("board-temperature", Vec::new(), "func() -> s32").native(),
        Draft::new("board-gpio", Vec::new(), "func(s32, s32)").native(),
    ]
}

/// A registry, a board at its line, and another board behind that.
fn two_boards(drafts: &[Draft]) -> (Floor, [BoardId; 2]) {
    let mut floor = Floor::new(drafts);
    let (near, far) = (floor.board(BOARD), floor.board(OTHER_BOARD));
    floor.registry(port(near, Uart::Zero));
    floor.wire(port(near, Uart::One), port(far, Uart::Zero));
    floor.run(1500);
    (floor, [near, far])
}

fn well(floor: &mut Floor, boards: &[BoardId]) {
    for board in boards {
        assert_eq!(floor.look(*board).resets(), 0, "no board has crashed");
        assert_eq!(floor.look(*board).lost(Uart::Zero), 0);
    }
}

#[test]
fn a_board_fetches_a_chain_and_runs_it() {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/chain", &[5]).number(), 145);
    well(&mut floor, &[board]);
}

#[test]
fn a_board_behind_another_takes_modules_from_that_one() {
    let (mut floor, boards) = two_boards(&drafts());
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/chain", &[1]).number(), 109);
    let fetched = |floor: &Floor| {
        floor
            .peer_node(REGISTRY)
            .counters()
            .traffic(Kind::Fetch)
            .received
    };
    let before = fetched(&floor);
    assert_eq!(
        floor
            .ask(REGISTRY, OTHER_BOARD, "shop/chain", &[2])
            .number(),
        118
    );
    assert_eq!(fetched(&floor), before, "the neighbour had everything");
    well(&mut floor, &boards);
}

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

#[test]
fn core_0_serves_everyone_while_a_tasklet_loops_for_ever() {
    let (mut floor, boards) = two_boards(&drafts());
    // Everything is in its place, so that only the loop can be in the way.
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/triple", &[1]).number(), 3);
    assert_eq!(
        floor
            .ask(REGISTRY, OTHER_BOARD, "shop/triple", &[1])
            .number(),
        3
    );
    let alone = floor.ask(REGISTRY, OTHER_BOARD, "shop/triple", &[1]).took;
    let spin = floor.call(REGISTRY, BOARD, "shop/spin", &[0]);
    floor.run(100);
    let beside = floor.ask(REGISTRY, OTHER_BOARD, "shop/triple", &[2]);
    assert_eq!(beside.number(), 6);
    assert!(
        beside.took < 2 * alone,
        "{:?}, alone {alone:?}",
        beside.took
    );
    // On the same board, between two slices of the loop.
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/triple", &[3]).number(), 9);
    assert!(!floor.has_ended(spin, REGISTRY), "the loop still runs");
    let end = floor.end(spin, REGISTRY);
    assert_eq!(end.result, Err(Fault::OutOfFuel));
    well(&mut floor, &boards);
}

#[test]
fn a_chain_larger_than_the_arena_ends_with_the_right_result() {
    let names = ["deep-1", "deep-2", "deep-3", "leaf"];
    let drafts: Vec<Draft> = (0..4)
        .map(|at| {
            let wat = match names.get(at + 1) {
                Some(next) => DEEP.replace("NEXT", next),
                None => LEAF.into(),
            };
            let mut draft = draft(names[at], &wat, ONE);
            draft.memory_bytes = 65536;
            match names.get(at + 1) {
                Some(next) => draft.calling(&format!("shop/{next}"), ONE),
                None => draft,
            }
        })
        .collect();
    let mut floor = Floor::new(&drafts);
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    // Four pages of 64 KiB: more than the chip's whole memory.
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/deep-1", &[9]).number(), 9);
    well(&mut floor, &[board]);
}

#[test]
fn a_chain_larger_than_the_disk_ends_with_the_right_result() {
    const CALLEES: usize = 15;
    const BYTES: usize = 4000;
    let callee = |at: usize| {
        let wat = format!(
            r#"(module (memory 1) (data (i32.const 0) "{}")
                (func (export "run") (param i32) (result i32)
                    (i32.add (local.get 0) (i32.load8_u (i32.const {})))))"#,
            char::from(b'a' + at as u8).to_string().repeat(BYTES),
            BYTES - 1,
        );
        let mut draft = draft(&format!("part-{at}"), &wat, ONE);
        draft.memory_bytes = 65536;
        draft
    };
    let imports: String = (0..CALLEES)
        .map(|at| format!(r#"(import "shop/part-{at}" "run" (func (param i32) (result i32)))"#))
        .collect();
    let calls: String = (0..CALLEES).map(|at| format!("(call {at})")).collect();
    let root = format!(
        r#"(module {imports} (func (export "run") (param i32) (result i32) (local.get 0) {calls}))"#
    );
    let mut whole = draft("whole", &root, ONE);
    for at in 0..CALLEES {
        whole = whole.calling(&format!("shop/part-{at}"), ONE);
    }
    let mut drafts: Vec<Draft> = (0..CALLEES).map(callee).collect();
    let bytes: usize = drafts.iter().map(|draft| draft.module.len()).sum();
    assert!(bytes > 50 << 10, "{bytes} bytes fit on the disk");
    drafts.push(whole);
    let mut floor = Floor::new(&drafts);
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    let expected: i64 = (0..CALLEES as i64).map(|at| i64::from(b'a') + at).sum();
    assert_eq!(
        floor.ask(REGISTRY, BOARD, "shop/whole", &[7]).number(),
        7 + expected
    );
    well(&mut floor, &[board]);
}

#[test]
fn native_tasklets_read_the_chip_and_drive_its_pins() {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    let read = |floor: &mut Floor| {
        floor
            .ask(REGISTRY, BOARD, "shop/board-temperature", &[])
            .number()
    };
    let before = read(&mut floor);
    assert!((20_000..30_000).contains(&before), "{before}");
    floor.look(board).set_adc(4, 850);
    assert!(read(&mut floor) > before + 15_000);
    assert_eq!(floor.look(board).pin(25), None);
    for level in [true, false] {
        let args = [25, i32::from(level)];
        let set = floor.ask(REGISTRY, BOARD, "shop/board-gpio", &args);
        assert_eq!(set.result, Ok(vec![0x80]));
        assert_eq!(floor.look(board).pin(25), Some(level));
    }
    let taken = floor.ask(REGISTRY, BOARD, "shop/board-gpio", &[0, 1]);
    assert_eq!(taken.result, Err(Fault::DeviceFailed), "the line's own pin");
    well(&mut floor, &[board]);
}

/// A registry at one line of a board, a Linux node at the other.
fn board_and_gateway() -> (Floor, BoardId) {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.node(GATEWAY, port(board, Uart::One));
    floor.run(1500);
    (floor, board)
}

#[test]
fn a_chain_that_began_on_a_board_ends_on_linux() {
    let (mut floor, board) = board_and_gateway();
    let call = floor.call(GATEWAY, BOARD, "shop/long", &[200]);
    floor.wait_for_work(board, 3_000_000);
    floor.send_on(GATEWAY, call, GATEWAY);
    assert_eq!(floor.end(call, GATEWAY).number(), long(200));
    let counters = floor.peer_node(GATEWAY).counters();
    assert_eq!((counters.moved_in, counters.moved_out), (1, 0));
    well(&mut floor, &[board]);
}

#[test]
fn a_chain_that_began_on_linux_ends_on_a_board() {
    let (mut floor, board) = board_and_gateway();
    let call = floor.call(GATEWAY, GATEWAY, "shop/long", &[100]);
    floor.wait_until_running(GATEWAY, call);
    floor.send_on(GATEWAY, call, BOARD);
    let ran = floor.look(board).instructions(1);
    assert_eq!(floor.end(call, GATEWAY).number(), long(100));
    let counters = floor.peer_node(GATEWAY).counters();
    assert_eq!((counters.moved_in, counters.moved_out), (0, 1));
    assert!(
        floor.look(board).instructions(1) > ran + 1_000_000,
        "the board did the work"
    );
    well(&mut floor, &[board]);
}

#[test]
fn a_chain_goes_from_board_to_board_and_to_linux() {
    let mut floor = Floor::new(&drafts());
    let (near, far) = (floor.board(BOARD), floor.board(OTHER_BOARD));
    floor.registry(port(near, Uart::Zero));
    floor.wire(port(near, Uart::One), port(far, Uart::Zero));
    floor.node(GATEWAY, port(far, Uart::One));
    floor.run(2000);
    let call = floor.call(GATEWAY, BOARD, "shop/long", &[250]);
    floor.wait_for_work(near, 3_000_000);
    floor.send_on(GATEWAY, call, OTHER_BOARD);
    floor.wait_for_work(far, 3_000_000);
    floor.send_on(GATEWAY, call, GATEWAY);
    assert_eq!(floor.end(call, GATEWAY).number(), long(250));
    assert_eq!(floor.peer_node(GATEWAY).counters().moved_in, 1);
    well(&mut floor, &[near, far]);
}

/// What one call of a sub-tasklet costs besides the sub-tasklet's own instructions: frames,
/// search of the cache, both checks of the digest, loading, values in and out, resuming.
#[test]
fn a_call_on_a_loaded_board_stays_within_its_budget() {
    const BUDGET: u64 = 125_000;
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
        // The first call brings everything onto the board.
        floor.ask(REGISTRY, BOARD, name, &[1]);
        floor.run(50);
        let spent = |floor: &mut Floor| {
            let board = floor.look(board);
            board.instructions(0) + board.instructions(1)
        };
        let before = spent(&mut floor);
        floor.ask(REGISTRY, BOARD, name, &[1]);
        spent(&mut floor) - before
    };
    let one = (cost("shop/calls-12") - cost("shop/calls-2")) / 10;
    eprintln!("{one} instructions a call");
    assert!(
        one <= BUDGET,
        "{one} instructions a call, {BUDGET} are allowed"
    );
}

/// A place in the image where a branch leads to itself.
fn endless_loop(floor: &mut Floor, board: BoardId) -> u32 {
    let board = floor.look(board);
    let mut flash = (0x1000_0100u32..0x1004_0000).step_by(4);
    let found = flash.find_map(|at| match board.peek(at) {
        word if word & 0xffff == 0xe7fe => Some(at),
        word if word >> 16 == 0xe7fe => Some(at + 2),
        _ => None,
    });
    found.expect("handlers that nobody wrote are such loops")
}

/// A board that has run a chain, and what is done to it; then it reports, and works again.
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
        let place = endless_loop(floor, board);
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
        let place = endless_loop(floor, board);
        floor.look(board).jump(0, place);
    })[..] else {
        panic!("it is reported once");
    };
    assert_eq!((report.node, report.cause), (BOARD, Cause::Watchdog));
}

#[test]
fn an_allocation_that_fails_is_reported_as_the_panic_that_it_is() {
    let handler = floor::symbol("handle_alloc_error");
    let [report] = &crashed(|floor, board| floor.look(board).jump(0, handler))[..] else {
        panic!("it is reported once");
    };
    assert_eq!((report.cause, report.core), (Cause::Panic, 0));
    assert!(report.text.contains("memory allocation"), "{}", report.text);
}
