//! Packet numbers over restarts: a boot index in a file, which is in front of the packets' count.
//!
//! The index is the high half of a packet number. The file has the first one that was never used. Each
//! start takes it, and sets a few more aside, before any packet has a number of them; a node that comes
//! to the end of those sets the next ones aside. So numbers only rise, whatever the clock says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{clock, state};

/// The name of the file.
const FILE: &str = "boot-index";
/// So many indexes are set aside at a time; each has 65536 packets.
const ASIDE: u32 = 16;
/// The bits of a number that count packets.
const COUNT_BITS: u32 = 16;

/// The packet numbers of a daemon.
#[derive(Debug)]
pub(super) struct Numbers {
    first: u32,
    /// Where the index is kept, and the first one that is not set aside.
    kept: Option<(PathBuf, u32)>,
}

impl Numbers {
    /// Numbers of a daemon that keeps nothing: they begin with its clock.
    pub(super) fn by_clock() -> Self {
        let first = clock::fresh_sequence();
        Self { first, kept: None }
    }

    /// Numbers that are newer than all before, as the file in `dir` says. If there is none, they begin
    /// with the clock.
    ///
    /// # Errors
    /// If the file cannot be read or written, or is damaged.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(FILE);
        let index = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let why = format!("{} is damaged; remove it", path.display());
                io::Error::new(io::ErrorKind::InvalidData, why)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (clock::fresh_sequence() >> COUNT_BITS) + 1
            }
            Err(error) => return Err(error),
        };
        let aside = set_aside(&path, index)?;
        Ok(Self {
            first: index << COUNT_BITS,
            kept: Some((path, aside)),
        })
    }

    /// The first number.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Sets more aside if the node, whose next packet has the number `next`, comes near the end.
    pub(super) fn come_to(&mut self, next: u32) {
        let Some((path, aside)) = &mut self.kept else {
            return;
        };
        let left = (*aside << COUNT_BITS).wrapping_sub(next) >> COUNT_BITS;
        if left >= ASIDE / 2 {
            return;
        }
        match set_aside(path, *aside) {
            Ok(more) => *aside = more,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the boot index was not kept")
            }
        }
    }
}

/// Writes that the indexes from `index` on are in use; returns the first one that is not.
fn set_aside(path: &Path, index: u32) -> io::Result<u32> {
    let aside = index.wrapping_add(ASIDE);
    state::replace(path, format!("{aside}\n").as_bytes())?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("nimblenet-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn numbers_rise_by_more_than_a_run_with_each_start_however_many_packets_are_sent() {
        let dir = dir("numbers");
        let mut before = Numbers::open(&dir).unwrap().first();
        for packets in [0, 1, 65_536, 40_000_000, u32::MAX / 4] {
            let mut numbers = Numbers::open(&dir).unwrap();
            let first = numbers.first();
            let ahead = first.wrapping_sub(before);
            assert!(ahead > 1 << COUNT_BITS && ahead < 1 << 31, "{ahead}");
            let mut next = first;
            while next.wrapping_sub(first) < packets {
                next = next.wrapping_add(10_000);
                numbers.come_to(next);
            }
            before = next;
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_damaged_file_is_refused_and_not_taken_for_none() {
        let dir = dir("numbers-damaged");
        Numbers::open(&dir).unwrap();
        fs::write(dir.join(FILE), "1x").unwrap();
        let error = Numbers::open(&dir).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
