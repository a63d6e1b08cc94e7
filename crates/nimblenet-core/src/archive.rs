//! What a registry serves: catalogues, in memory, and every published version of every module, which the
//! driver may keep elsewhere.
//!
//! The driver stores them durably. It fills the archive at the start, and publishes a change into
//! it after it has stored the change.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use nimblenet_tasklet::{Delta, Digest, NamespaceId, TaskletRef};

use crate::catalogue::{BadDelta, Catalogue, CatalogueLimits};
use crate::full::Full;
use crate::wire::EpochNote;

/// Modules that a driver keeps, on a disk for example.
pub trait Modules: fmt::Debug + Send {
    /// A copy of the module with this digest; none if it is not there, or cannot be read.
    fn read(&self, digest: &Digest) -> Option<Vec<u8>>;

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
    store: Full<Option<Box<dyn Modules>>>,
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
            store: Full::new(|| None),
        }
    }

    /// An empty archive whose modules are in `store`.
    pub fn over(store: Box<dyn Modules>) -> Self {
        let mut archive = Self::new();
        if let Some(held) = archive.store.get_mut() {
            *held = Some(store);
        }
        archive
    }

    /// Adds a module under its digest, which it computes and returns. An archive over a store has no use for it.
    pub fn insert_module(&mut self, module: &[u8]) -> Digest {
        let digest = Digest::of(module);
        self.modules.entry(digest).or_insert_with(|| module.into());
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
        match self.store.get() {
            Some(Some(store)) => store.read(digest),
            _ => self.modules.get(digest).map(|module| module.to_vec()),
        }
    }

    /// Whether a version of a tasklet has the module with this digest.
    pub fn names(&self, digest: &Digest) -> bool {
        self.versions.values().any(|named| named == digest)
    }

    /// The digest of this version of a tasklet.
    pub fn digest(&self, version: TaskletRef) -> Option<&Digest> {
        self.versions.get(&version)
    }
}
