//! Function signatures: a subset of WIT function types.
//!
//! The text form is `func(samples: list<f32>, window: u32) -> list<f32>`; the stored form has one
//! byte for each type.

use core::fmt;
use core::str::FromStr;

use crate::abi::MAX_FLAT;

/// A function takes at most this many parameters.
pub const MAX_PARAMS: usize = 8;
/// A function has at most this many results.
pub const MAX_RESULTS: usize = 4;

const LIST: u8 = 0x20;
const STRING: u8 = 0x40;

/// A number or truth value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Scalar {
    /// True or false; 0 or 1 in WebAssembly.
    Bool = 0,
    /// Unsigned, 8 bits.
    U8 = 1,
    /// Signed, 8 bits.
    S8 = 2,
    /// Unsigned, 16 bits.
    U16 = 3,
    /// Signed, 16 bits.
    S16 = 4,
    /// Unsigned, 32 bits.
    U32 = 5,
    /// Signed, 32 bits.
    S32 = 6,
    /// Unsigned, 64 bits.
    U64 = 7,
    /// Signed, 64 bits.
    S64 = 8,
    /// IEEE 754 binary32.
    F32 = 9,
    /// IEEE 754 binary64.
    F64 = 10,
}

impl Scalar {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Bool, "bool"),
        (Self::U8, "u8"),
        (Self::S8, "s8"),
        (Self::U16, "u16"),
        (Self::S16, "s16"),
        (Self::U32, "u32"),
        (Self::S32, "s32"),
        (Self::U64, "u64"),
        (Self::S64, "s64"),
        (Self::F32, "f32"),
        (Self::F64, "f64"),
    ];

    /// The bytes that one element of a list takes in linear memory.
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::S8 => 1,
            Self::U16 | Self::S16 => 2,
            Self::U32 | Self::S32 | Self::F32 => 4,
            Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    /// The WebAssembly type that carries it.
    pub const fn flat(self) -> FlatType {
        match self {
            Self::F32 => FlatType::F32,
            Self::F64 => FlatType::F64,
            Self::U64 | Self::S64 => FlatType::I64,
            Self::Bool | Self::U8 | Self::S8 | Self::U16 | Self::S16 | Self::U32 | Self::S32 => {
                FlatType::I32
            }
        }
    }

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, own)| *own == name)
            .map(|(scalar, _)| *scalar)
    }
}

/// The number types of WebAssembly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlatType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
}

/// The type of a parameter or result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// One value, passed as one WebAssembly value.
    Scalar(Scalar),
    /// Many values, passed as address and element count.
    List(Scalar),
    /// UTF-8 text, passed as address and byte count.
    String,
}

impl Type {
    const fn code(self) -> u8 {
        match self {
            Self::Scalar(scalar) => scalar as u8,
            Self::List(scalar) => LIST | scalar as u8,
            Self::String => STRING,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        if code == STRING {
            return Some(Self::String);
        }
        let (scalar, _) = *Scalar::ALL.get(usize::from(code & !LIST))?;
        Some(if code & LIST == 0 {
            Self::Scalar(scalar)
        } else {
            Self::List(scalar)
        })
    }

    /// The element type of a list or string.
    pub const fn element(self) -> Option<Scalar> {
        match self {
            Self::Scalar(_) => None,
            Self::List(scalar) => Some(scalar),
            Self::String => Some(Scalar::U8),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.write_str(scalar.name()),
            Self::List(scalar) => write!(f, "list<{}>", scalar.name()),
            Self::String => f.write_str("string"),
        }
    }
}

impl FromStr for Type {
    type Err = BadSignature;

    fn from_str(text: &str) -> Result<Self, BadSignature> {
        let text = text.trim();
        if text == "string" {
            return Ok(Self::String);
        }
        let list = text
            .strip_prefix("list<")
            .and_then(|rest| rest.strip_suffix('>'));
        let scalar = Scalar::from_name(list.unwrap_or(text).trim());
        let scalar = scalar.ok_or(BadSignature::UnknownType)?;
        Ok(if list.is_some() {
            Self::List(scalar)
        } else {
            Self::Scalar(scalar)
        })
    }
}

/// The parameters and results of an exported function.
///
/// A list or string result must be the only result: the caller gives the space for it, as (address,
/// capacity) after the other parameters, and the function returns the element count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    codes: [u8; MAX_PARAMS + MAX_RESULTS],
    params: u8,
    results: u8,
}

impl Signature {
    /// The most bytes that [`encode`](Self::encode) writes.
    pub const MAX_BYTES: usize = 1 + MAX_PARAMS + MAX_RESULTS;

    /// A signature of these parameters and results.
    ///
    /// # Errors
    /// [`BadSignature`] if there are too many, or a list result is not the only one.
    pub fn new(params: &[Type], results: &[Type]) -> Result<Self, BadSignature> {
        if params.len() > MAX_PARAMS || results.len() > MAX_RESULTS {
            return Err(BadSignature::TooMany);
        }
        if results.len() > 1 && results.iter().any(|ty| ty.element().is_some()) {
            return Err(BadSignature::ListResult);
        }
        let mut codes = [0; MAX_PARAMS + MAX_RESULTS];
        for (code, ty) in codes.iter_mut().zip(params.iter().chain(results)) {
            *code = ty.code();
        }
        Ok(Self {
            codes,
            params: params.len() as u8,
            results: results.len() as u8,
        })
    }

    /// The parameter types in order.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Type> + Clone + '_ {
        Self::types(&self.codes[..usize::from(self.params)])
    }

    /// The result types in order.
    pub fn results(&self) -> impl ExactSizeIterator<Item = Type> + Clone + '_ {
        Self::types(&self.codes[usize::from(self.params)..][..usize::from(self.results)])
    }

    /// The element type of the list result, if there is one.
    pub fn list_result(&self) -> Option<Scalar> {
        self.results().next().and_then(Type::element)
    }

    /// The WebAssembly parameter types of a function with this signature.
    pub fn flat_params(&self) -> impl Iterator<Item = FlatType> + use<> {
        let mut flat = [FlatType::I32; MAX_FLAT];
        let mut len = 0;
        for ty in self.params() {
            if let Type::Scalar(scalar) = ty {
                flat[len] = scalar.flat();
                len += 1;
            } else {
                len += 2;
            }
        }
        if self.list_result().is_some() {
            len += 2;
        }
        flat.into_iter().take(len)
    }

    /// The WebAssembly result types of a function with this signature.
    pub fn flat_results(&self) -> impl Iterator<Item = FlatType> + '_ {
        self.results().map(|ty| match ty {
            Type::Scalar(scalar) => scalar.flat(),
            Type::List(_) | Type::String => FlatType::I32,
        })
    }

    /// Writes the stored form and returns its length: the parameter count, then one byte for each
    /// type.
    pub fn encode(&self, out: &mut [u8; Self::MAX_BYTES]) -> usize {
        let len = 1 + usize::from(self.params) + usize::from(self.results);
        out[0] = self.params;
        out[1..len].copy_from_slice(&self.codes[..len - 1]);
        len
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&params, codes) = bytes.split_first()?;
        let params = usize::from(params);
        let results = codes.len().checked_sub(params)?;
        if params > MAX_PARAMS || results > MAX_RESULTS {
            return None;
        }
        let is_list = |code: &u8| code & (LIST | STRING) != 0;
        let are_types = codes.iter().all(|code| Type::from_code(*code).is_some());
        if !are_types || results > 1 && codes[params..].iter().any(is_list) {
            return None;
        }
        let mut own = [0; MAX_PARAMS + MAX_RESULTS];
        own[..codes.len()].copy_from_slice(codes);
        Some(Self {
            codes: own,
            params: params as u8,
            results: results as u8,
        })
    }

    fn types(codes: &[u8]) -> impl ExactSizeIterator<Item = Type> + Clone + '_ {
        codes
            .iter()
            .map(|code| Type::from_code(*code).expect("codes are made from types"))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, types: &mut dyn Iterator<Item = Type>| {
            types
                .enumerate()
                .try_for_each(|(at, ty)| write!(f, "{}{ty}", if at > 0 { ", " } else { "" }))
        };
        f.write_str("func(")?;
        list(f, &mut self.params())?;
        f.write_str(")")?;
        match self.results {
            0 => Ok(()),
            1 => self.results().try_for_each(|ty| write!(f, " -> {ty}")),
            _ => {
                f.write_str(" -> tuple<")?;
                list(f, &mut self.results())?;
                f.write_str(">")
            }
        }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Signature {
    type Err = BadSignature;

    /// Reads `func(name: type, ...) -> type`; names are optional, several results are written
    /// `tuple<type, ...>`.
    fn from_str(text: &str) -> Result<Self, BadSignature> {
        let rest = text
            .trim()
            .strip_prefix("func")
            .ok_or(BadSignature::Syntax)?
            .trim_start();
        let (params, rest) = rest
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or(BadSignature::Syntax)?;
        let rest = rest.trim();
        let results = match rest.strip_prefix("->") {
            Some(results) => results.trim(),
            None if rest.is_empty() => "",
            None => return Err(BadSignature::Syntax),
        };
        let tuple = results
            .strip_prefix("tuple<")
            .and_then(|rest| rest.strip_suffix('>'));

        let mut types = [Type::String; MAX_PARAMS + MAX_RESULTS];
        let params = read_types(params, &mut types[..MAX_PARAMS])?;
        let (param_types, result_types) = types.split_at_mut(MAX_PARAMS);
        let results = read_types(tuple.unwrap_or(results), &mut result_types[..MAX_RESULTS])?;
        Self::new(&param_types[..params], &result_types[..results])
    }
}

/// Reads types separated by commas, each with an optional `name:`; returns how many.
fn read_types(text: &str, out: &mut [Type]) -> Result<usize, BadSignature> {
    if text.trim().is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    for part in text.split(',') {
        let ty = part.rsplit_once(':').map_or(part, |(_, ty)| ty);
        *out.get_mut(count).ok_or(BadSignature::TooMany)? = ty.parse()?;
        count += 1;
    }
    Ok(count)
}

/// Why a signature was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadSignature {
    /// Not of the form `func(type, ...) -> type`.
    Syntax,
    /// A type outside the subset.
    UnknownType,
    /// More than [`MAX_PARAMS`] parameters or [`MAX_RESULTS`] results.
    TooMany,
    /// A list or string among several results.
    ListResult,
}

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "a signature has the form func(name: type, ...) -> type",
            Self::UnknownType => {
                "a type is bool, u8, s8, u16, s16, u32, s32, u64, s64, f32, f64, string or list<..>"
            }
            Self::TooMany => "at most 8 parameters and 4 results",
            Self::ListResult => "a list or string result must be the only result",
        })
    }
}

impl core::error::Error for BadSignature {}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate alloc;
    use alloc::string::ToString;

    #[test]
    fn text_and_stored_form_round_trip() {
        for text in [
            "func()",
            "func(u32, u32) -> u32",
            "func(list<f32>, u32) -> list<f32>",
            "func(string) -> bool",
            "func(s64) -> tuple<f32, f64>",
        ] {
            let signature: Signature = text.parse().unwrap();
            assert_eq!(signature.to_string(), text);
            let mut bytes = [0; Signature::MAX_BYTES];
            let len = signature.encode(&mut bytes);
            assert_eq!(Signature::decode(&bytes[..len]), Some(signature));
        }
        let named: Signature = "func(samples: list<f32>, w: u32) -> f32".parse().unwrap();
        assert_eq!(named.to_string(), "func(list<f32>, u32) -> f32");
    }

    #[test]
    fn a_list_crosses_as_address_and_length() {
        let signature: Signature = "func(list<s32>, u32) -> list<s32>".parse().unwrap();
        assert_eq!(signature.flat_params().count(), 5);
        assert_eq!(signature.flat_results().count(), 1);
    }

    #[test]
    fn what_is_outside_the_subset_is_refused() {
        for text in [
            "",
            "func",
            "func(",
            "func(i32)",
            "func() -> tuple<list<u8>, u8>",
            "func() u8",
            "func(u8,u8,u8,u8,u8,u8,u8,u8,u8)",
            "func(list<list<u8>>)",
            "func(,)",
        ] {
            assert!(text.parse::<Signature>().is_err(), "{text}");
        }
        assert_eq!(Signature::decode(&[]), None);
        assert_eq!(Signature::decode(&[2, 0]), None);
        assert_eq!(Signature::decode(&[1, 0x1f]), None);
    }
}
