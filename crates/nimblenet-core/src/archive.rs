//! What a registry serves: catalogues and every published version of every module, in memory.
//!
//! The driver stores them durably. It fills the archive at the start, and publishes a change into
//! it after it has stored the change.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use nimblenet_tasklet::{Delta, Digest, NamespaceId, TaskletRef};

use crate::catalogue::{BadDelta, Catalogue, CatalogueLimits};
use crate::wire::EpochNote;

/// A registry's content.
#[derive(Clone, Default, Debug)]
pub struct Archive {
    catalogues: BTreeMap<NamespaceId, Catalogue>,
    modules: BTreeMap<Digest, Box<[u8]>>,
    versions: BTreeMap<TaskletRef, Digest>,
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a module under its digest, which it computes and returns.
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

    /// The module with this digest.
    pub fn module(&self, digest: &Digest) -> Option<&[u8]> {
        self.modules.get(digest).map(|module| &module[..])
    }

    /// The digest of this version of a tasklet.
    pub fn digest(&self, version: TaskletRef) -> Option<Digest> {
        self.versions.get(&version).copied()
    }

    /// The module of this version of a tasklet.
    pub fn version(&self, version: TaskletRef) -> Option<&[u8]> {
        self.module(&self.digest(version)?)
    }
}
