//! Branches, calls, returns, and the instructions that suspend a run.

use core::marker::PhantomData;

use super::machine::{Exit, Flow, Registers, word_at};
use super::operand::{Instruction, Source, Value};
use super::shape::{Operand, Operation, Place, Shape};
use crate::block::{FUNC_BYTES, NONE, TABLE_BYTES};
use crate::fault::Trap;
use crate::translate::PROLOGUE_WORDS;

/// Ends the run: the outermost function returns to this instruction.
pub(super) struct Halt;

impl Instruction for Halt {
    const WORDS: usize = 1;
    const SHAPE: Shape = Shape::alone(Operation::Halt);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        registers.context.exit = Exit::Done;
        Flow::Exit
    }
}

pub(super) struct Unreachable;

impl Instruction for Unreachable {
    const WORDS: usize = 1;
    const SHAPE: Shape = Shape::alone(Operation::Unreachable);

    #[inline(always)]
    unsafe fn execute(_registers: &mut Registers<'_, '_>) -> Flow {
        Flow::Trap(Trap::Unreachable)
    }
}

/// Charges fuel for the instructions up to the next charge. If there is too little fuel, all of it
/// is taken, the rest is owed, and the run is suspended after the charge. The words are the cost
/// and the height of the operands.
pub(super) struct FuelCharge;

impl Instruction for FuelCharge {
    const WORDS: usize = 4;
    const SHAPE: Shape = Shape::alone(Operation::FuelCharge);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are as said (invariant 1).
        unsafe {
            let cost = u64::from(registers.double_word(1));
            registers.step(Self::WORDS);
            pay(registers, cost)
        }
    }
}

/// Takes `cost` from the fuel.
#[inline(always)]
fn pay(registers: &mut Registers<'_, '_>, cost: u64) -> Flow {
    let context = &mut *registers.context;
    let (left, missing) = context.fuel.overflowing_sub(cost);
    context.fuel = left;
    if missing {
        context.debt = left.wrapping_neg();
        context.fuel = 0;
        context.exit = Exit::OutOfFuel;
        return Flow::Exit;
    }
    Flow::Next
}

/// Charges fuel for a bulk instruction that was executed. The word is the height of the operands.
pub(super) struct Settle;

impl Instruction for Settle {
    const WORDS: usize = 2;
    const SHAPE: Shape = Shape::alone(Operation::Settle);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the length of the instruction.
        unsafe { registers.step(Self::WORDS) };
        let cost = core::mem::take(&mut registers.context.debt);
        pay(registers, cost)
    }
}

/// Does nothing. Its words say how many slots hold references to functions, and which, while the
/// run is suspended at the next instruction or waits for it. A thaw checks those references.
pub(super) struct Refs;

impl Instruction for Refs {
    const WORDS: usize = 2;
    const SHAPE: Shape = Shape::alone(Operation::Refs);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the length of the instruction: the count says how many more words it has
        // (invariant 1).
        unsafe {
            let count = registers.word(1) as usize;
            registers.step(Self::WORDS + count)
        }
    }
}

pub(super) struct Br;

impl Instruction for Br {
    const WORDS: usize = 2;
    const SHAPE: Shape = Shape::alone(Operation::Br);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the word is a distance.
        unsafe { registers.jump(1) }
    }
}

pub(super) struct BrNez<L>(PhantomData<L>);

impl<L: Source<u32>> Instruction for BrNez<L> {
    const WORDS: usize = 2 + L::WORDS;
    const SHAPE: Shape = Shape::new(Operation::I32Ne, L::OPERAND, Operand::None, Place::Branch);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are the operand and a distance (invariants 1 and 2).
        unsafe {
            if L::read(registers, 1) != 0 {
                registers.jump(1 + L::WORDS)
            } else {
                registers.step(Self::WORDS)
            }
        }
    }
}

pub(super) struct BrEqz<L>(PhantomData<L>);

impl<L: Source<u32>> Instruction for BrEqz<L> {
    const WORDS: usize = 2 + L::WORDS;
    const SHAPE: Shape = Shape::new(Operation::I32Eq, L::OPERAND, Operand::None, Place::Branch);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are the operand and a distance (invariants 1 and 2).
        unsafe {
            if L::read(registers, 1) == 0 {
                registers.jump(1 + L::WORDS)
            } else {
                registers.step(Self::WORDS)
            }
        }
    }
}

/// Branches by a table of distances. The word before the table is its length; one more distance
/// follows, for all other indices.
pub(super) struct BrTable<L>(PhantomData<L>);

impl<L: Source<u32>> Instruction for BrTable<L> {
    const WORDS: usize = 2 + L::WORDS;
    const SHAPE: Shape = Shape::new(Operation::BrTable, L::OPERAND, Operand::None, Place::None);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are the operand, the count, and count + 1 distances (invariants 1
        // and 2); the index is at most the count.
        unsafe {
            let index = L::read(registers, 1);
            let count = u32::from(registers.word(1 + L::WORDS));
            registers.jump(Self::WORDS + index.min(count) as usize)
        }
    }
}

/// Calls a function of the module: its index, offset of its frame.
pub(super) struct Call;

impl Instruction for Call {
    const WORDS: usize = 3;
    const SHAPE: Shape = Shape::alone(Operation::Call);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: validation has checked that the function exists and is not an import; the frame's
        // offset is inside the caller's (invariants 1 and 2).
        unsafe {
            let record = registers
                .context
                .funcs
                .add(registers.word(1) as usize * FUNC_BYTES);
            let entry = word_at(record);
            call(registers, entry, registers.word(2), Self::WORDS)
        }
    }
}

/// Enters the function that starts at word `entry`, with its frame at `window`.
///
/// # Safety
/// `entry` is a function's first word, `window` lies inside the frame, and the calling instruction
/// has `words` words.
#[inline(always)]
unsafe fn call(registers: &mut Registers<'_, '_>, entry: u32, window: u16, words: usize) -> Flow {
    // SAFETY: the prologue is part of the code; the frame it asks for is checked against the
    // stack's end before anything is written (invariants 1 and 2).
    unsafe {
        let context = &*registers.context;
        let fp = registers.fp.add(window as usize);
        let prologue = context.code.add(entry as usize);
        let frame = *prologue as usize;
        if fp as usize - context.stack as usize + frame > context.stack_bytes {
            return Flow::Trap(Trap::StackExhausted);
        }
        let link = fp.add(*prologue.add(1) as usize);
        let back = registers.position(registers.ip.add(words));
        back.store(link);
        u32::from(window).store(link.add(4));
        let clear = *prologue.add(2) as usize;
        let locals = link.add(8);
        for cell in 0..clear {
            0u32.store(locals.add(cell * 4));
        }
        registers.fp = fp;
        registers.ip = prologue.add(PROLOGUE_WORDS as usize);
    }
    Flow::Next
}

/// Suspends the run for a call of an import: its index, offset of the arguments.
pub(super) struct CallHost;

impl Instruction for CallHost {
    const WORDS: usize = 3;
    const SHAPE: Shape = Shape::alone(Operation::CallHost);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are as said (invariant 1).
        unsafe {
            let (import, window) = (registers.word(1), registers.word(2));
            registers.step(Self::WORDS);
            registers.context.exit = Exit::HostCall {
                import: u32::from(import),
                window: u32::from(window),
            };
        }
        Flow::Exit
    }
}

/// Calls a function through a table: table, type, slot of the index, offset of the frame.
pub(super) struct CallIndirect;

impl Instruction for CallIndirect {
    const WORDS: usize = 5;
    const SHAPE: Shape = Shape::alone(Operation::CallIndirect);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are as said, and the table exists (invariants 1 and 2). The element is
        // read only if the table has it, the record only if the function exists (invariant 4).
        unsafe {
            let context = &*registers.context;
            let table = context.tables.add(registers.word(1) as usize * TABLE_BYTES);
            let index = u32::load(registers.slot(3));
            if index >= word_at(table.add(4)) {
                return Flow::Trap(Trap::UndefinedElement);
            }
            let elements = context.block.add(word_at(table) as usize);
            let Some(func) = word_at(elements.add(index as usize * 4)).checked_sub(1) else {
                return Flow::Trap(Trap::UninitialisedElement);
            };
            if func >= context.func_count {
                return Flow::Trap(Trap::UndefinedElement);
            }
            let record = context.funcs.add(func as usize * FUNC_BYTES);
            if word_at(record.add(4)) as u16 != registers.word(2) {
                return Flow::Trap(Trap::IndirectCallType);
            }
            let window = registers.word(4);
            let entry = word_at(record);
            if entry == NONE {
                registers.step(Self::WORDS);
                registers.context.exit = Exit::HostCall {
                    import: func,
                    window: u32::from(window),
                };
                return Flow::Exit;
            }
            call(registers, entry, window, Self::WORDS)
        }
    }
}

/// Returns from the frame whose link is at `link`.
///
/// # Safety
/// `link` is the link of the current frame.
#[inline(always)]
pub(super) unsafe fn leave(registers: &mut Registers<'_, '_>, link: *const u8) -> Flow {
    // SAFETY: the link was written by the call (or checked, in a thawed stack) and is not touched
    // by code: no slot that code names overlaps it (invariant 2).
    unsafe {
        let back = u32::load(link);
        let window = u32::load(link.add(4));
        registers.ip = registers.context.code.add(back as usize);
        registers.fp = registers.fp.sub(window as usize);
    }
    Flow::Next
}

/// Returns nothing. The word is the offset of the link.
pub(super) struct Ret0;

impl Instruction for Ret0 {
    const WORDS: usize = 2;
    const SHAPE: Shape = Shape::alone(Operation::Ret0);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the word is the offset of the link (invariants 1 and 2).
        unsafe { leave(registers, registers.slot(1)) }
    }
}

/// Returns one value: in the first slot, and in the accumulator. The last word is the link's
/// offset.
pub(super) struct Ret<V, L>(PhantomData<(V, L)>);

impl<V: Value, L: Source<V>> Instruction for Ret<V, L> {
    const WORDS: usize = 2 + L::WORDS;
    const SHAPE: Shape = {
        let operation = if V::WIDE {
            Operation::Ret64
        } else {
            Operation::Ret32
        };
        Shape::new(operation, L::OPERAND, Operand::None, Place::None)
    };

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are the value and the link (invariants 1 and 2). The result may overlap
        // the link, so it is written after the return, to the place where the caller expects it:
        // the start of the callee's frame.
        unsafe {
            let value = L::read(registers, 1);
            let frame = registers.fp;
            leave(registers, registers.slot(1 + L::WORDS));
            value.set_accumulator(registers);
            value.store(frame);
        }
        Flow::Next
    }
}

/// Returns several values: slot of the first, their cells, the link's offset.
pub(super) struct RetN;

impl Instruction for RetN {
    const WORDS: usize = 4;
    const SHAPE: Shape = Shape::alone(Operation::RetN);

    #[inline(always)]
    unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
        // SAFETY: the words are as said (invariants 1 and 2). Values move down, in ascending order,
        // so no value is overwritten before it has moved; the link is read first.
        unsafe {
            let from = registers.slot(1);
            let cells = registers.word(2) as usize;
            let frame = registers.fp;
            leave(registers, registers.slot(3));
            for cell in 0..cells {
                u32::load(from.add(cell * 4)).store(frame.add(cell * 4));
            }
        }
        Flow::Next
    }
}
