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

/// The bytes that one step of validation compares.
const COMPARED: u32 = 16;
/// The most parameters, and the most results, that a type may have.
const ARITY_MAX: u32 = 255;

impl<'l> Loader<'l> {
    pub(super) fn types(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 2)?;
        self.known.type_index = self.space.reserve_top(count as usize * 2)?;
        let types = self.space.reserve(0)?;
        self.space.block.set_field(Field::TYPES, types as u32);
        for index in 0..count {
            match part.u8()? {
                0x60 => {}
                0x4e..=0x50 | 0x5e | 0x5f => {
                    return Err(part.fault(Fault::UnsupportedFeature(Feature::Gc)).into());
                }
                _ => return Err(part.fault(Fault::BadEncoding).into()),
            }
            let start = self.space.at;
            let params = self.type_list(part, start)?;
            let results = self.type_list(part, start + 1)?;
            let len = 2 + params as usize + results as usize;
            let at = self.known_type(types, start, len, index, part)?;
            if at != start {
                self.space.at = start;
            }
            let offset = u16::try_from(at - types)
                .map_err(|_| part.fault(Fault::TooMany(Quantity::Items)))?;
            self.space
                .block
                .set_half(self.known.type_index + index as usize * 2, offset);
            self.known.type_count = index + 1;
        }
        Ok(())
    }

    /// Appends a list of types to the description whose count is at `count_at`.
    fn type_list(&mut self, part: &mut Reader<'l>, count_at: usize) -> Result<u32, LoadError> {
        let count = part.count()?;
        if count > ARITY_MAX {
            return Err(part.fault(Fault::TooMany(Quantity::TypeArity)).into());
        }
        // The two counts come before both lists.
        let header = if count_at == self.space.at { 2 } else { 0 };
        let end = self.space.at + header + count as usize;
        if end > self.space.top {
            return Err(self.space.out_of_memory(end - self.space.top));
        }
        self.space.block[count_at] = count as u8;
        let first = self.space.at + header;
        for at in first..end {
            let ty = part.value_type()?;
            self.space.block[at] = ty as u8;
        }
        self.space.at = end;
        self.space.spend(count + 1, part)?;
        Ok(count)
    }

    /// Finds an earlier type that equals the one described at `start`. Equal types share one
    /// description, so that types are equal if their offsets are.
    fn known_type(
        &mut self,
        types: usize,
        start: usize,
        len: usize,
        index: u32,
        part: &Reader<'_>,
    ) -> Result<usize, InvalidModule> {
        let each = 1 + len as u32 / COMPARED;
        self.space.spend(index.saturating_mul(each), part)?;
        for earlier in 0..index {
            let at = types
                + self
                    .space
                    .block
                    .half(self.known.type_index + earlier as usize * 2) as usize;
            let (before, this) = self.space.block.split_at(start);
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
        let count = self.space.block.field(Field::FUNC_COUNT);
        let record = self.space.reserve(FUNC_BYTES)?;
        if count == 0 {
            self.space.block.set_field(Field::FUNCS, record as u32);
        }
        self.space.block.set_word(record, NONE);
        self.space.block.set_half(record + 4, ty);
        self.space.block.set_field(Field::FUNC_COUNT, count + 1);
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
                    let ty = self.known.type_at(self.space.block, index, part)?;
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
        self.space.block.set_field(
            Field::IMPORT_COUNT,
            self.space.block.field(Field::FUNC_COUNT),
        );
        Ok(())
    }

    pub(super) fn functions(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 1)?;
        let total = count + self.space.block.field(Field::IMPORT_COUNT);
        if total > self.known.limits.functions || total > u32::from(u16::MAX) {
            return Err(part.fault(Fault::TooMany(Quantity::Items)).into());
        }
        for _ in 0..count {
            let index = part.u32()?;
            let ty = self.known.type_at(self.space.block, index, part)?;
            self.function(ty)?;
        }
        Ok(())
    }

    pub(super) fn tables(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 3)?;
        let records = self.space.reserve(count as usize * TABLE_BYTES)?;
        self.space.block.set_field(Field::TABLES, records as u32);
        let mut total = 0u32;
        for index in 0..count {
            let mut peek = *part;
            if peek.u8()? == 0x40 {
                return Err(part.fault(Fault::UnsupportedFeature(Feature::Gc)).into());
            }
            let ty = part.ref_type()?;
            let size = part.size(false)?;
            let grown = size.min.saturating_add(self.known.limits.table_growth);
            let room = size.max.unwrap_or(u32::MAX).min(grown);
            total = total.saturating_add(room);
            if total > self.known.limits.table_elements {
                return Err(part.fault(Fault::TooMany(Quantity::TableElements)).into());
            }
            let elements = self.space.reserve(room as usize * 4)?;
            let record = records + index as usize * TABLE_BYTES;
            self.space.block.set_word(record, elements as u32);
            self.space.block.set_word(record + 4, size.min);
            self.space.block.set_word(record + 8, room);
            self.space.block.set_word(record + 12, ty as u32);
            self.space.block.set_word(record + 16, size.min);
            self.space.block.set_field(Field::TABLE_COUNT, index + 1);
        }
        Ok(())
    }

    pub(super) fn memories(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = self.items(part, 2)?;
        for index in 0..count {
            let size = part.size(true)?;
            if index > 0 {
                let fault = Fault::UnsupportedFeature(Feature::MultiMemory);
                return Err(part.fault(fault).into());
            }
            let bytes = |pages: u32| u64::from(pages) << size.page_log;
            let ceiling = u64::from(self.known.limits.memory_bytes);
            let min = bytes(size.min);
            if min > ceiling {
                return Err(part.fault(Fault::TooMany(Quantity::MemoryBytes)).into());
            }
            let limit = size.max.map_or(ceiling, |max| bytes(max).min(ceiling));
            self.space.block.set_field(Field::MEMORY_MIN, min as u32);
            self.space
                .block
                .set_field(Field::MEMORY_LIMIT, limit as u32);
            self.space.block.set_field(Field::PAGE_LOG, size.page_log);
            let flags = self.space.block.field(Field::FLAGS);
            self.space
                .block
                .set_field(Field::FLAGS, flags | FLAG_MEMORY);
        }
        Ok(())
    }

    pub(super) fn globals(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        self.space
            .block
            .set_field(Field::GLOBAL_SECTION, part.pos() as u32);
        let count = self.items(part, 4)?;
        self.known.global_types = self.space.reserve_top(count as usize * 4)?;
        let globals = self.space.reserve(0)?;
        self.space.block.set_field(Field::GLOBALS, globals as u32);
        for index in 0..count {
            let ty = part.value_type()?;
            let mutable = part.u8()?;
            if mutable > 1 {
                return Err(part.fault(Fault::BadEncoding).into());
            }
            self.constant(part, ty)?;
            let at = self.space.reserve(ty.cells() * 4)?;
            let offset = u16::try_from(at - globals)
                .map_err(|_| part.fault(Fault::TooMany(Quantity::Items)))?;
            let record = self.known.global_types + index as usize * 4;
            self.space.block[record] = ty as u8;
            self.space.block[record + 1] = mutable;
            self.space.block.set_half(record + 2, offset);
            self.space.block.set_field(Field::GLOBAL_COUNT, index + 1);
        }
        self.space
            .block
            .set_field(Field::GLOBALS_BYTES, (self.space.at - globals) as u32);
        Ok(())
    }

    /// Checks a constant expression, and notes the functions it refers to.
    fn constant(&mut self, part: &mut Reader<'l>, ty: ValType) -> Result<(), InvalidModule> {
        let before = part.pos();
        let scope = Scope {
            functions: self.space.block.field(Field::FUNC_COUNT),
        };
        let constant = constant::read(part, ty, scope)?;
        if let Some(func) = constant.func {
            self.declare(func);
        }
        self.space.spend((part.pos() - before) as u32, part)
    }

    pub(super) fn exports(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        self.space
            .block
            .set_field(Field::EXPORT_SECTION, part.pos() as u32);
        let count = self.items(part, 3)?;
        let mut earlier = *part;
        let start = *part;
        for index in 0..count {
            let name = part.name()?;
            let kind = part.u8()?;
            let item = part.u32()?;
            let end = match kind {
                0 => self.space.block.field(Field::FUNC_COUNT),
                1 => self.space.block.field(Field::TABLE_COUNT),
                2 => u32::from(self.space.has_memory()),
                3 => self.space.block.field(Field::GLOBAL_COUNT),
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
                self.make_callable(item);
            }
            self.space.spend(index, part)?;
            for _ in 0..index {
                // It was found to be UTF-8 when it was read itself.
                let len = earlier.u32()? as usize;
                let other = earlier.bytes(len)?;
                earlier.u8()?;
                earlier.u32()?;
                if other.len() == name.len() {
                    self.space.spend(name.len() as u32 / COMPARED, part)?;
                    if other == name.as_bytes() {
                        return Err(part.fault(Fault::DuplicateExport).into());
                    }
                }
            }
            earlier = start;
        }
        self.exports = count;
        Ok(())
    }

    /// Sees to it that the stack has room for a call of the function `func` if that is an import.
    fn make_callable(&mut self, func: u32) {
        let block = &mut *self.space.block;
        if func < block.field(Field::IMPORT_COUNT) {
            let frame = block.func_type(block.func(func).ty).frame_bytes() as u32;
            let most = block.field(Field::MAX_FRAME);
            block.set_field(Field::MAX_FRAME, most.max(frame));
        }
    }

    pub(super) fn start(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let func = part.u32()?;
        if func >= self.space.block.field(Field::FUNC_COUNT) {
            return Err(part.fault(Fault::UnknownIndex).into());
        }
        let ty = self.space.block.func_type(self.space.block.func(func).ty);
        if !ty.params.is_empty() || !ty.results.is_empty() {
            return Err(part.fault(Fault::BadStart).into());
        }
        self.space.block.set_field(Field::START, func);
        Ok(())
    }

    pub(super) fn elements(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        self.space
            .block
            .set_field(Field::ELEM_SECTION, part.pos() as u32);
        let count = self.items(part, 2)?;
        let records = self.space.reserve(count as usize * SEGMENT_BYTES)?;
        self.space.block.set_field(Field::ELEMS, records as u32);
        let scope = Scope {
            functions: self.space.block.field(Field::FUNC_COUNT),
        };
        for index in 0..count {
            let at = part.pos();
            let mut element = Element::read(part, scope)?;
            if let Mode::Active { table, .. } = element.mode {
                if table >= self.space.block.field(Field::TABLE_COUNT) {
                    return Err(part.fault(Fault::UnknownIndex).into());
                }
                let filled = self.space.block.table(table);
                if filled.ty != element.ty {
                    return Err(part.fault(Fault::TypeMismatch).into());
                }
                let segments = &mut self.space.block[filled.record + 13];
                *segments = (*segments + 1).min(2);
                if *segments == 1 {
                    let first = filled.record + 14;
                    self.space.block.set_half(first, index as u16);
                }
            }
            for _ in 0..element.count {
                let item = element.next(scope)?;
                if let Some(func) = item.func {
                    self.declare(func);
                }
            }
            *part = element.items;
            self.space.spend((part.pos() - at) as u32, part)?;
            let record = records + index as usize * SEGMENT_BYTES;
            self.space.block.set_word(record, at as u32);
            self.space.block.set_word(record + 4, element.count);
            self.space.block.set_field(Field::ELEM_COUNT, index + 1);
        }
        Ok(())
    }

    pub(super) fn data_count(&mut self, part: &mut Reader<'l>) -> Result<(), LoadError> {
        let count = part.u32()?;
        // Each segment takes at least two bytes, which come later in the module.
        if count as usize > self.known.code.len() / 2 {
            return Err(part.fault(Fault::CountMismatch).into());
        }
        if count > self.known.limits.functions.min(u32::from(u16::MAX)) {
            return Err(part.fault(Fault::TooMany(Quantity::Items)).into());
        }
        let records = self.space.reserve(count as usize * SEGMENT_BYTES)?;
        self.space.block.set_field(Field::DATA, records as u32);
        self.space.block.set_field(Field::DATA_COUNT, count);
        self.has_data_count = true;
        Ok(())
    }

    pub(super) fn data(&mut self, part: &mut Reader<'l>) -> Result<u32, LoadError> {
        self.space
            .block
            .set_field(Field::DATA_SECTION, part.pos() as u32);
        let count = self.items(part, 2)?;
        if self.has_data_count && count != self.space.block.field(Field::DATA_COUNT) {
            return Err(part.fault(Fault::CountMismatch).into());
        }
        for index in 0..count {
            let before = part.pos();
            let segment = data_segment(part)?;
            if segment.offset.is_some() && !self.space.has_memory() {
                return Err(part.fault(Fault::UnknownIndex).into());
            }
            self.space
                .spend((part.pos() - before - segment.bytes.len()) as u32, part)?;
            if self.has_data_count {
                let record = self.space.block.offset(Field::DATA) + index as usize * SEGMENT_BYTES;
                let at = part.pos() - segment.bytes.len();
                self.space.block.set_word(record, at as u32);
                self.space
                    .block
                    .set_word(record + 4, segment.bytes.len() as u32);
            }
        }
        Ok(count)
    }
}
