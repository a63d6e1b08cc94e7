//! Places in a module: where something happened.

use core::fmt;
use core::num::NonZero;

/// An instruction of a WebAssembly module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    function: u16,
    offset: NonZero<u32>,
}

impl Place {
    /// The instruction that starts `offset` bytes from the start of the module, in the function
    /// with the index `function` among all of the module's, imported ones included. None if no
    /// instruction can be there: at offset 0, and in functions past the 65,536 that a module may
    /// have.
    pub fn new(function: u32, offset: u32) -> Option<Self> {
        Some(Self {
            function: function.try_into().ok()?,
            offset: NonZero::new(offset)?,
        })
    }

    /// The function's index among all of the module's.
    pub fn function(self) -> u32 {
        self.function.into()
    }

    /// Bytes from the start of the module.
    pub fn offset(self) -> u32 {
        self.offset.get()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "in function {} at offset {:#x}",
            self.function, self.offset
        )
    }
}
