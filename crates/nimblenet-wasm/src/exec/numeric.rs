//! Instructions for the list of operations: arithmetic, comparisons and conversions.

use core::marker::PhantomData;

use super::machine::{Flow, Registers};
use super::operand::{Instruction, Source, Target, Value};
use super::operations::*;
use super::shape::{Operand, Operation, Place, Shape};
use crate::fault::Trap;

/// An operation on two values.
pub(super) trait Binary {
    type In: Value;
    type Out: Value;
    const OPERATION: Operation;
    fn eval(a: Self::In, b: Self::In) -> Result<Self::Out, Trap>;
}

/// An operation on one value.
pub(super) trait Unary {
    type In: Value;
    type Out: Value;
    const OPERATION: Operation;
    fn eval(a: Self::In) -> Result<Self::Out, Trap>;
}

/// The instruction of a binary operation: left and right source, target.
pub(super) struct Bin<F, L, R, D>(PhantomData<(F, L, R, D)>);

impl<F, L, R, D> Instruction for Bin<F, L, R, D>
where
    F: Binary,
    L: Source<F::In>,
    R: Source<F::In>,
    D: Target<F::Out>,
{
    const WORDS: usize = 1 + L::WORDS + R::WORDS + D::WORDS;
    const SHAPE: Shape = Shape::new(F::OPERATION, L::OPERAND, R::OPERAND, D::PLACE);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are counted as the translator emits them (invariants 1 and 2).
        unsafe {
            let left = L::read(registers, 1);
            let right = R::read(registers, 1 + L::WORDS);
            match F::eval(left, right) {
                Ok(value) => D::write(registers, 1 + L::WORDS + R::WORDS, value),
                Err(trap) => return Flow::Trap(trap),
            }
            registers.step(Self::WORDS)
        }
    }
}

/// The instruction of a unary operation: source, target.
pub(super) struct Un<F, L, D>(PhantomData<(F, L, D)>);

impl<F, L, D> Instruction for Un<F, L, D>
where
    F: Unary,
    L: Source<F::In>,
    D: Target<F::Out>,
{
    const WORDS: usize = 1 + L::WORDS + D::WORDS;
    const SHAPE: Shape = Shape::new(F::OPERATION, L::OPERAND, Operand::None, D::PLACE);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are counted as the translator emits them (invariants 1 and 2).
        unsafe {
            let operand = L::read(registers, 1);
            match F::eval(operand) {
                Ok(value) => D::write(registers, 1 + L::WORDS, value),
                Err(trap) => return Flow::Trap(trap),
            }
            registers.step(Self::WORDS)
        }
    }
}

/// The instruction that branches when a comparison holds: left and right source.
pub(super) struct BrCmp<F, L, R>(PhantomData<(F, L, R)>);

impl<F, L, R> Instruction for BrCmp<F, L, R>
where
    F: Binary<Out = u32>,
    L: Source<F::In>,
    R: Source<F::In>,
{
    const WORDS: usize = 2 + L::WORDS + R::WORDS;
    const SHAPE: Shape = Shape::new(F::OPERATION, L::OPERAND, R::OPERAND, Place::Branch);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are counted as the translator emits them (invariants 1 and 2).
        unsafe {
            let left = L::read(registers, 1);
            let right = R::read(registers, 1 + L::WORDS);
            if matches!(F::eval(left, right), Ok(1)) {
                registers.jump(Self::WORDS - 1)
            } else {
                registers.step(Self::WORDS)
            }
        }
    }
}

macro_rules! define {
    (
        binary { $($binary:ident: $in2:ty => $out2:ty, |$a:ident, $b:ident| $body2:expr;)* }
        unary { $($unary:ident: $in1:ty => $out1:ty, |$c:ident| $body1:expr;)* }
    ) => {
        $(
            pub(super) struct $binary;
            impl Binary for $binary {
                type In = $in2;
                type Out = $out2;
                const OPERATION: Operation = Operation::$binary;
                #[inline(always)]
                fn eval($a: $in2, $b: $in2) -> Result<$out2, Trap> {
                    Ok($body2)
                }
            }
        )*
        $(
            pub(super) struct $unary;
            impl Unary for $unary {
                type In = $in1;
                type Out = $out1;
                const OPERATION: Operation = Operation::$unary;
                #[inline(always)]
                fn eval($c: $in1) -> Result<$out1, Trap> {
                    Ok($body1)
                }
            }
        )*
    };
}
operations!(define);
