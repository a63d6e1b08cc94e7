//! Compressed modules: bytes that repeat are copied from a dictionary and from what is there.
//!
//! The format is in spec/compression.md. Only the reading half is here, which nodes need; the
//! writing half is the publisher's.

use core::fmt;

/// How a compressed module is read: what its entry says of it (spec/catalogue.md, section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compression {
    /// The number of the entry in the same catalogue whose module is the dictionary.
    pub dictionary: u16,
    /// The length of the module when it is expanded, in bytes.
    pub plain_bytes: u32,
}

/// The bytes are not a compressed module of the length that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadCompression;

impl fmt::Display for BadCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the module cannot be expanded")
    }
}

impl core::error::Error for BadCompression {}

/// Expands `compressed`, for which `dictionary` was used, so that it fills `plain` exactly. It
/// writes nothing else, whatever the bytes are, and takes time in proportion to `plain`.
///
/// # Errors
/// [`BadCompression`] if `compressed` stands for fewer or more bytes, does not end there, or copies
/// from outside. Then `plain` holds anything.
// Not inlined: it is weighed by itself.
#[inline(never)]
pub fn expand(
    compressed: &[u8],
    dictionary: &[u8],
    plain: &mut [u8],
) -> Result<(), BadCompression> {
    let mut stream = Stream {
        bytes: compressed,
        bits: END,
    };
    let read = blocks(&mut stream, dictionary, plain);
    match read {
        Some(()) if stream.has_ended() => Ok(()),
        _ => Err(BadCompression),
    }
}

/// The greatest number in a stream.
const NUMBER_MAX: u32 = 0xffff;
/// The mark behind the last bit that is left of a byte.
const END: u32 = 0x80;

/// Bytes, and bits that are taken from a byte of the same sequence when they are needed.
struct Stream<'a> {
    bytes: &'a [u8],
    /// The bits that are left of a byte, in the upper bits of its eight, and then [`END`].
    bits: u32,
}

impl Stream<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn bit(&mut self) -> Option<u32> {
        if self.bits & 0xff == END {
            self.bits = u32::from(self.byte()?) << 1 | 1;
        } else {
            self.bits <<= 1;
        }
        Some(self.bits >> 8 & 1)
    }

    /// A number from 1 on (Elias gamma, its bits interleaved with those that say that it goes on).
    fn number(&mut self) -> Option<u32> {
        let mut number = 1;
        while self.bit()? == 0 {
            number = number << 1 | self.bit()?;
            if number > NUMBER_MAX {
                return None;
            }
        }
        Some(number)
    }

    /// Whether nothing is left except bits that are 0.
    fn has_ended(&self) -> bool {
        let left = self.bits & 0xff;
        self.bytes.is_empty() && left & (left - 1) == 0
    }
}

fn blocks(stream: &mut Stream<'_>, dictionary: &[u8], plain: &mut [u8]) -> Option<()> {
    let (mut at, mut distance, mut after_literals) = (0, 0, false);
    while at < plain.len() {
        let new = stream.bit()? == 1;
        if !new && !after_literals {
            let end = at + stream.number()? as usize;
            for place in plain.get_mut(at..end)? {
                *place = stream.byte()?;
            }
            (at, after_literals) = (end, true);
            continue;
        }
        let mut len = 0;
        if new {
            let high = stream.number()? - 1;
            distance = (high << 8 | u32::from(stream.byte()?)) as usize + 1;
            len = 1;
        }
        len += stream.number()? as usize;
        if distance == 0 || len > plain.len() - at {
            return None;
        }
        for _ in 0..len {
            plain[at] = match at.checked_sub(distance) {
                Some(from) => plain[from],
                None => *dictionary.get((dictionary.len() + at).checked_sub(distance)?)?,
            };
            at += 1;
        }
        after_literals = false;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn expanded(compressed: &[u8], dictionary: &[u8], len: usize) -> Option<Vec<u8>> {
        let mut plain = vec![0; len];
        expand(compressed, dictionary, &mut plain).ok()?;
        Some(plain)
    }

    #[test]
    fn the_specification_s_example_expands_to_its_module() {
        let vector = [0xd6, 0x02, 0x20, 0x64, 0x21];
        let module = expanded(&vector, b"xyzabc", 10);
        assert_eq!(module.as_deref(), Some(&b"abcabcabd!"[..]));
        // Without the dictionary there is nothing to copy from.
        assert_eq!(expanded(&vector, b"xy", 10), None);
    }

    #[test]
    fn no_bytes_are_no_bytes() {
        assert_eq!(expanded(b"", b"dictionary", 0), Some(vec![]));
        assert_eq!(expanded(b"\0", b"", 0), None);
    }

    proptest! {
        #[test]
        fn random_bytes_expand_to_the_length_asked_for_or_are_refused(
            compressed: Vec<u8>,
            dictionary in proptest::collection::vec(any::<u8>(), 0..64),
            len in 0_usize..3000,
        ) {
            // Guards on both sides of the place that is written to.
            let mut space = vec![0x5a; len + 2];
            let _ = expand(&compressed, &dictionary, &mut space[1..=len]);
            prop_assert_eq!((space[0], space[len + 1]), (0x5a, 0x5a));
        }
    }
}
