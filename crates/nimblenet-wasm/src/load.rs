//! Reads a module's sections into a block.
//!
//! It takes one pass over the bytes: it checks each section, and turns it into the tables that a
//! run needs. Those tables grow from the start of the block. Tables that only loading needs
//! (indices of types, types of globals, the translator's stacks) are at the block's end, where the
//! value stack and linear memory will be.

mod sections;
pub(crate) mod space;

use crate::block::{
    BLOCK_ALIGN, FLAG_METERED, FUNC_BYTES, Field, HEADER_BYTES, MAGIC, NONE, Parts, STATE_IDLE,
    Words,
};
use crate::checksum::checksum;
use crate::fault::{Fault, InvalidModule, LoadError, Quantity};
use crate::init;
use crate::limits::{Limits, LoadOptions};
use crate::reader::Reader;
use crate::translate::Translator;
use space::{Known, Space};

/// The facts about a module that validation computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Bytes of block that an instance needs besides its linear memory. Loading uses the same bytes
    /// and those of the memory.
    pub block_bytes: usize,
    /// Bytes of linear memory at the start.
    pub memory_bytes: u32,
    /// Bytes that linear memory may grow to, by the module and the limits.
    pub memory_limit: u32,
    /// Page size of the memory in bytes: 1 or 65,536.
    pub page_bytes: u32,
    /// Functions defined in the module.
    pub functions: u32,
    /// Functions imported.
    pub imports: u32,
    /// Exports of any kind.
    pub exports: u32,
    /// The largest frame of any function, in bytes of value stack.
    pub frame_bytes: u32,
    /// The length of the value stack, in bytes.
    pub stack_bytes: u32,
    /// A block of this many bytes is enough to load the module and start it.
    pub load_bytes: usize,
}

/// Checks a module, and reports what it needs; keeps nothing of it.
///
/// `scratch` must be aligned like a block; a block of the size that the module will get is enough,
/// and often less. The facts are those of a metered load with `limits`.
///
/// # Errors
/// The same faults as loading; also [`Fault::TooMany`] with [`Quantity::Frame`] if `scratch` is too
/// small for the translator's stacks.
pub fn validate(code: &[u8], limits: &Limits, scratch: &mut [u8]) -> Result<Facts, InvalidModule> {
    let scratch = crate::block::aligned(scratch);
    let too_small = InvalidModule {
        offset: 0,
        fault: Fault::TooMany(Quantity::Frame),
    };
    let options = LoadOptions {
        limits: *limits,
        metered: true,
        digest: [0; 32],
    };
    let outcome = Loader::new(scratch, code, &options).and_then(|mut loader| {
        loader.space.counting = true;
        loader.sections()
    });
    match outcome {
        Ok(facts) => Ok(facts),
        Err(LoadError::Invalid(invalid)) => Err(invalid),
        Err(_) => Err(too_small),
    }
}

/// Loads a module into `block` and initialises its state.
pub(crate) fn load(
    block: &mut [u8],
    code: &[u8],
    options: &LoadOptions,
) -> Result<Facts, LoadError> {
    let mut loader = Loader::new(block, code, options)?;
    let facts = loader.sections()?;
    if loader.space.counting || facts.load_bytes > block.len() {
        // A block of the same length would fail again.
        return Err(LoadError::OutOfMemory {
            needed: facts.load_bytes.max(block.len() + 1),
        });
    }
    init::reset(block, code)?;
    Ok(facts)
}

/// Limits that no module exceeds if it was loaded once.
const KEPT: Limits = Limits {
    module_bytes: u32::MAX,
    functions: u32::MAX,
    locals: u32::MAX,
    control_depth: u32::MAX,
    stack_slots: 0,
    memory_bytes: u32::MAX,
    table_elements: u32::MAX,
    table_growth: 0,
    validation_work: u32::MAX,
};

/// Finds the instruction of a loaded module that word `sought` of its translated code belongs to.
/// For that it translates the function `func`, whose code starts at word `entry`, once more,
/// without writing the code, and with tables in `scratch`. Returns the instruction's offset in the
/// module; none if `scratch` is too small.
pub(crate) fn find(
    code: &[u8],
    metered: bool,
    (func, entry): (u32, u32),
    sought: u32,
    scratch: &mut [u8],
) -> Option<u32> {
    let options = LoadOptions {
        limits: KEPT,
        metered,
        digest: [0; 32],
    };
    let mut loader = Loader::new(crate::block::aligned(scratch), code, &options).ok()?;
    loader.space.counting = true;
    loader.space.sought = sought;
    loader.only = Some((func, entry));
    loader.sections().ok()?;
    Some(loader.space.found).filter(|&found| found != 0)
}

/// The state of loading.
struct Loader<'l> {
    space: Space<'l>,
    known: Known<'l>,
    exports: u32,
    has_data_count: bool,
    /// The only function to translate, and the word where its code starts; if none, all functions.
    only: Option<(u32, u32)>,
}

impl<'l> Loader<'l> {
    fn new(block: &'l mut [u8], code: &'l [u8], options: &LoadOptions) -> Result<Self, LoadError> {
        if block.as_ptr().align_offset(BLOCK_ALIGN) != 0 {
            return Err(LoadError::Misaligned);
        }
        if code.len() > options.limits.module_bytes as usize {
            let fault = Fault::TooMany(Quantity::ModuleBytes);
            return Err(InvalidModule { offset: 0, fault }.into());
        }
        if block.len() < HEADER_BYTES {
            return Err(LoadError::OutOfMemory {
                needed: HEADER_BYTES + code.len() * 4,
            });
        }
        block[..HEADER_BYTES].fill(0);
        block.set_field(Field::CODE_CHECK, checksum(code));
        block.set_field(Field::FLAGS, if options.metered { FLAG_METERED } else { 0 });
        block.set_field(Field::START, NONE);
        // The places of types and functions, even if there are none of them; types come first.
        block.set_field(Field::TYPES, HEADER_BYTES as u32);
        block.set_field(Field::FUNCS, HEADER_BYTES as u32);
        for (index, word) in options.digest[..16].chunks_exact(4).enumerate() {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            block.set_field(Field::digest(index), word);
        }
        Ok(Self {
            space: Space::new(block, options.limits.validation_work),
            known: Known {
                code,
                limits: options.limits,
                type_index: 0,
                type_count: 0,
                global_types: 0,
            },
            exports: 0,
            has_data_count: false,
            only: None,
        })
    }

    /// Reads all sections, and lays out the rest of the block.
    fn sections(&mut self) -> Result<Facts, LoadError> {
        let code = self.known.code;
        let mut reader = Reader::new(code, 0);
        if reader.bytes(8).ok() != Some(b"\0asm\x01\0\0\0") {
            return Err(reader.fault(Fault::BadHeader).into());
        }
        let mut last = 0;
        let mut bodies = 0;
        let mut segments = None;
        while !reader.is_empty() {
            let id = reader.u8()?;
            let len = reader.u32()? as usize;
            let mut part = reader.part(len)?;
            let rank = rank(id).ok_or_else(|| match id {
                13 => part.fault(Fault::UnsupportedFeature(crate::Feature::Exceptions)),
                _ => part.fault(Fault::BadSection),
            })?;
            if rank != 0 {
                if rank <= last {
                    return Err(part.fault(Fault::BadSection).into());
                }
                last = rank;
            }
            self.space.spend(1, &part)?;
            match id {
                0 => {
                    part.name()?;
                    continue;
                }
                1 => self.types(&mut part)?,
                2 => self.imports(&mut part)?,
                3 => self.functions(&mut part)?,
                4 => self.tables(&mut part)?,
                5 => self.memories(&mut part)?,
                6 => self.globals(&mut part)?,
                7 => self.exports(&mut part)?,
                8 => self.start(&mut part)?,
                9 => self.elements(&mut part)?,
                12 => self.data_count(&mut part)?,
                10 => bodies = self.bodies(&mut part)?,
                _ => segments = Some(self.data(&mut part)?),
            }
            part.end()?;
        }
        let defined =
            self.space.block.field(Field::FUNC_COUNT) - self.space.block.field(Field::IMPORT_COUNT);
        let promised = self
            .has_data_count
            .then(|| self.space.block.field(Field::DATA_COUNT));
        if bodies != defined || promised.is_some_and(|count| segments.unwrap_or(0) != count) {
            return Err(reader.fault(Fault::CountMismatch).into());
        }
        self.finish()
    }

    /// Lays out the parts of the block after the translated code.
    fn finish(&mut self) -> Result<Facts, LoadError> {
        if self.space.block.field(Field::IR) == 0 {
            let ir = self.begin_code()?;
            self.space.at += ir as usize * 2;
        }
        let block = &mut *self.space.block;
        let stack = self.space.at.next_multiple_of(8);
        let frame = block.field(Field::MAX_FRAME) as usize;
        let wanted = self.known.limits.stack_slots as usize * 8;
        let stack_bytes = if self.space.calls_inside {
            wanted
        } else {
            frame.min(wanted)
        };
        let stack_bytes = stack_bytes.next_multiple_of(8);
        let memory = stack + stack_bytes;
        let min = block.offset(Field::MEMORY_MIN);
        let needed = memory.saturating_add(min);
        self.space.peak = self.space.peak.max(needed);
        if needed > 1 << 31 {
            return Err(LoadError::OutOfMemory { needed });
        }
        block.set_field(Field::STACK, stack as u32);
        block.set_field(Field::STACK_BYTES, stack_bytes as u32);
        block.set_field(Field::MEMORY, memory as u32);
        block.set_field(Field::MEMORY_BYTES, min as u32);
        block.set_field(Field::STATE, STATE_IDLE);
        block.set_field(Field::MAGIC, MAGIC);
        Ok(Facts {
            block_bytes: memory,
            memory_bytes: min as u32,
            memory_limit: block.field(Field::MEMORY_LIMIT),
            page_bytes: 1 << block.field(Field::PAGE_LOG),
            functions: block.field(Field::FUNC_COUNT) - block.field(Field::IMPORT_COUNT),
            imports: block.field(Field::IMPORT_COUNT),
            exports: self.exports,
            frame_bytes: frame as u32,
            stack_bytes: stack_bytes as u32,
            load_bytes: self.space.peak,
        })
    }

    /// A count of items, each of at least `each` bytes, below the limit for items.
    fn items(&self, part: &mut Reader<'_>, each: usize) -> Result<u32, InvalidModule> {
        let count = part.count()?;
        // Translated code holds indices in 16 bits.
        if count > self.known.limits.functions.min(u32::from(u16::MAX)) {
            return Err(part.fault(Fault::TooMany(Quantity::Items)));
        }
        if (count as usize).saturating_mul(each) > part.remaining() {
            return Err(part.fault(Fault::UnexpectedEnd));
        }
        Ok(count)
    }

    /// Marks a function as one that `ref.func` may name.
    fn declare(&mut self, func: u32) {
        let at = self.space.block.offset(Field::FUNCS) + func as usize * FUNC_BYTES + 6;
        let flags = self.space.block.half(at);
        self.space
            .block
            .set_half(at, flags | crate::block::FUNC_DECLARED);
    }

    /// Translates all function bodies.
    fn bodies(&mut self, part: &mut Reader<'l>) -> Result<u32, LoadError> {
        let count = part.count()?;
        let imports = self.space.block.field(Field::IMPORT_COUNT);
        let functions = self.space.block.field(Field::FUNC_COUNT);
        if count != functions - imports {
            return Err(part.fault(Fault::CountMismatch).into());
        }
        let mut ir = self.begin_code()?;
        for index in imports..functions {
            let len = part.u32()? as usize;
            let body = part.part(len)?;
            let entry = match self.only {
                None => ir,
                Some((func, entry)) if func == index => entry,
                Some(_) => continue,
            };
            let slot = self.space.block.offset(Field::FUNCS) + index as usize * FUNC_BYTES;
            self.space.block.set_word(slot, entry);
            let ty = self.space.block.func(index).ty;
            ir = Translator::function(&mut self.space, self.known, body, ty, entry)?;
        }
        self.space.block.set_field(Field::IR_WORDS, ir);
        self.space.at = self.space.block.offset(Field::IR) + ir as usize * 2;
        Ok(count)
    }

    /// Starts the translated code with the instruction at which a run goes on when its outermost
    /// function has returned. Returns the next word.
    fn begin_code(&mut self) -> Result<u32, LoadError> {
        let at = self.space.at.next_multiple_of(4);
        self.space.at = at;
        self.space.block.set_field(Field::IR, at as u32);
        let ir = Translator::begin(&mut self.space)?;
        self.space.block.set_field(Field::IR_WORDS, ir);
        Ok(ir)
    }
}

/// The place of a section in the order of sections; 0 for custom sections, which may be anywhere.
pub(crate) fn rank(id: u8) -> Option<u8> {
    Some(match id {
        0..=9 => id,
        12 => 10,
        10 => 11,
        11 => 12,
        _ => return None,
    })
}
