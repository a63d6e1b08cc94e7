//! Bulk instructions on memory, tables and segments, and all other instructions on tables.
//!
//! They are rare, and work on the block by checked indexing; only their operands come from the
//! value stack. All of them leave the accumulator undefined.

use crate::block::{Field, NONE, Parts, SEGMENT_BYTES, SEGMENT_DROPPED, Table, Words};
use crate::constant::Scope;
use crate::fault::Trap;
use crate::reader::Reader;
use crate::segment::Element;

/// The bytes that one unit of fuel moves or clears.
const BYTES_PER_FUEL: u32 = 16;

/// One of these instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Bulk {
    MemoryGrow,
    MemoryInit,
    MemoryCopy,
    MemoryFill,
    DataDrop,
    TableGet,
    TableSet,
    TableInit,
    TableCopy,
    TableFill,
    TableGrow,
    TableSize,
    ElemDrop,
}

impl Bulk {
    const ALL: [Self; 13] = [
        Self::MemoryGrow,
        Self::MemoryInit,
        Self::MemoryCopy,
        Self::MemoryFill,
        Self::DataDrop,
        Self::TableGet,
        Self::TableSet,
        Self::TableInit,
        Self::TableCopy,
        Self::TableFill,
        Self::TableGrow,
        Self::TableSize,
        Self::ElemDrop,
    ];

    /// The instruction with this number, as translated code holds it.
    pub(crate) fn from_word(word: u16) -> Self {
        Self::ALL
            .get(usize::from(word))
            .copied()
            .unwrap_or(Self::TableSize)
    }
}

/// Executes an instruction. Its operands are at offset `at` of the block, where the result, if
/// there is one, replaces them. Returns its cost in fuel.
pub(crate) fn perform(
    block: &mut [u8],
    code: &[u8],
    what: Bulk,
    x: u16,
    y: u16,
    at: usize,
) -> Result<u32, Trap> {
    let (x, y) = (u32::from(x), u32::from(y));
    let arg = |block: &[u8], index: usize| block.word(at + index * 4);
    let three = |block: &[u8]| (arg(block, 0), arg(block, 1), arg(block, 2));
    match what {
        Bulk::MemoryGrow => {
            let (result, cost) = memory_grow(block, arg(block, 0));
            block.set_word(at, result);
            Ok(cost)
        }
        Bulk::MemoryInit => {
            let (to, from, len) = three(block);
            memory_init(block, code, x, to, from, len)
        }
        Bulk::MemoryCopy => {
            let (to, from, len) = three(block);
            let memory = memory(block);
            let source = range(from, len, memory.len()).ok_or(Trap::OutOfBoundsMemory)?;
            range(to, len, memory.len()).ok_or(Trap::OutOfBoundsMemory)?;
            memory.copy_within(source, to as usize);
            Ok(len / BYTES_PER_FUEL)
        }
        Bulk::MemoryFill => {
            let (to, value, len) = three(block);
            let memory = memory(block);
            let target = range(to, len, memory.len()).ok_or(Trap::OutOfBoundsMemory)?;
            memory[target].fill(value as u8);
            Ok(len / BYTES_PER_FUEL)
        }
        Bulk::DataDrop => {
            drop_segment(block, Field::DATA, x);
            Ok(0)
        }
        Bulk::ElemDrop => {
            drop_segment(block, Field::ELEMS, x);
            Ok(0)
        }
        Bulk::TableGet => {
            let element = element(block.table(x), arg(block, 0))?;
            let value = block.word(element);
            block.set_word(at, value);
            Ok(0)
        }
        Bulk::TableSet => {
            let element = element(block.table(x), arg(block, 0))?;
            let value = arg(block, 1);
            block.set_word(element, value);
            Ok(0)
        }
        Bulk::TableInit => {
            let (to, from, len) = three(block);
            table_init(block, code, (x, y), to, from, len)
        }
        Bulk::TableCopy => {
            let (to, from, len) = three(block);
            let (target, source) = (block.table(x), block.table(y));
            let to = elements(target, to, len)?;
            let from = elements(source, from, len)?;
            block.copy_within(from, to.start);
            Ok(len)
        }
        Bulk::TableFill => {
            let (to, value, len) = three(block);
            let target = elements(block.table(x), to, len)?;
            for at in target.step_by(4) {
                block.set_word(at, value);
            }
            Ok(len)
        }
        Bulk::TableGrow => {
            let (value, delta) = (arg(block, 0), arg(block, 1));
            let (result, cost) = table_grow(block, x, value, delta);
            block.set_word(at, result);
            Ok(cost)
        }
        Bulk::TableSize => {
            let len = block.table(x).len;
            block.set_word(at, len);
            Ok(0)
        }
    }
}

/// Linear memory at its present length.
fn memory(block: &mut [u8]) -> &mut [u8] {
    let start = block.offset(Field::MEMORY);
    let end = block.end_of_memory();
    &mut block[start..end]
}

fn range(start: u32, len: u32, size: usize) -> Option<core::ops::Range<usize>> {
    let end = start.checked_add(len)? as usize;
    (end <= size).then_some(start as usize..end)
}

fn element(table: Table, index: u32) -> Result<usize, Trap> {
    if index >= table.len {
        return Err(Trap::OutOfBoundsTable);
    }
    Ok(table.elements + index as usize * 4)
}

fn elements(table: Table, index: u32, len: u32) -> Result<core::ops::Range<usize>, Trap> {
    let range = range(index, len, table.len as usize).ok_or(Trap::OutOfBoundsTable)?;
    Ok(table.elements + range.start * 4..table.elements + range.end * 4)
}

/// Memory grows inside the block, which may be shorter than the module's maximum.
fn memory_grow(block: &mut [u8], delta: u32) -> (u32, u32) {
    let page = block.field(Field::PAGE_LOG);
    let before = block.field(Field::MEMORY_BYTES);
    let after = u64::from(before) + (u64::from(delta) << page);
    let start = block.offset(Field::MEMORY);
    let room = block.len().saturating_sub(start) as u64;
    if after > u64::from(block.field(Field::MEMORY_LIMIT)) || after > room {
        return (NONE, 0);
    }
    block.set_field(Field::MEMORY_BYTES, after as u32);
    block[start + before as usize..start + after as usize].fill(0);
    (before >> page, (after as u32 - before) / BYTES_PER_FUEL)
}

fn memory_init(
    block: &mut [u8],
    code: &[u8],
    segment: u32,
    to: u32,
    from: u32,
    len: u32,
) -> Result<u32, Trap> {
    let record = block.offset(Field::DATA) + segment as usize * SEGMENT_BYTES;
    let start = block.word(record) as usize;
    let size = block.word(record + 4);
    let size = if size & SEGMENT_DROPPED != 0 {
        0
    } else {
        size as usize
    };
    let bytes = code
        .get(start..start + size)
        .ok_or(Trap::OutOfBoundsMemory)?;
    let source = range(from, len, size).ok_or(Trap::OutOfBoundsMemory)?;
    let memory = memory(block);
    let target = range(to, len, memory.len()).ok_or(Trap::OutOfBoundsMemory)?;
    memory[target].copy_from_slice(&bytes[source]);
    Ok(len / BYTES_PER_FUEL)
}

fn drop_segment(block: &mut [u8], segments: Field, index: u32) {
    let at = block.offset(segments) + index as usize * SEGMENT_BYTES + 4;
    let word = block.word(at);
    block.set_word(at, word | SEGMENT_DROPPED);
}

fn table_init(
    block: &mut [u8],
    code: &[u8],
    (table, segment): (u32, u32),
    to: u32,
    from: u32,
    len: u32,
) -> Result<u32, Trap> {
    let record = block.offset(Field::ELEMS) + segment as usize * SEGMENT_BYTES;
    let count = block.word(record + 4);
    let count = if count & SEGMENT_DROPPED != 0 {
        0
    } else {
        count
    };
    let target = elements(block.table(table), to, len)?;
    range(from, len, count as usize).ok_or(Trap::OutOfBoundsTable)?;
    if len == 0 {
        return Ok(0);
    }
    let scope = Scope {
        functions: block.field(Field::FUNC_COUNT),
    };
    let mut reader = Reader::new(code, block.word(record) as usize);
    let mut items = Element::read(&mut reader, scope).map_err(|_| Trap::OutOfBoundsTable)?;
    for _ in 0..from {
        items.next(scope).map_err(|_| Trap::OutOfBoundsTable)?;
    }
    for at in target.step_by(4) {
        let item = items.next(scope).map_err(|_| Trap::OutOfBoundsTable)?;
        block.set_word(at, item.bits as u32);
    }
    Ok(from + len)
}

fn table_grow(block: &mut [u8], index: u32, value: u32, delta: u32) -> (u32, u32) {
    let table = block.table(index);
    let Some(after) = table
        .len
        .checked_add(delta)
        .filter(|&after| after <= table.room)
    else {
        return (NONE, 0);
    };
    for at in table.len..after {
        block.set_word(table.elements + at as usize * 4, value);
    }
    block.set_word(table.record + 4, after);
    (table.len, delta)
}
