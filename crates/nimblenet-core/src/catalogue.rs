//! A node's copy of a namespace's catalogue.

use alloc::vec::Vec;
use core::fmt;

use nimblenet_tasklet::{Delta, Digest, Entry, Name, NamespaceId, RootHasher};

/// Where an entry's encoded bytes stand, and the epoch that brought it.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: usize,
    len: usize,
    since: u32,
}

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
/// Entries stay in their encoded form in one buffer, and are read from there.
#[derive(Clone, Debug)]
pub struct Catalogue {
    name: Name,
    id: NamespaceId,
    epoch: u32,
    signature: [u8; 64],
    places: Vec<Place>,
    /// Numbers of entries, in the order of the bytes of their names.
    by_name: Vec<u16>,
    bytes: Vec<u8>,
    retired: Vec<Retired>,
    limits: CatalogueLimits,
}

/// How much one catalogue may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatalogueLimits {
    /// The most entries.
    pub entries: usize,
    /// Bytes of all encoded entries.
    pub bytes: usize,
    /// Bytes of one encoded entry.
    pub entry_bytes: usize,
    /// Replaced entries kept for running jobs.
    pub retired: usize,
}

impl CatalogueLimits {
    /// For a Linux node or a registry: 4096 entries in 1 MiB.
    pub const LARGE: Self = Self {
        entries: 4096,
        bytes: 1 << 20,
        entry_bytes: 512,
        retired: 64,
    };
    /// For a microcontroller: 56 entries in 5 KiB.
    pub const SMALL: Self = Self {
        entries: 56,
        bytes: 5 << 10,
        entry_bytes: 320,
        retired: 4,
    };
}

impl Catalogue {
    /// An empty catalogue at epoch 0.
    pub fn new(name: Name, limits: CatalogueLimits) -> Self {
        Self {
            name,
            id: NamespaceId::of(&name),
            epoch: 0,
            signature: [0; 64],
            places: Vec::new(),
            by_name: Vec::new(),
            bytes: Vec::new(),
            retired: Vec::new(),
            limits,
        }
    }

    /// Allocates all the memory that the limits allow, so that nothing is allocated later.
    #[must_use]
    pub fn preallocated(mut self) -> Self {
        self.places.reserve_exact(self.limits.entries);
        self.by_name.reserve_exact(self.limits.entries);
        self.bytes.reserve_exact(self.limits.bytes);
        self.retired.reserve_exact(self.limits.retired);
        self
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
        self.places
            .get(usize::from(number))
            .map(|place| self.at(place))
    }

    /// The entry with this number as it was at `epoch`, if it is still kept.
    pub fn entry_at(&self, number: u16, epoch: u32) -> Option<Entry<'_>> {
        let mut replaced = self.retired.iter().filter(|old| old.number == number);
        match replaced.find(|old| old.until > epoch) {
            Some(old) => Some(self.at(&old.place)),
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
        self.places.iter().map(|place| self.at(place))
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

    /// Applies `delta`, whose root and signature must have been checked. With `keep_replaced`, the
    /// entries that it replaces are kept for jobs that started before, as long as there is room.
    ///
    /// # Errors
    /// [`BadDelta`] if the delta does not fit this catalogue. Then nothing has changed.
    pub fn apply(&mut self, delta: &Delta<'_>, keep_replaced: bool) -> Result<(), BadDelta> {
        self.admit(delta)?;
        for entry in delta.entries() {
            let same = self.encoded(entry.number) == Some(entry.encoded());
            if !same {
                self.replace(&entry, delta.to, keep_replaced);
            }
        }
        self.epoch = delta.to;
        self.signature = delta.signature;
        Ok(())
    }

    /// Forgets replaced entries that only jobs of epochs before `epoch` can ask for.
    pub fn forget_before(&mut self, epoch: u32) {
        while let Some(at) = self.retired.iter().position(|old| old.until <= epoch) {
            let old = self.retired.remove(at);
            self.cut(&old.place);
        }
    }

    /// Writes the delta from the epoch `from` to the present one into `out` and returns its length;
    /// nothing if `out` is too short, or there is nothing after `from`. The delta has every entry
    /// that came after `from`, whether this catalogue was ever at that epoch or not.
    pub fn encode_delta(&self, from: u32, out: &mut [u8]) -> Option<usize> {
        if from >= self.epoch {
            return None;
        }
        let newer = || self.places.iter().filter(|place| place.since > from);
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
        let entries = newer().map(|place| &self.bytes[place.offset..place.offset + place.len]);
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
        128 + self.bytes.len() + 3 * self.places.len()
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
        if usize::from(delta.count) > self.limits.entries || delta.count < self.count() {
            return Err(BadDelta::Count);
        }
        let mut bytes: usize = self.places.iter().map(|place| place.len).sum();
        let mut next = self.count();
        for entry in delta.entries() {
            let len = entry.encoded().len();
            if len > self.limits.entry_bytes {
                return Err(BadDelta::TooLarge);
            }
            let held = self.places.get(usize::from(entry.number));
            bytes = bytes + len - held.map_or(0, |place| place.len);
            if let Some(held) = held.map(|place| self.at(place)) {
                let same = held.encoded() == entry.encoded();
                if held.name != entry.name || !same && entry.sequence <= held.sequence {
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

    fn at(&self, place: &Place) -> Entry<'_> {
        let encoded = &self.bytes[place.offset..place.offset + place.len];
        Entry::reread(encoded).expect("entries were read before they were kept")
    }

    fn encoded(&self, number: u16) -> Option<&[u8]> {
        let place = self.places.get(usize::from(number))?;
        Some(&self.bytes[place.offset..place.offset + place.len])
    }

    /// Puts `entry` in the place of its predecessor, or at the end.
    fn replace(&mut self, entry: &Entry<'_>, since: u32, keep: bool) {
        let number = entry.number;
        if let Some(old) = self.places.get(usize::from(number)).copied() {
            // The byte limit holds for entries and replaced entries together.
            let room = self.bytes.len() + entry.encoded().len() <= self.limits.bytes;
            if keep && room && self.retired.len() < self.limits.retired {
                self.retired.push(Retired {
                    number,
                    until: since,
                    place: old,
                });
            } else {
                self.cut(&old);
            }
        }
        let len = entry.encoded().len();
        while self.bytes.len() + len > self.limits.bytes && !self.retired.is_empty() {
            let old = self.retired.remove(0);
            self.cut(&old.place);
        }
        let place = Place {
            offset: self.bytes.len(),
            len,
            since,
        };
        self.bytes.extend_from_slice(entry.encoded());
        if let Some(old) = self.places.get_mut(usize::from(number)) {
            *old = place;
        } else {
            let rank = self.rank(&entry.name).unwrap_or_else(|rank| rank);
            self.by_name.insert(rank, number);
            self.places.push(place);
        }
    }

    /// Removes the bytes at `gone`, and moves the bytes behind them.
    fn cut(&mut self, gone: &Place) {
        self.bytes.drain(gone.offset..gone.offset + gone.len);
        let retired = self.retired.iter_mut().map(|old| &mut old.place);
        for place in self.places.iter_mut().chain(retired) {
            if place.offset > gone.offset {
                place.offset -= gone.len;
            }
        }
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
    /// An entry changes its name, or changes without a higher sequence number.
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
