//! Loads, stores, and other instructions on linear memory.

use core::marker::PhantomData;

use super::machine::{Context, Flow, Registers};
use super::operand::{A, Instruction, S, Source, Target, Value};
use super::shape::{Operand, Operation, Place, Shape};
use crate::block::{Field, Words};
use crate::bulk::{self, Bulk as What};
use crate::fault::Trap;

/// A value of a width that memory holds, at any address, little-endian.
pub(super) trait Cell: Copy {
    /// The width is `1 << LOG` bytes.
    const LOG: usize;
}

impl Cell for u8 {
    const LOG: usize = 0;
}
impl Cell for u16 {
    const LOG: usize = 1;
}
impl Cell for u32 {
    const LOG: usize = 2;
}
impl Cell for u64 {
    const LOG: usize = 3;
}

/// The address of `1 << log` bytes of memory at `base + offset`, if they are inside.
#[inline(always)]
pub(super) fn address(
    registers: &Registers<'_, '_>,
    base: u32,
    offset: u16,
    log: usize,
) -> Option<*mut u8> {
    #[cfg(target_pointer_width = "64")]
    {
        let start = u64::from(base) + u64::from(offset);
        if start as i64 > registers.context.highest[log] {
            return None;
        }
        Some(registers.memory.wrapping_add(start as usize))
    }
    #[cfg(not(target_pointer_width = "64"))]
    {
        let start = base.checked_add(u32::from(offset))?;
        let end = start.checked_add(1 << log)?;
        if end > registers.context.memory_bytes {
            return None;
        }
        Some(registers.memory.wrapping_add(start as usize))
    }
}

/// How a load's address is given.
pub(super) trait Address {
    const WORDS: usize;
    const FIRST: Operand;
    const SECOND: Operand;
    /// # Safety
    /// The instruction has the words of the address from word 1 on.
    unsafe fn base(registers: &Registers<'_, '_>) -> u32;
}

/// An operand.
pub(super) struct At<L>(PhantomData<L>);

impl<L: Source<u32>> Address for At<L> {
    const WORDS: usize = L::WORDS;
    const FIRST: Operand = L::OPERAND;
    const SECOND: Operand = Operand::None;
    #[inline(always)]
    unsafe fn base(registers: &Registers<'_, '_>) -> u32 {
        // SAFETY: by the caller's promise.
        unsafe { L::read(registers, 1) }
    }
}

/// The sum of an operand and a slot.
pub(super) struct Sum<L>(PhantomData<L>);

impl<L: Source<u32>> Address for Sum<L> {
    const WORDS: usize = L::WORDS + 1;
    const FIRST: Operand = L::OPERAND;
    const SECOND: Operand = <S as Source<u32>>::OPERAND;
    #[inline(always)]
    unsafe fn base(registers: &Registers<'_, '_>) -> u32 {
        // SAFETY: by the caller's promise.
        unsafe {
            let first = L::read(registers, 1);
            first.wrapping_add(<S as Source<u32>>::read(registers, 1 + L::WORDS))
        }
    }
}

/// How a load converts the bytes.
pub(super) trait Width {
    type Cell: Cell;
    type Out: Value;
    const OPERATION: Operation;
    fn extend(cell: Self::Cell) -> Self::Out;
}

macro_rules! loads {
    ($($name:ident: $cell:ty => $out:ty, $operation:ident, |$a:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Width for $name {
            type Cell = $cell;
            type Out = $out;
            const OPERATION: Operation = Operation::$operation;
            #[inline(always)]
            fn extend($a: $cell) -> $out {
                $body
            }
        }
    )*};
}

loads! {
    I32Load: u32 => u32, Load32U, |a| u32::from_le(a);
    I64Load: u64 => u64, Load64, |a| u64::from_le(a);
    F32Load: u32 => f32, Load32U, |a| f32::from_bits(u32::from_le(a));
    F64Load: u64 => f64, Load64, |a| f64::from_bits(u64::from_le(a));
    I32Load8S: u8 => u32, Load8S, |a| a as i8 as u32;
    I32Load8U: u8 => u32, Load8U, |a| u32::from(a);
    I32Load16S: u16 => u32, Load16S, |a| u16::from_le(a) as i16 as u32;
    I32Load16U: u16 => u32, Load16U, |a| u32::from(u16::from_le(a));
    I64Load8S: u8 => u64, Load8S, |a| a as i8 as u64;
    I64Load8U: u8 => u64, Load8U, |a| u64::from(a);
    I64Load16S: u16 => u64, Load16S, |a| u16::from_le(a) as i16 as u64;
    I64Load16U: u16 => u64, Load16U, |a| u64::from(u16::from_le(a));
    I64Load32S: u32 => u64, Load32S, |a| u32::from_le(a) as i32 as u64;
    I64Load32U: u32 => u64, Load32U, |a| u64::from(u32::from_le(a));
}

/// A load: conversion, address, target. The word after the address is the offset.
pub(super) struct Load<W, L, D>(PhantomData<(W, L, D)>);

impl<W: Width, L: Address, D: Target<W::Out>> Instruction for Load<W, L, D> {
    const WORDS: usize = 2 + L::WORDS + D::WORDS;
    const SHAPE: Shape = Shape::new(W::OPERATION, L::FIRST, L::SECOND, D::PLACE);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are counted as the translator emits them (invariants 1 and 2); the
        // address was checked (invariant 3).
        unsafe {
            let base = L::base(registers);
            let offset = registers.word(1 + L::WORDS);
            let Some(at) = address(registers, base, offset, W::Cell::LOG) else {
                return Flow::Trap(Trap::OutOfBoundsMemory);
            };
            let value = W::extend(at.cast::<W::Cell>().read_unaligned());
            D::write(registers, 2 + L::WORDS, value);
            registers.step(Self::WORDS)
        }
    }
}

/// A value of which a store writes the low bytes.
pub(super) trait Stored {
    type Cell: Cell;
    type In: Value;
    const OPERATION: Operation;
    fn cut(value: Self::In) -> Self::Cell;
}

macro_rules! stores {
    ($($name:ty: $in:ty => $cell:ty, $operation:ident, |$a:ident| $body:expr;)*) => {$(
        impl Stored for $name {
            type Cell = $cell;
            type In = $in;
            const OPERATION: Operation = Operation::$operation;
            #[inline(always)]
            fn cut($a: $in) -> $cell {
                $body
            }
        }
    )*};
}

stores! {
    u8: u32 => u8, Store8, |a| a as u8;
    u16: u32 => u16, Store16, |a| (a as u16).to_le();
    u32: u32 => u32, Store32, |a| a.to_le();
    u64: u64 => u64, Store64, |a| a.to_le();
    f32: f32 => u32, Store32, |a| a.to_bits().to_le();
    f64: f64 => u64, Store64, |a| a.to_bits().to_le();
}

/// A store: value, address, source. The last word is the offset.
pub(super) struct Store<V, L, R>(PhantomData<(V, L, R)>);

impl<V, L, R> Instruction for Store<V, L, R>
where
    V: Stored,
    L: Source<u32>,
    R: Source<V::In>,
{
    const WORDS: usize = 2 + L::WORDS + R::WORDS;
    const SHAPE: Shape = Shape::new(V::OPERATION, L::OPERAND, R::OPERAND, Place::None);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are counted as the translator emits them (invariants 1 and 2); the
        // address was checked (invariant 3).
        unsafe {
            let base = L::read(registers, 1);
            let value = V::cut(R::read(registers, 1 + L::WORDS));
            let offset = registers.word(1 + L::WORDS + R::WORDS);
            let Some(at) = address(registers, base, offset, V::Cell::LOG) else {
                return Flow::Trap(Trap::OutOfBoundsMemory);
            };
            at.cast::<V::Cell>().write_unaligned(value);
            registers.step(Self::WORDS)
        }
    }
}

/// Adds a large offset to an address, in the accumulator; past 32 bits there is no memory.
pub(super) struct Offset<L>(PhantomData<L>);

impl<L: Source<u32>> Instruction for Offset<L> {
    const WORDS: usize = 3 + L::WORDS;
    const SHAPE: Shape = Shape::new(
        Operation::Offset,
        L::OPERAND,
        Operand::None,
        Place::Accumulator,
    );

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are the address and the offset (invariants 1 and 2).
        unsafe {
            let base = L::read(registers, 1);
            let offset = registers.double_word(1 + L::WORDS);
            let Some(sum) = base.checked_add(offset) else {
                return Flow::Trap(Trap::OutOfBoundsMemory);
            };
            <A as Target<u32>>::write(registers, 0, sum);
            registers.step(Self::WORDS)
        }
    }
}

/// The size of memory in pages.
pub(super) struct MemorySize<D>(PhantomData<D>);

impl<D: Target<u32>> Instruction for MemorySize<D> {
    const WORDS: usize = 1 + D::WORDS;
    const SHAPE: Shape = Shape::new(
        Operation::MemorySize,
        Operand::None,
        Operand::None,
        D::PLACE,
    );

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        let pages = registers.context.pages();
        // SAFETY: the word is the target (invariants 1 and 2).
        unsafe {
            D::write(registers, 1, pages);
            registers.step(Self::WORDS)
        }
    }
}

/// An instruction that works on the block by checked indexing. The words are its number, two
/// numbers for it, and the first operand.
pub(super) struct Bulk;

impl Instruction for Bulk {
    const WORDS: usize = 5;
    const SHAPE: Shape = Shape::alone(Operation::Bulk);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are as said (invariants 1 and 2).
        let (what, x, y, at) = unsafe {
            (
                registers.word(1),
                registers.word(2),
                registers.word(3),
                registers.slot(4),
            )
        };
        let flow = perform(registers.context, what, x, y, at);
        if flow != Flow::Next {
            return flow;
        }
        // SAFETY: the length of the instruction.
        unsafe { registers.step(Self::WORDS) }
    }
}

#[inline(never)]
fn perform(context: &mut Context<'_>, what: u16, x: u16, y: u16, at: *mut u8) -> Flow {
    let at = at as usize - context.block as usize;
    // SAFETY: the context was made from this block, which is borrowed during the run (invariant 5);
    // nothing else refers to it while this function runs.
    let block = unsafe { core::slice::from_raw_parts_mut(context.block, context.block_len) };
    match bulk::perform(block, context.module, What::from_word(what), x, y, at) {
        Ok(cost) => {
            context.debt = u64::from(cost);
            let bytes = block.field(Field::MEMORY_BYTES);
            context.measure(bytes);
            Flow::Next
        }
        Err(trap) => Flow::Trap(trap),
    }
}
