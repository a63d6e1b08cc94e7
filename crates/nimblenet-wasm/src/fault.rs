//! Errors: why a module is refused, why a run stops, why a call of the interface fails.

use core::fmt;

use crate::value::ValType;

/// A feature of WebAssembly that this interpreter does not support.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Feature {
    /// 128-bit vectors.
    Simd,
    /// Atomic operations and shared memories.
    Threads,
    /// Memories and tables with 64-bit addresses.
    Memory64,
    /// More than one memory.
    MultiMemory,
    /// Structures, arrays and typed references.
    Gc,
    /// Exception handling.
    Exceptions,
    /// Tail calls.
    TailCalls,
    /// Imported memories, tables or globals: a module brings its own.
    ImportedState,
}

impl Feature {
    /// The usual name of the feature.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simd => "simd",
            Self::Threads => "threads",
            Self::Memory64 => "memory64",
            Self::MultiMemory => "multi-memory",
            Self::Gc => "gc",
            Self::Exceptions => "exceptions",
            Self::TailCalls => "tail-call",
            Self::ImportedState => "imported-state",
        }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Quantity {
    /// Bytes of the module.
    ModuleBytes,
    /// Types, functions, globals, exports or segments.
    Items,
    /// Parameters or results of one function type.
    TypeArity,
    /// Locals of one function.
    Locals,
    /// Nested blocks.
    ControlDepth,
    /// The frame of one function, or its operands.
    Frame,
    /// The translated code of one function.
    FunctionCode,
    /// Bytes of linear memory.
    MemoryBytes,
    /// Elements of tables.
    TableElements,
}

/// What is wrong with a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end inside an item.
    UnexpectedEnd,
    /// Not a WebAssembly module of version 1.
    BadHeader,
    /// An integer is longer than it may be.
    BadInteger,
    /// A name is not UTF-8.
    BadName,
    /// An unknown section, or one out of order.
    BadSection,
    /// A section or function body is longer or shorter than it says.
    SectionSize,
    /// Two counts that must agree do not.
    CountMismatch,
    /// A byte that has no meaning at this place.
    BadEncoding,
    /// An opcode that is not part of WebAssembly.
    UnknownOpcode(u8),
    /// A feature that is not supported.
    UnsupportedFeature(Feature),
    /// An index of a type, function, table, memory, global, local, label or segment is out of
    /// range.
    UnknownIndex,
    /// Operands, results or branches do not fit together.
    TypeMismatch,
    /// A constant global is written to.
    ImmutableGlobal,
    /// A memory access claims more alignment than its width.
    BadAlignment,
    /// A minimum is above its maximum, or a size is above what the format allows.
    BadLimits,
    /// An initial value is not a constant expression.
    BadConstant,
    /// Two exports have one name.
    DuplicateExport,
    /// The start function has parameters or results.
    BadStart,
    /// A function reference that no segment, export or global declares.
    UndeclaredReference,
    /// A limit is exceeded.
    TooMany(Quantity),
    /// Validation would take too long.
    ValidationBudget,
}

impl Fault {
    /// A stable short name, for counters and messages.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnexpectedEnd => "unexpected-end",
            Self::BadHeader => "bad-header",
            Self::BadInteger => "bad-integer",
            Self::BadName => "bad-name",
            Self::BadSection => "bad-section",
            Self::SectionSize => "section-size",
            Self::CountMismatch => "count-mismatch",
            Self::BadEncoding => "bad-encoding",
            Self::UnknownOpcode(_) => "unknown-opcode",
            Self::UnsupportedFeature(_) => "unsupported-feature",
            Self::UnknownIndex => "unknown-index",
            Self::TypeMismatch => "type-mismatch",
            Self::ImmutableGlobal => "immutable-global",
            Self::BadAlignment => "bad-alignment",
            Self::BadLimits => "bad-limits",
            Self::BadConstant => "bad-constant",
            Self::DuplicateExport => "duplicate-export",
            Self::BadStart => "bad-start",
            Self::UndeclaredReference => "undeclared-reference",
            Self::TooMany(Quantity::ControlDepth) => "too-deep",
            Self::TooMany(_) => "too-many",
            Self::ValidationBudget => "validation-budget",
        }
    }
}

/// Why a module is refused: what is wrong, and about where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidModule {
    /// Offset in the module's bytes at or shortly after the cause.
    pub offset: u32,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for InvalidModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid module: {}", self.fault.code())?;
        if let Fault::UnsupportedFeature(feature) = self.fault {
            write!(f, " ({})", feature.name())?;
        } else if let Fault::UnknownOpcode(op) = self.fault {
            write!(f, " (0x{op:02x})")?;
        } else if let Fault::TooMany(what) = self.fault {
            write!(f, " ({what:?})")?;
        }
        write!(f, " at offset {}", self.offset)
    }
}

impl core::error::Error for InvalidModule {}

/// Why a run was stopped for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Trap {
    /// The program executed `unreachable`.
    Unreachable = 1,
    /// Integer division by zero.
    DivideByZero = 2,
    /// An integer result does not fit.
    IntegerOverflow = 3,
    /// A NaN was converted to an integer.
    BadConversion = 4,
    /// An access past the end of memory or of a data segment.
    OutOfBoundsMemory = 5,
    /// An access past the end of a table or of an element segment.
    OutOfBoundsTable = 6,
    /// An indirect call past the end of the table.
    UndefinedElement = 7,
    /// An indirect call of a null reference.
    UninitialisedElement = 8,
    /// An indirect call of a function of another type.
    IndirectCallType = 9,
    /// The value stack is full.
    StackExhausted = 10,
    /// The host refused or failed a call.
    HostFailure = 11,
}

impl Trap {
    /// A stable short name, for counters and messages.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::DivideByZero => "divide-by-zero",
            Self::IntegerOverflow => "integer-overflow",
            Self::BadConversion => "bad-conversion",
            Self::OutOfBoundsMemory => "out-of-bounds-memory",
            Self::OutOfBoundsTable => "out-of-bounds-table",
            Self::UndefinedElement => "undefined-element",
            Self::UninitialisedElement => "uninitialised-element",
            Self::IndirectCallType => "indirect-call-type",
            Self::StackExhausted => "stack-exhausted",
            Self::HostFailure => "host-failure",
        }
    }

    pub(crate) const fn from_byte(byte: u32) -> Self {
        match byte {
            1 => Self::Unreachable,
            2 => Self::DivideByZero,
            3 => Self::IntegerOverflow,
            4 => Self::BadConversion,
            5 => Self::OutOfBoundsMemory,
            6 => Self::OutOfBoundsTable,
            7 => Self::UndefinedElement,
            8 => Self::UninitialisedElement,
            9 => Self::IndirectCallType,
            10 => Self::StackExhausted,
            _ => Self::HostFailure,
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl core::error::Error for Trap {}

/// Why a module was not loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// The module is not one that this interpreter runs.
    Invalid(InvalidModule),
    /// The block is too small.
    OutOfMemory {
        /// The length of a block that is enough: exact if the module could be read to its end, else
        /// a lower bound that is longer than the given block.
        needed: usize,
    },
    /// The block does not start at a multiple of [`BLOCK_ALIGN`](crate::BLOCK_ALIGN).
    Misaligned,
    /// A segment does not fit into the memory or table it initialises.
    Trapped(Trap),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::OutOfMemory { needed } => write!(f, "the block is too small: {needed} bytes"),
            Self::Misaligned => f.write_str("the block is not aligned"),
            Self::Trapped(trap) => write!(f, "initialisation trapped: {trap}"),
        }
    }
}

impl core::error::Error for LoadError {}

impl From<InvalidModule> for LoadError {
    fn from(invalid: InvalidModule) -> Self {
        Self::Invalid(invalid)
    }
}

/// The bytes are no instance, or one of another version or of another module, or cut short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAnInstance;

impl fmt::Display for NotAnInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no instance of this module")
    }
}

impl core::error::Error for NotAnInstance {}

/// Why an invocation was not set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum InvokeError {
    /// The module exports nothing under that name, or has no start function.
    NoSuchExport,
    /// The export is a memory, a table or a global, or there is no function of that index.
    NotAFunction,
    /// The number or types of the arguments are not those of the function.
    WrongArguments {
        /// How many parameters the function has.
        expected: u16,
        /// The first argument that does not fit, if the number is right.
        mismatch: Option<(u16, ValType)>,
    },
    /// A run is suspended already; an instance has one run at a time.
    Busy,
    /// The frame of the function does not fit on the value stack.
    StackExhausted,
}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchExport => f.write_str("no such export"),
            Self::NotAFunction => f.write_str("what is exported is not a function"),
            Self::WrongArguments {
                expected,
                mismatch: None,
            } => {
                write!(f, "the function takes {expected} arguments")
            }
            Self::WrongArguments {
                mismatch: Some((index, ty)),
                ..
            } => {
                write!(f, "argument {index} must be {ty}")
            }
            Self::Busy => f.write_str("an invocation is under way"),
            Self::StackExhausted => f.write_str("the value stack is too small for the function"),
        }
    }
}

impl core::error::Error for InvokeError {}

/// Why an answer to a host call was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ResumeError {
    /// No host call is pending.
    NotPending,
    /// The number or types of the results are not those of the import.
    WrongResults,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPending => "no host call is pending",
            Self::WrongResults => "the results are not those of the import",
        })
    }
}

impl core::error::Error for ResumeError {}

/// Why an instance was not frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreezeError {
    /// Nothing is suspended: there is no run to continue.
    NotSuspended,
    /// The image does not fit into the given bytes.
    TooSmall,
}

impl fmt::Display for FreezeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSuspended => "nothing is suspended",
            Self::TooSmall => "the image does not fit",
        })
    }
}

impl core::error::Error for FreezeError {}

/// Why an image was not thawed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThawError {
    /// The module could not be loaded.
    Load(LoadError),
    /// The image is cut short, has bytes left over, or its checksum is wrong.
    Damaged,
    /// The image has another format or belongs to another version of the translated code.
    Version,
    /// The image belongs to another module or to other load options.
    OtherModule,
    /// A field of the image contradicts the module.
    Inconsistent,
}

impl fmt::Display for ThawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Damaged => f.write_str("the image is damaged"),
            Self::Version => f.write_str("the image has another version"),
            Self::OtherModule => f.write_str("the image belongs to another module"),
            Self::Inconsistent => f.write_str("the image contradicts the module"),
        }
    }
}

impl core::error::Error for ThawError {}

impl From<LoadError> for ThawError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}
