//! Which global is the stack pointer.

use std::collections::BTreeSet;

use wasmparser::{Operator, ValType};

use super::Global;

/// Compilers keep the pointer a multiple of this.
const STACK_ALIGN: u32 = 16;

/// Whether a global of this name is the stack pointer: compilers call it so, some with a path.
pub(super) fn is_name(name: &str) -> bool {
    name.ends_with("__stack_pointer")
}

/// What tells the stack pointer from other globals.
#[derive(Default, Debug)]
pub(super) struct Pointers {
    /// The global that the names section calls so.
    pub(super) named: Option<u32>,
    /// Globals from which code takes a number that a frame may have.
    lowered: BTreeSet<u32>,
    /// The global that is on the operand stack, and the number above it.
    recent: (Option<u32>, Option<u32>),
}

impl Pointers {
    /// Another function begins.
    pub(super) fn begin(&mut self) {
        self.recent = (None, None);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only the beginning of a frame is looked for"
    )]
    pub(super) fn push(&mut self, operator: &Operator<'_>) {
        let (global, number) = self.recent;
        self.recent = match *operator {
            Operator::GlobalGet { global_index } => (Some(global_index), None),
            // The pointer may be kept besides.
            Operator::LocalTee { .. } if number.is_none() => (global, None),
            Operator::I32Const { value } if number.is_none() => (global, Some(value as u32)),
            Operator::I32Sub | Operator::I32Add => {
                let lowers = |number: u32| match operator {
                    Operator::I32Add => number.wrapping_neg(),
                    _ => number,
                };
                if let (Some(global), Some(bytes)) = (global, number.map(lowers))
                    && (bytes as i32) > 0
                    && bytes.is_multiple_of(4)
                {
                    self.lowered.insert(global);
                }
                (None, None)
            }
            _ => (None, None),
        };
    }

    /// The stack pointer: the global that is called so, else the mutable `i32` in use that code
    /// lowers, else that whose initial value could be one, the highest if there are several.
    pub(super) fn choose(
        &self,
        exported: Option<u32>,
        globals: &[Global],
        used: &BTreeSet<u32>,
        memory_bytes: u64,
    ) -> Option<u32> {
        let fits = |index: u32| {
            let global = globals.get(index as usize)?;
            let is_variable = global.ty.mutable && global.ty.content_type == ValType::I32;
            let value = global.value.filter(|value| {
                value.is_multiple_of(STACK_ALIGN) && u64::from(*value) <= memory_bytes
            });
            value.filter(|_| is_variable).map(|value| (value, index))
        };
        let named = exported.or(self.named);
        if let Some((_, index)) = named.filter(|index| used.contains(index)).and_then(fits) {
            return Some(index);
        }
        let lowered = self.lowered.iter().copied().filter_map(fits).max();
        let valued = used.iter().copied().filter_map(fits).max();
        let valued = valued.filter(|(value, _)| *value > 0);
        lowered.or(valued).map(|(_, index)| index)
    }
}
