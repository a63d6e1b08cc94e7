//! The initial state of an instance: globals, tables, memory, segments.

use crate::block::{Field, Parts, SEGMENT_BYTES, SEGMENT_DROPPED, Words};
use crate::constant::{self, Scope};
use crate::fault::{LoadError, Trap};
use crate::reader::Reader;
use crate::segment::{Element, Mode, data_segment};

/// Resets the instance in `block` to its state after instantiation. `code` was validated when the
/// instance was loaded; it is not validated or translated again.
pub(crate) fn reset(block: &mut [u8], code: &[u8]) -> Result<(), LoadError> {
    block[Field::RUN].fill(0);
    // Memory follows the stack. Clear the stack too: images would show what an earlier run has left
    // there.
    let stack = block.offset(Field::STACK);
    let min = block.field(Field::MEMORY_MIN);
    let needed = block.offset(Field::MEMORY) + min as usize;
    let cleared = block.get_mut(stack..needed);
    cleared.ok_or(LoadError::OutOfMemory { needed })?.fill(0);
    block.set_field(Field::MEMORY_BYTES, min);
    globals(block, code)?;
    tables(block);
    elements(block, code)?;
    data(block, code)
}

fn globals(block: &mut [u8], code: &[u8]) -> Result<(), LoadError> {
    let section = block.offset(Field::GLOBAL_SECTION);
    if section == 0 {
        return Ok(());
    }
    let scope = Scope {
        functions: block.field(Field::FUNC_COUNT),
    };
    let mut reader = Reader::new(code, section);
    let mut at = block.offset(Field::GLOBALS);
    for _ in 0..reader.u32()? {
        let ty = reader.value_type()?;
        reader.u8()?;
        let bits = constant::read(&mut reader, ty, scope)?.bits.to_le_bytes();
        let cells = &bits[..ty.cells() * 4];
        block[at..at + cells.len()].copy_from_slice(cells);
        at += cells.len();
    }
    Ok(())
}

fn tables(block: &mut [u8]) {
    for index in 0..block.field(Field::TABLE_COUNT) {
        let table = block.table(index);
        let end = table.elements + table.room as usize * 4;
        block[table.elements..end].fill(0);
        block.set_word(table.record + 4, table.min);
    }
}

fn elements(block: &mut [u8], code: &[u8]) -> Result<(), LoadError> {
    let section = block.offset(Field::ELEM_SECTION);
    if section == 0 {
        return Ok(());
    }
    let scope = Scope {
        functions: block.field(Field::FUNC_COUNT),
    };
    let mut reader = Reader::new(code, section);
    for index in 0..reader.u32()? {
        let mut element = Element::read(&mut reader, scope)?;
        if let Mode::Active { table, offset } = element.mode {
            let table = block.table(table);
            if u64::from(offset) + u64::from(element.count) > u64::from(table.len) {
                return Err(LoadError::Trapped(Trap::OutOfBoundsTable));
            }
            for item in 0..element.count {
                let bits = element.next(scope)?.bits;
                let at = table.elements + (offset + item) as usize * 4;
                block.set_word(at, bits as u32);
            }
        } else {
            for _ in 0..element.count {
                element.next(scope)?;
            }
        }
        reader = element.items;
        let record = block.offset(Field::ELEMS) + index as usize * SEGMENT_BYTES + 4;
        let dropped = if matches!(element.mode, Mode::Passive) {
            0
        } else {
            SEGMENT_DROPPED
        };
        block.set_word(record, element.count | dropped);
    }
    Ok(())
}

fn data(block: &mut [u8], code: &[u8]) -> Result<(), LoadError> {
    let section = block.offset(Field::DATA_SECTION);
    if section == 0 {
        return Ok(());
    }
    let records = block.offset(Field::DATA);
    let (memory, len) = (
        block.offset(Field::MEMORY),
        block.offset(Field::MEMORY_BYTES),
    );
    let mut reader = Reader::new(code, section);
    for index in 0..reader.u32()? {
        let segment = data_segment(&mut reader)?;
        if let Some(offset) = segment.offset {
            let target = &mut block[memory..memory + len];
            let end = (offset as usize).checked_add(segment.bytes.len());
            let target = end.and_then(|end| target.get_mut(offset as usize..end));
            match target {
                Some(target) => target.copy_from_slice(segment.bytes),
                None => return Err(LoadError::Trapped(Trap::OutOfBoundsMemory)),
            }
        }
        if index < block.field(Field::DATA_COUNT) {
            let dropped = if segment.offset.is_some() {
                SEGMENT_DROPPED
            } else {
                0
            };
            let record = records + index as usize * SEGMENT_BYTES + 4;
            block.set_word(record, segment.bytes.len() as u32 | dropped);
        }
    }
    Ok(())
}
