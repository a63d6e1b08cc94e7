//! Values of constant expressions.

use wasmparser::{ConstExpr, Error, Operator};

/// The value of an expression of type `i32`, as a run would compute it; nothing of other types. It
/// refers to no global, for only imported ones may be, and a tasklet imports none.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other constant operators are of other types"
)]
pub(in super::super) fn value(expression: &ConstExpr<'_>) -> Result<Option<u32>, Error> {
    let mut operands: Vec<u32> = Vec::new();
    for operator in expression.get_operators_reader() {
        let operator = operator?;
        let value = match operator {
            Operator::End => break,
            Operator::I32Const { value } => value as u32,
            Operator::I32Add | Operator::I32Sub | Operator::I32Mul => {
                let (Some(right), Some(left)) = (operands.pop(), operands.pop()) else {
                    return Ok(None);
                };
                match operator {
                    Operator::I32Add => left.wrapping_add(right),
                    Operator::I32Sub => left.wrapping_sub(right),
                    _ => left.wrapping_mul(right),
                }
            }
            _ => return Ok(None),
        };
        operands.push(value);
    }
    Ok(operands.pop())
}
