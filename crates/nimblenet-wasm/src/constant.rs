//! Constant expressions: initial values of globals, offsets and items of segments.

use crate::fault::{Fault, Feature, InvalidModule, Quantity};
use crate::reader::Reader;
use crate::value::{ValType, Value};

/// What a constant expression may refer to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// How many functions there are.
    pub(crate) functions: u32,
}

/// The value of a constant expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constant {
    /// The bits of the value, as cells of the stack hold them.
    pub(crate) bits: u64,
    /// The function that it refers to.
    pub(crate) func: Option<u32>,
}

/// The most operands that a constant expression may have on its stack.
const DEPTH_MAX: usize = 8;

/// Checks and evaluates the constant expression at `reader`, which must yield a `ty`.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    ty: ValType,
    scope: Scope,
) -> Result<Constant, InvalidModule> {
    let mut stack = [Value::I32(0); DEPTH_MAX];
    let mut depth = 0usize;
    let mut func = None;
    loop {
        let op = reader.u8()?;
        let value = match op {
            0x0b => break,
            0x41 => Value::I32(reader.i32()?),
            0x42 => Value::I64(reader.i64()?),
            0x43 => Value::F32(reader.f32_bits()?),
            0x44 => Value::F64(reader.f64_bits()?),
            0xd0 => match reader.u8()? {
                0x70 => Value::FuncRef(None),
                0x6f => Value::ExternRef(None),
                _ => return Err(reader.fault(Fault::UnsupportedFeature(Feature::Gc))),
            },
            0xd2 => {
                let index = reader.u32()?;
                if index >= scope.functions {
                    return Err(reader.fault(Fault::UnknownIndex));
                }
                func = Some(index);
                Value::FuncRef(Some(index))
            }
            // Only imported globals could be named here, and there are none.
            0x23 => return Err(reader.fault(Fault::UnknownIndex)),
            0x6a..=0x6c | 0x7c..=0x7e => {
                let operands = depth.checked_sub(2).map(|at| (stack[at], stack[at + 1]));
                let Some(value) = operands.and_then(|(a, b)| fold(op, a, b)) else {
                    return Err(reader.fault(Fault::TypeMismatch));
                };
                depth -= 2;
                value
            }
            0xfd => return Err(reader.fault(Fault::UnsupportedFeature(Feature::Simd))),
            0xfb => return Err(reader.fault(Fault::UnsupportedFeature(Feature::Gc))),
            _ => return Err(reader.fault(Fault::BadConstant)),
        };
        if depth == DEPTH_MAX {
            return Err(reader.fault(Fault::TooMany(Quantity::Frame)));
        }
        stack[depth] = value;
        depth += 1;
    }
    if depth != 1 || stack[0].ty() != ty {
        return Err(reader.fault(Fault::TypeMismatch));
    }
    Ok(Constant {
        bits: stack[0].to_bits(),
        func,
    })
}

/// The integer operations that constant expressions may use.
fn fold(op: u8, a: Value, b: Value) -> Option<Value> {
    Some(match (op, a, b) {
        (0x6a, Value::I32(a), Value::I32(b)) => Value::I32(a.wrapping_add(b)),
        (0x6b, Value::I32(a), Value::I32(b)) => Value::I32(a.wrapping_sub(b)),
        (0x6c, Value::I32(a), Value::I32(b)) => Value::I32(a.wrapping_mul(b)),
        (0x7c, Value::I64(a), Value::I64(b)) => Value::I64(a.wrapping_add(b)),
        (0x7d, Value::I64(a), Value::I64(b)) => Value::I64(a.wrapping_sub(b)),
        (0x7e, Value::I64(a), Value::I64(b)) => Value::I64(a.wrapping_mul(b)),
        _ => return None,
    })
}
