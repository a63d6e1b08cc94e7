//! What a node asks of its executor, and what the executor answers.
//!
//! The executor is a peer of the node, like the network: it may live in the same loop, on
//! another thread, on the second core of a microcontroller, or in virtual time.

use crate::{ActivationId, Capabilities, Capability, Entry, Fault, TaskletName, Trap};

/// Everything needed to run one tasklet from its start to its result.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Start<'a> {
    /// Names the run in everything that follows.
    pub activation: ActivationId,
    /// The run that waits for this one, if a tasklet called it.
    pub parent: Option<ActivationId>,
    /// The tasklet's name.
    pub name: TaskletName,
    /// Its catalogue entry.
    pub entry: Entry<'a>,
    /// The module; stays where it is until the activation has ended. Empty if native.
    pub code: &'a [u8],
    /// The export to call; empty for `run`.
    pub export: &'a str,
    /// The arguments: a CBOR array.
    pub args: &'a [u8],
    /// Fuel that the run may use, its sub-tasklets included.
    pub fuel: u64,
    /// Capabilities that it is granted.
    pub granted: Capabilities,
}

/// Something for an executor to do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Work<'a> {
    /// Run a tasklet. Answered by an outcome other than [`Outcome::Verified`].
    Start(Start<'a>),
    /// Go on after [`Outcome::Yielded`]. Answered like a start.
    Continue {
        /// Which run.
        activation: ActivationId,
    },
    /// Go on after [`Outcome::Called`]. Answered like a start.
    Resume {
        /// Which run.
        activation: ActivationId,
        /// The callee's results as a CBOR array, or why there are none.
        result: Result<&'a [u8], Fault>,
        /// Fuel that the run has left, the callee's use deducted.
        fuel: u64,
    },
    /// Save the state of a run that waits for a callee or has yielded, and forget the run.
    /// Answered by [`Outcome::Frozen`], or by [`Outcome::NotFrozen`] if the run stays as it is.
    Freeze {
        /// Which run.
        activation: ActivationId,
        /// The most bytes that the image may have.
        room: usize,
    },
    /// Restore a saved state: the start as it was (its arguments are not looked at) and the
    /// image. Answered by [`Outcome::Called`] or [`Outcome::Yielded`], as before the freeze, or
    /// by [`Outcome::Failed`] or [`Outcome::NoRoom`].
    Thaw {
        /// What the state belongs to.
        start: Start<'a>,
        /// The saved state; stays where it is until the thaw is answered or stopped.
        image: &'a [u8],
    },
    /// Forget a run, whatever its state. Not answered.
    Stop {
        /// Which run.
        activation: ActivationId,
    },
    /// Check an Ed25519 signature (RFC 8032, strict). Answered by [`Outcome::Verified`].
    Verify {
        /// Returned with the answer.
        ticket: u32,
        /// The public key.
        key: &'a [u8; 32],
        /// What was signed.
        message: &'a [u8],
        /// The signature.
        signature: &'a [u8; 64],
    },
}

/// What became of a piece of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<'a> {
    /// The run called another tasklet and waits.
    Called {
        /// Which run.
        activation: ActivationId,
        /// Index into the imports of its entry.
        import: u16,
        /// The arguments: a CBOR array.
        args: &'a [u8],
        /// Fuel that the run has left.
        fuel: u64,
    },
    /// The run has ended with results.
    Done {
        /// Which run.
        activation: ActivationId,
        /// The results: a CBOR array.
        result: &'a [u8],
        /// Fuel that was left.
        fuel: u64,
    },
    /// The run has ended without results.
    Failed {
        /// Which run.
        activation: ActivationId,
        /// Why.
        fault: Fault,
        /// The trap, if that was the reason.
        trap: Option<Trap>,
        /// Fuel that was left.
        fuel: u64,
    },
    /// The run has used its slice of fuel and waits to continue.
    Yielded {
        /// Which run.
        activation: ActivationId,
        /// Fuel that the run has left.
        fuel: u64,
    },
    /// The state of a run.
    Frozen {
        /// Which run.
        activation: ActivationId,
        /// The saved state.
        image: &'a [u8],
    },
    /// The state of a run could not be saved. The run is as it was, and can go on.
    NotFrozen {
        /// Which run.
        activation: ActivationId,
        /// Why: [`Fault::ValuesTooLarge`] if the image is longer than it may be.
        fault: Fault,
    },
    /// There is no room for the run now, though there would be if it were alone. Nothing has
    /// changed: a start or thaw has left nothing, and a run that waits does so as before. The same
    /// work may be given again.
    NoRoom {
        /// Which run.
        activation: ActivationId,
    },
    /// Whether a signature is good.
    Verified {
        /// From [`Work::Verify`].
        ticket: u32,
        /// Whether it is.
        good: bool,
    },
}

impl Work<'_> {
    /// The activation of which nothing is left once `outcome` has answered this work, so that its
    /// module may be let go.
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
}

impl Outcome<'_> {
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

/// What the device itself offers to tasklets: the functions behind capabilities, and native
/// tasklets.
pub trait Host {
    /// Capabilities that [`call`](Self::call) serves.
    fn offers(&self) -> Capabilities;

    /// Serves an import `nimblenet:<capability>` with the name `function` for `tasklet`. Values
    /// are the bits of WebAssembly values; addresses among them refer to `memory`. Returns the
    /// single result. What a tasklet keeps on the device is its own: another tasklet, of whatever
    /// namespace, neither sees nor changes it.
    ///
    /// # Errors
    /// [`Fault::UnknownImport`] for a function that does not exist, [`Fault::DeviceFailed`] for
    /// one that cannot be served, [`Fault::WrongArguments`] for arguments that make no sense.
    fn call(
        &mut self,
        tasklet: &TaskletName,
        capability: Capability,
        function: &str,
        args: &[u64],
        memory: &mut [u8],
    ) -> Result<u64, Fault>;

    /// Runs the native tasklet `name`: reads the CBOR array `args`, writes the CBOR array of its
    /// results and returns its length.
    ///
    /// # Errors
    /// [`Fault::NoExecutor`] if the device has no such function; otherwise as [`call`](Self::call).
    fn native(
        &mut self,
        name: &TaskletName,
        export: &str,
        args: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault>;
}
