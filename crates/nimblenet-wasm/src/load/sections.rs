//! The sections other than code.

use super::Loader;
use crate::block::{
    FLAG_MEMORY, FUNC_BYTES, Field, NONE, Parts, SEGMENT_BYTES, TABLE_BYTES, Words,
};
use crate::constant::{self, Scope};
use crate::fault::{Fault, Feature, InvalidModule, LoadError, Quantity};
use crate::reader::Reader;
use crate::segment::{Element, Mode, data_segment};
use crate::value::ValType;

/// The most parameters, and the most results, that a type may have.
const ARITY_MAX: u32 = 255;

/// Reads a value type; types of features that are left out are named.
pub(crate) fn value_type(part: &mut Reader<'_>) -> Result<ValType, InvalidModule> {
    let byte = part.u8()?;
    ValType::from_byte(byte).ok_or_else(|| {
        part.fault(match byte {
            0x7b => Fault::UnsupportedFeature(Feature::Simd),
            0x69 | 0x74 => Fault::UnsupportedFeature(Feature::Exceptions),
            0x63 | 0x64 | 0x6a..=0x6e | 0x71..=0x73 => Fault::UnsupportedFeature(Feature::Gc),
            _ => Fault::BadEncoding,
        })
    })
}

pub(crate) fn ref_type(part: &mut Reader<'_>) -> Result<ValType, InvalidModule> {
    let ty = value_type(part)?;
    if ty.is_ref() {
        Ok(ty)
    } else {
        Err(part.fault(Fault::BadEncoding))
    }
}

/// The size of a memory or table as it is declared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) min: u32,
    pub(crate) max: Option<u32>,
    /// Page size as a power of two; 16 unless the memory says otherwise.
    pub(crate) page_log: u32,
}

/// Reads the limits of a memory (`is_memory`) or of a table.
pub(crate) fn size(part: &mut Reader<'_>, is_memory: bool) -> Result<Size, InvalidModule> {
    let flags = part.u8()?;
    let fault = match flags {
        0 | 1 => None,
        8 | 9 if is_memory => None,
        2 | 3 | 10 | 11 if is_memory => Some(Fault::UnsupportedFeature(Feature::Threads)),
        4..=7 | 12..=15 => Some(Fault::UnsupportedFeature(Feature::Memory64)),
        _ => Some(Fault::BadEncoding),
    };
    if let Some(fault) = fault {
        return Err(part.fault(fault));
    }
    let min = part.u32()?;
    let max = if flags & 1 != 0 {
        Some(part.u32()?)
    } else {
        None
    };
    let page_log = if flags & 8 != 0 { part.u32()? } else { 16 };
    if is_memory {
        if page_log != 0 && page_log != 16 {
            return Err(part.fault(Fault::BadLimits));
        }
        let most = if page_log == 16 { 65_536 } else { u32::MAX };
        if min > most || max.is_some_and(|max| max > most) {
            return Err(part.fault(Fault::BadLimits));
        }
    }
    if max.is_some_and(|max| max < min) {
        return Err(part.fault(Fault::BadLimits));
    }
    Ok(Size { min, max, page_log })
}

impl<'l> Loader<'l> {
    pub(super) fn types(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 2)?;
        self.type_index = self.reserve_top(count as usize * 2)?;
        let types = self.reserve(0)?;
        self.block.set_field(Field::TYPES, types as u32);
        for index in 0..count {
            match part.u8()? {
                0x60 => {}
                0x4e..=0x50 | 0x5e | 0x5f => {
                    return Err(part.fault(Fault::UnsupportedFeature(Feature::Gc)).into());
                }
                _ => return Err(part.fault(Fault::BadEncoding).into()),
            }
            let start = self.at;
            let params = self.type_list(part, start)?;
            let results = self.type_list(part, start + 1)?;
            let len = 2 + params as usize + results as usize;
            let at = self.known_type(types, start, len, index, part)?;
            if at != start {
                self.at = start;
            }
            let offset = u16::try_from(at - types)
                .map_err(|_| part.fault(Fault::TooMany(Quantity::Items)))?;
            self.block
                .set_half(self.type_index + index as usize * 2, offset);
            self.type_count = index + 1;
        }
        Ok(())
    }

    /// Appends a list of types to the description whose count stands at `count_at`.
    fn type_list(&mut self, part: &mut Reader<'l>, count_at: usize) -> Result<u32, LoadError> {
        let count = part.count()?;
        if count > ARITY_MAX {
            return Err(part.fault(Fault::TooMany(Quantity::TypeArity)).into());
        }
        // The two counts stand before both lists.
        let header = if count_at == self.at { 2 } else { 0 };
        let end = self.at + header + count as usize;
        if end > self.top {
            return Err(self.out_of_memory(end - self.top));
        }
        self.block[count_at] = count as u8;
        let first = self.at + header;
        for at in first..end {
            let ty = value_type(part)?;
            self.block[at] = ty as u8;
        }
        self.at = end;
        self.spend(count + 1, part)?;
        Ok(count)
    }

    /// Finds an earlier type that equals the one described at `start`. Equal types share one
    /// description, so that comparing types is comparing offsets.
    fn known_type(
        &mut self,
        types: usize,
        start: usize,
        len: usize,
        index: u32,
        part: &Reader<'_>,
    ) -> Result<usize, InvalidModule> {
        self.spend(index, part)?;
        for earlier in 0..index {
            let at = types + self.block.half(self.type_index + earlier as usize * 2) as usize;
            let (before, this) = self.block.split_at(start);
            if before
                .get(at..at + len)
                .is_some_and(|known| known == &this[..len])
            {
                return Ok(at);
            }
        }
        Ok(start)
    }

    /// Appends a function's record; records of imports come first.
    fn function(&mut self, ty: u16) -> Result<(), LoadError> {
        let count = self.block.field(Field::FUNC_COUNT);
        let record = self.reserve(FUNC_BYTES)?;
        if count == 0 {
            self.block.set_field(Field::FUNCS, record as u32);
        }
        self.block.set_word(record, NONE);
        self.block.set_half(record + 4, ty);
        self.block.set_field(Field::FUNC_COUNT, count + 1);
        Ok(())
    }

    pub(super) fn imports(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 4)?;
        for _ in 0..count {
            part.name()?;
            part.name()?;
            match part.u8()? {
                0 => {
                    let index = part.u32()?;
                    let ty = self.type_at(index, part)?;
                    self.function(ty)?;
                }
                1..=3 => {
                    let fault = Fault::UnsupportedFeature(Feature::ImportedState);
                    return Err(part.fault(fault).into());
                }
                4 => {
                    let fault = Fault::UnsupportedFeature(Feature::Exceptions);
                    return Err(part.fault(fault).into());
                }
                _ => return Err(part.fault(Fault::BadEncoding).into()),
            }
        }
        self.block
            .set_field(Field::IMPORT_COUNT, self.block.field(Field::FUNC_COUNT));
        Ok(())
    }

    pub(super) fn functions(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 1)?;
        let total = count + self.block.field(Field::IMPORT_COUNT);
        if total > self.limits.functions || total > u32::from(u16::MAX) {
            return Err(part.fault(Fault::TooMany(Quantity::Items)).into());
        }
        for _ in 0..count {
            let index = part.u32()?;
            let ty = self.type_at(index, part)?;
            self.function(ty)?;
        }
        Ok(())
    }

    pub(super) fn tables(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 3)?;
        let records = self.reserve(count as usize * TABLE_BYTES)?;
        self.block.set_field(Field::TABLES, records as u32);
        let mut total = 0u32;
        for index in 0..count {
            let mut peek = *part;
            if peek.u8()? == 0x40 {
                return Err(part.fault(Fault::UnsupportedFeature(Feature::Gc)).into());
            }
            let ty = ref_type(part)?;
            let size = size(part, false)?;
            let grown = size.min.saturating_add(self.limits.table_growth);
            let room = size.max.unwrap_or(u32::MAX).min(grown);
            total = total.saturating_add(room);
            if total > self.limits.table_elements {
                return Err(part.fault(Fault::TooMany(Quantity::TableElements)).into());
            }
            let elements = self.reserve(room as usize * 4)?;
            let record = records + index as usize * TABLE_BYTES;
            self.block.set_word(record, elements as u32);
            self.block.set_word(record + 4, size.min);
            self.block.set_word(record + 8, room);
            self.block.set_word(record + 12, ty as u32);
            self.block.set_word(record + 16, size.min);
            self.block.set_field(Field::TABLE_COUNT, index + 1);
        }
        Ok(())
    }

    pub(super) fn memories(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 2)?;
        for index in 0..count {
            let size = size(part, true)?;
            if index > 0 {
                let fault = Fault::UnsupportedFeature(Feature::MultiMemory);
                return Err(part.fault(fault).into());
            }
            let bytes = |pages: u32| u64::from(pages) << size.page_log;
            let ceiling = u64::from(self.limits.memory_bytes);
            let min = bytes(size.min);
            if min > ceiling {
                return Err(part.fault(Fault::TooMany(Quantity::MemoryBytes)).into());
            }
            let limit = size.max.map_or(ceiling, |max| bytes(max).min(ceiling));
            self.block.set_field(Field::MEMORY_MIN, min as u32);
            self.block.set_field(Field::MEMORY_LIMIT, limit as u32);
            self.block.set_field(Field::PAGE_LOG, size.page_log);
            let flags = self.block.field(Field::FLAGS);
            self.block.set_field(Field::FLAGS, flags | FLAG_MEMORY);
        }
        Ok(())
    }

    pub(super) fn globals(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        self.block
            .set_field(Field::GLOBAL_SECTION, part.pos() as u32);
        let count = self.items(part, 4)?;
        self.global_types = self.reserve_top(count as usize * 4)?;
        let globals = self.reserve(0)?;
        self.block.set_field(Field::GLOBALS, globals as u32);
        for index in 0..count {
            let ty = value_type(part)?;
            let mutable = part.u8()?;
            if mutable > 1 {
                return Err(part.fault(Fault::BadEncoding).into());
            }
            self.constant(part, ty)?;
            let at = self.reserve(ty.cells() * 4)?;
            let offset = u16::try_from(at - globals)
                .map_err(|_| part.fault(Fault::TooMany(Quantity::Items)))?;
            let record = self.global_types + index as usize * 4;
            self.block[record] = ty as u8;
            self.block[record + 1] = mutable;
            self.block.set_half(record + 2, offset);
            self.block.set_field(Field::GLOBAL_COUNT, index + 1);
        }
        self.block
            .set_field(Field::GLOBALS_BYTES, (self.at - globals) as u32);
        Ok(())
    }

    /// Checks a constant expression, and notes the functions it refers to.
    fn constant(&mut self, part: &mut Reader<'l>, ty: ValType) -> Result<(), InvalidModule> {
        let before = part.pos();
        let scope = Scope {
            functions: self.block.field(Field::FUNC_COUNT),
        };
        let constant = constant::read(part, ty, scope)?;
        if let Some(func) = constant.func {
            self.declare(func);
        }
        self.spend((part.pos() - before) as u32, part)
    }

    pub(super) fn exports(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        self.block
            .set_field(Field::EXPORT_SECTION, part.pos() as u32);
        let count = self.items(part, 3)?;
        let mut earlier = *part;
        let start = *part;
        for index in 0..count {
            let name = part.name()?;
            let kind = part.u8()?;
            let item = part.u32()?;
            let end = match kind {
                0 => self.block.field(Field::FUNC_COUNT),
                1 => self.block.field(Field::TABLE_COUNT),
                2 => u32::from(self.has_memory()),
                3 => self.block.field(Field::GLOBAL_COUNT),
                4 => {
                    let fault = Fault::UnsupportedFeature(Feature::Exceptions);
                    return Err(part.fault(fault).into());
                }
                _ => return Err(part.fault(Fault::BadEncoding).into()),
            };
            if item >= end {
                return Err(part.fault(Fault::UnknownIndex).into());
            }
            if kind == 0 {
                self.declare(item);
            }
            self.spend(index, part)?;
            for _ in 0..index {
                let other = earlier.name()?;
                earlier.u8()?;
                earlier.u32()?;
                if other == name {
                    return Err(part.fault(Fault::DuplicateExport).into());
                }
            }
            earlier = start;
        }
        self.exports = count;
        Ok(())
    }

    pub(super) fn start(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let func = part.u32()?;
        if func >= self.block.field(Field::FUNC_COUNT) {
            return Err(part.fault(Fault::UnknownIndex).into());
        }
        let ty = self.block.func_type(self.block.func(func).ty);
        if !ty.params.is_empty() || !ty.results.is_empty() {
            return Err(part.fault(Fault::BadStart).into());
        }
        self.block.set_field(Field::START, func);
        Ok(())
    }

    pub(super) fn elements(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        self.block.set_field(Field::ELEM_SECTION, part.pos() as u32);
        let count = self.items(part, 2)?;
        let records = self.reserve(count as usize * SEGMENT_BYTES)?;
        self.block.set_field(Field::ELEMS, records as u32);
        let scope = Scope {
            functions: self.block.field(Field::FUNC_COUNT),
        };
        for index in 0..count {
            let at = part.pos();
            let mut element = Element::read(part, scope)?;
            if let Mode::Active { table, .. } = element.mode {
                if table >= self.block.field(Field::TABLE_COUNT) {
                    return Err(part.fault(Fault::UnknownIndex).into());
                }
                if self.block.table(table).ty != element.ty {
                    return Err(part.fault(Fault::TypeMismatch).into());
                }
            }
            for _ in 0..element.count {
                let item = element.next(scope)?;
                if let Some(func) = item.func {
                    self.declare(func);
                }
            }
            *part = element.items;
            self.spend((part.pos() - at) as u32, part)?;
            let record = records + index as usize * SEGMENT_BYTES;
            self.block.set_word(record, at as u32);
            self.block.set_word(record + 4, element.count);
            self.block.set_field(Field::ELEM_COUNT, index + 1);
        }
        Ok(())
    }

    pub(super) fn data_count(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = part.u32()?;
        // Each segment takes two bytes at least, further on in the module.
        if count as usize > self.code.len() / 2 {
            return Err(part.fault(Fault::CountMismatch).into());
        }
        if count > self.limits.functions.min(u32::from(u16::MAX)) {
            return Err(part.fault(Fault::TooMany(Quantity::Items)).into());
        }
        let records = self.reserve(count as usize * SEGMENT_BYTES)?;
        self.block.set_field(Field::DATA, records as u32);
        self.block.set_field(Field::DATA_COUNT, count);
        self.has_data_count = true;
        Ok(())
    }

    pub(super) fn data(&mut self, part: &mut Reader<'l>) -> Result<u32, LoadError> {
        self.block.set_field(Field::DATA_SECTION, part.pos() as u32);
        let count = self.items(part, 2)?;
        if self.has_data_count && count != self.block.field(Field::DATA_COUNT) {
            return Err(part.fault(Fault::CountMismatch).into());
        }
        for index in 0..count {
            let before = part.pos();
            let segment = data_segment(part)?;
            if segment.offset.is_some() && !self.has_memory() {
                return Err(part.fault(Fault::UnknownIndex).into());
            }
            self.spend((part.pos() - before - segment.bytes.len()) as u32, part)?;
            if self.has_data_count {
                let record = self.block.offset(Field::DATA) + index as usize * SEGMENT_BYTES;
                let at = part.pos() - segment.bytes.len();
                self.block.set_word(record, at as u32);
                self.block.set_word(record + 4, segment.bytes.len() as u32);
            }
        }
        Ok(count)
    }
}
