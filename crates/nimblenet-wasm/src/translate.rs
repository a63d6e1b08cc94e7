//! Validation and translation of function bodies, in one pass.
//!
//! The translator follows the operand stack of WebAssembly's validation algorithm. An operand is
//! not always a computed value: for a `local.get` or a constant the translator only notes the place
//! of the value ([`Place`]), and the instruction that consumes the operand names that place. A
//! computed value stays in the accumulator until another instruction needs the accumulator, and
//! only then is stored to the operand's own slot. The height of the stack determines that slot. At
//! labels, calls and suspension points all values are in those slots or in locals, so that a
//! suspended run needs only its frame.
//!
//! Unreachable code is validated, and not translated.
//!
//! A frame, in cells of 4 bytes from the frame pointer up:
//! parameters | return position, distance to the caller's frame | other locals | operands.

mod condition;
mod control;
mod instructions;
mod numeric;
mod operands;
mod transfer;

use crate::block::{FLAG_METERED, Field, NONE, Parts, Words, cells, val_type};
use crate::fault::{Fault, InvalidModule, LoadError, Quantity};
use crate::isa::Op;
use crate::load::space::{Known, Space};
use crate::reader::Reader;
use crate::value::ValType;

/// The largest frame, in cells: slot offsets with type tags fit into 16 bits.
const FRAME_CELLS_MAX: u32 = 8191;
/// The most words of one translated function: branch distances are signed 16-bit words.
const FUNCTION_WORDS_MAX: u32 = 32_767;
/// Cells of a frame's return link.
pub(crate) const LINK_CELLS: u32 = 2;
/// Words before a function's first instruction: frame size, size of the parameters (both in
/// bytes), cells to clear.
pub(crate) const PROLOGUE_WORDS: u32 = 3;
/// What a call of an import or through a table costs in fuel, besides the instruction itself.
pub(crate) const FAR_CALL_FUEL: u32 = 15;

/// Where the value of an operand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// In its own slot.
    Slot,
    /// Still in the local that starts at this cell.
    Local(u16),
    /// A constant that is not written to a slot yet: an integer, sign-extended if the type is
    /// wider, or the bits of a 32-bit float that equals it.
    Const(i32),
    /// In the accumulator.
    Acc,
}

/// An operand on the validation stack. Type 0 is the unknown type of unreachable code.
#[derive(Clone, Copy, Debug)]
struct Operand {
    ty: u8,
    place: Place,
    /// The cell where its own slot starts.
    cell: u16,
}

impl Operand {
    fn pack(self) -> u64 {
        let (tag, payload) = match self.place {
            Place::Slot => (0, 0),
            Place::Local(cell) => (1, u32::from(cell)),
            Place::Const(value) => (2, value as u32),
            Place::Acc => (3, 0),
        };
        u64::from(self.ty) | tag << 8 | u64::from(self.cell) << 16 | u64::from(payload) << 32
    }

    fn unpack(bits: u64) -> Self {
        let payload = (bits >> 32) as u32;
        let place = match bits >> 8 & 0xff {
            0 => Place::Slot,
            1 => Place::Local(payload as u16),
            2 => Place::Const(payload as i32),
            _ => Place::Acc,
        };
        Self {
            ty: bits as u8,
            place,
            cell: (bits >> 16) as u16,
        }
    }

    /// Byte offset of its own slot from the frame pointer.
    fn slot(self) -> u16 {
        self.cell * 4
    }
}

/// The classes of values that the accumulator and the instructions distinguish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Int32,
    Int64,
    Float32,
    Float64,
}

fn class(ty: u8) -> Class {
    match val_type(ty) {
        ValType::I32 | ValType::FuncRef | ValType::ExternRef => Class::Int32,
        ValType::I64 => Class::Int64,
        ValType::F32 => Class::Float32,
        ValType::F64 => Class::Float64,
    }
}

/// The facts about the instruction that was emitted last; after a label there are none.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// Where it starts.
    at: u32,
    /// It leaves a result in the accumulator, and the next variant also stores it to a slot.
    result: bool,
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Plain,
    /// An integer comparison: its kind, its operands, and their words.
    Compare {
        wide: bool,
        which: u8,
        kind: u8,
        words: [u16; 2],
    },
    /// An `i32.add` whose result may be an address. The first word is that of the first slot.
    Sum {
        acc: bool,
        words: [u16; 2],
    },
}

const UNKNOWN: Last = Last {
    at: NONE,
    result: false,
    shape: Shape::Plain,
};

/// The state of translating one function.
pub(crate) struct Translator<'t, 'l> {
    space: &'t mut Space<'l>,
    known: Known<'l>,
    reader: Reader<'l>,
    /// Offset in the block of word 0 of the translated code.
    code: usize,
    /// The next word, and the function's first.
    ir: u32,
    start: u32,
    /// Offset in the block of the table of locals: for each its type and first cell.
    locals: usize,
    local_count: u32,
    /// Byte offset of the return link in the frame.
    link: u16,
    /// The validation stack: it grows down from here, 8 bytes an entry.
    base: usize,
    len: u32,
    /// The entry where the innermost block's record starts. The block's operands follow the record.
    block: u32,
    /// Height of the operands, and the most it was, in cells of the frame.
    height: u32,
    max: u32,
    /// The operand that is in the accumulator.
    acc: u32,
    /// The slot (byte offset) that holds the same value as the accumulator.
    mirror: Option<(u16, Class)>,
    last: Last,
    /// The innermost block's operands are those of unreachable code.
    polymorphic: bool,
    /// Nothing is emitted, since the code is unreachable.
    dead: bool,
    metered: bool,
    /// Instructions since the innermost loop or the function began.
    cost: u32,
    /// The function has locals or operands that refer to functions.
    refs: bool,
    /// The offset in the module of the instruction that is translated.
    at: usize,
}

impl<'t, 'l> Translator<'t, 'l> {
    /// Starts the translated code with the instruction that ends a run; returns the next word.
    pub(crate) fn begin(space: &mut Space<'l>) -> Result<u32, LoadError> {
        let at = space.reserve(4)?;
        space.block.set_half(at, Op::Halt as u16);
        space.at = at;
        Ok(1)
    }

    /// Translates one function body, to word `ir` and on; returns the word after it.
    pub(crate) fn function(
        space: &'t mut Space<'l>,
        known: Known<'l>,
        body: Reader<'l>,
        ty: u16,
        ir: u32,
    ) -> Result<u32, LoadError> {
        let code = space.block.offset(Field::IR);
        let top = space.top;
        let metered = space.block.field(Field::FLAGS) & FLAG_METERED != 0;
        let mut this = Translator {
            space,
            known,
            reader: body,
            code,
            ir,
            start: ir,
            locals: top,
            local_count: 0,
            link: 0,
            base: top,
            len: 0,
            block: 0,
            height: 0,
            max: 0,
            acc: NONE,
            mirror: None,
            last: UNKNOWN,
            polymorphic: false,
            dead: false,
            metered,
            cost: 0,
            refs: false,
            at: 0,
        };
        this.read_locals(ty)?;
        this.at = this.reader.pos();
        this.space.found = this.at as u32;
        this.open_function(ty)?;
        while this.len != 0 {
            this.instruction()?;
        }
        this.reader.end()?;
        let frame = this.max * 4;
        if this.ir - this.start > FUNCTION_WORDS_MAX {
            return Err(this.fault(Fault::TooMany(Quantity::FunctionCode)).into());
        }
        this.set_word(this.start, frame as u16);
        let most = this.space.block.field(Field::MAX_FRAME);
        this.space
            .block
            .set_field(Field::MAX_FRAME, most.max(frame));
        Ok(this.ir)
    }

    /// Reads the declarations of locals into their table, and lays out the frame.
    fn read_locals(&mut self, ty: u16) -> Result<(), LoadError> {
        // The declarations are read twice: to count the locals, and to fill the table.
        let mut peek = self.reader;
        let params = self.space.block.func_type(ty).params.len() as u32;
        let runs = peek.count()?;
        let mut count = params;
        for _ in 0..runs {
            count = count.saturating_add(peek.u32()?);
            if count > self.known.limits.locals {
                return Err(self.fault(Fault::TooMany(Quantity::Locals)).into());
            }
            peek.value_type()?;
        }
        if count > self.known.limits.locals {
            return Err(self.fault(Fault::TooMany(Quantity::Locals)).into());
        }
        self.space.spend(count + runs, &peek)?;
        self.base = self
            .base
            .saturating_sub((count as usize * 2).next_multiple_of(8));
        self.room(0)?;
        self.locals = self.base;
        for index in 0..params {
            let ty = self.space.block.func_type(ty).params[index as usize];
            self.add_local(val_type(ty))?;
        }
        self.link = (self.height * 4) as u16;
        self.height += LINK_CELLS;
        let first = self.height;
        let runs = self.reader.u32()?;
        for _ in 0..runs {
            let count = self.reader.u32()?;
            let ty = self.reader.value_type()?;
            for _ in 0..count {
                self.add_local(ty)?;
            }
        }
        self.max = self.height;
        // The prologue: the frame's size is known at the end.
        let clear = self.height - first;
        for word in [0, self.link, clear as u16] {
            self.emit(word);
        }
        Ok(())
    }

    fn add_local(&mut self, ty: ValType) -> Result<(), InvalidModule> {
        let cell = self.height;
        self.refs |= ty == ValType::FuncRef;
        self.height += ty.cells() as u32;
        if self.height + LINK_CELLS > FRAME_CELLS_MAX {
            return Err(self.fault(Fault::TooMany(Quantity::Frame)));
        }
        let tag = ty as u16 & 0x1f;
        // Low bits of the type's byte tell the types apart: 1f 1e 1d 1c 10 0f.
        let tag = match tag {
            0x10 => 0,
            0x0f => 1,
            other => other & 7,
        };
        let at = self.locals + self.local_count as usize * 2;
        self.space.block.set_half(at, cell as u16 | tag << 13);
        self.local_count += 1;
        Ok(())
    }

    /// Type and first cell of a local.
    fn local(&self, index: u32) -> Result<(u8, u16), InvalidModule> {
        if index >= self.local_count {
            return Err(self.fault(Fault::UnknownIndex));
        }
        let bits = self.space.block.half(self.locals + index as usize * 2);
        let ty = match bits >> 13 {
            0 => ValType::FuncRef as u8,
            1 => ValType::ExternRef as u8,
            other => 0x78 | other as u8,
        };
        Ok((ty, bits & 0x1fff))
    }

    fn fault(&self, fault: Fault) -> InvalidModule {
        self.reader.fault(fault)
    }

    fn spend(&mut self, steps: u32) -> Result<(), InvalidModule> {
        self.space.spend(steps, &self.reader)
    }

    fn entry(&self, index: u32) -> u64 {
        self.space.block.wide(self.base - (index as usize + 1) * 8)
    }

    fn set_entry(&mut self, index: u32, bits: u64) {
        let at = self.base - (index as usize + 1) * 8;
        self.space.block.set_wide(at, bits);
    }

    /// Makes sure that `more` entries fit on the stack. If stack and translated code meet, the code
    /// is given up, and from there on it is only counted.
    fn room(&mut self, more: u32) -> Result<(), LoadError> {
        let need = (self.len + more) as usize * 8;
        if self.base < self.code + need {
            return Err(self.space.out_of_memory(self.code + need - self.base));
        }
        let used = self.space.block.len() - (self.base - need);
        let end = self.code + self.ir as usize * 2;
        self.space.peak = self.space.peak.max(end + used);
        if self.base - need < end {
            self.space.counting = true;
        }
        Ok(())
    }

    fn push_entry(&mut self, bits: u64) -> Result<(), LoadError> {
        self.room(1)?;
        self.set_entry(self.len, bits);
        self.len += 1;
        Ok(())
    }

    fn operand(&self, index: u32) -> Operand {
        Operand::unpack(self.entry(index))
    }

    /// Pushes an operand. It gets the next slot.
    fn push(&mut self, ty: u8, place: Place) -> Result<(), LoadError> {
        let cell = self.height;
        self.refs |= ty == ValType::FuncRef as u8;
        self.height += if ty == 0 {
            1
        } else {
            val_type(ty).cells() as u32
        };
        if self.height > FRAME_CELLS_MAX {
            return Err(self.fault(Fault::TooMany(Quantity::Frame)).into());
        }
        if !self.dead {
            self.max = self.max.max(self.height);
        }
        self.push_entry(
            Operand {
                ty,
                place,
                cell: cell as u16,
            }
            .pack(),
        )
    }

    /// Pops an operand of type `ty`; 0 is any type.
    fn pop(&mut self, ty: u8) -> Result<Operand, InvalidModule> {
        if self.len == self.block + control::RECORD {
            if !self.polymorphic {
                return Err(self.fault(Fault::TypeMismatch));
            }
            return Ok(Operand {
                ty,
                place: Place::Slot,
                cell: self.height as u16,
            });
        }
        let operand = self.operand(self.len - 1);
        self.len -= 1;
        self.height = u32::from(operand.cell);
        if self.acc == self.len {
            self.acc = NONE;
        }
        if ty != 0 && operand.ty != 0 && operand.ty != ty {
            return Err(self.fault(Fault::TypeMismatch));
        }
        Ok(operand)
    }

    fn emit(&mut self, word: u16) {
        if self.dead {
            return;
        }
        let at = self.code + self.ir as usize * 2;
        let free = self.base - self.len as usize * 8;
        if at + 2 > free {
            self.space.counting = true;
        }
        self.ir += 1;
        if self.space.counting {
            let used = self.space.block.len() - free;
            self.space.peak = self.space.peak.max(at + 2 + used);
        } else {
            self.space.block.set_half(at, word);
        }
    }

    fn set_word(&mut self, at: u32, word: u16) {
        if !self.space.counting {
            let at = self.code + at as usize * 2;
            self.space.block.set_half(at, word);
        }
    }

    fn word(&self, at: u32) -> u16 {
        self.space.block.half(self.code + at as usize * 2)
    }

    /// Emits the first word of an instruction.
    fn op(&mut self, op: u16) {
        // An instruction that is taken back is found again in the one that replaces it.
        if self.ir <= self.space.sought && !self.dead {
            self.space.found = self.at as u32;
        }
        self.last = Last {
            at: self.ir,
            result: false,
            shape: Shape::Plain,
        };
        self.emit(op);
    }

    /// Emits an instruction with its words.
    fn emit_op(&mut self, op: Op, words: &[u16]) {
        self.op(op as u16);
        for &word in words {
            self.emit(word);
        }
    }

    /// Takes back the last instruction, which another will replace.
    fn rewind(&mut self) {
        self.ir = self.last.at;
        self.last = UNKNOWN;
    }

    /// The charge at the head of a loop or function; its amount is known at the end. Returns where
    /// it is.
    fn emit_charge(&mut self) -> Result<u32, InvalidModule> {
        self.emit_refs(self.len)?;
        let at = self.ir;
        if self.metered {
            let height = (self.height * 4) as u16;
            self.emit_op(Op::Fuel, &[0, 0, height]);
        }
        Ok(at)
    }

    /// Names the slots that hold references to functions at the instruction that comes next, where
    /// a run may be suspended: locals, and the operands up to entry `top`. References to functions
    /// are rare, and so is this instruction.
    fn emit_refs(&mut self, top: u32) -> Result<(), InvalidModule> {
        if !self.refs || self.dead {
            return Ok(());
        }
        self.spend(self.local_count + top)?;
        self.emit_op(Op::Refs, &[0]);
        let first = self.ir;
        for index in 0..self.local_count {
            let (ty, cell) = self.local(index)?;
            if ty == ValType::FuncRef as u8 {
                self.emit(cell * 4);
            }
        }
        // Records of blocks are between the operands.
        let (mut block, mut end) = (self.block, top);
        loop {
            for index in block + control::RECORD..end {
                let operand = self.operand(index);
                if operand.ty == ValType::FuncRef as u8 && operand.place == Place::Slot {
                    self.emit(operand.slot());
                }
            }
            if block == 0 {
                break;
            }
            (block, end) = (self.record(block).outer, block);
        }
        self.set_word(first - 1, (self.ir - first) as u16);
        self.last = UNKNOWN;
        Ok(())
    }

    /// Cells that the results of the current function's type, or others, take.
    fn cells_of(&self, types: &[u8]) -> u32 {
        cells(types) as u32
    }
}
