//! Publishing what was published before: an epoch that nodes take up whatever they hold, and one with
//! older entries.

use alloc::vec::Vec;

use nimblenet_tasklet::{Entry, EntryFields, Import, Name, TaskletName};

use super::{BadPackages, MAX_ENTRY_BYTES, Publication};
use crate::catalogue::Catalogue;

impl Publication {
    /// The same publication as epoch `epoch`, which nodes take up whatever older one they hold: every
    /// entry of the catalogue gets this number as its version, so that no node has met it before.
    ///
    /// # Errors
    /// [`BadPackages`] if the epoch is no newer one, or versions cannot have such a number.
    pub fn at_epoch(mut self, catalogue: &Catalogue, epoch: u32) -> Result<Self, BadPackages> {
        if epoch <= catalogue.epoch() {
            let held = catalogue.epoch();
            return Err(BadPackages::OldEpoch { epoch, held });
        }
        let mut all = Vec::new();
        let mut changed = self.changed.iter().peekable();
        for number in 0..self.count {
            let is_it =
                |bytes: &&Vec<u8>| Entry::reread(bytes).is_some_and(|entry| entry.number == number);
            let bytes = changed.next_if(is_it).map(|bytes| &bytes[..]);
            let entry = match bytes {
                Some(bytes) => Entry::reread(bytes),
                None => catalogue.entry(number),
            };
            let entry = entry.ok_or(BadPackages::TooMany)?;
            let name = TaskletName {
                namespace: *catalogue.name(),
                name: entry.name,
            };
            let sequence = u16::try_from(epoch).ok();
            let sequence = sequence.ok_or(BadPackages::TooManyVersions { name })?;
            let again = version(&entry, number, sequence);
            all.push(again.ok_or(BadPackages::TooLarge { name })?);
        }
        self.changed = all;
        self.epoch = Some(epoch);
        Ok(self)
    }

    /// The publication that gives `catalogue` the entries of `before`, an older epoch of it, again.
    /// With `only`, it is about that tasklet. What `before` does not have is withdrawn. Modules do not
    /// move: the registry has them.
    ///
    /// # Errors
    /// [`BadPackages`] names the tasklet that cannot be had back.
    pub fn restoring(
        catalogue: &Catalogue,
        before: &Catalogue,
        only: Option<&Name>,
    ) -> Result<Self, BadPackages> {
        let full = |name: Name| TaskletName {
            namespace: *catalogue.name(),
            name,
        };
        if let Some(name) = only
            && catalogue.named(name).is_none()
        {
            let name = full(*name);
            return Err(BadPackages::UnknownName { name });
        }
        let (mut changed, mut unchanged, mut gone) = (Vec::new(), 0, Vec::new());
        for held in catalogue.entries() {
            let is_meant = only.is_none_or(|only| *only == held.name);
            if !is_meant || held.is_dictionary() {
                continue;
            }
            let Some(old) = before.named(&held.name) else {
                if !held.is_withdrawn() {
                    gone.push(held.name);
                }
                continue;
            };
            let name = full(held.name);
            let same = version(&old, held.number, held.sequence);
            if same.is_some_and(|same| same == held.encoded()) {
                unchanged += 1;
                continue;
            }
            let next = held.sequence.checked_add(1);
            let next = next.ok_or(BadPackages::TooManyVersions { name })?;
            let again = version(&old, held.number, next);
            changed.push((held.number, again.ok_or(BadPackages::TooLarge { name })?));
        }
        let withdrawn = Self::withdrawing(catalogue, &gone)?;
        let mut changed: Vec<Vec<u8>> = changed.into_iter().map(|(_, bytes)| bytes).collect();
        changed.extend(withdrawn.changed);
        changed.sort_by_key(|bytes| Entry::reread(bytes).map(|entry| entry.number));
        Ok(Self {
            changed,
            count: catalogue.count(),
            unchanged,
            modules: Vec::new(),
            epoch: None,
        })
    }
}

/// The encoding of the entry of another version, with this number and sequence.
fn version(entry: &Entry<'_>, number: u16, sequence: u16) -> Option<Vec<u8>> {
    let imports: Vec<Import<'_>> = entry.imports().collect();
    let fields = EntryFields {
        number,
        name: entry.name,
        sequence,
        digest: entry.digest,
        size: entry.size,
        compression: entry.compression,
        terms: entry.terms,
        imports: &imports,
    };
    let mut space = [0; MAX_ENTRY_BYTES];
    let len = fields.encode(&mut space)?;
    Some(space[..len].to_vec())
}
