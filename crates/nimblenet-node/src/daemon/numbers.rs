//! Packet numbers over restarts: a boot index in two files, which is in front of the packets' count.
//!
//! The index is the high half of a packet number. The files have the first one that was never used. Each
//! start takes it, and sets one more aside, before any packet has a number of them; a node that comes
//! to the end of those sets the next ones aside. So numbers only rise, whatever the clock says.
//!
//! Where the clock is ahead of the files, or there are none, the index is the clock's, which rises ten
//! times a second: more than any node sends packets for. A daemon without a file waits until the clock
//! has an index that no run before it can have taken. So numbers rise without a file too, as long as
//! the clock does and the run before began less than 54 minutes ago, half the time in which indexes
//! come around; nobody remembers older runs.

use std::fs;
use std::io;
use std::path::Path;

use crate::clock;
use crate::state::Twin;

/// The name of the file.
const FILE: &str = "boot-index";
/// So many indexes are set aside at a time; each has 65536 packets.
const ASIDE: u32 = 2;
/// The bits of a number that count packets.
const COUNT_BITS: u32 = 16;

/// The packet numbers of a daemon.
#[derive(Debug)]
pub(super) struct Numbers {
    first: u32,
    /// Where the index is kept, and the first one that is not set aside.
    kept: Option<(Twin, u32)>,
    /// Whether the last try to set more aside has failed.
    unkept: bool,
}

impl Numbers {
    /// Numbers of a daemon that keeps nothing: they begin with its clock.
    pub(super) fn by_clock() -> Self {
        let first = fresh_index() << COUNT_BITS;
        Self {
            first,
            kept: None,
            unkept: false,
        }
    }

    /// Numbers that are newer than all before, as the file in `dir` says. If there is none, they begin
    /// with the clock.
    ///
    /// # Errors
    /// If the file cannot be read or written, or is damaged.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let twin = Twin::new(dir, FILE);
        let parse = |text: &str| text.trim().parse().ok();
        let kept = twin.read(parse, "numbers then begin with the clock")?;
        let index = match kept.into_iter().max() {
            Some(kept) => later(kept, clock::tick()),
            None => fresh_index(),
        };
        let aside = set_aside(&twin, index)?;
        Ok(Self {
            first: index << COUNT_BITS,
            kept: Some((twin, aside)),
            unkept: false,
        })
    }

    /// The first number.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Sets more aside if the node, whose next packet has the number `next`, comes near the end.
    pub(super) fn come_to(&mut self, next: u32) {
        let Some((twin, aside)) = &mut self.kept else {
            return;
        };
        let left = (*aside << COUNT_BITS).wrapping_sub(next) >> COUNT_BITS;
        if left >= ASIDE / 2 {
            return;
        }
        match set_aside(twin, *aside) {
            Ok(more) => *aside = more,
            // The clock stands in for it until it can be written: a restart takes the one that is ahead.
            Err(error) if !self.unkept => {
                tracing::warn!(%error, "the boot index was not kept");
                self.unkept = true;
                return;
            }
            Err(_) => return,
        }
        self.unkept = false;
    }
}

/// An index that no run has taken before, as long as the clock rises.
fn fresh_index() -> u32 {
    std::thread::sleep(clock::TICK);
    clock::tick()
}

/// Which of two indexes is ahead of the other in the circle that the high halves of numbers are.
fn later(kept: u32, clock: u32) -> u32 {
    let ahead = clock.wrapping_sub(kept) << COUNT_BITS;
    if ahead < 1 << 31 { clock } else { kept }
}

/// Writes that the indexes from `index` on are in use; returns the first one that is not.
fn set_aside(twin: &Twin, index: u32) -> io::Result<u32> {
    let aside = index.wrapping_add(ASIDE);
    twin.write(&format!("{aside}\n"))?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
        for packets in [0, 1, 65_536, 40_000_000, 200_000_000] {
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

    /// Whether `later` comes after `first` by more than all packets of a short run.
    fn rise(first: &Numbers, later: &Numbers) -> bool {
        let ahead = later.first().wrapping_sub(first.first());
        (1 << COUNT_BITS..1 << 31).contains(&ahead)
    }

    #[test]
    fn numbers_rise_without_a_file_however_soon_the_next_start_comes() {
        let runs = [(); 3].map(|()| Numbers::by_clock());
        assert!(rise(&runs[0], &runs[1]) && rise(&runs[1], &runs[2]));
    }

    #[test]
    fn numbers_rise_although_the_file_is_removed_or_was_never_kept() {
        let dir = dir("numbers-removed");
        let before = Numbers::by_clock();
        let kept = Numbers::open(&dir).unwrap();
        for file in [FILE, "boot-index.2"] {
            fs::remove_file(dir.join(file)).unwrap();
        }
        let removed = Numbers::open(&dir).unwrap();
        let without = Numbers::by_clock();
        fs::remove_dir_all(&dir).unwrap();
        let runs = [before, kept, removed, without];
        assert!(
            runs.windows(2).all(|pair| rise(&pair[0], &pair[1])),
            "{runs:?}"
        );
    }

    #[test]
    fn of_file_and_clock_the_one_that_is_ahead_counts() {
        for (kept, clock, index) in [(5, 9, 9), (9, 5, 9), (0x1_ffff, 2, 2), (2, 0xffff, 2)] {
            assert_eq!(later(kept, clock), index, "{kept:#x} {clock:#x}");
        }
    }

    #[test]
    fn a_damaged_file_is_made_good_by_its_copy_and_two_are_refused() {
        let dir = dir("numbers-damaged");
        let before = Numbers::open(&dir).unwrap();
        for file in [FILE, "boot-index.2"] {
            fs::write(dir.join(file), b"1x").unwrap();
            let after = Numbers::open(&dir).unwrap();
            assert!(rise(&before, &after));
        }
        for file in [FILE, "boot-index.2"] {
            fs::write(dir.join(file), b"").unwrap();
        }
        let error = Numbers::open(&dir).unwrap_err().to_string();
        assert!(error.contains("remove both"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_full_disk_stops_a_start_and_a_run_that_comes_to_its_end_goes_on() {
        let dir = dir("numbers-full");
        let mut numbers = Numbers::open(&dir).unwrap();
        let full = ["boot-index.new", "boot-index.2.new"].map(|file| dir.join(file));
        for file in &full {
            std::os::unix::fs::symlink("/dev/full", file).unwrap();
        }
        let error = Numbers::open(&dir).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        let end = numbers.first().wrapping_add(ASIDE << COUNT_BITS);
        numbers.come_to(end.wrapping_sub(1));
        assert!(numbers.unkept);
        for file in &full {
            fs::remove_file(file).unwrap();
        }
        numbers.come_to(end.wrapping_sub(1));
        assert!(!numbers.unkept);
        let ahead = Numbers::open(&dir).unwrap().first().wrapping_sub(end);
        assert!(ahead < 1 << 31, "{ahead}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
