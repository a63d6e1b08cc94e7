//! Boards in lockstep with a program: what comes out is the same however often, and in whatever steps.

use nimblenet_board::provision::Provision;
use nimblenet_core::NamespaceConfig;
use nimblenet_core::wire::{Frame, Message};
use nimblenet_tasklet::{Capabilities, Name, NodeId};
use runner::{Dialogue, Image, Lockstep, Sent, Uart};

const SECOND_US: u64 = 1_000_000;

/// The image of `pico-uart`, with the record of a board.
fn image(id: u16) -> Image {
    let path = std::env::var_os("PICO_UART").expect("`cargo xtask runner` sets PICO_UART");
    let namespace = NamespaceConfig {
        name: Name::new("shop").expect("it is a name"),
        registry: NodeId(1),
        key: [7; 32],
        capabilities: Capabilities::ALL,
        stays: false,
    };
    let record = Provision::new(NodeId(id), vec![namespace]).expect("a board can be that");
    let image = Image::read(path.as_ref()).expect("it has been built");
    image
        .provisioned(&record.encode())
        .expect("the record fits")
}

/// Three boards, the first frame of each given to the next one 30 ms later.
fn run(step_us: u64) -> Vec<Sent> {
    const DELAY_US: u64 = 30_000;
    let mut boards = Lockstep::new(&[7, 8, 9].map(image)).expect("the emulator takes the image");
    let mut all: Vec<Sent> = Vec::new();
    while boards.now_us() < 3 * SECOND_US {
        let sent = boards.run_until(boards.now_us() + step_us);
        for sent in sent.expect("no core locks up") {
            let to = (sent.board + 1) % 3;
            let at_us = sent.at_us + DELAY_US;
            if sent.uart == Uart::Zero {
                let given = boards.send(to, Uart::Zero, at_us, &sent.frame);
                given.expect("the time has not passed");
            }
            all.push(sent);
        }
    }
    all.sort_by_key(|sent| (sent.at_us, sent.board, sent.uart));
    all
}

#[test]
fn a_run_repeats_to_the_microsecond_whatever_its_steps() {
    let once = run(30_000);
    assert!(once.len() > 12, "{} frames", once.len());
    assert_eq!(run(30_000), once);
    assert_eq!(run(10_000), once);
}

#[test]
fn boards_say_hello_and_hear_each_other() {
    let all = run(30_000);
    let hellos = all.iter().filter(|sent| {
        let frame = Frame::parse(&sent.frame).expect("a board sends frames");
        matches!(frame.message, Message::Hello(_)) && frame.sender == NodeId(7 + sent.board as u16)
    });
    assert!(hellos.count() >= 6, "{all:?}");
}

#[test]
fn a_dialogue_says_what_leaves_and_when() {
    let boards = Lockstep::new(&[image(7)]).expect("the emulator takes the image");
    let mut dialogue = Dialogue::new(boards, vec!["n7".to_owned()]);
    let mut said = Vec::new();
    let told = "run 500000\nframe n7.0 500100 10ff00\nrun 600000\nlook\n";
    dialogue
        .hold(told.as_bytes(), &mut said)
        .expect("it is right");
    let said = String::from_utf8(said).expect("it says text");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "ready");
    assert!(lines[1].starts_with("sent n7."), "{said}");
    assert!(
        lines.contains(&"at 500000") && lines.contains(&"at 600000"),
        "{said}"
    );
    let board = lines
        .iter()
        .find(|line| line.starts_with("board n7 resets 0 "));
    assert!(
        board.is_some_and(|board| board.ends_with("damaged 0")),
        "{said}"
    );
    for (told, wrong) in [
        ("run soon\n", "number of microseconds"),
        ("frame n8.0 700000 10\n", "no board n8"),
        ("frame n7.0 1 10\n", "us already"),
        ("frame n7.0 700000 1\n", "hexadecimal"),
        ("stop\n", "none of"),
    ] {
        let error = dialogue.hold(told.as_bytes(), Vec::new()).expect_err(told);
        assert!(format!("{error:#}").contains(wrong), "{error:#}");
    }
}
