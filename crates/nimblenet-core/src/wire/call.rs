//! Call and return: a tasklet is run on another node.

use nimblenet_tasklet::{Fault, Name, TaskletName, Trap};

use super::{Malformed, Reader, Writer};

/// Asks a node to run a tasklet. Repeated until it is answered; the node runs it once.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Call<'a> {
    /// Returned with the answer; the origin uses it for no other call, over restarts too.
    pub request: u32,
    /// How long the call may take, in milliseconds.
    pub deadline_ms: u32,
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
        4 + 4 + 3 + name + self.export.len() + self.args.len()
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (request, deadline_ms) = (reader.u32()?, reader.u32()?);
        let namespace = Name::new(text(reader)?).map_err(|_| Malformed)?;
        let name = Name::new(text(reader)?).map_err(|_| Malformed)?;
        let export = text(reader)?;
        let name = TaskletName { namespace, name };
        Ok(Self {
            request,
            deadline_ms,
            name,
            export,
            args: reader.rest(),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        writer.u32(self.deadline_ms);
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

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let len = reader.u8()?;
    core::str::from_utf8(reader.take(len.into())?).map_err(|_| Malformed)
}

/// How a call stands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Answer<'a> {
    /// It is being worked on.
    Working,
    /// It has ended with these results: a CBOR array.
    Done(&'a [u8]),
    /// It has ended without results.
    Failed(Fault, Option<Trap>),
}

/// The answer to a [`Call`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Return<'a> {
    /// From the call.
    pub request: u32,
    /// The answer.
    pub answer: Answer<'a>,
}

const WORKING: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

impl<'a> Return<'a> {
    pub(super) fn len(&self) -> usize {
        5 + match self.answer {
            Answer::Working => 0,
            Answer::Done(result) => result.len(),
            Answer::Failed(..) => 2,
        }
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = reader.u32()?;
        let answer = match reader.u8()? {
            WORKING => Answer::Working,
            DONE => Answer::Done(reader.rest()),
            FAILED => {
                let fault = Fault::from_number(reader.u8()?).ok_or(Malformed)?;
                let trap = match reader.u8()? {
                    0 => None,
                    number => Some(Trap::from_number(number).ok_or(Malformed)?),
                };
                Answer::Failed(fault, trap)
            }
            _ => return Err(Malformed),
        };
        Ok(Self { request, answer })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.request);
        match self.answer {
            Answer::Working => writer.u8(WORKING),
            Answer::Done(result) => {
                writer.u8(DONE);
                writer.bytes(result);
            }
            Answer::Failed(fault, trap) => {
                writer.u8(FAILED);
                writer.u8(fault.number());
                writer.u8(trap.map_or(0, Trap::number));
            }
        }
    }
}
