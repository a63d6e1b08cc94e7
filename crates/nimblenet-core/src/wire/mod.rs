//! Frames and messages as bytes (spec/wire.md).
//!
//! Every message has a type with `parse`, which is total, allocates nothing and refuses what is
//! cut short or too long, and `emit`, which writes exactly [`Message::len`] bytes. All numbers
//! are big endian. A frame is
//!
//! ```text
//!  0        1        2        4        6        8          10       14       15       16
//!  +--------+--------+--------+--------+--------+----------+--------+--------+--------+------
//!  |ver|flag|  TTL   | sender |receiver| origin |destination|sequence|  hops  |  kind  | body
//!  +--------+--------+--------+--------+--------+----------+--------+--------+--------+------
//! ```
//!
//! `sender` and `receiver` are the two ends of one link; `origin` and `destination` the two ends
//! of the way. With the flag [`AUTHENTICATED`] a 32-bit counter stands before the body and an
//! 8-byte tag after it; [`OVERHEAD`] is always left free for them.

mod call;
mod data;
mod fetch;
mod found;
mod frame;
mod hello;
pub(crate) mod job;
mod metadata;
mod offer;
mod refuse;
mod report;
mod search;

pub use call::{Answer, Call, Return};
pub use data::Data;
pub use fetch::{Fetch, Object};
pub use found::Found;
pub use frame::{AUTHENTICATED, Frame, HEADER_LEN, MAX_TTL, OVERHEAD};
pub use hello::{EpochNote, HELLO_BYTES, Hello, MAX_NOTES, RegistryNote};
pub use metadata::{Metadata, MetadataRequest};
pub use offer::{Go, GoNumber, Move, Offer};
pub use refuse::{Refusal, Refuse};
pub use report::{Cause, REPORT_ADDRESSES, REPORT_TEXT_BYTES, Report};
pub use search::Search;

use nimblenet_tasklet::{NamespaceId, TaskletRef};

/// Bytes that are not a frame or message of this protocol. Peers that send them are counted, not
/// answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// The content of a frame.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Message<'a> {
    /// Who has this tasklet?
    Search(Search),
    /// I have it.
    Found(Found),
    /// What is this tasklet like?
    MetadataRequest(MetadataRequest),
    /// Like this.
    Metadata(Metadata<'a>),
    /// Send me these parts.
    Fetch(Fetch),
    /// One part.
    Data(Data<'a>),
    /// I cannot serve that.
    Refuse(Refuse),
    /// I am here, and this is what I know.
    Hello(Hello<'a>),
    /// Run this tasklet.
    Call(Call<'a>),
    /// This is how it went.
    Return(Return<'a>),
    /// Let this call go on elsewhere.
    Move(Move),
    /// Will you take this job?
    Offer(Offer),
    /// It is yours; how does it stand?
    Go(Go),
    /// My program has crashed, like this.
    Report(Report<'a>),
}

/// A message's kind, as it stands in the header and as statistics are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    /// [`Message::Search`].
    Search = 1,
    /// [`Message::Found`].
    Found = 2,
    /// [`Message::MetadataRequest`].
    MetadataRequest = 3,
    /// [`Message::Metadata`].
    Metadata = 4,
    /// [`Message::Fetch`].
    Fetch = 5,
    /// [`Message::Data`].
    Data = 6,
    /// [`Message::Refuse`].
    Refuse = 7,
    /// [`Message::Hello`].
    Hello = 8,
    /// [`Message::Call`].
    Call = 9,
    /// [`Message::Return`].
    Return = 10,
    /// [`Message::Move`].
    Move = 11,
    /// [`Message::Offer`].
    Offer = 12,
    /// [`Message::Go`].
    Go = 13,
    /// [`Message::Report`].
    Report = 14,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Search,
        Self::Found,
        Self::MetadataRequest,
        Self::Metadata,
        Self::Fetch,
        Self::Data,
        Self::Refuse,
        Self::Hello,
        Self::Call,
        Self::Return,
        Self::Move,
        Self::Offer,
        Self::Go,
        Self::Report,
    ];

    /// The kind's name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Found => "found",
            Self::MetadataRequest => "metadata-request",
            Self::Metadata => "metadata",
            Self::Fetch => "fetch",
            Self::Data => "data",
            Self::Refuse => "refuse",
            Self::Hello => "hello",
            Self::Call => "call",
            Self::Return => "return",
            Self::Move => "move",
            Self::Offer => "offer",
            Self::Go => "go",
            Self::Report => "report",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

impl<'a> Message<'a> {
    /// The message's kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Search(_) => Kind::Search,
            Self::Found(_) => Kind::Found,
            Self::MetadataRequest(_) => Kind::MetadataRequest,
            Self::Metadata(_) => Kind::Metadata,
            Self::Fetch(_) => Kind::Fetch,
            Self::Data(_) => Kind::Data,
            Self::Refuse(_) => Kind::Refuse,
            Self::Hello(_) => Kind::Hello,
            Self::Call(_) => Kind::Call,
            Self::Return(_) => Kind::Return,
            Self::Move(_) => Kind::Move,
            Self::Offer(_) => Kind::Offer,
            Self::Go(_) => Kind::Go,
            Self::Report(_) => Kind::Report,
        }
    }

    /// Reads a message of this kind.
    ///
    /// # Errors
    /// [`Malformed`] unless `body` is exactly one such message.
    pub fn parse(kind: Kind, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(body);
        let message = match kind {
            Kind::Search => Self::Search(Search::parse(&mut reader)?),
            Kind::Found => Self::Found(Found::parse(&mut reader)?),
            Kind::MetadataRequest => Self::MetadataRequest(MetadataRequest::parse(&mut reader)?),
            Kind::Metadata => Self::Metadata(Metadata::parse(&mut reader)?),
            Kind::Fetch => Self::Fetch(Fetch::parse(&mut reader)?),
            Kind::Data => Self::Data(Data::parse(&mut reader)?),
            Kind::Refuse => Self::Refuse(Refuse::parse(&mut reader)?),
            Kind::Hello => Self::Hello(Hello::parse(&mut reader)?),
            Kind::Call => Self::Call(Call::parse(&mut reader)?),
            Kind::Return => Self::Return(Return::parse(&mut reader)?),
            Kind::Move => Self::Move(Move::parse(&mut reader)?),
            Kind::Offer => Self::Offer(Offer::parse(&mut reader)?),
            Kind::Go => Self::Go(Go::parse(&mut reader)?),
            Kind::Report => Self::Report(Report::parse(&mut reader)?),
        };
        if reader.0.is_empty() {
            Ok(message)
        } else {
            Err(Malformed)
        }
    }

    /// The bytes that [`emit`](Self::emit) writes.
    pub fn len(&self) -> usize {
        match self {
            Self::Search(_) => Search::LEN,
            Self::Found(_) => Found::LEN,
            Self::MetadataRequest(_) => MetadataRequest::LEN,
            Self::Metadata(message) => message.len(),
            Self::Fetch(message) => message.len(),
            Self::Data(message) => message.len(),
            Self::Refuse(_) => Refuse::LEN,
            Self::Hello(message) => message.len(),
            Self::Call(message) => message.len(),
            Self::Return(message) => message.len(),
            Self::Move(_) => Move::LEN,
            Self::Offer(_) => Offer::LEN,
            Self::Go(_) => Go::LEN,
            Self::Report(message) => message.len(),
        }
    }

    /// Whether the message has no bytes; none has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the message to the start of `out` and returns its length; nothing if `out` is
    /// shorter than that.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let len = self.len();
        let mut writer = Writer {
            out: out.get_mut(..len)?,
            at: 0,
        };
        match self {
            Self::Search(message) => message.emit(&mut writer),
            Self::Found(message) => message.emit(&mut writer),
            Self::MetadataRequest(message) => message.emit(&mut writer),
            Self::Metadata(message) => message.emit(&mut writer),
            Self::Fetch(message) => message.emit(&mut writer),
            Self::Data(message) => message.emit(&mut writer),
            Self::Refuse(message) => message.emit(&mut writer),
            Self::Hello(message) => message.emit(&mut writer),
            Self::Call(message) => message.emit(&mut writer),
            Self::Return(message) => message.emit(&mut writer),
            Self::Move(message) => message.emit(&mut writer),
            Self::Offer(message) => message.emit(&mut writer),
            Self::Go(message) => message.emit(&mut writer),
            Self::Report(message) => message.emit(&mut writer),
        }
        debug_assert_eq!(writer.at, len);
        Some(len)
    }
}

/// Takes big-endian numbers from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Text with its length before it.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u8()?;
        core::str::from_utf8(self.take(len.into())?).map_err(|_| Malformed)
    }

    fn tasklet(&mut self) -> Result<TaskletRef, Malformed> {
        let namespace = NamespaceId(self.u32()?);
        Ok(TaskletRef {
            namespace,
            number: self.u16()?,
            sequence: self.u16()?,
        })
    }

    fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }
}

/// Puts big-endian numbers into a slice of the right length.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    fn tasklet(&mut self, tasklet: TaskletRef) {
        self.u32(tasklet.namespace.0);
        self.u16(tasklet.number);
        self.u16(tasklet.sequence);
    }
}

#[cfg(test)]
mod tests;
