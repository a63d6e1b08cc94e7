//! Frames and messages as bytes (spec/wire.md).
//!
//! Every message has a type with `parse`, which is total, allocates nothing and refuses bytes that
//! are cut short or too long, and `emit`, which writes exactly [`Message::len`] bytes. All numbers
//! are big endian. A frame is
//!
//! ```text
//!  0        1        2        4        6        8          10       14       15       16
//!  +--------+--------+--------+--------+--------+----------+--------+--------+--------+------
//!  |ver|flag|  TTL   | sender |receiver| origin |destination|sequence|  hops  |  kind  | body
//!  +--------+--------+--------+--------+--------+----------+--------+--------+--------+------
//! ```
//!
//! `sender` and `receiver` are the two ends of one link; `origin` and `destination` the two ends of
//! the route. With the flag [`AUTHENTICATED`] a 32-bit counter precedes the body and an 8-byte tag
//! follows it; every frame leaves [`OVERHEAD`] free for them. With the flag [`CHECKED`] the frame ends
//! with a checksum instead. A message is a file in this folder and a
//! line in the list below.

mod checksum;
mod frame;
pub(crate) mod job;

pub(crate) use call::note_repeated;
pub use call::{Answer, Passes};
pub(crate) use checksum::checked;
pub use checksum::{CHECKED, CHECKSUM_LEN, check};
pub use fetch::Object;
pub use flow::{Begin, FlowContent, Item, ItemValue, Taken};
pub use frame::{AUTHENTICATED, Frame, HEADER_LEN, MAX_TTL, OVERHEAD, UNANSWERED};
pub use hello::{
    EPOCH_LEN, EpochNote, HELLO_BYTES, LISTED_BYTES, Listed, MAX_LISTED, MAX_NOTES, RegistryNote,
};
pub use holdings::{HOLDINGS_BYTES, Holder, HoldingsWriter, PAGE_ENTRIES, Page};
pub use load::Wait;
pub use offer::GoNumber;
pub use refuse::Refusal;
pub use report::{Cause, REPORT_ADDRESSES, REPORT_TEXT_BYTES};

use nimblenet_tasklet::{NamespaceId, TaskletRef};

/// Bytes that are not a frame or message of this protocol. Peers that send them are counted, not
/// answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Declares the modules of messages and the two enums over them. A message is a type in its module
/// with three methods: `len`, `parse` and `emit`.
macro_rules! messages {
    ($enum:ident<$a:lifetime> {
        $($module:ident {
            $($(#[doc = $doc:literal])+ $message:ident $(<$life:lifetime>)? = $number:literal $name:literal,)+
        })+
    }) => {
        $(mod $module; pub use $module::{$($message),+};)+

        /// The content of a frame.
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub enum $enum<$a> {
            $($($(#[doc = $doc])+ $message($message $(<$life>)?),)+)+
        }

        /// The kind of a message, as the header has it and as statistics are kept.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[doc = concat!("[`Message::", stringify!($message), "`].")] $message = $number,)+)+
        }

        impl Kind {
            /// Every kind, in the order of their numbers, which begin at 1 and have no gaps.
            pub const ALL: [Self; [$($($number),+),+].len()] = [$($(Self::$message),+),+];

            /// The kind's name in tables.
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$message => $name,)+)+ }
            }
        }

        impl<$a> $enum<$a> {
            /// The message's kind.
            pub const fn kind(&self) -> Kind {
                match self { $($(Self::$message(_) => Kind::$message,)+)+ }
            }

            /// Reads a message of this kind.
            ///
            /// # Errors
            /// [`Malformed`] unless `body` is exactly one such message.
            pub fn parse(kind: Kind, body: &$a [u8]) -> Result<Self, Malformed> {
                let mut reader = Reader(body);
                let message = match kind {
                    $($(Kind::$message => Self::$message($message::parse(&mut reader)?),)+)+
                };
                if reader.0.is_empty() {
                    Ok(message)
                } else {
                    Err(Malformed)
                }
            }

            /// The bytes that [`emit`](Self::emit) writes.
            pub fn len(&self) -> usize {
                match self { $($(Self::$message(message) => message.len(),)+)+ }
            }

            fn put(&self, writer: &mut Writer<'_>) {
                match self { $($(Self::$message(message) => message.emit(writer),)+)+ }
            }
        }
    };
}

messages! {
    Message<'a> {
        search {
            /// Who has this tasklet?
            Search = 1 "search",
        }
        found {
            /// I have it.
            Found = 2 "found",
        }
        metadata {
            /// What is this tasklet like?
            MetadataRequest = 3 "metadata-request",
            /// Like this.
            Metadata<'a> = 4 "metadata",
        }
        fetch {
            /// Send me these parts.
            Fetch = 5 "fetch",
        }
        data {
            /// One part.
            Data<'a> = 6 "data",
        }
        refuse {
            /// I cannot serve that.
            Refuse = 7 "refuse",
        }
        hello {
            /// I am here, and this is what I know.
            Hello<'a> = 8 "hello",
        }
        call {
            /// Run this tasklet.
            Call<'a> = 9 "call",
            /// This is how it went.
            Return<'a> = 10 "return",
        }
        offer {
            /// Let this call go on elsewhere.
            Move = 11 "move",
            /// Will you take this job?
            Offer = 12 "offer",
            /// It is yours; how does it stand?
            Go = 13 "go",
        }
        report {
            /// My program has crashed, like this.
            Report<'a> = 14 "report",
        }
        holdings {
            /// I hold these modules, and my neighbours those.
            Holdings<'a> = 15 "holdings",
        }
        load {
            /// New work waits so long here.
            Load = 16 "load",
        }
        ack {
            /// This frame has arrived.
            Ack = 17 "ack",
        }
        flow {
            /// This is for the sink of a flow, or from it.
            Flow<'a> = 18 "flow",
        }
    }
}

const _: () = {
    let mut at = 0;
    while at < Kind::ALL.len() {
        assert!(
            Kind::ALL[at] as usize == at + 1,
            "kinds are numbered from 1 on without gaps"
        );
        at += 1;
    }
};

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

impl Message<'_> {
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
        self.put(&mut writer);
        debug_assert_eq!(writer.at, len);
        Some(len)
    }

    /// Lowers the frame size of the route so far to `mtu`, in messages that collect it
    /// (spec/wire.md, sections 3 and 10).
    pub fn lower_mtu(&mut self, mtu: u16) {
        if let Self::Search(Search { mtu: smallest, .. })
        | Self::Offer(Offer { mtu: smallest, .. }) = self
        {
            *smallest = mtu.min(*smallest);
        }
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
#[derive(Debug)]
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
