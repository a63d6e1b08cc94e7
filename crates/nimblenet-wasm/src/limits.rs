//! Limits of modules, and options for loading them.

/// The most that a module may ask for. A module that exceeds one of these limits is refused with a
/// fault that names the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the module.
    pub module_bytes: u32,
    /// Functions, imported ones included; also the limit for types, globals, exports and segments.
    pub functions: u32,
    /// Locals of one function, its parameters included.
    pub locals: u32,
    /// Depth of nested blocks.
    pub control_depth: u32,
    /// Size of the value stack, which also holds the frames, in slots of 8 bytes. A module whose
    /// functions never call each other gets only what its largest function needs.
    pub stack_slots: u32,
    /// Bytes that the linear memory may have or grow to.
    pub memory_bytes: u32,
    /// Elements of all tables together, room to grow included.
    pub table_elements: u32,
    /// How many elements a table may grow by, within its own maximum; the room is reserved at load.
    pub table_growth: u32,
    /// Steps that validation may take: roughly one for each byte, local, operand and label that it
    /// reads. This refuses modules with quadratic validation time.
    pub validation_work: u32,
}

impl Limits {
    /// Limits for a microcontroller: a few kilobytes for everything.
    pub const fn small() -> Self {
        Self {
            module_bytes: 16 << 10,
            functions: 256,
            locals: 128,
            control_depth: 64,
            stack_slots: 128,
            memory_bytes: 64 << 10,
            table_elements: 256,
            table_growth: 0,
            validation_work: 500_000,
        }
    }
}

impl Default for Limits {
    /// Limits for a Linux machine.
    fn default() -> Self {
        Self {
            module_bytes: 4 << 20,
            functions: 8192,
            locals: 4096,
            control_depth: 1024,
            stack_slots: 16 << 10,
            memory_bytes: 256 << 20,
            table_elements: 64 << 10,
            table_growth: 0,
            validation_work: 50_000_000,
        }
    }
}

/// How a module is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// The limits of the module.
    pub limits: Limits,
    /// Whether the translated code charges fuel. If not, a run ends only by itself.
    pub metered: bool,
    /// The identity of the module, normally the SHA-256 of its bytes. This crate does not check it,
    /// but a snapshot is bound to it.
    pub digest: [u8; 32],
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            metered: true,
            digest: [0; 32],
        }
    }
}
