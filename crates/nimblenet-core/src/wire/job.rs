//! A job on its way between nodes (spec/snapshot.md, section 11).
//!
//! It is written as its activations are frozen, one after the other, and read where it stands.

use nimblenet_tasklet::{Fault, Name, NamespaceId, TaskletName, TaskletRef, Trap};

use super::{Malformed, Reader};
use crate::cache::Buffer;
use crate::job::{Job, Next};

const VERSION: u8 = 1;

const START: u8 = 0;
const CONTINUE: u8 = 1;
const RESUME: u8 = 2;
const FAIL: u8 = 3;

/// The buffer's capacity is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoRoom;

struct Appender<'b>(&'b mut Buffer);

impl Appender<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        if self.0.append(bytes) {
            Ok(())
        } else {
            Err(NoRoom)
        }
    }

    fn u32(&mut self, value: u32) -> Result<(), NoRoom> {
        self.bytes(&value.to_be_bytes())
    }

    fn text(&mut self, text: &str) -> Result<(), NoRoom> {
        self.bytes(&[text.len() as u8])?;
        self.bytes(text.as_bytes())
    }
}

/// Begins the record of `job`, which goes on with `next`. `namespaces` are those that the job's
/// epochs belong to.
pub(crate) fn begin(
    out: &mut Buffer,
    job: &Job,
    next: Next,
    namespaces: impl Iterator<Item = NamespaceId>,
) -> Result<(), NoRoom> {
    out.clear();
    let mut to = Appender(out);
    let (next, fault) = match next {
        Next::Start => (START, 0),
        Next::Continue => (CONTINUE, 0),
        Next::Resume(Ok(())) => (RESUME, 0),
        Next::Resume(Err(fault)) => (FAIL, fault.number()),
    };
    let trap = job.trap.map_or(0, Trap::number);
    let (depth, epochs) = (job.depth() as u8, job.epochs.len() as u8);
    to.bytes(&[VERSION, next, fault, trap, depth, epochs])?;
    to.u32(job.calls_left)?;
    to.text(job.name.namespace.as_str())?;
    to.text(job.name.name.as_str())?;
    to.text(job.export.as_str())?;
    for (namespace, epoch) in namespaces.zip(&job.epochs) {
        to.u32(namespace.0)?;
        to.u32(*epoch)?;
    }
    let message = match next {
        START | RESUME => &job.message[..],
        _ => &[],
    };
    to.u32(message.len() as u32)?;
    to.bytes(message)
}

/// Goes on with the activation at `at` of the job's stack; its image follows.
pub(crate) fn begin_activation(out: &mut Buffer, job: &Job, at: usize) -> Result<(), NoRoom> {
    let Some(activation) = job.activations().get(at) else {
        return Err(NoRoom);
    };
    let tasklet = activation.entry().reference(activation.namespace);
    let mut to = Appender(out);
    to.u32(tasklet.namespace.0)?;
    to.bytes(&tasklet.number.to_be_bytes())?;
    to.bytes(&tasklet.sequence.to_be_bytes())?;
    to.bytes(&activation.fuel.to_be_bytes())?;
    to.text(activation.export.as_str())
}

/// Goes on with an image; an empty one stands for an activation that has not started.
pub(crate) fn put_image(out: &mut Buffer, image: &[u8]) -> Result<(), NoRoom> {
    let mut to = Appender(out);
    to.u32(image.len() as u32)?;
    to.bytes(image)
}

/// Bytes that the next image may have.
pub(crate) fn image_room(out: &Buffer) -> usize {
    out.room().saturating_sub(size_of::<u32>())
}

/// A moved job that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MovedJob<'a> {
    pub(crate) next: Next,
    pub(crate) trap: Option<Trap>,
    pub(crate) calls_left: u32,
    pub(crate) name: TaskletName,
    pub(crate) export: &'a str,
    /// Arguments of the activation that starts, or the results that one waits for.
    pub(crate) message: &'a [u8],
    epochs: &'a [u8],
    activations: &'a [u8],
}

/// One activation of a moved job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MovedActivation<'a> {
    pub(crate) tasklet: TaskletRef,
    pub(crate) fuel: u64,
    pub(crate) export: &'a str,
    /// Empty if it has not started.
    pub(crate) image: &'a [u8],
}

impl<'a> MovedJob<'a> {
    /// Reads a record, every part of it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        if reader.u8()? != VERSION {
            return Err(Malformed);
        }
        let (next, fault) = (reader.u8()?, reader.u8()?);
        let next = match (next, Fault::from_number(fault)) {
            (START, None) => Next::Start,
            (CONTINUE, None) => Next::Continue,
            (RESUME, None) => Next::Resume(Ok(())),
            (FAIL, Some(fault)) => Next::Resume(Err(fault)),
            _ => return Err(Malformed),
        };
        let trap = match reader.u8()? {
            0 => None,
            number => Some(Trap::from_number(number).ok_or(Malformed)?),
        };
        let (depth, epochs) = (reader.u8()?, reader.u8()?);
        let calls_left = reader.u32()?;
        let namespace = Name::new(reader.text()?).map_err(|_| Malformed)?;
        let name = Name::new(reader.text()?).map_err(|_| Malformed)?;
        let export = reader.text()?;
        let epochs = reader.take(usize::from(epochs) * 8)?;
        let len = reader.u32()? as usize;
        let message = reader.take(len)?;
        let activations = reader.rest();
        let mut rest = Reader(activations);
        for left in (0..depth).rev() {
            let activation = MovedActivation::parse(&mut rest)?;
            let starts = left == 0 && next == Next::Start;
            if activation.image.is_empty() != starts {
                return Err(Malformed);
            }
        }
        if depth == 0 || !rest.0.is_empty() {
            return Err(Malformed);
        }
        Ok(Self {
            next,
            trap,
            calls_left,
            name: TaskletName { namespace, name },
            export,
            message,
            epochs,
            activations,
        })
    }

    /// The epoch of a namespace when the job started.
    pub(crate) fn epoch(&self, namespace: NamespaceId) -> Option<u32> {
        let word = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let mut epochs = self.epochs.chunks_exact(8);
        let found = epochs.find(|epoch| word(&epoch[..4]) == namespace.0);
        found.map(|epoch| word(&epoch[4..]))
    }

    /// Its activations, outermost first.
    pub(crate) fn activations(&self) -> impl Iterator<Item = MovedActivation<'a>> + use<'a> {
        let mut reader = Reader(self.activations);
        core::iter::from_fn(move || MovedActivation::parse(&mut reader).ok())
    }
}

impl<'a> MovedActivation<'a> {
    fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let tasklet = reader.tasklet()?;
        let fuel = u64::from_be_bytes(reader.array()?);
        let export = reader.text()?;
        let len = reader.u32()? as usize;
        let image = reader.take(len)?;
        Ok(Self {
            tasklet,
            fuel,
            export,
            image,
        })
    }
}

/// The image of the activation at `at`, in a record whose activations have been written or read
/// up to there.
pub(crate) fn image(record: &[u8], at: usize) -> &[u8] {
    let found = walk(record, at);
    found.unwrap_or(&[])
}

/// Finds an image in a record that may still lack activations behind it.
fn walk(record: &[u8], at: usize) -> Option<&[u8]> {
    let mut reader = Reader(record);
    let head = reader.array::<10>().ok()?;
    for _ in 0..3 {
        reader.text().ok()?;
    }
    reader.take(usize::from(head[5]) * 8).ok()?;
    let len = reader.u32().ok()? as usize;
    reader.take(len).ok()?;
    for _ in 0..at {
        MovedActivation::parse(&mut reader).ok()?;
    }
    Some(MovedActivation::parse(&mut reader).ok()?.image)
}
