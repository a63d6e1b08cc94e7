//! Floors: the newest epoch of each namespace that a node has held. A restarted node takes none that is
//! older, even if the file of its catalogue is lost or damaged.

use alloc::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use nimblenet_tasklet::Name;

use crate::state::Twin;

/// The name of the first of the two files.
const FILE: &str = "floors";

/// The floors of a node, as its state directory has them.
#[derive(Debug)]
pub(super) struct Floors {
    twin: Twin,
    epochs: BTreeMap<Name, u32>,
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
        Ok(Self { twin, epochs })
    }

    /// The floor of a namespace; 0 if the node has held nothing.
    pub(super) fn of(&self, namespace: &Name) -> u32 {
        self.epochs.get(namespace).copied().unwrap_or(0)
    }

    /// Raises a floor, durably.
    pub(super) fn raise(&mut self, namespace: &Name, epoch: u32) {
        if epoch <= self.of(namespace) {
            return;
        }
        self.epochs.insert(*namespace, epoch);
        let lines = self.epochs.iter();
        let lines = lines.map(|(name, epoch)| format!("{name} {epoch}\n"));
        if let Err(error) = self.twin.write(&lines.collect::<String>()) {
            tracing::warn!(%namespace, epoch, %error, "the floor was not kept");
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
        assert_eq!(floors.of(&shop), 0);
        floors.raise(&shop, 5);
        floors.raise(&std, 2);
        floors.raise(&shop, 4);
        for file in ["floors", "floors.2"] {
            let path = dir.path().join(file);
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[1..]).unwrap();
            let again = Floors::open(dir.path()).unwrap();
            assert_eq!((again.of(&shop), again.of(&std)), (5, 2));
            fs::write(&path, whole).unwrap();
        }
        for file in ["floors", "floors.2"] {
            fs::write(dir.path().join(file), b"shop 1").unwrap();
        }
        let refused = Floors::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("remove both"), "{refused}");
    }
}
