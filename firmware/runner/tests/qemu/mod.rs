//! MPS2 boards, which QEMU emulates in real time. `cargo xtask runner` sets `MPS2_AN385` to their image.
#![allow(dead_code, reason = "each test program uses a part")]

use core::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::people::Process;

/// Addresses in the emulated network: this machine, as a board sees it.
pub(crate) const HOST: &str = "10.0.2.2";
/// Where QEMU puts the record of who the board is, and the seed (spec/board.md, section 4).
const RECORD_AT: &str = "0x003ff000";
const SEED_AT: &str = "0x003feff8";

/// A board that is to be emulated.
pub(crate) struct Mps2<'a> {
    /// The file with its record.
    pub(crate) record: &'a str,
    /// Where on this machine it gets its frames.
    pub(crate) frames: SocketAddr,
    /// Where on this machine calls of its own are made.
    pub(crate) calls: SocketAddr,
    /// Where a debugger may connect.
    pub(crate) debugger: Option<SocketAddr>,
}

impl Mps2<'_> {
    /// Gives it power.
    pub(crate) fn start(&self) -> Process {
        let image = std::env::var("MPS2_AN385").expect("`cargo xtask runner` sets MPS2_AN385");
        let forward = |from: SocketAddr, to: u16| format!("hostfwd=udp:{from}-:{to}");
        let network = [
            "user",
            &forward(self.frames, 4000),
            &forward(self.calls, 5683),
        ];
        let network = network.join(",");
        let record = self.record;
        // Boards that start together draw different numbers.
        let seed = 0x6e69_6d62_6c65 + u64::from(self.frames.port());
        let mut qemu = Command::new("qemu-system-arm");
        qemu.args(["-M", "mps2-an385", "-display", "none", "-monitor", "none"])
            .args(["-serial", "none", "-nic", &network, "-kernel", &image])
            .args([
                "-device",
                &format!("loader,file={record},addr={RECORD_AT},force-raw=on"),
            ])
            .args([
                "-device",
                &format!("loader,addr={SEED_AT},data={seed:#x},data-len=8"),
            ])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if let Some(debugger) = self.debugger {
            qemu.args(["-gdb", &format!("tcp:{debugger}")]);
        }
        Process(qemu.spawn().expect("qemu-system-arm is installed"))
    }
}
