//! A node's copy of a namespace's catalogue.

mod entries;

use alloc::vec::Vec;
use core::fmt;

use nimblenet_tasklet::{Delta, Digest, Entry, Name, NamespaceId, RootHasher};

use self::entries::{Entries, Place};
use crate::cache::Disk;

/// An entry that a later epoch replaced, kept for jobs that started before.
#[derive(Clone, Copy, Debug)]
struct Retired {
    number: u16,
    /// The epoch that replaced it.
    until: u32,
    place: Place,
}

/// One namespace's catalogue at one epoch, and the entries of earlier epochs that running jobs
/// still need.
///
/// Entries stay in their encoded form in one region of bytes, and are read from there.
#[derive(Clone, Debug)]
pub struct Catalogue {
    name: Name,
    id: NamespaceId,
    epoch: u32,
    root: u32,
    /// The epoch before which numbers had other names.
    renamed: u32,
    signature: [u8; 64],
    places: Vec<Place>,
    /// Numbers of entries, in the order of the bytes of their names.
    by_name: Vec<u16>,
    held: Entries,
    retired: Vec<Retired>,
    limits: CatalogueLimits,
}

/// How much one catalogue may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatalogueLimits {
    /// The most entries.
    pub entries: usize,
    /// Bytes of all encoded entries, with [`BESIDE_ENTRY`](Self::BESIDE_ENTRY) for each.
    pub bytes: usize,
    /// Bytes of one encoded entry.
    pub entry_bytes: usize,
    /// Replaced entries kept for running jobs.
    pub retired: usize,
}

impl CatalogueLimits {
    /// Bytes that are kept beside each entry.
    pub const BESIDE_ENTRY: usize = entries::HEADER;
    /// For a Linux node or a registry: 4096 entries in 1 MiB.
    pub const LARGE: Self = Self {
        entries: 4096,
        bytes: 1 << 20,
        entry_bytes: 512,
        retired: 64,
    };
    /// For a microcontroller: 256 entries in 30 KiB.
    pub const SMALL: Self = Self {
        entries: 256,
        bytes: 30 << 10,
        entry_bytes: 320,
        retired: 4,
    };
}

impl Catalogue {
    /// An empty catalogue at epoch 0, whose memory grows up to the limits.
    pub fn new(name: Name, limits: CatalogueLimits) -> Self {
        Self::with(name, limits, Entries::growing())
    }

    /// An empty catalogue at epoch 0 whose entries are kept in `region`. It has all the memory that
    /// the limits allow: nothing is allocated later.
    pub fn on(region: Disk, name: Name, limits: CatalogueLimits) -> Self {
        let mut catalogue = Self::with(name, limits, Entries::on(region));
        catalogue.places.reserve_exact(limits.entries);
        catalogue.by_name.reserve_exact(limits.entries);
        catalogue.retired.reserve_exact(limits.retired);
        catalogue
    }

    fn with(name: Name, limits: CatalogueLimits, held: Entries) -> Self {
        let bytes = limits.bytes.min(held.capacity());
        Self {
            name,
            id: NamespaceId::of(&name),
            epoch: 0,
            root: 0,
            renamed: 0,
            signature: [0; 64],
            places: Vec::new(),
            by_name: Vec::new(),
            held,
            retired: Vec::new(),
            limits: CatalogueLimits { bytes, ..limits },
        }
    }

    /// The namespace.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The namespace as it appears in frames.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// The epoch; 0 when nothing was ever published or received.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The first four bytes of the epoch's root, big endian: two catalogues of one epoch that differ in
    /// them differ in their entries. 0 at epoch 0.
    pub fn root(&self) -> u32 {
        self.root
    }

    /// The signature of the epoch's root.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Entries at this epoch.
    pub fn count(&self) -> u16 {
        self.places.len() as u16
    }

    /// The entry with this number.
    pub fn entry(&self, number: u16) -> Option<Entry<'_>> {
        let place = self.places.get(usize::from(number))?;
        Some(self.at(*place))
    }

    /// The entry with this number as it was at `epoch`, if it is still kept.
    pub fn entry_at(&self, number: u16, epoch: u32) -> Option<Entry<'_>> {
        if epoch < self.renamed {
            return None;
        }
        let mut replaced = self.retired.iter().filter(|old| old.number == number);
        match replaced.find(|old| old.until > epoch) {
            Some(old) => Some(self.at(old.place)),
            None => self.entry(number),
        }
    }

    /// The entry with this name, unless the tasklet is withdrawn or no tasklet but a dictionary.
    pub fn find(&self, name: &Name) -> Option<Entry<'_>> {
        let callable = |entry: &Entry<'_>| !entry.is_withdrawn() && !entry.is_dictionary();
        self.named(name).filter(callable)
    }

    /// The dictionary that new modules are compressed with: the first that there is.
    pub fn dictionary(&self) -> Option<Entry<'_>> {
        self.entries().find(Entry::is_dictionary)
    }

    /// The entry that the name belongs to, withdrawn or not.
    pub fn named(&self, name: &Name) -> Option<Entry<'_>> {
        let rank = self.rank(name).ok()?;
        self.entry(self.by_name[rank])
    }

    /// Every entry, in the order of their numbers.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.places.iter().map(|place| self.at(*place))
    }

    /// The root that the catalogue would have if `delta` were applied. Check the signature in the
    /// delta against it before [`apply`](Self::apply).
    ///
    /// # Errors
    /// [`BadDelta`] if the delta does not fit this catalogue.
    pub fn root_after(&self, delta: &Delta<'_>) -> Result<Digest, BadDelta> {
        self.admit(delta)?;
        let mut root = RootHasher::new(&self.name, delta.to, delta.count);
        let mut changed = delta.entries().peekable();
        for number in 0..delta.count {
            match changed.next_if(|entry| entry.number == number) {
                Some(entry) => root.entry(entry.encoded()),
                None => root.entry(self.encoded(number).ok_or(BadDelta::Incomplete)?),
            }
        }
        Ok(root.finish())
    }

    /// Applies `delta`, which leads to the root `root` as [`root_after`](Self::root_after) has found,
    /// and whose signature must have been checked. With `keep_replaced`, the entries that it replaces
    /// are kept for jobs that started before, as long as there is room.
    ///
    /// # Errors
    /// [`BadDelta`] if the delta does not fit this catalogue. Then nothing has changed.
    pub fn apply(
        &mut self,
        delta: &Delta<'_>,
        root: &Digest,
        keep_replaced: bool,
    ) -> Result<(), BadDelta> {
        self.admit(delta)?;
        if self.is_other(delta) && self.renews(delta) {
            self.places.clear();
            self.by_name.clear();
            self.retired.clear();
            self.held.clear();
            self.renamed = delta.to;
        }
        // Entries that become shorter first: then the whole never takes more than it will at the end.
        for shorter in [true, false] {
            for entry in delta.entries() {
                let (held, new) = (self.encoded(entry.number), entry.encoded());
                let shortens = held.is_some_and(|held| new.len() <= held.len());
                if shortens == shorter && held != Some(new) {
                    self.replace(&entry, delta.to, keep_replaced);
                }
            }
        }
        self.epoch = delta.to;
        let [a, b, c, d, ..] = root.0;
        self.root = u32::from_be_bytes([a, b, c, d]);
        self.signature = delta.signature;
        Ok(())
    }

    /// Forgets replaced entries that only jobs of epochs before `epoch` can ask for.
    pub fn forget_before(&mut self, epoch: u32) {
        while let Some(at) = self.retired.iter().position(|old| old.until <= epoch) {
            let old = self.retired.remove(at);
            self.cut(old.place);
        }
    }

    /// Writes the delta from the epoch `from` to the present one into `out` and returns its length;
    /// nothing if `out` is too short, or there is nothing after `from`. The delta has every entry
    /// that came after `from`, whether this catalogue was ever at that epoch or not.
    pub fn encode_delta(&self, from: u32, out: &mut [u8]) -> Option<usize> {
        if from >= self.epoch {
            return None;
        }
        let newer = || {
            let places = self.places.iter();
            places.filter(|place| self.held.since(**place) > from)
        };
        struct Counted<I>(I, usize);
        impl<I: Iterator> Iterator for Counted<I> {
            type Item = I::Item;
            fn next(&mut self) -> Option<I::Item> {
                self.0.next()
            }
            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.1, Some(self.1))
            }
        }
        impl<I: Iterator> ExactSizeIterator for Counted<I> {}
        let entries = newer().map(|place| self.held.encoded(*place));
        let entries = Counted(entries, newer().count());
        let epochs = (from, self.epoch);
        Delta::encode(
            &self.name,
            epochs,
            self.count(),
            &self.signature,
            entries,
            out,
        )
    }

    /// The most bytes that [`encode_delta`](Self::encode_delta) writes.
    pub fn delta_bytes(&self) -> usize {
        128 + self.held.bytes()
    }

    /// Whether a delta has a newer version of every entry: nothing of what is held stays in force.
    fn renews(&self, delta: &Delta<'_>) -> bool {
        let is_newer = |entry: Entry<'_>| {
            let held = self.entry(entry.number);
            held.is_none_or(|held| held.sequence < entry.sequence)
        };
        delta.entries().count() == usize::from(delta.count) && delta.entries().all(is_newer)
    }

    /// Whether a delta gives numbers other names, or leaves the last ones out.
    fn is_other(&self, delta: &Delta<'_>) -> bool {
        let renames = |entry: Entry<'_>| {
            let held = self.entry(entry.number);
            held.is_some_and(|held| held.name != entry.name)
        };
        delta.count < self.count() || delta.entries().any(renames)
    }

    fn admit(&self, delta: &Delta<'_>) -> Result<(), BadDelta> {
        if delta.namespace != self.name {
            return Err(BadDelta::OtherNamespace);
        }
        if delta.to <= self.epoch {
            return Err(BadDelta::NotNewer);
        }
        if delta.from > self.epoch {
            return Err(BadDelta::Gap);
        }
        let renews = self.renews(delta);
        let shrinks = delta.count < self.count() && !renews;
        if usize::from(delta.count) > self.limits.entries || shrinks {
            return Err(BadDelta::Count);
        }
        let needed = |place: &Place| Entries::needed(self.held.encoded(*place).len());
        let stays = &self.places[..usize::from(self.count().min(delta.count))];
        let mut bytes: usize = stays.iter().map(needed).sum();
        let mut next = self.count().min(delta.count);
        for entry in delta.entries() {
            let len = entry.encoded().len();
            if len > self.limits.entry_bytes {
                return Err(BadDelta::TooLarge);
            }
            let held = self.places.get(usize::from(entry.number));
            bytes = bytes + Entries::needed(len) - held.map_or(0, needed);
            if let Some(held) = held.map(|place| self.at(*place)) {
                let same = held.encoded() == entry.encoded();
                let renamed = held.name != entry.name && !renews;
                if renamed || !same && entry.sequence <= held.sequence {
                    return Err(BadDelta::Rewritten {
                        number: entry.number,
                    });
                }
            } else {
                if entry.number != next {
                    return Err(BadDelta::Incomplete);
                }
                next += 1;
            }
        }
        if next != delta.count {
            return Err(BadDelta::Incomplete);
        }
        if bytes > self.limits.bytes {
            return Err(BadDelta::TooLarge);
        }
        Ok(())
    }

    /// Where a name stands in the order of names, or where it would stand.
    fn rank(&self, name: &Name) -> Result<usize, usize> {
        let held = |number: &u16| self.encoded(*number).and_then(Entry::reread_name);
        self.by_name
            .binary_search_by(|number| held(number).cmp(&Some(name.as_bytes())))
    }

    fn at(&self, place: Place) -> Entry<'_> {
        let entry = Entry::reread(self.held.encoded(place));
        entry.expect("entries were read before they were kept")
    }

    fn encoded(&self, number: u16) -> Option<&[u8]> {
        let place = self.places.get(usize::from(number))?;
        Some(self.held.encoded(*place))
    }

    /// Puts `entry` in the place of its predecessor, or at the end. There is room for it if replaced
    /// entries are forgotten: the delta was admitted.
    fn replace(&mut self, entry: &Entry<'_>, since: u32, keep: bool) {
        let number = entry.number;
        let needed = Entries::needed(entry.encoded().len());
        let limit = self.limits.bytes;
        let room = |held: &Entries| held.bytes() + needed <= limit;
        if let Some(old) = self.places.get(usize::from(number)).copied() {
            // The byte limit holds for entries and replaced entries together.
            if keep && room(&self.held) && self.retired.len() < self.limits.retired {
                self.retired.push(Retired {
                    number,
                    until: since,
                    place: old,
                });
            } else {
                self.cut(old);
            }
        }
        while !room(&self.held) && !self.retired.is_empty() {
            let old = self.retired.remove(0);
            self.cut(old.place);
        }
        let Some(place) = self.held.add(since, entry.encoded()) else {
            debug_assert!(false, "an admitted delta has room");
            return;
        };
        if let Some(old) = self.places.get_mut(usize::from(number)) {
            *old = place;
        } else {
            let rank = self.rank(&entry.name).unwrap_or_else(|rank| rank);
            self.by_name.insert(rank, number);
            self.places.push(place);
        }
    }

    /// Removes the entry at `gone`, and moves those behind it.
    fn cut(&mut self, gone: Place) {
        let retired = self.retired.iter_mut().map(|old| &mut old.place);
        self.held.cut(gone, self.places.iter_mut().chain(retired));
    }
}

/// Why a delta does not fit a catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadDelta {
    /// It is for another namespace.
    OtherNamespace,
    /// It does not lead beyond the epoch that is held.
    NotNewer,
    /// It starts at an epoch later than the one that is held.
    Gap,
    /// Its entry count falls, or is over the limit.
    Count,
    /// Entries are missing.
    Incomplete,
    /// An entry changes without a higher sequence number, or changes its name although not all entries
    /// are newer.
    Rewritten {
        /// The entry's number.
        number: u16,
    },
    /// An entry, or all entries together, have more bytes than the limit.
    TooLarge,
}

impl fmt::Display for BadDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNamespace => f.write_str("the delta is for another namespace"),
            Self::NotNewer => f.write_str("the delta leads to no newer epoch"),
            Self::Gap => f.write_str("the delta starts at a later epoch than the one held"),
            Self::Count => f.write_str("the entry count falls or is over the limit"),
            Self::Incomplete => f.write_str("entries are missing from the delta"),
            Self::Rewritten { number } => {
                write!(
                    f,
                    "entry {number} changes its name, or changes without a new sequence"
                )
            }
            Self::TooLarge => f.write_str("the entries are larger than the limit"),
        }
    }
}

impl core::error::Error for BadDelta {}

#[cfg(test)]
mod tests;
