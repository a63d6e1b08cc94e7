//! Work and outcomes as copies, on their way between the node and the interpreter.
//!
//! A node lends what it hands out; the interpreter runs on another core, or is interrupted by the
//! node. So everything is copied into one of two places that are never read and written at the
//! same time: a [`Parcel`] with work, an [`Answer`] with its outcome. Only modules and images are
//! too large for that and stay where they are, as [`Lent`].

use core::ops::Range;

use nimblenet_tasklet::{
    ActivationId, Capabilities, Entry, Fault, Outcome, Start, TaskletName, Trap, Work,
};

use crate::lent::Lent;

/// The most that a piece of work takes besides module and image: a catalogue entry, the export's
/// name and arguments.
pub const PARCEL_BYTES: usize = 1408;
/// The longest arguments, results or image that the interpreter gives.
pub const ANSWER_BYTES: usize = 2048;

/// A piece of work.
#[derive(Debug)]
pub struct Parcel {
    task: Task,
    bytes: [u8; PARCEL_BYTES],
    used: usize,
}

/// Where something stands in a parcel's bytes.
type Place = Range<usize>;

/// Of an empty parcel all bytes are zero, so that it takes no flash.
#[derive(Debug)]
#[repr(u8)]
enum Task {
    Stop(ActivationId),
    Start(Begin),
    Thaw(Begin, Lent),
    Continue(ActivationId),
    Resume {
        activation: ActivationId,
        result: Result<Place, Fault>,
        fuel: u64,
    },
    Freeze {
        activation: ActivationId,
        room: usize,
    },
    Verify {
        ticket: u32,
        key: [u8; 32],
        message: Place,
        signature: [u8; 64],
    },
    /// Work that did not fit.
    Refuse(ActivationId, Fault),
}

#[derive(Debug)]
struct Begin {
    activation: ActivationId,
    parent: Option<ActivationId>,
    name: TaskletName,
    entry: Place,
    code: Lent,
    export: Place,
    args: Place,
    fuel: u64,
    granted: Capabilities,
}

/// What the interpreter is to do, as it reads a parcel.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made"
)]
pub enum Order<'p> {
    /// Work, and for a start or a thaw the module.
    Do(Work<'p>, Option<(ActivationId, Lent)>),
    /// Nothing: the activation fails at once.
    Refuse(ActivationId, Fault),
}

/// There is no room for more.
struct Full;

impl Parcel {
    /// An empty parcel.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            task: Task::Stop(ActivationId(0)),
            bytes: [0; PARCEL_BYTES],
            used: 0,
        }
    }

    /// Takes a copy of `work`. What is too large fails with [`Fault::ValuesTooLarge`] once the
    /// interpreter opens the parcel.
    pub fn pack(&mut self, work: Work<'_>) {
        self.used = 0;
        self.task = match work {
            Work::Start(start) => match self.begin(&start) {
                Ok(begin) => Task::Start(begin),
                Err(Full) => Task::Refuse(start.activation, Fault::ValuesTooLarge),
            },
            Work::Thaw { start, image } => {
                let kept = Start { args: &[], ..start };
                let placed = self.begin(&kept);
                match placed {
                    Ok(begin) => Task::Thaw(begin, Lent::new(image)),
                    Err(Full) => Task::Refuse(start.activation, Fault::ValuesTooLarge),
                }
            }
            Work::Continue { activation } => Task::Continue(activation),
            Work::Resume {
                activation,
                result,
                fuel,
            } => Task::Resume {
                activation,
                result: result
                    .and_then(|bytes| self.put(bytes).map_err(|Full| Fault::ValuesTooLarge)),
                fuel,
            },
            Work::Freeze { activation, room } => Task::Freeze { activation, room },
            Work::Stop { activation } => Task::Stop(activation),
            Work::Verify {
                ticket,
                key,
                message,
                signature,
            } => Task::Verify {
                ticket,
                key: *key,
                // An empty message has no good signature in this protocol.
                message: self.put(message).unwrap_or(0..0),
                signature: *signature,
            },
        };
    }

    /// What is in it.
    #[must_use]
    pub fn open(&self) -> Order<'_> {
        let bytes = |place: &Place| &self.bytes[place.clone()];
        Order::Do(
            match &self.task {
                Task::Start(begin) => {
                    let start = self.start(begin);
                    return Order::Do(Work::Start(start), Some((begin.activation, begin.code)));
                }
                Task::Thaw(begin, image) => {
                    let (start, image) = (self.start(begin), image.bytes());
                    let work = Work::Thaw { start, image };
                    return Order::Do(work, Some((begin.activation, begin.code)));
                }
                Task::Refuse(activation, fault) => return Order::Refuse(*activation, *fault),
                Task::Continue(activation) => Work::Continue {
                    activation: *activation,
                },
                Task::Resume {
                    activation,
                    result,
                    fuel,
                } => Work::Resume {
                    activation: *activation,
                    result: result.as_ref().map(bytes).map_err(|fault| *fault),
                    fuel: *fuel,
                },
                Task::Freeze { activation, room } => Work::Freeze {
                    activation: *activation,
                    room: *room,
                },
                Task::Stop(activation) => Work::Stop {
                    activation: *activation,
                },
                Task::Verify {
                    ticket,
                    key,
                    message,
                    signature,
                } => Work::Verify {
                    ticket: *ticket,
                    key,
                    message: bytes(message),
                    signature,
                },
            },
            None,
        )
    }

    fn begin(&mut self, start: &Start<'_>) -> Result<Begin, Full> {
        Ok(Begin {
            activation: start.activation,
            parent: start.parent,
            name: start.name,
            entry: self.put(start.entry.encoded())?,
            code: Lent::new(start.code),
            export: self.put(start.export.as_bytes())?,
            args: self.put(start.args)?,
            fuel: start.fuel,
            granted: start.granted,
        })
    }

    fn start(&self, begin: &Begin) -> Start<'_> {
        let bytes = |place: &Place| &self.bytes[place.clone()];
        let entry = Entry::reread(bytes(&begin.entry));
        Start {
            activation: begin.activation,
            parent: begin.parent,
            name: begin.name,
            entry: entry.expect("it was read before it was copied"),
            code: begin.code.bytes(),
            export: core::str::from_utf8(bytes(&begin.export)).expect("it was text"),
            args: bytes(&begin.args),
            fuel: begin.fuel,
            granted: begin.granted,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<Place, Full> {
        let place = self.used..self.used + bytes.len();
        let room = self.bytes.get_mut(place.clone()).ok_or(Full)?;
        room.copy_from_slice(bytes);
        self.used = place.end;
        Ok(place)
    }
}

impl Default for Parcel {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of a parcel: each has one answer.
#[derive(Debug)]
pub struct Answer {
    head: Head,
    bytes: [u8; ANSWER_BYTES],
}

/// An outcome without its bytes, which are the first of the answer's.
#[derive(Clone, Copy, Debug)]
enum Head {
    /// The work has no outcome.
    Nothing,
    Called {
        activation: ActivationId,
        import: u16,
        len: usize,
        fuel: u64,
    },
    Done {
        activation: ActivationId,
        len: usize,
        fuel: u64,
    },
    Failed {
        activation: ActivationId,
        fault: Fault,
        trap: Option<Trap>,
        fuel: u64,
    },
    Yielded {
        activation: ActivationId,
        fuel: u64,
    },
    Frozen {
        activation: ActivationId,
        len: usize,
    },
    NotFrozen {
        activation: ActivationId,
        fault: Fault,
    },
    NoRoom(ActivationId),
    Verified {
        ticket: u32,
        good: bool,
    },
}

impl Answer {
    /// An answer that says nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: Head::Nothing,
            bytes: [0; ANSWER_BYTES],
        }
    }

    /// Fills it with the outcome that `work` gives; `work` writes the outcome's bytes to the start
    /// of the slice that it is given.
    pub fn fill(&mut self, work: impl FnOnce(&mut [u8]) -> Option<Outcome<'_>>) {
        self.head = work(&mut self.bytes).map_or(Head::Nothing, Head::of);
    }

    /// The outcome, if there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome<'_>> {
        Some(match self.head {
            Head::Nothing => return None,
            Head::Called {
                activation,
                import,
                len,
                fuel,
            } => Outcome::Called {
                activation,
                import,
                args: &self.bytes[..len],
                fuel,
            },
            Head::Done {
                activation,
                len,
                fuel,
            } => Outcome::Done {
                activation,
                result: &self.bytes[..len],
                fuel,
            },
            Head::Failed {
                activation,
                fault,
                trap,
                fuel,
            } => Outcome::Failed {
                activation,
                fault,
                trap,
                fuel,
            },
            Head::Yielded { activation, fuel } => Outcome::Yielded { activation, fuel },
            Head::Frozen { activation, len } => Outcome::Frozen {
                activation,
                image: &self.bytes[..len],
            },
            Head::NotFrozen { activation, fault } => Outcome::NotFrozen { activation, fault },
            Head::NoRoom(activation) => Outcome::NoRoom { activation },
            Head::Verified { ticket, good } => Outcome::Verified { ticket, good },
        })
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self::new()
    }
}

impl Head {
    fn of(outcome: Outcome<'_>) -> Self {
        match outcome {
            Outcome::Called {
                activation,
                import,
                args,
                fuel,
            } => Self::Called {
                activation,
                import,
                len: args.len(),
                fuel,
            },
            Outcome::Done {
                activation,
                result,
                fuel,
            } => Self::Done {
                activation,
                len: result.len(),
                fuel,
            },
            Outcome::Failed {
                activation,
                fault,
                trap,
                fuel,
            } => Self::Failed {
                activation,
                fault,
                trap,
                fuel,
            },
            Outcome::Yielded { activation, fuel } => Self::Yielded { activation, fuel },
            Outcome::Frozen { activation, image } => Self::Frozen {
                activation,
                len: image.len(),
            },
            Outcome::NotFrozen { activation, fault } => Self::NotFrozen { activation, fault },
            Outcome::NoRoom { activation } => Self::NoRoom(activation),
            Outcome::Verified { ticket, good } => Self::Verified { ticket, good },
        }
    }
}
