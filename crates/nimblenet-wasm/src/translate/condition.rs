//! Conditions of branches: a comparison directly before a branch becomes part of the branch.

use super::operands::Source;
use super::{Last, Operand, Place, Shape, Translator};
use crate::isa::Op;

/// What a conditional branch tests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    /// An operand that is not zero.
    Operand(Operand),
    /// A comparison that was emitted and taken back.
    Compare {
        wide: bool,
        which: u8,
        kind: u8,
        words: [u16; 2],
    },
}

impl Translator<'_, '_> {
    /// The condition from a popped operand: a comparison that was emitted last becomes part of the
    /// branch.
    pub(super) fn take_condition(&mut self, operand: Operand) -> Condition {
        if self.dead || operand.place != Place::Acc || !self.last.result {
            return Condition::Operand(operand);
        }
        let Last {
            shape:
                Shape::Compare {
                    wide,
                    which,
                    kind,
                    words,
                },
            ..
        } = self.last
        else {
            return Condition::Operand(operand);
        };
        self.rewind();
        Condition::Compare {
            wide,
            which,
            kind,
            words,
        }
    }

    /// Emits a branch on the condition, or on its opposite, up to the distance.
    pub(super) fn emit_condition(&mut self, condition: Condition, opposite: bool) {
        match condition {
            Condition::Operand(operand) => {
                let op = if opposite { Op::BrEqzA } else { Op::BrNezA };
                match self.source(operand) {
                    Source::Acc => self.op(op as u16),
                    Source::Slot(_) | Source::Const(_) => {
                        let slot = self.slot_of(operand);
                        self.op(op as u16 + 1);
                        self.emit(slot);
                    }
                }
            }
            Condition::Compare {
                wide,
                which,
                kind,
                words,
            } => {
                let which = if opposite { inverse(which) } else { which };
                let first = if wide { Op::BrI64EqAS } else { Op::BrI32EqAS };
                let zero = !wide && which < 2 && words[usize::from(kind == 4)] == 0;
                if zero && (kind == 2 || kind == 4) {
                    let op = if which == 0 { Op::BrEqzA } else { Op::BrNezA };
                    self.op(op as u16 + u16::from(kind == 4));
                    if kind == 4 {
                        self.emit(words[0]);
                    }
                    return;
                }
                self.op(first as u16 + u16::from(which) * 5 + u16::from(kind));
                self.emit(words[0]);
                if kind >= 3 {
                    self.emit(words[1]);
                }
            }
        }
    }
}

/// The comparison that holds when this one does not: equal and not equal, less and greater or
/// equal.
pub(super) const fn inverse(which: u8) -> u8 {
    match which {
        0 | 1 => which ^ 1,
        // less signed, less unsigned, greater signed, greater unsigned, and the opposites
        2 | 3 => which + 6,
        4 | 5 => which + 2,
        6 | 7 => which - 2,
        _ => which - 6,
    }
}
