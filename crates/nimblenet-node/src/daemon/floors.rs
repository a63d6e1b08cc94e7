//! Floors: the newest epoch of each namespace that a node has held. A restarted node takes none that is
//! older, even if the file of its catalogue is lost or damaged.

use alloc::collections::BTreeMap;
use core::time::Duration;
use std::fs;
use std::io;
use std::path::Path;

use nimblenet_core::Instant;
use nimblenet_tasklet::{Name, NamespaceId};

use crate::state::Twin;

/// The name of the first of the two files.
const FILE: &str = "floors";
/// What could not be written is tried again after this time.
const PAUSE: Duration = Duration::from_secs(10);

/// The floors of a node, as its state directory has them.
#[derive(Debug)]
pub(super) struct Floors {
    twin: Twin,
    epochs: BTreeMap<Name, u32>,
    /// The namespaces of this node.
    names: BTreeMap<NamespaceId, Name>,
    /// When to try again to write what could not be written.
    retry: Option<Instant>,
}

impl Floors {
    /// The floors in `dir`.
    ///
    /// # Errors
    /// If the files cannot be read, or both are damaged.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let twin = Twin::new(dir, FILE);
        let loss = "the node then takes whatever catalogue it finds first, however old";
        let mut epochs = BTreeMap::new();
        for (name, epoch) in twin.read(read, loss)?.into_iter().flatten() {
            let floor: &mut u32 = epochs.entry(name).or_default();
            *floor = epoch.max(*floor);
        }
        Ok(Self {
            twin,
            epochs,
            names: BTreeMap::new(),
            retry: None,
        })
    }

    /// The floor of a namespace of this node; 0 if it has held nothing.
    pub(super) fn of(&mut self, namespace: &Name) -> u32 {
        self.names.insert(NamespaceId::of(namespace), *namespace);
        self.epochs.get(namespace).copied().unwrap_or(0)
    }

    /// Raises the floor of a namespace of this node, durably. What cannot be written is tried again.
    pub(super) fn raise(&mut self, now: Instant, namespace: NamespaceId, epoch: u32) {
        let Some(name) = self.names.get(&namespace) else {
            return;
        };
        let floor = self.epochs.entry(*name).or_default();
        if epoch > *floor {
            *floor = epoch;
            self.write(now);
        }
    }

    /// Tries again to write what could not be written, from time to time.
    pub(super) fn poll_retry(&mut self, now: Instant) {
        if self.retry.is_some_and(|at| at <= now) {
            self.write(now);
        }
    }

    fn write(&mut self, now: Instant) {
        let lines = self.epochs.iter();
        let lines = lines.map(|(name, epoch)| format!("{name} {epoch}\n"));
        let written = self.twin.write(&lines.collect::<String>());
        self.retry = written.is_err().then(|| now + PAUSE);
        if let Err(error) = written {
            tracing::warn!(%error, "floors were not kept; a restart may take an older catalogue");
        }
    }
}

/// A namespace and its floor a line.
fn read(text: &str) -> Option<Vec<(Name, u32)>> {
    let lines = text.lines().map(|line| {
        let (name, epoch) = line.split_once(' ')?;
        Some((Name::new(name).ok()?, epoch.parse().ok()?))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn att_32_floors_only_rise_and_outlive_one_damaged_file() {
        let dir = tempfile::tempdir().unwrap();
        let [shop, std] = ["shop", "std"].map(|name| Name::new(name).unwrap());
        let mut floors = Floors::open(dir.path()).unwrap();
        assert_eq!((floors.of(&shop), floors.of(&std)), (0, 0));
        for (name, epoch) in [(shop, 5), (std, 2), (shop, 4)] {
            floors.raise(Instant::ZERO, NamespaceId::of(&name), epoch);
        }
        for file in ["floors", "floors.2"] {
            let path = dir.path().join(file);
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[1..]).unwrap();
            let mut again = Floors::open(dir.path()).unwrap();
            assert_eq!((again.of(&shop), again.of(&std)), (5, 2));
            fs::write(&path, whole).unwrap();
        }
        for file in ["floors", "floors.2"] {
            fs::write(dir.path().join(file), b"shop 1").unwrap();
        }
        let refused = Floors::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("remove both"), "{refused}");
    }

    #[test]
    fn a_full_disk_takes_no_floor_away_and_what_was_not_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let shop = Name::new("shop").unwrap();
        let id = NamespaceId::of(&shop);
        let mut floors = Floors::open(dir.path()).unwrap();
        floors.of(&shop);
        floors.raise(Instant::ZERO, id, 5);
        // Whatever is written to the files that replace the others finds no space.
        let full = ["floors.new", "floors.2.new"].map(|file| dir.path().join(file));
        for file in &full {
            std::os::unix::fs::symlink("/dev/full", file).unwrap();
        }
        floors.raise(Instant::ZERO, id, 6);
        let kept = || Floors::open(dir.path()).unwrap().of(&shop);
        assert_eq!((floors.of(&shop), kept()), (6, 5));
        for file in &full {
            fs::remove_file(file).unwrap();
        }
        let later = Instant::ZERO + PAUSE;
        floors.poll_retry(Instant::ZERO + PAUSE / 2);
        assert_eq!(kept(), 5);
        floors.poll_retry(later);
        assert_eq!(kept(), 6);
    }
}
