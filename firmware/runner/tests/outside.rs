//! Boards in real time, tied to sockets and pseudo-terminals and wired to each other.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod thumb;

use core::time::Duration;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nimblenet_board::framing::{Frame, MAX_FRAME_BYTES, MAX_LINE_BYTES, stuffed};
use nimblenet_board::provision::Provision;
use nimblenet_core::wire::{CHECKSUM_LEN, check};
use nimblenet_tasklet::NodeId;
use runner::{Bench, Image, Losses, Port, Tie, Uart};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use thumb::{NVIC_ENABLE, Program, UARTS};

/// The time that a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Frames with the bytes that a line may treat specially.
const FRAMES: [&[u8]; 3] = [&[0], &[1, 0, 2, 0, 0, 3, 0x0a, 0x11, 0x03], &[7; 200]];

/// Where a UART's flags are, and the one that nothing is received.
const FLAGS: u32 = 0x18;
const RECEIVE_EMPTY: u32 = 1 << 4;

/// A program that sends what one UART receives out of the other, or of the same.
fn passing(from: &[usize], onto: &[usize]) -> Image {
    let mut program = Program::default();
    for (_, base, interrupt, reset) in UARTS {
        program.turn_on(base, reset);
        program.poke(NVIC_ENABLE, 1 << interrupt);
    }
    program.sleep_for_ever();
    for (from, onto) in from.iter().zip(onto) {
        let (_, source, interrupt, _) = UARTS[*from];
        let (_, sink, ..) = UARTS[*onto];
        let pass = program.here();
        program.load(0, source).read(1, 0);
        program.load(0, sink).write(1, 0);
        program.handler(interrupt);
        program.load(0, source + FLAGS).read(1, 0);
        program.jump_if_clear(1, RECEIVE_EMPTY, pass);
        program.return_from_interrupt();
    }
    program.image()
}

fn echo() -> Image {
    passing(&[0, 1], &[0, 1])
}

fn relay() -> Image {
    passing(&[0, 1], &[1, 0])
}

/// A program that sends a few bytes once.
fn sending(bytes: &[u8]) -> Image {
    let mut program = Program::default();
    let (_, base, _, reset) = UARTS[0];
    program.turn_on(base, reset);
    for byte in bytes {
        program.poke(base, u32::from(*byte));
    }
    program.sleep_for_ever();
    program.image()
}

/// A bench with one board, UART0 tied.
fn tied(image: &Image, tie: Tie) -> Bench {
    let mut bench = Bench::new();
    let board = bench.add(image).unwrap();
    let uart = Uart::Zero;
    bench.tie(Port { board, uart }, tie);
    bench
}

fn client() -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_nonblocking(true).unwrap();
    client
}

/// A tie to a client.
fn udp(client: &UdpSocket) -> Tie {
    let here = client.local_addr().unwrap();
    let tie = Tie::udp("127.0.0.1:0".parse().unwrap(), here).unwrap();
    client.connect(tie.address().unwrap()).unwrap();
    tie
}

/// A frame as it is in a datagram, with a checksum.
fn checked(frame: &[u8]) -> Vec<u8> {
    let mut datagram = frame.to_vec();
    datagram.resize(frame.len() + CHECKSUM_LEN, 0);
    check(&mut datagram, frame.len());
    datagram
}

/// Runs until the client has received a datagram.
fn received(bench: &mut Bench, client: &UdpSocket) -> Vec<u8> {
    let mut datagram = [0; 512];
    let mut length = None;
    let waits = |real: Duration| {
        length = client.recv(&mut datagram).ok();
        length.is_none() && real < PATIENCE
    };
    bench.live(waits).unwrap();
    datagram[..length.expect("a datagram in time")].to_vec()
}

/// Opens a terminal as a serial port is opened, except that reads do not wait.
fn open(path: &Path) -> File {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
    File::from(rustix::fs::open(path, flags, Mode::empty()).unwrap())
}

/// Reads as many bytes as are expected, while `pass` lets time pass.
fn read(terminal: &mut File, count: usize, mut pass: impl FnMut()) -> Vec<u8> {
    let begin = Instant::now();
    let mut found = Vec::new();
    let mut bytes = [0; 512];
    while found.len() < count && begin.elapsed() < PATIENCE {
        match terminal.read(&mut bytes) {
            Ok(length) => found.extend(&bytes[..length]),
            Err(_) => pass(),
        }
    }
    found
}

#[test]
fn a_datagram_is_a_frame_in_both_directions() {
    let client = client();
    let mut bench = tied(&echo(), udp(&client));
    bench.run(100_000, |_, _, _| {}).unwrap();
    for frame in FRAMES {
        client.send(frame).unwrap();
        assert_eq!(received(&mut bench, &client), checked(frame));
    }
    let (_, tie) = bench.ties().next().unwrap();
    assert_eq!(tie.losses(), Losses::default());
}

#[test]
fn a_datagram_that_is_longer_than_a_frame_is_refused_and_counted() {
    let client = client();
    let mut bench = tied(&echo(), udp(&client));
    bench.run(100_000, |_, _, _| {}).unwrap();
    client.send(&[7; MAX_FRAME_BYTES + 1]).unwrap();
    client.send(&[8]).unwrap();
    assert_eq!(received(&mut bench, &client), checked(&[8]));
    let (_, tie) = bench.ties().next().unwrap();
    assert_eq!(tie.losses().refused_frames, 1);
}

#[test]
fn a_damaged_frame_becomes_no_datagram_and_is_counted() {
    let client = client();
    let mut line = [0; MAX_LINE_BYTES];
    let whole = stuffed(&Frame::from_slice(&[7]).unwrap(), &mut line);
    let mut changed = whole.to_vec();
    changed[1] ^= 1;
    // Send no more than the UART's FIFO holds.
    let bytes = [&[9, 1, 1, 0, 0][..], &changed, whole].concat();
    let mut bench = tied(&sending(&bytes), udp(&client));
    assert_eq!(received(&mut bench, &client), checked(&[7]));
    let (_, tie) = bench.ties().next().unwrap();
    assert_eq!(tie.losses().damaged_frames, 2);
}

#[test]
fn a_program_opens_a_pseudo_terminal_like_a_serial_port() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("port");
    let mut bench = tied(&echo(), Tie::pty(&path).unwrap());
    bench.run(100_000, |_, _, _| {}).unwrap();
    for _ in 0..2 {
        let mut terminal = open(&path);
        for frame in FRAMES {
            terminal.write_all(frame).unwrap();
            let found = read(&mut terminal, frame.len(), || {
                bench.run(10_000, |_, _, _| {}).unwrap();
            });
            assert_eq!(
                found, frame,
                "the bytes as they are, control characters too"
            );
        }
    }
    drop(bench);
    assert!(path.symlink_metadata().is_err(), "the link is gone");
}

#[test]
fn what_a_board_sends_while_nobody_listens_is_lost_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("port");
    std::os::unix::fs::symlink("left by an earlier run", &path).unwrap();
    let mut bench = tied(&sending(b"anybody?"), Tie::pty(&path).unwrap());
    bench.run(1_000_000, |_, _, _| {}).unwrap();
    let (_, tie) = bench.ties().next().unwrap();
    assert_eq!(tie.losses().unread_bytes, 8);
    let mut terminal = open(&path);
    assert!(terminal.read(&mut [0; 8]).is_err(), "nothing old is there");
}

#[test]
fn boards_wired_to_each_other_are_in_one_process_with_their_ties() {
    let client = client();
    let tie = udp(&client);
    let mut bench = tied(&relay(), tie);
    let first = bench.ties().next().unwrap().0.board;
    let second = bench.add(&echo()).unwrap();
    let [a, b] = [first, second].map(|board| Port {
        board,
        uart: Uart::One,
    });
    bench.wire(a, b);
    bench.run(100_000, |_, _, _| {}).unwrap();
    client.send(b"there and back").unwrap();
    assert_eq!(received(&mut bench, &client), checked(b"there and back"));
}

#[test]
fn boards_never_run_ahead_of_the_wall_clock() {
    let mut bench = Bench::new();
    bench.add(&sending(&[])).unwrap();
    let lasts = Duration::from_millis(50);
    let pace = bench.live(|real| real < lasts).unwrap();
    let emulated = Duration::from_nanos(bench.now() * 8);
    assert!(pace.real >= lasts);
    assert!(
        emulated <= pace.real + Duration::from_millis(1),
        "{emulated:?}"
    );
    // The pace reports the missed time; a lag below 51 ms it does not report.
    let missed = pace.missed + Duration::from_millis(51);
    assert!(emulated + missed >= pace.real, "{emulated:?} {pace:?}");
}

/// The runner's program, ended with its test.
struct Runner {
    child: Child,
}

impl Runner {
    fn start(folder: &TempDir, arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_runner"))
            .args(arguments)
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Interrupts it; returns whether it ended with success, and its output.
    fn stop(mut self) -> (bool, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().success(), said)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_command_line_holds_several_boards_and_says_how_they_did() {
    let folder = tempfile::tempdir().unwrap();
    for (name, image) in [("relay", relay()), ("echo", echo())] {
        std::fs::write(folder.path().join(name), image.bytes()).unwrap();
    }
    let record = Provision::new(NodeId(7), Vec::new()).unwrap().encode();
    std::fs::write(folder.path().join("record"), record).unwrap();
    let runner = Runner::start(
        &folder,
        &[
            "--board=a=relay,provision=record",
            "--board=b=echo",
            "--tie=a.0=pty:port",
            "--wire=a.1-b.1",
        ],
    );
    let path = folder.path().join("port");
    let begin = Instant::now();
    while !path.exists() && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut terminal = open(&path);
    // Bytes that come before the boards have turned their UARTs on are lost, so send again.
    let mut bytes = [0; 64];
    let mut length = 0;
    while length == 0 && begin.elapsed() < PATIENCE {
        terminal.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(5));
        length = terminal.read(&mut bytes).unwrap_or(0);
    }
    assert!(length > 0 && bytes[..length].iter().all(|byte| *byte == b'x'));
    let (well, said) = runner.stop();
    assert!(well, "{said}");
    assert!(said.contains("a: cores busy") && said.contains("b: cores busy"));
    assert!(path.symlink_metadata().is_err(), "the link is gone");
}

#[test]
fn a_command_line_that_does_not_fit_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("echo"), echo().bytes()).unwrap();
    std::fs::write(folder.path().join("erased"), [0xff; 4096]).unwrap();
    for (word, arguments) in [
        ("no board b", &["--board=a=echo", "--wire=a.0-b.0"][..]),
        (
            "two ends",
            &["--board=a=echo", "--wire=a.0-a.1", "--tie=a.1=pty:x"],
        ),
        ("two boards a", &["--board=a=echo", "--board=a=echo"]),
        ("udp:LISTEN,PEER or pty:PATH", &["echo", "--uart0=serial:x"]),
        ("cannot read nothing", &["echo", "--provision=nothing"]),
        (
            "echo is not the record of a board; `nimblenet provision` writes one",
            &["echo", "--provision=echo"],
        ),
        (
            "the board is not provisioned",
            &["--board=a=echo,provision=erased"],
        ),
        ("NAME.0 or NAME.1", &["--board=a=echo", "--tie=a.2=pty:x"]),
        ("required", &[]),
        ("cannot be used with", &["echo", "--board=a=echo"]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_runner"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}
