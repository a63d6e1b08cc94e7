//! Numeric instructions: maps opcodes to families of translated instructions.

use super::operands::Source;
use super::{Class, Operand, Shape, Translator, class};
use crate::fault::LoadError;
use crate::isa::Op;
use crate::value::ValType;

const I32: u8 = ValType::I32 as u8;
const I64: u8 = ValType::I64 as u8;
const F32: u8 = ValType::F32 as u8;
const F64: u8 = ValType::F64 as u8;

/// Variants of a binary instruction, two for each pair of operands.
const BINARY_VARIANTS: u16 = 10;
/// Variants of a unary instruction.
const UNARY_VARIANTS: u16 = 4;

/// The operands and the result of an instruction, and the first variant of its family.
enum Numeric {
    Binary { operand: u8, result: u8, first: u16 },
    Unary { operand: u8, result: u8, first: u16 },
}

fn family(first: Op, index: u8, variants: u16) -> u16 {
    first as u16 + u16::from(index) * variants
}

/// The types of conversions, opcodes `0xa7..=0xc4`.
const CONVERSIONS: [(u8, u8); 30] = [
    (I64, I32),
    (F32, I32),
    (F32, I32),
    (F64, I32),
    (F64, I32),
    (I32, I64),
    (I32, I64),
    (F32, I64),
    (F32, I64),
    (F64, I64),
    (F64, I64),
    (I32, F32),
    (I32, F32),
    (I64, F32),
    (I64, F32),
    (F64, F32),
    (I32, F64),
    (I32, F64),
    (I64, F64),
    (I64, F64),
    (F32, F64),
    (F32, I32),
    (F64, I64),
    (I32, F32),
    (I64, F64),
    (I32, I32),
    (I32, I32),
    (I64, I64),
    (I64, I64),
    (I64, I64),
];

fn numeric(op: u8) -> Option<Numeric> {
    let binary = |operand, result, first, base| {
        let first = family(first, op - base, BINARY_VARIANTS);
        Some(Numeric::Binary {
            operand,
            result,
            first,
        })
    };
    let unary = |operand, result, first, base| {
        let first = family(first, op - base, UNARY_VARIANTS);
        Some(Numeric::Unary {
            operand,
            result,
            first,
        })
    };
    match op {
        0x46..=0x4f => binary(I32, I32, Op::I32EqAS, 0x46),
        0x51..=0x5a => binary(I64, I32, Op::I64EqAS, 0x51),
        0x5b..=0x60 => binary(F32, I32, Op::F32EqAS, 0x5b),
        0x61..=0x66 => binary(F64, I32, Op::F64EqAS, 0x61),
        0x67..=0x69 => unary(I32, I32, Op::I32ClzA, 0x67),
        0x6a..=0x78 => binary(I32, I32, Op::I32AddAS, 0x6a),
        0x79..=0x7b => unary(I64, I64, Op::I64ClzA, 0x79),
        0x7c..=0x8a => binary(I64, I64, Op::I64AddAS, 0x7c),
        0x8b..=0x91 => unary(F32, F32, Op::F32AbsA, 0x8b),
        0x92..=0x98 => binary(F32, F32, Op::F32AddAS, 0x92),
        0x99..=0x9f => unary(F64, F64, Op::F64AbsA, 0x99),
        0xa0..=0xa6 => binary(F64, F64, Op::F64AddAS, 0xa0),
        0xa7..=0xc4 => {
            let (operand, result) = CONVERSIONS[usize::from(op - 0xa7)];
            unary(operand, result, Op::I32WrapI64A, 0xa7)
        }
        _ => None,
    }
}

impl Translator<'_, '_> {
    /// Translates a numeric instruction; returns whether `op` is one.
    pub(super) fn numeric(&mut self, op: u8) -> Result<bool, LoadError> {
        match op {
            0x45 => self.equal_zero(I32)?,
            0x50 => self.equal_zero(I64)?,
            _ => match numeric(op) {
                Some(Numeric::Binary {
                    operand,
                    result,
                    first,
                }) => {
                    let right = self.pop(operand)?;
                    let left = self.pop(operand)?;
                    self.binary(op, first, left, right, result)?;
                }
                Some(Numeric::Unary {
                    operand,
                    result,
                    first,
                }) => {
                    self.unary(operand, result, first)?;
                }
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// The saturating conversions, `0xfc 0..=7`.
    pub(super) fn saturating(&mut self, sub: u32) -> Result<(), LoadError> {
        let operand = if sub & 2 == 0 { F32 } else { F64 };
        let result = if sub < 4 { I32 } else { I64 };
        self.unary(
            operand,
            result,
            family(Op::I32TruncSatF32SA, sub as u8, UNARY_VARIANTS),
        )
    }

    fn unary(&mut self, operand: u8, result: u8, first: u16) -> Result<(), LoadError> {
        let value = self.pop(operand)?;
        if !self.dead {
            self.spill();
            if let Source::Acc = self.source(value) {
                self.op(first);
            } else {
                let slot = self.slot_of(value);
                self.op(first + 2);
                self.emit(slot);
            }
        }
        self.produce(result)
    }

    /// `eqz`: turns a comparison before it around, or else compares with zero.
    fn equal_zero(&mut self, operand: u8) -> Result<(), LoadError> {
        let value = self.pop(operand)?;
        if self.dead {
            return self.produce(I32);
        }
        if operand == I32
            && let super::condition::Condition::Compare {
                wide,
                which,
                kind,
                words,
            } = self.take_condition(value)
        {
            return self.compare(wide, super::condition::inverse(which), kind, words);
        }
        self.spill();
        let wide = operand == I64;
        match self.source(value) {
            Source::Acc => self.compare(wide, 0, 2, [0, 0]),
            Source::Slot(_) | Source::Const(_) => {
                let slot = self.slot_of(value);
                self.compare(wide, 0, 4, [slot, 0])
            }
        }
    }

    /// Emits an integer comparison, which a branch after it may take back.
    fn compare(
        &mut self,
        wide: bool,
        which: u8,
        kind: u8,
        words: [u16; 2],
    ) -> Result<(), LoadError> {
        let first = if wide { Op::I64EqAS } else { Op::I32EqAS };
        self.op(family(first, which, BINARY_VARIANTS) + u16::from(kind) * 2);
        self.emit(words[0]);
        if kind >= 3 {
            self.emit(words[1]);
        }
        self.produce(I32)?;
        self.last.shape = Shape::Compare {
            wide,
            which,
            kind,
            words,
        };
        Ok(())
    }

    fn binary(
        &mut self,
        op: u8,
        first: u16,
        left: Operand,
        right: Operand,
        result: u8,
    ) -> Result<(), LoadError> {
        if self.dead {
            return self.produce(result);
        }
        self.spill();
        let (kind, words) = self.operands(left, right, commutes(op));
        match op {
            0x46..=0x4f => return self.compare(false, op - 0x46, kind, [words[0], words[1]]),
            0x51..=0x5a => return self.compare(true, op - 0x51, kind, [words[0], words[1]]),
            _ => {}
        }
        self.op(first + u16::from(kind) * 2);
        let wide_immediate = matches!(class(left.ty), Class::Float32 | Class::Float64);
        let count = match kind {
            0 | 1 => 1,
            2 => 1 + usize::from(wide_immediate),
            3 => 2,
            _ => 2 + usize::from(wide_immediate),
        };
        for &word in &words[..count] {
            self.emit(word);
        }
        self.produce(result)?;
        // Note the sum, since an address is often the sum of two values.
        if op == 0x6a && (kind == 0 || kind == 3) {
            self.last.shape = Shape::Sum {
                acc: kind == 0,
                words: [words[0], words[1]],
            };
        }
        Ok(())
    }

    /// Decides how a binary instruction names its operands: the kind of the pair, in the order
    /// accumulator and slot, slot and accumulator, accumulator and immediate, two slots, slot and
    /// immediate; and its words.
    fn operands(&mut self, left: Operand, right: Operand, commutes: bool) -> (u8, [u16; 3]) {
        let (mut left, mut right) = (left, right);
        if commutes && matches!(left.place, super::Place::Const(_)) {
            core::mem::swap(&mut left, &mut right);
        }
        if let super::Place::Const(value) = right.place
            && !matches!(left.place, super::Place::Const(_))
        {
            let float = matches!(class(right.ty), Class::Float32 | Class::Float64);
            let (low, high) = (value as u16, (value >> 16) as u16);
            if float || i16::try_from(value).is_ok() {
                return match self.source(left) {
                    Source::Slot(slot) => (4, [slot, low, high]),
                    Source::Acc | Source::Const(_) => (2, [low, high, 0]),
                };
            }
        }
        // A constant that is no immediate is written to its slot, which leaves the accumulator as
        // it is.
        if matches!(left.place, super::Place::Const(_)) {
            self.slot_of(left);
            left.place = super::Place::Slot;
        }
        if matches!(right.place, super::Place::Const(_)) {
            self.slot_of(right);
            right.place = super::Place::Slot;
        }
        match (self.source(left), self.source(right)) {
            (Source::Slot(left), Source::Slot(right)) => (3, [left, right, 0]),
            (Source::Slot(left), _) => (1, [left, 0, 0]),
            (_, Source::Slot(right)) => (0, [right, 0, 0]),
            // Both operands are the value in the accumulator; it is in a slot as well.
            _ if right.place == super::Place::Acc => (1, [self.slot_of(left), 0, 0]),
            _ => (0, [self.slot_of(right), 0, 0]),
        }
    }
}

/// Whether the operands may be swapped: sums, products, bit operations, equality. Floats may be
/// swapped too, since no result shows which operand a NaN came from.
const fn commutes(op: u8) -> bool {
    matches!(
        op,
        0x46 | 0x47 | 0x51 | 0x52 | 0x5b | 0x5c | 0x61 | 0x62 | 0x6a | 0x6c
    ) || matches!(op, 0x71..=0x73 | 0x7c | 0x7e | 0x83..=0x85 | 0x92 | 0x94 | 0xa0 | 0xa2)
}
