//! Work and answers on their way between the node and the interpreter.
//!
//! The node lends the bytes of the work that it hands out, but the interpreter runs on another
//! core, or the node interrupts it. So everything is copied into one of two places that are never
//! read and written at the same time: a [`Parcel`] with work, a [`Reply`] with its outcome. Only
//! modules and images are too large for that and stay where they are, as [`Lent`].

use nimblenet_tasklet::{Answer, Fixed, Outcome};

use crate::lent::Lent;

/// The most bytes of a piece of work besides module and image: a catalogue entry, the export's
/// name and arguments.
pub const PARCEL_BYTES: usize = 1408;
/// The longest arguments, results or image that the interpreter can return.
pub const REPLY_BYTES: usize = 2048;

/// A piece of work.
pub type Parcel = nimblenet_tasklet::Parcel<Fixed<PARCEL_BYTES>, Lent>;

/// A parcel without work.
#[must_use]
pub const fn empty() -> Parcel {
    Parcel::new(Fixed::new())
}

/// The interpreter's answer to a parcel; each parcel gets one reply.
#[derive(Debug)]
pub struct Reply {
    content: Content,
    bytes: [u8; REPLY_BYTES],
}

/// The content of a reply. All bytes of [`Nothing`](Self::Nothing) are zero, so that a new reply in
/// a static takes no flash.
#[derive(Debug)]
#[repr(u8)]
enum Content {
    /// The work has no outcome.
    Nothing,
    /// An outcome with the length of its bytes, which are the first of the reply's.
    Answer(Answer<usize>),
}

impl Reply {
    /// A reply without an outcome.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            content: Content::Nothing,
            bytes: [0; REPLY_BYTES],
        }
    }

    /// Fills it with the outcome that `work` gives; `work` writes the outcome's bytes to the start
    /// of the slice that it is given.
    pub fn fill(&mut self, work: impl FnOnce(&mut [u8]) -> Option<Outcome<'_>>) {
        self.content = match work(&mut self.bytes) {
            Some(outcome) => Content::Answer(outcome.map(|bytes| bytes.len())),
            None => Content::Nothing,
        };
    }

    /// The outcome, if there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome<'_>> {
        match &self.content {
            Content::Answer(answer) => Some(answer.map(|len| &self.bytes[..*len])),
            Content::Nothing => None,
        }
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::ActivationId;

    use super::*;

    #[test]
    fn a_reply_gives_the_outcome_that_it_was_filled_with() {
        let mut reply = Reply::new();
        assert_eq!(reply.outcome(), None);
        let activation = ActivationId(7);
        reply.fill(|out| {
            out[..3].copy_from_slice(&[0x82, 1, 2]);
            let (result, fuel) = (&out[..3], 5);
            Some(Outcome::Done {
                activation,
                result,
                fuel,
            })
        });
        let result = &[0x82, 1, 2][..];
        let done = Outcome::Done {
            activation,
            result,
            fuel: 5,
        };
        assert_eq!(reply.outcome(), Some(done));
        reply.fill(|_| None);
        assert_eq!(reply.outcome(), None);
    }
}
