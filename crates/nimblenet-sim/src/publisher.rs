//! Publishing without a registry daemon: packages to signed deltas, in memory.
//!
//! The signature is a digest of key and message. It stands in for Ed25519, which the simulator
//! has no reason to compute; what a node does with a good or a bad signature is the same.

use nimblenet_core::{Archive, Catalogue, CatalogueLimits};
use nimblenet_tasklet::{
    Area, Capabilities, Delta, Digest, DigestHasher, EntryFields, Executor, Export, Import, Name,
    NamespaceId, Signature, TaskletName, Terms, signed_bytes,
};

/// A tasklet to publish.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Name within the namespace.
    pub name: String,
    /// The module; empty for a native tasklet.
    pub module: Vec<u8>,
    /// What runs it.
    pub executor: Executor,
    /// The signature of `run`.
    pub signature: Signature,
    /// Tasklets that it calls, with the signatures it expects, in the order of its imports.
    pub calls: Vec<(TaskletName, Signature)>,
    /// Ceiling on its memory.
    pub memory_bytes: u32,
    /// Where lists cross.
    pub area: Area,
    /// Ceiling on its fuel; 0 for none.
    pub fuel: u64,
    /// Capabilities it wants.
    pub capabilities: Capabilities,
}

impl Draft {
    /// A WebAssembly tasklet with the signature `signature`, written in WIT.
    ///
    /// # Panics
    /// If the signature is not one.
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
        }
    }

    /// The same, calling `callee`, whose signature is `signature`.
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

    /// The same, run by the device itself.
    #[must_use]
    pub fn native(mut self) -> Self {
        self.executor = Executor::Native;
        self
    }
}

/// A namespace's publisher: its key, and the catalogue it has published.
#[derive(Clone, Debug)]
pub struct Publisher {
    catalogue: Catalogue,
    key: [u8; 32],
    sign: Sign,
}

/// Makes the signature of the public key's owner on a message.
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
        }
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
        let own = *self.catalogue.name();
        let mut count = self.catalogue.count();
        let mut numbers: Vec<(Name, u16)> = Vec::new();
        for draft in drafts {
            let name = Name::new(&draft.name).expect("a draft has a valid name");
            let held = self.catalogue.find(&name).map(|entry| entry.number);
            let number = held.unwrap_or_else(|| {
                count += 1;
                count - 1
            });
            numbers.push((name, number));
        }
        let number_of = |name: &TaskletName| {
            if name.namespace != own {
                return resolve(name);
            }
            let new = numbers.iter().find(|(other, _)| *other == name.name);
            new.map(|(_, number)| *number)
                .or_else(|| self.catalogue.find(&name.name).map(|entry| entry.number))
        };
        let mut entries: Vec<(u16, Vec<u8>)> = Vec::new();
        for (draft, (name, number)) in drafts.iter().zip(&numbers) {
            let held = self.catalogue.entry(*number);
            let sequence = held.map_or(1, |entry| entry.sequence + 1);
            entries.push((*number, encode(draft, *name, *number, sequence, &number_of)));
        }
        entries.sort();
        let epochs = (self.catalogue.epoch(), self.catalogue.epoch() + 1);
        let encode = |signature: &[u8; 64]| {
            let mut out = vec![0; 256 + entries.iter().map(|(_, e)| e.len() + 3).sum::<usize>()];
            let bytes = entries.iter().map(|(_, entry)| &entry[..]);
            let len = Delta::encode(&own, epochs, count, signature, bytes, &mut out);
            out.truncate(len.expect("the buffer holds every entry"));
            out
        };
        let unsigned = encode(&[0; 64]);
        let delta = Delta::decode(&unsigned).expect("made from valid entries");
        let root = self
            .catalogue
            .root_after(&delta)
            .expect("made for this catalogue");
        let signed = encode(&(self.sign)(&self.key, &signed_bytes(&root)));
        let delta = Delta::decode(&signed).expect("made from valid entries");
        self.catalogue
            .apply(&delta, false)
            .expect("made for this catalogue");
        signed
    }
}

/// Puts a delta and its modules into a registry's archive.
///
/// # Panics
/// If the delta does not fit the archive.
pub fn shelve(archive: &mut Archive, delta: &[u8], drafts: &[Draft]) {
    for draft in drafts {
        archive.insert_module(&draft.module);
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

fn encode(
    draft: &Draft,
    name: Name,
    number: u16,
    sequence: u16,
    number_of: &impl Fn(&TaskletName) -> Option<u16>,
) -> Vec<u8> {
    let mut space = [0; 64];
    let mut terms = Terms::empty();
    terms.executor = draft.executor;
    terms.memory_bytes = draft.memory_bytes;
    terms.area = draft.area;
    terms.fuel = draft.fuel;
    terms.capabilities = draft.capabilities;
    let terms = terms.with_exports(&[Export::run(draft.signature)], &mut space);
    let imports = draft.calls.iter().map(|(callee, signature)| Import {
        namespace: NamespaceId::of(&callee.namespace),
        number: number_of(callee).expect("a draft calls tasklets that exist"),
        export: "run",
        signature: *signature,
    });
    let imports: Vec<Import<'_>> = imports.collect();
    let fields = EntryFields {
        number,
        name,
        sequence,
        digest: Digest::of(&draft.module),
        size: draft.module.len() as u32,
        terms: terms.expect("one export fits"),
        imports: &imports,
    };
    let mut out = vec![0; 1024];
    let len = fields
        .encode(&mut out)
        .expect("a draft is within the limits");
    out.truncate(len);
    out
}
