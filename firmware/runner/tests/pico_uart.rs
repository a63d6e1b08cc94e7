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
    for _ in 0..10 {
        floor.run(20);
        let b = floor.look(board);
        eprintln!("{} resets {} i0 {} i1 {} busy {} {} pc {:x} {:x} sent {:?} lost {}", b.now(), b.resets(), b.instructions(0), b.instructions(1), b.busy(0), b.busy(1), b.pc(0), b.pc(1), b.take(Uart::Zero).len(), b.lost(Uart::Zero));
        for at in [0x20039fb0u32, 0x2000d2d0, 0x2000d2c8] {
            let words: Vec<u32> = (0..8).map(|i| b.peek(at + 4 * i)).collect();
            eprintln!("{words:x?}");
        }
    }
}
