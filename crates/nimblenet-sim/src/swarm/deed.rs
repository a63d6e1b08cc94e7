//! What the tasklets of a trial make of their arguments.
//!
//! Most give back what they got. Those of flows compute, so that an item which is missing, comes twice or
//! stands in the wrong order makes another number.

/// Results are below this: none is the token of a call.
pub(super) const NUMBERS: u32 = 60_000;

/// The head of a CBOR array.
const ARRAY: u8 = 0x80;

/// What a tasklet does. A module has its number in the byte after its times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Deed {
    /// It gives back its arguments.
    Echo,
    /// It makes a number of a number.
    Scale,
    /// It says whether a number goes on: two of three do.
    Pass,
    /// It makes a number of a list of numbers.
    Digest,
    /// It makes a state of a state and a number.
    Mix,
    /// It makes numbers of nothing, one after the other.
    Sense,
}

impl Deed {
    const ALL: [Self; 6] = [
        Self::Echo,
        Self::Scale,
        Self::Pass,
        Self::Digest,
        Self::Mix,
        Self::Sense,
    ];

    /// The one with this number.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The results for these arguments, both CBOR arrays; `sensed` is what is sensed.
    pub(super) fn results(self, args: &[u8], sensed: impl FnOnce() -> u32) -> Option<Vec<u8>> {
        let (head, values) = args.split_first()?;
        let one = |value: u32| Some([&[ARRAY | 1][..], &number(value)].concat());
        match (self, head ^ ARRAY) {
            (Self::Echo, _) => Some(args.to_vec()),
            (Self::Scale, 1) => one(scale(whole(values)?)),
            (Self::Pass, 1) => {
                let verdict = if passes(whole(values)?) { 0xf5 } else { 0xf4 };
                Some(vec![ARRAY | 1, verdict])
            }
            (Self::Digest, 1) => one(digest(&list(values)?)),
            (Self::Mix, 2) => {
                let (state, rest) = read(values)?;
                one(mix(state, whole(rest)?))
            }
            (Self::Sense, 0) => one(sensed() % NUMBERS),
            _ => None,
        }
    }
}

/// What `scale` makes of a number.
pub(super) fn scale(value: u32) -> u32 {
    value.wrapping_mul(3).wrapping_add(1) % NUMBERS
}

/// Whether `pass` lets a number go on.
pub(super) fn passes(value: u32) -> bool {
    !value.is_multiple_of(3)
}

/// What `digest` makes of numbers; their order counts.
pub(super) fn digest(values: &[u32]) -> u32 {
    values.iter().fold(7, |state, value| mix(state, *value))
}

/// What `mix` makes of a state and a number.
pub(super) fn mix(state: u32, value: u32) -> u32 {
    (state % NUMBERS * 31 + value % NUMBERS + 1) % NUMBERS
}

/// A number in CBOR, as short as it can be.
pub(super) fn number(value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    match value {
        0..24 => vec![value as u8],
        24..0x100 => vec![0x18, bytes[3]],
        0x100..0x1_0000 => vec![0x19, bytes[2], bytes[3]],
        _ => [&[0x1a][..], &bytes].concat(),
    }
}

/// The number that is all of these bytes.
pub(super) fn whole(bytes: &[u8]) -> Option<u32> {
    let (value, rest) = read(bytes)?;
    rest.is_empty().then_some(value)
}

/// The number that these bytes begin with, and the rest.
fn read(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first()?;
    let len = match head {
        0..24 => return Some(((*head).into(), rest)),
        0x18 => 1,
        0x19 => 2,
        0x1a => 4,
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(len)?;
    let number = number
        .iter()
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    Some((number, rest))
}

/// The numbers of the list that is all of these bytes.
fn list(bytes: &[u8]) -> Option<Vec<u32>> {
    // The head of an array is that of a number with other bits.
    let (head, rest) = bytes.split_first()?;
    let head = [&[head.checked_sub(ARRAY)?][..], rest].concat();
    let (count, mut rest) = read(&head)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let (value, more) = read(rest)?;
        values.push(value);
        rest = more;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_are_read_as_they_are_written() {
        for value in [0, 23, 24, 255, 256, 65_535, 65_536, u32::MAX] {
            assert_eq!(whole(&number(value)), Some(value));
        }
        let results = |deed: Deed, args: &[u8]| deed.results(args, || 5);
        assert_eq!(results(Deed::Echo, &[0x81, 9]), Some(vec![0x81, 9]));
        assert_eq!(results(Deed::Pass, &[0x81, 9]), Some(vec![0x81, 0xf4]));
        assert_eq!(results(Deed::Sense, &[0x80]), Some(vec![0x81, 5]));
        assert_eq!(results(Deed::Scale, &[0x81, 2]), Some(vec![0x81, 7]));
        let many = [&[0x81, 0x98, 30][..], &[5; 30]].concat();
        let one = [&[0x81][..], &number(digest(&[5; 30]))].concat();
        assert_eq!(results(Deed::Digest, &many), Some(one));
        let state = mix(3, 4) as u8;
        assert_eq!(
            results(Deed::Mix, &[0x82, 3, 4]),
            Some(vec![0x81, 0x18, state])
        );
        for (deed, args) in [(Deed::Mix, &[0x81, 3][..]), (Deed::Digest, &[0x81, 3])] {
            assert_eq!(results(deed, args), None);
        }
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
    }
}
