//! A table of instructions by number.

use super::control::*;
use super::memory::*;
use super::moves::*;
use super::numeric::*;
use super::operand::{A, I, Instruction, S, T};
use super::shape::Shape;
use crate::isa::{OP_COUNT, instructions};

/// The shape of an instruction, whose length must be that of the handler.
const fn shape<H: Instruction>() -> Shape {
    assert!(H::WORDS == H::SHAPE.words());
    H::SHAPE
}

#[cfg(dispatch_compact)]
macro_rules! tables {
    ($($name:ident: $handler:ty,)*) => {
        pub(super) static SHAPES: [Shape; OP_COUNT] = [$(shape::<$handler>(),)*];
    };
}
#[cfg(not(dispatch_compact))]
macro_rules! tables {
    ($($name:ident: $handler:ty,)*) => {
        static LENGTHS: [u8; OP_COUNT] = [$(shape::<$handler>().words() as u8,)*];
    };
}
instructions!(tables);

/// How many words the instruction with this number has, without the distances of a branch table.
pub(crate) fn length(op: u16) -> Option<usize> {
    let at = usize::from(op);
    #[cfg(dispatch_compact)]
    return SHAPES.get(at).map(|shape| shape.words());
    #[cfg(not(dispatch_compact))]
    return LENGTHS.get(at).map(|&words| usize::from(words));
}
