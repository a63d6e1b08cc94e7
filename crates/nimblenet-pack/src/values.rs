//! Arguments and results as people write them: CBOR diagnostic notation (RFC 8949, section 8).
//!
//! ```text
//!   -7  0xff  1.5  NaN  -Infinity  true  "text"  h'00ff'  [1, 2, 3]
//! ```
//! Each command line argument is one value; together they are the CBOR array that a call takes.

use std::fmt;
use std::str::FromStr;

use minicbor::data::{Int, Type};
use minicbor::{Decoder, Encoder};
use nimblenet_tasklet::{Scalar, Signature, Type as Expected};
use serde_json::Value as Json;

/// Lists in lists are not values of any signature; a few levels are read to say so later.
const DEPTH_MAX: usize = 4;

/// One value of a call.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// An integer from -2^64 to 2^64 - 1.
    Int(i128),
    /// A number that came as 32 bits; printed with no more digits than it has.
    Single(f32),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
    /// Bytes: a list of `u8`.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
}

/// The CBOR array of `items`.
pub fn encode(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    write_list(&mut encoder, items);
    bytes
}

/// The values of a CBOR array; nothing if it is not one, or holds what no call has.
pub fn decode(bytes: &[u8]) -> Option<Vec<Item>> {
    let mut decoder = Decoder::new(bytes);
    let items = read_list(&mut decoder, 0)?;
    (decoder.position() == bytes.len()).then_some(items)
}

/// Folds unsigned integers into the signed types of `signature`, whose types were derived from a
/// module that does not tell signed from unsigned.
pub fn wrap(items: &mut [Item], signature: &Signature) {
    for (item, expected) in items.iter_mut().zip(signature.params()) {
        if let (Item::Int(value), Expected::Scalar(scalar)) = (item, expected) {
            let bits = if scalar == Scalar::S32 {
                32
            } else if scalar == Scalar::S64 {
                64
            } else {
                continue;
            };
            if *value >= 1 << (bits - 1) && *value < 1 << bits {
                *value -= 1 << bits;
            }
        }
    }
}

/// The values as JSON. Numbers are exact; what JSON has no number for is one of the strings
/// `"NaN"`, `"Infinity"` and `"-Infinity"`; bytes are a list of numbers.
pub fn to_json(items: &[Item]) -> Json {
    Json::Array(items.iter().map(Item::to_json).collect())
}

impl Item {
    /// The value that is written so in JSON; nothing for what no call has.
    pub fn from_json(json: &Json) -> Option<Self> {
        Some(match json {
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Int(value.into()),
                (_, Some(value)) => Self::Int(value.into()),
                _ => Self::Float(number.as_f64()?),
            },
            Json::String(text) => match text.as_str() {
                "NaN" => Self::Float(f64::NAN),
                "Infinity" => Self::Float(f64::INFINITY),
                "-Infinity" => Self::Float(f64::NEG_INFINITY),
                _ => Self::Text(text.clone()),
            },
            Json::Array(items) => {
                Self::List(items.iter().map(Self::from_json).collect::<Option<_>>()?)
            }
            Json::Null | Json::Object(_) => return None,
        })
    }

    fn to_json(&self) -> Json {
        match self {
            Self::Int(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => value.to_string().into(),
            },
            Self::Single(_) | Self::Float(_) => {
                let text = self.to_string();
                // Past the parser only NaN and the infinities are not numbers.
                let number = text.parse().ok().and_then(serde_json::Number::from_f64);
                number.map_or(Json::String(text), Json::Number)
            }
            Self::Bool(value) => (*value).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => bytes.iter().copied().map(Json::from).collect(),
            Self::List(items) => to_json(items),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Single(value) if value.is_finite() => write!(f, "{value:?}"),
            Self::Float(value) if value.is_finite() => write!(f, "{value:?}"),
            Self::Single(value) => f.write_str(not_finite(f64::from(*value))),
            Self::Float(value) => f.write_str(not_finite(*value)),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => {
                f.write_str("h'")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

const fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn write_list(encoder: &mut Encoder<&mut Vec<u8>>, items: &[Item]) {
    const INFALLIBLE: &str = "a vector takes everything";
    encoder.array(items.len() as u64).expect(INFALLIBLE);
    for item in items {
        match item {
            Item::Int(value) => {
                let value = Int::try_from(*value).expect("the parser keeps the range");
                encoder.int(value).expect(INFALLIBLE);
            }
            Item::Single(value) => drop(encoder.f32(*value).expect(INFALLIBLE)),
            Item::Float(value) => {
                let single = *value as f32;
                if f64::from(single).to_bits() == value.to_bits() {
                    encoder.f32(single).expect(INFALLIBLE);
                } else {
                    encoder.f64(*value).expect(INFALLIBLE);
                }
            }
            Item::Bool(value) => drop(encoder.bool(*value).expect(INFALLIBLE)),
            Item::Text(text) => drop(encoder.str(text).expect(INFALLIBLE)),
            Item::Bytes(bytes) => drop(encoder.bytes(bytes).expect(INFALLIBLE)),
            Item::List(items) => write_list(encoder, items),
        }
    }
}

fn read_list(decoder: &mut Decoder<'_>, depth: usize) -> Option<Vec<Item>> {
    let count = decoder.array().ok().flatten()?;
    (0..count).map(|_| read(decoder, depth)).collect()
}

fn read(decoder: &mut Decoder<'_>, depth: usize) -> Option<Item> {
    let ty = decoder.datatype().ok()?;
    Some(if ty == Type::Bool {
        Item::Bool(decoder.bool().ok()?)
    } else if matches!(ty, Type::F16 | Type::F32) {
        Item::Single(decoder.f32().ok()?)
    } else if ty == Type::F64 {
        Item::Float(decoder.f64().ok()?)
    } else if ty == Type::String {
        Item::Text(decoder.str().ok()?.to_owned())
    } else if ty == Type::Bytes {
        Item::Bytes(decoder.bytes().ok()?.to_vec())
    } else if ty == Type::Array && depth < DEPTH_MAX {
        Item::List(read_list(decoder, depth + 1)?)
    } else {
        Item::Int(decoder.int().ok()?.into())
    })
}

impl FromStr for Item {
    type Err = BadItem;

    fn from_str(text: &str) -> Result<Self, BadItem> {
        let mut parser = Parser { rest: text };
        let item = parser.item(0)?;
        parser.skip_space();
        if parser.rest.is_empty() {
            Ok(item)
        } else {
            Err(BadItem(format!("{:?} is left over", parser.rest)))
        }
    }
}

/// Why a text is not a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadItem(String);

impl fmt::Display for BadItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; a value is written like -7, 1.5, true, \"text\", h'00ff' or [1, 2]",
            self.0
        )
    }
}

impl std::error::Error for BadItem {}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn item(&mut self, depth: usize) -> Result<Item, BadItem> {
        self.skip_space();
        if self.eat("[") {
            return self.list(depth);
        }
        if self.eat("\"") {
            return self.text();
        }
        if self.eat("h'") {
            return self.bytes();
        }
        self.word()
    }

    fn list(&mut self, depth: usize) -> Result<Item, BadItem> {
        if depth == DEPTH_MAX {
            return Err(BadItem("lists are nested too deeply".to_owned()));
        }
        let mut items = Vec::new();
        self.skip_space();
        if self.eat("]") {
            return Ok(Item::List(items));
        }
        loop {
            items.push(self.item(depth + 1)?);
            self.skip_space();
            if self.eat("]") {
                return Ok(Item::List(items));
            }
            if !self.eat(",") {
                return Err(BadItem("a list has no end".to_owned()));
            }
        }
    }

    /// Text after its opening quote, with the escapes of JSON.
    fn text(&mut self) -> Result<Item, BadItem> {
        let mut escaped = false;
        let end = self.rest.find(|next| {
            let end = next == '"' && !escaped;
            escaped = next == '\\' && !escaped;
            end
        });
        let end = end.ok_or_else(|| BadItem("a text has no end".to_owned()))?;
        let quoted = format!("\"{}\"", &self.rest[..end]);
        self.rest = &self.rest[end + 1..];
        let text = serde_json::from_str(&quoted);
        text.map(Item::Text)
            .map_err(|error| BadItem(format!("{quoted} is not a text ({error})")))
    }

    /// Hexadecimal bytes after their opening quote.
    fn bytes(&mut self) -> Result<Item, BadItem> {
        let bad = || BadItem("bytes are pairs of hexadecimal digits in h'..'".to_owned());
        let (digits, rest) = self.rest.split_once('\'').ok_or_else(bad)?;
        self.rest = rest;
        let digits: Option<Vec<u8>> = digits
            .chars()
            .filter(|next| !next.is_whitespace())
            .map(|next| next.to_digit(16).map(|digit| digit as u8))
            .collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0);
        let pairs = digits.ok_or_else(bad)?;
        Ok(Item::Bytes(
            pairs.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect(),
        ))
    }

    /// A number or a named value.
    fn word(&mut self) -> Result<Item, BadItem> {
        let end = self
            .rest
            .find(|next: char| next.is_whitespace() || ",[]\"'".contains(next));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            "true" => return Ok(Item::Bool(true)),
            "false" => return Ok(Item::Bool(false)),
            "NaN" => return Ok(Item::Float(f64::NAN)),
            "Infinity" => return Ok(Item::Float(f64::INFINITY)),
            "-Infinity" => return Ok(Item::Float(f64::NEG_INFINITY)),
            _ => {}
        }
        if let Some(value) = integer(word) {
            let range = -(1i128 << 64)..1 << 64;
            let out_of_range = || BadItem(format!("{word} is beyond 64 bits"));
            return range
                .contains(&value)
                .then_some(Item::Int(value))
                .ok_or_else(out_of_range);
        }
        let number = word.starts_with(|next: char| next.is_ascii_digit() || next == '-');
        let float = number.then(|| word.parse().ok()).flatten();
        float.map(Item::Float).ok_or_else(|| {
            BadItem(if word.is_empty() {
                "a value is missing".to_owned()
            } else {
                format!("{word:?} is not a value")
            })
        })
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

/// A decimal, hexadecimal, octal or binary integer.
fn integer(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        _ => (digits, 10),
    };
    let starts_well = digits.starts_with(|next: char| next.is_digit(radix));
    let value = i128::from_str_radix(digits, radix).ok();
    value.filter(|_| starts_well).map(|value| sign * value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Item {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn values_read_as_written_and_print_back() {
        let max = u64::MAX.to_string();
        let min = i64::MIN.to_string();
        for text in [
            "-7",
            "0",
            &max,
            &min,
            "1.5",
            "-0.0",
            "1e300",
            "NaN",
            "Infinity",
            "-Infinity",
            "true",
            "false",
            "\"a \\\"quoted\\\" word\"",
            "h'00ff'",
            "[]",
            "[1, [2.5, true], h'']",
        ] {
            assert_eq!(item(text).to_string(), text);
        }
        assert_eq!(item(" 0xff "), Item::Int(255));
        assert_eq!(item("-0b101"), Item::Int(-5));
        assert_eq!(item("h'00 Ff'"), Item::Bytes(vec![0, 255]));
        assert_eq!(item("\"\\u00e9\""), Item::Text("\u{e9}".to_owned()));
    }

    #[test]
    fn what_is_not_a_value_is_refused_with_the_reason() {
        for text in [
            "",
            "one",
            "1 2",
            "[1",
            "[1,]",
            "\"open",
            "h'0'",
            "h'xy'",
            "18446744073709551616",
            "--1",
            "0x",
            "inf",
            "nan",
            "+1",
            "[[[[[[1]]]]]]",
            "1]",
        ] {
            let error = text.parse::<Item>().expect_err(text);
            assert!(error.to_string().contains("a value is written like"));
        }
    }

    #[test]
    fn values_cross_cbor_unchanged() {
        let items = [
            "-3",
            "18446744073709551615",
            "true",
            "\"t\"",
            "h'0102'",
            "[1, 2]",
            "1e300",
        ];
        let items: Vec<Item> = items.into_iter().map(item).collect();
        assert_eq!(decode(&encode(&items)), Some(items));
        assert_eq!(
            decode(&encode(&[item("0.5")])),
            Some(vec![Item::Single(0.5)])
        );
        assert_eq!(decode(&[0x81]), None);
        assert_eq!(decode(&[0x80, 0x80]), None);
    }

    #[test]
    fn json_numbers_are_exact() {
        let items = [
            item("9007199254740993"),
            item("-9223372036854775808"),
            item("18446744073709551615"),
            Item::Single(0.1),
            item("NaN"),
            item("-Infinity"),
            item("h'0102'"),
        ];
        let json = to_json(&items).to_string();
        assert_eq!(
            json,
            "[9007199254740993,-9223372036854775808,18446744073709551615,0.1,\"NaN\",\
             \"-Infinity\",[1,2]]"
        );
    }

    #[test]
    fn unsigned_values_fold_into_signed_types() {
        let signature = "func(s32, s64, u32) -> s32".parse().expect("a signature");
        let mut items = [
            item("0xffffffff"),
            item("0xffffffffffffffff"),
            item("0xffffffff"),
        ];
        wrap(&mut items, &signature);
        assert_eq!(
            items,
            [Item::Int(-1), Item::Int(-1), Item::Int(0xffff_ffff)]
        );
    }
}
