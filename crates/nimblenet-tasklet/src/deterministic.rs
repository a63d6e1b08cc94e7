//! The one accepted form of CBOR: RFC 8949 section 4.2.1, with a bound on nesting.
//!
//! Signatures and digests are over received bytes; if two encodings of one value were accepted,
//! two parties could disagree on what was signed.

use crate::Malformed;

/// How deep containers may nest in any NimbleNet format.
const MAX_DEPTH: usize = 6;

/// Checks that `bytes` hold exactly one data item in deterministic form: shortest heads, definite
/// lengths, map keys ascending and unique, no tags, UTF-8 text, at most six containers deep.
///
/// Work is linear in the length of `bytes`; nothing recurses.
///
/// # Errors
/// [`Malformed::NotDeterministic`] for everything else.
pub fn check(bytes: &[u8]) -> Result<(), Malformed> {
    match item_len(bytes) {
        Some(len) if len == bytes.len() => Ok(()),
        _ => Err(Malformed::NotDeterministic),
    }
}

/// How much a reader checks in bytes that [`check`] has accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Everything.
    Nothing,
    /// Nothing inside a value that was read in full before.
    ReadBefore,
}

/// Reads items that [`check`] has accepted before; it checks nothing but lengths.
#[derive(Clone)]
pub(crate) struct Items<'a> {
    bytes: &'a [u8],
}

impl<'a> Items<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The argument of the next head, which must be of this major type.
    pub(crate) fn head(&mut self, wanted: u8) -> Option<u64> {
        let (major, value) = self.any_head()?;
        (major == wanted).then_some(value)
    }

    /// The key of the next map entry.
    #[inline]
    pub(crate) fn key(&mut self) -> Option<u8> {
        match self.bytes.split_first()? {
            (&key @ ..24, rest) => {
                self.bytes = rest;
                Some(key)
            }
            _ => self.number(),
        }
    }

    /// Major type and argument of the next head.
    #[inline]
    fn any_head(&mut self) -> Option<(u8, u64)> {
        // Most heads are one byte.
        let (&first, rest) = self.bytes.split_first()?;
        if first & 0x1f < 24 {
            self.bytes = rest;
            return Some((first >> 5, u64::from(first & 0x1f)));
        }
        let (major, value, len) = head(self.bytes)?;
        self.bytes = self.bytes.get(len..)?;
        Some((major, value))
    }

    /// The bytes that are not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// An unsigned number.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.head(0)?).ok()
    }

    /// The content of a byte string (major type 2) or a text (3).
    pub(crate) fn content(&mut self, major: u8) -> Option<&'a [u8]> {
        let len = usize::try_from(self.head(major)?).ok()?;
        let (content, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(content)
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.content(3)?).ok()
    }

    /// The encoded bytes of the next item, whatever it is.
    pub(crate) fn item(&mut self) -> Option<&'a [u8]> {
        let all = self.bytes;
        let mut items = 1u64;
        while items > 0 {
            let (major, value) = self.any_head()?;
            items -= 1;
            match major {
                2 | 3 => self.bytes = self.bytes.get(usize::try_from(value).ok()?..)?,
                4 => items = items.checked_add(value)?,
                5 => items = items.checked_add(value.checked_mul(2)?)?,
                _ => {}
            }
        }
        Some(&all[..all.len() - self.bytes.len()])
    }
}

/// An open container: how many items are still to come, and for a map the position of its previous
/// key.
#[derive(Clone, Copy)]
struct Open {
    items: u64,
    map: bool,
    previous_key: Option<(usize, usize)>,
}

/// The length of the deterministic item at the start of `bytes`.
fn item_len(bytes: &[u8]) -> Option<usize> {
    const CLOSED: Open = Open {
        items: 0,
        map: false,
        previous_key: None,
    };
    let mut stack = [CLOSED; MAX_DEPTH];
    let mut depth = 0;
    let mut at = 0;
    loop {
        let start = at;
        let (major, value, head) = head(bytes.get(at..)?)?;
        at += head;
        let mut opened = None;
        match major {
            0 | 1 => {}
            2 | 3 => {
                let len = usize::try_from(value).ok()?;
                let content = bytes.get(at..at.checked_add(len)?)?;
                if major == 3 && core::str::from_utf8(content).is_err() {
                    return None;
                }
                at += len;
            }
            4 => {
                opened = Some(Open {
                    items: value,
                    map: false,
                    previous_key: None,
                })
            }
            5 => {
                let items = value.checked_mul(2)?;
                opened = Some(Open {
                    items,
                    map: true,
                    previous_key: None,
                });
            }
            7 => {}
            _ => return None,
        }
        if depth > 0 {
            let parent = &mut stack[depth - 1];
            if parent.map && parent.items % 2 == 0 {
                // Keys are scalars here, so a key ends where its head and content end.
                if opened.is_some() {
                    return None;
                }
                if let Some((from, to)) = parent.previous_key
                    && bytes[from..to] >= bytes[start..at]
                {
                    return None;
                }
                parent.previous_key = Some((start, at));
            }
            parent.items -= 1;
        }
        if let Some(open) = opened.filter(|open| open.items > 0) {
            *stack.get_mut(depth)? = open;
            depth += 1;
        }
        while depth > 0 && stack[depth - 1].items == 0 {
            depth -= 1;
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Major type, argument and length of the head at the start of `bytes`, if in shortest form.
fn head(bytes: &[u8]) -> Option<(u8, u64, usize)> {
    let first = *bytes.first()?;
    let (major, short) = (first >> 5, first & 0x1f);
    let (value, len, least) = match short {
        0..=23 => (u64::from(short), 1, 0),
        24 => (u64::from(*bytes.get(1)?), 2, 24),
        25 => (
            u64::from(u16::from_be_bytes(bytes.get(1..3)?.try_into().ok()?)),
            3,
            1 << 8,
        ),
        26 => (
            u64::from(u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?)),
            5,
            1 << 16,
        ),
        27 => (
            u64::from_be_bytes(bytes.get(1..9)?.try_into().ok()?),
            9,
            1 << 32,
        ),
        _ => return None,
    };
    if major == 7 {
        // Simple values false, true, null; floats of any width keep their bits.
        return matches!(short, 20..=22 | 25..=27).then_some((major, 0, len));
    }
    (value >= least).then_some((major, value, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deterministic_items_pass() {
        for bytes in [
            &[0x00][..],
            &[0x18, 0x18],
            &[0x82, 0x01, 0x61, b'a'],
            &[0xa2, 0x00, 0x80, 0x01, 0x81, 0x40],
            &[0xfa, 0x3f, 0x80, 0, 0],
        ] {
            assert_eq!(check(bytes), Ok(()), "{bytes:02x?}");
        }
    }

    #[test]
    fn att_30_other_encodings_of_the_same_value_are_refused() {
        for bytes in [
            &[0x18, 0x01][..],               // not the shortest head
            &[0x9f, 0x01, 0xff],             // indefinite length
            &[0xa2, 0x01, 0x00, 0x00, 0x00], // keys out of order
            &[0xa2, 0x01, 0x00, 0x01, 0x00], // duplicate key
            &[0xc0, 0x60],                   // tag
            &[0x00, 0x00],                   // bytes left over
            &[0x82, 0x00],                   // cut short
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x61, 0xff],                                     // not UTF-8
            &[0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x00], // too deep
            &[],
        ] {
            assert_eq!(
                check(bytes),
                Err(Malformed::NotDeterministic),
                "{bytes:02x?}"
            );
        }
    }
}
