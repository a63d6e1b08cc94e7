//! Branches and calls.

use super::control::{Block, RECORD};
use super::operands::Source;
use super::{FAR_CALL_FUEL, Operand, Place, Translator, class};
use crate::block::{Field, NONE, Parts, Words};
use crate::fault::{Fault, InvalidModule, LoadError, Quantity};
use crate::isa::Op;
use crate::value::ValType;

impl Translator<'_, '_> {
    /// Pops the values that a branch to `block` carries; returns the stack's former length.
    fn pop_label(&mut self, block: &Block) -> Result<u32, InvalidModule> {
        let top = self.len;
        let arity = self.label_arity(block);
        self.spend(arity)?;
        for index in (0..arity).rev() {
            self.pop(self.label_type(block, index))?;
        }
        Ok(top)
    }

    /// Checks the values that a branch to `block` carries, and leaves them on the stack. If some
    /// come from unreachable code and `retype` is set, they get the label's types.
    fn check_label(&mut self, block: &Block, retype: bool) -> Result<(), LoadError> {
        let (len, height, acc) = (self.len, self.height, self.acc);
        self.pop_label(block)?;
        let arity = self.label_arity(block);
        if !retype || !self.polymorphic {
            (self.len, self.height, self.acc) = (len, height, acc);
            return Ok(());
        }
        for index in 0..arity {
            self.push(self.label_type(block, index), Place::Slot)?;
        }
        Ok(())
    }

    /// Whether the `arity` topmost operands are where a branch to `block` expects them.
    fn in_place(&self, block: &Block, arity: u32) -> bool {
        let mut cell = block.base;
        (self.len - arity..self.len).all(|index| {
            let operand = self.operand(index);
            let here = operand.place == Place::Slot && u32::from(operand.cell) == cell;
            cell += crate::block::val_type(operand.ty).cells() as u32;
            here
        })
    }

    pub(super) fn branch(&mut self) -> Result<(), LoadError> {
        let depth = self.reader.u32()?;
        let at = self.target(depth)?;
        let block = self.record(at);
        if at == 0 {
            return self.return_early();
        }
        let top = self.pop_label(&block)?;
        if !self.dead {
            self.place_all(self.len, top, block.base);
            self.emit_op(Op::Br, &[]);
            self.emit_distance(at);
        }
        self.unreachable();
        Ok(())
    }

    pub(super) fn return_early(&mut self) -> Result<(), LoadError> {
        let function = self.record(0);
        self.return_results(&function)?;
        self.unreachable();
        Ok(())
    }

    pub(super) fn branch_if(&mut self) -> Result<(), LoadError> {
        let depth = self.reader.u32()?;
        let at = self.target(depth)?;
        let block = self.record(at);
        let operand = self.pop(ValType::I32 as u8)?;
        self.check_label(&block, true)?;
        if self.dead {
            return Ok(());
        }
        let arity = self.label_arity(&block);
        let condition = self.take_condition(operand);
        if self.in_place(&block, arity) {
            self.emit_condition(condition, false);
            self.emit_distance(at);
            return Ok(());
        }
        self.emit_condition(condition, true);
        let around = self.ir;
        self.emit(0);
        // If the branch is not taken, the moves of the other path have no effect.
        let mirror = self.mirror;
        self.last = super::UNKNOWN;
        self.place_all(self.len - arity, self.len, block.base);
        self.emit_op(Op::Br, &[]);
        self.emit_distance(at);
        self.resolve(around, self.ir);
        self.mirror = mirror;
        Ok(())
    }

    pub(super) fn branch_table(&mut self) -> Result<(), LoadError> {
        let index = self.pop(ValType::I32 as u8)?;
        let count = self.reader.count()?;
        self.spend(count)?;
        if count > super::FUNCTION_WORDS_MAX - 8 {
            return Err(self.fault(Fault::TooMany(Quantity::FunctionCode)).into());
        }
        let mut labels = self.reader;
        let mut arity = None;
        for _ in 0..=count {
            let depth = self.reader.u32()?;
            let at = self.target(depth)?;
            let block = self.record(at);
            let this = self.label_arity(&block);
            if *arity.get_or_insert(this) != this {
                return Err(self.fault(Fault::TypeMismatch).into());
            }
            self.check_label(&block, false)?;
        }
        if self.dead {
            self.unreachable();
            return Ok(());
        }
        let arity = arity.unwrap_or(0);
        self.spill_unless(index);
        for entry in self.len - arity..self.len {
            self.settle(entry);
        }
        match self.source(index) {
            Source::Acc => self.emit_op(Op::BrTableA, &[]),
            Source::Slot(_) | Source::Const(_) => {
                let slot = self.slot_of(index);
                self.emit_op(Op::BrTableS, &[slot]);
            }
        }
        self.emit(count as u16);
        let table = self.ir;
        let mut again = labels;
        for _ in 0..=count {
            let at = self.target(labels.u32()?)?;
            let block = self.record(at);
            if self.in_place(&block, arity) {
                self.emit_distance(at);
            } else {
                self.emit(0);
            }
        }
        // A branch to a label that expects the values elsewhere goes through the moves.
        for entry in 0..=count {
            let at = self.target(again.u32()?)?;
            let block = self.record(at);
            if !self.in_place(&block, arity) {
                self.resolve(table + entry, self.ir);
                self.mirror = None;
                self.last = super::UNKNOWN;
                self.place_all(self.len - arity, self.len, block.base);
                self.emit_op(Op::Br, &[]);
                self.emit_distance(at);
            }
        }
        self.unreachable();
        Ok(())
    }

    /// Stores the operand in the accumulator to its slot before a popped operand is used.
    fn spill_unless(&mut self, popped: Operand) {
        if popped.place != Place::Acc {
            self.spill();
        }
    }

    pub(super) fn call(&mut self) -> Result<(), LoadError> {
        let func = self.reader.u32()?;
        if func >= self.space.block.field(Field::FUNC_COUNT) {
            return Err(self.fault(Fault::UnknownIndex).into());
        }
        let ty = self.space.block.func(func).ty;
        let first = self.pop_arguments(ty)?;
        let window = (self.height * 4) as u16;
        let imported = func < self.space.block.field(Field::IMPORT_COUNT);
        if !self.dead {
            self.spill();
            self.settle_popped(first);
            self.emit_refs(self.len)?;
            let op = if imported { Op::CallHost } else { Op::Call };
            self.emit_op(op, &[func as u16, window]);
        }
        if imported {
            self.cost += FAR_CALL_FUEL;
        } else {
            self.space.calls_inside = true;
        }
        self.push_results(ty, (!imported).then_some(window))
    }

    pub(super) fn call_indirect(&mut self) -> Result<(), LoadError> {
        let index = self.reader.u32()?;
        let ty = self.known.type_at(self.space.block, index, &self.reader)?;
        let table = self.reader.u32()?;
        if table >= self.space.block.field(Field::TABLE_COUNT) {
            return Err(self.fault(Fault::UnknownIndex).into());
        }
        if self.space.block.table(table).ty != ValType::FuncRef {
            return Err(self.fault(Fault::TypeMismatch).into());
        }
        let index = self.pop(ValType::I32 as u8)?;
        let slot = if self.dead { 0 } else { self.slot_of(index) };
        let first = self.pop_arguments(ty)?;
        let window = (self.height * 4) as u16;
        if !self.dead {
            self.spill();
            self.settle_popped(first);
            self.emit_refs(self.len)?;
            self.emit_op(Op::CallIndirect, &[table as u16, ty, slot, window]);
        }
        self.space.calls_inside = true;
        self.cost += FAR_CALL_FUEL;
        self.push_results(ty, None)
    }

    /// Pops the arguments of a call; returns the stack's former length.
    fn pop_arguments(&mut self, ty: u16) -> Result<u32, InvalidModule> {
        let top = self.len;
        let params = self.space.block.func_type(ty).params.len();
        self.spend(params as u32)?;
        for index in (0..params).rev() {
            let param = self.space.block.func_type(ty).params[index];
            self.pop(param)?;
        }
        Ok(top)
    }

    /// Writes popped operands, up to the former length `top`, to their own slots.
    pub(super) fn settle_popped(&mut self, top: u32) {
        for entry in self.len..top {
            self.settle(entry);
        }
    }

    /// Pushes the results of a call. A function of the module leaves a single result in the
    /// accumulator as well.
    fn push_results(&mut self, ty: u16, window: Option<u16>) -> Result<(), LoadError> {
        self.mirror = None;
        self.last = super::UNKNOWN;
        debug_assert!(self.dead || self.acc == NONE);
        let results = self.space.block.func_type(ty).results.len();
        self.spend(results as u32)?;
        for index in 0..results {
            let result = self.space.block.func_type(ty).results[index];
            self.push(result, Place::Slot)?;
            if let (1, Some(window), false) = (results, window, self.dead) {
                self.mirror = Some((window, class(result)));
            }
        }
        Ok(())
    }

    /// Emits an instruction on tables, memory or segments: `args` operands of the given types, in
    /// slots of their own, and the result, if there is one, in the first of them.
    pub(super) fn bulk(
        &mut self,
        what: crate::bulk::Bulk,
        x: u32,
        y: u32,
        args: &[ValType],
        result: Option<ValType>,
    ) -> Result<(), LoadError> {
        let top = self.len;
        for &ty in args.iter().rev() {
            self.pop(ty as u8)?;
        }
        let slot = (self.height * 4) as u16;
        if !self.dead {
            self.spill();
            self.settle_popped(top);
            self.emit_op(Op::Bulk, &[what as u16, x as u16, y as u16, slot]);
        }
        self.mirror = None;
        if let Some(ty) = result {
            self.push(ty as u8, Place::Slot)?;
        }
        if self.metered {
            self.emit_refs(self.len)?;
            let height = (self.height * 4) as u16;
            self.emit_op(Op::Settle, &[height]);
        }
        self.last = super::UNKNOWN;
        debug_assert!(self.len >= self.block + RECORD);
        Ok(())
    }
}
