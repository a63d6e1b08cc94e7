//! Publishing from the publisher's side: from packages to a signed delta.
//!
//! This is the rule for numbers: a name keeps its entry's number, and a new name gets the next one;
//! a changed entry gets the next sequence number, which begins at 1; a publication is one epoch.
//! The publisher signs it.

mod again;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use nimblenet_tasklet::{
    Delta, Digest, EntryFields, Executor, Import, Name, NamespaceId, Package, SIGNED_BYTES,
    TaskletName, Terms, compression::Compression, signed_bytes,
};

use crate::catalogue::{BadDelta, Catalogue};
use crate::compression::{DICTIONARY_BYTES, compress, dictionary};

/// The longest entry, at the format's limits on imports and exports.
const MAX_ENTRY_BYTES: usize = 4096;
/// The most bytes of a delta besides its entries.
const DELTA_BYTES: usize = 256;
/// The name of a namespace's dictionary.
const DICTIONARY_NAME: &str = "dictionary";
/// What an entry is longer by if its module is compressed, at most.
const COMPRESSION_BYTES: usize = 10;

/// The changed entries of a namespace's next epoch, not signed yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    changed: Vec<Vec<u8>>,
    count: u16,
    unchanged: usize,
    modules: Vec<Vec<u8>>,
    /// The epoch that it leads to, if that is not the next one.
    epoch: Option<u32>,
}

/// How modules of a publication travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Travel<'d> {
    /// As they run.
    Plain,
    /// Compressed with this dictionary, where that is shorter. The catalogue's dictionary must have
    /// these bytes; a catalogue without one gets one.
    Compressed(&'d [u8]),
}

/// The dictionary that `catalogue`, which has none, should get when `packages` are published in it.
/// Nothing if it would not pay: if it is longer than what it takes off all of them together; or if a
/// tasklet has its name.
pub fn new_dictionary(catalogue: &Catalogue, packages: &[Package<'_>]) -> Option<Vec<u8>> {
    let name = Name::new(DICTIONARY_NAME).expect("it is a valid name");
    let taken = |package: &Package<'_>| package.name.name == name;
    if catalogue.named(&name).is_some() || packages.iter().any(taken) {
        return None;
    }
    let modules: Vec<&[u8]> = packages.iter().map(|package| package.module).collect();
    let lengths = [DICTIONARY_BYTES, DICTIONARY_BYTES / 2, DICTIONARY_BYTES / 4];
    let made = lengths.map(|bytes| dictionary(&modules, bytes));
    let weighed = made.into_iter().map(|made| {
        let saved = |module: &&[u8]| module.len() - shortest(module, &made).0.len();
        let saved: usize = modules.iter().map(saved).sum();
        (saved.saturating_sub(made.len()), made)
    });
    let pays = weighed.filter(|(gain, made)| *gain > 0 && !made.is_empty());
    let best = pays.max_by_key(|(gain, _)| *gain);
    best.map(|(_, made)| made)
}

/// A module as it travels, and whether that is compressed: where it pays.
fn shortest(module: &[u8], dictionary: &[u8]) -> (Vec<u8>, bool) {
    let pays = |it: &Vec<u8>| it.len() + COMPRESSION_BYTES < module.len();
    match compress(module, dictionary).filter(pays) {
        Some(compressed) => (compressed, true),
        None => (module.to_vec(), false),
    }
}

impl Publication {
    /// The publication of `packages`, all of one namespace, whose catalogue is `catalogue`, with
    /// modules that travel as `travel` says.
    ///
    /// A package whose entry would stay the same is left out. `elsewhere` resolves names of
    /// other namespaces to entry numbers.
    ///
    /// # Errors
    /// [`BadPackages`] names the package that cannot be published.
    pub fn new(
        catalogue: &Catalogue,
        packages: &[Package<'_>],
        travel: Travel<'_>,
        mut elsewhere: impl FnMut(&TaskletName) -> Option<u16>,
    ) -> Result<Self, BadPackages> {
        let mut numbers: Vec<u16> = Vec::new();
        let mut count = catalogue.count();
        for (at, package) in packages.iter().enumerate() {
            let name = package.name;
            if name.namespace != *catalogue.name() {
                return Err(BadPackages::OtherNamespace { name });
            }
            if packages[..at].iter().any(|other| other.name == name) {
                return Err(BadPackages::Twice { name });
            }
            numbers.push(match catalogue.named(&name.name) {
                Some(entry) if entry.is_dictionary() => {
                    return Err(BadPackages::IsDictionary { name });
                }
                Some(entry) => entry.number,
                None => {
                    count = count.checked_add(1).ok_or(BadPackages::TooMany)?;
                    count - 1
                }
            });
        }
        let mut number_of = |name: &TaskletName| {
            if name.namespace != *catalogue.name() {
                return elsewhere(name);
            }
            let at = packages.iter().position(|package| package.name == *name);
            let held = || Some(catalogue.find(&name.name)?.number);
            at.map(|at| numbers[at]).or_else(held)
        };
        let (mut changed, mut modules) = (Vec::new(), Vec::new());
        let mut unchanged = packages.len();
        let mut with = None;
        if let Travel::Compressed(bytes) = travel {
            let held = catalogue.dictionary().map(|entry| entry.number);
            let number = held.unwrap_or(count);
            if held.is_none() {
                count = count.checked_add(1).ok_or(BadPackages::TooMany)?;
                let name = Name::new(DICTIONARY_NAME).expect("it is a valid name");
                let namespace = *catalogue.name();
                let taken = |package: &Package<'_>| package.name.name == name;
                if catalogue.named(&name).is_some() || packages.iter().any(taken) {
                    let name = TaskletName { namespace, name };
                    return Err(BadPackages::IsDictionary { name });
                }
                changed.push((number, dictionary_entry(number, name, bytes)));
                modules.push(bytes.to_vec());
            }
            with = Some((number, bytes));
        }
        for (package, number) in packages.iter().zip(&numbers) {
            let module = Module::of(package, with);
            let entry = encode(catalogue, package, *number, &module, &mut number_of)?;
            if let Some(encoded) = entry {
                changed.push((*number, encoded));
                modules.push(module.bytes);
                unchanged -= 1;
            }
        }
        changed.sort();
        modules.retain(|module| !module.is_empty());
        Ok(Self {
            changed: changed.into_iter().map(|(_, encoded)| encoded).collect(),
            count,
            unchanged,
            modules,
            epoch: None,
        })
    }

    /// The publication that withdraws the tasklets `names` from `catalogue`: their entries lose
    /// module, exports and imports, and keep number and name (spec/catalogue.md, section 2).
    ///
    /// # Errors
    /// [`BadPackages::UnknownName`] for a tasklet that is not published.
    pub fn withdrawing(catalogue: &Catalogue, names: &[Name]) -> Result<Self, BadPackages> {
        let mut changed = Vec::new();
        let mut terms = Terms::empty();
        terms.executor = Executor::Native;
        for (at, name) in names.iter().enumerate() {
            let full = TaskletName {
                namespace: *catalogue.name(),
                name: *name,
            };
            if names[..at].contains(name) {
                return Err(BadPackages::Twice { name: full });
            }
            let held = catalogue.find(name);
            let held = held.ok_or(BadPackages::UnknownName { name: full })?;
            let next = held.sequence.checked_add(1);
            let fields = EntryFields {
                number: held.number,
                name: *name,
                sequence: next.ok_or(BadPackages::TooManyVersions { name: full })?,
                digest: Digest::of(&[]),
                size: 0,
                compression: None,
                terms,
                imports: &[],
            };
            let mut space = [0; MAX_ENTRY_BYTES];
            let len = fields.encode(&mut space);
            let len = len.ok_or(BadPackages::TooLarge { name: full })?;
            changed.push((held.number, space[..len].to_vec()));
        }
        changed.sort();
        Ok(Self {
            changed: changed.into_iter().map(|(_, encoded)| encoded).collect(),
            count: catalogue.count(),
            unchanged: 0,
            modules: Vec::new(),
            epoch: None,
        })
    }

    /// The modules of entries that are new or changed, as they travel; a new dictionary is one.
    pub fn modules(&self) -> &[Vec<u8>] {
        &self.modules
    }

    /// How many entries are new or changed; if none, there is nothing to publish.
    pub fn changed(&self) -> usize {
        self.changed.len()
    }

    /// The epoch to which it leads `catalogue`.
    pub fn epoch_after(&self, catalogue: &Catalogue) -> u32 {
        self.epoch.unwrap_or(catalogue.epoch() + 1)
    }

    /// How many packages are published already as they are.
    pub fn unchanged(&self) -> usize {
        self.unchanged
    }

    /// The delta that leads `catalogue` to its next epoch. `signer` signs the bytes that the
    /// namespace's key must sign (spec/catalogue.md, section 4).
    ///
    /// # Errors
    /// [`BadDelta`] if the entries are over the format's limits.
    pub fn sign(
        &self,
        catalogue: &Catalogue,
        signer: impl FnOnce(&[u8; SIGNED_BYTES]) -> [u8; 64],
    ) -> Result<Vec<u8>, BadDelta> {
        let unsigned = self.encode(catalogue, &[0; 64])?;
        let delta = Delta::decode(&unsigned).map_err(|_| BadDelta::TooLarge)?;
        let root = catalogue.root_after(&delta)?;
        self.encode(catalogue, &signer(&signed_bytes(&root)))
    }

    fn encode(&self, catalogue: &Catalogue, signature: &[u8; 64]) -> Result<Vec<u8>, BadDelta> {
        let bytes: usize = self.changed.iter().map(|entry| entry.len() + 3).sum();
        let mut out = vec![0; bytes + DELTA_BYTES];
        let entries = self.changed.iter().map(|entry| &entry[..]);
        let epochs = (catalogue.epoch(), self.epoch_after(catalogue));
        let name = catalogue.name();
        let len = Delta::encode(name, epochs, self.count, signature, entries, &mut out);
        out.truncate(len.ok_or(BadDelta::TooLarge)?);
        Ok(out)
    }
}

/// A module as it travels.
struct Module {
    bytes: Vec<u8>,
    compression: Option<Compression>,
}

impl Module {
    /// The module of a package, compressed with the dictionary that has this number if that is
    /// shorter; empty if the tasklet is native.
    fn of(package: &Package<'_>, dictionary: Option<(u16, &[u8])>) -> Self {
        let has_module = package.terms.executor.has_module();
        let plain = if has_module { package.module } else { &[] };
        if let Some((number, dictionary)) = dictionary
            && let (bytes, true) = shortest(plain, dictionary)
        {
            let compression = Some(Compression {
                dictionary: number,
                plain_bytes: plain.len() as u32,
            });
            return Self { bytes, compression };
        }
        Self {
            bytes: plain.to_vec(),
            compression: None,
        }
    }
}

/// The entry of a new dictionary.
fn dictionary_entry(number: u16, name: Name, bytes: &[u8]) -> Vec<u8> {
    let fields = EntryFields {
        number,
        name,
        sequence: 1,
        digest: Digest::of(bytes),
        size: bytes.len() as u32,
        compression: None,
        terms: Terms::empty(),
        imports: &[],
    };
    let mut space = [0; 128];
    let len = fields.encode(&mut space);
    space[..len.expect("it has no lists")].to_vec()
}

/// The package's next entry; nothing if the package is published already as it is.
fn encode(
    catalogue: &Catalogue,
    package: &Package<'_>,
    number: u16,
    module: &Module,
    number_of: &mut impl FnMut(&TaskletName) -> Option<u16>,
) -> Result<Option<Vec<u8>>, BadPackages> {
    let name = package.name;
    let mut imports = Vec::new();
    for import in package.imports() {
        let callee = import.name;
        let unknown = || BadPackages::UnknownImport {
            name,
            callee: Box::new(callee),
        };
        let number = number_of(&callee).ok_or_else(unknown)?;
        imports.push(Import {
            namespace: NamespaceId::of(&callee.namespace),
            number,
            export: import.export,
            signature: import.signature,
        });
    }
    let held = catalogue.entry(number);
    let mut fields = EntryFields {
        number,
        name: name.name,
        sequence: held.map_or(1, |held| held.sequence),
        digest: Digest::of(&module.bytes),
        size: module.bytes.len() as u32,
        compression: module.compression,
        terms: package.terms,
        imports: &imports,
    };
    let mut space = [0; MAX_ENTRY_BYTES];
    if let Some(held) = held {
        let len = fields.encode(&mut space);
        let len = len.ok_or(BadPackages::TooLarge { name })?;
        if space[..len] == *held.encoded() {
            return Ok(None);
        }
        let next = held.sequence.checked_add(1);
        fields.sequence = next.ok_or(BadPackages::TooManyVersions { name })?;
    }
    let len = fields.encode(&mut space);
    let len = len.ok_or(BadPackages::TooLarge { name })?;
    Ok(Some(space[..len].to_vec()))
}

/// Why packages cannot be published together.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadPackages {
    /// A package is of another namespace than the catalogue.
    OtherNamespace {
        /// The package.
        name: TaskletName,
    },
    /// Two packages have the same name.
    Twice {
        /// The name.
        name: TaskletName,
    },
    /// A package calls a tasklet that is neither published nor among the packages.
    UnknownImport {
        /// The package.
        name: TaskletName,
        /// The tasklet that it calls.
        callee: Box<TaskletName>,
    },
    /// No tasklet of that name is published.
    UnknownName {
        /// The name.
        name: TaskletName,
    },
    /// The name is that of the namespace's dictionary.
    IsDictionary {
        /// The name.
        name: TaskletName,
    },
    /// The epoch is no newer one than the registry's.
    OldEpoch {
        /// The epoch.
        epoch: u32,
        /// The registry's.
        held: u32,
    },
    /// The catalogue is full.
    TooMany,
    /// The tasklet has as many versions as sequence numbers can count.
    TooManyVersions {
        /// The package.
        name: TaskletName,
    },
    /// A package has more imports or exports than an entry can hold.
    TooLarge {
        /// The package.
        name: TaskletName,
    },
}

impl BadPackages {
    /// The stable code: lower-case words joined by hyphens.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherNamespace { .. } => "other-namespace",
            Self::Twice { .. } => "duplicate-name",
            Self::UnknownImport { .. } => "bad-import",
            Self::UnknownName { .. } => "unknown-tasklet",
            Self::IsDictionary { .. } => "is-dictionary",
            Self::OldEpoch { .. } => "stale-epoch",
            Self::TooMany => "catalogue-full",
            Self::TooManyVersions { .. } => "too-many-versions",
            Self::TooLarge { .. } => "too-large",
        }
    }
}

impl fmt::Display for BadPackages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNamespace { name } => write!(f, "{name} is of another namespace"),
            Self::Twice { name } => write!(f, "two packages are called {name}"),
            Self::UnknownImport { name, callee } => write!(
                f,
                "{name} calls {callee}, which is not published; publish it before or together"
            ),
            Self::UnknownName { name } => write!(f, "{name} is not published"),
            Self::IsDictionary { name } => {
                write!(f, "{name} is the name of the namespace's dictionary")
            }
            Self::OldEpoch { epoch, held } => {
                write!(
                    f,
                    "the registry is at epoch {held}, and {epoch} is not newer"
                )
            }
            Self::TooMany => f.write_str("the catalogue has no room for more entries"),
            Self::TooManyVersions { name } => write!(f, "{name} has too many versions"),
            Self::TooLarge { name } => write!(f, "{name} has too many imports or exports"),
        }
    }
}

impl core::error::Error for BadPackages {}

#[cfg(test)]
mod tests {
    use alloc::format;

    use nimblenet_tasklet::{Export, Name, NamedImport, PackageFields, Terms};

    use super::*;
    use crate::catalogue::CatalogueLimits;

    fn package(name: &str, module: &[u8], callee: Option<&str>) -> Vec<u8> {
        let signature = "func(u32) -> u32".parse().unwrap();
        let mut space = [0; 64];
        let terms = Terms::empty()
            .with_exports(&[Export::run(signature)], &mut space)
            .unwrap();
        let import = callee.map(|callee| NamedImport {
            name: callee.parse().unwrap(),
            export: "run",
            signature,
        });
        let fields = PackageFields {
            name: name.parse().unwrap(),
            terms,
            imports: import.as_slice(),
            module,
        };
        let mut bytes = vec![0; 256];
        let len = fields.encode(&mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    }

    fn shop() -> Catalogue {
        Catalogue::new(Name::new("shop").unwrap(), CatalogueLimits::LARGE)
    }

    fn publication(catalogue: &Catalogue, files: &[Vec<u8>]) -> Result<Publication, BadPackages> {
        let decoded = files.iter().map(|bytes| Package::decode(bytes).unwrap());
        let decoded: Vec<_> = decoded.collect();
        Publication::new(catalogue, &decoded, Travel::Plain, |_| Some(9))
    }

    fn apply(catalogue: &mut Catalogue, delta: &[u8]) {
        let delta = Delta::decode(delta).unwrap();
        let root = catalogue.root_after(&delta).unwrap();
        catalogue.apply(&delta, &root, false).unwrap();
    }

    fn publish(catalogue: &mut Catalogue, files: &[Vec<u8>]) -> Publication {
        let publication = publication(catalogue, files).unwrap();
        let delta = publication.sign(catalogue, |_| [7; 64]).unwrap();
        apply(catalogue, &delta);
        publication
    }

    /// Names with their numbers and sequence numbers.
    fn numbers(catalogue: &Catalogue) -> Vec<(Name, u16, u16)> {
        let entries = catalogue.entries();
        entries
            .map(|entry| (entry.name, entry.number, entry.sequence))
            .collect()
    }

    #[test]
    fn a_name_keeps_its_number_and_a_changed_entry_gets_the_next_sequence_number() {
        let mut catalogue = shop();
        let (add, mul) = (
            package("shop/add", b"1", None),
            package("shop/mul", b"2", None),
        );
        publish(&mut catalogue, &[add.clone(), mul]);
        assert_eq!(catalogue.epoch(), 1);
        let second = [
            package("shop/neg", b"3", None),
            package("shop/mul", b"22", None),
            add,
        ];
        let publication = publish(&mut catalogue, &second);
        assert_eq!((publication.changed(), publication.unchanged()), (2, 1));
        assert_eq!(catalogue.epoch(), 2);
        let expected = [("add", 0, 1), ("mul", 1, 2), ("neg", 2, 1)]
            .map(|(name, number, sequence)| (Name::new(name).unwrap(), number, sequence));
        assert_eq!(numbers(&catalogue), expected);
    }

    #[test]
    fn callees_have_the_numbers_of_this_publication_or_of_their_own_namespace() {
        let mut catalogue = shop();
        let files = [
            package("shop/chain", b"1", Some("shop/add")),
            package("shop/add", b"2", None),
            package("shop/far", b"3", Some("std/rms")),
        ];
        publish(&mut catalogue, &files);
        let callee = |at| {
            let import = catalogue.entry(at).unwrap().imports().next().unwrap();
            (import.namespace, import.number)
        };
        let id = |name| NamespaceId::of(&Name::new(name).unwrap());
        assert_eq!(callee(0), (id("shop"), 1));
        assert_eq!(callee(2), (id("std"), 9));
        let lost = publication(&catalogue, &[package("shop/lost", b"4", Some("shop/none"))]);
        assert_eq!(lost.unwrap_err().code(), "bad-import");
    }

    #[test]
    fn packages_of_one_publication_are_of_its_namespace_and_have_different_names() {
        let add = package("shop/add", b"1", None);
        let twice = publication(&shop(), &[add.clone(), add]);
        assert_eq!(twice.unwrap_err().code(), "duplicate-name");
        let other = publication(&shop(), &[package("std/add", b"1", None)]);
        assert_eq!(other.unwrap_err().code(), "other-namespace");
    }

    #[test]
    fn a_withdrawn_name_keeps_its_number_for_a_later_version() {
        let mut catalogue = shop();
        let add = package("shop/add", b"1", None);
        let name = Name::new("add").unwrap();
        publish(
            &mut catalogue,
            &[add.clone(), package("shop/mul", b"2", None)],
        );
        let withdrawal = Publication::withdrawing(&catalogue, &[name]).unwrap();
        let delta = withdrawal.sign(&catalogue, |_| [7; 64]).unwrap();
        apply(&mut catalogue, &delta);
        assert!(catalogue.find(&name).is_none());
        let entry = catalogue.named(&name).unwrap();
        assert_eq!((entry.number, entry.sequence, entry.size), (0, 2, 0));
        let again = Publication::withdrawing(&catalogue, &[name]).unwrap_err();
        assert_eq!(again.code(), "unknown-tasklet");
        let caller = package("shop/chain", b"3", Some("shop/add"));
        let caller = publication(&catalogue, &[caller]).unwrap_err();
        assert_eq!(caller.code(), "bad-import");
        publish(&mut catalogue, &[add]);
        let entry = catalogue.find(&name).unwrap();
        assert_eq!((entry.number, entry.sequence), (0, 3));
    }

    /// Five packages that have much in common.
    fn alike() -> Vec<Vec<u8>> {
        let common = b"the part of the module that is the same in all of them, which is long";
        let module = |own: u8| [common, &[own; 9][..]].concat();
        let file = |own: u8| package(&format!("shop/t{own}"), &module(own), None);
        (0..5).map(file).collect()
    }

    #[test]
    fn modules_that_have_much_in_common_travel_compressed_with_a_dictionary_of_their_own() {
        let mut catalogue = shop();
        let files = alike();
        let packages: Vec<_> = files
            .iter()
            .map(|it| Package::decode(it).unwrap())
            .collect();
        let made = new_dictionary(&catalogue, &packages).unwrap();
        let travel = Travel::Compressed(&made);
        let publish = |catalogue: &Catalogue, packages: &[Package<'_>]| {
            Publication::new(catalogue, packages, travel, |_| None)
        };
        let publication = publish(&catalogue, &packages).unwrap();
        assert_eq!(publication.modules()[0], made);
        assert_eq!(publication.changed(), 6);
        let delta = publication.sign(&catalogue, |_| [7; 64]).unwrap();
        apply(&mut catalogue, &delta);
        let entry = catalogue.dictionary().unwrap();
        assert_eq!((entry.number, entry.digest), (5, Digest::of(&made)));
        assert!(catalogue.find(&entry.name).is_none(), "nothing calls it");
        for (at, package) in packages.iter().enumerate() {
            let entry = catalogue.entry(at as u16).unwrap();
            let module = &publication.modules()[at + 1];
            assert_eq!(
                (entry.digest, entry.size as usize),
                (Digest::of(module), module.len())
            );
            let compression = entry.compression.unwrap();
            assert_eq!(compression.dictionary, 5);
            let mut plain = vec![0; compression.plain_bytes as usize];
            nimblenet_tasklet::compression::expand(module, &made, &mut plain).unwrap();
            assert_eq!(plain, package.module);
        }
        assert_eq!(new_dictionary(&catalogue, &packages), None, "there is one");
        // What is there already stays, and the dictionary is not made again.
        let again = publish(&catalogue, &packages).unwrap();
        assert_eq!((again.changed(), again.unchanged()), (0, 5));
        let taken = package("shop/dictionary", b"1", None);
        let taken = publish(&catalogue, &[Package::decode(&taken).unwrap()]);
        assert_eq!(taken.unwrap_err().code(), "is-dictionary");
    }

    #[test]
    fn a_dictionary_that_is_longer_than_what_it_saves_is_not_made() {
        let files = &alike()[..2];
        let packages: Vec<_> = files
            .iter()
            .map(|it| Package::decode(it).unwrap())
            .collect();
        assert_eq!(new_dictionary(&shop(), &packages[..1]), None);
        let tiny = [
            package("shop/a", b"ab", None),
            package("shop/b", b"ab", None),
        ];
        let tiny: Vec<_> = tiny.iter().map(|it| Package::decode(it).unwrap()).collect();
        assert_eq!(new_dictionary(&shop(), &tiny), None);
    }

    #[test]
    fn the_signature_is_over_the_catalogue_that_results() {
        let catalogue = shop();
        let publication = publication(&catalogue, &[package("shop/add", b"1", None)]).unwrap();
        let mut signed = None;
        let delta = publication.sign(&catalogue, |bytes| {
            signed = Some(*bytes);
            [7; 64]
        });
        let delta = delta.unwrap();
        let delta = Delta::decode(&delta).unwrap();
        let root = catalogue.root_after(&delta).unwrap();
        assert_eq!(signed, Some(signed_bytes(&root)));
        assert_eq!(delta.signature, [7; 64]);
    }
}
