//! Executes instructions one after the other, each assembled from its shape, for machines where the
//! size of code matters more than speed. Only instructions whose operands are unlike all others
//! have a handler.
//!
//! Floats are bits in the accumulator of integers; the other accumulators are not used. The bits
//! above a 32-bit value are arbitrary: every operation reads as many bits as its types have.

use super::control::{
    Br, Call, CallHost, CallIndirect, FuelCharge, Halt, Refs, Ret0, RetN, Settle, Unreachable,
    leave,
};
use super::machine::{Flow, Registers};
use super::memory::{Bulk, Cell, address};
use super::moves::Const64;
use super::numeric::{self, Binary, Unary};
use super::operand::{Instruction, Value};
use super::operations::operations;
use super::shape::{Operand, Operation, Place};
use super::table::SHAPES;
use crate::fault::Trap;

/// A value in the low bits of 64; the other bits are arbitrary.
trait Bits {
    fn of_bits(bits: u64) -> Self;
    fn bits(self) -> u64;
}

impl Bits for u32 {
    #[inline(always)]
    fn of_bits(bits: u64) -> Self {
        bits as Self
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self)
    }
}

impl Bits for u64 {
    #[inline(always)]
    fn of_bits(bits: u64) -> Self {
        bits
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        self
    }
}

impl Bits for f32 {
    #[inline(always)]
    fn of_bits(bits: u64) -> Self {
        Self::from_bits(bits as u32)
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Bits for f64 {
    #[inline(always)]
    fn of_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// The words of an instruction, read one after the other.
struct Words {
    /// The index of the next word.
    at: usize,
}

impl Words {
    /// Skips `count` words and returns the index of the first.
    #[inline(always)]
    fn take(&mut self, count: usize) -> usize {
        let first = self.at;
        self.at += count;
        first
    }

    /// Reads an operand.
    ///
    /// # Safety
    /// The next words of the instruction are this operand's (invariants 1 and 2).
    #[inline(always)]
    unsafe fn operand(&mut self, registers: &Registers<'_, '_>, operand: Operand) -> u64 {
        // SAFETY: by the caller's promise.
        unsafe {
            match operand {
                Operand::None => 0,
                Operand::Accumulator => registers.acc,
                Operand::Slot => u64::from(u32::load(registers.slot(self.take(1)))),
                Operand::WideSlot => u64::load(registers.slot(self.take(1))),
                Operand::Immediate => registers.word(self.take(1)) as i16 as u64,
                Operand::Long => u64::from(registers.double_word(self.take(2))),
                Operand::Promoted => {
                    let value = f32::from_bits(registers.double_word(self.take(2)));
                    f64::from(value).to_bits()
                }
            }
        }
    }

    /// The global whose offset among the globals is the next word.
    ///
    /// # Safety
    /// The word is such an offset (invariant 1).
    #[inline(always)]
    unsafe fn global(&mut self, registers: &Registers<'_, '_>) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe {
            let offset = registers.word(self.take(1));
            registers.context.globals.add(offset as usize)
        }
    }

    /// The cell of memory at `base` and the offset in the next word; it may be at any address.
    ///
    /// # Safety
    /// The instruction has that word (invariant 1).
    #[inline(always)]
    unsafe fn cell<C: Cell>(
        &mut self,
        registers: &Registers<'_, '_>,
        base: u32,
    ) -> Result<*mut C, Trap> {
        // SAFETY: by the caller's promise.
        let offset = unsafe { registers.word(self.take(1)) };
        let at = address(registers, base, offset, C::LOG).ok_or(Trap::OutOfBoundsMemory)?;
        Ok(at.cast())
    }
}

/// Ends the execution of an instruction that traps.
macro_rules! or_trap {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(trap) => return Flow::Trap(trap),
        }
    };
}

macro_rules! define {
    (
        binary { $($binary:ident: $in2:ty => $out2:ty, |$a:ident, $b:ident| $body2:expr;)* }
        unary { $($unary:ident: $in1:ty => $out1:ty, |$c:ident| $body1:expr;)* }
    ) => {
        /// Executes one instruction.
        ///
        /// # Safety
        /// The invariants of the module `exec` hold.
        #[inline(always)]
        unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
            // SAFETY: the first word is an instruction's number, and the words after it are read as
            // its shape counts them, just as its handler would (invariants 1 and 2); addresses in
            // memory were checked (invariant 3), those of globals by validation. A handler is
            // called only for an instruction of its own.
            unsafe {
                let shape = *SHAPES.get_unchecked(usize::from(registers.word(0)));
                let mut words = Words { at: 1 };
                let left = words.operand(registers, shape.left());
                let right = words.operand(registers, shape.right());
                let base = (left as u32).wrapping_add(right as u32);
                let value = match shape.operation {
                    $(Operation::$binary => {
                        let (left, right) = (<$in2>::of_bits(left), <$in2>::of_bits(right));
                        or_trap!(numeric::$binary::eval(left, right)).bits()
                    })*
                    $(Operation::$unary => {
                        or_trap!(numeric::$unary::eval(<$in1>::of_bits(left))).bits()
                    })*
                    Operation::Move => left | right,
                    Operation::SelectA if registers.acc as u32 == 0 => right,
                    Operation::SelectA => left,
                    Operation::SelectS => {
                        let first = u32::load(registers.slot(words.take(1))) != 0;
                        if first { left } else { right }
                    }
                    Operation::GlobalGet32 => u64::from(u32::load(words.global(registers))),
                    Operation::GlobalGet64 => u64::load(words.global(registers)),
                    Operation::Load8U => {
                        u64::from(*or_trap!(words.cell::<u8>(registers, base)))
                    }
                    Operation::Load8S => {
                        *or_trap!(words.cell::<u8>(registers, base)) as i8 as u64
                    }
                    Operation::Load16U => {
                        let cell = or_trap!(words.cell::<u16>(registers, base));
                        u64::from(u16::from_le(cell.read_unaligned()))
                    }
                    Operation::Load16S => {
                        let cell = or_trap!(words.cell::<u16>(registers, base));
                        u16::from_le(cell.read_unaligned()) as i16 as u64
                    }
                    Operation::Load32U => {
                        let cell = or_trap!(words.cell::<u32>(registers, base));
                        u64::from(u32::from_le(cell.read_unaligned()))
                    }
                    Operation::Load32S => {
                        let cell = or_trap!(words.cell::<u32>(registers, base));
                        u32::from_le(cell.read_unaligned()) as i32 as u64
                    }
                    Operation::Load64 => {
                        let cell = or_trap!(words.cell::<u64>(registers, base));
                        u64::from_le(cell.read_unaligned())
                    }
                    Operation::Offset => {
                        let offset = registers.double_word(words.take(2));
                        let sum = (left as u32).checked_add(offset);
                        u64::from(or_trap!(sum.ok_or(Trap::OutOfBoundsMemory)))
                    }
                    Operation::MemorySize => u64::from(registers.context.pages()),
                    // An instruction without a result steps on by itself.
                    Operation::GlobalSet32 => {
                        (left as u32).store(words.global(registers));
                        return registers.step(words.at);
                    }
                    Operation::GlobalSet64 => {
                        left.store(words.global(registers));
                        return registers.step(words.at);
                    }
                    Operation::Store8 => {
                        *or_trap!(words.cell::<u8>(registers, left as u32)) = right as u8;
                        return registers.step(words.at);
                    }
                    Operation::Store16 => {
                        let cell = or_trap!(words.cell::<u16>(registers, left as u32));
                        cell.write_unaligned((right as u16).to_le());
                        return registers.step(words.at);
                    }
                    Operation::Store32 => {
                        let cell = or_trap!(words.cell::<u32>(registers, left as u32));
                        cell.write_unaligned((right as u32).to_le());
                        return registers.step(words.at);
                    }
                    Operation::Store64 => {
                        let cell = or_trap!(words.cell::<u64>(registers, left as u32));
                        cell.write_unaligned(right.to_le());
                        return registers.step(words.at);
                    }
                    Operation::BrTable => {
                        let count = u32::from(registers.word(words.take(1)));
                        let index = (left as u32).min(count);
                        return registers.jump(words.at + index as usize);
                    }
                    Operation::Ret32 => {
                        // The result may overlap the link, so it is written after the return, to
                        // the start of the callee's frame.
                        let frame = registers.fp;
                        leave(registers, registers.slot(words.take(1)));
                        registers.acc = left;
                        (left as u32).store(frame);
                        return Flow::Next;
                    }
                    Operation::Ret64 => {
                        let frame = registers.fp;
                        leave(registers, registers.slot(words.take(1)));
                        registers.acc = left;
                        left.store(frame);
                        return Flow::Next;
                    }
                    Operation::Const64 => return Const64::execute(registers),
                    Operation::Bulk => return Bulk::execute(registers),
                    Operation::Halt => return Halt::execute(registers),
                    Operation::Unreachable => return Unreachable::execute(registers),
                    Operation::FuelCharge => return FuelCharge::execute(registers),
                    Operation::Settle => return Settle::execute(registers),
                    Operation::Refs => return Refs::execute(registers),
                    Operation::Br => return Br::execute(registers),
                    Operation::Call => return Call::execute(registers),
                    Operation::CallHost => return CallHost::execute(registers),
                    Operation::CallIndirect => return CallIndirect::execute(registers),
                    Operation::Ret0 => return Ret0::execute(registers),
                    Operation::RetN => return RetN::execute(registers),
                };
                match shape.place() {
                    Place::None => {}
                    Place::Accumulator => registers.acc = value,
                    Place::Both => {
                        registers.acc = value;
                        (value as u32).store(registers.slot(words.take(1)));
                    }
                    Place::WideBoth => {
                        registers.acc = value;
                        value.store(registers.slot(words.take(1)));
                    }
                    Place::Slot => (value as u32).store(registers.slot(words.take(1))),
                    Place::WideSlot => value.store(registers.slot(words.take(1))),
                    Place::Branch if value != 0 => return registers.jump(words.at),
                    Place::Branch => words.at += 1,
                }
                registers.step(words.at)
            }
        }
    };
}
operations!(define);

/// Executes instructions until one ends or suspends the run.
///
/// # Safety
/// The invariants of the module `exec` hold.
pub(super) unsafe fn dispatch(mut registers: Registers<'_, '_>) {
    loop {
        // SAFETY: by the caller's promise, which every instruction keeps.
        let flow = unsafe { execute(&mut registers) };
        if flow != Flow::Next {
            return registers.save(flow);
        }
    }
}
