//! Catalogue entries: everything about a tasklet except its bytes.

use minicbor::Encoder;
use minicbor::encode::write::Cursor;

use crate::compression::Compression;
use crate::deterministic::{self, Items, Trust};
use crate::terms::{TermsReader, encode_exports};
use crate::{Digest, Executor, Export, Malformed, Name, NamespaceId, Signature, TaskletRef, Terms};

/// The most imports that an entry lists.
const MAX_IMPORTS: usize = 16;
/// A reader may skip keys from this one on if it does not know them.
const FIRST_OPTIONAL_KEY: u8 = 64;

/// Fuel of a tasklet whose entry sets no ceiling.
const DEFAULT_FUEL: u64 = 100_000_000;

/// A call that a tasklet makes to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Import<'a> {
    /// The callee's namespace.
    pub namespace: NamespaceId,
    /// The callee's entry number there.
    pub number: u16,
    /// The callee's export.
    pub export: &'a str,
    /// The signature that the caller was compiled against.
    pub signature: Signature,
}

/// One version of one tasklet in a namespace's catalogue: a view of its encoded bytes.
///
/// Stored as a CBOR map with small integer keys (spec/catalogue.md, section 2).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry<'a> {
    /// Position in the catalogue, which no other tasklet ever gets.
    pub number: u16,
    /// Name within the namespace.
    pub name: Name,
    /// Rises by one with each published version, from 1.
    pub sequence: u16,
    /// SHA-256 of the stripped module as it travels; of no bytes for a native tasklet.
    pub digest: Digest,
    /// Length of the stripped module as it travels, in bytes.
    pub size: u32,
    /// How the module is compressed; none if it travels as it runs.
    pub compression: Option<Compression>,
    /// What the tasklet offers and needs.
    pub terms: Terms<'a>,
    imports: &'a [u8],
    encoded: &'a [u8],
}

/// What an entry says of the bytes of its tasklet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module {
    /// See [`Entry::digest`].
    pub digest: Digest,
    /// See [`Entry::size`].
    pub size: u32,
    /// See [`Entry::compression`].
    pub compression: Option<Compression>,
}

impl<'a> Entry<'a> {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`Malformed`] says which part is wrong.
    pub fn decode(encoded: &'a [u8]) -> Result<Self, Malformed> {
        deterministic::check(encoded)?;
        Self::read(encoded, Trust::Nothing)
    }

    /// Reads an entry that [`decode`](Self::decode) has accepted before, with fewer checks; nothing
    /// if the bytes are no entry.
    pub fn reread(encoded: &'a [u8]) -> Option<Self> {
        Self::read(encoded, Trust::ReadBefore).ok()
    }

    /// The bytes of the name in an entry that [`decode`](Self::decode) has accepted before; nothing
    /// if the bytes are no entry.
    pub fn reread_name(encoded: &[u8]) -> Option<&[u8]> {
        read_name(&mut Items::new(encoded))
    }

    /// What there is to know of the module in an entry that [`decode`](Self::decode) has accepted
    /// before; nothing if the bytes are no entry.
    pub fn reread_module(encoded: &[u8]) -> Option<Module> {
        let mut items = Items::new(encoded);
        read_name(&mut items)?;
        // Sequence, digest and, unless it is 0, size follow the name.
        items.key()?;
        items.head(0)?;
        items.key()?;
        let digest = items.content(2)?;
        let (size, compression) = match items.key()? {
            4 => read_size(&mut items)?,
            _ => (0, None),
        };
        Some(Module {
            digest: Digest(digest.try_into().ok()?),
            size,
            compression,
        })
    }

    fn read(encoded: &'a [u8], trust: Trust) -> Result<Self, Malformed> {
        let mut items = Items::new(encoded);
        let mut terms = TermsReader::new();
        let (mut number, mut name, mut sequence) = (None, None, None);
        let (mut digest, mut size, mut imports) = (None, 0, &[0x80][..]);
        let mut compression = None;
        for _ in 0..items.head(5).ok_or(Malformed::NotDeterministic)? {
            let key = items.key().ok_or(Malformed::NotDeterministic)?;
            let wrong = Malformed::Field(key);
            match key {
                0 => number = Some(items.number().ok_or(wrong)?),
                1 => {
                    let text = items.content(3).ok_or(wrong)?;
                    name = Some(match trust {
                        Trust::Nothing => Name::from_bytes(text).map_err(|_| wrong)?,
                        Trust::ReadBefore => Name::recopied(text).ok_or(wrong)?,
                    });
                }
                2 => sequence = Some(items.number().ok_or(wrong)?),
                3 => {
                    let bytes = items.content(2).ok_or(wrong)?;
                    digest = Some(Digest(bytes.try_into().map_err(|_| wrong)?));
                }
                4 => (size, compression) = read_size(&mut items).ok_or(wrong)?,
                13 if trust == Trust::ReadBefore => {
                    // Behind the imports there is nothing that a reader takes.
                    imports = items.rest();
                    break;
                }
                13 => imports = read_imports(&mut items, key)?,
                FIRST_OPTIONAL_KEY.. => {
                    items.item().ok_or(wrong)?;
                }
                _ => {
                    if !terms.read(key, &mut items, trust)? {
                        return Err(Malformed::Unknown(key));
                    }
                }
            }
        }
        Ok(Self {
            number: number.ok_or(Malformed::Field(0))?,
            name: name.ok_or(Malformed::Field(1))?,
            sequence: sequence
                .filter(|sequence| *sequence > 0)
                .ok_or(Malformed::Field(2))?,
            digest: digest.ok_or(Malformed::Field(3))?,
            size,
            compression,
            terms: terms.finish()?,
            imports,
            encoded,
        })
    }

    /// The entry's encoded bytes.
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// Whether its tasklet was withdrawn: it has no exports, so that nothing can call it, and no
    /// module. Its number and name stay reserved for a later version.
    pub fn is_withdrawn(&self) -> bool {
        self.terms.count_exports() == 0 && !self.is_dictionary()
    }

    /// Whether its module is no program but a dictionary for compressed modules: nothing can call
    /// it either.
    pub fn is_dictionary(&self) -> bool {
        self.terms.count_exports() == 0 && self.size > 0
    }

    /// The length of the module when it runs, in bytes.
    pub fn plain_bytes(&self) -> u32 {
        self.compression.map_or(self.size, |it| it.plain_bytes)
    }

    /// The sub-tasklets that it calls, in the order of their numbers in outcomes.
    pub fn imports(&self) -> impl Iterator<Item = Import<'a>> + use<'a> {
        let mut items = Items::new(self.imports);
        let count = items.head(4).unwrap_or(0);
        (0..count).map_while(move |_| read_import(&mut items))
    }

    /// The sub-tasklet with this number in outcomes.
    pub fn import(&self, number: u16) -> Option<Import<'a>> {
        let mut items = Items::new(self.imports);
        if u64::from(number) >= items.head(4)? {
            return None;
        }
        for _ in 0..number {
            items.item()?;
        }
        read_import(&mut items)
    }

    /// Whether the tasklet has a module, which is fetched before it runs. A native tasklet has
    /// none.
    pub const fn has_module(&self) -> bool {
        self.terms.executor.has_module()
    }

    /// The most fuel that one activation gets, its sub-tasklets included.
    pub const fn fuel_ceiling(&self) -> u64 {
        match self.terms.fuel {
            0 => DEFAULT_FUEL,
            fuel => fuel,
        }
    }

    /// The reference to this version in frames and caches.
    pub fn reference(&self, namespace: NamespaceId) -> TaskletRef {
        TaskletRef {
            namespace,
            number: self.number,
            sequence: self.sequence,
        }
    }
}

/// The fields of an entry that is to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct EntryFields<'a> {
    /// See [`Entry::number`].
    pub number: u16,
    /// See [`Entry::name`].
    pub name: Name,
    /// See [`Entry::sequence`].
    pub sequence: u16,
    /// See [`Entry::digest`].
    pub digest: Digest,
    /// See [`Entry::size`].
    pub size: u32,
    /// See [`Entry::compression`].
    pub compression: Option<Compression>,
    /// See [`Entry::terms`].
    pub terms: Terms<'a>,
    /// See [`Entry::imports`].
    pub imports: &'a [Import<'a>],
}

impl EntryFields<'_> {
    /// Writes the entry and returns its length; nothing if `out` is too short or a count is over
    /// its limit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        if self.imports.len() > MAX_IMPORTS {
            return None;
        }
        let mut encoder = Encoder::new(Cursor::new(out));
        let optional = u64::from(self.size > 0) + u64::from(!self.imports.is_empty());
        encoder.map(4 + self.terms.fields() + optional).ok()?;
        encoder.u8(0).ok()?.u16(self.number).ok()?;
        encoder.u8(1).ok()?.str(self.name.as_str()).ok()?;
        encoder.u8(2).ok()?.u16(self.sequence).ok()?;
        encoder.u8(3).ok()?.bytes(&self.digest.0).ok()?;
        if self.size > 0 {
            encoder.u8(4).ok()?;
            if self.compression.is_some() {
                encoder.array(3).ok()?;
            }
            encoder.u32(self.size).ok()?;
            if let Some(compression) = self.compression {
                encoder.u16(compression.dictionary).ok()?;
                encoder.u32(compression.plain_bytes).ok()?;
            }
        }
        self.terms.encode(&mut encoder)?;
        if !self.imports.is_empty() {
            encoder.u8(13).ok()?.array(self.imports.len() as u64).ok()?;
            for import in self.imports {
                let mut bytes = [0; Signature::MAX_BYTES];
                let len = import.signature.encode(&mut bytes);
                encoder
                    .array(4)
                    .ok()?
                    .u32(import.namespace.0)
                    .ok()?
                    .u16(import.number)
                    .ok()?;
                encoder.str(import.export).ok()?.bytes(&bytes[..len]).ok()?;
            }
        }
        Some(encoder.writer().position())
    }
}

/// Reads an entry up to the end of its name, and returns the bytes of the name. Keys are in order:
/// only the number comes before the name.
fn read_name<'a>(items: &mut Items<'a>) -> Option<&'a [u8]> {
    items.head(5)?;
    items.key()?;
    items.head(0)?;
    items.key()?;
    items.content(3)
}

/// Reads the length of a module as it travels, and how it is compressed.
fn read_size(items: &mut Items<'_>) -> Option<(u32, Option<Compression>)> {
    let mut ahead = items.clone();
    if ahead.head(4) != Some(3) {
        return Some((items.number()?, None));
    }
    *items = ahead;
    let size = items.number()?;
    let compression = Compression {
        dictionary: items.number()?,
        plain_bytes: items.number()?,
    };
    Some((size, Some(compression)))
}

fn read_import<'a>(items: &mut Items<'a>) -> Option<Import<'a>> {
    if items.head(4)? != 4 {
        return None;
    }
    Some(Import {
        namespace: NamespaceId(items.number()?),
        number: items.number()?,
        export: items.text()?,
        signature: Signature::decode(items.content(2)?)?,
    })
}

fn read_imports<'a>(items: &mut Items<'a>, key: u8) -> Result<&'a [u8], Malformed> {
    let wrong = Malformed::Field(key);
    let mut ahead = items.clone();
    let count = ahead.head(4).ok_or(wrong)?;
    if count > MAX_IMPORTS as u64 {
        return Err(Malformed::TooMany);
    }
    for _ in 0..count {
        read_import(&mut ahead).ok_or(wrong)?;
    }
    items.item().ok_or(wrong)
}

impl<'a> Terms<'a> {
    /// The same terms with these exports, encoded into `space`; nothing if they do not fit or
    /// are more than eight.
    pub fn with_exports<'b>(self, exports: &[Export<'_>], space: &'b mut [u8]) -> Option<Terms<'b>>
    where
        'a: 'b,
    {
        let len = encode_exports(exports, space)?;
        Some(Terms {
            exports: &space[..len],
            ..self
        })
    }

    /// Terms of a WebAssembly tasklet without exports, memory, fuel or capabilities.
    pub const fn empty() -> Terms<'static> {
        Terms {
            executor: Executor::Wasm,
            exports: &[0x80],
            memory_bytes: 0,
            fuel: 0,
            cost: 0,
            area: crate::Area { offset: 0, len: 0 },
            capabilities: crate::Capabilities::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Area, Capabilities, Capability};
    use proptest::prelude::*;
    extern crate alloc;
    use alloc::vec::Vec;

    fn example(out: &mut [u8]) -> usize {
        compressed_example(None, out)
    }

    fn compressed_example(compression: Option<Compression>, out: &mut [u8]) -> usize {
        let signature = "func(list<f32>) -> f32".parse().unwrap();
        let mut space = [0; 64];
        let terms = Terms {
            memory_bytes: 1100,
            fuel: 90_000,
            cost: 700,
            area: Area {
                offset: 76,
                len: 1024,
            },
            capabilities: Capabilities::NONE.with(Capability::Log),
            ..Terms::empty()
        };
        let terms = terms
            .with_exports(&[Export::run(signature)], &mut space)
            .unwrap();
        let import = Import {
            namespace: NamespaceId(7),
            number: 2,
            export: "run",
            signature,
        };
        EntryFields {
            number: 3,
            name: Name::new("rms").unwrap(),
            sequence: 1,
            digest: Digest::of(b"module"),
            size: 110,
            compression,
            terms,
            imports: &[import],
        }
        .encode(out)
        .unwrap()
    }

    fn module_of(entry: &Entry<'_>) -> Module {
        Module {
            digest: entry.digest,
            size: entry.size,
            compression: entry.compression,
        }
    }

    #[test]
    fn the_specification_s_vectors_are_this_entry_and_a_delta_that_holds_it() {
        let spec = include_str!("../../../spec/catalogue.md");
        let blocks = spec
            .split("```hex\n")
            .filter_map(|block| block.split_once("```"));
        let vectors: Vec<Vec<u8>> = blocks.filter_map(|(block, _)| hex(block)).collect();
        let [entry, compressed, delta] = &vectors[..] else {
            panic!("one entry, what is added to it, and one delta")
        };
        let mut bytes = [0; 256];
        let len = example(&mut bytes);
        assert_eq!(entry[..], bytes[..len]);
        let compression = Some(Compression {
            dictionary: 9,
            plain_bytes: 300,
        });
        let len = compressed_example(compression, &mut bytes);
        // The length of the module is 110.
        let size = [4, 0x18, 110];
        let at = entry.windows(3).position(|it| it == size).unwrap();
        let expected = [&entry[..at], compressed, &entry[at + 3..]].concat();
        assert_eq!(expected, bytes[..len]);
        let read = Entry::decode(&expected).unwrap();
        assert_eq!((read.compression, read.plain_bytes()), (compression, 300));
        assert_eq!(Entry::reread(&expected), Some(read));
        let module = Entry::reread_module(&expected);
        assert_eq!(module, Some(module_of(&read)));

        let read = crate::Delta::decode(delta).unwrap();
        assert_eq!((read.from, read.to, read.count), (1, 2, 4));
        assert_eq!(read.entries().next().unwrap().encoded(), entry);
        let mut again = [0; 512];
        let entries = [&entry[..]].into_iter();
        let (epochs, signature) = ((read.from, read.to), &read.signature);
        let encode = crate::Delta::encode;
        let len = encode(&read.namespace, epochs, 4, signature, entries, &mut again).unwrap();
        assert_eq!(again[..len], delta[..]);
    }

    /// The bytes of a block of hexadecimal digits; none for text, as before the first block.
    fn hex(block: &str) -> Option<Vec<u8>> {
        let digits = block.chars().filter(|c| !c.is_whitespace());
        let digits: Option<Vec<u8>> = digits
            .map(|c| c.to_digit(16).map(|digit| digit as u8))
            .collect();
        Some(
            digits?
                .chunks(2)
                .map(|pair| pair[0] << 4 | pair[1])
                .collect(),
        )
    }

    #[test]
    fn an_entry_reads_back_as_written() {
        let mut bytes = [0; 256];
        let len = example(&mut bytes);
        let entry = Entry::decode(&bytes[..len]).unwrap();
        assert_eq!((entry.number, entry.sequence, entry.size), (3, 1, 110));
        assert_eq!(entry.name.as_str(), "rms");
        assert_eq!(Entry::reread(&bytes[..len]), Some(entry));
        assert_eq!(Entry::reread_name(&bytes[..len]), Some(&b"rms"[..]));
        let module = Entry::reread_module(&bytes[..len]);
        assert_eq!(module, Some(module_of(&entry)));
        assert_eq!(entry.terms.export("").unwrap().name, "run");
        assert_eq!(
            entry.terms.area,
            Area {
                offset: 76,
                len: 1024
            }
        );
        let import = entry.imports().next().unwrap();
        assert_eq!((import.number, entry.imports().count()), (2, 1));
        assert_eq!((entry.import(0), entry.import(1)), (Some(import), None));
        assert!(entry.has_module());
        assert_eq!(entry.fuel_ceiling(), 90_000);
    }

    #[test]
    fn an_entry_without_a_ceiling_has_the_usual_one_and_a_native_one_has_no_module() {
        let mut space = [0; 64];
        let export = Export::run("func()".parse().unwrap());
        let mut terms = Terms::empty().with_exports(&[export], &mut space).unwrap();
        terms.executor = Executor::Native;
        let mut bytes = [0; 256];
        let fields = EntryFields {
            number: 0,
            name: Name::new("lamp").unwrap(),
            sequence: 1,
            digest: Digest::of(b""),
            size: 0,
            compression: None,
            terms,
            imports: &[],
        };
        let len = fields.encode(&mut bytes).unwrap();
        let entry = Entry::decode(&bytes[..len]).unwrap();
        assert!(!entry.has_module());
        assert_eq!(entry.fuel_ceiling(), DEFAULT_FUEL);
        let module = Entry::reread_module(&bytes[..len]);
        assert_eq!(module, Some(module_of(&entry)));
    }

    #[test]
    fn an_entry_without_exports_is_a_dictionary_if_its_module_has_bytes() {
        let is = |size: u32| {
            let mut bytes = [0; 128];
            let fields = EntryFields {
                number: 7,
                name: Name::new("dictionary").unwrap(),
                sequence: 1,
                digest: Digest::of(b""),
                size,
                compression: None,
                terms: Terms::empty(),
                imports: &[],
            };
            let len = fields.encode(&mut bytes).unwrap();
            let entry = Entry::decode(&bytes[..len]).unwrap();
            (entry.is_dictionary(), entry.is_withdrawn())
        };
        assert_eq!(is(1000), (true, false));
        assert_eq!(is(0), (false, true));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused_or_reads_as_an_entry() {
        let mut bytes = [0; 256];
        let len = example(&mut bytes);
        for cut in 0..len {
            assert!(Entry::decode(&bytes[..cut]).is_err());
        }
        for bit in 0..len * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(entry) = Entry::decode(&bytes[..len]) {
                entry.imports().for_each(drop);
                entry.terms.exports().for_each(drop);
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Entry::decode(&bytes);
            let _ = Entry::reread(&bytes).map(|entry| entry.imports().count());
            let _ = Entry::reread(&bytes).map(|entry| entry.import(1));
            let _ = Entry::reread_name(&bytes);
            let _ = Entry::reread_module(&bytes);
        }
    }
}
