//! A view of a module's bytes, for tools: what it imports, exports and contains.

use crate::block::FuncType;
use crate::constant::{self, Scope};
use crate::fault::{Fault, InvalidModule, Quantity};
use crate::load::rank;
use crate::reader::Reader;
use crate::segment::data_segment;
use crate::value::ValType;

/// The kind of an import or export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExternKind {
    /// A function.
    Function,
    /// A table.
    Table,
    /// A memory.
    Memory,
    /// A global.
    Global,
}

impl ExternKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Function,
            1 => Self::Table,
            2 => Self::Memory,
            3 => Self::Global,
            _ => return None,
        })
    }
}

/// A function that the module imports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Import<'a> {
    /// The name of the module that it is imported from.
    pub module: &'a str,
    /// Its name there.
    pub name: &'a str,
    /// Its type.
    pub ty: FunctionType<'a>,
}

/// Something that the module exports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Export<'a> {
    /// The name.
    pub name: &'a str,
    /// Its kind.
    pub kind: ExternKind,
    /// Its index among the items of that kind, imported functions included.
    pub index: u32,
}

/// Parameters and results of a function, as bytes of the binary format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FunctionType<'a> {
    params: &'a [u8],
    results: &'a [u8],
}

impl<'a> FunctionType<'a> {
    /// The types of the parameters.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ValType> + use<'a> {
        self.params.iter().map(|&ty| crate::block::val_type(ty))
    }

    /// The types of the results.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValType> + use<'a> {
        self.results.iter().map(|&ty| crate::block::val_type(ty))
    }
}

impl<'a> From<FuncType<'a>> for FunctionType<'a> {
    fn from(ty: FuncType<'a>) -> Self {
        Self {
            params: ty.params,
            results: ty.results,
        }
    }
}

/// The memory that a module declares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryType {
    /// Pages at the start.
    pub min: u32,
    /// Pages that it may grow to, if the module sets a limit.
    pub max: Option<u32>,
    /// Size of a page in bytes: 1 or 65,536.
    pub page_bytes: u32,
}

/// A data segment's place in memory and in the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataSegment<'a> {
    /// Address of an active segment; `None` for a passive one.
    pub offset: Option<u32>,
    /// Its contents.
    pub bytes: &'a [u8],
}

/// A section's id, contents and place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section<'a> {
    /// The id of the binary format; 0 for custom sections.
    pub id: u8,
    /// The name of a custom section; empty for others.
    pub name: &'a str,
    /// Offset of the section's id in the module's bytes.
    pub start: usize,
    /// Its contents, without the name of a custom section.
    pub contents: &'a [u8],
    /// Offset of the first byte after it.
    pub end: usize,
}

/// The limit on types times imports of a module: the search for an import's type walks over the
/// types before it.
const TYPES_BY_IMPORTS_MAX: usize = 1 << 18;

/// A module's bytes, in which the structure of sections was checked.
///
/// It does not check the code: [`validate`](crate::validate) does. The accessors return what they
/// can read, and end early at malformed items.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    code: &'a [u8],
}

impl<'a> Module<'a> {
    /// Checks that `code` consists of sections in order.
    ///
    /// # Errors
    /// If the header or the structure of the sections is wrong, or there are so many types and
    /// imports that it would take long to read the imports.
    pub fn parse(code: &'a [u8]) -> Result<Self, InvalidModule> {
        let mut reader = Reader::new(code, 0);
        if reader.bytes(8).ok() != Some(b"\0asm\x01\0\0\0") {
            return Err(reader.fault(Fault::BadHeader));
        }
        let mut last = 0;
        let mut types = 0;
        while !reader.is_empty() {
            let id = reader.u8()?;
            let len = reader.u32()? as usize;
            let mut part = reader.part(len)?;
            let rank = rank(id).ok_or_else(|| part.fault(Fault::BadSection))?;
            // No item of these sections is shorter than 3 bytes, whatever the count says.
            let items = |mut part: Reader<'_>| (part.u32().unwrap_or(0) as usize).min(len / 3);
            if rank == 1 {
                types = items(part);
            } else if rank == 2 && types.saturating_mul(items(part)) > TYPES_BY_IMPORTS_MAX {
                return Err(part.fault(Fault::TooMany(Quantity::Items)));
            }
            if rank == 0 {
                part.name()?;
            } else if rank <= last {
                return Err(part.fault(Fault::BadSection));
            } else {
                last = rank;
            }
        }
        Ok(Self { code })
    }

    /// All sections in order.
    pub fn sections(&self) -> impl Iterator<Item = Section<'a>> + use<'a> {
        let code = self.code;
        let mut reader = Reader::new(code, 8);
        core::iter::from_fn(move || {
            let start = reader.pos();
            let id = reader.u8().ok()?;
            let len = reader.u32().ok()? as usize;
            let mut part = reader.part(len).ok()?;
            let name = if id == 0 { part.name().ok()? } else { "" };
            let contents = &code[part.pos()..reader.pos()];
            Some(Section {
                id,
                name,
                start,
                contents,
                end: reader.pos(),
            })
        })
    }

    /// The contents of the section with this id.
    fn section(&self, id: u8) -> Option<Reader<'a>> {
        let section = self
            .sections()
            .find(|section| section.id == id && id != 0)?;
        Some(Reader::new(
            &self.code[..section.end],
            section.end - section.contents.len(),
        ))
    }

    /// The imported functions in order; imports of other kinds are left out, since loading refuses
    /// them.
    pub fn imports(&self) -> impl Iterator<Item = Import<'a>> + use<'a> {
        let this = *self;
        let mut reader = self.section(2);
        let mut left = reader
            .as_mut()
            .and_then(|reader| reader.u32().ok())
            .unwrap_or(0);
        core::iter::from_fn(move || {
            let reader = reader.as_mut()?;
            while left > 0 {
                left -= 1;
                let (module, name) = (reader.name().ok()?, reader.name().ok()?);
                match reader.u8().ok()? {
                    0 => {
                        let ty = this.ty(reader.u32().ok()?)?;
                        return Some(Import { module, name, ty });
                    }
                    1 => {
                        reader.u8().ok()?;
                        reader.size(false).ok()?;
                    }
                    2 => {
                        reader.size(true).ok()?;
                    }
                    _ => {
                        reader.bytes(2).ok()?;
                    }
                }
            }
            None
        })
    }

    /// The exports in order.
    pub fn exports(&self) -> impl Iterator<Item = Export<'a>> + use<'a> {
        exports(self.section(7))
    }

    /// The export with this name.
    pub fn export(&self, name: &str) -> Option<Export<'a>> {
        self.exports().find(|export| export.name == name)
    }

    /// The type of a function, imported ones counted first.
    pub fn function(&self, index: u32) -> Option<FunctionType<'a>> {
        let mut imports = self.imports();
        let mut left = index;
        while left > 0 && imports.next().is_some() {
            left -= 1;
        }
        // Either the search has passed all imports before the function, or the function is one of
        // them.
        if let Some(import) = imports.next() {
            return Some(import.ty);
        }
        let mut reader = self.section(3)?;
        let count = reader.u32().ok()?;
        if left >= count {
            return None;
        }
        for _ in 0..left {
            reader.u32().ok()?;
        }
        self.ty(reader.u32().ok()?)
    }

    fn ty(&self, index: u32) -> Option<FunctionType<'a>> {
        let mut reader = self.section(1)?;
        let count = reader.u32().ok()?;
        if index >= count {
            return None;
        }
        let mut at = 0;
        loop {
            reader.u8().ok()?;
            let mut list = || {
                let count = reader.u32().ok()? as usize;
                reader.bytes(count).ok()
            };
            let (params, results) = (list()?, list()?);
            if at == index {
                return Some(FunctionType { params, results });
            }
            at += 1;
        }
    }

    /// The memory that the module declares.
    pub fn memory(&self) -> Option<MemoryType> {
        let mut reader = self.section(5)?;
        if reader.u32().ok()? == 0 {
            return None;
        }
        let size = reader.size(true).ok()?;
        Some(MemoryType {
            min: size.min,
            max: size.max,
            page_bytes: 1 << size.page_log,
        })
    }

    /// The data segments in order.
    pub fn data(&self) -> impl Iterator<Item = DataSegment<'a>> + use<'a> {
        let mut reader = self.section(11);
        let mut left = reader
            .as_mut()
            .and_then(|reader| reader.u32().ok())
            .unwrap_or(0);
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let segment = data_segment(reader.as_mut()?).ok()?;
            Some(DataSegment {
                offset: segment.offset,
                bytes: segment.bytes,
            })
        })
    }

    /// Finds an export in an export section whose contents start at `section`.
    pub(crate) fn export_in(code: &'a [u8], section: usize, name: &str) -> Option<Export<'a>> {
        let reader = (section != 0).then(|| Reader::new(code, section));
        exports(reader).find(|export| export.name == name)
    }

    /// The types of the globals in a section whose contents start at `section`.
    pub(crate) fn globals_in(
        code: &'a [u8],
        section: usize,
    ) -> impl Iterator<Item = ValType> + use<'a> {
        let mut reader = Reader::new(code, section);
        let mut left = if section == 0 {
            0
        } else {
            reader.u32().unwrap_or(0)
        };
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let ty = reader.value_type().ok()?;
            reader.u8().ok()?;
            constant::read(
                &mut reader,
                ty,
                Scope {
                    functions: u32::MAX,
                },
            )
            .ok()?;
            Some(ty)
        })
    }
}

fn exports<'a>(mut reader: Option<Reader<'a>>) -> impl Iterator<Item = Export<'a>> + use<'a> {
    let mut left = reader
        .as_mut()
        .and_then(|reader| reader.u32().ok())
        .unwrap_or(0);
    core::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let reader = reader.as_mut()?;
        let name = reader.name().ok()?;
        let kind = ExternKind::from_byte(reader.u8().ok()?)?;
        let index = reader.u32().ok()?;
        Some(Export { name, kind, index })
    })
}
