//! Translates the opcodes one by one.

use super::control::Kind;
use super::operands::Source;
use super::{Class, Operand, Place, Shape, Translator, class};
use crate::block::{FUNC_DECLARED, Field, Parts, Words};
use crate::bulk::Bulk;
use crate::fault::{Fault, Feature, InvalidModule, LoadError};
use crate::isa::Op;
use crate::value::ValType::{self, F32, F64, I32, I64};

/// Result type and width, as a power of two, of the loads `0x28..=0x35`.
const LOADS: [(ValType, u32); 14] = [
    (I32, 2),
    (I64, 3),
    (F32, 2),
    (F64, 3),
    (I32, 0),
    (I32, 0),
    (I32, 1),
    (I32, 1),
    (I64, 0),
    (I64, 0),
    (I64, 1),
    (I64, 1),
    (I64, 2),
    (I64, 2),
];

/// Operand type and width of the stores `0x36..=0x3e`.
const STORES: [(ValType, u32); 9] = [
    (I32, 2),
    (I64, 3),
    (F32, 2),
    (F64, 3),
    (I32, 0),
    (I32, 1),
    (I64, 0),
    (I64, 1),
    (I64, 2),
];

impl Translator<'_, '_> {
    /// Reads and translates one instruction.
    pub(super) fn instruction(&mut self) -> Result<(), LoadError> {
        self.at = self.reader.pos();
        let op = self.reader.u8()?;
        self.spend(1)?;
        self.cost += 1;
        match op {
            0x00 => {
                self.emit_op(Op::Unreachable, &[]);
                self.unreachable();
            }
            0x01 => {}
            0x02 => self.enter(Kind::Block)?,
            0x03 => self.enter(Kind::Loop)?,
            0x04 => self.enter(Kind::If)?,
            0x05 => self.else_part()?,
            0x0b => self.end()?,
            0x0c => self.branch()?,
            0x0d => self.branch_if()?,
            0x0e => self.branch_table()?,
            0x0f => self.return_early()?,
            0x10 => self.call()?,
            0x11 => self.call_indirect()?,
            0x1a => {
                self.pop(0)?;
            }
            0x1b => self.select(None)?,
            0x1c => self.typed_select()?,
            0x20..=0x22 => self.local_access(op)?,
            0x23 => self.global_get()?,
            0x24 => self.global_set()?,
            0x25 | 0x26 => self.table_access(op)?,
            0x28..=0x35 => self.load(op)?,
            0x36..=0x3e => self.store(op)?,
            0x3f => {
                self.memory_byte()?;
                self.spill();
                self.emit_op(Op::MemorySize, &[]);
                self.produce(I32 as u8)?;
            }
            0x40 => {
                self.memory_byte()?;
                self.bulk(Bulk::MemoryGrow, 0, 0, &[I32], Some(I32))?;
            }
            0x41 => {
                let value = self.reader.i32()?;
                self.push(I32 as u8, Place::Const(value))?;
            }
            0x42 => {
                let value = self.reader.i64()?;
                self.wide_constant(I64, value as u64)?;
            }
            0x43 => {
                let bits = self.reader.f32_bits()?;
                self.push(F32 as u8, Place::Const(bits as i32))?;
            }
            0x44 => {
                let bits = self.reader.f64_bits()?;
                self.wide_constant(F64, bits)?;
            }
            0xd0 => {
                let ty = self.reader.ref_type()?;
                self.push(ty as u8, Place::Const(0))?;
            }
            0xd1 => self.ref_is_null()?,
            0xd2 => self.ref_func()?,
            0xfc => self.prefixed()?,
            _ => {
                if !self.numeric(op)? {
                    return Err(self.unknown(op));
                }
            }
        }
        Ok(())
    }

    /// The feature that an opcode belongs to, if that feature is left out.
    fn unknown(&self, op: u8) -> LoadError {
        match op {
            0x06..=0x0a | 0x18 | 0x19 | 0x1f => self.unsupported(Feature::Exceptions),
            0x12 | 0x13 => self.unsupported(Feature::TailCalls),
            0x14 | 0x15 | 0xd3..=0xd6 | 0xfb => self.unsupported(Feature::Gc),
            0xfd => self.unsupported(Feature::Simd),
            0xfe => self.unsupported(Feature::Threads),
            _ => self.fault(Fault::UnknownOpcode(op)).into(),
        }
    }

    /// The index of a memory: a byte that is always 0 here.
    fn memory_byte(&mut self) -> Result<(), InvalidModule> {
        if self.reader.u8()? != 0 {
            return Err(self.fault(Fault::UnsupportedFeature(Feature::MultiMemory)));
        }
        self.need_memory()
    }

    fn need_memory(&self) -> Result<(), InvalidModule> {
        if self.space.has_memory() {
            Ok(())
        } else {
            Err(self.fault(Fault::UnknownIndex))
        }
    }

    /// A constant that fits is only noted; another is written to its slot at once.
    fn wide_constant(&mut self, ty: ValType, bits: u64) -> Result<(), LoadError> {
        let small = if ty == I64 {
            bits as i64 as i32
        } else {
            (f64::from_bits(bits) as f32).to_bits() as i32
        };
        let back = if ty == I64 {
            i64::from(small) as u64
        } else {
            f64::from(f32::from_bits(small as u32)).to_bits()
        };
        // A conversion may change a NaN's payload, on each machine in another way.
        let exact = back == bits && !(ty == F64 && f64::from_bits(bits).is_nan());
        if exact {
            return self.push(ty as u8, Place::Const(small));
        }
        let slot = (self.height * 4) as u16;
        self.emit_wide(bits, slot);
        self.forget(slot, class(ty as u8));
        self.push(ty as u8, Place::Slot)
    }

    fn local_access(&mut self, op: u8) -> Result<(), LoadError> {
        let index = self.reader.u32()?;
        let (ty, cell) = self.local(index)?;
        if op == 0x20 {
            return self.push(ty, Place::Local(cell));
        }
        let value = self.pop(ty)?;
        self.preserve(cell)?;
        if !self.dead {
            self.place(value, cell * 4);
        }
        if op == 0x22 {
            let place = match value.place {
                Place::Const(constant) => Place::Const(constant),
                Place::Slot | Place::Local(_) | Place::Acc => Place::Local(cell),
            };
            self.push(ty, place)?;
        }
        Ok(())
    }

    fn global(&mut self) -> Result<(u8, bool, u16), InvalidModule> {
        let index = self.reader.u32()?;
        let block = &self.space.block;
        if index >= block.field(Field::GLOBAL_COUNT) {
            return Err(self.fault(Fault::UnknownIndex));
        }
        let record = self.known.global_types + index as usize * 4;
        Ok((
            block[record],
            block[record + 1] != 0,
            block.half(record + 2),
        ))
    }

    fn global_get(&mut self) -> Result<(), LoadError> {
        let (ty, _, offset) = self.global()?;
        self.spill();
        self.op(Op::GlobalGet32 as u16 + class(ty) as u16 * 2);
        self.emit(offset);
        self.produce(ty)
    }

    fn global_set(&mut self) -> Result<(), LoadError> {
        let (ty, mutable, offset) = self.global()?;
        if !mutable {
            return Err(self.fault(Fault::ImmutableGlobal).into());
        }
        let value = self.pop(ty)?;
        if self.dead {
            return Ok(());
        }
        match self.source(value) {
            Source::Acc => self.op(Op::GlobalSet32A as u16 + class(ty) as u16),
            Source::Slot(_) | Source::Const(_) => {
                let slot = self.slot_of(value);
                let op = match class(ty) {
                    Class::Int32 | Class::Float32 => Op::GlobalSet32S,
                    Class::Int64 | Class::Float64 => Op::GlobalSet64S,
                };
                self.emit_op(op, &[slot]);
            }
        }
        self.emit(offset);
        Ok(())
    }

    fn typed_select(&mut self) -> Result<(), LoadError> {
        if self.reader.u32()? != 1 {
            return Err(self.fault(Fault::BadEncoding).into());
        }
        let ty = self.reader.value_type()?;
        self.select(Some(ty as u8))
    }

    fn select(&mut self, ty: Option<u8>) -> Result<(), LoadError> {
        let condition = self.pop(I32 as u8)?;
        let second = self.pop(ty.unwrap_or(0))?;
        let first = self.pop(ty.unwrap_or(0))?;
        let known = if first.ty == 0 { second.ty } else { first.ty };
        let result = ty.unwrap_or(known);
        let is_ref = |ty| ty == ValType::FuncRef as u8 || ty == ValType::ExternRef as u8;
        let mixed = first.ty != 0 && second.ty != 0 && first.ty != second.ty;
        if mixed || (ty.is_none() && is_ref(known)) {
            return Err(self.fault(Fault::TypeMismatch).into());
        }
        if self.dead {
            return if result == 0 {
                self.push(0, Place::Slot)
            } else {
                self.produce(result)
            };
        }
        self.spill();
        let second = self.slot_of(second);
        let first = self.slot_of(first);
        let family = Op::Select32A as u16 + class(result) as u16 * 4;
        if let Source::Acc = self.source(condition) {
            self.op(family);
            self.emit(first);
            self.emit(second);
        } else {
            let condition = self.slot_of(condition);
            self.op(family + 2);
            self.emit(first);
            self.emit(second);
            self.emit(condition);
        }
        self.produce(result)
    }

    /// Alignment and offset of a memory access of `1 << width` bytes.
    fn access(&mut self, width: u32) -> Result<u32, InvalidModule> {
        let align = self.reader.u32()?;
        if align & 0x40 != 0 {
            return Err(self.fault(Fault::UnsupportedFeature(Feature::MultiMemory)));
        }
        if align > width {
            return Err(self.fault(Fault::BadAlignment));
        }
        let offset = self.reader.u32()?;
        self.need_memory()?;
        Ok(offset)
    }

    fn load(&mut self, op: u8) -> Result<(), LoadError> {
        let (ty, width) = LOADS[usize::from(op - 0x28)];
        let mut offset = self.access(width)?;
        let address = self.pop(I32 as u8)?;
        if self.dead {
            return self.produce(ty as u8);
        }
        self.spill();
        let family = Op::I32LoadA as u16 + u16::from(op - 0x28) * 8;
        if offset > u32::from(u16::MAX) {
            self.emit_offset(address, offset);
            offset = 0;
            self.op(family);
        } else if let Some((acc, words)) = self.take_sum(address) {
            self.op(family + if acc { 4 } else { 6 });
            self.emit(words[0]);
            if !acc {
                self.emit(words[1]);
            }
        } else if let Source::Acc = self.source(address) {
            self.op(family);
        } else {
            let slot = self.slot_of(address);
            self.op(family + 2);
            self.emit(slot);
        }
        self.emit(offset as u16);
        self.produce(ty as u8)
    }

    /// Adds an offset that does not fit into a word to the address, in the accumulator.
    fn emit_offset(&mut self, address: Operand, offset: u32) {
        let (low, high) = (offset as u16, (offset >> 16) as u16);
        if let Source::Acc = self.source(address) {
            self.emit_op(Op::OffsetA, &[low, high]);
        } else {
            let slot = self.slot_of(address);
            self.emit_op(Op::OffsetS, &[slot, low, high]);
        }
        self.mirror = None;
    }

    fn store(&mut self, op: u8) -> Result<(), LoadError> {
        let (ty, width) = STORES[usize::from(op - 0x36)];
        let mut offset = self.access(width)?;
        let value = self.pop(ty as u8)?;
        let address = self.pop(I32 as u8)?;
        if self.dead {
            return Ok(());
        }
        self.spill();
        let family = Op::Store8SA as u16 + width as u16 * 5;
        if offset > u32::from(u16::MAX) {
            let value = self.slot_of(value);
            self.emit_offset(address, offset);
            offset = 0;
            self.op(family + 1);
            self.emit(value);
        } else {
            self.emit_store(family, class(ty as u8), address, value);
        }
        self.emit(offset as u16);
        Ok(())
    }

    /// Emits a store without its offset. The arguments are the first instruction of its family and
    /// the value's class.
    fn emit_store(&mut self, family: u16, class: Class, address: Operand, value: Operand) {
        let (mut address, mut value) = (address, value);
        if matches!(address.place, Place::Const(_)) {
            self.slot_of(address);
            address.place = Place::Slot;
        }
        if let Place::Const(constant) = value.place {
            let int = matches!(class, Class::Int32 | Class::Int64);
            if int && i16::try_from(constant).is_ok() {
                if let Source::Acc = self.source(address) {
                    self.op(family + 3);
                } else {
                    let address = self.slot_of(address);
                    self.op(family + 4);
                    self.emit(address);
                }
                return self.emit(constant as u16);
            }
            self.slot_of(value);
            value.place = Place::Slot;
        }
        let (from, to) = (self.source(value), self.source(address));
        if from == Source::Acc && (to != Source::Acc || value.place == Place::Acc) {
            let address = self.slot_of(address);
            match class {
                Class::Float32 => self.op(Op::StoreF32SA as u16),
                Class::Float64 => self.op(Op::StoreF64SA as u16),
                Class::Int32 | Class::Int64 => self.op(family),
            }
            self.emit(address);
        } else if to == Source::Acc {
            let value = self.slot_of(value);
            self.op(family + 1);
            self.emit(value);
        } else {
            let (address, value) = (self.slot_of(address), self.slot_of(value));
            self.op(family + 2);
            self.emit(address);
            self.emit(value);
        }
    }

    fn table_index(&mut self) -> Result<(u32, ValType), InvalidModule> {
        let index = self.reader.u32()?;
        if index >= self.space.block.field(Field::TABLE_COUNT) {
            return Err(self.fault(Fault::UnknownIndex));
        }
        Ok((index, self.space.block.table(index).ty))
    }

    fn table_access(&mut self, op: u8) -> Result<(), LoadError> {
        let (table, ty) = self.table_index()?;
        if op == 0x25 {
            self.bulk(Bulk::TableGet, table, 0, &[I32], Some(ty))
        } else {
            self.bulk(Bulk::TableSet, table, 0, &[I32, ty], None)
        }
    }

    /// A null reference is zero.
    fn ref_is_null(&mut self) -> Result<(), LoadError> {
        let value = self.pop(0)?;
        if value.ty != 0 && !crate::block::val_type(value.ty).is_ref() {
            return Err(self.fault(Fault::TypeMismatch).into());
        }
        if self.dead {
            return self.produce(I32 as u8);
        }
        self.spill();
        let slot = self.slot_of(value);
        self.emit_op(Op::I32EqSI, &[slot, 0]);
        self.produce(I32 as u8)?;
        self.last.shape = Shape::Compare {
            wide: false,
            which: 0,
            kind: 4,
            words: [slot, 0],
        };
        Ok(())
    }

    fn ref_func(&mut self) -> Result<(), LoadError> {
        let index = self.reader.u32()?;
        if index >= self.space.block.field(Field::FUNC_COUNT) {
            return Err(self.fault(Fault::UnknownIndex).into());
        }
        if self.space.block.func(index).flags & FUNC_DECLARED == 0 {
            return Err(self.fault(Fault::UndeclaredReference).into());
        }
        self.push(ValType::FuncRef as u8, Place::Const(index as i32 + 1))
    }

    /// The instructions after the prefix `0xfc`.
    fn prefixed(&mut self) -> Result<(), LoadError> {
        let sub = self.reader.u32()?;
        match sub {
            0..=7 => self.saturating(sub),
            8 => {
                let segment = self.data_index()?;
                self.memory_byte()?;
                self.bulk(Bulk::MemoryInit, segment, 0, &[I32; 3], None)
            }
            9 => {
                let segment = self.data_index()?;
                self.bulk(Bulk::DataDrop, segment, 0, &[], None)
            }
            10 => {
                self.memory_byte()?;
                self.memory_byte()?;
                self.bulk(Bulk::MemoryCopy, 0, 0, &[I32; 3], None)
            }
            11 => {
                self.memory_byte()?;
                self.bulk(Bulk::MemoryFill, 0, 0, &[I32; 3], None)
            }
            12 => {
                let (segment, ty) = self.element_index()?;
                let (table, table_ty) = self.table_index()?;
                self.same_type(ty, table_ty)?;
                self.bulk(Bulk::TableInit, table, segment, &[I32; 3], None)
            }
            13 => {
                let (segment, _) = self.element_index()?;
                self.bulk(Bulk::ElemDrop, segment, 0, &[], None)
            }
            14 => {
                let (to, to_ty) = self.table_index()?;
                let (from, from_ty) = self.table_index()?;
                self.same_type(to_ty, from_ty)?;
                self.bulk(Bulk::TableCopy, to, from, &[I32; 3], None)
            }
            15 => {
                let (table, ty) = self.table_index()?;
                self.bulk(Bulk::TableGrow, table, 0, &[ty, I32], Some(I32))
            }
            16 => {
                let (table, _) = self.table_index()?;
                self.bulk(Bulk::TableSize, table, 0, &[], Some(I32))
            }
            17 => {
                let (table, ty) = self.table_index()?;
                self.bulk(Bulk::TableFill, table, 0, &[I32, ty, I32], None)
            }
            _ => Err(self.fault(Fault::UnknownOpcode(0xfc)).into()),
        }
    }

    fn same_type(&self, a: ValType, b: ValType) -> Result<(), InvalidModule> {
        if a == b {
            Ok(())
        } else {
            Err(self.fault(Fault::TypeMismatch))
        }
    }

    /// The index of a data segment; it needs the section that says how many there are.
    fn data_index(&mut self) -> Result<u32, InvalidModule> {
        let index = self.reader.u32()?;
        if index >= self.space.block.field(Field::DATA_COUNT) {
            return Err(self.fault(Fault::UnknownIndex));
        }
        Ok(index)
    }

    fn element_index(&mut self) -> Result<(u32, ValType), InvalidModule> {
        let index = self.reader.u32()?;
        if index >= self.space.block.field(Field::ELEM_COUNT) {
            return Err(self.fault(Fault::UnknownIndex));
        }
        let scope = crate::constant::Scope {
            functions: self.space.block.field(Field::FUNC_COUNT),
        };
        let at = self.space.block.offset(Field::ELEMS) + index as usize * 8;
        let at = self.space.block.word(at) as usize;
        // The offset of an active segment is an expression of any length.
        let mut reader = crate::reader::Reader::new(self.known.code, at);
        let ty = crate::segment::Element::read(&mut reader, scope)?.ty;
        self.spend((reader.pos() - at) as u32)?;
        Ok((index, ty))
    }
}
