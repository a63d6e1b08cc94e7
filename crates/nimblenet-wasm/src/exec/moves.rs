//! Moves of values between slots, constants and globals, and the choice between two values.

use core::marker::PhantomData;

use super::machine::{Flow, Registers};
use super::operand::{Instruction, S, Source, Target, Value};
use super::shape::{Operand, Operation, Place, Shape};

/// From slot to slot.
pub(super) struct Copy<V>(PhantomData<V>);

impl<V: Value> Instruction for Copy<V> {
    const WORDS: usize = 3;
    const SHAPE: Shape = Shape::new(
        Operation::Move,
        Operand::slot(V::WIDE),
        Operand::None,
        Place::slot(V::WIDE),
    );

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words name two slots (invariants 1 and 2).
        unsafe {
            let value = V::load(registers.slot(1));
            value.store(registers.slot(2));
            registers.step(Self::WORDS)
        }
    }
}

/// From the accumulator to a slot.
pub(super) struct Set<V>(PhantomData<V>);

impl<V: Value> Instruction for Set<V> {
    const WORDS: usize = 2;
    const SHAPE: Shape = Shape::new(
        Operation::Move,
        Operand::Accumulator,
        Operand::None,
        Place::slot(V::WIDE),
    );

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the word names a slot (invariants 1 and 2).
        unsafe {
            V::accumulator(registers).store(registers.slot(1));
            registers.step(Self::WORDS)
        }
    }
}

/// A constant of one word, sign-extended, to a slot.
pub(super) struct Const16<V>(PhantomData<V>);

impl<V: Value> Instruction for Const16<V>
where
    super::operand::I: Source<V>,
{
    const WORDS: usize = 3;
    const SHAPE: Shape = Shape::new(
        Operation::Move,
        Operand::None,
        Operand::Immediate,
        Place::slot(V::WIDE),
    );

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are an immediate and a slot (invariants 1 and 2).
        unsafe {
            let value = <super::operand::I as Source<V>>::read(registers, 1);
            value.store(registers.slot(2));
            registers.step(Self::WORDS)
        }
    }
}

/// A constant of two words to a slot.
pub(super) struct Const32;

impl Instruction for Const32 {
    const WORDS: usize = 4;
    const SHAPE: Shape = Shape::new(
        Operation::Move,
        Operand::None,
        Operand::Long,
        Place::slot(false),
    );

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are a constant and a slot (invariants 1 and 2).
        unsafe {
            let value = registers.double_word(1);
            value.store(registers.slot(3));
            registers.step(Self::WORDS)
        }
    }
}

/// A constant of four words to a slot.
pub(super) struct Const64;

impl Instruction for Const64 {
    const WORDS: usize = 6;
    const SHAPE: Shape = Shape::alone(Operation::Const64);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are a constant and a slot (invariants 1 and 2).
        unsafe {
            let low = registers.double_word(1);
            let high = registers.double_word(3);
            let value = u64::from(low) | u64::from(high) << 32;
            value.store(registers.slot(5));
            registers.step(Self::WORDS)
        }
    }
}

/// One of two slots: the first if the condition is not zero.
pub(super) struct Select<V, C, D>(PhantomData<(V, C, D)>);

impl<V, C, D> Instruction for Select<V, C, D>
where
    V: Value,
    C: Source<u32>,
    D: Target<V>,
{
    const WORDS: usize = 3 + C::WORDS + D::WORDS;
    const SHAPE: Shape = {
        let operation = if C::WORDS == 0 {
            Operation::SelectA
        } else {
            Operation::SelectS
        };
        let slot = Operand::slot(V::WIDE);
        Shape::new(operation, slot, slot, D::PLACE)
    };

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are two slots, the condition, the target (invariants 1 and 2).
        unsafe {
            let first = <S as Source<V>>::read(registers, 1);
            let second = <S as Source<V>>::read(registers, 2);
            let value = if C::read(registers, 3) != 0 {
                first
            } else {
                second
            };
            D::write(registers, 3 + C::WORDS, value);
            registers.step(Self::WORDS)
        }
    }
}

/// A global's value; the word is its byte offset among the globals.
pub(super) struct GlobalGet<V, D>(PhantomData<(V, D)>);

impl<V: Value, D: Target<V>> Instruction for GlobalGet<V, D> {
    const WORDS: usize = 2 + D::WORDS;
    const SHAPE: Shape = {
        let operation = if V::WIDE {
            Operation::GlobalGet64
        } else {
            Operation::GlobalGet32
        };
        Shape::new(operation, Operand::None, Operand::None, D::PLACE)
    };

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the word is the offset of a global, as validation has checked (invariant 1).
        unsafe {
            let at = registers.context.globals.add(registers.word(1) as usize);
            D::write(registers, 2, V::load(at));
            registers.step(Self::WORDS)
        }
    }
}

/// Changes a global; the last word is its byte offset among the globals.
pub(super) struct GlobalSet<V, L>(PhantomData<(V, L)>);

impl<V: Value, L: Source<V>> Instruction for GlobalSet<V, L> {
    const WORDS: usize = 2 + L::WORDS;
    const SHAPE: Shape = {
        let operation = if V::WIDE {
            Operation::GlobalSet64
        } else {
            Operation::GlobalSet32
        };
        Shape::new(operation, L::OPERAND, Operand::None, Place::None)
    };

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the word is the offset of a global, as validation has checked (invariant 1).
        unsafe {
            let value = L::read(registers, 1);
            let at = registers
                .context
                .globals
                .add(registers.word(1 + L::WORDS) as usize);
            value.store(at);
            registers.step(Self::WORDS)
        }
    }
}
