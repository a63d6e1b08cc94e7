//! The value of Block1 and Block2 options (RFC 7959 section 2.2).

/// A part of a body: its number, its size, and whether more follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block {
    pub(super) number: u32,
    pub(super) more: bool,
    /// The size is 16 << exponent; at most 6.
    pub(super) exponent: u8,
}

impl Block {
    /// The exponent of 1024 bytes, the largest size.
    const MAX_EXPONENT: u8 = 6;
    /// Block numbers have 20 bits.
    const MAX_NUMBER: u32 = (1 << 20) - 1;

    /// The first block of a body, in the largest size.
    pub(super) const FIRST: Self = Self {
        number: 0,
        more: false,
        exponent: Self::MAX_EXPONENT,
    };

    /// Reads an option's value; nothing for the reserved size and for a value that is too long.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        if value.len() > 3 {
            return None;
        }
        let shift = |bits, byte: &u8| bits << 8 | u32::from(*byte);
        let bits = value.iter().fold(0, shift);
        let exponent = (bits & 7) as u8;
        (exponent <= Self::MAX_EXPONENT).then_some(Self {
            number: bits >> 4,
            more: bits & 8 != 0,
            exponent,
        })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let bits = self.number << 4 | u32::from(self.more) << 3 | u32::from(self.exponent);
        let bytes = bits.to_be_bytes();
        let from = bytes.iter().position(|byte| *byte != 0);
        bytes[from.unwrap_or(bytes.len())..].to_vec()
    }

    pub(super) fn size(self) -> usize {
        16 << self.exponent
    }

    /// The same block with at most so many bytes, but 16 at least.
    pub(super) fn at_most(self, bytes: usize) -> Self {
        let exponent = (0..=self.exponent).rev().find(|it| 16 << it <= bytes);
        Self {
            exponent: exponent.unwrap_or(0),
            ..self
        }
    }

    pub(super) fn offset(self) -> usize {
        self.number as usize * self.size()
    }

    /// The bytes of `body` in this block, and the block as a reply names it; nothing if the body
    /// ends before it.
    pub(super) fn of(self, body: &[u8]) -> Option<(&[u8], Self)> {
        let from = self.offset();
        if from > body.len() || from == body.len() && from > 0 {
            return None;
        }
        let to = body.len().min(from + self.size());
        let more = to < body.len();
        Some((&body[from..to], Self { more, ..self }))
    }

    /// The block that starts where this one ends, in the size of `like`; nothing beyond the last
    /// number.
    pub(super) fn after(self, like: Self) -> Option<Self> {
        let number = (self.offset() + self.size()) / like.size();
        let number = u32::try_from(number).ok()?;
        (number <= Self::MAX_NUMBER).then_some(Self {
            number,
            more: false,
            exponent: like.exponent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_written() {
        for bits in (0..1 << 16).chain([(1 << 24) - 2]) {
            let bytes = u32::to_be_bytes(bits);
            let Some(block) = Block::decode(&bytes[1..]) else {
                assert_eq!(bits & 7, 7);
                continue;
            };
            assert_eq!(Block::decode(&block.encode()), Some(block));
        }
        assert_eq!(Block::decode(&[0; 4]), None);
        assert_eq!(Block::FIRST.encode(), [6]);
    }

    #[test]
    fn blocks_cover_a_body_once() {
        for len in [0, 1, 1023, 1024, 1025, 5000] {
            let body = vec![7; len];
            let (mut block, mut seen) = (Block::FIRST, 0);
            loop {
                let (part, named) = block.of(&body).unwrap();
                seen += part.len();
                if !named.more {
                    break;
                }
                block = named.after(named).unwrap();
            }
            assert_eq!(seen, len);
            assert_eq!(block.after(block).unwrap().of(&body), None);
        }
    }
}
