//! The registry's store: every published version of every tasklet, durable and immutable.
//!
//! Modules are uploaded first ([`Store::stage`]) and become visible with the delta that names
//! them ([`Store::publish`]), in one transaction. Before that the store checks everything that a
//! node will rely on: the namespace's key, the signature over the resulting catalogue, sequence
//! numbers, imports, sizes, digests, and that each module is valid.

mod history;
mod log;
mod quiet;
mod refusal;
mod staging;

use alloc::collections::BTreeMap;
use core::fmt;
use std::path::{Path, PathBuf};

use nimblenet_core::{Archive, BadDelta, Catalogue, CatalogueLimits};
use nimblenet_tasklet::compression::expand;
use nimblenet_tasklet::{Delta, Digest, Entry, Name, NamespaceId, TaskletName};

use nimblenet_wasm::{InvalidModule, Limits};

use crate::key::PublicKey;
use crate::state::Hold;
use history::Folded;
pub use history::{Change, EpochSummary};
pub(crate) use log::is_unwritable;
use log::{Log, Record};
use quiet::quietly;
pub use refusal::{Refusal, StorageFault};
use staging::Staging;

/// Room for the tables of a module's validation; published modules are far smaller.
const SCRATCH_BYTES: usize = 8 << 20;

/// Who may publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// The first publication of a namespace claims it for its key.
    FirstUse,
    /// Only these namespaces, each with its key.
    Keys(BTreeMap<Name, PublicKey>),
}

/// How much the store may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreLimits {
    /// Bytes of one module.
    pub module_bytes: usize,
    /// Bytes of all modules that were uploaded and not yet published.
    pub staged_bytes: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Bytes of all modules of one namespace, of old epochs too: these make room.
    pub namespace_bytes: u64,
    /// Epochs of one namespace that are kept: the newest, and those before it.
    pub epochs: usize,
}

impl StoreLimits {
    /// 64 KiB a module, 4 MiB of uploads, 256 namespaces, each with 64 MiB and 256 epochs.
    pub const DEFAULT: Self = Self {
        module_bytes: 64 << 10,
        staged_bytes: 4 << 20,
        namespaces: 256,
        namespace_bytes: 64 << 20,
        epochs: 256,
    };
}

/// A registry's durable content.
#[derive(Debug)]
pub struct Store {
    log: Log,
    /// The directory to open again after a failure of the disk; none for a store in memory.
    dir: Option<PathBuf>,
    trust: Trust,
    limits: StoreLimits,
    namespaces: BTreeMap<Name, Namespace>,
    staging: Staging,
    failed: bool,
    /// Modules that publications have forgotten and the archive has not.
    gone: Vec<Digest>,
    /// The directory, which nobody else uses meanwhile.
    _hold: Option<Hold>,
}

#[derive(Debug)]
struct Namespace {
    key: PublicKey,
    catalogue: Catalogue,
}

/// What a publication has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// The epoch that the namespace is at.
    pub epoch: u32,
    /// Entries that are new or changed.
    pub entries: usize,
    /// Modules that were not held before.
    pub modules: usize,
    /// False if the same publication was here already.
    pub new: bool,
    /// Whether the namespace was claimed by this publication.
    pub claimed: bool,
}

impl Store {
    /// Opens the store in the directory `dir`, and makes the directory if it does not exist.
    ///
    /// # Errors
    /// [`OpenError`], also when another process uses the directory or its content is damaged.
    pub fn open(dir: &Path, trust: Trust, limits: StoreLimits) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir).map_err(OpenError::Directory)?;
        let hold = match Hold::take(dir) {
            Ok(hold) => Some(hold),
            // Whoever has it only reads what is there.
            Err(error) if is_unwritable(&error) => None,
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                return Err(OpenError::InUse(error.to_string()));
            }
            Err(error) => return Err(OpenError::Directory(error)),
        };
        let open = || {
            let log = match Log::is_there(dir) {
                true => Log::open(dir),
                false => Log::create(dir),
            };
            let log = log.map_err(OpenError::database)?;
            let store = Self::with_log(log, Some(dir.to_path_buf()), trust, limits)?;
            Ok(Self {
                _hold: hold,
                ..store
            })
        };
        let opened =
            quietly(open).unwrap_or_else(|tripped| Err(OpenError::Tripped(tripped.into())));
        opened.map_err(|error| error.in_file(&dir.join(log::FILE)))
    }

    /// Whether its file cannot be written, also since the disk is full: then it is served as it is, and takes no publications.
    pub fn is_read_only(&self) -> bool {
        self.log.is_read_only()
    }

    fn with_log(
        log: Log,
        dir: Option<PathBuf>,
        trust: Trust,
        limits: StoreLimits,
    ) -> Result<Self, OpenError> {
        log.prepare().map_err(OpenError::Storage)?;
        let namespaces = load(&log)?;
        if let Trust::Keys(keys) = &trust {
            for (name, namespace) in &namespaces {
                if keys.get(name).is_some_and(|key| *key != namespace.key) {
                    return Err(OpenError::OtherKey { namespace: *name });
                }
            }
        }
        Ok(Self {
            log,
            dir,
            trust,
            limits,
            namespaces,
            staging: Staging::new(limits.staged_bytes),
            failed: false,
            gone: Vec::new(),
            _hold: None,
        })
    }

    /// Everything published, for the registry's node to serve.
    ///
    /// # Errors
    /// If the disk fails, or a module is damaged.
    pub fn archive(&self) -> Result<Archive, OpenError> {
        let read = quietly(|| self.read_archive());
        let read = read.unwrap_or_else(|tripped| Err(OpenError::Tripped(tripped.into())));
        read.map_err(|error| match &self.dir {
            Some(dir) => error.in_file(&dir.join(log::FILE)),
            None => error,
        })
    }

    fn read_archive(&self) -> Result<Archive, OpenError> {
        let mut archive = Archive::over(self.log.modules());
        for name in self.namespaces.keys() {
            for bytes in self.log.deltas(name.as_str()).map_err(OpenError::Storage)? {
                let damaged = OpenError::Damaged { namespace: *name };
                let Ok(delta) = Delta::decode(&bytes) else {
                    return Err(damaged);
                };
                for entry in delta.entries().filter(Entry::has_module) {
                    let module = self.log.module(&entry.digest);
                    match module.map_err(OpenError::Storage)? {
                        Some(module) if Digest::of(&module) == entry.digest => {}
                        _ => return Err(damaged),
                    }
                }
                archive.publish(&delta).map_err(|_| damaged)?;
            }
        }
        Ok(archive)
    }

    /// The namespaces, with the key that each belongs to and its catalogue.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Name, PublicKey, &Catalogue)> {
        let namespaces = self.namespaces.iter();
        namespaces.map(|(name, namespace)| (name, namespace.key, &namespace.catalogue))
    }

    /// The catalogue of a namespace.
    pub fn catalogue(&self, namespace: &Name) -> Option<&Catalogue> {
        Some(&self.namespaces.get(namespace)?.catalogue)
    }

    /// The key that a namespace belongs to.
    pub fn key(&self, namespace: &Name) -> Option<PublicKey> {
        Some(self.namespaces.get(namespace)?.key)
    }

    /// A published module.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StorageFault> {
        self.log.module(digest)
    }

    /// Takes an upload, which a later publication names. Nobody sees it until then.
    ///
    /// # Errors
    /// [`Refusal`] for bytes with another digest or too many of them.
    pub fn stage(&mut self, digest: &Digest, module: &[u8]) -> Result<(), Refusal> {
        let (bytes, limit) = (module.len(), self.limits.module_bytes);
        if bytes > limit {
            return Err(Refusal::TooLarge { bytes, limit });
        }
        if Digest::of(module) != *digest {
            return Err(Refusal::DigestMismatch);
        }
        if self.staging.insert(*digest, module) {
            Ok(())
        } else {
            Err(Refusal::Full)
        }
    }

    /// Takes up a publication: an encoded delta from the present epoch to the next, signed by
    /// the namespace's key. `key` is the key that the publisher claims to have; the first
    /// publication needs it if no key is configured.
    ///
    /// Repeating the last publication changes nothing and succeeds.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn publish(
        &mut self,
        bytes: &[u8],
        namespace: &Name,
        key: Option<PublicKey>,
    ) -> Result<Published, Refusal> {
        self.recover()?;
        let delta = Delta::decode(bytes).map_err(Refusal::Malformed)?;
        if delta.namespace != *namespace {
            return Err(Refusal::OtherNamespace);
        }
        let key = self.publisher(&delta.namespace, key)?;
        let empty = Catalogue::new(delta.namespace, CatalogueLimits::LARGE);
        let held = self.namespaces.get(&delta.namespace);
        let catalogue = held.map_or(&empty, |namespace| &namespace.catalogue);
        if delta.from != catalogue.epoch() || delta.to <= delta.from {
            return self.repeated(&delta, bytes, catalogue.epoch());
        }
        let root = catalogue
            .root_after(&delta)
            .map_err(|error| rewritten(error, &delta, catalogue))?;
        if !key.verifies_root(&root, &delta.signature) {
            return Err(Refusal::BadSignature);
        }
        let mut next = catalogue.clone();
        next.apply(&delta, &root, false)
            .map_err(Refusal::Catalogue)?;
        self.admit(&delta, catalogue, &next)?;
        let modules = self.new_modules(&delta, &next)?;
        let folded = self.fold(namespace, bytes)?;
        let record = Record {
            namespace: &delta.namespace,
            epoch: delta.to,
            delta: bytes,
            key: &key,
            modules: &modules,
            folded: &folded,
        };
        let published = Published {
            epoch: delta.to,
            entries: delta.entries().count(),
            modules: modules.len(),
            new: true,
            claimed: held.is_none(),
        };
        if let Err(fault) = self.log.append(&record) {
            self.failed = true;
            return Err(Refusal::Storage(fault));
        }
        let catalogue = next;
        let entry = Namespace { key, catalogue };
        self.namespaces.insert(delta.namespace, entry);
        self.gone.extend(folded.modules);
        self.staging
            .forget(|digest| delta.entries().any(|entry| entry.digest == *digest));
        Ok(published)
    }

    /// The epochs of a namespace that are kept, oldest first; none if the namespace is not here.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn history(&self, namespace: &Name) -> Result<Vec<EpochSummary>, Refusal> {
        let deltas = self.log.deltas(namespace.as_str())?;
        history::list(&deltas).ok_or(Refusal::Damaged)
    }

    /// A namespace's catalogue as it was at an epoch, as a delta from epoch 0; nothing if the epoch is
    /// not kept.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn at(&self, namespace: &Name, epoch: u32) -> Result<Option<Vec<u8>>, Refusal> {
        let deltas = self.log.deltas(namespace.as_str())?;
        let then = history::replay(namespace, &deltas, epoch);
        Ok(then.map(|then| history::whole(&then)))
    }

    /// The modules that publications have forgotten since this was last asked.
    pub fn take_gone(&mut self) -> Vec<Digest> {
        core::mem::take(&mut self.gone)
    }

    /// What has to be forgotten when `delta` is published.
    fn fold(&self, namespace: &Name, delta: &[u8]) -> Result<Folded, Refusal> {
        let mut deltas = self.log.deltas(namespace.as_str())?;
        deltas.push(delta.to_vec());
        let mut folded = history::fold(namespace, &deltas, &self.limits)?;
        let others = self.namespaces.keys().filter(|name| *name != namespace);
        for other in others {
            if folded.modules.is_empty() {
                break;
            }
            let kept = history::digests(&self.log.deltas(other.as_str())?);
            folded.modules.retain(|digest| !kept.contains(digest));
        }
        Ok(folded)
    }

    /// Opens the database again and reads what is there, if it does not take writes: after a failure of
    /// the disk nobody knows whether the last one was written.
    fn recover(&mut self) -> Result<(), Refusal> {
        if !self.failed && !self.log.is_read_only() {
            return Ok(());
        }
        let Some(dir) = &self.dir else {
            return Err(Refusal::Damaged);
        };
        self.failed = true;
        let opened = self.log.reopen(dir);
        opened.map_err(|error| StorageFault(Box::new(error)))?;
        self.log.prepare()?;
        self.namespaces = load(&self.log).map_err(|_| Refusal::Damaged)?;
        if self.log.is_read_only() {
            return Err(Refusal::ReadOnly);
        }
        self.failed = false;
        Ok(())
    }

    /// The key that a publication to `namespace` must be signed with.
    fn publisher(&self, namespace: &Name, key: Option<PublicKey>) -> Result<PublicKey, Refusal> {
        let held = self.namespaces.get(namespace).map(|held| held.key);
        let due = match &self.trust {
            Trust::Keys(keys) => Some(*keys.get(namespace).ok_or(Refusal::UnknownNamespace)?),
            Trust::FirstUse => held,
        };
        if held.is_none() {
            if self.namespaces.len() >= self.limits.namespaces {
                return Err(Refusal::Full);
            }
            let id = NamespaceId::of(namespace);
            if self
                .namespaces
                .values()
                .any(|held| held.catalogue.id() == id)
            {
                return Err(Refusal::NamespaceClash);
            }
        }
        match (due, key) {
            (Some(due), Some(key)) if due != key => Err(Refusal::UnknownKey),
            (Some(key), _) | (None, Some(key)) => Ok(key),
            (None, None) => Err(Refusal::UnknownKey),
        }
    }

    /// Takes a delta that does not follow on the present epoch: succeeds if it is the very one that
    /// led to its epoch.
    fn repeated(
        &self,
        delta: &Delta<'_>,
        bytes: &[u8],
        current: u32,
    ) -> Result<Published, Refusal> {
        match self.log.delta(&delta.namespace, delta.to)? {
            Some(held) if held == bytes => Ok(Published {
                epoch: current,
                entries: 0,
                modules: 0,
                new: false,
                claimed: false,
            }),
            _ => Err(Refusal::StaleEpoch { current }),
        }
    }

    /// Checks the new entries against the present catalogue (`before`) and the next (`after`).
    fn admit(
        &self,
        delta: &Delta<'_>,
        before: &Catalogue,
        after: &Catalogue,
    ) -> Result<(), Refusal> {
        // An epoch that leaves others out has a new version of every entry (spec/catalogue.md, section 4).
        let leaps = delta.to > delta.from + 1;
        let leap = u16::try_from(delta.to).ok().filter(|_| leaps);
        let is_whole = delta.entries().count() == usize::from(delta.count);
        if leaps && (leap.is_none() || !is_whole) {
            return Err(Refusal::Catalogue(BadDelta::Incomplete));
        }
        for entry in delta.entries() {
            let name = entry.name;
            let held = before.entry(entry.number);
            if leap.is_none() && held.is_some_and(|held| held.encoded() == entry.encoded()) {
                continue;
            }
            let is_same = |held: &Entry<'_>| leap.is_some() && held.digest == entry.digest;
            if held.is_some_and(|held| held.is_dictionary() && !is_same(&held)) {
                return Err(Refusal::BadCompression { name });
            }
            let next = held.map_or(1, |held| held.sequence.saturating_add(1));
            let due = leap.unwrap_or(next);
            if entry.sequence != due {
                return Err(Refusal::SequenceGap { name, due });
            }
            if after.entries().filter(|other| other.name == name).count() > 1 {
                return Err(Refusal::DuplicateName { name });
            }
            self.admit_imports(&entry, after)?;
            if entry.is_withdrawn() {
                self.admit_withdrawal(&entry, after)?;
            }
            let (bytes, limit) = (entry.size as usize, self.limits.module_bytes);
            if bytes > limit {
                return Err(Refusal::TooLarge { bytes, limit });
            }
        }
        Ok(())
    }

    /// Checks that imports name exports that exist. Imports from namespaces at other registries
    /// cannot be checked here.
    fn admit_imports(&self, entry: &Entry<'_>, after: &Catalogue) -> Result<(), Refusal> {
        for (at, import) in entry.imports().enumerate() {
            let mut others = self.namespaces.values().map(|held| &held.catalogue);
            let catalogue = if import.namespace == after.id() {
                after
            } else if let Some(other) = others.find(|other| other.id() == import.namespace) {
                other
            } else {
                continue;
            };
            let callee = catalogue.entry(import.number);
            let export = callee.and_then(|callee| callee.terms.export(import.export));
            if export.is_none_or(|export| export.signature != import.signature) {
                return Err(Refusal::BadImport {
                    name: entry.name,
                    import: at,
                });
            }
        }
        Ok(())
    }

    /// Checks that no tasklet published here calls a tasklet that is withdrawn.
    fn admit_withdrawal(&self, entry: &Entry<'_>, after: &Catalogue) -> Result<(), Refusal> {
        let held = self.namespaces.values().map(|held| &held.catalogue);
        let others = held.filter(|held| held.id() != after.id());
        let callers = others.chain([after]).flat_map(|catalogue| {
            let callers = catalogue.entries().filter(|caller| {
                let mut imports = caller.imports();
                imports.any(|it| it.namespace == after.id() && it.number == entry.number)
            });
            callers.map(|caller| TaskletName {
                namespace: *catalogue.name(),
                name: caller.name,
            })
        });
        let callers: Vec<_> = callers.collect();
        if callers.is_empty() {
            return Ok(());
        }
        let name = TaskletName {
            namespace: *after.name(),
            name: entry.name,
        };
        Err(Refusal::StillCalled {
            name: Box::new(name),
            callers: callers.into(),
        })
    }

    /// The modules that the delta brings, each checked. `after` is the catalogue that results.
    fn new_modules(
        &self,
        delta: &Delta<'_>,
        after: &Catalogue,
    ) -> Result<Vec<(Digest, &[u8])>, Refusal> {
        let mut modules: Vec<(Digest, &[u8])> = Vec::new();
        for entry in delta.entries().filter(Entry::has_module) {
            let (name, digest) = (entry.name, entry.digest);
            if let Some(held) = self.log.module(&digest)? {
                if held.len() != entry.size as usize {
                    return Err(Refusal::WrongSize { name });
                }
                // The same bytes may be another module with another dictionary.
                if entry.compression.is_some() {
                    self.validate(&entry, &held, after)?;
                }
                continue;
            }
            let staged = self.staging.get(&digest);
            let module = staged.ok_or(Refusal::MissingModule { digest })?;
            if module.len() != entry.size as usize {
                return Err(Refusal::WrongSize { name });
            }
            self.validate(&entry, module, after)?;
            if modules.iter().all(|(held, _)| *held != digest) {
                modules.push((digest, module));
            }
        }
        Ok(modules)
    }

    /// Checks that the module of `entry` is a program, expanded if it is compressed; a dictionary is
    /// none.
    fn validate(&self, entry: &Entry<'_>, module: &[u8], after: &Catalogue) -> Result<(), Refusal> {
        let name = entry.name;
        let Some(compression) = entry.compression else {
            return match entry.is_dictionary() {
                true => Ok(()),
                false => validate(module, &name),
            };
        };
        let (bytes, limit) = (compression.plain_bytes as usize, self.limits.module_bytes);
        if bytes > limit {
            return Err(Refusal::TooLarge { bytes, limit });
        }
        let bad = Refusal::BadCompression { name };
        let dictionary = after.entry(compression.dictionary);
        let Some(dictionary) = dictionary.filter(Entry::is_dictionary) else {
            return Err(bad);
        };
        let digest = dictionary.digest;
        let published = self.log.module(&digest)?;
        let dictionary = published.as_deref().or_else(|| self.staging.get(&digest));
        let dictionary = dictionary.ok_or(Refusal::MissingModule { digest })?;
        let mut plain = vec![0; bytes];
        expand(module, dictionary, &mut plain).map_err(|_| bad)?;
        validate(&plain, &name)
    }
}

/// Refuses what no node's interpreter would take, before any node has it.
fn validate(module: &[u8], name: &Name) -> Result<(), Refusal> {
    let mut scratch = vec![0; SCRATCH_BYTES];
    let valid = nimblenet_wasm::validate(module, &Limits::default(), &mut scratch);
    let invalid = |error: InvalidModule| Refusal::InvalidModule {
        name: *name,
        error: Box::new(error),
    };
    valid.map(drop).map_err(invalid)
}

/// Replays the deltas and checks the last signature of each namespace.
fn load(log: &Log) -> Result<BTreeMap<Name, Namespace>, OpenError> {
    let mut namespaces = BTreeMap::new();
    for (text, key) in log.keys().map_err(OpenError::Storage)? {
        let name = Name::new(&text).map_err(|_| OpenError::Name)?;
        let damaged = || OpenError::Damaged { namespace: name };
        let mut catalogue = Catalogue::new(name, CatalogueLimits::LARGE);
        let deltas = log.deltas(&text).map_err(OpenError::Storage)?;
        for (at, bytes) in deltas.iter().enumerate() {
            let delta = Delta::decode(bytes).map_err(|_| damaged())?;
            let root = catalogue.root_after(&delta).map_err(|_| damaged())?;
            if at + 1 == deltas.len() && !key.verifies_root(&root, &delta.signature) {
                return Err(damaged());
            }
            let applied = catalogue.apply(&delta, &root, false);
            applied.map_err(|_| damaged())?;
        }
        namespaces.insert(name, Namespace { key, catalogue });
    }
    Ok(namespaces)
}

/// The refusal for a delta that does not apply. A changed entry that keeps its sequence number has
/// a refusal of its own.
fn rewritten(error: BadDelta, delta: &Delta<'_>, catalogue: &Catalogue) -> Refusal {
    let BadDelta::Rewritten { number } = error else {
        return Refusal::Catalogue(error);
    };
    let new = delta.entries().find(|entry| entry.number == number);
    match (new, catalogue.entry(number)) {
        (Some(new), Some(held)) if new.name == held.name => Refusal::VersionExists {
            name: new.name,
            sequence: new.sequence,
        },
        _ => Refusal::Catalogue(error),
    }
}

/// Why a store cannot be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be made or reached.
    Directory(std::io::Error),
    /// Another process uses the directory; the words say which, and what to do.
    InUse(String),
    /// The disk failed.
    Storage(StorageFault),
    /// The database's file is damaged: it was changed, or cut short, by something else.
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What was found in it.
        found: Box<dyn core::error::Error + Send + Sync>,
    },
    /// The database panicked.
    Tripped(Box<dyn core::error::Error + Send + Sync>),
    /// A stored namespace does not have a valid name.
    Name,
    /// A namespace's deltas, signature or modules are not as they were published.
    Damaged {
        /// The namespace.
        namespace: Name,
    },
    /// The namespace was published with another key than the configured one.
    OtherKey {
        /// The namespace.
        namespace: Name,
    },
}

impl OpenError {
    fn database(error: impl Into<redb::Error>) -> Self {
        let error = error.into();
        if matches!(error, redb::Error::DatabaseAlreadyOpen) {
            let words = "another process uses the registry's database; stop it, or choose another directory";
            return Self::InUse(words.into());
        }
        Self::Storage(StorageFault(Box::new(error)))
    }

    /// The same error, with the file named if it is the file that is damaged.
    fn in_file(self, file: &Path) -> Self {
        let found: Box<dyn core::error::Error + Send + Sync> = match self {
            Self::Storage(StorageFault(error)) if is_damage(&*error) => error,
            Self::Tripped(tripped) => tripped,
            Self::Name | Self::Damaged { .. } => Box::new(self),
            Self::Directory(_)
            | Self::InUse(_)
            | Self::Storage(_)
            | Self::Corrupt { .. }
            | Self::OtherKey { .. } => return self,
        };
        Self::Corrupt {
            file: file.to_path_buf(),
            found,
        }
    }
}

/// Whether an error of the database, or the cause of one, says that the file is not as it was
/// written.
fn is_damage(error: &(dyn core::error::Error + 'static)) -> bool {
    use redb::{DatabaseError, StorageError};
    if let Some(DatabaseError::Storage(error)) = error.downcast_ref() {
        return matches!(error, StorageError::Corrupted(_))
            || matches!(error, StorageError::Io(error) if is_cut(error));
    }
    let error = error.downcast_ref();
    matches!(error, Some(redb::Error::Corrupted(_)))
        || matches!(error, Some(redb::Error::Io(error)) if is_cut(error))
}

/// Whether a file ends too early, or has invalid bytes.
fn is_cut(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof
    )
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::InUse(words) => f.write_str(words),
            Self::Storage(error) => error.fmt(f),
            Self::Corrupt { file, found } => write!(
                f,
                "{} is damaged: {found}; restore it from a copy, or move it away and publish \
                 everything again",
                file.display()
            ),
            Self::Tripped(tripped) => tripped.fmt(f),
            Self::Name => f.write_str("it holds a namespace whose name is not valid"),
            Self::Damaged { namespace } => write!(
                f,
                "what it holds of namespace {namespace} is not as it was published"
            ),
            Self::OtherKey { namespace } => write!(
                f,
                "namespace {namespace} was published with another key than the configured one"
            ),
        }
    }
}

impl core::error::Error for OpenError {}

#[cfg(test)]
mod tests;
