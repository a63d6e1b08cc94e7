//! Places of operands: where an instruction reads them, and how they move to slots.

use super::{Class, Operand, Place, Shape, Translator, UNKNOWN, class, control};
use crate::block::NONE;
use crate::fault::{InvalidModule, LoadError};
use crate::isa::Op;

/// How an instruction names an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Acc,
    /// Byte offset of a slot.
    Slot(u16),
    Const(i32),
}

impl Translator<'_, '_> {
    /// How an instruction that is emitted now may name this operand.
    pub(super) fn source(&self, operand: Operand) -> Source {
        let slot = match operand.place {
            Place::Acc => return Source::Acc,
            Place::Const(value) => return Source::Const(value),
            Place::Slot => operand.slot(),
            Place::Local(cell) => cell * 4,
        };
        if self.mirror == Some((slot, class(operand.ty))) {
            Source::Acc
        } else {
            Source::Slot(slot)
        }
    }

    /// The slot that holds the operand. If there is none, it writes the operand to its own slot
    /// first.
    pub(super) fn slot_of(&mut self, operand: Operand) -> u16 {
        match operand.place {
            Place::Local(cell) => cell * 4,
            Place::Slot => operand.slot(),
            Place::Acc | Place::Const(_) => {
                self.place(operand, operand.slot());
                operand.slot()
            }
        }
    }

    /// Writes the operand's value to the slot at byte offset `slot`.
    pub(super) fn place(&mut self, operand: Operand, slot: u16) {
        match self.source(operand) {
            Source::Acc => self.store_acc(class(operand.ty), slot),
            Source::Const(value) => self.store_const(class(operand.ty), value, slot),
            Source::Slot(from) if from == slot => {}
            Source::Slot(from) => {
                let op = match class(operand.ty) {
                    Class::Int32 | Class::Float32 => Op::Copy32,
                    Class::Int64 | Class::Float64 => Op::Copy64,
                };
                self.emit_op(op, &[from, slot]);
                self.forget(slot, class(operand.ty));
            }
        }
    }

    /// Stores the accumulator to a slot. If possible, the instruction that computed the value last
    /// does so.
    pub(super) fn store_acc(&mut self, class: Class, slot: u16) {
        if self.mirror == Some((slot, class)) {
            return;
        }
        if self.last.result && !self.dead {
            let at = self.last.at;
            if !self.space.counting {
                let op = self.word(at);
                self.set_word(at, op + 1);
            }
            self.emit(slot);
            self.last = UNKNOWN;
        } else {
            let op = match class {
                Class::Int32 => Op::Set32,
                Class::Int64 => Op::Set64,
                Class::Float32 => Op::SetF32,
                Class::Float64 => Op::SetF64,
            };
            self.emit_op(op, &[slot]);
        }
        self.mirror = Some((slot, class));
    }

    fn store_const(&mut self, class: Class, value: i32, slot: u16) {
        let (low, high) = (value as u16, (value >> 16) as u16);
        match (class, i16::try_from(value)) {
            (Class::Int64, Ok(_)) => self.emit_op(Op::Const16W, &[low, slot]),
            (Class::Int64, Err(_)) => {
                let sign = (value >> 31) as u16;
                self.emit_op(Op::Const64, &[low, high, sign, sign, slot]);
            }
            (Class::Float64, _) => {
                let bits = f64::from(f32::from_bits(value as u32)).to_bits();
                self.emit_wide(bits, slot);
            }
            (_, Ok(_)) => self.emit_op(Op::Const16, &[low, slot]),
            _ => self.emit_op(Op::Const32, &[low, high, slot]),
        }
        self.forget(slot, class);
    }

    /// Writes a constant of 64 bits to a slot.
    pub(super) fn emit_wide(&mut self, bits: u64, slot: u16) {
        let word = |shift: u32| (bits >> shift) as u16;
        self.emit_op(Op::Const64, &[word(0), word(16), word(32), word(48), slot]);
    }

    /// Notes that a slot was written with another value than the accumulator's.
    pub(super) fn forget(&mut self, slot: u16, written: Class) {
        let size = |class| match class {
            Class::Int32 | Class::Float32 => 4,
            Class::Int64 | Class::Float64 => 8,
        };
        if let Some((mirror, class)) = self.mirror
            && mirror < slot + size(written)
            && slot < mirror + size(class)
        {
            self.mirror = None;
        }
    }

    /// Stores the operand that is in the accumulator, if there is one, to its own slot.
    pub(super) fn spill(&mut self) {
        if self.acc == NONE {
            return;
        }
        let index = core::mem::replace(&mut self.acc, NONE);
        let mut operand = self.operand(index);
        self.place(operand, operand.slot());
        operand.place = Place::Slot;
        self.set_entry(index, operand.pack());
    }

    /// Writes the entry's value, wherever it is, to its own slot.
    pub(super) fn settle(&mut self, index: u32) {
        let mut operand = self.operand(index);
        if operand.place != Place::Slot {
            self.place(operand, operand.slot());
            operand.place = Place::Slot;
            self.set_entry(index, operand.pack());
        }
    }

    /// Settles the operands of the innermost block that are in locals or in the accumulator, since
    /// a path through a block could change or lose them. Operands of outer blocks were settled when
    /// this block was opened.
    pub(super) fn settle_block(&mut self) -> Result<(), InvalidModule> {
        let first = self.block + control::RECORD;
        self.spend(self.len - first)?;
        if self.dead {
            return Ok(());
        }
        self.spill();
        for index in first..self.len {
            if matches!(self.operand(index).place, Place::Local(_)) {
                self.settle(index);
            }
        }
        Ok(())
    }

    /// Settles operands that stand for the old value of a local before the local changes.
    pub(super) fn preserve(&mut self, cell: u16) -> Result<(), InvalidModule> {
        let first = self.block + control::RECORD;
        self.spend(self.len - first)?;
        if self.dead {
            return Ok(());
        }
        for index in first..self.len {
            if self.operand(index).place == Place::Local(cell) {
                self.settle(index);
            }
        }
        Ok(())
    }

    /// Pushes the value that the last instruction has left in the accumulator.
    pub(super) fn produce(&mut self, ty: u8) -> Result<(), LoadError> {
        self.mirror = None;
        self.push(ty, Place::Acc)?;
        if self.dead {
            return Ok(());
        }
        self.acc = self.len - 1;
        self.last.result = true;
        Ok(())
    }

    /// If `address` is the sum that the last instruction has left in the accumulator, takes that
    /// instruction back. Returns whether the first term is the accumulator, and the words of the
    /// terms' slots.
    pub(super) fn take_sum(&mut self, address: Operand) -> Option<(bool, [u16; 2])> {
        if address.place != Place::Acc || !self.last.result {
            return None;
        }
        let Shape::Sum { acc, words } = self.last.shape else {
            return None;
        };
        self.rewind();
        Some((acc, words))
    }
}
