//! The answers of an executor.

use crate::{ActivationId, Fault, Place, Trap};

/// The answer to a piece of work; `B` holds its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<B> {
    /// The run called another tasklet and waits.
    Called {
        /// The run.
        activation: ActivationId,
        /// Index into the imports of its entry.
        import: u16,
        /// The arguments: a CBOR array.
        args: B,
        /// Fuel that the run has left.
        fuel: u64,
    },
    /// The run has ended with results.
    Done {
        /// The run.
        activation: ActivationId,
        /// The results: a CBOR array.
        result: B,
        /// Fuel that was left.
        fuel: u64,
    },
    /// The run has ended without results.
    Failed {
        /// The run.
        activation: ActivationId,
        /// The reason.
        fault: Fault,
        /// The trap, if that was the reason.
        trap: Option<Trap>,
        /// Where in its module it failed, if that is known.
        place: Option<Place>,
        /// Fuel that was left.
        fuel: u64,
    },
    /// The run has used its slice of fuel and waits to continue.
    Yielded {
        /// The run.
        activation: ActivationId,
        /// Fuel that the run has left.
        fuel: u64,
    },
    /// The state of a run.
    Frozen {
        /// The run.
        activation: ActivationId,
        /// The saved state.
        image: B,
    },
    /// The state of a run could not be saved. The run is as it was, and can go on.
    NotFrozen {
        /// The run.
        activation: ActivationId,
        /// Why: [`Fault::ValuesTooLarge`] if the image is longer than it may be.
        fault: Fault,
    },
    /// There is no room for the run now, although there would be if it were alone. Nothing has
    /// changed: a start or thaw has left nothing, and a run that waits does so as before. The same
    /// work may be given again.
    NoRoom {
        /// The run.
        activation: ActivationId,
    },
    /// Whether a signature is good.
    Verified {
        /// From [`Order::Verify`](crate::Order::Verify).
        ticket: u32,
        /// Whether the signature is good.
        good: bool,
    },
}

/// An answer that borrows its bytes, as an executor gives it and a node takes it.
pub type Outcome<'a> = Answer<&'a [u8]>;

impl<B> Answer<B> {
    /// The same answer in another form: `hold` converts its bytes.
    pub fn map<'a, C>(&'a self, hold: impl FnOnce(&'a B) -> C) -> Answer<C> {
        match *self {
            Self::Called {
                activation,
                import,
                ref args,
                fuel,
            } => Answer::Called {
                activation,
                import,
                args: hold(args),
                fuel,
            },
            Self::Done {
                activation,
                ref result,
                fuel,
            } => Answer::Done {
                activation,
                result: hold(result),
                fuel,
            },
            Self::Failed {
                activation,
                fault,
                trap,
                place,
                fuel,
            } => Answer::Failed {
                activation,
                fault,
                trap,
                place,
                fuel,
            },
            Self::Yielded { activation, fuel } => Answer::Yielded { activation, fuel },
            Self::Frozen {
                activation,
                ref image,
            } => Answer::Frozen {
                activation,
                image: hold(image),
            },
            Self::NotFrozen { activation, fault } => Answer::NotFrozen { activation, fault },
            Self::NoRoom { activation } => Answer::NoRoom { activation },
            Self::Verified { ticket, good } => Answer::Verified { ticket, good },
        }
    }

    /// The run that it is about; none for a signature check.
    pub fn activation(&self) -> Option<ActivationId> {
        match *self {
            Self::Called { activation, .. }
            | Self::Done { activation, .. }
            | Self::Failed { activation, .. }
            | Self::Yielded { activation, .. }
            | Self::Frozen { activation, .. }
            | Self::NotFrozen { activation, .. }
            | Self::NoRoom { activation } => Some(activation),
            Self::Verified { .. } => None,
        }
    }
}

impl<B: AsRef<[u8]>> Answer<B> {
    /// The answer as a node takes it.
    pub fn outcome(&self) -> Outcome<'_> {
        self.map(AsRef::as_ref)
    }
}

impl<'a> Outcome<'a> {
    /// A copy that owns its bytes, `Answer<Vec<u8>>` for example.
    pub fn owned<B: From<&'a [u8]>>(&self) -> Answer<B> {
        self.map(|bytes| B::from(*bytes))
    }
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn answer() -> impl Strategy<Value = Answer<Vec<u8>>> {
        let activation = any::<u32>().prop_map(ActivationId);
        let fault = proptest::sample::select(Fault::ALL);
        let trap = proptest::option::of(proptest::sample::select(Trap::ALL));
        let place = any::<(u32, u32)>().prop_map(|(function, at)| Place::new(function, at));
        let failure = (fault, trap, place);
        let parts = (activation, any::<Vec<u8>>(), any::<u64>(), failure);
        let more = (0..8, any::<u16>(), any::<u32>(), any::<bool>());
        (parts, more).prop_map(|((activation, bytes, fuel, failure), more)| {
            let (fault, trap, place) = failure;
            let (kind, import, ticket, good) = more;
            match kind {
                0 => Answer::Called {
                    activation,
                    import,
                    args: bytes,
                    fuel,
                },
                1 => Answer::Done {
                    activation,
                    result: bytes,
                    fuel,
                },
                2 => Answer::Failed {
                    activation,
                    fault,
                    trap,
                    place,
                    fuel,
                },
                3 => Answer::Yielded { activation, fuel },
                4 => Answer::Frozen {
                    activation,
                    image: bytes,
                },
                5 => Answer::NotFrozen { activation, fault },
                6 => Answer::NoRoom { activation },
                _ => Answer::Verified { ticket, good },
            }
        })
    }

    /// Boards keep an answer for every run: the place of a failure takes no more than a call does.
    #[test]
    fn a_place_takes_no_room_that_a_call_does_not() {
        assert!(size_of::<Option<Place>>() <= 8);
        assert!(size_of::<Answer<&[u8]>>() <= 40);
    }

    proptest! {
        #[test]
        fn an_owned_copy_is_equal_and_so_are_lengths_beside_bytes(answer in answer()) {
            let outcome = answer.outcome();
            prop_assert_eq!(outcome.owned::<Vec<u8>>(), answer.clone());
            let mut bytes = Vec::new();
            let lengths = outcome.map(|given| {
                bytes.extend_from_slice(given);
                given.len()
            });
            prop_assert_eq!(lengths.map(|len| &bytes[..*len]), outcome);
            prop_assert_eq!(lengths.activation(), outcome.activation());
        }
    }
}
