//! The orders of a node to an executor.

use crate::{ActivationId, Capabilities, Entry, Fault, Outcome, TaskletName};

/// Everything needed to run one tasklet from its start to its result; the type parameters say how
/// it holds the catalogue entry, the module, the export's name and the arguments.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Begin<E, M, X, A> {
    /// The id of the run in all further work and answers.
    pub activation: ActivationId,
    /// The run that waits for this one, if a tasklet called it.
    pub parent: Option<ActivationId>,
    /// The tasklet's name.
    pub name: TaskletName,
    /// Its catalogue entry.
    pub entry: E,
    /// The module, which stays where it is until the activation has ended; empty for a native
    /// tasklet.
    pub code: M,
    /// The export to call; empty for `run`.
    pub export: X,
    /// The arguments: a CBOR array.
    pub args: A,
    /// Fuel that the run may use, its sub-tasklets included.
    pub fuel: u64,
    /// Capabilities that it is granted.
    pub granted: Capabilities,
}

/// A start that borrows all it needs, as a node gives it and an executor takes it.
pub type Start<'a> = Begin<Entry<'a>, &'a [u8], &'a str, &'a [u8]>;

impl<E, M, X, A> Begin<E, M, X, A> {
    /// The same start with these values in place of its own.
    pub(super) fn with<F, N, Y, B>(
        &self,
        entry: F,
        code: N,
        export: Y,
        args: B,
    ) -> Begin<F, N, Y, B> {
        Begin {
            activation: self.activation,
            parent: self.parent,
            name: self.name,
            entry,
            code,
            export,
            args,
            fuel: self.fuel,
            granted: self.granted,
        }
    }
}

/// An order to an executor; `S` holds a start, `B` bytes that are copied with it, `I` an image.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Order<S, B, I> {
    /// Run a tasklet. Answered by an outcome other than [`Outcome::Verified`].
    Start(S),
    /// Go on after [`Outcome::Yielded`]. Answered like a start.
    Continue {
        /// The run.
        activation: ActivationId,
    },
    /// Go on after [`Outcome::Called`]. Answered like a start.
    Resume {
        /// The run.
        activation: ActivationId,
        /// The callee's results as a CBOR array, or why there are none.
        result: Result<B, Fault>,
        /// Fuel that the run has left, the callee's use deducted.
        fuel: u64,
    },
    /// Save the state of a run that waits for a callee or has yielded, and forget the run.
    /// Answered by [`Outcome::Frozen`], or by [`Outcome::NotFrozen`] if the run stays as it is.
    Freeze {
        /// The run.
        activation: ActivationId,
        /// The most bytes that the image may have.
        room: usize,
    },
    /// Restore a saved state: the start as it was (the executor ignores its arguments) and the
    /// image. Answered by [`Outcome::Called`] or [`Outcome::Yielded`], as before the freeze, or by
    /// [`Outcome::Failed`] or [`Outcome::NoRoom`].
    Thaw {
        /// The start of the run that was saved.
        start: S,
        /// The saved state, which stays where it is until the thaw is answered or stopped.
        image: I,
    },
    /// Forget a run, whatever its state. There is no answer.
    Stop {
        /// The run.
        activation: ActivationId,
    },
    /// Check an Ed25519 signature (RFC 8032, strict). Answered by [`Outcome::Verified`].
    Verify {
        /// The answer repeats it.
        ticket: u32,
        /// The public key.
        key: [u8; 32],
        /// The signed bytes.
        message: B,
        /// The signature.
        signature: [u8; 64],
    },
}

/// An order that borrows all it needs, as a node gives it and an executor takes it.
pub type Work<'a> = Order<Start<'a>, &'a [u8], &'a [u8]>;

impl<S, B, I> Order<S, B, I> {
    /// The same order in another form: the functions convert its start, its bytes and its image.
    /// They share `context`.
    ///
    /// # Errors
    /// Those of the functions.
    pub(super) fn try_map<'a, C, T, D, J, E>(
        &'a self,
        context: &mut C,
        start: impl FnOnce(&mut C, &'a S) -> Result<T, E>,
        bytes: impl FnOnce(&mut C, &'a B) -> Result<D, E>,
        image: impl FnOnce(&mut C, &'a I) -> Result<J, E>,
    ) -> Result<Order<T, D, J>, E> {
        Ok(match *self {
            Self::Start(ref held) => Order::Start(start(context, held)?),
            Self::Continue { activation } => Order::Continue { activation },
            Self::Resume {
                activation,
                ref result,
                fuel,
            } => Order::Resume {
                activation,
                result: match result {
                    Ok(held) => Ok(bytes(context, held)?),
                    Err(fault) => Err(*fault),
                },
                fuel,
            },
            Self::Freeze { activation, room } => Order::Freeze { activation, room },
            Self::Thaw {
                start: ref held,
                image: ref saved,
            } => Order::Thaw {
                start: start(context, held)?,
                image: image(context, saved)?,
            },
            Self::Stop { activation } => Order::Stop { activation },
            Self::Verify {
                ticket,
                key,
                ref message,
                signature,
            } => Order::Verify {
                ticket,
                key,
                message: bytes(context, message)?,
                signature,
            },
        })
    }

    /// The start of a run, if the order begins one: by a start or a thaw.
    pub fn begin(&self) -> Option<&S> {
        match self {
            Self::Start(start) | Self::Thaw { start, .. } => Some(start),
            Self::Continue { .. }
            | Self::Resume { .. }
            | Self::Freeze { .. }
            | Self::Stop { .. }
            | Self::Verify { .. } => None,
        }
    }
}

impl Work<'_> {
    /// The run that it is about; none for a signature check.
    pub fn activation(&self) -> Option<ActivationId> {
        match *self {
            Self::Start(Start { activation, .. })
            | Self::Thaw {
                start: Start { activation, .. },
                ..
            }
            | Self::Continue { activation }
            | Self::Resume { activation, .. }
            | Self::Freeze { activation, .. }
            | Self::Stop { activation } => Some(activation),
            Self::Verify { .. } => None,
        }
    }

    /// The activation that is gone once `outcome` has answered this work, so that its module may be
    /// released.
    pub fn ends(&self, outcome: Option<&Outcome<'_>>) -> Option<ActivationId> {
        match (self, outcome) {
            (Self::Stop { activation }, _)
            | (
                _,
                Some(
                    Outcome::Done { activation, .. }
                    | Outcome::Failed { activation, .. }
                    | Outcome::Frozen { activation, .. },
                ),
            )
            | (Self::Start(_) | Self::Thaw { .. }, Some(Outcome::NoRoom { activation })) => {
                Some(*activation)
            }
            _ => None,
        }
    }

    /// The answer to work that its driver cannot take, because of `fault`: a run fails, a run that
    /// was to be frozen stays as it is, a signature counts as bad. There is no answer to a stop.
    pub fn refused(&self, fault: Fault) -> Option<Outcome<'static>> {
        let activation = match *self {
            Self::Start(Start { activation, .. })
            | Self::Thaw {
                start: Start { activation, .. },
                ..
            }
            | Self::Continue { activation }
            | Self::Resume { activation, .. } => activation,
            Self::Freeze { activation, .. } => {
                return Some(Outcome::NotFrozen { activation, fault });
            }
            Self::Stop { .. } => return None,
            Self::Verify { ticket, .. } => {
                let good = false;
                return Some(Outcome::Verified { ticket, good });
            }
        };
        Some(Outcome::Failed {
            activation,
            fault,
            trap: None,
            place: None,
            fuel: 0,
        })
    }

    /// The answer to a signature check, for which `check` is given key, message and signature;
    /// none for other work.
    pub fn verified(
        &self,
        check: impl FnOnce(&[u8; 32], &[u8], &[u8; 64]) -> bool,
    ) -> Option<Outcome<'static>> {
        let Self::Verify {
            ticket,
            key,
            message,
            signature,
        } = self
        else {
            return None;
        };
        Some(Outcome::Verified {
            ticket: *ticket,
            good: check(key, message, signature),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_answers_each_kind_of_work_in_its_own_way() {
        let (activation, fault) = (ActivationId(7), Fault::Busy);
        let failed = Outcome::Failed {
            activation,
            fault,
            trap: None,
            place: None,
            fuel: 0,
        };
        let resume = Work::Resume {
            activation,
            result: Ok(&[0x80]),
            fuel: 9,
        };
        assert_eq!(resume.refused(fault), Some(failed));
        let go_on = Work::Continue { activation };
        assert_eq!(go_on.refused(fault), Some(failed));
        let room = 10;
        let freeze = Work::Freeze { activation, room };
        let kept = Outcome::NotFrozen { activation, fault };
        assert_eq!(freeze.refused(fault), Some(kept));
        assert_eq!(Work::Stop { activation }.refused(fault), None);
        let verify = Work::Verify {
            ticket: 3,
            key: [1; 32],
            message: b"message",
            signature: [2; 64],
        };
        let (ticket, good) = (3, false);
        let bad = Outcome::Verified { ticket, good };
        assert_eq!(verify.refused(fault), Some(bad));
    }

    #[test]
    fn only_a_signature_check_is_verified() {
        let verify = Work::Verify {
            ticket: 3,
            key: [1; 32],
            message: b"message",
            signature: [2; 64],
        };
        let (ticket, good) = (3, true);
        let checked = verify.verified(|key, message, signature| {
            (*key, message, *signature) == ([1; 32], b"message", [2; 64])
        });
        assert_eq!(checked, Some(Outcome::Verified { ticket, good }));
        let stop = Work::Stop {
            activation: ActivationId(1),
        };
        assert_eq!(stop.verified(|_, _, _| true), None);
    }
}
