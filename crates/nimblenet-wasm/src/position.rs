//! Where in its module a run stands.
//!
//! Nothing about it is kept while code runs: the translated code says which function it is, and
//! translating that function once more says which of its instructions.

use crate::block::{FLAG_METERED, Field, Parts, STATE_CALL, STATE_READY, STATE_TRAPPED, Words};
use crate::instance::Instance;
use crate::load;

/// An instruction of a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The function that it is in: an index among all functions of the module, imported ones
    /// included.
    pub function: u32,
    /// Where the instruction starts, in bytes from the start of the module.
    pub offset: u32,
}

impl Instance<'_> {
    /// Where the run stands: at the instruction that trapped, at the call of an import that waits
    /// or was answered with a trap, and out of fuel at the loop or the function's first
    /// instruction whose charge could not be paid.
    ///
    /// Where no frame was left for a function that is called, that is the call. Nothing when no
    /// run is under way or has trapped, when the run is the call of an import as the start
    /// function, or when `scratch` is too small: it takes what loading takes, less the translated
    /// code, the stack and linear memory. What is in it is overwritten.
    pub fn position(&self, scratch: &mut [u8]) -> Option<Position> {
        let block = &*self.block;
        let ip = block.field(Field::IP);
        let word = match block.field(Field::STATE) {
            STATE_READY | STATE_CALL => ip.checked_sub(1)?,
            state if state > STATE_TRAPPED => ip,
            _ => return None,
        };
        // Code begins with the word that ends a run.
        let function = block.function_at(word).filter(|_| word > 0)?;
        let metered = block.field(Field::FLAGS) & FLAG_METERED != 0;
        let entry = block.func(function).entry;
        let offset = load::find(self.code, metered, (function, entry), word, scratch)?;
        Some(Position { function, offset })
    }
}
