//! Flow: items on their way to a sink, and what a sink says of them (spec/wire.md, section 15).
//!
//! A node that has nothing to do with flows passes the bytes on and does not read them.

use nimblenet_tasklet::{Fault, NodeId};

use super::{Malformed, Reader, Writer};
use crate::flow::{FlowId, MAX_STAGES, Stage, StageKind, Stages};

/// Bit of the first byte: nobody but the sink applies operators.
const AT_SINK: u8 = 0x80;

/// A message of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow<'a>(&'a [u8]);

impl<'a> Flow<'a> {
    /// A message with these bytes, as [`FlowContent::write`] writes them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether it is an item that may have an operator for a node on its way.
    pub(crate) fn may_stop(&self) -> bool {
        self.0.first().is_some_and(|kind| *kind < Taken::KIND)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`] unless it is exactly one such message.
    pub fn content(&self) -> Result<FlowContent<'a>, Malformed> {
        FlowContent::read(self.0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.rest() {
            [] => Err(Malformed),
            bytes => Ok(Self(bytes)),
        }
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.bytes(self.0);
    }
}

/// What an item has become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemValue<'a> {
    /// A filter has dropped all that the range covers.
    Nothing,
    /// One CBOR value, which belongs to the end of the range.
    Value(&'a [u8]),
    /// An operator has failed.
    Failed(Fault),
}

/// An item on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    /// Its flow.
    pub flow: FlowId,
    /// Distinguishes the flow from earlier ones of that name at the source: rises with each.
    pub run: u32,
    /// The node where it began.
    pub source: NodeId,
    /// The first item of the source that it covers.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// The first item of the source that the sink may still lack.
    pub oldest: u32,
    /// How many items of the source one item covers at this point, those that a filter has dropped
    /// aside.
    pub unit: u16,
    /// Whether nobody but the sink applies operators.
    pub at_sink: bool,
    /// The operators that have yet to be applied.
    pub stages: Stages,
    /// Its value.
    pub value: ItemValue<'a>,
}

/// What a sink says to a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The flow.
    pub flow: FlowId,
    /// Which one of that name.
    pub run: u32,
    /// The first item of the source that the sink lacks.
    pub next: u32,
    /// The first one after it that the sink has; `next` if it has none.
    pub until: u32,
    /// Whether the sink takes the flow.
    pub wanted: bool,
}

impl Taken {
    const KIND: u8 = 3;
}

/// What a source says to a sink to which it knows no way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Begin {
    /// The flow.
    pub flow: FlowId,
    /// Which one of that name.
    pub run: u32,
    /// The first item that the sink may lack.
    pub oldest: u32,
}

impl Begin {
    const KIND: u8 = 4;
}

/// The content of a message of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowContent<'a> {
    /// An item.
    Item(Item<'a>),
    /// What a sink says to a source.
    Taken(Taken),
    /// What a source says to a sink.
    Begin(Begin),
}

impl Item<'_> {
    /// The bytes of an item besides its operators and its value.
    const FIXED_LEN: usize = 22;
    /// The bytes of an operator.
    const STAGE_LEN: usize = 11;
    /// The most bytes of an item besides its value.
    pub(crate) const HEAD_LEN: usize = Self::head_len(MAX_STAGES);

    /// The bytes of an item with so many operators, besides its value.
    pub(crate) const fn head_len(stages: usize) -> usize {
        Self::FIXED_LEN + stages * Self::STAGE_LEN
    }

    /// The bytes of a message with this item.
    pub fn len(&self) -> usize {
        let value = match self.value {
            ItemValue::Nothing => 0,
            ItemValue::Value(value) => value.len(),
            ItemValue::Failed(_) => 1,
        };
        Self::head_len(self.stages.len()) + value
    }

    /// Whether it has no bytes; none has.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl<'a> FlowContent<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let head = reader.u8()?;
        let (flow, run) = (FlowId(reader.u32()?), reader.u32()?);
        if head == Begin::KIND {
            let oldest = reader.u32()?;
            let begin = Begin { flow, run, oldest };
            return match reader.0.is_empty() {
                true => Ok(Self::Begin(begin)),
                false => Err(Malformed),
            };
        }
        if head == Taken::KIND {
            let (next, until) = (reader.u32()?, reader.u32()?);
            let wanted = match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed),
            };
            let taken = Taken {
                flow,
                run,
                next,
                until,
                wanted,
            };
            return match reader.0.is_empty() {
                true => Ok(Self::Taken(taken)),
                false => Err(Malformed),
            };
        }
        let source = NodeId(reader.u16()?);
        let first = reader.u32()?;
        let more = reader.u16()?;
        let behind = reader.u16()?;
        let unit = reader.u16()?;
        let count = usize::from(reader.u8()?);
        let mut list = [None; MAX_STAGES];
        for place in list.get_mut(..count).ok_or(Malformed)? {
            let kind = StageKind::from_number(reader.u8()?).ok_or(Malformed)?;
            let count = reader.u16()?;
            if count == 0 || (count != 1 && !kind.gathers()) {
                return Err(Malformed);
            }
            let tasklet = reader.tasklet()?;
            *place = Some(Stage {
                kind,
                count,
                tasklet,
            });
        }
        let stages = Stages::new(list.into_iter().flatten()).ok_or(Malformed)?;
        let rest = reader.rest();
        let value = match (head & !AT_SINK, rest) {
            (0, []) => ItemValue::Nothing,
            (1, [_, ..]) => ItemValue::Value(rest),
            (2, [number]) => ItemValue::Failed(Fault::from_number(*number).ok_or(Malformed)?),
            _ => return Err(Malformed),
        };
        if unit == 0 {
            return Err(Malformed);
        }
        Ok(Self::Item(Item {
            flow,
            run,
            source,
            first,
            last: first.checked_add(more.into()).ok_or(Malformed)?,
            oldest: first.checked_sub(behind.into()).ok_or(Malformed)?,
            unit,
            at_sink: head & AT_SINK != 0,
            stages,
            value,
        }))
    }

    /// Writes it to the start of `out` and returns its length; nothing if `out` is too short, or an
    /// item covers too much.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let len = match self {
            Self::Item(item) => item.len(),
            Self::Taken(_) => 18,
            Self::Begin(_) => 13,
        };
        let mut writer = Writer {
            out: out.get_mut(..len)?,
            at: 0,
        };
        match self {
            Self::Item(item) => {
                let more = u16::try_from(item.last.wrapping_sub(item.first)).ok()?;
                let behind = u16::try_from(item.first.wrapping_sub(item.oldest)).ok()?;
                let (kind, value): (u8, &[u8]) = match &item.value {
                    ItemValue::Nothing => (0, &[]),
                    ItemValue::Value(value) => (1, value),
                    ItemValue::Failed(fault) => (2, &[fault.number()]),
                };
                writer.u8(kind | if item.at_sink { AT_SINK } else { 0 });
                writer.u32(item.flow.0);
                writer.u32(item.run);
                writer.u16(item.source.0);
                writer.u32(item.first);
                writer.u16(more);
                writer.u16(behind);
                writer.u16(item.unit);
                writer.u8(item.stages.len() as u8);
                for stage in item.stages.iter() {
                    writer.u8(stage.kind as u8);
                    writer.u16(stage.count);
                    writer.tasklet(stage.tasklet);
                }
                writer.bytes(value);
            }
            Self::Taken(taken) => {
                writer.u8(Taken::KIND);
                writer.u32(taken.flow.0);
                writer.u32(taken.run);
                writer.u32(taken.next);
                writer.u32(taken.until);
                writer.u8(taken.wanted.into());
            }
            Self::Begin(begin) => {
                writer.u8(Begin::KIND);
                writer.u32(begin.flow.0);
                writer.u32(begin.run);
                writer.u32(begin.oldest);
            }
        }
        debug_assert_eq!(writer.at, len);
        Some(len)
    }
}
