//! Publishing without a registry daemon: packages to signed deltas, in memory.
//!
//! The signature is a digest of key and message. It stands in for Ed25519, which the simulator
//! has no reason to compute; a node treats good and bad signatures alike in both cases.

use nimblenet_core::publication::{Publication, Travel};
use nimblenet_core::{Archive, Catalogue, CatalogueLimits};
use nimblenet_tasklet::{
    Area, Capabilities, Delta, Digest, DigestHasher, Executor, Export, Name, NamedImport, Package,
    PackageFields, Signature, TaskletName, Terms,
};

/// The most bytes of a package besides its module.
const PACKAGE_BYTES: usize = 4096;

/// A tasklet to publish.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Name within the namespace.
    pub name: String,
    /// The module; empty for a native tasklet.
    pub module: Vec<u8>,
    /// The kind of executor that runs it.
    pub executor: Executor,
    /// The signature of `run`.
    pub signature: Signature,
    /// Tasklets that it calls, with the signatures it expects, in the order of its imports.
    pub calls: Vec<(TaskletName, Signature)>,
    /// Ceiling on its memory.
    pub memory_bytes: u32,
    /// The area of the module through which lists pass.
    pub area: Area,
    /// Ceiling on its fuel; 0 for none.
    pub fuel: u64,
    /// Capabilities it wants.
    pub capabilities: Capabilities,
    /// The fuel that it declares to use.
    pub cost: u64,
}

impl Draft {
    /// A WebAssembly tasklet with the signature `signature`, written in WIT.
    ///
    /// # Panics
    /// If the signature is not valid.
    pub fn new(name: &str, module: Vec<u8>, signature: &str) -> Self {
        Self {
            name: name.into(),
            module,
            executor: Executor::Wasm,
            signature: signature.parse().expect("a draft has a valid signature"),
            calls: Vec::new(),
            memory_bytes: 0,
            area: Area::default(),
            fuel: 0,
            capabilities: Capabilities::NONE,
            cost: 0,
        }
    }

    /// The same draft, which calls `callee` with the signature `signature` too.
    ///
    /// # Panics
    /// If name or signature are not valid.
    #[must_use]
    pub fn calling(mut self, callee: &str, signature: &str) -> Self {
        let name = callee.parse().expect("a draft calls a valid name");
        self.calls.push((
            name,
            signature.parse().expect("a draft has valid signatures"),
        ));
        self
    }

    /// The same draft, which declares to use the fuel `cost`.
    #[must_use]
    pub fn costing(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    /// The same draft as a native tasklet, which the device runs itself.
    #[must_use]
    pub fn native(mut self) -> Self {
        self.executor = Executor::Native;
        self
    }

    /// The package file of this draft in `namespace`.
    fn pack(&self, namespace: &Name) -> Vec<u8> {
        let mut space = [0; 64];
        let mut terms = Terms::empty();
        terms.executor = self.executor;
        terms.memory_bytes = self.memory_bytes;
        terms.area = self.area;
        terms.fuel = self.fuel;
        terms.capabilities = self.capabilities;
        terms.cost = self.cost;
        let terms = terms.with_exports(&[Export::run(self.signature)], &mut space);
        let imports = self.calls.iter().map(|(callee, signature)| NamedImport {
            name: *callee,
            export: "run",
            signature: *signature,
        });
        let imports: Vec<NamedImport<'_>> = imports.collect();
        let fields = PackageFields {
            name: TaskletName {
                namespace: *namespace,
                name: Name::new(&self.name).expect("a draft has a valid name"),
            },
            terms: terms.expect("one export fits"),
            imports: &imports,
            module: &self.module,
        };
        let mut out = vec![0; PACKAGE_BYTES + self.module.len()];
        let len = fields.encode(&mut out);
        out.truncate(len.expect("a draft is within the limits"));
        out
    }
}

/// A namespace's publisher: its key, and the catalogue it has published.
#[derive(Clone, Debug)]
pub struct Publisher {
    catalogue: Catalogue,
    key: [u8; 32],
    sign: Sign,
    /// The dictionary with which modules are compressed; none if they travel as they run.
    dictionary: Option<Vec<u8>>,
    /// The modules of the last publication, as they travel.
    modules: Vec<Vec<u8>>,
}

/// Signs a message with the private key that belongs to the public key.
pub type Sign = fn(&[u8; 32], &[u8]) -> [u8; 64];

impl Publisher {
    /// The publisher of `namespace`.
    ///
    /// # Panics
    /// If the name is not valid.
    pub fn new(namespace: &str) -> Self {
        Self::with_key(namespace, Digest::of(namespace.as_bytes()).0, sign)
    }

    /// The publisher of `namespace` who owns `key`, for nodes that check real signatures.
    ///
    /// # Panics
    /// If the name is not valid.
    pub fn with_key(namespace: &str, key: [u8; 32], sign: Sign) -> Self {
        let name = Name::new(namespace).expect("a publisher has a valid namespace");
        Self {
            catalogue: Catalogue::new(name, CatalogueLimits::LARGE),
            key,
            sign,
            dictionary: None,
            modules: Vec::new(),
        }
    }

    /// The same publisher, which compresses modules with `dictionary` where that is shorter.
    #[must_use]
    pub fn compressing(mut self, dictionary: Vec<u8>) -> Self {
        self.dictionary = Some(dictionary);
        self
    }

    /// The modules of the last publication, as they travel.
    pub fn modules(&self) -> &[Vec<u8>] {
        &self.modules
    }

    /// The namespace.
    pub fn name(&self) -> Name {
        *self.catalogue.name()
    }

    /// The key that nodes must be configured with.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// What it has published.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The delta that brings `drafts` into the next epoch, signed. `resolve` finds the numbers of
    /// entries in other namespaces.
    ///
    /// # Panics
    /// If a draft calls a tasklet that does not exist, or is over a limit.
    pub fn publish(
        &mut self,
        drafts: &[Draft],
        resolve: impl Fn(&TaskletName) -> Option<u16>,
    ) -> Vec<u8> {
        let files: Vec<_> = drafts
            .iter()
            .map(|draft| draft.pack(&self.name()))
            .collect();
        let packages = files.iter().map(|file| Package::decode(file));
        let packages: Result<Vec<_>, _> = packages.collect();
        let packages = packages.expect("a draft makes a well-formed package");
        let dictionary = self.dictionary.as_deref();
        let travel = dictionary.map_or(Travel::Plain, Travel::Compressed);
        let publication = Publication::new(&self.catalogue, &packages, travel, resolve);
        let publication = publication.expect("drafts call tasklets that exist");
        self.issue(publication)
    }

    /// The delta that withdraws tasklets in the next epoch, signed.
    ///
    /// # Panics
    /// If one of the names is not valid or not published.
    pub fn withdraw(&mut self, names: &[&str]) -> Vec<u8> {
        let names = names.iter().map(|name| Name::new(name));
        let names: Result<Vec<Name>, _> = names.collect();
        let names = names.expect("a publisher knows valid names");
        let publication = Publication::withdrawing(&self.catalogue, &names);
        self.issue(publication.expect("what is published can be withdrawn"))
    }

    /// The delta that publishes everything again as epoch `epoch`, signed: nodes take it up whatever
    /// older one they hold.
    ///
    /// # Panics
    /// If the epoch is not newer, or too large for the number of a version.
    pub fn publish_again(&mut self, epoch: u32) -> Vec<u8> {
        let nothing = Publication::new(&self.catalogue, &[], Travel::Plain, |_| None);
        let again = nothing.and_then(|nothing| nothing.at_epoch(&self.catalogue, epoch));
        self.issue(again.expect("the epoch is newer"))
    }

    fn issue(&mut self, publication: Publication) -> Vec<u8> {
        self.modules = publication.modules().to_vec();
        let delta = publication.sign(&self.catalogue, |bytes| (self.sign)(&self.key, bytes));
        let bytes = delta.expect("drafts are within the limits");
        let delta = Delta::decode(&bytes).expect("made from valid entries");
        let root = self.catalogue.root_after(&delta);
        let root = root.expect("made for this catalogue");
        let applied = self.catalogue.apply(&delta, &root, false);
        applied.expect("made for this catalogue");
        bytes
    }
}

/// Puts a delta and its modules into a registry's archive.
///
/// # Panics
/// If the delta does not fit the archive.
pub fn shelve(archive: &mut Archive, delta: &[u8], modules: &[Vec<u8>]) {
    for module in modules {
        archive.insert_module(module);
    }
    let delta = Delta::decode(delta).expect("a published delta is well formed");
    archive
        .publish(&delta)
        .expect("a published delta fits its archive");
}

/// The stand-in for an Ed25519 signature.
pub fn sign(key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let half = |which: u8| {
        let mut hasher = DigestHasher::new();
        hasher.update(&[which]);
        hasher.update(key);
        hasher.update(message);
        hasher.finish().0
    };
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&half(0));
    signature[32..].copy_from_slice(&half(1));
    signature
}
