//! Blocks: their records on the validation stack, how they open and end, and labels.
//!
//! A record takes four entries, below the operands of its block:
//! kind, flags and the enclosing block's record; block type and the cell where its operands
//! start; chain of forward branches to its label and the branch around its `then` part;
//! position and outer cost of its fuel charge.
//!
//! Forward branches to one label form a chain. The words that will hold their distances hold the
//! distances back to the branch before, and 0 ends the chain.

use super::{Operand, Place, Translator, UNKNOWN, class};
use crate::block::{FuncType, NONE, Parts};
use crate::fault::{Fault, Feature, InvalidModule, LoadError, Quantity};
use crate::isa::Op;
use crate::reader::Reader;

/// Entries that a record takes.
pub(super) const RECORD: u32 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Function,
    Block,
    Loop,
    If,
    Else,
}

/// The type of a block: none, one result, or the description of a function type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BlockType {
    Empty,
    Result(u8),
    Type(u16),
}

impl BlockType {
    const fn pack(self) -> u32 {
        match self {
            Self::Empty => 0,
            Self::Result(ty) => 0x100 | ty as u32,
            Self::Type(ty) => 0x1_0000 | ty as u32,
        }
    }

    const fn unpack(bits: u32) -> Self {
        match bits {
            0 => Self::Empty,
            0x1_0000.. => Self::Type(bits as u16),
            _ => Self::Result(bits as u8),
        }
    }
}

/// A block that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// The code before the block is unreachable.
    pub(super) dead: bool,
    /// Whether the operands around the block are those of unreachable code.
    polymorphic: bool,
    pub(super) outer: u32,
    depth: u16,
    pub(super) ty: BlockType,
    /// The cell where its operands, parameters included, start.
    pub(super) base: u32,
    /// A loop's start, or the last of the chain of forward branches.
    pub(super) label: u32,
    /// The word of the branch around the `then` part.
    other: u32,
    /// Where the loop's or function's charge is.
    charge: u32,
    /// What the code around the loop had cost when the loop was opened.
    cost: u32,
}

impl Translator<'_, '_> {
    pub(super) fn record(&self, at: u32) -> Block {
        let word = |index| {
            let bits = self.entry(at + index);
            (bits as u32, (bits >> 32) as u32)
        };
        let (head, outer) = word(0);
        let (ty, base) = word(1);
        let (label, other) = word(2);
        let (charge, cost) = word(3);
        let kind = match head as u8 {
            0 => Kind::Function,
            1 => Kind::Block,
            2 => Kind::Loop,
            3 => Kind::If,
            _ => Kind::Else,
        };
        Block {
            kind,
            dead: head >> 8 & 1 != 0,
            polymorphic: head >> 9 & 1 != 0,
            outer,
            depth: (head >> 16) as u16,
            ty: BlockType::unpack(ty),
            base,
            label,
            other,
            charge,
            cost,
        }
    }

    fn set_record(&mut self, at: u32, block: Block) {
        let head = block.kind as u32
            | u32::from(block.dead) << 8
            | u32::from(block.polymorphic) << 9
            | u32::from(block.depth) << 16;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        self.set_entry(at, pair(head, block.outer));
        self.set_entry(at + 1, pair(block.ty.pack(), block.base));
        self.set_entry(at + 2, pair(block.label, block.other));
        self.set_entry(at + 3, pair(block.charge, block.cost));
    }

    /// The type of a block's parameter (or result) `index`.
    fn param(&self, ty: BlockType, index: u32) -> u8 {
        match ty {
            BlockType::Type(ty) => self.types(ty).params[index as usize],
            BlockType::Empty | BlockType::Result(_) => 0,
        }
    }

    pub(super) fn result(&self, ty: BlockType, index: u32) -> u8 {
        match ty {
            BlockType::Type(ty) => self.types(ty).results[index as usize],
            BlockType::Empty => 0,
            BlockType::Result(ty) => ty,
        }
    }

    fn types(&self, ty: u16) -> FuncType<'_> {
        self.space.block.func_type(ty)
    }

    /// How many parameters and results a block has.
    pub(super) fn arity(&self, ty: BlockType) -> (u32, u32) {
        match ty {
            BlockType::Empty => (0, 0),
            BlockType::Result(_) => (0, 1),
            BlockType::Type(ty) => {
                let ty = self.types(ty);
                (ty.params.len() as u32, ty.results.len() as u32)
            }
        }
    }

    /// How many values a branch to the block carries.
    pub(super) fn label_arity(&self, block: &Block) -> u32 {
        let (params, results) = self.arity(block.ty);
        if block.kind == Kind::Loop {
            params
        } else {
            results
        }
    }

    pub(super) fn label_type(&self, block: &Block, index: u32) -> u8 {
        if block.kind == Kind::Loop {
            self.param(block.ty, index)
        } else {
            self.result(block.ty, index)
        }
    }

    fn block_type(&mut self) -> Result<BlockType, InvalidModule> {
        let mut peek: Reader<'_> = self.reader;
        let byte = peek.u8()?;
        if byte == 0x40 {
            self.reader = peek;
            return Ok(BlockType::Empty);
        }
        if byte & 0xc0 == 0x40 {
            return Ok(BlockType::Result(self.reader.value_type()? as u8));
        }
        let index = self.reader.signed(33)?;
        let index = u32::try_from(index).map_err(|_| self.fault(Fault::BadEncoding))?;
        Ok(BlockType::Type(self.known.type_at(
            self.space.block,
            index,
            &self.reader,
        )?))
    }

    /// Opens the block of the whole function. Its label takes the results.
    pub(super) fn open_function(&mut self, ty: u16) -> Result<(), LoadError> {
        self.open(Kind::Function, BlockType::Type(ty), 0)?;
        let charge = self.emit_charge()?;
        self.last = UNKNOWN;
        let mut block = self.record(self.block);
        block.charge = charge;
        self.set_record(self.block, block);
        Ok(())
    }

    fn open(&mut self, kind: Kind, ty: BlockType, depth: u16) -> Result<(), LoadError> {
        let block = Block {
            kind,
            dead: self.dead,
            polymorphic: self.polymorphic,
            outer: self.block,
            depth,
            ty,
            base: self.height,
            label: NONE,
            other: NONE,
            charge: NONE,
            cost: 0,
        };
        if u32::from(depth) >= self.known.limits.control_depth.min(u32::from(u16::MAX)) {
            return Err(self.fault(Fault::TooMany(Quantity::ControlDepth)).into());
        }
        self.room(RECORD)?;
        let at = self.len;
        self.len += RECORD;
        self.set_record(at, block);
        self.block = at;
        self.polymorphic = false;
        Ok(())
    }

    /// `block`, `loop` and `if`.
    pub(super) fn enter(&mut self, kind: Kind) -> Result<(), LoadError> {
        let ty = self.block_type()?;
        let condition = if kind == Kind::If {
            let operand = self.pop(0x7f)?;
            Some(self.take_condition(operand))
        } else {
            None
        };
        let (params, results) = self.arity(ty);
        // The parameters are checked here and at an `else`, the results at the end.
        self.spend(2 * (params + results))?;
        let top = self.len;
        for index in (0..params).rev() {
            self.pop(self.param(ty, index))?;
        }
        let first = self.len;
        if !self.dead {
            // The popped operands are still on the stack, and can be settled.
            for index in first..top {
                self.settle(index);
            }
        }
        self.settle_block()?;
        let depth = self.record(self.block).depth + 1;
        self.open(kind, ty, depth)?;
        for index in 0..params {
            self.push(self.param(ty, index), Place::Slot)?;
        }
        let mut block = self.record(self.block);
        match kind {
            Kind::Loop => {
                block.label = self.ir;
                block.cost = self.cost;
                self.cost = 0;
                self.label_here();
                block.charge = self.emit_charge()?;
                self.last = UNKNOWN;
            }
            Kind::If => {
                if let Some(condition) = condition {
                    self.emit_condition(condition, true);
                }
                block.other = self.ir;
                self.emit(0);
                self.last = UNKNOWN;
            }
            Kind::Function | Kind::Block | Kind::Else => {}
        }
        self.set_record(self.block, block);
        Ok(())
    }

    pub(super) fn else_part(&mut self) -> Result<(), LoadError> {
        let at = self.block;
        let mut block = self.record(at);
        if block.kind != Kind::If {
            return Err(self.fault(Fault::BadEncoding).into());
        }
        self.finish_results(&block)?;
        if !self.dead {
            self.emit_op(Op::Br, &[]);
            block.label = self.chain(block.label);
        }
        self.dead = block.dead;
        self.polymorphic = false;
        if !block.dead {
            self.resolve(block.other, self.ir);
        }
        self.label_here();
        block.kind = Kind::Else;
        self.set_record(at, block);
        self.len = at + RECORD;
        self.height = block.base;
        let (params, _) = self.arity(block.ty);
        for index in 0..params {
            self.push(self.param(block.ty, index), Place::Slot)?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), LoadError> {
        let at = self.block;
        let block = self.record(at);
        if block.kind == Kind::Function && block.label == NONE {
            return self.end_function(&block);
        }
        self.finish_results(&block)?;
        if block.kind == Kind::If && !self.if_needs_no_else(block.ty) {
            return Err(self.fault(Fault::TypeMismatch).into());
        }
        self.dead = block.dead;
        if !block.dead {
            if block.kind == Kind::If {
                self.resolve(block.other, self.ir);
            }
            if block.kind != Kind::Loop {
                self.resolve_chain(block.label);
            }
        }
        self.label_here();
        if block.kind == Kind::Loop {
            self.settle_charge(&block);
            self.cost = block.cost;
        }
        if block.kind == Kind::Function {
            // The results are where the label expects them.
            self.len = at + RECORD;
            self.height = block.base;
            let (_, results) = self.arity(block.ty);
            for index in 0..results {
                self.push(self.result(block.ty, index), Place::Slot)?;
            }
            return self.end_function(&block);
        }
        self.len = at;
        self.block = block.outer;
        self.height = block.base;
        self.polymorphic = block.polymorphic;
        let (_, results) = self.arity(block.ty);
        for index in 0..results {
            self.push(self.result(block.ty, index), Place::Slot)?;
        }
        Ok(())
    }

    /// Whether an `if` without `else` passes its parameters on as its results.
    fn if_needs_no_else(&self, ty: BlockType) -> bool {
        match ty {
            BlockType::Empty => true,
            BlockType::Result(_) => false,
            BlockType::Type(ty) => {
                let ty = self.types(ty);
                ty.params == ty.results
            }
        }
    }

    /// Ends the function: returns the values on the stack.
    fn end_function(&mut self, block: &Block) -> Result<(), LoadError> {
        self.return_results(block)?;
        if self.len != self.block + RECORD {
            return Err(self.fault(Fault::TypeMismatch).into());
        }
        self.dead = false;
        self.settle_charge(block);
        self.len = 0;
        Ok(())
    }

    /// Pops and returns the function's results.
    pub(super) fn return_results(&mut self, function: &Block) -> Result<(), LoadError> {
        let (_, results) = self.arity(function.ty);
        self.spend(results)?;
        let top = self.len;
        for index in (0..results).rev() {
            self.pop(self.result(function.ty, index))?;
        }
        if self.dead {
            return Ok(());
        }
        let link = self.link;
        let first = self.len;
        match top - first {
            0 => self.emit_op(Op::Ret0, &[link]),
            1 => {
                let operand = self.operand(first);
                self.emit_return(operand, link);
            }
            _ => {
                for index in first..top {
                    self.settle(index);
                }
                let from = self.operand(first).slot();
                let cells = self.results_cells(function.ty);
                self.emit_op(Op::RetN, &[from, cells as u16, link]);
            }
        }
        self.last = UNKNOWN;
        Ok(())
    }

    fn emit_return(&mut self, operand: Operand, link: u16) {
        use super::operands::Source;
        let variant = class(operand.ty) as u16;
        match self.source(operand) {
            Source::Acc => {
                self.op(Op::RetA32 as u16 + variant);
            }
            Source::Slot(_) | Source::Const(_) => {
                let slot = self.slot_of(operand);
                self.op(Op::RetS32 as u16 + variant);
                self.emit(slot);
            }
        }
        self.emit(link);
    }

    fn results_cells(&self, ty: BlockType) -> u32 {
        match ty {
            BlockType::Type(ty) => self.cells_of(self.types(ty).results),
            BlockType::Empty | BlockType::Result(_) => 0,
        }
    }

    /// Pops a block's results, and moves them to where its label expects them.
    fn finish_results(&mut self, block: &Block) -> Result<(), LoadError> {
        let (_, results) = self.arity(block.ty);
        let top = self.len;
        for index in (0..results).rev() {
            self.pop(self.result(block.ty, index))?;
        }
        if self.len != self.block + RECORD {
            return Err(self.fault(Fault::TypeMismatch).into());
        }
        if !self.dead {
            self.place_all(self.len, top, block.base);
        }
        Ok(())
    }

    /// Writes the operands `first..top` to consecutive slots from cell `base` on. Slots below an
    /// operand's own are free or hold earlier operands, so every value is read before it is
    /// overwritten.
    pub(super) fn place_all(&mut self, first: u32, top: u32, base: u32) {
        let mut cell = base;
        for index in first..top {
            let operand = self.operand(index);
            self.place(operand, (cell * 4) as u16);
            cell += crate::block::val_type(operand.ty).cells() as u32;
        }
    }

    /// Notes that the code after this is unreachable.
    pub(super) fn unreachable(&mut self) {
        self.len = self.block + RECORD;
        self.height = self.record(self.block).base;
        self.acc = NONE;
        self.mirror = None;
        self.last = UNKNOWN;
        self.polymorphic = true;
        self.dead = true;
    }

    /// Notes that branches may lead here.
    fn label_here(&mut self) {
        self.acc = NONE;
        self.mirror = None;
        self.last = UNKNOWN;
    }

    fn settle_charge(&mut self, block: &Block) {
        if self.metered && !block.dead && !self.dead {
            self.set_word(block.charge + 1, self.cost as u16);
            self.set_word(block.charge + 2, (self.cost >> 16) as u16);
        }
    }

    /// The record of the block that a branch to label `depth` goes to.
    pub(super) fn target(&mut self, depth: u32) -> Result<u32, InvalidModule> {
        let innermost = self.record(self.block).depth;
        if depth > u32::from(innermost) {
            return Err(self.fault(Fault::UnknownIndex));
        }
        self.spend(depth)?;
        let mut at = self.block;
        for _ in 0..depth {
            at = (self.entry(at) >> 32) as u32;
        }
        Ok(at)
    }

    /// Emits the distance word of a branch to the block whose record is `at`.
    pub(super) fn emit_distance(&mut self, at: u32) {
        if self.dead {
            return;
        }
        let mut block = self.record(at);
        if block.kind == Kind::Loop {
            let distance = block.label.wrapping_sub(self.ir);
            self.emit(distance as u16);
        } else {
            block.label = self.chain(block.label);
            self.set_record(at, block);
        }
        self.last = UNKNOWN;
    }

    /// Emits a word that waits for a label, and returns the new end of the label's chain.
    fn chain(&mut self, label: u32) -> u32 {
        let at = self.ir;
        let back = if label == NONE { 0 } else { at - label };
        self.emit(back as u16);
        at
    }

    /// Writes the distance of a single waiting word.
    pub(super) fn resolve(&mut self, word: u32, to: u32) {
        if word != NONE {
            self.set_word(word, to.wrapping_sub(word) as u16);
        }
    }

    fn resolve_chain(&mut self, label: u32) {
        if label == NONE || self.space.counting {
            return;
        }
        let to = self.ir;
        let mut word = label;
        loop {
            let back = u32::from(self.word(word));
            self.set_word(word, to.wrapping_sub(word) as u16);
            if back == 0 || back > word - self.start {
                return;
            }
            word -= back;
        }
    }

    /// The named features that share opcodes with nothing else here.
    pub(super) fn unsupported(&self, feature: Feature) -> LoadError {
        self.fault(Fault::UnsupportedFeature(feature)).into()
    }
}
