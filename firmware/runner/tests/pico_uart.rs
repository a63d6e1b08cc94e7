//! The image `pico-uart` on emulated boards, in virtual time: a run repeats to the cycle.

mod floor;

use floor::{BOARD, Floor, OTHER_BOARD, REGISTRY, draft, port};
use nimblenet_sim::Draft;
use runner::Uart;

/// Adds one hundred to what `shop/triple` makes of its argument, calling it twice.
const CHAIN: &str = r#"(module
    (import "shop/triple" "run" (func $triple (param i32) (result i32)))
    (func (export "run") (param i32) (result i32)
        (i32.add (i32.const 100) (call $triple (call $triple (local.get 0))))))"#;

const TRIPLE: &str = r#"(module (func (export "run") (param i32) (result i32)
    (i32.mul (local.get 0) (i32.const 3))))"#;

fn drafts() -> Vec<Draft> {
    vec![
        draft("chain", CHAIN, "func(s32) -> s32").calling("shop/triple", "func(s32) -> s32"),
        draft("triple", TRIPLE, "func(s32) -> s32"),
    ]
}

#[test]
fn a_board_fetches_a_chain_and_runs_it() {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    let finished = floor.ask(REGISTRY, BOARD, "shop/chain", &[5]);
    assert_eq!(finished.number(), 145);
    assert_eq!(floor.look(board).resets(), 0);
}

#[test]
fn zz_debug() {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    let finished = floor.ask(REGISTRY, BOARD, "shop/chain", &[5]);
    assert_eq!(finished.number(), 145);
    let b = floor.look(board);
    let used = |b: &runner::Board, from: u32, len: u32| (0..len).step_by(4).find(|at| b.peek(from + at + 64) != 0).map(|at| len - at - 64);
    eprintln!("core 1 stack {:?}", used(b, 0x20000620, 0x2020));
    eprintln!("core 0 stack {:?}", used(b, 0x200357a0, 0x20042000 - 0x200357a0));
    for at in [0x20009258u32 - 8] {
        let words: Vec<u32> = (0..8).map(|i| b.peek(at + 4 * i)).collect();
        eprintln!("{words:x?}");
    }
    for n in [5, 6, 7, 8] {
        let (i0, i1) = (floor.look(board).instructions(0), floor.look(board).instructions(1));
        let f = floor.ask(REGISTRY, BOARD, "shop/chain", &[n]);
        let b = floor.look(board);
        eprintln!("chain {} {} took {:?}", b.instructions(0) - i0, b.instructions(1) - i1, f.took);
        let (i0, i1) = (floor.look(board).instructions(0), floor.look(board).instructions(1));
        let f = floor.ask(REGISTRY, BOARD, "shop/triple", &[n]);
        let b = floor.look(board);
        eprintln!("triple {} {} took {:?}", b.instructions(0) - i0, b.instructions(1) - i1, f.took);
    }
    floor.call(REGISTRY, BOARD, "shop/chain", &[9]);
    let mut log = String::new();
    let mut last = (0, 0);
    for _ in 0..20000 {
        floor.step(64);
        let b = floor.look(board);
        let now = (b.instructions(0), b.instructions(1));
        log += &format!("{:x} {} {:x} {}\n", b.pc(0), now.0 - last.0, b.pc(1), now.1 - last.1);
        last = now;
    }
    std::fs::write("/tmp/pcs", log).unwrap();
}
