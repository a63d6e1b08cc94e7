//! From an instruction's number to its execution, in a loop.

use super::control::*;
use super::machine::{Context, Flow, Registers};
use super::memory::*;
use super::moves::*;
use super::numeric::*;
use super::operand::{A, I, Instruction, S, T};
use crate::isa::{OP_COUNT, Op, instructions};

/// The name of this way of dispatching.
#[cfg(test)]
pub(crate) const DISPATCH: &str = "loop";

macro_rules! lengths {
    ($($name:ident: $handler:ty,)*) => {
        const LENGTHS: [u8; OP_COUNT] = [$(<$handler as Instruction>::WORDS as u8,)*];
    };
}
instructions!(lengths);

/// How many words the instruction with this number has, the distances of a branch table left out.
pub(crate) fn length(op: u16) -> Option<usize> {
    LENGTHS
        .get(usize::from(op))
        .map(|&words| usize::from(words))
}

macro_rules! execute {
    ($($name:ident: $handler:ty,)*) => {
        /// Executes one instruction.
        ///
        /// # Safety
        /// The invariants of the module `exec` hold.
        #[inline(always)]
        unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
            // SAFETY: the word is an instruction's number, as the code holds (invariant 1).
            let op: Op = unsafe { core::mem::transmute::<u16, Op>(*registers.ip) };
            match op {
                // SAFETY: the registers point to this instruction (invariants 1 to 5).
                $(Op::$name => unsafe { <$handler as Instruction>::execute(registers) },)*
            }
        }
    };
}
instructions!(execute);

/// Executes instructions until one ends or suspends the run.
pub(super) fn run(context: &mut Context<'_>) {
    // SAFETY: positions in the block were checked when they were stored or thawed.
    let (ip, fp) = unsafe {
        (
            context.code.add(context.ip as usize),
            context.stack.add(context.fp as usize),
        )
    };
    let memory = context.memory;
    let mut registers = Registers {
        ip,
        fp,
        acc: 0,
        acc32: 0.0,
        acc64: 0.0,
        memory,
        context,
    };
    // SAFETY: the invariants of the module `exec`.
    while unsafe { execute(&mut registers) } == Flow::Next {}
    let ip = registers.position(registers.ip);
    let fp = registers.fp as usize - registers.context.stack as usize;
    registers.context.ip = ip;
    registers.context.fp = fp as u32;
}
