//! The list of operations: arithmetic, comparisons and conversions, with the expressions that
//! compute them.
//!
//! Results of float arithmetic are canonical: every NaN that an operation *computes* is the
//! positive quiet NaN without payload, whatever the operands were. Processors and software floats
//! differ in the NaNs they make, and a run must give the same bits on a microcontroller as on
//! Linux, also when it moves from one to the other midway. `abs`, `neg` and `copysign` only touch
//! the sign bit, and loads, stores and reinterpretations move bits as they are.

use core::hint::cold_path;

use crate::fault::Trap;

/// Passes all operations to the macro `$to`: name, types, and expression. If an expression has a
/// `?`, it may trap.
macro_rules! operations {
    ($to:ident) => {
        $to! {
            binary {
                I32Eq: u32 => u32, |a, b| u32::from(a == b);
                I32Ne: u32 => u32, |a, b| u32::from(a != b);
                I32LtS: u32 => u32, |a, b| u32::from((a as i32) < b as i32);
                I32LtU: u32 => u32, |a, b| u32::from(a < b);
                I32GtS: u32 => u32, |a, b| u32::from(a as i32 > b as i32);
                I32GtU: u32 => u32, |a, b| u32::from(a > b);
                I32LeS: u32 => u32, |a, b| u32::from(a as i32 <= b as i32);
                I32LeU: u32 => u32, |a, b| u32::from(a <= b);
                I32GeS: u32 => u32, |a, b| u32::from(a as i32 >= b as i32);
                I32GeU: u32 => u32, |a, b| u32::from(a >= b);

                I64Eq: u64 => u32, |a, b| u32::from(a == b);
                I64Ne: u64 => u32, |a, b| u32::from(a != b);
                I64LtS: u64 => u32, |a, b| u32::from((a as i64) < b as i64);
                I64LtU: u64 => u32, |a, b| u32::from(a < b);
                I64GtS: u64 => u32, |a, b| u32::from(a as i64 > b as i64);
                I64GtU: u64 => u32, |a, b| u32::from(a > b);
                I64LeS: u64 => u32, |a, b| u32::from(a as i64 <= b as i64);
                I64LeU: u64 => u32, |a, b| u32::from(a <= b);
                I64GeS: u64 => u32, |a, b| u32::from(a as i64 >= b as i64);
                I64GeU: u64 => u32, |a, b| u32::from(a >= b);

                F32Eq: f32 => u32, |a, b| u32::from(a == b);
                F32Ne: f32 => u32, |a, b| u32::from(a != b);
                F32Lt: f32 => u32, |a, b| u32::from(a < b);
                F32Gt: f32 => u32, |a, b| u32::from(a > b);
                F32Le: f32 => u32, |a, b| u32::from(a <= b);
                F32Ge: f32 => u32, |a, b| u32::from(a >= b);

                F64Eq: f64 => u32, |a, b| u32::from(a == b);
                F64Ne: f64 => u32, |a, b| u32::from(a != b);
                F64Lt: f64 => u32, |a, b| u32::from(a < b);
                F64Gt: f64 => u32, |a, b| u32::from(a > b);
                F64Le: f64 => u32, |a, b| u32::from(a <= b);
                F64Ge: f64 => u32, |a, b| u32::from(a >= b);

                I32Add: u32 => u32, |a, b| a.wrapping_add(b);
                I32Sub: u32 => u32, |a, b| a.wrapping_sub(b);
                I32Mul: u32 => u32, |a, b| a.wrapping_mul(b);
                I32DivS: u32 => u32, |a, b| {
                    if b == 0 { return Err(Trap::DivideByZero); }
                    (a as i32).checked_div(b as i32).ok_or(Trap::IntegerOverflow)? as u32
                };
                I32DivU: u32 => u32, |a, b| a.checked_div(b).ok_or(Trap::DivideByZero)?;
                I32RemS: u32 => u32, |a, b| {
                    if b == 0 { return Err(Trap::DivideByZero); }
                    (a as i32).wrapping_rem(b as i32) as u32
                };
                I32RemU: u32 => u32, |a, b| a.checked_rem(b).ok_or(Trap::DivideByZero)?;
                I32And: u32 => u32, |a, b| a & b;
                I32Or: u32 => u32, |a, b| a | b;
                I32Xor: u32 => u32, |a, b| a ^ b;
                I32Shl: u32 => u32, |a, b| a.wrapping_shl(b);
                I32ShrS: u32 => u32, |a, b| (a as i32).wrapping_shr(b) as u32;
                I32ShrU: u32 => u32, |a, b| a.wrapping_shr(b);
                I32Rotl: u32 => u32, |a, b| a.rotate_left(b & 31);
                I32Rotr: u32 => u32, |a, b| a.rotate_right(b & 31);

                I64Add: u64 => u64, |a, b| a.wrapping_add(b);
                I64Sub: u64 => u64, |a, b| a.wrapping_sub(b);
                I64Mul: u64 => u64, |a, b| a.wrapping_mul(b);
                I64DivS: u64 => u64, |a, b| {
                    if b == 0 { return Err(Trap::DivideByZero); }
                    (a as i64).checked_div(b as i64).ok_or(Trap::IntegerOverflow)? as u64
                };
                I64DivU: u64 => u64, |a, b| a.checked_div(b).ok_or(Trap::DivideByZero)?;
                I64RemS: u64 => u64, |a, b| {
                    if b == 0 { return Err(Trap::DivideByZero); }
                    (a as i64).wrapping_rem(b as i64) as u64
                };
                I64RemU: u64 => u64, |a, b| a.checked_rem(b).ok_or(Trap::DivideByZero)?;
                I64And: u64 => u64, |a, b| a & b;
                I64Or: u64 => u64, |a, b| a | b;
                I64Xor: u64 => u64, |a, b| a ^ b;
                I64Shl: u64 => u64, |a, b| a.wrapping_shl(b as u32);
                I64ShrS: u64 => u64, |a, b| (a as i64).wrapping_shr(b as u32) as u64;
                I64ShrU: u64 => u64, |a, b| a.wrapping_shr(b as u32);
                I64Rotl: u64 => u64, |a, b| a.rotate_left(b as u32 & 63);
                I64Rotr: u64 => u64, |a, b| a.rotate_right(b as u32 & 63);

                F32Add: f32 => f32, |a, b| canonical32(a + b);
                F32Sub: f32 => f32, |a, b| canonical32(a - b);
                F32Mul: f32 => f32, |a, b| canonical32(a * b);
                F32Div: f32 => f32, |a, b| canonical32(a / b);
                F32Min: f32 => f32, |a, b| min32(a, b);
                F32Max: f32 => f32, |a, b| max32(a, b);
                F32Copysign: f32 => f32, |a, b| {
                    f32::from_bits(a.to_bits() & !SIGN32 | b.to_bits() & SIGN32)
                };

                F64Add: f64 => f64, |a, b| canonical64(a + b);
                F64Sub: f64 => f64, |a, b| canonical64(a - b);
                F64Mul: f64 => f64, |a, b| canonical64(a * b);
                F64Div: f64 => f64, |a, b| canonical64(a / b);
                F64Min: f64 => f64, |a, b| min64(a, b);
                F64Max: f64 => f64, |a, b| max64(a, b);
                F64Copysign: f64 => f64, |a, b| {
                    f64::from_bits(a.to_bits() & !SIGN64 | b.to_bits() & SIGN64)
                };
            }
            unary {
                I32Clz: u32 => u32, |a| a.leading_zeros();
                I32Ctz: u32 => u32, |a| a.trailing_zeros();
                I32Popcnt: u32 => u32, |a| a.count_ones();
                I64Clz: u64 => u64, |a| u64::from(a.leading_zeros());
                I64Ctz: u64 => u64, |a| u64::from(a.trailing_zeros());
                I64Popcnt: u64 => u64, |a| u64::from(a.count_ones());

                F32Abs: f32 => f32, |a| f32::from_bits(a.to_bits() & !SIGN32);
                F32Neg: f32 => f32, |a| f32::from_bits(a.to_bits() ^ SIGN32);
                F32Ceil: f32 => f32, |a| canonical32(libm::ceilf(a));
                F32Floor: f32 => f32, |a| canonical32(libm::floorf(a));
                F32Trunc: f32 => f32, |a| canonical32(libm::truncf(a));
                F32Nearest: f32 => f32, |a| canonical32(libm::rintf(a));
                F32Sqrt: f32 => f32, |a| canonical32(libm::sqrtf(a));
                F64Abs: f64 => f64, |a| f64::from_bits(a.to_bits() & !SIGN64);
                F64Neg: f64 => f64, |a| f64::from_bits(a.to_bits() ^ SIGN64);
                F64Ceil: f64 => f64, |a| canonical64(libm::ceil(a));
                F64Floor: f64 => f64, |a| canonical64(libm::floor(a));
                F64Trunc: f64 => f64, |a| canonical64(libm::trunc(a));
                F64Nearest: f64 => f64, |a| canonical64(libm::rint(a));
                F64Sqrt: f64 => f64, |a| canonical64(libm::sqrt(a));

                I32WrapI64: u64 => u32, |a| a as u32;
                I32TruncF32S: f32 => u32, |a| integer(f64::from(a), -2_147_483_649.0, 2_147_483_648.0)? as i32 as u32;
                I32TruncF32U: f32 => u32, |a| integer(f64::from(a), -1.0, 4_294_967_296.0)? as u32;
                I32TruncF64S: f64 => u32, |a| integer(a, -2_147_483_649.0, 2_147_483_648.0)? as i32 as u32;
                I32TruncF64U: f64 => u32, |a| integer(a, -1.0, 4_294_967_296.0)? as u32;
                I64ExtendI32S: u32 => u64, |a| a as i32 as u64;
                I64ExtendI32U: u32 => u64, |a| u64::from(a);
                I64TruncF32S: f32 => u64, |a| integer(f64::from(a), BELOW_I64, ABOVE_I64)? as i64 as u64;
                I64TruncF32U: f32 => u64, |a| integer(f64::from(a), -1.0, ABOVE_U64)? as u64;
                I64TruncF64S: f64 => u64, |a| integer(a, BELOW_I64, ABOVE_I64)? as i64 as u64;
                I64TruncF64U: f64 => u64, |a| integer(a, -1.0, ABOVE_U64)? as u64;
                F32ConvertI32S: u32 => f32, |a| a as i32 as f32;
                F32ConvertI32U: u32 => f32, |a| a as f32;
                F32ConvertI64S: u64 => f32, |a| a as i64 as f32;
                F32ConvertI64U: u64 => f32, |a| a as f32;
                F32DemoteF64: f64 => f32, |a| canonical32(a as f32);
                F64ConvertI32S: u32 => f64, |a| f64::from(a as i32);
                F64ConvertI32U: u32 => f64, |a| f64::from(a);
                F64ConvertI64S: u64 => f64, |a| a as i64 as f64;
                F64ConvertI64U: u64 => f64, |a| a as f64;
                F64PromoteF32: f32 => f64, |a| canonical64(f64::from(a));
                I32ReinterpretF32: f32 => u32, |a| a.to_bits();
                I64ReinterpretF64: f64 => u64, |a| a.to_bits();
                F32ReinterpretI32: u32 => f32, |a| f32::from_bits(a);
                F64ReinterpretI64: u64 => f64, |a| f64::from_bits(a);
                I32Extend8S: u32 => u32, |a| a as i8 as u32;
                I32Extend16S: u32 => u32, |a| a as i16 as u32;
                I64Extend8S: u64 => u64, |a| a as i8 as u64;
                I64Extend16S: u64 => u64, |a| a as i16 as u64;
                I64Extend32S: u64 => u64, |a| a as i32 as u64;
                I32TruncSatF32S: f32 => u32, |a| a as i32 as u32;
                I32TruncSatF32U: f32 => u32, |a| a as u32;
                I32TruncSatF64S: f64 => u32, |a| a as i32 as u32;
                I32TruncSatF64U: f64 => u32, |a| a as u32;
                I64TruncSatF32S: f32 => u64, |a| a as i64 as u64;
                I64TruncSatF32U: f32 => u64, |a| a as u64;
                I64TruncSatF64S: f64 => u64, |a| a as i64 as u64;
                I64TruncSatF64U: f64 => u64, |a| a as u64;
            }
        }
    };
}
pub(super) use operations;

pub(super) const SIGN32: u32 = 1 << 31;
pub(super) const SIGN64: u64 = 1 << 63;
const QUIET32: u32 = 0x7fc0_0000;
const QUIET64: u64 = 0x7ff8_0000_0000_0000;
/// The largest double below the range of `i64`, and the ends of the ranges above.
pub(super) const BELOW_I64: f64 = -9_223_372_036_854_777_856.0;
pub(super) const ABOVE_I64: f64 = 9_223_372_036_854_775_808.0;
pub(super) const ABOVE_U64: f64 = 18_446_744_073_709_551_616.0;

#[inline(always)]
pub(super) fn canonical32(value: f32) -> f32 {
    if value.is_nan() {
        cold_path();
        return f32::from_bits(QUIET32);
    }
    value
}

#[inline(always)]
pub(super) fn canonical64(value: f64) -> f64 {
    if value.is_nan() {
        cold_path();
        return f64::from_bits(QUIET64);
    }
    value
}

/// The smaller value; a NaN if one of the two is a NaN; the negative one of two zeros.
#[inline(always)]
pub(super) fn min32(a: f32, b: f32) -> f32 {
    if a < b {
        a
    } else if b < a {
        b
    } else if a == b {
        f32::from_bits(a.to_bits() | b.to_bits())
    } else {
        f32::from_bits(QUIET32)
    }
}

#[inline(always)]
pub(super) fn max32(a: f32, b: f32) -> f32 {
    if a > b {
        a
    } else if b > a {
        b
    } else if a == b {
        f32::from_bits(a.to_bits() & b.to_bits())
    } else {
        f32::from_bits(QUIET32)
    }
}

#[inline(always)]
pub(super) fn min64(a: f64, b: f64) -> f64 {
    if a < b {
        a
    } else if b < a {
        b
    } else if a == b {
        f64::from_bits(a.to_bits() | b.to_bits())
    } else {
        f64::from_bits(QUIET64)
    }
}

#[inline(always)]
pub(super) fn max64(a: f64, b: f64) -> f64 {
    if a > b {
        a
    } else if b > a {
        b
    } else if a == b {
        f64::from_bits(a.to_bits() & b.to_bits())
    } else {
        f64::from_bits(QUIET64)
    }
}

/// Checks that a float lies between the bounds, both excluded, before it becomes an integer.
#[inline(always)]
pub(super) fn integer(value: f64, above: f64, below: f64) -> Result<f64, Trap> {
    if value > above && value < below {
        Ok(value)
    } else if value.is_nan() {
        Err(Trap::BadConversion)
    } else {
        Err(Trap::IntegerOverflow)
    }
}
