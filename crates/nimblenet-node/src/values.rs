//! The values that tasklets keep on the node with the capability `kv` (spec/behaviour.md, section
//! 12).
//!
//! Each tasklet of each namespace has values of its own, under its full name; a new version finds
//! those of the version before it. With a state directory they outlive the node: a thread writes
//! them to one file soon after a change, and once more when the node ends. Without a state
//! directory they end with the node.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use minicbor::{Decoder, Encoder};
use nimblenet_core::Instant;
use nimblenet_tasklet::{Digest, Fault, TaskletName};

use crate::clock::Clock;
use crate::state;

/// The most keys of one tasklet.
const MAX_KEYS: usize = 1024;
/// The most keys of all tasklets of a node.
const MAX_ALL_KEYS: usize = 65_536;
/// The file in the state directory.
const FILE: &str = "values.cbor";
/// The version of the file's format.
const VERSION: u8 = 1;
/// Bytes of the digest at the file's end.
const DIGEST_BYTES: usize = 32;
/// How long a change waits, so that others are written with it.
const GATHER: Duration = Duration::from_millis(500);
/// The time after which the file is written again if writing has failed.
const RETRY: Duration = Duration::from_secs(10);

/// The values of a node's tasklets.
#[derive(Debug)]
pub(crate) struct Values {
    table: Arc<Mutex<Table>>,
    writer: Option<Writer>,
}

/// The thread that writes the file.
#[derive(Debug)]
struct Writer {
    changes: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default, Debug)]
struct Table {
    values: BTreeMap<TaskletName, BTreeMap<u32, i64>>,
    keys: usize,
    /// Whether there is a change that the writer was told of and has not taken up yet.
    changed: bool,
}

impl Values {
    /// Values that end with the node.
    pub(crate) fn in_memory() -> Self {
        Self {
            table: Arc::default(),
            writer: None,
        }
    }

    /// Values that are kept in the directory `dir`. If the file is damaged, sets it aside with a
    /// warning, and tasklets find no values.
    ///
    /// # Errors
    /// If the directory cannot be made, the file cannot be read, or the system has no more threads.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(FILE);
        let table = match state::read(&path) {
            Ok(bytes) => read(&bytes).unwrap_or_else(|| set_aside(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Table::default(),
            Err(error) => return Err(error),
        };
        let table = Arc::new(Mutex::new(table));
        let (changes, due) = channel();
        let kept = Arc::clone(&table);
        let run = move || write_changes(&path, &kept, &due);
        let thread = Builder::new().name("values".into()).spawn(run)?;
        let writer = Writer {
            changes: Some(changes),
            thread: Some(thread),
        };
        Ok(Self {
            table,
            writer: Some(writer),
        })
    }

    /// The value that `tasklet` keeps under `key`; 0 if there is none.
    pub(crate) fn get(&self, tasklet: &TaskletName, key: u32) -> i64 {
        let table = lock(&self.table);
        let values = table.values.get(tasklet);
        values
            .and_then(|values| values.get(&key))
            .map_or(0, |value| *value)
    }

    /// Keeps a value of `tasklet` under `key`. A value of 0 takes no room.
    ///
    /// # Errors
    /// [`Fault::DeviceFailed`] if the tasklet, or all of them together, have as many keys as they
    /// may.
    pub(crate) fn set(&self, tasklet: &TaskletName, key: u32, value: i64) -> Result<(), Fault> {
        let mut table = lock(&self.table);
        if !table.set(tasklet, key, value)? || table.changed {
            return Ok(());
        }
        table.changed = true;
        drop(table);
        if let Some(changes) = self.writer.as_ref().and_then(|it| it.changes.as_ref()) {
            let _ = changes.send(());
        }
        Ok(())
    }
}

impl Drop for Writer {
    /// Waits until everything is written.
    fn drop(&mut self) {
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Table {
    /// Sets a value; returns whether anything changed.
    fn set(&mut self, tasklet: &TaskletName, key: u32, value: i64) -> Result<bool, Fault> {
        if value == 0 {
            let Some(values) = self.values.get_mut(tasklet) else {
                return Ok(false);
            };
            let was_there = values.remove(&key).is_some();
            self.keys -= usize::from(was_there);
            if values.is_empty() {
                self.values.remove(tasklet);
            }
            return Ok(was_there);
        }
        let held = self.values.get(tasklet);
        let known = held.and_then(|values| values.get(&key)).copied();
        let full = held.is_some_and(|values| values.len() >= MAX_KEYS) || self.keys >= MAX_ALL_KEYS;
        if known.is_none() && full {
            return Err(Fault::DeviceFailed);
        }
        self.values.entry(*tasklet).or_default().insert(key, value);
        self.keys += usize::from(known.is_none());
        Ok(known != Some(value))
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the file after each change, until the values are dropped.
fn write_changes(path: &Path, table: &Mutex<Table>, due: &Receiver<()>) {
    while due.recv().is_ok() {
        let mut wait = GATHER;
        loop {
            let last = ends_within(due, wait);
            let bytes = {
                let mut table = lock(table);
                table.changed = false;
                write(&table)
            };
            match state::replace(path, &bytes) {
                Ok(()) => break,
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "values of tasklets were not written");
                    if last {
                        return;
                    }
                    wait = RETRY;
                }
            }
        }
    }
}

/// Waits; true if the node ends meanwhile.
fn ends_within(due: &Receiver<()>, wait: Duration) -> bool {
    let clock = Clock::start();
    loop {
        match due.recv_timeout(clock.until(Instant::ZERO + wait)) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

fn write(table: &Table) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    let written = out.array(2).and_then(|out| {
        out.u8(VERSION)?.map(table.values.len() as u64)?;
        for (tasklet, values) in &table.values {
            out.str(&tasklet.to_string())?.map(values.len() as u64)?;
            for (key, value) in values {
                out.u32(*key)?.i64(*value)?;
            }
        }
        Ok(out)
    });
    written.expect("memory takes whatever is written");
    let mut bytes = out.into_writer();
    let Digest(digest) = Digest::of(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// Reads the file; nothing if it is damaged or has another format.
fn read(bytes: &[u8]) -> Option<Table> {
    let (content, digest) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    if Digest::of(content) != Digest(*digest) {
        return None;
    }
    read_content(content).ok().flatten()
}

fn read_content(content: &[u8]) -> Result<Option<Table>, minicbor::decode::Error> {
    let mut table = Table::default();
    let mut from = Decoder::new(content);
    if from.array()? != Some(2) || from.u8()? != VERSION {
        return Ok(None);
    }
    for _ in 0..from.map()?.unwrap_or(0) {
        let Ok(tasklet) = TaskletName::new(from.str()?) else {
            return Ok(None);
        };
        for _ in 0..from.map()?.unwrap_or(0) {
            let (key, value) = (from.u32()?, from.i64()?);
            if table.set(&tasklet, key, value).is_err() {
                return Ok(None);
            }
        }
    }
    Ok(Some(table))
}

/// Renames a damaged file, so that a person can look at it.
fn set_aside(path: &Path) -> Table {
    let aside = PathBuf::from(path).with_extension("damaged");
    let moved = fs::rename(path, &aside);
    tracing::warn!(
        path = %path.display(),
        aside = %aside.display(),
        error = moved.err().map(tracing::field::display),
        "the values of tasklets are damaged and not used"
    );
    Table::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasklet(name: &str) -> TaskletName {
        TaskletName::new(name).unwrap()
    }

    #[test]
    fn each_tasklet_of_each_namespace_has_values_of_its_own() {
        let values = Values::in_memory();
        let mine = tasklet("shop/count");
        values.set(&mine, 7, 9).unwrap();
        for other in ["shop/other", "lab/count"] {
            assert_eq!(values.get(&tasklet(other), 7), 0, "{other}");
            values.set(&tasklet(other), 7, 1).unwrap();
        }
        assert_eq!(values.get(&mine, 7), 9);
    }

    #[test]
    fn values_outlive_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let values = Values::open(dir.path()).unwrap();
        values.set(&tasklet("shop/count"), 7, -9).unwrap();
        values
            .set(&tasklet("lab/count"), u32::MAX, i64::MIN)
            .unwrap();
        values.set(&tasklet("lab/count"), 1, 1).unwrap();
        values.set(&tasklet("lab/count"), 1, 0).unwrap();
        drop(values);
        let values = Values::open(dir.path()).unwrap();
        assert_eq!(values.get(&tasklet("shop/count"), 7), -9);
        assert_eq!(values.get(&tasklet("lab/count"), u32::MAX), i64::MIN);
        assert_eq!(values.get(&tasklet("lab/count"), 1), 0);
        assert_eq!(lock(&values.table).keys, 2);
    }

    #[test]
    fn a_change_is_written_soon_though_the_node_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let values = Values::open(dir.path()).unwrap();
        values.set(&tasklet("shop/count"), 7, 9).unwrap();
        let file = dir.path().join(FILE);
        let written = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            let bytes = fs::read(&file).unwrap_or_default();
            read(&bytes).is_some_and(|table| table.keys == 1)
        });
        assert!(written, "not within ten seconds");
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_the_node_starts() {
        let dir = tempfile::tempdir().unwrap();
        let values = Values::open(dir.path()).unwrap();
        values.set(&tasklet("shop/count"), 7, 9).unwrap();
        drop(values);
        let file = dir.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_none(), "byte {at}");
            assert!(read(&whole[..at]).is_none(), "cut at {at}");
        }
        // A file that was made longer than any is not read into the memory.
        let long = fs::File::options().append(true).open(&file).unwrap();
        long.set_len(1 << 31).unwrap();
        assert_eq!(state::read(&file).unwrap().len(), 16 << 20);
        assert!(read(&state::read(&file).unwrap()).is_none());
        fs::write(&file, &whole[1..]).unwrap();
        let values = Values::open(dir.path()).unwrap();
        assert_eq!(values.get(&tasklet("shop/count"), 7), 0);
        let aside = dir.path().join("values.damaged");
        assert_eq!(fs::read(aside).unwrap(), whole[1..]);
    }

    #[test]
    fn keys_have_a_limit_for_each_tasklet_and_for_all() {
        let values = Values::in_memory();
        let mut number = 0;
        let mut fill = || {
            number += 1;
            let tasklet = tasklet(&format!("shop/count-{number}"));
            let mut keys = (0..=MAX_KEYS as u32).map(|key| values.set(&tasklet, key, 1));
            keys.position(|set| set == Err(Fault::DeviceFailed))
        };
        for _ in 0..MAX_ALL_KEYS / MAX_KEYS {
            assert_eq!(fill(), Some(MAX_KEYS));
        }
        assert_eq!(fill(), Some(0), "the node is full");
        let first = tasklet("shop/count-1");
        assert_eq!(values.set(&first, 0, 2), Ok(()), "known keys may change");
        values.set(&first, 0, 0).unwrap();
        assert_eq!(values.set(&tasklet("lab/count"), 0, 1), Ok(()));
    }
}
