//! The registers of a run, and what they point into.

use crate::block::{Field, Words, header};
use crate::fault::Trap;

/// Why dispatching ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exit {
    Done,
    OutOfFuel,
    HostCall { import: u32, window: u32 },
    Trapped(Trap),
}

/// The part of a run's state that is constant, or rarely changes.
pub(super) struct Context<'c> {
    pub(super) fuel: u64,
    pub(super) debt: u64,
    /// The highest address at which an access of `1 << n` bytes may start; negative if there is
    /// none.
    pub(super) highest: [i64; 4],
    pub(super) memory_bytes: u32,
    pub(super) page_log: u32,
    pub(super) memory: *mut u8,
    pub(super) code: *const u16,
    pub(super) funcs: *const u8,
    pub(super) func_count: u32,
    pub(super) stack: *mut u8,
    pub(super) stack_bytes: usize,
    pub(super) globals: *mut u8,
    pub(super) tables: *const u8,
    pub(super) block: *mut u8,
    pub(super) block_len: usize,
    pub(super) module: &'c [u8],
    pub(super) exit: Exit,
    /// Where the run starts, and afterwards where it goes on: word index and byte offset.
    pub(super) ip: u32,
    pub(super) fp: u32,
}

impl<'c> Context<'c> {
    #[inline(always)]
    pub(super) fn new(block: &'c mut [u8], module: &'c [u8]) -> Self {
        let base = block.as_mut_ptr();
        let block_len = block.len();
        let block = header(block);
        let part = |field| base.wrapping_add(block.offset(field));
        let mut context = Self {
            fuel: block.wide_field(Field::FUEL),
            debt: 0,
            highest: [0; 4],
            memory_bytes: 0,
            page_log: block.field(Field::PAGE_LOG),
            memory: part(Field::MEMORY),
            code: part(Field::IR).cast(),
            funcs: part(Field::FUNCS),
            func_count: block.field(Field::FUNC_COUNT),
            stack: part(Field::STACK),
            stack_bytes: block.offset(Field::STACK_BYTES),
            globals: part(Field::GLOBALS),
            tables: part(Field::TABLES),
            block: base,
            block_len,
            module,
            exit: Exit::Done,
            ip: block.field(Field::IP),
            fp: block.field(Field::FP),
        };
        context.measure(block.field(Field::MEMORY_BYTES));
        context
    }

    /// The size of linear memory in pages.
    #[inline(always)]
    pub(super) fn pages(&self) -> u32 {
        self.memory_bytes >> self.page_log
    }

    /// Notes the size of linear memory.
    #[inline]
    pub(super) fn measure(&mut self, bytes: u32) {
        self.memory_bytes = bytes;
        for (log, highest) in self.highest.iter_mut().enumerate() {
            *highest = i64::from(bytes) - (1 << log);
        }
    }
}

/// The registers. Each class of values has an accumulator of its own, so that floats need not pass
/// through integer registers; only one accumulator is in use at a time.
pub(super) struct Registers<'r, 'c> {
    /// The instruction that is being executed.
    pub(super) ip: *const u16,
    /// The frame.
    pub(super) fp: *mut u8,
    pub(super) acc: u64,
    pub(super) acc32: f32,
    pub(super) acc64: f64,
    pub(super) memory: *mut u8,
    pub(super) context: &'r mut Context<'c>,
}

/// Whether dispatching goes on after an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    /// The run is over or suspended, as the context says.
    Exit,
    Trap(Trap),
}

impl Registers<'_, '_> {
    /// Operand word `index` of the instruction; word 0 is the instruction itself.
    ///
    /// # Safety
    /// The instruction has that word (invariant 1).
    #[inline(always)]
    pub(super) unsafe fn word(&self, index: usize) -> u16 {
        // SAFETY: by the caller's promise the word is part of the code.
        unsafe { *self.ip.add(index) }
    }

    /// The slot that operand word `index` names.
    ///
    /// # Safety
    /// The instruction has that word, and it names a slot (invariants 1 and 2).
    #[inline(always)]
    pub(super) unsafe fn slot(&self, index: usize) -> *mut u8 {
        // SAFETY: slots that code names are inside the frame.
        unsafe { self.fp.add(self.word(index) as usize) }
    }

    /// The number in the operand words `index` and `index + 1`, the low one first.
    ///
    /// # Safety
    /// The instruction has these words (invariant 1).
    #[inline(always)]
    pub(super) unsafe fn double_word(&self, index: usize) -> u32 {
        // SAFETY: by the caller's promise.
        unsafe { u32::from(self.word(index)) | u32::from(self.word(index + 1)) << 16 }
    }

    /// Jumps by the signed distance in operand word `index`, which counts from that word.
    ///
    /// # Safety
    /// The word is such a distance.
    #[inline(always)]
    pub(super) unsafe fn jump(&mut self, index: usize) -> Flow {
        // SAFETY: the translator has resolved the distance to the start of an instruction of the
        // same function (invariant 1).
        unsafe {
            let distance = self.word(index) as i16;
            self.ip = self.ip.add(index).offset(distance as isize);
        }
        Flow::Next
    }

    /// Steps to the instruction after this one, which has `words` words.
    ///
    /// # Safety
    /// `words` is the length of the instruction.
    #[inline(always)]
    pub(super) unsafe fn step(&mut self, words: usize) -> Flow {
        // SAFETY: an instruction follows, since the last one of a function never steps.
        self.ip = unsafe { self.ip.add(words) };
        Flow::Next
    }

    /// Writes to the context how the run ends, or where it goes on.
    #[inline(always)]
    pub(super) fn save(self, flow: Flow) {
        if let Flow::Trap(trap) = flow {
            self.context.exit = Exit::Trapped(trap);
        }
        let fp = self.fp as usize - self.context.stack as usize;
        self.context.ip = self.position(self.ip);
        self.context.fp = fp as u32;
    }

    /// Position of the instruction pointer, as a word index.
    #[inline(always)]
    pub(super) fn position(&self, ip: *const u16) -> u32 {
        // Both are inside the code, which is smaller than 4 GiB.
        ((ip as usize - self.context.code as usize) / 2) as u32
    }
}

/// Reads a little-endian number of 4 bytes at an address that is a multiple of 4.
///
/// # Safety
/// The 4 bytes are inside the block.
#[inline(always)]
pub(super) unsafe fn word_at(at: *const u8) -> u32 {
    // SAFETY: inside the block by the caller's promise; parts of the block are aligned to 4.
    u32::from_le(unsafe { *at.cast::<u32>() })
}
