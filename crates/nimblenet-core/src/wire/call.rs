//! Call and return: a tasklet is run on another node.

use nimblenet_tasklet::{Fault, Name, NodeId, TaskletName, Trap};

use super::{GoNumber, HEADER_LEN, Malformed, Reader, Wait, Writer};
use crate::event::Priority;

/// Asks a node to run a tasklet. The caller repeats it until it is answered; the node runs it once
/// (spec/wire.md, section 9).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Call<'a> {
    /// Returned with the answer; the origin uses it for no other call, over restarts too.
    pub request: u32,
    /// How long the call may take, in milliseconds.
    pub deadline_ms: u32,
    /// The run of the node that is asked, once its answer has said it; then the call only asks how it
    /// stands. Before, 0.
    pub run: u32,
    /// How long ago the origin has first asked, in tenths of a second, rounded up; 0 the first time.
    pub asked_ds: u16,
    /// How far the oldest request for which the origin still asks this node is behind this one; the
    /// largest number if it is further than that.
    pub oldest: u16,
    /// Whether placement has chosen the node that is asked, and how often the call may still be
    /// passed on.
    pub passes: Passes,
    /// The tasklet.
    pub name: TaskletName,
    /// The export; empty for `run`.
    pub export: &'a str,
    /// The arguments: a CBOR array.
    pub args: &'a [u8],
}

/// Where an encoded call has [`asked_ds`](Call::asked_ds).
const ASKED_AT: usize = 12;

/// Notes in the encoded frame of a call that this is not the first time that it is sent: a node that has
/// started anew meanwhile may have run it.
pub(crate) fn note_repeated(frame: &mut [u8]) {
    let asked = frame.get_mut(HEADER_LEN + ASKED_AT..).and_then(|rest| rest.first_chunk_mut());
    if let Some(asked) = asked {
        *asked = u16::from_be_bytes(*asked).saturating_add(1).to_be_bytes();
    }
}

impl<'a> Call<'a> {
    pub(super) fn len(&self) -> usize {
        let name = self.name.namespace.as_str().len() + self.name.name.as_str().len();
        4 + 4 + 4 + 2 + 2 + 1 + 3 + name + self.export.len() + self.args.len()
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (request, deadline_ms) = (reader.u32()?, reader.u32()?);
        let (run, asked_ds, oldest) = (reader.u32()?, reader.u16()?, reader.u16()?);
        let passes = Passes(reader.u8()?);
        let namespace = Name::new(reader.text()?).map_err(|_| Malformed)?;
        let name = Name::new(reader.text()?).map_err(|_| Malformed)?;
        let export = reader.text()?;
        let name = TaskletName { namespace, name };
        Ok(Self {
            request,
            deadline_ms,
            run,
            asked_ds,
            oldest,
            passes,
            name,
            export,
            args: reader.rest(),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        writer.u32(self.deadline_ms);
        writer.u32(self.run);
        writer.u16(self.asked_ds);
        writer.u16(self.oldest);
        writer.u8(self.passes.0);
        for part in [
            self.name.namespace.as_str(),
            self.name.name.as_str(),
            self.export,
        ] {
            writer.u8(part.len() as u8);
            writer.bytes(part.as_bytes());
        }
        writer.bytes(self.args);
    }
}

/// How far placement may take a call: 0 for a call to this node and no other, else one more than
/// the number of times that it may still be passed on; with [`QUIET`](Self::QUIET) added if the node
/// that is asked need not say that it works, and a bit for a [`priority`](Self::priority). [`CLAIM`](Self::CLAIM) alone runs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passes(pub u8);

impl Passes {
    /// The caller has named the node.
    pub const PINNED: Self = Self(0);
    /// Placement has chosen the node; it may pass the call on, and the next one too.
    pub const PLACED: Self = Self(3);
    /// The bit of a call whose caller waits for nothing but the result.
    pub const QUIET: u8 = 0x80;

    /// The result of an earlier call is wanted, which a client has made at the node that is asked. The
    /// arguments are its [`CallKey`](crate::CallKey).
    pub const CLAIM: Self = Self(0x40);
    /// The bit of a call that goes before others.
    const HIGH: u8 = 0x10;
    /// The bit of a call that may wait while others do not.
    const LOW: u8 = 0x20;
    /// The bits of the number.
    const LEFT: u8 = 0x0f;

    /// Whether placement has chosen the node.
    pub fn is_placed(self) -> bool {
        self.0 & Self::LEFT > 0
    }

    /// Whether nothing is to run: the result of an earlier call is wanted.
    pub fn is_claim(self) -> bool {
        self.0 & Self::CLAIM.0 > 0
    }

    /// Whether the caller waits for nothing but the result.
    pub fn is_quiet(self) -> bool {
        self.0 & Self::QUIET > 0
    }

    /// The same for a caller that waits for nothing but the result.
    #[must_use]
    pub fn quiet(self) -> Self {
        Self(self.0 | Self::QUIET)
    }

    /// The same for a call of this priority.
    #[must_use]
    pub fn of(self, priority: Priority) -> Self {
        let rest = self.0 & !(Self::HIGH | Self::LOW);
        Self(match priority {
            Priority::Low => rest | Self::LOW,
            Priority::Normal => rest,
            Priority::High => rest | Self::HIGH,
        })
    }

    /// The priority of the call.
    pub fn priority(self) -> Priority {
        match (self.0 & Self::HIGH > 0, self.0 & Self::LOW > 0) {
            (true, false) => Priority::High,
            (false, true) => Priority::Low,
            (false, false) | (true, true) => Priority::Normal,
        }
    }

    /// What is left after the call is passed on once more; none if it may not. The node that it is
    /// passed to says that it works, since the caller does not know that node.
    pub fn next(self) -> Option<Self> {
        let left = self.0 & Self::LEFT;
        (left > 1).then(|| Self(left - 1).of(self.priority()))
    }
}

/// The state of a call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Answer<'a> {
    /// The node works on it, in this run; new work waits there for so long.
    Working(u32, Wait),
    /// It has ended with these results: a CBOR array.
    Done(&'a [u8]),
    /// It has ended without results.
    Failed(Fault, Option<Trap>),
    /// The node takes an offered job in. With a number the job is ready, and runs once a
    /// [`Go`](super::Go) has that number.
    Adopting(Option<GoNumber>),
    /// The node will not run an offered job, or a call that placement has sent to it, and never ran
    /// it. The number is that of a job that was ready.
    Refused(Fault, Option<GoNumber>),
    /// The call does not move to this node, whatever else becomes of it.
    Unmoved(NodeId, Fault),
    /// The call is moving to this node, or has moved there.
    Moving(NodeId),
}

/// The answer to a [`Call`], a [`Move`](super::Move), an [`Offer`](super::Offer) or a
/// [`Go`](super::Go).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Return<'a> {
    /// The request number of the message that it answers.
    pub request: u32,
    /// The answer.
    pub answer: Answer<'a>,
}

const WORKING: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;
const ADOPTING: u8 = 3;
const REFUSED: u8 = 4;
const MOVING: u8 = 5;
const UNMOVED: u8 = 6;

impl<'a> Return<'a> {
    pub(super) fn len(&self) -> usize {
        5 + match self.answer {
            Answer::Done(result) => result.len(),
            Answer::Failed(..) | Answer::Moving(_) => 2,
            Answer::Adopting(_) => 4,
            Answer::Working(..) => 6,
            Answer::Refused(..) => 5,
            Answer::Unmoved(..) => 3,
        }
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = reader.u32()?;
        let answer = match reader.u8()? {
            WORKING => Answer::Working(reader.u32()?, Wait(reader.u16()?)),
            DONE => Answer::Done(reader.rest()),
            FAILED => {
                let fault = fault(reader)?;
                let trap = match reader.u8()? {
                    0 => None,
                    number => Some(Trap::from_number(number).ok_or(Malformed)?),
                };
                Answer::Failed(fault, trap)
            }
            ADOPTING => Answer::Adopting(GoNumber::new(reader.u32()?)),
            REFUSED => Answer::Refused(fault(reader)?, GoNumber::new(reader.u32()?)),
            MOVING => Answer::Moving(NodeId(reader.u16()?)),
            UNMOVED => Answer::Unmoved(NodeId(reader.u16()?), fault(reader)?),
            _ => return Err(Malformed),
        };
        Ok(Self { request, answer })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        match self.answer {
            Answer::Working(run, wait) => {
                writer.u8(WORKING);
                writer.u32(run);
                writer.u16(wait.0);
            }
            Answer::Done(result) => {
                writer.u8(DONE);
                writer.bytes(result);
            }
            Answer::Failed(fault, trap) => {
                writer.u8(FAILED);
                writer.u8(fault.number());
                writer.u8(trap.map_or(0, Trap::number));
            }
            Answer::Adopting(number) => {
                writer.u8(ADOPTING);
                writer.u32(GoNumber::or_zero(number));
            }
            Answer::Refused(fault, number) => {
                writer.u8(REFUSED);
                writer.u8(fault.number());
                writer.u32(GoNumber::or_zero(number));
            }
            Answer::Moving(to) => {
                writer.u8(MOVING);
                writer.u16(to.0);
            }
            Answer::Unmoved(to, fault) => {
                writer.u8(UNMOVED);
                writer.u16(to.0);
                writer.u8(fault.number());
            }
        }
    }
}

fn fault(reader: &mut Reader<'_>) -> Result<Fault, Malformed> {
    Fault::from_number(reader.u8()?).ok_or(Malformed)
}
