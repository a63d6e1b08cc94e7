//! Holdings: which modules the sender and its neighbours hold (spec/wire.md, section 12).

use nimblenet_tasklet::{NamespaceId, NodeId};

use super::{Malformed, Reader, Writer};

/// The most bytes of pages and sections: they fit every link.
pub const HOLDINGS_BYTES: usize = 124;
/// How many entries of a catalogue a page stands for.
pub const PAGE_ENTRIES: u16 = 32;

const PAGE_LEN: usize = 5;
const SECTION_LEN: usize = 10;

/// A part of a node's cache: bit n says whether it holds the module of the entry
/// `32 * number + n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Which entries of the catalogue.
    pub number: u8,
    /// Which of them the node holds.
    pub bits: u32,
}

/// Who holds the pages of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// A neighbour of the sender.
    pub id: NodeId,
    /// The number of the packet in which it has said so.
    pub sequence: u32,
    /// How long ago the sender heard that, in seconds.
    pub age_s: u8,
    /// The smallest frame size between it and the sender.
    pub mtu: u16,
}

/// Sent to the neighbours when something has changed. It never travels further than one link; the
/// sender passes on what it hears from its own neighbours.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Holdings<'a> {
    /// The namespace whose catalogue numbers the entries.
    pub namespace: NamespaceId,
    own: &'a [u8],
    /// How many sections there are.
    count: u8,
    sections: &'a [u8],
}

/// Writes holdings into a space, as many as fit.
#[derive(Debug)]
pub struct HoldingsWriter<'a> {
    writer: Writer<'a>,
    own: usize,
    /// How many sections there are.
    sections: u8,
    /// Where the count of the open section is.
    count: Option<usize>,
}

impl<'a> HoldingsWriter<'a> {
    /// A writer without pages, which may fill `space`.
    pub fn new(space: &'a mut [u8]) -> Self {
        Self {
            writer: Writer { out: space, at: 0 },
            own: 0,
            sections: 0,
            count: None,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.writer.at == 0
    }

    /// Adds a page of the sender; false if there is no room. Own pages come before sections.
    pub fn own(&mut self, page: Page) -> bool {
        debug_assert!(self.count.is_none(), "own pages come first");
        let fits = self.page(page);
        self.own = self.writer.at;
        fits
    }

    /// Begins the section of a neighbour; false if there is no room for it and one page.
    pub fn section(&mut self, holder: Holder) -> bool {
        if self.left() < SECTION_LEN + PAGE_LEN {
            return false;
        }
        self.writer.u16(holder.id.0);
        self.writer.u32(holder.sequence);
        self.writer.u8(holder.age_s);
        self.writer.u16(holder.mtu);
        self.count = Some(self.writer.at);
        self.writer.u8(0);
        self.sections += 1;
        true
    }

    /// Adds a page to the section; false if there is no room.
    pub fn page(&mut self, page: Page) -> bool {
        if self.left() < PAGE_LEN {
            return false;
        }
        self.writer.u8(page.number);
        self.writer.u32(page.bits);
        if let Some(count) = self.count {
            self.writer.out[count] += 1;
        }
        true
    }

    /// The message.
    pub fn finish(self, namespace: NamespaceId) -> Holdings<'a> {
        let Writer { out, at } = self.writer;
        let (own, sections) = out[..at].split_at(self.own);
        Holdings {
            namespace,
            own,
            count: self.sections,
            sections,
        }
    }

    fn left(&self) -> usize {
        self.writer.out.len() - self.writer.at
    }
}

impl<'a> Holdings<'a> {
    /// Bytes besides pages and sections.
    pub(crate) const FIXED_LEN: usize = 6;

    /// The pages of the sender's own cache.
    pub fn own(&self) -> impl Iterator<Item = Page> + use<'a> {
        pages(self.own)
    }

    /// What the sender has heard of its neighbours.
    pub fn sections(&self) -> impl Iterator<Item = (Holder, impl Iterator<Item = Page> + use<'a>)> {
        let mut reader = Reader(self.sections);
        core::iter::from_fn(move || section(&mut reader).ok())
            .map(|(holder, bytes)| (holder, pages(bytes)))
    }

    pub(super) fn len(&self) -> usize {
        Self::FIXED_LEN + self.own.len() + self.sections.len()
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let namespace = NamespaceId(reader.u32()?);
        let pages = usize::from(reader.u8()?);
        let count = reader.u8()?;
        let own = reader.take(pages * PAGE_LEN)?;
        let sections = reader.rest();
        let mut rest = Reader(sections);
        for _ in 0..count {
            section(&mut rest)?;
        }
        if !rest.0.is_empty() {
            return Err(Malformed);
        }
        Ok(Self {
            namespace,
            own,
            count,
            sections,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u32(self.namespace.0);
        writer.u8((self.own.len() / PAGE_LEN) as u8);
        writer.u8(self.count);
        writer.bytes(self.own);
        writer.bytes(self.sections);
    }
}

/// The next section: its holder and the bytes of its pages. A section has a page.
fn section<'a>(reader: &mut Reader<'a>) -> Result<(Holder, &'a [u8]), Malformed> {
    let holder = Holder {
        id: NodeId(reader.u16()?),
        sequence: reader.u32()?,
        age_s: reader.u8()?,
        mtu: reader.u16()?,
    };
    let count = usize::from(reader.u8()?);
    if count == 0 || holder.id == NodeId::EVERYONE {
        return Err(Malformed);
    }
    Ok((holder, reader.take(count * PAGE_LEN)?))
}

fn pages<'a>(bytes: &'a [u8]) -> impl Iterator<Item = Page> + use<'a> {
    bytes.chunks_exact(PAGE_LEN).map_while(|page| {
        let mut reader = Reader(page);
        Some(Page {
            number: reader.u8().ok()?,
            bits: reader.u32().ok()?,
        })
    })
}
