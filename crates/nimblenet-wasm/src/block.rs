//! The block: one range of bytes that holds an instance as a whole.
//!
//! ```text
//! header | types | functions | tables of segments, globals, ... | translated code | stack | memory
//! ```
//! Everything in it is a number or an offset from its start, little-endian, so that a block may be
//! copied elsewhere and used there. Linear memory is last, to grow towards the block's end.

use crate::fault::NotAnInstance;
use crate::isa::IR_VERSION;
use crate::value::ValType;

/// The address of a block must be a multiple of this.
pub const BLOCK_ALIGN: usize = 8;

/// The part of `bytes` that starts at a multiple of [`BLOCK_ALIGN`]: it leaves out up to 7 bytes.
pub fn aligned(bytes: &mut [u8]) -> &mut [u8] {
    let skip = bytes.as_ptr().align_offset(BLOCK_ALIGN).min(bytes.len());
    &mut bytes[skip..]
}

/// A field of the header: its byte offset in the block.
#[derive(Clone, Copy)]
pub(crate) struct Field(usize);

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        // Some words are read only as the second half of the word before them.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, dead_code)]
        enum Order { $($name,)* COUNT }
        impl Field {
            $($(#[$doc])* #[allow(dead_code)] pub(crate) const $name: Field = Field(Order::$name as usize * 4);)*
        }
        /// Size of the header in bytes, a multiple of 8.
        pub(crate) const HEADER_BYTES: usize = (Order::COUNT as usize * 4).next_multiple_of(8);
    };
}

impl Field {
    /// The fields of a run: the state and all that follows it, up to the function. If nothing runs,
    /// they are 0.
    pub(crate) const RUN: core::ops::Range<usize> = Self::STATE.0..Self::TYPES.0;

    /// A word of the digest.
    pub(crate) const fn digest(index: usize) -> Self {
        Self(Self::DIGEST.0 + index * 4)
    }
}

fields! {
    /// The mark of a block, with its version.
    MAGIC,
    /// Checksum of the module's bytes, their length included.
    CODE_CHECK,
    /// First 16 bytes of the module's digest, in four words.
    DIGEST,
    DIGEST_1,
    DIGEST_2,
    DIGEST_3,
    /// See the `FLAG_*` constants.
    FLAGS,
    /// See the `STATE_*` constants.
    STATE,
    /// The fuel that is left, in two words, and the fuel that is owed before the run may go on.
    FUEL,
    FUEL_HIGH,
    DEBT,
    DEBT_HIGH,
    /// Where the run goes on: a word index into the translated code.
    IP,
    /// Frame of the running function: a byte offset into the stack.
    FP,
    /// The pending host call: import index, and offset of its arguments from the frame.
    PENDING,
    WINDOW,
    /// Its type.
    PENDING_TYPE,
    /// The function that was invoked.
    ENTRY,
    /// Sections and functions, see the module documentation of `load`.
    TYPES,
    FUNCS,
    FUNC_COUNT,
    IMPORT_COUNT,
    GLOBALS,
    GLOBAL_COUNT,
    GLOBALS_BYTES,
    TABLES,
    TABLE_COUNT,
    ELEMS,
    ELEM_COUNT,
    DATA,
    DATA_COUNT,
    START,
    /// Translated code: offset in bytes, length in words.
    IR,
    IR_WORDS,
    /// The largest frame of any function, in bytes.
    MAX_FRAME,
    STACK,
    STACK_BYTES,
    /// Linear memory: offset, present length, longest length, length at the start, page size as a
    /// power of two.
    MEMORY,
    MEMORY_BYTES,
    MEMORY_LIMIT,
    MEMORY_MIN,
    PAGE_LOG,
    /// Offsets of the contents of sections in the module's bytes; 0 for a section that is missing.
    GLOBAL_SECTION,
    EXPORT_SECTION,
    ELEM_SECTION,
    DATA_SECTION,
}

/// First word of every block; the low half changes with the layout and the translated code.
pub(crate) const MAGIC: u32 = 0x4e57_0100 | IR_VERSION as u32;

/// The code charges fuel.
pub(crate) const FLAG_METERED: u32 = 1;
/// The module has a memory.
pub(crate) const FLAG_MEMORY: u32 = 2;

/// No run is under way.
pub(crate) const STATE_IDLE: u32 = 0;
/// A run is to be continued.
pub(crate) const STATE_READY: u32 = 1;
/// A run waits for the answer to a host call.
pub(crate) const STATE_CALL: u32 = 2;
/// A run has ended, and its results are on the stack.
pub(crate) const STATE_DONE: u32 = 3;
/// A run has trapped: the state is this plus the number of the trap.
pub(crate) const STATE_TRAPPED: u32 = 0x100;

/// Stands for "none" where an index is expected.
pub(crate) const NONE: u32 = u32::MAX;

/// Size of a function's record: entry point, type, flags.
pub(crate) const FUNC_BYTES: usize = 8;
/// The function may be referred to by `ref.func`.
pub(crate) const FUNC_DECLARED: u16 = 1;
/// Size of a table's record: offset of its elements, length, room, type (a byte), how many active
/// segments fill it (a byte: 0, 1, or 2 for more), the index of the first (two bytes), initial
/// length.
pub(crate) const TABLE_BYTES: usize = 20;
/// Size of a segment's record: offset of its contents in the module's bytes, and its length with
/// the flag [`SEGMENT_DROPPED`].
pub(crate) const SEGMENT_BYTES: usize = 8;
/// The segment was dropped.
pub(crate) const SEGMENT_DROPPED: u32 = 1 << 31;

/// Reads and writes little-endian numbers at offsets of a block.
pub(crate) trait Words {
    fn word(&self, at: usize) -> u32;
    fn half(&self, at: usize) -> u16;
    fn set_word(&mut self, at: usize, value: u32);
    fn set_half(&mut self, at: usize, value: u16);
    fn field(&self, field: Field) -> u32;
    fn set_field(&mut self, field: Field, value: u32);

    fn offset(&self, field: Field) -> usize {
        self.field(field) as usize
    }

    fn wide(&self, at: usize) -> u64 {
        u64::from(self.word(at)) | u64::from(self.word(at + 4)) << 32
    }

    fn set_wide(&mut self, at: usize, value: u64) {
        self.set_word(at, value as u32);
        self.set_word(at + 4, (value >> 32) as u32);
    }

    fn wide_field(&self, field: Field) -> u64 {
        self.wide(field.0)
    }

    fn set_wide_field(&mut self, field: Field, value: u64) {
        self.set_wide(field.0, value);
    }
}

/// The header of a block. Its fields are read without another check of the block's length.
#[inline(always)]
pub(crate) fn header(block: &[u8]) -> &[u8] {
    &block[..HEADER_BYTES]
}

/// The header of a block that may be changed.
#[inline(always)]
pub(crate) fn header_mut(block: &mut [u8]) -> &mut [u8] {
    &mut block[..HEADER_BYTES]
}

impl Words for [u8] {
    #[inline]
    fn word(&self, at: usize) -> u32 {
        let bytes = &self[at..at + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline]
    fn half(&self, at: usize) -> u16 {
        let bytes = &self[at..at + 2];
        u16::from_le_bytes([bytes[0], bytes[1]])
    }

    // Loading sets about a hundred words, and the code to set one is longer than a call; a run sets
    // few.
    #[inline(never)]
    fn set_word(&mut self, at: usize, value: u32) {
        self[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn set_half(&mut self, at: usize, value: u16) {
        self[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn field(&self, field: Field) -> u32 {
        self.word(field.0)
    }

    #[inline]
    fn set_field(&mut self, field: Field, value: u32) {
        self.set_word(field.0, value);
    }
}

/// A function's record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Func {
    /// Word index of the first word in the translated code; [`NONE`] for an import.
    pub(crate) entry: u32,
    /// Its type: the offset of the type's description from the start of all types.
    pub(crate) ty: u16,
    pub(crate) flags: u16,
}

/// The parameters and results of a function type, as bytes of the binary format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FuncType<'a> {
    pub(crate) params: &'a [u8],
    pub(crate) results: &'a [u8],
}

impl FuncType<'_> {
    /// The bytes of stack that a call takes whose caller has no frame: arguments, and results in
    /// their place.
    pub(crate) fn frame_bytes(&self) -> usize {
        cells(self.params).max(cells(self.results)) * 4
    }
}

/// The type that a byte in the block stands for. The byte was checked when it was written.
pub(crate) fn val_type(byte: u8) -> ValType {
    ValType::from_byte(byte).unwrap_or(ValType::I32)
}

/// How many cells the values of these types take.
pub(crate) fn cells(types: &[u8]) -> usize {
    types.iter().map(|&ty| val_type(ty).cells()).sum()
}

/// The positions of an instance's parts in the block.
pub(crate) trait Parts {
    fn func(&self, index: u32) -> Func;
    fn function_at(&self, ip: u32) -> Option<u32>;
    fn func_type(&self, ty: u16) -> FuncType<'_>;
    fn table(&self, index: u32) -> Table;
    fn end_of_memory(&self) -> usize;
}

impl Parts for [u8] {
    fn func(&self, index: u32) -> Func {
        let at = self.offset(Field::FUNCS) + index as usize * FUNC_BYTES;
        Func {
            entry: self.word(at),
            ty: self.half(at + 4),
            flags: self.half(at + 6),
        }
    }

    /// The function whose code holds the position `ip`, or ends at it; functions are in the order
    /// of their indices.
    fn function_at(&self, ip: u32) -> Option<u32> {
        let imports = self.field(Field::IMPORT_COUNT);
        let (mut low, mut high) = (imports, self.field(Field::FUNC_COUNT));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.func(middle).entry < ip {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
            .filter(|&func| func >= imports && ip <= self.field(Field::IR_WORDS))
    }

    fn func_type(&self, ty: u16) -> FuncType<'_> {
        let at = self.offset(Field::TYPES) + ty as usize;
        let (params, results) = (self[at] as usize, self[at + 1] as usize);
        let types = &self[at + 2..at + 2 + params + results];
        FuncType {
            params: &types[..params],
            results: &types[params..],
        }
    }

    fn table(&self, index: u32) -> Table {
        let record = self.offset(Field::TABLES) + index as usize * TABLE_BYTES;
        Table {
            record,
            elements: self.word(record) as usize,
            len: self.word(record + 4),
            room: self.word(record + 8),
            ty: val_type(self[record + 12]),
            segment: (self[record + 13] == 1).then(|| u32::from(self.half(record + 14))),
            min: self.word(record + 16),
        }
    }

    fn end_of_memory(&self) -> usize {
        self.offset(Field::MEMORY) + self.offset(Field::MEMORY_BYTES)
    }
}

/// A table's record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Offset of the record itself.
    pub(crate) record: usize,
    /// Offset of the elements, 4 bytes each.
    pub(crate) elements: usize,
    pub(crate) len: u32,
    pub(crate) room: u32,
    pub(crate) ty: ValType,
    /// The active segment that fills it, if it is the only one.
    pub(crate) segment: Option<u32>,
    pub(crate) min: u32,
}

/// Checks that `block` starts with the header of an instance whose parts lie inside it.
pub(crate) fn check(block: &[u8]) -> Result<(), NotAnInstance> {
    if block.len() < HEADER_BYTES
        || block.as_ptr().align_offset(BLOCK_ALIGN) != 0
        || block.field(Field::MAGIC) != MAGIC
    {
        return Err(NotAnInstance);
    }
    let order = [
        Field::TYPES,
        Field::FUNCS,
        Field::IR,
        Field::STACK,
        Field::MEMORY,
    ];
    let ordered = order
        .windows(2)
        .all(|pair| block.field(pair[0]) <= block.field(pair[1]));
    let end = u64::from(block.field(Field::MEMORY)) + u64::from(block.field(Field::MEMORY_BYTES));
    if !ordered || block.offset(Field::TYPES) < HEADER_BYTES || end > block.len() as u64 {
        return Err(NotAnInstance);
    }
    Ok(())
}
