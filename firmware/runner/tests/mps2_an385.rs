//! A second processor, a Cortex-M3 that QEMU emulates, beside the Pico's Cortex-M0+ and this machine: three
//! builds of one node and of one interpreter, with three dispatchers, that must say the same.
//!
//! `cargo xtask runner` sets `MPS2_AN385` to the image.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod awkward;
mod people;
mod qemu;
mod tap;

use core::net::SocketAddr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use awkward::AWKWARD;
use minicbor::Decoder;
use nimblenet_core::Limits;
use people::{
    PATIENCE, Place, Process, REGISTRY, boards, call, daemon, daemon_that_logs, free, image,
    move_on, nimblenet, packed, soon,
};
use qemu::{HOST, Mps2};
use serde_json::Value;
use tap::{Record, Tap};

/// The Pico.
const M0: &str = "7";
/// The MPS2 board.
const M3: &str = "9";
/// A Linux node.
const LINUX: &str = "20";

/// Sleeps and calls another tasklet `n` times, and keeps state in memory, a global and locals of several
/// types, so that lost or changed state shows in the result.
const HELD: &str = r#"(module
    (import "std/add" "run" (func $add (param i32 i32) (result i32)))
    (import "nimblenet:clock" "sleep-us" (func $sleep (param i32)))
    (memory 1)
    (global $sum (mut i64) (i64.const 0))
    (func (export "run") (param $n i32) (result i64) (local $at i32) (local $part f64)
        (loop $next
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (call $sleep (i32.const 20000))
            (i32.store (i32.mul (local.get $at) (i32.const 4))
                (call $add (local.get $at) (i32.shl (local.get $at) (i32.const 1))))
            (global.set $sum (i64.add (global.get $sum) (i64.extend_i32_u
                (i32.load (i32.mul (local.get $at) (i32.const 4))))))
            (local.set $part (f64.add (local.get $part)
                (f64.div (f64.const 1) (f64.convert_i32_u (local.get $at)))))
            (br_if $next (i32.lt_u (local.get $at) (local.get $n))))
        (i64.xor (i64.mul (global.get $sum) (i64.const 4294967296))
            (i64.reinterpret_f64 (local.get $part)))))"#;
/// What it may use, as its manifest says.
const FUEL: u64 = 50_000_000;
/// How often. Longer than a move takes, and shorter than the two seconds after which sleepers let others
/// have their turn.
const TIMES: u32 = 95;

/// The mesh of this test: a registry, a Linux node, and a board of each kind behind a tap.
struct Mesh {
    place: Place,
    /// Where calls of the Linux node are made.
    at_node: String,
    /// Where calls of the second board's own are made.
    at_board: String,
    taps: [Tap; 2],
    held: String,
    /// Where a debugger of the second board may connect.
    debugger: SocketAddr,
    _processes: [Process; 4],
}

/// A debugger that is connected to a board, which stands still (GDB's remote serial protocol).
struct Debugger(TcpStream);

impl Debugger {
    fn new(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut debugger = Self(stream);
        // Who asks for the registers' names may write to one.
        debugger.tell("qXfer:features:read:target.xml:0,ffb", "xml");
        debugger
    }

    /// Tells the board something, and waits for the answer with these words.
    fn tell(&mut self, words: &str, expected: &str) {
        self.send(words);
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(expected) || heard[heard.len() - 3] != b'#'
        {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect(expected);
            heard.push(byte[0]);
        }
        self.0.write_all(b"+").unwrap();
    }

    fn send(&mut self, words: &str) {
        let sum = words.bytes().fold(0, u8::wrapping_add);
        write!(self.0, "${words}#{sum:02x}").unwrap();
    }

    /// Lets the board go on at `address`, with `code` in its memory there.
    fn go_on(mut self, address: u32, code: &str) {
        if !code.is_empty() {
            let bytes = code.len() / 2;
            self.tell(&format!("M{address:x},{bytes:x}:{code}"), "OK");
        }
        self.tell(&format!("Pf={:08x}", address.swap_bytes()), "OK");
        self.send("c");
        // It takes the order before it notices that the debugger has gone.
        self.0.read_exact(&mut [0]).unwrap();
    }
}

impl Mesh {
    fn new() -> Self {
        let place = Place::new();
        let key = place.path("shop.key");
        let [mesh, node, pico, frames, calls, debugger] = free();
        let taps = [Tap::new(pico, mesh), Tap::new(frames, mesh)];
        let neighbours = [node, taps[0].front, taps[1].front].map(|it| format!("\"{it}\""));
        let registry = place.write(
            "registry.toml",
            &format!(
                "id = {REGISTRY}\nlisten = \"{mesh}\"\ncoap = \"127.0.0.1:0\"\ndata = \"{}\"\n\
                 claim = true\nneighbours = [{}]\nmtu = 256\n",
                place.path("data"),
                neighbours.join(", "),
            ),
        );
        let log = File::create(place.path("log")).unwrap();
        let registry = ["registry", "--config", &registry];
        let (registry, coap) = daemon_that_logs(&registry, log.into());
        let held = place.package(
            "shop/held",
            "func(n: u32) -> s64",
            &[("std/add", "func(a: u32, b: u32) -> u32")],
            "capabilities = [\"clock\"]",
            HELD,
        );
        let mut packages = packed();
        packages.push(held.clone());
        for (name, body) in AWKWARD {
            let wat = format!(
                r#"(module (memory 1) (func (export "run") (param i32) (result i32) {body}))"#
            );
            let name = format!("shop/{name}");
            let more = "memory = 65536";
            packages.push(place.package(&name, "func(n: s32) -> s32", &[], more, &wat));
        }
        // As they run, since an image has the digest of its module as that travels.
        let mut publish = vec!["publish", "--plain", "--registry", &coap, "--key", &key];
        publish.extend(packages.iter().map(String::as_str));
        nimblenet(&publish).unwrap();

        let first = format!("it={},provision={}", image(), place.board(M0, &[]));
        let tie = format!("it.0=udp:{pico},{}", taps[0].back);
        let first = boards(&["--board", &first, "--tie", &tie]);
        let neighbour = format!("{HOST}:{}", taps[1].back.port());
        let record = place.board(M3, &["--raw", "--ethernet", "--neighbour", &neighbour]);
        let second = Mps2 {
            record: &record,
            frames,
            calls,
            debugger: Some(debugger),
        };
        let second = second.start();
        let (node, at_node) = daemon(&["node", "--config", &place.node(node, mesh)]);
        for at in [M0, M3, LINUX] {
            soon("the mesh is there", || {
                call(&at_node, at, "shop/held", &["1"])
            });
        }
        Self {
            place,
            at_node,
            at_board: calls.to_string(),
            taps,
            held,
            debugger,
            _processes: [registry, node, first, second],
        }
    }

    fn call(&self, at: &str, name: &str, args: &[&str]) -> Result<String, String> {
        call(&self.at_node, at, name, args)
    }

    /// Runs a chain that begins at one node and is moved to another; returns its result, and its record as
    /// it went through a tap.
    fn moved(&self, from: &str, to: &str) -> (String, Record) {
        self.taps.iter().for_each(Tap::forget);
        let running = std::thread::spawn({
            let (at_node, from) = (self.at_node.clone(), from.to_owned());
            move || call(&at_node, &from, "shop/held", &[&TIMES.to_string()])
        });
        move_on(&self.at_node, to);
        let result = running.join().unwrap();
        let record = self.taps.iter().find_map(Tap::record);
        (result.unwrap(), record.expect("it went through a tap"))
    }

    /// `nimblenet run` of the chain on this machine.
    fn run(&self, times: u32, more: &[&str]) -> Value {
        let add = packed().into_iter().find(|it| it.ends_with("std-add.nnp"));
        let with = format!("std/add={}", add.unwrap());
        let times = times.to_string();
        let fuel = FUEL.to_string();
        let run = ["run", &self.held, &times, "--with", &with, "--fuel", &fuel];
        let output = nimblenet(&[&run[..], &["--json"], more].concat()).unwrap();
        serde_json::from_str(&output).unwrap()
    }

    /// The image of the chain at its call number `calls`, made by this machine.
    fn image(&self, calls: u32) -> Vec<u8> {
        let file = self.place.path("image");
        let at = calls.to_string();
        self.run(TIMES, &["--freeze-at-call", &at, "--image", &file]);
        let job = fs::read(Path::new(&file)).unwrap();
        // spec/snapshot.md, section 10.
        let mut decoder = Decoder::new(&job[8..]);
        assert_eq!(decoder.array().unwrap(), Some(3));
        decoder.u64().unwrap();
        assert_eq!(decoder.u32().unwrap(), calls);
        assert_eq!(decoder.array().unwrap(), Some(1));
        assert_eq!(decoder.array().unwrap(), Some(5));
        (0..4).for_each(|_| decoder.skip().unwrap());
        decoder.bytes().unwrap().to_vec()
    }
}

#[test]
fn a_chain_is_the_same_bit_for_bit_on_three_processors_and_moves_among_them() {
    let mesh = Mesh::new();
    let expected = mesh.run(TIMES, &[])["results"].to_string();
    let mut fuel = Vec::new();
    for (from, to, limits) in [
        (M0, LINUX, Limits::board()),
        (M3, LINUX, Limits::board()),
        (LINUX, M3, Limits::linux()),
        (M0, M3, Limits::board()),
        (M3, M0, Limits::board()),
    ] {
        let (result, record) = mesh.moved(from, to);
        assert_eq!(result, expected, "from {from} to {to}");
        let calls = limits.calls - record.calls_left;
        assert!(
            (1..TIMES).contains(&calls),
            "it ran on either side: {calls}"
        );
        let root = &record.activations[0];
        assert_eq!(
            root.image,
            mesh.image(calls),
            "from {from} to {to}, call {calls}"
        );
        // The fuel of a whole run of so many calls is more than that of this one by a constant: the last
        // callee's, unless that has ended, and what comes after it.
        let whole = mesh.run(calls, &[])["fuel_used"].as_u64().unwrap();
        let ended = if record.callee_has_ended { 4 } else { 0 };
        fuel.push(whole + root.fuel - FUEL + ended);
    }
    assert!(fuel.iter().all(|it| *it == fuel[0]), "{fuel:?}");
}

#[test]
fn what_goes_wrong_on_one_processor_goes_wrong_on_all() {
    let mesh = Mesh::new();
    let mut failed = 0;
    for (name, _) in AWKWARD {
        let name = format!("shop/{name}");
        // An error names the node, and on the node of its own the place in the module.
        let said = [M0, M3, LINUX].map(|at| {
            mesh.call(at, &name, &["7"]).map_err(|error| {
                let reason = error.split([';', ')']).next();
                reason.unwrap().replace(&format!("at node {at}:"), "")
            })
        });
        assert_eq!(said[0], said[1], "{name}");
        assert_eq!(said[1], said[2], "{name}");
        failed += u32::from(said[0].is_err());
    }
    assert!(failed >= 8, "{failed} of them fail");

    // What this board has not is refused; calls of its own are made over its network.
    let refused = mesh.call(M3, "shop/board-temperature", &[]).unwrap_err();
    assert!(refused.contains("device-failed"), "{refused}");
    let own = nimblenet(&["call", "std/add", "2", "40", "--node", &mesh.at_board]);
    assert_eq!(own.unwrap().trim(), "42");
}

#[test]
fn a_second_chip_that_crashes_or_hangs_is_reported_and_serves_again() {
    // An address without memory; and code that turns off interrupts and goes round and round.
    for (address, code, cause) in [
        (0xf000_0000, "", "fault"),
        (0x2030_0000, "72b6fee7", "watchdog"),
    ] {
        let mesh = Mesh::new();
        Debugger::new(mesh.debugger).go_on(address, code);
        soon("the crash is reported", || {
            let log = fs::read_to_string(mesh.place.path("log")).unwrap();
            let told = format!("a node's program has crashed node={M3} cause=\"{cause}\"");
            log.contains(&told).then_some(()).ok_or(log)
        });
        soon("it serves again", || mesh.call(M3, "std/add", &["3", "4"]));
    }
}
