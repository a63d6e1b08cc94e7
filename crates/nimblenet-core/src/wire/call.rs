//! Call and return: a tasklet is run on another node.

use nimblenet_tasklet::{Fault, Name, NodeId, TaskletName, Trap};

use super::{GoNumber, Malformed, Reader, Writer};

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
    /// The tasklet.
    pub name: TaskletName,
    /// The export; empty for `run`.
    pub export: &'a str,
    /// The arguments: a CBOR array.
    pub args: &'a [u8],
}

impl<'a> Call<'a> {
    pub(super) fn len(&self) -> usize {
        let name = self.name.namespace.as_str().len() + self.name.name.as_str().len();
        4 + 4 + 4 + 2 + 2 + 3 + name + self.export.len() + self.args.len()
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (request, deadline_ms) = (reader.u32()?, reader.u32()?);
        let (run, asked_ds, oldest) = (reader.u32()?, reader.u16()?, reader.u16()?);
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

/// The state of a call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Answer<'a> {
    /// The node works on it, in this run.
    Working(u32),
    /// It has ended with these results: a CBOR array.
    Done(&'a [u8]),
    /// It has ended without results.
    Failed(Fault, Option<Trap>),
    /// The node takes an offered job in. With a number the job is ready, and runs once a
    /// [`Go`](super::Go) has that number.
    Adopting(Option<GoNumber>),
    /// The node will not run an offered job and never ran it; or a move is not possible. The
    /// number is that of a job that was ready.
    Refused(Fault, Option<GoNumber>),
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

impl<'a> Return<'a> {
    pub(super) fn len(&self) -> usize {
        5 + match self.answer {
            Answer::Done(result) => result.len(),
            Answer::Failed(..) | Answer::Moving(_) => 2,
            Answer::Adopting(_) | Answer::Working(_) => 4,
            Answer::Refused(..) => 5,
        }
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = reader.u32()?;
        let answer = match reader.u8()? {
            WORKING => Answer::Working(reader.u32()?),
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
            _ => return Err(Malformed),
        };
        Ok(Self { request, answer })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        match self.answer {
            Answer::Working(run) => {
                writer.u8(WORKING);
                writer.u32(run);
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
        }
    }
}

fn fault(reader: &mut Reader<'_>) -> Result<Fault, Malformed> {
    Fault::from_number(reader.u8()?).ok_or(Malformed)
}
