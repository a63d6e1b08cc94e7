//! Fetch: the receiver of a transfer asks for the parts it lacks (spec/wire.md, section 6).
//!
//! There are no acknowledgements: a part that was lost is asked for again, of the same source or
//! of another.

use nimblenet_tasklet::{NamespaceId, TaskletRef};

use super::{Malformed, Reader, Writer};

/// Something that is moved in parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// A tasklet's module.
    Module(TaskletRef),
    /// What changed in a catalogue since an epoch.
    Catalogue {
        /// The namespace.
        namespace: NamespaceId,
        /// The epoch held; 0 for none.
        since: u32,
    },
    /// A job that was offered.
    Job {
        /// The offer's request number.
        request: u32,
    },
}

/// Asks for up to 32 parts of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// The object.
    pub object: Object,
    /// Returned with each part.
    pub request: u16,
    /// Offset of the first part, in bytes.
    pub offset: u32,
    /// Length of a part in bytes; the last one may be shorter.
    pub part: u16,
    /// Which parts: bit n means the part at `offset + n * part`.
    pub wanted: u32,
    /// Whether it is for its destination only: no node on the path answers it or sends it to another.
    pub direct: bool,
}

const MODULE: u8 = 0;
const CATALOGUE: u8 = 1;
const JOB: u8 = 2;
/// Added to the kind of the object if the fetch is direct.
const DIRECT: u8 = 0x80;

impl Fetch {
    pub(super) fn len(&self) -> usize {
        1 + 8 + 2 + 4 + 2 + 4
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = reader.u8()?;
        let direct = kind & DIRECT != 0;
        let object = match kind & !DIRECT {
            MODULE => Object::Module(reader.tasklet()?),
            CATALOGUE => Object::Catalogue {
                namespace: NamespaceId(reader.u32()?),
                since: reader.u32()?,
            },
            JOB => {
                let (request, unused) = (reader.u32()?, reader.u32()?);
                if unused != 0 {
                    return Err(Malformed);
                }
                Object::Job { request }
            }
            _ => return Err(Malformed),
        };
        let request = reader.u16()?;
        let (offset, part, wanted) = (reader.u32()?, reader.u16()?, reader.u32()?);
        if part == 0 {
            return Err(Malformed);
        }
        Ok(Self {
            object,
            request,
            offset,
            part,
            wanted,
            direct,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        let direct = if self.direct { DIRECT } else { 0 };
        match self.object {
            Object::Module(tasklet) => {
                writer.u8(MODULE | direct);
                writer.tasklet(tasklet);
            }
            Object::Catalogue { namespace, since } => {
                writer.u8(CATALOGUE | direct);
                writer.u32(namespace.0);
                writer.u32(since);
            }
            Object::Job { request } => {
                writer.u8(JOB | direct);
                writer.u32(request);
                writer.u32(0);
            }
        }
        writer.u16(self.request);
        writer.u32(self.offset);
        writer.u16(self.part);
        writer.u32(self.wanted);
    }
}
