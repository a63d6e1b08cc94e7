//! The registry's database: a log of deltas, the modules that they name, and the key of each
//! namespace.
//!
//! A publication is one transaction, so that after any crash it is either wholly there or not at
//! all. Replaying the deltas gives the catalogue.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use nimblenet_core::Modules;
use nimblenet_tasklet::{Digest, Name};
use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _,
    StorageBackend, StorageError, TableDefinition,
};

use super::history::Folded;
use super::quiet::quietly;
use super::refusal::StorageFault;
use crate::key::PublicKey;

/// Modules by digest.
const MODULES: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("modules");
/// Deltas by namespace and the epoch they lead to.
const DELTAS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("deltas");
/// Public keys by namespace.
const KEYS: TableDefinition<'_, &str, [u8; 32]> = TableDefinition::new("keys");

/// How many tables there are.
const TABLES: usize = 3;

/// The file within the data directory.
pub(super) const FILE: &str = "registry.redb";
/// The same, until it has its tables.
const NEW_FILE: &str = "registry.redb.new";
/// Bytes of the page cache. The system has its own, so few are enough.
const CACHE_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Log {
    /// Others read modules of it, and it is replaced after a failure.
    database: Arc<RwLock<Database>>,
    /// Whether the database is a copy in memory of a file that cannot be written.
    read_only: bool,
}

/// One publication, as it is written.
pub(super) struct Record<'a> {
    pub(super) namespace: &'a Name,
    pub(super) epoch: u32,
    pub(super) delta: &'a [u8],
    pub(super) key: &'a PublicKey,
    pub(super) modules: &'a [(Digest, &'a [u8])],
    /// What is forgotten to make room.
    pub(super) folded: &'a Folded,
}

impl Log {
    /// Whether there is a database in `dir`.
    pub(super) fn is_there(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// Makes the database in `dir`. It has its name only when it has its tables: a file without them is
    /// none that a process has left when it was killed.
    pub(super) fn create(dir: &Path) -> Result<Self, redb::Error> {
        let (new, path) = (dir.join(NEW_FILE), dir.join(FILE));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let log = Self::of(builder().create(&new)?, false);
        log.prepare().map_err(|StorageFault(error)| *error)?;
        fs::rename(&new, &path)?;
        fs::File::open(dir)?.sync_all()?;
        Ok(log)
    }

    /// Opens the database in `dir`, and reads all of it once, since the database library panics if
    /// it finds damage later. A file that cannot be written is read into memory, where it can be
    /// repaired if the last process was killed.
    ///
    /// # Errors
    /// [`redb::Error::Corrupted`] also if the file is empty, which the library would take for a new one, or
    /// has lost its tables.
    pub(super) fn open(dir: &Path) -> Result<Self, redb::Error> {
        if fs::metadata(dir.join(FILE))?.len() == 0 {
            return Err(redb::Error::Corrupted("the file is empty".into()));
        }
        let log = Self::open_file(dir)?;
        let transaction = log.read().begin_read()?;
        let tables = transaction.list_tables()?.count();
        if tables < TABLES {
            return Err(redb::Error::Corrupted("its tables are gone".into()));
        }
        Ok(log)
    }

    fn open_file(dir: &Path) -> Result<Self, DatabaseError> {
        let path = dir.join(FILE);
        match builder().create(&path) {
            Ok(database) => Ok(Self::of(database, false)),
            Err(DatabaseError::Storage(StorageError::Io(error))) if is_unwritable(&error) => {
                Ok(Self::of(copy_of(&path)?, true))
            }
            Err(error) => Err(error),
        }
    }

    #[cfg(test)]
    pub(super) fn with_backend(backend: impl StorageBackend) -> Result<Self, DatabaseError> {
        let mut builder = Builder::new();
        let builder = builder.set_cache_size(CACHE_BYTES);
        Ok(Self::of(builder.create_with_backend(backend)?, false))
    }

    fn of(database: Database, read_only: bool) -> Self {
        let database = Arc::new(RwLock::new(database));
        Self {
            database,
            read_only,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Database> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the database and opens the one in `dir` instead, for everybody who reads of it.
    ///
    /// # Errors
    /// If it cannot be opened. Then this one is a copy of its file in memory, or empty if the file cannot even be
    /// read.
    pub(super) fn reopen(&mut self, dir: &Path) -> Result<(), redb::Error> {
        let mut held = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The old handle holds the file's lock; an empty database takes its place meanwhile.
        *held = builder().create_with_backend(InMemoryBackend::new())?;
        let opened = Self::open(dir);
        let (database, read_only) = match opened {
            Ok(log) => {
                let database = Arc::into_inner(log.database).and_then(|it| it.into_inner().ok());
                (database.expect("nobody else has it yet"), log.read_only)
            }
            Err(error) => {
                if let Ok(copy) = copy_of(&dir.join(FILE)) {
                    *held = copy;
                }
                return Err(error);
            }
        };
        *held = database;
        drop(held);
        self.read_only = read_only;
        Ok(())
    }

    /// Its modules, for whoever serves them.
    pub(super) fn modules(&self) -> Box<dyn Modules> {
        Box::new(Shelf {
            database: Arc::clone(&self.database),
            fails: Arc::default(),
        })
    }

    /// Whether the file cannot be written.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Makes the tables, so that reading never meets a missing one.
    pub(super) fn prepare(&self) -> Result<(), StorageFault> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.read().begin_write()?;
            transaction.open_table(MODULES)?;
            transaction.open_table(DELTAS)?;
            transaction.open_table(KEYS)?;
            Ok(transaction.commit()?)
        };
        write().map_err(fault)
    }

    /// The namespaces that have a publication, with their keys.
    pub(super) fn keys(&self) -> Result<Vec<(String, PublicKey)>, StorageFault> {
        let read = || -> Result<Vec<_>, redb::Error> {
            let table = self.read().begin_read()?.open_table(KEYS)?;
            let row = |row: Result<(redb::AccessGuard<'_, &str>, _), StorageError>| {
                let (name, key): (_, redb::AccessGuard<'_, [u8; 32]>) = row?;
                Ok((name.value().to_owned(), PublicKey(key.value())))
            };
            table.iter()?.map(row).collect()
        };
        read().map_err(fault)
    }

    /// The namespace's deltas, in the order of their epochs.
    pub(super) fn deltas(&self, namespace: &str) -> Result<Vec<Vec<u8>>, StorageFault> {
        let read = || -> Result<Vec<_>, redb::Error> {
            let table = self.read().begin_read()?.open_table(DELTAS)?;
            let range = table.range((namespace, 0)..=(namespace, u32::MAX))?;
            range.map(|row| Ok(row?.1.value().to_vec())).collect()
        };
        read().map_err(fault)
    }

    pub(super) fn delta(&self, namespace: &Name, to: u32) -> Result<Option<Vec<u8>>, StorageFault> {
        let read = || -> Result<_, redb::Error> {
            let table = self.read().begin_read()?.open_table(DELTAS)?;
            let delta = table.get((namespace.as_str(), to))?;
            Ok(delta.map(|delta| delta.value().to_vec()))
        };
        read().map_err(fault)
    }

    pub(super) fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StorageFault> {
        module(&self.read(), digest).map_err(fault)
    }

    /// Writes a publication, which is durable when this returns.
    pub(super) fn append(&self, record: &Record<'_>) -> Result<(), StorageFault> {
        let write = || -> Result<(), redb::Error> {
            let database = self.read();
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let namespace = record.namespace.as_str();
                let mut modules = transaction.open_table(MODULES)?;
                for (digest, module) in record.modules {
                    modules.insert(digest.0, *module)?;
                }
                for digest in &record.folded.modules {
                    modules.remove(digest.0)?;
                }
                let mut deltas = transaction.open_table(DELTAS)?;
                deltas.insert((namespace, record.epoch), record.delta)?;
                for epoch in &record.folded.epochs {
                    deltas.remove((namespace, *epoch))?;
                }
                if let Some((epoch, delta)) = &record.folded.base {
                    deltas.insert((namespace, *epoch), &delta[..])?;
                }
                let mut keys = transaction.open_table(KEYS)?;
                keys.insert(namespace, record.key.0)?;
            }
            Ok(transaction.commit()?)
        };
        write().map_err(fault)
    }
}

/// The modules of a database.
#[derive(Clone, Debug)]
struct Shelf {
    database: Arc<RwLock<Database>>,
    /// Whether the last one could not be read.
    fails: Arc<AtomicBool>,
}

impl Shelf {
    /// Says that modules cannot be read, once as long as that lasts.
    fn fail(&self, error: &dyn core::fmt::Display) {
        if !self.fails.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the registry's modules cannot be read; who asks for one is refused");
        }
    }
}

impl Modules for Shelf {
    fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        let database = self.database.read();
        let database = database.unwrap_or_else(PoisonError::into_inner);
        match quietly(|| module(&database, digest)) {
            Ok(Ok(module)) => {
                self.fails.store(false, Ordering::Relaxed);
                return module;
            }
            Ok(Err(error)) => self.fail(&error),
            Err(tripped) => self.fail(&tripped),
        }
        None
    }

    fn share(&self) -> Box<dyn Modules> {
        Box::new(self.clone())
    }
}

fn module(database: &Database, digest: &Digest) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = database.begin_read()?.open_table(MODULES)?;
    Ok(table.get(digest.0)?.map(|module| module.value().to_vec()))
}

/// A copy in memory of the database in a file, which stays as it is.
fn copy_of(path: &Path) -> Result<Database, DatabaseError> {
    let bytes = fs::read(path).map_err(StorageError::Io)?;
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)
        .and_then(|()| copy.write(0, &bytes))
        .map_err(StorageError::Io)?;
    builder().create_with_backend(copy)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_check_integrity_on_open(true);
    builder
}

/// Whether a file or directory can be read, but not written: it is read-only, or there is no room left.
pub(crate) fn is_unwritable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
    )
}

fn fault(error: redb::Error) -> StorageFault {
    StorageFault(Box::new(error))
}
