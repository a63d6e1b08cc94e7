//! The position of a run in its module.
//!
//! Nothing is recorded for it while code runs. The position in the translated code gives the
//! function, and translating that function once more gives the instruction.

use crate::block::{FLAG_METERED, Field, Parts, STATE_CALL, STATE_READY, STATE_TRAPPED, Words};
use crate::instance::Instance;
use crate::load;

/// An instruction of a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The index of its function among all functions of the module, imported ones included.
    pub function: u32,
    /// Where the instruction starts, in bytes from the start of the module.
    pub offset: u32,
}

impl Instance<'_> {
    /// The position of the run: the instruction that trapped; the call of an import that waits or
    /// was answered with a trap; or, out of fuel, the loop or the function's first instruction
    /// whose charge could not be paid.
    ///
    /// If the stack had no room for the frame of a function, the position is the call of that
    /// function. There is none if no run is under way or has trapped, if the run is only the call
    /// of an import, or if `scratch` is too small. It needs as many bytes as loading does, without
    /// the translated code, the stack and linear memory, and they are overwritten.
    pub fn position(&self, scratch: &mut [u8]) -> Option<Position> {
        let block = &*self.block;
        let ip = block.field(Field::IP);
        let word = match block.field(Field::STATE) {
            STATE_READY | STATE_CALL => ip.checked_sub(1)?,
            state if state > STATE_TRAPPED => ip,
            _ => return None,
        };
        // The code begins with the word that ends a run.
        let function = block.function_at(word).filter(|_| word > 0)?;
        let metered = block.field(Field::FLAGS) & FLAG_METERED != 0;
        let entry = block.func(function).entry;
        let offset = load::find(self.code, metered, (function, entry), word, scratch)?;
        Some(Position { function, offset })
    }
}
