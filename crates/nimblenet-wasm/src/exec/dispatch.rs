//! From an instruction's number to its execution.

use super::machine::{Context, Registers};
#[cfg(not(dispatch_compact))]
use super::{control::*, memory::*, moves::*, numeric::*, operand::*};
#[cfg(not(dispatch_compact))]
use crate::isa::instructions;

#[cfg(dispatch_compact)]
use super::compact as dispatcher;

#[cfg(dispatch_match)]
mod dispatcher {
    //! Executes instructions one after the other, in a loop.

    use super::super::machine::Flow;
    use super::*;
    use crate::isa::Op;

    macro_rules! execute {
        ($($name:ident: $handler:ty,)*) => {
            /// Executes one instruction.
            ///
            /// # Safety
            /// The invariants of the module `exec` hold.
            #[inline(always)]
            unsafe fn execute(registers: &mut Registers<'_, '_>) -> Flow {
                // SAFETY: the word is an instruction's number (invariant 1).
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
}

#[cfg(dispatch_tail)]
mod dispatcher {
    //! Handlers that jump to each other: every handler ends with a call of the next one, which the
    //! compiler turns into a jump, so that the registers stay where they are.

    use super::super::machine::Flow;
    use super::*;
    use crate::isa::OP_COUNT;

    /// The registers are parameters, as many as the processor's calling convention passes in
    /// registers. The table is one of them, so that no handler has to compute its address.
    type Handler = unsafe extern "C" fn(
        context: *mut u8,
        ip: *const u16,
        fp: *mut u8,
        acc: u64,
        memory: *mut u8,
        table: *const Entry,
        acc32: f32,
        acc64: f64,
    );

    #[derive(Clone, Copy)]
    struct Entry(Handler);

    macro_rules! table {
        ($($name:ident: $handler:ty,)*) => {
            static TABLE: [Entry; OP_COUNT] = [$(Entry(handle::<$handler>),)*];
        };
    }
    instructions!(table);

    /// # Safety
    /// The invariants of the module `exec` hold, and `context` points to the run's context, which
    /// nothing else refers to.
    unsafe extern "C" fn handle<I: Instruction>(
        context: *mut u8,
        ip: *const u16,
        fp: *mut u8,
        acc: u64,
        memory: *mut u8,
        table: *const Entry,
        acc32: f32,
        acc64: f64,
    ) {
        // SAFETY: by the caller's promise, which every instruction keeps; the table has a handler
        // for every instruction.
        unsafe {
            let context = &mut *context.cast::<Context<'_>>();
            let mut registers = Registers {
                ip,
                fp,
                acc,
                acc32,
                acc64,
                memory,
                context,
            };
            let flow = I::execute(&mut registers);
            if flow != Flow::Next {
                return stop(registers.context, registers.ip, registers.fp, flow);
            }
            let Registers {
                ip,
                fp,
                acc,
                acc32,
                acc64,
                memory,
                context,
            } = registers;
            let next = *table.add(usize::from(*ip));
            let context = core::ptr::from_mut(context).cast();
            (next.0)(context, ip, fp, acc, memory, table, acc32, acc64)
        }
    }

    /// The last function of a run. It is not a part of the handlers, so that they do not contain
    /// what only the end needs.
    #[cold]
    #[inline(never)]
    fn stop(context: &mut Context<'_>, ip: *const u16, fp: *mut u8, flow: Flow) {
        let memory = context.memory;
        Registers {
            ip,
            fp,
            acc: 0,
            acc32: 0.0,
            acc64: 0.0,
            memory,
            context,
        }
        .save(flow);
    }

    /// Executes instructions until one ends or suspends the run.
    ///
    /// # Safety
    /// The invariants of the module `exec` hold.
    pub(super) unsafe fn dispatch(registers: Registers<'_, '_>) {
        let Registers {
            ip,
            fp,
            acc,
            acc32,
            acc64,
            memory,
            context,
        } = registers;
        let context = core::ptr::from_mut(context).cast();
        // SAFETY: by the caller's promise.
        unsafe {
            let first = TABLE[usize::from(*ip)];
            (first.0)(context, ip, fp, acc, memory, TABLE.as_ptr(), acc32, acc64);
        }
    }
}

/// Executes instructions until one ends or suspends the run.
pub(super) fn run(context: &mut Context<'_>) {
    let memory = context.memory;
    // SAFETY: positions in the block were checked when they were stored or thawed; the invariants
    // of the module `exec`.
    unsafe {
        let ip = context.code.add(context.ip as usize);
        let fp = context.stack.add(context.fp as usize);
        dispatcher::dispatch(Registers {
            ip,
            fp,
            acc: 0,
            acc32: 0.0,
            acc64: 0.0,
            memory,
            context,
        });
    }
}
