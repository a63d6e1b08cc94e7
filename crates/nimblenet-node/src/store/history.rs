//! The history of a namespace: its epochs, of which the oldest are folded into one to make room.
//!
//! The registry keeps a delta for each epoch. The first of them leads from nothing to the oldest epoch
//! that is kept; to forget that one, the next is made the first.

use alloc::collections::{BTreeMap, BTreeSet};

use nimblenet_core::{Catalogue, CatalogueLimits};
use nimblenet_tasklet::{Delta, Digest, Entry, Name};

use super::{Refusal, StoreLimits};

/// What a publication forgets.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Folded {
    /// The epochs whose deltas are taken out.
    pub(super) epochs: Vec<u32>,
    /// The first epoch that is kept, and the delta from nothing to it.
    pub(super) base: Option<(u32, Vec<u8>)>,
    /// Modules that nothing in the namespace names any more.
    pub(super) modules: Vec<Digest>,
}

/// An epoch that a registry keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochSummary {
    /// The epoch.
    pub epoch: u32,
    /// What it has changed; for the oldest one, everything that there was.
    pub changes: Vec<Change>,
}

/// A change of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The tasklet.
    pub name: Name,
    /// Its version since then.
    pub version: u16,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
}

/// The modules that a delta names, with their lengths, by the numbers of the entries.
type Entries = BTreeMap<u16, (Digest, u32)>;

/// The epochs that these deltas lead to; nothing if one is no delta.
pub(super) fn list(deltas: &[Vec<u8>]) -> Option<Vec<EpochSummary>> {
    let summary = |bytes: &Vec<u8>| {
        let delta = Delta::decode(bytes).ok()?;
        let changes = delta.entries().map(|entry| Change {
            name: entry.name,
            version: entry.sequence,
            withdrawn: entry.is_withdrawn(),
        });
        Some(EpochSummary {
            epoch: delta.to,
            changes: changes.collect(),
        })
    };
    deltas.iter().map(summary).collect()
}

/// The catalogue at an epoch to which one of these deltas leads.
pub(super) fn replay(name: &Name, deltas: &[Vec<u8>], epoch: u32) -> Option<Catalogue> {
    let mut catalogue = Catalogue::new(*name, CatalogueLimits::LARGE);
    for bytes in deltas {
        let delta = Delta::decode(bytes).ok()?;
        let root = catalogue.root_after(&delta).ok()?;
        catalogue.apply(&delta, &root, false).ok()?;
        if catalogue.epoch() == epoch {
            return Some(catalogue);
        }
    }
    None
}

/// A catalogue as the delta from nothing to it.
pub(super) fn whole(catalogue: &Catalogue) -> Vec<u8> {
    let mut bytes = vec![0; catalogue.delta_bytes()];
    let len = catalogue.encode_delta(0, &mut bytes);
    bytes.truncate(len.unwrap_or(0));
    bytes
}

/// What has to be forgotten so that `deltas`, of which the last one is new, keep to the limits.
///
/// # Errors
/// [`Refusal::OverQuota`] if the newest epoch by itself does not.
pub(super) fn fold(
    name: &Name,
    deltas: &[Vec<u8>],
    limits: &StoreLimits,
) -> Result<Folded, Refusal> {
    let steps = deltas.iter().map(|bytes| {
        let delta = Delta::decode(bytes).map_err(Refusal::Malformed)?;
        let modules = delta.entries();
        let modules = modules.map(|entry| (entry.number, (entry.digest, entry.size)));
        Ok((delta.to, delta.count, modules.collect::<Entries>()))
    });
    let mut steps: Vec<(u32, u16, Entries)> = steps.collect::<Result<_, Refusal>>()?;
    let all = named(&steps);
    let mut folded = Folded::default();
    loop {
        let bytes: u64 = named(&steps).values().map(|size| u64::from(*size)).sum();
        if steps.len() <= limits.epochs && bytes <= limits.namespace_bytes {
            break;
        }
        let [(first, _, oldest), (_, count, next), ..] = &mut steps[..] else {
            let limit = limits.namespace_bytes;
            return Err(Refusal::OverQuota { bytes, limit });
        };
        folded.epochs.push(*first);
        for (number, module) in core::mem::take(oldest) {
            if number < *count {
                next.entry(number).or_insert(module);
            }
        }
        steps.remove(0);
    }
    if !folded.epochs.is_empty() {
        let epoch = steps.first().map_or(0, |(epoch, ..)| *epoch);
        let base = replay(name, deltas, epoch).ok_or(Refusal::Damaged)?;
        folded.base = Some((epoch, whole(&base)));
        let left = named(&steps);
        let gone = all.into_keys().filter(|digest| !left.contains_key(digest));
        folded.modules = gone.collect();
    }
    Ok(folded)
}

/// The modules that deltas name.
pub(super) fn digests(deltas: &[Vec<u8>]) -> BTreeSet<Digest> {
    let deltas = deltas.iter().filter_map(|bytes| Delta::decode(bytes).ok());
    let mut digests = BTreeSet::new();
    for delta in deltas {
        let modules = delta.entries().filter(Entry::has_module);
        digests.extend(modules.map(|entry| entry.digest));
    }
    digests
}

/// Each module once, with its length.
fn named(steps: &[(u32, u16, Entries)]) -> BTreeMap<Digest, u32> {
    let modules = steps.iter().flat_map(|(.., step)| step.values().copied());
    modules.filter(|(_, size)| *size > 0).collect()
}
