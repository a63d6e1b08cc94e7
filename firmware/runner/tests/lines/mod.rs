//! Tests of every image with two serial links, whether it uses one core or two.

use nimblenet_core::wire::Kind;
use nimblenet_sim::Draft;
use nimblenet_tasklet::{Capabilities, Capability, Fault};
use runner::{BoardId, Uart};

use crate::awkward::AWKWARD;
use crate::floor::{BOARD, Floor, GATEWAY, OTHER_BOARD, REGISTRY, draft, port, stuffed};

/// Applies `shop/triple` twice to its argument, and adds one hundred.
const CHAIN: &str = r#"(module
    (import "shop/triple" "run" (func $triple (param i32) (result i32)))
    (func (export "run") (param i32) (result i32)
        (i32.add (i32.const 100) (call $triple (call $triple (local.get 0))))))"#;

const TRIPLE: &str = r#"(module (func (export "run") (param i32) (result i32)
    (i32.mul (local.get 0) (i32.const 3))))"#;

const SPIN: &str = r#"(module (func (export "run") (param i32) (loop (br 0))))"#;

/// Writes its argument to both ends of a page of memory, calls another tasklet with one less, and
/// returns the result plus one, if its memory is unchanged.
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

pub(crate) const ONE: &str = "func(s32) -> s32";

/// Calls another tasklet `n` times, and keeps state in memory, a global and locals of several
/// types, so that lost or changed state shows in the result.
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
    ((3 * n * (n + 1) / 2) << 32) + n / 2
}

pub(crate) fn drafts() -> Vec<Draft> {
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
        device("board-temperature", "func() -> s32", Capability::Sensor),
        device("board-gpio", "func(s32, s32)", Capability::Actuator),
    ]
}

/// A function of the board's own.
fn device(name: &str, signature: &str, needs: Capability) -> Draft {
    let mut draft = Draft::new(name, Vec::new(), signature).native();
    draft.capabilities = Capabilities::NONE.with(needs);
    draft
}

/// A registry, a board at its line, and another board behind that one.
pub(crate) fn two_boards(drafts: &[Draft]) -> (Floor, [BoardId; 2]) {
    let mut floor = Floor::new(drafts);
    let (near, far) = (floor.board(BOARD), floor.board(OTHER_BOARD));
    floor.registry(port(near, Uart::Zero));
    floor.wire(port(near, Uart::One), port(far, Uart::Zero));
    floor.run(1500);
    (floor, [near, far])
}

pub(crate) fn well(floor: &mut Floor, boards: &[BoardId]) {
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
fn the_node_serves_everyone_while_a_tasklet_loops_for_ever() {
    let (mut floor, boards) = two_boards(&drafts());
    // The tasklet is in the cache, so that only the loop can be in the way.
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
    // The same board runs it between two slices of the loop.
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
    // The chain has four pages of 64 KiB, far more than the arena.
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/deep-1", &[9]).number(), 9);
    well(&mut floor, &[board]);
}

/// The paper's set: 250 tasklets of 290 bytes, of which a cache of 32 KiB holds 113.
#[test]
fn a_board_holds_the_catalogue_of_the_paper_s_set_and_the_modules_of_its_cache() {
    const TASKLETS: usize = 250;
    const BYTES: usize = 290;
    const USED: usize = 113;
    let tasklet = |at: usize| {
        let wat = |filler: usize| {
            let filler = "a".repeat(filler);
            format!(
                r#"(module (memory 1) (data (i32.const 0) "{filler}")
                    (func (export "run") (param i32) (result i32)
                        (i32.add (local.get 0) (i32.const {}))))"#,
                // Two bytes of code each.
                64 + at,
            )
        };
        let bare = draft("bare", &wat(200), ONE).module.len();
        let mut draft = draft(&format!("t{at:03}"), &wat(200 + BYTES - bare), ONE);
        assert_eq!(draft.module.len(), BYTES);
        draft.memory_bytes = 65536;
        draft
    };
    let mut floor = Floor::new(&(0..TASKLETS).map(tasklet).collect::<Vec<_>>());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(3000);
    let mut round = || {
        let before = floor
            .peer_node(REGISTRY)
            .counters()
            .traffic(Kind::Data)
            .sent;
        // The last tasklets of the catalogue are there as the first ones are.
        for at in (0..TASKLETS).rev().take(USED) {
            let name = format!("shop/t{at:03}");
            let number = floor.ask(REGISTRY, BOARD, &name, &[1]).number();
            assert_eq!(number, 65 + at as i64);
        }
        floor
            .peer_node(REGISTRY)
            .counters()
            .traffic(Kind::Data)
            .sent
            - before
    };
    assert!(round() >= USED as u64, "each module was fetched");
    assert_eq!(round(), 0, "all modules are still in the cache");
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
    // Who signs a namespace does not drive pins by a name alone.
    let sly = device("board-gpio", "func(s32, s32)", Capability::Sensor);
    floor.publish(&[sly]);
    floor.run(5000);
    let denied = floor.ask(REGISTRY, BOARD, "shop/board-gpio", &[25, 1]);
    assert_eq!(denied.result, Err(Fault::CapabilityDenied));
    assert_eq!(floor.look(board).pin(25), Some(false));
    floor.publish(&[device("board-gpio", "func(s32, s32)", Capability::Actuator)]);
    floor.run(5000);
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
    let ran = floor.executed(board);
    assert_eq!(floor.end(call, GATEWAY).number(), long(100));
    let counters = floor.peer_node(GATEWAY).counters();
    assert_eq!((counters.moved_in, counters.moved_out), (0, 1));
    assert!(
        floor.executed(board) > ran + 1_000_000,
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

#[test]
fn frames_pass_while_a_signature_is_checked() {
    let (mut floor, [near, far]) = two_boards(&drafts());
    let call = |floor: &mut Floor| floor.ask(REGISTRY, OTHER_BOARD, "shop/triple", &[1]).took;
    call(&mut floor);
    floor.run(3000);
    let alone = call(&mut floor);
    // There is a newer catalogue: the near board hears of it first, and checks it.
    floor.publish(&[draft("triple", TRIPLE, ONE)]);
    let before = floor.executed(near);
    while floor.executed(near) < before + 2_000_000 {
        floor.run(1);
    }
    let beside = call(&mut floor);
    assert!(beside < 2 * alone, "{beside:?}, alone {alone:?}");
    assert!(
        floor.executed(near) < before + 14_000_000,
        "the check is still under way"
    );
    well(&mut floor, &[near, far]);
}

#[test]
fn what_goes_wrong_on_a_board_goes_wrong_as_on_linux() {
    let drafts: Vec<Draft> = AWKWARD
        .iter()
        .map(|(name, body)| {
            let wat = format!(
                r#"(module (memory 1) (func (export "run") (param i32) (result i32) {body}))"#
            );
            let mut draft = draft(name, &wat, ONE);
            (draft.memory_bytes, draft.fuel) = (65536, 200_000);
            draft
        })
        .collect();
    let mut floor = Floor::new(&drafts);
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.node(GATEWAY, port(board, Uart::One));
    floor.run(1500);
    let mut trapped = 0;
    for (name, _) in AWKWARD {
        let name = format!("shop/{name}");
        let linux = floor.ask(GATEWAY, GATEWAY, &name, &[7]);
        let there = floor.ask(GATEWAY, BOARD, &name, &[7]);
        assert_eq!(
            (&there.result, there.trap),
            (&linux.result, linux.trap),
            "{name}"
        );
        trapped += u32::from(there.trap.is_some());
    }
    assert!(trapped >= 8, "{trapped} of them trap");
    well(&mut floor, &[board]);
}

#[test]
fn att_43_noise_and_forged_frames_cost_a_board_nothing() {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    let mut state = 0x2545_f491u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    for round in 0..300 {
        let len = random() as usize % 260;
        let mut bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        if round % 3 == 0 {
            // A frame of any kind that passes the line's checks, with a random body.
            bytes.splice(
                ..bytes.len().min(16),
                [0x10, 3, 0, 9, 0xff, 0xff, 0, 9, 0xff, 0xff],
            );
            bytes.truncate(250);
            bytes.extend([0; 6]);
            (bytes[14], bytes[15]) = (1, (round / 3 % 17) as u8);
            bytes = stuffed(&bytes);
        }
        floor.disturb(port(board, Uart::One), &bytes);
        floor.run(4);
    }
    floor.disturb(port(board, Uart::One), &[0]);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/chain", &[5]).number(), 145);
    well(&mut floor, &[board]);
}

#[test]
fn att_48_a_line_full_of_frames_stops_nothing_else() {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    let stranger = port(board, Uart::One);
    let mut sequence = 0u32;
    let mut flood = |floor: &mut Floor| {
        // Send searches for a tasklet that does not exist, all new, as fast as the line goes.
        for _ in 0..40 {
            sequence += 1;
            let mut frame = vec![0x10, 0, 0, 9, 0xff, 0xff, 0, 9, 0xff, 0xff];
            frame.extend(sequence.to_be_bytes());
            frame.extend([1, 1, 9, 9, 9, 9, 0, 1, 0, 1, 0, 7, 0, 200]);
            floor.disturb(stranger, &stuffed(&frame));
        }
        floor.run(11);
    };
    for _ in 0..50 {
        flood(&mut floor);
    }
    let call = floor.call(REGISTRY, BOARD, "shop/long", &[200]);
    for _ in 0..600 {
        flood(&mut floor);
    }
    assert!(
        floor.has_ended(call, REGISTRY),
        "the call ends beside the flood"
    );
    assert_eq!(floor.end(call, REGISTRY).number(), long(200));
    assert_eq!(floor.look(board).resets(), 0);
}
