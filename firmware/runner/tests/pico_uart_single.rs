//! The image `pico-uart-single` on emulated boards: one core does what two do in `pico-uart`.

mod awkward;
mod floor;
mod lines;

use floor::{BOARD, Floor, REGISTRY, port};
use lines::{drafts, well};
use runner::Uart;

/// The variable that names the image's file.
const IMAGE: &str = "PICO_UART_SINGLE";

#[test]
fn the_other_core_stays_off() {
    let mut floor = Floor::new(&drafts());
    let board = floor.board(BOARD);
    floor.registry(port(board, Uart::Zero));
    floor.run(1000);
    assert_eq!(floor.ask(REGISTRY, BOARD, "shop/chain", &[5]).number(), 145);
    well(&mut floor, &[board]);
    let board = floor.look(board);
    assert!(board.instructions(0) > 0);
    assert_eq!(board.instructions(1), 0);
}
