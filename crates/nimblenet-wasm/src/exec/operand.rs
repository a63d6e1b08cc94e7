//! Where instructions read operands and write results.

use super::machine::Registers;
use super::shape::{Operand, Place, Shape};

/// The accumulator.
pub(super) struct A;
/// A frame slot; one word, its byte offset.
pub(super) struct S;
/// An immediate.
pub(super) struct I;
/// As a result: a frame slot and the accumulator.
pub(super) struct T;

/// A type of values that slots and accumulators hold.
pub(super) trait Value: Copy {
    /// Whether it has 64 bits.
    const WIDE: bool;
    /// # Safety
    /// `at` is a slot of the frame that holds a value of this type.
    unsafe fn load(at: *const u8) -> Self;
    /// # Safety
    /// `at` is a slot of the frame for a value of this type.
    unsafe fn store(self, at: *mut u8);
    fn accumulator(registers: &Registers<'_, '_>) -> Self;
    fn set_accumulator(self, registers: &mut Registers<'_, '_>);
}

/// 64-bit slots are aligned to 4 only.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
struct Wide(u64);

impl Value for u32 {
    const WIDE: bool = false;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: slots are aligned to 4, and inside the frame by the caller's promise.
        unsafe { *at.cast::<Self>() }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: as above.
        unsafe { *at.cast::<Self>() = self }
    }
    #[inline(always)]
    fn accumulator(registers: &Registers<'_, '_>) -> Self {
        registers.acc as Self
    }
    #[inline(always)]
    fn set_accumulator(self, registers: &mut Registers<'_, '_>) {
        registers.acc = u64::from(self);
    }
}

impl Value for u64 {
    const WIDE: bool = true;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: slots are aligned to 4, and inside the frame by the caller's promise.
        unsafe { (*at.cast::<Wide>()).0 }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: as above.
        unsafe { *at.cast::<Wide>() = Wide(self) }
    }
    #[inline(always)]
    fn accumulator(registers: &Registers<'_, '_>) -> Self {
        registers.acc
    }
    #[inline(always)]
    fn set_accumulator(self, registers: &mut Registers<'_, '_>) {
        registers.acc = self;
    }
}

impl Value for f32 {
    const WIDE: bool = false;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: by the caller's promise.
        Self::from_bits(unsafe { u32::load(at) })
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: by the caller's promise.
        unsafe { self.to_bits().store(at) }
    }
    #[inline(always)]
    fn accumulator(registers: &Registers<'_, '_>) -> Self {
        registers.acc32
    }
    #[inline(always)]
    fn set_accumulator(self, registers: &mut Registers<'_, '_>) {
        registers.acc32 = self;
    }
}

impl Value for f64 {
    const WIDE: bool = true;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: by the caller's promise.
        Self::from_bits(unsafe { u64::load(at) })
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: by the caller's promise.
        unsafe { self.to_bits().store(at) }
    }
    #[inline(always)]
    fn accumulator(registers: &Registers<'_, '_>) -> Self {
        registers.acc64
    }
    #[inline(always)]
    fn set_accumulator(self, registers: &mut Registers<'_, '_>) {
        registers.acc64 = self;
    }
}

/// The source of an operand.
pub(super) trait Source<V> {
    const OPERAND: Operand;
    /// How many words it takes.
    const WORDS: usize;
    /// # Safety
    /// Operand word `at` of the instruction is this operand's (invariants 1 and 2).
    unsafe fn read(registers: &Registers<'_, '_>, at: usize) -> V;
}

impl<V: Value> Source<V> for A {
    const OPERAND: Operand = Operand::Accumulator;
    const WORDS: usize = 0;
    #[inline(always)]
    unsafe fn read(registers: &Registers<'_, '_>, _at: usize) -> V {
        V::accumulator(registers)
    }
}

impl<V: Value> Source<V> for S {
    const OPERAND: Operand = Operand::slot(V::WIDE);
    const WORDS: usize = 1;
    #[inline(always)]
    unsafe fn read(registers: &Registers<'_, '_>, at: usize) -> V {
        // SAFETY: by the caller's promise.
        unsafe { V::load(registers.slot(at)) }
    }
}

impl Source<u32> for I {
    const OPERAND: Operand = Operand::Immediate;
    const WORDS: usize = 1;
    #[inline(always)]
    unsafe fn read(registers: &Registers<'_, '_>, at: usize) -> u32 {
        // SAFETY: by the caller's promise.
        unsafe { registers.word(at) as i16 as u32 }
    }
}

impl Source<u64> for I {
    const OPERAND: Operand = Operand::Immediate;
    const WORDS: usize = 1;
    #[inline(always)]
    unsafe fn read(registers: &Registers<'_, '_>, at: usize) -> u64 {
        // SAFETY: by the caller's promise.
        unsafe { registers.word(at) as i16 as u64 }
    }
}

impl Source<f32> for I {
    const OPERAND: Operand = Operand::Long;
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn read(registers: &Registers<'_, '_>, at: usize) -> f32 {
        // SAFETY: by the caller's promise.
        f32::from_bits(unsafe { registers.double_word(at) })
    }
}

/// Constants that a 32-bit float holds exactly.
impl Source<f64> for I {
    const OPERAND: Operand = Operand::Promoted;
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn read(registers: &Registers<'_, '_>, at: usize) -> f64 {
        // SAFETY: by the caller's promise.
        f64::from(f32::from_bits(unsafe { registers.double_word(at) }))
    }
}

/// The target of a result.
pub(super) trait Target<V> {
    const PLACE: Place;
    /// How many words it takes.
    const WORDS: usize;
    /// # Safety
    /// Operand word `at` of the instruction is this target's (invariants 1 and 2).
    unsafe fn write(registers: &mut Registers<'_, '_>, at: usize, value: V);
}

impl<V: Value> Target<V> for A {
    const PLACE: Place = Place::Accumulator;
    const WORDS: usize = 0;
    #[inline(always)]
    unsafe fn write(registers: &mut Registers<'_, '_>, _at: usize, value: V) {
        value.set_accumulator(registers);
    }
}

impl<V: Value> Target<V> for T {
    const PLACE: Place = Place::both(V::WIDE);
    const WORDS: usize = 1;
    #[inline(always)]
    unsafe fn write(registers: &mut Registers<'_, '_>, at: usize, value: V) {
        value.set_accumulator(registers);
        // SAFETY: by the caller's promise.
        unsafe { value.store(registers.slot(at)) }
    }
}

/// An instruction.
pub(super) trait Instruction {
    /// How many words it has; for a branch table, without the distances.
    const WORDS: usize;
    /// Its length and everything else about it, as data.
    const SHAPE: Shape;
    /// Executes it, and points the registers to the next instruction.
    ///
    /// # Safety
    /// The registers point to such an instruction, and the invariants of this module hold.
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> super::machine::Flow;
}
