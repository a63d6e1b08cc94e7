//! Encoded entries, one behind the other, each with the epoch that brought it.

use alloc::vec::Vec;

use crate::cache::{Buffer, Disk};

/// Before each entry: the epoch that brought it (4 bytes) and the entry's length (2 bytes).
pub(super) const HEADER: usize = 6;

/// Where an entry stands. It is valid until an entry that stands before it is cut out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u32);

/// The entries of a catalogue, in no particular order.
#[derive(Debug)]
pub(super) struct Entries {
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    /// Grows on the heap.
    Growing(Vec<u8>),
    /// A part of a disk.
    Fixed(Buffer),
}

impl Entries {
    /// No entries, in memory that grows.
    pub(super) fn growing() -> Self {
        let memory = Memory::Growing(Vec::new());
        Self { memory }
    }

    /// No entries, in `region`.
    pub(super) fn on(region: Disk) -> Self {
        let memory = Memory::Fixed(Buffer::new(region));
        Self { memory }
    }

    /// The bytes that an entry of `len` bytes takes.
    pub(super) const fn needed(len: usize) -> usize {
        HEADER + len
    }

    /// The bytes that all entries take.
    pub(super) fn bytes(&self) -> usize {
        self.content().len()
    }

    /// The bytes that the memory can have.
    pub(super) fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Growing(_) => usize::MAX,
            Memory::Fixed(buffer) => buffer.capacity(),
        }
    }

    /// An entry's encoded bytes.
    pub(super) fn encoded(&self, place: Place) -> &[u8] {
        let (_, len) = self.header(place);
        let start = place.0 as usize + HEADER;
        &self.content()[start..start + len]
    }

    /// The epoch that brought an entry.
    pub(super) fn since(&self, place: Place) -> u32 {
        self.header(place).0
    }

    /// Adds an entry; nothing if there is no room for it.
    pub(super) fn add(&mut self, since: u32, entry: &[u8]) -> Option<Place> {
        let place = Place(u32::try_from(self.bytes()).ok()?);
        let len = u16::try_from(entry.len()).ok()?;
        let (since, len) = (since.to_le_bytes(), len.to_le_bytes());
        match &mut self.memory {
            Memory::Growing(bytes) => {
                for part in [&since[..], &len, entry] {
                    bytes.extend_from_slice(part);
                }
            }
            Memory::Fixed(buffer) => {
                let write = |room: &mut [u8]| {
                    let room = room.get_mut(..HEADER + entry.len()).ok_or(())?;
                    room[..4].copy_from_slice(&since);
                    room[4..HEADER].copy_from_slice(&len);
                    room[HEADER..].copy_from_slice(entry);
                    Ok::<_, ()>(room.len())
                };
                buffer.extend(write).ok()?;
            }
        }
        Some(place)
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        match &mut self.memory {
            Memory::Growing(bytes) => bytes.clear(),
            Memory::Fixed(buffer) => buffer.set_len(0),
        }
    }

    /// Removes an entry, and moves the entries behind it. `places` are those of all other entries.
    pub(super) fn cut<'p>(&mut self, gone: Place, places: impl Iterator<Item = &'p mut Place>) {
        let (_, len) = self.header(gone);
        let (start, bytes) = (gone.0 as usize, HEADER + len);
        match &mut self.memory {
            Memory::Growing(content) => {
                content.drain(start..start + bytes);
            }
            Memory::Fixed(buffer) => {
                buffer.copy_within(start + bytes.., start);
                buffer.set_len(buffer.len() - bytes);
            }
        }
        for place in places.filter(|place| place.0 > gone.0) {
            place.0 -= bytes as u32;
        }
    }

    fn content(&self) -> &[u8] {
        match &self.memory {
            Memory::Growing(bytes) => bytes,
            Memory::Fixed(buffer) => buffer,
        }
    }

    /// The epoch that brought an entry, and its length.
    fn header(&self, place: Place) -> (u32, usize) {
        let header = &self.content()[place.0 as usize..];
        let header = header.first_chunk::<HEADER>().expect("a place is one");
        let [a, b, c, d, low, high] = *header;
        let len = u16::from_le_bytes([low, high]);
        (u32::from_le_bytes([a, b, c, d]), usize::from(len))
    }
}

/// A copy grows.
impl Clone for Entries {
    fn clone(&self) -> Self {
        let memory = Memory::Growing(self.content().to_vec());
        Self { memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(bytes: usize) -> [Entries; 2] {
        [Entries::growing(), Entries::on(Disk::allocate(bytes))]
    }

    #[test]
    fn entries_are_read_back_with_their_epochs() {
        for mut entries in both(64) {
            let first = entries.add(7, b"rms").unwrap();
            let second = entries.add(70_000, b"").unwrap();
            assert_eq!(entries.encoded(first), b"rms");
            assert_eq!(entries.encoded(second), b"");
            assert_eq!([first, second].map(|at| entries.since(at)), [7, 70_000]);
            assert_eq!(entries.bytes(), Entries::needed(3) + Entries::needed(0));
        }
    }

    #[test]
    fn what_stands_behind_a_gone_entry_moves_up() {
        for mut entries in both(64) {
            let [mut first, gone, mut last] =
                [&b"rms"[..], b"peak", b"mean!"].map(|it| entries.add(1, it).unwrap());
            entries.cut(gone, [&mut first, &mut last].into_iter());
            assert_eq!(entries.encoded(first), b"rms");
            assert_eq!(entries.encoded(last), b"mean!");
            assert_eq!(entries.bytes(), Entries::needed(3) + Entries::needed(5));
        }
    }

    #[test]
    fn a_full_region_takes_no_more_and_keeps_what_it_has() {
        let mut entries = Entries::on(Disk::allocate(Entries::needed(3) + 8));
        let place = entries.add(1, b"rms").unwrap();
        assert_eq!(entries.add(1, b"mean"), None);
        assert_eq!(entries.bytes(), Entries::needed(3));
        assert_eq!(entries.encoded(place), b"rms");
        assert!(entries.add(1, b"am").is_some());
    }
}
