//! Element and data segments, which are read from the module's bytes whenever they are needed.

use crate::constant::{self, Constant, Scope};
use crate::fault::{Fault, InvalidModule};
use crate::reader::Reader;
use crate::value::ValType;

/// The mode of an element segment: what instantiation does with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// It copies the segment into a table.
    Active { table: u32, offset: u32 },
    /// It keeps the segment for `table.init`.
    Passive,
    /// Nothing: the segment only declares functions.
    Declarative,
}

/// An element segment, before its items are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) mode: Mode,
    pub(crate) ty: ValType,
    pub(crate) count: u32,
    /// Items are constant expressions, not function indices.
    expressions: bool,
    /// A reader at the next item.
    pub(crate) items: Reader<'a>,
}

impl<'a> Element<'a> {
    /// Reads the segment at `reader` up to its first item.
    pub(crate) fn read(reader: &mut Reader<'a>, scope: Scope) -> Result<Self, InvalidModule> {
        let flags = reader.u32()?;
        if flags > 7 {
            return Err(reader.fault(Fault::BadEncoding));
        }
        let expressions = flags & 4 != 0;
        let mode = if flags & 1 == 0 {
            let table = if flags & 2 != 0 { reader.u32()? } else { 0 };
            let offset = constant::read(reader, ValType::I32, scope)?.bits as u32;
            Mode::Active { table, offset }
        } else if flags & 2 == 0 {
            Mode::Passive
        } else {
            Mode::Declarative
        };
        let ty = if flags & 3 == 0 {
            ValType::FuncRef
        } else if expressions {
            reader.ref_type()?
        } else if reader.u8()? == 0 {
            ValType::FuncRef
        } else {
            return Err(reader.fault(Fault::BadEncoding));
        };
        let count = reader.count()?;
        Ok(Self {
            mode,
            ty,
            count,
            expressions,
            items: *reader,
        })
    }

    /// Where an active segment goes in its table.
    pub(crate) fn offset(&self) -> Option<u32> {
        match self.mode {
            Mode::Active { offset, .. } => Some(offset),
            Mode::Passive | Mode::Declarative => None,
        }
    }

    /// The next item. There are `count` of them.
    pub(crate) fn next(&mut self, scope: Scope) -> Result<Constant, InvalidModule> {
        if self.expressions {
            return constant::read(&mut self.items, self.ty, scope);
        }
        let index = self.items.u32()?;
        if index >= scope.functions {
            return Err(self.items.fault(Fault::UnknownIndex));
        }
        Ok(Constant {
            bits: u64::from(index) + 1,
            func: Some(index),
        })
    }
}

/// A data segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    /// Where an active segment goes; a passive one has none.
    pub(crate) offset: Option<u32>,
    pub(crate) bytes: &'a [u8],
}

/// Reads the data segment at `reader`.
pub(crate) fn data_segment<'a>(reader: &mut Reader<'a>) -> Result<Data<'a>, InvalidModule> {
    let flags = reader.u32()?;
    if flags > 2 {
        return Err(reader.fault(Fault::BadEncoding));
    }
    if flags == 2 && reader.u32()? != 0 {
        return Err(reader.fault(Fault::UnknownIndex));
    }
    // An offset is an integer, so its expression may not name functions.
    let offset = match flags {
        1 => None,
        _ => Some(constant::read(reader, ValType::I32, Scope { functions: 0 })?.bits as u32),
    };
    let len = reader.u32()? as usize;
    let bytes = reader.bytes(len)?;
    Ok(Data { offset, bytes })
}
