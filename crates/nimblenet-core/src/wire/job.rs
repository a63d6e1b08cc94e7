//! A job on its way between nodes (spec/snapshot.md, section 11).
//!
//! It is written as its activations are frozen, one after the other, and read where it stands.

use nimblenet_tasklet::{Fault, Name, NamespaceId, TaskletName, TaskletRef, Trap};

use super::{Malformed, Reader};
use crate::event::Priority;
use crate::full::Full;

const VERSION: u8 = 1;

const START: u8 = 0;
const CONTINUE: u8 = 1;
const RESUME: u8 = 2;
const FAIL: u8 = 3;
/// The bits of the byte with these numbers.
const NEXT: u8 = 0x0f;
/// The bit of a job that goes before others.
const HIGH: u8 = 0x10;
/// The bit of a job that may wait while others do not.
const LOW: u8 = 0x20;

/// What a job that stands still does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Starts the top activation with the message as arguments.
    Start,
    /// Lets the top activation go on after a slice.
    Continue,
    /// Lets the top activation go on with the message as the callee's results, or with the reason
    /// why there are none.
    Resume(Result<(), Fault>),
}

/// The output is too short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoRoom;

/// What a record says of a job besides epochs and activations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobHead<'a> {
    pub(crate) next: Next,
    pub(crate) trap: Option<Trap>,
    /// Activations.
    pub(crate) depth: u8,
    pub(crate) calls_left: u32,
    pub(crate) priority: Full<Priority>,
    pub(crate) name: TaskletName,
    pub(crate) export: &'a str,
    /// Arguments of the activation that starts, or the results that one waits for; otherwise empty
    /// in a record.
    pub(crate) message: &'a [u8],
}

struct Appender<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl<'b> Appender<'b> {
    fn new(out: &'b mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.len + bytes.len();
        let place = self.out.get_mut(self.len..end).ok_or(NoRoom)?;
        place.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn u32(&mut self, value: u32) -> Result<(), NoRoom> {
        self.bytes(&value.to_be_bytes())
    }

    fn text(&mut self, text: &str) -> Result<(), NoRoom> {
        self.bytes(&[text.len() as u8])?;
        self.bytes(text.as_bytes())
    }
}

/// Writes the start of a record to the start of `out` and returns its length. `epochs` are those
/// of the node's namespaces when the job started.
pub(crate) fn write_head(
    out: &mut [u8],
    head: &JobHead<'_>,
    epochs: impl ExactSizeIterator<Item = (NamespaceId, u32)>,
) -> Result<usize, NoRoom> {
    let mut to = Appender::new(out);
    let (next, fault) = match head.next {
        Next::Start => (START, 0),
        Next::Continue => (CONTINUE, 0),
        Next::Resume(Ok(())) => (RESUME, 0),
        Next::Resume(Err(fault)) => (FAIL, fault.number()),
    };
    let trap = head.trap.map_or(0, Trap::number);
    let priority = match head.priority.value() {
        Priority::Low => LOW,
        Priority::Normal => 0,
        Priority::High => HIGH,
    };
    to.bytes(&[
        VERSION,
        next | priority,
        fault,
        trap,
        head.depth,
        epochs.len() as u8,
    ])?;
    to.u32(head.calls_left)?;
    to.text(head.name.namespace.as_str())?;
    to.text(head.name.name.as_str())?;
    to.text(head.export)?;
    for (namespace, epoch) in epochs {
        to.u32(namespace.0)?;
        to.u32(epoch)?;
    }
    let message = match next {
        START | RESUME => head.message,
        _ => &[],
    };
    to.u32(message.len() as u32)?;
    to.bytes(message)?;
    Ok(to.len)
}

/// Writes what stands before the image of an activation to the start of `out` and returns its
/// length.
pub(crate) fn write_activation(
    out: &mut [u8],
    tasklet: TaskletRef,
    fuel: u64,
    export: &str,
) -> Result<usize, NoRoom> {
    let mut to = Appender::new(out);
    to.u32(tasklet.namespace.0)?;
    to.bytes(&tasklet.number.to_be_bytes())?;
    to.bytes(&tasklet.sequence.to_be_bytes())?;
    to.bytes(&fuel.to_be_bytes())?;
    to.text(export)?;
    Ok(to.len)
}

/// Writes the image of an activation to the start of `out` and returns the length of what it
/// wrote; an empty image stands for an activation that has not started.
pub(crate) fn write_image(out: &mut [u8], image: &[u8]) -> Result<usize, NoRoom> {
    let mut to = Appender::new(out);
    to.u32(image.len() as u32)?;
    to.bytes(image)?;
    Ok(to.len)
}

/// Bytes that an image may have if [`write_image`] writes it to `room` bytes.
pub(crate) fn image_room(room: usize) -> usize {
    room.saturating_sub(size_of::<u32>())
}

/// A moved job that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MovedJob<'a> {
    pub(crate) head: JobHead<'a>,
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
        let (first, fault) = (reader.u8()?, reader.u8()?);
        let priority = match first & !NEXT {
            LOW => Priority::Low,
            HIGH => Priority::High,
            _ => Priority::Normal,
        };
        let next = match (first & NEXT, Fault::from_number(fault)) {
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
            head: JobHead {
                next,
                trap,
                depth,
                calls_left,
                priority: Full::of(priority),
                name: TaskletName { namespace, name },
                export,
                message,
            },
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
