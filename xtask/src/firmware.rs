//! Images for boards: built, weighed, and held against their limits.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::image::{Size, weigh};
use crate::no_std::BOARD;
use crate::toolchain::Toolchain;
use crate::{uf2, workspace};

/// A Cargo project of images for one chip.
struct Project {
    folder: &'static str,
    target: &'static str,
    /// How cargo takes the linker from the environment.
    linker: &'static str,
    features: &'static str,
}

const RP2040: Project = Project {
    folder: "firmware/rp2040",
    target: BOARD,
    linker: "CARGO_TARGET_THUMBV6M_NONE_EABI_LINKER",
    features: "wifi",
};

const MPS2: Project = Project {
    folder: "firmware/mps2",
    target: "thumbv7m-none-eabi",
    linker: "CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER",
    features: "",
};

/// What an image may need at most.
///
/// A limit is a decision: raising one belongs into the change that needs it, with its reason.
struct Limit {
    project: &'static Project,
    image: &'static str,
    flash_bytes: u64,
    ram_bytes: u64,
    ram_bytes_outside_disk_and_arena: u64,
}

/// The board has 2 MiB of flash and 264 kB of RAM; what RAM is left over is the stack of core 0.
const LIMITS: &[Limit] = &[
    Limit {
        project: &RP2040,
        image: "pico-uart",
        // The goal is 160 kB. What takes most: the interpreter 60 kB, the node 49 kB, Ed25519 15 kB.
        // Of that, 3 kB see to it that no block, image or host value can break a run or stop it
        // from moving, and 1 kB that values are a tasklet's own and a trap has its place. 7 kB: a
        // board tells its neighbours what it holds, and fetches from those who hold what it lacks. 2 kB:
        // it expands compressed modules, so that its cache holds nearly twice as many. 3 kB: it keeps
        // modules that pass through it. 1 kB: it knows which clients are there, for whom modules stay.
        // 400 B: the entries of its catalogues are on its disk, five times as many as before. 1.7 kB: it
        // waits for sources as long as they take, and fetches ahead only while they answer in time. 1.8 kB:
        // hellos of many notes fit short frames in turn. 3.3 kB: floods of any number of origins end, no
        // call runs twice, no number mutes a node. 3.6 kB: calls wait for a job in a table of their own,
        // the interpreter's core rests while a tasklet sleeps, and the record says how long a board waits for
        // others. 3 kB: parts shrink on links that swallow long frames, frames on a radio have a checksum,
        // neighbours are answered whether they are heard, and a catalogue that a registry has lost is told
        // apart. 2 kB: the ledger, and flash that is written; in return a board counts only what it shows.
        flash_bytes: 220_000,
        ram_bytes: 262_144,
        // 2 kB of it keep what tasklets keep apart: the values, and each activation's full name.
        // 1.6 kB: 32 calls that wait. 1 kB: what neighbours hold. 2 kB: clients and what they have called, modules that pass, the
        // order of names and of modules. 2 kB: the packets of 64 nodes, and answers that callers may
        // still ask for. 1.1 kB: catalogues of four namespaces, whose tables have grown.
        ram_bytes_outside_disk_and_arena: 58_800,
    },
    Limit {
        project: &RP2040,
        image: "pico-uart-single",
        // As for two cores.
        flash_bytes: 220_000,
        // The second core's stack is not there.
        ram_bytes: 253_952,
        ram_bytes_outside_disk_and_arena: 51_600,
    },
    Limit {
        project: &RP2040,
        image: "pico-w-wifi",
        // 232 kB of it are the radio's own firmware. The node's part grows as for the others. 250 B: clients hear
        // two more faults, with a sentence each: that a call was cancelled, or would have been too late.
        flash_bytes: 511_800,
        ram_bytes: 250_900,
        // The driver and the network hold packets in both directions. 100 B: the tasks of a network are the
        // same on every chip.
        ram_bytes_outside_disk_and_arena: 97_300,
    },
    Limit {
        project: &MPS2,
        image: "mps2-an385",
        // 4 MiB of each are there. What counts is that a second chip needs no more of the node than the
        // first one, but for what is said here: the rest is the network, and the interpreter's other dispatcher.
        // 14.4 kB: it tells how long work waits with it, and sends calls of its clients to neighbours with less.
        flash_bytes: 314_400,
        // 31 kB: eight more places for jobs, since a call that runs elsewhere keeps its own.
        ram_bytes: 321_000,
        // The same 31 kB.
        ram_bytes_outside_disk_and_arena: 121_000,
    },
];

/// What makes images small, for all crates and `core`; `opt-level` and the like are in their
/// manifest.
const RUSTFLAGS: [&str; 5] = [
    // SHA-256 as a loop instead of 64 rounds in a row.
    "--cfg",
    "sha2_backend_soft=\"compact\"",
    // A panic is one undefined instruction where it happens, without text; the fault it causes
    // keeps its address for the next start, and `addr2line` has the rest.
    "-Zunstable-options",
    "-Cpanic=immediate-abort",
    // Nothing reads what places in the source are called.
    "-Zlocation-detail=none",
];

/// Copies of bytes are a large part of what a board does: they are not as small as they could be, but
/// smaller than the fastest, by 1.3 kB.
const FAST_COPIES: &str = "profile.release.package.compiler_builtins.opt-level=\"s\"";

/// Builds and weighs all images; fails past a limit.
pub(crate) fn run(json: bool, uf2: bool) -> Result<()> {
    build()?;
    let mut report = serde_json::Map::new();
    let mut exceeded = Vec::new();
    for limit in LIMITS {
        let path = limit.project.images()?.join(limit.image);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let size = weigh(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
        eprint!("{}\n{size}", limit.image);
        exceeded.extend(limit.exceeded_by(&size));
        report.insert(limit.image.into(), size.json());
    }
    if uf2 {
        // The format is that of this chip's boot loader.
        let images = LIMITS
            .iter()
            .filter(|limit| limit.project.target == RP2040.target);
        let images: Vec<&str> = images.map(|limit| limit.image).collect();
        uf2::convert(&RP2040.images()?, &images)?;
    }
    if json {
        println!("{}", serde_json::Value::Object(report));
    }
    if !exceeded.is_empty() {
        bail!("too large: {}", exceeded.join("; "));
    }
    Ok(())
}

/// Builds all images; returns the folders of those for boards with an RP2040, and of those for MPS2 boards.
pub(crate) fn build() -> Result<[PathBuf; 2]> {
    let [first, second] = [&RP2040, &MPS2].map(Project::build);
    Ok([first?, second?])
}

impl Project {
    /// Builds the project's images; returns their folder.
    fn build(&self) -> Result<PathBuf> {
        let target = target()?;
        let toolchain = Toolchain::find_with_source(self.target)?;
        let mut command = toolchain.cargo_with_core("build", self.target, &target)?;
        command
            .current_dir(workspace::root().join(self.folder))
            .args([
                "--release",
                "--bins",
                "--features",
                self.features,
                "--config",
                FAST_COPIES,
            ])
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
        if toolchain == Toolchain::Debian {
            command.env(self.linker, "ld.lld-14");
        }
        workspace::run(&mut command)?;
        self.images()
    }

    /// The folder of the project's images.
    fn images(&self) -> Result<PathBuf> {
        Ok(target()?.join(self.target).join("release"))
    }
}

/// The directory that builds of images go to.
fn target() -> Result<PathBuf> {
    Ok(workspace::target_directory()?.join("firmware"))
}

impl Limit {
    fn exceeded_by(&self, size: &Size) -> Vec<String> {
        let rows = [
            ("flash", size.flash_bytes, self.flash_bytes),
            ("RAM", size.ram_bytes, self.ram_bytes),
            (
                "RAM outside disk and arena",
                size.ram_bytes_outside_disk_and_arena,
                self.ram_bytes_outside_disk_and_arena,
            ),
        ];
        let past = rows.into_iter().filter(|(_, bytes, limit)| bytes > limit);
        past.map(|(what, bytes, limit)| {
            format!(
                "{} takes {bytes} bytes of {what}, {limit} are allowed",
                self.image
            )
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_past_a_limit_is_reported() {
        let limit = Limit {
            project: &RP2040,
            image: "x",
            flash_bytes: 10,
            ram_bytes: 10,
            ram_bytes_outside_disk_and_arena: 5,
        };
        let mut size = Size::default();
        size.flash_bytes = limit.flash_bytes;
        assert!(limit.exceeded_by(&size).is_empty());
        size.ram_bytes_outside_disk_and_arena = 6;
        let expected = "x takes 6 bytes of RAM outside disk and arena, 5 are allowed";
        assert_eq!(limit.exceeded_by(&size), [expected]);
    }
}
