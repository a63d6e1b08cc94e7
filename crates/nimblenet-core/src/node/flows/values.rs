//! Items as CBOR values: what tasklets take and return.

use alloc::vec::Vec;

use nimblenet_tasklet::Type;

/// The head of a CBOR array with one value.
const ONE: u8 = 0x81;
/// The head of a CBOR array with two values.
const TWO: u8 = 0x82;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;

/// The major types of CBOR (RFC 8949, section 3.1) that values of tasklets have.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const SIMPLE: u8 = 7;

/// The head of a value: its major type, its number, and its bytes.
fn head(bytes: &[u8]) -> Option<(u8, u64, usize)> {
    let first = *bytes.first()?;
    let len = match first & 0x1f {
        0..24 => return Some((first >> 5, u64::from(first & 0x1f), 1)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let number = bytes.get(1..=len)?;
    let number = number
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some((first >> 5, number, 1 + len))
}

/// The bytes of the value that `bytes` begins with; none if it is not whole, or no value of a tasklet.
fn value_len(bytes: &[u8]) -> Option<usize> {
    let (major, number, mut len) = head(bytes)?;
    match major {
        UNSIGNED | NEGATIVE | SIMPLE => {}
        TEXT => len = len.checked_add(usize::try_from(number).ok()?)?,
        ARRAY => {
            for _ in 0..number {
                let (major, _, more) = head(bytes.get(len..)?)?;
                if !matches!(major, UNSIGNED | NEGATIVE | SIMPLE) {
                    return None;
                }
                len += more;
            }
        }
        _ => return None,
    }
    (len <= bytes.len()).then_some(len)
}

/// Whether `bytes` are exactly one value.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    value_len(bytes) == Some(bytes.len())
}

/// The one value of the results of a tasklet.
pub(super) fn result(results: &[u8]) -> Option<&[u8]> {
    let value = results.strip_prefix(&[ONE])?;
    is_value(value).then_some(value)
}

/// What a filter has said.
pub(super) fn verdict(results: &[u8]) -> Option<bool> {
    match result(results)? {
        [FALSE] => Some(false),
        [TRUE] => Some(true),
        _ => None,
    }
}

/// Writes the arguments of a map or a filter.
pub(super) fn write_item(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    push(out, &[ONE])?;
    push(out, value)
}

/// Writes the arguments of an accumulation.
pub(super) fn write_state(state: &[u8], value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    push(out, &[TWO])?;
    push(out, state)?;
    push(out, value)
}

/// Writes the arguments of a window: one list of all the values or, if they are lists, of their
/// elements.
pub(super) fn write_list<'v>(
    values: impl Iterator<Item = &'v [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Option<()> {
    let parts = values.map(|value| match head(value) {
        Some((ARRAY, count, len)) => (count, &value[len..]),
        _ => (1, value),
    });
    let count = parts.clone().map(|(count, _)| count).sum::<u64>();
    out.clear();
    push(out, &[ONE])?;
    match count {
        0..24 => push(out, &[ARRAY << 5 | count as u8])?,
        24..256 => push(out, &[ARRAY << 5 | 24, count as u8])?,
        _ => {
            let count = u16::try_from(count).ok()?;
            push(out, &[ARRAY << 5 | 25])?;
            push(out, &count.to_be_bytes())?;
        }
    }
    parts.into_iter().try_for_each(|(_, part)| push(out, part))
}

/// The state with which an accumulation of this type begins.
pub(super) fn zero(ty: Type) -> &'static [u8] {
    use nimblenet_tasklet::Scalar;
    match ty {
        Type::Scalar(Scalar::Bool) => &[FALSE],
        Type::Scalar(Scalar::F32) => &[0xfa, 0, 0, 0, 0],
        Type::Scalar(Scalar::F64) => &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0],
        Type::Scalar(_) => &[0],
        Type::List(_) => &[ARRAY << 5],
        Type::String => &[TEXT << 5],
    }
}

/// Appends bytes as far as there is room that was allocated.
fn push(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    (out.capacity() - out.len() >= bytes.len()).then(|| out.extend_from_slice(bytes))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_value_is_one_whole_number_text_or_list() {
        for good in [
            &[0x07][..],
            &[0x39, 1, 0],
            b"\x63abc",
            &[0x80],
            &[0x82, 0xfa, 0, 0, 0, 0, 0xf5],
        ] {
            assert!(is_value(good), "{good:02x?}");
            assert!(!is_value(&good[..good.len() - 1]), "{good:02x?} cut");
            assert!(!is_value(&[good, &[0]].concat()), "{good:02x?} and more");
        }
        // A list of lists, a map, a tag, an endless list, bytes, and a length without an end.
        for bad in [
            &[0x81, 0x80][..],
            &[0xa0],
            &[0xc0, 0],
            &[0x9f, 0xff],
            &[0x41, 0],
            &[0x7b, 255, 255, 255, 255, 255, 255, 255, 255],
            &[0x9b, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            assert!(!is_value(bad), "{bad:02x?}");
        }
    }

    #[test]
    fn a_window_is_a_list_of_numbers_or_of_the_elements_of_lists() {
        let mut out = Vec::with_capacity(600);
        let list = |values: &[&[u8]], out: &mut Vec<u8>| {
            write_list(values.iter().copied(), out).map(|()| out.clone())
        };
        assert_eq!(
            list(&[&[1], &[0x18, 99]], &mut out),
            Some(b"\x81\x82\x01\x18\x63".to_vec())
        );
        assert_eq!(
            list(&[&[0x82, 1, 2], &[0x80], &[0x81, 3]], &mut out),
            Some(b"\x81\x83\x01\x02\x03".to_vec())
        );
        let many = list(&[&[5][..]; 30], &mut out).unwrap();
        assert_eq!((&many[..3], many.len()), (&[0x81, 0x98, 30][..], 33));
        let more = list(&[&[5][..]; 300], &mut out).unwrap();
        assert_eq!((&more[..4], more.len()), (&[0x81, 0x99, 1, 44][..], 304));
        assert_eq!(list(&[&[5][..]; 700], &mut out), None, "there is no room");
    }

    #[test]
    fn results_are_one_value_and_a_verdict_is_a_boolean() {
        assert_eq!(result(&[0x81, 5]), Some(&[5][..]));
        assert_eq!(result(&[0x80]), None);
        assert_eq!(result(&[0x82, 5, 6]), None);
        assert_eq!(verdict(&[0x81, 0xf4]), Some(false));
        assert_eq!(verdict(&[0x81, 0xf5]), Some(true));
        assert_eq!(verdict(&[0x81, 1]), None);
    }
}
