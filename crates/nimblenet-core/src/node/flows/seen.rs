//! Which numbers have come already.

/// How far below the highest number others are told apart.
const REACH: u32 = 64;

/// Numbers that have come, as far as they are remembered: what is far below the highest one counts as
/// come.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Seen {
    /// One more than the highest number.
    next: u32,
    /// Bit n: the number `next - 1 - n`.
    bits: u64,
}

impl Seen {
    /// Notes a number; false if it has come before, or is too far below the highest one to tell.
    pub(super) fn note(&mut self, number: u32) -> bool {
        if number >= self.next {
            let by = number - self.next + 1;
            self.bits = self.bits.checked_shl(by).unwrap_or(0) | 1;
            self.next = number.saturating_add(1);
            return true;
        }
        let below = self.next - 1 - number;
        let bit = if below < REACH { 1 << below } else { 0 };
        let is_new = bit != 0 && self.bits & bit == 0;
        self.bits |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_new_once_and_what_is_far_behind_is_not(
            numbers in proptest::collection::vec(0_u32..200, 0..400),
        ) {
            let (mut seen, mut all) = (Seen::default(), BTreeSet::new());
            for number in numbers {
                let highest = all.last().copied().unwrap_or(0);
                let near = number + REACH > highest;
                let is_new = all.insert(number);
                prop_assert_eq!(seen.note(number), is_new && near, "{}", number);
            }
        }
    }
}
