//! What a registry serves: catalogues, in memory, and every published version of every module, which the
//! driver may keep elsewhere.
//!
//! The driver stores them durably. It fills the archive at the start, and publishes a change into
//! it after it has stored the change.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use nimblenet_tasklet::{Delta, Digest, NamespaceId, TaskletRef};

use crate::catalogue::{BadDelta, Catalogue, CatalogueLimits};
use crate::full::Full;
use crate::wire::EpochNote;

/// Modules that a driver keeps, on a disk for example.
pub trait Modules: fmt::Debug + Send {
    /// Fills `out` with bytes of a module from `offset` on. False if the module is not there, or too short,
    /// or cannot be read; then `out` may have changed.
    fn read(&self, digest: &Digest, offset: usize, out: &mut [u8]) -> bool;

    /// The same modules, for another archive.
    fn share(&self) -> Box<dyn Modules>;
}

impl Clone for Box<dyn Modules> {
    fn clone(&self) -> Self {
        self.share()
    }
}

/// A registry's content.
#[derive(Clone, Debug)]
pub struct Archive {
    catalogues: BTreeMap<NamespaceId, Catalogue>,
    /// Modules in memory.
    modules: BTreeMap<Digest, Box<[u8]>>,
    versions: BTreeMap<TaskletRef, Digest>,
    /// Modules that are elsewhere; then none is in memory.
    stored: Full<Option<Stored>>,
}

/// Modules that the driver of a registry keeps.
#[derive(Clone, Debug)]
struct Stored {
    store: Box<dyn Modules>,
    /// The bytes that each has.
    lens: BTreeMap<Digest, usize>,
}

impl Default for Archive {
    fn default() -> Self {
        Self::new()
    }
}

impl Archive {
    /// An empty archive, which keeps modules in memory.
    pub fn new() -> Self {
        Self {
            catalogues: BTreeMap::new(),
            modules: BTreeMap::new(),
            versions: BTreeMap::new(),
            stored: Full::new(|| None),
        }
    }

    /// An empty archive of modules that `store` keeps.
    pub fn over(store: Box<dyn Modules>) -> Self {
        let mut archive = Self::new();
        if let Some(stored) = archive.stored.get_mut() {
            let lens = BTreeMap::new();
            *stored = Some(Stored { store, lens });
        }
        archive
    }

    /// Adds a module under its digest, which it computes and returns. Of a module that the driver stores, it
    /// only keeps the length.
    pub fn insert_module(&mut self, module: &[u8]) -> Digest {
        let digest = Digest::of(module);
        match self.stored.get_mut() {
            Some(Some(stored)) => drop(stored.lens.insert(digest, module.len())),
            _ => drop(self.modules.entry(digest).or_insert_with(|| module.into())),
        }
        digest
    }

    /// Takes up a delta whose signature has been checked and whose modules are here.
    ///
    /// # Errors
    /// [`BadDelta`] if it does not fit the catalogue that is held. Then nothing has changed.
    pub fn publish(&mut self, delta: &Delta<'_>) -> Result<(), BadDelta> {
        let id = NamespaceId::of(&delta.namespace);
        let catalogue = self
            .catalogues
            .entry(id)
            .or_insert_with(|| Catalogue::new(delta.namespace, CatalogueLimits::LARGE));
        let root = catalogue.root_after(delta)?;
        catalogue.apply(delta, &root, false)?;
        for entry in delta.entries() {
            self.versions.insert(entry.reference(id), entry.digest);
        }
        Ok(())
    }

    /// Makes an older version of a tasklet available again, as a driver does at start.
    pub fn insert_version(&mut self, version: TaskletRef, digest: Digest) {
        self.versions.insert(version, digest);
    }

    /// Forgets these modules, and the versions that have them.
    pub fn remove_modules(&mut self, digests: &[Digest]) {
        self.modules.retain(|digest, _| !digests.contains(digest));
        if let Some(Some(stored)) = self.stored.get_mut() {
            stored.lens.retain(|digest, _| !digests.contains(digest));
        }
        self.versions.retain(|_, digest| !digests.contains(digest));
    }

    /// The catalogue of a namespace.
    pub fn catalogue(&self, namespace: NamespaceId) -> Option<&Catalogue> {
        self.catalogues.get(&namespace)
    }

    /// What is held of a namespace; if nothing is, epoch 0 if the namespace is one of this registry's.
    pub(crate) fn note(&self, namespace: NamespaceId, is_own: bool) -> Option<EpochNote> {
        let none = EpochNote {
            namespace,
            epoch: 0,
            root: 0,
        };
        let held = self.catalogue(namespace).map(EpochNote::of);
        held.or(is_own.then_some(none))
    }

    /// Every catalogue.
    pub fn catalogues(&self) -> impl Iterator<Item = &Catalogue> + Clone {
        self.catalogues.values()
    }

    /// A copy of the module with this digest; none if it is not here, or cannot be read.
    pub fn module(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.module_len(digest)?];
        self.read(digest, 0, &mut bytes).then_some(bytes)
    }

    /// The bytes that the module with this digest has.
    pub fn module_len(&self, digest: &Digest) -> Option<usize> {
        match self.stored.get() {
            Some(Some(stored)) => stored.lens.get(digest).copied(),
            _ => self.modules.get(digest).map(|module| module.len()),
        }
    }

    /// Fills `out` with bytes of a module from `offset` on; false if it is not here, too short, or cannot be
    /// read.
    pub fn read(&self, digest: &Digest, offset: usize, out: &mut [u8]) -> bool {
        if let Some(Some(stored)) = self.stored.get() {
            return stored.lens.contains_key(digest) && stored.store.read(digest, offset, out);
        }
        let module = self.modules.get(digest);
        let part = module.and_then(|it| it.get(offset..offset.saturating_add(out.len())));
        part.map(|part| out.copy_from_slice(part)).is_some()
    }

    /// The digest of this version of a tasklet.
    pub fn digest(&self, version: TaskletRef) -> Option<&Digest> {
        self.versions.get(&version)
    }
}
