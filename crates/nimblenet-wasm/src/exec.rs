//! Execution of translated code. The only module with `unsafe`.
//!
//! The unsafe blocks rely on these invariants. Each says what guarantees it:
//!
//! 1. *Code.* The instruction pointer is at the start of an instruction that the translator
//!    emitted, and all operand words follow it. The translator emits whole instructions, branches
//!    lead to starts of instructions, and a thaw checks its position against the code.
//! 2. *Frame.* Every slot that an instruction of a function names lies in that function's frame,
//!    and the frame lies in the stack part of the block. A call checks that.
//! 3. *Memory.* Each access to linear memory is checked, in arithmetic that cannot wrap.
//! 4. *Values* are never trusted: an index taken from a slot, a table or memory is checked
//!    before it is used, so that no value, from the host or from an image, can break 1 to 3.
//! 5. *The block* is borrowed exclusively during a run, is aligned to 8, and neither moves nor
//!    changes length. All pointers come from that one borrow.
//!
//! Invariants 1 and 2 hold only if nobody but this crate writes to a block. So the crate lends a
//! block only as an `Instance`, and `Blocks` lends a block again only if none of its bytes was
//! written to in the meantime.

#![allow(unsafe_code)]

#[cfg(dispatch_compact)]
mod compact;
mod control;
mod dispatch;
mod machine;
mod memory;
mod moves;
mod numeric;
mod operand;
mod operations;
mod shape;
mod table;

use crate::block::{
    Field, Parts, STATE_CALL, STATE_DONE, STATE_IDLE, STATE_READY, STATE_TRAPPED, Words, header_mut,
};
use crate::fault::Trap;
use machine::{Context, Exit};

pub(crate) use table::length;

/// Continues the run that the block holds, until it ends or is suspended. The state in the block
/// says which of the two.
pub(crate) fn run(block: &mut [u8], code: &[u8]) {
    let header = header_mut(block);
    if header.field(Field::STATE) != STATE_READY {
        return;
    }
    // The fuel that an earlier charge still owes is paid first.
    let debt = header.wide_field(Field::DEBT);
    if debt > 0 {
        let fuel = header.wide_field(Field::FUEL);
        let paid = fuel.min(debt);
        header.set_wide_field(Field::FUEL, fuel - paid);
        header.set_wide_field(Field::DEBT, debt - paid);
        if paid < debt {
            return;
        }
    }
    let mut context = Context::new(block, code);
    dispatch::run(&mut context);
    let Context {
        exit,
        fuel,
        debt,
        ip,
        fp,
        ..
    } = context;
    let mut pending_type = 0;
    if let Exit::HostCall { import, .. } = exit {
        pending_type = block.func(import).ty;
    }
    let header = header_mut(block);
    header.set_wide_field(Field::FUEL, fuel);
    // Unmetered code does not pay for its bulk instructions.
    let owed = if matches!(exit, Exit::OutOfFuel) {
        debt
    } else {
        0
    };
    header.set_wide_field(Field::DEBT, owed);
    header.set_field(Field::IP, ip);
    header.set_field(Field::FP, fp);
    let state = match exit {
        Exit::Done => STATE_DONE,
        Exit::OutOfFuel => STATE_READY,
        Exit::HostCall { import, window } => {
            header.set_field(Field::PENDING, import);
            header.set_field(Field::WINDOW, window);
            header.set_field(Field::PENDING_TYPE, u32::from(pending_type));
            STATE_CALL
        }
        Exit::Trapped(trap) => STATE_TRAPPED + trap as u32,
    };
    header.set_field(Field::STATE, state);
}

/// Prepares the stack for a run of the function `func`; the caller then writes its arguments to the
/// start of the stack. Nothing runs yet.
pub(crate) fn enter(block: &mut [u8], func: u32) -> Result<(), Trap> {
    if func < block.field(Field::IMPORT_COUNT) {
        return enter_import(block, func);
    }
    let entry = block.func(func).entry;
    let at = block.offset(Field::IR) + entry as usize * 2;
    let (frame, link, clear) = (block.half(at), block.half(at + 2), block.half(at + 4));
    if usize::from(frame) > block.offset(Field::STACK_BYTES) {
        block.set_field(Field::STATE, STATE_IDLE);
        return Err(Trap::StackExhausted);
    }
    let link = block.offset(Field::STACK) + usize::from(link);
    // Word 0 of the code ends the run; the first frame is its own caller's frame.
    block.set_wide(link, 0);
    let locals = link + 8;
    block[locals..locals + usize::from(clear) * 4].fill(0);
    block.set_field(Field::IP, entry + crate::translate::PROLOGUE_WORDS);
    block.set_field(Field::FP, 0);
    block.set_field(Field::ENTRY, func);
    block.set_wide_field(Field::DEBT, 0);
    block.set_field(Field::STATE, STATE_READY);
    Ok(())
}

/// Sets up a run that is a call of the import `func`. The run then goes on at word 0 of the code,
/// which ends it.
fn enter_import(block: &mut [u8], func: u32) -> Result<(), Trap> {
    let ty = block.func(func).ty;
    if block.func_type(ty).frame_bytes() > block.offset(Field::STACK_BYTES) {
        block.set_field(Field::STATE, STATE_IDLE);
        return Err(Trap::StackExhausted);
    }
    for field in [Field::IP, Field::FP, Field::WINDOW] {
        block.set_field(field, 0);
    }
    block.set_field(Field::ENTRY, func);
    block.set_field(Field::PENDING, func);
    block.set_field(Field::PENDING_TYPE, u32::from(ty));
    block.set_wide_field(Field::DEBT, 0);
    block.set_field(Field::STATE, STATE_CALL);
    Ok(())
}
