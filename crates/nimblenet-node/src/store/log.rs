//! The registry's database: a log of deltas, the modules that they name, and the key of each
//! namespace.
//!
//! A publication is one transaction, so that after any crash it is either wholly there or not at
//! all. Replaying the deltas gives the catalogue.

use std::fs;
use std::io;
use std::path::Path;

use nimblenet_tasklet::{Digest, Name};
use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _,
    StorageBackend, StorageError, TableDefinition,
};

use super::history::Folded;
use super::refusal::StorageFault;
use crate::key::PublicKey;

/// Modules by digest.
const MODULES: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("modules");
/// Deltas by namespace and the epoch they lead to.
const DELTAS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("deltas");
/// Public keys by namespace.
const KEYS: TableDefinition<'_, &str, [u8; 32]> = TableDefinition::new("keys");

/// The file within the data directory.
pub(super) const FILE: &str = "registry.redb";
/// Bytes of the page cache: modules are read once at the start and then seldom, so few are enough.
const CACHE_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Log {
    database: Database,
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
    /// Opens the database in `dir`, and reads all of it once, since the database library panics if
    /// it finds damage later. A file that cannot be written is read into memory, where it can be
    /// repaired if the last process was killed.
    pub(super) fn open(dir: &Path) -> Result<Self, DatabaseError> {
        let path = dir.join(FILE);
        match builder().create(&path) {
            Ok(database) => Ok(Self {
                database,
                read_only: false,
            }),
            Err(DatabaseError::Storage(StorageError::Io(error))) if is_read_only(&error) => {
                let bytes = fs::read(&path).map_err(StorageError::Io)?;
                let copy = InMemoryBackend::new();
                copy.set_len(bytes.len() as u64)
                    .and_then(|()| copy.write(0, &bytes))
                    .map_err(StorageError::Io)?;
                Ok(Self {
                    database: builder().create_with_backend(copy)?,
                    read_only: true,
                })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn with_backend(backend: impl StorageBackend) -> Result<Self, DatabaseError> {
        let mut builder = Builder::new();
        let builder = builder.set_cache_size(CACHE_BYTES);
        Ok(Self {
            database: builder.create_with_backend(backend)?,
            read_only: false,
        })
    }

    /// Whether the file cannot be written.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Makes the tables, so that reading never meets a missing one.
    pub(super) fn prepare(&self) -> Result<(), StorageFault> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
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
            let table = self.database.begin_read()?.open_table(KEYS)?;
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
            let table = self.database.begin_read()?.open_table(DELTAS)?;
            let range = table.range((namespace, 0)..=(namespace, u32::MAX))?;
            range.map(|row| Ok(row?.1.value().to_vec())).collect()
        };
        read().map_err(fault)
    }

    pub(super) fn delta(&self, namespace: &Name, to: u32) -> Result<Option<Vec<u8>>, StorageFault> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(DELTAS)?;
            let delta = table.get((namespace.as_str(), to))?;
            Ok(delta.map(|delta| delta.value().to_vec()))
        };
        read().map_err(fault)
    }

    pub(super) fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StorageFault> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(MODULES)?;
            Ok(table.get(digest.0)?.map(|module| module.value().to_vec()))
        };
        read().map_err(fault)
    }

    /// Writes a publication, which is durable when this returns.
    pub(super) fn append(&self, record: &Record<'_>) -> Result<(), StorageFault> {
        let write = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
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

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_check_integrity_on_open(true);
    builder
}

fn is_read_only(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::ReadOnlyFilesystem || kind == io::ErrorKind::PermissionDenied
}

fn fault(error: redb::Error) -> StorageFault {
    StorageFault(Box::new(error))
}
