//! Packages: a module and its terms in one file, before it has a place in a catalogue.

use minicbor::Encoder;
use minicbor::encode::write::Cursor;

use crate::deterministic::{self, Items, Trust};
use crate::terms::TermsReader;
use crate::{Malformed, Signature, TaskletName, Terms};

const FORMAT: u8 = 1;
/// The file starts with these bytes (CBOR tag 55799, RFC 8949 section 3.4.6), the map follows.
const MAGIC: [u8; 3] = [0xd9, 0xd9, 0xf7];
const MAX_IMPORTS: u64 = 16;

/// A call to another tasklet, by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedImport<'a> {
    /// The callee.
    pub name: TaskletName,
    /// The callee's export.
    pub export: &'a str,
    /// The signature that the caller was compiled against.
    pub signature: Signature,
}

/// A packed tasklet: a view of a package file's bytes (spec/package.md).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Package<'a> {
    /// The tasklet's full name.
    pub name: TaskletName,
    /// What it offers and needs.
    pub terms: Terms<'a>,
    /// The stripped module; empty for a native tasklet.
    pub module: &'a [u8],
    imports: &'a [u8],
}

impl<'a> Package<'a> {
    /// Whether `bytes` start like a package file.
    pub fn recognise(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Reads a package file.
    ///
    /// # Errors
    /// [`Malformed`] says which part is wrong. The module itself is not validated.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let body = bytes
            .strip_prefix(&MAGIC)
            .ok_or(Malformed::NotDeterministic)?;
        deterministic::check(body)?;
        let mut items = Items::new(body);
        let mut terms = TermsReader::new();
        let (mut format, mut name) = (None, None);
        let (mut imports, mut module) = (&[0x80][..], &[][..]);
        for _ in 0..items.head(5).ok_or(Malformed::NotDeterministic)? {
            let key = items.number::<u8>().ok_or(Malformed::NotDeterministic)?;
            let wrong = Malformed::Field(key);
            match key {
                0 => format = Some(items.number::<u8>().ok_or(wrong)?),
                1 => {
                    let text = items.text().ok_or(wrong)?;
                    name = Some(TaskletName::new(text).map_err(|_| wrong)?);
                }
                13 => imports = read_imports(&mut items, key)?,
                14 => module = items.content(2).ok_or(wrong)?,
                64.. => {
                    items.item().ok_or(wrong)?;
                }
                _ => {
                    if !terms.read(key, &mut items, Trust::Nothing)? {
                        return Err(Malformed::Unknown(key));
                    }
                }
            }
        }
        if format != Some(FORMAT) {
            return Err(Malformed::Field(0));
        }
        let name = name.ok_or(Malformed::Field(1))?;
        Ok(Self {
            name,
            terms: terms.finish()?,
            module,
            imports,
        })
    }

    /// The sub-tasklets that it calls, in the order of their numbers in outcomes.
    pub fn imports(&self) -> impl Iterator<Item = NamedImport<'a>> + use<'a> {
        let mut items = Items::new(self.imports);
        let count = items.head(4).unwrap_or(0);
        (0..count).map_while(move |_| read_import(&mut items))
    }
}

/// The fields of a package that is to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct PackageFields<'a> {
    /// See [`Package::name`].
    pub name: TaskletName,
    /// See [`Package::terms`].
    pub terms: Terms<'a>,
    /// See [`Package::imports`].
    pub imports: &'a [NamedImport<'a>],
    /// See [`Package::module`].
    pub module: &'a [u8],
}

impl PackageFields<'_> {
    /// Writes the package file and returns its length; nothing if `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        out.get_mut(..MAGIC.len())?.copy_from_slice(&MAGIC);
        let mut encoder = Encoder::new(Cursor::new(&mut out[MAGIC.len()..]));
        let optional = u64::from(!self.imports.is_empty()) + u64::from(!self.module.is_empty());
        encoder.map(2 + self.terms.fields() + optional).ok()?;
        encoder.u8(0).ok()?.u8(FORMAT).ok()?.u8(1).ok()?;
        let name = self.name;
        encoder.str(join(&name, &mut [0; 65])).ok()?;
        self.terms.encode(&mut encoder)?;
        if !self.imports.is_empty() {
            encoder.u8(13).ok()?.array(self.imports.len() as u64).ok()?;
            for import in self.imports {
                let mut bytes = [0; Signature::MAX_BYTES];
                let len = import.signature.encode(&mut bytes);
                encoder
                    .array(3)
                    .ok()?
                    .str(join(&import.name, &mut [0; 65]))
                    .ok()?;
                encoder.str(import.export).ok()?.bytes(&bytes[..len]).ok()?;
            }
        }
        if !self.module.is_empty() {
            encoder.u8(14).ok()?.bytes(self.module).ok()?;
        }
        Some(MAGIC.len() + encoder.writer().position())
    }
}

/// The full name as text, in `space`.
fn join<'s>(name: &TaskletName, space: &'s mut [u8; 65]) -> &'s str {
    let (namespace, own) = (
        name.namespace.as_str().as_bytes(),
        name.name.as_str().as_bytes(),
    );
    let len = namespace.len() + 1 + own.len();
    space[..namespace.len()].copy_from_slice(namespace);
    space[namespace.len()] = b'/';
    space[namespace.len() + 1..len].copy_from_slice(own);
    core::str::from_utf8(&space[..len]).expect("names are ASCII")
}

fn read_import<'a>(items: &mut Items<'a>) -> Option<NamedImport<'a>> {
    if items.head(4)? != 3 {
        return None;
    }
    Some(NamedImport {
        name: TaskletName::new(items.text()?).ok()?,
        export: items.text()?,
        signature: Signature::decode(items.content(2)?)?,
    })
}

fn read_imports<'a>(items: &mut Items<'a>, key: u8) -> Result<&'a [u8], Malformed> {
    let wrong = Malformed::Field(key);
    let mut ahead = items.clone();
    let count = ahead.head(4).ok_or(wrong)?;
    if count > MAX_IMPORTS {
        return Err(Malformed::TooMany);
    }
    for _ in 0..count {
        read_import(&mut ahead).ok_or(wrong)?;
    }
    items.item().ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Export;

    #[test]
    fn a_package_reads_back_as_written_and_its_cuts_are_refused() {
        let signature = "func(u32, u32) -> u32".parse().unwrap();
        let mut space = [0; 64];
        let terms = Terms::empty()
            .with_exports(&[Export::run(signature)], &mut space)
            .unwrap();
        let name = TaskletName::new("floor/chain").unwrap();
        let callee = TaskletName::new("global/add").unwrap();
        let import = NamedImport {
            name: callee,
            export: "run",
            signature,
        };
        let mut bytes = [0; 256];
        let fields = PackageFields {
            name,
            terms,
            imports: &[import],
            module: b"\0asm",
        };
        let len = fields.encode(&mut bytes).unwrap();
        assert!(Package::recognise(&bytes));
        let package = Package::decode(&bytes[..len]).unwrap();
        assert_eq!((package.name, package.module), (name, &b"\0asm"[..]));
        assert_eq!(package.imports().next(), Some(import));
        for cut in 0..len {
            assert!(Package::decode(&bytes[..cut]).is_err());
        }
    }
}
