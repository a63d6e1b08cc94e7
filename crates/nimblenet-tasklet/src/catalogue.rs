//! A namespace's catalogue on the wire: deltas between epochs and the bytes that are signed.
//!
//! A catalogue is a numbered list of [entries](crate::Entry). Its root is a digest over pages of
//! 32 entries, so that a holder of some pages can check them; the namespace's key signs the root
//! together with the namespace's name, the epoch and the entry count (spec/catalogue.md).

use minicbor::Encoder;
use minicbor::encode::write::Cursor;

use crate::deterministic::{self, Items};
use crate::{Digest, DigestHasher, Entry, Malformed, Name};

/// Entries in one page.
pub const PAGE_ENTRIES: usize = 32;
/// Length of the bytes that a catalogue's signature covers.
pub const SIGNED_BYTES: usize = DOMAIN.len() + 32;

/// Separates catalogue signatures from every other use of the same key.
const DOMAIN: &[u8; 22] = b"nimblenet/catalogue/1\0";

/// The bytes that the namespace's key signs for a catalogue with this root.
pub fn signed_bytes(root: &Digest) -> [u8; SIGNED_BYTES] {
    let mut bytes = [0; SIGNED_BYTES];
    bytes[..DOMAIN.len()].copy_from_slice(DOMAIN);
    bytes[DOMAIN.len()..].copy_from_slice(&root.0);
    bytes
}

/// Computes a catalogue's root from its entries in order.
#[derive(Clone, Debug)]
pub struct RootHasher {
    root: DigestHasher,
    page: DigestHasher,
    in_page: usize,
}

impl RootHasher {
    /// Starts the root of `namespace` at `epoch`, with `count` entries to come.
    pub fn new(namespace: &Name, epoch: u32, count: u16) -> Self {
        let mut root = DigestHasher::new();
        let name = namespace.as_str().as_bytes();
        root.update(&[name.len() as u8]);
        root.update(name);
        root.update(&epoch.to_be_bytes());
        root.update(&count.to_be_bytes());
        Self {
            root,
            page: DigestHasher::new(),
            in_page: 0,
        }
    }

    /// Adds the next entry's encoded bytes.
    pub fn entry(&mut self, encoded: &[u8]) {
        self.page.update(&(encoded.len() as u32).to_be_bytes());
        self.page.update(encoded);
        self.in_page += 1;
        if self.in_page == PAGE_ENTRIES {
            self.close_page();
        }
    }

    /// The root.
    pub fn finish(mut self) -> Digest {
        if self.in_page > 0 {
            self.close_page();
        }
        self.root.finish()
    }

    fn close_page(&mut self) {
        let page = core::mem::replace(&mut self.page, DigestHasher::new());
        self.root.update(&page.finish().0);
        self.in_page = 0;
    }
}

/// The changes of a catalogue between two epochs, with the later epoch's signature: a view of the
/// encoded bytes. A delta from epoch 0 is the whole catalogue.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Delta<'a> {
    /// The namespace.
    pub namespace: Name,
    /// The epoch it applies to; 0 for none.
    pub from: u32,
    /// The epoch it leads to.
    pub to: u32,
    /// Entries in the catalogue at `to`.
    pub count: u16,
    /// Ed25519 signature over [`signed_bytes`] of the root at `to`.
    pub signature: [u8; 64],
    entries: &'a [u8],
}

impl<'a> Delta<'a> {
    /// Reads a delta and every entry in it.
    ///
    /// # Errors
    /// [`Malformed`] says which part is wrong: entries must be well formed, in ascending order
    /// of their numbers, below the count, and the epoch must rise.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        // Entries are byte strings here, so the form of each is checked when it is read.
        deterministic::check(bytes)?;
        let mut items = Items::new(bytes);
        let wrong = Malformed::Field;
        if items.head(4) != Some(6) {
            return Err(wrong(0));
        }
        let namespace = Name::new(items.text().ok_or(wrong(1))?);
        let from = items.number().ok_or(wrong(2))?;
        let to = items.number().ok_or(wrong(3))?;
        let count = items.number().ok_or(wrong(4))?;
        let signature = items.content(2).ok_or(wrong(5))?;
        let signature = signature.try_into().map_err(|_| wrong(5))?;
        let entries = items.rest();
        let delta = Self {
            namespace: namespace.map_err(|_| wrong(1))?,
            from,
            to,
            count,
            signature,
            entries,
        };
        if from >= to {
            return Err(wrong(3));
        }
        let mut next = 0;
        for _ in 0..items.head(4).ok_or(wrong(6))? {
            let entry = Entry::decode(items.content(2).ok_or(wrong(6))?)?;
            if entry.number < next || entry.number >= count {
                return Err(wrong(6));
            }
            next = entry.number + 1;
        }
        Ok(delta)
    }

    /// The entries that are new or changed, in ascending order of their numbers.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut items = Items::new(self.entries);
        let count = items.head(4).unwrap_or(0);
        // Each was decoded when the delta was.
        (0..count).map_while(move |_| Entry::reread(items.content(2)?))
    }

    /// Writes a delta with these encoded entries, which must be in ascending order of their
    /// numbers; returns its length, or nothing if `out` is too short.
    pub fn encode<'e>(
        namespace: &Name,
        (from, to): (u32, u32),
        count: u16,
        signature: &[u8; 64],
        entries: impl ExactSizeIterator<Item = &'e [u8]>,
        out: &mut [u8],
    ) -> Option<usize> {
        let mut encoder = Encoder::new(Cursor::new(out));
        encoder
            .array(6)
            .ok()?
            .str(namespace.as_str())
            .ok()?
            .u32(from)
            .ok()?
            .u32(to)
            .ok()?;
        encoder
            .u16(count)
            .ok()?
            .bytes(signature)
            .ok()?
            .array(entries.len() as u64)
            .ok()?;
        for entry in entries {
            encoder.bytes(entry).ok()?;
        }
        Some(encoder.writer().position())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntryFields, Terms};
    use proptest::prelude::*;
    extern crate alloc;
    use alloc::vec::Vec;

    fn entry(number: u16, out: &mut [u8]) -> usize {
        EntryFields {
            number,
            name: Name::new("x").unwrap(),
            sequence: 1,
            digest: Digest::of(&[]),
            size: 0,
            compression: None,
            terms: Terms::empty(),
            imports: &[],
        }
        .encode(out)
        .unwrap()
    }

    #[test]
    fn a_delta_reads_back_as_written() {
        let (mut first, mut second) = ([0; 128], [0; 128]);
        let (a, b) = (entry(1, &mut first), entry(4, &mut second));
        let floor = Name::new("floor").unwrap();
        let mut bytes = [0; 512];
        let entries = [&first[..a], &second[..b]];
        let encode = |entries: [&[u8]; 2], bytes: &mut [u8]| {
            Delta::encode(&floor, (3, 5), 5, &[9; 64], entries.into_iter(), bytes).unwrap()
        };
        let len = encode(entries, &mut bytes);
        let delta = Delta::decode(&bytes[..len]).unwrap();
        assert_eq!((delta.from, delta.to, delta.count), (3, 5, 5));
        assert_eq!(
            delta
                .entries()
                .map(|entry| entry.number)
                .collect::<Vec<_>>(),
            [1, 4]
        );
        for cut in 0..len {
            assert!(Delta::decode(&bytes[..cut]).is_err());
        }
        let len = encode([entries[1], entries[0]], &mut bytes);
        assert_eq!(
            Delta::decode(&bytes[..len]),
            Err(Malformed::Field(6)),
            "out of order"
        );
    }

    #[test]
    fn the_root_depends_on_name_epoch_count_order_and_every_page() {
        let root = |name: &str, epoch, entries: &[&[u8]]| {
            let name = Name::new(name).unwrap();
            let mut hasher = RootHasher::new(&name, epoch, entries.len() as u16);
            entries.iter().for_each(|entry| hasher.entry(entry));
            hasher.finish()
        };
        let long: Vec<&[u8]> = (0..70).map(|_| &b"e"[..]).collect();
        let mut changed = long.clone();
        changed[69] = b"f";
        let roots = [
            root("a", 1, &[b"x", b"y"]),
            root("b", 1, &[b"x", b"y"]),
            root("a", 2, &[b"x", b"y"]),
            root("a", 1, &[b"y", b"x"]),
            root("a", 1, &[b"xy"]),
            root("a", 1, &[]),
            root("a", 1, &long),
            root("a", 1, &changed),
        ];
        for (at, one) in roots.iter().enumerate() {
            assert!(!roots[..at].contains(one), "root {at} repeats");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Delta::decode(&bytes);
        }
    }
}
