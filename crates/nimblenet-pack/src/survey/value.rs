//! What abstract execution knows of a value.

/// What is known of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Value {
    Unknown,
    Number(u32),
    /// The stack pointer as it was when the function began, less so many bytes. It is `fresh`
    /// where it was just read from the global: what is subtracted then is a frame.
    Stack {
        below: i64,
        fresh: bool,
    },
    /// The parameter of this number, or an address that was computed from it; only good for
    /// advice.
    Parameter(u32),
}

impl Value {
    /// How far it is below the stack pointer at the function's beginning, if it is an address in
    /// the stack.
    pub(super) fn below(self) -> Option<i64> {
        if let Self::Stack { below, .. } = self {
            Some(below)
        } else {
            None
        }
    }

    /// Whether it was just read from the stack pointer.
    pub(super) fn is_fresh(self) -> bool {
        matches!(self, Self::Stack { fresh: true, .. })
    }

    /// The stack pointer, just read.
    pub(super) fn read(self) -> Self {
        self.below()
            .map_or(self, |below| Self::Stack { below, fresh: true })
    }

    /// The same value, kept somewhere: what is subtracted from it later is an address in the
    /// frame.
    pub(super) fn kept(self) -> Self {
        let fresh = false;
        self.below()
            .map_or(self, |below| Self::Stack { below, fresh })
    }

    /// What is known where this and `other` may be.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stack { below, .. }, Self::Stack { below: other, .. }) if below == other => {
                Self::Stack {
                    below,
                    fresh: false,
                }
            }
            _ if self == other => self,
            _ => Self::Unknown,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Self::Number(a.wrapping_add(b)),
            (Self::Stack { below, .. }, Self::Number(by))
            | (Self::Number(by), Self::Stack { below, .. }) => Self::Stack {
                below: below - i64::from(by as i32),
                fresh: false,
            },
            (pointer @ Self::Parameter(_), _) | (_, pointer @ Self::Parameter(_)) => pointer,
            _ => Self::Unknown,
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        if let Self::Number(by) = other {
            self.plus(Self::Number(by.wrapping_neg()))
        } else {
            Self::Unknown
        }
    }

    /// Aligned down, as for a variable of more than the stack's own alignment: the lowest that it
    /// can be.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Self::Number(a & b),
            (Self::Stack { below, .. }, Self::Number(mask))
            | (Self::Number(mask), Self::Stack { below, .. })
                if mask.wrapping_neg().is_power_of_two() =>
            {
                Self::Stack {
                    below: below + i64::from(mask.wrapping_neg()) - 1,
                    fresh: false,
                }
            }
            _ => Self::Unknown,
        }
    }
}
