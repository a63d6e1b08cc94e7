//! Report: how the program of a board ended before the present one started (spec/wire.md,
//! section 11).

use super::{Malformed, Reader, Writer};

/// The longest text of a report, in bytes.
pub const REPORT_TEXT_BYTES: usize = 64;
/// Addresses in a report, at most.
pub const REPORT_ADDRESSES: usize = 6;

/// Why a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cause {
    /// It panicked.
    Panic = 1,
    /// The processor refused an instruction or an address.
    Fault = 2,
    /// The interpreter no longer answered.
    InterpreterLost = 3,
    /// The watchdog was not fed.
    Watchdog = 4,
    /// It goes on, but the numbers that must not fall were lost: it takes no catalogue.
    LedgerDamaged = 5,
}

impl Cause {
    /// The cause with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Panic),
            2 => Some(Self::Fault),
            3 => Some(Self::InterpreterLost),
            4 => Some(Self::Watchdog),
            5 => Some(Self::LedgerDamaged),
            _ => None,
        }
    }

    /// The cause's name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fault => "fault",
            Self::InterpreterLost => "interpreter-lost",
            Self::Watchdog => "watchdog",
            Self::LedgerDamaged => "ledger-damaged",
        }
    }
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report<'a> {
    /// Distinguishes this end from other ends of programs of the same node.
    pub number: u32,
    /// Why.
    pub cause: Cause,
    /// On which core.
    pub core: u8,
    /// Milliseconds from its start to its end.
    pub uptime_ms: u32,
    /// Big-endian addresses: of the fault first, then return addresses as far as they were found.
    addresses: &'a [u8],
    /// Its message.
    pub text: &'a str,
}

impl<'a> Report<'a> {
    /// The most bytes that a report has.
    pub const MAX_LEN: usize = 11 + 4 * REPORT_ADDRESSES + REPORT_TEXT_BYTES;

    /// A report; `addresses` are four bytes each, big-endian. Nothing if there are too many or
    /// the text is too long.
    pub fn new(
        number: u32,
        cause: Cause,
        core: u8,
        uptime_ms: u32,
        addresses: &'a [u8],
        text: &'a str,
    ) -> Option<Self> {
        let fits = addresses.len() <= 4 * REPORT_ADDRESSES
            && addresses.len().is_multiple_of(4)
            && text.len() <= REPORT_TEXT_BYTES;
        fits.then_some(Self {
            number,
            cause,
            core,
            uptime_ms,
            addresses,
            text,
        })
    }

    /// The address of the fault, then return addresses.
    pub fn addresses(&self) -> impl Iterator<Item = u32> + use<'a> {
        let words = self.addresses.chunks_exact(4);
        words.map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
    }

    /// Reads a report that fills `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] unless it is exactly one.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        Self::parse(&mut reader)
    }

    /// The bytes that [`write`](Self::write) writes.
    pub fn len(&self) -> usize {
        11 + self.addresses.len() + self.text.len()
    }

    /// Whether it has no bytes; none has.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes it to the start of `out` and returns its length; nothing if `out` is shorter.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let len = self.len();
        let out = out.get_mut(..len)?;
        self.emit(&mut Writer { out, at: 0 });
        Some(len)
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let number = reader.u32()?;
        let cause = Cause::from_number(reader.u8()?).ok_or(Malformed)?;
        let core = reader.u8()?;
        let uptime_ms = reader.u32()?;
        let count = usize::from(reader.u8()?);
        let addresses = reader.take(4 * count)?;
        let text = core::str::from_utf8(reader.rest()).map_err(|_| Malformed)?;
        Self::new(number, cause, core, uptime_ms, addresses, text).ok_or(Malformed)
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.number);
        writer.u8(self.cause as u8);
        writer.u8(self.core);
        writer.u32(self.uptime_ms);
        writer.u8((self.addresses.len() / 4) as u8);
        writer.bytes(self.addresses);
        writer.bytes(self.text.as_bytes());
    }
}
