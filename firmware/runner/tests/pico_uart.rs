//! The image `pico-uart` on emulated boards.
//!
//! Its path is in the environment variable `PICO_UART`; `cargo xtask runner` builds the image and
//! sets it.

use core::time::Duration;
use std::net::UdpSocket;

use runner::{Bench, Board, BoardId, Frames, Image, Port, Tie, Uart, stuffed};

/// A millisecond, in cycles.
const MILLISECOND: u64 = 125_000;

fn image() -> Image {
    let path = std::env::var_os("PICO_UART").expect("`cargo xtask runner` sets PICO_UART");
    Image::read(path.as_ref()).expect("it has been built")
}

fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Frames::default();
    bytes.iter().filter_map(|byte| frames.push(*byte)).collect()
}

fn port(board: BoardId) -> Port {
    Port {
        board,
        uart: Uart::Zero,
    }
}

#[test]
fn a_frame_comes_back_from_core_1() {
    let mut board = Board::new(&image()).unwrap();
    board.run_until(10 * MILLISECOND).unwrap();
    board.send(Uart::Zero, &stuffed(b"hello"));
    board.run_until(20 * MILLISECOND).unwrap();
    assert_eq!(board.take(Uart::Zero), stuffed(b"hello\x01"));
    assert_eq!(board.lost(Uart::Zero), 0);
}

#[test]
fn frames_of_many_lengths_come_back_in_order() {
    let mut board = Board::new(&image()).unwrap();
    board.run_until(10 * MILLISECOND).unwrap();
    let mut expected = Vec::new();
    for length in [1, 2, 15, 16, 17, 63, 64, 65, 128, 250] {
        let mut frame = vec![length as u8; length];
        board.send(Uart::Zero, &stuffed(&frame));
        frame.push(1);
        expected.push(frame);
        board.run_until(board.now() + 10 * MILLISECOND).unwrap();
    }
    assert_eq!(frames(&board.take(Uart::Zero)), expected);
    assert_eq!(board.lost(Uart::Zero), 0);
}

/// Lets a frame bounce between two boards; returns what was seen on the wire, and when.
fn bounced(cut_at: Option<u64>) -> Vec<(u64, Port, Vec<u8>)> {
    const WELL: &str = "no core of a board locks up";
    let image = image();
    let mut bench = Bench::new();
    let (a, b) = (
        bench.add(&image).expect(WELL),
        bench.add(&image).expect(WELL),
    );
    bench.wire(port(a), port(b));
    bench.run(10 * MILLISECOND, |_, _, _| {}).expect(WELL);
    bench.board(a).send(Uart::Zero, &stuffed(b"ball"));
    let mut seen = Vec::new();
    for turn in 0..20 {
        if cut_at == Some(turn) {
            bench.cut(a, b, true);
        }
        let tap = |now, from, bytes: &[u8]| seen.push((now, from, bytes.to_vec()));
        bench.run(MILLISECOND, tap).expect(WELL);
    }
    seen
}

#[test]
fn a_frame_bounces_between_two_boards() {
    let seen = bounced(None);
    let all: Vec<u8> = seen
        .iter()
        .flat_map(|(_, _, bytes)| bytes.clone())
        .collect();
    let frames = frames(&all);
    assert!(frames.len() > 10, "{} frames", frames.len());
    for (turn, frame) in frames.iter().enumerate() {
        let mut expected = b"ball".to_vec();
        expected.extend([1].repeat(turn + 1));
        assert_eq!(*frame, expected);
    }
    let boards: Vec<BoardId> = seen.iter().map(|(_, from, _)| from.board).collect();
    assert!(boards.contains(&boards[0]) && boards.iter().any(|board| *board != boards[0]));
}

#[test]
fn a_cut_wire_ends_it() {
    let whole = bounced(None);
    let cut = bounced(Some(5));
    assert!(
        cut.len() < whole.len() / 2,
        "{} of {}",
        cut.len(),
        whole.len()
    );
    assert_eq!(cut[..10], whole[..10], "until the cut both are the same");
}

#[test]
fn a_run_repeats_to_the_byte_and_cycle() {
    assert_eq!(bounced(None), bounced(None));
}

#[test]
fn a_board_tied_to_a_socket_answers_each_datagram_with_one() {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = client.local_addr().unwrap();
    let tie = Tie::udp("127.0.0.1:0".parse().unwrap(), here).unwrap();
    client.connect(tie.address().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut bench = Bench::new();
    let board = bench.add(&image()).unwrap();
    bench.tie(port(board), tie);
    let mut answer = [0; 64];
    // A loaded machine may need several turns; one that never answers must not hang the test.
    for _ in 0..100 {
        client.send(b"over").unwrap();
        bench.live(|real| real < Duration::from_millis(20)).unwrap();
        if let Ok(length) = client.recv(&mut answer) {
            assert_eq!(answer[..length], *b"over\x01");
            return;
        }
    }
    panic!("no answer in 100 turns");
}
