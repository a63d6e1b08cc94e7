//! The newest catalogues on disk, so that a restarted node takes no older ones.
//!
//! Each catalogue is one file, which is replaced as a whole. A thread of its own writes it, so that
//! a slow disk delays no frame.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use nimblenet_core::{Catalogue, CatalogueLimits};
use nimblenet_tasklet::{Delta, Name};

use crate::key::PublicKey;
use crate::state;

#[derive(Debug)]
pub(super) struct Keeper {
    queue: Option<Sender<(Name, Vec<u8>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let (queue, due) = channel();
        let thread = Builder::new()
            .name("keeper".into())
            .spawn(move || keep(&dir, &due))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Writes the whole catalogue, encoded as a delta from epoch 0.
    pub(super) fn keep(&self, namespace: Name, delta: Vec<u8>) {
        if let Some(queue) = &self.queue {
            let _ = queue.send((namespace, delta));
        }
    }

    /// Finishes what is queued.
    pub(super) fn stop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Puts a catalogue among those that a node keeps in `dir`, so that the node has it when it starts.
///
/// # Errors
/// If the system cannot write it.
pub fn keep_catalogue(dir: &Path, catalogue: &Catalogue) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut bytes = vec![0; catalogue.delta_bytes()];
    let len = catalogue.encode_delta(0, &mut bytes);
    bytes.truncate(len.unwrap_or(0));
    state::replace(&file(dir, catalogue.name()), &bytes)
}

/// The kept catalogue of a namespace, if there is one and it is signed by the key.
pub(super) fn kept(dir: &Path, namespace: &Name, key: &PublicKey) -> Option<Vec<u8>> {
    let path = file(dir, namespace);
    let bytes = state::read(&path).ok()?;
    let good = Delta::decode(&bytes).ok().and_then(|delta| {
        let empty = Catalogue::new(*namespace, CatalogueLimits::LARGE);
        let root = empty.root_after(&delta).ok()?;
        Some(key.verifies_root(&root, &delta.signature))
    });
    if good == Some(true) {
        return Some(bytes);
    }
    tracing::warn!(%namespace, path = %path.display(), "the kept catalogue is not used");
    None
}

fn keep(dir: &Path, due: &Receiver<(Name, Vec<u8>)>) {
    while let Ok((namespace, delta)) = due.recv() {
        if let Err(error) = state::replace(&file(dir, &namespace), &delta) {
            tracing::warn!(%namespace, %error, "the catalogue was not kept");
        }
    }
}

fn file(dir: &Path, namespace: &Name) -> PathBuf {
    dir.join(format!("{namespace}.catalogue"))
}
