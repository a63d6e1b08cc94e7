//! Converts values between CBOR and a module's linear memory.
//!
//! Arguments and results are CBOR arrays. Numbers become WebAssembly values; a list becomes an
//! address and an element count. The host copies lists; no code of the caller or the callee runs
//! for that. WebAssembly values are handled as their bits, in the order of
//! [`Signature::flat_params`] and [`Signature::flat_results`].
//!
//! ```text
//!   caller's memory --lift_args--> CBOR --lower_args--> callee's memory
//!   caller's memory <-lower_result- CBOR <-lift_result-- callee's memory
//! ```

use core::fmt;
use minicbor::data::Type as CborType;
use minicbor::encode::write::Cursor;
use minicbor::{Decoder, Encoder};

use crate::{Area, MAX_PARAMS, Scalar, Signature, Type};

/// The most WebAssembly values that one side of a call has.
pub const MAX_FLAT: usize = 2 * MAX_PARAMS + 2;

/// Values as WebAssembly bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flat {
    bits: [u64; MAX_FLAT],
    len: usize,
}

impl Flat {
    const fn new() -> Self {
        Self {
            bits: [0; MAX_FLAT],
            len: 0,
        }
    }

    fn push(&mut self, bits: u64) {
        // At most two values a parameter and two for the result's space: MAX_FLAT.
        self.bits[self.len] = bits;
        self.len += 1;
    }
}

impl core::ops::Deref for Flat {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.bits[..self.len]
    }
}

/// Why values cannot be converted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AbiError {
    /// Not a CBOR array, or bytes left over.
    NotAnArray,
    /// The array has another number of values than the signature.
    Count {
        /// How many values the signature has.
        expected: usize,
    },
    /// A value is not of the signature's type, or out of its range.
    WrongType {
        /// The index of the value, from 0.
        index: usize,
        /// The type in the signature.
        expected: Type,
    },
    /// A list does not fit the argument area or the caller's space.
    DoesNotFit {
        /// The index of the value, from 0.
        index: usize,
    },
    /// A module gave an address range outside its memory, or an impossible count.
    OutOfBounds,
    /// The output buffer is too short.
    BufferFull,
}

impl fmt::Display for AbiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnArray => f.write_str("the values are not one CBOR array"),
            Self::Count { expected } => write!(f, "{expected} values are expected"),
            Self::WrongType { index, expected } => {
                write!(
                    f,
                    "value {} is not a {expected}, or out of range",
                    index + 1
                )
            }
            Self::DoesNotFit { index } => {
                write!(
                    f,
                    "the list in value {} does not fit the space for it",
                    index + 1
                )
            }
            Self::OutOfBounds => f.write_str("the module gave an address outside its memory"),
            Self::BufferFull => f.write_str("the values do not fit the message buffer"),
        }
    }
}

impl core::error::Error for AbiError {}

/// Converts the CBOR array `args` for the callee: copies lists to `area` of `memory`, and leaves
/// the rest of the area as space for a list result.
///
/// # Errors
/// [`AbiError`] if the values do not match the signature or the area is too small.
pub fn lower_args(
    signature: &Signature,
    args: &[u8],
    area: Area,
    memory: &mut [u8],
) -> Result<Flat, AbiError> {
    let mut flat = Flat::new();
    let mut space = Space::new(area, memory)?;
    let mut values = open(args, signature.params().len())?;
    for (index, ty) in signature.params().enumerate() {
        let expected = ty;
        match ty {
            Type::Scalar(scalar) => {
                let bits = read_scalar(&mut values, scalar);
                flat.push(bits.ok_or(AbiError::WrongType { index, expected })?);
            }
            Type::List(scalar) => {
                space.align(scalar.size());
                let address = space.next;
                let count = read_list(&mut values, scalar, |bytes| space.write(bytes));
                let count = count.map_err(|error| error.at(index, expected))?;
                flat.push(address as u64);
                flat.push(count as u64);
            }
            Type::String => {
                let address = space.next;
                let text = values
                    .str()
                    .map_err(|_| AbiError::WrongType { index, expected })?;
                space
                    .write(text.as_bytes())
                    .ok_or(AbiError::DoesNotFit { index })?;
                flat.push(address as u64);
                flat.push(text.len() as u64);
            }
        }
    }
    close(&values)?;
    if let Some(scalar) = signature.list_result() {
        space.align(scalar.size());
        let left = space.end.saturating_sub(space.next);
        flat.push(space.next as u64);
        flat.push((left / scalar.size()) as u64);
    }
    Ok(flat)
}

/// Writes the callee's results as a CBOR array and returns its length. `args` are the values
/// that [`lower_args`] made for the call.
///
/// # Errors
/// [`AbiError`] if the callee claims a list outside its space, or `out` is too short.
pub fn lift_result(
    signature: &Signature,
    args: &[u64],
    results: &[u64],
    memory: &[u8],
    out: &mut [u8],
) -> Result<usize, AbiError> {
    let mut encoder = begin(out, signature.results().len())?;
    if let Some(scalar) = signature.list_result() {
        let [.., address, capacity] = *args else {
            return Err(AbiError::OutOfBounds);
        };
        let count = *results.first().ok_or(AbiError::OutOfBounds)? & 0xffff_ffff;
        if count > capacity {
            return Err(AbiError::OutOfBounds);
        }
        let text = signature.results().next() == Some(Type::String);
        write_list(
            &mut encoder,
            scalar,
            text,
            slice(memory, address, count, scalar)?,
        )?;
    } else {
        for (ty, bits) in signature.results().zip(results) {
            if let Type::Scalar(scalar) = ty {
                write_scalar(&mut encoder, scalar, *bits)?;
            }
        }
    }
    Ok(encoder.writer().position())
}

/// Writes the arguments that a caller passes to another tasklet as a CBOR array and returns its
/// length.
///
/// # Errors
/// [`AbiError`] if the caller points outside its memory, or `out` is too short.
pub fn lift_args(
    signature: &Signature,
    flat: &[u64],
    memory: &[u8],
    out: &mut [u8],
) -> Result<usize, AbiError> {
    let mut encoder = begin(out, signature.params().len())?;
    let mut flat = flat.iter().copied();
    let mut next = || flat.next().ok_or(AbiError::OutOfBounds);
    for ty in signature.params() {
        match ty {
            Type::Scalar(scalar) => write_scalar(&mut encoder, scalar, next()?)?,
            Type::List(_) | Type::String => {
                let scalar = ty.element().expect("lists and strings have elements");
                let (address, count) = (next()?, next()? & 0xffff_ffff);
                let bytes = slice(memory, address, count, scalar)?;
                write_list(&mut encoder, scalar, ty == Type::String, bytes)?;
            }
        }
    }
    Ok(encoder.writer().position())
}

/// Converts the CBOR array `results` for the caller: copies a list to the space that the caller
/// gave. `args` are the values of the caller's call.
///
/// # Errors
/// [`AbiError`] if the values do not match the signature or the space is too small.
pub fn lower_result(
    signature: &Signature,
    args: &[u64],
    results: &[u8],
    memory: &mut [u8],
) -> Result<Flat, AbiError> {
    let mut flat = Flat::new();
    let mut values = open(results, signature.results().len())?;
    if let Some(scalar) = signature.list_result() {
        let expected = signature
            .results()
            .next()
            .expect("a list result is a result");
        let [.., address, capacity] = *args else {
            return Err(AbiError::OutOfBounds);
        };
        let capacity = capacity & 0xffff_ffff;
        slice(memory, address, capacity, scalar)?;
        let len = capacity as usize * scalar.size();
        let area = Area {
            offset: address as u32,
            len: len as u32,
        };
        let mut space = Space::new(area, memory)?;
        let count = if expected == Type::String {
            let text = values
                .str()
                .map_err(|_| AbiError::WrongType { index: 0, expected })?;
            space
                .write(text.as_bytes())
                .ok_or(AbiError::DoesNotFit { index: 0 })?;
            text.len()
        } else {
            let count = read_list(&mut values, scalar, |bytes| space.write(bytes));
            count.map_err(|error| error.at(0, expected))?
        };
        flat.push(count as u64);
    } else {
        for (index, ty) in signature.results().enumerate() {
            if let Type::Scalar(scalar) = ty {
                let bits = read_scalar(&mut values, scalar);
                flat.push(bits.ok_or(AbiError::WrongType {
                    index,
                    expected: ty,
                })?);
            }
        }
    }
    close(&values)?;
    Ok(flat)
}

/// Checks that the CBOR array `args` matches the parameters of `signature`, without a memory.
///
/// # Errors
/// [`AbiError`] names the first value that does not match.
pub fn check_args(signature: &Signature, args: &[u8]) -> Result<(), AbiError> {
    let mut values = open(args, signature.params().len())?;
    for (index, expected) in signature.params().enumerate() {
        let matches = match expected {
            Type::Scalar(scalar) => read_scalar(&mut values, scalar).is_some(),
            Type::List(scalar) => read_list(&mut values, scalar, |_| Some(())).is_ok(),
            Type::String => values.str().is_ok(),
        };
        if !matches {
            return Err(AbiError::WrongType { index, expected });
        }
    }
    close(&values)
}

/// The part of a memory that lists are copied to.
struct Space<'m> {
    memory: &'m mut [u8],
    next: usize,
    end: usize,
}

impl<'m> Space<'m> {
    fn new(area: Area, memory: &'m mut [u8]) -> Result<Self, AbiError> {
        let next = area.offset as usize;
        let end = next
            .checked_add(area.len as usize)
            .filter(|end| *end <= memory.len());
        let end = end.ok_or(AbiError::OutOfBounds)?;
        Ok(Self { memory, next, end })
    }

    fn align(&mut self, size: usize) {
        self.next = self.next.next_multiple_of(size);
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        let to = self
            .next
            .checked_add(bytes.len())
            .filter(|to| *to <= self.end)?;
        self.memory[self.next..to].copy_from_slice(bytes);
        self.next = to;
        Some(())
    }
}

fn slice(memory: &[u8], address: u64, count: u64, scalar: Scalar) -> Result<&[u8], AbiError> {
    let address = (address & 0xffff_ffff) as usize;
    let len = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(scalar.size()));
    let end = len
        .and_then(|len| address.checked_add(len))
        .ok_or(AbiError::OutOfBounds)?;
    memory.get(address..end).ok_or(AbiError::OutOfBounds)
}

fn open(bytes: &[u8], expected: usize) -> Result<Decoder<'_>, AbiError> {
    let mut decoder = Decoder::new(bytes);
    match decoder.array() {
        Ok(Some(count)) if count == expected as u64 => Ok(decoder),
        Ok(Some(_)) => Err(AbiError::Count { expected }),
        _ => Err(AbiError::NotAnArray),
    }
}

fn close(decoder: &Decoder<'_>) -> Result<(), AbiError> {
    if decoder.position() == decoder.input().len() {
        Ok(())
    } else {
        Err(AbiError::NotAnArray)
    }
}

fn begin(out: &mut [u8], values: usize) -> Result<Encoder<Cursor<&mut [u8]>>, AbiError> {
    let mut encoder = Encoder::new(Cursor::new(out));
    encoder
        .array(values as u64)
        .map_err(|_| AbiError::BufferFull)?;
    Ok(encoder)
}

/// Reads one value as WebAssembly bits; integers are also accepted where floats are expected.
fn read_scalar(values: &mut Decoder<'_>, scalar: Scalar) -> Option<u64> {
    // Numbers are read at full width, since the decoder has a long routine for each other width.
    let unsigned = |max: u64, values: &mut Decoder<'_>| {
        let value = values.u64().ok()?;
        (value <= max).then_some(value)
    };
    let signed32 = |min: i32, values: &mut Decoder<'_>| {
        let value = i32::try_from(values.i64().ok()?).ok()?;
        // From -n to n - 1.
        (min <= value && value <= !min).then_some(u64::from(value as u32))
    };
    match scalar {
        Scalar::Bool => values.bool().ok().map(u64::from),
        Scalar::U8 => unsigned(u8::MAX.into(), values),
        Scalar::U16 => unsigned(u16::MAX.into(), values),
        Scalar::U32 => unsigned(u32::MAX.into(), values),
        Scalar::U64 => unsigned(u64::MAX, values),
        Scalar::S8 => signed32(i8::MIN.into(), values),
        Scalar::S16 => signed32(i16::MIN.into(), values),
        Scalar::S32 => signed32(i32::MIN, values),
        Scalar::S64 => values.i64().ok().map(|value| value as u64),
        Scalar::F32 => Some(u64::from((read_float(values)? as f32).to_bits())),
        Scalar::F64 => Some(read_float(values)?.to_bits()),
    }
}

fn read_float(values: &mut Decoder<'_>) -> Option<f64> {
    let datatype = values.datatype().ok()?;
    if matches!(datatype, CborType::F16 | CborType::F32) {
        values.f32().ok().map(f64::from)
    } else if datatype == CborType::F64 {
        values.f64().ok()
    } else {
        let value = values.int().ok()?;
        if let Ok(value) = u64::try_from(value) {
            return Some(value as f64);
        }
        // A negative number is -1 - n. A conversion from 128 bits would be a long routine.
        let n = !i128::from(value) as u64;
        const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
        let magnitude = n.checked_add(1).map_or(TWO_TO_64, |it| it as f64);
        Some(-magnitude)
    }
}

enum ListError {
    Type,
    Space,
}

impl ListError {
    fn at(self, index: usize, expected: Type) -> AbiError {
        match self {
            Self::Type => AbiError::WrongType { index, expected },
            Self::Space => AbiError::DoesNotFit { index },
        }
    }
}

/// Reads an array (or, for `u8`, a byte string) and gives each element's little-endian bytes to
/// `write`.
fn read_list(
    values: &mut Decoder<'_>,
    scalar: Scalar,
    mut write: impl FnMut(&[u8]) -> Option<()>,
) -> Result<usize, ListError> {
    if scalar == Scalar::U8 && values.datatype().ok() == Some(CborType::Bytes) {
        let bytes = values.bytes().map_err(|_| ListError::Type)?;
        return write(bytes).map(|()| bytes.len()).ok_or(ListError::Space);
    }
    let count = values.array().ok().flatten().ok_or(ListError::Type)?;
    for _ in 0..count {
        let bits = read_scalar(values, scalar).ok_or(ListError::Type)?;
        write(&bits.to_le_bytes()[..scalar.size()]).ok_or(ListError::Space)?;
    }
    Ok(count as usize)
}

fn write_scalar(
    encoder: &mut Encoder<Cursor<&mut [u8]>>,
    scalar: Scalar,
    bits: u64,
) -> Result<(), AbiError> {
    let written = match scalar {
        Scalar::Bool => encoder.bool(bits as u32 != 0),
        Scalar::U8 => encoder.u8(bits as u8),
        Scalar::U16 => encoder.u16(bits as u16),
        Scalar::U32 => encoder.u32(bits as u32),
        Scalar::U64 => encoder.u64(bits),
        Scalar::S8 => encoder.i8(bits as i8),
        Scalar::S16 => encoder.i16(bits as i16),
        Scalar::S32 => encoder.i32(bits as i32),
        Scalar::S64 => encoder.i64(bits as i64),
        Scalar::F32 => encoder.f32(f32::from_bits(bits as u32)),
        Scalar::F64 => encoder.f64(f64::from_bits(bits)),
    };
    written.map(drop).map_err(|_| AbiError::BufferFull)
}

fn write_list(
    encoder: &mut Encoder<Cursor<&mut [u8]>>,
    scalar: Scalar,
    text: bool,
    bytes: &[u8],
) -> Result<(), AbiError> {
    if text {
        let text = core::str::from_utf8(bytes).map_err(|_| AbiError::OutOfBounds)?;
        return encoder
            .str(text)
            .map(drop)
            .map_err(|_| AbiError::BufferFull);
    }
    if scalar == Scalar::U8 {
        return encoder
            .bytes(bytes)
            .map(drop)
            .map_err(|_| AbiError::BufferFull);
    }
    let count = (bytes.len() / scalar.size()) as u64;
    encoder.array(count).map_err(|_| AbiError::BufferFull)?;
    for element in bytes.chunks_exact(scalar.size()) {
        let mut bits = [0; 8];
        bits[..element.len()].copy_from_slice(element);
        write_scalar(encoder, scalar, u64::from_le_bytes(bits))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    extern crate alloc;
    use alloc::vec;
    use alloc::vec::Vec;

    fn cbor(write: impl FnOnce(&mut Encoder<Cursor<&mut [u8]>>)) -> Vec<u8> {
        let mut out = vec![0; 1024];
        let mut encoder = Encoder::new(Cursor::new(&mut out[..]));
        write(&mut encoder);
        let len = encoder.writer().position();
        out.truncate(len);
        out
    }

    #[test]
    fn integers_are_read_exactly_and_refused_outside_their_range() {
        let ranges = [
            (Scalar::U8, 0, i128::from(u8::MAX)),
            (Scalar::U16, 0, u16::MAX.into()),
            (Scalar::U32, 0, u32::MAX.into()),
            (Scalar::U64, 0, u64::MAX.into()),
            (Scalar::S8, i8::MIN.into(), i8::MAX.into()),
            (Scalar::S16, i16::MIN.into(), i16::MAX.into()),
            (Scalar::S32, i32::MIN.into(), i32::MAX.into()),
            (Scalar::S64, i64::MIN.into(), i64::MAX.into()),
        ];
        let ends = [7, 8, 15, 16, 31, 32, 53, 54, 63, 64].map(|bits| 1i128 << bits);
        let ends = ends.into_iter().flat_map(|end| [end, -end]);
        for value in ends.flat_map(|end| end - 2..=end + 2).chain([0]) {
            let Ok(int) = minicbor::data::Int::try_from(value) else {
                continue;
            };
            let bytes = cbor(|encoder| {
                encoder.int(int).unwrap();
            });
            for (scalar, min, max) in ranges {
                let bits = read_scalar(&mut Decoder::new(&bytes), scalar);
                let width = if scalar.size() == 8 {
                    u64::MAX
                } else {
                    u32::MAX.into()
                };
                let expected = (min <= value && value <= max).then_some(value as u64 & width);
                assert_eq!(bits, expected, "{value} as {scalar:?}");
            }
            let float = read_scalar(&mut Decoder::new(&bytes), Scalar::F64);
            assert_eq!(float, Some((value as f64).to_bits()), "{value}");
        }
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        let pairs = digits.chunks(2);
        pairs.map(|it| (it[0] << 4 | it[1]) as u8).collect()
    }

    /// The lines of a block of spec/values.md: a type's name and what follows it.
    fn vectors(block: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        let spec = include_str!("../../../spec/values.md");
        let start = spec.find(block).unwrap() + block.len();
        let block = spec[start..].split("```").next().unwrap();
        let lines = block.lines().skip(1);
        lines.map(|line| line.split_once(' ').unwrap())
    }

    const AREA: Area = Area {
        offset: 16,
        len: 64,
    };

    /// The value of a vector as WebAssembly values and as a memory.
    fn given(ty: Type, value: &str) -> (Vec<u64>, [u8; 128]) {
        let mut memory = [0; 128];
        let Some(element) = ty.element() else {
            return (vec![u64::from_str_radix(value, 16).unwrap()], memory);
        };
        let bytes = bytes_of(value);
        memory[16..16 + bytes.len()].copy_from_slice(&bytes);
        let count = bytes.len() / element.size();
        (vec![16, count as u64], memory)
    }

    #[test]
    fn the_specification_s_values_are_what_is_written_and_read() {
        for (block, written) in [("```hex written", true), ("```hex read", false)] {
            for (name, rest) in vectors(block) {
                let (value, cbor) = rest.trim().split_once(' ').unwrap();
                let (cbor, what) = (bytes_of(cbor), alloc::format!("{name} {rest}"));
                let signature: Signature = alloc::format!("func({name})").parse().unwrap();
                let ty = signature.params().next().unwrap();
                let (flat, memory) = given(ty, value);
                if written {
                    let mut out = [0; 64];
                    let len = lift_args(&signature, &flat, &memory, &mut out).unwrap();
                    assert_eq!(out[..len], cbor, "{what}");
                }
                check_args(&signature, &cbor).unwrap();
                let mut read = [0; 128];
                let lowered = lower_args(&signature, &cbor, AREA, &mut read).unwrap();
                assert_eq!((&lowered[..], read), (&flat[..], memory), "{what}");
            }
        }
        for (name, cbor) in vectors("```hex refused") {
            let signature: Signature = alloc::format!("func({name})").parse().unwrap();
            let refused = check_args(&signature, &bytes_of(cbor)).is_err();
            assert!(refused, "{name} {cbor}");
        }
    }

    #[test]
    fn a_list_crosses_into_the_callee_and_its_result_back_into_the_caller() {
        let signature: Signature = "func(list<s32>, u32) -> list<s32>".parse().unwrap();
        let area = Area {
            offset: 16,
            len: 64,
        };

        // The caller has two elements at 8 and space for four at 40.
        let mut caller = [0u8; 64];
        caller[8..12].copy_from_slice(&(-5i32).to_le_bytes());
        caller[12..16].copy_from_slice(&7i32.to_le_bytes());
        let call = [8, 2, 3, 40, 4];
        let mut message = [0; 64];
        let len = lift_args(&signature, &call, &caller, &mut message).unwrap();

        let mut callee = [0u8; 128];
        let flat = lower_args(&signature, &message[..len], area, &mut callee).unwrap();
        assert_eq!(flat[..], [16, 2, 3, 24, 14]);
        assert_eq!(callee[16..20], (-5i32).to_le_bytes());

        callee[24..28].copy_from_slice(&99i32.to_le_bytes());
        let len = lift_result(&signature, &flat, &[1], &callee, &mut message).unwrap();
        let flat = lower_result(&signature, &call, &message[..len], &mut caller).unwrap();
        assert_eq!(flat[..], [1]);
        assert_eq!(caller[40..44], 99i32.to_le_bytes());
    }

    #[test]
    fn wrong_values_name_the_place() {
        let signature: Signature = "func(u8, list<f32>) -> f32".parse().unwrap();
        let check = |bytes: &[u8]| check_args(&signature, bytes).unwrap_err();
        assert_eq!(check(&[0x80]), AbiError::Count { expected: 2 });
        assert_eq!(check(&[]), AbiError::NotAnArray);
        let args = cbor(|e| {
            e.array(2).unwrap().u16(256).unwrap().array(0).unwrap();
        });
        let expected = Type::Scalar(Scalar::U8);
        assert_eq!(check(&args), AbiError::WrongType { index: 0, expected });
        let args = cbor(|e| {
            drop(
                e.array(2)
                    .unwrap()
                    .u8(1)
                    .unwrap()
                    .array(1)
                    .unwrap()
                    .str("x"),
            )
        });
        let expected = Type::List(Scalar::F32);
        assert_eq!(check(&args), AbiError::WrongType { index: 1, expected });
        let good = cbor(|e| {
            e.array(2)
                .unwrap()
                .u8(1)
                .unwrap()
                .array(1)
                .unwrap()
                .u8(3)
                .unwrap();
        });
        check_args(&signature, &good).unwrap();
    }

    #[test]
    fn att_13_addresses_past_the_end_are_never_followed() {
        let signature: Signature = "func(list<u32>) -> list<u32>".parse().unwrap();
        let mut memory = [0u8; 32];
        let mut out = [0; 256];
        for (address, count) in [
            (28, 2),
            (0, 9),
            (u64::from(u32::MAX), 1),
            (0, u64::from(u32::MAX)),
            (33, 0),
        ] {
            let lifted = lift_args(&signature, &[address, count, 0, 0], &memory, &mut out);
            assert_eq!(lifted, Err(AbiError::OutOfBounds), "{address} {count}");
            let lowered = lower_result(
                &signature,
                &[0, 0, address, count],
                &[0x81, 0x80],
                &mut memory,
            );
            assert_eq!(lowered, Err(AbiError::OutOfBounds), "{address} {count}");
        }
        let area = Area { offset: 30, len: 8 };
        let lowered = lower_args(&signature, &[0x81, 0x80], area, &mut memory);
        assert_eq!(lowered, Err(AbiError::OutOfBounds));
        let lifted = lift_result(&signature, &[0, 0, 0, 2], &[3], &memory, &mut out);
        assert_eq!(lifted, Err(AbiError::OutOfBounds));
    }

    proptest! {
        #[test]
        fn random_arguments_never_panic_and_stay_in_the_area(
            bytes: Vec<u8>, offset in 0u32..80, len in 0u32..80,
        ) {
            for text in ["func(list<u16>, f64, string) -> list<u8>", "func(bool, s8) -> u64"] {
                let signature: Signature = text.parse().unwrap();
                let mut memory = [0xaa; 64];
                let _ = lower_args(&signature, &bytes, Area { offset, len }, &mut memory);
                for (at, byte) in memory.iter().enumerate() {
                    let inside = at >= offset as usize && at < (offset + len) as usize;
                    prop_assert!(inside || *byte == 0xaa);
                }
                let _ = lower_result(&signature, &[0, 0, 0, 4], &bytes, &mut memory);
                let _ = check_args(&signature, &bytes);
            }
        }
    }
}
